import Foundation
import Migration
import Store

/// How a failover went that was played up to the devices: whether this command can continue this
/// guest, and if not, why not. The store's file `rehearsal`, so that `status` can say it.
public struct Rehearsal: Codable, Equatable, Sendable {
  /// QEMU has taken everything but the devices.
  public var fits: Bool
  /// What failed, of a `Failure`.
  public var what: String?
  /// Why.
  public var why: String?
  /// What to change.
  public var hint: String?
  /// How the failover would have ended.
  public var kind: Failure.Kind?
  /// Blocks that QEMU has mapped from the store.
  public var mapped: [String] = []
  /// Blocks that are sent to it; the failover's time grows with them.
  public var streamed: [String] = []
  /// Bytes that were sent in the rehearsal.
  public var streamedBytes = 0
  /// Milliseconds from the start of QEMU to its answer.
  public var time: Double = 0
  /// When it was, ISO 8601.
  public var at = Date.now.formatted(.iso8601)
  /// Which guest it was: `Manifest.heldAt` of the store.
  public var guest: String?

  enum CodingKeys: String, CodingKey {
    case fits, what, why, hint, kind, mapped, streamed, time, at, guest
    case streamedBytes = "streamed-bytes"
  }

  /// One that went well.
  init(_ fit: MemoryFit, streamedBytes: Int, time: Double) {
    fits = true
    (mapped, streamed) = (fit.mapped.sorted(), fit.streamed.sorted())
    (self.streamedBytes, self.time) = (streamedBytes, time)
  }

  /// One that failed.
  init(_ failure: Failure, time: Double = 0) {
    fits = false
    (what, why, hint) = (failure.what, failure.why, failure.hint)
    kind = failure.kind
    self.time = time
  }

  /// As what a failover would have failed; nil when it fits.
  public var failure: Failure? {
    guard !fits else { return nil }
    return Failure(
      kind ?? .failed, what ?? "failover", why ?? "it did not fit", hint: hint)
  }

  /// The last one of the guest that a store holds; nil if there was none.
  public static func last(of store: String, _ manifest: Manifest) -> Rehearsal? {
    guard let data = Store.Look.rehearsal(of: store),
      let rehearsal = try? JSONDecoder().decode(Rehearsal.self, from: data),
      rehearsal.guest == manifest.heldAt
    else { return nil }
    return rehearsal
  }

  /// Writes it down in the store that was looked at.
  func note(in look: Store.Look) {
    var rehearsal = self
    rehearsal.guest = look.manifest.heldAt
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    // Strings and numbers always encode.
    if let data = try? encoder.encode(rehearsal) { look.note(rehearsal: data) }
  }
}
