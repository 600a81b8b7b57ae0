import Glibc
import PluginAPI
import PluginLoader

/// Decodes a channel's payloads before they are sent, and compares them with the pages.
///
/// A stock QEMU that meets a payload it cannot decode says nothing and hangs until it is killed
/// (SPECIFICATION section 4.4), so what goes out has been decoded once, in order, by the backend's own
/// receive side.
final class PayloadCheck: PayloadSource {
  private let pageSize: Int
  private let image: UnsafeMutableRawBufferPointer
  private let offsets: UnsafeMutableBufferPointer<UInt64>
  private var channel: ReceiveChannel?
  private var pieces: [MultiFDIOVec] = []
  private var piece = 0
  private var done = 0

  init(
    backend: Backend, options: OptionValues, id: Int, channels: Int, pageSize: Int, pageCount: Int
  ) throws {
    self.pageSize = pageSize
    // Owned by this object; decoded pages lie in it one after the other.
    image = .allocate(byteCount: pageSize * pageCount, alignment: 4096)
    offsets = .allocate(capacity: pageCount)
    for index in 0..<pageCount { offsets[index] = UInt64(index * pageSize) }
    channel = try backend.makeReceiver(
      id: id, channels: channels, pageSize: pageSize, pageCount: pageCount, options: options,
      source: self)
  }

  /// Ends the backend's channel, which knows this object as its source: without it neither would go.
  func close() { channel?.close() }

  deinit {
    image.deallocate()
    offsets.deallocate()
  }

  /// - Throws: when the payload does not decode to exactly these pages.
  func check(
    _ payload: SendChannel.Payload, host: UnsafeRawPointer, normal: UnsafeBufferPointer<UInt64>,
    packet: UInt64
  ) throws {
    (pieces, piece, done) = (Array(payload.iov), 0, 0)
    try channel?.receive(
      host: image.baseAddress!, normal: UnsafeBufferPointer(rebasing: offsets[..<normal.count]),
      zero: UnsafeBufferPointer(start: nil, count: 0), payloadSize: payload.size, flags: 0,
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

  // MARK: PayloadSource

  func read(into buffer: UnsafeMutableRawBufferPointer) throws {
    var filled = 0
    while filled < buffer.count, piece < pieces.count {
      let count = min(pieces[piece].iov_len - done, buffer.count - filled)
      // The backend's pieces stay valid until its next send_prepare.
      (buffer.baseAddress! + filled).copyMemory(
        from: pieces[piece].iov_base + done, byteCount: count)
      filled += count
      done += count
      if done == pieces[piece].iov_len { (piece, done) = (piece + 1, 0) }
    }
  }

  func readv(_ pieces: UnsafeBufferPointer<MultiFDIOVec>) throws {
    for piece in pieces {
      try read(into: UnsafeMutableRawBufferPointer(start: piece.iov_base, count: piece.iov_len))
    }
  }
}
