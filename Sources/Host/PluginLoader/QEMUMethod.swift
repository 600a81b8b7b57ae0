import PluginAPI

/// QEMU's own compression methods: the bits 1 to 5 of a multifd packet's flags, SPECIFICATION
/// section 3.3.
package enum QEMUMethod: UInt32, CaseIterable {
  case none = 0x00
  case zlib = 0x02
  case zstd = 0x04
  case qpl = 0x08
  case uadk = 0x10
  case qatzip = 0x20

  /// The value of QEMU's `multifd-compression`.
  var name: String { String(describing: self) }

  /// The wire format of its payloads (FORMATS.md).
  package var wireFormat: String { "\(name)/1" }

  /// What `qemu_method` has to be in a table with that wire format.
  package static func bits(of wireFormat: String) -> UInt32 {
    allCases.first { $0.wireFormat == wireFormat }?.rawValue ?? MULTIFD_QEMU_METHOD_UNKNOWN
  }

  /// The backends of this project for it, the fastest first. Not all of them are built everywhere.
  var builtIn: [String] {
    switch self {
    case .none: ["nocomp"]
    case .zlib: ["igzip", "zlib"]
    case .zstd: ["zstd"]
    case .qpl, .uadk, .qatzip: []
    }
  }

  /// The method that QEMU calls so.
  init?(named name: String) {
    guard let method = Self.allCases.first(where: { $0.name == name }) else { return nil }
    self = method
  }
}
