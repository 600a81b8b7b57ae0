import Foundation
import Glibc
import PluginLoader
import TestSupport
import Testing

/// A folder of its own for one test, gone with it. Mode 0700, owned by who runs the test.
final class TestFolder: Sendable {
  let path: String

  init() throws {
    var template = Array((NSTemporaryDirectory() + "/multifd-loader-XXXXXX").utf8CString)
    let made = mkdtemp(&template) != nil
    try #require(made, "no temporary folder: \(String(cString: strerror(errno)))")
    let name = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
    path = URL(fileURLWithPath: name).resolvingSymlinksInPath().path
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  /// A folder inside, made if it is not there.
  func folder(_ name: String) throws -> String {
    try FileManager.default.createDirectory(
      atPath: path + "/" + name, withIntermediateDirectories: true,
      attributes: [.posixPermissions: 0o700])
    return path + "/" + name
  }
}

/// Compiles the test backends.
enum Compiler {
  /// The first C compiler on PATH; nil when there is none.
  static let path: String? = {
    let folders = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
    return ["cc", "gcc", "clang"].lazy.flatMap { name in folders.map { "\($0)/\(name)" } }
      .first { access($0, X_OK) == 0 }
  }()

  static let include =
    URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .appendingPathComponent("../../Sources/PluginAPI/include").standardized.path

  /// Compiles the sample as `folder/libmultifd-NAME.so` with macros set, and returns its path.
  @discardableResult
  static func plugin(
    in folder: String, name: String = "sample", _ macros: [String: String] = [:],
    linking: [String] = []
  ) throws -> String {
    let output = "\(folder)/libmultifd-\(name).so"
    var macros = macros
    if macros["NAME"] == nil { macros["NAME"] = "\"\(name)\"" }
    try CompiledOnce.make(
      [
        try #require(path), "-shared", "-fPIC", "-O1", "-w", "-I", include,
        source.get()("sample.c"),
      ]
        + macros.map { "-D\($0.key)=\($0.value)" }.sorted() + linking, at: output)
    return output
  }

  private static let source = Result {
    let folder = try TemporaryFolder()
    try pluginSource.write(toFile: folder("sample.c"), atomically: false, encoding: .utf8)
    return folder
  }
}

extension Trait where Self == ConditionTrait {
  /// Skips, and says so, where the test backends cannot be compiled.
  static var compiler: Self {
    .enabled(if: Compiler.path != nil, "SKIPPED: no C compiler (cc, gcc, clang) on PATH")
  }
}

/// A loader that searches these folders and nothing else.
func loader(
  _ folders: String..., timeLimit: Duration = .seconds(30), program: String? = nil
) -> PluginLoader {
  PluginLoader(
    searchPath: PluginSearchPath(explicit: folders, environment: [:], executable: ""),
    probe: PluginProbe(timeLimit: timeLimit, program: program))
}

/// What loading throws; nil when it does not.
func loadError(_ loader: PluginLoader, _ name: String = "sample") -> PluginError? {
  do {
    _ = try loader.load(named: name)
    return nil
  } catch {
    return error
  }
}

/// The sample's own counts, in the order of its source.
func counts(_ backend: Backend) throws -> [Int32] {
  let library = try #require(dlopen(backend.path, RTLD_NOW | RTLD_NOLOAD))
  let symbol = try #require(dlsym(library, "test_counts"))
  // Six ints of a library that stays open.
  return Array(UnsafeBufferPointer(start: symbol.assumingMemoryBound(to: Int32.self), count: 6))
}
