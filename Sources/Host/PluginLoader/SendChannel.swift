import Glibc
import PluginAPI

/// One channel of the send side: a backend's state, and pages in, payload out.
///
/// Belongs to one thread at a time and may be handed on; a second call while one is running is
/// refused, which is what makes it safe to share.
public final class SendChannel: @unchecked Sendable {
  /// One packet's payload. Valid until the next `prepare()` or `close()` of its channel.
  public struct Payload {
    /// The pieces, in order; they point into guest pages or the backend's own memory.
    public let iov: UnsafeBufferPointer<MultiFDIOVec>
    /// The sum of their lengths.
    public let size: Int
  }

  /// The backend that encodes.
  public let backend: Backend

  private let options: OptionValues
  private let host: HostChannel
  private let pageSize: Int
  /// Allocated in init, freed in deinit, at one address all the time; the backend may keep it
  /// between setup and cleanup. Its memory starts as zeroes, so `compress_data` is NULL.
  private let params: UnsafeMutablePointer<MultiFDSendParams>
  private let iov: UnsafeMutablePointer<MultiFDIOVec>
  /// Where a packet's pages are copied to, one after the other, and their offsets there; nil when
  /// the backend reads guest pages themselves.
  private let copy: (pages: UnsafeMutableRawPointer, offsets: UnsafeMutablePointer<UInt64>)?
  private let state: ChannelState
  private let mark: BackendCalls.Mark

  init(
    _ backend: Backend, _ geometry: ChannelGeometry, _ options: OptionValues, _ host: HostChannel,
    copies: Bool
  ) throws(PluginError) {
    self.backend = backend
    self.options = options
    self.host = host
    let pageSize = Int(geometry.pageSize), pageCount = Int(geometry.pageCount)
    self.pageSize = pageSize
    state = ChannelState(what: "\(backend.name), channel \(geometry.id)")
    if copies {
      // At most 1 GiB * 2^24, which is below 2^63; that there is so much is for posix_memalign to
      // say.
      var pages: UnsafeMutableRawPointer?
      guard posix_memalign(&pages, 4096, pageSize * pageCount) == 0, let pages else {
        throw PluginError(
          .noMemory, what: state.what, why: "there is no memory for copies of its pages")
      }
      let offsets = UnsafeMutablePointer<UInt64>.allocate(capacity: pageCount)
      for index in 0..<pageCount { (offsets + index).initialize(to: UInt64(index * pageSize)) }
      copy = (pages, offsets)
    } else {
      copy = nil
    }
    mark = BackendCalls.Mark(backend: backend.name, channel: Int(geometry.id))
    iov = .allocate(capacity: pageCount + 16)
    memset(iov, 0, (pageCount + 16) * MemoryLayout<MultiFDIOVec>.stride)
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
    params.pointee.iov = iov
  }

  deinit {
    close()
    params.deallocate()
    iov.deallocate()
    if let copy {
      free(copy.pages)
      copy.offsets.deallocate()
    }
  }

  func setup() throws(PluginError) {
    mark.enter(.sendSetup)
    let status = backend.methods.send_setup(params)
    mark.leave()
    guard status == MULTIFD_OK, host.failure == nil else {
      let error = host.error(for: status, callback: .sendSetup, backend: backend.name)
      close()
      throw error as? PluginError
        ?? PluginError(.internalFault, what: state.what, why: "send_setup() failed: \(error)")
    }
  }

  /// Encodes one packet: the pages `host + normal[i]`. The caller has checked that those are inside
  /// the block and aligned, and sends the zero pages itself.
  ///
  /// - Parameter reference: an image in which the page at `reference + normal[i]` is what the
  ///   receiver has for it; for a backend that can use one, and nobody else.
  /// - Returns: the payload, valid until the next `prepare()` or `close()`. Empty without pages.
  /// - Throws: a `PluginError` (`noMemory`, `internalFault`), after which the channel can only be
  ///   closed. What the backend returns is checked: pieces, their sum, its own bound, and 1 MiB for
  ///   formats that a stock QEMU receives.
  public func prepare(
    host base: UnsafeRawPointer?, normal: UnsafeBufferPointer<UInt64>,
    zero: UnsafeBufferPointer<UInt64>, reference: UnsafeRawPointer? = nil, flags: UInt32,
    packetNumber: UInt64
  ) throws(PluginError) -> Payload {
    try state.enter()
    defer { state.leave() }
    do {
      params.pointee.reference = try usable(reference)
      return try encode(base, normal, zero, flags: flags, packetNumber: packetNumber)
    } catch {
      state.fail()
      var error = error
      error.what += ", packet_num \(packetNumber)"
      throw error
    }
  }

  private func encode(
    _ base: UnsafeRawPointer?, _ normal: UnsafeBufferPointer<UInt64>,
    _ zero: UnsafeBufferPointer<UInt64>, flags: UInt32, packetNumber: UInt64
  ) throws(PluginError) -> Payload {
    let most = Int(params.pointee.page_count)
    guard normal.count <= most, zero.count <= most, base != nil || normal.count == 0 else {
      throw fault("was given \(normal.count) and \(zero.count) pages, a packet has \(most)")
    }
    if normal.count == 0, zero.count == 0 {
      return Payload(iov: UnsafeBufferPointer(start: iov, count: 0), size: 0)
    }
    // The caller's pointers, put where the backend reads them; valid during the call only, which is
    // all that the interface promises.
    params.pointee.host = nil
    params.pointee.normal = normal.baseAddress
    if let base, normal.count > 0 { setPages(base, normal) }
    params.pointee.normal_num = UInt32(normal.count)
    params.pointee.zero = zero.baseAddress
    params.pointee.zero_num = UInt32(zero.count)
    params.pointee.flags = flags
    params.pointee.packet_num = packetNumber
    params.pointee.next_packet_size = 0
    params.pointee.iovs_num = 0
    host.begin(payload: 0)
    host.end()
    mark.enter(.sendPrepare, packet: packetNumber)
    let status = backend.methods.send_prepare(params)
    mark.leave()
    guard status == MULTIFD_OK, host.failure == nil else {
      throw host.error(for: status, callback: .sendPrepare, backend: backend.name)
        as? PluginError ?? fault("send_prepare() failed")
    }
    return try payload(pages: normal.count)
  }

  /// A reference, as the backend is shown it. Valid during the call only, which is all that the
  /// interface promises.
  private func usable(
    _ reference: UnsafeRawPointer?
  ) throws(PluginError) -> UnsafePointer<UInt8>? {
    guard let reference, backend.capabilities.contains(.reference) else { return nil }
    // Copied pages lie at other offsets than those of the reference.
    guard copy == nil else { throw fault("was given a reference for pages that are copied") }
    return reference.assumingMemoryBound(to: UInt8.self)
  }

  /// Shows the backend the guest's pages, or a copy that holds still.
  private func setPages(_ base: UnsafeRawPointer, _ normal: UnsafeBufferPointer<UInt64>) {
    guard let copy else {
      params.pointee.host = base.assumingMemoryBound(to: UInt8.self)
      return
    }
    for (index, offset) in normal.enumerated() {
      // `index` is below page_count, for which the copy has room; the page is inside its block by
      // the caller's word. The guest may write to it meanwhile: memcpy takes what it finds.
      memcpy(copy.pages + index * pageSize, base + Int(truncatingIfNeeded: offset), pageSize)
    }
    params.pointee.host = UnsafePointer(copy.pages.assumingMemoryBound(to: UInt8.self))
    params.pointee.normal = UnsafePointer(copy.offsets)
  }

  /// Checks what send_prepare() has set.
  private func payload(pages: Int) throws(PluginError) -> Payload {
    let count = Int(params.pointee.iovs_num), size = Int(params.pointee.next_packet_size)
    guard params.pointee.iov == iov else { throw fault("send_prepare() replaced the host's iov") }
    guard count <= Int(params.pointee.page_count) + 16 else {
      throw fault("send_prepare() returned \(count) pieces, the array has fewer")
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
      throw fault("send_prepare() returned pieces of \(sum) bytes and a payload of \(size)")
    }
    let bound = backend.payloadBound(pageSize: pageSize, pageCount: pages) ?? 0
    guard size <= bound else {
      throw fault("send_prepare() returned \(size) bytes for \(pages) pages, its bound is \(bound)")
    }
    guard backend.qemuMethod == nil || size <= Int(MULTIFD_QEMU_MAX_PAYLOAD) else {
      throw fault(
        "send_prepare() returned \(size) bytes, a stock QEMU receives at most "
          + "\(MULTIFD_QEMU_MAX_PAYLOAD)")
    }
    return Payload(iov: UnsafeBufferPointer(start: iov, count: count), size: size)
  }

  private func fault(_ why: String) -> PluginError {
    PluginError(.internalFault, what: state.what, why: why)
  }

  /// Bytes that the backend holds through the services now.
  public var allocatedBytes: Int { host.allocated }

  /// Ends the channel: the backend's cleanup, exactly once. Called by deinit too; more calls do
  /// nothing. Not to be called while `prepare()` runs in another thread: it waits for nothing then
  /// and leaves the cleanup to deinit.
  public func close() {
    guard state.close() else { return }
    mark.enter(.sendCleanup)
    backend.methods.send_cleanup(params)
    mark.release()
  }
}
