import Foundation

/// A store of a standby holds, beside the guest as of the end of precopy:
///
///     cache/            the pages of the checkpoints in flight, on two sides
///     device-state-a/-b the devices' state of those checkpoints, in turn
///     checkpoint        which checkpoint counts, and on which side it is; replaced by rename
///     redone            the last checkpoint whose pages are all in ram/
///     state             what the process that serves the store is doing, for `status`
///
/// A checkpoint is there when `checkpoint` names it. Its pages are then copied from the cache to
/// ram/; until `redone` says so, that copy is repeated by whoever opens the store.
extension Store {
  /// Makes checkpoint `record` the one that counts. When this returns, it is, whatever happens to
  /// this process; before, the one before it is.
  ///
  /// Nothing is forced to disk: a store of a standby outlives processes, not the machine (it
  /// usually is on tmpfs, which does not either).
  public func commit(
    _ record: CheckpointRecord, deviceState: UnsafeRawBufferPointer
  ) throws(StoreError) {
    try folder.write(record.deviceStateFile, deviceState)
    try folder.replace("checkpoint", with: record.json, durable: false)
  }

  /// Bytes that the store's file system has left.
  public var room: Int { folder.room }

  /// All pages of a checkpoint are in the guest's RAM files.
  ///
  /// - Parameter usingReserve: also where there is no room any more. Not for a standby that goes
  ///   on: what it would acknowledge then could not be continued.
  public func noteRedone(_ number: Int, usingReserve: Bool = false) throws(StoreError) {
    let note = { () throws(StoreError) in
      try self.folder.replace("redone", with: Data("\(number)\n".utf8), durable: false)
    }
    if usingReserve { try withReserve(note) } else { try note() }
  }

  /// The checkpoint that counts; nil if it is the end of precopy.
  public func checkpoint() throws(StoreError) -> CheckpointRecord? { try folder.checkpoint() }

  /// Whether a checkpoint's pages are still to be copied from the cache.
  public func needsRedo(_ record: CheckpointRecord) throws(StoreError) -> Bool {
    guard let data = try folder.contents("redone") else { return true }
    let text = String(decoding: data, as: UTF8.self)
    // To repeat a copy that is done would be wrong: the next checkpoint may have used its side of
    // the cache.
    guard let number = Int(text.trimmingCharacters(in: .whitespacesAndNewlines)) else {
      throw StoreError(.damaged, "\(path)/redone cannot be understood")
    }
    return number < record.number
  }

  /// Removes the cache: all that counts of it is in the guest's RAM files, and nobody fills it any
  /// more.
  public func dropCache() { folder.removeFolder("cache") }

  /// The devices' state of a checkpoint.
  public func deviceState(_ record: CheckpointRecord) throws(StoreError) -> [UInt8] {
    try folder.read(
      record.deviceStateFile, size: record.deviceStateSize)
  }

  /// Says what the process that serves the store is doing. Not durable, never an error.
  public func note(state: String) {
    try? folder.replace("state", with: Data((state + "\n").utf8), durable: false)
  }
}
