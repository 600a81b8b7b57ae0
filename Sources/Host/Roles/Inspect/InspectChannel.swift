import Migration
import Wire

extension Inspector {
  /// Tells a multifd channel.
  ///
  /// - Returns: what deserves mention though the channel is complete.
  func inspectChannel(
    _ bytes: UnsafeRawBufferPointer, as dialect: PacketDialect, _ report: inout InspectReport,
    _ line: (InspectLine) -> Void
  ) throws -> String? {
    let decoding = try decoding?(dialect)
    let reader = PacketReader(
      .recording(bytes), pageSize: limits.pageSize, dialect: dialect, backends: decoding?.backends,
      maxPayload: dialect == .qemu ? maxPayload : .max, takesDeviceState: true)
    // The backend's channel and the reader know each other.
    defer { reader.close() }
    var walk = InspectChannel(pageSize: limits.pageSize, isVerbose: isVerbose, dialect: dialect)
    defer { report.channel = walk.channel }
    let hello = try reader.begin()
    report.count("init-packets")
    walk.start(hello, line)
    var packet = Packet(pageSize: limits.pageSize)
    var decodes = decoding != nil
    func next() throws -> Bool {
      do { return try reader.next(&packet) } catch let error as WireError {
        // Inside a header: what came before it is told.
        if error.code == .truncated { walk.endRun(line) }
        throw error
      }
    }
    while try next() {
      let rest = UInt64(bytes.count) - reader.position
      if let state = packet.deviceState {
        report.count("device-state-packets")
        walk.deviceState(state, at: packet.offset, line)
        guard try reader.skip() else { break }
        continue
      }
      report.count("packets")
      // The block's length is on the main channel: here only alignment can be judged.
      try packet.decodeOffsets(blockLength: .max)
      let size = packet.header.payloadSize
      let isWhole = rest >= UInt64(size)
      // Pages as they are cannot be wrong.
      let isCoded = size > 0 && isWhole && packet.header.flags.method != .none
      if decodes, isCoded, let decoding {
        decodes = try check(&packet, reader, decoding)
      }
      walk.packet(packet, line)
      guard try reader.skip() else { break }
    }
    walk.endRun(line)
    try reader.finish()
    return nil
  }

  /// Decodes a payload.
  ///
  /// - Returns: whether there is a backend for it.
  private func check(
    _ packet: inout Packet, _ reader: PacketReader, _ decoding: Decoding
  ) throws -> Bool {
    do { try reader.open(packet.header.flags.method) } catch let error where !(error is WireError) {
      decoding.onMissing(error)
      return false
    }
    let place = reader.position
    do { try reader.take(&packet, into: decoding.pages) } catch {
      let block = String(decoding: packet.blockName, as: UTF8.self)
      throw InspectPayloadError(offset: place, reason: "payload of \(block): \(error)")
    }
    return true
  }
}

/// The walk through a multifd channel.
struct InspectChannel {
  let pageSize: Int
  let isVerbose: Bool
  let dialect: PacketDialect
  var channel: InspectReport.Channel?
  /// Packets since the last line.
  private var run = Run()

  private struct Run {
    var packets: UInt64 = 0
    var normal: UInt64 = 0
    var duplicate: UInt64 = 0
    var payload: UInt64 = 0
    var offset: UInt64 = 0
  }

  init(pageSize: Int, isVerbose: Bool, dialect: PacketDialect) {
    self.pageSize = pageSize
    self.isVerbose = isVerbose
    self.dialect = dialect
  }

  /// What the method bits of a packet mean.
  private func name(_ flags: MultiFDFlags) -> String {
    dialect == .qemu ? flags.method.name : dialect.format(of: flags.method)
  }

  mutating func start(_ found: MultiFDInit, _ line: (InspectLine) -> Void) {
    channel = InspectReport.Channel(id: found.id, uuid: found.uuid.description)
    line(
      InspectLine(
        offset: 0, depth: 0, what: "init", detail: "channel \(found.id), uuid \(found.uuid)"))
  }

  mutating func packet(_ packet: borrowing Packet, _ line: (InspectLine) -> Void) {
    let header = packet.header
    let block = String(decoding: packet.blockName, as: UTF8.self)
    count(header, block)
    if isVerbose {
      line(
        InspectLine(
          offset: packet.offset, depth: 0, what: "packet \(header.packetNumber)",
          detail: detail(header, block)))
    } else {
      if run.packets == 0 { run.offset = packet.offset }
      run.packets += 1
      run.normal += UInt64(header.normalCount)
      run.duplicate += UInt64(header.zeroCount)
      run.payload += UInt64(header.payloadSize)
      guard packet.isSync else { return }
      endRun(line)
      let number = channel?.syncs ?? 0
      line(
        InspectLine(offset: packet.offset, depth: 0, what: "SYNC", detail: "sync point \(number)"))
    }
  }

  private mutating func count(_ packet: MultiFDPacketHeader, _ block: String) {
    channel?.packets += 1
    channel?.normal += UInt64(packet.normalCount)
    channel?.duplicate += UInt64(packet.zeroCount)
    channel?.payloadBytes += UInt64(packet.payloadSize)
    if packet.flags.contains(.sync) { channel?.syncs += 1 }
    guard packet.pageCount > 0 else { return }
    let name = name(packet.flags)
    channel?.methods[name, default: 0] += 1
    channel?.blocks[block, default: 0] += UInt64(packet.pageCount)
  }

  private func detail(_ packet: MultiFDPacketHeader, _ block: String) -> String {
    var parts: [String] = []
    if packet.pageCount > 0 {
      parts.append(
        "\(block), \(packet.normalCount) normal, \(packet.zeroCount) duplicate, \(name(packet.flags))"
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
