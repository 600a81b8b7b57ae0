import Foundation

/// The way of bytes to a far machine: each arrives so much later, and others leave meanwhile. What
/// is under way at once is limited, as by a socket's buffers.
final class DelayLine: Sendable {
  private struct Piece {
    var due: ContinuousClock.Instant
    var bytes: [UInt8]
  }

  private struct State {
    var pieces: [Piece] = []
    /// Bytes under way.
    var bytes = 0
    var isOver = false
    /// The other end is gone, or all has arrived that will.
    var hasEnded = false
  }

  private static let most = 4 << 20
  private let latency: Duration
  private let state = Monitor(State())

  /// A way to `socket`.
  init(to socket: Int32, _ latency: Duration) {
    self.latency = latency
    let state = state
    Thread.detachNewThread {
      while let piece = Self.next(state) {
        Thread.sleep(forTimeInterval: ContinuousClock.now.duration(to: piece.due).inSeconds)
        guard Sockets.write(socket, piece.bytes) else { break }
      }
      state.update { $0.hasEnded = true }
    }
  }

  private static func next(_ state: Monitor<State>) -> Piece? {
    let isThere = state.wait(.seconds(86_400)) { state -> Bool? in
      state.pieces.isEmpty ? (state.isOver ? false : nil) : true
    }
    guard isThere == true else { return nil }
    return state.update { state in
      let first = state.pieces.removeFirst()
      state.bytes -= first.bytes.count
      return first
    }
  }

  /// Sends bytes on their way; false when nobody is there any more.
  func put(_ bytes: some Collection<UInt8>) -> Bool {
    let due = ContinuousClock.now + latency
    let hasRoom = state.wait(.seconds(86_400)) { state -> Bool? in
      state.hasEnded ? false : state.bytes < Self.most ? true : nil
    }
    guard hasRoom == true else { return false }
    state.update { state in
      state.pieces.append(Piece(due: due, bytes: Array(bytes)))
      state.bytes += bytes.count
    }
    return true
  }

  /// Waits until all has arrived.
  func end() {
    state.update { $0.isOver = true }
    _ = state.wait(.seconds(3600)) { $0.hasEnded ? true : nil }
  }
}
