// Memory's tests: bits that many threads set, zero pages, RAM blocks in files of all kinds, also on
// a full disk.

import Glibc
import Memory
import Synchronization
import TestSupport
import Testing

@Suite("Dirty bitmap")
struct DirtyBitmapTests {
  @Test(
    "Starts clear, and has a bit for each page", arguments: [0, 1, 63, 64, 65, 128, 1000, 8448])
  func size(count: Int) {
    let map = DirtyBitmap(count: count)
    #expect(map.count == count)
    #expect(map.wordCount == (count + 63) / 64)
    #expect(map.population == 0)
    #expect((0..<count).allSatisfy { !map.contains($0) })
    map.drain { Issue.record("bit \($0) of an empty map") }
  }

  @Test(
    "Setting tells whether the bit was clear, and touches no other", arguments: [1, 64, 65, 200])
  func set(count: Int) {
    for bit in 0..<count {
      let map = DirtyBitmap(count: count)
      #expect(map.set(bit))
      #expect(!map.set(bit))
      #expect(map.population == 1)
      #expect((0..<count).filter(map.contains) == [bit])
    }
  }

  @Test("The last bit that is set", arguments: [1, 64, 65, 200])
  func last(count: Int) {
    let map = DirtyBitmap(count: count)
    #expect(map.last == nil)
    for bit in 0..<count {
      map.set(bit)
      #expect(map.last == bit)
    }
    for bit in (1..<count).reversed() {
      map.remove(bit)
      #expect(map.last == bit - 1)
    }
    #expect(DirtyBitmap(count: 0).last == nil)
  }

  @Test("Draining hands out each set bit once, in order, and clears it")
  func drain() {
    var generator = SeededGenerator(seed: 1)
    let map = DirtyBitmap(count: 5000)
    for _ in 0..<20 {
      let bits = Set((0..<700).map { _ in Int.random(in: 0..<5000, using: &generator) })
      for bit in bits { map.set(bit) }
      #expect(map.population == bits.count)
      var drained: [Int] = []
      map.drain { drained.append($0) }
      #expect(drained == bits.sorted())
      #expect(map.population == 0)
    }
  }

  @Test("Draining a range of words leaves the others")
  func drainWords() {
    let map = DirtyBitmap(count: 640)
    for bit in 0..<640 { map.set(bit) }
    var drained: [Int] = []
    map.drain(words: 3..<5) { drained.append($0) }
    #expect(drained == Array(192..<320))
    #expect(map.population == 640 - 128)
    #expect(!map.contains(192) && map.contains(191) && map.contains(320))
  }

  @Test("What draining throws ends it: that bit and all behind it stay set")
  func drainThrows() {
    struct Stop: Error {}
    for stop in [0, 3, 40, 63, 64, 100, 200] {
      let map = DirtyBitmap(count: 256)
      let bits = [0, 3, 40, 63, 64, 100, 200]
      for bit in bits { map.set(bit) }
      var drained: [Int] = []
      #expect(throws: Stop.self) {
        try map.drain { (bit: Int) throws(Stop) in
          map.set(1)  // in a word that is being drained, or was
          if bit == stop { throw Stop() }
          drained.append(bit)
        }
      }
      #expect(drained == bits.filter { $0 < stop })
      var rest: [Int] = []
      map.drain { rest.append($0) }
      #expect(rest == ([1] + bits.filter { $0 >= stop }).sorted())
    }
  }

  @Test("Removing clears one bit, and tells whether it was set")
  func remove() {
    let map = DirtyBitmap(count: 200)
    for bit in 0..<200 { map.set(bit) }
    for bit in [0, 63, 64, 199] { #expect(map.remove(bit)) }
    #expect(!map.remove(64))
    #expect(map.population == 196)
    #expect((0..<200).filter { !map.contains($0) } == [0, 63, 64, 199])
  }

  @Test("Redoing clears a word after its bits are done, so that what throws can be repeated")
  func redo() {
    struct Stop: Error {}
    let bits = [0, 3, 63, 64, 100, 200]
    for stop in bits {
      let map = DirtyBitmap(count: 256)
      for bit in bits { map.set(bit) }
      #expect(throws: Stop.self) {
        try map.redo(words: 0..<4) { (bit: Int) throws(Stop) in
          #expect(map.contains(bit), "still marked while it is being done")
          if bit == stop { throw Stop() }
        }
      }
      var again: [Int] = []
      map.redo(words: 0..<4) { again.append($0) }
      #expect(again == bits.filter { $0 >> 6 >= stop >> 6 })
      #expect(map.population == 0)
    }
  }

  @Test(
    "Bits in a file are found again by who maps it next, and the rest of the file is left alone")
  func inFile() throws {
    let folder = try TemporaryFolder()
    func file() -> Int32 { open(folder("bits"), O_RDWR | O_CREAT | O_CLOEXEC, 0o600) }
    let bits = [0, 63, 64, 4095, 40_000]
    do {
      let block = try RAMBlock(name: "bits", length: 16384, pageSize: 4096, emptyFile: file())
      let map = try DirtyBitmap(count: 40_001, in: block, at: 4096)
      #expect(map.population == 0)
      for bit in bits { map.set(bit) }
    }
    let block = try RAMBlock(
      name: "bits", length: 16384, pageSize: 4096, existingFile: file(), writable: true)
    #expect(ZeroPage.isZero(block.base, count: 4096))
    let map = try DirtyBitmap(count: 40_001, in: block, at: 4096)
    var found: [Int] = []
    map.redo(words: 0..<map.wordCount) { found.append($0) }
    #expect(found == bits)
    #expect(ZeroPage.isZero(block.base, count: 16384))
  }

  @Test(
    "Many threads set the same bits and their neighbours: none is lost, each is new to one thread")
  func concurrentSets() {
    let count = 4096, threads = 8
    for round in 0..<8 {
      let map = DirtyBitmap(count: count)
      let new = Atomic<Int>(0)
      inThreads(threads) { thread in
        var mine = 0
        // Each thread walks all bits from another place, so that words are fought for.
        for step in 0..<count {
          let bit = (step &* 5 &+ thread &* 64 &+ round) % count
          if map.set(bit) { mine += 1 }
        }
        new.add(mine, ordering: .relaxed)
      }
      #expect(map.population == count)
      #expect(new.load(ordering: .relaxed) == count)
    }
  }

  @Test("Bits of one word that different threads set do not disturb each other")
  func neighbours() {
    let map = DirtyBitmap(count: 64)
    for _ in 0..<300 {
      inThreads(4) { thread in
        for bit in stride(from: thread, to: 64, by: 4) { map.set(bit) }
      }
      var drained = 0
      map.drain { _ in drained += 1 }
      #expect(drained == 64)
    }
  }

  @Test("Draining while threads set: each set is handed out, and nothing without a set")
  func drainWhileSetting() {
    let count = 512, setters = 3
    let map = DirtyBitmap(count: count)
    // How often each bit went from clear to set, as the setters were told, and how often it was
    // drained.
    let sets = Counts(count), drains = Counts(count)
    let drained = Atomic<Int>(0)
    let running = Atomic<Int>(setters)
    inThreads(setters + 1) { thread in
      if thread < setters {
        var generator = SeededGenerator(seed: UInt64(thread))
        // Until the drain has taken each bit fifty times: then they have met.
        while drained.load(ordering: .relaxed) < 50 * count {
          let bit = Int.random(in: 0..<count, using: &generator)
          if map.set(bit) { sets.add(bit) }
        }
        running.subtract(1, ordering: .releasing)
      } else {
        while running.load(ordering: .acquiring) > 0 {
          map.drain {
            drains.add($0)
            drained.add(1, ordering: .relaxed)
          }
        }
      }
    }
    map.drain { drains.add($0) }
    #expect(map.population == 0)
    for bit in 0..<count { #expect(sets[bit] == drains[bit], "bit \(bit)") }
  }

  /// Atomic counters, one a bit.
  private final class Counts: Sendable {
    private nonisolated(unsafe) let counts: UnsafeMutablePointer<Atomic<Int>>
    private let count: Int

    init(_ count: Int) {
      self.count = count
      // Allocated here, freed in deinit; every index comes from the bitmap of the same size.
      counts = .allocate(capacity: count)
      for index in 0..<count { (counts + index).initialize(to: Atomic(0)) }
    }

    deinit {
      counts.deinitialize(count: count)
      counts.deallocate()
    }

    func add(_ index: Int) { counts[index].add(1, ordering: .relaxed) }
    subscript(index: Int) -> Int { counts[index].load(ordering: .relaxed) }
  }
}
