import Glibc
import PluginAPI
import PluginLoader
import System
import Wire

/// Decodes a channel's payloads while others are on their way: a ``PayloadCheck`` in a thread of its
/// own, which is told of each packet before it goes out and is never more than a few behind.
///
/// Nothing of a hand-over counts before its last SYNC, and that waits for the check: whatever did
/// not decode stops the hand-over, later than a check before the sending would, and as surely. The
/// processor time is another's, or what is left while a socket is full.
///
/// Where it is a sample, the channel's first packets are decoded and then one in
/// ``Sample/step``: enough to notice a processor or a memory that is broken, of a backend about which
/// the harness has found out the rest.
///
/// It belongs to the channel's thread.
final class TrailingCheck {
  /// What of a channel is decoded when not all is.
  private enum Sample {
    static let first = 8
    static let step = 16
  }

  /// What the channel's thread and the check's have in common.
  private struct State: Sendable {
    /// The oldest first; the check is at work on the first.
    var waiting: [Item] = []
    /// Checked, or given up.
    var done: [Item] = []
    var failure: (any Error)?
    /// Nothing more comes.
    var isClosed = false
  }

  /// A packet to check. The box is only read while it is here: by the check, and by the writer.
  private final class Item: @unchecked Sendable {
    /// The payload, in a copy: a backend's own is gone with its next packet.
    var bytes: UnsafeMutableRawBufferPointer
    var count = 0
    var box: PacketBox?
    var method = MultiFDMethod.none

    init() { bytes = .allocate(byteCount: 0, alignment: 1) }

    deinit { bytes.deallocate() }

    func load(_ payload: SendChannel.Payload) {
      if bytes.count < payload.size {
        bytes.deallocate()
        bytes = .allocate(byteCount: payload.size + payload.size / 8, alignment: 64)
      }
      count = 0
      for piece in payload.iov {
        // The pieces are `payload.size` bytes together, which is what there is room for; the
        // backend keeps them until its next packet.
        if piece.iov_len > 0 { memcpy(bytes.baseAddress! + count, piece.iov_base, piece.iov_len) }
        count += piece.iov_len
      }
    }
  }

  /// Packets that may be sent and not checked.
  private static let depth = 3

  private let shared = Monitor(State())
  private let threads = ThreadGroup()
  private var spare: [Item] = []
  private let isSample: Bool
  private var seen = 0
  /// Taken, and not back.
  private var away = 0
  private let name: String
  private let onFailure: @Sendable (any Error) -> Void
  private let owner: AnyObject?
  private var check: PayloadCheck?

  /// - Parameters:
  ///   - check: nobody else's from here on.
  ///   - id: the channel's number.
  ///   - isSample: not all packets are decoded; the backend's can be without those between.
  ///   - owner: whose the pages are: it is kept while the check may look at them.
  ///   - onFailure: told at once, by the check's thread: the channel's may wait for its peer.
  init(
    _ check: PayloadCheck, id: Int, isSample: Bool, owner: AnyObject?,
    onFailure: @escaping @Sendable (any Error) -> Void
  ) {
    (self.check, name, self.owner, self.onFailure) = (check, "check \(id)", owner, onFailure)
    self.isSample = isSample
  }

  deinit { close() }

  /// Takes a packet that is about to be sent, unless the sample is without it; waits while too many
  /// are unchecked.
  ///
  /// - Parameter box: when it is taken, to be read only until it comes back; see ``returned()``.
  /// - Returns: whether it is.
  /// - Throws: what is wrong with an earlier one.
  func take(
    _ payload: SendChannel.Payload, of box: PacketBox, _ method: MultiFDMethod
  ) throws -> Bool {
    seen += 1
    guard !isSample || seen <= Sample.first || seen % Sample.step == 0 else { return false }
    try start()
    let item = spare.popLast() ?? Item()
    item.load(payload)
    (item.box, item.method) = (box, method)
    let failure: (any Error)?? = shared.take(seconds: nil) { state in
      if let failure = state.failure { return .some(failure) }
      guard state.waiting.count < Self.depth else { return nil }
      state.waiting.append(item)
      return .some(nil)
    }
    if let failure = failure ?? nil { throw failure }
    away += 1
    return true
  }

  /// Packets that have been checked: the caller's again.
  func returned() -> [PacketBox] {
    // Most packets are none of a sample: they ask nobody.
    guard away > 0 else { return [] }
    let done = shared.update { state in
      defer { state.done.removeAll(keepingCapacity: true) }
      return state.done
    }
    away -= done.count
    spare += done
    return done.compactMap { item in
      defer { item.box = nil }
      return item.box
    }
  }

  /// Waits until all are checked.
  ///
  /// - Throws: what is wrong with one of them.
  func settle() throws {
    let failure: (any Error)?? = shared.wait(seconds: nil) { state in
      state.failure.map { .some($0) } ?? (state.waiting.isEmpty ? .some(nil) : nil)
    }
    if let failure = failure ?? nil { throw failure }
  }

  /// Ends its thread. One that is inside a backend which does not come back is left to itself.
  func close() {
    shared.update { $0.isClosed = true }
    threads.joinAll(within: 1)
  }

  private func start() throws {
    guard let check else { return }
    self.check = nil
    // The thread has it alone from here on, and the pages' owner as long as it may look at them.
    nonisolated(unsafe) let (own, owner) = (check, owner)
    try threads.start(name) { [shared, onFailure] in
      withExtendedLifetime(owner) { Self.run(own, shared, onFailure) }
    }
  }

  private static func run(
    _ check: PayloadCheck, _ shared: Monitor<State>, _ onFailure: (any Error) -> Void
  ) {
    while let item = next(shared) {
      do {
        // There are so many bytes, which nobody writes; it has a box from `take()` to `returned()`.
        let piece = MultiFDIOVec(iov_base: item.bytes.baseAddress!, iov_len: item.count)
        try check.check(
          CollectionOfOne(piece), item.count, of: item.box!.packet, item.method)
        shared.update { $0.done.append($0.waiting.removeFirst()) }
      } catch {
        // First, so that whoever is told by the channel can ask what it was.
        onFailure(error)
        shared.update { $0.failure = error }
        return
      }
    }
  }

  /// The oldest packet; nil when there will be none.
  private static func next(_ shared: Monitor<State>) -> Item? {
    let item: Item?? = shared.wait(seconds: nil) { state in
      if state.isClosed { return .some(nil) }
      return state.waiting.first.map { .some($0) }
    }
    return item ?? nil
  }
}
