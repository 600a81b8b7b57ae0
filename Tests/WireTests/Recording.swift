import TestSupport
import Testing
import Wire

/// One element of a recorded main channel and where its bytes are.
struct Piece: Equatable {
  var element: StreamDecoder.Element
  /// The element's own bytes in the file.
  var range: Range<Int>
  /// The raw bytes that follow it, for a page or device state.
  var raw: Range<Int>
}

/// A main channel, decoded to its end.
struct MainRecording {
  var bytes: [UInt8]
  var pieces: [Piece] = []
  var decoder: StreamDecoder
  var completion: StreamDecoder.Completion

  /// Decodes `bytes`, which arrive `chunk` at a time.
  init(_ bytes: [UInt8], chunk: Int = .max) throws {
    var decoder = StreamDecoder()
    var pieces: [Piece] = []
    completion = try bytes.withUnsafeBytes { all in
      var (start, arrived) = (0, 0)
      while arrived < all.count {
        arrived += min(chunk, all.count - arrived)
        var isHungry = false
        while !isHungry {
          let due = min(Int(decoder.rawBytesDue), arrived - start)
          decoder.didTake(due)
          start += due
          guard decoder.rawBytesDue == 0 else { break }
          switch try decoder.next(UnsafeRawBufferPointer(rebasing: all[start..<arrived])) {
          case .needMore(let count):
            try hold(count > 0)
            isHungry = true
          case .element(let element, let consumed):
            try hold(consumed > 0 && consumed <= arrived - start)
            let range = start..<start + consumed
            start += consumed
            pieces.append(
              Piece(element: element, range: range, raw: start..<start + Int(decoder.rawBytesDue)))
          }
          try hold(decoder.position == UInt64(start), "at byte \(start)")
        }
      }
      return try decoder.finish(remaining: UnsafeRawBufferPointer(rebasing: all[start...]))
    }
    (self.bytes, self.pieces, self.decoder) = (bytes, pieces, decoder)
  }

  init(_ session: Fixtures.Session, chunk: Int = .max) throws {
    try self.init(Fixtures.bytes(session.main), chunk: chunk)
  }

  /// How many sync points the channels have to reach (SPECIFICATION section 2.5).
  var markers: Int {
    let marker: StreamDecoder.Element =
      decoder.syncMode == .flush ? .multifdFlush : .endOfRAMSection
    return pieces.count { $0.element == marker }
  }
}

/// A packet of a recorded channel and where its bytes are.
struct Packet {
  var header: MultiFDPacketHeader
  var range: Range<Int>
  var payload: Range<Int>
}

/// A multifd channel, decoded to its end.
struct ChannelRecording {
  var bytes: [UInt8]
  var start: MultiFDInit?
  var packets: [Packet] = []
  var syncs = 0

  init(_ bytes: [UInt8]) throws {
    self.bytes = bytes
    var decoder = ChannelDecoder()
    try bytes.withUnsafeBytes { all in
      var at = 0
      while case .element(let element, let consumed) = try decoder.next(
        UnsafeRawBufferPointer(rebasing: all[at...]))
      {
        let range = at..<at + consumed
        at += consumed
        switch element {
        case .start(let start): self.start = start
        case .packet(let header, let payload):
          packets.append(Packet(header: header, range: range, payload: at..<at + payload))
          try hold(at + payload <= all.count)
          decoder.didTake(payload)
          at += payload
        case .deviceState: Issue.record("no recorded session has device-state packets")
        }
      }
      try decoder.finish(remaining: UnsafeRawBufferPointer(rebasing: all[at...]))
    }
    syncs = decoder.syncs
  }
}
