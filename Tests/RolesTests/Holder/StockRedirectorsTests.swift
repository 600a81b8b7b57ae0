import Foundation
import Migration
import Roles
import TestSupport
import Testing

/// The holder between the redirectors of stock QEMUs.
@Suite("Redirectors of stock QEMUs", .serialized, .beside)
struct StockRedirectorsTests {
  static let versions = QEMUVersion.allCases.filter { version in
    version.unavailable?.announce("redirectors of QEMU \(version)")
    return version.unavailable == nil
  }

  @Test("Nothing leaves before its checkpoint, all of it afterwards", arguments: versions)
  func held(version: QEMUVersion) throws {
    let qemu = try StockInterface(version)
    try qemu.announce(5)
    #expect(qemu.take(5).count == 5)
    let pair = Redirectors(net: "net0", number: 1, folder: qemu.folder.path)
    let holder = try put(pair, in: qemu)
    defer { holder.end() }
    try qemu.announce(5)
    #expect(eventually(within: .seconds(20)) { holder.counts.held == 5 } && qemu.isSilent)
    holder.mark(1)
    try qemu.announce(3)
    #expect(eventually(within: .seconds(20)) { holder.counts.held == 8 })
    holder.release(1)
    let packets = qemu.take(5)
    #expect(packets.count == 5 && qemu.isSilent)
    // An announcement: RARP, from the guest's address.
    #expect(
      packets.allSatisfy { $0.count == 60 && $0[6..<14] == [0x52, 0x54, 0, 0, 0, 2, 0x80, 0x35] })

    try qemu.run(pair.release)
    holder.letThrough()
    #expect(holder.settle(within: 10))
    try qemu.run(pair.rest)
    #expect(qemu.take(3).count == 3)
    try qemu.announce(4)
    #expect(qemu.take(4).count == 4)
    #expect(try qemu.objects().allSatisfy { !$0.contains("multifd") })
    #expect(try qemu.chardevs().allSatisfy { !$0.contains("multifd") })
  }

  @Test("What a dead holder has left is followed by another pair", arguments: versions)
  func successor(version: QEMUVersion) throws {
    let qemu = try StockInterface(version)
    let dead = Redirectors(net: "net0", number: 1, folder: qemu.folder.path)
    let first = try put(dead, in: qemu)
    try qemu.announce(2)
    #expect(eventually(within: .seconds(20)) { first.counts.held == 2 })
    first.end()
    // Nobody hears it, and QEMU lives.
    try qemu.announce(2)
    #expect(qemu.isSilent)

    let number = Redirectors.nextNumber(try qemu.objects() + qemu.chardevs())
    #expect(number == 2)
    let pair = Redirectors(net: "net0", number: number, folder: qemu.folder.path)
    let holder = try put(pair, in: qemu)
    defer { holder.end() }
    try qemu.announce(3)
    try qemu.run(
      Redirectors.leftovers(objects: qemu.objects(), chardevs: qemu.chardevs(), but: [number]))
    #expect(eventually(within: .seconds(20)) { holder.counts.held == 3 } && qemu.isSilent)
    holder.mark(1)
    holder.release(1)
    #expect(qemu.take(3).count == 3 && qemu.isSilent)
    #expect(
      try Redirectors.leftovers(objects: qemu.objects(), chardevs: qemu.chardevs()).count == 4)
  }

  @Test("Packets of a guest that is paused leave when it goes on", arguments: versions)
  func paused(version: QEMUVersion) throws {
    let qemu = try StockInterface(version)
    let holder = try put(Redirectors(net: "net0", number: 1, folder: qemu.folder.path), in: qemu)
    defer { holder.end() }
    try qemu.announce(5)
    #expect(eventually(within: .seconds(20)) { holder.counts.held == 5 })
    try qemu.qmp.execute("stop")
    holder.mark(1)
    holder.release(1)
    #expect(holder.settle(within: 10) && qemu.isSilent)
    try qemu.qmp.execute("cont")
    #expect(qemu.take(5).count == 5)
  }

  @Test(
    "A netdev that is not there is refused, and nothing is left of the pair", arguments: versions)
  func refused(version: QEMUVersion) throws {
    let qemu = try StockInterface(version)
    let pair = Redirectors(net: "net1", number: 1, folder: qemu.folder.path)
    #expect(throws: (any Error).self) { try put(pair, in: qemu) }
    for command in pair.release + pair.rest { try? qemu.run([command]) }
    #expect(try Redirectors.leftovers(objects: qemu.objects(), chardevs: qemu.chardevs()).isEmpty)
  }

  private func put(_ pair: Redirectors, in qemu: StockInterface) throws -> PacketHolder {
    try qemu.run(pair.sockets)
    let holder = try PacketHolder(from: pair.from, to: pair.to)
    do { try qemu.run(pair.filters) } catch {
      holder.end()
      throw error
    }
    return holder
  }
}
