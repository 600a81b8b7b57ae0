/// What a recorded file is, or a frame of the link.
enum Kind: Sendable {
  case main
  case channel
  case returnPath
  case linkHello
  case linkAnswer
  case linkChannel
  case linkReference
}

/// A recorded file, or a frame of the link.
struct Input: Sendable {
  /// `SESSION/connN.c2s`, or `link/FRAME`.
  var name: String
  var kind: Kind
  /// A destination of 11.1 sends return-path frames before its COLO messages.
  var framed: Bool
  var bytes: [UInt8]

  /// Main channels take longest: their elements are small.
  var cost: Int { kind == .main ? bytes.count * 100 : bytes.count }

  /// FNV-1a of the name: the part of the seed that makes files differ.
  var hash: UInt64 {
    name.utf8.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
  }
}

/// What came of a file's mutations.
struct Report: Sendable, CustomStringConvertible {
  var name: String
  var count: UInt64 = 0
  /// Decoded to the end, by the name of the outcome; errors by their code.
  var outcomes: [String: UInt64] = [:]
  var seconds = 0.0

  init(name: String) { self.name = name }

  mutating func add(_ other: Report) {
    count += other.count
    outcomes.merge(other.outcomes, uniquingKeysWith: +)
    seconds += other.seconds
  }

  var description: String {
    let ok = outcomes["ok", default: 0]
    let errors = outcomes.filter { $0.key != "ok" }.sorted {
      ($1.value, $0.key) < ($0.value, $1.key)
    }
    let list = errors.map { "\($0.key) \($0.value)" }.joined(separator: ", ")
    return "\(name): \(count) mutations, \(ok) decoded, \(count - ok) refused"
      + (list.isEmpty ? "" : " (\(list))") + ", \(Int(seconds * 1000)) ms"
  }
}
