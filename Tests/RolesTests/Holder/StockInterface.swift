import Foundation
import Roles
import TestSupport

/// A stock QEMU with an interface whose network is a socket of ours. No guest is needed: QEMU sends
/// announcements in its name, and filters take them for the guest's.
final class StockInterface {
  /// Its monitor.
  let qmp: QMPClient
  /// For the sockets of redirectors.
  let folder: TemporaryFolder
  private let process: ChildProcess
  private let wire: Int32

  /// Starts it.
  init(_ version: QEMUVersion) throws {
    let folder = try TemporaryFolder()
    self.folder = folder
    let wire = try Self.datagrams(folder("wire"))
    self.wire = wire
    let process = try ChildProcess(
      version.command([
        "-machine", version.machine(with: version), "-accel", "tcg", "-m", "64M", "-nodefaults",
        "-no-user-config", "-display", "none", "-qmp", "unix:\(folder("qmp")),server=on,wait=off",
        "-netdev",
        "dgram,id=net0,local.type=unix,local.path=\(folder("qemu")),remote.type=unix,"
          + "remote.path=\(folder("wire"))",
        "-device", "virtio-net-pci,netdev=net0,mac=52:54:00:00:00:02",
      ]))
    self.process = process
    do { qmp = try QMPClient(path: folder("qmp")) { process.isRunning } } catch {
      process.kill()
      close(wire)
      throw LabError("\(error) \(process.errors.text)")
    }
  }

  deinit {
    process.kill()
    close(wire)
  }

  /// What it has complained of.
  var complaints: String { process.errors.text }

  /// Tells it.
  func run(_ commands: [Redirectors.Command]) throws {
    for command in commands {
      let data = try JSONSerialization.data(withJSONObject: command.arguments)
      try qmp.execute(command.name, JSON(parsing: data))
    }
  }

  /// Names of its objects.
  func objects() throws -> [String] {
    try names("qom-list", "name", .object(["path": .string("/objects")]))
  }

  /// Labels of its chardevs.
  func chardevs() throws -> [String] { try names("query-chardev", "label") }

  private func names(_ command: String, _ key: String, _ arguments: JSON = .null) throws -> [String]
  {
    guard case .array(let list) = try qmp.execute(command, arguments) else { return [] }
    return list.compactMap { $0[key].string }
  }

  /// Has it send packets, a millisecond or so apart.
  func announce(_ count: Int) throws {
    let number: (Int) -> JSON = { .integer(Int64($0)) }
    try qmp.execute(
      "announce-self",
      .object(["initial": number(1), "max": number(1), "rounds": number(count), "step": number(0)]))
  }

  /// Packets that have come out by now, or within `seconds` if there are to be some: their bytes.
  func take(_ count: Int, within seconds: Double = 10) -> [[UInt8]] {
    var packets: [[UInt8]] = []
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    let end = ContinuousClock.now + .seconds(seconds)
    while packets.count < count {
      var entry = pollfd(fd: wire, events: Int16(POLLIN), revents: 0)
      let left = max(0, (end - .now) / .milliseconds(1))
      guard poll(&entry, 1, Int32(left)) > 0 else { break }
      packets.append(Array(buffer[..<Sockets.read(wire, &buffer)]))
    }
    return packets
  }

  /// A socket for datagrams at a path, where nothing is yet.
  private static func datagrams(_ path: String) throws -> Int32 {
    let kind = Int32(bitPattern: SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue)
    let descriptor = socket(AF_UNIX, kind, 0)
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    // A temporary folder's paths are short enough, and the rest of the address is zero.
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
    let size = socklen_t(MemoryLayout<sockaddr_un>.size)
    // A sockaddr_un is a sockaddr to the socket calls, and lives as long as this closure.
    let result = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, size) }
    }
    guard result == 0 else { throw LabError("\(path): \(String(cString: strerror(errno)))") }
    return descriptor
  }

  /// Whether nothing comes out for a while.
  var isSilent: Bool { take(1, within: 0.2).isEmpty }
}
