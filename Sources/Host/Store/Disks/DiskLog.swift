import Glibc
import Memory
import Synchronization
import System

/// What a primary has written to a disk in one epoch, in two files:
///
///     K.data     contents of the writes, each from a multiple of 4 KiB on
///     K.index    32 bytes for each write, in order: see ``Entry``
///
/// An entry is written after its contents, and both go through the kernel's memory: whatever ends
/// this process, an entry that is there has its contents. What ends the machine takes the store
/// along, and the image has to be copied anew (``DiskState/boot``).
final class DiskLog: Sendable {
  /// A write, as it is in the index.
  struct Entry: BitwiseCopyable {
    /// Where in the image.
    var offset: UInt64
    /// Bytes.
    var length: UInt64
    /// Where in the contents; ``zeroes`` for a range that is to read as zeroes.
    var position: UInt64
    /// Of the three and the epoch: see ``check(_:)``.
    var sum: UInt64

    static let zeroes = UInt64.max

    /// The image's bytes that it is about.
    var range: Range<UInt64> { offset..<offset &+ length }
  }

  let number: Int
  private let folder: StoreFolder
  let data: Int32
  private let index: Int32
  /// Bytes of the contents.
  private let end = Atomic<Int>(0)
  private let count = Atomic<Int>(0)
  private static let alignment = 4096
  private static let stride = MemoryLayout<Entry>.stride

  /// An empty log; files of that number lose their names.
  init(creating number: Int, in folder: StoreFolder) throws(StoreError) {
    data = try folder.create("\(number).data")
    do throws(StoreError) { index = try folder.create("\(number).index") } catch {
      close(data)
      throw error
    }
    (self.number, self.folder) = (number, folder)
  }

  /// A log that a process has left.
  ///
  /// - Returns: nil where one of its files is missing: it was being made, or removed.
  init?(opening number: Int, in folder: StoreFolder) throws(StoreError) {
    guard let (data, _) = try folder.openExisting("\(number).data", writable: false) else {
      return nil
    }
    self.data = data
    guard let (index, status) = try folder.openExisting("\(number).index", writable: false) else {
      close(data)
      return nil
    }
    self.index = index
    (self.number, self.folder) = (number, folder)
    count.store(Int(status.st_size) / Self.stride, ordering: .relaxed)
  }

  deinit {
    close(data)
    close(index)
  }

  /// Bytes that it takes.
  var bytes: Int {
    end.load(ordering: .relaxed) + count.load(ordering: .relaxed) * Self.stride
  }

  /// Writes it down. One thread at a time.
  ///
  /// - Parameter bytes: nil: the range is to read as zeroes.
  func append(
    _ bytes: UnsafeRawBufferPointer?, at range: Range<Int>
  ) throws(SystemError) {
    var entry = Entry(
      offset: UInt64(range.lowerBound), length: UInt64(range.count), position: Entry.zeroes, sum: 0)
    if let bytes {
      let place = end.load(ordering: .relaxed)
      try DiskTransfer.write(data, bytes, at: place)
      entry.position = UInt64(place)
      let next = place + (bytes.count + Self.alignment - 1) / Self.alignment * Self.alignment
      end.store(next, ordering: .relaxed)
    }
    entry.sum = check(entry)
    let place = count.load(ordering: .relaxed) * Self.stride
    // An Entry is 32 bytes without padding, and lives as long as the closure.
    try withUnsafeBytes(of: entry) { bytes in
      Result { () throws(SystemError) in try DiskTransfer.write(index, bytes, at: place) }
    }.get()
    count.wrappingAdd(1, ordering: .releasing)
  }

  /// Its entries, up to the first that is not whole.
  ///
  /// - Parameter size: the image's: nothing may go beyond it.
  func entries(size: Int) throws(SystemError) -> [Entry] {
    let most = count.load(ordering: .acquiring)
    var status = stat()
    guard fstat(data, &status) == 0 else { throw SystemError("fstat") }
    var entries = [Entry](
      repeating: Entry(offset: 0, length: 0, position: 0, sum: 0), count: most)
    let index = index
    // Valid for the closure; an Entry is any 32 bytes.
    try entries.withUnsafeMutableBytes { bytes in
      Result { () throws(SystemError) in try DiskTransfer.read(index, bytes, at: 0) }
    }.get()
    let contents = UInt64(status.st_size)
    let whole = entries.prefix { entry in
      let (end, overflow) = entry.offset.addingReportingOverflow(entry.length)
      guard entry.sum == check(entry), !overflow, end <= UInt64(size) else { return false }
      guard entry.position != Entry.zeroes else { return true }
      let (last, over) = entry.position.addingReportingOverflow(entry.length)
      return !over && last <= contents
    }
    return Array(whole)
  }

  /// Puts what it has of a range of the image over what the image has.
  ///
  /// - Parameter buffer: the range's bytes, from `offset` on.
  func overlay(
    _ buffer: UnsafeMutableRawBufferPointer, at offset: Int, size: Int
  ) throws(SystemError) {
    let wanted = UInt64(offset)..<UInt64(offset + buffer.count)
    for entry in try entries(size: size) where entry.range.overlaps(wanted) {
      let part = entry.range.clamped(to: wanted)
      let place = Int(part.lowerBound) - offset
      // Clamped to the range that the buffer is.
      let target = UnsafeMutableRawBufferPointer(rebasing: buffer[place..<place + part.count])
      if entry.position == Entry.zeroes {
        target.initializeMemory(as: UInt8.self, repeating: 0)
      } else {
        let source = Int(entry.position) + Int(part.lowerBound - entry.offset)
        try DiskTransfer.read(data, target, at: source)
      }
    }
  }

  /// Writes all of it to the image, in order. Can be repeated.
  func apply(to image: DiskImage) throws(SystemError) {
    for entry in try entries(size: image.size) {
      let (offset, length) = (Int(entry.offset), Int(entry.length))
      if entry.position == Entry.zeroes {
        try image.clear(offset..<offset + length)
      } else {
        try image.copy(from: data, at: Int(entry.position), to: offset, count: length)
      }
    }
  }

  /// Takes it away: the image has all of it, or nothing of it counts.
  func remove() { Self.remove(number, from: folder) }

  static func remove(_ number: Int, from folder: StoreFolder) {
    // What is without its index is no log.
    folder.remove("\(number).index")
    folder.remove("\(number).data")
  }

  /// A number that hardly any other entry has: an index that was torn, or is another's, ends there.
  private func check(_ entry: Entry) -> UInt64 {
    var sum: UInt64 = 0x6d66_645f_6469_736b ^ UInt64(number)
    for word in [entry.offset, entry.length, entry.position] {
      // The finalizer of SplitMix64.
      sum = (sum ^ word) &* 0xbf58_476d_1ce4_e5b9
      sum = (sum ^ sum >> 27) &* 0x94d0_49bb_1331_11eb
      sum ^= sum >> 31
    }
    return sum
  }
}
