import CLinux
import Foundation
import Glibc

/// The connections of a child process that cannot close them itself.
struct Connections {
  private let pid: pid_t

  /// Of this child, which has not been waited for.
  init(of pid: pid_t) { self.pid = pid }

  /// Takes them all down, for the peers too. Not what this process has as well: the line between the two, and whatever
  /// both were started with.
  func reset() {
    let process = clinux_pidfd_open(pid)
    guard process >= 0 else { return }
    defer { close(process) }
    let ours = Set(Self.sockets(of: "self").values)
    for (number, name) in Self.sockets(of: "\(pid)") where !ours.contains(name) {
      let socket = clinux_pidfd_getfd(process, number)
      guard socket >= 0 else { continue }
      // To cut it is not enough for TCP: a peer's bytes would still find room here, and it would never know.
      shutdown(socket, Int32(SHUT_RDWR))
      var nowhere = sockaddr()
      nowhere.sa_family = sa_family_t(AF_UNSPEC)
      // tcp(7): a reset. Other families refuse it, and do not need it. The address lives as long as the call.
      connect(socket, &nowhere, socklen_t(MemoryLayout<sockaddr>.size))
      close(socket)
    }
  }

  /// Descriptors that are sockets, with the sockets' names: `socket:[INODE]`.
  private static func sockets(of process: String) -> [Int32: String] {
    let folder = "/proc/\(process)/fd"
    let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
    var sockets: [Int32: String] = [:]
    for name in names {
      let link = try? FileManager.default.destinationOfSymbolicLink(atPath: folder + "/" + name)
      if let link, link.hasPrefix("socket:"), let number = Int32(name) { sockets[number] = link }
    }
    return sockets
  }
}
