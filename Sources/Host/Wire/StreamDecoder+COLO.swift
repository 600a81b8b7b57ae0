extension StreamDecoder {
  /// The VM description: 06, u32 length, JSON (SPECIFICATION section 1.2).
  mutating func vmDescription(_ bytes: UnsafeRawBufferPointer) throws(WireError) -> Step {
    guard bytes.count >= 5 else { return .needMore(atLeast: 5 - bytes.count) }
    let length = bytes.u32(1)
    guard length <= UInt32(clamping: limits.maxVMDescription) else {
      throw WireError(
        .limitExceeded, at: position + 1,
        "a VM description of \(length) bytes, \(limits.maxVMDescription) are allowed")
    }
    let size = 5 + Int(length)
    guard bytes.count >= size else { return .needMore(atLeast: size - bytes.count) }
    phase = .idle
    return emit(.vmDescription, size)
  }

  /// What a primary sends in a checkpoint outside of the sections (SPECIFICATION section 7.3).
  mutating func coloMessage(_ bytes: UnsafeRawBufferPointer) throws(WireError) -> Step {
    guard bytes[0] == 0 else {
      throw WireError(
        .unknownElement, at: position,
        "expected the end of the stream or a COLO message, found \(hex(bytes[0]))")
    }
    guard bytes.count >= 4 else { return .needMore(atLeast: 4 - bytes.count) }
    let message = try COLOMessage(decoding: bytes, at: position)
    switch (phase, message) {
    case (.afterEOF, .checkpointRequest), (.idle, .checkpointRequest):
      checkpoint += 1
      phase = .requested
      return emit(.colo(message), 4)
    case (.requested, .vmstateSend):
      inCheckpoint = true
      ramIsOpen = true
      phase = .sections
      return emit(.colo(message), 4)
    case (.deviceStateSize, .vmstateSize):
      guard bytes.count >= 12 else { return .needMore(atLeast: 12 - bytes.count) }
      let size = bytes.u64(4)
      guard size > 0 else {
        throw WireError(.badLength, at: position + 4, "a checkpoint without device state")
      }
      guard size <= UInt64(limits.maxDeviceState) else {
        throw WireError(
          .limitExceeded, at: position + 4,
          "\(size) bytes of device state, \(limits.maxDeviceState) are allowed")
      }
      pending = size
      inCheckpoint = false
      phase = .idle
      return emit(.deviceState(size: size), 12)
    default:
      throw WireError(.outOfOrder, at: position, "COLO message \(message) \(expectation)")
    }
  }

  private var expectation: String {
    switch phase {
    case .requested: "where vmstateSend is due"
    case .deviceStateSize: "where vmstateSize is due"
    default: "where checkpointRequest is due"
    }
  }
}
