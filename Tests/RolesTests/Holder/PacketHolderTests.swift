import Foundation
import Migration
import Observe
import Roles
import System
import TestSupport
import Testing

/// The holder between the two sockets of a QEMU that the test plays.
@Suite("A holder of packets", .beside)
struct PacketHolderTests {
  private let interface: FakeInterface
  private let asked = System.Monitor(0)
  private let ended = System.Monitor<[Failure?]>([])

  init() throws { interface = try FakeInterface() }

  private func holder(limit: Int = 1 << 24, linger: Double? = nil) throws -> PacketHolder {
    let (asked, ended) = (asked, ended)
    let holder = try PacketHolder(
      from: interface.from, to: interface.to, limit: limit, linger: linger,
      onWaiting: { asked.update { $0 += 1 } }, onEnd: { end in ended.update { $0.append(end) } })
    interface.accept()
    return holder
  }

  private func frames(_ numbers: ClosedRange<Int>, size: Int = 60) -> [UInt8] {
    numbers.flatMap { Frames.make($0, size: size) }
  }

  @Test("A mark knows all that QEMU has written before it, and nothing else")
  func marks() throws {
    let holder = try holder()
    defer { holder.end() }
    var next = 1
    var expected: [UInt8] = []
    for checkpoint in 1...200 {
      let known = frames(next...next + 4)
      interface.write(known)
      holder.mark(checkpoint)
      let later = frames(next + 5...next + 6)
      interface.write(later)
      next += 7
      holder.release(checkpoint)
      expected += known
      try #require(interface.read(expected.count) == expected, "checkpoint \(checkpoint)")
      expected = later
    }
    #expect(interface.isSilent)
    #expect(holder.counts.held == 2 && holder.counts.released == 1400 - 2)
    #expect(holder.counts.wait.count == 1400 - 2)
  }

  @Test("Half a packet belongs to the next checkpoint")
  func half() throws {
    let holder = try holder()
    defer { holder.end() }
    let frame = Frames.make(1)
    interface.write(Array(frame[..<30]))
    holder.mark(1)
    interface.write(Array(frame[30...]))
    holder.release(1)
    #expect(interface.isSilent)
    holder.mark(2)
    holder.release(2)
    #expect(interface.read(frame.count) == frame)
  }

  @Test("Everything leaves when the guest is alone, and is held again")
  func alone() throws {
    let holder = try holder()
    defer { holder.end() }
    interface.write(frames(1...3))
    #expect(interface.isSilent)
    holder.letThrough()
    #expect(interface.read(3 * 68) == frames(1...3))
    interface.write(frames(4...9))
    #expect(interface.read(6 * 68) == frames(4...9))
    #expect(holder.settle(within: 10))
    holder.mark(3)
    holder.hold()
    interface.write(frames(10...11))
    holder.release(3)
    #expect(interface.isSilent)
    holder.mark(1)
    holder.release(1)
    #expect(interface.read(2 * 68) == frames(10...11))
  }

  @Test("A QEMU that does not read holds nobody up, and memory is bounded")
  func deaf() throws {
    let limit = 4 << 20
    let holder = try holder(limit: limit)
    defer { holder.end() }
    holder.letThrough()
    // Never read here: this would not come back if the holder did not go on reading. What its socket
    // takes comes first: as long as that has room, so has the queue, and packets find it that come
    // behind others for which there was none.
    let first = frames(1...700, size: 1500)
    interface.write(first)
    #expect(wait(holder) { $0.released == 700 }.dropped == 0)
    let all = first + frames(701...20_000, size: 1500)
    interface.write(Array(all[first.count...]))
    #expect(!holder.settle(within: 0.01))
    let counts = wait(holder) { $0.released + $0.dropped == 20_000 }
    #expect(counts.dropped > 10_000 && counts.most <= limit && counts.bytes > limit * 3 / 4)
    // In order, and what was dropped is the newest.
    let size = counts.released * 1508
    // As a truth value: where they differ, megabytes would be compared for a report without end.
    let isInOrder = interface.read(size) == Array(all[..<size])
    #expect(isInOrder)
    // There is room again.
    interface.write(frames(30_000...30_000))
    #expect(interface.read(68) == frames(30_000...30_000))
    #expect(holder.settle(within: 10) && holder.counts.bytes == 0)
  }

  @Test("A checkpoint is asked for while something waits, and only then")
  func asking() throws {
    let holder = try holder(linger: 0.005)
    defer { holder.end() }
    Thread.sleep(forTimeInterval: 0.1)
    #expect(asked.read { $0 } == 0)
    interface.write(frames(1...1))
    // Again and again.
    #expect(asked.wait(seconds: 10) { $0 >= 4 ? true : nil } == true)
    holder.mark(1)
    holder.release(1)
    #expect(interface.read(68) == frames(1...1))
    let count = asked.read { $0 }
    Thread.sleep(forTimeInterval: 0.1)
    #expect(asked.read { $0 } == count && holder.counts.asked == count)
    // One that is marked and never released: its checkpoint has come to nothing.
    interface.write(frames(2...2))
    holder.mark(2)
    #expect(asked.wait(seconds: 10) { $0 > count ? true : nil } == true)
    holder.letThrough()
    let last = asked.read { $0 }
    interface.write(frames(3...3))
    #expect(interface.read(2 * 68) == frames(2...3))
    Thread.sleep(forTimeInterval: 0.1)
    #expect(asked.read { $0 } == last)
  }

  @Test("What is no packet ends it")
  func nonsense() throws {
    let holder = try holder()
    interface.write(Frames.head(0) + frames(1...1))
    #expect(end()??.kind == .corrupt)
    holder.end()
    #expect(ended.read { $0.count } == 1)
  }

  @Test("So does the end of either connection", arguments: [true, false])
  func closed(all: Bool) throws {
    let holder = try holder()
    interface.write(frames(1...1))
    if all { interface.close() } else { interface.finishReading() }
    #expect(end()??.kind == .failed)
    holder.release(1)
    holder.letThrough()
    #expect(!holder.settle(within: 10))
    holder.end()
  }

  @Test("It can be ended while QEMU does not read")
  func stuck() throws {
    let holder = try holder()
    holder.letThrough()
    interface.write(frames(1...3000, size: 1500))
    #expect(!holder.settle(within: 0.01))
    holder.end()
    #expect(end() == .some(nil))
  }

  @Test("Nobody there")
  func nobody() {
    interface.close()
    #expect {
      _ = try PacketHolder(from: interface.from, to: interface.to)
    } throws: {
      ($0 as? Failure)?.kind == .unreachable
    }
  }

  private func end() -> Failure?? { ended.wait(seconds: 10) { $0.last } }

  private func wait(
    _ holder: PacketHolder, _ isDone: (PacketCounts) -> Bool
  ) -> PacketCounts {
    _ = eventually(within: .seconds(20)) { isDone(holder.counts) }
    return holder.counts
  }
}
