import Foundation
import Migration
import PluginLoader
import Roles
import SessionReplay
import System
import TestSupport
import Transport

/// A relay in a thread of this process.
final class LocalRelay: Sendable {
  /// Where a source may connect.
  let endpoint: Endpoint
  /// What it has logged.
  var log: [String] { state.read { $0.log } }
  private let relay: Relay
  private let threads = ThreadGroup()
  private let state: System.Monitor<State>

  private struct State {
    var endpoint: Endpoint?
    var result: Result<RelaySummary, Failure>?
    var log: [String] = []
  }

  /// Starts it, on a port of loopback.
  init(
    to destination: Destination, _ compression: String? = nil,
    loader: PluginLoader = TestBackends.loader,
    configure: (inout RelayOptions) -> Void = { _ in }
  ) throws {
    var options = RelayOptions(listen: .tcp(host: "127.0.0.1", port: 0), to: destination)
    options.compression = try FormatWish(parsing: compression)
    options.timeout = 10
    configure(&options)
    let state = System.Monitor(State())
    let relay = Relay(
      options, loader: loader, log: { line in state.update { $0.log.append(line) } })
    (self.relay, self.state) = (relay, state)
    try threads.start("relay") {
      let result = Result { () throws(Failure) in
        try relay.run { endpoint in
          state.update { $0.endpoint = endpoint }
        } onProgress: { _ in
        }
      }
      state.update { $0.result = result }
    }
    let found = state.wait(seconds: 20) { state in
      state.endpoint.map { Result<Endpoint, Failure>.success($0) }
        ?? state.result.map { result in
          Result { () throws(Failure) in
            _ = try result.get()
            throw Failure(.internalError, "relay", "it never listened")
          }
        }
    }
    guard let found else { throw LabError("the relay does not listen") }
    endpoint = try found.get()
  }

  /// Whether it has ended.
  var hasEnded: Bool { state.read { $0.result != nil } }

  /// Waits for its end.
  func end(within seconds: Double = 20) -> Result<RelaySummary, Failure>? {
    let result = state.wait(seconds: seconds) { $0.result }
    if result == nil { relay.cancel(Failure(.failed, "test", "it has not ended")) }
    threads.joinAll()
    return result
  }

  /// Ends it.
  func cancel() -> Result<RelaySummary, Failure>? {
    relay.cancel(Failure(.signal(15), "relay", "ended by the test"))
    return end()
  }
}
