import Foundation

/// A primary's disks copied to a standby by QMP, as its operator would: one mirror a disk, which the
/// guest's writes wait for.
public struct MirroredDisks: Sendable {
  private let primary: QEMU
  private let names: [String]
  private let port: Int

  /// Of these nodes, to exports of the same names at a port of 127.0.0.1.
  public init(_ primary: QEMU, _ names: [String], port: Int) {
    self.primary = primary
    self.names = names
    self.port = port
  }

  /// Begins to copy, and waits until whatever the guest writes is written on both sides.
  public func mirror(_ timeout: Duration = .seconds(120)) throws {
    for name in names {
      try primary.qmp.execute(
        "blockdev-add",
        [
          "driver": "nbd", "node-name": .string("standby-" + name), "export": .string(name),
          "server": ["type": "inet", "host": "127.0.0.1", "port": .string("\(port)")],
        ])
      try primary.qmp.execute(
        "blockdev-mirror",
        [
          "job-id": .string("mirror-" + name), "device": .string(name),
          "target": .string("standby-" + name), "sync": "full", "copy-mode": "write-blocking",
          "on-target-error": "stop",
        ])
    }
    let deadline = ContinuousClock.now + timeout
    while try !isSynced() {
      guard ContinuousClock.now < deadline else {
        throw LabError("the disks are not copied within \(timeout): \(try jobs().text)")
      }
      Thread.sleep(forTimeInterval: 0.02)
    }
  }

  private func jobs() throws -> JSON { try primary.qmp.execute("query-block-jobs") }

  private func isSynced() throws -> Bool {
    let jobs = try jobs().elements
    return names.allSatisfy { name in
      jobs.contains {
        $0["device"].string == "mirror-" + name && $0["actively-synced"].bool == true
      }
    }
  }
}
