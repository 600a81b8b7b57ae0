import Glibc
import PluginAPI
import Synchronization

/// What this process knows about libraries: the backends it has opened, which stay open for its life,
/// and the refusals, so that a bad file is tried once as long as it does not change.
///
/// One lock around everything: opening is rare, and a library's constructor runs once.
final class PluginRegistry: Sendable {
  static let shared = PluginRegistry()

  private struct Refusal {
    let identity: PluginTrust.Identity
    let error: PluginError
  }

  private struct Known {
    var backends: [String: Backend] = [:]
    var refusals: [String: Refusal] = [:]
  }

  private let known = Mutex(Known())

  /// The backend of a file: checks owner and mode, tries it in a child, opens it, checks its table.
  ///
  /// A file that has been opened before is returned as it was then, even if the file has changed
  /// since: the process keeps what it has loaded.
  func open(
    _ file: PluginFile, privileged: Bool, probe: PluginProbe
  ) throws(PluginError) -> Backend {
    guard isBackendName(file.name.utf8) else {
      throw .refused(
        file.path, "\(quoted(file.name)) is not a backend's name",
        hint: "a name has at most 31 characters a-z 0-9 _ - and starts with a letter or digit")
    }
    let (real, identity) = try PluginTrust.file(file.path, privileged: privileged)
    let result = known.withLock { known -> Result<Backend, PluginError> in
      if let backend = known.backends[real] {
        return Result { () throws(PluginError) in
          try MethodsTable.check(name: backend.name, of: file)
          return backend
        }
      }
      if let refusal = known.refusals[real], refusal.identity == identity {
        return .failure(refusal.error)
      }
      let result = Result { () throws(PluginError) in
        try probe.run(real, as: file.path)
        return try Self.open(file, real: real, identity: identity)
      }
      switch result {
      case .success(let backend):
        known.backends[real] = backend
        known.refusals[real] = nil
      case .failure(let error):
        known.refusals[real] = Refusal(identity: identity, error: error)
      }
      return result
    }
    return try result.get()
  }

  /// Opens a library that a child has survived.
  private static func open(
    _ file: PluginFile, real: String, identity: PluginTrust.Identity
  ) throws(PluginError) -> Backend {
    // RTLD_LOCAL: its symbols serve nobody else. Never closed again, also when refused below.
    guard let library = dlopen(real, RTLD_NOW | RTLD_LOCAL) else {
      throw .refused(file.path, oneLine(String(cString: dlerror())))
    }
    guard PluginTrust.identity(of: real) == identity else {
      throw .refused(file.path, "changed while it was being opened")
    }
    guard let symbol = dlsym(library, MULTIFD_PLUGIN_ENTRY) else {
      throw .refused(file.path, "exports no \(MULTIFD_PLUGIN_ENTRY)()")
    }
    // The symbol is the function that the header declares; what else it might be, the child has found
    // out. The result is looked at as raw bytes, since nothing about it is known yet.
    typealias Entry = @convention(c) (UInt32) -> UnsafeRawPointer?
    let entry = unsafeBitCast(symbol, to: Entry.self)
    let table = try MethodsTable(entry(UInt32(MULTIFD_ABI_MAJOR)), of: file)
    return Backend(table, path: real)
  }
}
