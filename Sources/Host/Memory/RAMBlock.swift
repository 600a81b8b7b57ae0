// Memory: RAM blocks, dirty bitmaps, zero pages. Knows no wire and no file format.

import CLinux
import Glibc
import Synchronization
import System

/// One RAM block of a guest, in a file: a memfd, or a file in a store's folder, so that a stock
/// QEMU can later map the very same pages.
///
/// The file is as long as the block and starts as one hole, which reads as zeroes. Before the first
/// byte of a chunk is written the chunk is *reserved*: its pages are allocated and mapped in one
/// system call. That is quicker than a fault a page, and it turns a full file system into an error
/// here instead of a SIGBUS later. A chunk that is not reserved is all zero by construction, so
/// clearing pages in it costs nothing and takes no memory.
///
/// Where the file system has huge pages, they are asked for, and a chunk is as long as one. A block on
/// a hugetlbfs has its share of the pool from the start, and its file is as long as whole pages are.
///
/// A file that existed before may lie on a file system that is full by now. There a chunk is one
/// page, so that a page which is memory already takes no more, and the kernel is asked where the
/// holes are.
public final class RAMBlock: Sendable {
  /// The block's name in the stream, such as `pc.ram`.
  public let name: String
  /// Bytes; a multiple of `pageSize`.
  public let length: Int
  /// Bytes of one target page.
  public let pageSize: Int
  /// The file. Open as long as this object lives.
  public let descriptor: Int32
  /// Where the block is mapped: `length` bytes, shared with the file. Valid while this object
  /// lives; writable, but only in reserved chunks, if the block was made for writing.
  public nonisolated(unsafe) let base: UnsafeMutableRawPointer
  /// What its memory comes in: what its file system offers for it.
  public let pages: FilePages

  private let mapping: Mapping
  private let reserved: DirtyBitmap
  /// How many of its bits are set: a standby asks in each checkpoint.
  private let reservedChunks = Atomic(0)
  /// The file was empty at first, so that what is not reserved is zero.
  let startedEmpty: Bool
  /// Chunks with a page of which somebody has said that it is zero.
  private let zeroes: DirtyBitmap
  /// Who gets memory ahead of those who write, and which of his blocks this is: asked when a chunk
  /// is reserved.
  private let ahead = Mutex<(chunks: ChunksAhead, index: Int)?>(nil)
  /// log2 of a chunk: 1 MiB, or a page of the file or the guest where one is bigger; a page of both
  /// where the file existed before.
  let chunkShift: Int
  /// What getting memory has taken, by all threads, in nanoseconds.
  private let reserving = Atomic<Int64>(0)

  /// Maps an empty file for writing, after setting its length.
  ///
  /// - Parameter descriptor: open for reading and writing, empty; owned by the block from here on,
  ///   also when this throws.
  public init(
    name: String, length: Int, pageSize: Int, emptyFile descriptor: Int32
  ) throws(SystemError) {
    do throws(SystemError) {
      guard ftruncate(descriptor, off_t(Self.fileLength(length, in: descriptor))) == 0 else {
        throw SystemError("ftruncate")
      }
      mapping = try Mapping(descriptor, length: length, protection: PROT_READ | PROT_WRITE)
    } catch {
      close(descriptor)
      throw error
    }
    (base, pages) = (mapping.base, FilePages.offered(to: mapping, of: descriptor))
    chunkShift = max(20, pageSize.trailingZeroBitCount, pages.size.trailingZeroBitCount)
    reserved = DirtyBitmap(count: length >> chunkShift + 1)
    zeroes = DirtyBitmap(count: length >> chunkShift + 1)
    startedEmpty = true
    (self.name, self.length, self.pageSize) = (name, length, pageSize)
    self.descriptor = descriptor
  }

  /// Maps a file that holds a block already. The same ownership of `descriptor`.
  ///
  /// - Parameter writable: whether pages may be written, after being reserved.
  public init(
    name: String, length: Int, pageSize: Int, existingFile descriptor: Int32, writable: Bool = false
  ) throws(SystemError) {
    do throws(SystemError) {
      mapping = try Mapping(
        descriptor, length: length, protection: writable ? PROT_READ | PROT_WRITE : PROT_READ)
    } catch {
      close(descriptor)
      throw error
    }
    (base, pages) = (mapping.base, FilePages.offered(to: mapping, of: descriptor))
    let smallest = pages.fileSystem == .hugetlbfs ? pages.size : pageSize
    chunkShift = max(smallest, pageSize).trailingZeroBitCount
    reserved = DirtyBitmap(count: length >> chunkShift + 1)
    zeroes = DirtyBitmap(count: 0)
    startedEmpty = false
    (self.name, self.length, self.pageSize) = (name, length, pageSize)
    self.descriptor = descriptor
  }

  /// How long the file of a block is: on a hugetlbfs whole pages, else as long as the block.
  ///
  /// - Parameter descriptor: the file, or its folder.
  public static func fileLength(_ length: Int, in descriptor: Int32) -> Int {
    let layout = FilePages.layout(of: descriptor)
    return layout.fileSystem == .hugetlbfs ? layout.rounded(length) : length
  }

  /// A block that lives in memory only.
  public convenience init(memfd name: String, length: Int, pageSize: Int) throws(SystemError) {
    let descriptor = clinux_memfd_create(name)
    guard descriptor >= 0 else { throw SystemError("memfd_create") }
    try self.init(name: name, length: length, pageSize: pageSize, emptyFile: descriptor)
  }

  deinit { close(descriptor) }

  /// Whether all of the block still is its file's mapping. What runs in this process may map other
  /// memory there: whatever is written to that, the file never sees. A look at all mappings of the
  /// process: 0.15 ms where there are 240.
  public var isMapped: Bool {
    var status = stat()
    var access: Int32 = 0
    guard fstat(descriptor, &status) == 0 else { return false }
    return clinux_is_mapped(
      base, length, UInt64(status.st_dev), UInt64(status.st_ino), &access) != 0
  }

  /// How many pages the block has.
  public var pageCount: Int { length / pageSize }

  /// Makes the page at `offset` writable memory. One relaxed load when its chunk is reserved.
  ///
  /// - Parameter offset: a multiple of the page size, less than `length`.
  /// - Throws: ENOSPC when the file system is full, ENOMEM.
  @inline(__always)
  public func reserve(pageAt offset: Int) throws(SystemError) {
    if !reserved.contains(offset >> chunkShift) { try reserveChunk(of: offset) }
  }

  /// Makes the pages at `offsets` writable memory, as ``reserve(pageAt:)`` does: a packet at a time,
  /// so that the channels do not count references to one block for each page.
  @inline(never)
  public func reserve(pagesAt offsets: UnsafeBufferPointer<UInt64>) throws(SystemError) {
    var known = -1
    for offset in offsets {
      let offset = Int(truncatingIfNeeded: offset)
      guard offset >> chunkShift != known else { continue }
      try reserve(pageAt: offset)
      known = offset >> chunkShift
    }
  }

  /// Makes all of a range of bytes writable memory, as ``reserve(pageAt:)`` does.
  ///
  /// - Parameter range: inside the block.
  @inline(never)
  public func reserve(_ range: Range<Int>) throws(SystemError) {
    guard !range.isEmpty else { return }
    for chunk in range.lowerBound >> chunkShift...(range.upperBound - 1) >> chunkShift {
      try reserve(pageAt: chunk << chunkShift)
    }
  }

  /// Makes the page at `offset` read as zeroes. Nothing to do where nothing was ever written.
  ///
  /// - Throws: like `reserve`, and only for a block whose file existed before; never ENOSPC for a
  ///   page that is memory, or a hole.
  @inline(__always)
  public func clear(pageAt offset: Int) throws(SystemError) {
    if !reserved.contains(offset >> chunkShift) {
      if startedEmpty {
        zeroes.set(offset >> chunkShift)
        return
      }
      if isHole(pageAt: offset) { return }
      try reserveChunk(of: offset)
    }
    // The page lies inside the mapping (the caller checked the offset) in a reserved chunk.
    memset(base + offset, 0, pageSize)
  }

  /// Makes the pages at `offsets` read as zeroes, as ``clear(pageAt:)`` does.
  @inline(never)
  public func clear(pagesAt offsets: UnsafeBufferPointer<UInt64>) throws(SystemError) {
    for offset in offsets { try clear(pageAt: Int(truncatingIfNeeded: offset)) }
  }

  /// Whether the page may be memory; if not, it is zero, and must not be read through the mapping:
  /// that would take memory, and where there is none, end in a SIGBUS.
  public func mayHoldData(pageAt offset: Int) -> Bool {
    reserved.contains(offset >> chunkShift) || !(startedEmpty || isHole(pageAt: offset))
  }

  /// Whether the file has no data in a page. A file system that cannot tell has data everywhere.
  private func isHole(pageAt offset: Int) -> Bool {
    let data = clinux_seek_data(descriptor, Int64(offset))
    return data < 0 ? errno == ENXIO : data >= Int64(offset + pageSize)
  }

  /// Gives memory back: everything from `offset` on is a hole again and reads as zeroes. Nobody may
  /// use that part meanwhile.
  ///
  /// - Parameter offset: rounded up to a whole chunk.
  public func release(from offset: Int) throws(SystemError) {
    precondition(ahead.withLock { $0 == nil }, "a block whose memory is got ahead")
    let first = (offset + (1 << chunkShift) - 1) >> chunkShift
    guard let last = reserved.last, last >= first else { return }
    let start = first << chunkShift
    let end = min((last + 1) << chunkShift, length)
    guard clinux_punch_hole(descriptor, Int64(start), Int64(end - start)) == 0 else {
      throw SystemError("fallocate")
    }
    for chunk in first...last where reserved.remove(chunk) {
      reservedChunks.wrappingSubtract(1, ordering: .relaxed)
    }
  }

  /// Bytes that have been made memory so far.
  public var reservedBytes: Int {
    min(reservedChunks.load(ordering: .relaxed) << chunkShift, length)
  }

  /// Seconds that threads have spent with getting memory, all of them together.
  public var reservingTime: Double { Double(reserving.load(ordering: .relaxed)) / 1e9 }

  private func reserveChunk(of offset: Int) throws(SystemError) {
    let chunk = offset >> chunkShift
    if let (chunks, index) = ahead.withLock({ $0 }) {
      try chunks.take(chunk, of: index)
    } else {
      try populate(chunk: chunk)
    }
    if reserved.set(chunk) { reservedChunks.wrappingAdd(1, ordering: .relaxed) }
  }

  // MARK: Memory that is got ahead

  /// How many chunks there are; the last one may be short.
  var chunkCount: Int { (length + chunkSize - 1) >> chunkShift }
  /// Bytes of a chunk.
  var chunkSize: Int { 1 << chunkShift }

  /// Whether somebody has said of a page of a chunk that it is zero, before the chunk was reserved.
  func isKnownZero(chunk: Int) -> Bool { zeroes.contains(chunk) }

  /// From here on chunks that are reserved are taken from there; nil: are got as usual.
  func getAhead(_ chunks: ChunksAhead?, _ index: Int) {
    ahead.withLock { $0 = chunks.map { ($0, index) } }
  }

  /// Makes a chunk memory, without its counting as reserved.
  func populate(chunk: Int) throws(SystemError) {
    let begin = clinux_monotonic()
    defer { reserving.wrappingAdd(clinux_monotonic() - begin, ordering: .relaxed) }
    let start = chunk << chunkShift
    let size = min(chunkSize, length - start)
    // Inside the mapping; allocates what is missing and changes no contents, so two threads that
    // come at once do no harm.
    if madvise(base + start, size, Int32(MADV_POPULATE_WRITE)) != 0 {
      let error = SystemError("madvise")
      switch error.errno {
      case EFAULT:  // what would have been a SIGBUS: the file system has no room
        throw SystemError("writing RAM block \(name)", errno: ENOSPC)
      case EINVAL:  // a kernel before 5.14
        guard clinux_fallocate(descriptor, Int64(start), Int64(size)) == 0 else {
          throw SystemError("fallocate")
        }
      default: throw error
      }
    }
  }

  /// Makes a hole of a chunk that is not reserved, and that nobody is about to reserve. Where the
  /// file system has no holes it stays what it was: zeroes.
  func punch(chunk: Int) {
    let start = chunk << chunkShift
    _ = clinux_punch_hole(descriptor, Int64(start), Int64(min(chunkSize, length - start)))
  }
}
