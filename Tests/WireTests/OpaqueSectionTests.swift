import Testing
import Wire

/// Sections of devices, whose bodies have no length (SPECIFICATION section 5.1).
@Suite("Opaque sections")
struct OpaqueSectionTests {
  /// The elements from the first END of `ram` on.
  private func tail(_ stream: Stream) throws -> ArraySlice<StreamDecoder.Element> {
    try stream.decode().elements.dropFirst(9)
  }

  private func header(_ kind: SectionKind, _ id: UInt32, _ name: String) -> StreamDecoder.Element {
    .section(SectionHeader(kind: kind, id: id, name: name, instance: 0, version: 1))
  }

  @Test("A body may hold what looks like a footer")
  func falseFooters() throws {
    var stream = Stream.ended()
    // Each is the section's own footer, but nothing that could follow a section follows it.
    let bodies = [
      "7e 00000000 00", "7e 00000000 00 00 0000", "7e 00000000 06", "7e 00000000 7e 00000000 00 00",
      "7e 00000000 04 01000000 01 41 00000000 00000000", "7e 00000000 04 00000000 00",
      "7e 00000000 04 00000000 02 41 07 00000000 00000000", "7e 00000000 02 00000009",
      "7e 00000000 08 0000 0000", "7e 00000000 08 000c 0000", "7e 00000000 08 0002 0000",
      "7e 00000000 00 06 00000002 5b", "7e 00000000 00 06 ffffffff 7b", "7e 7e 7e 7e 7e 7e", "",
    ]
    for body in bodies { stream.section(id: 0, "timer", body: bytes(body)) }
    stream.encoder.eof()
    stream.encoder.vmDescription("{}".utf8)
    let elements = try tail(stream)
    #expect(elements.dropLast(2).elementsEqual(bodies.map { _ in header(.full, 0, "timer") }))
  }

  @Test("Other iterables pass as they are, before RAM and between its sections")
  func iterables() throws {
    var stream = Stream()
    stream.section(id: 9, "virtio-mem-early", body: [1, 2, 3])
    stream.section(.start, id: 7, "dirty-bitmap", body: bytes("7e 00000007 02 00000008"))
    stream.begin(.start)
    stream.encoder.ramBlocks(Stream.blocks)
    stream.end()
    stream.section(.part, id: 7, body: [4])
    stream.begin(.part)
    stream.end()
    stream.section(.end, id: 7, body: [])
    stream.begin(.end)
    stream.end()
    stream.encoder.eof()
    let elements = try stream.decode().elements
    let sections = elements.filter { if case .section = $0 { true } else { false } }
    #expect(
      sections == [
        header(.full, 9, "virtio-mem-early"), header(.start, 7, "dirty-bitmap"),
        header(.part, 7, "dirty-bitmap"), header(.end, 7, "dirty-bitmap"),
      ])
  }

  @Test("On a live socket a 00 is undecided until more comes, or nothing more can come")
  func liveEnd() throws {
    var stream = Stream.ended()
    let start = stream.encoder.bytes.count
    stream.section(id: 3, "rtc", body: [0, 0, 0])
    let footer = stream.encoder.bytes.count
    stream.encoder.eof()
    let end = stream.encoder.bytes.count
    stream.encoder.vmDescription("{ }".utf8)
    try stream.encoder.bytes.withUnsafeBytes { all in
      var decoder = StreamDecoder()
      func next(_ range: Range<Int>) throws -> StreamDecoder.Step {
        try decoder.next(UnsafeRawBufferPointer(rebasing: all[range]))
      }
      while decoder.position < start {
        guard case .element = try next(Int(decoder.position)..<all.count) else { break }
      }
      for arrived in start..<end + 6 {
        guard case .needMore(let count) = try next(start..<arrived) else {
          Issue.record("decided after \(arrived) bytes")
          return
        }
        #expect(count > 0 && arrived + count <= end + 6)
      }
      // Somebody knows that nothing follows: EOF.
      var ended = decoder
      ended.inputEnded = true
      #expect(
        try ended.next(UnsafeRawBufferPointer(rebasing: all[start..<end]))
          == .element(header(.full, 3, "rtc"), consumed: footer - start))
      #expect(
        try ended.next(UnsafeRawBufferPointer(rebasing: all[footer..<end]))
          == .element(.eof, consumed: 1))
      #expect(
        try ended.finish(remaining: UnsafeRawBufferPointer(rebasing: all[end..<end])) == .complete)
      // The same in one step, and in the other case.
      var finished = decoder
      #expect(
        try finished.finish(remaining: UnsafeRawBufferPointer(rebasing: all[start..<end]))
          == .complete)
      #expect(
        try next(start..<end + 6) == .element(header(.full, 3, "rtc"), consumed: footer - start))
    }
  }

  @Test("A section in single bytes is searched once, however long")
  func longSection() throws {
    let limit = ProcessorLimit()
    var stream = Stream.ended()
    let start = stream.encoder.bytes.count
    // Full of beginnings of footers.
    stream.section(id: 3, "vga", body: (0..<1 << 21).map { $0 % 3 == 0 ? 0x7e : 0 })
    stream.encoder.eof()
    stream.encoder.vmDescription("{}".utf8)
    try stream.encoder.bytes.withUnsafeBytes { all in
      var decoder = StreamDecoder()
      while decoder.position < start {
        _ = try decoder.next(UnsafeRawBufferPointer(rebasing: all[Int(decoder.position)...]))
      }
      for end in start + 1...all.count {
        if end.isMultiple(of: 1024) { try limit.check() }
        _ = try decoder.next(UnsafeRawBufferPointer(rebasing: all[Int(decoder.position)..<end]))
      }
      // What came with the last byte: the section, EOF and the description.
      for _ in 0..<2 {
        _ = try decoder.next(UnsafeRawBufferPointer(rebasing: all[Int(decoder.position)...]))
      }
      #expect(decoder.position == UInt64(all.count))
    }
  }

  @Test("Limits hold, and ids keep their meaning")
  func refused() {
    var stream = Stream.ended()
    let start = UInt64(stream.encoder.bytes.count)
    stream.limits.maxSection = 1000
    stream.section(id: 3, "vga", body: .init(repeating: 0, count: 1000))
    stream.expect(.limitExceeded, at: start, "1000")
    stream = Stream.ended()
    stream.limits.maxSections = 2
    stream.section(id: 2, "a", body: [])
    let third = UInt64(stream.encoder.bytes.count)
    stream.section(id: 3, "b", body: [])
    stream.encoder.eof()
    stream.expect(.limitExceeded, at: third + 1, "more than 2")
    stream = Stream.ended()
    stream.section(id: 1, "rtc", body: [])
    stream.encoder.eof()
    stream.expect(.mismatch, at: start + 1, "section id 1 is ram 0, now rtc 0")
    stream = Stream.ended()
    stream.raw("02 00000005")
    stream.expect(.unknownSection, at: start + 1, "5")
    stream = Stream.ended()
    stream.section(id: 5, "rtc", body: [])
    stream.encoder.raw([0])
    stream.encoder.raw([4])
    stream.expect(.truncated, at: UInt64(stream.encoder.bytes.count))
    stream = Stream.ended()
    stream.raw("04 00000006 00")
    stream.expect(.badLength, at: start + 5, "empty")
    stream = Stream.ended()
    stream.encoder.eof()
    stream.limits.maxVMDescription = 100
    stream.raw("06 00000065")
    stream.expect(.limitExceeded, at: start + 2, "101")
  }
}
