import Wire

/// What a channel's packets become: one format, or the one that is the fastest for each of them. It
/// belongs to one thread.
public final class PacketEncoders {
  private let formats: [OutgoingFormat]
  private var encoders: [PacketEncoder?]
  private let make: (OutgoingFormat) throws -> PacketEncoder

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
    encoders = formats.map { _ in nil }
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
    try writer.write(packet, with: encoder(0))
  }

  /// Sends a packet that only ends an epoch.
  public func sync(number: UInt64, in packet: inout Packet, to writer: PacketWriter) throws {
    try writer.sync(number: number, in: &packet, with: encoder(0))
  }

  private func encoder(_ index: Int) throws -> PacketEncoder {
    if let encoder = encoders[index] { return encoder }
    let new = try make(formats[index])
    encoders[index] = new
    return new
  }
}
