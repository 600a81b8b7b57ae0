import Testing
import SessionReplay
import Wire

/// Checkpoints as they should not be.
extension BadPrimaryTests {
  /// Where a checkpoint's device state begins in it, and how long it is.
  static func blob(_ burst: PrimaryScript.Burst) throws -> (start: Int, size: Int) {
    let index = try #require(script.checkpoints.firstIndex { $0.main == burst.main })
    let size = script.deviceStates[index + 1].count
    return (burst.main.count - size, size)
  }

  /// The same with another size announced.
  static func resized(
    _ burst: PrimaryScript.Burst, by difference: Int
  ) throws -> PrimaryScript.Burst {
    let (start, size) = try blob(burst)
    var burst = burst
    let announced = withUnsafeBytes(of: UInt64(size + difference).bigEndian, Array.init)
    burst.main.replaceSubrange(start - 8..<start, with: announced)
    return burst
  }

  /// VMSTATE_SEND, and one packet on channel 0.
  static func packet(
    normal: [UInt64] = [], zero: [UInt64] = [], block: String = "pc.ram", allocated: UInt32 = 128,
    flags: MultiFDFlags = []
  ) -> PrimaryScript.Burst {
    let header = MultiFDPacketHeader(
      flags: flags, pagesAllocated: allocated, normalCount: UInt32(normal.count),
      nextPacketSize: 4096, packetNumber: 1, zeroCount: UInt32(zero.count))
    return PrimaryScript.Burst(
      main: COLOMessage.vmstateSend.encode(),
      channels: [
        header.bytes(block, normal + zero) + [UInt8](repeating: 1, count: 4096 * normal.count), [],
      ])
  }

  /// VMSTATE_SEND, and one page of a plain migration.
  static func page(offset: UInt64, block: String = "pc.ram") -> [UInt8] {
    var encoder = StreamEncoder()
    encoder.useBlocks([block])
    encoder.colo(.vmstateSend)
    encoder.beginSection(
      .end, id: SyntheticGuest.ramSection, name: "ram", instance: 0, version: 4)
    encoder.pageRecord(block: 0, offset: offset)
    encoder.raw([UInt8](repeating: 1, count: 4096))
    return encoder.take()
  }
}
