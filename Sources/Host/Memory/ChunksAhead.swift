import Glibc
import System

/// What the threads of a ``Preallocator`` share with those who write to its blocks: which chunks
/// are memory before anybody has written there, and which are to be.
///
///     none ── wanted ── getting ── ahead ── taken        by a helper, then a writer
///     none ────────── getting ───────────── taken        by a writer alone
///                       ahead ── returning ── none       more than may be ahead, or the end
///
/// What is being got or given back is waited for: so no two threads get the same chunk at once, and
/// nobody writes to what becomes a hole. A chunk that is `taken` stays so.
final class ChunksAhead: Sendable {
  private enum Chunk: UInt8 { case none, wanted, getting, ahead, returning, taken }

  private struct Place: Equatable {
    var block: Int
    var chunk: Int
  }

  /// What a writer has to do before it may write.
  private enum Claim { case nothing, get, wait }

  /// What there is to do for a helper.
  private enum Job { case get(Place), giveBack(Place), end }

  private struct State {
    var chunks: [[Chunk]]
    /// The nearest first.
    var wanted: [Place] = []
    /// The oldest first.
    var ahead: [Place] = []
    var aheadBytes = 0
    /// Places that helpers get, or anybody gives back.
    var inWork = 0
    /// Threads that wait for a place of somebody else's.
    var waiting = 0
    /// Nothing more is got ahead.
    var isEnding = false

    subscript(_ place: Place) -> Chunk {
      get { chunks[place.block][place.chunk] }
      set { chunks[place.block][place.chunk] = newValue }
    }
  }

  private let blocks: [RAMBlock]
  /// Chunks that may be ahead of a chunk of each block.
  private let windows: [Int]
  /// Bytes that may be ahead in all.
  private let most: Int
  private let state: Monitor<State>

  /// Nothing is ahead yet.
  ///
  /// - Parameter window: bytes ahead of one place; twice as many in all.
  init(_ blocks: [RAMBlock], window: Int) {
    self.blocks = blocks
    windows = blocks.map { $0.startedEmpty ? window >> $0.chunkShift : 0 }
    most = 2 * window
    state = Monitor(State(chunks: blocks.map { Array(repeating: .none, count: $0.chunkCount) }))
  }

  // MARK: Writers

  /// A chunk is about to be written for the first time: it is memory when this returns.
  ///
  /// - Throws: as ``RAMBlock/reserve(pageAt:)``, and only when nothing is left that was got ahead
  ///   and could be given back.
  func take(_ chunk: Int, of block: Int) throws(SystemError) {
    let place = Place(block: block, chunk: chunk)
    var claim = state.update(wakes: { $0.hasMore }) { self.claim(place, &$0) }.claim
    if claim == .wait {
      claim = waiting(for: { state in
        let next = self.claim(place, &state).claim
        return next == .wait ? nil : next
      })
    }
    guard claim == .get else { return }
    do throws(SystemError) {
      do throws(SystemError) {
        try blocks[block].populate(chunk: chunk)
      } catch {
        guard [ENOSPC, ENOMEM].contains(error.errno) else { throw error }
        // What nobody needs yet may have been what was missing.
        giveUp()
        try blocks[block].populate(chunk: chunk)
      }
    } catch {
      change { $0[place] = .none }
      throw error
    }
    change { $0[place] = .taken }
  }

  /// Changes what others may wait for.
  private func change(_ body: (inout State) -> Void) {
    state.update(wakes: { $0 }) { state in
      body(&state)
      return state.waiting > 0
    }
  }

  /// Waits until `body` gives a result, which it may take.
  private func waiting<Result>(for body: (inout State) -> Result?) -> Result {
    state.update(wakes: { _ in false }) { $0.waiting += 1 }
    defer { state.update(wakes: { _ in false }) { $0.waiting -= 1 } }
    return state.take(seconds: nil, body)!
  }

  /// - Returns: and whether there is more to do for helpers.
  private func claim(_ place: Place, _ state: inout State) -> (claim: Claim, hasMore: Bool) {
    switch state[place] {
    case .getting, .returning: return (.wait, false)
    case .taken: return (.nothing, false)
    case .ahead:
      state[place] = .taken
      state.ahead.removeAll { $0 == place }
      state.aheadBytes -= blocks[place.block].chunkSize
      return (.nothing, want(after: place, &state))
    case .none, .wanted:
      if state[place] == .wanted { state.wanted.removeAll { $0 == place } }
      state[place] = .getting
      return (.get, want(after: place, &state))
    }
  }

  /// Wants as many chunks behind a place as were written in a row before it: a guest with a page
  /// here and there gets none.
  ///
  /// - Returns: whether there are any. Not for a few: helpers are woken when half of what may be
  ///   ahead is not.
  private func want(after place: Place, _ state: inout State) -> Bool {
    guard !state.isEnding else { return false }
    let (number, block) = (place.block, blocks[place.block])
    var run = 0
    while run < min(windows[number], place.chunk),
      [.taken, .getting].contains(state.chunks[number][place.chunk - run - 1])
    {
      run += 1
    }
    let next = place.chunk + 1..<max(place.chunk + 1, min(place.chunk + 1 + run, block.chunkCount))
    // One with a zero page in it has been passed already, or will be.
    let new = next.filter { state.chunks[number][$0] == .none && !block.isKnownZero(chunk: $0) }
    guard !new.isEmpty, new.count * 2 >= next.count else { return false }
    for chunk in new {
      state.chunks[number][chunk] = .wanted
      state.wanted.append(Place(block: number, chunk: chunk))
    }
    return true
  }

  // MARK: Helpers

  /// Gets what is wanted until the end.
  func help() {
    while perform(state.take(seconds: nil, next)!) {}
  }

  private func next(_ state: inout State) -> Job? {
    if let oldest = state.ahead.first, state.isEnding || state.aheadBytes > most {
      state.ahead.removeFirst()
      state.aheadBytes -= blocks[oldest.block].chunkSize
      state[oldest] = .returning
      state.inWork += 1
      return .giveBack(oldest)
    }
    guard !state.wanted.isEmpty else { return state.isEnding ? .end : nil }
    let place = state.wanted.removeFirst()
    state[place] = .getting
    state.inWork += 1
    return .get(place)
  }

  /// - Returns: false at the end.
  private func perform(_ job: Job) -> Bool {
    switch job {
    case .get(let place):
      let block = blocks[place.block]
      // Where there is no room somebody will be told who needs it.
      let isGot = (try? block.populate(chunk: place.chunk)) != nil
      var isKept = true
      change { state in
        if !isGot { end(&state) }
        isKept = !state.isEnding
        state[place] = isKept ? .ahead : .returning
        guard isKept else { return }
        state.ahead.append(place)
        state.aheadBytes += block.chunkSize
        state.inWork -= 1
      }
      if !isKept { giveBack(place) }
    case .giveBack(let place): giveBack(place)
    case .end: return false
    }
    return true
  }

  private func giveBack(_ place: Place) {
    blocks[place.block].punch(chunk: place.chunk)
    change { state in
      state[place] = .none
      state.inWork -= 1
    }
  }

  // MARK: The end

  /// Nothing more is got ahead, and helpers give back what nobody has written to. Does not wait.
  func finish() { state.update { end(&$0) } }

  /// Nothing more is got ahead, and nothing is ahead any more when this returns.
  func giveUp() {
    finish()
    while case .giveBack(let place)? = state.update({ next(&$0) }) { giveBack(place) }
    waiting(for: { $0.inWork == 0 ? () : nil })
  }

  private func end(_ state: inout State) {
    state.isEnding = true
    for place in state.wanted { state[place] = .none }
    state.wanted = []
  }
}
