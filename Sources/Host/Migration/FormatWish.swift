import PluginLoader

/// How an operator wants a guest's pages to travel: what `--compression` says where a link is
/// possible.
public enum FormatWish: Equatable, Sendable {
  /// As they come; of a guest that is held here, as they are.
  case asTheyCome
  /// By one backend.
  case named(CompressionSpec)
  /// By whatever is the fastest for each packet: as they are, or by one of these; empty: all there
  /// are.
  case auto([CompressionSpec])

  /// Parses `NAME[,key=value…]`, `auto` or `auto=NAME,NAME…`; nil: as they come.
  public init(parsing text: String?) throws(PluginError) {
    guard let text else {
      self = .asTheyCome
      return
    }
    guard text != "auto" else {
      self = .auto([])
      return
    }
    let prefix = "auto="
    guard text.hasPrefix(prefix) else {
      self = .named(try CompressionSpec(parsing: text))
      return
    }
    let names = text.dropFirst(prefix.count).split(separator: ",", omittingEmptySubsequences: false)
    self = .auto(
      try names.map { name throws(PluginError) in try CompressionSpec(parsing: String(name)) })
  }
}
