import Foundation
import Testing
import TestSupport

/// The header of a later minor version: every struct that may grow has grown, at its end.
enum GrownHeader {
  /// What a host of that version answers to the service that was appended.
  static let answer = 4711

  /// Text of today's header, and what the later one has in its place.
  static let changes: [(String, String)] = [
    ("#define MULTIFD_ABI_MINOR 1", "#define MULTIFD_ABI_MINOR 2"),
    (
      "  uint32_t type; /* MULTIFD_OPTION_* */\n  uint32_t reserved;",
      "  uint32_t type;\n  uint32_t reserved;\n  uint64_t later;"
    ),
    ("sizeof(MultiFDOption) == 56", "sizeof(MultiFDOption) == 64"),
    (
      "  void (*free)(MultiFDChannel *channel, void *MULTIFD_NULLABLE pointer);",
      """
        void (*free)(MultiFDChannel *channel, void *MULTIFD_NULLABLE pointer);
        int32_t (*later)(MultiFDChannel *channel);
      """
    ),
    ("sizeof(MultiFDServices) == 56", "sizeof(MultiFDServices) == 64"),
    (
      "  const uint8_t *MULTIFD_NULLABLE reference;\n}",
      "  const uint8_t *MULTIFD_NULLABLE reference;\n  uint64_t later[4];\n}"
    ),
    ("sizeof(MultiFDSendParams) == 128", "sizeof(MultiFDSendParams) == 160"),
    ("sizeof(MultiFDRecvParams) == 112", "sizeof(MultiFDRecvParams) == 144"),
    (
      "  void *MULTIFD_NULLABLE packet_data;\n}",
      "  void *MULTIFD_NULLABLE packet_data;\n  uint64_t later[2];\n}"
    ),
    ("sizeof(MultiFDSendPacket) == 88", "sizeof(MultiFDSendPacket) == 104"),
    ("sizeof(MultiFDRecvPacket) == 72", "sizeof(MultiFDRecvPacket) == 88"),
    ("} MultiFDMethods;", "  void *MULTIFD_NULLABLE later[3];\n} MultiFDMethods;"),
    ("sizeof(MultiFDMethods) == 168", "sizeof(MultiFDMethods) == 192"),
  ]

  /// A backend of that version asks for the service that was appended, where there is one: so the
  /// header says that it must. With another answer than it expects it does not work.
  static func flags(expecting answer: Int) -> [String] {
    [
      "-DON_SETUP=if ((p)->services->struct_size > offsetof(MultiFDServices, later) "
        + "&& (p)->services->later((p)->channel) != \(answer)) NO_MEMORY"
    ]
  }

  /// Replaces text that must be there.
  static func rewrite(_ path: String, _ changes: [(String, String)]) throws {
    var text = try String(contentsOfFile: path, encoding: .utf8)
    for (old, new) in changes {
      try #require(text.contains(old), "\(path) has no '\(old)'")
      text = text.replacingOccurrences(of: old, with: new)
    }
    try text.write(toFile: path, atomically: false, encoding: .utf8)
  }

  /// A copy of the header with some lines changed; the folder to include it from.
  static func write(
    in folder: TemporaryFolder, _ changes: [(String, String)] = changes
  ) throws -> String {
    let include = folder("include")
    try FileManager.default.createDirectory(atPath: include, withIntermediateDirectories: true)
    let path = include + "/multifd_plugin.h"
    try FileManager.default.copyItem(
      atPath: Compiler.header + "/multifd_plugin.h", toPath: path)
    try rewrite(path, changes)
    return include
  }
}
