import Foundation
import Glibc
import Memory

extension Store {
  /// A store as somebody sees it who does not lock it: a process may be using it meanwhile. What a rehearsal
  /// of its failover needs, and where its verdict is written.
  ///
  /// Nothing here changes the guest. Files are opened below the folder's descriptor, without following links,
  /// and used only if they are plain files of somebody who could have written the folder anyway.
  public final class Look: Sendable {
    /// The folder's real path, as a QEMU is told it.
    public let path: String
    /// What it says about its guest.
    public let manifest: Manifest
    /// Sections that come before the RAM's pages.
    public let earlyState: [UInt8]
    private let folder: Int32

    /// Looks at a store that holds a guest, or at a standby's.
    ///
    /// - Parameter handedOver: also a guest that ``Store/open(_:handedOver:)`` opens only then.
    public init(at path: String, handedOver: Bool = false) throws(StoreError) {
      guard let real = realpath(path, nil) else {
        throw StoreError(
          errno == ENOENT ? .empty : .system, "cannot open \(path): \(SystemError("open").reason)")
      }
      self.path = String(cString: real)
      free(real)
      let folder = Glibc.open(self.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
      guard folder >= 0 else {
        throw StoreError(.system, "cannot open \(path): \(SystemError("open").reason)")
      }
      do throws(StoreError) {
        let manifest = try Self.manifest(folder, path, handedOver)
        earlyState = [UInt8](
          try Self.contents(folder, "early-state", limit: 1 << 26, path) ?? Data())
        guard earlyState.count == Int(clamping: manifest.earlyStateSize) else {
          throw StoreError(.damaged, "\(path)/early-state is not what the manifest says")
        }
        self.manifest = manifest
      } catch {
        close(folder)
        throw error
      }
      self.folder = folder
    }

    deinit { close(folder) }

    private static func manifest(
      _ folder: Int32, _ path: String, _ handedOver: Bool
    ) throws(StoreError) -> Manifest {
      guard let data = try contents(folder, "manifest.json", limit: 1 << 24, path) else {
        throw StoreError(.empty, "\(path) is no store: there is no manifest.json")
      }
      guard let manifest = try? JSONDecoder().decode(Manifest.self, from: data),
        manifest.format == 1
      else { throw StoreError(.damaged, "\(path)/manifest.json cannot be understood") }
      if let wrong = manifest.contradiction {
        throw StoreError(.damaged, "\(path)/manifest.json cannot be right: it says \(wrong)")
      }
      switch manifest.state {
      case .receiving: throw StoreError(.empty, "\(path) holds no guest yet")
      case .handedOver where manifest.failedOver == true:
        throw StoreError(.used, "the guest of \(path) went on in these files already")
      case .standby where manifest.isFromBeforeBoot && !handedOver:
        throw StoreError(.stale, "the standby of \(path) is from before this machine was started")
      case .handedOver where !handedOver, .handingOver where !handedOver,
        .unsettled where !handedOver:
        throw StoreError(
          .handedOver, "the guest of \(path) is \(manifest.state.rawValue): it may run elsewhere")
      case .held, .standby, .unsettled, .handedOver, .handingOver: return manifest
      }
    }

    /// A RAM block, for reading. It may be changing.
    public func openBlock(_ block: Manifest.Block) throws(StoreError) -> RAMBlock {
      let file = try Self.open(folder, block.file, path)
      guard let file else { throw StoreError(.damaged, "\(path)/\(block.file) is not there") }
      var status = stat()
      guard fstat(file, &status) == 0, UInt64(status.st_size) == block.length else {
        close(file)
        throw StoreError(.damaged, "\(path)/\(block.file) is not as long as the manifest says")
      }
      do {
        return try RAMBlock(
          name: block.name, length: Int(block.length), pageSize: manifest.pageSize,
          existingFile: file)
      } catch { throw Store.translated(error, path) }
    }

    /// Writes down how a rehearsal went. Never an error: it is a note, and the folder may be full.
    public func note(rehearsal: Data) {
      let new = "rehearsal.\(getpid())"
      let file = openat(
        folder, new, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
      guard file >= 0 else { return }
      let isWhole = rehearsal.withUnsafeBytes {
        Glibc.write(file, $0.baseAddress, $0.count) == $0.count
      }
      close(file)
      guard isWhole, renameat(folder, new, folder, "rehearsal") == 0 else {
        unlinkat(folder, new, 0)
        return
      }
    }

    /// What the last rehearsal has written down; nil if there was none.
    public static func rehearsal(of path: String) -> Data? {
      let folder = Glibc.open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
      guard folder >= 0 else { return nil }
      defer { close(folder) }
      return (try? contents(folder, "rehearsal", limit: 1 << 16, path)) ?? nil
    }

    private static func contents(
      _ folder: Int32, _ name: String, limit: Int, _ path: String
    ) throws(StoreError) -> Data? {
      guard let file = try open(folder, name, path) else { return nil }
      defer { close(file) }
      var data = Data()
      var piece = [UInt8](repeating: 0, count: 1 << 16)
      while true {
        let count = Glibc.read(file, &piece, piece.count)
        if count < 0 && errno == EINTR { continue }
        guard count >= 0 else {
          throw StoreError(.system, "\(path)/\(name): \(SystemError("read").reason)")
        }
        if count == 0 { return data }
        data.append(contentsOf: piece[..<count])
        guard data.count <= limit else { throw StoreError(.damaged, "\(path)/\(name) is too long") }
      }
    }

    /// - Returns: nil if there is no such file.
    private static func open(
      _ folder: Int32, _ name: String, _ path: String
    ) throws(StoreError) -> Int32? {
      let file = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
      guard file >= 0 else {
        if errno == ENOENT { return nil }
        throw StoreError(.damaged, "\(path)/\(name): \(SystemError("open").reason)")
      }
      var (status, owner) = (stat(), stat())
      guard fstat(file, &status) == 0, fstat(folder, &owner) == 0,
        status.st_mode & S_IFMT == S_IFREG, [0, geteuid(), owner.st_uid].contains(status.st_uid)
      else {
        close(file)
        throw StoreError(.damaged, "\(path)/\(name) is no plain file of the store's owner")
      }
      return file
    }
  }
}
