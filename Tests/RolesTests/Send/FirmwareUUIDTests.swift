import Foundation
import Roles
import SessionReplay
import TestSupport
import Testing
import Wire

@Suite("The UUID of a guest that came in without multifd", .beside)
struct FirmwareUUIDTests {
  private static let uuid = "10213243-5465-7687-98a9-bacbdcedfe0f"

  /// What the channels say of a guest whose firmware's tables have been changed.
  private func sent(
    _ name: String, _ change: (inout [UInt8], _ entry: Int, _ table: Int) -> Void
  ) throws -> String? {
    let held = try HeldSession(name)
    let path = held.path + "/ram/pc.ram"
    var ram = [UInt8](try Data(contentsOf: URL(filePath: path)))
    let entry = try #require(
      stride(from: 0xf0000, to: 0x100000, by: 16).first {
        ram[$0..<$0 + 4].elementsEqual("_SM_".utf8)
      }, "SeaBIOS has left no entry point")
    let table = (24..<28).reversed().reduce(0) { $0 << 8 | Int(ram[entry + $1]) }
    change(&ram, entry, table)
    // In place: another file would have other holes.
    let file = try FileHandle(forWritingTo: URL(filePath: path))
    let first = min(entry, table) & ~4095
    try file.seek(toOffset: UInt64(first))
    try file.write(contentsOf: ram[first..<first + 0x10000].prefix(0x100000 - first))
    try file.close()
    let destination = try FakeDestination(channels: 1)
    let result = SendTests.send(held, to: destination) { $0.channels = 1 }
    let heard = destination.end()
    _ = try result.get()
    return VMUUID(bytes: heard[1][8..<24])?.description
  }

  /// Writes it where QEMU has it: the first three fields little-endian.
  private func put(_ ram: inout [UInt8], _ table: Int) {
    var at = table
    while ram[at] != 1 {
      at += Int(ram[at + 1])
      while ram[at] != 0 || ram[at + 1] != 0 { at += 1 }
      at += 2
    }
    let bytes = VMUUID(Self.uuid)!.bytes
    for (index, from) in ([3, 2, 1, 0, 5, 4, 7, 6] + Array(8..<16)).enumerated() {
      ram[at + 8 + index] = bytes[from]
    }
  }

  @Test("is what its firmware shows it", arguments: ["bios-100-main-only", "bios-72-main-only"])
  func found(name: String) throws {
    #expect(try sent(name) { ram, _, table in put(&ram, table) } == Self.uuid)
    #expect(try sent(name) { _, _, _ in } == VMUUID.zero.description, "-uuid was not given")
  }

  @Test("is not taken from tables that cannot be")
  func damaged() throws {
    let none = VMUUID.zero.description
    let name = "bios-100-main-only"
    let sum = try sent(name) { ram, entry, table in
      put(&ram, table)
      ram[entry + 8] &+= 1
    }
    #expect(sum == none)
    let outside = try sent(name) { ram, entry, table in
      put(&ram, table)
      // A table at the end of 4 GiB, with a checksum that fits.
      let old = (24..<28).reduce(UInt8(0)) { $0 &+ ram[entry + $1] }
      for index in 24..<28 { ram[entry + index] = 0xff }
      ram[entry + 4] &+= old &- UInt8(truncatingIfNeeded: 4 * 0xff)
    }
    #expect(outside == none)
  }
}
