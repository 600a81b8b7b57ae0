import Migration
import PluginLoader
import Roles
import SessionReplay
import Synchronization
import System
import TestSupport
import Transport

/// A held guest's way over a link into another store: both ends in this process.
struct LinkMove {
  var received: Result<ReceiveSummary, Failure>
  var sent: Result<SendSummary, Failure>
  /// What the receiving side noted.
  var notes: [String]

  /// Runs both ends to their end.
  ///
  /// - Parameters:
  ///   - through: makes a way in front of the receiving side, given as the URI where it listens,
  ///     and says where to send to.
  init(
    _ store: String, to new: String, reference: String? = nil, channels: Int = 2,
    loader: PluginLoader = TestBackends.loader,
    configure: @escaping @Sendable (inout SendOptions) -> Void = { _ in },
    through: @escaping @Sendable (String) throws -> String = { $0 }
  ) throws {
    let folder = try TemporaryFolder()
    defer { folder.remove() }
    var options = ReceiveOptions(listen: .unix(path: folder("socket")), store: new)
    options.timeout = 10
    options.reference = reference
    let log = Log()
    let receiver = Receiver(options, loader: loader, log: { log.add($0) })
    let helper = ThreadGroup()
    let end = Ends()
    received = Result { () throws(Failure) in
      try receiver.run { endpoint in
        do {
          try helper.start("send") {
            let result = Result { () throws(Failure) -> SendSummary in
              do {
                let to = try Destination(parsing: "link:" + through("\(endpoint)"))
                var options = SendOptions(store: store, to: to)
                options.timeout = 10
                options.channels = channels
                configure(&options)
                return try Sender(options, loader: loader).run()
              } catch { throw Failure(error, at: "send") }
            }
            end.sent.withLock { $0 = result }
            // One that never came is not waited for.
            if case .failure(let failure) = result { receiver.cancel(failure) }
          }
        } catch { receiver.cancel(Failure(error, at: "send")) }
      } onProgress: { _ in
      }
    }
    helper.joinAll()
    sent = end.sent.withLock { $0 } ?? .failure(Failure(.internalError, "send", "it did not run"))
    notes = log.lines.withLock { $0 }
  }

  private final class Log: Sendable {
    let lines = Mutex<[String]>([])
    func add(_ line: String) { lines.withLock { $0.append(line) } }
  }

  private final class Ends: Sendable {
    let sent = Mutex<Result<SendSummary, Failure>?>(nil)
  }
}
