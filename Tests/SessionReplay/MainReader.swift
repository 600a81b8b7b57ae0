import Wire

/// Takes a main channel apart.
struct MainReader {
  var decoder = StreamDecoder()
  var epochs: [[StreamScript.Step]] = [[]]
  var earlyState: [UInt8] = []
  var deviceState: [UInt8] = []
  var vmDescription: [UInt8] = []
  private var ramIsComplete = false
  private var isOver = false

  /// Reads all of it.
  ///
  /// - Parameter multifd: whether there are channels, so that sync points mean something.
  mutating func read(_ bytes: [UInt8], multifd: Bool) throws -> StreamDecoder.Completion {
    var at = 0
    return try bytes.withUnsafeBytes { all in
      while case .element(let element, let consumed) = try decoder.next(
        UnsafeRawBufferPointer(rebasing: all[at...]))
      {
        let range = at..<at + consumed
        let raw = range.upperBound..<range.upperBound + Int(decoder.rawBytesDue)
        guard raw.upperBound <= all.count else {
          at = range.upperBound
          break
        }
        decoder.didTake(raw.count)
        at = raw.upperBound
        collect(element, all[range])
        if let step = step(of: element, raw: raw) { epochs[epochs.count - 1].append(step) }
        if multifd, isMarker(element) {
          epochs[epochs.count - 1].append(.marker(number: epochs.count))
          epochs.append([])
        }
      }
      return try decoder.finish(remaining: UnsafeRawBufferPointer(rebasing: all[at...]))
    }
  }

  private func isMarker(_ element: StreamDecoder.Element) -> Bool {
    element == (decoder.syncMode == .flush ? .multifdFlush : .endOfRAMSection)
  }

  private mutating func step(
    of element: StreamDecoder.Element, raw: Range<Int>
  ) -> StreamScript.Step? {
    switch element {
    case .page(let block, let offset): return .page(block: block, offset: offset, bytes: raw)
    case .zero(let block, let offset, let fill):
      return .zero(block: block, offset: offset, fill: fill)
    case .eof where !isOver:
      isOver = true
      return .precopyComplete
    case .colo(.vmstateSend): return .checkpointBegin(number: decoder.checkpoint)
    case .deviceState:
      return .checkpointComplete(number: decoder.checkpoint, deviceState: raw)
    default: return nil
    }
  }

  private mutating func collect(
    _ element: StreamDecoder.Element, _ bytes: Slice<UnsafeRawBufferPointer>
  ) {
    guard !isOver || element == .vmDescription else { return }
    switch element {
    case .ramBegin(let header): ramIsComplete = header.kind == .end
    case .section where ramIsComplete: deviceState += bytes
    case .section: earlyState += bytes
    case .eof: deviceState += bytes
    case .vmDescription: vmDescription = Array(bytes)
    default: break
    }
  }
}
