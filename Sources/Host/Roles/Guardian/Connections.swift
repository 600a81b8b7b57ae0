import CLinux
import Foundation
import Glibc

/// The connections of a child process that cannot close them itself.
struct Connections {
  private let pid: pid_t

  /// Of this child, which has not been waited for.
  init(of pid: pid_t) { self.pid = pid }

  /// Takes them all down, for the peers too, as far as the kernel lets us have copies of them. Not
  /// what this process has as well: whatever both were started with.
  ///
  /// - Parameter others: sockets that are not the child's alone, by their names.
  func reset(sparing others: Set<String> = []) {
    let process = clinux_pidfd_open(pid)
    guard process >= 0 else { return }
    defer { close(process) }
    let ours = others.union(Self.sockets(of: "self").values)
    let theirs = Self.sockets(of: "\(pid)").filter { !ours.contains($0.value) }.map(\.key)
    guard !theirs.isEmpty, clinux_reset_sockets(process, theirs, Int32(theirs.count)) == 0 else {
      return
    }
    // A moment for those that can be had.
    usleep(50_000)
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
