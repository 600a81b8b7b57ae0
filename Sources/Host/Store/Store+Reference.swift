import CLinux
import Glibc
import Memory
import System

extension Store {
  /// An older version of a guest, in a store of its own: a newer one begins as a copy of its pages.
  ///
  /// It is read and nothing else, and not locked: whoever has it goes on with it, a QEMU on its RAM
  /// files too. What is read may so be of no one moment. That does no harm, since it is the copy
  /// that is told to the source, and not what is here: see ``begin(_:in:_:)``.
  public final class Reference: Sendable {
    /// The folder.
    public let path: String
    /// Its RAM blocks, for reading.
    private let blocks: [(block: Manifest.Block, memory: RAMBlock)]
    private let pageSize: Int

    /// Opens a store for reading, as all stores are opened, whatever has become of its guest.
    ///
    /// - Throws: also if no guest has ever been here as a whole, or one with other pages.
    public init(at path: String, pageSize: Int) throws(StoreError) {
      let folder = try StoreFolder(path)
      guard let manifest = try folder.manifest() else {
        throw StoreError(.empty, "\(path) is no store: there is no manifest.json")
      }
      guard manifest.state != .receiving else {
        throw StoreError(.empty, "\(path) holds no guest: its migration did not end")
      }
      guard manifest.pageSize == pageSize else {
        throw StoreError(.damaged, "\(path) has pages of \(manifest.pageSize) bytes")
      }
      self.path = folder.path
      self.pageSize = pageSize
      // No stream has other names.
      let named = manifest.blocks.filter { $0.name.utf8.allSatisfy { (0x20..<0x7f).contains($0) } }
      var blocks: [(block: Manifest.Block, memory: RAMBlock)] = []
      for block in named { blocks.append((block, try folder.openBlock(block, pageSize: pageSize))) }
      self.blocks = blocks
    }

    /// Names and lengths.
    public var names: [(name: String, length: UInt64)] {
      blocks.map { ($0.block.name, $0.block.length) }
    }

    /// A part of a block.
    public enum Stretch {
      /// So many zero pages, which were not looked at.
      case hole(pages: Int)
      /// Pages, valid during the call.
      case pages(UnsafeRawBufferPointer)
    }

    /// Makes a RAM block in a store that is as this one's block `index`, and shows what is in it:
    /// from the first page to the last, in stretches.
    ///
    /// Where the file system can have two files share their blocks, the copy is no copy; elsewhere
    /// data are copied, and what is zero stays a hole. What is shown is what the new block has,
    /// however the old one changes meanwhile.
    public func begin(
      _ index: Int, in store: Store, _ show: (Stretch) throws -> Void
    ) throws -> RAMBlock {
      let old = blocks[index].memory
      // Whatever its file is called there.
      let block = Manifest.Block(name: old.name, length: UInt64(old.length))
      if let clone = try store.cloneBlock(block, pageSize: pageSize, from: old) {
        try Self.read(clone, show)
        return clone
      }
      let new = try store.makeBlock(block, pageSize: pageSize)
      var at = 0
      try Self.read(old) { stretch in
        switch stretch {
        case .hole(let pages): at += pages * pageSize
        case .pages(let bytes):
          try Self.copy(bytes, to: new, at: at)
          at += bytes.count
        }
        try show(stretch)
      }
      return new
    }

    /// Reads some pages of a block, as they are now.
    ///
    /// - Parameter part: inside the block from `offset` on.
    public func read(
      _ part: UnsafeMutableRawBufferPointer, of index: Int, at offset: Int
    ) throws { try Self.fill(part, from: blocks[index].memory, at: offset) }

    /// Bytes that are read at once.
    private static let step = 1 << 20

    /// Reads a block's file, but not its holes. By read(2), for a mapping would end in a SIGBUS
    /// where somebody made the file shorter.
    private static func read(_ block: RAMBlock, _ show: (Stretch) throws -> Void) throws {
      // Its own until the end of this function, and written by pread(2) alone.
      let buffer = UnsafeMutableRawBufferPointer.allocate(
        byteCount: max(step, block.pageSize), alignment: 4096)
      defer { buffer.deallocate() }
      var at = 0
      for extent in try block.dataExtents() {
        if at < extent.lowerBound {
          try show(.hole(pages: (extent.lowerBound - at) / block.pageSize))
        }
        at = extent.lowerBound
        while at < extent.upperBound {
          let part = UnsafeMutableRawBufferPointer(
            rebasing: buffer[..<min(buffer.count, extent.upperBound - at)])
          try fill(part, from: block, at: at)
          try show(.pages(UnsafeRawBufferPointer(part)))
          at += part.count
        }
      }
      if at < block.length { try show(.hole(pages: (block.length - at) / block.pageSize)) }
    }

    private static func fill(
      _ part: UnsafeMutableRawBufferPointer, from block: RAMBlock, at offset: Int
    ) throws {
      var done = 0
      while done < part.count {
        // The rest of `part`, which is the caller's.
        let count = pread(
          block.descriptor, part.baseAddress! + done, part.count - done, off_t(offset + done))
        if count < 0, errno == EINTR { continue }
        guard count >= 0 else { throw SystemError("reading RAM block \(block.name)") }
        guard count > 0 else {
          throw StoreError(.damaged, "the file of RAM block \(block.name) became shorter")
        }
        done += count
      }
    }

    /// Pages of a new block are zero, so those are left alone.
    private static func copy(
      _ bytes: UnsafeRawBufferPointer, to block: RAMBlock, at offset: Int
    ) throws {
      let size = block.pageSize
      for at in stride(from: 0, to: bytes.count, by: size) {
        // Whole pages, aligned as the buffer is.
        let page = bytes.baseAddress! + at
        guard !ZeroPage.isZero(page, count: size) else { continue }
        try block.reserve(pageAt: offset + at)
        // Inside the mapping, for both blocks are as long, and reserved.
        (block.base + offset + at).copyMemory(from: page, byteCount: size)
      }
    }
  }

  /// A RAM block in a new file that shares its data with another's; nil where that cannot be.
  private func cloneBlock(
    _ block: Manifest.Block, pageSize: Int, from old: RAMBlock
  ) throws(StoreError) -> RAMBlock? {
    try folder.makeFolder("ram")
    let descriptor = try folder.create(block.file)
    var status = stat()
    guard clinux_clone(descriptor, old.descriptor) == 0, fstat(descriptor, &status) == 0,
      status.st_size == old.length
    else {
      close(descriptor)
      folder.remove(block.file)
      return nil
    }
    do {
      return try RAMBlock(
        name: block.name, length: Int(block.length), pageSize: pageSize, existingFile: descriptor,
        writable: true)
    } catch { throw StoreError(error, at: path) }
  }

  /// Removes a RAM block that was begun and that the guest does not have.
  public func removeBlock(named name: String) {
    folder.remove(Manifest.Block(name: name, length: 0).file)
  }
}
