import COLO
import Foundation
import Memory
import SessionReplay
import System
import TestSupport
import Testing

@Suite(
  "The COLO stage on a full file system",
  .enabled(if: SmallFileSystem.isAvailable, "SKIPPED: a small file system needs root"))
struct FullStageTests {
  private func block(_ system: SmallFileSystem, _ name: String) throws -> RAMBlock {
    let file = open(system.path + "/" + name, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    return try RAMBlock(name: name, length: 16 << 20, pageSize: 4096, emptyFile: file)
  }

  private func prepare(_ stage: COLOStage, _ normal: [UInt64], _ zero: [UInt64]) throws {
    try stage.receive(0, normal: normal, zero: zero) { target in
      for offset in target.normal { memset(target.host + Int(offset), 0x44, 4096) }
    }
  }

  @Test("A packet for which the mirror has no room was recorded before anything was written")
  func recordedFirst() throws {
    let system = try SmallFileSystem("size=1536k")
    let guest = try RAMBlock(memfd: "guest", length: 16 << 20, pageSize: 4096)
    let size = MirrorCache.bitmapSize([guest])
    let mirror = try MirrorCache(
      blocks: [try block(system, "cache")],
      bitmaps: try ["a", "b"].map { try RAMBlock(memfd: $0, length: size, pageSize: 4096) })
    let stage = COLOStage(guest: [guest], cache: .mirror(mirror))
    stage.enterCOLO()
    try prepare(stage, [0], [])
    memset(mirror.blocks[0].base, 0x31, 8192)
    #expect(throws: SystemError("writing RAM block cache", errno: ENOSPC)) {
      try prepare(stage, [4 << 20, 5 << 20, 6 << 20], [4096, 8 << 20])
    }
    let recorded = (0..<4096).filter(mirror.bitmaps[0][0].contains)
    #expect(recorded == [0, 1, 1024, 1280, 1536, 2048])
    #expect(mirror.blocks[0].base.load(fromByteOffset: 4096, as: UInt8.self) == 0x31)
  }

  @Test(
    "Pages for which the guest has no room are refused when they come, and not when they are copied",
    arguments: TestCache.allCases)
  func guest(cache: TestCache) throws {
    let system = try SmallFileSystem("size=6m")
    let ballast = open(system.path + "/ballast", O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    try #require(write(ballast, [UInt8](repeating: 1, count: 9 << 19), 9 << 19) == 9 << 19)
    defer { close(ballast) }
    let guest = [try block(system, "guest")]
    let stage = COLOStage(guest: guest, cache: try cache.make(for: guest))
    stage.enterCOLO()
    // Pages of one word of a bitmap lie in different chunks of memory.
    let pages: [UInt64] = [0, 255, 256, 300, 511, 512, 4095].map { $0 * 4096 }
    #expect(throws: SystemError("writing RAM block guest", errno: ENOSPC)) {
      try prepare(stage, pages, [])
    }
    #expect(ftruncate(ballast, 0) == 0)
    try prepare(stage, pages, [])
    let sealed = stage.seal()
    // Nothing is left for the copy to ask for.
    #expect(ftruncate(ballast, 9 << 19) == 0)
    try stage.redo(sealed)
    for page in pages { #expect(SmallStage.fill(guest[0], page) == 0x44, "page \(page)") }
  }
}
