import Glibc
import PluginAPI
import Synchronization

/// What this process knows about libraries: the backends it has opened, which stay open for its
/// life, and the refusals, so that a bad file is tried once as long as it does not change.
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
    let library = try PluginTrust.file(file.path, privileged: privileged)
    let (real, identity) = (library.path, library.identity)
    return try known.withLock { known throws(PluginError) -> Backend in
      if let backend = known.backends[real] {
        try MethodsTable.check(name: backend.name, of: file)
        return backend
      }
      if let refusal = known.refusals[real], refusal.identity == identity { throw refusal.error }
      let program = try probe.program(for: file.path, privileged: privileged)
      defer { close(program) }
      do throws(PluginError) {
        try probe.run(program, library, as: file.path)
        let backend = try Self.open(file, library)
        known.backends[real] = backend
        known.refusals[real] = nil
        return backend
      } catch {
        // A fault of this side says nothing about the file.
        if error.kind != .internalFault {
          known.refusals[real] = Refusal(identity: identity, error: error)
        }
        throw error
      }
    }
  }

  /// Opens a library that a child has survived.
  private static func open(
    _ file: PluginFile, _ trusted: PluginTrust.Library
  ) throws(PluginError) -> Backend {
    // RTLD_LOCAL: its symbols serve nobody else. Never closed again, also when refused below, and
    // neither is the folder: a name that the dynamic linker has met means the same library to it
    // for ever.
    guard let library = dlopen(trusted.handle, RTLD_NOW | RTLD_LOCAL) else {
      throw .refused(file.path, PluginProbe.linkerText(String(cString: dlerror())))
    }
    trusted.keep()
    // By its path it is known from now on too, if that still leads there; nothing is loaded by
    // this.
    _ = dlopen(trusted.path, RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD)
    guard trusted.isUnchanged else {
      throw .refused(file.path, "changed while it was being opened")
    }
    guard let symbol = dlsym(library, MULTIFD_PLUGIN_ENTRY) else {
      throw .refused(file.path, "exports no \(MULTIFD_PLUGIN_ENTRY)()")
    }
    // The symbol is the function that the header declares; what else it might be, the child has
    // found out. The result is looked at as raw bytes, since nothing about it is known yet.
    typealias Entry = @convention(c) (UInt32) -> UnsafeRawPointer?
    let entry = unsafeBitCast(symbol, to: Entry.self)
    let table = try MethodsTable(entry(UInt32(MULTIFD_ABI_MAJOR)), of: file)
    return Backend(table, path: trusted.path)
  }
}
