import System

/// A disk's part in a protection and its checkpoints.
extension EpochDisk {
  /// Makes sure that a protection can begin.
  public func expectSynced() throws(Loss) {
    let (state, covered) = (state.read { $0 }, covered)
    if let loss = state.loss { throw loss }
    if state.phase == .syncing {
      // Rounded down: what is not all is not 100 %.
      let percent = Int((Double(covered) / Double(image.size) * 100).rounded(.down))
      throw Loss(reason: "\(percent) % copied: wait until its mirror is actively synced")
    }
    guard state.ticket != nil else { throw Loss(reason: "no mirror is connected") }
  }

  /// The guest is here as of the end of precopy, and stands still: from here on writes belong to
  /// checkpoints.
  ///
  /// - Returns: what the manifest says of the disk.
  public func protect() throws -> Manifest.Disk {
    try expectSynced()
    let log = try DiskLog(creating: 1, in: folder.folder)
    try threads.start("disk \(name)") { [self] in apply() }
    let loss = state.update { state -> Loss? in
      // A write may have failed since it was looked at.
      let isQuiet = state.phase == .synced && state.inFlight == 0 && state.ticket != nil
      (state.phase, state.log) = (.protected, log)
      if !isQuiet {
        state.lose("its connection was not quiet when the protection began")
      }
      return state.loss
    }
    // Nobody knows what that write does to the image yet: there is nothing to begin with.
    if let loss { throw loss }
    return Manifest.Disk(
      name: name, image: image.path, folder: folder.path, session: session, epoch: 0)
  }

  /// The primary is about to be told to stop its guest for a checkpoint.
  public func ask() { state.update { $0.flushesBefore = $0.flushes } }

  /// Its guest stands still: what has been written until now is the checkpoint's.
  ///
  /// - Returns: the epoch with which that ends.
  public func seal() throws -> Int {
    try makeSpare()
    let sealed = state.update { state -> Result<Int, Loss> in
      guard let log = state.log else { return .failure(Loss(reason: "it is not protected")) }
      if state.inFlight > 0 {
        state.lose("a write was not answered when the guest stood still")
      } else if state.flushes == state.flushesBefore {
        state.lose("no FLUSH has come on its connection before the checkpoint")
      }
      if let loss = state.loss { return .failure(loss) }
      state.sealed = log
      state.log = state.spare
      state.spare = nil
      state.isStanding = true
      return .success(log.number)
    }
    return try sealed.get()
  }

  /// Nothing has happened to it since it was sealed: its checkpoint may be committed.
  public func expectQuiet() throws(Loss) {
    if let loss = state.read({ $0.loss }) { throw loss }
  }

  /// The checkpoint is committed, and its guest is about to go on.
  public func committed() {
    state.update { state in
      state.isStanding = false
      if let sealed = state.sealed { state.committed.append(sealed) }
      state.sealed = nil
    }
  }

  /// Serves nothing any more, and puts into the image what is committed. Whoever is connected has to
  /// be told by others.
  public func close() {
    state.update { $0.isClosed = true }
    threads.joinAll()
  }

  /// Makes the log that comes next, or waits for whoever is just making it. Usually it is there: it is
  /// not to be made while the guest stands still.
  private func makeSpare() throws(StoreError) {
    let number = state.take(seconds: nil) { state -> Int?? in
      guard !state.isMaking else { return nil }
      guard state.spare == nil, let log = state.log else { return .some(nil) }
      state.isMaking = true
      return log.number + 1
    }
    guard case .some(.some(let number)) = number else { return }
    let made = Result { () throws(StoreError) in
      try DiskLog(creating: number, in: folder.folder)
    }
    state.update { state in
      state.isMaking = false
      state.spare = try? made.get()
    }
    _ = try made.get()
  }

  private enum Work {
    case apply(DiskLog)
    case makeSpare
    case end
  }

  /// Puts committed logs into the image, behind the running primary, and makes new ones ready.
  private func apply() {
    while true {
      let work = state.wait(seconds: nil) { state -> Work? in
        if let log = state.committed.first { return .apply(log) }
        if state.isClosed { return .end }
        return state.phase == .protected && state.spare == nil && !state.isMaking ? .makeSpare : nil
      }
      do {
        switch work ?? .end {
        case .apply(let log):
          try log.apply(to: image)
          image.startWriting()
          log.remove()
          state.update { _ = $0.committed.removeFirst() }
        case .makeSpare: try makeSpare()
        case .end: return
        }
      } catch {
        // What is committed stays in its log, and whoever opens the store next tries again.
        return state.update { state in
          state.lose("its image or its log cannot be written: \(error)")
          state.isClosed = true
        }
      }
    }
  }
}
