import Foundation
import PluginAPI
import Synchronization
import Testing

/// A guest that goes on writing while its pages are being sent.
@Suite struct LiveGuestTests {
  /// RAM whose every byte is at any time that of one image or of the other, kept changing by a
  /// thread until `stop`.
  ///
  /// @unchecked Sendable: the races on `ram` are what is tested, as a guest makes them; everything
  /// else is constant.
  private final class Guest: @unchecked Sendable {
    let ram: GuardedMemory
    let images: [GuardedMemory]
    private let stopping = Atomic(false)
    private let stopped = DispatchSemaphore(value: 0)
    private let changes = Atomic(0)

    /// Pages with an odd number change, the others never do.
    init(_ content: Content, pages: Int) {
      let old = makeRAM(content, pages: pages, pageSize: 4096, seed: 50)
      let new = makeRAM(content, pages: pages, pageSize: 4096, seed: 51)
      for page in stride(from: 0, to: pages, by: 2) {
        (new.base + page * 4096).copyMemory(from: old.base + page * 4096, byteCount: 4096)
      }
      images = [old, new]
      ram = GuardedMemory(old.size)
      ram.base.copyMemory(from: old.base, byteCount: old.size)
      Thread.detachNewThread { [self] in
        var random = Seeded(52)
        while !stopping.load(ordering: .relaxed) {
          let page = Int.random(in: 0..<pages / 2, using: &random) * 2 + 1
          let at = Int.random(in: 0..<4096, using: &random)
          let count = min(Int.random(in: 1...600, using: &random), 4096 - at)
          let image = images[Int.random(in: 0...1, using: &random)]
          let place = page * 4096 + at
          (ram.base + place).copyMemory(from: image.base + place, byteCount: count)
          changes.wrappingAdd(1, ordering: .relaxed)
        }
        stopped.signal()
      }
      // A busy machine may give it no time before the last packet.
      while changes.load(ordering: .relaxed) == 0 { usleep(100) }
    }

    /// Ends the thread; returns how often it wrote.
    func stop() -> Int {
      stopping.store(true, ordering: .relaxed)
      stopped.wait()
      return changes.load(ordering: .relaxed)
    }

    /// Whether each byte at `offset` is the one image's or the other's.
    func couldHaveHeld(_ page: UnsafeRawPointer, at offset: UInt64) -> Bool {
      let old = images[0].base + Int(offset)
      let new = images[1].base + Int(offset)
      if memcmp(page, old, 4096) == 0 || memcmp(page, new, 4096) == 0 { return true }
      return (0..<4096).allSatisfy { index in
        let byte = page.load(fromByteOffset: index, as: UInt8.self)
        return byte == old.load(fromByteOffset: index, as: UInt8.self)
          || byte == new.load(fromByteOffset: index, as: UInt8.self)
      }
    }
  }

  @Test("what is sent is a mix of old and new", arguments: Variant.live, [Content.text, .mixed])
  func liveGuest(variant: Variant, content: Content) {
    let pages = 128
    let guest = Guest(content, pages: pages)
    let send = SendChannel(variant.backend, variant.options)
    let recv = RecvChannel(variant.backend, variant.options)
    let target = GuardedMemory(guest.ram.size)
    var random = Seeded(53)
    for number in 0..<60 {
      let count = Int.random(in: 1...pages, using: &random)
      let offsets = pickPages(count, of: pages, pageSize: 4096, &random)
      let packet = send.prepare(guest.ram, offsets)
      #expect(packet.status == MULTIFD_OK, "packet \(number)")
      #expect(recv.receive(packet.payload, target, offsets) == MULTIFD_OK, "packet \(number)")
      for offset in offsets {
        #expect(
          guest.couldHaveHeld(target.base + Int(offset), at: offset),
          "packet \(number), page \(offset / 4096)")
      }
    }
    #expect(guest.stop() > 0)
  }
}
