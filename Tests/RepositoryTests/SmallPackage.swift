import Foundation
import TestSupport

/// A package whose arrows are true, to make one of them false in.
struct SmallPackage {
  let folder: TemporaryFolder

  init() throws {
    folder = try TemporaryFolder()
    for (path, text) in Self.files { try write(path, text) }
  }

  /// Writes a file, new or in the place of what was there.
  func write(_ path: String, _ text: String) throws {
    let place = URL(filePath: folder(path))
    try FileManager.default.createDirectory(
      at: place.deletingLastPathComponent(), withIntermediateDirectories: true)
    try Data(text.utf8).write(to: place)
  }

  /// Changes one place of a file.
  func replace(_ path: String, _ old: String, _ new: String) throws {
    let text = try String(contentsOfFile: folder(path), encoding: .utf8)
    guard let place = text.range(of: old) else { throw LabError("\(path) has no \(old)") }
    try write(path, text.replacingCharacters(in: place, with: new))
  }

  private static let files = [
    (
      "Package.swift",
      """
      // swift-tools-version: 6.2
      import PackageDescription

      let package = Package(
        name: "small",
        targets: [
          .target(name: "CBase"),
          .target(name: "CTop", dependencies: ["CBase"]),
          .target(name: "Plain"),
          .target(name: "Shapes"),
          .target(
            name: "House", dependencies: ["CTop", "Plain", .target(name: "Shapes")],
            exclude: ["Left"], resources: [.embedInCode("Words")]),
          .executableTarget(name: "my-tool", dependencies: ["House"]),
          .testTarget(name: "HouseTests", dependencies: ["House", "my-tool"]),
        ])

      """
    ),
    ("Sources/CBase/include/cbase.h", "#include <stdint.h>\n"),
    ("Sources/CBase/base.c", "#include \"cbase.h\"\n"),
    ("Sources/CTop/include/ctop.h", "#include <stdint.h>\n"),
    (
      "Sources/CTop/top.c",
      """
      /* #include "../House/none.h" */
      #include "../CBase/include/cbase.h"
      static const char quote = '"', *text = "/*";
      #include "ctop.h"

      """
    ),
    ("Sources/Plain/Plain.swift", "import Foundation\n\npackage struct Plain {}\n"),
    ("Sources/Shapes/Shapes.swift", "public struct Square {}\n"),
    ("Sources/House/Left/Left.swift", "import CBase\n"),
    ("Sources/House/Words/words.swift", "import CBase\n"),
    ("Sources/House/House.swift", "struct House { var attic: Attic }\n"),
    (
      "Sources/House/Attic/Attic.swift",
      ##"""
      import Plain
      private import struct Shapes.Square; internal import CTop

      @frozen public struct Attic {
        // import CBase
        /* /* import CBase */
        import CBase */
        let cellar = Cellar(), quote = "\"", path = #"\"/*"#
        let text = """
          import CBase
          "quoted" \(f("""
            import CBase
            """, "/*")) /*
          """
        struct Inner {}
      }

      """##
    ),
    (
      "Sources/House/Cellar/Cellar.swift",
      """
      /// Below Attic.
      struct Cellar { let shape = Shape.Attic, said = "Attic", house: House }
      // Attic
      private struct Inner {}

      """
    ),
    ("Sources/my-tool/main.swift", "import House\n"),
    (
      "Tests/HouseTests/HouseTests.swift",
      "@testable import House\n@testable import my_tool\nimport Testing\n"
    ),
    (
      "Support/rooms",
      """
      # A comment.
      in Sources/House
      room .:
      room Attic: Cellar
      room Cellar:
      debt .: Attic

      """
    ),
  ]
}
