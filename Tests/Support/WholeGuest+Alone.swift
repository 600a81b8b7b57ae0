import Foundation

extension WholeGuest {
  /// How long its guest may be silent: what `multifd protect` promises without more.
  public static let patience = Duration.seconds(3)

  /// When something was lost, and what `multifd protect` had said by then.
  struct Moment {
    let time = ContinuousClock.now
    let lines: Int
    let protect: MultiFDProcess?

    init(_ protect: MultiFDProcess?) {
      self.protect = protect
      lines = protect?.process.errors.lines.count ?? 0
    }
  }

  /// Waits until the primary's guest goes on without a standby.
  ///
  /// - Returns: how long it was silent.
  func waitAlone(since lost: Moment) throws -> Duration {
    if let protect {
      let told = protect.process.errors.wait(
        from: protect === lost.protect ? lost.lines : 0, .seconds(30)
      ) {
        $0.text.contains("unprotected since") ? true : nil
      }
      guard told == true else {
        throw Inconsistency("multifd protect does not let the guest go: \(complaints)")
      }
    } else {
      // What `multifd protect` would do. It is refused where QEMU has noticed by itself.
      Thread.sleep(forTimeInterval: 1)
      _ = try? primary.qmp.execute("x-colo-lost-heartbeat", timeout: .seconds(20))
    }
    let beats = primary.console.heartbeats.last?.number ?? 0
    guard primary.console.waitHeartbeat(atLeast: beats + 2, .seconds(30)) != nil else {
      let status = (try? primary.qmp.execute("query-status", timeout: .seconds(3)).text) ?? "mute"
      throw Inconsistency(
        "the primary's guest does not go on alone (\(status)): \(complaints) "
          + "\(protect?.process.output.text.suffix(400) ?? "")")
    }
    let packets = wire.seen.packets.count
    guard wire.wait(.seconds(10), for: { $0.packets.count > packets + 5 ? true : nil }) == true
    else { throw Inconsistency("the primary's guest is mute without its standby") }
    return silence(since: lost.time)
  }

  /// The longest time since then, and at most until now, in which the guest's packets did not leave,
  /// or none of its writes was done, as its heartbeats tell to a tenth of a second.
  public func silence(since start: ContinuousClock.Instant) -> Duration {
    let writes = primary.console.log.lines.compactMap { line -> (Int, ContinuousClock.Instant)? in
      guard line.text.hasPrefix("HB n="), let count = GuestConsole.field("completed", line.text)
      else { return nil }
      return (count, line.time)
    }
    // The first heartbeat that knows of a write.
    let done = zip(writes, writes.dropFirst()).filter { $0.0 != $1.0 }.map(\.1.1)
    return max(
      Self.longestGap(wire.seen.packets.map(\.time), since: start),
      Self.longestGap(done, since: start))
  }

  /// Between two of these times, or from `start` to the first, or from the last until now.
  private static func longestGap(
    _ times: [ContinuousClock.Instant], since start: ContinuousClock.Instant
  ) -> Duration {
    let all = [start] + times.drop { $0 < start } + [.now]
    return zip(all, all.dropFirst()).map { $0.duration(to: $1) }.max() ?? .zero
  }
}
