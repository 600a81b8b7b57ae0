import Foundation
import Glibc
import Memory
import System

/// What is written down of a disk beside its image, in a folder `IMAGE.epochs`:
///
///     K.data, K.index    what the primary has written in epoch K, see ``DiskLog``
///     covered            a bit for each 4 KiB of the image: it has come since the copy began
///     state              whose image it is, see ``DiskState``; replaced by rename
///
/// The image has all epochs whose logs are gone. Which of those that are there count, the store's
/// `checkpoint` says: one rename commits memory, devices and every disk.
///
/// Locked by the process that has it, as a store is.
public final class DiskFolder: Sendable {
  /// The folder.
  public var path: String { folder.path }
  let folder: StoreFolder

  /// Opens the folder, or makes it.
  ///
  /// - Parameter create: makes it if it is not there.
  /// - Throws: `.busy` where another process has it.
  public init(_ path: String, create: Bool) throws(StoreError) {
    folder = try StoreFolder(wholePath(path), create: create)
    // Another process may be ending just now.
    for attempt in 0... {
      guard flock(folder.descriptor, LOCK_EX | LOCK_NB) != 0 else { break }
      let error = SystemError("flock")
      guard error.errno == EWOULDBLOCK, attempt < 20 else {
        if error.errno != EWOULDBLOCK { throw StoreError(error, at: path) }
        throw StoreError(.busy, "\(path) is in use by another process")
      }
      usleep(5000)
    }
  }

  // Explicitly: a child that another thread is just starting still has a copy of the descriptor.
  deinit { flock(folder.descriptor, LOCK_UN) }

  /// What is written down; nil if nothing is.
  public func state() throws(StoreError) -> DiskState? {
    guard let data = try folder.contents("state") else { return nil }
    guard let state = try? JSONDecoder().decode(DiskState.self, from: data) else {
      throw StoreError(.damaged, "\(path)/state cannot be understood")
    }
    return state
  }

  /// Replaces it. Not forced to disk: it names the machine's boot.
  public func write(_ state: DiskState) throws(StoreError) {
    guard let data = try? JSONEncoder().encode(state) else {
      throw StoreError(.system, "\(path)/state cannot be written as JSON")
    }
    try folder.replace("state", with: data, durable: false)
  }

  /// Numbers of the logs that are there, in order.
  func logs() throws(StoreError) -> [Int] {
    var numbers: Set<Int> = []
    for name in try folder.names() {
      for end in [".data", ".index"] where name.hasSuffix(end) {
        if let number = Int(name.dropLast(end.count)), number > 0 { numbers.insert(number) }
      }
    }
    return numbers.sorted()
  }

  /// The bits of what has come.
  ///
  /// - Parameters:
  ///   - size: bytes of the image.
  ///   - keep: as they are, where they are; else none is set.
  public func coverage(size: Int, keep: Bool) throws(StoreError) -> DirtyBitmap {
    let bits = (size + DiskState.block - 1) / DiskState.block
    let bytes = ((bits + 63) / 64 * 8 + 4095) / 4096 * 4096
    do {
      if keep, let (file, status) = try folder.openExisting("covered", writable: true) {
        if Int(status.st_size) == bytes {
          let block = try RAMBlock(
            name: "covered", length: bytes, pageSize: 4096, existingFile: file, writable: true)
          return try DirtyBitmap(count: bits, in: block, at: 0)
        }
        close(file)
      }
      let block = try RAMBlock(
        name: "covered", length: bytes, pageSize: 4096, emptyFile: try folder.create("covered"))
      return try DirtyBitmap(count: bits, in: block, at: 0)
    } catch let error as StoreError {
      throw error
    } catch let error as SystemError {
      throw StoreError(error, at: path + "/covered")
    } catch { throw StoreError(.system, "\(path)/covered: \(error)") }
  }

  /// From here on nothing of the image has come. It needs no room.
  func forgetCoverage() { folder.remove("covered") }

  /// Brings the image to what is in the logs up to one, and drops those after it. Can be repeated:
  /// whatever ends it, the next one ends it right.
  ///
  /// - Parameter last: the last epoch that counts; nil: all do.
  public func redo(through last: Int?, to image: DiskImage) throws(StoreError) {
    let numbers = try logs()
    // First: nothing of them may be taken for what counts by whoever comes next.
    for number in numbers where number > last ?? .max { DiskLog.remove(number, from: folder) }
    for number in numbers where number <= last ?? .max {
      if let log = try DiskLog(opening: number, in: folder) {
        do { try log.apply(to: image) } catch { throw StoreError(error, at: image.path) }
      }
      DiskLog.remove(number, from: folder)
    }
  }
}

/// Whose image a disk's is, and how far: the file `state` of its folder.
public struct DiskState: Codable, Equatable, Sendable {
  /// Bytes for which there is one bit of coverage.
  public static let block = 4096

  /// The protection that it belongs to: the store's manifest has the same.
  public var session: String
  /// The start of the machine's kernel in which it was written: logs are not forced to disk.
  public var boot: String?
  /// The store that holds the guest, or will.
  public var store: String?
  /// A guest was to go on with the image from a checkpoint, whatever came of that: it is nobody's
  /// copy any more.
  public var continued = false

  /// A state of a protection.
  public init(session: String) {
    self.session = session
    boot = Manifest.thisBoot
  }

  /// The store of a guest that could still be continued with the image, by force perhaps, also
  /// where that was tried and has failed; nil if there is none for certain.
  ///
  /// - Throws: where the store does not say.
  func guest() throws(StoreError) -> String? {
    guard let store else { return nil }
    let manifest: Manifest?
    do { manifest = try Store.status(of: store).manifest } catch {
      if error.kind == .empty { return nil }
      throw error
    }
    guard let manifest, [.standby, .handingOver].contains(manifest.state), manifest.ended == nil,
      !manifest.isFromBeforeBoot,
      manifest.disks?.contains(where: { $0.session == session }) == true
    else { return nil }
    return store
  }

  /// What a standby that died has left may be gone on with: the machine has not been started since,
  /// and no guest has.
  public var isAdoptable: Bool { !continued && boot == Manifest.thisBoot }
}
