import Wire

/// What a synthetic guest's primary writes for an epoch: packets, or records on the main channel,
/// and what ends it.
extension SyntheticGuest {
  package mutating func endEpoch() {
    for channel in channels.indices {
      packetNumber += 1
      channels[channel] += MultiFDPacketHeader(
        flags: .sync, pagesAllocated: 0, normalCount: 0, nextPacketSize: 0,
        packetNumber: packetNumber, zeroCount: 0
      ).bytes("", [])
    }
    if style.flush, style.channels > 0 { main.multifdFlush() }
  }

  package mutating func endSection() {
    main.endOfRAMSection()
    main.footer(id: Self.ramSection)
  }

  package mutating func send(pages: [[Int]]) {
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
    channels[channel] += MultiFDPacketHeader(
      flags: [], pagesAllocated: 128, normalCount: UInt32(normal.count),
      nextPacketSize: UInt32(normal.count * Self.page), packetNumber: packetNumber,
      zeroCount: UInt32(zero.count)
    ).bytes(blocks[block].name, (normal + zero).map { UInt64($0 * Self.page) })
    for page in normal {
      channels[channel] += Self.contents(seed, block, page, versions[block][page])
    }
  }
}
