/// A connection that is no source's: who else may come to where a migration is waited for.
public struct Stray: Sendable, CustomStringConvertible {
  /// What it is.
  public let description: String
  /// What it says.
  public let bytes: [UInt8]
  /// It closes the connection then, or stays and says no more.
  public let closes: Bool

  /// Every kind there is a test for.
  public static let all: [Stray] =
    [
      Stray("a port scan", []),
      Stray("HTTP", Array("GET / HTTP/1.0\r\n\r\n".utf8)),
      Stray("TLS", [0x16, 3, 1, 0, 0xa5, 1, 0, 0, 0xa1, 3, 3]),
      Stray("multifd's magic", [0x11, 0x22, 0x33, 0x44]),
      Stray("half an init packet", [0x11, 0x22, 0x33, 0x44, 0, 0, 0, 1, 0, 0]),
      Stray("an init packet of another version", [0x11, 0x22, 0x33, 0x44, 0, 0, 0, 2] + zeros(56)),
      Stray("a main channel's magic", Array("QEVM".utf8)),
      Stray("half a file header", Array("QEVM".utf8) + [0, 0]),
      Stray("a file header", Array("QEVM".utf8) + [0, 0, 0, 3]),
      Stray("half a configuration", Array("QEVM".utf8) + [0, 0, 0, 3, 7, 0, 0, 0, 9, 0x70]),
      Stray(
        "a file header and rubbish", Array("QEVM".utf8) + [0, 0, 0, 3] + Array("rubbish!".utf8)),
    ].flatMap { stray in [stray, Stray("\(stray), open", stray.bytes, closes: false)] }

  private init(_ description: String, _ bytes: [UInt8], closes: Bool = true) {
    self.description = description
    self.bytes = bytes
    self.closes = closes
  }

  private static func zeros(_ count: Int) -> [UInt8] { Array(repeating: 0, count: count) }
}
