import Wire

extension Inspector {
  /// Tells a multifd channel.
  ///
  /// - Returns: what deserves mention though the channel is complete.
  func inspectChannel(
    _ bytes: UnsafeRawBufferPointer, _ report: inout InspectReport, _ line: (InspectLine) -> Void
  ) throws -> String? {
    var decoder = ChannelDecoder(pageSize: limits.pageSize, maxPayload: maxPayload)
    var walk = InspectChannel(pageSize: limits.pageSize, isVerbose: isVerbose)
    defer { report.channel = walk.channel }
    var start = 0
    func rest() -> UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: bytes[start...]) }
    while decoder.rawBytesDue == 0,
      case .element(let element, let consumed) = try decoder.next(rest())
    {
      let header = UnsafeRawBufferPointer(rebasing: bytes[start..<start + consumed])
      let offset = UInt64(start)
      start += consumed
      let payload = UnsafeRawBufferPointer(
        rebasing: bytes[start..<min(bytes.count, start + decoder.rawBytesDue)])
      switch element {
      case .start(let found):
        report.count("init-packets")
        walk.start(found, line)
        do { walk.check = try payloadCheck?(found) } catch {
          throw InspectPayloadError(offset: offset, reason: "\(error)")
        }
      case .packet(let packet, let size):
        report.count("packets")
        try walk.packet(packet, header, payload, isWhole: payload.count == size, at: offset, line)
      case .deviceState(let found):
        report.count("device-state-packets")
        walk.deviceState(found, at: offset, line)
      }
      decoder.didTake(payload.count)
      start += payload.count
    }
    walk.endRun(line)
    try decoder.finish(remaining: rest())
    return nil
  }
}

/// The walk through a multifd channel.
struct InspectChannel {
  let pageSize: Int
  let isVerbose: Bool
  var channel: InspectReport.Channel?
  var check: Inspector.PayloadCheck?
  private var offsets: [UInt64]
  /// Packets since the last line.
  private var run = Run()

  private struct Run {
    var packets: UInt64 = 0
    var normal: UInt64 = 0
    var duplicate: UInt64 = 0
    var payload: UInt64 = 0
    var offset: UInt64 = 0
  }

  init(pageSize: Int, isVerbose: Bool) {
    self.pageSize = pageSize
    self.isVerbose = isVerbose
    offsets = .init(repeating: 0, count: MultiFDPacketHeader.capacity(pageSize: pageSize))
  }

  mutating func start(_ found: MultiFDInit, _ line: (InspectLine) -> Void) {
    channel = InspectReport.Channel(id: found.id, uuid: found.uuid.description)
    line(
      InspectLine(
        offset: 0, depth: 0, what: "init", detail: "channel \(found.id), uuid \(found.uuid)"))
  }

  mutating func packet(
    _ packet: MultiFDPacketHeader, _ header: UnsafeRawBufferPointer,
    _ payload: UnsafeRawBufferPointer, isWhole: Bool, at offset: UInt64,
    _ line: (InspectLine) -> Void
  ) throws {
    // The block's length is on the main channel: here only alignment can be judged.
    try offsets.withUnsafeMutableBufferPointer {
      try packet.decodeOffsets(from: header, into: $0, blockLength: .max, at: offset)
    }
    let block = String(decoding: MultiFDPacketHeader.blockName(in: header), as: UTF8.self)
    let isSync = packet.flags.contains(.sync)
    if isWhole && packet.normalCount > 0 {
      do { try check?(packet, block, payload) } catch {
        throw InspectPayloadError(
          offset: offset + UInt64(header.count), reason: "payload of \(block): \(error)")
      }
    }
    count(packet, block)
    if isVerbose {
      line(
        InspectLine(
          offset: offset, depth: 0, what: "packet \(packet.packetNumber)",
          detail: detail(packet, block)))
    } else {
      if run.packets == 0 { run.offset = offset }
      run.packets += 1
      run.normal += UInt64(packet.normalCount)
      run.duplicate += UInt64(packet.zeroCount)
      run.payload += UInt64(packet.payloadSize)
      guard isSync else { return }
      endRun(line)
      let number = channel?.syncs ?? 0
      line(InspectLine(offset: offset, depth: 0, what: "SYNC", detail: "sync point \(number)"))
    }
  }

  private mutating func count(_ packet: MultiFDPacketHeader, _ block: String) {
    channel?.packets += 1
    channel?.normal += UInt64(packet.normalCount)
    channel?.duplicate += UInt64(packet.zeroCount)
    channel?.payloadBytes += UInt64(packet.payloadSize)
    if packet.flags.contains(.sync) { channel?.syncs += 1 }
    guard packet.pageCount > 0 else { return }
    channel?.methods[packet.flags.method.name, default: 0] += 1
    channel?.blocks[block, default: 0] += UInt64(packet.pageCount)
  }

  private func detail(_ packet: MultiFDPacketHeader, _ block: String) -> String {
    var parts: [String] = []
    if packet.pageCount > 0 {
      parts.append(
        "\(block), \(packet.normalCount) normal, \(packet.zeroCount) duplicate, \(packet.flags.method)"
      )
    }
    if packet.payloadSize > 0 { parts.append(inspectCount(packet.payloadSize, "byte")) }
    if packet.flags.contains(.sync) { parts.append("SYNC") }
    return parts.isEmpty ? "empty" : parts.joined(separator: ", ")
  }

  mutating func deviceState(
    _ found: DeviceStatePacketHeader, at offset: UInt64, _ line: (InspectLine) -> Void
  ) {
    endRun(line)
    channel?.deviceStatePackets += 1
    line(
      InspectLine(
        offset: offset, depth: 0, what: "device state",
        detail: "\(found.name) \(found.instance), \(inspectCount(found.dataSize, "byte"))"))
  }

  /// One line for the packets since the last line.
  mutating func endRun(_ line: (InspectLine) -> Void) {
    guard run.packets > 0 else { return }
    line(
      InspectLine(
        offset: run.offset, depth: 0, what: inspectCount(run.packets, "packet"),
        detail:
          "\(run.normal) normal, \(run.duplicate) duplicate, \(inspectCount(run.payload, "byte"))"))
    run = Run()
  }
}
