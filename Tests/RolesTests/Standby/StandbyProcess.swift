import Foundation
import Roles
import Store
import TestSupport

/// `multifd receive --colo` as a child process: the executable that was built beside this test.
final class StandbyProcess: Sendable {
  /// Its store.
  let store: String
  /// Where the primary connects.
  let uri: String
  /// The process.
  let multifd: MultiFDProcess
  private let folder: TemporaryFolder

  /// Starts it, and waits until it listens.
  ///
  /// - Parameters:
  ///   - cache: `--cache`.
  ///   - tcp: whether it listens on loopback, instead of a UNIX socket.
  ///   - channels: `--channels`; nil: it finds out, which takes a tenth of a second.
  ///   - arguments: more of them.
  ///   - environment: added to this process's.
  ///   - wrapper: a command that ends by executing the rest of its command line.
  init(
    cache: Manifest.Cache = .sparse, tcp: Bool = false, store: String? = nil, channels: Int? = nil,
    _ arguments: [String] = [], environment: [String: String] = [:], wrapper: [String] = []
  ) throws {
    folder = try TemporaryFolder(.memory(bytes: 256 << 20))
    self.store = store ?? folder("store")
    multifd = try MultiFDProcess(
      [
        "receive", "--colo", "--cache", cache.rawValue, "--json", "--store", self.store,
        "--listen", tcp ? "tcp:127.0.0.1:0" : "unix:" + folder("socket"),
      ]
        + (channels.map { ["--channels", "\($0)"] } ?? []) + arguments,
      environment: environment, wrapper: wrapper)
    uri = try multifd.waitListening()
  }

  /// Waits until its failover has been rehearsed, and gives the verdict.
  func waitRehearsed() -> Bool? {
    multifd.process.errors.wait(.seconds(30)) {
      $0.text.contains("rehearsed: ") ? $0.text.contains("rehearsed: failover fits") : nil
    }
  }

  /// The path of something beside the store.
  func beside(_ name: String) -> String { folder(name) }
}
