import Foundation
import Migration
import PluginLoader
import Roles
import SessionReplay
import Store
import System
import TestSupport
import Testing
import Transport
import Wire

/// Who has the guest after a hand-over that went wrong: never two hosts, and never nobody without
/// saying so.
@Suite("Hand-overs that fail", .beside)
struct SendFailureTests {
  private func fail(
    _ held: HeldSession, _ destination: FakeDestination,
    location: SourceLocation = #_sourceLocation, configure: (inout SendOptions) -> Void = { _ in }
  ) -> Failure? {
    switch SendTests.send(held, to: destination, configure: configure) {
    case .success:
      Issue.record("the hand-over succeeded", sourceLocation: location)
      return nil
    case .failure(let failure): return failure
    }
  }

  @Test("A time-out that is no number", arguments: [.nan, 0, -1, .infinity] as [Double])
  func timeout(seconds: Double) throws {
    var options = SendOptions(
      store: "/nowhere/store", to: Destination(.unix(path: "/nowhere/socket")))
    options.timeout = seconds
    let failure = #expect(throws: Failure.self) {
      try Sender(options, loader: TestBackends.loader).run()
    }
    #expect(failure?.kind == .usage && failure?.what == "send", "\(failure!)")
  }

  @Test("A destination that says no: the guest stays, and can be sent again")
  func refused() throws {
    let held = try HeldSession("bios-100-zlib-2ch")
    let no = try FakeDestination(channels: 2, answer: .shut(1))
    let failure = try #require(fail(held, no))
    _ = no.end()
    #expect(failure.kind == .failed && failure.what == "destination", "\(failure)")
    #expect(held.state == .held)
    let yes = try FakeDestination(channels: 2)
    let second = SendTests.send(held, to: yes)
    _ = yes.end()
    _ = try second.get()
    #expect(held.state == .handedOver)
  }

  @Test(
    "A destination that is gone before its verdict: nobody knows, and nothing is sent without force",
    arguments: [FakeDestination.Answer.close, .silence])
  func unknown(answer: FakeDestination.Answer) throws {
    let held = try HeldSession("bios-100-zlib-2ch")
    let destination = try FakeDestination(channels: 2, answer: answer)
    let failure = try #require(fail(held, destination) { $0.timeout = 0.4 })
    _ = destination.end()
    #expect(failure.kind == (answer == .close ? .failed : .unreachable), "\(failure)")
    #expect(failure.why.contains("whether the guest runs there is not known"))
    #expect(failure.hint?.contains("--force") == true)
    #expect(held.state == .handingOver)

    let next = try FakeDestination(channels: 2)
    let refusal = try #require(fail(held, next))
    #expect(refusal.kind == .failed && refusal.what == "store", "\(refusal)")
    #expect(refusal.why.contains("\(destination.endpoint)"))
    #expect(refusal.hint?.contains("--force") == true)
    #expect(held.state == .handingOver)
    let forced = SendTests.send(held, to: next) { $0.force = true }
    let heard = next.end()
    _ = try forced.get()
    #expect(held.state == .handedOver)
    // It is the same guest still.
    let script = try StreamScript(main: heard[0], channels: Array(heard.dropFirst()))
    #expect(script.deviceState == held.script.deviceState)
  }

  @Test("A guest that was handed over is not sent again without force")
  func twice() throws {
    let held = try HeldSession("bios-100-main-only")
    let first = try FakeDestination(channels: 0)
    let sent = SendTests.send(held, to: first) { $0.channels = 0 }
    _ = first.end()
    _ = try sent.get()
    let second = try FakeDestination(channels: 0)
    let failure = try #require(fail(held, second) { $0.channels = 0 })
    #expect(failure.what == "store" && failure.why.contains("\(first.endpoint)"), "\(failure)")
    #expect(second.end()[0].isEmpty, "it was not even connected to")
    #expect(held.state == .handedOver)
  }

  @Test(
    "A destination that dies while RAM is sent: it cannot run the guest, which stays",
    arguments: [(0, 0), (20, 0), (5000, 0), (64, 1), (100_000, 2), (20_000, 0)], [0, 2])
  func diesEarly(place: (bytes: Int, connection: Int), channels: Int) throws {
    guard place.connection <= channels else { return }
    let held = try HeldSession("bios-111-q35-72-zstd-2ch")
    let destination = try FakeDestination(
      channels: channels, over: .tcp,
      answer: .dieAfter(place.bytes, connection: place.connection))
    let failure = try #require(
      fail(held, destination) {
        $0.channels = channels
        $0.timeout = 5
      })
    _ = destination.end()
    #expect(failure.kind == .failed || failure.kind == .unreachable, "\(failure)")
    // With little left to send, the end may have been on its way before the loss was noticed.
    #expect(held.state == .held || failure.why.contains("not known"), "\(failure)")
  }

  @Test("A destination that stops reading")
  func stalls() throws {
    let held = try HeldSession("bios-111-q35-72-zstd-2ch")
    let destination = try FakeDestination(channels: 2, answer: .stall)
    let failure = try #require(
      fail(held, destination) {
        $0.timeout = 0.5
        $0.compression = (try? FormatWish(parsing: "nocomp")) ?? .asTheyCome
      })
    _ = destination.end()
    #expect(failure.kind == .unreachable, "\(failure)")
    #expect(failure.what == "destination" && failure.why.contains("before it began to load"))
    #expect(failure.hint?.contains("multifd-channels") == true)
    #expect(held.state == .held)
  }

  @Test("Nobody listens")
  func nobody() throws {
    let held = try HeldSession("bios-100-main-only")
    let destination = try FakeDestination(channels: 0)
    _ = destination.end()
    let failure = try #require(fail(held, destination) { $0.channels = 0 })
    #expect(failure.kind == .unreachable && failure.why.contains("\(destination.endpoint)"))
    #expect(held.state == .held)
  }

  @Test("A signal before the end: the guest stays")
  func cancelled() throws {
    let held = try HeldSession("bios-111-q35-72-zstd-2ch")
    let destination = try FakeDestination(channels: 2, answer: .stall)
    var options = SendOptions(store: held.path, to: Destination(destination.endpoint))
    options.compression = try .init(parsing: "nocomp")
    let sender = Sender(options, loader: TestBackends.loader)
    let helper = ThreadGroup()
    try helper.start("signal") {
      Thread.sleep(forTimeInterval: 0.3)
      sender.cancel(.signal(15), "terminated")
    }
    let failure = #expect(throws: Failure.self) { try sender.run() }
    helper.joinAll()
    _ = destination.end()
    #expect(failure?.kind == .signal(15))
    #expect(held.state == .held)
  }

  @Test("What cannot be sent at all is refused before anybody is connected to")
  func refusedAtOnce() throws {
    let held = try HeldSession("bios-100-main-only")
    for (channels, compression, kind, word) in [
      (2, "lz4", Failure.Kind.refused, "stock QEMU does not know"),
      (0, "zlib", .usage, "--channels is 0"), (2, "nothing", .refused, "nothing"),
      (2, "zlib,level=99", .usage, "level"),
    ] {
      let destination = try FakeDestination(channels: channels)
      let failure = try #require(
        fail(held, destination) {
          $0.channels = channels
          $0.compression = (try? FormatWish(parsing: compression)) ?? .asTheyCome
        })
      #expect(failure.kind == kind && failure.description.contains(word), "\(failure)")
      #expect(destination.end().allSatisfy { $0.isEmpty })
      #expect(held.state == .held)
    }
  }

  @Test("A store that holds nothing, or is damaged")
  func noGuest() throws {
    let held = try HeldSession("bios-100-main-only")
    let destination = try FakeDestination(channels: 0)
    defer { _ = destination.end() }
    truncate(held.path + "/ram/pc.ram", 4096)
    let damaged = try #require(fail(held, destination) { $0.channels = 0 })
    #expect(damaged.kind == .failed && damaged.why.contains("pc.ram has 4096 bytes"), "\(damaged)")
    let empty = try #require(
      fail(held, destination) {
        $0.channels = 0
        $0.store = held.path + "/ram"
      })
    #expect(empty.kind == .failed && empty.why.contains("no store"), "\(empty)")
  }
}
