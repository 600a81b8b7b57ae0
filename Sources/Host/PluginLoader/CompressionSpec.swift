/// What `--compression` takes: `NAME[,key=value…]`. Which keys there are, the backend knows; what a
/// name alone means, ``PluginLoader/load(_:to:)``.
public struct CompressionSpec: Sendable, Equatable {
  /// One `key=value`.
  public struct Assignment: Sendable, Equatable {
    /// The option.
    public var key: String
    /// Its value as written.
    public var value: String
  }

  /// A backend's name, or QEMU's of a method.
  public let name: String
  /// What follows it, in order.
  public let assignments: [Assignment]

  /// Takes a specification apart; whether the backend exists and has such options is seen later.
  public init(parsing text: String) throws(PluginError) {
    let parts = text.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
    let name = parts[0]
    guard isBackendName(name.utf8) else {
      throw PluginError(
        .options, what: "compression \(quoted(text))",
        why: name.isEmpty
          ? "starts with no backend's name" : "\(quoted(name)) is not a backend's name",
        hint: "write NAME or NAME,key=value,…; 'multifd plugins list' shows the names")
    }
    self.name = name
    var assignments: [Assignment] = []
    for part in parts.dropFirst() {
      guard let equals = part.firstIndex(of: "="), equals != part.startIndex else {
        throw PluginError(
          .options, what: "compression \(quoted(text))", why: "\(quoted(part)) is not key=value",
          hint: "'multifd plugins show \(name)' shows its options")
      }
      assignments.append(
        Assignment(key: String(part[..<equals]), value: String(part[part.index(after: equals)...])))
    }
    self.assignments = assignments
  }
}
