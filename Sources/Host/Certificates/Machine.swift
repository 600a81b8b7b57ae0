import Glibc

/// Where something was tried: what decides whether figures, and faults, compare.
public struct Machine: Equatable, Sendable {
  /// As /proc/cpuinfo calls it.
  public var processor: String
  /// How many of them there are for this process.
  public var processors: Int
  /// As uname(2) says: `Linux 6.1.0 x86_64`.
  public var kernel: String
  /// As the C library says: `glibc 2.36`.
  public var libc: String

  /// What is known of another machine.
  public init(processor: String, processors: Int, kernel: String, libc: String) {
    self.processor = processor
    self.processors = processors
    self.kernel = kernel
    self.libc = libc
  }

  /// This machine.
  public static var here: Machine {
    var name = utsname()
    uname(&name)
    // The members are NUL-terminated arrays inside `name`, which is alive for the whole closure.
    func text<T>(_ member: T) -> String {
      withUnsafeBytes(of: member) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }
    var libc = [UInt8](repeating: 0, count: 64)
    // confstr() is told the array's size, and writes text with a NUL, or nothing.
    let length = libc.withUnsafeMutableBytes {
      confstr(
        Int32(_CS_GNU_LIBC_VERSION), $0.baseAddress?.assumingMemoryBound(to: CChar.self), $0.count)
    }
    return Machine(
      processor: processorName() ?? text(name.machine),
      processors: max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN))),
      kernel: [text(name.sysname), text(name.release), text(name.machine)].joined(separator: " "),
      libc: length > 1 ? String(decoding: libc.prefix { $0 != 0 }, as: UTF8.self) : "unknown")
  }

  private static func processorName() -> String? {
    guard let file = fopen("/proc/cpuinfo", "re") else { return nil }
    defer { fclose(file) }
    var line = [CChar](repeating: 0, count: 512)
    // fgets() is told the array's size, and closes what it has read with a NUL.
    while fgets(&line, Int32(line.count), file) != nil {
      let text = String(
        decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
      guard text.hasPrefix("model name"), let colon = text.firstIndex(of: ":") else { continue }
      return text[text.index(after: colon)...].split(whereSeparator: \.isWhitespace)
        .joined(separator: " ")
    }
    return nil
  }
}
