// Disks: an NBD server in the process that commits, so that a guest's disks belong to its
// checkpoints.

import Store
import Transport

/// What an operator says of the disks of a guest that is to be protected.
public struct DiskOptions: Sendable {
  /// One of them.
  public struct Disk: Equatable, Sendable {
    /// The name of its export.
    public var name: String
    /// A path: a raw image, or a device.
    public var image: String
    /// Where its logs go; nil: beside the image.
    public var folder: String?
    /// The image is what the primary's disk is: nothing has to be copied first.
    public var isTrusted = false

    /// Parses `NAME=IMAGE[,log=DIR][,trusted]`; a comma in a path is doubled, as for QEMU.
    public init?(parsing text: String) {
      guard let equals = text.firstIndex(of: "="), Manifest.Disk.isName(String(text[..<equals]))
      else { return nil }
      name = String(text[..<equals])
      // What is between single commas; a doubled one is a comma.
      let mark = "\u{0}"
      let parts = text[text.index(after: equals)...].replacing(",,", with: mark)
        .split(separator: ",", omittingEmptySubsequences: false)
        .map { String($0.replacing(mark, with: ",")) }
      guard let path = parts.first, !path.isEmpty, !text.contains(mark) else { return nil }
      image = path
      for part in parts.dropFirst() {
        if part == "trusted" {
          isTrusted = true
        } else if part.hasPrefix("log="), part.count > 4 {
          folder = String(part.dropFirst(4))
        } else {
          return nil
        }
      }
    }
  }

  /// Where their exports are served.
  public var listen: Endpoint
  /// Others than this machine may connect all the same.
  public var insecure = false
  /// All of them.
  public var disks: [Disk]
  /// A standby has died and its primary has gone on: what that was told is written counts.
  public var adopts = false
  /// Bytes of logs behind an image from which on a primary's writes wait.
  public var mostBacklog = 1 << 30

  /// Disks that are served at an endpoint.
  public init(listen: Endpoint, disks: [Disk]) {
    (self.listen, self.disks) = (listen, disks)
  }
}
