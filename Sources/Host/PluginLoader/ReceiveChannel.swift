import PluginAPI
import Synchronization

/// One channel of the receive side: a backend's state, and payload in, pages out.
///
/// Belongs to one thread at a time and may be handed on; a second call while one is running is
/// refused, which is what makes it safe to share.
public final class ReceiveChannel: @unchecked Sendable {
  /// The backend that decodes.
  public let backend: Backend

  private let options: OptionValues
  private let host: HostChannel
  private let payloadLimit: Int
  /// Allocated in init, freed in deinit, at one address all the time; the backend may keep it
  /// between setup and cleanup. Its memory starts as zeroes, so `compress_data` is NULL.
  private let params: UnsafeMutablePointer<MultiFDRecvParams>
  private let state: ChannelState
  private let mark: BackendCalls.Mark

  init(
    _ backend: Backend, _ geometry: ChannelGeometry, _ options: OptionValues, _ host: HostChannel
  ) {
    self.backend = backend
    self.options = options
    self.host = host
    payloadLimit = geometry.payloadLimit
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
    let status = backend.methods.recv_setup(params)
    mark.leave()
    guard status == MULTIFD_OK, host.failure == nil else {
      let error = host.error(for: status, callback: .recvSetup, backend: backend.name)
      close()
      throw error as? PluginError
        ?? PluginError(.internalFault, what: state.what, why: "recv_setup() failed: \(error)")
    }
  }

  /// Decodes one packet: reads `payloadSize` bytes from the source and fills the pages `host +
  /// normal[i]`. The caller has checked that those are inside the block and aligned, and clears the
  /// zero pages itself.
  ///
  /// - Parameter reference: an image in which the page at `reference + normal[i]` is the one that the
  ///   sender compared with; for a backend that can use one, and nobody else. Not the memory that
  ///   is written.
  /// - Throws: what the source threw, or a `PluginError` (`corrupt` for a payload that is too long,
  ///   too short or nonsense, else `noMemory` or `internalFault`). The pages may then hold anything
  ///   and the channel can only be closed.
  public func receive(
    host base: UnsafeMutableRawPointer?, normal: UnsafeBufferPointer<UInt64>,
    zero: UnsafeBufferPointer<UInt64>, reference: UnsafeRawPointer? = nil, payloadSize: Int,
    flags: UInt32, packetNumber: UInt64
  ) throws {
    try state.enter()
    defer { state.leave() }
    do {
      guard try begin(base, normal, zero, payloadSize: payloadSize) else { return }
      // Valid during the call, as the others.
      params.pointee.reference =
        backend.capabilities.contains(.reference)
        ? reference?.assumingMemoryBound(to: UInt8.self) : nil
      params.pointee.flags = flags
      params.pointee.packet_num = packetNumber
      mark.enter(.recv, packet: packetNumber)
      let status = backend.methods.recv(params)
      mark.leave()
      host.end()
      guard status == MULTIFD_OK, host.failure == nil else {
        throw host.error(for: status, callback: .recv, backend: backend.name)
      }
      guard host.remaining == 0 else {
        throw PluginError(
          .internalFault, what: state.what,
          why: "recv() left \(host.remaining) of \(payloadSize) payload bytes unread")
      }
    } catch {
      state.fail()
      throw located(error, packetNumber, payloadSize)
    }
  }

  /// Checks a packet's sizes and sets the params; false when there is nothing to do.
  private func begin(
    _ base: UnsafeMutableRawPointer?, _ normal: UnsafeBufferPointer<UInt64>,
    _ zero: UnsafeBufferPointer<UInt64>, payloadSize: Int
  ) throws(PluginError) -> Bool {
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
    guard base != nil || normal.count == 0 else {
      throw PluginError(.internalFault, what: state.what, why: "was given no memory for its pages")
    }
    if normal.count == 0, zero.count == 0 { return false }
    // The caller's pointers, put where the backend reads them; valid during the call only, which is
    // all that the interface promises.
    params.pointee.host =
      normal.count == 0 ? nil : base?.assumingMemoryBound(to: UInt8.self)
    params.pointee.normal = normal.baseAddress
    params.pointee.normal_num = UInt32(normal.count)
    params.pointee.zero = zero.baseAddress
    params.pointee.zero_num = UInt32(zero.count)
    params.pointee.next_packet_size = UInt32(payloadSize)
    host.begin(payload: payloadSize)
    return true
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
  /// nothing. Not to be called while `receive()` runs in another thread: it waits for nothing then
  /// and leaves the cleanup to deinit.
  public func close() {
    guard state.close() else { return }
    mark.enter(.recvCleanup)
    backend.methods.recv_cleanup(params)
    mark.release()
    host.source = nil
  }
}
