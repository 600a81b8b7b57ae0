extension StreamDecoder {
  /// The only version (SPECIFICATION section 1.1).
  static let fileVersion: UInt32 = 3
  static let fileMagic: UInt32 = 0x5145_564d

  mutating func fileHeader(_ bytes: UnsafeRawBufferPointer) throws(WireError) -> Step {
    guard bytes.count >= 4 else { return .needMore(atLeast: 8 - bytes.count) }
    guard bytes.u32(0) == Self.fileMagic else {
      throw WireError(
        .badMagic, at: position,
        "expected \(hex(Self.fileMagic)) (QEVM), found \(hex(bytes.u32(0)))"
          + (bytes.u32(0) == MultiFDInit.magic ? ", which begins a multifd channel" : ""))
    }
    guard bytes.count >= 8 else { return .needMore(atLeast: 8 - bytes.count) }
    guard bytes.u32(4) == Self.fileVersion else {
      throw WireError(
        .badVersion, at: position + 4, "expected version \(Self.fileVersion), found \(bytes.u32(4))"
      )
    }
    phase = .configuration
    return emit(.fileHeader(version: Self.fileVersion), 8)
  }

  mutating func configuration(_ bytes: UnsafeRawBufferPointer) throws(WireError) -> Step {
    switch try Configuration.decode(bytes, at: position) {
    case .missing(let count): return .needMore(atLeast: count)
    case .whole(let found, let size):
      guard !found.capabilities.contains(Configuration.mappedRAM) else {
        throw WireError(
          .unsupported, at: position, "turn off the capability mapped-ram at the source")
      }
      if let bits = found.pageBits, bits >= 63 || UInt64(1) << bits != UInt64(limits.pageSize) {
        throw WireError(
          .mismatch, at: position,
          "the source's pages have 2^\(bits) bytes, expected \(limits.pageSize)")
      }
      configuration = found
      phase = .sections
      return emit(.configuration(found), size)
    }
  }

  mutating func command(_ bytes: UnsafeRawBufferPointer) throws(WireError) -> Step {
    switch try Command.decode(bytes, at: position) {
    case .missing(let count): return .needMore(atLeast: count)
    case .whole(let command, let size):
      switch command {
      case .openReturnPath:
        guard !returnPathRequested else {
          throw WireError(.outOfOrder, at: position, "OPEN_RETURN_PATH comes twice")
        }
        returnPathRequested = true
      case .ping:
        guard returnPathRequested else {
          throw WireError(.outOfOrder, at: position, "PING without OPEN_RETURN_PATH")
        }
      case .enableCOLO: coloEnabled = true
      case .switchoverStart: break
      }
      phase = .sections
      return emit(.command(command), size)
    }
  }
}
