import PluginLoader
import Store
import System
import TLS
import Transport
import Wire

/// How a role ended that did not end well: of what kind, one line, perhaps a hint.
public struct Failure: Error, Equatable, Codable, Sendable, CustomStringConvertible {
  /// What kind of end it is; what a process ends with because of it is the command line's to say.
  public var kind: Kind
  /// What failed: `receive`, `channel 1, packet 17, byte 9034`.
  public var what: String
  /// Why.
  public var why: String
  /// What the operator could do.
  public var hint: String?

  /// Kinds of failure.
  public enum Kind: Equatable, Sendable {
    /// Failed; the guest is safe where it was.
    case failed
    /// Refused in negotiation: backend, format, capability.
    case refused
    /// The peer is unreachable or silent.
    case unreachable
    /// The stream is corrupt.
    case corrupt
    /// The command line is wrong.
    case usage
    /// A fault of this program.
    case internalError
    /// A signal ended it.
    case signal(Int32)
  }

  /// What a failure proves about the other side. Set where it is found out, and what is decided is
  /// decided by it, never by a text.
  public enum Cause: String, Codable, Sendable {
    /// Nothing: a fault of this side, or one that says nothing about the peer.
    case other
    /// The peer is gone for certain: its connections have ended, or it has been silent for longer
    /// than the operator allows. What a failover waits for.
    case peerIsGone
    /// The peer has ended what it began, and lives for certain: its guest is not to be started
    /// here.
    case peerLives
    /// The destination has said that it does not have the guest: it is ours as before.
    case refusedByDestination
    /// A backend, or something that ended the process that ran it, was at fault here: nothing is
    /// known of the peer, but that its connections have ended.
    case workerFailed
  }

  /// What it proves about the other side.
  public var cause = Cause.other
  /// The peer is gone for certain.
  public var peerIsGone: Bool { cause == .peerIsGone }

  /// A failure with its texts.
  public init(_ kind: Kind, _ what: String, _ why: String, hint: String? = nil) {
    self.kind = kind
    self.what = what
    self.why = why
    self.hint = hint
  }

  /// The peer is gone.
  public static func gone(_ what: String, _ why: String) -> Failure {
    var failure = Failure(.unreachable, what, why)
    failure.cause = .peerIsGone
    return failure
  }

  /// The peer has left, and lives.
  public static func alive(_ what: String, _ why: String) -> Failure {
    var failure = Failure(.failed, what, why)
    failure.cause = .peerLives
    return failure
  }

  /// A standby has stood still for longer than a primary waits for one: that its connections have
  /// ended does not say any more that the primary is gone. Nil where it has not.
  public static func stoodStill(for seconds: Double) -> Failure? {
    guard seconds > 1.5 else { return nil }
    let told = (seconds * 10).rounded() / 10
    return Failure(
      .unreachable, "standby",
      "it has stood still for \(told.formatted) s, and its primary's guest may have gone on alone",
      hint: "look at the primary: only where its guest runs no more, 'multifd failover'")
  }

  /// Refuses a time-out that is none.
  ///
  /// - Parameter seconds: must be a number, more than 0, and at most a day.
  public static func check(_ seconds: Double, _ what: String) throws(Failure) {
    guard seconds.isTimeOut else {
      throw Failure(
        .usage, what, "a time-out of \(seconds) s is none", hint: "give a number above 0")
    }
  }

  /// The operator ended it, nobody else.
  public var isSignal: Bool { if case .signal = kind { true } else { false } }

  /// `WHAT: WHY`, as the command line prints it after `multifd: error: `.
  public var description: String { "\(what): \(why)" }

  /// Any error of the parts below, at a place.
  public init(_ error: any Error, at place: String) {
    switch error {
    case let error as Failure: self = error
    case let error as WireError:
      self.init(
        Self.kind(error.code), place,
        "\(error.message) (\(error.code.rawValue) at byte \(error.offset))",
        hint: Self.hint(error))
    case let error as TransportError:
      switch error.kind {
      case .timedOut, .unreachable, .lost: self.init(.unreachable, place, error.message)
      case .closed, .reset, .local: self.init(.failed, place, error.message)
      case .untrusted: self.init(.refused, place, error.message)
      case .exposed:
        self.init(
          .usage, place, error.message,
          hint: "--tls-creds DIR, or --insecure where the network is trusted")
      case .badURI: self.init(.usage, place, error.message)
      }
    case let error as TLSError: self.init(.refused, "tls", error.message, hint: error.hint)
    case let error as SystemError: self.init(.failed, place, error.description)
    case let error as PluginError: self.init(plugin: error, at: place)
    case let error as StoreError:
      let kind: Kind =
        switch error.kind {
        case .foreign, .untrusted: .refused
        case .outOfTurn: .internalError
        default: .failed
        }
      self.init(kind, "store", error.message, hint: error.hint ?? Self.hint(error))
    default: self.init(.internalError, place, "\(error)")
    }
  }

  private init(plugin error: PluginError, at place: String) {
    let kind = Kind(error.kind)
    let what = kind == .refused || kind == .usage ? error.what : "\(place): \(error.what)"
    self.init(kind, what, error.why, hint: error.hint)
  }

  /// Bytes that contradict the format are corrupt; what this program will not take is refused.
  private static func kind(_ code: WireError.Code) -> Kind {
    switch code {
    case .unsupported, .limitExceeded: .refused
    default: .corrupt
    }
  }

  private static func hint(_ error: WireError) -> String? {
    switch error.limit {
    case .ram?: "--max-ram allows more"
    case .builtIn?: "this limit is built in: no stock QEMU is known to come near it"
    case nil: nil
    }
  }

  private static func hint(_ error: StoreError) -> String? {
    switch error.kind {
    case .full: "the store needs room for the guest's RAM; the guest goes on where it was"
    case .handedOver: "two running copies are worse than none; --force sends it all the same"
    case .used: "the guest is what that QEMU has; remove the folder when it has ended, not before"
    case .ended: "remove the folder; --force continues it all the same, as of its last checkpoint"
    case .stale: "a backup may be better; --force continues it all the same"
    case .occupied: "choose another --store, or remove the folder if the guest is not needed"
    default: nil
    }
  }
}

extension Failure.Kind {
  /// What it means when a backend cannot be found, opened, set up or used. There is no other map.
  public init(_ kind: PluginError.Kind) {
    self =
      switch kind {
      case .notFound, .refused, .shadowed, .probeCrashed, .setup: .refused
      case .options: .usage
      case .corrupt: .corrupt
      case .channel, .noMemory: .failed
      case .internalFault: .internalError
      }
  }
}

extension Failure.Kind: Codable, CustomStringConvertible {
  private static let plain: [Failure.Kind] = [
    .failed, .refused, .unreachable, .corrupt, .usage, .internalError,
  ]

  /// As it is written down: `refused`, `signal 15`.
  public var description: String {
    switch self {
    case .failed: "failed"
    case .refused: "refused"
    case .unreachable: "unreachable"
    case .corrupt: "corrupt"
    case .usage: "usage"
    case .internalError: "internal"
    case .signal(let number): "signal \(number)"
    }
  }

  /// Writes its description.
  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(description)
  }

  /// Reads a description.
  public init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    let text = try container.decode(String.self)
    let number = text.split(separator: " ").last.flatMap { Int32($0) }
    guard
      let kind = (Self.plain + (number.map { [.signal($0)] } ?? [])).first(where: {
        $0.description == text
      })
    else {
      throw DecodingError.dataCorruptedError(
        in: container, debugDescription: "'\(text)' is no kind of failure")
    }
    self = kind
  }
}
