import TestSupport
import Testing
import Wire

@Suite("Recorded sessions of stock QEMUs")
struct RecordedSessionTests {
  @Test("All 24 recorded sessions are here")
  func count() {
    #expect(Fixtures.sessions.count == 24)
    #expect(Fixtures.sessions.filter(\.isCOLO).count == 10)
    #expect(Fixtures.sessions.reduce(0) { $0 + $1.sourceFiles.count } == 62)
  }

  @Test("A main channel decodes to its end", arguments: Fixtures.sessions)
  func main(session: Fixtures.Session) throws {
    let main = try MainRecording(session)
    #expect(main.decoder.position == UInt64(main.bytes.count))
    // The primaries up to 10.2 were killed when they had just asked for one more checkpoint.
    if session.isCOLO && session.version != "111" {
      #expect(main.completion == .insideCheckpoint(number: main.decoder.checkpoint))
      #expect(main.decoder.phase == .requested)
    } else {
      #expect(main.completion == .complete)
    }
    #expect((main.decoder.checkpoint > 0) == session.isCOLO)
    #expect(main.decoder.hasFooters == true)
    #expect(main.decoder.blocks.first { $0.name == "pc.ram" }?.usedLength == 32 << 20)
    // Up to 10.2 a COLO source says so; later it wants the return path instead.
    #expect(main.decoder.coloEnabled == (session.isCOLO && session.version != "111"))
    #expect(main.decoder.returnPathRequested == (session.isCOLO && session.version == "111"))
  }

  @Test("Each page of RAM arrives, at least once", arguments: Fixtures.sessions)
  func pages(session: Fixtures.Session) throws {
    let main = try MainRecording(session)
    let blocks = main.decoder.blocks
    var seen = blocks.map { [Bool](repeating: false, count: Int($0.usedLength / 4096)) }
    for piece in main.pieces {
      switch piece.element {
      case .zero(let block, let offset, let fill):
        #expect(fill == 0)
        seen[block][Int(offset / 4096)] = true
      case .page(let block, let offset):
        #expect(piece.raw.count == 4096)
        seen[block][Int(offset / 4096)] = true
      default: break
      }
    }
    for file in session.channels {
      let channel = try ChannelRecording(Fixtures.bytes(file))
      try channel.bytes.withUnsafeBytes { bytes in
        var offsets = [UInt64](repeating: 0, count: MultiFDPacketHeader.capacity(pageSize: 4096))
        for packet in channel.packets where packet.header.pageCount > 0 {
          let header = UnsafeRawBufferPointer(rebasing: bytes[packet.range])
          let name = String(decoding: MultiFDPacketHeader.blockName(in: header), as: UTF8.self)
          let block = try #require(blocks.firstIndex { $0.name == name })
          try offsets.withUnsafeMutableBufferPointer {
            try packet.header.decodeOffsets(
              from: header, into: $0, blockLength: blocks[block].usedLength, at: 0)
          }
          for offset in offsets.prefix(packet.header.pageCount) {
            seen[block][Int(offset / 4096)] = true
          }
        }
      }
    }
    for (block, pages) in zip(blocks, seen) {
      #expect(pages.allSatisfy { $0 }, "\(block.name)")
    }
  }

  @Test(
    "Every channel has as many SYNCs as the main channel has markers", arguments: Fixtures.sessions)
  func syncs(session: Fixtures.Session) throws {
    let main = try MainRecording(session)
    let isLegacy =
      session.version == "72" || session.name.contains("pc72") || session.name.contains("q35-72")
    if !session.channels.isEmpty {
      #expect(main.decoder.syncMode == (isLegacy ? .perSection : .flush))
    }
    var ids: Set<UInt8> = []
    for file in session.channels {
      let channel = try ChannelRecording(Fixtures.bytes(file))
      #expect(channel.syncs == main.markers)
      ids.insert(try #require(channel.start).id)
      #expect(channel.start?.uuid == .zero)
    }
    #expect(ids == Set((0..<session.channels.count).map(UInt8.init)))
  }

  @Test("The methods are those of the session's name", arguments: Fixtures.sessions)
  func methods(session: Fixtures.Session) throws {
    let name = try #require(
      session.name.split(separator: "-").first { MultiFDMethod(name: String($0)) != nil } ?? "none")
    for file in session.channels {
      let channel = try ChannelRecording(Fixtures.bytes(file))
      for packet in channel.packets where packet.header.pageCount > 0 {
        #expect(packet.header.flags.method.name == name)
      }
    }
  }

  @Test(
    "The sections found by their footers have the sizes of the VM description",
    arguments: Fixtures.sessions)
  func description(session: Fixtures.Session) throws {
    let main = try MainRecording(session)
    var sections: [(header: SectionHeader, bodySize: Int, position: UInt64)] = []
    var description: VMDescription?
    var first: Int?
    var end = 0
    for piece in main.pieces {
      switch piece.element {
      case .section(let header):
        #expect(header.kind == .full)
        first = first ?? piece.range.lowerBound
        sections.append(
          (header, piece.range.count - header.encodedSize - 5, UInt64(piece.range.lowerBound)))
      case .eof where description == nil: end = piece.range.upperBound
      case .vmDescription:
        description = try main.bytes[piece.range.dropFirst(5)].withUnsafeBytes {
          try VMDescription(decoding: $0, at: UInt64(piece.range.lowerBound + 5))
        }
      default: break
      }
    }
    let found = try #require(description)
    #expect(found.pageSize == 4096)
    #expect(sections.count >= 20)
    try found.verify(sections)
    // The same without a stream: by footers, and by the description.
    try main.bytes[try #require(first)..<end].withUnsafeBytes { blob in
      let split = try DeviceStateScanner.split(blob)
      #expect(split.map(\.header) == sections.map(\.header))
      #expect(split == (try DeviceStateScanner.split(blob, by: found)))
    }
  }

  @Test(
    "A checkpoint's device state splits into the migration's devices",
    arguments: Fixtures.sessions.filter(\.isCOLO))
  func checkpoints(session: Fixtures.Session) throws {
    let main = try MainRecording(session)
    let devices = main.pieces.compactMap { piece -> String? in
      guard case .section(let header) = piece.element else { return nil }
      return "\(header.name)/\(header.instance)"
    }
    let blobs = main.pieces.filter { if case .deviceState = $0.element { true } else { false } }
    #expect(blobs.count == main.decoder.checkpoint - (main.decoder.phase == .requested ? 1 : 0))
    for blob in blobs {
      let sections = try main.bytes[blob.raw].withUnsafeBytes {
        try DeviceStateScanner.split($0, at: UInt64(blob.raw.lowerBound))
      }
      #expect(sections.map { "\($0.header.name)/\($0.header.instance)" } == devices)
      #expect(sections.last?.range.upperBound == blob.raw.count - 1)
    }
  }
}
