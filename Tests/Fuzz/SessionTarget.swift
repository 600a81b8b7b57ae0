import Foundation
import Migration
import Roles
import SessionReplay
import Store
import TestSupport
import Transport
import Wire

/// A `receive`, or a standby, in this process, and a peer who sends what an input says.
///
/// It must end, whatever comes; keep no descriptor and no thread; and what it says it holds must be
/// there to be opened.
struct SessionTarget {
  let isStandby: Bool

  func check(_ input: UnsafeRawBufferPointer) {
    let session = Session(input)
    do {
      // What one leaves would take the next one's place.
      let folder = try TemporaryFolder(.memory(bytes: 8 << 20))
      defer { folder.remove() }
      try play(session, folder)
    } catch { breach("\(error)") }
    // Threads may still be on their way out.
    let deadline = ContinuousClock.now + .seconds(10)
    while Self.descriptors() > Self.most {
      if .now > deadline { breach("\(Self.descriptors()) descriptors are open") }
      usleep(1000)
    }
  }

  private func play(_ session: Session, _ folder: TemporaryFolder) throws {
    let (store, path) = (folder("store"), folder("socket"))
    var options = ReceiveOptions(listen: .unix(path: path), store: store)
    options.timeout = 20
    options.limits.maxRAM = 4 << 20
    options.preallocationThreads = 0
    let receiver = Receiver(options, loader: TestBackends.loader)
    let listens = Monitor(false)
    let ended = Monitor<Result<Void, Failure>?>(nil)
    Thread.detachNewThread { [isStandby] in
      let result = Result { () throws(Failure) in
        if isStandby {
          _ = try receiver.runStandby(
            StandbyOptions(), onListening: { _ in listens.update { $0 = true } },
            onProgress: { _ in }, onReady: {})
        } else {
          _ = try receiver.run(
            onListening: { _ in listens.update { $0 = true } }, onProgress: { _ in })
        }
      }
      ended.update { $0 = result }
      listens.update { $0 = true }
    }
    _ = listens.wait(.seconds(20)) { $0 ? true : nil }
    send(session, path)
    // Nobody is there any more. Whoever has not begun a migration is waited on, so it is told.
    let early = ended.wait(.milliseconds(10)) { $0 }
    if early == nil { receiver.cancel(.failed, "the input is over") }
    guard let result = early ?? ended.wait(.seconds(20), for: { $0 }) else {
      breach("it does not end")
    }
    guard case .success = result, !isStandby else { return }
    do { _ = try Store.open(store) } catch { breach("it holds a guest, and then: \(error)") }
  }

  private func send(_ session: Session, _ path: String) {
    let sockets = (0...session.channelCount).compactMap { _ in Sockets.connect(unix: path) }
    defer { for socket in sockets { close(socket) } }
    guard sockets.count == session.channelCount + 1 else { breach("it does not listen") }
    for socket in sockets { Sockets.limit(socket, seconds: 0.1) }
    var heard = [UInt8](repeating: 0, count: 4096)
    for piece in session.pieces {
      if piece.waits { _ = Sockets.read(sockets[0], &heard) }
      // Where the other side has had enough, the rest is not for it.
      guard Sockets.write(sockets[piece.connection], piece.bytes) else { break }
    }
    for socket in sockets { shutdown(socket, Int32(SHUT_WR)) }
    // What it says last, and that it has closed, unless it waits for more connections.
    for socket in sockets {
      Sockets.limit(socket, seconds: 0.01)
      while Sockets.read(socket, &heard) > 0 {}
    }
  }

  /// How many there may be at rest: those before the first session, and what that has opened for good
  /// (backends).
  private static let most = descriptors() + 8

  private static func descriptors() -> Int {
    (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd"))?.count ?? 0
  }
}
