import Foundation

/// The lab's guest with disks and a network (Tests/Guest/disks.c), and the machine that it runs in:
/// plain files as disks, `disk0` and so on, and one interface, `net0`, whose wire is a socket that
/// the test has.
public struct DiskGuest: Sendable {
  /// How many disks it has.
  public var disks: Int
  /// Microseconds between a writer's writes; it has four writers.
  public var pace: Int
  /// Milliseconds between packets of a kind; 0: none.
  public var gap: Int

  /// A guest that writes some hundred times a second, and sends 150 packets a second.
  public init(disks: Int = 2, pace: Int = 2000, gap: Int = 20) {
    self.disks = disks
    self.pace = pace
    self.gap = gap
  }

  /// The names of its disks: of the block nodes, and of what a standby exports.
  public var names: [String] { (0..<disks).map { "disk\($0)" } }

  /// Bytes of a disk: each has another size, and only the first is whole mebibytes.
  public func size(_ disk: Int) -> Int { 8 << 20 - disk * 777 * 512 }

  /// New images in a folder, one a disk, of zeroes.
  public func makeImages(in folder: String) throws -> [String] {
    try FileManager.default.createDirectory(
      atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o755])
    return try names.enumerated().map { disk, name in
      let path = "\(folder)/\(name).raw"
      guard FileManager.default.createFile(atPath: path, contents: nil),
        truncate(path, size(disk)) == 0
      else { throw LabError("making \(path): \(String(cString: strerror(errno)))") }
      return path
    }
  }

  /// Its machine.
  ///
  /// - Parameters:
  ///   - images: a raw file for each disk.
  ///   - wire: the path of the socket that is its wire: the test listens there.
  public func machine(_ images: [String], wire: String) -> QEMU.Machine {
    var machine = QEMU.Machine(type: "q35", memory: 128, fill: 0, workingSet: 0)
    machine.initrd = Lab.disksInitrd
    // So often that it shows for how long a write has taken.
    machine.heartbeat = 100
    machine.words = "lab.pace=\(pace) lab.net=\(gap)"
    for (name, image) in zip(names, images) {
      machine.more += [
        "-blockdev", "driver=raw,node-name=\(name),file.driver=file,file.filename=\(image)",
        "-device", "virtio-blk-pci,drive=\(name)",
      ]
    }
    machine.more += [
      "-netdev", "stream,id=net0,server=off,addr.type=unix,addr.path=\(wire)",
      "-device", "virtio-net-pci,netdev=net0,mac=52:54:00:00:00:02",
    ]
    return machine
  }
}

extension GuestConsole {
  /// What the guest with disks says of them.
  public struct DiskCheck: Sendable {
    /// Sectors that were compared with its memory.
    public let sectors: Int
    /// Those that were not as its memory says.
    public let bad: Int
    /// The line as the guest wrote it.
    public let text: String
  }

  /// Orders a comparison of all disks with what the guest remembers; nil when it does not answer in
  /// time.
  public func diskCheck(_ timeout: Duration = .seconds(60)) -> DiskCheck? {
    let start = log.lines.count
    send("check")
    return log.wait(from: start, timeout) { line in
      guard line.text.hasPrefix("CHK disks="), let sectors = Self.field("sectors", line.text),
        let bad = Self.field("bad", line.text)
      else { return nil }
      return DiskCheck(sectors: sectors, bad: bad, text: line.text)
    }
  }
}
