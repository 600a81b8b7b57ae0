/// Writes the main channel: appends elements to an array that the caller sends (SPECIFICATION
/// section 5.2).
///
/// It keeps what the format keeps from element to element, the block of the last page record, and
/// trusts its caller otherwise: order and values are not checked.
///
/// ```swift
/// var stream = StreamEncoder()
/// stream.fileHeader()
/// stream.configuration(Configuration(machine: "pc-q35-10.0"))
/// stream.beginSection(.start, id: 2, name: "ram", instance: 0, version: 4)
/// stream.ramBlocks(blocks)
/// stream.endOfRAMSection()
/// stream.footer(id: 2)
/// socket.write(stream.take())
/// ```
public struct StreamEncoder: Sendable {
  /// What was appended and not yet taken.
  public private(set) var bytes: [UInt8] = []
  /// The blocks' names, by the index that records are given.
  private var names: [[UInt8]] = []
  /// The block of the last page record: the next one of the same block says CONTINUE.
  private var currentBlock = -1

  /// An encoder at the beginning of a stream.
  public init() {}

  /// The bytes so far; the encoder goes on with none.
  public mutating func take() -> [UInt8] {
    defer { bytes = [] }
    return bytes
  }

  /// Forgets the bytes so far, which were sent from `bytes`, and keeps their memory.
  public mutating func clear() { bytes.removeAll(keepingCapacity: true) }

  /// `QEVM` and version 3.
  public mutating func fileHeader() {
    bytes.append(bigEndian: StreamDecoder.fileMagic)
    bytes.append(bigEndian: StreamDecoder.fileVersion)
  }

  /// The configuration element.
  public mutating func configuration(_ configuration: Configuration) {
    bytes += configuration.encode()
  }

  /// A command.
  public mutating func command(_ command: Command) { bytes += command.encode() }

  /// A section's header. PART and END have the id only.
  public mutating func beginSection(
    _ kind: SectionKind, id: UInt32, name: String, instance: UInt32, version: UInt32
  ) {
    bytes.append(kind.rawValue)
    bytes.append(bigEndian: id)
    guard kind.hasName else { return }
    bytes.append(counted: name.utf8)
    bytes.append(bigEndian: instance)
    bytes.append(bigEndian: version)
  }

  /// The same from what a decoder has found.
  public mutating func beginSection(_ header: SectionHeader) {
    beginSection(
      header.kind, id: header.id, name: header.name, instance: header.instance,
      version: header.version)
  }

  /// The block list of START. Records refer to the blocks by their index in it.
  public mutating func ramBlocks(_ blocks: [RAMBlockDescription], ignoreShared: Bool = false) {
    bytes.append(bigEndian: blocks.reduce(0) { $0 + $1.usedLength } | RAMFlag.memSize)
    for block in blocks {
      bytes.append(counted: block.name.utf8)
      bytes.append(bigEndian: block.usedLength)
      if ignoreShared { bytes.append(bigEndian: block.guestAddress ?? 0) }
    }
    useBlocks(blocks.map(\.name))
  }

  /// Tells the blocks' names without writing a list: for a stream that another encoder has begun.
  public mutating func useBlocks(_ names: [String]) {
    self.names = names.map { Array($0.utf8) }
    currentBlock = -1
  }

  /// A page that consists of `fill`. Receivers of 10.0 and later insist on 0.
  public mutating func zero(block: Int, offset: UInt64, fill: UInt8 = 0) {
    record(RAMFlag.zero, block, offset)
    bytes.append(fill)
  }

  /// The record of a page; the caller appends or sends the page's bytes directly after it.
  public mutating func pageRecord(block: Int, offset: UInt64) {
    record(RAMFlag.page, block, offset)
  }

  private mutating func record(_ flag: UInt64, _ block: Int, _ offset: UInt64) {
    if block == currentBlock {
      bytes.append(bigEndian: offset | flag | RAMFlag.continue)
    } else {
      bytes.append(bigEndian: offset | flag)
      bytes.append(counted: names[block])
      currentBlock = block
    }
  }

  /// The sync point of sync mode `flush`.
  public mutating func multifdFlush() { bytes.append(bigEndian: RAMFlag.multifdFlush) }

  /// The end of a RAM section's body.
  public mutating func endOfRAMSection() { bytes.append(bigEndian: RAMFlag.eos) }

  /// A section's footer.
  public mutating func footer(id: UInt32) {
    bytes.append(0x7e)
    bytes.append(bigEndian: id)
  }

  /// Bytes as they are: opaque sections, pages, device state.
  public mutating func raw(_ raw: some Collection<UInt8>) { bytes += raw }

  /// The end of the sections.
  public mutating func eof() { bytes.append(0) }

  /// The VM description, given without type and length.
  public mutating func vmDescription(_ json: some Collection<UInt8>) {
    bytes.append(6)
    bytes.append(bigEndian: UInt32(json.count))
    bytes += json
  }

  /// A message of a checkpoint.
  public mutating func colo(_ message: COLOMessage) { bytes += message.encode() }

  /// VMSTATE_SIZE; the caller appends or sends `size` bytes after it.
  public mutating func deviceState(size: UInt64) {
    colo(.vmstateSize)
    bytes.append(bigEndian: size)
  }
}
