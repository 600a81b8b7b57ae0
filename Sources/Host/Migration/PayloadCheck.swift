import Glibc
import PluginLoader
import Wire

/// Decodes a channel's payloads before they are sent, and compares them with the pages.
///
/// A stock QEMU that meets a payload it cannot decode says nothing and hangs until it is killed
/// (SPECIFICATION section 4.4), so what goes out has been decoded once, in order, by the backend's
/// own receive side.
final class PayloadCheck {
  private let pageSize: Int
  private let scratch: ScratchPages
  private let payload = MemoryPayload()
  private let channel: ReceiveChannel

  init(backend: Backend, options: OptionValues, id: Int, channels: Int, pageSize: Int) throws {
    self.pageSize = pageSize
    channel = try backend.makeReceiver(
      id: id, channels: channels, pageSize: pageSize,
      pageCount: MultiFDPacketHeader.capacity(pageSize: pageSize), options: options,
      source: payload)
    scratch = ScratchPages(pageSize: pageSize)
  }

  deinit { channel.close() }

  /// - Parameter method: as in the packet's flags, for a backend may look at them.
  /// - Throws: when the payload does not decode to exactly the packet's pages.
  func check(
    _ payload: SendChannel.Payload, of packet: borrowing Packet, _ method: MultiFDMethod
  ) throws {
    self.payload.load(payload.iov)
    // With a reference the pages lie one after the other as well: see `VersionedPages`.
    try channel.receive(
      host: scratch.host, normal: scratch.places(packet.normal.count), zero: packet.zero,
      reference: packet.reference, payloadSize: payload.size, flags: method.rawValue,
      packetNumber: packet.header.packetNumber)
    for (index, place) in packet.places.enumerated() {
      // Both pages are whole: one is the scratch's, one lies where the packet says, and does not
      // change.
      guard memcmp(scratch.host + index * pageSize, packet.host! + Int(place), pageSize) == 0 else {
        throw Failure(
          .internalError, "backend",
          "a page at offset \(packet.normal[index]) does not survive its own codec",
          hint: "nothing of this packet was sent; the guest is safe where it was")
      }
    }
  }
}
