import CLinux
import Glibc
import Synchronization

/// Which callbacks of backends the process is inside of, in memory that it shares with the
/// processes it forks: so a parent can tell whose code does not come back, or was the last to run.
///
/// A channel owns one entry, a cache line of which only its own thread writes: a packet costs it a
/// few stores.
public final class BackendCalls: Sendable {
  /// A callback that has been entered and has not come back.
  public struct Call: Equatable, Sendable {
    /// Whose it is.
    public var backend: String
    /// The channel's number.
    public var channel: Int
    /// `recv`, `send_prepare` …
    public var callback: String
    /// The packet; nil outside of one.
    public var packet: UInt64?
    /// It has asked for payload, and the peer has not sent it yet.
    public var isWaiting: Bool
    /// The thread, as `CLinux` numbers them.
    public var thread: UInt64
    /// Which entry, and how often it has changed: equal means that nothing has happened in between.
    public var entry: Int
    /// See `entry`.
    public var turn: UInt64

    /// `backend NAME, channel N, packet P`.
    public var place: String {
      "backend \(backend), channel \(channel)" + (packet.map { ", packet \($0)" } ?? "")
    }
  }

  /// The callbacks of the C table.
  enum Callback: UInt64 {
    case recvSetup = 1
    case recv, recvCleanup, sendSetup, sendPrepare, sendCleanup
    case sendSubmit, sendComplete, recvSubmit, recvComplete

    /// As the header names it.
    var name: String {
      switch self {
      case .recvSetup: "recv_setup"
      case .recv: "recv"
      case .recvCleanup: "recv_cleanup"
      case .sendSetup: "send_setup"
      case .sendPrepare: "send_prepare"
      case .sendCleanup: "send_cleanup"
      case .sendSubmit: "send_submit"
      case .sendComplete: "send_complete"
      case .recvSubmit: "recv_submit"
      case .recvComplete: "recv_complete"
      }
    }

    var isSetup: Bool { self == .sendSetup || self == .recvSetup }
  }

  /// This process's, and its forked children's.
  public static let shared = BackendCalls()

  /// Words of an entry, by number.
  private enum Word {
    /// 0: free; else 1 + the channel's number.
    static let owner = 0
    /// A `Callback`, 0 outside; plus `waiting`.
    static let callback = 1
    static let turn = 2
    static let packet = 3
    static let thread = 4
    /// 32 bytes, NUL-terminated.
    static let name = 8
    static let count = 16
  }

  private static let waiting: UInt64 = 1 << 32
  private static let noPacket = UInt64.max
  /// More than the channels of two directions and their checks.
  private static let capacity = 1024

  /// `capacity` entries; never unmapped. Nil when there was no memory for them: then nothing is
  /// told.
  private nonisolated(unsafe) let words: UnsafeMutablePointer<Atomic<UInt64>>?

  private init() {
    let count = Self.capacity * Word.count
    let memory = mmap(
      nil, count * 8, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)
    // Zero bytes are atomics of the value 0, and whole pages are aligned for them.
    words =
      memory == MAP_FAILED ? nil : memory?.bindMemory(to: Atomic<UInt64>.self, capacity: count)
  }

  /// Everything that has been entered and has not come back, in no order.
  public func inside() -> [Call] {
    guard let words else { return [] }
    return (0..<Self.capacity).compactMap { entry in
      // `entry` is within the mapping, and so are its words.
      let own = words + entry * Word.count
      func read(_ word: Int) -> UInt64 { own[word].load(ordering: .acquiring) }
      let owner = read(Word.owner), state = read(Word.callback), turn = read(Word.turn)
      guard owner > 0, let callback = Callback(rawValue: state & ~Self.waiting) else { return nil }
      let packet = read(Word.packet)
      let name = UnsafeRawPointer(own + Word.name).assumingMemoryBound(to: CChar.self)
      return Call(
        backend: String(cString: name), channel: Int(owner - 1), callback: callback.name,
        packet: packet == Self.noPacket ? nil : packet, isWaiting: state & Self.waiting != 0,
        thread: read(Word.thread), entry: entry, turn: turn)
    }
  }

  /// One channel's entry. Used by one thread at a time, like the channel.
  struct Mark {
    /// Nil: all entries were taken.
    private let own: UnsafeMutablePointer<Atomic<UInt64>>?

    /// Takes an entry for a channel of a backend.
    init(backend: String, channel: Int, in calls: BackendCalls = .shared) {
      own = calls.take(backend, channel)
    }

    /// A callback is about to be called.
    @inline(__always)
    func enter(_ callback: Callback, packet: UInt64? = nil) {
      guard let own else { return }
      own[Word.packet].store(packet ?? BackendCalls.noPacket, ordering: .relaxed)
      own[Word.thread].store(clinux_thread(), ordering: .relaxed)
      turn()
      own[Word.callback].store(callback.rawValue, ordering: .releasing)
    }

    /// It has come back.
    @inline(__always)
    func leave() { own?[Word.callback].store(0, ordering: .releasing) }

    /// The callback waits for its peer, or does not any more.
    @inline(__always)
    func waits(_ isWaiting: Bool) {
      guard let own else { return }
      // Only this thread writes it.
      let state = own[Word.callback].load(ordering: .relaxed)
      turn()
      own[Word.callback].store(
        isWaiting ? state | BackendCalls.waiting : state & ~BackendCalls.waiting,
        ordering: .releasing)
    }

    /// The channel is gone.
    func release() {
      leave()
      own?[Word.owner].store(0, ordering: .releasing)
    }

    private func turn() {
      guard let own else { return }
      own[Word.turn].store(own[Word.turn].load(ordering: .relaxed) &+ 1, ordering: .relaxed)
    }
  }

  private func take(_ backend: String, _ channel: Int) -> UnsafeMutablePointer<Atomic<UInt64>>? {
    guard let words else { return nil }
    for entry in 0..<Self.capacity {
      let own = words + entry * Word.count
      let (done, _) = own[Word.owner].compareExchange(
        expected: 0, desired: UInt64(channel) + 1, ordering: .acquiringAndReleasing)
      guard done else { continue }
      // A backend's name has at most 31 bytes (PluginRegistry checks it); the rest of the 32 is
      // NULs.
      let name = UnsafeMutableRawPointer(own + Word.name)
      memset(name, 0, 32)
      name.copyMemory(from: Array(backend.utf8), byteCount: min(backend.utf8.count, 31))
      return own
    }
    return nil
  }
}
