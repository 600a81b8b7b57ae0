import Glibc
import PluginAPI

/// What a backend's `channel` pointer stands for: the host's side of one channel in one direction.
///
/// Used by one thread at a time, the one inside a callback (`ReceiveChannel` and `SendChannel` see
/// to that). Nothing here allocates unless something goes wrong.
final class HostChannel {
  /// Where payload comes from; nil on the send side and after close.
  var source: (any PayloadSource)?
  /// Payload bytes of the current packet that have not been read.
  private(set) var remaining = 0
  /// The host's own reason for the current callback's failure: it outranks what the backend says.
  private(set) var failure: (any Error)?
  /// That reason is the source's: it knows best where it was.
  private(set) var sourceFailed = false
  /// The backend's reason.
  private(set) var text: String?
  /// Bytes that alloc() has given out and free() has not got back.
  private(set) var allocated = 0

  /// Where it is told that the backend waits for its peer, and not the host for the backend.
  var mark: BackendCalls.Mark?

  private let what: String
  private let memoryLimit: Int
  private let log: BackendLog?
  private var receiving = false

  init(what: String, source: (any PayloadSource)?, memoryLimit: Int, log: BackendLog?) {
    self.what = what
    self.source = source
    self.memoryLimit = memoryLimit
    self.log = log
  }

  /// The pointer that the backend hands back to every service.
  var pointer: OpaquePointer { OpaquePointer(Unmanaged.passUnretained(self).toOpaque()) }

  /// A packet's payload waits.
  func begin(payload size: Int) {
    remaining = size
    receiving = true
    failure = nil
    sourceFailed = false
    text = nil
  }

  /// The callback is back; nothing can be read until the next packet.
  func end() { receiving = false }

  /// Takes `count` bytes from what may be read; false (and a reason) when that is not allowed.
  private func take(_ count: Int) -> Bool {
    if failure != nil { return false }
    guard receiving else {
      failure = PluginError(.internalFault, what: what, why: "reads outside recv()")
      return false
    }
    guard count <= remaining else {
      failure = PluginError(
        .corrupt, what: what,
        why: "the payload ends too early: \(count) bytes are wanted, \(remaining) are left of it")
      return false
    }
    remaining -= count
    return true
  }

  // MARK: Services

  func read(_ data: UnsafeMutableRawPointer, _ size: Int) -> Int32 {
    // A size beyond Int is a negative Int here: more than any payload.
    guard take(size < 0 ? Int.max : size) else { return MULTIFD_ERROR_CHANNEL }
    if size == 0 { return MULTIFD_OK }
    guard !isNull(data), let source else { return misuse("read") }
    do {
      // `size` writable bytes at `data`: the backend's word, as in read(2).
      mark?.waits(true)
      defer { mark?.waits(false) }
      try source.read(into: UnsafeMutableRawBufferPointer(start: data, count: size))
      return MULTIFD_OK
    } catch {
      (failure, sourceFailed) = (error, true)
      return MULTIFD_ERROR_CHANNEL
    }
  }

  func readv(_ pieces: UnsafePointer<MultiFDIOVec>, _ count: UInt32) -> Int32 {
    if count == 0 { return MULTIFD_OK }
    guard !isNull(pieces), let source else { return misuse("readv") }
    // `count` entries at `pieces`: the backend's word, as in readv(2).
    let all = UnsafeBufferPointer(start: pieces, count: Int(count))
    var total = 0
    // By number: an iterator takes an entry without memory for the end.
    for index in all.indices where total != Int.max {
      let piece = all[index]
      if piece.iov_len != 0, isNull(piece.iov_base) { return misuse("readv") }
      // A length beyond Int is a negative Int here: more than any payload.
      let (sum, overflow) = total.addingReportingOverflow(piece.iov_len)
      total = overflow || piece.iov_len < 0 ? Int.max : sum
    }
    guard take(total) else { return MULTIFD_ERROR_CHANNEL }
    if total == 0 { return MULTIFD_OK }
    do {
      mark?.waits(true)
      defer { mark?.waits(false) }
      try source.readv(all)
      return MULTIFD_OK
    } catch {
      (failure, sourceFailed) = (error, true)
      return MULTIFD_ERROR_CHANNEL
    }
  }

  func log(_ level: UInt32, _ message: UnsafePointer<CChar>) {
    guard let log, !isNull(message) else { return }
    log(BackendLogLevel(rawValue: level) ?? .debug, oneLine(String(cString: message)))
  }

  func error(_ message: UnsafePointer<CChar>) {
    guard !isNull(message) else { return }
    text = oneLine(String(cString: message))
  }

  /// Memory with its own size and start in the 16 bytes before it, so that free() needs no table.
  func alloc(_ size: Int, _ alignment: Int) -> UnsafeMutableRawPointer? {
    guard size >= 0, alignment > 0, alignment & (alignment - 1) == 0, alignment <= 1 << 30 else {
      return nil
    }
    let lead = max(alignment, 16)
    guard size <= memoryLimit - allocated else { return nil }
    let (total, overflow) = size.addingReportingOverflow(lead)
    var start: UnsafeMutableRawPointer?
    guard !overflow, posix_memalign(&start, lead, total) == 0, let start else { return nil }
    // `lead` is at least 16 and the block is `lead` bytes longer than asked for: the two words fit
    // before `data`, and `data` is aligned as `lead` is.
    let data = start + lead
    (data - 8).storeBytes(of: size, as: Int.self)
    (data - 16).storeBytes(of: UInt(bitPattern: start), as: UInt.self)
    allocated += size
    return data
  }

  func free(_ data: UnsafeMutableRawPointer?) {
    guard let data else { return }
    // Written by alloc() in front of every block it gave out; another pointer is the backend's
    // fault, as with free(3).
    allocated -= (data - 8).load(as: Int.self)
    Glibc.free(UnsafeMutableRawPointer(bitPattern: (data - 16).load(as: UInt.self)))
  }

  private func misuse(_ service: String) -> Int32 {
    failure = PluginError(
      .internalFault, what: what, why: "calls \(service)() without memory to fill")
    return MULTIFD_ERROR_CHANNEL
  }

  // MARK: Results

  /// What a failed callback means.
  func error(for status: Int32, callback: BackendCalls.Callback, backend: String) -> any Error {
    if let failure { return failure }
    func error(_ kind: PluginError.Kind, _ silent: String) -> PluginError {
      PluginError(kind, what: what, why: text ?? silent)
    }
    switch status {
    case MULTIFD_ERROR_CORRUPT:
      return error(.corrupt, "the payload is not what \(backend) can decode")
    case MULTIFD_ERROR_NO_MEMORY:
      return error(.noMemory, "there is no memory for \(backend)")
    case MULTIFD_ERROR_OPTION where callback.isSetup:
      return error(.options, "these options do not go together")
    case MULTIFD_ERROR_UNSUPPORTED where callback.isSetup:
      return error(.setup, "\(backend) does not support these sizes")
    case MULTIFD_ERROR_CHANNEL:
      return error(.internalFault, "\(callback.name)() blames the channel, which is well")
    case MULTIFD_OK:
      return error(.internalFault, "\(callback.name)() failed")
    default:
      return error(.internalFault, "\(callback.name)() returned \(status) and gave no reason")
    }
  }
}

/// Whether a pointer from C is NULL although its type says that it cannot be: a backend is not
/// compiled by us. Asked of the number, since the compiler would take a question to the pointer for
/// answered.
private func isNull(_ pointer: UnsafeRawPointer) -> Bool { UInt(bitPattern: pointer) == 0 }
