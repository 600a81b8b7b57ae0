import Foundation

/// A small file of a store that is written and read without its lock: by a process that watches
/// over the one that has it. Opened like every file of a store, see `StoreTrust`.
public enum StoreRecord: String, Sendable {
  /// The QEMU that waits on the store's RAM files.
  case spare
  /// How far the guest's disks are.
  case disks
  /// What the last rehearsal has shown.
  case rehearsal

  /// Replaces it as a whole.
  ///
  /// - Parameter store: the store's folder.
  public func write(_ contents: Data, to store: String) throws(StoreError) {
    try StoreFolder(store).replace(rawValue, with: contents, durable: false)
  }

  /// What it says; nil if it is not there.
  public func contents(of store: String) throws(StoreError) -> Data? {
    try StoreFolder(store).contents(rawValue)
  }

  /// Removes it; it need not be there.
  public func remove(from store: String) throws(StoreError) {
    try StoreFolder(store).remove(rawValue)
  }
}
