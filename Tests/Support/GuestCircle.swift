import Foundation

/// The whole circle: a guest is protected whole, its primary's machine dies, it goes on at the
/// standby, is protected from there by the machine that was the primary's, and loses that one, too.
public final class GuestCircle {
  /// What came of one turn of it.
  public struct Turn: Sendable {
    /// The checkpoint that the guest went on from.
    public let checkpoint: Int
    /// What it found on its disks then.
    public let check: GuestConsole.DiskCheck
    /// The images next to the memory in the store, before it went on.
    public let offline: [OfflineDisk]
  }

  private let guest = DiskGuest()
  private let folder: TemporaryFolder
  private let memory: TemporaryFolder
  /// Each machine's, and a guest goes from one to the other.
  private let images: [[String]]
  private var wires: [PacketWitness] = []
  private var host: any GuestHost

  /// Boots the guest on the first machine.
  public init() throws {
    folder = try TemporaryFolder()
    memory = try TemporaryFolder(.memory(bytes: 1 << 30))
    images = [
      try guest.makeImages(in: folder("first")), try guest.makeImages(in: folder("second")),
    ]
    let wire = try PacketWitness(path: folder("wire0"))
    wires.append(wire)
    let primary = try QEMU(
      .v111, guest.machine(images[0], wire: wire.path), arguments: Self.monitors(folder, 0))
    host = primary
    try primary.waitBooted()
    guard wire.wait(.seconds(60), for: { $0.hasEveryKind ? true : nil }) == true else {
      throw LabError("the guest does not send")
    }
  }

  private static func monitors(_ folder: TemporaryFolder, _ turn: Int) -> [String] {
    ["qmp", "oob"].flatMap { ["-qmp", "unix:\(folder("\($0)\(turn)")),server=on,wait=off"] }
  }

  /// Protects the guest where it is by the other machine, kills it there, and lets it go on here.
  ///
  /// - Throws: ``Inconsistency`` where it is not as it should be then.
  public func turn(_ number: Int) throws -> Turn {
    let there = images[(number + 1) % 2]
    let store = memory("store\(number)")
    let standby = try MultiFDProcess(
      [
        "receive", "--listen", "tcp:127.0.0.1:0", "--store", store, "--colo", "--json",
        "--progress", "none", "--disks", "tcp:127.0.0.1:0",
      ] + zip(guest.names, there).flatMap { ["--disk", "\($0)=\($1)"] })
    let uri = try standby.waitListening()
    _ = try standby.waitServing()
    // Quiet until checkpoints are taken: see WholeGuest.
    host.console.send("hold")
    host.console.send("set net 0")
    Thread.sleep(forTimeInterval: 0.1)
    let protect = try MultiFDProcess([
      "protect", "--qmp", folder("qmp\(number)"), "--oob", folder("oob\(number)"), "--standby", uri,
      "--all-disks", "--all-nets", "--checkpoint", "100ms", "--json",
    ])
    let said = { "standby: \(standby.process.errors.text) protect: \(protect.process.errors.text)" }
    func waitCheckpoint(_ wanted: Int) throws {
      let deadline = ContinuousClock.now + .seconds(60)
      while true {
        let record = FileManager.default.contents(atPath: store + "/checkpoint")
        if let record, let now = try? JSON(parsing: record)["number"].int, now >= wanted { return }
        guard ContinuousClock.now < deadline, standby.process.isRunning else {
          throw LabError("no checkpoint \(wanted) in turn \(number): \(said())")
        }
        Thread.sleep(forTimeInterval: 0.01)
      }
    }
    try waitCheckpoint(1)
    host.console.send("go")
    host.console.send("set net \(guest.gap)")
    try waitCheckpoint(8)
    Thread.sleep(forTimeInterval: 0.05)

    // Its machine dies: QEMU, and what is beside it.
    host.killNow()
    protect.process.kill()
    guard try standby.wait(.seconds(30)).code == 3, wires[number].waitUnplugged() else {
      throw LabError("the standby of turn \(number): \(said())")
    }
    return try goOn(number, store, there)
  }

  private func goOn(_ number: Int, _ store: String, _ images: [String]) throws -> Turn {
    let before = wires[number].seen
    // Brings memory and disks to the checkpoint, and starts nothing.
    let failover = ["failover", "--store", store, "--fence", "true", "--json", "--"]
    guard try MultiFDProcess.run(failover + ["/bin/false"]).code == 1 else {
      throw LabError("multifd failover into nothing")
    }
    let table = try GuestTable(ram: store + "/ram/pc.ram")
    let offline = try images.indices.map { try OfflineDisk(table, disk: $0, image: images[$0]) }
    guard !offline.contains(where: { $0.bad > 0 }) else {
      throw Inconsistency("disks before turn \(number) ended: \(offline)")
    }
    let wire = try PacketWitness(path: folder("wire\(number + 1)"))
    wires.append(wire)
    var machine = guest.machine(images, wire: wire.path)
    machine.more += Self.monitors(folder, number + 1)
    let place = try FailoverPlace(.v111, machine)
    let result = try MultiFDProcess.run(failover + place.command)
    guard result.code == 5, let report = JSON.objects(in: result.output).first,
      let pid = report["pid"].int, let checkpoint = report["checkpoint"].int
    else { throw LabError("multifd failover: \(result)") }
    let survivor = try place.qemu(pid: pid)
    host = survivor
    if report["status"].string == "paused" { try survivor.qmp.execute("cont") }
    guard survivor.waitRunning(.seconds(30)) != nil else { throw LabError("it never went on") }
    guard let check = survivor.console.diskCheck(), check.bad == 0,
      survivor.console.trouble.isEmpty
    else {
      throw Inconsistency("disks after turn \(number): \(survivor.console.log.text.suffix(400))")
    }
    wire.ask()
    guard let after = wire.wait(.seconds(30), for: { $0.hasEveryKind ? $0 : nil }) else {
      throw Inconsistency("the guest is mute after turn \(number)")
    }
    try PacketVerdict(before: before, memory: table, all: before, after: after).judge()
    return Turn(checkpoint: checkpoint, check: check, offline: offline)
  }

  /// Ends everything.
  public func end() {
    host.killNow()
    for wire in wires { wire.end() }
    folder.remove()
    memory.remove()
  }
}
