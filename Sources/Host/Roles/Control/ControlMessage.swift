// Control: what a standby and the `protect` beside its primary tell each other.

import Foundation

/// A line of JSON between a standby and `multifd protect`. One member says what it is; members that
/// are not known are not looked at, so that either side may be newer.
struct ControlMessage: Codable, Equatable, Sendable {
  /// Both, first: the version of the protocol, 1.
  var version: Int?
  /// The primary's side: with the hello true, it only looks, and whoever is protecting goes on
  /// undisturbed; false, later: it takes that one's place. Without it a hello takes it at once.
  var look: Bool?
  /// The standby, first, when something changes, and as a sign of life (``ControlLine/beat``).
  var status: ControlStatus?
  /// The standby: the primary's guest stands still for checkpoint N. What it has sent until now
  /// belongs to N. 0 is the end of precopy: what it sends from now on has to wait.
  var mark: Int?
  /// The primary's side: what the guest has sent before ``mark`` N has been noted.
  var marked: Int?
  /// The standby: checkpoint N is committed and the primary knows: what was marked up to N may
  /// leave.
  var release: Int?
  /// The primary's side: these disks have all that the guest has written.
  var synced: [String]?
  /// The primary's side: the guest has ended by itself, for this reason, and is not to be revived.
  /// Empty: it has not, although it was said.
  var ended: String?
  /// The primary's side, with ``ended``: it has not, but goes on there, alone.
  var alone: Bool?
  /// The primary's side: a sign of life.
  var alive: Bool?

  /// As it is sent, with the newline.
  var line: [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    // Numbers and strings always encode; a newline in a string is escaped.
    return Array((try? encoder.encode(self)) ?? Data()) + [UInt8(ascii: "\n")]
  }

  /// Reads a line; nil where it is no message.
  init?(_ line: some Sequence<UInt8>) {
    guard let message = try? JSONDecoder().decode(Self.self, from: Data(line)) else { return nil }
    self = message
  }

  /// A message without anything in it yet.
  init() {}
}

/// What a standby is doing.
struct ControlStatus: Codable, Equatable, Sendable {
  /// How far it is.
  enum Phase: String, Codable, Sendable {
    /// No primary has come.
    case waiting
    /// Its guest comes in.
    case precopy
    /// Checkpoints are taken.
    case protecting
    /// The primary is lost, or this side gives up.
    case lost
  }

  /// How far it is.
  var phase = Phase.waiting
  /// The last committed checkpoint; 0 before the first.
  var checkpoint = 0
  /// Where its disks are served, as it listens: `tcp:0.0.0.0:10809`; nil where none are.
  var disksURI: String?
  /// The disks that it wants.
  var disks: [Disk] = []
  /// Why, where it is lost.
  var reason: String?

  /// A disk of the standby's.
  struct Disk: Codable, Equatable, Sendable {
    /// The name of its export.
    var name: String
    /// Bytes.
    var size: Int
    /// See ``State``.
    var state: State
    /// Bytes that have been written at least once since the first copy began.
    var covered: Int
    /// Why it is lost.
    var reason: String?
  }

  /// How far a disk is.
  enum State: String, Codable, Sendable {
    /// Not every block has come yet.
    case syncing
    /// Every block has come, or was there.
    case synced
    /// Its writes belong to checkpoints.
    case protected
    /// What it has is the last checkpoint's, and no more will come.
    case lost
  }
}
