import Foundation

// What protection costs a guest, measured one thing at a time while it does nothing else.
extension WholeGuest {
  /// Has it do nothing but beat.
  public func rest() {
    primary.console.send("hold")
    primary.console.send("set net 0")
    wire.hush()
    Thread.sleep(forTimeInterval: 0.3)
  }

  /// Writes of 4 KiB beside its page cache, each with fdatasync(2): how long they took, by the
  /// guest's own clock, which stands still with it. It rests meanwhile.
  public func timeWrites(_ count: Int) throws -> [Duration] {
    let start = primary.console.log.lines.count
    primary.console.send("time \(count)")
    let isDone = primary.console.log.wait(from: start, .seconds(120)) {
      $0.text.hasPrefix("TIMED ") ? true : nil
    }
    let times = primary.console.log.lines.dropFirst(start).filter { $0.text.hasPrefix("TOOK ") }
      .flatMap { $0.text.split(separator: " ").compactMap { Int($0) } }
      .map { Duration.microseconds($0) }
    guard isDone == true, times.count == count else {
      throw LabError("\(times.count) of \(count) writes were timed: \(complaints)")
    }
    return times
  }

  /// Questions to its echo for some seconds, 50 a second: how long the answers took. It rests
  /// meanwhile.
  public func timeEcho(seconds: Double) throws -> [Duration] {
    let before = wire.seen.trips.count
    wire.ask()
    Thread.sleep(forTimeInterval: seconds)
    wire.hush()
    // What was asked last.
    Thread.sleep(forTimeInterval: 0.5)
    let trips = Array(wire.seen.trips.dropFirst(before))
    guard !trips.isEmpty else { throw LabError("the echo does not answer: \(complaints)") }
    return trips
  }

  /// Bytes a second of a TCP stream out of it, from its first byte to its last. It rests meanwhile.
  ///
  /// - Parameter seconds: for how long it sends, on its own clock.
  public func measureStream(seconds: Int) throws -> Double {
    wire.expectStream()
    primary.console.send("stream \(seconds)")
    let stream = wire.wait(.seconds(10.0 * Double(seconds) + 30)) { $0.stream }
    guard let stream, stream.time > .zero else {
      throw LabError("the guest's stream does not end: \(complaints)")
    }
    return Double(stream.bytes) / stream.time.inSeconds
  }

  /// For how long it stands still at checkpoints, for some seconds in which it writes to its disks
  /// as fast as it was told to, by QEMU's own events.
  public func timePauses(seconds: Double) -> [Duration] {
    primary.console.send("go")
    Thread.sleep(forTimeInterval: 0.5)
    let start = primary.qmp.eventCount
    Thread.sleep(forTimeInterval: seconds)
    let events = primary.qmp.events(from: start)
    rest()
    var pauses: [Duration] = []
    var stopped: Duration?
    for event in events {
      if event.name == "STOP" { stopped = event.timestamp }
      if event.name == "RESUME", let since = stopped {
        pauses.append(event.timestamp - since)
        stopped = nil
      }
    }
    return pauses
  }
}
