import Glibc
import Memory

extension Store {
  /// What the RAM in a store takes, and lies on.
  public struct MemoryUse: Equatable, Sendable {
    /// Bytes of memory, or of a disk.
    public var bytes = 0
    /// What was found at some places of it.
    public var pages = FoundPages()
  }

  /// Looks at the RAM that a store holds, without making more of it memory; nil where it may not.
  static func memoryUse(_ folder: StoreFolder, _ manifest: Manifest) -> MemoryUse? {
    var use = MemoryUse()
    for block in manifest.blocks {
      guard let file = try? folder.openFile(block.file, O_RDONLY) else { return nil }
      defer { close(file) }
      var status = stat()
      guard fstat(file, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
      // The unit of st_blocks, whatever the file system's is.
      use.bytes += Int(status.st_blocks) * 512
      use.pages.look(at: file, length: Int(status.st_size))
    }
    return use
  }
}
