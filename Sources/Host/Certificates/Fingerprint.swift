import Digest
import Glibc

/// Which bytes a file has: what a certificate is about.
public struct Fingerprint: Equatable, Sendable {
  /// As 64 hexadecimal digits.
  public let sha256: String
  /// Bytes.
  public let size: Int

  /// What another has said of a file.
  public init(sha256: String, size: Int) {
    self.sha256 = sha256
    self.size = size
  }

  /// Of a regular file; nil when there is none at `path`, or it cannot be read to its end.
  public init?(of path: String) {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
    var hash = SHA256(), size = 0
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    while true {
      // The array is alive during the call, and read() is told its size.
      let count = read(descriptor, &buffer, buffer.count)
      if count < 0, errno == EINTR { continue }
      guard count >= 0 else { return nil }
      if count == 0 { break }
      hash.update(buffer[..<count])
      size += count
    }
    sha256 = hash.hexadecimal()
    self.size = size
  }
}
