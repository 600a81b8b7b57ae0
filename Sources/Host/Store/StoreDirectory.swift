import Foundation
import Glibc
import Memory

/// The folder of a store: files that are written whole and made durable, and a lock.
struct StoreDirectory: ~Copyable, Sendable {
  let path: String
  private let descriptor: Int32
  private let lock: Int32

  /// Opens the folder and locks it for this process.
  ///
  /// - Parameter create: makes the folder if it is not there.
  init(_ path: String, create: Bool) throws(StoreError) {
    if create, mkdir(path, 0o700) != 0, errno != EEXIST {
      throw StoreError(.system, "cannot make \(path): \(SystemError("mkdir").reason)")
    }
    let descriptor = Glibc.open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else {
      throw StoreError(
        errno == ENOENT ? .empty : .system, "cannot open \(path): \(SystemError("open").reason)")
    }
    let lock = openat(descriptor, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    guard lock >= 0, Self.take(lock) else {
      let error = SystemError("flock")
      if lock >= 0 { close(lock) }
      close(descriptor)
      if error.errno == EWOULDBLOCK {
        throw StoreError(.busy, "\(path) is in use by another process")
      }
      throw StoreError(.system, "cannot lock \(path): \(error.reason)")
    }
    self.path = path
    self.descriptor = descriptor
    self.lock = lock
  }

  /// Takes the lock. Whoever only looks whether it is taken holds it for a microsecond: that is not being in use.
  private static func take(_ lock: Int32) -> Bool {
    for attempt in 0..<20 {
      if flock(lock, LOCK_EX | LOCK_NB) == 0 { return true }
      guard errno == EWOULDBLOCK, attempt < 19 else { return false }
      usleep(2000)
    }
    return false
  }

  deinit {
    // Explicitly: a child that another thread is just starting still has a copy of the descriptor, and
    // closing ours would leave the lock to it until its exec.
    flock(lock, LOCK_UN)
    close(lock)
    close(descriptor)
  }

  /// Makes a folder below, if it is not there.
  func makeFolder(_ name: String) throws(StoreError) {
    guard mkdirat(descriptor, name, 0o700) == 0 || errno == EEXIST else {
      throw failure("mkdir", name)
    }
  }

  /// Opens a new, empty file.
  func create(_ name: String) throws(StoreError) -> Int32 {
    let file = openat(descriptor, name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
    guard file >= 0 else { throw failure("create", name) }
    return file
  }

  /// Opens a file for reading and checks its size.
  func open(
    _ name: String, size: UInt64, writable: Bool = false
  ) throws(StoreError) -> Int32 {
    let file = openat(descriptor, name, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC)
    guard file >= 0 else {
      throw StoreError(.damaged, "\(path)/\(name): \(SystemError("open").reason)")
    }
    var status = stat()
    guard fstat(file, &status) == 0, UInt64(status.st_size) == size else {
      close(file)
      throw StoreError(
        .damaged, "\(path)/\(name) has \(status.st_size) bytes where the manifest says \(size)")
    }
    return file
  }

  /// Replaces a file as a whole: after a crash there is the old one or the new one.
  ///
  /// - Parameter durable: also after a crash of the machine.
  func replace(
    _ name: String, with contents: Data, durable: Bool = true
  ) throws(StoreError) {
    let new = name + ".new"
    let file = try create(new)
    defer { close(file) }
    var result: Result<Void, StoreError> = .success(())
    contents.withUnsafeBytes { bytes in
      result = Result { () throws(StoreError) in try write(bytes, to: file, named: new) }
    }
    try result.get()
    if durable, fsync(file) != 0 { throw failure("fsync", new) }
    guard renameat(descriptor, new, descriptor, name) == 0 else { throw failure("rename", new) }
    if durable { try syncFolder() }
  }

  /// Writes a file in place.
  func write(_ name: String, _ bytes: UnsafeRawBufferPointer) throws(StoreError) {
    let file = try create(name)
    defer { close(file) }
    try write(bytes, to: file, named: name)
  }

  private func write(
    _ bytes: UnsafeRawBufferPointer, to file: Int32, named name: String
  ) throws(StoreError) {
    var done = 0
    while done < bytes.count {
      let count = Glibc.write(file, bytes.baseAddress! + done, bytes.count - done)
      guard count >= 0 else {
        if errno == EINTR { continue }
        throw failure("write", name)
      }
      done += count
    }
  }

  /// Reads a file whose size the manifest gives.
  func read(_ name: String, size: UInt64) throws(StoreError) -> [UInt8] {
    let file = try open(name, size: size)
    defer { close(file) }
    var bytes = [UInt8](repeating: 0, count: Int(size))
    var done = 0
    while done < bytes.count {
      let count = bytes.withUnsafeMutableBytes {
        Glibc.read(file, $0.baseAddress! + done, $0.count - done)
      }
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else { throw failure("read", name) }
      done += count
    }
    return bytes
  }

  /// The whole file, or nil if there is none. One that is there and cannot be read is an error: to take it for absent
  /// would be to take an older checkpoint for the last.
  func contents(_ name: String) throws(StoreError) -> Data? {
    let file = openat(descriptor, name, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else {
      if errno == ENOENT { return nil }
      throw failure("open", name)
    }
    defer { close(file) }
    var data = Data()
    var piece = [UInt8](repeating: 0, count: 1 << 16)
    while true {
      let count = Glibc.read(file, &piece, piece.count)
      if count < 0 && errno == EINTR { continue }
      guard count >= 0 else { throw failure("read", name) }
      if count == 0 { return data }
      data.append(contentsOf: piece[..<count])
    }
  }

  /// Removes a file; it need not be there.
  func remove(_ name: String) { unlinkat(descriptor, name, 0) }

  /// Removes a folder below with all that is in it; it need not be there.
  func removeFolder(_ name: String) {
    try? FileManager.default.removeItem(atPath: path + "/" + name)
  }

  /// Bytes that the file system has left; 0 when it does not say.
  var room: Int {
    var answer = statvfs()
    guard fstatvfs(descriptor, &answer) == 0 else { return 0 }
    let (bytes, overflow) = answer.f_bavail.multipliedReportingOverflow(by: answer.f_frsize)
    return overflow ? .max : Int(clamping: bytes)
  }

  /// Makes the entries of a folder below durable.
  func syncFolder(_ name: String) throws(StoreError) {
    let below = openat(descriptor, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard below >= 0 else { throw failure("open", name) }
    defer { close(below) }
    guard fsync(below) == 0 else { throw failure("fsync", name) }
  }

  /// Makes the folder's entries durable.
  func syncFolder() throws(StoreError) {
    guard fsync(descriptor) == 0 else { throw failure("fsync", ".") }
  }

  private func failure(_ call: String, _ name: String) -> StoreError {
    let error = SystemError(call)
    let full = error.errno == ENOSPC || error.errno == EDQUOT
    return StoreError(full ? .full : .system, "\(path)/\(name): \(call): \(error.reason)")
  }
}
