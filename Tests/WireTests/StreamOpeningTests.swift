import TestSupport
import Testing
import Wire

/// Where a relay stops for the channels.
@Suite("The opening of a main channel")
struct StreamOpeningTests {
  /// What passes before its end and what is kept then, of a stream that comes in such pieces.
  private func open(_ bytes: [UInt8], chunk: Int) -> (passed: [UInt8], opening: StreamOpening) {
    var opening = StreamOpening()
    var (passed, at): ([UInt8], Int) = ([], 0)
    while at < bytes.count, !opening.isOver {
      let end = min(bytes.count, at + chunk)
      passed += bytes[at..<end].withUnsafeBytes { opening.take($0) }
      at = end
      #expect(passed + opening.rest == Array(bytes[..<at]))
    }
    return (passed, opening)
  }

  @Test("It ends behind the block list, before whatever follows", arguments: Fixtures.sessions)
  func recorded(session: Fixtures.Session) throws {
    let main = try MainRecording(session)
    let list = try #require(
      main.pieces.firstIndex { if case .ramBlocks = $0.element { true } else { false } })
    let end = main.pieces[list].range.upperBound
    let next = main.pieces[list + 1]
    #expect([.multifdFlush, .endOfRAMSection].contains(next.element))
    for chunk in [1, 7, 4096, .max / 2] {
      let (passed, opening) = open(main.bytes, chunk: chunk)
      #expect(opening.isOver && passed.count == end)
    }
    // And not before that is there.
    let (passed, opening) = open(Array(main.bytes[..<(next.range.upperBound - 1)]), chunk: 1 << 16)
    #expect(!opening.isOver && passed.count == end)
  }

  @Test("What is no stream of ours ends it at once, and so does what has no end")
  func strange() {
    for chunk in [1, 64] {
      let (passed, opening) = open(Array("QEVMno such stream".utf8), chunk: chunk)
      #expect(opening.isOver && passed.count < 18)
    }
    // A configuration of almost 4 GiB.
    let (passed, opening) = open(
      [0x51, 0x45, 0x56, 0x4d, 0, 0, 0, 3, 7, 0xff, 0xff, 0xff, 0xff]
        + [UInt8](repeating: 0x61, count: 2 << 20), chunk: 65536)
    #expect(opening.isOver && passed.count == 8 && opening.rest.count <= (1 << 20) + 65536)
  }
}
