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
  let path: String
  let options: [OptionJSON]

  // Keys as QMP writes them.
  private enum CodingKeys: String, CodingKey {
    case name, version, description, abi, capabilities, path, options
    case wireFormat = "wire-format"
    case qemuMethod = "qemu-method"
    case payloadBound = "payload-bound"
  }

  init(_ backend: Backend) {
    name = backend.name
    version = backend.version
    description = backend.description
    wireFormat = backend.wireFormat
    qemuMethod = backend.qemuMethodName
    abi = backend.abiVersion.description
    capabilities = backend.capabilities.names
    payloadBound = backend.payloadBound(pageSize: 4096, pageCount: 128)
    path = backend.path
    options = backend.options.map(OptionJSON.init)
  }
}

/// One file of `list` in JSON: a backend or an error.
struct CandidateJSON: Encodable {
  let name: String
  let path: String
  let usable: Bool
  let backend: BackendJSON?
  let error: ErrorJSON?

  init(_ candidate: PluginCandidate) {
    name = candidate.name
    path = candidate.path
    switch candidate.result {
    case .success(let found):
      (usable, backend, error) = (true, BackendJSON(found), nil)
    case .failure(let reason):
      (usable, backend, error) = (false, nil, ErrorJSON(reason))
    }
  }
}

/// The answer of `check` in JSON.
struct CheckJSON: Encodable {
  let name: String
  let usable: Bool
  let version: String?
  let path: String?
  let error: ErrorJSON?

  init(name: String, backend: Backend) {
    (self.name, usable, version, path, error) = (name, true, backend.version, backend.path, nil)
  }

  init(name: String, error: PluginError) {
    (self.name, usable, version, path) = (name, false, nil, nil)
    self.error = ErrorJSON(error)
  }
}

/// One folder of `path` in JSON.
struct FolderJSON: Encodable {
  let path: String
  let origin: String
  let state: String
  let reason: String?

  init(_ folder: PluginSearchPath.Folder, _ found: PluginSearchPath.FolderState) {
    path = folder.path
    origin = folder.origin.rawValue
    switch found {
    case .trusted: (state, reason) = ("trusted", nil)
    case .missing: (state, reason) = ("missing", nil)
    case .refused(let error): (state, reason) = ("refused", error.why)
    }
  }
}
