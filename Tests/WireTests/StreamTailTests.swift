import TestSupport
import Testing
import Wire

/// Where the main channel of a migration may end.
@Suite("The tail of a main channel")
struct StreamTailTests {
  private func isWhole(_ bytes: some Collection<UInt8>, chunk: Int) -> Bool {
    var tail = StreamTail()
    var rest = Array(bytes)[...]
    while !rest.isEmpty {
      Array(rest.prefix(chunk)).withUnsafeBytes { tail.look(at: $0) }
      rest = rest.dropFirst(chunk)
    }
    return tail.isWhole
  }

  @Test(
    "Whole with its description, or where that would begin, and nowhere else",
    arguments: Fixtures.sessions.filter { !$0.isCOLO })
  func recorded(session: Fixtures.Session) throws {
    let main = try MainRecording(session)
    let description = try #require(main.pieces.last)
    #expect(description.element == .vmDescription)
    let (start, end) = (description.range.lowerBound, main.bytes.count)
    for chunk in [5, 4096, .max / 2] {
      #expect(isWhole(main.bytes, chunk: chunk))
      #expect(isWhole(main.bytes[..<start], chunk: chunk))
      for cut in [1, 2, 6, 100, start - 1, start + 1, start + 5, start + 6, end - 2, end - 1] {
        #expect(!isWhole(main.bytes[..<cut], chunk: chunk), "\(cut)")
      }
      #expect(!isWhole(main.bytes + [0], chunk: chunk))
    }
    #expect(!isWhole([], chunk: 1))
    // Byte by byte, of what matters.
    #expect(isWhole(main.bytes[(start - 1)...], chunk: 1))
  }

  @Test("What looks like its beginning, again and again, takes no memory and hides nothing")
  func decoys() {
    let decoy: [UInt8] = [0, 6, 0, 0, 0, 2, UInt8(ascii: "{"), UInt8(ascii: "}")]
    let bytes = (0..<5000).flatMap { _ in decoy.prefix(7) + [1] } + decoy
    #expect(isWhole(bytes, chunk: 3) && isWhole(bytes, chunk: 1 << 16))
    #expect(!isWhole(bytes + [1], chunk: 1 << 16))
  }
}
