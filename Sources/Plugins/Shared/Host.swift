// The host's side of the ABI in Swift's words: services that throw, memory that frees itself.
//
// Every built-in backend compiles this very file (a symbolic link in its folder): a backend is one
// self-contained library, so there is no module to share. To start a backend of your own, copy a
// backend's folder with `cp -rL`.
import PluginAPI

/// What a callback fails with. Thrown inside, turned into a status at the C border.
///
/// Sendable because the text is constant: a literal, or a codec library's own message.
struct Failure: Error, @unchecked Sendable {
  /// One of MULTIFD_ERROR_*.
  let status: Int32
  /// One line for services->error, NUL-terminated, valid for ever; nil when the host knows why.
  let text: UnsafePointer<CChar>?

  init(_ status: Int32, _ text: StaticString) {
    self.init(status, text.cString)
  }

  init(_ status: Int32, _ text: UnsafePointer<CChar>?) {
    self.status = status
    self.text = text
  }

  static func corrupt(_ text: StaticString) -> Failure { Failure(MULTIFD_ERROR_CORRUPT, text) }

  static func `internal`(_ text: StaticString) -> Failure { Failure(MULTIFD_ERROR_INTERNAL, text) }

  static var noMemory: Failure { Failure(MULTIFD_ERROR_NO_MEMORY, "out of memory") }
}

extension StaticString {
  /// The literal as C sees it. Valid for ever: a literal is NUL-terminated, lies in the library's
  /// read-only data, and a backend is never unloaded.
  var cString: UnsafePointer<CChar> {
    UnsafeRawPointer(utf8Start).assumingMemoryBound(to: CChar.self)
  }
}

/// The services of one channel. Both pointers are the host's and valid from setup until cleanup
/// returns, which is as long as any state that keeps a copy of this lives.
struct Host {
  let services: UnsafePointer<MultiFDServices>
  let channel: OpaquePointer

  init(_ params: UnsafeMutablePointer<MultiFDSendParams>) {
    services = params.pointee.services
    channel = params.pointee.channel
  }

  init(_ params: UnsafeMutablePointer<MultiFDRecvParams>) {
    services = params.pointee.services
    channel = params.pointee.channel
  }

  /// Reads exactly `count` bytes of the packet's payload. During recv only.
  func read(_ data: UnsafeMutableRawPointer, _ count: Int) throws(Failure) {
    let status = services.pointee.read(channel, data, count)
    guard status == MULTIFD_OK else { throw Failure(status, nil) }
  }

  /// Reads exactly as many bytes as the first `count` entries of `iov` hold. During recv only.
  func readv(_ iov: UnsafePointer<MultiFDIOVec>, _ count: Int) throws(Failure) {
    let status = services.pointee.readv(channel, iov, UInt32(truncatingIfNeeded: count))
    guard status == MULTIFD_OK else { throw Failure(status, nil) }
  }

  /// Runs a callback's body; what it throws becomes the status, and its text goes to the host.
  func run(_ body: () throws(Failure) -> Void) -> Int32 {
    do throws(Failure) {
      try body()
      return MULTIFD_OK
    } catch {
      if let text = error.text { services.pointee.error(channel, text) }
      return error.status
    }
  }

  /// Moves a channel's new state into memory of its own, for `compress_data`. When there is none,
  /// the state is destroyed, and with it all that it owns.
  func install<State: ~Copyable>(_ state: consuming State) throws(Failure)
    -> UnsafeMutableRawPointer
  {
    let size = MemoryLayout<State>.size
    guard let raw = services.pointee.alloc(channel, size, MemoryLayout<State>.alignment) else {
      throw .noMemory
    }
    raw.bindMemory(to: State.self, capacity: 1).initialize(to: state)
    return raw
  }

  /// Undoes `install`. `raw` is what it returned for the same type, or nil.
  func remove<State: ~Copyable>(_: State.Type, _ raw: UnsafeMutableRawPointer?) {
    guard let raw else { return }
    raw.assumingMemoryBound(to: State.self).deinitialize(count: 1)
    services.pointee.free(channel, raw)
  }
}

/// `count` values of uninitialized memory from the host, freed with its owner.
struct Memory<Value>: ~Copyable {
  let base: UnsafeMutablePointer<Value>
  let count: Int
  private let host: Host

  init(_ host: Host, count: Int) throws(Failure) {
    // 64: a cache line, so that no two channels ever share one.
    let alignment = Swift.max(64, MemoryLayout<Value>.alignment)
    let (size, tooLarge) = count.multipliedReportingOverflow(by: MemoryLayout<Value>.stride)
    guard !tooLarge, let raw = host.services.pointee.alloc(host.channel, size, alignment) else {
      throw .noMemory
    }
    self.base = raw.bindMemory(to: Value.self, capacity: count)
    self.count = count
    self.host = host
  }

  deinit { host.services.pointee.free(host.channel, base) }
}
