import TestSupport
import Testing
import Wire

@Suite("What was decoded encodes to the same bytes")
struct ReencodingTests {
  @Test("A main channel, element by element", arguments: Fixtures.sessions)
  func main(session: Fixtures.Session) throws {
    let main = try MainRecording(session)
    var encoder = StreamEncoder()
    var written = 0
    for piece in main.pieces {
      switch piece.element {
      case .fileHeader(let version):
        #expect(version == 3)
        encoder.fileHeader()
      case .configuration(let configuration): encoder.configuration(configuration)
      case .command(let command): encoder.command(command)
      case .ramBegin(let header): encoder.beginSection(header)
      case .ramBlocks(let blocks): encoder.ramBlocks(blocks)
      case .zero(let block, let offset, let fill):
        encoder.zero(block: block, offset: offset, fill: fill)
      case .page(let block, let offset): encoder.pageRecord(block: block, offset: offset)
      case .multifdFlush: encoder.multifdFlush()
      case .endOfRAMSection: encoder.endOfRAMSection()
      case .footer(let id): encoder.footer(id: id)
      case .section(let header):
        encoder.beginSection(header)
        encoder.raw(main.bytes[piece.range.dropFirst(header.encodedSize).dropLast(5)])
        encoder.footer(id: header.id)
      case .eof: encoder.eof()
      case .vmDescription: encoder.vmDescription(main.bytes[piece.range.dropFirst(5)])
      case .colo(let message): encoder.colo(message)
      case .deviceState(let size): encoder.deviceState(size: size)
      }
      encoder.raw(main.bytes[piece.raw])
      let bytes = encoder.take()
      try #require(
        bytes.elementsEqual(main.bytes[piece.range.lowerBound..<piece.raw.upperBound]),
        "\(piece.element) at byte \(piece.range.lowerBound)")
      written += bytes.count
    }
    #expect(written == main.bytes.count)
  }

  @Test("The headers of every multifd channel", arguments: Fixtures.sessions)
  func channels(session: Fixtures.Session) throws {
    let capacity = MultiFDPacketHeader.capacity(pageSize: 4096)
    for file in session.channels {
      let channel = try ChannelRecording(Fixtures.bytes(file))
      #expect(
        try #require(channel.start).encode().elementsEqual(channel.bytes[..<MultiFDInit.size]))
      var offsets = [UInt64](repeating: 0, count: capacity)
      for packet in channel.packets {
        let recorded = Array(channel.bytes[packet.range])
        // All ones: encode must write every byte of the header.
        var encoded = [UInt8](repeating: 0xff, count: recorded.count)
        try recorded.withUnsafeBytes { header in
          try offsets.withUnsafeMutableBufferPointer { into in
            try packet.header.decodeOffsets(
              from: header, into: into, blockLength: 1 << 40, at: 0)
          }
          let name = MultiFDPacketHeader.blockName(in: header)
          encoded.withUnsafeMutableBytes { target in
            offsets.withUnsafeBufferPointer {
              packet.header.encode(into: target, blockName: name, offsets: $0, pageSize: 4096)
            }
          }
        }
        // Entries behind the pages are undefined (SPECIFICATION section 3.3); encode writes zeros.
        let defined = 320 + 8 * packet.header.pageCount
        try #require(encoded[..<defined] == recorded[..<defined])
        #expect(encoded[defined...].allSatisfy { $0 == 0 })
      }
    }
  }

  @Test("What a destination answered", arguments: Fixtures.sessions.filter { $0.returnPath != nil })
  func returnPath(session: Fixtures.Session) throws {
    let bytes = try Fixtures.bytes(try #require(session.returnPath))
    // Up to 10.2 the return path is off, and COLO messages come alone.
    var frames: [ReturnPathMessage] = []
    var messages: [COLOMessage] = []
    try bytes.withUnsafeBytes { all in
      var at = 0
      if session.version == "111" {
        while frames.last != .shut(0),
          case .message(let message, let consumed) = try ReturnPathMessage.decode(
            UnsafeRawBufferPointer(rebasing: all[at...]), at: UInt64(at))
        {
          #expect(message.encode().elementsEqual(all[at..<at + consumed]))
          frames.append(message)
          at += consumed
        }
        #expect(frames == [.pong(1), .shut(0)])
      }
      while at < all.count {
        let message = try COLOMessage(
          decoding: UnsafeRawBufferPointer(rebasing: all[at...]), at: UInt64(at))
        #expect(message.encode().elementsEqual(all[at..<at + COLOMessage.size]))
        messages.append(message)
        at += COLOMessage.size
      }
    }
    let checkpoint: [COLOMessage] = [.checkpointReply, .vmstateReceived, .vmstateLoaded]
    let cycle = [.checkpointReady] + (0..<messages.count / 3).flatMap { _ in checkpoint }
    #expect(messages == Array((cycle + checkpoint).prefix(messages.count)))
    #expect(messages.count > 3)
  }
}
