import System

/// The disks of a standby's guest, for whoever is about to go on with it: each is the guest's own,
/// and locked for as long as this is kept. Nothing of them is changed yet.
public struct GuestDisks: Sendable {
  fileprivate struct Disk {
    let image: DiskImage
    let folder: DiskFolder
    let state: DiskState
    /// The last epoch that counts.
    let last: Int
  }

  fileprivate var disks: [Disk] = []

  /// Brings every disk to the checkpoint, as the guest's memory is brought there: what was written
  /// after it is dropped. From here on the images are nobody's copies. Can be repeated.
  public func redo() throws(StoreError) {
    for disk in disks {
      // First: what its primary was told is written is about to go, and nobody may adopt the rest.
      disk.folder.forgetCoverage()
      if !disk.state.continued {
        var state = disk.state
        state.continued = true
        do { try disk.folder.write(state) } catch {
          // Only the word for the next standby is missing, which finds nothing covered.
          guard error.kind == .full else { throw error }
        }
      }
      try disk.folder.redo(through: disk.last, to: disk.image)
      do { try disk.image.sync() } catch { throw StoreError(error, at: disk.image.path) }
    }
  }
}

extension Store {
  /// Opens the disks of a standby's guest.
  ///
  /// - Parameters:
  ///   - manifest: the store's.
  ///   - record: the checkpoint; nil: the end of precopy.
  /// - Throws: where one of them is not as the checkpoint has it, or somebody else has it.
  public func disks(
    of manifest: Manifest, at record: CheckpointRecord?
  ) throws(StoreError) -> GuestDisks {
    var all = GuestDisks()
    for disk in manifest.disks ?? [] {
      guard let last = record == nil ? disk.epoch : record?.disks[disk.name] else {
        throw StoreError(.damaged, "\(path)/checkpoint says nothing of disk '\(disk.name)'")
      }
      let image = try DiskImage(disk.image)
      let folder = try DiskFolder(disk.folder, create: false)
      guard let state = try folder.state(), state.session == disk.session else {
        throw StoreError(
          .damaged,
          "\(disk.folder) is not that of the guest in \(path): another protection has begun with it"
        )
      }
      guard state.boot == manifest.boot else {
        throw StoreError(
          .stale, "the machine has been started since \(disk.image) was written: it may be torn")
      }
      all.disks.append(GuestDisks.Disk(image: image, folder: folder, state: state, last: last))
    }
    return all
  }
}
