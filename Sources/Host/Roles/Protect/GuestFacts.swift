import Migration

/// What a QEMU says of its guest, as far as it matters for protecting it. Asked, never changed: the
/// only command that is no question puts a filter that is off at a network, and takes it away.
package struct GuestFacts: Sendable, Equatable {
  /// A device that the operator has given it.
  package struct Device: Sendable, Equatable {
    /// Its place among QEMU's objects: `/machine/peripheral/vd0`.
    package var path: String
    /// `virtio-blk-pci`.
    package var type: String
    /// The bus that it is on.
    package var bus: String
    /// Whether requests go through an I/O thread.
    package var hasIOThread: Bool
    /// The netdev that it is joined to; empty for none.
    package var netdev: String

    /// A device with all that is looked at.
    package init(path: String, type: String, bus: String, hasIOThread: Bool, netdev: String) {
      (self.path, self.type, self.bus) = (path, type, bus)
      (self.hasIOThread, self.netdev) = (hasIOThread, netdev)
    }

    /// As people call it: its id, or its type where it has none.
    package var name: String {
      let last = path.split(separator: "/").last.map(String.init) ?? path
      return last.hasPrefix("device[") ? type : last
    }
  }

  /// What is in a drive of the guest's.
  package struct Disk: Sendable, Equatable {
    /// The block node at the top, below what is ours: `disk0`.
    package var node: String
    /// The id of a `-drive`; empty for a `-blockdev`.
    package var drive: String
    /// The device that the guest sees, an id or a path.
    package var device: String
    /// Bytes.
    package var size: Int
    package var isReadOnly: Bool
    /// Flushes are not carried out.
    package var isWithoutFlush: Bool

    /// How the operator names it: by its node, or where that has no name of its own by its drive.
    package var name: String? {
      if !node.hasPrefix("#") { node } else if !drive.isEmpty { drive } else { nil }
    }
  }

  /// A netdev.
  package struct Net: Sendable, Equatable {
    /// Its id.
    package var id: String
    /// `tap`, `user`, `dgram` …
    package var type: String
    /// The device that it is joined to.
    package var device: Device?
    /// Why no filter can be at it; nil where one can.
    package var obstacle: String?
  }

  /// A block job.
  package struct Job: Sendable, Equatable {
    /// Its id.
    package var id: String
    package var type: String
  }

  /// Of QEMU.
  package var version: Version
  /// What the guest is doing: `running`.
  package var status: String
  /// It does so because a protect has stopped it, and has not come to let it go on.
  package var isHeldByProtect: Bool
  /// What runs it: `kvm`, `tcg`; empty where QEMU does not say.
  package var accelerator: String
  /// The machine type: `pc-q35-11.1`.
  package var machine: String
  /// Memory and registers cannot be read from outside (SEV, TDX).
  package var isConfidential: Bool
  /// What the migration is doing; empty where there was none.
  package var migration: String
  /// What QEMU itself says against a migration.
  package var blockers: [String]
  package var capabilities: [String: Bool]
  /// As `query-migrate-parameters` gives them.
  package var parameters: QMPValue
  package var devices: [Device]
  package var disks: [Disk]
  package var nets: [Net]
  package var jobs: [Job]

  /// A QEMU's version.
  package struct Version: Sendable, Equatable, CustomStringConvertible {
    package var major: Int
    package var minor: Int
    package var micro: Int
    package var description: String { "\(major).\(minor).\(micro)" }
  }

  /// Whether it is being migrated, to a standby or elsewhere.
  package var isMigrating: Bool {
    ["setup", "active", "device", "colo", "wait-unplug"].contains(migration)
  }

  /// Whether there may be a standby that has it, and was not let go of: COLO is on, and it was not
  /// ended as it is where whoever ends it has made sure of the standby.
  package var mayBeAtStandby: Bool {
    capabilities["x-colo"] == true && !["", "none", "completed"].contains(migration)
  }

  /// Whether QEMU itself is its processor.
  package var isEmulated: Bool { accelerator == "tcg" }

  /// The device that a path or an id belongs to: itself, or what it is a part of.
  package func device(of path: String) -> Device? {
    let path = path.hasPrefix("/") ? path : "/machine/peripheral/\(path)"
    return devices.filter { path == $0.path || path.hasPrefix($0.path + "/") }
      .max { $0.path.count < $1.path.count }
  }
}

extension GuestFacts {
  /// Asks.
  ///
  /// - Parameter seconds: how long each answer may take.
  package init(asking monitor: some GuestMonitor, within seconds: Double) throws(MonitorError) {
    let said = try monitor.execute("query-version", within: seconds)["qemu"]
    version = Version(
      major: said["major"].int ?? 0, minor: said["minor"].int ?? 0, micro: said["micro"].int ?? 0)
    status = try monitor.execute("query-status", within: seconds)["status"].string ?? ""
    isHeldByProtect =
      status == "paused" ? try StandingGuest.isMarked(monitor, within: seconds) : false
    accelerator = try Self.accelerator(monitor, seconds)
    let type = try Self.property("/machine", "type", monitor, seconds).string ?? ""
    machine = type.hasSuffix("-machine") ? String(type.dropLast(8)) : type
    let guarded = try Self.property("/machine", "confidential-guest-support", monitor, seconds)
    isConfidential = !(guarded.string ?? "").isEmpty
    let migrate = try monitor.execute("query-migrate", within: seconds)
    migration = migrate["status"].string ?? ""
    blockers = migrate["blocked-reasons"].elements.compactMap(\.string)
    capabilities = [:]
    for one in try monitor.execute("query-migrate-capabilities", within: seconds).elements {
      capabilities[one["capability"].string ?? ""] = one["state"].bool ?? false
    }
    parameters = try monitor.execute("query-migrate-parameters", within: seconds)
    devices = try Self.devices(monitor, seconds)
    disks = try monitor.execute("query-block", within: seconds).elements.compactMap(Disk.init)
    jobs = try monitor.execute("query-block-jobs", within: seconds).elements.map {
      Job(id: $0["device"].string ?? "", type: $0["type"].string ?? "")
    }
    nets = []
    for (id, type) in Self.netdevs(try monitor.human("info network", within: seconds)) {
      let device = devices.first { $0.netdev == id }
      nets.append(
        Net(
          id: id, type: type, device: device,
          obstacle: try Self.obstacle(at: id, monitor, seconds)))
    }
  }

  /// A QEMU that does not know the question is older than those that can be protected.
  private static func accelerator(
    _ monitor: some GuestMonitor, _ seconds: Double
  ) throws(MonitorError) -> String {
    do {
      return try monitor.execute("query-accelerators", within: seconds)["enabled"].string ?? ""
    } catch  where error.kind == .refused { return "" }
  }

  private static func property(
    _ path: String, _ name: String, _ monitor: some GuestMonitor, _ seconds: Double
  ) throws(MonitorError) -> QMPValue {
    do {
      return try monitor.execute(
        "qom-get", ["path": .string(path), "property": .string(name)], within: seconds)
    } catch  where error.kind == .refused { return .null }
  }

  /// Those in the two containers that `-device` and `device_add` put them in.
  private static func devices(
    _ monitor: some GuestMonitor, _ seconds: Double
  ) throws(MonitorError) -> [Device] {
    var devices: [Device] = []
    for container in ["/machine/peripheral", "/machine/peripheral-anon"] {
      let children = try monitor.execute(
        "qom-list", ["path": .string(container)], within: seconds
      ).elements
      for child in children {
        guard let name = child["name"].string, let type = child["type"].string?.ofChild else {
          continue
        }
        devices.append(try device("\(container)/\(name)", type, monitor, seconds))
      }
    }
    return devices
  }

  /// Only what is asked for is read: of some properties QEMU 11.1 cannot give the value without
  /// ending.
  private static func device(
    _ path: String, _ type: String, _ monitor: some GuestMonitor, _ seconds: Double
  ) throws(MonitorError) -> Device {
    let names = try monitor.execute("qom-list", ["path": .string(path)], within: seconds)
      .elements.compactMap(\.["name"].string)
    func value(_ name: String) throws(MonitorError) -> QMPValue {
      names.contains(name) ? try property(path, name, monitor, seconds) : .null
    }
    let mapping = try value("iothread-vq-mapping")
    let thread = try value("iothread")
    return Device(
      path: path, type: type, bus: try value("parent_bus").string ?? "",
      hasIOThread: !(thread.string ?? "").isEmpty || !mapping.elements.isEmpty,
      netdev: try value("netdev").string ?? "")
  }

  /// The netdevs in what `info network` prints: lines `NAME: index=0,type=TYPE,…`, a netdev that a
  /// device has behind a backslash, the devices themselves with the type `nic`.
  package static func netdevs(_ text: String) -> [(id: String, type: String)] {
    text.split(whereSeparator: \.isNewline).compactMap { line in
      let parts = line.trimmingPrefix(" \\ ").split(separator: ":", maxSplits: 1)
      guard parts.count == 2, parts[1].hasPrefix(" index=") else { return nil }
      let type = parts[1].split(separator: ",").first { $0.hasPrefix("type=") }?.dropFirst(5)
      guard let type, type != "nic" else { return nil }
      return (String(parts[0]), String(type))
    }
  }

  /// QEMU tells nobody whether a tap has vhost, but a filter that is off is as impossible there as
  /// one that is on.
  private static func obstacle(
    at netdev: String, _ monitor: some GuestMonitor, _ seconds: Double
  ) throws(MonitorError) -> String? {
    do {
      try monitor.tryObject(
        [
          "qom-type": "filter-buffer", "netdev": .string(netdev), "interval": 1_000_000,
          "status": "off",
        ], within: seconds)
      return nil
    } catch  where error.kind == .refused {
      return error.description.replacing("object-add: ", with: "")
    }
  }
}

extension GuestFacts.Disk {
  /// - Parameter entry: of `query-block`; nil for a drive that is empty.
  init?(_ entry: QMPValue) {
    let inserted = entry["inserted"]
    guard var node = inserted["node-name"].string else { return nil }
    // A mirror of ours stands above what the operator has named.
    if node.hasPrefix(ProtectNames.prefix) {
      node = inserted["children"].elements.first?["node-name"].string ?? node
    }
    self.init(
      node: node, drive: entry["device"].string ?? "", device: entry["qdev"].string ?? "",
      size: inserted["image"]["virtual-size"].int ?? 0,
      isReadOnly: inserted["ro"].bool ?? false,
      isWithoutFlush: inserted["cache"]["no-flush"].bool ?? false)
  }
}

extension String {
  /// The type in `child<TYPE>`.
  fileprivate var ofChild: String? {
    hasPrefix("child<") && hasSuffix(">") ? String(dropFirst(6).dropLast()) : nil
  }
}
