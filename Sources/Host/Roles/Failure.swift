// Roles: each wires memory, wire, plug-ins, stage, store and transport into one flow.

import Memory
import PluginLoader
import Store
import Transport
import Wire

/// What a process ends with.
public enum ExitCode: Equatable, Codable, Sendable {
  /// Done.
  case done
  /// Failed; the guest is safe where it was.
  case failed
  /// Refused in negotiation: backend, format, capability.
  case refused
  /// The peer is unreachable or silent.
  case unreachable
  /// The stream is corrupt.
  case corrupt
  /// The guest runs here now.
  case failedOver
  /// The command line is wrong.
  case usage
  /// A fault of this program.
  case internalError
  /// A signal ended it.
  case signal(Int32)

  /// The number for exit(3).
  public var rawValue: Int32 {
    switch self {
    case .done: 0
    case .failed: 1
    case .refused: 2
    case .unreachable: 3
    case .corrupt: 4
    case .failedOver: 5
    case .usage: 64
    case .internalError: 70
    case .signal(let number): 128 + number
    }
  }
}

extension ExitCode {
  /// What a command ends with when a backend cannot be found, opened, set up or used. There is no other map.
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

/// How a role ended that did not end well: one line, an exit code, perhaps a hint.
public struct Failure: Error, Equatable, Codable, Sendable, CustomStringConvertible {
  /// For exit(3).
  public var exit: ExitCode
  /// What failed: `receive`, `channel 1, packet 17, byte 9034`.
  public var what: String
  /// Why.
  public var why: String
  /// What the operator could do.
  public var hint: String?

  /// What a failure proves about the other side. Set where it is found out, and what is decided is decided by it,
  /// never by a text.
  public enum Cause: String, Codable, Sendable {
    /// Nothing: a fault of this side, or one that says nothing about the peer.
    case other
    /// The peer is gone for certain: its connections have ended, or it has been silent for longer than the
    /// operator allows. What a failover waits for.
    case peerIsGone
    /// The peer has ended what it began, and lives for certain: its guest is not to be started here.
    case peerLives
    /// The destination has said that it does not have the guest: it is ours as before.
    case refusedByDestination
    /// A backend, or something that ended the process that ran it, was at fault here: nothing is known of the peer, but
    /// that its connections have ended.
    case workerFailed
  }

  /// What it proves about the other side.
  public var cause = Cause.other
  /// The peer is gone for certain.
  public var peerIsGone: Bool { cause == .peerIsGone }

  /// A failure with its texts.
  public init(_ exit: ExitCode, _ what: String, _ why: String, hint: String? = nil) {
    self.exit = exit
    self.what = what
    self.why = why
    self.hint = hint
  }

  /// The peer is gone.
  static func gone(_ what: String, _ why: String) -> Failure {
    var failure = Failure(.unreachable, what, why)
    failure.cause = .peerIsGone
    return failure
  }

  /// The peer has left, and lives.
  static func alive(_ what: String, _ why: String) -> Failure {
    var failure = Failure(.failed, what, why)
    failure.cause = .peerLives
    return failure
  }

  /// Refuses a time-out that is none.
  ///
  /// - Parameter seconds: must be a number, more than 0, and less than thirty years.
  static func check(_ seconds: Double, _ what: String) throws(Failure) {
    guard seconds > 0, seconds < 1e9 else {
      throw Failure(
        .usage, what, "a time-out of \(seconds) s is none", hint: "give a number above 0")
    }
  }

  /// The operator ended it, nobody else.
  public var isSignal: Bool { if case .signal = exit { true } else { false } }

  /// `WHAT: WHY`, as the command line prints it after `multifd: error: `.
  public var description: String { "\(what): \(why)" }

  /// Any error of the parts below, at a place.
  public init(_ error: any Error, at place: String) {
    switch error {
    case let error as Failure: self = error
    case let error as WireError:
      self.init(
        Self.exit(error.code), place,
        "\(error.message) (\(error.code.rawValue) at byte \(error.offset))",
        hint: Self.hint(error))
    case let error as TransportError:
      switch error.kind {
      case .timedOut, .unreachable, .lost: self.init(.unreachable, place, error.message)
      case .closed, .reset, .local: self.init(.failed, place, error.message)
      case .badURI: self.init(.usage, place, error.message)
      }
    case let error as StoreError:
      let refused = error.kind == .foreign || error.kind == .untrusted
      self.init(
        refused ? .refused : .failed, "store", error.message, hint: error.hint ?? Self.hint(error))
    case let error as SystemError: self.init(.failed, place, error.description)
    case let error as PluginError: self.init(plugin: error, at: place)
    default: self.init(.internalError, place, "\(error)")
    }
  }

  private init(plugin error: PluginError, at place: String) {
    let exit = ExitCode(error.kind)
    let what = exit == .refused || exit == .usage ? error.what : "\(place): \(error.what)"
    self.init(exit, what, error.why, hint: error.hint)
  }

  /// Bytes that contradict the format are corrupt; what this program will not take is refused.
  private static func exit(_ code: WireError.Code) -> ExitCode {
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
    case .stale: "a backup may be better; --force continues it all the same"
    case .occupied: "choose another --store, or remove the folder if the guest is not needed"
    default: nil
    }
  }
}
