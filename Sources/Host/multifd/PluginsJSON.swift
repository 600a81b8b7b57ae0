import Migration
import PluginLoader

/// An error in JSON.
struct ErrorJSON: Encodable {
  let kind: String
  let what: String
  let why: String
  let hint: String?

  init(_ error: PluginError) {
    kind = error.kind.rawValue
    what = error.what
    why = error.why
    hint = error.hint
  }
}

/// One option of a backend in JSON.
struct OptionJSON: Encodable {
  let name: String
  let type: String
  let minimum: Int64?
  let maximum: Int64?
  let choices: [String]?
  let `default`: String
  let help: String

  init(_ option: BackendOption) {
    name = option.name
    type = option.kind.name
    minimum = option.kind.limits?.lowerBound
    maximum = option.kind.limits?.upperBound
    if case .choice(let names) = option.kind { choices = names } else { choices = nil }
    `default` = option.defaultValue
    help = option.help
  }
}

/// One backend in JSON.
struct BackendJSON: Encodable {
  let name: String
  let version: String
  let description: String
  let wireFormat: String
  let qemuMethod: String
  let abi: String
  let capabilities: [String]
  let payloadBound: Int?
  /// Packets of a channel that it has at a time; 0: one.
  let maxInFlight: Int
  /// `plugins train` can be asked for.
  let trains: Bool
  /// What it can be used for: `from-qemu`, `to-qemu`, `link`.
  let roles: [BackendRole]
  let path: String
  let options: [OptionJSON]
  /// Only where it was looked for.
  let certificate: CertificateJSON?

  // Keys as QMP writes them.
  private enum CodingKeys: String, CodingKey {
    case name, version, description, abi, capabilities, trains, roles, path, options, certificate
    case wireFormat = "wire-format"
    case qemuMethod = "qemu-method"
    case payloadBound = "payload-bound"
    case maxInFlight = "max-in-flight"
  }

  init(_ backend: BackendProfile, _ certificate: CertificateJSON? = nil) {
    self.certificate = certificate
    name = backend.name
    version = backend.version
    description = backend.description
    wireFormat = backend.wireFormat
    qemuMethod = backend.qemuMethodName
    abi = backend.abiVersion.description
    capabilities = backend.capabilities.names
    payloadBound = backend.packetBound
    maxInFlight = backend.maxInFlight
    trains = backend.trains
    roles = BackendRole.allCases.filter { $0.obstacle(backend) == nil }
    path = shown(backend.path)
    options = backend.options.map(OptionJSON.init)
  }
}

/// One file of `list`, or the answer of `check`, in JSON: a backend or an error.
struct CandidateJSON: Encodable {
  let name: String
  let path: String?
  let usable: Bool
  let version: String?
  let backend: BackendJSON?
  let error: ErrorJSON?

  init(name: String, path: String, backend: BackendProfile) {
    (self.name, self.path) = (shown(name), shown(path))
    (usable, version) = (true, backend.version)
    (self.backend, error) = (BackendJSON(backend), nil)
  }

  init(name: String, path: String?, error: PluginError) {
    (self.name, self.path) = (shown(name), path.map(shown))
    (usable, version) = (false, nil)
    (backend, self.error) = (nil, ErrorJSON(error))
  }

  init(_ finding: PluginFinding) {
    switch finding.result {
    case .success(let backend):
      self.init(name: finding.name, path: finding.path, backend: backend)
    case .failure(let error): self.init(name: finding.name, path: finding.path, error: error)
    }
  }
}

/// One folder of `path` in JSON.
struct FolderJSON: Encodable {
  let path: String
  let origin: String
  let state: String
  let reason: String?

  init(_ folder: PluginSearchPath.Folder, _ found: PluginSearchPath.FolderState) {
    path = shown(folder.path)
    origin = folder.origin.rawValue
    switch found {
    case .trusted: (state, reason) = ("trusted", nil)
    case .missing: (state, reason) = ("missing", nil)
    case .refused(let error): (state, reason) = ("refused", error.why)
    }
  }
}
