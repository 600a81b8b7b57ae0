import Foundation
import Roles
import Store
import TestSupport
import Testing

/// What the monitors of stock QEMUs print, as recorded in `Tests/Fixtures/monitor`.
@Suite("Where a QEMU has its RAM blocks")
struct MemoryTreeTests {
  static let mega: UInt64 = 1 << 20

  /// Both texts of one QEMU: the tree begins at the first address space.
  private func tree(_ name: String) throws -> MemoryTree {
    let file = Fixtures.folder.appending(path: "monitor/\(name).txt")
    let text = try String(contentsOf: file, encoding: .utf8)
    let start = try #require(text.range(of: "address-space: ")?.lowerBound)
    return MemoryTree(ramblock: String(text[..<start]), mtree: String(text[start...]))
  }

  @Test("Two DIMMs lie one behind the other in their region", arguments: ["72", "100", "111"])
  func dimms(version: String) throws {
    let tree = try tree(version + "-dimms")
    #expect(tree.blocks.prefix(3).map(\.name).sorted() == ["d0", "d1", "pc.ram"])
    let tables = tree.blocks.first { $0.name == "/rom@etc/acpi/tables" }
    #expect(tables?.size == 2 * Self.mega)
    #expect(tree.address(of: "d0", size: 128 * Self.mega) == 0)
    #expect(tree.address(of: "d1", size: 256 * Self.mega) == 128 * Self.mega)
    #expect(tree.address(of: "pc.ram", size: 128 * Self.mega) == 0)
    // Seen through its alias too, at the end of the first 4 GiB.
    #expect(tree.address(of: "d1", size: 1) == nil)
    #expect(tree.address(of: "nothing", size: 1) == nil)
  }

  @Test("NUMA nodes lie in the machine's memory", arguments: ["72", "100", "111"])
  func numa(version: String) throws {
    let tree = try tree(version + "-numa")
    #expect(tree.address(of: "n0", size: 64 * Self.mega) == 0)
    #expect(tree.address(of: "n1", size: 192 * Self.mega) == 64 * Self.mega)
  }

  @Test(
    "aarch64's memory begins at 1 GiB; an old machine type; an nvdimm seen through an alias only")
  func others() throws {
    #expect(try tree("72-virt").address(of: "mach-virt.ram", size: 128 * Self.mega) == 1 << 30)
    #expect(try tree("72-old").address(of: "d0", size: 128 * Self.mega) == 0)
    #expect(try tree("72-nvdimm").address(of: "nv", size: 64 * Self.mega) == 0)
  }

  @Test("What cannot be understood, or is said in two ways, is not there")
  func tolerant() {
    func address(_ mtree: String) -> UInt64? {
      MemoryTree(ramblock: "", mtree: mtree).address(of: "a", size: 16)
    }
    #expect(address("r\n  0000-ffff (prio 0, i/o): s\n    0100-010f (prio 0, ram): a") == 0x100)
    #expect(address("r\r\n  0010-001f (prio -1, ram): a [disabled]\r\n") == 0x10)
    for text in [
      "", "a", "  (prio 0, ram): a", "  00-0f: a", "  0f-00 (prio 0, ram): a",
      "  xx-yy (prio 0, ram): a", "  00-0f (prio 0, rom): a", "  00-0f (prio 0, ram): alias a @b",
      // The region around it was not printed.
      "  0000-ffff (prio 0, i/o): s\n      0100-010f (prio 0, ram): a",
      "r\n  00-0f (prio 0, ram): a\nr\n  10-1f (prio 0, ram): a",
    ] {
      #expect(address(text) == nil, "\(text)")
    }
    #expect(
      MemoryTree(ramblock: "\u{1b}[K garbage 0x1 0x2\nx 4 KiB 0x1 0x2", mtree: "").blocks.isEmpty)
  }

  private func fit(
    _ blocks: [(String, UInt64)], mapped: Set<String>, _ ramblock: String, _ mtree: String,
    _ backends: [MemoryFit.Backend] = []
  ) throws(Failure) -> MemoryFit {
    try MemoryFit(
      blocks.map { Manifest.Block(name: $0.0, length: $0.1) }, mapped: mapped,
      tree: MemoryTree(ramblock: ramblock, mtree: mtree), backends: backends)
  }

  private let ram = "  a 4 KiB 0x0 0x100000 0x100000\n  0:1/b c 4 KiB 0x0 0x100000 0x200000\n"
  private let at = "r\n  00100000-001fffff (prio 0, ram): a\n"

  @Test("Each block goes its own way, in the stream's order")
  func ways() throws {
    let blocks = [("0:1/b c", Self.mega), ("a", Self.mega)]
    let both = try fit(blocks, mapped: ["a"], ram, at)
    #expect(both.mapped == ["a"] && both.streamed == ["0:1/b c"])
    #expect(both.addresses == [0, Self.mega] && both.withheld.isEmpty)
    // Without an address, or with shared memory of the operator's own, QEMU is not told of shared memory.
    #expect(try fit(blocks, mapped: ["a"], ram, "").addresses == nil)
    let own = try fit(blocks, mapped: ["a"], ram, at, [.init(id: "b c", isShared: true)])
    #expect(own.addresses == nil && own.withheld == ["0:1/b c"])
    let still = try fit(blocks, mapped: ["a"], ram, at, [.init(id: "a", isShared: true)])
    #expect(still.addresses != nil && still.withheld.isEmpty)
    #expect(try fit(blocks, mapped: [], ram, at).addresses == nil)
    // A monitor that says nothing is no reason.
    #expect(try fit(blocks, mapped: ["a"], "", "").mapped == ["a"])
  }

  @Test("Memory that the guest has and the QEMU has not: what to change")
  func lacks() throws {
    let dimm = #expect(throws: Failure.self) {
      try fit([("d", Self.mega)], mapped: [], ram, at)
    }
    #expect(dimm?.exit == .failed && dimm?.why.contains("'d' of 1 MiB") == true)
    #expect(dimm?.hint?.contains("pc-dimm,memdev=d") == true)
    let vga = #expect(throws: Failure.self) {
      try fit([("0:2/vga", 4096)], mapped: [], ram, at)
    }
    #expect(vga?.hint?.contains("all devices") == true)
    let larger = #expect(throws: Failure.self) {
      try fit([("a", 2 * Self.mega)], mapped: ["a"], ram, at)
    }
    #expect(larger?.why.contains("2 MiB in the guest and 1 MiB") == true)
  }
}
