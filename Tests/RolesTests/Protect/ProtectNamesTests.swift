import Roles
import Testing
import Transport

/// What a protect calls its things, and what it makes of words.
@Suite("A protect's words")
struct ProtectNamesTests {
  @Test("Names that QEMU takes, and that differ where the disks' do")
  func names() {
    let disks = [
      "disk0", "#block117", "libvirt-1-format", "a disk", "a.disk",
      String(repeating: "x", count: 31), String(repeating: "x", count: 32), "",
    ]
    for name in [ProtectNames.target, ProtectNames.filter, { ProtectNames.leg($0, 9999) }] {
      let nodes = disks.map(name)
      #expect(Set(nodes).count == disks.count)
      for node in nodes {
        #expect(node.utf8.count <= 31 && node.hasPrefix(ProtectNames.prefix), "\(node)")
        #expect(
          node.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "-._".contains($0)) })
      }
    }
    #expect(ProtectNames.job("disk0") == "mf-disk0")
    #expect(ProtectNames.target("disk0") == "mf-disk0")
    #expect(ProtectNames.leg("disk0", 3) == "mf-3-disk0")
    #expect(ProtectNames.isLeg("mf-12-disk0", of: "disk0"))
    for node in ["mf-disk0", "mf--disk0", "mf-1-disk01", "mf-x-disk0", "1-disk0", "mf-1-1-disk0"] {
      #expect(!ProtectNames.isLeg(node, of: "disk0"), "\(node)")
    }
  }

  @Test("Intervals")
  func intervals() {
    #expect(CheckpointInterval(parsing: "5ms..10s") == .init(shortest: 5, longest: 10_000))
    #expect(CheckpointInterval(parsing: "200ms") == .init(shortest: 5, longest: 200))
    #expect(CheckpointInterval(parsing: "1s") == .init(shortest: 5, longest: 1000))
    #expect(CheckpointInterval(parsing: "2ms") == .init(shortest: 2, longest: 2))
    for text in [
      "", "5", "ms", "5 ms", "10s..5ms", "5ms..", "..5ms", "1ms..2ms..3ms", "0ms", "-5ms",
    ] {
      #expect(CheckpointInterval(parsing: text) == nil, "\(text)")
    }
  }

  @Test(
    "Where a standby's disks are",
    arguments: [
      ("tcp:0.0.0.0:10809", "tcp:standby:4444", "tcp:standby:10809"),
      ("tcp:[::]:10809", "tcp:[fe80::1]:4444", "tcp:[fe80::1]:10809"),
      ("tcp::10809", "tcp:standby:4444", "tcp:standby:10809"),
      ("tcp:10.0.0.2:10809", "tcp:standby:4444", "tcp:10.0.0.2:10809"),
      ("tcp:0.0.0.0:10809", "unix:/run/standby", "tcp:127.0.0.1:10809"),
      ("unix:/run/disks", "tcp:standby:4444", "unix:/run/disks"),
    ])
  func server(listens: String, standby: String, reached: String) throws {
    let endpoint = try Protector.server(listens, of: Endpoint(parsing: standby))
    #expect(endpoint.description == reached)
  }
}
