import Foundation
import SessionReplay
import TestSupport
import Testing

/// What the process that starts `multifd` has done to it.
@Suite("How the process is started", .beside)
struct ProcessStartTests {
  /// A shell command, and then `multifd` in its place.
  private static func shell(_ command: String) -> [String] { ["/bin/sh", "-c", command, "sh"] }

  @Test(
    "Descriptors that are closed are filled, before a store's files would be",
    arguments: ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
  func closedDescriptors(closed: String) throws {
    let folder = try TemporaryFolder()
    defer { folder.remove() }
    let multifd = try MultiFDProcess(
      ["receive", "--listen", "unix:" + folder("socket"), "--store", folder("store")],
      wrapper: Self.shell("exec \"$@\" \(closed)"))
    // Its stderr may be closed: that it listens shows otherwise.
    for _ in 0..<2000 where !FileManager.default.fileExists(atPath: folder("socket")) {
      usleep(5000)
    }
    let open = try FileManager.default.contentsOfDirectory(
      atPath: "/proc/\(multifd.process.pid)/fd"
    ).compactMap { Int($0) }.filter { $0 <= 2 }
    #expect(open.sorted() == [0, 1, 2])
    for number in 0...2 where closed.contains("\(number)") {
      let file = try FileManager.default.destinationOfSymbolicLink(
        atPath: "/proc/\(multifd.process.pid)/fd/\(number)")
      #expect(file == "/dev/null", "\(number)")
    }
    multifd.process.kill(SIGTERM)
    #expect(try multifd.wait().code == 128 + SIGTERM)
  }

  /// Swift's locks have their holder by a number that a forked process's first thread has of its
  /// parent: where two threads wanted one at once, both asked for it for ever.
  @Test("What a worker does it does in no thread that was forked")
  func workerThread() throws {
    let folder = try TemporaryFolder()
    let multifd = try MultiFDProcess([
      "receive", "--listen", "unix:" + folder("socket"), "--store", folder("store"),
    ])
    _ = try multifd.waitListening()
    let worker = try #require(multifd.process.worker)
    let threads = try FileManager.default.contentsOfDirectory(atPath: "/proc/\(worker)/task")
    // The first one waits for another to end, in futex(2): by that one's number.
    let call = try String(
      contentsOfFile: "/proc/\(worker)/task/\(worker)/syscall", encoding: .utf8)
    let words = call.split(separator: " ").map(String.init)
    try #require(words.count > 3, "\(call)")
    let awaited = try #require(Int(words[3].dropFirst(2), radix: 16))
    #expect(awaited != worker && threads.contains("\(awaited)"), "\(call)")
    multifd.process.kill(SIGTERM)
    #expect(try multifd.wait().code == 128 + SIGTERM)
  }

  @Test("A limit on the length of files is an error, and nothing stays")
  func fileSize() throws {
    let script = SyntheticGuest.script(seed: 71, checkpoints: 1)
    // In units of 512 bytes: less than its RAM.
    let standby = try StandbyProcess(wrapper: Self.shell("ulimit -f 4000; exec \"$@\""))
    let primary = try Primary(script, to: standby.uri)
    defer { primary.close() }
    #expect(throws: Primary.Ended.self) { try primary.play(upTo: 0) }
    primary.close()
    let result = try standby.multifd.wait()
    #expect(result.code == 1 && result.errorLine?.contains("File too large") == true, "\(result)")
    #expect(result.errors.contains("hint: raise its limit (ulimit -f)"), "\(result)")
    #expect(!FileManager.default.fileExists(atPath: standby.store))
  }

  @Test("Too few descriptors show at the start; a low soft limit is none")
  func descriptors() throws {
    let folder = try TemporaryFolder()
    defer { folder.remove() }
    let arguments = ["receive", "--listen", "unix:" + folder("socket"), "--store", folder("store")]
    // The second are too few only for so many channels.
    for (limit, channels) in [(40, []), (200, ["--channels", "255"])] as [(Int, [String])] {
      let refused = try MultiFDProcess(
        arguments + channels, wrapper: Self.shell("ulimit -n \(limit); exec \"$@\"")
      ).wait()
      #expect(refused.code == 1 && refused.errors.contains("ulimit -n"), "\(refused)")
      #expect(!FileManager.default.fileExists(atPath: folder("store")))
    }
    let multifd = try MultiFDProcess(
      arguments, wrapper: Self.shell("ulimit -Sn 40; exec \"$@\""))
    _ = try multifd.waitListening()
    multifd.process.kill(SIGTERM)
    #expect(try multifd.wait().code == 128 + SIGTERM)
  }

  @Test("Who ignores SIGCHLD has children that nobody can wait for: a fence would never end")
  func ignoredChildren() throws {
    let standby = try LostGuest.standby()
    let failover = try LostGuest.start(
      standby, ["/bin/false"], ["--fence", "exit 7", "--fence-timeout", "20"],
      wrapper: ["/usr/bin/env", "--ignore-signal=CHLD"])
    let result = try failover.wait()
    #expect(result.code == 1 && result.errorLine?.contains("ended with 7") == true, "\(result)")
  }
}
