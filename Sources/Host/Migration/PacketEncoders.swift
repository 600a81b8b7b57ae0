import PluginLoader
import Wire

/// What a channel's packets become: one format, or the one that is the fastest for each of them; and
/// those of them that backends are at work on, which go out in the order in which they came. It
/// belongs to one thread.
public final class PacketEncoders {
  private let formats: [OutgoingFormat]
  private var encoders: [PacketEncoder?]
  /// For what nobody gets: a backend's channel may know what it has encoded, and its peer has to
  /// know it too.
  private var trials: [PacketEncoder?]
  /// For each format, where what is sent is checked; nil: not yet, or nothing to check.
  private var checks: [TrailingCheck?]
  private let make: (OutgoingFormat) throws -> PacketEncoder
  private let makeCheck: (OutgoingFormat) throws -> TrailingCheck?
  private let pageSize: Int
  /// Where there is a choice.
  private var chooser: FormatChooser?
  private let start = ContinuousClock.now
  /// The last packet was sent, or handed to its backend.
  private var last = ContinuousClock.now

  /// A packet that a backend is at work on.
  private struct Flying {
    let box: PacketBox
    let encoder: PacketEncoder
    /// The number of its format.
    let format: Int
    let choice: FormatChooser.Choice?
    /// For the source, and until its pages were here.
    let waiting: Duration
    /// What it has taken so far.
    let encoding: Duration
  }
  /// The oldest first.
  private var flying: [Flying] = []

  /// Where boxes come from and go to.
  public let pool: PacketPool
  /// What packets have taken in backends.
  public private(set) var encoding = Duration.zero

  /// - Parameters:
  ///   - formats: one; or several to choose from, pages as they are first.
  ///   - id: the channel's number.
  ///   - channels: of how many; asked when a backend is opened.
  ///   - verification: nil: what is sent is not decoded here.
  public init(
    _ formats: [OutgoingFormat], id: Int, channels: @escaping () -> Int, pageSize: Int,
    verification: Verification? = nil
  ) {
    self.formats = formats
    self.pageSize = pageSize
    pool = PacketPool(pageSize: pageSize)
    chooser = formats.count > 1 ? FormatChooser(formats: formats.count - 1) : nil
    encoders = formats.map { _ in nil }
    trials = encoders
    checks = formats.map { _ in nil }
    make = { format in
      try PacketEncoder(
        format, id: id, channels: max(channels(), id + 1), pageSize: pageSize, verify: false)
    }
    makeCheck = { format in
      guard let verification else { return nil }
      return try PayloadCheck(
        of: format, id: id, channels: max(channels(), id + 1), pageSize: pageSize
      ).map {
        TrailingCheck(
          $0, id: id, isSample: verification.isSample,
          owner: verification.owner, onFailure: verification.onFailure)
      }
    }
  }

  /// That payloads are decoded once, behind their sending; see `TrailingCheck`.
  public struct Verification {
    let isSample: Bool
    let owner: AnyObject
    let onFailure: @Sendable (any Error) -> Void

    /// - Parameters:
    ///   - isSample: not all packets are decoded, which all formats' backends must allow; see
    ///     ``OutgoingFormat/isProven``.
    ///   - owner: whose the pages are: it is kept while they may be looked at.
    ///   - onFailure: told of a payload that does not decode to its pages, by another thread; it
    ///     ends what the channel's thread may be waiting for.
    public init(
      isSample: Bool = false, pagesOf owner: AnyObject,
      onFailure: @escaping @Sendable (any Error) -> Void
    ) {
      (self.isSample, self.owner, self.onFailure) = (isSample, owner, onFailure)
    }
  }

  /// Opens all backends, as the first packets would.
  public func open() throws { for index in formats.indices { _ = try encoder(index) } }

  // Backends let go of packets and pages before those go.
  deinit {
    for check in checks { check?.close() }
    for encoder in encoders + trials { encoder?.close() }
  }

  /// Sends a packet in its format, once its turn has come: a backend that has several packets at a
  /// time may still be at work on it. The box is back in the pool when it was sent.
  public func submit(_ box: PacketBox, to writer: PacketWriter) throws {
    let begin = ContinuousClock.now
    let choice = choose(for: box.packet)
    let encoder = try encoder(choice?.index ?? 0)
    // All of them are in flight: the one that is the oldest of all goes before it.
    while encoder.isFull { try complete(to: writer) }
    if box.packet.header.normalCount > 0 { try encoder.submit(box.packet) }
    let end = ContinuousClock.now
    flying.append(
      Flying(
        box: box, encoder: encoder, format: choice?.index ?? 0, choice: choice,
        waiting: begin - last, encoding: end - begin))
    last = end
    // Nobody is at work on a packet without contents: there is no reason for it to wait.
    let isDone = box.packet.header.normalCount == 0
    while !flying.isEmpty, encoder.isFull || isDone { try complete(to: writer) }
  }

  /// Sends all that has not been sent, and waits until all is checked.
  public func settle(to writer: PacketWriter) throws {
    while !flying.isEmpty { try complete(to: writer) }
    for check in checks { try check?.settle() }
    takeBack()
  }

  /// Boxes that have been checked.
  private func takeBack() {
    for check in checks { check?.returned().forEach(pool.put) }
  }

  /// How many packets were submitted and not sent.
  public var inFlight: Int { flying.count }

  private func choose(for packet: borrowing Packet) -> FormatChooser.Choice? {
    guard chooser != nil, let host = packet.host, !packet.normal.isEmpty else { return nil }
    // The pages lie where the packet says, whole.
    let look = PageLook(UnsafeRawPointer(host), packet.places, pageSize: pageSize)
    return chooser!.choose(look, bytes: packet.normal.count * pageSize)
  }

  /// Sends the oldest.
  private func complete(to writer: PacketWriter) throws {
    // It stays in the list until all went well: a backend that fails may still be at work on it.
    let oldest = flying[0]
    let begin = ContinuousClock.now
    let payload =
      oldest.box.packet.header.normalCount > 0
      ? try oldest.encoder.complete(oldest.box.packet) : nil
    let took = oldest.encoding + (ContinuousClock.now - begin)
    // Before it is sent: the payload is the backend's, and the writer may wait for the peer.
    let isTaken =
      if let payload, let check = checks[oldest.format] {
        try check.take(payload, of: oldest.box, oldest.encoder.own)
      } else { false }
    let sent = try writer.write(oldest.box.packet, payload, as: oldest.encoder.method)
    encoding += took
    let end = ContinuousClock.now
    last = end
    if let choice = oldest.choice {
      let trial = try choice.trial.map { (index: $0, result: try attempt($0, oldest.box.packet)) }
      chooser!.sent(
        choice, bytes: oldest.box.packet.normal.count * pageSize, payload: sent.payload,
        waiting: oldest.waiting, encoding: took, sending: sent.sending, trial: trial,
        at: end - start, isShut: writer.peerIsSlow)
      if trial != nil { last = .now }
    }
    flying.removeFirst()
    if !isTaken { pool.put(oldest.box) }
    takeBack()
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

  /// Sends all that has not been sent, and a packet that only ends the epoch.
  public func sync(number: UInt64, in packet: inout Packet, to writer: PacketWriter) throws {
    try settle(to: writer)
    try writer.sync(number: number, in: &packet, with: encoder(0))
  }

  /// What was chosen, and why, for pages with contents; empty where there was no choice.
  public var uses: [FormatUse] {
    guard let chooser else { return [] }
    return zip(formats, chooser.uses).map { format, use in
      FormatUse(format.backend.name, use, link: chooser.link)
    }
  }

  private func encoder(_ index: Int) throws -> PacketEncoder {
    if let encoder = encoders[index] { return encoder }
    let new = try encoder(index, in: &encoders)
    checks[index] = try makeCheck(formats[index])
    return new
  }

  private func encoder(_ index: Int, in opened: inout [PacketEncoder?]) throws -> PacketEncoder {
    if let encoder = opened[index] { return encoder }
    let new = try make(formats[index])
    opened[index] = new
    return new
  }
}
