import Foundation
import PluginAPI
import Testing

/// Pages come out as they went in, in every shape of packet.
@Suite struct RoundtripTests {
  /// Sends packets with the given numbers of pages through one channel and compares the whole block
  /// after each: the pages arrived, and nothing else was written.
  private func roundtrip(
    _ variant: Variant, _ content: Content, _ packets: Packets, counts: [Int], seed: UInt64
  ) {
    let backend = variant.backend
    let pages = packets.pageCount + 16
    let size = packets.pageSize
    let ram = makeRAM(content, pages: pages, pageSize: size, seed: seed)
    let target = GuardedMemory(ram.size)
    let send = SendChannel(backend, variant.options, packets)
    let recv = RecvChannel(backend, variant.options, packets)
    #expect(send.setupStatus == MULTIFD_OK && recv.setupStatus == MULTIFD_OK)
    var random = Seeded(seed)
    for (number, count) in counts.enumerated() {
      let offsets = pickPages(count, of: pages, pageSize: size, &random)
      let packet = send.prepare(ram, offsets)
      #expect(packet.status == MULTIFD_OK, "packet \(number)")
      memset(target.base, 0xa5, target.size)
      let status = recv.receive(packet.payload, target, offsets)
      #expect(
        status == MULTIFD_OK, "packet \(number): \(recv.host.errorText ?? "no reason") (\(status))")
      #expect(
        target.equals(expectation(ram, offsets, pageSize: size)),
        "packet \(number) of \(count) pages")
    }
  }

  @Test("every number of pages", arguments: Variant.all, Content.allCases)
  func everyCount(variant: Variant, content: Content) {
    let counts = Array(0...16) + [31, 32, 33, 63, 64, 100, 127, 128, 0, 1, 128]
    roundtrip(variant, content, Packets(), counts: counts, seed: 1)
  }

  @Test(
    "bigger pages, bigger packets", arguments: Variant.all,
    [
      Packets(pageSize: 16384, pageCount: 32), Packets(pageSize: 65536, pageCount: 8),
      Packets(pageSize: 65536, pageCount: 128), Packets(pageSize: 1 << 21, pageCount: 3),
      Packets(pageSize: 4096, pageCount: 1000), Packets(pageSize: 4096, pageCount: 1),
    ])
  func shapes(variant: Variant, packets: Packets) {
    let most = packets.pageCount
    let counts = [0, 1, min(2, most), (most + 1) / 2, most]
    roundtrip(variant, .mixed, packets, counts: counts, seed: 2)
  }

  @Test("many packets through one channel", arguments: Variant.all)
  func longStream(variant: Variant) {
    var random = Seeded(3)
    let counts = (0..<300).map { _ in Int.random(in: 0...24, using: &random) }
    roundtrip(variant, .mixed, Packets(), counts: counts, seed: 4)
  }

  @Test("channels do not disturb one another", arguments: Variant.all)
  func concurrentChannels(variant: Variant) async {
    await withTaskGroup(of: Void.self) { group in
      for channel in 0..<4 {
        group.addTask {
          roundtrip(
            variant, .mixed, Packets(), counts: [128, 5, 0, 77, 128], seed: 100 + UInt64(channel))
        }
      }
    }
  }

  @Test("an offset that occurs twice is written twice", arguments: Variant.all)
  func repeatedOffset(variant: Variant) {
    let ram = makeRAM(.text, pages: 8, pageSize: 4096, seed: 6)
    let target = GuardedMemory(ram.size)
    let send = SendChannel(variant.backend, variant.options)
    let recv = RecvChannel(variant.backend, variant.options)
    let payload = send.prepare(ram, [0, 4096, 8192]).payload
    #expect(recv.receive(payload, target, [4096, 4096, 4096]) == MULTIFD_OK)
    #expect(memcmp(target.base + 4096, ram.base + 8192, 4096) == 0)
  }
}

/// What the capability bits promise.
@Suite struct CapabilityTests {
  @Test("the same pages give the same bytes", arguments: Variant.all)
  func deterministic(variant: Variant) {
    // By other processors igzip makes other bytes, by the same one the same.
    #expect(variant.backend.has(MULTIFD_CAP_DETERMINISTIC) == (variant.name != "igzip"))
    let ram = makeRAM(.mixed, pages: 200, pageSize: 4096, seed: 8)
    let (one, other) = (
      SendChannel(variant.backend, variant.options), SendChannel(variant.backend, variant.options)
    )
    var random = Seeded(9)
    for count in [128, 1, 60, 128, 7] {
      let offsets = pickPages(count, of: 200, pageSize: 4096, &random)
      #expect(one.prepare(ram, offsets).payload == other.prepare(ram, offsets).payload)
    }
  }

  @Test("the same pages elsewhere in the block give the same bytes", arguments: Variant.all)
  func placesDoNotMatter(variant: Variant) {
    let ram = makeRAM(.mixed, pages: 16, pageSize: 4096, seed: 10)
    let apart = GuardedMemory(ram.size * 2)
    for page in 0..<16 {
      (apart.base + 2 * page * 4096).copyMemory(from: ram.base + page * 4096, byteCount: 4096)
    }
    let here = SendChannel(variant.backend, variant.options)
    let there = SendChannel(variant.backend, variant.options)
    let near = here.prepare(ram, (0..<16).map { UInt64($0 * 4096) })
    let far = there.prepare(apart, (0..<16).map { UInt64($0 * 8192) })
    #expect(near.payload == far.payload)
  }

  @Test("independent packets decode in any order", arguments: Variant.all)
  func independent(variant: Variant) {
    let backend = variant.backend
    #expect(backend.has(MULTIFD_CAP_INDEPENDENT) != backend.has(MULTIFD_CAP_STATEFUL))
    guard backend.has(MULTIFD_CAP_INDEPENDENT) else { return }
    let ram = makeRAM(.mixed, pages: 64, pageSize: 4096, seed: 11)
    let send = SendChannel(backend, variant.options)
    let packets = (0..<4).map { number in
      let offsets = (0..<16).map { UInt64((number * 16 + $0) * 4096) }
      return (offsets, send.prepare(ram, offsets).payload)
    }
    let recv = RecvChannel(backend, variant.options)
    let target = GuardedMemory(ram.size)
    for (offsets, payload) in packets.reversed() {
      #expect(recv.receive(payload, target, offsets) == MULTIFD_OK)
    }
    #expect(target.equals(ram))
  }

  @Test("neighbouring pages become one iovec, in guest memory")
  func mergedIovecs() {
    let ram = makeRAM(.random, pages: 10, pageSize: 4096, seed: 12)
    let send = SendChannel(.named("nocomp"))
    let pages = [3, 4, 5, 1, 2, 9, 8].map { UInt64($0 * 4096) }
    let iovs = send.prepare(ram, pages).iovs
    #expect(iovs.map { ($0.iov_base - ram.base) / 4096 } == [3, 1, 9, 8])
    #expect(iovs.map { $0.iov_len / 4096 } == [3, 2, 1, 1])
  }

  @Test("after the first packet a channel allocates nothing", arguments: Variant.all)
  func steadyMemory(variant: Variant) {
    let ram = makeRAM(.mixed, pages: 200, pageSize: 4096, seed: 13)
    let send = SendChannel(variant.backend, variant.options)
    let recv = RecvChannel(variant.backend, variant.options)
    let target = GuardedMemory(ram.size)
    var random = Seeded(14)
    var counts: [[Int]] = []
    for count in [64, 128, 1, 128, 90] {
      let offsets = pickPages(count, of: 200, pageSize: 4096, &random)
      let payload = send.prepare(ram, offsets).payload
      #expect(recv.receive(payload, target, offsets) == MULTIFD_OK)
      counts.append([send.host.allocationCount, recv.host.allocationCount])
    }
    #expect(Set(counts).count == 1, "\(counts)")
  }
}
