import Migration
import PluginLoader
import Roles
import Testing
import Wire

@Suite("Exit codes")
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
    "A plug-in's error has one exit code, wherever it ends a command",
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
}
