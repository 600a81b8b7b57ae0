import PluginAPI

/// The sizes of one channel, checked once, in the widths that the interface has.
struct ChannelGeometry {
  let id: UInt32
  let channels: UInt32
  let pageSize: UInt32
  let pageCount: UInt32
  /// The most payload that one packet may have, by the backend's word and, for QEMU's formats, by
  /// what a stock QEMU can take.
  let payloadLimit: Int

  init(
    backend: Backend, id: Int, channels: Int, pageSize: Int, pageCount: Int
  ) throws(PluginError) {
    func setup(_ why: String) -> PluginError {
      PluginError(.setup, what: "\(backend.name), channel \(id)", why: why)
    }
    guard let channels32 = UInt32(exactly: channels), let id32 = UInt32(exactly: id), id < channels
    else { throw setup("there is no channel \(id) of \(channels)") }
    guard (4096...(1 << 30)).contains(pageSize), pageSize & (pageSize - 1) == 0 else {
      throw setup("pages of \(pageSize) bytes are not a power of two from 4 KiB to 1 GiB")
    }
    guard (1...(1 << 24)).contains(pageCount) else {
      throw setup("packets of \(pageCount) pages are not possible")
    }
    guard let bound = backend.payloadBound(pageSize: pageSize, pageCount: pageCount) else {
      throw setup("packets of \(pageCount) pages of \(pageSize) bytes are not supported")
    }
    self.id = id32
    self.channels = channels32
    self.pageSize = UInt32(pageSize)
    self.pageCount = UInt32(pageCount)
    payloadLimit = backend.qemuMethod == nil ? bound : min(bound, Int(MULTIFD_QEMU_MAX_PAYLOAD))
  }
}

extension Backend {
  /// How much memory the services give to one channel and direction unless told otherwise.
  public static let defaultMemoryLimit = 256 << 20

  /// Refuses a direction that it does not have, and values that were parsed for another backend:
  /// the arrays would not be parallel.
  private func check(
    _ direction: Direction, _ values: OptionValues, channel id: Int
  ) throws(PluginError) {
    if let obstacle = capabilities.obstacle(to: direction) {
      throw PluginError(.setup, what: "\(name), channel \(id)", why: obstacle)
    }
    guard values.owner === self else {
      let whose = values.backend == name ? "another \(name)" : values.backend
      throw PluginError(
        .internalFault, what: "\(name), channel \(id)", why: "was given the options of \(whose)",
        hint: "they were parsed by the backend \(values.owner.path)")
    }
  }

  /// Prepares a channel of the receive side.
  ///
  /// - Parameters:
  ///   - id: the channel's number, below `channels`.
  ///   - channels: how many there are.
  ///   - pageSize: bytes of a page.
  ///   - pageCount: the most pages of a packet.
  ///   - options: from `parse()` of this backend.
  ///   - source: where payload comes from; kept until `close()`.
  ///   - memoryLimit: bytes that the backend may take through the services.
  ///   - log: gets the backend's log lines.
  /// - Throws: `setup`, `options`, `noMemory`, `internalFault`, with the backend's own text. Its
  ///   cleanup has been called then.
  public func makeReceiver(
    id: Int, channels: Int, pageSize: Int, pageCount: Int, options: OptionValues,
    source: any PayloadSource, memoryLimit: Int = Backend.defaultMemoryLimit, log: BackendLog? = nil
  ) throws(PluginError) -> ReceiveChannel {
    try check(.receive, options, channel: id)
    let geometry = try ChannelGeometry(
      backend: self, id: id, channels: channels, pageSize: pageSize, pageCount: pageCount)
    let host = HostChannel(
      what: "\(name), channel \(id)", source: source, memoryLimit: memoryLimit, log: log)
    let channel = ReceiveChannel(self, geometry, options, host)
    try channel.setup()
    return channel
  }

  /// Prepares a channel of the send side. As `makeReceiver`, and:
  ///
  /// - Parameter inputMayChange: pages may be written while they are encoded (a running guest). A
  ///   backend that cannot cope with that gets a private copy of each packet's pages.
  public func makeSender(
    id: Int, channels: Int, pageSize: Int, pageCount: Int, options: OptionValues,
    inputMayChange: Bool = true, memoryLimit: Int = Backend.defaultMemoryLimit,
    log: BackendLog? = nil
  ) throws(PluginError) -> SendChannel {
    try check(.send, options, channel: id)
    let geometry = try ChannelGeometry(
      backend: self, id: id, channels: channels, pageSize: pageSize, pageCount: pageCount)
    let host = HostChannel(
      what: "\(name), channel \(id)", source: nil, memoryLimit: memoryLimit, log: log)
    let channel = try SendChannel(
      self, geometry, options, host,
      copies: inputMayChange && capabilities.contains(.stableInput))
    try channel.setup()
    return channel
  }
}
