import Foundation
import Migration
import PluginLoader
import Testing
import Wire

@Suite("Failures")
struct FailureTests {
  @Test("More than is allowed is no corrupt stream, and the hint says what allows more")
  func limits() {
    let ram = Failure(WireError(.limitExceeded, at: 8, "much", limit: .ram), at: "main channel")
    #expect(ram.kind == .refused && ram.hint?.contains("--max-ram") == true, "\(ram)")
    let other = Failure(WireError(.limitExceeded, at: 8, "many"), at: "main channel")
    #expect(other.kind == .refused && other.hint?.contains("built in") == true, "\(other)")
    let wrong = Failure(WireError(.badLength, at: 8, "odd"), at: "main channel")
    #expect(wrong.kind == .corrupt && wrong.hint == nil)
  }

  @Test(
    "A plug-in's error is of one kind, wherever it ends a command",
    arguments: PluginError.Kind.allCases)
  func plugins(kind: PluginError.Kind) {
    let failure = Failure(PluginError(kind, what: "x", why: "y"), at: "z")
    let expected: Failure.Kind =
      switch kind {
      case .notFound, .refused, .shadowed, .probeCrashed, .setup: .refused
      case .options: .usage
      case .corrupt: .corrupt
      case .channel, .noMemory: .failed
      case .internalFault: .internalError
      }
    #expect(failure.kind == expected && Failure.Kind(kind) == expected)
  }

  @Test("A kind is written down as one word, and read again")
  func kinds() throws {
    let kinds: [Failure.Kind] = [
      .failed, .refused, .unreachable, .corrupt, .usage, .internalError, .signal(15),
    ]
    let text = try JSONEncoder().encode(kinds)
    #expect(
      String(decoding: text, as: UTF8.self)
        == #"["failed","refused","unreachable","corrupt","usage","internal","signal 15"]"#)
    #expect(try JSONDecoder().decode([Failure.Kind].self, from: text) == kinds)
    #expect(throws: DecodingError.self) {
      try JSONDecoder().decode([Failure.Kind].self, from: Data(#"["signal"]"#.utf8))
    }
  }
}
