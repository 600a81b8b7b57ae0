import Glibc
import PluginLoader

/// What is in the files that options are: an operator's by their paths, and those that the harness
/// makes by names in angle brackets. Each is read or made once in a process, and nothing of it is
/// anywhere but in memory.
enum OptionFiles {
  private static let known = Locked<[String: [UInt8]]>([:])

  /// No bytes for no name; nil for what cannot be read.
  static func contents(_ name: String) -> [UInt8]? {
    if name.isEmpty { return [] }
    return known.withLock { known in
      if let bytes = known[name] { return bytes }
      guard let bytes = OptionFile.contents(of: name) else { return nil }
      known[name] = bytes
      return bytes
    }
  }

  /// The name, of a file that is made when it is first asked for; nil when that made none.
  static func made(_ name: String, _ make: () -> [UInt8]?) -> String? {
    let isKnown = known.withLock { $0[name] != nil }
    let bytes = isKnown ? nil : make() ?? []
    return known.withLock { known in
      if let bytes, known[name] == nil { known[name] = bytes }
      return known[name]?.isEmpty == false ? name : nil
    }
  }
}

/// Files of channels that are gone, where nobody may look any more. Some are kept: memory that is
/// given back is the next channel's, and a pointer that a backend has kept would be right again.
enum StaleFiles {
  private static let most = 8
  private static let kept = Locked<[GuardedMemory]>([])

  static func keep(_ files: [GuardedMemory]) {
    guard !files.isEmpty else { return }
    for file in files { file.allow(.nothing, kind: .staleOptions) }
    kept.withLock { kept in
      kept += files
      kept.removeFirst(max(0, kept.count - most))
    }
  }
}
