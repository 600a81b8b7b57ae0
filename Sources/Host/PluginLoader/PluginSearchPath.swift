import CLinux
import Glibc
import System

/// The folders in which backends are looked for, in order.
public struct PluginSearchPath: Sendable {
  /// Where a folder of the search path comes from.
  public enum Origin: String, Sendable {
    /// `--plugin-dir`.
    case option = "--plugin-dir"
    /// `MULTIFD_PLUGIN_PATH`.
    case environment = "MULTIFD_PLUGIN_PATH"
    /// The executable's folder: a build tree.
    case executable = "the executable's folder"
    /// `../lib/multifd` of the executable's folder: an installation.
    case installation = "../lib/multifd"
  }

  /// One folder and where it comes from.
  public struct Folder: Sendable, Equatable {
    /// The folder as it was given.
    public let path: String
    /// Who named it.
    public let origin: Origin
  }

  /// The folders with their origin, in search order, without repetitions.
  public let entries: [Folder]
  /// True when the process has rights that whoever started it has not: the environment is ignored
  /// then, and only root's files are opened.
  public let privileged: Bool

  /// The folders, in search order.
  public var folders: [String] { entries.map(\.path) }

  /// The search order: each of `explicit`, the folders of `MULTIFD_PLUGIN_PATH` (separated by
  /// colons), the folder of `executable`, and that folder's `../lib/multifd`.
  public init(explicit: [String], environment: [String: String], executable: String) {
    self.init(
      explicit: explicit, environment: environment["MULTIFD_PLUGIN_PATH"], executable: executable,
      privileged: clinux_privileged() != 0)
  }

  /// The same for this process: its own environment and executable.
  public init(explicit: [String]) {
    self.init(
      explicit: explicit, environment: getenv("MULTIFD_PLUGIN_PATH").map { String(cString: $0) },
      executable: resolve("/proc/self/exe") ?? "", privileged: clinux_privileged() != 0)
  }

  package init(
    explicit: [String], environment: String?, executable: String, privileged: Bool
  ) {
    self.privileged = privileged
    var entries = explicit.filter { !$0.isEmpty }.map { Folder(path: $0, origin: .option) }
    if !privileged, let environment {
      // An empty element is skipped: it never means the current folder.
      entries += environment.split(separator: ":").map {
        Folder(path: String($0), origin: .environment)
      }
    }
    if let slash = executable.lastIndex(of: "/") {
      let folder = slash == executable.startIndex ? "/" : String(executable[..<slash])
      entries.append(Folder(path: folder, origin: .executable))
      entries.append(Folder(path: folder + "/../lib/multifd", origin: .installation))
    }
    // The same folder by another name would only list everything a second time.
    var seen = Set<String>()
    self.entries = entries.filter { seen.insert(resolve($0.path) ?? $0.path).inserted }
  }

  package var foldersText: String {
    folders.isEmpty ? "any folder" : folders.joined(separator: ", ")
  }

  /// The files `libmultifd-*.so` of all folders, in search order; within a folder by name.
  func files() -> [PluginFile] {
    entries.flatMap { folder in
      names(in: folder.path).sorted().compactMap { PluginFile(folder: folder.path, file: $0) }
    }
  }

  /// The same, and which are not looked at, since an earlier one has their name.
  func filesInOrder() -> [(file: PluginFile, shadowed: PluginError?)] {
    var first: [String: String] = [:]
    return files().map { file in
      guard let earlier = first[file.name] else {
        first[file.name] = file.path
        return (file, nil)
      }
      return (file, .shadowed(file, by: earlier))
    }
  }

  private func names(in folder: String) -> [String] {
    guard let stream = opendir(folder) else { return [] }
    defer { closedir(stream) }
    var names: [String] = []
    while let entry = readdir(stream) {
      // d_name is a NUL-terminated array inside the record that readdir() has just returned; the
      // record is valid until the next readdir() on this stream.
      let offset = MemoryLayout<dirent>.offset(of: \dirent.d_name)!
      let text = UnsafeRawPointer(entry).advanced(by: offset).assumingMemoryBound(to: CChar.self)
      names.append(String(cString: text))
    }
    return names
  }
}

/// A file whose name says that it is a backend.
struct PluginFile: Sendable {
  let name: String
  /// As it is in the search path.
  let folder: String
  let path: String

  init?(folder: String, file: String) {
    let prefix = "libmultifd-", suffix = ".so"
    guard file.hasPrefix(prefix), file.hasSuffix(suffix), file.utf8.count > prefix.utf8.count + 3
    else { return nil }
    name = String(file.dropFirst(prefix.count).dropLast(suffix.count))
    self.folder = folder
    path = folder.hasSuffix("/") ? folder + file : folder + "/" + file
  }
}

/// realpath(3); nil when there is no such thing.
func resolve(_ path: String) -> String? { try? realPath(path) }

extension PluginSearchPath {
  /// What is with a folder of the search path now.
  public enum FolderState: Sendable, Equatable {
    /// Its files may be opened, as far as the folder goes.
    case trusted
    /// There is no such folder, which is no error.
    case missing
    /// No file of it is opened, with the reason.
    case refused(PluginError)
  }

  /// Why nothing at all can be looked for in a folder that somebody has named; nil when it can.
  /// Whoever names one folder means that one: what is not there is a slip of the pen, and not, as
  /// in a list that is meant for many machines, an empty folder.
  public static func obstacle(to folder: String) -> String? {
    let stream = opendir(folder)
    guard let stream else { return shown("\(folder): \(errorText(errno))") }
    closedir(stream)
    return nil
  }

  /// Looks at one folder.
  public func state(of folder: Folder) -> FolderState {
    guard resolve(folder.path) != nil || errno != ENOENT else { return .missing }
    do {
      try PluginTrust.folder(folder.path, as: folder.path, privileged: privileged)
      return .trusted
    } catch {
      return .refused(error)
    }
  }
}
