import Foundation
import PluginAPI
import Testing

/// Payloads that no honest peer sends. Every block has guard pages, every status a reason.
@Suite struct HostileTests {
  private let packets = Packets(pageCount: 8)

  /// Two packets of one channel: pages that compress, then pages of every kind.
  private func twoPackets(_ variant: Variant) -> (GuardedMemory, [([UInt64], [UInt8])]) {
    let ram = makeRAM(.text, pages: 8, pageSize: 4096, seed: 30)
    var random = Seeded(31)
    Content.random.fill(ram.base + 5 * 4096, 512, &random)
    Content.zero.fill(ram.base + 6 * 4096, 2048, &random)
    let send = SendChannel(variant.backend, variant.options, packets)
    let lists: [[UInt64]] = [[0], [5 * 4096, 6 * 4096]]
    return (ram, lists.map { ($0, send.prepare(ram, $0).payload) })
  }

  @Test("a payload cut at every byte", arguments: Variant.all)
  func truncated(variant: Variant) {
    let (ram, sent) = twoPackets(variant)
    let target = GuardedMemory(ram.size)
    var harmless = 0
    for number in 0...1 {
      let (offsets, payload) = sent[number]
      for cut in 0..<payload.count {
        let recv = RecvChannel(variant.backend, variant.options, packets)
        if number == 1 {
          demand(recv.receive(sent[0].1, target, sent[0].0) == MULTIFD_OK, "packet 0")
        }
        memset(target.base, 0xa5, target.size)
        switch recv.receive(Array(payload[..<cut]), target, offsets) {
        case MULTIFD_ERROR_CORRUPT: break
        case MULTIFD_OK where target.equals(expectation(ram, offsets, pageSize: 4096)):
          // What is missing carried nothing: an empty block behind the last page.
          harmless += 1
        case let status: Issue.record("cut at \(cut) of \(payload.count): \(status)")
        }
      }
    }
    #expect(harmless <= 2, "only zlib's flush marker can be cut off whole")
  }

  @Test("a connection that ends at every 16th byte", arguments: Variant.all)
  func disconnected(variant: Variant) {
    let (ram, sent) = twoPackets(variant)
    let (offsets, payload) = sent[0]
    for cut in stride(from: 0, to: payload.count, by: 16) {
      let recv = RecvChannel(variant.backend, variant.options, packets)
      let status = recv.receive(
        Array(payload[..<cut]), announced: payload.count, GuardedMemory(ram.size), offsets)
      #expect(status == MULTIFD_ERROR_CHANNEL, "cut at \(cut)")
    }
  }

  @Test("a payload with something behind it", arguments: Variant.all)
  func surplus(variant: Variant) {
    let (ram, sent) = twoPackets(variant)
    let (offsets, payload) = sent[0]
    for tail in [[0], [1, 2, 3], [UInt8](repeating: 0, count: 4096), sent[1].1, payload] {
      let recv = RecvChannel(variant.backend, variant.options, packets)
      let status = recv.receive(payload + tail, GuardedMemory(ram.size), offsets)
      #expect(status == MULTIFD_ERROR_CORRUPT, "\(tail.count) bytes more")
    }
  }

  @Test("a payload for fewer or more pages", arguments: Variant.all)
  func otherPageCount(variant: Variant) {
    let (ram, sent) = twoPackets(variant)
    for offsets: [UInt64] in [[], [0, 4096], [0, 4096, 8192], (0..<8).map { $0 * 4096 }] {
      let recv = RecvChannel(variant.backend, variant.options, packets)
      let target = GuardedMemory(ram.size)
      #expect(recv.receive(sent[0].1, target, offsets) == MULTIFD_ERROR_CORRUPT)
      let untouched = UnsafeRawBufferPointer(
        start: target.base + offsets.count * 4096,
        count: ram.size - offsets.count * 4096)
      #expect(untouched.allSatisfy { $0 == 0xa5 })
    }
  }

  @Test("flipped bits", arguments: Variant.all)
  func flipped(variant: Variant) {
    let (ram, sent) = twoPackets(variant)
    var random = Seeded(32)
    for round in 0..<1000 {
      let recv = RecvChannel(variant.backend, variant.options, packets)
      let target = GuardedMemory(ram.size)
      var spoiled = sent.map(\.1)
      for _ in 0...Int.random(in: 0..<3, using: &random) {
        let number = Int.random(in: 0...1, using: &random)
        let at = Int.random(in: 0..<spoiled[number].count, using: &random)
        spoiled[number][at] ^= 1 << UInt8.random(in: 0..<8, using: &random)
      }
      for number in 0...1 {
        let status = recv.receive(spoiled[number], target, sent[number].0)
        guard status == MULTIFD_OK else {
          #expect(status == MULTIFD_ERROR_CORRUPT, "round \(round)")
          break
        }
      }
      // Whatever happened: pages 1 to 4 and 7 belong to neither packet.
      for page in [1, 2, 3, 4, 7] {
        let bytes = UnsafeRawBufferPointer(start: target.base + page * 4096, count: 4096)
        #expect(bytes.allSatisfy { $0 == 0xa5 }, "round \(round) wrote to page \(page)")
      }
    }
  }

  @Test("noise of any length", arguments: Variant.all)
  func noise(variant: Variant) {
    var random = Seeded(33)
    let lengths = [0, 1, 2, 3, 4, 5, 8, 9, 12, 100, 4095, 4097, 5000, 8191, 8193, 20000]
    for length in lengths + lengths {
      let payload = (0..<length).map { _ in UInt8.random(in: 0...255, using: &random) }
      let recv = RecvChannel(variant.backend, variant.options, packets)
      let status = recv.receive(payload, GuardedMemory(8 * 4096), [0, 4096])
      #expect(status == MULTIFD_ERROR_CORRUPT, "\(length) bytes of noise")
    }
  }

  @Test("a size that no payload has", arguments: Variant.all)
  func oversized(variant: Variant) {
    let recv = RecvChannel(variant.backend, variant.options, packets)
    for announced in [variant.backend.bound(4096, 8) + 1, 1 << 20, Int(Int32.max), Int(UInt32.max)]
    {
      let status = recv.receive([], announced: announced, GuardedMemory(8 * 4096), [0])
      #expect(status == MULTIFD_ERROR_CORRUPT)
    }
  }

  @Test("a packet that claims more pages than a packet has", arguments: Variant.all)
  func tooManyPages(variant: Variant) {
    let recv = RecvChannel(variant.backend, variant.options, packets)
    let offsets = [UInt64](repeating: 0, count: 9)
    let status = recv.receive([UInt8](repeating: 0, count: 9 * 4096), GuardedMemory(4096), offsets)
    #expect(status == MULTIFD_ERROR_INTERNAL || status == MULTIFD_ERROR_CORRUPT)
  }
}
