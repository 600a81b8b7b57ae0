import Wire

/// The walk through a main channel.
struct InspectMain {
  let bytes: UnsafeRawBufferPointer
  let isVerbose: Bool
  var decoder: StreamDecoder
  var main = InspectReport.Main()
  var elements: [String: UInt64] = [:]

  /// Where the rest begins.
  private var start = 0
  /// Pages since the last line: normal, duplicate, and where they begin.
  private var run: (normal: UInt64, duplicate: UInt64, offset: Int) = (0, 0, 0)
  /// The migration's FULL sections.
  private var sections: [(header: SectionHeader, bodySize: Int, position: UInt64)] = []
  /// Where the devices begin that follow RAM.
  private var devices: Int?
  private var eof = 0

  init(bytes: UnsafeRawBufferPointer, isVerbose: Bool, limits: StreamDecoder.Limits) {
    self.bytes = bytes
    self.isVerbose = isVerbose
    decoder = StreamDecoder(limits: limits)
    decoder.inputEnded = true
  }

  private func part(_ range: Range<Int>) -> UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(rebasing: bytes[range])
  }

  /// The next element; nil at the end, or where the file breaks off.
  mutating func next() throws -> (element: StreamDecoder.Element, consumed: Int)? {
    guard decoder.rawBytesDue == 0,
      case .element(let element, let consumed) = try decoder.next(part(start..<bytes.count))
    else { return nil }
    return (element, consumed)
  }

  mutating func tell(
    _ element: StreamDecoder.Element, _ consumed: Int, _ line: (InspectLine) -> Void
  ) throws {
    let offset = start
    start += consumed
    func say(_ depth: Int, _ what: String, _ detail: String = "") {
      line(InspectLine(offset: UInt64(offset), depth: depth, what: what, detail: detail))
    }
    let name: String
    switch element {
    case .zero(let block, let at, let fill):
      name = "zero-pages"
      main.duplicate += 1
      page(block, at, offset, isZero: true, fill, say)
    case .page(let block, let at):
      name = "pages"
      main.normal += 1
      page(block, at, offset, isZero: false, 0, say)
      takeRaw()
    default:
      endRun(line)
      name = try other(element, offset, consumed, say)
    }
    elements[name, default: 0] += 1
  }

  private mutating func page(
    _ block: Int, _ page: UInt64, _ offset: Int, isZero: Bool, _ fill: UInt8,
    _ say: (Int, String, String) -> Void
  ) {
    if isVerbose {
      let place = "\(decoder.blocks[block].name) 0x\(String(page, radix: 16))"
      say(1, isZero ? "zero page" : "page", place + (fill == 0 ? "" : ", filled with \(fill)"))
      return
    }
    if run.normal + run.duplicate == 0 { run.offset = offset }
    if isZero { run.duplicate += 1 } else { run.normal += 1 }
  }

  /// One line for the pages since the last line.
  private mutating func endRun(_ line: (InspectLine) -> Void) {
    guard run.normal + run.duplicate > 0 else { return }
    line(
      InspectLine(
        offset: UInt64(run.offset), depth: 1, what: "pages",
        detail: "\(run.normal) normal, \(run.duplicate) duplicate"))
    run = (0, 0, 0)
  }

  /// Passes over a page or device state, as far as it is in the file.
  private mutating func takeRaw() {
    let count = Int(min(decoder.rawBytesDue, UInt64(bytes.count - start)))
    decoder.didTake(count)
    start += count
  }

  private mutating func other(
    _ element: StreamDecoder.Element, _ offset: Int, _ consumed: Int,
    _ tell: (Int, String, String) -> Void
  ) throws -> String {
    func say(_ depth: Int, _ what: String, _ detail: String = "") { tell(depth, what, detail) }
    switch element {
    case .fileHeader(let version):
      say(0, "file header", "version \(version)")
      return "file-header"
    case .configuration(let found):
      var details = [found.machine]
      if !found.capabilities.isEmpty { details.append(found.capabilities.joined(separator: ", ")) }
      if let uuid = found.uuid { details.append("uuid \(uuid)") }
      say(0, "configuration", details.joined(separator: "; "))
      return "configuration"
    case .command(let command):
      say(0, "command", command.inspectName)
      return "commands"
    case .ramBegin(let header):
      say(0, "\(header.kind) ram", "id \(header.id), version \(header.version)")
      return "ram-sections"
    case .ramBlocks(let blocks):
      let total = blocks.reduce(0) { $0 + $1.usedLength }
      say(1, inspectCount(blocks.count, "block"), inspectSize(total))
      for block in blocks { say(2, block.name, inspectSize(block.usedLength)) }
      return "block-lists"
    case .multifdFlush:
      main.syncPoints += 1
      say(1, "multifd flush", "sync point \(main.syncPoints)")
      return "multifd-flushes"
    case .endOfRAMSection:
      let isPoint = decoder.syncMode == .perSection
      if isPoint { main.syncPoints += 1 }
      say(1, "end of section", isPoint ? "sync point \(main.syncPoints)" : "")
      return "ram-section-ends"
    case .footer:
      devices = nil
      return "ram-footers"
    case .section(let header):
      return section(header, offset, consumed, say)
    case .eof:
      if decoder.checkpoint == 0 { eof = offset + 1 }
      say(0, "EOF")
      return "eofs"
    case .vmDescription:
      try description(offset, consumed, say)
      return "vm-descriptions"
    case .colo(let message):
      say(
        0, message == .checkpointRequest ? "checkpoint \(decoder.checkpoint)" : "COLO",
        "\(message.rawValue) \(message)")
      return "colo-messages"
    case .deviceState(let size):
      try deviceState(size, offset + consumed, say)
      return "device-states"
    case .zero, .page:
      return "pages"
    }
  }

  private mutating func section(
    _ header: SectionHeader, _ offset: Int, _ consumed: Int, _ say: (Int, String, String) -> Void
  ) -> String {
    // A footer is a type byte and the id.
    let body = consumed - header.encodedSize - 5
    say(
      0, "\(header.kind) \(header.name)",
      "instance \(header.instance), id \(header.id), version \(header.version), \(inspectCount(body, "byte"))"
    )
    if header.kind == .full && decoder.checkpoint == 0 {
      sections.append((header, body, UInt64(offset)))
      main.devices += 1
      devices = devices ?? offset
    }
    return "sections"
  }

  /// Compares the sections that their footers gave with the description's; it is right if they
  /// differ.
  private mutating func description(
    _ offset: Int, _ consumed: Int, _ say: (Int, String, String) -> Void
  ) throws {
    let json = part(offset + 5..<offset + consumed)
    let found = try VMDescription(decoding: json, at: UInt64(offset + 5))
    var detail =
      "\(inspectCount(json.count, "byte")), \(inspectCount(found.devices.count, "device"))"
    // A sender may write any description; an empty one says nothing.
    guard !found.devices.isEmpty else { return say(0, "VM description", detail) }
    do {
      try found.verify(sections)
      detail += ", the sections have its sizes"
    } catch {
      guard let devices, devices < eof,
        let split = try? DeviceStateScanner.split(
          part(devices..<eof), by: found, at: UInt64(devices))
      else {
        main.descriptionAgrees = false
        throw error
      }
      main.devices = UInt64(split.count)
      detail += ", which split the sections where their footers were ambiguous"
    }
    main.descriptionAgrees = true
    say(0, "VM description", detail)
  }

  private mutating func deviceState(
    _ size: UInt64, _ offset: Int, _ say: (Int, String, String) -> Void
  ) throws {
    takeRaw()
    guard decoder.rawBytesDue == 0 else { return }
    let split = try DeviceStateScanner.split(
      part(offset..<offset + Int(size)), at: UInt64(offset))
    say(
      0, "device state",
      "\(inspectCount(size, "byte")), \(inspectCount(split.count, "section")): checkpoint \(decoder.checkpoint) is complete"
    )
    main.checkpoints += 1
    guard isVerbose else { return }
    for section in split {
      say(1, section.header.name, "\(inspectCount(section.body.count, "byte"))")
    }
  }

  /// Judges the end.
  mutating func finish(_ line: (InspectLine) -> Void) throws -> String? {
    endRun(line)
    // `finish` would take the bytes of a page that is cut off; they were taken.
    let rest = part(start..<bytes.count)
    switch try decoder.finish(remaining: rest) {
    case .complete:
      return main.checkpoints > 0 ? inspectCount(main.checkpoints, "checkpoint") : nil
    case .insideCheckpoint(let number):
      // A primary that has only asked for a checkpoint has sent nothing of it.
      if decoder.phase == .requested && rest.isEmpty {
        return "\(inspectCount(main.checkpoints, "checkpoint")), and the request for one more"
      }
      throw WireError(
        .truncated, at: UInt64(bytes.count),
        "the stream ends inside checkpoint \(number); \(main.checkpoints) are complete")
    }
  }
}
