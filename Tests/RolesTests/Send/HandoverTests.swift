import Foundation
import Migration
import PluginLoader
import Roles
import SessionReplay
import Store
import TestSupport
import Testing
import Transport
import Wire

/// What shows before a destination could start the guest, and what does not matter any more once it
/// runs.
@Suite("Hand-overs, step by step", .beside)
struct HandoverTests {
  private let name = "bios-100-zlib-2ch"

  private func fail(
    _ held: HeldSession, _ destination: FakeDestination,
    configure: (inout SendOptions) -> Void = { _ in }
  ) throws -> Failure {
    let result = SendTests.send(held, to: destination, configure: configure)
    return try #require(throws: Failure.self) { try result.get() }
  }

  @Test("What does not fit shows before the devices are sent", arguments: [1, 3] as [UInt32])
  func refusedEarly(ping: UInt32) throws {
    let held = try HeldSession(name)
    let destination = try FakeDestination(channels: 2, answer: .refuse(ping))
    let failure = try fail(held, destination)
    let heard = destination.end()
    #expect(failure.kind == .failed && failure.cause == .refusedByDestination, "\(failure)")
    #expect(held.state == .held)
    #expect(heard[0].suffix(9).elementsEqual([8, 0, 2, 0, 4, 0, 0, 0, UInt8(ping)]))
    // QEMU tells a source nothing: the failure says what there is to compare.
    let machine = held.script.decoder.configuration!.machine
    for word in ["machine \(machine);", "pc.ram 32 MiB", "no UUID", "2 multifd channels"] {
      #expect(failure.hint?.contains(word) == true, "\(failure.hint ?? "")")
    }
  }

  @Test("A destination that closes says as little, whichever connection it is")
  func closed() throws {
    for (bytes, connection) in [(20, 0), (64, 1), (64, 2)] {
      let held = try HeldSession(name)
      let destination = try FakeDestination(
        channels: 2, answer: .dieAfter(bytes, connection: connection))
      let failure = try fail(held, destination)
      _ = destination.end()
      #expect(failure.kind == .failed && failure.what == "destination", "\(failure)")
      #expect(failure.why.contains("closed the connection"))
      #expect(failure.hint?.contains("pc.ram 32 MiB") == true, "\(failure.hint ?? "")")
      #expect(held.state == .held)
    }
  }

  @Test("Somebody else listens there: what came is named")
  func stranger() throws {
    let held = try HeldSession(name)
    let destination = try FakeDestination(channels: 2, answer: .speak("SSH-2.0-x\r\n"))
    let failure = try fail(held, destination)
    _ = destination.end()
    #expect(failure.kind == .corrupt && failure.what == "destination", "\(failure)")
    #expect(failure.why.contains("no QEMU") && failure.why.contains("53 53 48 2d"))
    #expect(held.state == .held)
  }

  @Test("A destination with fewer channels does not get the guest without their pages")
  func fewerChannels() throws {
    let held = try HeldSession(name)
    let destination = try FakeDestination(channels: 3, answer: .fewer(2))
    let failure = try fail(held, destination) { $0.channels = 3 }
    _ = destination.end()
    #expect(failure.kind == .refused && failure.why.contains("channel 2"), "\(failure)")
    #expect(failure.hint?.contains("multifd-channels must be 3") == true)
    #expect(held.state == .held)
  }

  @Test("A destination that does not sync as it was said to gets no pages that it would lose")
  func wrongSync() throws {
    let held = try HeldSession(name)
    let destination = try FakeDestination(channels: 2, sync: .flush)
    let failure = try fail(held, destination) {
      $0.sync = .section
      $0.syncPatience = 10
    }
    let heard = destination.end()
    #expect(failure.kind == .refused && failure.why.contains("--sync section"), "\(failure)")
    #expect(heard.dropFirst().allSatisfy { $0.count == 64 }, "only what names the channel")
    #expect(held.state == .held)
  }

  @Test(
    "The guest runs there: a store that cannot be written then is a warning, and no second copy")
  func unwritableAfter() throws {
    let held = try HeldSession(name)
    let path = held.path
    let destination = try FakeDestination(channels: 2) { ping in
      // Where the next manifest would be written.
      if ping == 0 { mkdir(path + "/manifest.json.new", 0o700) }
    }
    let result = SendTests.send(held, to: destination)
    _ = destination.end()
    let summary = try result.get()
    #expect(summary.result == "handed-over")
    #expect(summary.warning?.contains("runs at \(destination.endpoint)") == true)
    rmdir(path + "/manifest.json.new")
    #expect(held.state == .handingOver)
    let next = try FakeDestination(channels: 2)
    #expect(try fail(held, next).what == "store")
    _ = next.end()
  }

  @Test("A store that cannot say that a hand-over begins: nothing was handed over")
  func unwritableBefore() throws {
    let held = try HeldSession(name)
    let path = held.path
    let destination = try FakeDestination(channels: 2) { ping in
      if ping == 3 { mkdir(path + "/manifest.json.new", 0o700) }
    }
    let failure = try fail(held, destination)
    let heard = destination.end()
    #expect(failure.kind == .failed && failure.what == "store", "\(failure)")
    #expect(failure.hint?.contains("nothing was handed over") == true)
    #expect(!failure.why.contains("not known"))
    #expect(heard[0].suffix(9).elementsEqual([8, 0, 2, 0, 4, 0, 0, 0, 3]))
    rmdir(path + "/manifest.json.new")
    #expect(held.state == .held)
  }

  @Test("A payload is decoded as the destination will: with its packet's flags")
  func flags() throws {
    let folder = try TemporaryFolder()
    let tests = Fixtures.folder.deletingLastPathComponent()
    let source = folder("flagged.c")
    try """
    #define QEMU_METHOD 2
    #define FORMAT "zlib/1"
    #define ON_RECV if (p->flags != 2) return MULTIFD_ERROR_CORRUPT
    #include "base.h"
    """.write(toFile: source, atomically: true, encoding: .utf8)
    let compiler = Process()
    compiler.executableURL = URL(filePath: "/usr/bin/env")
    compiler.arguments = [
      "cc", "-shared", "-fPIC", "-w", "-DBACKEND_NAME=\"flagged\"",
      "-I", tests.path + "/BadBackends", "-I", tests.path + "/../Sources/PluginAPI/include",
      "-o", folder("libmultifd-flagged.so"), source,
    ]
    try compiler.run()
    compiler.waitUntilExit()
    try #require(compiler.terminationStatus == 0)
    let loader = PluginLoader(
      searchPath: PluginSearchPath(explicit: [folder.path], environment: [:], executable: ""))
    let held = try HeldSession(name)
    let destination = try FakeDestination(channels: 2)
    let result = SendTests.send(held, to: destination, loader: loader) {
      $0.compression = (try? FormatWish(parsing: "flagged")) ?? .asTheyCome
    }
    _ = destination.end()
    #expect(try result.get().compression == "flagged")
  }

  @Test("Forced and refused early: nothing new is unknown")
  func forcedEarly() throws {
    let held = try HeldSession(name)
    let silent = try FakeDestination(channels: 2, answer: .close)
    _ = try fail(held, silent)
    _ = silent.end()
    #expect(held.state == .handingOver)
    let destination = try FakeDestination(channels: 2, answer: .refuse(3))
    let failure = try fail(held, destination) { $0.force = true }
    _ = destination.end()
    #expect(!failure.why.contains("not known"), "\(failure)")
    #expect(held.state == .handingOver, "what the store said before")
  }
}
