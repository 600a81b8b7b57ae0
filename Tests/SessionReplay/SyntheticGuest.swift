import TestSupport
import Wire

/// A small guest that never was: a generator makes what its primary sends, and remembers every page
/// at every checkpoint.
///
/// It does what recordings do not show: large checkpoints directly before tiny ones and before
/// empty ones, the same page in several epochs of a checkpoint, now with contents and now zero,
/// pages that become zero and come back, epochs in which a channel has nothing to say.
package struct SyntheticGuest {
  /// How its primary speaks.
  package struct Style: Sendable, CustomStringConvertible {
    /// 0: plain.
    package var channels = 2
    /// A MULTIFD_FLUSH record is the sync point; otherwise every section's end (and zero pages go
    /// over main).
    package var flush = true
    /// 11.x; otherwise ENABLE_COLO.
    package var listens = true

    package var description: String {
      (channels == 0 ? "plain" : "\(channels) channels, " + (flush ? "flush" : "section"))
        + (listens ? ", return path" : ", ENABLE_COLO")
    }

    /// As many channels as these, in this dialect.
    package init(channels: Int = 2, flush: Bool = true, listens: Bool = true) {
      (self.channels, self.flush, self.listens) = (channels, flush, listens)
    }

    /// Without channels.
    package static let plain = Style(channels: 0)
    /// The same, up to 10.2.
    package static let oldPlain = Style(channels: 0, listens: false)
    /// Up to 8.0.
    package static let old = Style(channels: 2, flush: false, listens: false)
    /// Up to 10.2, with more of them.
    package static let oldFlush = Style(channels: 3, flush: true, listens: false)
    /// All of these.
    package static let all = [Style(), Style(channels: 4), .plain, .oldPlain, .old, .oldFlush]
  }

  package static let page = 4096
  package static let ramSection: UInt32 = 2
  package let style: Style
  package let blocks: [RAMBlockDescription]

  package let seed: UInt64
  private var counts: [Int]?
  private var number = 0
  private var blank = false
  package var generator: SeededGenerator
  package var main = StreamEncoder()
  package var channels: [[UInt8]]
  package var packetNumber: UInt64 = 0
  private var version: UInt32 = 0
  /// By block and page: what it holds; 0 is a zero page.
  package var versions: [[UInt32]]

  /// Makes a whole session.
  ///
  /// - Parameters:
  ///   - pages: of each block.
  ///   - blobSizes: bytes of each of two devices' state at the end of precopy, the first
  ///     checkpoint, … and again, at most; at least half of it.
  ///   - counts: pages in each epoch of the first checkpoint, the second, … and again; nil: by
  ///     chance. More than there are means every page, with contents.
  ///   - blank: precopy has zero pages only, but for one.
  package static func script(
    _ style: Style = Style(), seed: UInt64, checkpoints: Int, pages: [Int] = [1500, 37, 1],
    blobSizes: [Int] = [5000], counts: [Int]? = nil, blank: Bool = false
  ) -> PrimaryScript {
    var guest = SyntheticGuest(style, seed: seed, pages: pages)
    guest.counts = counts
    guest.blank = blank
    var states = [guest.makeDevices(blobSizes[0])]
    let precopy = guest.precopy(devices: states[0])
    var history = [guest.versions]
    var bursts: [PrimaryScript.Burst] = []
    for number in 0..<checkpoints {
      states.append(guest.makeDevices(blobSizes[(number + 1) % blobSizes.count]))
      bursts.append(guest.checkpoint(devices: states.last!))
      history.append(guest.versions)
    }
    let (all, blocks) = (history, guest.blocks)
    return PrimaryScript(
      listens: style.listens, precopy: precopy, checkpoints: bursts, deviceStates: states
    ) { number in
      zip(blocks.indices, all[number]).map { block, versions in
        var image: [UInt64: [UInt8]] = [:]
        for (page, version) in versions.enumerated() where version > 0 {
          image[UInt64(page * Self.page)] = contents(seed, block, page, version)
        }
        return image
      }
    }
  }

  private init(_ style: Style, seed: UInt64, pages: [Int]) {
    self.style = style
    self.seed = seed
    generator = SeededGenerator(seed: seed)
    let names = ["pc.ram", "pc.bios", "/rom@etc/acpi/tables"]
    blocks = zip(names, pages).map {
      RAMBlockDescription(name: $0, usedLength: UInt64($1 * Self.page))
    }
    versions = pages.map { [UInt32](repeating: 0, count: $0) }
    channels = (0..<style.channels).map { MultiFDInit(uuid: .zero, id: UInt8($0)).encode() }
  }

  /// What a page holds: random, and only this page at this version holds it.
  package static func contents(_ seed: UInt64, _ block: Int, _ page: Int, _ version: UInt32)
    -> [UInt8]
  {
    var generator = SeededGenerator(
      seed: seed &* 31 &+ UInt64(version) << 32 &+ UInt64(block) << 24 &+ UInt64(page))
    return [UInt8](unsafeUninitializedCapacity: Self.page) { buffer, count in
      let raw = UnsafeMutableRawBufferPointer(buffer)
      for at in stride(from: 0, to: Self.page, by: 8) {
        raw.storeBytes(of: generator.next(), toByteOffset: at, as: UInt64.self)
      }
      count = Self.page
    }
  }

  private mutating func take() -> PrimaryScript.Burst {
    defer { channels = channels.map { _ in [] } }
    return PrimaryScript.Burst(main: main.take(), channels: channels)
  }

  private mutating func precopy(devices: [UInt8]) -> PrimaryScript.Burst {
    main.fileHeader()
    main.configuration(Configuration(machine: style.listens ? "pc-q35-11.1" : "pc-i440fx-7.2"))
    if style.listens {
      main.command(.openReturnPath)
      main.command(.ping(1))
    } else {
      main.command(.enableCOLO)
    }
    main.beginSection(.start, id: Self.ramSection, name: "ram", instance: 0, version: 4)
    main.ramBlocks(blocks)
    endEpoch()
    endSection()
    main.beginSection(.part, id: Self.ramSection, name: "ram", instance: 0, version: 4)
    // The first round has every page; a third of them is zero.
    for block in versions.indices {
      for page in versions[block].indices
      where blank ? block + page == 0 : generator.next() % 3 > 0 {
        versions[block][page] = nextVersion()
      }
    }
    send(pages: versions.indices.map { Array(versions[$0].indices) })
    endEpoch()
    endSection()
    main.beginSection(.end, id: Self.ramSection, name: "ram", instance: 0, version: 4)
    epoch(count: blank ? 0 : 40)
    endSection()
    main.raw(devices)
    main.vmDescription(Array("{}".utf8))
    return take()
  }

  private mutating func checkpoint(devices: [UInt8]) -> PrimaryScript.Burst {
    main.colo(.vmstateSend)
    if !style.listens, style.flush { main.command(.switchoverStart) }
    main.beginSection(.end, id: Self.ramSection, name: "ram", instance: 0, version: 4)
    let epochs = style.flush ? Int.random(in: 1...3, using: &generator) : 1
    let count = counts.map { $0[number % $0.count] }
    for _ in 0..<(count != nil && style.flush ? 2 : epochs) { epoch(count: count ?? randomCount()) }
    number += 1
    endSection()
    main.eof()
    main.deviceState(size: UInt64(devices.count))
    main.raw(devices)
    return take()
  }

  /// Now and then the greater part of the guest, often a few pages or none at all.
  private mutating func randomCount() -> Int {
    let total = versions.reduce(0) { $0 + $1.count }
    return switch generator.next() % 8 {
    case 0: Int.random(in: 0...total * 2 / 3, using: &generator)
    case 1, 2: 0
    default: Int.random(in: 1...24, using: &generator)
    }
  }

  private mutating func nextVersion() -> UInt32 {
    version += 1
    return version
  }

  /// Dirties so many pages, zeroes some of them, and sends them.
  private mutating func epoch(count: Int) {
    let places = versions.indices.flatMap { block in versions[block].indices.map { (block, $0) } }
    var dirty = versions.map { _ in [Int]() }
    var picked = Set<Int>()
    let all = count > places.count
    if all { picked = Set(places.indices) }
    for _ in 0..<min(count, places.count) {
      picked.insert(Int.random(in: 0..<places.count, using: &generator))
    }
    for index in picked.sorted() {
      let (block, page) = places[index]
      dirty[block].append(page)
      versions[block][page] = generator.next() % 4 == 0 && !all ? 0 : nextVersion()
    }
    send(pages: dirty)
    endEpoch()
  }

  /// Sections of two devices that do not exist, and the closing 00.
  private mutating func makeDevices(_ size: Int) -> [UInt8] {
    var encoder = StreamEncoder()
    for (id, name) in [(5, "timer"), (6, "vga")] as [(UInt32, String)] {
      encoder.beginSection(.full, id: id, name: name, instance: 0, version: 2)
      let count = Int.random(in: size / 2...size, using: &generator)
      // No byte of it can begin a footer.
      encoder.raw((0..<count).map { _ in UInt8(generator.next() % 0x7e) })
      encoder.footer(id: id)
    }
    encoder.eof()
    return encoder.take()
  }
}
