import Foundation
import TestSupport
import Testing

extension ExamplesTests {
  /// What `multifd plugins new` writes around the sources: a repository that can be pushed.
  @Suite("Skeletons are repositories", .serialized, .early)
  struct SkeletonTests {
    private func new(_ name: String, _ language: Language, in folder: String) throws {
      try skip(if: MultiFDProcess.unavailable, "multifd plugins new")
      let written = try MultiFDProcess.run(
        ["plugins", "new", name, "--language", language.rawValue, "--dir", folder])
      #expect(written.code == 0, "\(written)")
    }

    @Test("everything is there, and nothing is left to fill in", arguments: Language.allCases)
    func complete(_ language: Language) throws {
      let folder = try TemporaryFolder()
      let backend = folder("backend")
      try new("my_codec", language, in: backend)
      for file in [
        "README.md", "LICENSE", ".gitignore", "harness.toml", ".github/workflows/check.yml",
        "debian/control", "debian/rules", "debian/changelog", "debian/copyright",
        "debian/source/format", "Makefile",
      ] {
        let text = try String(contentsOfFile: "\(backend)/\(file)", encoding: .utf8)
        #expect(text.firstMatch(of: /@[A-Z_]+@|new-backend|new_backend/) == nil, "\(file)")
      }
      let check = try String(
        contentsOfFile: backend + "/.github/workflows/check.yml", encoding: .utf8)
      #expect(check.contains("--format junit") && !check.contains("\t"))
    }

    @Test("git takes the recordings and leaves what is built")
    func ignored() throws {
      guard Tool.path("git") != nil else {
        try skip(SkipReason("there is no git on PATH"), "what a skeleton's .gitignore lets through")
      }
      let folder = try TemporaryFolder()
      let backend = folder("backend")
      try new("my_codec", .rust, in: backend)
      try Tool.run(["git", "init", "-q", backend])
      func isIgnored(_ path: String) -> Bool {
        (try? Tool.run(["git", "-C", backend, "check-ignore", "-q", "--no-index", path])) != nil
      }
      for path in [
        "golden/my_codec-0.1.0.golden", "golden/0.1.0/libmultifd-my_codec.so", "abi/ffi.rs",
        "harness.toml", "debian/rules",
      ] {
        #expect(!isIgnored(path), "\(path)")
      }
      for path in [
        "libmultifd-my_codec.so", "libmultifd-my_codec.certificate.json", "target/release/x",
        ".multifd-harness/x", "x-decode-1.case",
        "debian/files", "debian/multifd-my-codec/usr", "debian/.debhelper/x",
      ] {
        #expect(isIgnored(path), "\(path)")
      }
    }

    @Test("a strict run passes, and says what is off")
    func strict() throws {
      try skip(if: Language.c.unavailable, "a skeleton in C")
      try skip(if: Harness.unavailable, "the harness")
      let folder = try TemporaryFolder()
      let backend = folder("backend")
      try new("my-codec", .c, in: backend)
      let make = [
        "make", "-s", "-C", backend, "CPPFLAGS=-I\(ExamplesTests.include)",
        "HARNESS=\(Harness.path)",
      ]
      let arguments = "ARGS=--strict --only load --only golden --format tap"
      let first = try Tool.run(make + ["check", arguments])
      #expect(first.contains("golden/payloads # SKIP off: nothing has been recorded yet"))
      // A recording counts from then on, once its line is gone.
      try Tool.run(make + ["golden"])
      let config = backend + "/harness.toml"
      let text = try String(contentsOfFile: config, encoding: .utf8)
      try Data(text.replacingOccurrences(of: "\"golden/payloads\"", with: "#").utf8)
        .write(to: URL(filePath: config))
      let second = try Tool.run(make + ["check", arguments])
      #expect(second.firstMatch(of: /\nok \d+ - golden\/payloads\n/) != nil, "\(second)")
    }

    @Test("the Debian package's files are in order", arguments: Language.allCases)
    func debianSyntax(_ language: Language) throws {
      guard Tool.path("dpkg-parsechangelog") != nil, Tool.path("dpkg-source") != nil else {
        try skip(SkipReason("there is no dpkg-dev"), "a skeleton's debian folder")
      }
      let folder = try TemporaryFolder()
      let backend = folder("backend")
      try new("my_codec", language, in: backend)
      let change = try Tool.run(["dpkg-parsechangelog", "-l", backend + "/debian/changelog"])
      #expect(change.contains("Source: multifd-my-codec\n") && change.contains("Version: 0.1.0\n"))
      // It reads control, changelog and format, and packs the sources.
      try Tool.run(["sh", "-c", "cd \(folder.path) && dpkg-source --build backend"])
      #expect(FileManager.default.fileExists(atPath: folder("multifd-my-codec_0.1.0.dsc")))
      let steps = try Tool.run(
        ["make", "-n", "-C", backend, "-f", "debian/rules", "override_dh_auto_test", "binary"])
      #expect(steps.contains("dh binary") && steps.contains("--level 5"), "\(steps)")
    }

    @Test("the Debian package is built, and has the library where a host looks")
    func debianPackage() throws {
      for tool in ["dpkg-buildpackage", "dh", "pkg-config"] where Tool.path(tool) == nil {
        try skip(SkipReason("there is no \(tool) on PATH"), "a skeleton's Debian package")
      }
      try skip(if: Language.c.unavailable, "a skeleton in C")
      try skip(if: Harness.unavailable, "the harness")
      let folder = try TemporaryFolder()
      let backend = folder("backend")
      try new("my_codec", .c, in: backend)
      try Tool.run([
        "sh", "-c", "cd \(backend) && DEB_BUILD_OPTIONS=nocheck dpkg-buildpackage -b -us -uc",
      ])
      let packages = try FileManager.default.contentsOfDirectory(atPath: folder.path)
        .filter { $0.hasPrefix("multifd-my-codec_0.1.0_") && $0.hasSuffix(".deb") }
      let package = try #require(packages.first)
      let files = try Tool.run(["dpkg-deb", "-c", folder(package)])
      #expect(files.contains(" ./usr/lib/multifd/libmultifd-my_codec.so\n"), "\(files)")
    }
  }
}
