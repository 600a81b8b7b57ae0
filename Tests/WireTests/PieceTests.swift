import TestSupport
import Testing
import Wire

/// However a stream is cut into pieces, and wherever it is cut off.
@Suite("Pieces of a stream")
struct PieceTests {
  init() { Backtraces.off }

  @Test("Pieces of any size give the same elements", arguments: Fixtures.sessions)
  func chunks(session: Fixtures.Session) throws {
    let bytes = try Fixtures.bytes(session.main)
    let whole = try MainRecording(bytes)
    for chunk in [1, 7, 1021, 4093, 65537] {
      let pieces = try MainRecording(bytes, chunk: chunk)
      #expect(pieces.pieces == whole.pieces, "in pieces of \(chunk)")
      #expect(pieces.completion == whole.completion, "in pieces of \(chunk)")
    }
  }

  /// Checks one place where the stream may have been cut off.
  private func cut(_ decoder: StreamDecoder, _ tail: UnsafeRawBufferPointer) throws -> Bool {
    var copy = decoder
    let end = decoder.position + UInt64(tail.count)
    do {
      _ = try copy.finish(remaining: tail)
      return true
    } catch {
      try hold(error.code == .truncated && error.offset == end, "\(error)")
      return false
    }
  }

  @Test("Cut off anywhere, a main channel is truncated or complete", arguments: Fixtures.sessions)
  func truncatedMain(session: Fixtures.Session) throws {
    let main = try MainRecording(session)
    let eof = try #require(main.pieces.first { $0.element == .eof }).range.upperBound
    let description = try #require(main.pieces.first { $0.element == .vmDescription }).range
      .upperBound
    var decoder = StreamDecoder()
    try main.bytes.withUnsafeBytes { all in
      var (start, end) = (0, 0)
      while end < all.count {
        // Within raw bytes only their number matters: halves of what is left.
        let due = Int(decoder.rawBytesDue)
        if due > 0 {
          decoder.didTake((due + 1) / 2)
          start += (due + 1) / 2
          end = start
        } else {
          end += 1
        }
        let tail = UnsafeRawBufferPointer(rebasing: all[start..<end])
        if decoder.rawBytesDue == 0, !tail.isEmpty,
          case .element(_, let consumed) = try decoder.next(tail)
        {
          start += consumed
        }
        let isEnd = try cut(decoder, UnsafeRawBufferPointer(rebasing: all[start..<end]))
        if end < eof {
          // `7e id 00` in a device's body cannot be told from the last footer and EOF.
          let looksLikeEnd = end > 6 && all[end - 1] == 0 && all[end - 6] == 0x7e
          try hold(!isEnd || looksLikeEnd, "at byte \(end)")
        } else {
          // In COLO the primary may be gone at any time; but a first request must be whole.
          let expected = end == eof || end == description || end >= description + 4
          try hold(isEnd == expected, "at byte \(end)")
        }
      }
      #expect(start == end)
    }
  }

  @Test("Cut off anywhere, a channel is truncated or between packets", arguments: Fixtures.sessions)
  func truncatedChannels(session: Fixtures.Session) throws {
    for file in session.channels {
      let channel = try ChannelRecording(Fixtures.bytes(file))
      let ends = Set(channel.packets.map(\.payload.upperBound) + [MultiFDInit.size])
      var decoder = ChannelDecoder()
      try channel.bytes.withUnsafeBytes { all in
        var start = 0
        for end in 0...all.count {
          let raw = min(decoder.rawBytesDue, end - start)
          decoder.didTake(raw)
          start += raw
          let tail = UnsafeRawBufferPointer(rebasing: all[start..<end])
          if decoder.rawBytesDue == 0, case .element(_, let consumed) = try decoder.next(tail) {
            start += consumed
          }
          // The inside of a payload is all alike.
          if raw > 0 && decoder.rawBytesDue > 1 && end % 251 != 0 { continue }
          var copy = decoder
          let rest = UnsafeRawBufferPointer(rebasing: all[start..<end])
          do {
            try copy.finish(remaining: rest)
            try hold(ends.contains(end), "at byte \(end)")
          } catch let error as WireError {
            try hold(error.code == .truncated && error.offset == UInt64(end), "\(error)")
            try hold(!ends.contains(end), "at byte \(end)")
          }
        }
      }
    }
  }

  @Test("A device state blob cut off anywhere gives a typed error")
  func truncatedBlob() throws {
    let main = try MainRecording(try #require(Fixtures.session("bios-colo-111-plain")))
    let blob = try #require(
      main.pieces.first { if case .deviceState = $0.element { true } else { false } })
    let bytes = Array(main.bytes[blob.raw])
    for end in stride(from: 0, to: bytes.count, by: 13) {
      let error = bytes[..<end].withUnsafeBytes { part in
        #expect(throws: WireError.self) { try DeviceStateScanner.split(part) }
      }
      #expect(error?.code == .truncated || error?.code == .badLength)
    }
  }
}
