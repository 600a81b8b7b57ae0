import Glibc
import PluginAPI
import PluginLoader
import Wire

/// Decodes a channel's payloads before they count, and compares them with the pages.
///
/// A stock QEMU that meets a payload it cannot decode says nothing and hangs until it is killed
/// (SPECIFICATION section 4.4), so what it gets to start with has been decoded once, in order, by the
/// backend's own receive side.
final class PayloadCheck {
  private let pageSize: Int
  private let scratch: ScratchPages
  private let payload = MemoryPayload()
  private let channel: ReceiveChannel

  /// One for a channel; nil for a format whose payload is the pages themselves: there is nothing
  /// that could fail to decode.
  init?(of format: OutgoingFormat, id: Int, channels: Int, pageSize: Int) throws {
    guard !format.backend.capabilities.contains(.zeroCopy) else { return nil }
    guard let decoder = format.check else {
      throw Failure(
        .refused, "backend \(format.backend.name)",
        "it encodes only, and no backend here decodes \(format.backend.wireFormat) to check what is sent",
        hint: "install one, or send unchecked with --no-verify")
    }
    self.pageSize = pageSize
    channel = try decoder.backend.makeReceiver(
      id: id, channels: channels, pageSize: pageSize,
      pageCount: MultiFDPacketHeader.capacity(pageSize: pageSize), options: decoder.options,
      source: payload)
    scratch = ScratchPages(pageSize: pageSize)
  }

  deinit { channel.close() }

  /// - Parameters:
  ///   - pieces: the payload, of `size` bytes; it stays as it is meanwhile.
  ///   - method: as in the packet's flags, for a backend may look at them.
  /// - Throws: when the payload does not decode to exactly the packet's pages.
  func check(
    _ pieces: some Sequence<MultiFDIOVec>, _ size: Int, of packet: borrowing Packet,
    _ method: MultiFDMethod
  ) throws {
    payload.load(pieces)
    // With a reference the pages lie one after the other as well: see `VersionedPages`.
    try channel.receive(
      host: scratch.host, normal: scratch.places(packet.normal.count), zero: packet.zero,
      reference: packet.reference, payloadSize: size, flags: method.rawValue,
      packetNumber: packet.header.packetNumber)
    for (index, place) in packet.places.enumerated() {
      // Both pages are whole: one is the scratch's, one lies where the packet says, and does not
      // change.
      guard memcmp(scratch.host + index * pageSize, packet.host! + Int(place), pageSize) == 0 else {
        throw Failure(
          .internalError, "backend",
          "a page at offset \(packet.normal[index]) does not survive its own codec",
          hint: "the destination cannot start with it; the guest is safe where it was")
      }
    }
  }
}
