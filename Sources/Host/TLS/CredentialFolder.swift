import Glibc
import System

/// A folder of credentials, and whose they are: who can change one decides whom this process
/// trusts, and who can read a key can be this process. So the folder and its files belong to root
/// or the effective user and are writable for nobody else, and others than their group cannot read
/// a key (a key of root's that a group of services may read is usual). All by descriptors: what was
/// looked at is what is read. Links are followed, for what they lead to is looked at like any file,
/// and who can change a link is asked of the folder.
struct CredentialFolder: ~Copyable {
  let path: String
  private let descriptor: Int32
  /// A chain of certificates is a few kilobytes, a list of revoked ones can be long.
  private static let mostBytes = 16 << 20

  init(_ path: String) throws(TLSError) {
    let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else {
      throw TLSError(.credentials, "\(path): \(SystemError("open").reason)")
    }
    do throws(TLSError) { _ = try Self.look(at: descriptor, path, S_IFDIR) } catch {
      close(descriptor)
      throw error
    }
    // Last of all: what is whole is deinitialized, also where its initializer throws, and the number
    // that is closed a second time may be somebody else's by then.
    (self.path, self.descriptor) = (path, descriptor)
  }

  deinit { close(descriptor) }

  /// Reads a file; nil where there is none.
  func read(_ name: String, isSecret: Bool = false) throws(TLSError) -> [UInt8]? {
    let place = "\(path)/\(name)"
    // Without waiting for whoever would write into a pipe of this name.
    let file = openat(descriptor, name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)
    guard file >= 0 else {
      if errno == ENOENT { return nil }
      throw TLSError(.credentials, "\(place): \(SystemError("open").reason)")
    }
    defer { close(file) }
    let status = try Self.look(at: file, place, S_IFREG)
    guard !isSecret || status.st_mode & S_IROTH == 0 else {
      throw TLSError(
        .credentials, "\(place) is secret, and everybody can read it",
        hint: "chmod o-r \(place), and make a new one if others have been here")
    }
    guard status.st_size <= Self.mostBytes else {
      throw TLSError(.credentials, "\(place) has \(status.st_size) bytes: it is none of TLS's")
    }
    var bytes = [UInt8](repeating: 0, count: Int(status.st_size))
    var done = 0
    while done < bytes.count {
      let count = bytes.withUnsafeMutableBytes {
        // The rest of the array, which nobody else has.
        Glibc.read(file, $0.baseAddress! + done, $0.count - done)
      }
      if count < 0, errno == EINTR { continue }
      guard count > 0 else {
        throw TLSError(.credentials, "\(place) could not be read to its end")
      }
      done += count
    }
    return bytes
  }

  private static func look(
    at descriptor: Int32, _ place: String, _ form: mode_t
  ) throws(TLSError) -> stat {
    var status = stat()
    guard fstat(descriptor, &status) == 0 else {
      throw TLSError(.credentials, "\(place): \(SystemError("fstat").reason)")
    }
    guard status.st_mode & S_IFMT == form else {
      throw TLSError(.credentials, "\(place) is no regular file")
    }
    guard [0, geteuid()].contains(status.st_uid) else {
      throw TLSError(
        .credentials, "\(place) belongs to user \(status.st_uid), not to root or user \(geteuid())",
        hint: "who owns it decides whom this process trusts: chown it if you trust what is in it")
    }
    guard status.st_mode & (S_IWGRP | S_IWOTH) == 0 else {
      throw TLSError(
        .credentials, "\(place) is writable for others than its owner",
        hint: "who writes to it decides whom this process trusts: chmod go-w \(place) if you trust "
          + "what is in it")
    }
    return status
  }
}
