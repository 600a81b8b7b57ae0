// The standby's tests: synthetic primaries that play recorded or generated COLO sessions into the
// real `multifd receive --colo` (a child process, or in this process), to the end, to a random
// byte, wrongly, or until the standby is killed; and a look at the store afterwards.
//
//   PrimaryScript     a session, cut where the primary waits for an answer
//   RecordedPrimary   scripts of recorded sessions
//   SyntheticGuest    scripts of guests that never were, whose every page is known at every checkpoint
//   Primary           plays a script over sockets, and may die at any byte
//   LocalStandby      the standby in this process
//   StandbyProcess    the standby as a child process
//   StoreCheck        what a store holds, compared with the script
//   KillSwitch        kills a child process at its n-th system call

import SessionReplay
import Testing

/// All that a COLO primary says in a session.
struct PrimaryScript: Sendable {
  /// What it says before it waits.
  struct Burst: Sendable {
    var main: [UInt8] = []
    /// By number; they may come in any order beside the main channel's bytes.
    var channels: [[UInt8]]
  }

  /// PONG, SHUT and switchover-ack are awaited: a primary of 11.x.
  var listens: Bool
  /// From the first byte to the end of the migration.
  var precopy: Burst
  /// From VMSTATE_SEND to the last byte of device state. REQUEST goes before each of them.
  var checkpoints: [Burst]
  /// The devices' state at the end of precopy (index 0) and in each checkpoint.
  var deviceStates: [[UInt8]]
  /// The guest at the end of precopy (0) and at each checkpoint.
  var image: @Sendable (Int) -> GuestImage

  var channelCount: Int { precopy.channels.count }

  /// Bytes of a connection up to and including a checkpoint; 0 is the main channel.
  func length(of connection: Int, upTo checkpoint: Int) -> Int {
    let bursts = [precopy] + checkpoints.prefix(checkpoint)
    guard connection > 0 else {
      return bursts.reduce(0) { $0 + $1.main.count } + 4 * checkpoint
    }
    return bursts.reduce(0) { $0 + $1.channels[connection - 1].count }
  }
}

/// As a test's argument: a session is megabytes, and each would be printed.
extension PrimaryScript: CustomTestStringConvertible {
  var testDescription: String {
    let bytes = (0...channelCount).map { length(of: $0, upTo: checkpoints.count) }
    return "\(channelCount) channels, \(checkpoints.count) checkpoints, bytes \(bytes)"
      + (listens ? ", listens" : "")
  }
}

extension PrimaryScript.Burst: CustomTestStringConvertible {
  var testDescription: String {
    "\(main.count) bytes on main, on channels \(channels.map(\.count))"
  }
}
