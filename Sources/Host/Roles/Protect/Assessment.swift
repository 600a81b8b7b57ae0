import Migration

/// What of a guest can be protected, what cannot, and what would have to be changed. Pure
/// judgement.
public struct Assessment: Sendable, Encodable {
  /// One thing that was looked at.
  public struct Finding: Sendable, Equatable, Encodable {
    /// What becomes of it.
    public enum Verdict: String, Sendable, Encodable {
      /// A standby will have it.
      case protected
      /// It needs nothing.
      case fine
      /// The guest can be protected without it.
      case unprotected
      /// The guest cannot be protected with it as it is.
      case impossible
    }

    /// `disk disk0`, `network hn0`, `machine`.
    public var subject: String
    /// What becomes of it.
    public var verdict: Verdict
    /// One line.
    public var why: String
    /// What to do about it.
    public var change: String?
  }

  /// A disk that is going to be mirrored.
  public struct Disk: Sendable, Equatable, Encodable {
    /// What QEMU calls it: a node, or a drive.
    public var node: String
    /// The name of the standby's export.
    public var name: String
    /// Bytes.
    public var size: Int
  }

  /// All that was found.
  public private(set) var findings: [Finding] = []
  /// The disks.
  public private(set) var disks: [Disk] = []
  /// The netdevs.
  public private(set) var nets: [String] = []

  /// Whether the guest can be protected.
  public var isPossible: Bool { !findings.contains { $0.verdict == .impossible } }

  /// Judges.
  ///
  /// - Parameters:
  ///   - facts: what its QEMU says.
  ///   - options: what the operator wants.
  package init(_ facts: GuestFacts, _ options: ProtectOptions) {
    judgeQEMU(facts)
    judgeState(facts)
    judgeSettings(facts, hasTLS: options.tls != nil)
    for reason in facts.blockers {
      add("migration", .impossible, reason, change: Self.change(blocker: reason))
    }
    for device in facts.devices { judge(device) }
    judgeDisks(facts, options.disks)
    judgeNets(facts, options.nets)
  }

  /// Adds what only the standby knows.
  ///
  /// - Parameter standby: its disks, and their bytes.
  package mutating func compare(with standby: [(name: String, size: Int)]) {
    for disk in disks {
      guard let theirs = standby.first(where: { $0.name == disk.name }) else {
        add(
          "disk \(disk.name)", .impossible, "the standby has no such disk",
          change: "start it with --disk \(disk.name)=IMAGE, an image of \(disk.size) bytes")
        continue
      }
      if theirs.size != disk.size {
        add(
          "disk \(disk.name)", .impossible,
          "it has \(disk.size) bytes here and \(theirs.size) at the standby",
          change: "truncate -s \(disk.size) the standby's image")
      }
    }
    for theirs in standby where !disks.contains(where: { $0.name == theirs.name }) {
      add(
        "disk \(theirs.name)", .impossible, "the standby waits for it, and it is not mirrored",
        change: "name it with --disk NODE=\(theirs.name), or leave it out at the standby")
    }
  }

  /// Adds that the standby could not be asked.
  mutating func missStandby(_ failure: Failure) {
    add("standby", .impossible, failure.why, change: failure.hint)
  }

  /// Adds that QEMU cannot go by TLS.
  mutating func missCredentials(_ failure: Failure) {
    add("TLS", .impossible, failure.why, change: failure.hint)
  }

  private mutating func add(
    _ subject: String, _ verdict: Finding.Verdict, _ why: String, change: String? = nil
  ) {
    findings.append(Finding(subject: subject, verdict: verdict, why: why, change: change))
  }

  // MARK: QEMU, machine, state

  private mutating func judgeQEMU(_ facts: GuestFacts) {
    if facts.version.major < 11 {
      add(
        "QEMU", .impossible, "\(facts.version) is older than 11",
        change: "restart or migrate the guest into QEMU 11.1 or later")
    } else if facts.capabilities["x-colo"] == nil {
      add(
        "QEMU", .impossible, "it is built without COLO",
        change: "use a QEMU with the capability x-colo (Debian's has it)")
    } else {
      add("QEMU", .fine, "\(facts.version), machine type \(facts.machine)")
    }
    if facts.isConfidential {
      add(
        "machine", .impossible, "its memory is encrypted: a copy is of no use elsewhere",
        change: "start it without confidential-guest-support")
    }
    if facts.machine == "none" {
      add("machine", .impossible, "machine type none has no guest", change: "name another --qmp")
    }
  }

  private mutating func judgeState(_ facts: GuestFacts) {
    if facts.isMigrating, facts.capabilities["x-colo"] != true {
      add(
        "migration", .impossible, "one is under way (\(facts.migration)), and it is not COLO's",
        change: "wait for it, or migrate_cancel")
    }
    // In the middle of its checkpoints, or of precopy's end.
    if facts.isMigrating { return }
    if facts.isEmulated {
      add("guest", .fine, "emulated (TCG): it stands still while its memory is copied")
    }
    switch facts.status {
    case "running": break
    case "paused" where facts.isHeldByProtect: break
    case "paused", "prelaunch":
      add("guest", .impossible, "it is \(facts.status)", change: "cont")
    default:
      add("guest", .impossible, "it is \(facts.status)", change: "see what has stopped it")
    }
  }

  /// Capabilities and parameters that somebody has set for other migrations.
  private mutating func judgeSettings(_ facts: GuestFacts, hasTLS: Bool) {
    let unfit = [
      "x-ignore-shared": "shared memory would not be sent",
      "xbzrle": "a standby does not take XBZRLE", "postcopy-ram": "COLO goes by precopy",
      "background-snapshot": "COLO goes by precopy", "mapped-ram": "that is for files",
      "pause-before-switchover": "each checkpoint would wait for somebody",
      "rdma-pin-all": "there is no RDMA at a standby",
    ]
    for (name, why) in unfit.sorted(by: { $0.key < $1.key }) where facts.capabilities[name] == true
    {
      add(
        "migration", .impossible, "the capability \(name) is on: \(why)",
        change: "migrate_set_capability \(name) off")
    }
    if !hasTLS, let credentials = facts.parameters["tls-creds"].string, !credentials.isEmpty {
      add(
        "migration", .impossible,
        "tls-creds is '\(credentials)': its migrations go by TLS, and this one would not",
        change: "--tls-creds DIR, or set tls-creds to an empty string")
    }
  }

  private static func change(blocker: String) -> String {
    if blocker.contains("ivshmem") { return "leave out ivshmem" }
    if blocker.contains("VFIO") || blocker.contains("vfio") {
      return "device_del what is passed through"
    }
    if blocker.contains("VirtFS") || blocker.contains("9p") { return "unmount it in the guest" }
    if blocker.contains("format") { return "use a raw or qcow2 image" }
    return "remove what it names"
  }

  private mutating func judge(_ device: GuestFacts.Device) {
    let passedThrough = ["vfio-", "usb-host", "scsi-generic", "scsi-block", "tpm-passthrough"]
    if passedThrough.contains(where: device.type.hasPrefix) {
      add(
        "device \(device.name)", .impossible,
        "\(device.type) is a device of this machine's, which no other has",
        change: "device_del it, or put an emulated one in its place")
    } else if device.type.hasPrefix("vhost-") {
      add(
        "device \(device.name)", .impossible,
        "\(device.type): a part of the device is in another process, which takes no part in a checkpoint",
        change: "use the virtio device of QEMU's own")
    } else if device.type.hasPrefix("virtio-9p") {
      add(
        "device \(device.name)", .unprotected,
        "what the guest writes into a shared folder is not taken back")
    }
  }

  // MARK: Disks

  private mutating func judgeDisks(_ facts: GuestFacts, _ wanted: ProtectOptions.Disks) {
    var named: [String: String] = [:]
    if case .named(let list) = wanted {
      for pair in list {
        named[pair.node] = pair.name
        if !facts.disks.contains(where: { $0.node == pair.node || $0.drive == pair.node }) {
          let all = facts.disks.compactMap(\.name).joined(separator: ", ")
          add(
            "disk \(pair.node)", .impossible, "the guest has no such disk",
            change: all.isEmpty ? "leave it out" : "it has \(all)")
        }
      }
    }
    for disk in facts.disks {
      let given = named[disk.node] ?? named[disk.drive]
      judge(disk, facts, given: given, wanted)
    }
    let names = disks.map(\.name)
    for name in Set(names) where names.count(where: { $0 == name }) > 1 {
      add("disk \(name)", .impossible, "two disks have that name", change: "--disk NODE=NAME")
    }
  }

  private mutating func judge(
    _ disk: GuestFacts.Disk, _ facts: GuestFacts, given: String?, _ wanted: ProtectOptions.Disks
  ) {
    let subject = "disk \(disk.name ?? disk.device)"
    let device = facts.device(of: disk.device)
    if disk.device.hasPrefix("/machine/system.flash") {
      return add(subject, .fine, "flash: its contents are in every checkpoint")
    }
    if disk.isReadOnly {
      return add(subject, .fine, "it is read-only: the standby's QEMU needs the same")
    }
    if given == nil, wanted != .all {
      let change = disk.name.map { "--disk \($0), or --all-disks" } ?? "give it a node-name"
      return add(
        subject, wanted == .none ? .impossible : .unprotected,
        "it is written to and not mirrored: after a failover it is newer than the guest's memory",
        change: change)
    }
    guard let name = disk.name else {
      return add(
        subject, .impossible, "it has no name that lasts",
        change: "give its -blockdev a node-name, or its -drive an id")
    }
    let export = given ?? name
    let host = device.flatMap { facts.device(of: $0.bus) }
    if device?.hasIOThread == true || host?.hasIOThread == true {
      return add(
        subject, .impossible,
        "\((device?.hasIOThread == true ? device : host)?.name ?? "its device") has iothread=: "
          + "QEMU loses requests when it stops and starts the guest for a checkpoint",
        change: "leave out iothread= and iothread-vq-mapping=")
    }
    if disk.isWithoutFlush {
      return add(
        subject, .impossible, "cache.no-flush is on: it would not know what is on disk",
        change: "cache.no-flush=off (-drive cache=writeback or none, not unsafe)")
    }
    if let job = facts.jobs.first(where: { $0.id == name || $0.id == disk.drive }) {
      return add(
        subject, .impossible, "a \(job.type) of it is under way", change: "wait for it, or end it")
    }
    let node = disk.node.hasPrefix("#") ? disk.drive : disk.node
    disks.append(Disk(node: node, name: export, size: disk.size))
    add(subject, .protected, "\(disk.size) bytes, mirrored to \(export)")
  }

  // MARK: Networks

  private mutating func judgeNets(_ facts: GuestFacts, _ wanted: ProtectOptions.Nets) {
    if case .named(let list) = wanted {
      for id in list where !facts.nets.contains(where: { $0.id == id }) {
        let all = facts.nets.map(\.id).joined(separator: ", ")
        add(
          "network \(id)", .impossible, "there is no such netdev",
          change: all.isEmpty ? "leave it out" : "there is \(all)")
      }
    }
    for net in facts.nets {
      let isWanted =
        switch wanted {
        case .none: false
        case .all: net.device != nil
        case .named(let list): list.contains(net.id)
        }
      let subject = "network \(net.id)"
      guard isWanted else {
        guard net.device != nil else { continue }
        add(
          subject, .unprotected,
          "its packets leave before the checkpoint that knows of them",
          change: "--net \(net.id), or --all-nets")
        continue
      }
      if let obstacle = net.obstacle {
        let isVhost = obstacle.lowercased().contains("vhost")
        add(
          subject, .impossible, "no filter can be at it: \(obstacle)",
          change: isVhost ? "vhost=off" : "one queue (queues=1), a netdev of its own")
        continue
      }
      nets.append(net.id)
      add(subject, .protected, "\(net.type), packets wait for their checkpoint")
    }
  }
}
