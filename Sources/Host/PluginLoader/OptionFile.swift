import Digest
import Glibc
import PluginAPI

/// A file that an option of a backend is: a dictionary, say. What is in it is known by its SHA-256,
/// so whose it is does not matter where that was told.
public struct OptionFile: Equatable, Sendable {
  /// The option.
  public let option: String
  /// What is in it.
  public let contents: [UInt8]
  /// The SHA-256 of that: 32 bytes.
  public let digest: [UInt8]

  /// Hashes the contents, which for the largest takes a tenth of a second: it is done once.
  init(option: String, contents: [UInt8]) {
    (self.option, self.contents) = (option, contents)
    digest = SHA256.hash(contents)
  }

  /// The digest in hexadecimal digits.
  public var sha256: String { SHA256.hexadecimal(digest) }
  /// Its name in a folder `dictionaries`.
  public var name: String { Self.name(digest) }

  /// A file's name in a folder `dictionaries`, by the digest of what is in it.
  public static func name(_ digest: [UInt8]) -> String { SHA256.hexadecimal(digest) + ".dict" }

  /// What is in a regular file of no more bytes than one can have; nil for anything else.
  package static func contents(of path: String) -> [UInt8]? { try? read(path).get() }

  /// Reads a regular file of no more bytes than one can have.
  static func read(_ path: String) -> Result<[UInt8], BackendOption.Wrong> {
    // A FIFO is not waited for: it is refused.
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
    guard descriptor >= 0 else { return .failure(.init(errorText(errno))) }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
      return .failure(.init("is not a file"))
    }
    let most = Int(MULTIFD_MAX_FILE)
    guard status.st_size <= most else {
      return .failure(.init("has \(status.st_size) bytes, at most \(most) are possible"))
    }
    // One byte more than it has: that it grows meanwhile is noticed.
    var bytes = [UInt8](repeating: 0, count: Int(status.st_size) + 1)
    var count = 0
    while count < bytes.count {
      // The array has as many bytes behind `count`.
      let part = bytes.withUnsafeMutableBytes {
        Glibc.read(descriptor, $0.baseAddress! + count, $0.count - count)
      }
      if part < 0, errno == EINTR { continue }
      guard part >= 0 else { return .failure(.init(errorText(errno))) }
      if part == 0 { break }
      count += part
    }
    guard count == Int(status.st_size) else { return .failure(.init("changes while it is read")) }
    bytes.removeLast(bytes.count - count)
    return .success(bytes)
  }
}

extension PluginLoader {
  /// The file of this name, which is its digest's, in the folder `dictionaries` of one of the search
  /// path's, for an option; nil when nobody has put it there.
  public func dictionary(named name: String, for option: String) -> OptionFile? {
    for folder in searchPath.folders {
      guard case .success(let bytes) = OptionFile.read(folder + "/dictionaries/" + name) else {
        continue
      }
      let file = OptionFile(option: option, contents: bytes)
      // It is what it is called, whoever has written it.
      if file.name == name { return file }
    }
    return nil
  }
}
