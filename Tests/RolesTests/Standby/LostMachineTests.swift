import Foundation
import SessionReplay
import TestSupport
import Testing

/// A network namespace with a cable to this one, for a peer that is to vanish without a word.
struct Cable: ~Copyable {
  private static let ip = ["/usr/sbin/ip", "/sbin/ip", "/usr/bin/ip", "/bin/ip"]
    .first { FileManager.default.isExecutableFile(atPath: $0) }
  private let name = "mfd-\(getpid())"
  private var link: String { "mfd\(getpid())" }
  /// The address at the far end.
  let address = "10.213.\(getpid() % 250).2"

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
  "The primary's machine loses power", .serialized,
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
}
