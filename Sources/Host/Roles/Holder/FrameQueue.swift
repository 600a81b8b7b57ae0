import Observe

/// Frames in the order in which they came: first those that may leave, then those that wait.
/// Bounded: beyond its limit the newest are dropped, as a full queue of an interface does.
package struct FrameQueue: Sendable {
  private struct Frame {
    /// Where it ends in its batch.
    var end: Int
    var came: ContinuousClock.Instant
  }

  /// Frames whose bytes lie together.
  private struct Batch {
    var bytes: [UInt8] = []
    var frames: [Frame] = []
  }

  /// How many bytes a batch may have.
  private static let batchSize = 1 << 18
  /// What a frame takes beyond its bytes.
  private static let overhead = MemoryLayout<Frame>.stride
  /// A UNIX socket takes so much whole or not at all, so that no death of ours cuts a frame: a QEMU
  /// that has read half of one waits for the rest, on its next connection too.
  private static let portion = 1 << 15

  /// When a checkpoint is asked for again: a request that comes during one can be swallowed.
  package static let again = Duration.milliseconds(20)
  /// How long after its mark a packet waits before a checkpoint is asked for on its behalf: the one
  /// of its mark may come to nothing.
  package static let patience = Duration.milliseconds(100)

  private let limit: Int
  private var batches: [Batch] = []
  /// What has left of the first batch.
  private var (goneFrames, goneBytes) = (0, 0)
  /// Frames are numbered as they come. The first that has not left, the first that may not leave,
  /// the next that comes.
  private var (first, waiting, next) = (0, 0, 0)
  private var marks: [(number: Int, place: Int)] = []
  private var lastMark = ContinuousClock.now
  /// When a checkpoint was asked for that has not come yet.
  private var lastAsked: ContinuousClock.Instant?
  /// When the first frame came that no mark knows.
  private var unmarkedSince: ContinuousClock.Instant?
  private var memory = 0
  private var counts = PacketCounts()
  private var waits = Timings()

  /// An empty one.
  ///
  /// - Parameter limit: bytes of memory that frames may take.
  package init(limit: Int) { self.limit = limit }

  /// Whether nothing is in it.
  package var isEmpty: Bool { first == next }
  /// Whether something may leave.
  package var hasReleased: Bool { first < waiting }

  /// What has come and gone.
  package var report: PacketCounts {
    var counts = counts
    counts.held = next - waiting
    counts.bytes = memory
    counts.wait = waits.summary
    return counts
  }

  /// Puts a frame in, with what stands before it.
  package mutating func append(_ frame: ArraySlice<UInt8>, came: ContinuousClock.Instant) {
    let cost = frame.count + Self.overhead
    guard memory + cost <= limit else {
      counts.dropped += 1
      return
    }
    if batches.last.map({ $0.bytes.count + frame.count > Self.batchSize }) ?? true {
      batches.append(Batch())
    }
    let last = batches.count - 1
    batches[last].bytes += frame
    batches[last].frames.append(Frame(end: batches[last].bytes.count, came: came))
    next += 1
    memory += cost
    counts.most = max(counts.most, memory)
    if unmarkedSince == nil { unmarkedSince = came }
  }

  /// Notes that all that is here belongs to a checkpoint. Numbers rise; an older one says nothing.
  package mutating func mark(_ number: Int, at now: ContinuousClock.Instant) {
    guard number > marks.last?.number ?? .min else { return }
    (lastMark, lastAsked, unmarkedSince) = (now, nil, nil)
    // What is said twice of a place is said by the first.
    if next > marks.last?.place ?? waiting { marks.append((number, next)) }
  }

  /// Lets go of what was here at this mark, and at all before it.
  package mutating func release(_ number: Int, at now: ContinuousClock.Instant) {
    guard let mark = marks.last(where: { $0.number <= number }) else { return }
    marks.removeAll { $0.number <= number }
    release(upTo: mark.place, now)
  }

  /// Lets go of all.
  package mutating func releaseAll(at now: ContinuousClock.Instant) {
    (marks, unmarkedSince) = ([], nil)
    release(upTo: next, now)
  }

  /// What was marked waits for another mark.
  package mutating func forgetMarks() {
    marks = []
    if waiting < next, unmarkedSince == nil { unmarkedSince = lastMark }
  }

  private mutating func release(upTo place: Int, _ now: ContinuousClock.Instant) {
    var number = first - goneFrames
    for batch in batches where number < place {
      let count = min(place - number, batch.frames.count)
      let from = min(max(waiting - number, 0), count)
      for frame in batch.frames[from..<count] { waits.record(now - frame.came) }
      number += batch.frames.count
    }
    counts.released += place - waiting
    waiting = place
  }

  /// When somebody should be asked for a checkpoint; nil while nothing waits.
  ///
  /// - Parameter linger: how long a frame waits before that.
  package func asksAt(linger: Duration) -> ContinuousClock.Instant? {
    guard waiting < next else { return nil }
    let marked = marks.isEmpty ? nil : lastMark + Self.patience
    let unmarked = unmarkedSince.map { $0 + linger }
    guard let time = [marked, unmarked].compactMap({ $0 }).min() else { return nil }
    return max(time, lastAsked.map { $0 + Self.again } ?? time)
  }

  /// Somebody has been asked. A mark is the answer.
  package mutating func asked(at now: ContinuousClock.Instant) {
    lastAsked = now
    counts.asked += 1
  }

  /// Writes what may leave.
  ///
  /// - Parameter write: gets bytes, valid for the call, and says how many it has taken; nil: none,
  ///   and no more for now.
  package mutating func send<E>(_ write: (UnsafeRawBufferPointer) throws(E) -> Int?) throws(E) {
    while hasReleased {
      let end = portionEnd
      var result: Result<Int?, E> = .success(nil)
      batches[0].bytes.withUnsafeBytes { bytes in
        let part = UnsafeRawBufferPointer(rebasing: bytes[goneBytes..<end])
        result = Result { () throws(E) in try write(part) }
      }
      guard let count = try result.get() else { return }
      drop(count)
    }
  }

  /// Where in the first batch the next write ends: behind whole frames, one at least.
  private var portionEnd: Int {
    let frames = batches[0].frames
    let mayLeave = min(frames.count, goneFrames + waiting - first)
    var last = goneFrames
    while last + 1 < mayLeave, frames[last + 1].end - goneBytes <= Self.portion { last += 1 }
    return frames[last].end
  }

  /// So many bytes have left.
  private mutating func drop(_ count: Int) {
    goneBytes += count
    while goneFrames < batches[0].frames.count, batches[0].frames[goneFrames].end <= goneBytes {
      let start = goneFrames == 0 ? 0 : batches[0].frames[goneFrames - 1].end
      memory -= batches[0].frames[goneFrames].end - start + Self.overhead
      goneFrames += 1
      first += 1
    }
    guard goneFrames == batches[0].frames.count else { return }
    (goneFrames, goneBytes) = (0, 0)
    if batches.count > 1 {
      batches.removeFirst()
    } else {
      batches[0].bytes.removeAll(keepingCapacity: true)
      batches[0].frames.removeAll(keepingCapacity: true)
    }
  }
}
