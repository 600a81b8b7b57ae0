import Foundation
import TestSupport
import Testing

extension InteropTests {
  /// Whatever happens to the receiver, the guest goes on at its source.
  @Suite("A failing receive leaves the guest running at its source")
  struct FailingReceiveTests {
    @Test("a channel dies in the middle of a packet", arguments: versions)
    func channelDies(_ version: QEMUVersion) throws {
      try require(version)
      let attempt = try Attempt(version, channels: 2, compression: "none", cut: .close)
      let result = try attempt.result()
      #expect(result.code == 1, "\(result)")
      #expect(result.errorLine != nil, "\(result)")
      try attempt.expectGuestGoesOn()
    }

    @Test("more channels were expected than the source opens", arguments: versions)
    func channelMissing(_ version: QEMUVersion) throws {
      try require(version)
      let attempt = try Attempt(
        version, channels: 2, compression: "none", ["--channels", "3", "--timeout", "2"])
      let result = try attempt.result()
      #expect(result.code == 3, "\(result)")
      #expect(result.errorLine != nil, "\(result)")
      try attempt.expectGuestGoesOn()
    }

    @Test("the stream's compression is not the one that was asked for", arguments: versions)
    func otherCompression(_ version: QEMUVersion) throws {
      try require(version)
      let attempt = try Attempt(
        version, channels: 2, compression: "zstd", ["--compression", "zlib"])
      let result = try attempt.result()
      #expect(result.code == 2, "\(result)")
      #expect(result.errorLine != nil, "\(result)")
      try attempt.expectGuestGoesOn()
    }

    @Test("the file system under the store is full", arguments: versions)
    func fullDisk(_ version: QEMUVersion) throws {
      try require(version)
      guard geteuid() == 0 else { try Test.cancel("SKIPPED: a small file system needs root") }
      let folder = try TemporaryFolder()
      defer { folder.remove() }
      let small = folder("small")
      try FileManager.default.createDirectory(
        atPath: small, withIntermediateDirectories: false)
      // Its own mount namespace: the small file system is seen by this one process and goes away
      // with it.
      let mount = "mount -t tmpfs -o size=16m none \"$0\" && exec \"$@\""
      let attempt = try Attempt(
        version, channels: 2, compression: "none", store: small + "/store",
        wrapper: ["/usr/bin/unshare", "-m", "/bin/sh", "-c", mount, small])
      let result = try attempt.result()
      #expect(result.code == 1, "\(result)")
      #expect(result.errorLine != nil, "\(result)")
      try attempt.expectGuestGoesOn()
    }

    @Test("the receiver is killed", arguments: versions)
    func killed(_ version: QEMUVersion) throws {
      try require(version)
      // A channel that hangs keeps the migration going until the kill.
      let attempt = try Attempt(version, channels: 2, compression: "none", cut: .stall)
      #expect(attempt.waitCut(), "\(attempt.account)")
      attempt.multifd.process.kill()
      #expect(try attempt.result().code == 128 + SIGKILL)
      attempt.endProxy()
      try attempt.expectGuestGoesOn()
    }
  }
}
