import Foundation
import PluginAPI

/// A backend that was opened from beside the test executable.
///
/// Sendable: a table is constant, and a library is never closed.
struct Backend: @unchecked Sendable {
  let name: String
  let path: String
  let methods: UnsafePointer<MultiFDMethods>

  /// Those that are built in; igzip where it could be built.
  static let names = ["nocomp", "zlib", "zstd", "lz4"] + (hasIgzip ? ["igzip"] : [])

  /// Those that speak QEMU's zlib.
  static let zlibNames = names.filter { ["zlib", "igzip"].contains($0) }

  private static let hasIgzip: Bool = {
    if access(path(of: "igzip"), R_OK) == 0 { return true }
    print("SKIPPED: all tests of igzip: it was not built (apt-get install libisal-dev)")
    return false
  }()

  private static let opened: [String: Backend] = Dictionary(
    uniqueKeysWithValues: names.map { ($0, Backend(opening: $0)) })

  /// One of `names`.
  static func named(_ name: String) -> Backend { opened[name]! }

  private static func path(of name: String) -> String {
    let folder = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
      .deletingLastPathComponent()
    return folder.appendingPathComponent("libmultifd-\(name).so").path
  }

  private typealias Entry = @convention(c) (UInt32) -> UnsafePointer<MultiFDMethods>?

  private init(opening name: String) {
    path = Self.path(of: name)
    self.name = name
    guard let handle = dlopen(path, RTLD_NOW | RTLD_LOCAL) else {
      fatalError("dlopen: \(String(cString: dlerror()))")
    }
    guard let symbol = dlsym(handle, MULTIFD_PLUGIN_ENTRY) else {
      fatalError("\(path) has no \(MULTIFD_PLUGIN_ENTRY)")
    }
    let entry = unsafeBitCast(symbol, to: Entry.self)
    guard let table = entry(UInt32(MULTIFD_ABI_MAJOR)) else {
      fatalError("\(path) has no table for this major version")
    }
    precondition(entry(UInt32(MULTIFD_ABI_MAJOR) + 1) == nil, "a table for a version to come")
    methods = table
  }

  var options: [MultiFDOption] {
    Array(
      UnsafeBufferPointer(start: methods.pointee.options, count: Int(methods.pointee.options_num)))
  }

  func has(_ capability: UInt32) -> Bool { methods.pointee.capabilities & capability != 0 }

  func bound(_ pageSize: Int, _ pageCount: Int) -> Int {
    Int(methods.pointee.payload_bound(UInt32(pageSize), UInt32(pageCount)))
  }
}

/// The checked values of a backend's options, in memory that lives as long as this.
final class OptionValues {
  let values: UnsafeMutablePointer<MultiFDOptionValue>
  private let texts: [UnsafeMutablePointer<CChar>]

  /// Values as an operator writes them; what is missing has its default.
  init(_ backend: Backend, _ given: [String: String]) {
    let options = backend.options
    precondition(
      given.keys.allSatisfy { key in options.contains { String(cString: $0.name) == key } },
      "an option that \(backend.name) does not have: \(given)")
    let written = options.map {
      given[String(cString: $0.name)] ?? String(cString: $0.default_value)
    }
    texts = written.map { strdup($0) }
    values = .allocate(capacity: max(options.count, 1))
    for (index, option) in options.enumerated() {
      values[index] = MultiFDOptionValue(
        number: Self.number(option, written[index]), text: UnsafePointer(texts[index]))
    }
  }

  deinit {
    texts.forEach { free($0) }
    values.deallocate()
  }

  /// The number of a value, checked as a host checks it.
  static func number(_ option: MultiFDOption, _ text: String) -> Int64 {
    let name = String(cString: option.name)
    switch option.type {
    case MULTIFD_OPTION_INT:
      guard let number = Int64(text), (option.minimum...option.maximum).contains(number) else {
        preconditionFailure("\(name)=\(text) is not in range")
      }
      return number
    case MULTIFD_OPTION_ENUM:
      guard let index = choices(option).firstIndex(of: text) else {
        preconditionFailure("\(name)=\(text) is no choice")
      }
      return Int64(index)
    default:
      preconditionFailure("\(name) has a type that no built-in backend uses")
    }
  }

  /// The names of an enum's choices.
  static func choices(_ option: MultiFDOption) -> [String] {
    guard let names = option.choices else { return [] }
    var result: [String] = []
    while let name = names[result.count] { result.append(String(cString: name)) }
    return result
  }
}
