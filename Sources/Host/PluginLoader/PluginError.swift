/// Why a backend cannot be found, opened, set up or used.
public struct PluginError: Error, Sendable, Equatable, CustomStringConvertible {
  /// What kind of failure it is; by it a host decides its exit code.
  public enum Kind: String, Sendable, CaseIterable {
    /// No file of that name, or none that speaks a format.
    case notFound
    /// The file is not acceptable: owner, mode, not a library, version, or a table that breaks a
    /// rule.
    case refused
    /// A file of that name in an earlier folder is used instead.
    case shadowed
    /// It crashed, hung, exited, printed, or changed the process, while it was tried in a child.
    case probeCrashed
    /// The operator's options are wrong.
    case options
    /// A channel could not be prepared with these sizes.
    case setup
    /// The payload is not what the format allows: the peer's fault.
    case corrupt
    /// The channel ended or failed under the backend, and its own error is not at hand.
    case channel
    /// Memory could not be had.
    case noMemory
    /// The backend broke the interface's rules, or says that it failed.
    case internalFault
  }

  /// What kind of failure it is.
  public var kind: Kind
  /// What failed: a file, an option, a channel and packet.
  public var what: String
  /// Why: one line.
  public var why: String
  /// What the operator might do about it.
  public var hint: String?

  /// An error that reads `WHAT: WHY`, perhaps with a hint. It is fit for a terminal, whatever the
  /// names of files in it are.
  public init(_ kind: Kind, what: String, why: String, hint: String? = nil) {
    self.kind = kind
    self.what = shown(what)
    self.why = shown(why)
    self.hint = hint.map(shown)
  }

  /// `WHAT: WHY`, without the hint.
  public var description: String { "\(what): \(why)" }

  /// What the command line prints: `multifd: error: WHAT: WHY`, then `hint: …` when there is one.
  public var report: String {
    "multifd: error: \(what): \(why)" + (hint.map { "\nhint: \($0)" } ?? "")
  }
}

extension PluginError {
  static func notFound(_ name: String, known: [String], folders: [String]) -> PluginError {
    var hint = "'multifd plugins path' shows the folders, 'multifd plugins list' what is in them"
    if let nearest = nearestName(to: name, among: known) {
      hint = "did you mean \(nearest)?"
    } else if case let names = Set(known.filter { isBackendName($0.utf8) }), !names.isEmpty {
      let some = names.sorted().prefix(20).joined(separator: ", ")
      hint = "there are: \(some)" + (names.count > 20 ? ", and \(names.count - 20) more" : "")
    }
    let places = folders.isEmpty ? "any folder" : folders.joined(separator: ", ")
    return PluginError(
      .notFound, what: "backend \(quoted(name))",
      why: "no libmultifd-NAME.so of that name in \(places)",
      hint: hint)
  }

  static func shadowed(_ file: PluginFile, by earlier: String) -> PluginError {
    PluginError(.shadowed, what: file.path, why: "\(earlier) comes first in the search order")
  }

  static func refused(_ path: String, _ why: String, hint: String? = nil) -> PluginError {
    PluginError(.refused, what: path, why: why, hint: hint)
  }
}
