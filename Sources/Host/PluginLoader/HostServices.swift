import PluginAPI

/// The one table of services that every backend of this process is given.
enum HostServices {
  /// Constant and never freed, so a backend may keep it. The callbacks take the `channel` that they
  /// are handed for the HostChannel it was made of: the host keeps that alive from setup until
  /// cleanup has returned, and the header allows services inside callbacks only.
  nonisolated(unsafe) static let table: UnsafePointer<MultiFDServices> = {
    let table = UnsafeMutablePointer<MultiFDServices>.allocate(capacity: 1)
    table.initialize(
      to: MultiFDServices(
        struct_size: UInt32(MemoryLayout<MultiFDServices>.size),
        abi_major: UInt16(MULTIFD_ABI_MAJOR), abi_minor: UInt16(MULTIFD_ABI_MINOR),
        read: { channel, data, size in with(channel) { $0.read(data, size) } },
        readv: { channel, pieces, count in with(channel) { $0.readv(pieces, count) } },
        log: { channel, level, message in with(channel) { $0.log(level, message) } },
        error: { channel, message in with(channel) { $0.error(message) } },
        alloc: { channel, size, alignment in
          with(channel) { $0.alloc(size, alignment) }
        },
        free: { channel, pointer in with(channel) { $0.free(pointer) } }))
    return UnsafePointer(table)
  }()

  @inline(__always)
  private static func with<R>(_ channel: OpaquePointer, _ body: (HostChannel) -> R) -> R {
    Unmanaged<HostChannel>.fromOpaque(UnsafeRawPointer(channel))._withUnsafeGuaranteedRef(body)
  }
}
