/// One entry of the block list in RAM's START section (SPECIFICATION section 2.2).
public struct RAMBlockDescription: Equatable, Sendable {
  /// QEMU's name of the block, such as `pc.ram`: 1 to 255 printable bytes.
  public var name: String
  /// Bytes of the block: a positive multiple of the page size. The stream's value wins over a
  /// destination's own for blocks that can be resized.
  public var usedLength: UInt64
  /// Only with `postcopy-ram`, which is not supported: always nil when decoded.
  public var pageSize: UInt64?
  /// Where the block is in the guest, with `x-ignore-shared` only.
  public var guestAddress: UInt64?

  /// A block as `StreamEncoder.ramBlocks` writes it.
  public init(
    name: String, usedLength: UInt64, pageSize: UInt64? = nil, guestAddress: UInt64? = nil
  ) {
    self.name = name
    self.usedLength = usedLength
    self.pageSize = pageSize
    self.guestAddress = guestAddress
  }
}

/// The flags in the low bits of a RAM record's word (SPECIFICATION section 2.1).
enum RAMFlag {
  static let zero: UInt64 = 0x002
  static let memSize: UInt64 = 0x004
  static let page: UInt64 = 0x008
  static let eos: UInt64 = 0x010
  static let `continue`: UInt64 = 0x020
  static let xbzrle: UInt64 = 0x040
  static let hook: UInt64 = 0x080
  static let compressPage: UInt64 = 0x100
  static let multifdFlush: UInt64 = 0x200
}
