import Migration
import PluginLoader

/// What `multifd plugins` prints for people, and the key=value form.
enum PluginsText {
  /// Columns of the output; a wider terminal is not used, so that what is piped looks the same.
  static let width = 100

  static func list(_ candidates: [CandidateJSON], folders: [String]) -> String {
    var usable = [["NAME", "VERSION", "FORMAT", "QEMU", "DESCRIPTION"]]
    var broken: [String] = [], shadowed: [String] = []
    for candidate in candidates {
      if let backend = candidate.backend {
        usable.append([
          backend.name, backend.version, backend.wireFormat,
          backend.qemuMethod == BackendJSON.noMethod ? "-" : backend.qemuMethod,
          backend.description,
        ])
      } else if let error = candidate.error {
        let line = "  \(candidate.path ?? candidate.name): \(error.why)"
        if error.kind == PluginError.Kind.shadowed.rawValue {
          shadowed.append(line)
        } else {
          broken.append(line)
        }
      }
    }
    var blocks: [String] = []
    if usable.count > 1 {
      blocks.append(textTable(usable, width: width))
    } else {
      blocks.append(
        "No backend can be used. Searched: \(folders.isEmpty ? "nothing" : folders.joined(separator: ", "))"
      )
    }
    if !broken.isEmpty { blocks.append((["Cannot be used:"] + broken).joined(separator: "\n")) }
    if !shadowed.isEmpty { blocks.append((["Not used:"] + shadowed).joined(separator: "\n")) }
    return blocks.joined(separator: "\n\n")
  }

  static func line(_ backend: Backend) -> String {
    "\(backend.name) \(backend.version) (\(backend.wireFormat), ABI \(backend.abiVersion)), \(backend.path)"
  }

  /// What a backend can be used for, and what not.
  static func roles(_ backend: Backend) -> String {
    let rows = BackendRole.allCases.map { role in
      [role.text, role.obstacle(backend).map { "no: \($0)" } ?? "yes: \(role.commands)"]
    }
    return textTable(rows, width: width, indent: 2)
  }

  static func show(_ backend: Backend) -> String {
    var rows = [
      ["name:", backend.name], ["version:", backend.version],
      ["description:", backend.description], ["file:", backend.path],
      ["wire format:", backend.wireFormat],
      [
        "QEMU method:", backend.qemuMethod == nil ? "none that QEMU knows" : backend.qemuMethodName,
      ],
      ["ABI:", backend.abiVersion.description],
      ["capabilities:", backend.capabilities.names.joined(separator: ", ")],
    ]
    if let bound = backend.payloadBound(pageSize: 4096, pageCount: 128) {
      rows.append(["payload:", "at most \(bound) bytes for 128 pages of 4 KiB"])
    }
    let options =
      backend.options.isEmpty ? "It has no options." : backend.optionsTable(width: width)
    return textTable(rows, width: width) + "\n\n" + options
  }

  static func plain(_ backend: Backend) -> String {
    backend.facts.map { "\($0.key)=\($0.value)" }.joined(separator: "\n")
  }

  static func path(_ folders: [FolderJSON]) -> String {
    let rows = folders.map { folder in
      [folder.path, folder.reason.map { "refused: \($0)" } ?? folder.state, folder.origin]
    }
    return textTable([["FOLDER", "STATE", "NAMED BY"]] + rows, width: 200)
  }
}

extension BackendRole {
  fileprivate var text: String {
    switch self {
    case .fromQEMU: "from a QEMU"
    case .toQEMU: "to a QEMU"
    case .link: "over a link"
    }
  }

  fileprivate var commands: String {
    switch self {
    case .fromQEMU: "receive, receive --colo, relay"
    case .toQEMU: "send, relay"
    case .link: "relay and send --to link:URI; receive, receive --colo and relay take it"
    }
  }
}
