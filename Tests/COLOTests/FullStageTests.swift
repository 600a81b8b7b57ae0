import COLO
import Foundation
import Memory
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
    try normal.withUnsafeBufferPointer { normal in
      try zero.withUnsafeBufferPointer { _ = try stage.prepare(block: 0, normal: normal, zero: $0) }
    }
  }

  @Test("A packet for which the cache has no room was recorded before anything was written")
  func recordedFirst() throws {
    let system = try SmallFileSystem("size=1536k")
    let memory = try RAMBlock(memfd: "guest", length: 16 << 20, pageSize: 4096)
    let stage = COLOStage(guest: [memory], cache: [try block(system, "cache")])
    stage.enterCOLO()
    try prepare(stage, [0], [])
    memset(stage.cache[0].base, 0x31, 8192)
    #expect(throws: SystemError("writing RAM block cache", errno: ENOSPC)) {
      try prepare(stage, [4 << 20, 5 << 20, 6 << 20], [4096, 8 << 20])
    }
    let recorded = (0..<4096).filter(stage.dirty[0].contains)
    #expect(recorded == [0, 1, 1024, 1280, 1536, 2048])
    #expect(stage.cache[0].base.load(fromByteOffset: 4096, as: UInt8.self) == 0x31)
  }

  @Test("A flush for which the guest has no room loses nothing: with room it can be repeated")
  func flushAgain() throws {
    let system = try SmallFileSystem("size=6m")
    let ballast = open(system.path + "/ballast", O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    try #require(write(ballast, [UInt8](repeating: 1, count: 9 << 19), 9 << 19) == 9 << 19)
    defer { close(ballast) }
    let memory = try RAMBlock(memfd: "cache", length: 16 << 20, pageSize: 4096)
    let stage = COLOStage(guest: [try block(system, "guest")], cache: [memory])
    stage.enterCOLO()
    // Two pages of one word of the bitmap lie in different chunks of memory.
    let pages: [UInt64] = [0, 255, 256, 300, 511, 512, 4095].map { $0 * 4096 }
    try prepare(stage, pages, [])
    for page in pages { memset(stage.cache[0].base + Int(page), 0x44, 4096) }
    #expect(throws: SystemError("writing RAM block guest", errno: ENOSPC)) { try stage.flush() }
    #expect(stage.dirty[0].population > 0)
    #expect(ftruncate(ballast, 0) == 0)
    try stage.flush()
    #expect(stage.dirty[0].population == 0)
    for page in pages { #expect(SmallStage.fill(stage.guest[0], page) == 0x44, "page \(page)") }
  }
}
