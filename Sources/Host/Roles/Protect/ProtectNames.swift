/// What a `protect` calls what it puts into a QEMU, so that the next one knows it again.
package enum ProtectNames {
  /// All of it begins with this.
  package static let prefix = "mf-"

  /// The mirror's job.
  package static func job(_ disk: String) -> String { prefix + fitting(disk, 64) }
  /// The block node that the mirror writes to: QEMU allows 31 bytes.
  package static func target(_ disk: String) -> String { prefix + fitting(disk, 25) }
  /// The block node that is a connection to the standby's disk.
  package static func leg(_ disk: String, _ number: Int) -> String {
    "\(prefix)\(number)-\(fitting(disk, 22))"
  }
  /// QEMU's credentials for its connections to the standby.
  package static let credentials = prefix + "credentials"
  /// What is put in only to see whether it can be.
  static let look = prefix + "look"
  /// Says that the guest stands still because of a protect.
  static let standing = prefix + "standing"
  /// Whether a node is one of a disk's.
  package static func isLeg(_ node: String, of disk: String) -> Bool {
    guard node.hasPrefix(prefix) else { return false }
    let rest = node.dropFirst(prefix.count)
    let number = rest.prefix { $0.isNumber }
    return !number.isEmpty && rest.dropFirst(number.count) == "-\(fitting(disk, 22))"
  }
  /// The block node that sees the guest's writes.
  package static func filter(_ disk: String) -> String { prefix + "on-" + fitting(disk, 25) }

  /// A name that is part of an id: letters, digits, `-`, `.` and `_`, and not too long. One that
  /// has to be changed gets a number made of all of it.
  private static func fitting(_ name: String, _ longest: Int) -> String {
    let isFit = { (byte: UInt8) in
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."),
        UInt8(ascii: "_"):
        true
      default: false
      }
    }
    if name.utf8.count <= longest, name.utf8.allSatisfy(isFit) { return name }
    // FNV-1a, 64 bits: the same in every process.
    let hash = name.utf8.reduce(0xcbf2_9ce4_8422_2325 as UInt64) {
      ($0 ^ UInt64($1)) &* 0x100_0000_01b3
    }
    let number = String(hash, radix: 36)
    let head = name.utf8.filter(isFit).prefix(longest - 1 - number.utf8.count)
    return String(decoding: head, as: UTF8.self) + "." + number
  }
}
