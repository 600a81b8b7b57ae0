import Migration
import PluginLoader
import Roles
import SessionReplay
import TestSupport
import Testing
import Wire

/// Backends that only encode, or only decode, and what takes their place in the other direction.
@Suite(
  "Backends of one direction", .enabled(if: MisbehavingBackend.unavailable == nil), .beside)
struct OneDirectionTests {
  private func loader(_ backends: SpecimenBackends) -> PluginLoader {
    TestBackends.loader(with: backends.folder)
  }

  private func move(
    _ guest: VersionedGuest, as compression: String, with names: [String], verify: Bool = true
  ) throws -> LinkMove {
    let backends = try SpecimenBackends(names)
    return try LinkMove(guest.new, to: guest.folder("b"), loader: loader(backends)) {
      $0.compression = (try? FormatWish(parsing: compression)) ?? .asTheyCome
      $0.verify = verify ? .needed : .none
    }
  }

  @Test(
    "What one encodes another decodes, here to check it and there to hold it",
    arguments: [["good-send-only", "good"], ["good-send-only", "good-recv-only"]])
  func both(names: [String]) throws {
    let guest = try VersionedGuest(otherBlocks: true)
    let move = try move(guest, as: "good-send-only", with: names)
    let (sent, received) = (try move.sent.get(), try move.received.get())
    try VersionedGuest.expectEqual(guest.folder("b"), guest.new)
    #expect(sent.compression.contains("good-send-only"))
    #expect(received.compression.format?.contains("sample/1") == true)
    #expect(received.compression.backend == names[1])
  }

  @Test("A backend that only decodes does not send")
  func decodesOnly() throws {
    let guest = try VersionedGuest()
    let move = try move(guest, as: "good-recv-only", with: ["good-recv-only", "good"])
    let failure = #expect(throws: Failure.self) { try move.sent.get() }
    #expect(failure?.why == "it decodes only", "\(String(describing: failure))")
    #expect(failure?.hint?.contains("sample/1") == true)
  }

  @Test("Where nobody decodes what is sent, nothing is sent", arguments: [true, false])
  func nobodyDecodes(verify: Bool) throws {
    let guest = try VersionedGuest()
    let move = try move(guest, as: "good-send-only", with: ["good-send-only"], verify: verify)
    let failure = #expect(throws: Failure.self) { try move.sent.get() }
    // The answering side says so, before there is anything to check.
    #expect(failure?.why.contains("sample/1") == true, "\(String(describing: failure))")
  }

  @Test("Nothing goes out unchecked unless that is asked for")
  func unchecked() throws {
    let backends = try SpecimenBackends(["good-send-only"])
    let loader = loader(backends)
    let backend = try loader.load(named: "good-send-only")
    let format = OutgoingFormat(
      method: .none, backend: backend, options: try backend.parse([]), loader: loader)
    let failure = #expect(throws: Failure.self) {
      try PacketEncoder(format, id: 0, channels: 1, pageSize: 4096, verify: true)
    }
    #expect(failure?.hint?.contains("--no-verify") == true)
    _ = try PacketEncoder(format, id: 0, channels: 1, pageSize: 4096, verify: false)
  }
}
