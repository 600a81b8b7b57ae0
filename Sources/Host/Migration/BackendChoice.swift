import PluginLoader
import Synchronization
import Wire

/// The one backend of a reception from a QEMU: what the operator named, or what the first packet's
/// method bits ask for. Loaded when the first page comes, once, whichever channel brings it.
public final class BackendChoice: PacketBackends {
  private struct Chosen {
    var backend: Backend
    var options: OptionValues
    /// Nil where no QEMU speaks its format: then a link may.
    var method: MultiFDMethod?
  }

  private let loader: PluginLoader
  private let chosen: Mutex<Chosen?>

  /// - Throws: when the operator's choice cannot be loaded.
  public init(_ loader: PluginLoader, _ spec: CompressionSpec?) throws(Failure) {
    self.loader = loader
    guard let spec else {
      chosen = Mutex(nil)
      return
    }
    do {
      let backend = try loader.load(spec, to: .receive)
      let options = try backend.parse(spec)
      let method = backend.qemuMethod.map { MultiFDMethod(rawValue: $0) }
      chosen = Mutex(Chosen(backend: backend, options: options, method: method))
    } catch { throw Failure(error, at: "backend \(spec.name)") }
  }

  /// The backend, once there is one.
  public var backend: Backend? { chosen.withLock { $0?.backend } }

  /// The backend for packets of a method.
  ///
  /// - Throws: when the packets are not what the operator chose, or nothing can decode them.
  public func backend(for method: MultiFDMethod) throws -> (Backend, OptionValues) {
    try chosen.withLock { chosen in
      if let chosen {
        guard chosen.method == method else {
          throw Failure(
            .refused, "backend \(chosen.backend.name)",
            "it decodes \(chosen.backend.wireFormat), the source sends multifd-compression \(method)",
            hint: chosen.method == nil
              ? "no QEMU sends that format: it comes over a link, from a relay or a 'multifd send'"
              : "set multifd-compression alike at the source, or leave out --compression")
        }
        return (chosen.backend, chosen.options)
      }
      let backend = try loader.load(qemuMethod: method.rawValue, to: .receive)
      let options = try backend.parse([])
      chosen = Chosen(backend: backend, options: options, method: method)
      return (backend, options)
    }
  }
}
