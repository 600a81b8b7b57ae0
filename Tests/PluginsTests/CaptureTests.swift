import Foundation
import PluginAPI
import Testing

/// Streams that stock QEMUs wrote, decoded by the backends.
@Suite struct CaptureTests {
  /// A page of a guest.
  private struct Place: Hashable {
    let block: String
    let offset: UInt64
  }

  /// Sessions that differ in the method only, three of each QEMU: raw, then compressed.
  static let families = ["72", "100", "111"].map { version in
    ["none", "zlib", "zstd"].map { "bios-\(version)-\($0)-2ch" }
  }

  /// More compressed sessions: full packets of incompressible pages, and COLO checkpoints. With the
  /// number of pages in their headers.
  static let others = [
    ("bios-100-q35-72-zstd-2ch", 1936), ("bios-111-q35-72-zstd-2ch", 1818),
    ("bios-colo-111-zlib-2ch", 135), ("bios-colo-111-zstd-2ch", 139),
  ]

  private func backends(_ method: UInt32) -> [Backend] {
    Backend.names.map { Backend.named($0) }.filter { $0.methods.pointee.qemu_method == method }
  }

  /// Decodes all channels of a session, with every backend of its method, which agree; returns the
  /// guest's pages, and how many were decoded.
  private func decode(_ session: String) throws -> (pages: [Place: [UInt8]], count: Int) {
    var pages: [Place: [UInt8]] = [:]
    var count = 0
    for number in 1...2 {
      let packets = try RecordedChannel(session: session, number: number).packets
        .filter { !$0.offsets.isEmpty }
      let receivers = backends(packets[0].method).map { RecvChannel($0) }
      for (index, packet) in packets.enumerated() {
        // The block is as large as the guest's; the packet's pages land one after the other.
        let target = GuardedMemory(packet.offsets.count * 4096)
        let places = packet.offsets.indices.map { UInt64($0 * 4096) }
        for recv in receivers {
          let own = recv === receivers[0] ? target : GuardedMemory(target.size)
          let status = recv.receive(packet.payload, own, places)
          #expect(status == MULTIFD_OK, "\(session) channel \(number) packet \(index)")
          #expect(own.equals(target), "\(session) channel \(number) packet \(index)")
        }
        for (place, offset) in zip(places, packet.offsets) {
          let page = UnsafeRawBufferPointer(start: target.base + Int(place), count: 4096)
          pages[Place(block: packet.block, offset: offset)] = Array(page)
        }
        count += places.count
      }
    }
    return (pages, count)
  }

  @Test("a guest's ROM is the same whichever way it was sent", arguments: families)
  func sameGuest(sessions: [String]) throws {
    let guests = try sessions.map { try decode($0).pages }
    let plain = guests[0]
    for (session, guest) in zip(sessions, guests).dropFirst() {
      let rom = guest.filter { $0.key.block != "pc.ram" }
      #expect(rom.count >= 49)
      for (place, page) in rom { #expect(plain[place] == page, "\(session): \(place)") }
      // The guests are of different runs, but the BIOS leaves most of their RAM alike.
      let ram = guest.filter { $0.key.block == "pc.ram" && plain[$0.key] == $0.value }
      #expect(ram.count >= 50, "\(session): \(ram.count) pages of RAM are equal")
    }
  }

  @Test("every packet yields exactly its pages", arguments: others)
  func decodes(session: String, pages: Int) throws {
    #expect(try decode(session).count == pages)
  }

  @Test("a guest's pages survive every backend", arguments: Variant.all)
  func reencoded(variant: Variant) throws {
    let guest = try decode("bios-111-q35-72-zstd-2ch").pages.values.map { $0 }
    let send = SendChannel(variant.backend, variant.options)
    let recv = RecvChannel(variant.backend, variant.options)
    for start in stride(from: 0, to: guest.count, by: 128) {
      let pages = guest[start..<min(start + 128, guest.count)]
      let ram = GuardedMemory(pages.count * 4096)
      for (index, page) in pages.enumerated() {
        page.withUnsafeBytes {
          (ram.base + index * 4096).copyMemory(from: $0.baseAddress!, byteCount: 4096)
        }
      }
      let offsets = (0..<pages.count).map { UInt64($0 * 4096) }
      let target = GuardedMemory(ram.size)
      #expect(recv.receive(send.prepare(ram, offsets).payload, target, offsets) == MULTIFD_OK)
      #expect(target.equals(ram))
    }
  }
}
