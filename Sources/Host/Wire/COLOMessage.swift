/// A message of the checkpoint protocol: a bare u32 on the main socket, either way (SPECIFICATION
/// section 7.1).
public enum COLOMessage: UInt32, Sendable, CaseIterable {
  /// Secondary to primary: loaded, the primary may run and checkpoint.
  case checkpointReady = 0
  /// Primary to secondary: a checkpoint begins.
  case checkpointRequest = 1
  /// Secondary to primary: stopped.
  case checkpointReply = 2
  /// Primary to secondary: RAM follows.
  case vmstateSend = 3
  /// Primary to secondary: a u64 and as many bytes of device state follow.
  case vmstateSize = 4
  /// Secondary to primary: all of the checkpoint is here.
  case vmstateReceived = 5
  /// Secondary to primary: loaded, the primary may run.
  case vmstateLoaded = 6

  /// Bytes of the message itself.
  public static let size = 4

  /// Decodes the first four bytes of `bytes`; fewer are `truncated`, other values `unknownElement`.
  public init(decoding bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(WireError) {
    guard bytes.count >= Self.size else {
      throw WireError(
        .truncated, at: offset + UInt64(bytes.count),
        "a COLO message has \(Self.size) bytes, the stream ends after \(bytes.count)")
    }
    guard let message = COLOMessage(rawValue: bytes.u32(0)) else {
      throw WireError(
        .unknownElement, at: offset, "expected a COLO message 0 to 6, found \(hex(bytes.u32(0)))")
    }
    self = message
  }

  /// The four bytes. After `vmstateSize` the size and the bytes are the caller's.
  public func encode() -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.append(bigEndian: rawValue)
    return bytes
  }
}
