import Migration
import Roles
import Store
import TestSupport
import Testing

/// What becomes of each block of a guest in a QEMU, by what that QEMU's monitor says.
@Suite("A guest's memory and a QEMU's", .beside)
struct MemoryFitTests {
  static let mega: UInt64 = 1 << 20

  /// `info ramblock` of 7.2.22 and of 11.1.3.
  static let printed = [
    """
                  Block Name    PSize              Offset               Used              Total
                          d1    4 KiB  0x0000000008000000 0x0000000010000000 0x0000000010000000
                      pc.ram    4 KiB  0x0000000018000000 0x0000000008000000 0x0000000008000000
        /rom@etc/acpi/tables    4 KiB  0x0000000020080000 0x0000000000020000 0x0000000000200000
             0000:00:01.0/vm    4 KiB  0x0000000000000000 0x0000000010000000 0x0000000010000000
    """,
    "              Block Name    PSize              Offset               Used              Total"
      + "                HVA  RO\r\n"
      + "                      d1    4 KiB  0x0000000008000000 0x0000000010000000 0x0000000010000000"
      + " 0x00007fa8ebc00000  rw\r\n"
      + "                  pc.ram    4 KiB  0x0000000018000000 0x0000000008000000 0x0000000008000000"
      + " 0x00007fa8e3a00000  rw\r\n"
      + "    /rom@etc/acpi/tables    4 KiB  0x0000000020080000 0x0000000000020000 0x0000000000200000"
      + " 0x00007fa948e00000  ro\r\n"
      + "         0000:00:01.0/vm    4 KiB  0x0000000000000000 0x0000000010000000 0x0000000010000000"
      + " 0x00007fa948c00000  rw\r\n",
  ]

  private func fit(
    _ blocks: [(String, UInt64)], mapped: Set<String>, _ ramblock: String = printed[0],
    shared: Set<String> = []
  ) throws(Failure) -> MemoryFit {
    try MemoryFit(
      blocks.map { Manifest.Block(name: $0.0, length: $0.1) }, mapped: mapped, ramblock: ramblock,
      shared: shared)
  }

  @Test("What QEMU prints of its blocks", arguments: printed.indices)
  func sizes(index: Int) {
    #expect(
      MemoryFit.sizes(Self.printed[index]) == [
        "d1": 256 * Self.mega, "pc.ram": 128 * Self.mega, "/rom@etc/acpi/tables": 2 * Self.mega,
        "0000:00:01.0/vm": 256 * Self.mega,
      ])
  }

  @Test("What cannot be understood is not there")
  func tolerant() throws {
    #expect(MemoryFit.sizes("a b 4 KiB 0x0 0x10 0x20 more").keys.sorted() == ["a b"])
    for text in ["", "garbage", "x 4 KiB 0x1 0x2", "4 KiB 0x1 0x2 0x3", "x 4 KiB 0x1 0x2 0xg"] {
      #expect(MemoryFit.sizes(text).isEmpty, "\(text)")
    }
    // A monitor that says nothing is no reason to refuse.
    #expect(try fit([("a", Self.mega)], mapped: ["a"], "").mapped == ["a"])
  }

  @Test("Each block goes its own way; memory of the operator's own is not written yet")
  func ways() throws {
    let blocks = [
      ("d1", 256 * Self.mega), ("pc.ram", 128 * Self.mega), ("0000:00:01.0/vm", 256 * Self.mega),
    ]
    let fit = try fit(blocks, mapped: ["pc.ram"], shared: ["pc.ram", "vm"])
    #expect(fit.mapped == ["pc.ram"] && fit.streamed == ["d1", "0000:00:01.0/vm"])
    #expect(fit.withheld == ["0000:00:01.0/vm"])
  }

  @Test("Memory that the guest has and the QEMU has not: what to change")
  func lacks() throws {
    let dimm = #expect(throws: Failure.self) { try fit([("d", Self.mega)], mapped: []) }
    #expect(dimm?.kind == .failed && dimm?.why.contains("'d' of 1 MiB") == true)
    #expect(dimm?.hint?.contains("pc-dimm,memdev=d") == true)
    let vga = #expect(throws: Failure.self) { try fit([("0:2/vga", 4096)], mapped: []) }
    #expect(vga?.hint?.contains("all devices") == true)
    let larger = #expect(throws: Failure.self) {
      try fit([("pc.ram", 256 * Self.mega)], mapped: ["pc.ram"])
    }
    #expect(larger?.why.contains("256 MiB in the guest and 128 MiB") == true)
  }
}
