import TestSupport
import Testing
import Wire

/// Pages that are decoded many at a time.
@Suite("Runs of pages")
struct PageRunTests {
  /// A page as it came, and where its contents began in the stream.
  private struct Page: Equatable {
    var block: Int
    var offset: UInt64
    /// nil of a zero page.
    var contents: Int?
  }

  private static let size = 1024

  /// A stream of page records at random: ascending and not, zero and other fill bytes, both blocks.
  private func stream(_ seed: UInt64) -> Stream {
    var generator = SeededGenerator(seed: seed)
    var stream = Stream.started()
    stream.limits.pageSize = Self.size
    var block = 0
    for _ in 0..<8 {
      stream.begin(.part)
      var page = 0
      for _ in 0..<Int.random(in: 0...300, using: &generator) {
        if Int.random(in: 0..<40, using: &generator) == 0 {
          (block, page) = (Int.random(in: 0..<2, using: &generator), 0)
        }
        let count = Int(Stream.blocks[block].usedLength) / Self.size
        if page == count || Int.random(in: 0..<20, using: &generator) == 0 {
          page = Int.random(in: 0..<count, using: &generator)
        }
        let offset = UInt64(page * Self.size)
        switch Int.random(in: 0..<16, using: &generator) {
        case 0..<8:
          stream.encoder.pageRecord(block: block, offset: offset)
          stream.encoder.raw(repeatElement(UInt8(page & 0xff), count: Self.size))
        case 8..<15: stream.encoder.zero(block: block, offset: offset)
        default: stream.encoder.zero(block: block, offset: offset, fill: 0xff)
        }
        page += 1
      }
      stream.end()
    }
    return stream
  }

  /// Decodes a stream that comes in pieces.
  ///
  /// - Parameter runs: with runs; else record by record.
  /// - Returns: its pages, how many of them were in runs, and what was wrong at the end.
  private func decode(
    _ bytes: [UInt8], pageSize: Int, chunk: Int, runs: Bool
  ) -> (pages: [Page], inRuns: Int, failure: WireError?, position: UInt64) {
    var limits = StreamDecoder.Limits()
    limits.pageSize = pageSize
    var decoder = StreamDecoder(limits: limits)
    var run = PageRun()
    var (pages, inRuns) = ([Page](), 0)
    // The slices are of an array that outlives the closure.
    return bytes.withUnsafeBytes { all in
      var (start, end) = (0, 0)
      do {
        while true {
          let rest = UnsafeRawBufferPointer(rebasing: all[start..<end])
          let consumed = runs ? decoder.pages(rest, into: &run) : 0
          if consumed > 0 {
            var found: [Page] = []
            for (offset, place) in zip(run.normal, run.contents) {
              found.append(Page(block: run.block, offset: offset, contents: start + place))
            }
            found += run.zero.map { Page(block: run.block, offset: $0, contents: nil) }
            found.sort { $0.offset < $1.offset }
            #expect(run.first == found.first?.offset && run.last == found.last?.offset)
            #expect(run.normalCount + run.zeroCount == found.count)
            #expect(found.count <= 2 * PageRun.capacity)
            pages += found
            inRuns += found.count
            start += consumed
            continue
          }
          switch try decoder.next(rest) {
          case .needMore:
            guard end < all.count else { return (pages, inRuns, nil, decoder.position) }
            end = min(end + chunk, all.count)
          case .element(let element, let consumed):
            start += consumed
            switch element {
            case .zero(let block, let offset, let fill):
              // Another fill byte is never a run's.
              if fill == 0 { pages.append(Page(block: block, offset: offset, contents: nil)) }
            case .page(let block, let offset):
              pages.append(Page(block: block, offset: offset, contents: start))
            default: break
            }
            // What follows raw: a page's contents, a checkpoint's device state.
            let raw = Int(decoder.rawBytesDue)
            guard raw <= all.count - start else { return (pages, inRuns, nil, decoder.position) }
            decoder.didTake(raw)
            start += raw
            end = max(end, start)
          }
        }
      } catch let error as WireError {
        return (pages, inRuns, error, decoder.position)
      } catch { fatalError("\(error)") }
    }
  }

  @Test("Runs are what single records are, however they come", arguments: 0..<24)
  func random(seed: UInt64) {
    let stream = stream(seed)
    let single = decode(stream.encoder.bytes, pageSize: Self.size, chunk: 1 << 20, runs: false)
    #expect(single.failure == nil && single.inRuns == 0)
    for chunk in [1, 9, 1032, 1033, 5000, 1 << 20] {
      let runs = decode(stream.encoder.bytes, pageSize: Self.size, chunk: chunk, runs: true)
      #expect(runs.pages == single.pages && runs.position == single.position, "chunk \(chunk)")
      #expect(runs.failure == nil)
      if chunk == 1 << 20 { #expect(runs.inRuns * 2 > runs.pages.count) }
    }
  }

  @Test("The same of recorded streams", arguments: Fixtures.sessions)
  func recorded(session: Fixtures.Session) throws {
    let bytes = try Fixtures.bytes(session.main)
    let single = decode(bytes, pageSize: 4096, chunk: bytes.count, runs: false)
    let runs = decode(bytes, pageSize: 4096, chunk: 40_000, runs: true)
    #expect(runs.pages == single.pages && runs.position == single.position)
    #expect(runs.failure == single.failure)
  }

  @Test("A page that is none is an error at its record, as before")
  func wrong() {
    for word in [0x8000 | 0x28, 0x3000 | 0x68, 0x3000 | 0x2a] as [UInt64] {
      var stream = Stream.started()
      stream.begin(.part)
      stream.encoder.zero(block: 0, offset: 0)
      stream.encoder.pageRecord(block: 0, offset: 0x1000)
      stream.encoder.raw(repeatElement(1, count: 4096))
      let place = UInt64(stream.encoder.bytes.count)
      stream.encoder.raw((0..<8).reversed().map { UInt8(truncatingIfNeeded: word >> ($0 * 8)) })
      stream.encoder.raw(repeatElement(1, count: 4096))
      let single = decode(stream.encoder.bytes, pageSize: 4096, chunk: 1 << 20, runs: false)
      let runs = decode(stream.encoder.bytes, pageSize: 4096, chunk: 1 << 20, runs: true)
      #expect(runs.pages == single.pages && runs.pages.count == 2 && runs.inRuns == 1)
      #expect(runs.failure == single.failure && runs.failure?.offset == place)
    }
  }
}
