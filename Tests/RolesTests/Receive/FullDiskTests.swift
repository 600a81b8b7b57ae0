import Foundation
import Migration
import Roles
import SessionReplay
import TestSupport
import Testing
import Wire

@Suite(
  "Receiving into a full file system",
  .enabled(if: SmallFileSystem.isAvailable, "SKIPPED: a small file system needs root"), .beside)
struct FullDiskTests {
  @Test(
    "No room for RAM: an error, no SIGBUS, and the source keeps its guest",
    arguments: ["bios-111-none-2ch", "bios-72-zlib-2ch", "bios-100-main-only"])
  func ram(name: String) throws {
    let session = try Tampered(name)
    for size in ["64k", "1m", "2500k"] {
      let system = try SmallFileSystem("size=\(size)")
      let reception = try Reception(session.lines, in: system.path)
      reception.expectFailure(.failed, "No space left on device")
      #expect(reception.heard[0].messages.last == .shut(1))
    }
  }

  @Test("No room for files: an error as well")
  func files() throws {
    let session = try Tampered("bios-100-zlib-2ch")
    for inodes in [3, 4, 6, 8, 10, 11] {
      let system = try SmallFileSystem("size=64m,nr_inodes=\(inodes)")
      let reception = try Reception(session.lines, in: system.path)
      reception.expectFailure(.failed, "store", "No space left on device")
      #expect(reception.heard[0].messages.last == .shut(1))
    }
  }

  @Test("No room for files, and a source that has let go: what has come stays, and that is said")
  func filesOfLetGo() throws {
    let session = try Tampered("bios-100-zlib-2ch", returnPath: false)
    var kept = 0
    for inodes in 3...12 {
      let system = try SmallFileSystem("size=64m,nr_inodes=\(inodes)")
      let reception = try Reception(session.lines, in: system.path)
      guard case .failure(let failure) = reception.result else { continue }
      #expect(failure.kind == .failed && failure.why.contains("No space left on device"))
      #expect(failure.why.contains("its source may have let go of it") == !reception.tree.isEmpty)
      guard !reception.tree.isEmpty else { continue }
      kept += 1
      #expect(failure.hint?.contains("'cont'") == true)
      #expect(failure.hint?.contains("goes on where it was") == false)
      #expect(reception.tree.contains { $0.hasPrefix("ram/") }, "\(reception.tree)")
    }
    #expect(kept > 0)
  }

  @Test("Whatever size is the last that does not suffice: whole or nothing")
  func edge() throws {
    let session = try Tampered("bios-100-main-only")
    var held = 0, refused = 0
    // Between the room for all chunks of RAM and that plus device state: found by halving.
    var (low, high) = (256, 16384)
    while high - low > 4 {
      let kilobytes = (low + high) / 2
      let system = try SmallFileSystem("size=\(kilobytes)k")
      let reception = try Reception(session.lines, in: system.path)
      if case .success = reception.result {
        (held, high) = (held + 1, kilobytes)
        #expect(reception.heard[0].messages.last == .shut(0))
        #expect(reception.tree.contains("manifest.json"))
      } else {
        (refused, low) = (refused + 1, kilobytes)
        reception.expectFailure(.failed, "No space left on device")
        #expect(reception.heard[0].messages.last == .shut(1))
      }
    }
    #expect(held > 0 && refused > 0)
  }
}
