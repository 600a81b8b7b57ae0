import PluginAPI
import Testing

/// A backend with options: what most tests run over.
struct Variant: Sendable, CustomTestStringConvertible {
  let name: String
  let options: [String: String]

  init(_ name: String, _ options: [String: String] = [:]) {
    self.name = name
    self.options = options
  }

  var backend: Backend { .named(name) }

  var testDescription: String {
    ([name] + options.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" })
      .joined(separator: ",")
  }

  /// Each backend as it comes, and each way of working that its options switch to.
  static let all = [
    Variant("nocomp"),
    Variant("zlib"),
    Variant("zlib", ["level": "0"]),
    Variant("zlib", ["level": "6"]),
    Variant("zstd"),
    Variant("zstd", ["level": "-7"]),
    Variant("zstd", ["level": "9"]),
    Variant("zstd", ["window-log": "12"]),
    Variant("zstd", ["stream": "endless"]),
    Variant("zstd", ["stream": "endless", "level": "9"]),
    Variant("zstd", ["stream": "endless", "window-log": "10"]),
    Variant("igzip"),
    Variant("igzip", ["level": "0"]),
    Variant("igzip", ["level": "3"]),
    Variant("lz4"),
    Variant("lz4", ["acceleration": "65537"]),
    Variant("lz4", ["level": "9"]),
  ].filter { Backend.names.contains($0.name) }

  /// Those that are shown pages which a guest goes on writing to.
  static let live = all.filter { !$0.backend.has(MULTIFD_CAP_STABLE_INPUT) }

  /// Every level there is, in every way that has levels.
  static let everyLevel: [Variant] =
    (0...9).map { Variant("zlib", ["level": "\($0)"]) }
    + (Backend.names.contains("igzip") ? 0..<4 : 0..<0)
    .map { Variant("igzip", ["level": "\($0)"]) }
    + (-7...22).map { Variant("zstd", ["level": "\($0)"]) }
    + (-7...22).map { Variant("zstd", ["level": "\($0)", "stream": "endless"]) }
    + [1, 2, 17, 1000, 65537].map { Variant("lz4", ["acceleration": "\($0)"]) }
    + (0...12).map { Variant("lz4", ["level": "\($0)"]) }
}
