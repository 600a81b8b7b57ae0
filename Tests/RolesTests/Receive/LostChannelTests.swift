import Foundation
import Migration
import Roles
import SessionReplay
import TestSupport
import Testing
import Wire

/// With legacy sync nothing in the main channel says that there are other channels, and its bytes
/// may overtake theirs. A guest without their pages must never be taken for a guest.
@Suite("Channels whose first bytes are late", .beside)
struct LostChannelTests {
  static let legacy = ["bios-72-none-2ch", "bios-72-zlib-2ch", "bios-111-q35-72-zstd-2ch"]

  @Test("Connected, but silent until main is at its end: they are waited for", arguments: legacy)
  func silent(name: String) throws {
    var session = try Tampered(name)
    session.lines[1].writeAfter = 0.3
    session.lines[2].writeAfter = 0.5
    try Reception(session.lines, over: .tcp).expectHeld(session.script)
  }

  @Test("One that has said nothing when the others have", arguments: legacy)
  func oneSilent(name: String) throws {
    var session = try Tampered(name)
    session.lines[2] = Line([])
    let reception = try Reception(session.lines) { $0.timeout = 0.4 }
    reception.expectFailure(.unreachable, "multifd", "1 of the connections have said nothing")
    #expect(reception.heard[0].messages.last == .shut(1))
  }

  @Test("None of them ever connects: a guest without contents is none", arguments: legacy)
  func none(name: String) throws {
    let session = try Tampered(name)
    let reception = try Reception([session.lines[0]]) { $0.timeout = 0.4 }
    reception.expectFailure(.corrupt, "main channel", "no page with contents")
    #expect(reception.heard[0].messages.last == .shut(1))
  }

  @Test("A silent stranger beside a plain migration costs time, not the migration")
  func strangerBesidePlain() throws {
    let session = try Tampered("bios-100-main-only")
    let reception = try Reception([Line([]), session.lines[0]]) { $0.timeout = 0.4 }
    try reception.expectHeld(session.script)
  }
}
