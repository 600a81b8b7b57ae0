import Foundation
import SessionReplay
import Store
import TestSupport
import Testing
import Transport

/// A network namespace with a cable to this one, for a peer that is to vanish without a word.
struct Cable: ~Copyable {
  private static let ip = ["/usr/sbin/ip", "/sbin/ip", "/usr/bin/ip", "/bin/ip"]
    .first { FileManager.default.isExecutableFile(atPath: $0) }
  /// A namespace that was deleted takes a moment to go, and its cable with it.
  private static let count = Monitor(0)
  private let number = Self.count.update { count in
    count += 1
    return count
  }
  private var name: String { "mfd-\(getpid())-\(number)" }
  private var link: String { "mfd\(getpid()).\(number)" }
  /// The address at the far end.
  var address: String { "10.\(213 + number).\(getpid() % 250).2" }

  /// Why there can be none; nil when there can.
  static let unavailable: SkipReason? = {
    do {
      _ = try Cable()
      return nil
    } catch {
      let reason = SkipReason("no network namespace can be made (\(error))")
      reason.announce("a primary whose machine is gone")
      return reason
    }
  }()

  init() throws {
    try run(["netns", "add", name])
    try run(["link", "add", link, "type", "veth", "peer", "name", "far", "netns", name])
    try run(["-n", name, "addr", "add", "\(address)/24", "dev", "far"])
    try run(["-n", name, "link", "set", "far", "up"])
    try run(["addr", "add", address.dropLast() + "1/24", "dev", link])
    try run(["link", "set", link, "up"])
  }

  deinit { try? run(["netns", "del", name]) }

  /// A command that runs the rest of its line at the far end.
  var wrapper: [String] { [Self.ip ?? "ip", "netns", "exec", name] }

  /// Pulls it out at this end: what the far end sends goes nowhere.
  func pull() throws { try run(["link", "set", link, "down"]) }

  private func run(_ arguments: [String]) throws {
    guard let ip = Self.ip else { throw LabError("there is no ip command") }
    let child = try ChildProcess([ip] + arguments)
    guard child.wait(.seconds(10)) == .code(0) else {
      throw LabError("ip \(arguments.joined(separator: " ")): \(child.errors.text)")
    }
  }
}

@Suite(
  "A machine loses power", .serialized,
  .enabled(if: Cable.unavailable == nil, "SKIPPED: no network namespace can be made"), .beside)
struct LostMachineTests {
  static let script = SyntheticGuest.script(seed: 80, checkpoints: 3, pages: [50])

  /// Nobody closes its connections then: the kernel finds out that nobody answers.
  @Test("It counts as lost: the guest is continued here")
  func power() throws {
    let cable = try Cable()
    let folder = try TemporaryFolder(.memory(bytes: 64 << 20))
    defer { folder.remove() }
    let qemu = folder("qemu")
    try Program.write("#!/bin/sh\ntouch \(qemu).started\nexit 1\n", to: qemu)
    let standby = try MultiFDProcess(
      [
        "receive", "--colo", "--store", folder("store"), "--listen", "tcp:\(cable.address):0",
        "--insecure",
        "--timeout", "3", "--on-loss", "failover", "--no-fence", "--", qemu,
      ], wrapper: cable.wrapper)
    let primary = try Primary(Self.script, to: try standby.waitListening())
    defer { primary.close() }
    try primary.play(upTo: 2)
    try cable.pull()
    let result = try standby.wait(.seconds(60))
    #expect(result.errors.contains("the primary is lost"), "\(result)")
    #expect(FileManager.default.fileExists(atPath: qemu + ".started"), "\(result)")
    try StoreCheck.expect(folder("store"), holds: 2, Self.script)
  }

  /// Every role that waits for a peer finds out, each by itself.
  @Test("A reception, a relay, a mirror and a protect whose machine is gone are noticed in time")
  func roles() throws {
    let cable = try Cable()
    let folder = try TemporaryFolder(.memory(bytes: 64 << 20))
    defer { folder.remove() }
    let here = ["--listen", "tcp:\(cable.address):0", "--insecure", "--timeout", "3"]
    func start(_ arguments: [String]) throws -> MultiFDProcess {
      try MultiFDProcess(arguments + here, wrapper: cable.wrapper)
    }
    // The relay's destination takes all and says nothing.
    let sink = try Sockets.listen(unix: folder("sink"))
    defer { close(sink) }
    Thread.detachNewThread {
      while case let taken = Sockets.accept(sink), taken >= 0 {
        Thread.detachNewThread {
          var buffer = [UInt8](repeating: 0, count: 1 << 16)
          while Sockets.read(taken, &buffer) > 0 {}
          close(taken)
        }
      }
    }
    let place = try DiskPlace(1, over: "tcp:\(cable.address):10809")
    let standby = try start(
      ["receive", "--colo", "--store", folder("standby")] + place.arguments())
    let receive = try start(["receive", "--store", folder("held")])
    let relay = try start(["relay", "--to", "unix:" + folder("sink")])
    var lines = try Tampered("bios-72-zlib-2ch").lines
    for index in lines.indices { lines[index].bytes.removeLast(lines[index].bytes.count / 2) }
    let sources = try [receive, relay].map {
      FakeSource(lines, to: try Endpoint(parsing: $0.waitListening()))
    }
    _ = try standby.waitServing()
    try place.disks[0].connect()
    try place.disks[0].copy(0..<0.5)
    let control = try ControlClient(standby.waitListening())
    try control.wait { $0["status"]["phase"].string == "waiting" }
    // All that can come has come.
    Thread.sleep(forTimeInterval: 0.3)
    try cable.pull()
    for (process, name) in [(receive, "receive"), (relay, "relay")] {
      let result = try process.wait(.seconds(60))
      #expect(result.code == 3, "\(name): \(result)")
    }
    for told in ["disk 'disk0': its connection has", "control: "] {
      let line = standby.process.errors.wait(.seconds(60)) {
        $0.text.contains(told) ? $0.text : nil
      }
      #expect(line != nil, "\(standby.process.errors.text)")
    }
    // Nobody was there to protect: it waits on.
    standby.process.kill(SIGTERM)
    #expect(try standby.wait().code == 128 + SIGTERM)
    shutdown(sink, Int32(SHUT_RDWR))
    for source in sources { source.end(within: 0) }
    control.close()
    place.disks[0].cut()
  }

  @Test("A hand-over whose destination's machine is gone ends in time, and the guest stays")
  func destination() throws {
    let cable = try Cable()
    let folder = try TemporaryFolder()
    let held = try HeldSession("bios-111-q35-72-zstd-2ch")
    let sink = try Sockets.listen(unix: folder("sink"))
    defer { close(sink) }
    // It takes a little of it, and has its peer wait for room.
    let slow = try MultiFDProcess(
      [
        "relay", "--listen", "tcp:\(cable.address):0", "--insecure", "--to",
        "unix:" + folder("sink"), "--max-bandwidth", "1K", "--timeout", "3",
      ], wrapper: cable.wrapper)
    let send = try MultiFDProcess([
      "send", "--store", held.path, "--to", slow.waitListening(), "--timeout", "3",
      "--compression", "nocomp",
    ])
    // All that finds room has left.
    Thread.sleep(forTimeInterval: 1)
    #expect(send.process.isRunning && slow.process.isRunning)
    try cable.pull()
    let result = try send.wait(.seconds(60))
    #expect(result.code == 3 && result.errorLine?.contains("destination") == true, "\(result)")
    #expect(held.state == .held)
    #expect(try slow.wait(.seconds(60)).code == 3)
  }
}
