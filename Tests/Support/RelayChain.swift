import Foundation

/// Relays one behind the other, in front of a destination: processes of their own, as operators
/// start them.
public final class RelayChain: Sendable {
  /// Where the source connects.
  public let entry: String
  /// The relays, the one next to the source first.
  public let relays: [MultiFDProcess]

  /// Starts them.
  ///
  /// - Parameters:
  ///   - destination: what the last one is told with `--to`: perhaps a link.
  ///   - compressions: what each of them is told with `--compression`, the one next to the source
  ///     first; nil: nothing.
  ///   - folder: for the sockets; nil: over TCP.
  ///   - arguments: for all of them.
  public init(
    to destination: String, _ compressions: [String?], sockets folder: TemporaryFolder? = nil,
    _ arguments: [String] = []
  ) throws {
    var relays: [MultiFDProcess] = []
    var target = destination
    for (index, compression) in compressions.enumerated().reversed() {
      let listen = folder.map { "unix:" + $0("relay\(index)") } ?? "tcp:127.0.0.1:0"
      let relay = try MultiFDProcess(
        ["relay", "--listen", listen, "--to", target, "--json"]
          + (compression.map { ["--compression", $0] } ?? []) + arguments)
      target = try relay.waitListening()
      relays.insert(relay, at: 0)
      if index > 0 { target = "link:" + target }
    }
    entry = target
    self.relays = relays
  }

  /// Waits for the end of all of them.
  ///
  /// - Returns: what each said, the one next to the source first.
  public func wait(_ timeout: Duration = .seconds(60)) throws -> [MultiFDProcess.Result] {
    try relays.map { try $0.wait(timeout) }
  }

  /// Waits for the end of all of them. Throws when one of them has failed.
  public func waitOrderly(_ timeout: Duration = .seconds(60)) throws -> [MultiFDProcess.Result] {
    let said = try wait(timeout)
    if let bad = said.firstIndex(where: { $0.code != 0 }) {
      throw LabError("relay \(bad): \(said[bad])")
    }
    return said
  }

  /// They end soon after a primary that was killed: between two packets, or inside one. Throws what
  /// they say else.
  public func expectProtected() throws {
    for (index, relay) in try wait(.seconds(10)).enumerated() {
      let isOrderly = relay.code == 0 && relay.json["result"].string == "protected"
      guard isOrderly || relay.code == 1 && relay.errorLine != nil else {
        throw LabError("relay \(index) behind a primary that was killed: \(relay)")
      }
    }
  }

  /// What they have said, shortened.
  public var complaints: String {
    relays.enumerated().map { "relay \($0): \($1.process.errors.text.suffix(300))" }
      .joined(separator: "; ")
  }

  /// Ends all of them.
  public func end() {
    for relay in relays {
      relay.process.kill()
      _ = relay.process.wait(.seconds(5))
    }
  }
}
