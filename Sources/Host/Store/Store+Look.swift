import Foundation
import Glibc
import Memory
import System

extension Store {
  /// A store as somebody sees it who does not lock it: a process may be using it meanwhile. What a
  /// rehearsal of its failover needs, and where its verdict is written. Nothing here changes the
  /// guest.
  public final class Look: Sendable {
    /// The folder's real path, as a QEMU is told it.
    public let path: String
    /// What it says about its guest.
    public let manifest: Manifest
    /// Sections that come before the RAM's pages.
    public let earlyState: [UInt8]
    private let folder: StoreFolder

    /// Looks at a store that holds a guest, or at a standby's.
    ///
    /// - Parameter handedOver: also a guest that ``Store/open(_:handedOver:)`` opens only then.
    public init(at path: String, handedOver: Bool = false) throws(StoreError) {
      let folder = try StoreFolder(path)
      do { self.path = try realPath(folder.path) } catch { throw StoreError(error, at: path) }
      manifest = try Store.expectGuest(folder, handedOver: handedOver)
      earlyState = try folder.read("early-state", size: manifest.earlyStateSize)
      self.folder = folder
    }

    /// A RAM block, for reading. It may be changing.
    public func openBlock(_ block: Manifest.Block) throws(StoreError) -> RAMBlock {
      try folder.openBlock(block, pageSize: manifest.pageSize)
    }

    /// Writes down how a rehearsal went. Never an error: it is a note, and the folder may be full.
    public func note(rehearsal: Data) {
      try? StoreRecord.rehearsal.write(rehearsal, to: folder.path)
    }

    /// A note of a store that may be somebody else's; nil if it is not there.
    public static func record(_ record: StoreRecord, of path: String) -> Data? {
      guard let folder = try? StoreFolder(path, ofAnybody: true) else { return nil }
      return (try? folder.contents(record.rawValue, ofAnybody: true)) ?? nil
    }

    /// What the last rehearsal has written down; nil if there was none. The store may be somebody
    /// else's.
    public static func rehearsal(of path: String) -> Data? { record(.rehearsal, of: path) }
  }
}
