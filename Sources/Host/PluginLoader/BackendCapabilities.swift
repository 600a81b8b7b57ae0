import PluginAPI

/// What a backend says of itself: MULTIFD_CAP_*.
public struct BackendCapabilities: OptionSet, Sendable, CustomStringConvertible {
  /// The bits as in the table.
  public let rawValue: UInt32

  /// A set of the bits in `rawValue`.
  public init(rawValue: UInt32) { self.rawValue = rawValue }

  /// A payload refers to earlier packets of its channel.
  public static let stateful = BackendCapabilities(rawValue: MULTIFD_CAP_STATEFUL)
  /// Each packet decodes alone.
  public static let independent = BackendCapabilities(rawValue: MULTIFD_CAP_INDEPENDENT)
  /// The same input gives the same bytes.
  public static let deterministic = BackendCapabilities(rawValue: MULTIFD_CAP_DETERMINISTIC)
  /// Pages must not change during `send_prepare`.
  public static let stableInput = BackendCapabilities(rawValue: MULTIFD_CAP_STABLE_INPUT)
  /// The backend can use a reference image.
  public static let reference = BackendCapabilities(rawValue: MULTIFD_CAP_REFERENCE)
  /// A payload's pieces may point into guest pages.
  public static let zeroCopy = BackendCapabilities(rawValue: MULTIFD_CAP_ZERO_COPY)

  /// It encodes, and does not decode.
  public static let sendOnly = BackendCapabilities(rawValue: MULTIFD_CAP_SEND_ONLY)
  /// It decodes, and does not encode.
  public static let receiveOnly = BackendCapabilities(rawValue: MULTIFD_CAP_RECV_ONLY)
  /// With default options it sends what decodes without the packets between.
  public static let sendsIndependent = BackendCapabilities(
    rawValue: MULTIFD_CAP_SENDS_INDEPENDENT)

  /// All that this host knows.
  static let known: BackendCapabilities = [
    .stateful, .independent, .deterministic, .stableInput, .reference, .zeroCopy, .sendOnly,
    .receiveOnly, .sendsIndependent,
  ]

  /// Whether a backend with these has a direction.
  public func have(_ direction: Backend.Direction) -> Bool {
    !contains(direction == .send ? .receiveOnly : .sendOnly)
  }

  /// Why a backend with these cannot be used in a direction; nil when it can.
  public func obstacle(to direction: Backend.Direction) -> String? {
    if have(direction) { return nil }
    return direction == .send ? "it decodes only" : "it encodes only"
  }

  /// The names of the bits that are set.
  public var names: [String] {
    let all: [(BackendCapabilities, String)] = [
      (.stateful, "stateful"), (.independent, "independent"), (.deterministic, "deterministic"),
      (.stableInput, "stable-input"), (.reference, "reference"), (.zeroCopy, "zero-copy"),
      (.sendOnly, "send-only"), (.receiveOnly, "recv-only"),
      (.sendsIndependent, "sends-independent"),
    ]
    return all.filter { contains($0.0) }.map(\.1)
  }

  /// The names, separated by commas.
  public var description: String { names.joined(separator: ",") }
}
