import Foundation
import TestSupport
import Testing

extension InteropTests {
  /// Guests whose memory is not one block that begins at 0: each goes into a store, is rehearsed,
  /// and goes on there.
  @Suite("Failover of guests of every shape")
  struct FailoverShapesTests {
    /// A machine of 7.2's, by what is peculiar about its memory.
    struct Shape: Sendable, CustomStringConvertible {
      let description: String
      let machine: QEMU.Machine
      let mapped: Set<String>
    }

    private static func shape(
      _ description: String, _ type: String, _ more: [String], _ mapped: Set<String>
    ) -> Shape {
      var machine = QEMU.Machine(type: type, memory: 192, fill: 8, workingSet: 8)
      machine.more = more
      return Shape(description: description, machine: machine, mapped: mapped)
    }

    static let shapes = [
      shape(
        "NUMA, the smaller node first, and two DIMMs", "q35",
        ["-m", "192M,slots=4,maxmem=1G"]
          + [("n0", 32), ("n1", 160), ("d0", 128), ("d1", 256)].flatMap {
            ["-object", "memory-backend-ram,id=\($0.0),size=\($0.1)M"]
          }
          + ["-numa", "node,memdev=n0", "-numa", "node,memdev=n1"]
          + ["-device", "pc-dimm,memdev=d0,node=0", "-device", "pc-dimm,memdev=d1,node=1"],
        ["n0", "n1", "d0", "d1"]),
      shape(
        "an old machine type, and a DIMM beside its own memory", "pc-i440fx-2.12",
        [
          "-m", "192M,slots=4,maxmem=1G", "-object", "memory-backend-ram,id=d0,size=128M",
          "-device", "pc-dimm,memdev=d0",
        ], ["pc.ram", "d0"]),
    ]

    @Test("it goes on where it was, and finds all its memory right", arguments: shapes)
    func goesOn(_ shape: Shape) throws {
      try require(.v72)
      let held = try Held(bytes: 768 << 20)
      defer { held.end() }
      let source = try QEMU(.v72, shape.machine)
      defer { source.terminate() }
      try source.waitBooted()
      try source.qmp.execute("stop")
      let last = try #require(source.console.heartbeats.last?.number)
      try held.take(source.qmp)
      source.killNow()

      // A place of its own: whoever waits for its console takes the first that comes.
      let rehearsed = try FailoverPlace(.v72, shape.machine)
      try withExtendedLifetime(rehearsed) {
        try held.rehearse(rehearsed.command, mapping: shape.mapped)
      }
      let place = try FailoverPlace(.v72, shape.machine)
      let result = try held.failOver(place.command)
      let survivor = try place.qemu(pid: try #require(result["pid"].int))
      defer { survivor.killNow() }
      try survivor.qmp.execute("cont")
      let first = try #require(survivor.console.waitHeartbeat(.seconds(60))?.number)
      #expect(first == last + 1 || first == last)
      #expect(try survivor.checkMemory().bad == 0)
    }

    @Test("aarch64, whose memory begins at 1 GiB: the very pages, and nothing loaded over them")
    func aarch64() throws {
      let program = "/usr/bin/qemu-system-aarch64"
      guard FileManager.default.isExecutableFile(atPath: program) else {
        let reason = SkipReason("there is no \(program): run Support/setup")
        reason.announce("failover of an aarch64 guest")
        try Test.cancel("SKIPPED: \(reason)")
      }
      let held = try Held(bytes: 256 << 20)
      defer { held.end() }
      // Counts at 0x40300000: movz x1, #0x4030, lsl 16; ldr x0, [x1]; add x0, x0, 1; str x0, [x1];
      // b .-12
      let code: [UInt32] = [0xd2a8_0601, 0xf940_0020, 0x9100_0400, 0xf900_0020, 0x17ff_fffd]
      let image = held.folder("code")
      try code.withUnsafeBytes { Data($0) }.write(to: URL(fileURLWithPath: image))
      func command(_ socket: String) -> [String] {
        [
          program, "-M", "virt", "-cpu", "cortex-a57", "-m", "64M", "-accel", "tcg", "-display",
          "none", "-nodefaults", "-device",
          "loader,file=\(image),addr=0x40200000,force-raw=on,cpu-num=0", "-qmp",
          "unix:\(held.folder(socket)),server=on,wait=off",
        ]
      }
      func counter(_ qmp: QMPClient) throws -> UInt64 {
        let text = try qmp.execute(
          "human-monitor-command", .object(["command-line": .string("xp /1gx 0x40300000")])
        ).string?.split(separator: "x").last?.prefix { $0.isHexDigit }
        return try #require(text.flatMap { UInt64($0, radix: 16) })
      }
      let source = try ChildProcess(command("source"))
      defer { source.kill() }
      let qmp = try QMPClient(path: held.folder("source")) { source.isRunning }
      while try counter(qmp) == 0 { usleep(5000) }
      try qmp.execute("stop")
      let last = try counter(qmp)
      try held.take(qmp)
      source.kill()

      // What the loader has is another's by now: it must not come into the guest's memory again.
      try Data(repeating: 0xff, count: 1 << 21).write(to: URL(fileURLWithPath: image))
      try held.rehearse(command("rehearsed"), mapping: ["mach-virt.ram"])
      let result = try held.failOver(command("survivor"))
      let pid = try #require(result["pid"].int.map { pid_t($0) })
      defer { kill(pid, SIGKILL) }
      let survivor = try QMPClient(path: held.folder("survivor")) { kill(pid, 0) == 0 }
      #expect(try counter(survivor) == last)
      try survivor.execute("cont")
      while try counter(survivor) == last { usleep(5000) }
      #expect(try held.word(of: "mach-virt.ram", at: 0x30_0000) > last)
    }

    @Test("an nvdimm's contents come into its own file, at the failover and not before")
    func nvdimm() throws {
      try require(.v72)
      let held = try Held(bytes: 256 << 20)
      defer { held.end() }
      let file = held.folder("nv")
      let contents = Data(repeating: 0x5a, count: 4 << 20)
      try contents.write(to: URL(fileURLWithPath: file))
      func command(_ socket: String) -> [String] {
        QEMUVersion.v72.command([
          "-M", "q35,nvdimm=on", "-m", "64M,slots=2,maxmem=1G", "-accel", "tcg", "-display", "none",
          "-nodefaults", "-object", "memory-backend-file,id=nv,mem-path=\(file),size=4M,share=on",
          "-device", "nvdimm,memdev=nv", "-qmp",
          "unix:\(held.folder(socket)),server=on,wait=off",
        ])
      }
      let source = try ChildProcess(command("source"))
      defer { source.kill() }
      let qmp = try QMPClient(path: held.folder("source")) { source.isRunning }
      try qmp.execute("stop")
      try held.take(qmp)
      source.kill()
      let blank = Data(count: contents.count)
      try blank.write(to: URL(fileURLWithPath: file))
      try held.rehearse(command("rehearsed"), mapping: ["pc.ram"])
      #expect(try Data(contentsOf: URL(fileURLWithPath: file)) == blank)
      let result = try held.failOver(command("survivor"))
      kill(try #require(result["pid"].int.map { pid_t($0) }), SIGKILL)
      #expect(try Data(contentsOf: URL(fileURLWithPath: file)) == contents)
    }
  }
}

/// A guest in a store, to be continued there.
private final class Held {
  let folder: TemporaryFolder
  private var store: String { folder("store") }

  init(bytes: Int) throws { folder = try TemporaryFolder(.memory(bytes: bytes)) }

  func end() { folder.remove() }

  /// Takes a stopped guest out of a QEMU.
  func take(_ qmp: QMPClient) throws {
    let receive = try MultiFDProcess([
      "receive", "--listen", "tcp:127.0.0.1:0", "--store", store, "--progress", "none",
    ])
    let uri = try receive.waitListening()
    try qmp.execute(
      "migrate-set-capabilities",
      .object([
        "capabilities": .array([
          .object(["capability": .string("return-path"), "state": .bool(true)])
        ])
      ]))
    try qmp.execute("migrate", .object(["uri": .string(uri)]))
    let result = try receive.wait()
    guard result.code == 0 else { throw LabError("multifd receive: \(result)") }
  }

  /// Rehearses its failover, which must leave every RAM file as it was.
  func rehearse(_ command: [String], mapping mapped: Set<String>) throws {
    let before = try memory()
    let result = try MultiFDProcess.run(
      ["failover", "--check", "--json", "--store", store, "--"] + command)
    #expect(result.code == 0 && result.json["fits"].bool == true, "\(result)")
    guard case .array(let names) = result.json["mapped"] else { throw LabError("\(result)") }
    #expect(Set(names.compactMap(\.string)) == mapped, "\(result)")
    #expect(try memory() == before)
  }

  /// Its summary.
  func failOver(_ command: [String]) throws -> JSON {
    let result = try MultiFDProcess.run(["failover", "--json", "--store", store, "--"] + command)
    #expect(result.code == 5, "\(result)")
    return result.json
  }

  /// The RAM files' contents, by name.
  private func memory() throws -> [String: Data] {
    let names = try FileManager.default.contentsOfDirectory(atPath: store + "/ram")
    return try Dictionary(
      uniqueKeysWithValues: names.map {
        ($0, try Data(contentsOf: URL(fileURLWithPath: store + "/ram/" + $0)))
      })
  }

  /// The 64-bit word of a RAM file.
  func word(of block: String, at offset: UInt64) throws -> UInt64 {
    let file = try FileHandle(forReadingFrom: URL(fileURLWithPath: store + "/ram/" + block))
    try file.seek(toOffset: offset)
    return try (file.read(upToCount: 8) ?? Data()).reversed().reduce(0) { $0 << 8 | UInt64($1) }
  }
}
