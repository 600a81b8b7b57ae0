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
  public func obstacle(_ backend: Backend, pageSize: Int) -> String? {
    let pages = MultiFDPacketHeader.capacity(pageSize: pageSize)
    let bound = backend.payloadBound(pageSize: pageSize, pageCount: pages)
    return obstacle(backend.profile, bound, pages: pages, pageSize: pageSize)
  }

  /// The same, for pages of 4 KiB, of a backend that is not open.
  public func obstacle(_ profile: BackendProfile) -> String? {
    obstacle(
      profile, profile.packetBound, pages: MultiFDPacketHeader.capacity(pageSize: 4096),
      pageSize: 4096)
  }

  private func obstacle(
    _ backend: BackendProfile, _ bound: Int?, pages: Int, pageSize: Int
  ) -> String? {
    let directions: [BackendRole: Backend.Direction] = [.fromQEMU: .receive, .toQEMU: .send]
    if let obstacle = directions[self].flatMap(backend.capabilities.obstacle) { return obstacle }
    guard let bound else {
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
