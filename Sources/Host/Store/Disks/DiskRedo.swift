import System

extension Store {
  /// Brings every disk of a standby's guest to a checkpoint, as its memory is brought there: what
  /// was written after it is dropped. From here on the images are nobody's copies.
  ///
  /// - Parameters:
  ///   - manifest: the store's.
  ///   - record: the checkpoint; nil: the end of precopy.
  public func redoDisks(
    _ manifest: Manifest, to record: CheckpointRecord?
  ) throws(StoreError) {
    for disk in manifest.disks ?? [] {
      guard let last = record == nil ? disk.epoch : record?.disks[disk.name] else {
        throw StoreError(.damaged, "\(path)/checkpoint says nothing of disk '\(disk.name)'")
      }
      let image = try DiskImage(disk.image)
      let folder = try DiskFolder(disk.folder, create: false)
      guard var state = try folder.state(), state.session == disk.session else {
        throw StoreError(
          .damaged,
          "\(disk.folder) is not that of the guest in \(path): another protection has begun with it"
        )
      }
      guard state.boot == manifest.boot else {
        throw StoreError(
          .stale, "the machine has been started since \(disk.image) was written: it may be torn")
      }
      try folder.redo(through: last, to: image)
      do { try image.sync() } catch { throw StoreError(error, at: image.path) }
      guard !state.continued else { continue }
      state.continued = true
      do { try folder.write(state) } catch {
        // It could be repeated, which changes nothing; only the word for the next standby is missing.
        guard error.kind == .full else { throw error }
      }
    }
  }
}
