import Foundation
import Roles
import TestSupport
import Transport

/// Where a standby keeps its disks: a folder with their images, and the socket at which they are
/// served.
final class DiskPlace {
  /// The disks, as their primary knows them.
  let disks: [MirroredDisk]
  /// Where they are served.
  let uri: String
  private let folder: TemporaryFolder
  private let logs: String?

  /// Empty images.
  ///
  /// - Parameters:
  ///   - count: how many.
  ///   - size: bytes of each.
  ///   - endpoint: where they are served; nil: at a socket in their folder.
  ///   - logs: a folder for the logs of the last of them; nil: beside its image.
  init(
    _ count: Int = 2, size: Int = 256 << 10, over endpoint: String? = nil, logs: String? = nil,
    seed: UInt64 = 1
  ) throws {
    let folder = try TemporaryFolder(.memory(bytes: 64 << 20))
    (self.folder, self.logs) = (folder, logs)
    let uri = endpoint ?? "unix:" + folder("nbd")
    self.uri = uri
    disks = try (0..<count).map { number in
      try MirroredDisk(
        "disk\(number)", size: size, image: folder("disk\(number).raw"), uri: uri,
        seed: seed &* 100 &+ UInt64(number))
    }
  }

  /// The path of something beside the images.
  func callAsFunction(_ name: String) -> String { folder(name) }

  /// For a standby in this process.
  func options(adopts: Bool = false, trusted: Bool = false) -> DiskOptions {
    var options = DiskOptions(
      listen: .unix(path: folder("nbd")),
      disks: disks.compactMap { DiskOptions.Disk(parsing: text($0, trusted: trusted)) })
    options.adopts = adopts
    return options
  }

  /// For one that is a process.
  func arguments(adopts: Bool = false) -> [String] {
    ["--disks", uri] + disks.flatMap { ["--disk", text($0, trusted: false)] }
      + (adopts ? ["--adopt"] : [])
  }

  private func text(_ disk: MirroredDisk, trusted: Bool) -> String {
    "\(disk.name)=\(disk.image)" + (disk === disks.last ? logs.map { ",log=" + $0 } ?? "" : "")
      + (trusted ? ",trusted" : "")
  }

  /// The folder of a disk's logs.
  func logs(of disk: MirroredDisk) -> String {
    (disk === disks.last ? logs : nil) ?? disk.image + ".epochs"
  }
}
