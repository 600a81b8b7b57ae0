import Observe
import Roles
import TestSupport
import Testing

/// What waits, what leaves, and in which order.
@Suite("Packets that wait for their checkpoint")
struct FrameQueueTests {
  private let now = ContinuousClock.now

  @Test("A release lets go of what was there at its mark, and before")
  func marks() {
    var queue = FrameQueue(limit: 1 << 20)
    fill(&queue, 1...3)
    queue.mark(7, at: now)
    fill(&queue, 4...5)
    queue.release(6, at: now)
    #expect(sent(&queue).isEmpty)
    queue.release(7, at: now)
    #expect(sent(&queue) == bytes(1...3))
    // Mark 8 was answered too late and never released: 9 covers it.
    queue.mark(8, at: now)
    fill(&queue, 6...6)
    queue.mark(9, at: now)
    fill(&queue, 7...7)
    queue.release(9, at: now)
    #expect(sent(&queue) == bytes(4...6))
    queue.release(9, at: now)
    queue.release(100, at: now)
    #expect(sent(&queue).isEmpty)
    #expect(queue.report.held == 1)
  }

  @Test("An older mark says nothing, and none is of use when it is forgotten")
  func forgotten() {
    var queue = FrameQueue(limit: 1 << 20)
    fill(&queue, 1...1)
    queue.mark(5, at: now)
    fill(&queue, 2...2)
    queue.mark(4, at: now)
    queue.release(4, at: now)
    #expect(sent(&queue).isEmpty)
    queue.forgetMarks()
    queue.release(5, at: now)
    #expect(sent(&queue).isEmpty)
    queue.mark(1, at: now)
    queue.release(1, at: now)
    #expect(sent(&queue) == bytes(1...2))
  }

  @Test("All of it, when the guest is alone")
  func all() {
    var queue = FrameQueue(limit: 1 << 20)
    fill(&queue, 1...2)
    queue.mark(1, at: now)
    fill(&queue, 3...3)
    queue.releaseAll(at: now)
    #expect(sent(&queue) == bytes(1...3))
    #expect(queue.isEmpty && queue.report.bytes == 0 && queue.report.released == 3)
  }

  @Test("Beyond the limit the newest are dropped, and room that is free is used again")
  func limit() {
    var queue = FrameQueue(limit: 1000)
    fill(&queue, 1...20)
    let kept = queue.report.held
    #expect(kept > 5 && kept < 1000 / 68 && queue.report.dropped == 20 - kept)
    #expect(queue.report.bytes <= 1000 && queue.report.most == queue.report.bytes)
    queue.releaseAll(at: now)
    // What may leave and has not left takes room too.
    fill(&queue, 21...21)
    #expect(queue.report.dropped == 21 - kept)
    #expect(sent(&queue) == bytes(1...kept))
    fill(&queue, 22...23)
    queue.releaseAll(at: now)
    #expect(sent(&queue) == bytes(22...23))
  }

  @Test("No write ends inside a packet, and none is longer than a socket takes whole")
  func portions() {
    var queue = FrameQueue(limit: 1 << 24)
    var ends: Set<Int> = [0]
    var total = 0
    for number in 0..<400 {
      let frame = Frames.make(number, size: number % 50 == 7 ? 65_000 : 60 + number * 3)
      queue.append(frame[...], came: now)
      total += frame.count
      ends.insert(total)
    }
    queue.releaseAll(at: now)
    var done = 0
    queue.send { part -> Int? in
      #expect(ends.contains(done) && ends.contains(done + part.count))
      #expect(part.count <= 1 << 15 || part.count == 65_008)
      done += part.count
      return part.count
    }
    #expect(done == total)
  }

  @Test("Anything, in any order", arguments: 0..<40)
  func anything(seed: UInt64) {
    var random = SeededGenerator(seed: seed)
    var queue = FrameQueue(limit: 1 << 30)
    // What it should do, in the simplest way.
    var (came, marks, released) = ([[UInt8]](), [(Int, Int)](), 0)
    var (output, number) = ([UInt8](), 0)
    for step in 0..<3000 {
      switch Int.random(in: 0..<100, using: &random) {
      case ..<60:
        came.append(Frames.make(step, size: .random(in: 8...3000, using: &random)))
        queue.append(came[came.count - 1][...], came: now)
      case ..<75:
        number += Int.random(in: 1...3, using: &random)
        marks.append((number, came.count))
        queue.mark(number, at: now)
      case ..<90:
        let upTo = number - Int.random(in: 0...6, using: &random)
        released = max(released, marks.last { $0.0 <= upTo }?.1 ?? 0)
        marks.removeAll { $0.0 <= upTo }
        queue.release(upTo, at: now)
      case 90:
        (released, marks) = (came.count, [])
        queue.releaseAll(at: now)
      case 91:
        marks = []
        queue.forgetMarks()
      default:
        var budget = Int.random(in: 0...100_000, using: &random)
        queue.send { part -> Int? in
          guard budget > 0 else { return nil }
          let count = min(budget, part.count)
          budget -= count
          output += part.prefix(count)
          return count
        }
      }
      #expect(queue.report.held == came.count - released)
    }
    output += sent(&queue)
    #expect(output == came[..<released].flatMap { $0 })
    #expect(queue.report.released == released && queue.report.wait.count == released)
  }

  @Test("A checkpoint is asked for when something waits that no mark knows, or a mark gets old")
  func asking() {
    var queue = FrameQueue(limit: 1 << 20)
    func asksAt() -> Duration? {
      queue.asksAt(linger: .milliseconds(5)).map { $0 - now }
    }
    #expect(asksAt() == nil)
    queue.append(Frames.make(1)[...], came: now)
    queue.append(Frames.make(2)[...], came: now + .milliseconds(3))
    #expect(asksAt() == .milliseconds(5))
    queue.asked(at: now + .milliseconds(5))
    #expect(asksAt() == .milliseconds(25))
    queue.mark(1, at: now + .milliseconds(6))
    #expect(asksAt() == .milliseconds(106))
    // The mark was the answer: what comes behind it waits no longer than the first.
    queue.append(Frames.make(3)[...], came: now + .milliseconds(8))
    #expect(asksAt() == .milliseconds(13))
    queue.release(1, at: now + .milliseconds(9))
    #expect(asksAt() == .milliseconds(13))
    queue.mark(2, at: now + .milliseconds(10))
    queue.release(2, at: now + .milliseconds(11))
    #expect(asksAt() == nil)
    // A histogram's maximum is a bucket's.
    #expect(queue.report.wait.max.rounded() == 9 && queue.report.asked == 1)
  }

  private func fill(_ queue: inout FrameQueue, _ numbers: ClosedRange<Int>) {
    for number in numbers { queue.append(Frames.make(number)[...], came: now) }
  }

  private func bytes(_ numbers: ClosedRange<Int>) -> [UInt8] { numbers.flatMap { Frames.make($0) } }

  private func sent(_ queue: inout FrameQueue) -> [UInt8] {
    var all: [UInt8] = []
    queue.send { part -> Int? in
      all += part
      return part.count
    }
    return all
  }
}
