import Foundation
import System
import Testing

@Suite("Monitor and threads")
struct MonitorTests {
  @Test(
    "What is there already is given at once, whatever the time limit",
    arguments: [nil, 0, 1000.5] as [Double?])
  func atOnce(seconds: Double?) {
    let monitor = System.Monitor(7)
    #expect(monitor.wait(seconds: seconds) { $0 == 7 ? "seven" : nil } == "seven")
  }

  @Test("When the time is over there is nothing", arguments: [0, 0.001, 0.05, 0.999_999_9])
  func timeout(seconds: Double) {
    let monitor = System.Monitor(0)
    let start = ContinuousClock.now
    #expect(monitor.wait(seconds: seconds) { $0 == 1 ? true : nil } == nil)
    // Not earlier than told; how much later is the machine's affair.
    #expect(ContinuousClock.now - start >= .seconds(seconds) - .milliseconds(1))
  }

  @Test("An update wakes everybody who waits, and waiting may change the value")
  func update() throws {
    let monitor = System.Monitor(0)
    let got = System.Monitor<[Int]>([])
    let threads = ThreadGroup()
    for _ in 0..<6 {
      try threads.start("waiter") {
        let ticket = monitor.take(seconds: nil) { value -> Int? in
          guard value > 0 else { return nil }
          defer { value -= 1 }
          return value
        }
        got.update { $0.append(ticket!) }
      }
    }
    #expect(
      monitor.update { value in
        value += 2; return value
      } > 0)
    monitor.update { $0 += 4 }
    threads.joinAll()
    #expect(got.update { $0.sorted() }.count == 6)
    #expect(monitor.update { $0 } == 0)
  }

  @Test("Threads that have ended are forgotten, and those that run are not")
  func ended() throws {
    let isOver = System.Monitor(false)
    let threads = ThreadGroup()
    try threads.start("running") { _ = isOver.wait(seconds: 20) { $0 ? true : nil } }
    /// Bytes of addresses that are in use.
    func reserved() throws -> Int {
      let text = try String(contentsOfFile: "/proc/self/statm", encoding: .utf8)
      return try #require(text.split(separator: " ").first.flatMap { Int($0) }) * 4096
    }
    func comeAndGo(_ count: Int) throws {
      for _ in 0..<count {
        let hasRun = System.Monitor(false)
        try threads.start("passing") { hasRun.update { $0 = true } }
        #expect(hasRun.wait(seconds: 20) { $0 ? true : nil } == true)
        threads.joinEnded()
      }
    }
    try comeAndGo(20)
    let before = try reserved()
    // 8 MiB of stack each.
    try comeAndGo(300)
    #expect(try reserved() - before < 1 << 30)
    isOver.update { $0 = true }
    threads.joinAll()
  }

  @Test("A change by one who waits wakes the others")
  func chain() throws {
    let monitor = System.Monitor(0)
    let threads = ThreadGroup()
    for turn in 0..<20 {
      try threads.start("turn \(turn)") {
        _ = monitor.take(seconds: nil) { value -> Void? in
          guard value == turn else { return nil }
          value += 1
          return ()
        }
      }
    }
    threads.joinAll()
    #expect(monitor.update { $0 } == 20)
  }

  @Test("Joining waits for every thread, and a group can be used again")
  func threads() throws {
    let threads = ThreadGroup()
    let count = System.Monitor(0)
    for _ in 0..<4 {
      try threads.start("a name that is longer than fifteen bytes") {
        Thread.sleep(forTimeInterval: 0.02)
        count.update { $0 += 1 }
      }
    }
    threads.joinAll()
    #expect(count.update { $0 } == 4)
    threads.joinAll()
    try threads.start("again") { count.update { $0 += 1 } }
    threads.joinAll()
    #expect(count.update { $0 } == 5)
  }

  @Test("A thread that does not end is waited for as long as was said, and no longer")
  func joinWithin() throws {
    let threads = ThreadGroup()
    let go = System.Monitor(false)
    let ended = System.Monitor(false)
    try threads.start("stuck") {
      _ = go.wait(seconds: nil) { $0 ? () : nil }
      ended.update { $0 = true }
    }
    #expect(!threads.joinAll(within: 0.05))
    go.update { $0 = true }
    #expect(ended.wait(seconds: 10) { $0 ? () : nil } != nil)
    try threads.start("quick") {}
    #expect(threads.joinAll(within: 10))
  }

  @Test("A time limit that is no number ends nothing but the wait", arguments: [Double.nan, -1, 0])
  func noTime(seconds: Double) {
    #expect(System.Monitor(0).wait(seconds: seconds) { _ -> Void? in nil } == nil)
  }
}
