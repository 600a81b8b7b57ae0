import Memory
import Store

/// This side's copy of the version of the guest that the far side has.
final class OldPages: Sendable {
  private let store: Store.Reference
  /// Of the guest's blocks, the store's; nil: it has none of that name and length.
  private let indices: [Int?]

  /// Opens a store for reading, see `Store.Reference`.
  init(at path: String, for guest: [RAMBlock], pageSize: Int) throws(StoreError) {
    store = try Store.Reference(at: path, pageSize: pageSize)
    let names = store.names
    indices = guest.map { block in
      names.firstIndex { $0.name == block.name && $0.length == UInt64(block.length) }
    }
  }

  /// Reads a page of the guest's block as it was.
  ///
  /// - Returns: false if there is none.
  func read(_ page: UnsafeMutableRawBufferPointer, of block: Int, at offset: Int) throws -> Bool {
    guard let index = indices[block] else { return false }
    try store.read(page, of: index, at: offset)
    return true
  }
}
