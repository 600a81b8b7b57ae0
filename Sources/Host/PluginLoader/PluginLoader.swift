// PluginLoader finds, checks, probes and opens compression backends, parses their options, and is
// the Swift face of the C table that a backend hands out. The contract is multifd_plugin.h; what an
// author has to keep is enforced here, each rule with its own sentence.
//
// Reading order: PluginSearchPath (where), PluginTrust (whose), ELFFile (of this machine),
// PluginProbe and ProbeAccount (in a child first), TableCopy and MethodsTable (what the table says,
// and what it must), BackendProfile (what a backend is), PluginSurvey (of many files),
// PluginRegistry (then here, once), Backend, BackendOption and OptionValues (how it is set),
// ReceiveChannel and SendChannel (what it does).

/// Finds backends in the folders of a search path and opens them.
///
/// A library that has been opened stays open: the process never calls `dlclose`, because a backend
/// may have registered things (a Swift run-time does) that outlive any call into it. All loaders of
/// a process share what has been opened.
public struct PluginLoader: Sendable {
  /// The folders that are searched.
  public let searchPath: PluginSearchPath
  /// How a library is tried in a child process before it is opened here.
  public let probe: PluginProbe

  /// A loader for the folders of `searchPath`.
  public init(searchPath: PluginSearchPath, probe: PluginProbe = PluginProbe()) {
    self.searchPath = searchPath
    self.probe = probe
  }

  /// Every file named `libmultifd-NAME.so`, in search order, opened or with the reason why not.
  ///
  /// A second file with the name of an earlier one is listed as shadowed and not opened. All the
  /// others are opened in this process, and stay open: what they take together (static TLS, of
  /// which a process has little left, is one such thing) may be more than there is. Whoever only
  /// wants to know of them takes ``survey(_:)``.
  public func candidates() -> [PluginCandidate] {
    searchPath.filesInOrder().map { file, shadowed in
      let result = Result { () throws(PluginError) in
        if let shadowed { throw shadowed }
        return try open(file)
      }
      return PluginCandidate(path: file.path, name: file.name, result: result)
    }
  }

  /// What the backend says of itself that an operator calls `name`, as ``load(named:)`` finds it:
  /// a child has opened it, and this process does not.
  public func look(at name: String) throws(PluginError) -> BackendProfile {
    let file = try first(named: name)
    return try PluginRegistry.shared.look(file, privileged: searchPath.privileged, probe: probe)
  }

  /// Opens the backend that an operator calls `name`. No other file is touched.
  ///
  /// The first file of that name counts; when it cannot be used there is no falling back to a later
  /// one, since that would be another backend than the one asked for.
  public func load(named name: String) throws(PluginError) -> Backend {
    try open(try first(named: name))
  }

  /// The same, for one side of a channel.
  ///
  /// - Throws: also when it does not have that side.
  public func load(
    named name: String, to direction: Backend.Direction
  ) throws(PluginError) -> Backend {
    let backend = try load(named: name)
    if let obstacle = backend.capabilities.obstacle(to: direction) {
      throw PluginError(
        .refused, what: "backend \(name)", why: obstacle,
        hint: "another backend of \(backend.wireFormat) has the other direction")
    }
    return backend
  }

  private func first(named name: String) throws(PluginError) -> PluginFile {
    let files = searchPath.files()
    guard let file = files.first(where: { $0.name == name }) else {
      throw .notFound(name, known: files.map(\.name), folders: searchPath.folders)
    }
    return file
  }

  /// Opens what `--compression` asks for, for one side of a channel.
  ///
  /// A word of QEMU's alone (none, zlib, zstd) says a format: the fastest of this project's backends
  /// for it that can be used here. Any other name, and one with options, which are a backend's own,
  /// says a backend: that one, or none.
  public func load(
    _ spec: CompressionSpec, to direction: Backend.Direction
  ) throws(PluginError) -> Backend {
    guard spec.assignments.isEmpty, let method = QEMUMethod(named: spec.name),
      !method.builtIn.isEmpty
    else { return try load(named: spec.name, to: direction) }
    return try first(of: method.builtIn, what: Self.what(method.rawValue)) {
      $0.qemuMethod == method.rawValue && $0.capabilities.have(direction)
    }
  }

  /// Opens a backend that speaks `wireFormat` (`NAME/N`) in that direction: this project's for
  /// QEMU's method NAME, or the one that is called NAME, before others in search order.
  public func load(
    wireFormat: String, to direction: Backend.Direction
  ) throws(PluginError) -> Backend {
    let name = wireFormat.split(separator: "/").first.map(String.init) ?? ""
    let preferred = QEMUMethod(named: name)?.builtIn ?? [name]
    return try first(of: preferred, orAny: true, what: "wire format \(wireFormat)") {
      $0.wireFormat == wireFormat && $0.capabilities.have(direction)
    }
  }

  /// Opens a backend for QEMU's method bits, as they are in the flags of a multifd packet, that has
  /// the direction.
  ///
  /// This project's (nocomp; igzip, zlib; zstd) are preferred, the fastest first, and others are then
  /// not even opened; another is taken when there are none of these, or they cannot be used.
  public func load(
    qemuMethod: UInt32, to direction: Backend.Direction
  ) throws(PluginError) -> Backend {
    let preferred = QEMUMethod(rawValue: qemuMethod)?.builtIn ?? []
    return try first(of: preferred, orAny: true, what: Self.what(qemuMethod)) {
      $0.qemuMethod == qemuMethod && $0.capabilities.have(direction)
    }
  }

  private static func what(_ method: UInt32) -> String {
    let name = QEMUMethod(rawValue: method)?.name ?? "0x" + String(method, radix: 16)
    return "QEMU's compression method \(name)"
  }

  /// The first that matches: of the names `preferred`, in this order within a folder, for whoever
  /// puts one of them into an earlier folder means that one; then, where they may be, of all others.
  private func first(
    of preferred: [String], orAny: Bool = false, what: String, where matches: (Backend) -> Bool
  ) throws(PluginError) -> Backend {
    var reason: PluginError?
    var seen = Set<String>()
    let files = searchPath.files().filter { seen.insert($0.name).inserted }
    var ordered = searchPath.folders.flatMap { folder in
      preferred.compactMap { name in files.first { $0.name == name && $0.folder == folder } }
    }
    if orAny { ordered += files.filter { !preferred.contains($0.name) } }
    for file in ordered {
      do {
        let backend = try open(file)
        if matches(backend) { return backend }
      } catch {
        if preferred.contains(file.name) { reason = error }
      }
    }
    if let reason { throw reason }
    throw PluginError(
      .notFound, what: what, why: "no backend for it in \(searchPath.foldersText)",
      hint: "'multifd plugins list' shows what is there")
  }

  private func open(_ file: PluginFile) throws(PluginError) -> Backend {
    try PluginRegistry.shared.open(file, privileged: searchPath.privileged, probe: probe)
  }
}

/// One file that may be a backend, and what became of it.
public struct PluginCandidate: Sendable {
  /// The file, as found in its folder.
  public let path: String
  /// NAME of `libmultifd-NAME.so`.
  public let name: String
  /// The backend, or why there is none.
  public let result: Result<Backend, PluginError>
}
