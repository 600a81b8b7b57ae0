import Glibc
import PluginAPI

/// One channel of the send side: a backend's state, and pages in, payload out.
///
/// Belongs to one thread at a time and may be handed on; a second call while one is running is
/// refused, which is what makes it safe to share.
public final class SendChannel: @unchecked Sendable {
  /// One packet's payload. Valid until the next `submit()` or `close()` of its channel.
  public struct Payload {
    /// The pieces, in order; they point into guest pages or the backend's own memory.
    public let iov: UnsafeBufferPointer<MultiFDIOVec>
    /// The sum of their lengths.
    public let size: Int
  }

  /// The backend that encodes.
  public let backend: Backend
  /// How many packets can be between `submit()` and `complete()`.
  public let depth: Int

  private let options: OptionValues
  private let host: HostChannel
  private let pageSize: Int
  /// Allocated in init, freed in deinit, at one address all the time; the backend may keep it
  /// between setup and cleanup. Its memory starts as zeroes, so `compress_data` is NULL.
  private let params: UnsafeMutablePointer<MultiFDSendParams>
  private let slots: [SendSlot]
  private var flight: Flight
  private let state: ChannelState
  private let mark: BackendCalls.Mark

  init(
    _ backend: Backend, _ geometry: ChannelGeometry, _ options: OptionValues, _ host: HostChannel,
    copies: Bool
  ) throws(PluginError) {
    self.backend = backend
    self.options = options
    self.host = host
    pageSize = Int(geometry.pageSize)
    let state = ChannelState(what: "\(backend.name), channel \(geometry.id)")
    self.state = state
    depth = backend.depth(.send)
    flight = Flight(depth: depth)
    var slots: [SendSlot] = []
    for number in 0..<depth {
      slots.append(try SendSlot(number, geometry, copies: copies, what: state.what))
    }
    self.slots = slots
    mark = BackendCalls.Mark(backend: backend.name, channel: Int(geometry.id))
    params = zeroed(MultiFDSendParams.self)
    params.pointee.struct_size = UInt32(MemoryLayout<MultiFDSendParams>.size)
    params.pointee.id = geometry.id
    params.pointee.channels = geometry.channels
    params.pointee.page_size = geometry.pageSize
    params.pointee.page_count = geometry.pageCount
    params.pointee.iovs_max = geometry.pageCount + 16
    params.pointee.services = HostServices.table
    params.pointee.channel = host.pointer
    params.pointee.options = UnsafePointer(options.values)
    params.pointee.iov = slots[0].iov
  }

  deinit {
    close()
    params.deallocate()
  }

  func setup() throws(PluginError) {
    mark.enter(.sendSetup)
    let status = backend.methods.send_setup!(params)
    mark.leave()
    guard status == MULTIFD_OK, host.failure == nil else {
      let error = host.error(for: status, callback: .sendSetup, backend: backend.name)
      close()
      throw error as? PluginError
        ?? PluginError(.internalFault, what: state.what, why: "send_setup() failed: \(error)")
    }
  }

  /// Encodes one packet: `submit()` and `complete()`, while no other is in flight.
  public func prepare(
    host base: UnsafeRawPointer?, normal: UnsafeBufferPointer<UInt64>,
    zero: UnsafeBufferPointer<UInt64>, reference: UnsafeRawPointer? = nil, flags: UInt32,
    packetNumber: UInt64
  ) throws(PluginError) -> Payload {
    try submit(
      host: base, normal: normal, zero: zero, reference: reference, flags: flags,
      packetNumber: packetNumber)
    return try complete()
  }

  /// Begins to encode one packet: the pages `host + normal[i]`. The caller has checked that those
  /// are inside the block and aligned, and sends the zero pages itself. Pages, lists and reference
  /// stay as they are until `complete()` has returned this packet; there must be room for it
  /// (`depth`). A backend that has one packet at a time has encoded it when this returns.
  ///
  /// - Parameter reference: an image in which the page at `reference + normal[i]` is what the
  ///   receiver has for it; for a backend that can use one, and nobody else.
  /// - Throws: a `PluginError` (`noMemory`, `internalFault`), after which the channel can only be
  ///   closed.
  public func submit(
    host base: UnsafeRawPointer?, normal: UnsafeBufferPointer<UInt64>,
    zero: UnsafeBufferPointer<UInt64>, reference: UnsafeRawPointer? = nil, flags: UInt32,
    packetNumber: UInt64
  ) throws(PluginError) {
    try state.enter()
    defer { state.leave() }
    do throws(PluginError) {
      let most = Int(params.pointee.page_count)
      guard normal.count <= most, zero.count <= most, base != nil || normal.count == 0 else {
        throw fault("was given \(normal.count) and \(zero.count) pages, a packet has \(most)")
      }
      guard let number = flight.push() else {
        throw fault("was given a packet more than the \(depth) that can be in flight")
      }
      let slot = slots[number]
      slot.take(
        base, normal, zero, reference: try usable(reference, in: slot), flags: flags,
        packetNumber: packetNumber)
      if !slot.isEmpty { try encode(slot) }
    } catch {
      state.fail()
      throw located(error, packetNumber)
    }
  }

  /// Waits until the packet is encoded that was submitted first.
  ///
  /// - Returns: its payload, valid until the next `submit()` or `close()`. Empty without pages.
  /// - Throws: as `submit()`. What the backend returns is checked: pieces, their sum, its own bound,
  ///   and 1 MiB for formats that a stock QEMU receives.
  public func complete() throws(PluginError) -> Payload {
    try state.enter()
    defer { state.leave() }
    guard let number = flight.pop() else {
      state.fail()
      throw fault("was asked for a packet, and none is in flight")
    }
    let slot = slots[number]
    do throws(PluginError) {
      if slot.isEmpty {
        return Payload(iov: UnsafeBufferPointer(start: slot.iov, count: 0), size: 0)
      }
      if let complete = backend.methods.send_complete, isDeep {
        try call(.sendComplete, slot) { complete(params, slot.packet) }
      }
      return try payload(slot)
    } catch {
      state.fail()
      throw located(error, slot.packet.pointee.packet_num)
    }
  }

  /// As many packets are in flight as can be.
  public var isFull: Bool { flight.count == depth }

  private var isDeep: Bool { backend.methods.send_submit != nil }

  private func encode(_ slot: SendSlot) throws(PluginError) {
    if let submit = backend.methods.send_submit {
      return try call(.sendSubmit, slot) { submit(params, slot.packet) }
    }
    params.show(slot.packet.pointee)
    try call(.sendPrepare, slot) { backend.methods.send_prepare!(params) }
    slot.packet.takeResult(of: params)
  }

  @inline(__always)
  private func call(
    _ callback: BackendCalls.Callback, _ slot: SendSlot, _ body: () -> Int32
  ) throws(PluginError) {
    host.begin(payload: 0)
    host.end()
    mark.enter(callback, packet: slot.packet.pointee.packet_num)
    let status = body()
    mark.leave()
    guard status == MULTIFD_OK, host.failure == nil else {
      throw host.error(for: status, callback: callback, backend: backend.name)
        as? PluginError ?? fault("\(callback.name)() failed")
    }
  }

  /// A reference, as the backend is shown it.
  private func usable(
    _ reference: UnsafeRawPointer?, in slot: SendSlot
  ) throws(PluginError) -> UnsafePointer<UInt8>? {
    guard let reference, backend.capabilities.contains(.reference) else { return nil }
    // Copied pages lie at other offsets than those of the reference.
    guard !slot.copies else { throw fault("was given a reference for pages that are copied") }
    return reference.assumingMemoryBound(to: UInt8.self)
  }

  /// Checks what the backend has set.
  private func payload(_ slot: SendSlot) throws(PluginError) -> Payload {
    let iov = slot.iov, pages = Int(slot.packet.pointee.normal_num)
    let count = Int(slot.packet.pointee.iovs_num)
    let size = Int(slot.packet.pointee.next_packet_size)
    var name: String { isDeep ? "send_complete()" : "send_prepare()" }
    guard slot.packet.pointee.iov == iov else { throw fault("\(name) replaced the host's iov") }
    guard count <= Int(params.pointee.page_count) + 16 else {
      throw fault("\(name) returned \(count) pieces, the array has fewer")
    }
    // As words: Swift takes iov_base for non-null, which is yet to be seen. Two words make one
    // entry, and `count` is within what was allocated.
    let sum = UnsafeRawPointer(iov).withMemoryRebound(to: UInt.self, capacity: count * 2) { words in
      var sum: UInt = 0, wrong = false
      for index in 0..<count {
        let base = words[index * 2], length = words[index * 2 + 1]
        let (next, overflow) = sum.addingReportingOverflow(length)
        wrong = wrong || overflow || (base == 0 && length > 0)
        sum = next
      }
      return wrong ? UInt.max : sum
    }
    guard sum == UInt(size) else {
      throw fault("\(name) returned pieces of \(sum) bytes and a payload of \(size)")
    }
    guard size > 0 || pages == 0 else {
      throw fault("\(name) returned no byte of payload for \(pages) pages")
    }
    let bound = backend.payloadBound(pageSize: pageSize, pageCount: pages) ?? 0
    guard size <= bound else {
      throw fault("\(name) returned \(size) bytes for \(pages) pages, its bound is \(bound)")
    }
    guard backend.qemuMethod == nil || size <= Int(MULTIFD_QEMU_MAX_PAYLOAD) else {
      throw fault(
        "\(name) returned \(size) bytes, a stock QEMU receives at most "
          + "\(MULTIFD_QEMU_MAX_PAYLOAD)")
    }
    return Payload(iov: UnsafeBufferPointer(start: iov, count: count), size: size)
  }

  private func located(_ error: PluginError, _ packetNumber: UInt64) -> PluginError {
    var error = error
    error.what += ", packet_num \(packetNumber)"
    return error
  }

  private func fault(_ why: String) -> PluginError {
    PluginError(.internalFault, what: state.what, why: why)
  }

  /// Bytes that the backend holds through the services now.
  public var allocatedBytes: Int { host.allocated }

  /// Ends the channel: the backend's cleanup, exactly once. Called by deinit too; more calls do
  /// nothing. Not to be called while `submit()` or `complete()` runs in another thread: it waits for nothing then
  /// and leaves the cleanup to deinit.
  public func close() {
    guard state.close() else { return }
    mark.enter(.sendCleanup)
    backend.methods.send_cleanup!(params)
    mark.release()
  }
}
