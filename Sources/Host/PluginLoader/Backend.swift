import PluginAPI

/// A backend that has been found, checked and opened. Good for any number of channels, in both
/// directions, from any thread.
public final class Backend: Sendable {
  /// What it says of itself.
  public let profile: BackendProfile

  /// What an operator types.
  public var name: String { profile.name }
  /// The backend's own version, for people.
  public var version: String { profile.version }
  /// `NAME/N`: backends that share it decode each other's payloads.
  public var wireFormat: String { profile.wireFormat }
  /// QEMU's method bits in a packet's flags; nil when stock QEMU does not know the format.
  public var qemuMethod: UInt32? { profile.qemuMethod }
  /// What it can do, and what it asks for.
  public var capabilities: BackendCapabilities { profile.capabilities }
  /// What can be set.
  public var options: [BackendOption] { profile.options }
  /// The file, after symbolic links.
  public var path: String { profile.path }

  /// The table, our copy: constant, and the code it points to is never unloaded.
  nonisolated(unsafe) let methods: MultiFDMethods

  init(_ table: MethodsTable, path: String) {
    profile = BackendProfile(table, path: path)
    methods = table.methods
  }

  /// One side of a channel.
  public enum Direction: String, Sendable {
    /// Pages become payload.
    case send
    /// Payload becomes pages.
    case receive
  }

  /// How many packets of a channel it has at a time; 1 for one that is done with each before the
  /// next.
  public func depth(_ direction: Direction) -> Int {
    let submits =
      direction == .send ? methods.send_submit != nil : methods.recv_submit != nil
    return submits ? max(1, Int(methods.max_in_flight)) : 1
  }

  /// The most payload bytes that `pageCount` pages can become; 0 for none. Nil when this page size
  /// is not supported, or the backend names more than a packet can carry.
  public func payloadBound(pageSize: Int, pageCount: Int) -> Int? {
    guard let size = UInt32(exactly: pageSize), let count = UInt32(exactly: pageCount) else {
      return nil
    }
    if count == 0 { return 0 }
    let bound = methods.payload_bound(size, count)
    guard bound > 0, bound <= UInt64(UInt32.max) else { return nil }
    return Int(bound)
  }

  /// Checks `key=value` pairs against the option table; what is not set gets its default.
  ///
  /// Errors name the option, what is allowed, and the nearest valid name.
  ///
  /// - Parameter files: files that nobody here has named.
  public func parse(
    _ assignments: [(key: String, value: String)], files: [OptionFile] = []
  ) throws(PluginError) -> OptionValues {
    var parsed: [BackendOption.Value?] = Array(repeating: nil, count: options.count)
    for (key, value) in assignments {
      guard let index = options.firstIndex(where: { $0.name == key }) else { throw unknown(key) }
      let what = "\(name), option \(key)"
      guard parsed[index] == nil else {
        throw PluginError(.options, what: what, why: "is set twice")
      }
      switch options[index].parse(value) {
      case .success(let value): parsed[index] = value
      case .failure(let wrong):
        throw PluginError(.options, what: what, why: wrong.why, hint: wrong.hint)
      }
    }
    for file in files {
      guard let index = options.firstIndex(where: { $0.name == file.option }) else {
        throw unknown(file.option)
      }
      switch options[index].value(of: file, called: "sha256:" + file.sha256.prefix(16)) {
      case .success(let value): parsed[index] = value
      case .failure(let wrong):
        throw PluginError(.options, what: "\(name), option \(file.option)", why: wrong.why)
      }
    }
    let all = zip(options, parsed).map { option, value in
      // A default parses: the table has been checked.
      value ?? (try? option.parse(option.defaultValue).get())
        ?? BackendOption.Value(number: 0, text: "")
    }
    return OptionValues(
      owner: self, options: options, parsed: all,
      assigned: assignments.map { (name: $0.key, value: $0.value) })
  }

  /// The same for a specification that has been taken apart.
  public func parse(
    _ spec: CompressionSpec, files: [OptionFile] = []
  ) throws(PluginError) -> OptionValues {
    try parse(spec.assignments.map { (key: $0.key, value: $0.value) }, files: files)
  }

  private func unknown(_ key: String) -> PluginError {
    let names = options.map(\.name)
    let hint: String
    if let nearest = nearestName(to: key, among: names) {
      hint = "did you mean \(nearest)?"
    } else if names.isEmpty {
      hint = "\(name) has no options"
    } else {
      hint = "\(name) has \(names.joined(separator: ", "))"
    }
    return PluginError(
      .options, what: "\(name), option \(quoted(key))", why: "there is no such option", hint: hint)
  }
}
