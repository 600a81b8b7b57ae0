import Foundation
import TestSupport

/// The example backend igzip, built for a benchmark.
enum Igzip {
  private static let root = URL(filePath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().deletingLastPathComponent().standardizedFileURL.path

  /// Builds it into a folder of its own; nil, and said, where that cannot be.
  static func build() -> TemporaryFolder? {
    do {
      let folder = try TemporaryFolder()
      // Built in a copy, which may not be there for whoever runs this from elsewhere.
      let copy = folder("source")
      try FileManager.default.copyItem(atPath: root + "/Examples/igzip", toPath: copy)
      let make = try ChildProcess([
        "make", "-C", copy, "clean", "libmultifd-igzip.so",
        "CPPFLAGS=-I\(root)/Sources/PluginAPI/include",
      ])
      guard make.wait(.seconds(60)) == .code(0) else {
        make.kill()
        throw LabError(make.errors.text.suffix(200) + "")
      }
      try FileManager.default.moveItem(
        atPath: copy + "/libmultifd-igzip.so", toPath: folder("libmultifd-igzip.so"))
      return folder
    } catch {
      SkipReason("\(error)").announce("bench relay, igzip")
      return nil
    }
  }
}
