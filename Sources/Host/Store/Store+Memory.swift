import Glibc
import Memory
import System

/// The files of a store that are memory: a guest's RAM, and the cache of a standby.
extension Store {
  /// A RAM block in a new file, all zero.
  public func makeBlock(_ block: Manifest.Block, pageSize: Int) throws(StoreError) -> RAMBlock {
    try folder.makeFolder("ram")
    return try folder.makeMemory(
      block.file, name: block.name, length: Int(block.length), pageSize: pageSize)
  }

  /// A RAM block that is held here.
  ///
  /// - Parameter writable: for a copy into it, not only for reading.
  public func openBlock(
    _ block: Manifest.Block, pageSize: Int, writable: Bool = false
  ) throws(StoreError) -> RAMBlock {
    try folder.openBlock(block, pageSize: pageSize, writable: writable)
  }

  /// A file of the cache, all zero.
  public func makeCacheFile(
    _ name: String, length: Int, pageSize: Int
  ) throws(StoreError) -> RAMBlock {
    try folder.makeFolder("cache")
    return try folder.makeMemory("cache/" + name, name: name, length: length, pageSize: pageSize)
  }

  /// A file of the cache as it is, for writing: a copy that is repeated clears what it has done.
  public func openCacheFile(
    _ name: String, length: Int, pageSize: Int
  ) throws(StoreError) -> RAMBlock {
    try folder.openMemory(
      "cache/" + name, name: name, length: length, pageSize: pageSize, writable: true)
  }
}

extension StoreFolder {
  /// A RAM block of a guest.
  func openBlock(
    _ block: Manifest.Block, pageSize: Int, writable: Bool = false
  ) throws(StoreError) -> RAMBlock {
    // A manifest's lengths have been checked, see ``Manifest/contradiction``.
    try openMemory(
      block.file, name: block.name, length: Int(block.length), pageSize: pageSize,
      writable: writable)
  }

  fileprivate func makeMemory(
    _ file: String, name: String, length: Int, pageSize: Int
  ) throws(StoreError) -> RAMBlock {
    let descriptor = try create(file)
    do {
      return try RAMBlock(
        name: name, length: length, pageSize: pageSize, emptyFile: descriptor)
    } catch { throw StoreError(error, at: path) }
  }

  fileprivate func openMemory(
    _ file: String, name: String, length: Int, pageSize: Int, writable: Bool
  ) throws(StoreError) -> RAMBlock {
    let descriptor = try open(file, size: UInt64(length), memory: true, writable: writable)
    do {
      return try RAMBlock(
        name: name, length: length, pageSize: pageSize, existingFile: descriptor,
        writable: writable)
    } catch { throw StoreError(error, at: path) }
  }
}
