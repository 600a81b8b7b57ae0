/// Reads along on a main channel up to its first sync point: the block list, and what follows it
/// (SPECIFICATION section 2.5).
package struct StreamOpening {
  /// What follows the block list is there. So it is where something is no stream that we know: those
  /// at its ends judge that.
  package private(set) var isOver = false
  /// What is not to be passed on yet: a part of an element, or the first sync point.
  package private(set) var rest: [UInt8] = []
  private var decoder = StreamDecoder()

  /// More than any opening has in one piece.
  private static let maxElement = 1 << 20

  /// Somebody will say how it went: the source listens on the return path, or takes checkpoints.
  package var isAnswered: Bool { decoder.returnPathRequested || decoder.coloEnabled }

  /// Nothing has come.
  package init() {}

  /// The next bytes of the stream.
  ///
  /// - Returns: what may be passed on, in front of ``rest``.
  package mutating func take(_ bytes: UnsafeRawBufferPointer) -> [UInt8] {
    rest += bytes
    var done = 0
    rest.withUnsafeBytes { rest in
      while !isOver {
        let left = UnsafeRawBufferPointer(rebasing: rest[done...])
        switch try? decoder.next(left) {
        case .needMore(let missing):
          isOver = left.count + missing > Self.maxElement
          return
        case .element(let element, let consumed) where isBeforeMarker(element): done += consumed
        case nil, .element: isOver = true
        }
      }
    }
    defer { rest.removeFirst(done) }
    return Array(rest[..<done])
  }

  private func isBeforeMarker(_ element: StreamDecoder.Element) -> Bool {
    switch element {
    case .fileHeader, .configuration, .command, .section, .ramBegin, .ramBlocks: true
    default: false
    }
  }
}
