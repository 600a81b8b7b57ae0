import Foundation

/// A new folder that is removed with its content when this value goes away, at the latest when the
/// process exits.
public final class TemporaryFolder: Sendable {
  /// What the folder will hold: it decides where it is made.
  public enum Use: Sendable {
    /// Sockets and logs: a short path under /tmp, which every QEMU peer sees at the same place.
    case files
    /// A guest's memory: on tmpfs where /dev/shm has the room (a store's normal home), else under
    /// /tmp.
    case memory(bytes: Int)
  }

  /// Its path: short enough for UNIX sockets in it.
  public let path: String

  /// A new empty folder.
  public init(_ use: Use = .files) throws {
    var base = "/tmp"
    if case .memory(let bytes) = use, Self.freeBytes("/dev/shm") > bytes + (64 << 20) {
      base = "/dev/shm"
    }
    var template = Array((base + "/mfd.XXXXXX").utf8CString)
    guard mkdtemp(&template) != nil else {
      throw LabError("making a folder in \(base): " + String(cString: strerror(errno)))
    }
    path = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
    _ = Self.removeAllAtExit
    _ = Self.mask
    Self.alive.update { _ = $0.insert(path) }
  }

  deinit { remove() }

  /// Removes it now. `defer { folder.remove() }` also keeps it until then: only its path is used,
  /// and the compiler owes a value that is no longer used nothing.
  public func remove() {
    guard Self.alive.update({ $0.remove(path) }) != nil else { return }
    try? FileManager.default.removeItem(atPath: path)
  }

  private static let alive = Monitor<Set<String>>([])

  /// What tests put into stores must be writable for nobody else, whatever the mask of whoever runs
  /// them.
  private static let mask: Void = { _ = umask(0o022) }()

  /// Values that are never released (those of a test's static cache) are cleaned up here.
  private static let removeAllAtExit: Void = {
    atexit {
      for path in TemporaryFolder.alive.read({ $0 }) {
        try? FileManager.default.removeItem(atPath: path)
      }
    }
  }()

  /// The path of something in the folder.
  public func callAsFunction(_ name: String) -> String { path + "/" + name }

  /// Bytes an ordinary user may still write to the file system at `path`; 0 when there is none.
  public static func freeBytes(_ path: String) -> Int {
    let attributes = try? FileManager.default.attributesOfFileSystem(forPath: path)
    return (attributes?[.systemFreeSize] as? NSNumber)?.intValue ?? 0
  }
}
