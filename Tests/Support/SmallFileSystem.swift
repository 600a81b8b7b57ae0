import Foundation

/// A file system that is soon full: a tmpfs of its own, reached through a descriptor only.
///
/// It is taken out of the mount table as soon as it is there, so nobody else sees it and it goes
/// away with the descriptor, also when the process is killed.
public final class SmallFileSystem: Sendable {
  /// Its root folder. Sockets cannot be made in it.
  public let path: String
  private let descriptor: Int32

  /// A new empty file system.
  ///
  /// - Parameter options: as mount(8) takes them after -o: `size=1m`, `nr_inodes=8`.
  public init(_ options: String) throws {
    let folder = try TemporaryFolder()
    guard mount("none", folder.path, "tmpfs", 0, "mode=0700," + options) == 0 else {
      throw LabError("mounting a tmpfs: " + String(cString: strerror(errno)))
    }
    descriptor = open(folder.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    umount2(folder.path, Int32(MNT_DETACH))
    guard descriptor >= 0 else { throw LabError("a tmpfs was mounted and cannot be opened") }
    // By way of the number: another process of the tests can reach it, too. The dot: it is a folder
    // and no link.
    path = "/proc/\(getpid())/fd/\(descriptor)/."
  }

  deinit { close(descriptor) }

  /// Why there can be none; nil when there can.
  public static let unavailable: SkipReason? = {
    do {
      _ = try SmallFileSystem("size=64k")
      return nil
    } catch {
      let reason = SkipReason("a small file system needs root (\(error))")
      reason.announce("tests on a full file system")
      return reason
    }
  }()

  /// For a test's trait.
  public static var isAvailable: Bool { unavailable == nil }

  /// The paths of all files and folders below a folder, sorted.
  public static func tree(_ path: String) -> [String] {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []
    return names.sorted().flatMap { name in
      [name] + tree(path + "/" + name).map { name + "/" + $0 }
    }
  }

  /// The names of what is in a folder, sorted.
  public static func names(_ path: String) -> [String] {
    ((try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []).sorted()
  }

  /// Gives back what ``fill()`` took.
  public func empty() { unlink(path + "/ballast") }

  /// Takes what room there is, to the last page.
  public func fill() throws {
    let file = open(path + "/ballast", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
    guard file >= 0 else { throw LabError("making a ballast: " + String(cString: strerror(errno))) }
    defer { close(file) }
    let bytes = [UInt8](repeating: 1, count: 4096)
    while write(file, bytes, bytes.count) == bytes.count {}
  }
}
