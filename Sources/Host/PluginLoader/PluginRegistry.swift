import Glibc
import PluginAPI
import Synchronization

/// What this process knows about libraries: what children have found out about files, good as long
/// as these do not change, and the backends that it has opened, which stay open for its life.
final class PluginRegistry: Sendable {
  static let shared = PluginRegistry()

  /// What is known of one state of a file.
  private struct Finding {
    let identity: PluginTrust.Identity
    let result: Result<BackendProfile, PluginError>
  }

  /// By the file's name as it was asked for, for that is what an error is about.
  private let findings = Mutex<[String: Finding]>([:])
  /// By the file's path after symbolic links. Held while one is opened: that is rare, and a
  /// library's constructor runs once.
  private let opened = Mutex<[String: Backend]>([:])

  /// What a file's library says of itself: checks owner and mode, and whether it is a library of
  /// this machine; tries it in a child, and checks its table. Any number may be looked at, at the same time.
  func look(
    _ file: PluginFile, privileged: Bool, probe: PluginProbe
  ) throws(PluginError) -> BackendProfile {
    try look(file, try Self.trusted(file, privileged), privileged, probe)
  }

  /// The backend of a file: looks at it, and opens it.
  ///
  /// A file that has been opened before is returned as it was then, even if the file has changed
  /// since: the process keeps what it has loaded.
  func open(
    _ file: PluginFile, privileged: Bool, probe: PluginProbe
  ) throws(PluginError) -> Backend {
    let library = try Self.trusted(file, privileged)
    return try opened.withLock { opened throws(PluginError) -> Backend in
      if let backend = opened[library.path] {
        try MethodsTable.check(name: backend.name, of: file)
        return backend
      }
      _ = try look(file, library, privileged, probe)
      do throws(PluginError) {
        let backend = try Self.open(file, library)
        opened[library.path] = backend
        return backend
      } catch {
        remember(file, library, .failure(error))
        throw error
      }
    }
  }

  private static func trusted(
    _ file: PluginFile, _ privileged: Bool
  ) throws(PluginError) -> PluginTrust.Library {
    guard isBackendName(file.name.utf8) else {
      throw .refused(
        file.path, "\(quoted(file.name)) is not a backend's name",
        hint: "a name has at most 31 characters a-z 0-9 _ - and starts with a letter or digit")
    }
    return try PluginTrust.file(file.path, privileged: privileged)
  }

  private func look(
    _ file: PluginFile, _ library: PluginTrust.Library, _ privileged: Bool, _ probe: PluginProbe
  ) throws(PluginError) -> BackendProfile {
    let known = findings.withLock { $0[file.path] }
    if let known, known.identity == library.identity { return try known.result.get() }
    try ELFFile.check(library.file, size: library.identity.size, as: file.path)
    let program = try probe.program(for: file.path, privileged: privileged)
    defer { close(program) }
    do throws(PluginError) {
      let table = try probe.run(program, library, as: file.path)
      let profile = BackendProfile(try MethodsTable(table, of: file), path: library.path)
      remember(file, library, .success(profile))
      return profile
    } catch {
      remember(file, library, .failure(error))
      throw error
    }
  }

  private func remember(
    _ file: PluginFile, _ library: PluginTrust.Library,
    _ result: Result<BackendProfile, PluginError>
  ) {
    // A fault of this side says nothing about the file.
    if case .failure(let error) = result, error.kind == .internalFault { return }
    let finding = Finding(identity: library.identity, result: result)
    findings.withLock { $0[file.path] = finding }
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
    // found out. The result is looked at as raw bytes, since nothing about it is known yet: what
    // was found in the child is no promise for this process.
    typealias Entry = @convention(c) (UInt32) -> UnsafeRawPointer?
    let entry = unsafeBitCast(symbol, to: Entry.self)
    let table = try MethodsTable(entry(UInt32(MULTIFD_ABI_MAJOR)).map(TableCopy.init), of: file)
    return Backend(table, path: trusted.path)
  }
}
