import Foundation
import Glibc
import Memory
import System

/// A store's folder as its files are reached: each is opened by its name below the open folder,
/// without following links, and used only when it is this user's own and nobody else's to write;
/// new ones are made exclusively.
///
/// It is not locked: ``Store`` is. What may be read and written without the lock is
/// ``StoreRecord``.
final class StoreFolder: Sendable {
  /// As it was given, without slashes at its end.
  let path: String
  /// Whether this process has made it.
  let isNew: Bool
  /// The open folder.
  let descriptor: Int32

  /// Opens a folder.
  ///
  /// - Parameters:
  ///   - create: makes it if it is not there.
  ///   - ofAnybody: may be somebody else's: to look at, not to use.
  init(_ given: String, create: Bool = false, ofAnybody: Bool = false) throws(StoreError) {
    var path = given
    // With a slash at its end a link would be followed.
    while path.count > 1, path.hasSuffix("/") { path.removeLast() }
    let flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC
    var (isMade, descriptor) = (false, Int32(-1))
    // One that is to be there may be taken away by its last user between the two calls.
    for _ in 0..<(create ? 100 : 1) {
      isMade = create && mkdir(path, 0o700) == 0
      if create, !isMade, errno != EEXIST {
        throw StoreError(SystemError("mkdir"), at: path)
      }
      descriptor = Glibc.open(path, flags)
      if descriptor >= 0 || errno != ENOENT { break }
    }
    isNew = isMade
    guard descriptor >= 0 else { throw Self.cannotOpen(path, SystemError("open")) }
    do throws(StoreError) {
      try StoreTrust.check(descriptor, .folder, as: path, ofAnybody: ofAnybody)
    } catch {
      close(descriptor)
      if isNew { rmdir(path) }
      throw error
    }
    self.path = path
    self.descriptor = descriptor
  }

  deinit { close(descriptor) }

  private static func cannotOpen(_ path: String, _ error: SystemError) -> StoreError {
    var status = stat()
    if lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFLNK {
      return StoreError(
        .untrusted, "\(path) is a link", hint: "give the folder itself that it leads to")
    }
    if error.errno == ENOENT { return StoreError(.empty, "there is no \(path)") }
    return StoreError(error, at: path)
  }

  /// Makes a folder below, if it is not there.
  func makeFolder(_ name: String) throws(StoreError) {
    guard mkdirat(descriptor, name, 0o700) == 0 || errno == EEXIST else {
      throw failure("mkdir", name)
    }
    close(try openFolder(name))
  }

  func openFolder(_ name: String) throws(StoreError) -> Int32 {
    let below = openat(descriptor, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
    guard below >= 0 else { throw failure("open", name) }
    do throws(StoreError) { try StoreTrust.check(below, .folder, as: path + "/" + name) } catch {
      close(below)
      throw error
    }
    return below
  }

  /// Opens a file: `NAME` or `FOLDER/NAME`. A descriptor, or nil if there is no such file.
  func openFile(_ name: String, _ flags: Int32) throws(StoreError) -> Int32? {
    var parts = name.split(separator: "/", maxSplits: 1).map(String.init)
    let file = parts.removeLast()
    var parent = descriptor
    if let folder = parts.first { parent = try openFolder(folder) }
    defer { if parent != descriptor { close(parent) } }
    // What is no regular file must not keep anybody waiting; for one that is, O_NONBLOCK means
    // nothing.
    let all = flags | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC
    var opened = openat(parent, file, all, 0o600)
    if opened < 0, errno == EEXIST, flags & O_EXCL != 0 {
      // What a process that died has left, or the state of the checkpoint before the last: only its
      // name goes.
      unlinkat(parent, file, 0)
      opened = openat(parent, file, all, 0o600)
    }
    guard opened >= 0 else {
      if errno == ENOENT { return nil }
      let error = SystemError("open")
      if error.errno == ELOOP {
        throw StoreError(.untrusted, "\(path)/\(name) is a link")
      }
      throw StoreError(error, at: path + "/" + name)
    }
    return opened
  }

  /// Opens a new, empty file; one that has its name loses it.
  func create(_ name: String) throws(StoreError) -> Int32 {
    guard let file = try openFile(name, O_RDWR | O_CREAT | O_EXCL) else {
      throw failure("create", name)
    }
    return file
  }

  /// Opens a file that is there; nil if it is not.
  func openExisting(_ name: String, writable: Bool) throws(StoreError) -> (Int32, stat)? {
    guard let file = try openFile(name, writable ? O_RDWR : O_RDONLY) else { return nil }
    do throws(StoreError) {
      return (file, try StoreTrust.check(file, .file, as: path + "/" + name))
    } catch {
      close(file)
      throw error
    }
  }

  /// Opens a file for reading and checks its size.
  ///
  /// - Parameter memory: it is a RAM block's, which on a hugetlbfs is as long as whole pages are.
  func open(
    _ name: String, size: UInt64, memory: Bool = false, writable: Bool = false
  ) throws(StoreError) -> Int32 {
    guard let (file, status) = try openExisting(name, writable: writable) else {
      throw StoreError(.damaged, "\(path)/\(name) is not there")
    }
    let length = memory ? UInt64(RAMBlock.fileLength(Int(size), in: file)) : size
    guard UInt64(status.st_size) == length else {
      close(file)
      throw StoreError(
        .damaged, "\(path)/\(name) has \(status.st_size) bytes where the manifest says \(size)")
    }
    return file
  }

  /// The names of what is in the folder.
  func names() throws(StoreError) -> [String] { try names(of: ".") }

  private func names(of folder: String) throws(StoreError) -> [String] {
    let below = try openFolder(folder)
    guard let stream = fdopendir(below) else {
      close(below)
      throw failure("opendir", folder)
    }
    defer { closedir(stream) }
    var names: [String] = []
    // An entry is valid until the next call on its stream; its name is a C string inside it.
    while let entry = readdir(stream) {
      let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
        String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
      }
      if name != ".", name != ".." { names.append(name) }
    }
    return names
  }

  /// Removes a file; it need not be there.
  func remove(_ name: String) { unlinkat(descriptor, name, 0) }

  /// Removes a folder below with the files that are in it; it need not be there. A folder in it, or
  /// a link in its place, is nothing that a store makes, and stays.
  func removeFolder(_ name: String) {
    guard let names = try? names(of: name), let below = try? openFolder(name) else { return }
    for file in names { unlinkat(below, file, 0) }
    close(below)
    unlinkat(descriptor, name, Int32(AT_REMOVEDIR))
  }

  /// Bytes that the file system has left; 0 when it does not say.
  var room: Int {
    var answer = statvfs()
    guard fstatvfs(descriptor, &answer) == 0 else { return 0 }
    let (bytes, overflow) = answer.f_bavail.multipliedReportingOverflow(by: answer.f_frsize)
    return overflow ? .max : Int(clamping: bytes)
  }

  func failure(_ call: String, _ name: String) -> StoreError {
    StoreError(SystemError(call), at: path + "/" + name)
  }
}
