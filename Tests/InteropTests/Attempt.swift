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
    private let channels: ClosedRange<Int>

    /// Bytes of a channel after which it is cut: a packet of 128 raw pages is 512 KiB, and this is
    /// inside of one.
    private static let place = 300_001

    /// Starts it. `arguments` are more arguments for `multifd receive`.
    ///
    /// - Parameter cut: what happens to the first channel that has sent so much, and to any other
    ///   that does; which of them get most of a small guest is up to its source's threads.
    init(
      _ version: QEMUVersion, channels: Int, compression: String, _ arguments: [String] = [],
      cut: Proxy.Cut.Action? = nil, store: String? = nil, wrapper: [String] = []
    ) throws {
      self.channels = 1...channels
      folder = try TemporaryFolder(.memory(bytes: 128 << 20))
      source = try guests.guest(version, version.machine(with: version)).start(in: version)
      _ = try #require(source.console.waitHeartbeat(.seconds(60)))
      multifd = try MultiFDProcess(
        ["receive", "--listen", "tcp:127.0.0.1:0", "--store", store ?? folder("store"), "--json"]
          + (arguments.contains("--timeout") ? [] : ["--timeout", "10"]) + arguments,
        wrapper: wrapper)
      let uri = try multifd.waitListening()
      let port = try #require(uri.split(separator: ":").last.flatMap { Int($0) })
      let cuts = cut.map { action in
        (1...channels).map { Proxy.Cut(connection: $0, after: Self.place, action) }
      }
      proxy = try Proxy(to: port, cuts: cuts ?? [])
      try MigrationSetup(channels: channels, compression: compression).apply(to: source, .source)
      order = try source.startMigration(to: "tcp:127.0.0.1:\(proxy.port)")
    }

    /// How `multifd receive` ended.
    func result() throws -> MultiFDProcess.Result { try multifd.wait(.seconds(60)) }

    /// Ends every connection that the proxy still holds open.
    func endProxy() { proxy.close() }

    /// Waits until a channel has been cut; false when that takes too long.
    func waitCut() -> Bool {
      eventually(within: .seconds(60)) { channels.contains { proxy.passed($0) >= Self.place } }
    }

    /// How far it is, as both sides and what is between them see it.
    var account: String {
      let passed = ([0] + channels).map { proxy.passed($0) }
      let migration = Result { try source.qmp.execute("query-migrate").text }
      return "\(proxy.connectionCount) connections, bytes \(passed); \(migration); "
        + multifd.process.errors.text
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
