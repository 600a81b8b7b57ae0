import TestSupport

/// Where a store lies that is measured: on huge pages, as the README says, where this process may
/// mount them.
struct BenchHome {
  /// The store's folder, not yet there.
  let store: String
  private let huge: HugePageStore?
  private let folder: TemporaryFolder?

  /// - Parameters:
  ///   - mebibytes: of the guest's memory.
  ///   - isOnSmallPages: as systems have a tmpfs.
  init(mebibytes: Int, isOnSmallPages: Bool = false) throws {
    if !isOnSmallPages, Self.hasHugePages {
      let huge = try HugePageStore(.tmpfs, bytes: mebibytes << 20)
      (store, self.huge, folder) = (huge.path, huge, nil)
    } else {
      let folder = try TemporaryFolder(.memory(bytes: mebibytes << 20))
      (store, huge, self.folder) = (folder("store"), nil, folder)
    }
  }

  /// Whether there can be huge pages; said aloud where not.
  static let hasHugePages = HugePageStore.unavailable(.tmpfs) == nil

  /// Removes it.
  func end() {
    huge?.end()
    folder?.remove()
  }
}
