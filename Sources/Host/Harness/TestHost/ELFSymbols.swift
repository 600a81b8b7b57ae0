/// The dynamic symbols of a shared library, read from the file without any tool: 64-bit,
/// little-endian ELF (System V ABI, chapter 4).
struct ELFSymbols {
  /// Those that it defines for others.
  private(set) var exported: [String] = []
  /// Those that it wants from others; weak ones may stay unresolved and are not here.
  private(set) var imported: [String] = []

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
}
