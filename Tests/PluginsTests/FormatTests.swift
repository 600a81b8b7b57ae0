import Foundation
import PluginAPI
import Testing

/// Payloads made by hand, byte by byte as the formats' documents say: what is accepted, what is
/// not.
@Suite struct FormatTests {
  /// What one channel says to a sequence of payloads, each for the given number of pages.
  private func statuses(_ name: String, _ packets: [(pages: Int, payload: [UInt8])]) -> [Int32] {
    let recv = RecvChannel(.named(name))
    return packets.map { pages, payload in
      let target = GuardedMemory(max(pages, 1) * 4096)
      return recv.receive(payload, target, (0..<pages).map { UInt64($0 * 4096) })
    }
  }

  private func isCorrupt(_ name: String, pages: Int = 1, _ payload: [UInt8]) -> Bool {
    statuses(name, [(pages, payload)]) == [MULTIFD_ERROR_CORRUPT]
  }

  private let page = [UInt8](repeating: 0x5a, count: 4096)

  // MARK: zlib (RFC 1950, RFC 1951)

  /// A stored block.
  private func stored(_ bytes: [UInt8], last: Bool = false) -> [UInt8] {
    let (low, high) = (UInt8(bytes.count & 255), UInt8(bytes.count >> 8))
    return [last ? 1 : 0, low, high, ~low, ~high] + bytes
  }

  private let zlibHeader: [UInt8] = [0x78, 0x01]
  private let zlibFlush: [UInt8] = [0, 0, 0, 0xff, 0xff]

  @Test("zlib: stored blocks, with and without a flush marker", arguments: Backend.zlibNames)
  func zlibAccepts(name: String) {
    #expect(
      statuses(
        name,
        [
          (1, zlibHeader + stored(page)), (2, stored(page + page) + zlibFlush),
          (2, stored(page) + zlibFlush + stored(page) + zlibFlush + zlibFlush), (0, []),
          (1, stored(Array(page[..<100])) + stored(Array(page[100...]))),
        ]) == [MULTIFD_OK, MULTIFD_OK, MULTIFD_OK, MULTIFD_OK, MULTIFD_OK])
  }

  @Test("zlib: an end, a dictionary, a second header, a bomb", arguments: Backend.zlibNames)
  func zlibRefuses(name: String) {
    #expect(isCorrupt(name, zlibHeader + stored(page, last: true) + [1, 2, 3, 4]))
    #expect(isCorrupt(name, zlibHeader + stored(page, last: true)))
    #expect(isCorrupt(name, [0x78, 0x20, 0, 0, 0, 1] + stored(page)))
    #expect(isCorrupt(name, [0x78, 0xbb, 0, 0, 0, 1] + stored(page)), "a preset dictionary")
    #expect(isCorrupt(name, [0x79, 0x01] + stored(page)), "a header whose check is wrong")
    #expect(isCorrupt(name, stored(page)), "no header")
    #expect(
      statuses(name, [(1, zlibHeader + stored(page)), (1, zlibHeader + stored(page))])
        == [MULTIFD_OK, MULTIFD_ERROR_CORRUPT])
    #expect(isCorrupt(name, zlibHeader + stored(page + [0])), "one byte too many")
    #expect(isCorrupt(name, zlibHeader + stored(page) + [0]), "the start of a block")
    #expect(isCorrupt(name, zlibHeader + stored(page) + [6]), "a block of a reserved type")
    #expect(isCorrupt(name, pages: 0, zlibHeader))
  }

  // MARK: zstd (RFC 8878)

  private let zstdMagic: [UInt8] = [0x28, 0xb5, 0x2f, 0xfd]

  /// A frame header without content size: a window of 2^`windowLog`.
  private func zstdHeader(windowLog: Int = 19) -> [UInt8] {
    zstdMagic + [0, UInt8((windowLog - 10) << 3)]
  }

  private func zstdBlock(type: Int, size: Int, last: Bool, _ body: [UInt8]) -> [UInt8] {
    let header = size << 3 | type << 1 | (last ? 1 : 0)
    return [UInt8(header & 255), UInt8(header >> 8 & 255), UInt8(header >> 16)] + body
  }

  private func raw(_ bytes: [UInt8], last: Bool = false) -> [UInt8] {
    zstdBlock(type: 0, size: bytes.count, last: last, bytes)
  }

  private func repeated(_ count: Int, last: Bool = false) -> [UInt8] {
    zstdBlock(type: 1, size: count, last: last, [0x5a])
  }

  @Test("zstd: an endless frame, frames per packet, per page, and across pages")
  func zstdAccepts() {
    let small = zstdMagic + [0x20, 255]  // one segment of 255 bytes
    #expect(
      statuses(
        "zstd",
        [
          (1, zstdHeader() + raw(page)), (3, raw(page + page) + repeated(4096)), (0, []),
          (1, raw(page, last: true)), (1, zstdHeader() + repeated(4096, last: true)),
          (2, zstdHeader() + raw(page, last: true) + zstdHeader() + raw(page, last: true)),
          (1, zstdHeader() + repeated(3000, last: true) + zstdHeader() + repeated(1096)),
          (1, raw(page) + raw([], last: true)),
          (1, small + repeated(255, last: true) + zstdHeader(windowLog: 27) + repeated(3841)),
          (
            1,
            raw([], last: true) + [0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 9, 9] + zstdHeader()
              + repeated(4096)
          ),
        ]) == [Int32](repeating: MULTIFD_OK, count: 10))
  }

  @Test("zstd: windows too large, dictionaries, checksums, bombs, parts of blocks")
  func zstdRefuses() {
    let large = zstdHeader(windowLog: 26) + raw(page)
    let channel = RecvChannel(.named("zstd"), ["window-log": "25"])
    #expect(channel.receive(large, GuardedMemory(4096), [0]) == MULTIFD_ERROR_CORRUPT)
    #expect(channel.host.errorText?.contains("window-log") == true)
    let willing = RecvChannel(.named("zstd"), ["window-log": "26"])
    #expect(willing.receive(large, GuardedMemory(4096), [0]) == MULTIFD_OK)
    #expect(isCorrupt("zstd", zstdHeader(windowLog: 28) + raw(page)))
    #expect(isCorrupt("zstd", zstdHeader(windowLog: 41) + raw(page)))
    #expect(isCorrupt("zstd", zstdMagic + [1, 0x48, 7] + raw(page)), "a dictionary")
    #expect(isCorrupt("zstd", zstdMagic + [8, 0x48] + raw(page)), "a reserved bit")
    #expect(
      isCorrupt("zstd", zstdMagic + [4, 0x48] + raw(page, last: true) + [1, 2, 3, 4]), "a checksum")
    #expect(isCorrupt("zstd", zstdHeader() + repeated(1 << 21 - 1)), "a block beyond 128 KiB")
    #expect(isCorrupt("zstd", zstdHeader() + repeated(131072)), "more than the pages")
    #expect(isCorrupt("zstd", zstdHeader() + raw(page + [0])))
    #expect(isCorrupt("zstd", zstdHeader() + raw(page) + [0]))
    #expect(isCorrupt("zstd", zstdHeader() + raw(page, last: true) + zstdMagic))
    #expect(isCorrupt("zstd", zstdHeader() + zstdBlock(type: 3, size: 4096, last: false, page)))
    #expect(isCorrupt("zstd", zstdHeader() + raw(Array(page[1...]))))
    #expect(isCorrupt("zstd", raw(page)), "no frame header")
    #expect(isCorrupt("zstd", [0x50, 0x2a, 0x4d, 0x18, 255, 255, 255, 255]), "a skippable frame")
    #expect(isCorrupt("zstd", pages: 0, zstdHeader()))
    // A megabyte of empty blocks: bounded work, no output.
    #expect(isCorrupt("zstd", pages: 1, zstdHeader() + (0..<300).flatMap { _ in raw([]) }))
  }

  @Test(
    "zstd: what is sent keeps to the window", arguments: [10, 12, 19, 27], ["endless", "packet"])
  func zstdWindow(log: Int, stream: String) {
    let ram = makeRAM(.text, pages: 128, pageSize: 4096, seed: 40)
    for level in [-7, 1, 3, 19] {
      let send = SendChannel(
        .named("zstd"), ["level": "\(level)", "stream": stream, "window-log": "\(log)"])
      let payload = send.prepare(ram, (0..<128).map { UInt64($0 * 4096) }).payload
      #expect(Array(payload[..<4]) == zstdMagic)
      let isSingleSegment = payload[4] & 0x20 != 0
      // One segment is its own window: 512 KiB.
      let window = isSingleSegment ? 19 : 10 + Int(payload[5] >> 3)
      #expect(window <= log, "level \(level): 2^\(window)")
      let recv = RecvChannel(.named("zstd"), ["window-log": "\(log)"])
      let target = GuardedMemory(ram.size)
      #expect(recv.receive(payload, target, (0..<128).map { UInt64($0 * 4096) }) == MULTIFD_OK)
      #expect(target.equals(ram))
    }
  }

  @Test(
    "zlib: one header per channel, and the flush that QEMU expects", arguments: Backend.zlibNames)
  func zlibGoesOn(name: String) {
    let ram = makeRAM(.text, pages: 2, pageSize: 4096, seed: 41)
    let zlib = SendChannel(.named(name))
    let (first, second) = (zlib.prepare(ram, [0]).payload, zlib.prepare(ram, [4096]).payload)
    #expect(Array(first[..<2]) == [0x78, 0x01] && Array(second[..<2]) != [0x78, 0x01])
    #expect(
      Array(first.suffix(4)) == [0, 0, 0xff, 0xff] && Array(second.suffix(4)) == [0, 0, 0xff, 0xff])
  }

  @Test("zstd: a receiver takes the window of every level that a stock QEMU has", arguments: 0...20)
  func zstdLevels(level: Int) {
    let ram = makeRAM(.text, pages: 2, pageSize: 4096, seed: 42)
    let send = SendChannel(
      .named("zstd"), ["level": "\(level)", "stream": "endless", "window-log": "27"])
    let recv = RecvChannel(.named("zstd"), ["window-log": "25"])
    #expect(
      recv.receive(send.prepare(ram, [0]).payload, GuardedMemory(4096), [0]) == MULTIFD_OK)
  }

  @Test("zstd: a frame per packet, or one per channel")
  func zstdGoesOn() {
    let ram = makeRAM(.text, pages: 2, pageSize: 4096, seed: 41)
    let endless = SendChannel(.named("zstd"), ["stream": "endless"])
    #expect(Array(endless.prepare(ram, [0]).payload[..<6]) == zstdMagic + [0, 0x48])
    #expect(Array(endless.prepare(ram, [4096]).payload[..<4]) != zstdMagic)
    let frames = SendChannel(.named("zstd"))
    for offset: UInt64 in [0, 4096] {
      #expect(Array(frames.prepare(ram, [offset]).payload[..<4]) == zstdMagic)
    }
  }

  @Test(
    "zlib/1: zlib and igzip decode each other, at every level",
    arguments: Variant.everyLevel.filter { Backend.zlibNames.contains($0.name) }, Content.allCases)
  func sameFormat(variant: Variant, content: Content) {
    let ram = makeRAM(content, pages: 192, pageSize: 4096, seed: 42)
    let send = SendChannel(variant.backend, variant.options)
    let receivers = Backend.zlibNames.map { RecvChannel(.named($0)) }
    var random = Seeded(43)
    for number in 0..<5 {
      let offsets = pickPages([128, 1, 128, 77, 128][number], of: 192, pageSize: 4096, &random)
      let payload = send.prepare(ram, offsets).payload
      for recv in receivers {
        let target = GuardedMemory(ram.size)
        #expect(recv.receive(payload, target, offsets) == MULTIFD_OK, "packet \(number)")
        #expect(target.equals(expectation(ram, offsets, pageSize: 4096)), "packet \(number)")
      }
    }
  }

  @Test(
    "what is sent refers to nothing before it",
    arguments: Variant.all.filter { $0.options["stream"] != "endless" }, Content.allCases)
  func standsAlone(variant: Variant, content: Content) {
    let ram = makeRAM(content, pages: 128, pageSize: 4096, seed: 44)
    let send = SendChannel(variant.backend, variant.options)
    let offsets = (0..<128).map { UInt64($0 * 4096) }
    let sent = (0..<4).map { number in
      let part = Array(offsets[number * 32..<number * 32 + 32])
      return (offsets: part, payload: send.prepare(ram, part).payload)
    }
    // Behind the first, which has zlib's header: any, in any order, and again.
    let recv = RecvChannel(variant.backend, variant.options)
    for number in [0, 3, 1, 3] {
      let target = GuardedMemory(ram.size)
      #expect(recv.receive(sent[number].payload, target, sent[number].offsets) == MULTIFD_OK)
      #expect(target.equals(expectation(ram, sent[number].offsets, pageSize: 4096)))
    }
  }

  // MARK: lz4 (this project's README, and LZ4's block format)

  private func entry(_ kind: UInt8, _ length: Int) -> [UInt8] {
    [kind, UInt8(length >> 16), UInt8(length >> 8 & 255), UInt8(length & 255)]
  }

  /// A block of `count` bytes 0x5a: one literal, a match at distance 1, five last literals.
  private func lz4Block(_ count: Int) -> [UInt8] {
    var left = count - 1 - 5 - 4 - 15
    var block: [UInt8] = [0x1f, 0x5a, 1, 0]
    while left >= 255 {
      block.append(255)
      left -= 255
    }
    return block + [UInt8(left), 0x50] + [UInt8](repeating: 0x5a, count: 5)
  }

  @Test("lz4: raw and compressed segments")
  func lz4Accepts() {
    let block = lz4Block(4096)
    #expect(
      statuses(
        "lz4",
        [
          (1, entry(0, 4096) + page), (1, entry(1, block.count) + block), (0, []),
          (2, entry(0, 8192) + page + page),
        ]) == [MULTIFD_OK, MULTIFD_OK, MULTIFD_OK, MULTIFD_OK])
    // Two segments: 128 pages raw, one page compressed.
    let recv = RecvChannel(.named("lz4"), [:], Packets(pageCount: 129))
    let payload =
      entry(0, 524288) + entry(1, block.count)
      + (0..<128).flatMap { _ in page } + block
    let target = GuardedMemory(129 * 4096)
    #expect(recv.receive(payload, target, (0..<129).map { UInt64($0 * 4096) }) == MULTIFD_OK)
    #expect(
      UnsafeRawBufferPointer(start: target.base, count: target.size).allSatisfy { $0 == 0x5a })
  }

  @Test("lz4: kinds, lengths and blocks that do not exist")
  func lz4Refuses() {
    let block = lz4Block(4096)
    #expect(isCorrupt("lz4", entry(2, block.count) + block))
    #expect(isCorrupt("lz4", entry(0x81, block.count) + block))
    #expect(isCorrupt("lz4", entry(0, 4095) + Array(page[1...])))
    #expect(isCorrupt("lz4", entry(0, 4097) + page + [0]))
    #expect(isCorrupt("lz4", entry(1, 0)))
    #expect(isCorrupt("lz4", entry(1, 4096) + page))
    #expect(isCorrupt("lz4", entry(1, block.count) + block + [0]))
    #expect(isCorrupt("lz4", entry(1, block.count - 1) + block))
    #expect(isCorrupt("lz4", entry(1, block.count + 1) + block))
    #expect(isCorrupt("lz4", Array(entry(1, block.count)[..<3])))
    let (longer, shorter) = (lz4Block(4097), lz4Block(4095))
    #expect(isCorrupt("lz4", entry(1, longer.count) + longer), "more than the page")
    #expect(isCorrupt("lz4", entry(1, shorter.count) + shorter), "less than the page")
    let bomb = lz4Block(1 << 20)
    #expect(isCorrupt("lz4", pages: 8, entry(1, bomb.count) + bomb))
    let far: [UInt8] = [0x1f, 0x5a, 2, 0, 255, 0x50, 1, 2, 3, 4, 5]
    #expect(isCorrupt("lz4", entry(1, far.count) + far), "a match before the start")
  }
}
