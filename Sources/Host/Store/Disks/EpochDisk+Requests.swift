import Glibc
import Memory
import Synchronization
import System

/// What a client of a disk asks for, from its connection's thread.
extension EpochDisk {
  /// Reads; the range lies inside.
  public func read(
    into buffer: UnsafeMutableRawBufferPointer, at offset: Int
  ) throws(RequestError) {
    // The logs are kept by this thread for as long as it needs them: what the applier puts into the
    // image meanwhile is the same.
    let logs = state.update { state in
      state.requests += 1
      return state.committed + [state.sealed, state.log].compactMap(\.self)
    }
    do {
      try image.read(into: buffer, at: offset)
      for log in logs { try log.overlay(buffer, at: offset, size: image.size) }
    } catch { throw Self.failure(error) }
  }

  private enum Begun {
    /// In a log, or in the image where there is none.
    case at(DiskLog?)
    case closed
  }

  /// Writes; the range lies inside.
  ///
  /// - Parameter bytes: nil: the range is to read as zeroes.
  public func write(
    _ bytes: UnsafeRawBufferPointer?, at range: Range<Int>
  ) throws(RequestError) {
    // One that is too far behind is waited for; what is not committed does not count, for that waits
    // for what is not answered.
    let most = mostBacklog
    let begun = state.take(seconds: nil) { state -> Begun? in
      if state.isClosed || state.phase == .lost { return .closed }
      guard state.committed.isEmpty || state.backlog < most else { return nil }
      state.requests += 1
      if state.isStanding { state.lose("a write has come while the guest stood still") }
      state.inFlight += 1
      return .at(state.log)
    }
    guard case .at(let log) = begun else { throw .closed }
    let result = Result { () throws(SystemError) in
      if let log {
        try log.append(bytes, at: range)
      } else if let bytes {
        try image.write(bytes, at: range.lowerBound)
      } else {
        try image.clear(range)
      }
    }
    if log == nil {
      switch result {
      case .success: cover(range)
      case .failure: uncover(range)
      }
    }
    state.update { state in
      state.inFlight -= 1
      guard case .failure(let error) = result else { return }
      state.miss("a write has failed: \(error)")
    }
    do { try result.get() } catch { throw Self.failure(error) }
  }

  /// Answers a FLUSH: the sign that the connection carries what the primary says. What is written is
  /// durable when its checkpoint is committed, and not before.
  public func flush() {
    state.update { state in
      state.requests += 1
      state.flushes += 1
    }
  }

  /// A request could not be understood, or is not done.
  ///
  /// - Parameter range: what was to be written; nil: nothing was, as far as that is known.
  public func refuse(_ why: String, lacking range: Range<Int>? = nil) {
    let isLacking = range.map { !$0.isEmpty } ?? false
    // By the connection's own thread: nobody covers anything meanwhile.
    if let range, isLacking, state.read({ $0.log == nil }) { uncover(range) }
    state.update { if isLacking || $0.phase == .protected { $0.miss(why) } }
  }

  func cover(_ range: Range<Int>) {
    let block = DiskState.block
    let first = (range.lowerBound + block - 1) / block
    let last = range.upperBound == image.size ? coverage.count : range.upperBound / block
    guard first < last else { return }
    var new = 0
    for bit in first..<last where coverage.set(bit) { new += 1 }
    guard new > 0 else { return }
    let all = coveredBlocks.wrappingAdd(new, ordering: .relaxed).newValue
    if all == coverage.count {
      state.update { if $0.phase == .syncing { $0.phase = .synced } }
    }
  }

  /// Nobody knows what the blocks have that a range touches: they have to come once more.
  private func uncover(_ range: Range<Int>) {
    guard !range.isEmpty else { return }
    let block = DiskState.block
    var lacking = 0
    for bit in range.lowerBound / block...(range.upperBound - 1) / block
    where coverage.remove(bit) { lacking += 1 }
    coveredBlocks.wrappingSubtract(lacking, ordering: .relaxed)
  }

  private static func failure(_ error: SystemError) -> RequestError {
    [ENOSPC, EDQUOT, EFBIG].contains(error.errno) ? .full : .failed(error.description)
  }
}
