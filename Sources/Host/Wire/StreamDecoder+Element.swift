extension StreamDecoder {
  /// What the operator allows a stream to make this program hold or wait for.
  public struct Limits: Sendable {
    /// RAM blocks.
    public var maxBlocks = 1024
    /// Bytes of all RAM blocks together.
    public var maxRAM: UInt64 = 1 << 44
    /// Bytes of one opaque section.
    public var maxSection = 256 << 20
    /// Different section ids.
    public var maxSections = 4096
    /// Bytes of the VM description.
    public var maxVMDescription = 64 << 20
    /// Bytes of a checkpoint's device state.
    public var maxDeviceState = 256 << 20
    /// Bytes of a target page: a power of two, at least 1024 (ten bits of a record's word are
    /// flags).
    public var pageSize = 4096

    /// Limits that no real guest meets.
    public init() {}
  }

  /// One piece of the main channel's stream.
  public enum Element: Sendable, Equatable {
    /// `QEVM` and the version, 3.
    case fileHeader(version: UInt32)
    /// What the source tells about its machine.
    case configuration(Configuration)
    /// A command.
    case command(Command)
    /// The header of a START, PART or END of `ram`; records follow.
    case ramBegin(SectionHeader)
    /// The block list, once, in START.
    case ramBlocks([RAMBlockDescription])
    /// A page that consists of `fill`; `block` is an index of the list.
    case zero(block: Int, offset: UInt64, fill: UInt8)
    /// The page's bytes follow and are not part of `consumed`: take them, then call `didTake`.
    case page(block: Int, offset: UInt64)
    /// Every channel has sent a SYNC for this point (sync mode `flush`).
    case multifdFlush
    /// The body of a RAM section ends; in sync mode `perSection` this is the sync point.
    case endOfRAMSection
    /// The footer of a RAM section.
    case footer(id: UInt32)
    /// One whole section of another handler: header, body and footer are the consumed bytes.
    case section(SectionHeader)
    /// The end of the sections: of the stream, or of a checkpoint's RAM.
    case eof
    /// The VM description; the consumed bytes are the whole element, its JSON begins at byte 5.
    case vmDescription
    /// A message of a checkpoint.
    case colo(COLOMessage)
    /// VMSTATE_SIZE: `size` bytes of device state follow and are not part of `consumed`. Take them,
    /// in one piece or several, and call `didTake`.
    case deviceState(size: UInt64)
  }

  /// What `next` made of the bytes.
  public enum Step: Sendable, Equatable {
    /// Nothing yet: at least so many bytes beyond those given are needed.
    case needMore(atLeast: Int)
    /// An element; the first `consumed` bytes of those given are done with.
    case element(Element, consumed: Int)
  }

  /// How a source tells where multifd's epochs end (SPECIFICATION section 2.5).
  public enum SyncMode: Sendable, Equatable {
    /// A `multifdFlush` record.
    case flush
    /// Every `endOfRAMSection` (7.2, and machine types up to 8.0). Also what a stream without
    /// multifd says.
    case perSection
  }

  /// Where in the stream the decoder is.
  public enum Phase: Sendable, Equatable {
    /// Before `QEVM`.
    case fileHeader
    /// Directly after it.
    case configuration
    /// Between sections, of the migration or of a checkpoint.
    case sections
    /// In the body of a RAM section.
    case ram
    /// Between the body of a RAM section and its footer.
    case ramFooter
    /// After EOF: a VM description, a checkpoint, or the end.
    case afterEOF
    /// After the VM description, or between checkpoints: a checkpoint or the end.
    case idle
    /// Between CHECKPOINT_REQUEST and VMSTATE_SEND.
    case requested
    /// Between a checkpoint's RAM and VMSTATE_SIZE.
    case deviceStateSize
  }

  /// How a stream ended.
  public enum Completion: Sendable, Equatable {
    /// The migration is complete, and so is the last checkpoint if there was one.
    case complete
    /// The source is gone inside checkpoint `number` (the first is 1). What came before holds.
    case insideCheckpoint(number: Int)
  }
}
