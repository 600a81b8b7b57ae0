import Store
import Wire

/// The stream of a held guest around its pages, as every QEMU gets it that is to have one:
///
///     header, configuration, OPEN_RETURN_PATH, PING     the head
///     early sections, START with the block list         the start
///     PART …, END                                       pages, the sender's own
///     the devices' sections, EOF, VM description        with these it can start the guest
///
/// Appends to ``encoder``, from which its sender takes what it sends. Until the devices nothing of
/// it could start a guest.
struct GuestStream {
  private let manifest: Manifest
  /// What was appended and not yet sent; pages are appended to it directly.
  var encoder = StreamEncoder()

  /// The stream of a guest, at its beginning.
  init(_ manifest: Manifest) { self.manifest = manifest }

  /// All before the first section.
  ///
  /// - Parameter ping: is answered when loading has begun.
  mutating func head(ping: UInt32) {
    encoder.fileHeader()
    encoder.configuration(
      Configuration(
        machine: manifest.machine, pageBits: manifest.pageBits,
        uuid: manifest.validateUUID ? manifest.uuid.flatMap { VMUUID($0) } : nil))
    encoder.command(.openReturnPath)
    encoder.command(.ping(ping))
  }

  /// What comes before the RAM's pages.
  ///
  /// - Parameters:
  ///   - earlyState: sections that come before the RAM's.
  ///   - flush: a sync point of multifd channels at the end.
  mutating func start(earlyState: [UInt8], flush: Bool = false) {
    encoder.raw(earlyState)
    beginRAM(.start)
    encoder.ramBlocks(
      manifest.blocks.map { RAMBlockDescription(name: $0.name, usedLength: $0.length) })
    endRAM(flush: flush)
  }

  /// The head of a section of RAM.
  mutating func beginRAM(_ kind: SectionKind) {
    encoder.beginSection(kind, id: manifest.ramSection, name: "ram", instance: 0, version: 4)
  }

  /// The end of a section of RAM.
  ///
  /// - Parameter flush: a sync point of multifd channels.
  mutating func endRAM(flush: Bool = false) {
    if flush { encoder.multifdFlush() }
    encoder.endOfRAMSection()
    encoder.footer(id: manifest.ramSection)
  }

  /// The devices, and the end of the stream: whoever has them can start the guest.
  mutating func devices(of guest: HeldGuest) {
    encoder.raw(guest.deviceState)
    if guest.vmDescription.isEmpty {
      encoder.vmDescription(Array("{}".utf8))
    } else {
      encoder.raw(guest.vmDescription)
    }
  }
}
