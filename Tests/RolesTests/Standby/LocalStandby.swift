import Foundation
import Migration
import Roles
import SessionReplay
import Store
import TestSupport
import Testing
import Transport

/// `multifd receive --colo` in a thread of this process.
final class LocalStandby {
  /// Its store.
  let store: String
  /// Where the primary connects.
  let uri: String
  /// Ends it as a signal does.
  let receiver: Receiver
  private let folder: TemporaryFolder
  private let result = Monitor<Result<StandbyOutcome, Failure>?>(nil)

  /// Starts it, and waits until it listens.
  ///
  /// - Parameters:
  ///   - store: nil makes one.
  ///   - isStandby: if not, it is a plain reception.
  ///   - disks: that it serves; nil: none.
  ///   - lines: gets what it says.
  ///   - adjust: changes the options.
  init(
    store: String? = nil, cache: Manifest.Cache = .sparse, isStandby: Bool = true,
    checkpointTimeout: Double? = nil, disks: DiskOptions? = nil,
    lines: Monitor<[String]>? = nil,
    _ adjust: (inout ReceiveOptions) -> Void = { _ in }
  ) throws {
    folder = try TemporaryFolder(.memory(bytes: 256 << 20))
    self.store = store ?? folder("store")
    uri = "unix:" + folder("socket")
    var options = ReceiveOptions(listen: .unix(path: folder("socket")), store: self.store)
    options.timeout = 20
    // Also where there is no processor for it.
    options.preallocationThreads = 1
    var standby = StandbyOptions()
    standby.cache = cache
    standby.checkpointTimeout = checkpointTimeout
    standby.disks = disks
    adjust(&options)
    let receiver = Receiver(options, loader: TestBackends.loader) { line in
      lines?.update { $0.append(line) }
    }
    self.receiver = receiver
    let listening = Monitor(false)
    let result = result
    Thread.detachNewThread { [standby] in
      let ended: Result<StandbyOutcome, Failure>
      do throws(Failure) {
        if !isStandby {
          _ = try receiver.run(
            onListening: { _ in listening.update { $0 = true } }, onProgress: { _ in })
          throw Failure(.failed, "receive", "a plain guest was held")
        }
        ended = .success(
          try receiver.runStandby(
            standby, onListening: { _ in listening.update { $0 = true } }, onProgress: { _ in },
            onReady: {})
        )
      } catch { ended = .failure(error) }
      result.update { $0 = ended }
      listening.update { $0 = true }
    }
    guard listening.wait(.seconds(20), for: { $0 ? true : nil }) != nil else {
      throw LabError("the standby does not listen")
    }
  }

  /// The path of something beside the store.
  func beside(_ name: String) -> String { folder(name) }

  /// How it ended.
  func wait() throws -> Result<StandbyOutcome, Failure> {
    guard let result = result.wait(.seconds(30), for: { $0 }) else {
      throw LabError("the standby did not end within 30 s")
    }
    return result
  }

  /// How it ended once it had the guest.
  func outcome() throws -> StandbyOutcome { try wait().get() }

  /// Why it took nothing over.
  func refusal() throws -> Failure {
    switch try wait() {
    case .success(let outcome): throw LabError("it was not refused: \(outcome.cause)")
    case .failure(let failure): return failure
    }
  }
}
