import Foundation
import Glibc
import Memory
import System

/// The file `lock` of a store: held by the process that uses it, and what is written in it is the
/// mark by which a folder is known for a store, so that nobody else's `cache` or `ram` is ever
/// swept.
///
/// A folder without the mark is a store only if it has a manifest of one (older ones have no mark),
/// and becomes one only if it is empty. Where nothing comes of a store, the mark goes away again,
/// and with it the folder if this process has made it.
final class StoreLock: Sendable {
  /// What is in `lock`.
  static let mark = "multifd store 1\n"

  /// What a store is opened for.
  enum Use {
    /// A guest to come: the folder is made, or marked, where that may be.
    case reception
    /// The guest that is in it: nothing is made but the lock's file.
    case guest
  }

  /// The locked folder.
  let folder: StoreFolder
  private let use: Use
  private let descriptor: Int32

  /// Opens the folder and locks it for this process.
  static func take(_ path: String, for use: Use) throws(StoreError) -> StoreLock {
    // Another process may take its own mark, or its folder, away just now: then everything is
    // looked at anew.
    for _ in 0..<100 {
      let folder = try StoreFolder(path, create: use == .reception)
      do throws(StoreError) {
        try expectStore(folder, use)
        guard let descriptor = try lock(folder) else { continue }
        let lock = StoreLock(folder, use, descriptor)
        // Before it was taken the contents could still change.
        try expectStore(folder, use)
        if use == .reception { try lock.writeMark() }
        return lock
      } catch {
        if folder.isNew { rmdir(folder.path) }
        throw error
      }
    }
    throw StoreError(.busy, "\(path) is in use by another process")
  }

  private init(_ folder: StoreFolder, _ use: Use, _ descriptor: Int32) {
    self.folder = folder
    self.use = use
    self.descriptor = descriptor
  }

  deinit {
    if use == .reception { removeIfEmpty() }
    // Explicitly: a child that another thread is just starting still has a copy of the descriptor,
    // and closing ours would leave the lock to it until its exec.
    flock(descriptor, LOCK_UN)
    close(descriptor)
  }

  /// Makes sure that a folder is a store or, for a guest to come, may become one.
  private static func expectStore(_ folder: StoreFolder, _ use: Use) throws(StoreError) {
    // What another process is just making or sweeping away may look like neither; a look later it
    // does not.
    for attempt in 0..<3 {
      if attempt > 0 { usleep(2000) }
      let isEmpty = use == .reception ? try folder.names().allSatisfy { $0 == "lock" } : false
      let text = try folder.contents("lock")
      if text == Data(mark.utf8) || isEmpty && text?.isEmpty ?? true { return }
      if try folder.manifest() != nil { return }
    }
    guard use == .guest else { throw foreign(folder) }
    throw StoreError(.empty, "\(folder.path) is no store: there is no manifest.json")
  }

  private static func foreign(_ folder: StoreFolder) -> StoreError {
    StoreError(
      .foreign, "\(folder.path) is not empty, and no store: nothing in it is touched",
      hint: "give an empty folder, or one that is not there yet")
  }

  /// Opens the lock's file and takes the lock.
  ///
  /// - Returns: nil if the file has lost its name meanwhile.
  private static func lock(_ folder: StoreFolder) throws(StoreError) -> Int32? {
    let flags = O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC
    var lock = openat(folder.descriptor, "lock", flags | O_CREAT | O_EXCL, 0o600)
    if lock < 0, errno == EEXIST { lock = openat(folder.descriptor, "lock", flags) }
    guard lock >= 0 else {
      if errno == ENOENT { return nil }
      throw folder.failure("open", "lock")
    }
    do throws(StoreError) {
      try StoreTrust.check(lock, .file, as: folder.path + "/lock")
      guard lockNow(lock) else {
        let error = SystemError("flock")
        if error.errno == EWOULDBLOCK {
          throw StoreError(.busy, "\(folder.path) is in use by another process")
        }
        throw StoreError(error, at: folder.path + "/lock")
      }
    } catch {
      close(lock)
      throw error
    }
    var (mine, named) = (stat(), stat())
    guard fstat(lock, &mine) == 0,
      fstatat(folder.descriptor, "lock", &named, AT_SYMLINK_NOFOLLOW) == 0,
      mine.st_ino == named.st_ino, mine.st_dev == named.st_dev
    else {
      close(lock)
      return nil
    }
    return lock
  }

  /// Takes the lock. Whoever only looks whether it is taken holds it for a microsecond: that is not
  /// being in use.
  private static func lockNow(_ lock: Int32) -> Bool {
    for attempt in 0..<20 {
      if flock(lock, LOCK_EX | LOCK_NB) == 0 { return true }
      guard errno == EWOULDBLOCK, attempt < 19 else { return false }
      usleep(2000)
    }
    return false
  }

  /// Says that the folder is a store. In place: the lock is this very file.
  private func writeMark() throws(StoreError) {
    let bytes = Array(Self.mark.utf8)
    guard pwrite(descriptor, bytes, bytes.count, 0) == bytes.count else {
      throw folder.failure("write", "lock")
    }
  }

  /// Takes the mark away where nothing has come of the store, and the folder if this process has
  /// made it.
  private func removeIfEmpty() {
    guard let names = try? folder.names(), Set(names).isDisjoint(with: Store.fileNames) else {
      return
    }
    folder.remove("lock")
    guard folder.isNew else { return }
    var (mine, named) = (stat(), stat())
    guard fstat(folder.descriptor, &mine) == 0, lstat(folder.path, &named) == 0,
      mine.st_ino == named.st_ino, mine.st_dev == named.st_dev
    else { return }
    // Only if it is empty; whoever has put something into it keeps it. But for the socket, which may
    // be made this very moment, once.
    for _ in 0..<2 {
      folder.remove(Store.control)
      if rmdir(folder.path) == 0 { return }
    }
  }

  /// Whether a process has the store locked, without locking it for longer than a look.
  static func isTaken(_ folder: StoreFolder) -> Bool {
    let lock = openat(folder.descriptor, "lock", O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
    guard lock >= 0 else { return false }
    defer { close(lock) }
    return flock(lock, LOCK_SH | LOCK_NB) != 0
  }
}
