import Foundation
import Migration
import Roles
import SessionReplay
import Store
import System
import TestSupport
import Testing
import Transport
import Wire

/// When a source is told that its guest is held, and where the guest is if that goes wrong.
@Suite("The verdict", .beside)
struct VerdictTests {
  private let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder(.memory(bytes: 64 << 20)) }

  private var store: String { folder("store") }

  /// What the store says of its guest; nil before it says anything.
  private static func state(_ store: String) -> Manifest.State? {
    (try? Store.status(of: store))?.manifest?.state
  }

  private static func waitHeld(_ store: String) {
    #expect(eventually { state(store) == .unsettled })
  }

  @Test("All of a guest is forced to disk before its source hears that it is held")
  func durable() throws {
    let lines = try Tampered("bios-111-zstd-2ch").lines
    let log = SystemCallLog(folder("calls"))
    let multifd = try MultiFDProcess(
      ["receive", "--listen", "unix:" + folder("socket"), "--store", store],
      environment: try log.environment())
    let source = FakeSource(lines, to: try Endpoint(parsing: try multifd.waitListening()))
    let result = try multifd.wait(.seconds(30))
    let heard = source.end()
    #expect(result.code == 0, "\(result)")
    #expect(heard[0].messages.last == .shut(0))
    let verdict = ReturnPathMessage.shut(0).encode().map { String(format: "%02x", $0) }.joined()
    let calls = try log.lines()
    let said = try #require(calls.firstIndex(of: "send " + verdict), "\(calls)")
    let manifest = try Store.open(store).manifest
    let files = manifest.blocks.map(\.file) + ["ram", "early-state.new", "device-state.new"]
    let root = try realPath(store)
    for file in files + ["vm-description.new", "manifest.json.new"] {
      #expect(calls[..<said].contains("fsync \(root)/\(file)"), "\(file)")
    }
    #expect(calls[..<said].contains("fsync \(root)"))
  }

  /// More answers than a source takes that does not read: what is said behind them stays in the
  /// receiver's own buffer.
  private func deaf(pings: Int) throws -> [Line] {
    var session = try Tampered("bios-100-main-only", returnPath: false)
    let commands = [Command.openReturnPath] + (0..<pings).map { Command.ping(UInt32($0)) }
    session.lines[0].bytes = try session.lines[0].bytes.inserting(
      commands.flatMap { $0.encode() }, after: session.script.main.endOfConfiguration())
    session.lines[0].end = .wait
    session.lines[0].hears = false
    return session.lines
  }

  private func expectUnsettled(
    _ reception: Reception, _ kinds: Set<String>, location: SourceLocation = #_sourceLocation
  ) {
    guard let failure = reception.failure(location) else { return }
    #expect(kinds.contains(failure.kind.description), "\(failure)", sourceLocation: location)
    #expect(
      failure.why.hasSuffix("; the guest is held, and its source may not have been told"),
      "\(failure)", sourceLocation: location)
    #expect(failure.hint?.contains("--force") == true, sourceLocation: location)
    #expect(Self.state(store) == .unsettled, sourceLocation: location)
    #expect(throws: StoreError.self, sourceLocation: location) { try Store.open(store) }
  }

  @Test("A link that dies under the verdict: the source may go on, so nothing is said of 'held'")
  func diesUnderway() throws {
    // Twice what a window is that nobody reads from.
    let reception = try Reception(try deaf(pings: 30_000), over: .tcp, in: store) { _ in
    } meanwhile: { [store] _, source in
      Self.waitHeld(store)
      source.reset(0)
    }
    expectUnsettled(reception, ["failed"])
  }

  @Test("A source that closes without having read it, and one that never reads it")
  func unread() throws {
    let closed = try Reception(try deaf(pings: 1), in: store) { _ in
    } meanwhile: { [store] _, source in
      Self.waitHeld(store)
      usleep(50_000)
      source.drop(0)
    }
    expectUnsettled(closed, ["failed"])
    try FileManager.default.removeItem(atPath: store)
    let silent = try Reception(try deaf(pings: 1), in: store) { $0.timeout = 0.5 }
    expectUnsettled(silent, ["unreachable"])
  }

  @Test("A source that takes its time, and hears it in the end")
  func late() throws {
    let reception = try Reception(try deaf(pings: 1), in: store) { _ in
    } meanwhile: { [store] _, source in
      Self.waitHeld(store)
      usleep(100_000)
      #expect(Self.state(store) == .unsettled)
      source.hear(0)
    }
    #expect(try reception.result.get().warning == nil)
    #expect(reception.heard[0].messages.last == .shut(0))
    #expect(Self.state(store) == .held)
  }

  @Test("A signal behind the verdict takes nothing back")
  func interrupted() throws {
    let reception = try Reception(try deaf(pings: 1), in: store) { _ in
    } meanwhile: { [store] receiver, _ in
      Self.waitHeld(store)
      usleep(50_000)
      receiver.cancel(.signal(15), "terminated")
    }
    expectUnsettled(reception, ["signal 15"])
  }

  @Test("A store that cannot say 'held' once the source knows: a warning, and no second verdict")
  func cannotSettle() throws {
    let reception = try Reception(try deaf(pings: 1), in: store) { _ in
    } meanwhile: { [store] _, source in
      Self.waitHeld(store)
      // In the place of the file that is to be renamed: no manifest is written any more.
      mkdir(store + "/manifest.json.new", 0o700)
      source.hear(0)
    }
    let summary = try reception.result.get()
    #expect(summary.warning?.contains("it says 'unsettled'") == true)
    #expect(reception.heard[0].messages.suffix(1) == [.shut(0)])
    #expect(!reception.heard[0].messages.contains(.shut(1)))
    #expect(Self.state(store) == .unsettled)
  }
}
