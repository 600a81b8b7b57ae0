// A z_stream whose memory comes from the host, so that it counts towards its channel.
import CZlib
import PluginAPI

/// A deflate or an inflate stream.
struct Stream: ~Copyable {
  /// zlib keeps a pointer back to its z_stream, so that one has a fixed place in memory.
  private let memory: Memory<z_stream>
  /// What `opaque` points to, in memory that outlives zlib's last call of `zfree`.
  private let allocator: Memory<Host>
  private let end: @convention(c) (z_streamp?) -> Int32

  var pointer: UnsafeMutablePointer<z_stream> { memory.base }

  /// `start` is deflateInit or inflateInit, `end` its counterpart.
  init(
    _ host: Host, end: @escaping @convention(c) (z_streamp?) -> Int32,
    start: (z_streamp) -> Int32
  ) throws(Failure) {
    let allocator = try Memory<Host>(host, count: 1)
    allocator.base.initialize(to: host)
    let memory = try Memory<z_stream>(host, count: 1)
    memory.base.initialize(to: z_stream())
    memory.base.pointee.opaque = UnsafeMutableRawPointer(allocator.base)
    memory.base.pointee.zalloc = { opaque, items, size in
      guard let host = opaque?.assumingMemoryBound(to: Host.self).pointee else { return nil }
      let (bytes, tooLarge) = Int(items).multipliedReportingOverflow(by: Int(size))
      return tooLarge ? nil : host.services.pointee.alloc(host.channel, bytes, 64)
    }
    memory.base.pointee.zfree = { opaque, address in
      guard let host = opaque?.assumingMemoryBound(to: Host.self).pointee else { return }
      host.services.pointee.free(host.channel, address)
    }
    switch start(memory.base) {
    case Z_OK: break
    case Z_MEM_ERROR: throw .noMemory
    default: throw .internal("zlib does not start: another version than it was built for?")
    }
    self.memory = memory
    self.allocator = allocator
    self.end = end
  }

  /// Runs before the members are destroyed, so zlib gives its memory back through a living host.
  deinit { _ = end(memory.base) }
}
