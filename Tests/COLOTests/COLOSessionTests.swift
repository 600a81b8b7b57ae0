import COLO
import Foundation
import Memory
import SessionReplay
import TestSupport
import Testing
import Wire

@Suite("Recorded COLO sessions through the stage")
struct COLOSessionTests {
  static let sessions = Fixtures.sessions.filter(\.isCOLO)
  static let cases: [(schedule: Schedule, cache: TestCache)] = TestCache.allCases.flatMap { cache in
    [Schedule.mainFirst, .channelsFirst, .mixed(seed: 1)].map { ($0, cache) }
  }

  /// The guest as it should be after the migration and after each checkpoint, by the naive model.
  static func images(_ script: StreamScript) throws -> [[[UInt64: [UInt8]]]] {
    var model = try PageModel(script)
    var images: [[[UInt64: [UInt8]]]] = []
    for step in script.steps() {
      try model.apply(step)
      switch step {
      case .precopyComplete, .checkpointComplete: images.append(model.committed)
      default: break
      }
    }
    return images
  }

  @Test("They are here, with the checkpoints that their README tells")
  func count() throws {
    var checkpoints: [String: Int] = [:]
    for session in Self.sessions {
      let images = try Self.images(StreamScript(session))
      checkpoints[session.name] = images.count - 1
      // Otherwise nothing below would show anything.
      #expect(
        zip(images, images.dropFirst()).contains { $0 != $1 }, "\(session): the guest never changes"
      )
    }
    #expect(
      checkpoints == [
        "bios-colo-100-none-2ch": 6, "bios-colo-100-pc72-none-2ch": 4, "bios-colo-100-plain": 6,
        "bios-colo-111-none-2ch": 5, "bios-colo-111-none-4ch": 5, "bios-colo-111-plain": 5,
        "bios-colo-111-zlib-2ch": 5, "bios-colo-111-zstd-2ch": 5, "bios-colo-72-none-2ch": 5,
        "bios-colo-72-plain": 6,
      ])
  }

  @Test(
    "After each checkpoint the guest is the model's, and until then it is the one before",
    arguments: sessions, cases)
  func replay(session: Fixtures.Session, row: (schedule: Schedule, cache: TestCache)) throws {
    let script = try StreamScript(session)
    let images = try Self.images(script)
    let replay = try StageReplay(script, cache: row.cache)
    let stage = replay.stage
    var image = 0
    var touched = script.blocks.map { _ in Set<UInt64>() }
    for step in script.steps(row.schedule) {
      try replay.apply(step)
      switch step {
      case .precopyComplete:
        #expect(PageModel.difference(stage.guest, images[0]) == nil)
        if case .mirror(let mirror) = stage.cache {
          #expect(PageModel.difference(mirror.blocks, images[0]) == nil)
          #expect(mirror.bitmaps.joined().allSatisfy { $0.population == 0 })
        } else {
          #expect(stage.cacheBytes == 0)
        }
        #expect(stage.state == .colo)
      case .checkpointComplete:
        #expect(PageModel.difference(stage.guest, images[image]) == nil, "before copy \(image + 1)")
        if case .mirror(let mirror) = stage.cache {
          #expect(PageModel.difference(mirror.blocks, images[image + 1]) == nil)
          for (block, map) in mirror.bitmaps[image % 2].enumerated() {
            let recorded = (0..<map.count).filter(map.contains).map { UInt64($0 * 4096) }
            #expect(recorded == touched[block].sorted(), "\(script.blocks[block].name)")
          }
        }
        let sealed = stage.seal()
        #expect(sealed.side == image % 2)
        stage.turn()
        image += 1
        for part in 0..<2 { try stage.redo(sealed, part: part, parts: 2) }
        #expect(PageModel.difference(stage.guest, images[image]) == nil, "after copy \(image)")
        try stage.forget(sealed)
        touched = script.blocks.map { _ in [] }
      default:
        guard stage.state == .colo, let (block, offsets) = Self.pages(of: step, script) else {
          continue
        }
        touched[block].formUnion(offsets)
        let zero = [UInt8](repeating: 0, count: 4096)
        for offset in offsets {
          let before = images[image][block][offset] ?? zero
          #expect(
            memcmp(stage.guest[block].base + Int(offset), before, 4096) == 0,
            "\(script.blocks[block].name) at \(offset) changed inside a checkpoint")
        }
      }
    }
    #expect(image == images.count - 1)
  }

  @Test("Channels as threads give the same", arguments: sessions, TestCache.allCases)
  func threads(session: Fixtures.Session, cache: TestCache) throws {
    let script = try StreamScript(session)
    let images = try Self.images(script)
    let replay = try StageReplay(script, cache: cache)
    var image = 0
    for phase in script.phases {
      switch phase {
      case .alone(let steps):
        for step in steps {
          try replay.apply(step)
          guard case .checkpointComplete = step else { continue }
          #expect(PageModel.difference(replay.stage.guest, images[image]) == nil)
          image += 1
          try replay.stage.flush()
          #expect(PageModel.difference(replay.stage.guest, images[image]) == nil)
        }
      case .together(let lists):
        inThreads(lists.count) { index in
          for step in lists[index] {
            do { try replay.apply(step) } catch { Issue.record(error, "\(step)") }
          }
        }
      }
    }
    #expect(image == images.count - 1)
  }

  @Test("Without sync points the result is another: the tests above can fail")
  func syncPointsMatter() throws {
    var wrong: [String] = []
    for session in Self.sessions where !session.channels.isEmpty {
      let script = try StreamScript(session)
      let replay = try StageReplay(script, cache: nil)
      try replay.run(.ignoringSyncPoints)
      var model = try PageModel(script)
      for step in script.steps() { try model.apply(step) }
      if PageModel.difference(replay.stage.guest, model.pages) != nil { wrong.append(session.name) }
    }
    #expect(!wrong.isEmpty)
  }

  /// The pages that a step brings.
  private static func pages(
    of step: StreamScript.Step, _ script: StreamScript
  ) -> (block: Int, offsets: [UInt64])? {
    switch step {
    case .page(let block, let offset, _), .zero(let block, let offset, _): return (block, [offset])
    case .packet(let channel, let index):
      let packet = script.channels[channel].packets[index]
      return packet.block < 0 ? nil : (packet.block, packet.offsets)
    default: return nil
    }
  }
}
