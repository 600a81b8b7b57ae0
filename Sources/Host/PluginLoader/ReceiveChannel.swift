import PluginAPI
import Synchronization

/// One channel of the receive side: a backend's state, and payload in, pages out.
///
/// Belongs to one thread at a time and may be handed on; a second call while one is running is
/// refused, which is what makes it safe to share.
public final class ReceiveChannel: @unchecked Sendable {
  /// The backend that decodes.
  public let backend: Backend
  /// How many packets can be between `submit()` and `complete()`.
  public let depth: Int

  private let options: OptionValues
  private let host: HostChannel
  private let payloadLimit: Int
  /// Allocated in init, freed in deinit, at one address all the time; the backend may keep it
  /// between setup and cleanup. Its memory starts as zeroes, so `compress_data` is NULL.
  private let params: UnsafeMutablePointer<MultiFDRecvParams>
  private let slots: [ReceiveSlot]
  private var flight: Flight
  private let state: ChannelState
  private let mark: BackendCalls.Mark

  init(
    _ backend: Backend, _ geometry: ChannelGeometry, _ options: OptionValues, _ host: HostChannel
  ) {
    self.backend = backend
    self.options = options
    self.host = host
    payloadLimit = geometry.payloadLimit
    depth = backend.depth(.receive)
    flight = Flight(depth: depth)
    slots = (0..<depth).map { ReceiveSlot($0) }
    state = ChannelState(what: "\(backend.name), channel \(geometry.id)")
    mark = BackendCalls.Mark(backend: backend.name, channel: Int(geometry.id))
    host.mark = mark
    params = zeroed(MultiFDRecvParams.self)
    params.pointee.struct_size = UInt32(MemoryLayout<MultiFDRecvParams>.size)
    params.pointee.id = geometry.id
    params.pointee.channels = geometry.channels
    params.pointee.page_size = geometry.pageSize
    params.pointee.page_count = geometry.pageCount
    params.pointee.services = HostServices.table
    params.pointee.channel = host.pointer
    params.pointee.options = UnsafePointer(options.values)
  }

  deinit {
    close()
    params.deallocate()
  }

  func setup() throws(PluginError) {
    mark.enter(.recvSetup)
    let status = backend.methods.recv_setup!(params)
    mark.leave()
    guard status == MULTIFD_OK, host.failure == nil else {
      let error = host.error(for: status, callback: .recvSetup, backend: backend.name)
      close()
      throw error as? PluginError
        ?? PluginError(.internalFault, what: state.what, why: "recv_setup() failed: \(error)")
    }
  }

  /// Decodes one packet: `submit()` and `complete()`, while no other is in flight.
  public func receive(
    host base: UnsafeMutableRawPointer?, normal: UnsafeBufferPointer<UInt64>,
    zero: UnsafeBufferPointer<UInt64>, reference: UnsafeRawPointer? = nil, payloadSize: Int,
    flags: UInt32, packetNumber: UInt64
  ) throws {
    try submit(
      host: base, normal: normal, zero: zero, reference: reference, payloadSize: payloadSize,
      flags: flags, packetNumber: packetNumber)
    try complete()
  }

  /// Begins to decode one packet: reads `payloadSize` bytes from the source; they will fill the
  /// pages `host + normal[i]`. The caller has checked that those are inside the block and aligned,
  /// and clears the zero pages itself. Memory, lists and reference stay until `complete()` has
  /// returned for this packet, or `close()`; there must be room for it (`depth`). A backend that has
  /// one packet at a time has filled them when this returns.
  ///
  /// - Parameter reference: an image in which the page at `reference + normal[i]` is the one that the
  ///   sender compared with; for a backend that can use one, and nobody else. Not the memory that
  ///   is written.
  /// - Throws: what the source threw, or a `PluginError` (`corrupt` for a payload that is too long,
  ///   too short or nonsense, else `noMemory` or `internalFault`). The pages may then hold anything
  ///   and the channel can only be closed.
  public func submit(
    host base: UnsafeMutableRawPointer?, normal: UnsafeBufferPointer<UInt64>,
    zero: UnsafeBufferPointer<UInt64>, reference: UnsafeRawPointer? = nil, payloadSize: Int,
    flags: UInt32, packetNumber: UInt64
  ) throws {
    try state.enter()
    defer { state.leave() }
    do {
      try check(base, normal, zero, payloadSize: payloadSize)
      guard let number = flight.push() else {
        throw fault("was given a packet more than the \(depth) that can be in flight")
      }
      let slot = slots[number]
      let usable = backend.capabilities.contains(.reference) ? reference : nil
      slot.take(
        base, normal, zero, reference: usable?.assumingMemoryBound(to: UInt8.self),
        payloadSize: payloadSize, flags: flags, packetNumber: packetNumber)
      if !slot.isEmpty { try decode(slot, payloadSize) }
    } catch {
      state.fail()
      throw located(error, packetNumber, payloadSize)
    }
  }

  /// Waits until the packet is decoded that was submitted first.
  ///
  /// - Throws: as `submit()`, of that packet.
  public func complete() throws {
    try state.enter()
    defer { state.leave() }
    guard let number = flight.pop() else {
      state.fail()
      throw fault("was asked for a packet, and none is in flight")
    }
    let slot = slots[number]
    guard let complete = backend.methods.recv_complete, isDeep, !slot.isEmpty else { return }
    // Nothing can be read in there.
    host.begin(payload: 0)
    host.end()
    let packetNumber = slot.packet.pointee.packet_num
    mark.enter(.recvComplete, packet: packetNumber)
    let status = complete(params, slot.packet)
    mark.leave()
    guard status == MULTIFD_OK, host.failure == nil else {
      state.fail()
      throw located(
        host.error(for: status, callback: .recvComplete, backend: backend.name), packetNumber, 0)
    }
  }

  /// As many packets are in flight as can be.
  public var isFull: Bool { flight.count == depth }

  private var isDeep: Bool { backend.methods.recv_submit != nil }

  private func decode(_ slot: ReceiveSlot, _ payloadSize: Int) throws {
    host.begin(payload: payloadSize)
    let callback = isDeep ? BackendCalls.Callback.recvSubmit : .recv
    let packetNumber = slot.packet.pointee.packet_num
    let status: Int32
    if let submit = backend.methods.recv_submit {
      mark.enter(callback, packet: packetNumber)
      status = submit(params, slot.packet)
    } else {
      params.show(slot.packet.pointee)
      mark.enter(callback, packet: packetNumber)
      status = backend.methods.recv!(params)
    }
    mark.leave()
    host.end()
    guard status == MULTIFD_OK, host.failure == nil else {
      throw host.error(for: status, callback: callback, backend: backend.name)
    }
    guard host.remaining == 0 else {
      throw fault(
        "\(callback.name)() left \(host.remaining) of \(payloadSize) payload bytes unread")
    }
  }

  /// Checks a packet's sizes.
  private func check(
    _ base: UnsafeMutableRawPointer?, _ normal: UnsafeBufferPointer<UInt64>,
    _ zero: UnsafeBufferPointer<UInt64>, payloadSize: Int
  ) throws(PluginError) {
    func corrupt(_ why: String) -> PluginError {
      PluginError(.corrupt, what: state.what, why: why)
    }
    let most = Int(params.pointee.page_count)
    guard normal.count <= most, zero.count <= most else {
      throw corrupt("\(max(normal.count, zero.count)) pages are more than the \(most) of a packet")
    }
    guard payloadSize >= 0, payloadSize <= payloadLimit else {
      throw corrupt(
        "a payload of \(payloadSize) bytes is more than the \(payloadLimit) that can be")
    }
    guard payloadSize == 0 || normal.count > 0 else {
      throw corrupt("\(payloadSize) bytes of payload come with no pages")
    }
    guard base != nil || normal.count == 0 else { throw fault("was given no memory for its pages") }
  }

  private func fault(_ why: String) -> PluginError {
    PluginError(.internalFault, what: state.what, why: why)
  }

  /// Adds packet and offset to an error of ours; another's error is left as it is.
  private func located(_ error: any Error, _ packet: UInt64, _ payloadSize: Int) -> any Error {
    guard !host.sourceFailed, var error = error as? PluginError else { return error }
    // Not "packet": hosts count the packets of each channel by that word.
    error.what += ", packet_num \(packet)"
    if error.kind == .corrupt, payloadSize > 0 {
      error.what += ", payload byte \(payloadSize - host.remaining) of \(payloadSize)"
    }
    return error
  }

  /// Bytes that the backend holds through the services now.
  public var allocatedBytes: Int { host.allocated }

  /// Ends the channel: the backend's cleanup, exactly once. Called by deinit too; more calls do
  /// nothing. Not to be called while `submit()` or `complete()` runs in another thread: it waits for
  /// nothing then and leaves the cleanup to deinit.
  public func close() {
    guard state.close() else { return }
    mark.enter(.recvCleanup)
    backend.methods.recv_cleanup!(params)
    mark.release()
    host.source = nil
  }
}
