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

/// As a test's argument: a session is megabytes, and each would be printed.
extension PrimaryScript: CustomTestStringConvertible {
  package var testDescription: String {
    let bytes = (0...channelCount).map { length(of: $0, upTo: checkpoints.count) }
    return "\(channelCount) channels, \(checkpoints.count) checkpoints, bytes \(bytes)"
      + (listens ? ", listens" : "")
  }
}

extension PrimaryScript.Burst: CustomTestStringConvertible {
  package var testDescription: String {
    "\(main.count) bytes on main, on channels \(channels.map(\.count))"
  }
}
