import SessionReplay
import TestSupport
import Wire

extension PrimaryScript {
  /// A recorded session, cut where its primary waited. What comes after its last complete
  /// checkpoint is left out.
  init(recorded session: Fixtures.Session) throws {
    let script = try StreamScript(session)
    let ends = try Self.ends(script.main)
    let ranges = zip(ends, ends.dropFirst()).map { $0 + COLOMessage.size..<$1 }
    var channels = script.channels.map { channel in
      // The init packet is precopy's first.
      [Array(channel.bytes.prefix(MultiFDInit.size))]
    }
    var states = [script.deviceState]
    for step in script.steps() {
      switch step {
      case .checkpointBegin(let number):
        for index in channels.indices { channels[index] += [[]] }
        precondition(channels.allSatisfy { $0.count == number + 1 })
      case .checkpointComplete(_, let bytes): states.append(Array(script.main[bytes]))
      case .packet(let channel, let index):
        let packet = script.channels[channel].packets[index]
        let bytes = script.channels[channel].bytes[
          packet.range.lowerBound..<packet.payload.upperBound]
        channels[channel][channels[channel].count - 1] += bytes
      default: break
      }
    }
    let pieces = channels
    let images = try script.images()
    self.init(
      listens: script.decoder.returnPathRequested,
      precopy: Burst(main: Array(script.main[..<ends[0]]), channels: pieces.map { $0[0] }),
      checkpoints: ranges.enumerated().map { index, range in
        Burst(main: Array(script.main[range]), channels: pieces.map { $0[index + 1] })
      },
      deviceStates: states, image: { images[$0] })
  }

  /// Where precopy and each checkpoint end on the main channel.
  private static func ends(_ main: [UInt8]) throws -> [Int] {
    var decoder = StreamDecoder()
    var ends: [Int] = []
    try main.withUnsafeBytes { all in
      var at = 0
      while case .element(let element, let consumed) = try decoder.next(
        UnsafeRawBufferPointer(rebasing: all[at...]))
      {
        at += consumed + Int(decoder.rawBytesDue)
        guard at <= all.count else { return }
        decoder.didTake(Int(decoder.rawBytesDue))
        switch element {
        case .vmDescription, .deviceState: ends.append(at)
        default: break
        }
      }
    }
    return ends
  }
}
