import Foundation
import TestSupport
import Testing

/// A stock QEMU with two disks and a network, its standby, and the `protect` between them.
final class WholeGuestParts {
  /// The primary.
  let qemu: QEMU
  /// For images and sockets.
  let folder: TemporaryFolder
  private let stores: TemporaryFolder
  private var number = 0
  /// Where the standby listens: the same, each time.
  let port: Int
  /// Where its disks are.
  let disksPort: Int

  /// Where all that is, as an URI has it.
  private let host: String

  /// Bytes of each disk.
  static let diskSize = 8 << 20

  /// A block of a disk that cannot be read.
  enum BadBlock: CaseIterable {
    case once, always
  }
  /// Where it is.
  static let badOffset = 4 << 20

  /// Starts a primary. Its guest boots, and does nothing with its disks: writes are ours.
  ///
  /// - Parameters:
  ///   - host: its standby's.
  ///   - badBlock: how often the first disk cannot be read at `badOffset`.
  init(host: String = "127.0.0.1", badBlock: BadBlock? = nil) throws {
    self.host = host
    folder = try TemporaryFolder()
    let machine = QEMU.Machine(type: "q35", fill: 8, workingSet: 8)
    stores = try TemporaryFolder(.memory(bytes: machine.used << 21))
    (port, disksPort) = (try Sockets.freePort(), try Sockets.freePort())
    for name in ["a", "b", "disk0", "disk1"] {
      try Data().write(to: URL(filePath: folder(name)))
      truncate(folder(name), off_t(Self.diskSize))
    }
    var arguments: [String] = []
    for (index, image) in ["a", "b"].enumerated() {
      var file = "file.driver=file,file.filename=\(folder(image))"
      if index == 0, let badBlock {
        // What is a hole nobody reads.
        let block = Data(repeating: 1, count: 64 << 10)
        try (Data(count: Self.badOffset) + block).write(to: URL(filePath: folder(image)))
        truncate(folder(image), off_t(Self.diskSize))
        file =
          "file.driver=blkdebug,file.image.driver=file,file.image.filename=\(folder(image)),"
          + "file.inject-error.0.event=none,file.inject-error.0.iotype=read,"
          + "file.inject-error.0.sector=\(Self.badOffset / 512),"
          + "file.inject-error.0.once=\(badBlock == .once ? "on" : "off")"
      }
      arguments += [
        "-blockdev", "driver=raw,node-name=disk\(index),\(file)",
        "-device", "virtio-blk-pci,drive=disk\(index),id=vd\(index)",
      ]
    }
    arguments += ["-netdev", "user,id=hn0", "-device", "virtio-net-pci,netdev=hn0,id=nic0"]
    for name in ["protect", "oob"] {
      arguments += ["-qmp", "unix:\(folder(name)),server=on,wait=off"]
    }
    qemu = try QEMU(.v111, machine, arguments: arguments)
  }

  /// The store of the standby that was started last.
  var store: String { stores("store\(number)") }

  /// Starts a standby, the first or the next.
  func standby(_ arguments: [String] = []) throws -> MultiFDProcess {
    number += 1
    let standby = try MultiFDProcess(
      [
        "receive", "--colo", "--listen", "tcp:\(host):\(port)", "--store",
        store, "--disks", "tcp:\(host == "127.0.0.1" ? "0.0.0.0" : host):\(disksPort)",
        "--insecure", "--disk",
        "disk0=\(folder("disk0"))", "--disk", "disk1=\(folder("disk1"))", "--json", "--progress",
        "none",
      ] + arguments)
    _ = try standby.waitListening()
    return standby
  }

  /// A monitor behind a command, as `virsh qemu-monitor-command` is one.
  func command() throws -> String {
    let script = """
      import json, socket, sys
      monitor = socket.socket(socket.AF_UNIX)
      monitor.connect("\(folder("protect"))")
      lines = monitor.makefile()
      lines.readline()
      for word in ['{"execute":"qmp_capabilities"}', sys.argv[1]]:
        monitor.sendall((word + "\\n").encode())
        answer = {}
        while "return" not in answer and "error" not in answer: answer = json.loads(lines.readline())
      print(json.dumps(answer))
      """
    let path = folder("monitor.py")
    try script.write(toFile: path, atomically: true, encoding: .utf8)
    return "exec:python3 \(path)"
  }

  /// Starts a protect.
  ///
  /// - Parameters:
  ///   - proxy: the port of one in front of the standby.
  ///   - monitor: how it reaches the guest's; nil: by a socket.
  func protect(
    _ arguments: [String], through proxy: Int? = nil, monitor: String? = nil
  ) throws -> MultiFDProcess {
    try MultiFDProcess(
      [
        "protect", "--qmp", monitor ?? folder("protect"), "--standby",
        "tcp:\(host):\(proxy ?? port)", "--all-disks",
        "--json", "--patience", "4",
      ] + arguments)
  }

  /// Waits until it says, in a line of its own, that things stand so.
  ///
  /// - Parameter start: the place in its lines from which on that counts.
  @discardableResult
  static func wait(
    _ protect: MultiFDProcess, from start: Int = 0, _ what: String,
    _ isSo: @escaping (JSON) -> Bool
  ) throws -> JSON {
    let found = protect.process.output.wait(.seconds(60)) { line -> JSON? in
      guard line.index >= start, let value = try? JSON(parsing: line.text.utf8), isSo(value) else {
        return nil
      }
      return value
    }
    guard let found else {
      throw LabError(
        "no \(what): \(protect.process.output.text.suffix(300)) "
          + "\(protect.process.errors.text.suffix(600))")
    }
    return found
  }

  /// Waits until the guest is protected, and two checkpoints more than it was.
  static func waitProtected(_ protect: MultiFDProcess) throws {
    let start = protect.process.output.lines.count
    var first: Int?
    try wait(protect, from: start, "checkpoints") { line in
      guard line["state"].string == "protected", let number = line["checkpoint"].int else {
        return false
      }
      if first == nil { first = number }
      return number >= (first ?? 0) + 2
    }
  }

  /// Writes a pattern to a disk, as its guest would; returns when QEMU has told the guest.
  ///
  /// - Parameter waits: else it returns as soon as the write is begun.
  func write(_ disk: Int, _ pattern: Int, at offset: String, waits: Bool = true) throws {
    try awaitCheckpoint()
    let write = waits ? "write" : "aio_write"
    let line = "qemu-io -d vd\(disk)/virtio-backend \"\(write) -P \(pattern) \(offset) 64k\""
    let said = try qemu.qmp.execute("human-monitor-command", ["command-line": .string(line)])
    guard said.string?.contains("wrote") ?? false || said.string?.isEmpty ?? false else {
      throw LabError("the write has failed: \(said.text)")
    }
  }

  /// Waits until a checkpoint is done, where there are any: a guest that stands still for one writes
  /// nothing, and a standby holds it against its primary if it seems to.
  private func awaitCheckpoint() throws {
    guard try qemu.qmp.execute("query-migrate")["status"].string == "colo" else { return }
    let deadline = ContinuousClock.now + .seconds(1)
    var hasStood = false
    while ContinuousClock.now < deadline {
      let runs = try qemu.status() == "running"
      if runs, hasStood { return }
      hasStood = !runs
      usleep(200)
    }
  }

  /// The byte at an offset of an image.
  func byte(_ image: String, at offset: Int) throws -> Int {
    let file = try FileHandle(forReadingFrom: URL(filePath: folder(image)))
    defer { try? file.close() }
    try file.seek(toOffset: UInt64(offset))
    return Int(try #require(try file.read(upToCount: 1)?.first))
  }

  /// Names of what a protect has put into the primary, and that are there.
  func leftovers() throws -> [String] {
    var names: [String?] = []
    let nodes = try qemu.qmp.execute("query-named-block-nodes", ["flat": true])
    names += nodes.elements.map { $0["node-name"].string }
    names += try qemu.qmp.execute("query-block-jobs").elements.map { $0["device"].string }
    names += try qemu.qmp.execute("query-chardev").elements.map { $0["label"].string }
    let objects = try qemu.qmp.execute("qom-list", ["path": "/objects"])
    names += objects.elements.map { $0["name"].string }
    return names.compactMap(\.self).filter {
      $0.hasPrefix("mf-") || $0.hasPrefix("multifd-packets-")
    }
  }

  /// Whether a capability of its migrations is on.
  func capability(_ name: String) throws -> Bool? {
    try qemu.qmp.execute("query-migrate-capabilities").elements
      .first { $0["capability"].string == name }?["state"].bool
  }
}
