import Foundation

/// A running stock QEMU with the lab's guest in it, whoever started it.
public protocol GuestHost: AnyObject, Sendable {
  /// Which QEMU it is.
  var version: QEMUVersion { get }
  /// The machine it runs.
  var machine: QEMU.Machine { get }
  /// A control connection.
  var qmp: QMPClient { get }
  /// The guest's serial line.
  var console: GuestConsole { get }
  /// What it wrote to stderr, shortened; empty when that went elsewhere.
  var complaints: String { get }
  /// Ends it at once, as a power failure would, and waits until it is gone.
  func killNow()
}

extension QEMU: GuestHost {
  /// SIGKILL, and wait.
  public func killNow() {
    process.kill()
    _ = process.wait(.seconds(10))
  }
}

extension GuestHost {
  /// Types the settings of a load: how much the guest rewrites (MiB/s), and of what kind the pages
  /// are.
  public func setLoad(rate: Int, mix: String = "text") {
    console.setMix(mix)
    console.setRate(rate)
  }

  /// The moment, on QEMU's clock, at which the guest first ran after event `start`; nil when it
  /// never did.
  public func waitResumed(from start: Int = 0, _ timeout: Duration) -> QMPClient.Event? {
    qmp.waitEvent(from: start, timeout) { $0.name == "RESUME" ? $0 : nil }
  }

  /// When the guest began to run, seconds since 1970: on QEMU's clock, or now where it ran before
  /// anybody listened to QEMU's events; nil when it does not run.
  public func waitRunning(_ timeout: Duration) -> Duration? {
    if let resumed = waitResumed(.seconds(2)) { return resumed.timestamp }
    let deadline = ContinuousClock.now + timeout
    while ContinuousClock.now < deadline {
      if (try? qmp.execute("query-status"))?["status"].string == "running" {
        return .seconds(Date().timeIntervalSince1970)
      }
      Thread.sleep(forTimeInterval: 0.05)
    }
    return nil
  }

  /// Lets the guest, which has no load any more, check all of its memory. Throws what is wrong with
  /// it.
  ///
  /// - Parameter start: what its console said in its lines before this one was rewound.
  public func checkMemory(
    from start: Int = 0, _ timeout: Duration = .seconds(180)
  ) throws -> GuestConsole.FullCheck {
    console.setRate(0)
    guard let check = console.fullCheck(timeout) else {
      throw LabError("the guest does not answer: \(console.log.text.suffix(300))")
    }
    let trouble = console.trouble(from: start).prefix(5)
    guard check.bad == 0, check.pages > 0, trouble.isEmpty else {
      throw LabError("the guest is damaged: \(check.text) \(trouble.joined(separator: "; "))")
    }
    return check
  }
}
