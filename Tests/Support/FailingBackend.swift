import Foundation

/// A backend that works until it is told to do something else, in the middle of a packet.
final class FailingBackend: Sendable {
  private let folder: TemporaryFolder
  private let backend: MisbehavingBackend

  /// Compiles one.
  init() throws {
    let folder = try TemporaryFolder()
    self.folder = folder
    let deeds = Fault.Misdeed.allCases.map { misdeed in
      "if (access(\"\(folder(misdeed.rawValue))\", F_OK) == 0) { \(Self.statement(misdeed)); }"
    }
    backend = try MisbehavingBackend("failing", ["RECV": deeds.joined(separator: " ")])
  }

  /// For a standby's command line. One that hangs is ended after so many seconds.
  var arguments: [String] { backend.arguments + ["--timeout", "5"] }

  /// From now on.
  func misbehave(_ misdeed: Fault.Misdeed) throws {
    try Data().write(to: URL(fileURLWithPath: folder(misdeed.rawValue)))
  }

  /// From now on it does what it should.
  func behave() {
    for misdeed in Fault.Misdeed.allCases { unlink(folder(misdeed.rawValue)) }
  }

  private static func statement(_ misdeed: Fault.Misdeed) -> String {
    switch misdeed {
    case .crash: "crash()"
    case .exit: "exit(0)"
    case .hang: "hang()"
    case .refuse: "p->services->error(p->channel, \"told to refuse\"); return MULTIFD_ERROR_CORRUPT"
    case .memory: "p->services->error(p->channel, \"told to\"); return MULTIFD_ERROR_NO_MEMORY"
    }
  }
}
