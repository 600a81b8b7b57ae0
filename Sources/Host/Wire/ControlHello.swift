/// What `multifd protect` says first to a standby, on a connection of its own to where the primary
/// migrates to: so that there is one address to know, and a lobby in front of it.
///
///     0   4  "MFDC"
///     4   4  bytes that follow, big-endian: at most 4096
///     8   …  a message, as those that follow (docs/protect.md)
public enum ControlHello {
  /// What it begins with.
  public static let magic = Array("MFDC".utf8)
  /// Bytes before the message.
  public static let headSize = 8
  /// The most bytes that the message may have.
  public static let maxMessage = 4096

  /// Bytes of the whole hello, told by its head; nil where it is none.
  ///
  /// - Parameter head: at least ``headSize`` bytes.
  public static func size(_ head: UnsafeRawBufferPointer) -> Int? {
    guard head.count >= headSize, head.prefix(4).elementsEqual(magic) else { return nil }
    let length = Int(UInt32(bigEndian: head.loadUnaligned(fromByteOffset: 4, as: UInt32.self)))
    return length <= maxMessage ? headSize + length : nil
  }

  /// A hello around a message of at most ``maxMessage`` bytes.
  public static func encode(_ message: [UInt8]) -> [UInt8] {
    precondition(message.count <= maxMessage)
    return magic + withUnsafeBytes(of: UInt32(message.count).bigEndian, Array.init) + message
  }
}
