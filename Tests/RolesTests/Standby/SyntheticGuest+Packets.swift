import Wire

/// What a synthetic guest's primary writes for an epoch: packets, or records on the main channel,
/// and what ends it.
extension SyntheticGuest {
  mutating func endEpoch() {
    for channel in channels.indices {
      packetNumber += 1
      append(
        MultiFDPacketHeader(
          flags: .sync, pagesAllocated: 0, normalCount: 0, nextPacketSize: 0,
          packetNumber: packetNumber, zeroCount: 0), name: "", offsets: [], to: channel)
    }
    if style.flush, style.channels > 0 { main.multifdFlush() }
  }

  mutating func endSection() {
    main.endOfRAMSection()
    main.footer(id: Self.ramSection)
  }

  mutating func send(pages: [[Int]]) {
    for (block, pages) in pages.enumerated() {
      var rest = pages[...]
      while !rest.isEmpty {
        let batch = rest.prefix(Int.random(in: 1...128, using: &generator))
        rest = rest.dropFirst(batch.count)
        let normal = batch.filter { versions[block][$0] > 0 }
        let zero = batch.filter { versions[block][$0] == 0 }
        let zeroOnMain = style.channels == 0 || !style.flush
        if zeroOnMain {
          for page in zero { main.zero(block: block, offset: UInt64(page * Self.page)) }
        }
        if style.channels == 0 {
          for page in normal {
            main.pageRecord(block: block, offset: UInt64(page * Self.page))
            main.raw(Self.contents(seed, block, page, versions[block][page]))
          }
        } else {
          packet(block, normal, zeroOnMain ? [] : zero)
        }
      }
    }
  }

  private mutating func packet(_ block: Int, _ normal: [Int], _ zero: [Int]) {
    guard normal.count + zero.count > 0 else { return }
    let channel = Int.random(in: 0..<style.channels, using: &generator)
    packetNumber += 1
    append(
      MultiFDPacketHeader(
        flags: [], pagesAllocated: 128, normalCount: UInt32(normal.count),
        nextPacketSize: UInt32(normal.count * Self.page), packetNumber: packetNumber,
        zeroCount: UInt32(zero.count)),
      name: blocks[block].name, offsets: (normal + zero).map { UInt64($0 * Self.page) },
      to: channel)
    for page in normal {
      channels[channel] += Self.contents(seed, block, page, versions[block][page])
    }
  }

  private mutating func append(
    _ header: MultiFDPacketHeader, name: String, offsets: [UInt64], to channel: Int
  ) {
    let size = MultiFDPacketHeader.size(pageSize: Self.page)
    channels[channel] += [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
      offsets.withUnsafeBufferPointer {
        header.encode(
          into: UnsafeMutableRawBufferPointer(buffer), blockName: name, offsets: $0,
          pageSize: Self.page)
      }
      count = size
    }
  }
}
