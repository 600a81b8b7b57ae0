import COLO
import Foundation
import Memory
import Results
import TestSupport

/// What recording a checkpoint's pages costs a channel, as there are more of them. Each thread does
/// what a channel does of a packet before its first byte is read, and nothing else, so this is the
/// most that they can be in each other's way.
enum RecordingScale {
  private static let (pageSize, packet) = (4096, 128)
  /// Pages of a checkpoint, all channels together: 512 MiB.
  private static let pages = 131_072
  /// Checkpoints of a round.
  private static let checkpoints = 8

  static func run(threads: [Int], rounds: Int) throws -> Section {
    let stages = try ["mirror", "sparse"].map { ($0, try stage($0)) }
    var costs: [String: Series] = [:]
    for round in 1...rounds {
      note("recording: round \(round)")
      for count in threads {
        for (name, stage) in stages {
          costs["\(name) \(count)", default: Series()].values.append(
            try record(stage, threads: count))
        }
      }
    }
    var table = Table([
      "threads", "mirror: CPU ns a page", "ratio", "sparse: CPU ns a page", "ratio",
    ])
    for count in threads {
      table.rows.append(
        ["\(count)"]
          + stages.flatMap { name, _ -> [String] in
            let cost = costs["\(name) \(count)"] ?? Series()
            let one = costs["\(name) \(threads[0])"] ?? Series()
            return [cost.text(1), cost.relative(to: one).text()]
          })
    }
    let cores = ProcessInfo.processInfo.activeProcessorCount
    let text = """
      Threads that record packets of \(packet) neighbouring pages, packet by packet in turns, \(pages) pages a checkpoint in \
      all, with nothing between two packets, on \(cores) processors. CPU time of all threads together; ratios to \
      \(threads[0]) in the same round.
      """
    return Section("Recording", [.text(text), .table(table)])
  }

  private static func stage(_ name: String) throws -> COLOStage {
    func block(_ name: String, _ length: Int) throws -> RAMBlock {
      let block = try RAMBlock(memfd: name, length: length, pageSize: pageSize)
      for offset in stride(from: 0, to: length, by: pageSize) { try block.reserve(pageAt: offset) }
      return block
    }
    let guest = try block("guest", pages * pageSize)
    let cache: COLOStage.Cache =
      name == "mirror"
      ? .mirror(try MirrorCache(memoryFor: [guest]))
      : .sparse(
        try (0..<2).map { _ in
          StagingLog(
            pages: try RAMBlock(memfd: "pages", length: guest.length, pageSize: pageSize),
            journal: try RAMBlock(
              memfd: "journal", length: StagingLog.journalSize(pages: pages), pageSize: pageSize))
        })
    let stage = COLOStage(guest: [guest], cache: cache)
    stage.enterCOLO()
    // All that is touched becomes memory, which is not what is measured.
    _ = try record(stage, threads: 1)
    return stage
  }

  /// CPU nanoseconds for a page.
  private static func record(_ stage: COLOStage, threads: Int) throws -> Double {
    let state = Monitor((used: 0, hasFailed: false))
    for _ in 0..<checkpoints {
      inThreads(threads) { thread in
        let before = threadTime()
        let slots = UnsafeMutableBufferPointer<UInt64>.allocate(capacity: packet)
        defer { slots.deallocate() }
        var offsets = [UInt64](repeating: 0, count: packet)
        for number in stride(from: thread, to: pages / packet, by: threads) {
          for index in 0..<packet { offsets[index] = UInt64((number * packet + index) * pageSize) }
          do {
            // Valid within the closure, which is as long as the stage needs them.
            _ = try offsets.withUnsafeBufferPointer {
              try stage.prepare(
                block: 0, normal: $0, zero: UnsafeBufferPointer(start: nil, count: 0), slots: slots)
            }
          } catch { state.update { $0.hasFailed = true } }
        }
        let used = threadTime() - before
        state.update { $0.used += used }
      }
      try clear(stage)
    }
    let (used, hasFailed) = state.read { $0 }
    guard !hasFailed else { throw LabError("recording failed") }
    return Double(used) / Double(pages * checkpoints)
  }

  /// Forgets a checkpoint without copying its pages.
  private static func clear(_ stage: COLOStage) throws {
    let sealed = stage.seal()
    if case .mirror(let mirror) = stage.cache {
      mirror.bitmaps[sealed.side][0].drain { _ in }
    }
    try stage.forget(sealed, keep: .max >> 1)
  }
}
