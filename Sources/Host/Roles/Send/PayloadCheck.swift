import Glibc
import Migration
import PluginLoader

/// Decodes a channel's payloads before they are sent, and compares them with the pages.
///
/// A stock QEMU that meets a payload it cannot decode says nothing and hangs until it is killed
/// (SPECIFICATION section 4.4), so what goes out has been decoded once, in order, by the backend's own
/// receive side.
final class PayloadCheck {
  private let pageSize: Int
  private let image: UnsafeMutableRawBufferPointer
  private let offsets: UnsafeMutableBufferPointer<UInt64>
  private let payload = MemoryPayload()
  private let channel: ReceiveChannel

  init(
    backend: Backend, options: OptionValues, id: Int, channels: Int, pageSize: Int, pageCount: Int
  ) throws {
    self.pageSize = pageSize
    channel = try backend.makeReceiver(
      id: id, channels: channels, pageSize: pageSize, pageCount: pageCount, options: options,
      source: payload)
    // Owned by this object; decoded pages lie in it one after the other.
    image = .allocate(byteCount: pageSize * pageCount, alignment: 4096)
    offsets = .allocate(capacity: pageCount)
    for index in 0..<pageCount { offsets[index] = UInt64(index * pageSize) }
  }

  deinit {
    channel.close()
    image.deallocate()
    offsets.deallocate()
  }

  /// - Parameter flags: as in the packet's header, for a backend may look at them.
  /// - Throws: when the payload does not decode to exactly these pages.
  func check(
    _ payload: SendChannel.Payload, host: UnsafeRawPointer, normal: UnsafeBufferPointer<UInt64>,
    flags: UInt32, packet: UInt64
  ) throws {
    self.payload.load(payload.iov)
    try channel.receive(
      host: image.baseAddress!, normal: UnsafeBufferPointer(rebasing: offsets[..<normal.count]),
      zero: UnsafeBufferPointer(start: nil, count: 0), payloadSize: payload.size, flags: flags,
      packetNumber: packet)
    for (index, offset) in normal.enumerated() {
      // Both pages are whole: one in the image, one in the held guest, which does not change.
      guard memcmp(image.baseAddress! + index * pageSize, host + Int(offset), pageSize) == 0 else {
        throw Failure(
          .internalError, "backend", "a page at offset \(offset) does not survive its own codec",
          hint: "nothing of this packet was sent; the guest is safe in its store")
      }
    }
  }
}
