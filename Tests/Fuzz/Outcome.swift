import Wire

/// What a decoder made of a file: enough of it to compare two ways of feeding the same bytes.
struct Outcome: Equatable {
  /// `ok`, or the error's code.
  var name = "ok"
  /// The error's offset, or the completion.
  var end = ""
  /// A sum over the elements.
  var digest: UInt64 = 0
  var elements = 0

  mutating func mix(_ value: UInt64) {
    digest = (digest ^ value) &* 0x100_0000_01b3
    elements &+= 1
  }

  mutating func fail(_ error: WireError) {
    name = error.code.rawValue
    end = "\(error.offset)"
  }
}

/// Decodes one file to its end, arriving in pieces of `chunk` bytes, and checks what must hold of
/// every decode.
struct Decoding {
  var chunk = Int.max
  /// Also look into VM descriptions and device state, which is slow for its size.
  var deep = false
  /// What must never be, if it was.
  var violation: String?

  mutating func require(_ condition: Bool, _ text: @autoclosure () -> String) {
    if !condition && violation == nil { violation = text() }
  }

  mutating func main(_ all: UnsafeRawBufferPointer) -> Outcome {
    var outcome = Outcome()
    var decoder = StreamDecoder()
    var (start, arrived) = (0, 0)
    func rest() -> UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: all[start..<arrived]) }
    do throws(WireError) {
      feed: while arrived < all.count {
        arrived += min(chunk, all.count - arrived)
        while true {
          // Raw bytes are skipped without being looked at.
          let due = Int(min(decoder.rawBytesDue, UInt64(arrived - start)))
          decoder.didTake(due)
          start += due
          guard decoder.rawBytesDue == 0 else { continue feed }
          switch try decoder.next(rest()) {
          case .needMore(let count):
            require(count > 0, "asks for \(count) bytes")
            continue feed
          case .element(let element, let consumed):
            require(consumed > 0 && consumed <= arrived - start, "consumes \(consumed)")
            guard violation == nil else { return outcome }
            try look(at: element, rest(), consumed, decoder, &outcome)
            start += consumed
            require(decoder.position == UInt64(start), "position \(decoder.position), not \(start)")
          }
        }
      }
      arrived = all.count
      outcome.end = "\(try decoder.finish(remaining: rest()))"
    } catch {
      outcome.fail(error)
      require(error.offset <= UInt64(all.count), "an error behind the end: \(error)")
    }
    return outcome
  }

  private mutating func look(
    at element: StreamDecoder.Element, _ rest: UnsafeRawBufferPointer, _ consumed: Int,
    _ decoder: StreamDecoder, _ outcome: inout Outcome
  ) throws(WireError) {
    let length = { (block: Int) in
      decoder.blocks.indices.contains(block) ? decoder.blocks[block].usedLength : 0
    }
    switch element {
    case .zero(let block, let offset, let fill):
      require(offset % 4096 == 0 && offset < length(block), "zero page \(offset) of block \(block)")
      outcome.mix(offset | UInt64(fill) | UInt64(block) << 56)
    case .page(let block, let offset):
      require(offset % 4096 == 0 && offset < length(block), "page \(offset) of block \(block)")
      outcome.mix(offset | 1 | UInt64(block) << 56)
    case .vmDescription where deep:
      _ = try VMDescription(
        decoding: UnsafeRawBufferPointer(rebasing: rest[5..<consumed]),
        at: decoder.position - UInt64(consumed) + 5)
    case .deviceState(let size):
      outcome.mix(size)
      guard deep, chunk == .max, size <= UInt64(rest.count - consumed) else { break }
      let blob = UnsafeRawBufferPointer(rebasing: rest[consumed..<consumed + Int(size)])
      let sections = try DeviceStateScanner.split(blob, at: decoder.position)
      require(
        sections.allSatisfy { $0.range.upperBound <= blob.count }, "a section beyond its blob")
    default: outcome.mix(UInt64(consumed))
    }
  }

  mutating func channel(
    _ all: UnsafeRawBufferPointer, _ dialect: PacketDialect = .qemu
  ) -> Outcome {
    var outcome = Outcome()
    var decoder = ChannelDecoder(dialect: dialect)
    let room = MultiFDPacketHeader.capacity(pageSize: 4096)
    var (start, arrived) = (0, 0)
    func rest() -> UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: all[start..<arrived]) }
    let blockLength: UInt64 = 32 << 20
    do throws(WireError) {
      feed: while arrived < all.count {
        arrived += min(chunk, all.count - arrived)
        while true {
          let due = min(decoder.rawBytesDue, arrived - start)
          decoder.didTake(due)
          start += due
          guard decoder.rawBytesDue == 0 else { continue feed }
          guard case .element(let element, let consumed) = try decoder.next(rest()) else {
            continue feed
          }
          require(consumed > 0 && consumed <= arrived - start, "consumes \(consumed)")
          guard violation == nil else { return outcome }
          if case .packet(let packet, let payload) = element {
            require(payload <= decoder.maxPayload && packet.pageCount <= room, "packet \(packet)")
            let header = UnsafeRawBufferPointer(rebasing: rest()[..<consumed])
            try offsets(packet, header, blockLength, at: UInt64(start), &outcome)
          }
          outcome.mix(UInt64(consumed))
          start += consumed
        }
      }
      arrived = all.count
      try decoder.finish(remaining: rest())
    } catch {
      outcome.fail(error)
      require(error.offset <= UInt64(all.count), "an error behind the end: \(error)")
    }
    return outcome
  }

  private mutating func offsets(
    _ packet: MultiFDPacketHeader, _ header: UnsafeRawBufferPointer, _ blockLength: UInt64,
    at offset: UInt64, _ outcome: inout Outcome
  ) throws(WireError) {
    let result = withUnsafeTemporaryAllocation(of: UInt64.self, capacity: 128) {
      offsets -> Result<(UInt64, UInt64), WireError> in
      do throws(WireError) {
        try packet.decodeOffsets(from: header, into: offsets, blockLength: blockLength, at: offset)
      } catch {
        return .failure(error)
      }
      let pages = offsets.prefix(packet.pageCount)
      return .success((pages.reduce(0, &+), pages.max() ?? 0))
    }
    let (sum, highest) = try result.get()
    require(highest < blockLength, "offset \(highest)")
    outcome.mix(sum)
  }

  /// Return-path frames up to SHUT, then COLO messages.
  mutating func returnPath(_ all: UnsafeRawBufferPointer, framed: Bool) -> Outcome {
    var outcome = Outcome()
    var start = 0
    var inFrames = framed
    do throws(WireError) {
      while start < all.count {
        let rest = UnsafeRawBufferPointer(rebasing: all[start...])
        if inFrames {
          switch try ReturnPathMessage.decode(rest, at: UInt64(start)) {
          case .needMore(let count):
            require(count > 0, "asks for \(count) bytes")
            outcome.name = WireError.Code.truncated.rawValue
            return outcome
          case .message(let message, let consumed):
            require(
              message.encode().elementsEqual(rest[..<consumed]), "\(message) encodes otherwise")
            if case .shut = message { inFrames = false }
            start += consumed
          }
        } else {
          _ = try COLOMessage(decoding: rest, at: UInt64(start))
          start += COLOMessage.size
        }
        outcome.mix(UInt64(start))
      }
    } catch {
      outcome.fail(error)
    }
    return outcome
  }
}
