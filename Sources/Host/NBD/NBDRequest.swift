/// A request of a client: 28 bytes, and for a write its data behind them.
///
///     0x25609513:32 flags:16 type:16 cookie:64 offset:64 length:32
public struct NBDRequest: Equatable, Sendable {
  /// What is wanted.
  public enum Kind: UInt16, Sendable {
    case read = 0
    case write = 1
    case disconnect = 2
    case flush = 3
    case trim = 4
    case writeZeroes = 6
  }

  /// Bytes of it, without data.
  public static let size = 28
  /// FUA, NO_HOLE, FAST_ZERO: flags that may come with a write.
  private static let writeFlags: UInt16 = 1 | 2 | 16

  /// What is wanted; nil: something that was not offered.
  public let kind: Kind?
  /// Chosen by the client, for the reply.
  public let cookie: UInt64
  /// Where.
  public let offset: UInt64
  /// How many bytes.
  public let length: UInt32
  private let flags: UInt16

  /// Decodes a request.
  ///
  /// - Parameter bytes: ``size`` of them.
  /// - Throws: when they are none: where the next one begins cannot be known then.
  public init(decoding bytes: UnsafeRawBufferPointer) throws(NBDError) {
    precondition(bytes.count >= Self.size)
    guard bytes.big(0, UInt32.self) == NBD.request else {
      throw NBDError("it sends no request where one is due")
    }
    flags = bytes.big(4, UInt16.self)
    kind = Kind(rawValue: bytes.big(6, UInt16.self))
    cookie = bytes.big(8, UInt64.self)
    offset = bytes.big(16, UInt64.self)
    length = bytes.big(24, UInt32.self)
  }

  /// Bytes of data that follow.
  public var dataSize: Int { kind == .write ? Int(length) : 0 }

  /// The bytes of an export of so many that it is about, as far as they lie inside: for whatever a
  /// client says. Nil for what is about none, whose offset and length mean nothing.
  public func range(size: UInt64) -> Range<Int>? {
    switch kind {
    case .flush, .disconnect, nil: return nil
    case .read, .write, .trim, .writeZeroes:
      let (end, overflow) = offset.addingReportingOverflow(UInt64(length))
      return Int(min(offset, size))..<Int(overflow ? size : min(end, size))
    }
  }

  /// Why it cannot be done on an export of so many bytes; nil if it can.
  public func obstacle(size: UInt64) -> NBD.ReplyError? {
    guard let kind else { return .invalid }
    let allowed: UInt16 =
      kind == .write || kind == .writeZeroes || kind == .trim ? Self.writeFlags : 1
    guard flags & ~allowed == 0 else { return .invalid }
    switch kind {
    case .flush, .disconnect: return nil
    case .read, .write, .trim, .writeZeroes:
      if kind == .read || kind == .write, length > NBD.longestData { return .invalid }
      let (end, overflow) = offset.addingReportingOverflow(UInt64(length))
      guard !overflow, end <= size else { return kind == .read ? .invalid : .noSpace }
      return nil
    }
  }

  /// The head of the reply; for a read that has worked its data follow.
  public func reply(_ error: NBD.ReplyError = .none) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(16)
    bytes.append(big: NBD.simpleReply)
    bytes.append(big: error.rawValue)
    bytes.append(big: cookie)
    return bytes
  }
}
