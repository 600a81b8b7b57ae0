import Foundation
import Synchronization

/// Small libraries that tests compile over and over: the compiler runs once for each of them, and
/// whoever wants another gets a copy, which is a file of its own.
public enum CompiledOnce {
  private static let known = Mutex<[[String]: String]>([:])
  private static let folder = Result { try TemporaryFolder() }

  /// - Parameters:
  ///   - words: what decides what becomes of it: source, flags.
  ///   - output: where it is to be; a file that is there is replaced.
  ///   - compile: makes it there.
  public static func make(
    _ words: [String], at output: String, _ compile: () throws -> Void
  ) throws {
    let files = FileManager.default
    if let made = known.withLock({ $0[words] }) {
      try? files.removeItem(atPath: output)
      return try files.copyItem(atPath: made, toPath: output)
    }
    // Nobody waits meanwhile; who comes at the same time compiles it, too.
    try compile()
    let copy = try folder.get()(UUID().uuidString)
    try files.copyItem(atPath: output, toPath: copy)
    known.withLock { $0[words] = copy }
  }
}
