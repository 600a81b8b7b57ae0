import Migration
import Roles
import TestSupport
import Testing

/// However QEMU's bytes are cut, the frames come out that went in; what is no frame ends it.
@Suite("Frames of a redirector")
struct FrameSplitterTests {
  @Test("Cut at every byte, and into single bytes")
  func cuts() throws {
    let frames = [
      Frames.make(1), Frames.make(2, size: 14), Frames.head(1) + [7],
      Frames.make(3, size: 72, header: 12), Frames.make(4, size: 9, header: 9),
    ]
    let stream = frames.flatMap { $0 }
    for cut in 0...stream.count {
      #expect(try split([stream[..<cut], stream[cut...]]) == frames, "cut at \(cut)")
    }
    #expect(try split(stream.map { [$0][...] }) == frames)
  }

  @Test("Long ones, cut anywhere", arguments: 0..<10)
  func long(seed: UInt64) throws {
    var random = SeededGenerator(seed: seed)
    let frames = (0..<200).map { number in
      Frames.make(number, size: .random(in: 8...FrameSplitter.maxFrame, using: &random))
    }
    var rest = frames.flatMap { $0 }[...]
    var pieces: [ArraySlice<UInt8>] = []
    while !rest.isEmpty {
      let count = Int.random(in: 1...180_000, using: &random)
      pieces.append(rest.prefix(count))
      rest = rest.dropFirst(count)
    }
    #expect(try split(pieces) == frames)
  }

  @Test(
    "Lengths that are no frame's",
    arguments: [
      (0, 0), (FrameSplitter.maxFrame + 1, 0), (1 << 31, 0), (0xffff_ffff, 0), (60, 61),
      (60, 0xffff_ffff),
    ])
  func nonsense(length: Int, header: Int) {
    let stream = Frames.make(1) + Frames.head(length, header) + [UInt8](repeating: 0, count: 99)
    for cut in 0...stream.count {
      #expect("cut at \(cut)") {
        try split([stream[..<cut], stream[cut...]])
      } throws: {
        ($0 as? Failure)?.kind == .corrupt
      }
    }
  }

  @Test("Noise gives no more than it has", arguments: 0..<20)
  func noise(seed: UInt64) {
    var random = SeededGenerator(seed: seed)
    // Mostly zeroes, so that lengths are often small enough.
    let stream = (0..<5000).map { _ in
      UInt8.random(in: 0...9, using: &random) == 0 ? UInt8.random(in: 0...200, using: &random) : 0
    }
    var splitter = FrameSplitter()
    var taken = 0
    _ = splitter.fill { room -> Int? in
      room.copyBytes(from: stream)
      return stream.count
    }
    while let frame = try? splitter.next() {
      #expect(Array(frame) == Array(stream[taken..<taken + frame.count]))
      taken += frame.count
    }
    #expect(taken + splitter.pending == stream.count)
  }

  private func split(_ pieces: [ArraySlice<UInt8>]) throws -> [[UInt8]] {
    var splitter = FrameSplitter()
    var frames: [[UInt8]] = []
    for piece in pieces {
      let count = splitter.fill { room -> Int? in
        // Each piece fits: the room is more than what a frame's beginning leaves of the buffer.
        room.copyBytes(from: piece)
        return piece.count
      }
      #expect(count == piece.count)
      while let frame = try splitter.next() { frames.append(Array(frame)) }
    }
    #expect(splitter.pending == 0)
    return frames
  }
}
