// The host's side of the interface in Swift's words: services that throw, memory that frees itself.

/// What a callback fails with: a status, and a reason unless the host knows it.
struct Failure: Error {
  let status: Int32
  let why: StaticString?

  static func corrupt(_ why: StaticString) -> Failure {
    Failure(status: MULTIFD_ERROR_CORRUPT, why: why)
  }
  static var noMemory: Failure { Failure(status: MULTIFD_ERROR_NO_MEMORY, why: "out of memory") }
}

extension StaticString {
  /// The literal as C sees it: NUL-terminated, in the library's read-only data, valid for ever.
  var cString: UnsafePointer<CChar> {
    UnsafeRawPointer(utf8Start).assumingMemoryBound(to: CChar.self)
  }
}

/// The services of one channel; both pointers are the host's and valid from setup until cleanup returns.
struct Host {
  let services: UnsafePointer<MultiFDServices>
  let channel: OpaquePointer

  /// Reads exactly as many bytes of the packet's payload as `bytes` holds. During recv only.
  func read(_ bytes: UnsafeMutableRawBufferPointer) throws(Failure) {
    guard let base = bytes.baseAddress else { return }
    let status = services.pointee.read(channel, base, bytes.count)
    guard status == MULTIFD_OK else { throw Failure(status: status, why: nil) }
  }

  /// Runs a callback's body; what it throws becomes the status, and its text goes to the host.
  func run(_ body: () throws(Failure) -> Void) -> Int32 {
    do throws(Failure) {
      try body()
      return MULTIFD_OK
    } catch {
      if let why = error.why { services.pointee.error(channel, why.cString) }
      return error.status
    }
  }

  /// Moves a new state into memory of its own, for `compress_data`. When there is none, the state is
  /// destroyed, and with it all that it owns.
  func install(_ state: consuming State) throws(Failure) -> UnsafeMutableRawPointer {
    guard let raw = services.pointee.alloc(channel, MemoryLayout<State>.size, 64) else {
      throw .noMemory
    }
    raw.bindMemory(to: State.self, capacity: 1).initialize(to: state)
    return raw
  }

  /// Undoes `install`. `raw` is what it returned, or nil.
  func remove(_ raw: UnsafeMutableRawPointer?) {
    guard let raw else { return }
    raw.assumingMemoryBound(to: State.self).deinitialize(count: 1)
    services.pointee.free(channel, raw)
  }
}

/// Memory from the host, freed with its owner.
struct Memory: ~Copyable {
  private let base: UnsafeMutableRawPointer
  private let host: Host

  init(_ host: Host, size: Int) throws(Failure) {
    guard let base = host.services.pointee.alloc(host.channel, size, 64) else { throw .noMemory }
    self.base = base
    self.host = host
  }

  deinit { host.services.pointee.free(host.channel, base) }

  /// The first `size` bytes; the caller has asked for as many in init.
  func first(_ size: Int) -> UnsafeMutableRawBufferPointer {
    UnsafeMutableRawBufferPointer(start: base, count: size)
  }
}
