import Foundation
import Roles
import Store
import TestSupport
import Testing
import Transport
import Wire

/// `multifd receive` and `multifd send` with backends that do what they must not: what the worker
/// dies of is one line and an exit code, and the guest is where it was.
@Suite(
  "Misbehaving backends in live roles", .enabled(if: MisbehavingBackend.unavailable == nil), .beside
)
struct LiveBackendTests {
  /// What a backend does, and what is said of it.
  struct Fault: Sendable, CustomStringConvertible {
    var statement: String
    var words: String
    /// The thread that did it is known.
    var isLocated = true
    var description: String { statement }
  }

  static let faults = [
    Fault(statement: "exit(0)", words: "called exit(0)"),
    Fault(statement: "exit(5)", words: "called exit(5)"),
    Fault(statement: "_exit(0)", words: "ended the process with exit code 0", isLocated: false),
    Fault(
      statement: "quick_exit(3)", words: "ended the process with exit code 3", isLocated: false),
    Fault(
      statement: "crash()", words: "was ended by signal 11 (Segmentation fault) at address 0x10"),
    Fault(statement: "abort()", words: "was ended by signal 6"),
    Fault(statement: "__builtin_trap()", words: "was ended by signal 4"),
    Fault(statement: "overflow(0)", words: "was ended by signal 11", isLocated: false),
    Fault(statement: "raise(SIGKILL)", words: "was ended by signal 9", isLocated: false),
    Fault(statement: "kill(getpid(), SIGTERM); hang()", words: "has not come back for "),
    Fault(statement: "thread_crash()", words: "was ended by signal 11", isLocated: false),
    Fault(statement: "hang()", words: "has not come back for "),
    Fault(statement: "spin()", words: "has not come back for "),
  ]

  @Test("recv(): the source is let go, nothing is held", arguments: faults)
  func receive(fault: Fault) throws {
    let backend = try MisbehavingBackend(
      "unruly", ["RECV": fault.statement, "AT": "1", "CHANNEL": "1"])
    let (result, heard, folder) = try Self.receive(with: backend)
    Self.expect(fault, "recv", result)
    // A hand-over that fails is told, or the connection ends: either lets the guest go on.
    let open = heard.indices.filter { !heard[$0].closed }
    #expect(open.isEmpty, "connections that were not closed")
    #expect(heard[0].messages.last != .shut(0))
    #expect(SmallFileSystem.tree(folder.path).isEmpty, "\(result)")
  }

  @Test("recv_setup() and recv_cleanup()", arguments: ["SETUP", "CLEANUP"], ["exit(0)", "hang()"])
  func around(place: String, statement: String) throws {
    let backend = try MisbehavingBackend("unruly", [place: statement])
    let (result, _, folder) = try Self.receive(with: backend)
    let state = try? Store.status(of: folder("store")).manifest?.state
    // Before the cleanup the guest was held, and its source told: what comes then changes nothing
    // about that.
    #expect(state == (place == "CLEANUP" ? .held : nil), "\(result)")
    if place == "SETUP" {
      #expect(result.code == 70 && result.errors.contains("recv_setup()"), "\(result)")
    }
  }

  @Test("Storage that does not answer is told from a backend that does not: the source is let go")
  func stalled() throws {
    let backend = try MisbehavingBackend("unruly", ["RECV": "stall()", "AT": "1"])
    let (result, heard, folder) = try Self.receive(with: backend)
    #expect(result.code == 1, "\(result)")
    #expect(result.errorLine?.contains("store: its storage has not answered") == true, "\(result)")
    let open = heard.indices.filter { !heard[$0].closed }
    #expect(open.isEmpty, "connections that were not closed")
    #expect(SmallFileSystem.tree(folder.path).isEmpty, "\(result)")
  }

  @Test("A backend that puts other memory in the place of a guest's page: nothing is held")
  func displaced() throws {
    let backend = try MisbehavingBackend(
      "unruly", ["RECV": "remap(p->host + p->normal[0], p->page_size)", "AT": "1"])
    let (result, heard, folder) = try Self.receive(with: backend)
    #expect(result.code == 1, "\(result)")
    #expect(result.errorLine?.contains("is no longer that of") == true, "\(result)")
    #expect(heard[0].messages.last != .shut(0))
    // Its source waits for no verdict: what has come is not thrown away.
    #expect(result.errorLine?.contains("its source may have let go of it") == true, "\(result)")
    #expect(!SmallFileSystem.tree(folder.path).contains("store/manifest.json"), "\(result)")
  }

  @Test("A signal ends a reception whose backend hangs")
  func signal() throws {
    let backend = try MisbehavingBackend("unruly", ["RECV": "hang()", "AT": "1"])
    let (result, _, folder) = try Self.receive(with: backend, timeout: 60) { multifd in
      usleep(300_000)
      kill(multifd.process.pid, SIGTERM)
    }
    #expect(result.code == 128 + SIGTERM, "\(result)")
    #expect(SmallFileSystem.tree(folder.path).isEmpty, "\(result)")
  }

  @Test("A worker that is killed takes nothing along: the guardian tells")
  func killedWorker() throws {
    let backend = try MisbehavingBackend("unruly", ["RECV": "hang()", "AT": "1"])
    let (result, _, folder) = try Self.receive(with: backend, timeout: 60) { multifd in
      usleep(300_000)
      kill(try #require(multifd.process.worker), SIGKILL)
    }
    #expect(result.code == 70, "\(result)")
    #expect(result.errorLine?.contains("was ended by signal 9") == true, "\(result)")
    #expect(SmallFileSystem.tree(folder.path).isEmpty, "\(result)")
  }

  @Test("A guardian that is killed takes the worker along")
  func killedGuardian() throws {
    let folder = try TemporaryFolder(.memory(bytes: 64 << 20))
    let multifd = try MultiFDProcess([
      "receive", "--listen", "unix:" + folder("socket"), "--store", folder("store"),
    ])
    _ = try multifd.waitListening()
    let workers = multifd.process.children
    #expect(workers.count == 1)
    multifd.process.kill()
    #expect(eventually(within: .seconds(10)) { workers.allSatisfy { kill($0, 0) != 0 } })
  }

  @Test("send_prepare(): the guest is safe in its store", arguments: faults)
  func send(fault: Fault) throws {
    let backend = try MisbehavingBackend("unruly", ["PREPARE": fault.statement, "AT": "1"])
    let held = try HeldSession("bios-111-none-2ch")
    let destination = try FakeDestination(channels: 2)
    let result = try MultiFDProcess.run(
      [
        "send", "--store", held.path, "--to", "\(destination.endpoint)", "--timeout", "3",
      ] + backend.arguments)
    _ = destination.end()
    Self.expect(fault, "send_prepare", result)
    #expect(held.state == .held, "\(result)")
    #expect(result.errors.contains("the guest is safe in"), "\(result)")
  }

  @Test("send_cleanup(): the guest runs at its destination", arguments: ["abort()", "hang()"])
  func sendCleanup(statement: String) throws {
    let backend = try MisbehavingBackend("unruly", ["DONE": statement])
    let held = try HeldSession("bios-111-none-2ch")
    let destination = try FakeDestination(channels: 2)
    let result = try MultiFDProcess.run(
      [
        "send", "--store", held.path, "--to", "\(destination.endpoint)", "--timeout", "3",
      ] + backend.arguments)
    _ = destination.end()
    #expect(result.code == 70, "\(result)")
    #expect(result.errorLine?.contains("the guest runs at its destination") == true, "\(result)")
    #expect(!result.errors.contains("--force"), "\(result)")
    #expect(held.state == .handedOver, "\(result)")
  }

  @Test("inspect: a backend that leaves or hangs is no verdict", arguments: ["exit(0)", "hang()"])
  func inspect(statement: String) throws {
    // The one that is looked for by the stream's method.
    let backend = try MisbehavingBackend(
      "zlib",
      [
        "SETUP": statement, "METHOD": "MULTIFD_QEMU_METHOD_ZLIB", "FORMAT": "\"zlib/1\"",
      ])
    let session = try #require(Fixtures.session("bios-111-zlib-2ch"))
    let result = try MultiFDProcess.run([
      "inspect", "--plugin-dir", backend.folder, "--timeout", "3", session.sourceFiles[1].path,
    ])
    #expect(result.code == 70, "\(result)")
    #expect(result.errorLine?.contains("backend zlib, channel") == true, "\(result)")
  }

  // MARK: Inside

  private static func expect(_ fault: Fault, _ callback: String, _ result: MultiFDProcess.Result) {
    #expect(result.code == 70, "\(result)")
    let line = result.errorLine ?? ""
    #expect(line.contains(fault.words), "\(result)")
    // The time-out, or what of it had passed when the main channel had waited too long for it.
    if fault.words.hasSuffix("for ") {
      #expect(line.contains(#/ for (2\.[5-9]|3(\.\d)?) s/#), "\(result)")
    }
    if fault.isLocated {
      let place = "backend unruly, channel " + (callback == "recv" ? "1, packet" : "")
      #expect(line.contains(place), "\(result)")
      #expect(line.contains("\(callback)() "), "\(result)")
    } else {
      #expect(line.contains("backend unruly, channel"), "\(result)")
    }
    // One line, and perhaps a hint: no backtrace.
    let lines = result.errors.split(whereSeparator: \.isNewline).filter {
      !$0.contains("listening on")
    }
    #expect(lines.count <= 2, "\(result)")
    #expect(result.output.isEmpty, "\(result)")
  }

  /// Receives a recorded session.
  private static func receive(
    with backend: MisbehavingBackend, timeout: Int = 3,
    meanwhile: (MultiFDProcess) throws -> Void = { _ in }
  ) throws -> (MultiFDProcess.Result, [FakeSource.Heard], TemporaryFolder) {
    let folder = try TemporaryFolder(.memory(bytes: 64 << 20))
    let sockets = try TemporaryFolder()
    let multifd = try MultiFDProcess(
      [
        "receive", "--listen", "unix:" + sockets("socket"), "--store", folder("store"),
        "--timeout", "\(timeout)",
      ] + backend.arguments)
    let endpoint = try Endpoint(parsing: try multifd.waitListening())
    let lines = try Line.of(#require(Fixtures.session("bios-111-none-2ch")))
    let source = FakeSource(lines, to: endpoint)
    try meanwhile(multifd)
    let result = try multifd.wait(.seconds(30))
    return (result, source.end(), folder)
  }
}
