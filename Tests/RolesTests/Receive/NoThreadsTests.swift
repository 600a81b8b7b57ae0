import Foundation
import TestSupport
import Testing
import Transport

/// `pthread_create` fails now and then, or always from some moment on: no process dies of it.
@Suite("No more threads", .beside)
struct NoThreadsTests {
  @Test("Receiving, with every thread missing in turn")
  func receive() throws {
    let lines = try Line.of(#require(Fixtures.session("bios-111-q35-72-zstd-2ch")))
    var held = 0
    for number in 1...7 {
      let folder = try TemporaryFolder(.memory(bytes: 64 << 20))
      defer { folder.remove() }
      let multifd = try MultiFDProcess(
        [
          "receive", "--listen", "unix:" + folder("socket"), "--store", folder("store"),
          "--timeout", "2",
        ],
        environment: ThreadShortage.ofThread(number))
      if let uri = try? multifd.waitListening(.seconds(5)) {
        let source = FakeSource(lines, to: try Endpoint(parsing: uri))
        _ = try multifd.wait(.seconds(30))
        _ = source.end()
      }
      let result = try multifd.wait(.seconds(30))
      // A helper that could be left out, or an error in words.
      let isTold = result.errorLine?.contains("starting the thread") == true
      #expect(result.code == 0 || (result.code == 1 && isTold), "thread \(number): \(result)")
      if result.code == 0 { held += 1 }
    }
    #expect(held > 0 && held < 7)
  }
}
