import Foundation
import Synchronization

/// Small libraries that tests compile over and over: the compiler runs once for each of them, and
/// whoever wants another gets a copy, which is a file of its own.
public enum CompiledOnce {
  private static let known = Mutex<[[String]: String]>([:])
  private static let folder = Result { try TemporaryFolder() }

  /// - Parameters:
  ///   - command: the compiler's, but for `-o`: the same one makes the same file.
  ///   - output: where it is to be; a file that is there is replaced.
  public static func make(_ command: [String], at output: String) throws {
    let files = FileManager.default
    if let made = known.withLock({ $0[command] }) {
      try? files.removeItem(atPath: output)
      return try files.copyItem(atPath: made, toPath: output)
    }
    // Nobody waits meanwhile; who comes at the same time compiles it, too.
    let compiler = try ChildProcess(command + ["-o", output])
    guard compiler.wait(.seconds(60)) == .code(0) else {
      throw LabError("\(output) does not compile: \(compiler.errors.text)")
    }
    let copy = try folder.get()(UUID().uuidString)
    try files.copyItem(atPath: output, toPath: copy)
    known.withLock { $0[command] = copy }
  }
}
