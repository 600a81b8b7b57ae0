import CLinux
import Glibc
import Memory
import System

/// The image of a disk at a standby: a regular file or a block device, raw. It is as it was at a
/// checkpoint, or on its way there; what a primary has written since lies in the logs of its
/// ``DiskFolder``.
public final class DiskImage: Sendable {
  /// Its real path.
  public let path: String
  /// Bytes.
  public let size: Int
  /// It is a block device.
  public let isDevice: Bool
  private let descriptor: Int32

  /// Opens an image for writing.
  ///
  /// - Parameter given: a path; links are followed to what they lead to, as for `/dev/vg/lv`.
  /// - Throws: where somebody else could write to it, or it is neither a file nor a device.
  public init(_ given: String) throws(StoreError) {
    do { path = try realPath(given) } catch {
      guard error.errno == ENOENT else { throw StoreError(error, at: given) }
      throw StoreError(
        .empty, "there is no \(given)",
        hint: "make one as long as the primary's disk: truncate -s SIZE \(given)")
    }
    let descriptor = open(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
    guard descriptor >= 0 else { throw StoreError(SystemError("open"), at: path) }
    do throws(StoreError) {
      (size, isDevice) = try Self.check(descriptor, path)
    } catch {
      close(descriptor)
      throw error
    }
    self.descriptor = descriptor
  }

  deinit { close(descriptor) }

  private static func check(
    _ descriptor: Int32, _ path: String
  ) throws(StoreError) -> (Int, Bool) {
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw StoreError(SystemError("fstat"), at: path) }
    let isDevice = status.st_mode & S_IFMT == S_IFBLK
    if isDevice {
      guard status.st_mode & S_IWOTH == 0 else {
        throw StoreError(.untrusted, "\(path) is writable for everybody")
      }
    } else {
      try StoreTrust.check(descriptor, .file, as: path)
    }
    let size = lseek(descriptor, 0, SEEK_END)
    guard size > 0 else {
      throw StoreError(
        .empty, "\(path) is empty",
        hint: "make it as long as the primary's disk: truncate -s SIZE \(path)")
    }
    return (Int(size), isDevice)
  }

  /// What tells it from every other image: two paths may lead to one.
  public var identity: [UInt64] {
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { return [] }
    return isDevice ? [UInt64(status.st_rdev)] : [UInt64(status.st_dev), UInt64(status.st_ino)]
  }

  /// Whether a QEMU has the image open for its guest. It says so by locks on bytes from 100 on, as
  /// /proc/locks shows them; one that waits for a guest to come has none.
  public var isUsedByQEMU: Bool { clinux_is_locked(descriptor, 100, 200) != 0 }

  /// Fills a buffer from an offset; all of it lies inside.
  public func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int) throws(SystemError) {
    try DiskTransfer.read(descriptor, buffer, at: offset)
  }

  /// Writes bytes at an offset; all of it lies inside.
  public func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws(SystemError) {
    try DiskTransfer.write(descriptor, bytes, at: offset)
  }

  /// Makes a range read as zeroes, as a hole where that can be.
  public func clear(_ range: Range<Int>) throws(SystemError) {
    guard !range.isEmpty else { return }
    let (start, count) = (Int64(range.lowerBound), Int64(range.count))
    if clinux_punch_hole(descriptor, start, count) == 0 { return }
    // A device takes whole sectors only, and some file systems have no holes.
    try withUnsafeTemporaryAllocation(byteCount: 1 << 16, alignment: 4096) { zeroes in
      Result { () throws(SystemError) in
        zeroes.initializeMemory(as: UInt8.self, repeating: 0)
        var at = range.lowerBound
        while at < range.upperBound {
          let part = UnsafeRawBufferPointer(zeroes).prefix(range.upperBound - at)
          try write(UnsafeRawBufferPointer(rebasing: part), at: at)
          at += part.count
        }
      }
    }.get()
  }

  /// Copies a range of a log's contents to a place in the image.
  func copy(from log: Int32, at source: Int, to offset: Int, count: Int) throws(SystemError) {
    try withUnsafeTemporaryAllocation(byteCount: min(count, 1 << 17), alignment: 4096) { buffer in
      Result { () throws(SystemError) in
        var done = 0
        while done < count {
          let part = UnsafeMutableRawBufferPointer(rebasing: buffer.prefix(count - done))
          try DiskTransfer.read(log, part, at: source + done)
          try write(UnsafeRawBufferPointer(part), at: offset + done)
          done += part.count
        }
      }
    }.get()
  }

  /// All that was written is on the medium.
  public func sync() throws(SystemError) {
    guard fdatasync(descriptor) == 0 else { throw SystemError("fdatasync") }
  }

  /// Lets the kernel begin to write out what it has, so that little is left for ``sync()``.
  public func startWriting() { clinux_start_writing(descriptor) }
}

/// pread(2) and pwrite(2) until all is done.
enum DiskTransfer {
  static func read(
    _ descriptor: Int32, _ buffer: UnsafeMutableRawBufferPointer, at offset: Int
  ) throws(SystemError) {
    try all(buffer.count, "pread") { done in
      // Inside the buffer: `done` is less than its count.
      pread(descriptor, buffer.baseAddress! + done, buffer.count - done, off_t(offset + done))
    }
  }

  static func write(
    _ descriptor: Int32, _ bytes: UnsafeRawBufferPointer, at offset: Int
  ) throws(SystemError) {
    try all(bytes.count, "pwrite") { done in
      // Inside the bytes: `done` is less than their count.
      pwrite(descriptor, bytes.baseAddress! + done, bytes.count - done, off_t(offset + done))
    }
  }

  private static func all(
    _ count: Int, _ name: String, _ call: (_ done: Int) -> Int
  ) throws(SystemError) {
    var done = 0
    while done < count {
      let part = call(done)
      if part < 0 {
        if errno == EINTR { continue }
        throw SystemError(name)
      }
      guard part > 0 else { throw SystemError(name, errno: EIO) }
      done += part
    }
  }
}
