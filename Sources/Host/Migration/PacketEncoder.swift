import PluginLoader
import Wire

/// A channel's backend on the send side: what turns a packet's pages into a payload, and makes sure
/// that it will be pages again.
public final class PacketEncoder {
  /// For the headers of packets that it encodes.
  let method: MultiFDMethod
  /// What the backend is told of the method: the bits that QEMU has for it.
  private let own: MultiFDMethod
  private let channel: SendChannel
  private let check: PayloadCheck?

  /// One for a channel.
  ///
  /// - Parameters:
  ///   - id: the channel's number, of `channels`.
  ///   - verify: every payload is decoded once before it goes out.
  public init(_ format: OutgoingFormat, id: Int, channels: Int, pageSize: Int, verify: Bool) throws
  {
    let (backend, options) = (format.backend, format.options)
    let capacity = MultiFDPacketHeader.capacity(pageSize: pageSize)
    own = MultiFDMethod(rawValue: backend.qemuMethod ?? 0)
    method = format.method
    channel = try backend.makeSender(
      id: id, channels: channels, pageSize: pageSize, pageCount: capacity, options: options,
      inputMayChange: false)
    // nocomp's payload is the pages themselves: there is nothing that could fail to decode.
    check =
      verify && !backend.capabilities.contains(.zeroCopy)
      ? try PayloadCheck(
        backend: backend, options: options, id: id, channels: channels, pageSize: pageSize)
      : nil
  }

  deinit { channel.close() }

  /// Encodes the normal pages of a packet that has some.
  ///
  /// - Returns: valid until the next call.
  func encode(_ packet: borrowing Packet) throws -> SendChannel.Payload {
    let number = packet.header.packetNumber
    let payload = try channel.prepare(
      host: packet.host.map { UnsafeRawPointer($0) }, normal: packet.places, zero: packet.zero,
      reference: packet.reference, flags: own.rawValue, packetNumber: number)
    try check?.check(payload, of: packet, own)
    return payload
  }
}
