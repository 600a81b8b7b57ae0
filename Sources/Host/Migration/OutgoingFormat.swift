import Certificates
import PluginLoader
import Wire

/// A format that packets can be sent in: who encodes it, and what the method bits call it.
public struct OutgoingFormat: Sendable {
  /// As its packets bear it.
  public var method: MultiFDMethod
  /// Who encodes.
  public var backend: Backend
  /// How.
  public var options: OptionValues
  /// Who decodes what is sent, to see that it can be: the same backend, or another of its wire
  /// format where that one only encodes; nil where there is no such other.
  public var check: (backend: Backend, options: OptionValues)?

  /// A format.
  public init(
    method: MultiFDMethod, backend: Backend, options: OptionValues, loader: PluginLoader
  ) {
    (self.method, self.backend, self.options) = (method, backend, options)
    if backend.capabilities.have(.receive) {
      check = (backend, options)
    } else if let other = try? loader.load(wireFormat: backend.wireFormat, to: .receive),
      let same = try? other.parse([], files: options.files)
    {
      check = (other, same)
    }
  }

  /// The harness has tried the very bytes of the library, as a host must be able to rely on them, and
  /// what it sends decodes without the packets between: to decode some of it is enough. Reads and
  /// hashes the library.
  public var isProven: Bool {
    let capabilities = backend.capabilities
    // A backend that only encodes was tried together with a decoder that may be another here.
    guard capabilities.have(.receive),
      capabilities.contains(.independent)
        || capabilities.contains(.sendsIndependent) && options.areDefaults,
      case .matching(let certificate) = Certificate.read(beside: backend.path)
    else { return false }
    return certificate.isReliable
  }

  /// Pages as they are: in every dialect the method bits 0.
  public static func raw(
    _ loader: PluginLoader, _ direction: Backend.Direction = .send
  ) throws(Failure) -> OutgoingFormat {
    do {
      let backend = try loader.load(qemuMethod: MultiFDMethod.none.rawValue, to: direction)
      return OutgoingFormat(
        method: .none, backend: backend, options: try backend.parse([]), loader: loader)
    } catch { throw Failure(error, at: "backend nocomp") }
  }

  /// What a stock QEMU gets.
  ///
  /// - Parameter what: who asks, for messages.
  /// - Returns: nil where pages go as they come.
  /// - Throws: where the wish is none for a QEMU.
  public static func forQEMU(
    _ wish: FormatWish, at destination: Destination, pageSize: Int, _ loader: PluginLoader,
    _ what: String
  ) throws(Failure) -> OutgoingFormat? {
    switch wish {
    case .asTheyCome: return nil
    case .named(let spec): return try OutgoingFormat(forQEMU: spec, pageSize: pageSize, loader)
    case .auto:
      throw Failure(
        .usage, what, "auto chooses among the formats of a link, and \(destination) is a QEMU",
        hint: "give --to link:URI, or one backend")
    }
  }

  /// One that a stock QEMU takes.
  ///
  /// - Throws: when there is no such backend, or its payloads are none of a QEMU's.
  public init(
    forQEMU spec: CompressionSpec, pageSize: Int, _ loader: PluginLoader
  ) throws(Failure) {
    do {
      let backend = try loader.load(spec, to: .send)
      if let obstacle = BackendRole.toQEMU.obstacle(backend, pageSize: pageSize) {
        throw Failure(
          .refused, "backend \(backend.name)", obstacle,
          hint: "nocomp, zlib and zstd are understood by every QEMU from 7.2, and any format by "
            + "the far side of a link (--to link:URI)")
      }
      self.init(
        method: MultiFDMethod(rawValue: backend.qemuMethod ?? 0), backend: backend,
        options: try backend.parse(spec), loader: loader)
    } catch { throw Failure(error, at: "backend \(spec.name)") }
  }
}
