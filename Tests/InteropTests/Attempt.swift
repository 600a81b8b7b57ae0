import Foundation
import TestSupport
import Testing

extension InteropTests {
  /// A live migration into `multifd receive` that is going to fail, by way of a proxy.
  final class Attempt: Sendable {
    let source: QEMU
    let multifd: MultiFDProcess
    private let proxy: Proxy
    private let order: MigrationOrder
    private let folder: TemporaryFolder

    /// Starts it. `arguments` are more arguments for `multifd receive`.
    init(
      _ version: QEMUVersion, channels: Int, compression: String, _ arguments: [String] = [],
      cuts: [Proxy.Cut] = [], store: String? = nil, wrapper: [String] = []
    ) throws {
      folder = try TemporaryFolder(.memory(bytes: 128 << 20))
      source = try guests.guest(version, version.machine(with: version)).start(in: version)
      _ = try #require(source.console.waitHeartbeat(.seconds(60)))
      multifd = try MultiFDProcess(
        ["receive", "--listen", "tcp:127.0.0.1:0", "--store", store ?? folder("store"), "--json"]
          + (arguments.contains("--timeout") ? [] : ["--timeout", "10"]) + arguments,
        wrapper: wrapper)
      let uri = try multifd.waitListening()
      let port = try #require(uri.split(separator: ":").last.flatMap { Int($0) })
      proxy = try Proxy(to: port, cuts: cuts)
      try MigrationSetup(channels: channels, compression: compression).apply(to: source, .source)
      order = try source.startMigration(to: "tcp:127.0.0.1:\(proxy.port)")
    }

    /// How `multifd receive` ended.
    func result() throws -> MultiFDProcess.Result { try multifd.wait(.seconds(60)) }

    /// Ends every connection that the proxy still holds open.
    func endProxy() { proxy.close() }

    /// Waits until `bytes` have passed on the first multifd channel; false when that takes too
    /// long.
    func waitPassed(_ bytes: Int) -> Bool {
      let deadline = ContinuousClock.now + .seconds(60)
      while proxy.passed(1) < bytes {
        if ContinuousClock.now > deadline { return false }
        Thread.sleep(forTimeInterval: 0.02)
      }
      return true
    }

    /// The source says that the migration failed, its guest runs and beats on, and all of its
    /// memory is right.
    func expectGuestGoesOn() throws {
      let outcome = try source.waitMigration(order, .seconds(60))
      #expect(outcome.status == "failed")
      try source.waitRunning()
      let last = try #require(source.console.heartbeats.last)
      #expect(
        source.console.waitHeartbeat(atLeast: last.number + 3, .seconds(60)) != nil,
        "the guest stopped beating: \(source.console.trouble)")
      let check = try #require(source.console.fullCheck())
      #expect(check.bad == 0, "\(check.text)")
      #expect(source.console.trouble.isEmpty)
      source.terminate()
    }
  }
}
