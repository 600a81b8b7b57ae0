import Glibc
import System

/// The file that a UNIX socket listens at. It is removed by whoever made it, and replaced by nobody
/// while it is live.
struct SocketFile: Sendable {
  private let path: String
  private let device: dev_t
  private let inode: ino_t

  /// The file that is there now; nil if none is.
  init?(_ path: String) {
    var status = stat()
    guard lstat(path, &status) == 0 else { return nil }
    self.path = path
    (device, inode) = (status.st_dev, status.st_ino)
  }

  /// Removes it, unless another file has taken its place.
  func remove() {
    let turn = Turn(path)
    defer { turn?.end() }
    var status = stat()
    guard lstat(path, &status) == 0, status.st_dev == device, status.st_ino == inode else { return }
    unlink(path)
  }

  /// Makes way for a new socket: a dead one of this user is removed.
  ///
  /// - Returns: what is in the way, and stays.
  static func clear(_ path: String) -> String? {
    var status = stat()
    // Who may rename what is in the folder may put a socket of his own in its place, and gets the
    // guest.
    guard stat(Self.folder(of: path), &status) == 0 else { return SystemError("stat").reason }
    guard [0, geteuid()].contains(status.st_uid) else {
      return "its folder belongs to user \(status.st_uid)"
    }
    guard status.st_mode & (S_IWGRP | S_IWOTH) == 0 || status.st_mode & S_ISVTX != 0 else {
      return "others may rename what is in its folder: chmod go-w \(Self.folder(of: path))"
    }
    // The file itself: what a link leads to is somebody else's.
    guard lstat(path, &status) == 0 else { return nil }
    guard status.st_mode & S_IFMT == S_IFSOCK else { return "there is a file that is no socket" }
    guard status.st_uid == geteuid() else { return "the socket there belongs to somebody else" }
    guard isDead(path) else { return "somebody listens there already" }
    unlink(path)
    return nil
  }

  private static func folder(of path: String) -> String {
    let slash = path.lastIndex(of: "/")
    return slash.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
  }

  /// Whether no process has the socket any more. Whoever listens is not disturbed: a datagram
  /// socket that asks for a stream socket is told that there is one (EPROTOTYPE), however many
  /// connections wait, and no connection is made.
  private static func isDead(_ path: String) -> Bool {
    let result = try? Endpoint.unix(path: path).withAddresses(passive: false) {
      family, address, length -> Int32? in
      let probe = socket(family, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
      guard probe >= 0 else { return nil }
      defer { close(probe) }
      return connect(probe, address, length) == 0 ? 0 : errno
    }
    return result == ECONNREFUSED
  }

  /// A process's turn to look at a folder's sockets and to change them: two that start at once do
  /// not take each other's new socket for the dead one that both have seen.
  struct Turn {
    private let folder: Int32

    /// Waits for it, a second at most: who keeps it longer is no process of ours. nil where it
    /// cannot be had.
    init?(_ path: String) {
      folder = open(SocketFile.folder(of: path), O_RDONLY | O_DIRECTORY | O_CLOEXEC)
      guard folder >= 0 else { return nil }
      for _ in 0..<100 {
        if flock(folder, LOCK_EX | LOCK_NB) == 0 { return }
        usleep(10_000)
      }
      close(folder)
      return nil
    }

    /// The others' turn. Closing lets go of the lock.
    func end() { close(folder) }
  }
}
