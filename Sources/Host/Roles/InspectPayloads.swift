import PluginAPI
import PluginLoader
import Wire

extension Inspector {
  /// Decodes every payload with the backend for its method, into pages that nobody keeps: what a
  /// receiver would find wrong shows here.
  ///
  /// - Parameter onMissing: told once a channel when there is no backend for its method.
  public mutating func checkPayloads(
    _ loader: PluginLoader, onMissing: @escaping @Sendable (PluginError) -> Void
  ) {
    let pageSize = limits.pageSize
    payloadCheck = { hello in
      let decoder = PayloadDecoder(loader, channel: Int(hello.id), pageSize: pageSize, onMissing)
      return { header, _, payload in try decoder.decode(header, payload) }
    }
  }
}

/// One channel's backend, fed from memory.
private final class PayloadDecoder {
  private let loader: PluginLoader
  private let id: Int
  private let pageSize: Int
  private let onMissing: (PluginError) -> Void
  private let payload = MemoryPayload()
  private let image: UnsafeMutableRawBufferPointer
  private let offsets: [UInt64]
  private var receiver: ReceiveChannel?
  private var isMissing = false

  init(
    _ loader: PluginLoader, channel: Int, pageSize: Int,
    _ onMissing: @escaping (PluginError) -> Void
  ) {
    self.loader = loader
    id = channel
    self.pageSize = pageSize
    self.onMissing = onMissing
    let capacity = MultiFDPacketHeader.capacity(pageSize: pageSize)
    // Owned by this object: pages are decoded one after the other, and forgotten.
    image = .allocate(byteCount: capacity * pageSize, alignment: 4096)
    offsets = (0..<capacity).map { UInt64($0 * pageSize) }
  }

  deinit {
    receiver?.close()
    image.deallocate()
  }

  func decode(_ header: MultiFDPacketHeader, _ bytes: UnsafeRawBufferPointer) throws {
    guard !bytes.isEmpty, header.flags.method != .none, !isMissing else { return }
    let receiver: ReceiveChannel
    do {
      receiver = try open(header.flags.method)
    } catch {
      isMissing = true
      return onMissing(error)
    }
    // A backend only reads what it is fed: the cast promises nothing that is broken.
    payload.load([
      MultiFDIOVec(
        iov_base: UnsafeMutableRawPointer(mutating: bytes.baseAddress!), iov_len: bytes.count)
    ])
    try offsets.withUnsafeBufferPointer { offsets in
      try receiver.receive(
        host: image.baseAddress!,
        normal: UnsafeBufferPointer(rebasing: offsets[..<Int(header.normalCount)]),
        zero: UnsafeBufferPointer(start: nil, count: 0), payloadSize: bytes.count,
        flags: header.flags.rawValue, packetNumber: header.packetNumber)
    }
  }

  private func open(_ method: MultiFDMethod) throws(PluginError) -> ReceiveChannel {
    if let receiver { return receiver }
    let backend = try loader.load(qemuMethod: method.rawValue)
    let new = try backend.makeReceiver(
      id: id, channels: id + 1, pageSize: pageSize,
      pageCount: MultiFDPacketHeader.capacity(pageSize: pageSize), options: try backend.parse([]),
      source: payload)
    receiver = new
    return new
  }
}
