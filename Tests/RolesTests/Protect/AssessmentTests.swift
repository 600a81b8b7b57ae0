import Roles
import TLS
import TestSupport
import Testing
import Transport

/// What can be protected of a guest, judged by what a stock QEMU 11.1 has answered.
@Suite("What of a guest can be protected", .beside)
struct AssessmentTests {
  private func options(
    disks: ProtectOptions.Disks = .all, nets: ProtectOptions.Nets = .all
  ) throws -> ProtectOptions {
    var options = ProtectOptions(
      monitor: .command("false"), standby: .tcp(host: "standby", port: 4444))
    options.disks = disks
    options.nets = nets
    return options
  }

  private func facts(_ name: String, _ instead: [String: QMPValue] = [:]) throws -> GuestFacts {
    var monitor = try RecordedMonitor(name)
    monitor.instead = instead
    return try GuestFacts(asking: monitor, within: 1)
  }

  /// `SUBJECT: VERDICT` of all that stands in the way, or is left out.
  private func objections(_ assessment: Assessment) -> [String] {
    assessment.findings.filter { $0.verdict == .impossible || $0.verdict == .unprotected }
      .map { "\($0.subject): \($0.verdict.rawValue)" }
  }

  private func why(_ assessment: Assessment, _ subject: String) -> String {
    assessment.findings.filter { $0.subject == subject }
      .map { "\($0.why) \($0.change ?? "")" }.joined(separator: " ")
  }

  @Test("A plain guest: all of it")
  func plain() throws {
    let facts = try facts("plain")
    #expect(facts.version.description == "11.1.3")
    #expect(facts.machine == "pc-q35-11.1")
    let assessment = Assessment(facts, try options())
    #expect(assessment.isPossible && objections(assessment).isEmpty)
    #expect(assessment.disks.map(\.node) == ["disk0", "disk1"])
    #expect(assessment.disks.map(\.name) == ["disk0", "disk1"])
    #expect(assessment.disks.map(\.size) == [8 << 20, 8 << 20])
    #expect(assessment.nets == ["hn0"])
  }

  @Test("A guest that QEMU emulates is told to stand still for its copy; one of KVM's is not")
  func accelerator() throws {
    let emulated = Assessment(try facts("plain"), try options())
    #expect(emulated.isPossible && why(emulated, "guest").contains("stands still"))
    let kvm: QMPValue = ["enabled": "kvm", "present": ["kvm", "tcg"]]
    for answer in [kvm, [:]] {
      let facts = try facts("plain", ["query-accelerators": answer])
      let assessment = Assessment(facts, try options())
      #expect(!facts.isEmulated && why(assessment, "guest").isEmpty)
    }
  }

  @Test("A guest that is paused: by a protect it is let go on, by another it stays so")
  func paused() throws {
    let paused: QMPValue = ["running": false, "status": "paused"]
    for (objects, isPossible) in [([], false), (["mf-standing"], true), (["mf-other"], false)] {
      let list = QMPValue.array(
        objects.map { ["name": .string($0), "type": "child<rng-builtin>"] })
      let facts = try facts("plain", ["query-status": paused, "qom-list /objects": list])
      let assessment = Assessment(facts, try options())
      #expect(assessment.isPossible == isPossible, "\(objects)")
    }
  }

  @Test("What nothing was said of: a disk is refused, packets are only told")
  func unnamed() throws {
    let assessment = Assessment(try facts("plain"), try options(disks: .none, nets: .none))
    #expect(!assessment.isPossible)
    #expect(
      objections(assessment) == [
        "disk disk0: impossible", "disk disk1: impossible", "network hn0: unprotected",
      ])
    #expect(why(assessment, "disk disk1").contains("--disk disk1, or --all-disks"))
  }

  @Test("Disks that are named, and called something else at the standby")
  func named() throws {
    let pairs = ["disk1=data", "nothing"].map(ProtectOptions.Disks.Pair.init)
    let assessment = Assessment(
      try facts("plain"), try options(disks: .named(pairs), nets: .named(["hn0", "hn7"])))
    #expect(assessment.disks.map(\.node) == ["disk1"])
    #expect(assessment.disks.map(\.name) == ["data"])
    #expect(
      objections(assessment) == [
        "disk nothing: impossible", "disk disk0: unprotected", "network hn7: impossible",
      ])
    #expect(why(assessment, "disk nothing").contains("it has disk0, disk1"))
  }

  @Test("Two disks of one name")
  func twins() throws {
    let pairs = ["disk0=data", "disk1=data"].map(ProtectOptions.Disks.Pair.init)
    let assessment = Assessment(try facts("plain"), try options(disks: .named(pairs)))
    #expect(objections(assessment) == ["disk data: impossible"])
  }

  @Test("I/O threads, of a disk and of its controller; no flushes; flash; read-only; empty drives")
  func awkward() throws {
    let assessment = Assessment(try facts("awkward"), try options())
    #expect(
      objections(assessment) == [
        "disk dd: impossible", "disk disk0: impossible", "disk disk1: impossible",
      ])
    #expect(why(assessment, "disk disk0").contains("vd0 has iothread="))
    #expect(why(assessment, "disk disk1").contains("scsi0 has iothread="))
    #expect(why(assessment, "disk dd").contains("cache.no-flush=off"))
    // A -drive has no node of its own name, and goes by its id.
    #expect(assessment.disks.map(\.node) == ["de"])
    let fine = assessment.findings.filter { $0.verdict == .fine }.map(\.subject)
    #expect(fine == ["QEMU", "guest", "disk fl0", "disk fl1", "disk ro0"])
    // A netdev without a device sends nothing.
    #expect(assessment.nets == ["hn0", "hn1"])
  }

  @Test("What QEMU itself refuses, and a guest that does not run")
  func blocked() throws {
    let assessment = Assessment(try facts("blocked"), try options())
    #expect(
      objections(assessment) == [
        "guest: impossible", "migration: impossible", "migration: impossible",
      ])
    #expect(why(assessment, "migration").contains("leave out ivshmem"))
    #expect(why(assessment, "migration").contains("virtio-crypto"))
    #expect(why(assessment, "guest").contains("cont"))
  }

  @Test("Settings of other migrations")
  func settings() throws {
    let capabilities: QMPValue = [
      ["capability": "x-colo", "state": false], ["capability": "xbzrle", "state": true],
      ["capability": "x-ignore-shared", "state": true],
    ]
    let assessment = Assessment(
      try facts(
        "plain",
        [
          "query-migrate-capabilities": capabilities,
          "query-migrate-parameters": ["tls-creds": "tls0"],
        ]), try options())
    #expect(
      assessment.findings.filter { $0.verdict == .impossible }.compactMap(\.change) == [
        "migrate_set_capability x-ignore-shared off", "migrate_set_capability xbzrle off",
        "--tls-creds DIR, or set tls-creds to an empty string",
      ])
    // With TLS of its own it does not matter what others have.
    var wanted = try options()
    wanted.tls = ProtectTLS(folder: "/etc/pki/qemu", .init())
    let other = try facts("plain", ["query-migrate-parameters": ["tls-creds": "tls0"]])
    #expect(Assessment(other, wanted).isPossible)
  }

  @Test("Another migration, and COLO that goes on already")
  func migrating() throws {
    let active: QMPValue = ["status": "active"]
    let other = Assessment(try facts("plain", ["query-migrate": active]), try options())
    #expect(objections(other) == ["migration: impossible"])
    let colo: QMPValue = [["capability": "x-colo", "state": true]]
    let ours = Assessment(
      try facts(
        "plain",
        [
          "query-migrate": ["status": "colo"], "query-migrate-capabilities": colo,
          "query-status": ["status": "colo", "running": false],
        ]), try options())
    #expect(objections(ours).isEmpty)
  }

  @Test("An old QEMU, and one without COLO")
  func version() throws {
    let version: QMPValue = ["qemu": ["major": 10, "minor": 2, "micro": 0]]
    let old = Assessment(try facts("plain", ["query-version": version]), try options())
    #expect(objections(old) == ["QEMU: impossible"])
    let without: QMPValue = [["capability": "multifd", "state": false]]
    let plain = Assessment(
      try facts("plain", ["query-migrate-capabilities": without]), try options())
    #expect(objections(plain) == ["QEMU: impossible"])
  }

  @Test(
    "Devices that are somebody else's", arguments: ["vfio-pci", "vhost-user-fs-pci", "usb-host"])
  func foreign(type: String) throws {
    var facts = try facts("plain")
    facts.devices.append(
      GuestFacts.Device(
        path: "/machine/peripheral/gpu0", type: type, bus: "", hasIOThread: false, netdev: ""))
    #expect(objections(Assessment(facts, try options())) == ["device gpu0: impossible"])
  }

  @Test(
    "Netdevs at which no filter can be",
    arguments: [
      ("Vhost is not supported", "vhost=off"), ("multiqueue is not supported", "queues=1"),
    ])
  func obstacle(said: String, change: String) throws {
    var facts = try facts("plain")
    facts.nets[0].obstacle = said
    let assessment = Assessment(facts, try options())
    #expect(objections(assessment) == ["network hn0: impossible"])
    #expect(why(assessment, "network hn0").contains(change))
  }

  @Test("What the standby has: another size, none, one too many")
  func compared() throws {
    var assessment = Assessment(try facts("plain"), try options())
    assessment.compare(with: [("disk0", 8 << 20), ("disk1", 8 << 20)])
    #expect(assessment.isPossible)
    assessment.compare(with: [("disk0", 4 << 20), ("disk2", 8 << 20)])
    #expect(
      objections(assessment) == [
        "disk disk0: impossible", "disk disk1: impossible", "disk disk2: impossible",
      ])
  }

  @Test("A mirror that is there stands above what the operator has named")
  func mirrored() throws {
    let block: QMPValue = [
      [
        "device": "", "qdev": "/machine/peripheral/vd0/virtio-backend",
        "inserted": [
          "node-name": "mf-on-disk0", "children": [["node-name": "disk0", "child": "backing"]],
          "ro": false, "image": ["virtual-size": 512], "cache": ["no-flush": false],
        ],
      ]
    ]
    let assessment = Assessment(try facts("plain", ["query-block": block]), try options())
    #expect(assessment.disks.map(\.node) == ["disk0"])
  }

  @Test("What info network prints")
  func netdevs() {
    let text = """
      nic0: index=0,type=nic,model=virtio-net-pci,macaddr=52:54:00:12:34:56\r
       \\ hn0: index=0,type=user,net=10.0.2.0,restrict=off\r
      hub 0\r
       \\ hub0port0: socket.0: index=0,type=socket,\r
      spare: index=0,type=tap,ifname=tap0,script=no,downscript=no\r

      """
    let found = GuestFacts.netdevs(text)
    #expect(found.map(\.id) == ["hn0", "spare"])
    #expect(found.map(\.type) == ["user", "tap"])
    #expect(GuestFacts.netdevs("").isEmpty && GuestFacts.netdevs("unknown command").isEmpty)
  }
}
