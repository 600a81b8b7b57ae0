import Foundation
import Synchronization
import System
import Transport
import Wire

/// Tells the operator of connections that are none of the source's: a line for the first of a kind,
/// then one a minute at the most, however many come.
public final class StrangerLog: Sendable {
  private struct Kind {
    var told: ContinuousClock.Instant
    /// How many have come since.
    var since = 0
  }

  private let log: @Sendable (String) -> Void
  private let kinds = Mutex<[String: Kind]>([:])
  private let all = Atomic(0)

  /// Nobody has come yet.
  public init(_ log: @escaping @Sendable (String) -> Void) { self.log = log }

  /// How many connections were turned away, or refused.
  public var count: Int { all.load(ordering: .relaxed) }

  /// A connection was closed.
  ///
  /// - Parameter origin: where it came from, if that is known.
  public func note(_ stranger: Stranger, from origin: Origin? = nil) {
    all.add(1, ordering: .relaxed)
    let (kind, why) =
      switch stranger {
      case .closed(0): ("closed", "it came and went without a word")
      case .closed(let count):
        ("closed", "it ended after \(count) bytes, before it was known what it is")
      case .silent(let count): ("silent", "it has said no more than \(count) bytes")
      case .early: ("early", "it was here before the source, and has said nothing")
      case .alone: ("alone", "it is a multifd channel, and no main channel came with it")
      case .second: ("second", "it is a source's, and this one has its source")
      case .elsewhere:
        ("elsewhere", "it is a multifd channel, and comes from another host than the source")
      case .crowd: ("crowd", "more come from its host than are looked at")
      case .broken(let why): ("broken", "it began like a source's: \(why)")
      case .encrypted: ("tls", Self.speaksTLS)
      // What every TLS connection begins with.
      case .foreign(let bytes) where bytes.starts(with: [0x16, 3]): ("tls", Self.speaksTLS)
      case .plain:
        ("plain", "it speaks without TLS, which --tls-creds asks for: set tls-creds at the source")
      // Of a kind by what is ours of the text: names in it are the stranger's.
      case .untrusted(let why): ("untrusted " + why.prefix { $0 != "'" }, why)
      case .foreign(let bytes):
        (
          "foreign",
          "it is no source's: its first bytes are "
            + bytes.map { String(format: "%02x", $0) }.joined(separator: " ")
        )
      }
    let place = origin.flatMap { $0.isLocal ? nil : " (from \($0))" } ?? ""
    tell(kind, "a connection has been turned away: \(why)\(place)")
  }

  private static let speaksTLS =
    "it speaks TLS: give --tls-creds here, or turn off tls-creds at the source"

  /// A connection could not be accepted.
  public func note(_ trouble: SystemError) {
    tell("trouble", "a connection cannot be accepted (\(trouble)): it waits")
  }

  /// A connection was accepted, and this process has no thread for it.
  public func note(unserved trouble: SystemError) {
    tell("unserved", "a connection cannot be served (\(trouble)): it is closed")
  }

  /// A link's connection was refused.
  public func note(_ refusal: LinkRefusal) {
    all.add(1, ordering: .relaxed)
    tell("link", "a connection of a link has been refused: \(refusal)")
  }

  private func tell(_ kind: String, _ text: String) {
    let before = kinds.withLock { kinds -> Int? in
      guard let last = kinds[kind] else {
        kinds[kind] = Kind(told: .now)
        return 0
      }
      kinds[kind]!.since += 1
      guard .now - last.told > .seconds(60) else { return nil }
      kinds[kind] = Kind(told: .now)
      return last.since
    }
    guard let before else { return }
    log(before > 0 ? "\(text) (and \(before) more like it)" : text)
  }
}
