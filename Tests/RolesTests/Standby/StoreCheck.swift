import Foundation
import Roles
import SessionReplay
import Store
import TestSupport
import Testing

/// What a store holds, as everybody sees it who continues the guest.
enum StoreCheck {
  /// Opens a store as `send` and `failover` do, and compares the guest with the script's at the
  /// checkpoint that the store names: all of RAM, and the devices.
  ///
  /// - Returns: that checkpoint.
  @discardableResult
  static func expectWhole(
    _ store: String, _ script: PrimaryScript, _ what: Comment? = nil, force: Bool = false,
    location: SourceLocation = #_sourceLocation
  ) throws -> Int {
    let guest = try HeldGuest(openingStore: store, force: force)
    let number = try #require(guest.checkpoint, what, sourceLocation: location)
    try #require(number <= script.checkpoints.count, what, sourceLocation: location)
    #expect(
      guest.deviceState == script.deviceStates[number],
      "device state of checkpoint \(number), \(what ?? "")", sourceLocation: location)
    let difference = PageModel.difference(guest.blocks, script.image(number))
    #expect(
      difference == nil, "RAM of checkpoint \(number), \(what ?? "")", sourceLocation: location)
    return number
  }

  /// The same, for a store that must hold exactly that checkpoint.
  ///
  /// - Parameter force: as an operator opens it who answers for it.
  static func expect(
    _ store: String, holds number: Int, _ script: PrimaryScript, _ what: Comment? = nil,
    force: Bool = false, location: SourceLocation = #_sourceLocation
  ) throws {
    let found = try expectWhole(store, script, what, force: force, location: location)
    #expect(found == number, what, sourceLocation: location)
  }

  /// Has a store say something else of its guest, as an earlier process may have left it. Only the
  /// roles' own steps may do that to an open store.
  static func set(_ state: Manifest.State, in store: String) throws {
    var manifest = try #require(try Store.status(of: store).manifest)
    manifest.state = state
    try JSONEncoder().encode(manifest).write(to: URL(filePath: store + "/manifest.json"))
  }

  /// What `multifd status` says, as a child process.
  static func status(_ store: String) throws -> MultiFDProcess.Result {
    try MultiFDProcess.run(["status", "--store", store, "--json"])
  }
}
