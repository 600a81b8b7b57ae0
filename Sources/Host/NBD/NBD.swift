// NBD: what a client and a server of a network block device say, as bytes. Knows no socket and no
// disk. Written from the protocol's own document (https://github.com/NetworkBlockDevice/nbd,
// doc/proto.md).

/// The numbers of the protocol. All of them travel big-endian.
public enum NBD {
  /// "NBDMAGIC": the server's first word.
  static let greeting: UInt64 = 0x4e42_444d_4147_4943
  /// "IHAVEOPT": its second, and the head of each of a client's options.
  static let option: UInt64 = 0x4948_4156_454f_5054
  static let optionReply: UInt64 = 0x0003_e889_0455_65a9
  static let request: UInt32 = 0x2560_9513
  static let simpleReply: UInt32 = 0x6744_6698

  /// The longest name of an export.
  public static let longestName = 4096
  /// The most bytes that a request may read or write: what QEMU and libnbd keep to.
  public static let longestData = 32 << 20

  /// What a server says of itself in the handshake, and a client answers.
  public struct HandshakeFlags: OptionSet, Sendable {
    /// The bits.
    public let rawValue: UInt16
    /// Any bits.
    public init(rawValue: UInt16) { self.rawValue = rawValue }
    static let fixedNewstyle = HandshakeFlags(rawValue: 1)
    static let noZeroes = HandshakeFlags(rawValue: 2)
  }

  /// What an export can do.
  public struct ExportFlags: OptionSet, Sendable {
    /// The bits.
    public let rawValue: UInt16
    /// Any bits.
    public init(rawValue: UInt16) { self.rawValue = rawValue }
    static let hasFlags = ExportFlags(rawValue: 1)
    /// FLUSH is understood.
    public static let sendFlush = ExportFlags(rawValue: 1 << 2)
    /// A write's FUA is.
    public static let sendFUA = ExportFlags(rawValue: 1 << 3)
    /// TRIM is.
    public static let sendTrim = ExportFlags(rawValue: 1 << 5)
    /// WRITE_ZEROES is.
    public static let sendWriteZeroes = ExportFlags(rawValue: 1 << 6)
  }

  /// Kinds of an option.
  enum Option: UInt32 {
    case exportName = 1
    case abort = 2
    case list = 3
    case startTLS = 5
    case info = 6
    case go = 7
  }

  /// Kinds of a reply to an option.
  enum OptionReply: UInt32 {
    case ack = 1
    case server = 2
    case info = 3
    case unsupported = 0x8000_0001
    case policy = 0x8000_0002
    case invalid = 0x8000_0003
    case tlsRequired = 0x8000_0005
    case unknown = 0x8000_0006
    case shutdown = 0x8000_0007
    case tooBig = 0x8000_0009
  }

  /// Errors of a reply: numbers of Linux.
  public enum ReplyError: UInt32, Sendable {
    case none = 0
    case perm = 1
    case io = 5
    case noMemory = 12
    case invalid = 22
    case noSpace = 28
    case shutdown = 108
  }

  /// An export, as a client is told of it.
  public struct Export: Equatable, Sendable {
    /// Its name.
    public var name: String
    /// Bytes.
    public var size: UInt64
    /// What it can do.
    public var flags: ExportFlags

    /// An export.
    public init(name: String, size: UInt64, flags: ExportFlags) {
      (self.name, self.size, self.flags) = (name, size, flags)
    }
  }
}

extension [UInt8] {
  mutating func append(big value: some FixedWidthInteger) {
    Swift.withUnsafeBytes(of: value.bigEndian) { append(contentsOf: $0) }
  }
}

extension UnsafeRawBufferPointer {
  /// The number at an offset, which must lie inside with all of its bytes.
  func big<Value: FixedWidthInteger & BitwiseCopyable>(_ offset: Int, _: Value.Type) -> Value {
    precondition(offset >= 0 && offset + MemoryLayout<Value>.size <= count)
    return Value(bigEndian: loadUnaligned(fromByteOffset: offset, as: Value.self))
  }
}
