import Migration
import PluginLoader

/// What `multifd plugins` prints for people, and the key=value form.
enum PluginsText {
  /// Columns of the output; a wider terminal is not used, so that what is piped looks the same.
  static let width = 100

  static func line(_ backend: BackendProfile) -> String {
    "\(backend.name) \(backend.version) (\(backend.wireFormat), ABI \(backend.abiVersion)), \(shown(backend.path))"
  }

  /// What a backend can be used for, and what not.
  static func roles(_ backend: BackendProfile) -> String {
    let rows = BackendRole.allCases.map { role in
      [role.text, role.obstacle(backend).map { "no: \($0)" } ?? "yes: \(role.commands)"]
    }
    return textTable(rows, width: width, indent: 2)
  }

  static func show(_ backend: BackendProfile, _ certificate: CertificateJSON) -> String {
    var rows = [
      ["name:", backend.name], ["version:", backend.version],
      ["description:", backend.description], ["file:", shown(backend.path)],
      ["wire format:", backend.wireFormat],
      [
        "QEMU method:", backend.qemuMethod == nil ? "none that QEMU knows" : backend.qemuMethodName,
      ],
      ["ABI:", backend.abiVersion.description],
      ["capabilities:", backend.capabilities.names.joined(separator: ", ")],
    ]
    if backend.maxInFlight > 0 {
      rows.append(["in flight:", "up to \(backend.maxInFlight) packets of a channel"])
    }
    if backend.trains { rows.append(["training:", "makes a file ('multifd plugins train')"]) }
    if let bound = backend.packetBound {
      rows.append(["payload:", "at most \(bound) bytes for 128 pages of 4 KiB"])
    }
    rows.append(["tested:", certificate.text])
    let options =
      backend.options.isEmpty ? "It has no options." : backend.optionsTable(width: width)
    return textTable(rows, width: width) + "\n\n" + options
  }

  static func plain(_ backend: BackendProfile) -> String {
    backend.facts.map { "\($0.key)=\(shown($0.value))" }.joined(separator: "\n")
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
