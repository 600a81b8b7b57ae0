// Figures: the value that a role publishes, and the ways in which it is told.

import Foundation
import Observe
import Roles

extension RoleStatus {
  /// A standby's, with all that there can be, and names that want care.
  static var example: RoleStatus {
    var status = RoleStatus(.standby, phase: "committed")
    (status.version, status.started, status.updated) = ("0.1.0", 1000, 2000)
    status.machine = #"pc "q35" \ one"#
    (status.ram, status.remaining) = (64 << 20, 9)
    status.backends = ["zstd"]
    status.channels = ["main", "0"].map { id in
      RoleStatus.Channel(
        id: id, received: 1000, sent: 0, payload: 800, packets: 7, normal: 5, duplicate: 3,
        formats: [Format(name: "zstd/1", pages: 5, payload: 800)])
    }
    var checkpoints = RoleStatus.Checkpoints(number: 3, committed: 1990)
    for milliseconds in [1.5, 4, 4, 700] { checkpoints.pause.record(.seconds(milliseconds / 1000)) }
    checkpoints.pages = 42
    status.checkpoints = checkpoints
    status.nets = [RoleStatus.Net(id: "n\n0", held: 1, bytes: 60, released: 9, dropped: 0)]
    status.failoverReady = true
    status.strangers = 2
    return status
  }

  /// One that has everything that any role has.
  static var whole: RoleStatus {
    get throws {
      var status = example
      status.disks = try JSONDecoder().decode(
        [DiskReport].self,
        from: Data(
          """
          [{"name": "disk0", "size": 8, "state": "synced", "covered": 8, "connected": true, "epoch": 0, "epoch-bytes": 0,
            "backlog": 0, "requests": 1}]
          """.utf8))
      status.losses = 1
      return status
    }
  }
}
