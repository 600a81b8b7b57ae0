import PluginLoader
import Wire

/// What a channel's packets become: one format, or the one that is the fastest for each of them. It
/// belongs to one thread.
public final class PacketEncoders {
  private let formats: [OutgoingFormat]
  private var encoders: [PacketEncoder?]
  /// For what nobody gets: a backend's channel may know what it has encoded, and its peer has to
  /// know it too.
  private var trials: [PacketEncoder?]
  private let make: (OutgoingFormat) throws -> PacketEncoder
  private let pageSize: Int
  /// Where there is a choice.
  private var chooser: FormatChooser?
  private let start = ContinuousClock.now
  /// The last packet was sent.
  private var last = ContinuousClock.now

  /// - Parameters:
  ///   - formats: one; or several to choose from, pages as they are first.
  ///   - id: the channel's number.
  ///   - channels: of how many; asked when a backend is opened.
  ///   - verify: every payload is decoded once before it goes out.
  public init(
    _ formats: [OutgoingFormat], id: Int, channels: @escaping () -> Int, pageSize: Int,
    verify: Bool
  ) {
    self.formats = formats
    self.pageSize = pageSize
    chooser = formats.count > 1 ? FormatChooser(formats: formats.count - 1) : nil
    encoders = formats.map { _ in nil }
    trials = encoders
    make = { format in
      try PacketEncoder(
        format, id: id, channels: max(channels(), id + 1), pageSize: pageSize, verify: verify)
    }
  }

  /// Opens all backends, as the first packets would.
  public func open() throws { for index in formats.indices { _ = try encoder(index) } }

  /// Sends a packet in its format.
  ///
  /// - Returns: what it took.
  @discardableResult
  public func write(
    _ packet: borrowing Packet, to writer: PacketWriter
  ) throws -> PacketWriter.Sent {
    guard chooser != nil, let host = packet.host, !packet.normal.isEmpty else {
      return try writer.write(packet, with: encoder(0))
    }
    let bytes = packet.normal.count * pageSize
    let begin = ContinuousClock.now
    // The pages lie where the packet says, whole.
    let look = PageLook(UnsafeRawPointer(host), packet.places, pageSize: pageSize)
    let choice = chooser!.choose(look, bytes: bytes)
    let sent = try writer.write(packet, with: encoder(choice.index))
    let end = ContinuousClock.now
    let trial = try choice.trial.map { (index: $0, result: try attempt($0, packet)) }
    chooser!.sent(
      choice.index, bytes: bytes, payload: sent.payload, waiting: begin - last,
      encoding: sent.encoding, sending: sent.sending, trial: trial, at: end - start,
      isShut: writer.peerIsSlow)
    last = trial == nil ? end : ContinuousClock.now
    return sent
  }

  /// Has a format encode a packet that has been sent.
  private func attempt(
    _ index: Int, _ packet: borrowing Packet
  ) throws -> FormatChooser.Trial {
    let encoder = try encoder(index, in: &trials)
    let begin = ContinuousClock.now
    let payload = try encoder.encode(packet)
    return FormatChooser.Trial(payload: payload.size, encoding: ContinuousClock.now - begin)
  }

  /// Sends a packet that only ends an epoch.
  public func sync(number: UInt64, in packet: inout Packet, to writer: PacketWriter) throws {
    try writer.sync(number: number, in: &packet, with: encoder(0))
  }

  /// What was chosen, and why, for pages with contents; empty where there was no choice.
  public var uses: [FormatUse] {
    guard let chooser else { return [] }
    return zip(formats, chooser.uses).map { format, use in
      FormatUse(format.backend.name, use, link: chooser.link)
    }
  }

  private func encoder(_ index: Int) throws -> PacketEncoder { try encoder(index, in: &encoders) }

  private func encoder(_ index: Int, in opened: inout [PacketEncoder?]) throws -> PacketEncoder {
    if let encoder = opened[index] { return encoder }
    let new = try make(formats[index])
    opened[index] = new
    return new
  }
}
