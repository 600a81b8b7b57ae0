// A host for one channel of one backend, as small as the ABI allows and as strict as it demands.
//
// This folder tests the built-in backends through their shared libraries and the C ABI only: what
// passes here does not depend on the project's own loader. The files without "Tests" in their name
// are that host, made to be used by any test of any backend.
import Foundation
import PluginAPI

/// One direction of one channel: the services, with a payload in memory as the connection.
///
/// Not Sendable: like a channel it belongs to one thread at a time.
final class TestHost {
  /// What the connection still delivers. `read` fails with CHANNEL at its end.
  private var incoming: [UInt8] = []
  private var position = 0
  /// What is left of the current packet by its header.
  private var packetLeft = 0

  /// The text of the last `error` call since the last packet.
  private(set) var errorText: String?
  /// How often `error` was called since the last packet.
  private(set) var errorCount = 0

  /// Allocations so far, and the number of the one that fails (0 is the first).
  private(set) var allocationCount = 0
  var failingAllocation: Int?
  private var allocations: [UnsafeMutableRawPointer: GuardedMemory] = [:]
  var liveAllocations: Int { allocations.count }

  let services: UnsafeMutablePointer<MultiFDServices>

  init() {
    services = .allocate(capacity: 1)
    services.initialize(
      to: MultiFDServices(
        struct_size: UInt32(MemoryLayout<MultiFDServices>.size),
        abi_major: UInt16(MULTIFD_ABI_MAJOR),
        abi_minor: UInt16(MULTIFD_ABI_MINOR),
        read: { TestHost.of($0).read($1, $2) },
        readv: { channel, iov, count in
          for piece in UnsafeBufferPointer(start: iov, count: Int(count)) {
            let status = TestHost.of(channel).read(piece.iov_base, piece.iov_len)
            if status != MULTIFD_OK { return status }
          }
          return MULTIFD_OK
        },
        log: { _, _, _ in },
        error: { TestHost.of($0).fail($1) },
        alloc: { TestHost.of($0).allocate($1, $2) },
        free: { TestHost.of($0).free($1) }))
  }

  deinit { services.deallocate() }

  /// What the backend sees as its channel. Valid as long as `self`: the channels below own it.
  var channel: OpaquePointer { OpaquePointer(Unmanaged.passUnretained(self).toOpaque()) }

  private static func of(_ channel: OpaquePointer) -> TestHost {
    Unmanaged<TestHost>.fromOpaque(UnsafeRawPointer(channel)).takeUnretainedValue()
  }

  /// Starts a packet whose header announces `announced` bytes, of which `bytes` will come.
  func begin(_ bytes: [UInt8], announced: Int) {
    incoming = bytes
    position = 0
    packetLeft = announced
    errorText = nil
    errorCount = 0
  }

  /// Bytes of the packet that nobody has read.
  var unread: Int { packetLeft }

  private func read(_ data: UnsafeMutableRawPointer, _ size: Int) -> Int32 {
    guard size <= packetLeft, size <= incoming.count - position else {
      return MULTIFD_ERROR_CHANNEL
    }
    incoming.withUnsafeBytes { bytes in
      guard size > 0 else { return }
      data.copyMemory(from: bytes.baseAddress! + position, byteCount: size)
    }
    position += size
    packetLeft -= size
    return MULTIFD_OK
  }

  private func fail(_ text: UnsafePointer<CChar>) {
    errorText = String(cString: text)
    errorCount += 1
  }

  private func allocate(_ size: Int, _ alignment: Int) -> UnsafeMutableRawPointer? {
    defer { allocationCount += 1 }
    demand(alignment > 0 && alignment & (alignment - 1) == 0, "an alignment of \(alignment)")
    guard allocationCount != failingAllocation else { return nil }
    let memory = GuardedMemory(size, alignment: alignment)
    allocations[memory.base] = memory
    return memory.base
  }

  private func free(_ pointer: UnsafeMutableRawPointer?) {
    guard let pointer else { return }
    guard let memory = allocations.removeValue(forKey: pointer) else {
      preconditionFailure("free of what alloc never returned, or twice")
    }
    memory.checkSlack()
  }
}
