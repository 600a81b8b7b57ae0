import TestSupport
import Testing
import Version

/// There is one version.
@Suite("Version")
struct VersionTests {
  @Test("the programs say it", arguments: ["multifd", "multifd-harness"])
  func programs(_ name: String) throws {
    let ended = try Repository.run(["\(Lab.executableFolder)/\(name)", "--version"])
    #expect(ended.code == 0, "\(ended)")
    #expect(ended.output == multifdVersion + "\n")
  }

  @Test("the pkg-config file says it, and where the rest is installed")
  func pkgConfig() throws {
    let ended = try Repository.run([
      "make", "-s", "--no-print-directory", "-C", Repository.root, "pkg-config",
      "PREFIX=/opt/multifd",
    ])
    #expect(ended.code == 0, "\(ended)")
    let lines = ended.output.split(whereSeparator: \.isNewline)
    #expect(lines.first == "prefix=/opt/multifd")
    #expect(lines.contains("Version: \(multifdVersion)"))
  }

  @Test("packages and the tarball have it")
  func packages() throws {
    let ended = try Repository.run([
      "make", "-n", "--no-print-directory", "-C", Repository.root, "deb", "dist",
    ])
    #expect(ended.code == 0, "\(ended)")
    for script in ["deb", "dist"] {
      #expect(
        ended.output.contains("\nSupport/\(script) .build/stage \(multifdVersion) "), "\(ended)")
    }
  }
}
