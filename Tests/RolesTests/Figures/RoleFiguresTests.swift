import Foundation
import Migration
import Roles
import SessionReplay
import TestSupport
import Testing
import Transport

/// What roles publish about themselves, asked for as an operator does.
@Suite("Roles tell what they are doing", .beside)
struct RoleFiguresTests {
  static let script = SyntheticGuest.script(seed: 95, checkpoints: 3, pages: [200, 9])

  /// `multifd status --json` until `body` has what it wants of it.
  private func status<Value>(
    _ arguments: [String], _ body: (JSON) -> Value?
  ) throws -> (value: Value, json: JSON) {
    var last: MultiFDProcess.Result?
    for _ in 0..<100 {
      let result = try MultiFDProcess.run(["status", "--json"] + arguments)
      if let value = body(result.json) { return (value, result.json) }
      last = result
      usleep(100_000)
    }
    throw LabError("the status never says it: \(String(describing: last))")
  }

  /// GET, as plain text.
  private func get(_ path: String, _ standby: StandbyProcess) throws -> String {
    let prefix = "multifd: metrics on tcp:127.0.0.1:"
    let port = standby.multifd.process.errors.wait(.seconds(20)) { line in
      line.text.hasPrefix(prefix) ? Int(line.text.dropFirst(prefix.count)) : nil
    }
    return try Sockets.ask(port: #require(port), "GET \(path) HTTP/1.1\r\n\r\n")
  }

  @Test("A standby, from its first word to the operator's last")
  func standby() throws {
    let folder = try TemporaryFolder()
    let standby = try StandbyProcess(
      ["--metrics", "tcp:127.0.0.1:0", "--metrics-file", folder("multifd.prom")])
    let (_, waiting) = try status(["--store", standby.store]) { json in
      json["process"]["phase"].string == "listening" ? () : nil
    }
    #expect(waiting["process"]["role"].string == "standby")
    let early = try MultiFDProcess.run(
      ["control", "--store", standby.store, "x-colo-lost-heartbeat"])
    #expect(early.code == 1 && early.errors.contains("no primary is protected by it yet"))

    let primary = try Primary(Self.script, to: standby.uri)
    defer { primary.close() }
    try primary.play(upTo: 3)
    let (_, json) = try status(["--store", standby.store]) { json in
      json["process"]["checkpoints"]["number"].int == 3 ? () : nil
    }
    let process = json["process"]
    #expect(process["phase"].string == "committed" && process["failover-ready"].bool == true)
    #expect(process["machine"].string == json["machine"].string)
    #expect(process["ram"].int == json["ram"].int)
    #expect(process["channels"].elements.compactMap { $0["id"].string } == ["main", "0", "1"])
    let pauses = process["checkpoints"]["pause"]["counts"].elements.compactMap(\.int)
    #expect(pauses.reduce(0, +) == 3)
    let text = try get("/metrics", standby)
    #expect(text.contains("\nmultifd_checkpoint 3\n"))
    #expect(text.contains("\nmultifd_checkpoint_pause_seconds_count 3\n"))
    #expect(text.contains("\nmultifd_failover_ready 1\n"))
    // The one that is there for people.
    let shown = try MultiFDProcess.run(["status", "--store", standby.store])
    #expect(shown.code == 0 && shown.output.contains("process     standby, committed, pid "))

    let order = try MultiFDProcess.run(
      ["control", "--store", standby.store, "x-colo-lost-heartbeat"])
    #expect(order.code == 0 && order.json == .object([:]), "\(order)")
    let end = try standby.multifd.wait()
    #expect(end.code == 3 && end.errors.contains("the operator has declared it lost"), "\(end)")
    try StoreCheck.expect(standby.store, holds: 3, Self.script)
    #expect(!FileManager.default.fileExists(atPath: standby.store + "/control"))
    let left = try String(contentsOfFile: folder("multifd.prom"), encoding: .utf8)
    #expect(left.contains("\nmultifd_phase{phase=\"ended\"} 1\n"))
    #expect(left.contains("\nmultifd_checkpoint 3\n") && left.contains("\nmultifd_error 1\n"))
  }

  @Test("A service manager hears when it is ready, and that it lives")
  func manager() throws {
    let folder = try TemporaryFolder()
    let manager = try Manager(in: folder)
    let receive = try MultiFDProcess(
      ["receive", "--listen", "unix:" + folder("socket"), "--store", folder("store")],
      environment: manager.environment)
    #expect(manager.hear() == "READY=1\nSTATUS=receive: listening\nWATCHDOG=1")
    #expect(manager.hear() == "WATCHDOG=1" && manager.hear() == "WATCHDOG=1")
    // It speaks for itself: nobody whom it starts has the word.
    let worker = try #require(receive.process.worker)
    kill(worker, SIGSTOP)
    manager.listen(seconds: 2)
    // What was on its way, and then nothing.
    while manager.hear() == "WATCHDOG=1" {}
    kill(worker, SIGCONT)
    #expect(manager.hear() == "WATCHDOG=1")
    receive.process.kill(SIGTERM)
    #expect(try receive.wait().code == 128 + SIGTERM)
    var last = manager.hear()
    while last == "WATCHDOG=1" { last = manager.hear() }
    // The second is said where the worker could still say that it ends.
    if last == "STATUS=receive: failing" { last = manager.hear() }
    #expect(last.contains("STOPPING=1\nSTATUS=receive: ended"), "\(last)")
  }

  @Test("A standby whose fence takes longer than a service manager's patience goes on telling it")
  func managerOfFence() throws {
    let folder = try TemporaryFolder()
    let manager = try Manager(in: folder)
    let standby = try StandbyProcess(
      [
        "--on-loss", "failover", "--fence",
        "echo asked >\(folder("asked")); until [ -e \(folder("done")) ]; do sleep 0.02; done; exit 1",
        "--", "/bin/false",
      ],
      environment: manager.environment)
    let primary = try Primary(Self.script, to: standby.uri)
    try primary.play(upTo: 1)
    primary.close()
    _ = try LostGuest.waitLine(folder("asked"))
    manager.listen(seconds: 10)
    var before = manager.hear()
    while !before.isEmpty, !before.contains("STATUS=standby: failing-over") {
      before = manager.hear()
    }
    #expect(!before.contains("STOPPING"))
    for _ in 0..<5 { #expect(manager.hear() == "WATCHDOG=1") }
    try Data().write(to: URL(filePath: folder("done")))
    #expect(try standby.multifd.wait().code == 1)
    var last = manager.hear()
    while last == "WATCHDOG=1" { last = manager.hear() }
    #expect(last.hasPrefix("STOPPING=1\nSTATUS=standby: ended"), "\(last)")
  }

  @Test("quit ends a reception as a signal does, and leaves nothing")
  func quit() throws {
    let folder = try TemporaryFolder()
    let receive = try MultiFDProcess([
      "receive", "--listen", "unix:" + folder("socket"), "--store", folder("store"),
    ])
    _ = try receive.waitListening()
    _ = try status(["--store", folder("store")]) { $0["process"]["pid"].int }
    let order = try MultiFDProcess.run(["control", "--store", folder("store"), "quit"])
    #expect(order.code == 0, "\(order)")
    let end = try receive.wait()
    #expect(end.code == 128 + SIGTERM, "\(end)")
    #expect(!FileManager.default.fileExists(atPath: folder("store")))
    let nobody = try MultiFDProcess.run(["control", "--store", folder("store"), "quit"])
    #expect(nobody.code == 3 && nobody.errors.contains("nobody answers at"), "\(nobody)")
  }

  @Test("A relay's rate is changed while it passes a guest on")
  func rate() throws {
    let session = try Tampered("bios-111-zstd-2ch")
    let folder = try TemporaryFolder(.memory(bytes: 64 << 20))
    let receive = try MultiFDProcess([
      "receive", "--listen", "unix:" + folder("in"), "--store", folder("store"),
    ])
    _ = try receive.waitListening()
    // What takes hours at this rate.
    let relay = try MultiFDProcess([
      "relay", "--listen", "unix:" + folder("relay"), "--to", "link:unix:" + folder("in"),
      "--control", folder("control"), "--max-bandwidth", "1K",
    ])
    _ = try relay.waitListening()
    let source = FakeSource(session.lines, to: .unix(path: folder("relay")))
    let (_, json) = try status(["--control", folder("control")]) { json in
      json["phase"].string == "relaying" ? () : nil
    }
    #expect(json["role"].string == "relay")
    let wrong = try MultiFDProcess.run([
      "control", "--control", folder("control"), "migrate-set-parameters",
      "{\"max-bandwidth\": -1}",
    ])
    #expect(wrong.code == 1 && wrong.errors.contains("bytes a second from 0 on"), "\(wrong)")
    let order = try MultiFDProcess.run([
      "control", "--control", folder("control"), "migrate-set-parameters", "{\"max-bandwidth\": 0}",
    ])
    #expect(order.code == 0, "\(order)")
    #expect(try receive.wait().code == 0)
    #expect(try relay.wait().code == 0)
    _ = source.end()
    try Reception.expectHeld(folder("store"), session.script)
  }

  @Test("A relay that is paused sends nothing on until it goes on, and can be ended")
  func pause() throws {
    let session = try Tampered("bios-111-zstd-2ch")
    let folder = try TemporaryFolder(.memory(bytes: 64 << 20))
    for isToEnd in [true, false] {
      let receive = try MultiFDProcess([
        "receive", "--listen", "unix:" + folder("in"), "--store", folder("store"),
      ])
      _ = try receive.waitListening()
      let relay = try MultiFDProcess([
        "relay", "--listen", "unix:" + folder("relay"), "--to", "link:unix:" + folder("in"),
        "--control", folder("control"),
      ])
      _ = try relay.waitListening()
      func tell(_ command: String) throws {
        let order = try MultiFDProcess.run(["control", "--control", folder("control"), command])
        #expect(order.code == 0, "\(order)")
      }
      try tell("x-pause")
      let source = FakeSource(session.lines, to: .unix(path: folder("relay")))
      let control = ["--control", folder("control")]
      // Whoever sends pays afterwards: one piece of each connection may be through.
      _ = try status(control) { json in
        json["phase"].string == "paused" && !json["channels"].elements.isEmpty ? () : nil
      }
      usleep(1_200_000)
      let (_, second) = try status(control) { $0["phase"].string == "paused" ? () : nil }
      usleep(1_200_000)
      let (_, third) = try status(control) { $0["phase"].string == "paused" ? () : nil }
      #expect(second["channels"] == third["channels"], "\(second), \(third)")
      #expect(receive.process.isRunning && relay.process.isRunning)
      if isToEnd {
        relay.process.kill(SIGTERM)
        let end = try relay.wait(.seconds(10))
        #expect(end.code == 128 + SIGTERM, "\(end)")
        let left = try receive.wait()
        #expect(left.code == 1 || left.code == 3, "\(left)")
      } else {
        try tell("x-continue")
        #expect(try receive.wait().code == 0)
        #expect(try relay.wait().code == 0)
        try Reception.expectHeld(folder("store"), session.script)
      }
      _ = source.end()
    }
  }

  @Test("Pages are counted by their format, where they go out and where they come in")
  func formats() throws {
    let session = try Tampered("bios-111-zstd-2ch")
    let folder = try TemporaryFolder(.memory(bytes: 64 << 20))
    let receive = try MultiFDProcess([
      "receive", "--listen", "unix:" + folder("in"), "--store", folder("store"),
      "--metrics-file", folder("receive.prom"),
    ])
    _ = try receive.waitListening()
    let relay = try MultiFDProcess([
      "relay", "--listen", "unix:" + folder("relay"), "--to", "link:unix:" + folder("in"),
      "--compression", "lz4", "--metrics-file", folder("relay.prom"),
    ])
    _ = try relay.waitListening()
    let source = FakeSource(session.lines, to: .unix(path: folder("relay")))
    #expect(try receive.wait().code == 0)
    #expect(try relay.wait().code == 0)
    _ = source.end()
    var texts: [[Substring]] = []
    for name in ["receive.prom", "relay.prom"] {
      let text = try String(contentsOfFile: folder(name), encoding: .utf8)
      func value(_ sample: String) -> Int? {
        text.split(separator: "\n").first { $0.hasPrefix(sample + " ") }
          .flatMap { Int($0.dropFirst(sample.count + 1)) }
      }
      let labels = "{channel=\"0\",format=\"lz4/1\"}"
      let pages = try #require(value("multifd_format_pages_total" + labels), "\(text)")
      #expect(pages > 0 && pages == value("multifd_pages_total{channel=\"0\",kind=\"normal\"}"))
      let payload = value("multifd_format_payload_bytes_total" + labels)
      #expect(payload == value("multifd_payload_bytes_total{channel=\"0\"}"))
      texts.append(text.split(separator: "\n").filter { $0.hasPrefix("multifd_format_") })
    }
    // What one sends the other one gets.
    #expect(texts[0] == texts[1] && texts[0].count >= 4)
  }

  @Test("Figures that others could read are refused before anything else")
  func exposed() throws {
    let folder = try TemporaryFolder()
    let result = try MultiFDProcess.run([
      "receive", "--listen", "unix:" + folder("socket"), "--store", folder("store"),
      "--metrics", "tcp:0.0.0.0:0",
    ])
    #expect(result.code == 64 && result.errors.contains("--metrics-insecure"), "\(result)")
    #expect(!FileManager.default.fileExists(atPath: folder("store")))
    // A port that somebody has.
    let (taken, port) = try Sockets.listen()
    defer { close(taken) }
    let other = try MultiFDProcess.run([
      "receive", "--listen", "unix:" + folder("socket"), "--store", folder("store"),
      "--metrics", "tcp:127.0.0.1:\(port)",
    ])
    #expect(other.code == 3 && other.errors.contains("metrics"), "\(other)")
    #expect(!FileManager.default.fileExists(atPath: folder("store")))
  }
}

/// What a role takes for its service manager, one of little patience.
private final class Manager {
  /// For the role.
  let environment: [String: String]
  private let socket: Int32

  init(in folder: TemporaryFolder) throws {
    socket = try Sockets.listen(datagrams: folder("notify"))
    environment = ["NOTIFY_SOCKET": folder("notify"), "WATCHDOG_USEC": "300000"]
  }

  deinit { close(socket) }

  /// From here on it listens for so long at a time.
  func listen(seconds: Int) {
    var limit = timeval(tv_sec: seconds, tv_usec: 0)
    setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
  }

  /// The next thing that it is told; empty where that takes too long.
  func hear() -> String {
    var buffer = [UInt8](repeating: 0, count: 4096)
    let count = Sockets.read(socket, &buffer)
    return String(decoding: buffer.prefix(count), as: UTF8.self)
  }
}
