import PluginAPI

/// The values of all options of one backend, checked, in the form in which the backend gets them.
///
/// Constant after init, so it may be shared by every channel and thread. A channel keeps it alive.
public final class OptionValues: Sendable {
  /// The name of the backend that these belong to.
  public var backend: String { owner.name }
  /// The backend itself: another of that name may have other options.
  let owner: Backend
  /// Name and value of every option, in the backend's order, defaults included.
  public let all: [(name: String, value: String)]
  /// Those that the operator set, in the operator's order.
  public let assigned: [(name: String, value: String)]

  /// Every option has its default, said or not.
  public var areDefaults: Bool {
    guard let defaults = try? owner.parse([]) else { return false }
    return zip(all, defaults.all).allSatisfy { $0.value == $1.value }
  }

  /// The files among them, those that are none left out.
  public let files: [OptionFile]

  /// As `--compression` takes it: `zstd,level=3`.
  public var spec: String {
    ([backend] + assigned.map { "\($0.name)=\($0.value)" }).joined(separator: ",")
  }

  /// One value as text; nil when there is no such option.
  public subscript(name: String) -> String? { all.first { $0.name == name }?.value }

  /// values[i] for the backend's options[i]; one unused entry when there are no options, since the
  /// backend's pointer is never NULL. Allocated in init, never written afterwards, freed in deinit.
  nonisolated(unsafe) let values: UnsafeMutablePointer<MultiFDOptionValue>
  /// All texts, each closed by NUL; what `values[i].text` points into. The same lifetime.
  nonisolated(unsafe) private let texts: UnsafeMutablePointer<CChar>

  init(
    owner: Backend, options: [BackendOption], parsed: [BackendOption.Value],
    assigned: [(name: String, value: String)]
  ) {
    self.owner = owner
    self.assigned = assigned
    all = zip(options, parsed).map { (name: $0.name, value: $1.text) }
    files = parsed.compactMap(\.file).filter { !$0.contents.isEmpty }
    let bytes = parsed.map { $0.file?.contents ?? Array($0.text.utf8) }
    texts = .allocate(capacity: bytes.reduce(1) { $0 + $1.count + 1 })
    values = .allocate(capacity: max(1, parsed.count))
    // `texts` has room for every text with its NUL and one NUL more: the sum above.
    var next = texts
    next.initialize(to: 0)
    values.initialize(to: MultiFDOptionValue(number: 0, text: next))
    for (index, value) in parsed.enumerated() {
      let start = next
      for byte in bytes[index] {
        next.initialize(to: CChar(bitPattern: byte))
        next += 1
      }
      next.initialize(to: 0)
      next += 1
      (values + index).initialize(to: MultiFDOptionValue(number: value.number, text: start))
    }
  }

  deinit {
    values.deallocate()
    texts.deallocate()
  }
}
