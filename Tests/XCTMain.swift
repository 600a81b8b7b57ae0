import Foundation
import Testing

/// All tests of the package. Without this file SwiftPM writes one that calls XCTest's tests, too, and
/// looks for these in an index of the sources: there are none, and to make an index took a quarter of
/// what RolesTests takes to compile.
@main
enum AllTests {
  static func main() async {
    guard CommandLine.arguments.contains("swift-testing") else {
      // What SwiftPM does by itself where there is such a file: it would say that all has passed.
      try? FileHandle.standardError.write(
        contentsOf: Data("make test, or swift test --enable-swift-testing --disable-xctest\n".utf8))
      exit(64)
    }
    await Testing.__swiftPMEntryPoint() as Never
  }
}
