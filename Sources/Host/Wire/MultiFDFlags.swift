/// The flags of a multifd packet (SPECIFICATION section 3.3).
public struct MultiFDFlags: OptionSet, Hashable, Sendable {
  /// The word as it is on the wire.
  public var rawValue: UInt32

  /// Any word.
  public init(rawValue: UInt32) { self.rawValue = rawValue }

  /// The channel has reached a sync point; data of this very packet comes before it.
  public static let sync = MultiFDFlags(rawValue: 1)
  /// A device-state packet, with its own header.
  public static let deviceState = MultiFDFlags(rawValue: 0x40)
  /// The bits that name the compression method.
  public static let methodMask: UInt32 = 0x3e
  /// Every bit that has a meaning.
  public static let known: UInt32 = 0x7f

  /// The compression method. In 7.2 it is only set on packets with normal pages.
  public var method: MultiFDMethod {
    get { MultiFDMethod(rawValue: rawValue & Self.methodMask) }
    set { rawValue = rawValue & ~Self.methodMask | newValue.rawValue & Self.methodMask }
  }
}

/// A compression method by its bits in the packet's flags (SPECIFICATION section 3.3).
public struct MultiFDMethod: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
  /// The bits, in place.
  public var rawValue: UInt32

  /// Any bits; `isKnown` tells whether QEMU has such a method.
  public init(rawValue: UInt32) { self.rawValue = rawValue }

  /// Pages as they are.
  public static let none = MultiFDMethod(rawValue: 0)
  /// One deflate stream a channel.
  public static let zlib = MultiFDMethod(rawValue: 2)
  /// One zstd frame a channel, or a frame a packet.
  public static let zstd = MultiFDMethod(rawValue: 4)
  /// Intel QPL.
  public static let qpl = MultiFDMethod(rawValue: 8)
  /// Arm UADK.
  public static let uadk = MultiFDMethod(rawValue: 0x10)
  /// Intel QATzip.
  public static let qatzip = MultiFDMethod(rawValue: 0x20)

  static let names: [(MultiFDMethod, String)] = [
    (.none, "none"), (.zlib, "zlib"), (.zstd, "zstd"), (.qpl, "qpl"), (.uadk, "uadk"),
    (.qatzip, "qatzip"),
  ]

  /// Those that compress.
  public static var compressing: [MultiFDMethod] {
    names.map(\.0).filter { $0 != .none }
  }

  /// The method that QEMU's `multifd-compression` calls `name`; nil when there is none.
  public init?(name: String) {
    guard let known = Self.names.first(where: { $0.1 == name }) else { return nil }
    self = known.0
  }

  /// True for the methods above; two bits at once are none of them.
  public var isKnown: Bool {
    rawValue & ~MultiFDFlags.methodMask == 0 && rawValue & (rawValue &- 1) == 0
  }

  /// The five bits as a number, 0 to 31: on a link the index of a format.
  public var index: Int { Int((rawValue & MultiFDFlags.methodMask) >> 1) }

  /// The bits of such a number.
  public init(index: Int) { self.init(rawValue: UInt32(index) << 1) }

  /// As `multifd-compression` calls it; the bits in hexadecimal when it has no name.
  public var name: String { Self.names.first { $0.0 == self }?.1 ?? hex(rawValue) }

  /// The same as `name`.
  public var description: String { name }
}
