import Foundation

/// What the dynamic linker reads of a shared library: its needs and its symbols. 64-bit,
/// little-endian ELF (System V ABI, chapters 4 and 5), read without any tool.
struct ELFLibrary {
  /// DT_NEEDED.
  private(set) var needed: [String] = []
  /// The dynamic symbols that the library defines for others.
  private(set) var exported: [String] = []
  /// The dynamic symbols that it wants from others.
  private(set) var imported: [String] = []

  private let bytes: [UInt8]

  private func number(_ at: Int, _ size: Int) -> Int {
    (0..<size).reduce(0) { $0 | Int(bytes[at + $1]) << (8 * $1) }
  }

  private func text(_ at: Int) -> String {
    String(decoding: bytes[at...].prefix { $0 != 0 }, as: UTF8.self)
  }

  init(path: String) throws {
    bytes = try [UInt8](Data(contentsOf: URL(fileURLWithPath: path)))
    precondition(Array(bytes[..<6]) == [0x7f, 0x45, 0x4c, 0x46, 2, 1], "not a 64-bit ELF file")
    let sections = number(0x28, 8)
    let (sectionSize, sectionCount) = (number(0x3a, 2), number(0x3c, 2))
    for index in 0..<sectionCount {
      let section = sections + index * sectionSize
      let type = number(section + 4, 4)
      let (offset, size) = (number(section + 0x18, 8), number(section + 0x20, 8))
      let strings = number(sections + number(section + 0x28, 4) * sectionSize + 0x18, 8)
      switch type {
      case 6:  // SHT_DYNAMIC: pairs of tag and value; DT_NEEDED is 1
        for entry in stride(from: offset, to: offset + size, by: 16) where number(entry, 8) == 1 {
          needed.append(text(strings + number(entry + 8, 8)))
        }
      case 11:  // SHT_DYNSYM: name, info, other, section, value, size; the first is empty
        for entry in stride(from: offset + 24, to: offset + size, by: 24) {
          let name = text(strings + number(entry, 4))
          // Bound to no section: wanted. Otherwise binding in the high half of info: 1 global, 2
          // weak.
          if number(entry + 6, 2) == 0 {
            imported.append(name)
          } else if number(entry + 4, 1) >> 4 > 0 {
            exported.append(name)
          }
        }
      default: break
      }
    }
  }
}
