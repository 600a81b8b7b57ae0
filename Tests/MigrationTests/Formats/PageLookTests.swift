import Glibc
import Migration
import Testing

@Suite("PageLook")
struct PageLookTests {
  private static let pageSize = 4096

  /// What 128 pages look like that are filled word by word.
  private func look(_ word: (_ page: Int, _ word: Int) -> UInt64) -> PageLook {
    let words = Self.pageSize / 8
    var memory: [UInt64] = []
    for page in 0..<128 { for index in 0..<words { memory.append(word(page, index)) } }
    let places = (0..<128).map { UInt64($0 * Self.pageSize) }
    return memory.withUnsafeBytes { bytes in
      places.withUnsafeBufferPointer {
        PageLook(bytes.baseAddress!, $0, pageSize: Self.pageSize)
      }
    }
  }

  private func random(_ seed: Int) -> UInt64 {
    var value = UInt64(truncatingIfNeeded: seed) &* 0x9E37_79B9_7F4A_7C15
    value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
    value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
    return value ^ (value >> 31)
  }

  @Test("Noise is noise, and half of it is told")
  func noise() {
    for seed in 0..<200 {
      let look = look { self.random(seed << 20 | $0 << 10 | $1) }
      #expect(look == .noise)
    }
    let mixed = look { page, word in
      page * 7 % 128 < 64 ? self.random(page << 10 | word) : 0x2020_6f6c_6c65_6820
    }
    #expect(mixed == .mixed)
  }

  @Test("Text, pointers, numbers, sparse pages and code are not")
  func plain() {
    let text = Array("The quick brown fox jumps over 13 lazy dogs; then reads /etc/passwd.\n".utf8)
    #expect(
      look { page, word in
        (0..<8).reduce(0) { $0 << 8 | UInt64(text[(page * 4096 + word * 8 + $1) % text.count]) }
      } == .plain)
    // Kernel pointers, anywhere in 64 GiB.
    #expect(look { 0xffff_8880_0000_0000 | self.random($0 << 10 | $1) >> 28 & ~7 } == .plain)
    // Small numbers.
    #expect(look { self.random($0 << 10 | $1) & 0x0000_ffff_0000_ffff } == .plain)
    // Doubles of some digits.
    #expect(look { (Double(self.random($0 << 10 | $1) % 100_000) / 100).bitPattern } == .plain)
    // Some random words in a page of zeros.
    #expect(look { $1 % 4 == 0 ? self.random($0 << 10 | $1) : 0 } == .plain)
    #expect(look { $1 < 300 ? self.random($0 << 10 | $1) : 0 } == .plain)
    #expect(look { _, _ in 0 } == .plain)
    #expect(look { _, _ in 0x0123_4567_89ab_cdef } == .plain)
  }

  @Test("Machine code of this process, and libraries' data")
  func code() throws {
    let bytes = [UInt8](try Data(of: "/proc/self/exe").bytes.prefix(8 << 20))
    var plain = 0
    var all = 0
    for start in stride(from: 0, to: bytes.count - 128 * Self.pageSize, by: 128 * Self.pageSize) {
      let places = (0..<128).map { UInt64(start + $0 * Self.pageSize) }
      let look = bytes.withUnsafeBytes { bytes in
        places.withUnsafeBufferPointer {
          PageLook(bytes.baseAddress!, $0, pageSize: Self.pageSize)
        }
      }
      all += 1
      if look != .noise { plain += 1 }
    }
    #expect(all > 0 && plain == all)
  }

  @Test("Few pages, and small and large ones")
  func sizes() {
    let memory = (0..<(1 << 18)).map { random($0) }
    memory.withUnsafeBytes { bytes in
      for pageSize in [1024, 4096, 65536, 1 << 20] {
        for count in [1, 2, 3, 7, 9] where count * pageSize <= bytes.count {
          let places = (0..<count).map { UInt64($0 * pageSize) }
          places.withUnsafeBufferPointer {
            #expect(PageLook(bytes.baseAddress!, $0, pageSize: pageSize) == .noise)
          }
        }
      }
    }
  }

  @Test("How long a look takes is printed")
  func cost() {
    let memory = (0..<(1 << 16)).map { random($0) }
    let places = (0..<128).map { UInt64($0 * Self.pageSize) }
    memory.withUnsafeBytes { bytes in
      places.withUnsafeBufferPointer { places in
        let start = ContinuousClock.now
        var noisy = 0
        for _ in 0..<1000
        where PageLook(bytes.baseAddress!, places, pageSize: Self.pageSize) == .noise { noisy += 1 }
        print("a look at 128 pages: \((ContinuousClock.now - start) / 1000)")
        #expect(noisy == 1000)
      }
    }
  }
}

/// A file's bytes.
private struct Data {
  var bytes: [UInt8] = []

  init(of path: String) throws {
    let file = open(path, O_RDONLY)
    defer { close(file) }
    var part = [UInt8](repeating: 0, count: 1 << 20)
    while case let count = read(file, &part, part.count), count > 0 { bytes += part[..<count] }
  }
}
