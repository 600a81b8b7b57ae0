import Foundation
import Glibc

/// Files that are written and read as a whole.
extension StoreFolder {
  /// More than any file that is read as a whole: a manifest of a thousand blocks is half a
  /// megabyte.
  private static let maxText = 16 << 20
  /// More than any stream's devices: a stream may have 256 MiB.
  private static let maxState: UInt64 = 1 << 30

  /// Replaces a file as a whole: after a crash there is the old one or the new one.
  ///
  /// - Parameter durable: also after a crash of the machine.
  func replace(_ name: String, with contents: Data, durable: Bool = true) throws(StoreError) {
    let new = name + ".new"
    let file = try create(new)
    defer { close(file) }
    do throws(StoreError) {
      try contents.withUnsafeBytes { bytes in
        Result { () throws(StoreError) in try write(bytes, to: file, named: new) }
      }.get()
      if durable, fsync(file) != 0 { throw failure("fsync", new) }
      guard renameat(descriptor, new, descriptor, name) == 0 else { throw failure("rename", new) }
    } catch {
      // What is half written would only take room.
      remove(new)
      throw error
    }
    if durable { try syncFolder() }
  }

  /// Writes a new file.
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
      // The rest lies within the caller's bytes.
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
    guard size <= Self.maxState else {
      throw StoreError(.damaged, "\(path)/\(name) of \(size) bytes, which no guest's can be")
    }
    let file = try open(name, size: size)
    defer { close(file) }
    return try read(file, count: Int(size), named: name)
  }

  /// The whole file, or nil if there is none. One that is there and cannot be read is an error: to
  /// take it for absent would be to take an older checkpoint for the last.
  ///
  /// - Parameter ofAnybody: may be somebody else's: to look at, not to use.
  func contents(_ name: String, ofAnybody: Bool = false) throws(StoreError) -> Data? {
    guard let file = try openFile(name, O_RDONLY) else { return nil }
    defer { close(file) }
    let status = try StoreTrust.check(file, .file, as: path + "/" + name, ofAnybody: ofAnybody)
    guard status.st_size <= Self.maxText else {
      throw StoreError(.damaged, "\(path)/\(name) has \(status.st_size) bytes")
    }
    return Data(try read(file, count: Int(status.st_size), named: name))
  }

  private func read(_ file: Int32, count: Int, named name: String) throws(StoreError) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    var done = 0
    while done < bytes.count {
      let count = bytes.withUnsafeMutableBytes {
        Glibc.read(file, $0.baseAddress! + done, $0.count - done)
      }
      if count < 0 && errno == EINTR { continue }
      guard count >= 0 else { throw failure("read", name) }
      guard count > 0 else { throw StoreError(.damaged, "\(path)/\(name) became shorter") }
      done += count
    }
    return bytes
  }

  /// Makes the entries of a folder below durable.
  func syncFolder(_ name: String) throws(StoreError) {
    let below = try openFolder(name)
    defer { close(below) }
    guard fsync(below) == 0 else { throw failure("fsync", name) }
  }

  /// Makes the folder itself durable, where this process has made it: its parent names it.
  func syncName() throws(StoreError) {
    guard isNew else { return }
    let parent = openat(descriptor, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard parent >= 0 else {
      // Whoever may make folders in one that he may not read has done what he can.
      if errno == EACCES { return }
      throw failure("open", "..")
    }
    defer { close(parent) }
    guard fsync(parent) == 0 else { throw failure("fsync", "..") }
  }

  /// Makes the folder's entries durable.
  func syncFolder() throws(StoreError) {
    guard fsync(descriptor) == 0 else { throw failure("fsync", ".") }
  }
}
