/// The dynamic symbols of a shared library, read from the file without any tool: 64-bit,
/// little-endian ELF (System V ABI, chapter 4).
struct ELFSymbols {
  /// Those that it defines for others.
  private(set) var exported: [String] = []
  /// Those that it wants from others; weak ones may stay unresolved and are not here.
  private(set) var imported: [String] = []
  /// What it asks of a process.
  private(set) var program = Program()

  /// What the program headers and the dynamic section ask for.
  struct Program {
    /// PT_GNU_STACK with the flag for execution, or none.
    var wantsExecutableStack = true
    /// Bytes of thread-local variables: PT_TLS.
    var threadSize = 0
    /// DF_STATIC_TLS.
    var needsStaticTLS = false
    /// DT_RUNPATH and DT_RPATH.
    var runPath: [String] = []
  }

  private static let header: [UInt8] = [0x7f, 0x45, 0x4c, 0x46, 2, 1]
  private static let dynamicSymbols = 11

  /// Nil for a file that is none, or that is cut.
  init?(_ bytes: [UInt8]) {
    guard bytes.starts(with: Self.header) else { return nil }
    func number(_ at: Int, _ size: Int) -> Int? {
      guard at >= 0, size <= 8, at <= bytes.count - size else { return nil }
      return Int(
        truncatingIfNeeded: (0..<size).reduce(0) { $0 | UInt64(bytes[at + $1]) << (8 * $1) })
    }
    func text(_ at: Int) -> String? {
      guard bytes.indices.contains(at) else { return nil }
      return String(decoding: bytes[at...].prefix { $0 != 0 }, as: UTF8.self)
    }
    guard let program = Self.program(number, text) else { return nil }
    self.program = program
    guard let sections = number(0x28, 8), let stride = number(0x3a, 2), let count = number(0x3c, 2)
    else { return nil }
    for index in 0..<count {
      let section = sections &+ index * stride
      guard let type = number(section + 4, 4), type == Self.dynamicSymbols else { continue }
      guard let offset = number(section + 0x18, 8), let size = number(section + 0x20, 8),
        let link = number(section + 0x28, 4),
        let strings = number(sections &+ link &* stride &+ 0x18, 8), size >= 24,
        size <= bytes.count
      else { return nil }
      // name, info, other, section, value, size; the first is empty.
      for entry in Swift.stride(from: offset &+ 24, to: offset &+ size, by: 24) {
        guard let name = number(entry, 4).flatMap({ text(strings &+ $0) }),
          let info = number(entry + 4, 1), let place = number(entry + 6, 2)
        else { return nil }
        let binding = info >> 4  // 1 global, 2 weak
        if place == 0 {
          if binding == 1 { imported.append(name) }
        } else if binding > 0 {
          exported.append(name)
        }
      }
    }
  }

  /// Reads the program headers. Nil for a file that is cut.
  private static func program(
    _ number: (Int, Int) -> Int?, _ text: (Int) -> String?
  ) -> Program? {
    guard let headers = number(0x20, 8), let stride = number(0x36, 2), let count = number(0x38, 2)
    else { return nil }
    var program = Program()
    var segments: [(address: Int, size: Int, offset: Int)] = []
    var dynamic: (offset: Int, size: Int)?
    for index in 0..<count {
      let header = headers &+ index * stride
      guard let type = number(header, 4), let flags = number(header + 4, 4),
        let offset = number(header + 8, 8), let address = number(header + 16, 8),
        let size = number(header + 32, 8), let memory = number(header + 40, 8)
      else { return nil }
      switch type {
      case 1: segments.append((address, size, offset))  // PT_LOAD
      case 2: dynamic = (offset, size)  // PT_DYNAMIC
      case 7: program.threadSize = memory  // PT_TLS
      case 0x6474_e551: program.wantsExecutableStack = flags & 1 != 0  // PT_GNU_STACK
      default: break
      }
    }
    guard let dynamic else { return program }
    var strings: Int?, paths: [Int] = []
    for entry in Swift.stride(from: 0, to: min(dynamic.size, 1 << 16), by: 16) {
      guard let tag = number(dynamic.offset &+ entry, 8),
        let value = number(dynamic.offset &+ entry &+ 8, 8)
      else { return nil }
      switch tag {
      case 5:  // DT_STRTAB, an address
        strings = segments.first { (0..<$0.size).contains(value &- $0.address) }
          .map { value &- $0.address &+ $0.offset }
      case 15, 29: paths.append(value)  // DT_RPATH, DT_RUNPATH
      case 30: program.needsStaticTLS = value & 0x10 != 0  // DT_FLAGS
      default: break
      }
      if tag == 0 { break }
    }
    for path in paths {
      guard let list = strings.flatMap({ text($0 &+ path) }) else { return nil }
      program.runPath += list.split(separator: ":", omittingEmptySubsequences: false)
        .map(String.init)
    }
    return program
  }
}
