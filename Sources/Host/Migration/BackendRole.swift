import PluginLoader
import Wire

/// What a backend can be used for: who is at the other end decides.
public enum BackendRole: String, CaseIterable, Codable, Sendable {
  /// A stock QEMU sends its format: `receive`, `receive --colo`, `relay`.
  case fromQEMU = "from-qemu"
  /// A stock QEMU takes its format: `send`, `relay --to`.
  case toQEMU = "to-qemu"
  /// Both sides of a link have it: `relay`, `send --to link:URI`, `receive`, `receive --colo`.
  case link

  /// Why a backend cannot be used so, for pages of so many bytes; nil when it can.
  public func obstacle(_ backend: Backend, pageSize: Int = 4096) -> String? {
    let pages = MultiFDPacketHeader.capacity(pageSize: pageSize)
    guard let bound = backend.payloadBound(pageSize: pageSize, pageCount: pages) else {
      return "it does not take packets of \(pages) pages of \(pageSize) bytes"
    }
    switch self {
    case .fromQEMU:
      return backend.qemuMethod == nil ? "no stock QEMU knows \(backend.wireFormat)" : nil
    case .toQEMU:
      if backend.qemuMethod == nil {
        return "a stock QEMU does not know its wire format \(backend.wireFormat)"
      }
      return bound <= 1 << 20
        ? nil : "a packet could exceed the 1 MiB that a stock QEMU can receive"
    case .link:
      return bound <= Int(LinkFormat.maxBound)
        ? nil : "a packet could exceed the \(LinkFormat.maxBound >> 20) MiB that a link allows"
    }
  }
}
