import Foundation
import Glibc
import Roles
import Store
import TestSupport
import Testing

/// `--insecure`: without TLS and without this word no command listens where others come by.
@Suite("What listens for others says so", .beside)
struct InsecureTests {
  @Test("A command that would is refused before it has done anything, with what could be done")
  func refused() throws {
    let folder = try TemporaryFolder()
    defer { folder.remove() }
    try Data(count: 1 << 16).write(to: URL(filePath: folder("disk")))
    let colo = ["receive", "--colo", "--store", folder("store")]
    let disks = ["--disks", "tcp:0.0.0.0:0", "--disk", "disk0=" + folder("disk")]
    let cases = [
      ["receive", "--listen", "tcp:0.0.0.0:0", "--store", folder("store")],
      ["receive", "--listen", "tcp:[::]:0", "--store", folder("store")],
      ["receive", "--listen", "tcp::0", "--store", folder("store")],
      colo + ["--listen", "tcp:0.0.0.0:0"],
      colo + ["--listen", "unix:" + folder("socket")] + disks,
      colo + ["--listen", "unix:" + folder("socket"), "--adopt"] + disks,
      ["relay", "--listen", "tcp:0.0.0.0:0", "--to", "unix:" + folder("nowhere")],
      // TLS where the guest goes is none where it comes from.
    ]
    for arguments in cases {
      let result = try MultiFDProcess.run(arguments, .seconds(20))
      #expect(result.code == 64, "\(arguments): \(result)")
      #expect(
        result.errorLine?.contains("without TLS: others than this machine reach it") == true,
        "\(arguments): \(result)")
      #expect(
        result.errors.contains("hint: --tls-creds DIR, or --insecure"), "\(arguments): \(result)")
      #expect(!result.errors.contains("listening on"), "\(arguments): \(result)")
    }
    #expect(SmallFileSystem.tree(folder("store")) == [])
  }

  @Test("With the word it listens")
  func allowed() throws {
    let folder = try TemporaryFolder()
    defer { folder.remove() }
    for arguments in [
      ["receive", "--listen", "tcp:0.0.0.0:0", "--store", folder("store")],
      ["relay", "--listen", "tcp:0.0.0.0:0", "--to", "unix:" + folder("nowhere")],
    ] {
      let multifd = try MultiFDProcess(arguments + ["--insecure"])
      #expect(try multifd.waitListening().hasPrefix("tcp:0.0.0.0:"))
      multifd.process.kill(SIGTERM)
      #expect(try multifd.wait().code == 128 + SIGTERM)
    }
  }

  @Test("TLS of one side is none of the other, and the word takes none away")
  func sides() throws {
    let folder = try TemporaryFolder()
    defer { folder.remove() }
    try CertificateAuthority().fill(folder)
    let relay = [
      "relay", "--listen", "tcp:0.0.0.0:0", "--to", "tcp:127.0.0.1:1",
    ]
    let far = try MultiFDProcess.run(relay + ["--tls-creds-to", folder.path], .seconds(20))
    #expect(far.code == 64, "\(far)")
    let multifd = try MultiFDProcess(
      [
        "receive", "--listen", "tcp:0.0.0.0:0", "--insecure", "--tls-creds", folder.path,
        "--store", folder("store"),
      ])
    let port = try #require(multifd.waitListening().split(separator: ":").last.flatMap { Int($0) })
    let plain = try #require(Sockets.connect(port: port))
    defer { close(plain) }
    Sockets.write(plain, Array("QEVM".utf8))
    var byte: [UInt8] = [0]
    #expect(Sockets.read(plain, &byte) == 0)
    multifd.process.kill(SIGTERM)
    let result = try multifd.wait()
    #expect(result.errors.contains("it speaks without TLS"), "\(result)")
  }
}
