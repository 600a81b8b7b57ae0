import Foundation
import PluginAPI
import Testing

/// How large a payload can get. SendChannel holds every payload of every test to payload_bound.
@Suite struct BoundTests {
  @Test(
    "every level: incompressible pages cost at most 0.5 %, and come out",
    arguments: Variant.everyLevel)
  func incompressible(variant: Variant) {
    let ram = makeRAM(.random, pages: 128, pageSize: 4096, seed: 20)
    let send = SendChannel(variant.backend, variant.options)
    let recv = RecvChannel(variant.backend, variant.options)
    let target = GuardedMemory(ram.size)
    for count in [128, 128, 1, 2, 128] {
      let offsets = (0..<count).map { UInt64($0 * 4096) }
      let payload = send.prepare(ram, offsets).payload
      let most = Double(count * 4096) * 1.005
      // A lone page may carry a frame header, or a flush, which weigh more there.
      #expect(Double(payload.count) <= most + (count < 128 ? 16 : 0), "\(count) pages")
      #expect(recv.receive(payload, target, offsets) == MULTIFD_OK)
    }
    #expect(target.equals(ram))
    // The same channel once more, with pages that compress.
    let text = makeRAM(.mixed, pages: 16, pageSize: 4096, seed: 24)
    let offsets = (0..<16).map { UInt64($0 * 4096) }
    let back = GuardedMemory(text.size)
    #expect(recv.receive(send.prepare(text, offsets).payload, back, offsets) == MULTIFD_OK)
    #expect(back.equals(text))
  }

  @Test("nearly compressible pages stay in the bound", arguments: Variant.all)
  func awkward(variant: Variant) {
    // Random bytes with short repeats: what tempts an encoder into matches that do not pay.
    let ram = makeRAM(.random, pages: 128, pageSize: 4096, seed: 21)
    var random = Seeded(22)
    for at in stride(from: 64, to: ram.size - 64, by: 24) {
      let from = max(0, at - Int.random(in: 4...40000, using: &random))
      (ram.base + at).copyMemory(from: ram.base + from, byteCount: 3 + at % 3)
    }
    let send = SendChannel(variant.backend, variant.options)
    for _ in 0..<3 {
      #expect(send.prepare(ram, (0..<128).map { UInt64($0 * 4096) }).status == MULTIFD_OK)
    }
  }

  @Test("the bound is sound", arguments: Backend.names)
  func bounds(name: String) {
    let backend = Backend.named(name)
    for size in [4096, 8192, 16384, 65536, 1 << 21, 1 << 30] {
      #expect(backend.bound(size, 0) == 0)
      var last = 0
      for count in [1, 2, 127, 128, 129, 100_000, Int(UInt32.max)] {
        let bound = backend.bound(size, count)
        #expect(bound >= size * count && bound > last)
        last = bound
      }
    }
    for size in [0, 1, 2048, 4095, 4097, 12288, 1 << 31, Int(UInt32.max)] {
      #expect(backend.bound(size, 128) == 0)
    }
    if backend.methods.pointee.qemu_method != MULTIFD_QEMU_METHOD_UNKNOWN {
      for log in 12...19 {
        #expect(backend.bound(1 << log, 1 << (19 - log)) <= Int(MULTIFD_QEMU_MAX_PAYLOAD))
      }
    }
  }
}

/// Setup and cleanup, when things go wrong too.
@Suite struct SetupTests {
  @Test("setup survives each allocation that fails", arguments: Variant.all)
  func failingAllocations(variant: Variant) {
    for direction in 0...1 {
      var number = 0
      while true {
        // The channels' deinit calls cleanup, and finds out whether everything was given back.
        let send =
          direction == 0
          ? SendChannel(variant.backend, variant.options, failingAllocation: number) : nil
        let recv =
          direction == 1
          ? RecvChannel(variant.backend, variant.options, failingAllocation: number) : nil
        let status = send?.setupStatus ?? recv!.setupStatus
        let host = send?.host ?? recv!.host
        guard status != MULTIFD_OK else {
          // Without state there is no allocation to fail, and that is fine too.
          #expect(host.allocationCount <= number)
          break
        }
        #expect(status == MULTIFD_ERROR_NO_MEMORY)
        #expect(host.errorText != nil)
        number += 1
      }
    }
  }

  @Test("a packet survives an allocation that fails", arguments: Variant.all)
  func failingLater(variant: Variant) {
    let ram = makeRAM(.text, pages: 4, pageSize: 4096, seed: 23)
    let payload = SendChannel(variant.backend, variant.options).prepare(ram, [0, 4096]).payload
    let recv = RecvChannel(variant.backend, variant.options)
    recv.host.failingAllocation = recv.host.allocationCount
    let status = recv.receive(payload, GuardedMemory(ram.size), [0, 4096])
    #expect(status == MULTIFD_OK || status == MULTIFD_ERROR_NO_MEMORY)
  }

  @Test("pages that no packet can have are refused", arguments: Variant.all)
  func geometry(variant: Variant) {
    for packets in [
      Packets(pageSize: 2048, pageCount: 128), Packets(pageSize: 12288, pageCount: 8),
      Packets(pageSize: 4096, pageCount: 0), Packets(pageSize: 1 << 30, pageCount: 4),
    ] {
      let send = SendChannel(variant.backend, variant.options, packets)
      #expect(send.setupStatus == MULTIFD_ERROR_UNSUPPORTED && send.host.errorText != nil)
      let recv = RecvChannel(variant.backend, variant.options, packets)
      #expect(recv.setupStatus == MULTIFD_ERROR_UNSUPPORTED && recv.host.errorText != nil)
    }
  }

  @Test("cleanup without setup, and twice", arguments: Variant.all)
  func cleanupAlone(variant: Variant) {
    let methods = variant.backend.methods.pointee
    let send = SendChannel(variant.backend, variant.options)
    methods.send_cleanup!(send.params)
    #expect(send.params.pointee.compress_data == nil && send.host.liveAllocations == 0)
    methods.send_cleanup!(send.params)
    let recv = RecvChannel(variant.backend, variant.options)
    methods.recv_cleanup!(recv.params)
    #expect(recv.params.pointee.compress_data == nil && recv.host.liveAllocations == 0)
    methods.recv_cleanup!(recv.params)
  }

  @Test("lz4: options that contradict each other")
  func contradiction() {
    let send = SendChannel(.named("lz4"), ["level": "9", "acceleration": "4"])
    #expect(send.setupStatus == MULTIFD_ERROR_OPTION && send.host.errorText != nil)
  }
}
