import COLO
import Foundation
import Memory
import SessionReplay
import TestSupport
import Testing
import Wire

/// One guest, sent in several ways, must come out as one guest: with or without multifd, with every
/// compression, by 2 or 4 channels.
///
/// The recordings are separate boots of the same firmware, so clocks differ, and nothing else may:
///
/// * RAM, all in `pc.ram`, at most 13 of 8192 pages: in page 0 the BIOS tick counter (4 bytes at
///   0x46c); in page 0x6000 SeaBIOS's stack as its last timer interrupt left it; in SeaBIOS's own
///   data, below 1 MiB and in the last 512 KiB of RAM, time stamps (`TimerLast`, stacks and lists
///   of its threads): at most 64 bytes a page.
/// * Devices: the bodies of `timer`, `mc146818rtc` and `i8254`; under KVM (the COLO sources up to
///   10.0) also `kvmclock`, and in `cpu` and `apic` the TSC and the timer's count. Sections, order,
///   versions, sizes and all other bodies are equal.
///
/// `bios-*-q35-72-*` had another guest, with a disk, and are not compared; nor is RAM under KVM,
/// where 13 KiB of option ROM differ from boot to boot.
@Suite("The same guest, sent in different ways")
struct EqualGuestsTests {
  /// Sessions that should have brought the same guest.
  static let groups: [[Fixtures.Session]] = ["72", "100", "111"].flatMap { version in
    [false, true].map { colo in
      Fixtures.sessions.filter {
        $0.version == version && $0.isCOLO == colo && !$0.name.contains("q35-72")
          && !$0.name.contains("pc72")
      }
    }
  }

  /// Those that ran under TCG.
  static let emulated = groups.filter { group in
    group.contains { !$0.isCOLO || $0.version == "111" }
  }
  static let clocks: Set<String> = ["timer", "mc146818rtc", "i8254"]
  static let kvmClocks: Set<String> = ["cpu", "apic", "kvmclock"]

  @Test("There is something to compare")
  func count() {
    #expect(Self.groups.map(\.count) == [4, 2, 4, 2, 4, 5])
    #expect(Self.emulated.map(\.count) == [4, 4, 4, 5])
  }

  @Test("RAM is equal, clocks aside", arguments: emulated)
  func memory(group: [Fixtures.Session]) throws {
    let guests = try group.map { session in (session, try Self.migrated(session)) }
    let (first, one) = try #require(guests.first)
    for (session, other) in guests.dropFirst() {
      #expect(one.script.blocks == other.script.blocks)
      for (a, b) in zip(one.stage.guest, other.stage.guest) {
        let differing = Self.differences(a, b)
        let name = "\(a.name) of \(first) and \(session)"
        guard a.name == "pc.ram" else {
          #expect(differing.isEmpty, "\(name)")
          continue
        }
        #expect(differing.count <= 13, "\(name)")
        for (page, bytes) in differing {
          let place: Comment = "\(name), page 0x\(String(page, radix: 16)), bytes \(bytes)"
          switch page {
          case 0: #expect(bytes.allSatisfy { (0x46c..<0x470).contains($0) }, place)
          case 0x6000: #expect(bytes.allSatisfy { $0 >= 0xe00 }, place)
          default:
            #expect((0xe0000..<0x100000).contains(page) || page >= a.length - 0x80000, place)
            #expect(bytes.count <= 64, place)
          }
        }
      }
    }
  }

  @Test("Device state is equal, clocks aside", arguments: groups)
  func devices(group: [Fixtures.Session]) throws {
    let scripts = try group.map { session in (session, try StreamScript(session)) }
    let (first, one) = try #require(scripts.first)
    let sections = try Self.sections(one)
    #expect(sections.count >= 25)
    let names = Set(sections.map { $0.header.name })
    let clocks = names.contains("kvmclock") ? Self.clocks.union(Self.kvmClocks) : Self.clocks
    #expect(clocks.isSubset(of: names))
    for (session, other) in scripts.dropFirst() {
      #expect(one.decoder.configuration == other.decoder.configuration)
      #expect(one.earlyState == other.earlyState)
      let others = try Self.sections(other)
      #expect(sections.map(\.header) == others.map(\.header))
      for (a, b) in zip(sections, others) {
        #expect(a.body.count == b.body.count, "\(a.header.name) of \(first) and \(session)")
        guard !clocks.contains(a.header.name) else { continue }
        #expect(a.body == b.body, "\(a.header.name) of \(first) and \(session)")
      }
    }
  }

  /// Plays a session up to the end of its migration.
  private static func migrated(_ session: Fixtures.Session) throws -> StageReplay {
    let replay = try StageReplay(StreamScript(session), cache: session.isCOLO ? .sparse : nil)
    for step in replay.script.steps() {
      try replay.apply(step)
      if step == .precopyComplete { break }
    }
    return replay
  }

  /// Pages that differ, and which of their bytes do.
  private static func differences(_ a: RAMBlock, _ b: RAMBlock) -> [(page: Int, bytes: [Int])] {
    stride(from: 0, to: a.length, by: 4096).compactMap { page in
      // Both blocks are as long: their lists were compared.
      guard memcmp(a.base + page, b.base + page, 4096) != 0 else { return nil }
      return (
        page,
        (0..<4096).filter {
          a.base.load(fromByteOffset: page + $0, as: UInt8.self)
            != b.base.load(fromByteOffset: page + $0, as: UInt8.self)
        }
      )
    }
  }

  private static func sections(
    _ script: StreamScript
  ) throws -> [(header: SectionHeader, body: [UInt8])] {
    try script.deviceState.withUnsafeBytes { try DeviceStateScanner.split($0) }
      .map { ($0.header, Array(script.deviceState[$0.body])) }
  }
}
