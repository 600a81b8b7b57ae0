import ArgumentParser
import Certificates
import TestSupport

/// What libFuzzer can be let loose on: every parser of what somebody else has written, and whole
/// sessions.
enum GuidedTarget: String, CaseIterable, ExpressibleByArgument {
  /// A migration's main channel, its descriptions and device states.
  case main
  /// A multifd channel.
  case channel
  /// What a destination answers.
  case returnPath = "return-path"
  case linkHello = "link-hello"
  case linkAnswer = "link-answer"
  case linkChannel = "link-channel"
  case linkReference = "link-reference"
  /// A client of the server of disks.
  case nbd
  /// The files of a store.
  case store
  /// What is said of a backend in the file beside it.
  case certificate
  /// A source, and others, at a `receive`.
  case session
  /// A primary, and others, at a `receive --colo`.
  case standby

  /// Bytes of an input.
  var longest: Int {
    switch self {
    case .session, .standby: 1 << 17
    case .main, .channel: 1 << 16
    default: 1 << 12
    }
  }

  /// What is valid: what changes begin with.
  func seeds() throws -> [(name: String, bytes: [UInt8])] {
    switch self {
    case .main:
      return SessionSeeds.all(colo: false).map { ($0.name, $0.session.main) }
    case .channel:
      return SessionSeeds.all(colo: false).compactMap { seed in
        seed.session.channels.first.map { (seed.name, $0) }
      }
    case .returnPath:
      return try Fixtures.sessions.compactMap { session in
        try session.returnPath.map { (session.name, try Fixtures.bytes($0)) }
      }
    case .linkHello, .linkAnswer, .linkChannel, .linkReference:
      return Input.link.filter { $0.kind == kind }
        .map { (String($0.name.split(separator: "/")[1]), $0.bytes) }
    case .nbd: return NBDClientBytes.seeds
    case .store: return StoreFiles.seeds
    case .certificate: return [("empty", Array("{}".utf8)), ("whole", CertificateSeed.bytes)]
    case .session: return SessionSeeds.all(colo: false).map { ($0.name, $0.session.bytes) }
    case .standby: return SessionSeeds.all(colo: true).map { ($0.name, $0.session.bytes) }
    }
  }

  /// Tries it with an input.
  var check: (UnsafeRawBufferPointer) -> Void {
    switch self {
    case .nbd: NBDClientBytes.check
    case .store: StoreFiles.check
    case .certificate: CertificateSeed.check
    case .session: SessionTarget(isStandby: false).check
    case .standby: SessionTarget(isStandby: true).check
    default: decode
    }
  }

  private var kind: Kind? {
    switch self {
    case .main: .main
    case .channel: .channel
    case .returnPath: .returnPath
    case .linkHello: .linkHello
    case .linkAnswer: .linkAnswer
    case .linkChannel: .linkChannel
    case .linkReference: .linkReference
    case .nbd, .store, .certificate, .session, .standby: nil
    }
  }

  /// At once, and in pieces, which must come to the same.
  private func decode(_ bytes: UnsafeRawBufferPointer) {
    guard let kind else { return }
    let input = Input(name: rawValue, kind: kind, framed: bytes.count % 2 == 0, bytes: [])
    var whole = Decoding(deep: true)
    let outcome = input.decode(bytes, &whole)
    if let violation = whole.violation { breach(violation) }
    guard kind != .returnPath else { return }
    var pieces = Decoding(chunk: 1 + (bytes.first.map(Int.init) ?? 0))
    let other = input.decode(bytes, &pieces)
    if let violation = pieces.violation { breach(violation) }
    // Device states are looked into only where they have come whole, and what is wrong in one may be
    // told instead of what is wrong behind it.
    if kind != .main, other != outcome {
      breach("in pieces of \(pieces.chunk) bytes \(other), at once \(outcome)")
    }
  }
}
