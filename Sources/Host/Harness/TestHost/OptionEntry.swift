import Glibc
import PluginAPI

/// One entry of a backend's option table, as it stands there.
struct OptionEntry: Sendable {
  let name: String?
  let help: String?
  let defaultValue: String?
  let choices: [String]?
  let minimum: Int64
  let maximum: Int64
  let type: UInt32
  let reserved: UInt32

  /// sizeof(MultiFDOption) of ABI 1.0; all that is read here.
  static let smallest = 56

  /// The options of the table at `address`; at most 256.
  static func table(_ address: UnsafeRawPointer) -> [OptionEntry] {
    let count = Int(address.loadUnaligned(fromByteOffset: 64, as: UInt32.self))
    let stride = Int(address.loadUnaligned(fromByteOffset: 68, as: UInt32.self))
    guard let first = UnsafeRawPointer(bitPattern: Library.word(address, 56)),
      (1...256).contains(count), (smallest...4096).contains(stride)
    else { return [] }
    // `count` entries of `stride` bytes by the backend's own word; a lie ends this child process.
    return (0..<count).map { OptionEntry(first + $0 * stride) }
  }

  /// Offsets as they are pinned in the header.
  private init(_ entry: UnsafeRawPointer) {
    name = foreignText(Library.word(entry, 0))
    help = foreignText(Library.word(entry, 8))
    defaultValue = foreignText(Library.word(entry, 16))
    minimum = entry.loadUnaligned(fromByteOffset: 32, as: Int64.self)
    maximum = entry.loadUnaligned(fromByteOffset: 40, as: Int64.self)
    type = entry.loadUnaligned(fromByteOffset: 48, as: UInt32.self)
    reserved = entry.loadUnaligned(fromByteOffset: 52, as: UInt32.self)
    var names: [String]?
    if let list = UnsafeRawPointer(bitPattern: Library.word(entry, 24)) {
      var found: [String] = []
      while found.count < 256, case let word = Library.word(list, found.count * 8), word != 0 {
        found.append(foreignText(word) ?? "")
      }
      names = found
    }
    choices = names
  }

  /// What arrives in MultiFDOptionValue.number for a valid text; nil for an invalid one.
  func number(_ text: String) -> Int64? {
    switch type {
    case MULTIFD_OPTION_BOOL:
      switch text {
      case "on", "yes", "true": return 1
      case "off", "no", "false": return 0
      default: return nil
      }
    case MULTIFD_OPTION_INT: return within(Int64(text))
    case MULTIFD_OPTION_SIZE: return within(Self.size(text))
    case MULTIFD_OPTION_ENUM: return choices?.firstIndex(of: text).map { Int64($0) }
    case MULTIFD_OPTION_STRING: return within(Int64(text.utf8.count))
    case MULTIFD_OPTION_FILE:
      return text.isEmpty ? 0 : OptionFiles.contents(text).flatMap { within(Int64($0.count)) }
    default: return nil
    }
  }

  private func within(_ number: Int64?) -> Int64? {
    guard let number, minimum <= number, number <= maximum else { return nil }
    return number
  }

  private static func size(_ text: String) -> Int64? {
    let units: [Character: Int64] = ["K": 1 << 10, "M": 1 << 20, "G": 1 << 30]
    let unit = text.last.flatMap { units[Character($0.uppercased())] }
    guard let number = Int64(unit == nil ? text[...] : text.dropLast()), number >= 0 else {
      return nil
    }
    let (bytes, overflow) = number.multipliedReportingOverflow(by: unit ?? 1)
    return overflow ? nil : bytes
  }

  /// Texts at both ends of what is allowed, and every choice. No files: `Options` knows some.
  var extremes: [String] {
    switch type {
    case MULTIFD_OPTION_FILE: []
    case MULTIFD_OPTION_BOOL: ["on", "off"]
    case MULTIFD_OPTION_ENUM: choices ?? []
    case MULTIFD_OPTION_STRING:
      [minimum, min(maximum, 4096)].map { String(repeating: "x", count: Int(clamping: $0)) }
    default: [String(minimum), String(maximum)]
    }
  }

  /// A valid text at random.
  func anyValue(_ random: inout Seeded) -> String {
    switch type {
    case MULTIFD_OPTION_INT, MULTIFD_OPTION_SIZE:
      String(Int64.random(in: minimum...max(minimum, maximum), using: &random))
    default: extremes.randomElement(using: &random) ?? ""
    }
  }
}

extension Library {
  /// Those of its options that are files. Both sides of a channel have the same ones, by the host's
  /// doing.
  func files(in assigned: [String: String]) -> [String: String] {
    let names = options.filter { $0.type == MULTIFD_OPTION_FILE }.compactMap(\.name)
    return assigned.filter { names.contains($0.key) }
  }
}

/// The values of a channel's options, in memory that the backend may only read.
///
/// @unchecked Sendable: constant after init.
final class OptionValues: @unchecked Sendable {
  /// values[i] for the backend's options[i]; never NULL.
  let values: UnsafePointer<MultiFDOptionValue>
  let assigned: [String: String]
  private let memory: GuardedMemory
  private let texts: GuardedMemory
  /// Each ends, with its NUL, at a page that nobody may touch.
  private let files: [GuardedMemory]

  /// What is not in `assigned` has its default. Values are valid by the caller's care; one that is
  /// not counts as 0.
  init(_ library: Library, _ assigned: [String: String]) {
    self.assigned = assigned
    let written = library.options.map { option in
      option.name.flatMap { assigned[$0] } ?? option.defaultValue ?? ""
    }
    let stride = MemoryLayout<MultiFDOptionValue>.stride
    memory = GuardedMemory(max(1, written.count) * stride, alignment: 8, kind: .options)
    texts = GuardedMemory(
      written.reduce(1) { $0 + $1.utf8.count + 1 }, alignment: 1, kind: .options)
    // `texts` has room for every text with its NUL and one NUL more: the sum above.
    var next = texts.base
    next.storeBytes(of: 0, as: UInt8.self)
    memset(memory.base, 0, memory.size)
    memory.base.storeBytes(of: UInt(bitPattern: next), toByteOffset: 8, as: UInt.self)
    var files: [GuardedMemory] = []
    for (index, text) in written.enumerated() {
      let entry = memory.base + index * stride
      let number = library.options[index].number(text) ?? 0
      if number > 0, library.options[index].type == MULTIFD_OPTION_FILE {
        let file = Self.file(OptionFiles.contents(text) ?? [])
        files.append(file)
        entry.storeBytes(of: Int64(file.size - 1), as: Int64.self)
        entry.storeBytes(of: UInt(bitPattern: file.base), toByteOffset: 8, as: UInt.self)
        continue
      }
      entry.storeBytes(of: number, as: Int64.self)
      entry.storeBytes(of: UInt(bitPattern: next), toByteOffset: 8, as: UInt.self)
      // A file that is none, or cannot be had, is no text: its path is not the backend's business.
      let isFile = library.options[index].type == MULTIFD_OPTION_FILE
      for byte in (isFile ? [] : Array(text.utf8)) + [0] {
        next.storeBytes(of: byte, as: UInt8.self)
        next += 1
      }
    }
    memory.allow(.reading)
    texts.allow(.reading)
    self.files = files
    values = UnsafePointer(memory.base.assumingMemoryBound(to: MultiFDOptionValue.self))
  }

  deinit { StaleFiles.keep(files) }

  private static func file(_ bytes: [UInt8]) -> GuardedMemory {
    let file = GuardedMemory(bytes.count + 1, alignment: 1, kind: .options)
    // Room for the bytes and the NUL.
    bytes.withUnsafeBytes { if let first = $0.baseAddress { memcpy(file.base, first, $0.count) } }
    file.base.storeBytes(of: 0, toByteOffset: bytes.count, as: UInt8.self)
    file.allow(.reading)
    return file
  }
}
