import Foundation
import Glibc
import Memory
import System

/// A file system of huge pages for stores: mounted by root, taken down with umount(8).
public enum StoreMount {
  /// Mounts a tmpfs with huge pages, in which stores are made.
  ///
  /// - Parameters:
  ///   - path: an empty folder, or none yet.
  ///   - size: the most bytes that it may hold; nil: half of the machine's memory.
  /// - Returns: what memory there comes in.
  public static func tmpfs(on path: String, size: UInt64?) throws(StoreError) -> FilePages {
    let folder = try StoreFolder(path, create: true)
    do throws(StoreError) {
      try expectNoMount(on: folder.descriptor, as: path)
      guard try folder.names().isEmpty else {
        throw StoreError(
          .foreign, "\(path) is not empty: what is in it would be out of sight",
          hint: "give an empty folder, or one that is not there yet")
      }
      // Of whoever has it: stores in it are their users' own folders. `within_size`: a short file
      // takes what it needs.
      try mount(
        "tmpfs", on: folder.descriptor, "huge=within_size,mode=0755" + limit(size), as: path)
    } catch {
      if folder.isNew { rmdir(folder.path) }
      throw error
    }
    // The folder's name leads to the new file system now.
    return try pages(in: try StoreFolder(path))
  }

  /// Mounts the machine's pool of huge pages where a store has its RAM: `ram` in its folder.
  ///
  /// - Parameters:
  ///   - path: a store without a guest, or what may become one.
  ///   - size: the most bytes that it may hold; nil: the pool.
  /// - Returns: what memory there comes in.
  public static func hugetlbfs(in path: String, size: UInt64?) throws(StoreError) -> FilePages {
    let store = try Store.prepare(path)
    let folder = store.folder
    try folder.makeFolder("ram")
    let ram = try folder.openFolder("ram")
    defer { close(ram) }
    try expectNoMount(on: ram, as: path + "/ram")
    try mount("hugetlbfs", on: ram, "mode=0700" + limit(size), as: path + "/ram")
    // The folder's name leads to the new file system now.
    let mounted = try folder.openFolder("ram")
    defer { close(mounted) }
    return FilePages(size: RAMBlock.fileLength(1, in: mounted), fileSystem: .hugetlbfs)
  }

  /// A second one would hide the first.
  private static func expectNoMount(
    on folder: Int32, as path: String
  ) throws(StoreError) {
    var (inside, outside) = (stat(), stat())
    guard fstat(folder, &inside) == 0, fstatat(folder, "..", &outside, 0) == 0 else {
      throw StoreError(SystemError("stat"), at: path)
    }
    guard inside.st_dev == outside.st_dev else {
      throw StoreError(
        .busy, "something is mounted on \(path) already", hint: "umount \(path)")
    }
  }

  private static func limit(_ size: UInt64?) -> String { size.map { ",size=\($0)" } ?? "" }

  private static func mount(
    _ type: String, on folder: Int32, _ options: String, as path: String
  ) throws(StoreError) {
    // By its descriptor, so that what has been looked at is what is mounted on.
    let target = "/proc/self/fd/\(folder)"
    let flags = UInt(MS_NOSUID) | UInt(MS_NODEV) | UInt(MS_NOEXEC)
    guard Glibc.mount("multifd", target, type, flags, options) == 0 else {
      let error = SystemError("mount")
      switch error.errno {
      case EPERM:
        throw StoreError(.system, "\(path): \(error)", hint: "mounting takes root (CAP_SYS_ADMIN)")
      case EINVAL, ENODEV:
        throw StoreError(
          .system, "\(path): \(error)", hint: "this kernel may have no huge pages for a \(type)")
      default: throw StoreError(error, at: path)
      }
    }
  }

  /// What a file in a folder gets.
  private static func pages(in folder: StoreFolder) throws(StoreError) -> FilePages {
    let descriptor = try folder.create("look")
    folder.remove("look")
    do {
      // As long as a huge page is: nothing of it becomes memory.
      return try RAMBlock(
        name: "look", length: FilePages.hugeSize, pageSize: FilePages.base, emptyFile: descriptor
      ).pages
    } catch { throw StoreError(error, at: folder.path) }
  }
}
