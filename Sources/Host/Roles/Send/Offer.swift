import Migration
import Store
import Transport
import Wire

/// What a destination is sent that must be its own too. QEMU says on its own stderr what it misses,
/// and to a source nothing at all: so a failure names all of it.
struct Offer: Sendable, CustomStringConvertible {
  /// Machine type and RAM blocks.
  var manifest: Manifest
  /// What the channels say.
  var uuid: VMUUID
  /// How many multifd channels there are.
  var channels: Int
  /// QEMU's multifd-compression.
  var compression: String

  /// `machine pc-q35-11.1; RAM pc.ram 32 MiB, …; no UUID; 2 multifd channels, compression none`.
  var description: String {
    var parts = ["machine \(manifest.machine)", "RAM \(blocks)"]
    if channels > 0 {
      parts.append(uuid == .zero ? "no UUID (see --uuid)" : "UUID \(uuid)")
      parts.append("\(channels) multifd channel\(channels == 1 ? "" : "s")")
      parts.append("multifd-compression \(compression)")
    } else {
      parts.append("no multifd")
    }
    return parts.joined(separator: "; ")
  }

  private var blocks: String {
    let most = 12
    let named = manifest.blocks.prefix(most).map { "\($0.name) \(Self.size($0.length))" }
    let rest = manifest.blocks.count - most
    return named.joined(separator: ", ") + (rest > 0 ? " and \(rest) more" : "")
  }

  private static func size(_ bytes: UInt64) -> String {
    for (unit, name) in [(UInt64(1) << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")]
    where bytes % unit == 0 { return "\(bytes / unit) \(name)" }
    return "\(bytes) bytes"
  }

  /// A connection.
  enum Place: Sendable {
    case main, channel(Int)

    /// By itself.
    var name: String { if case .channel(let id) = self { "channel \(id)" } else { "main channel" } }
    /// In a sentence.
    var text: String { if case .channel = self { name } else { "the \(name)" } }
  }

  private var sent: String { "It was sent: \(self)" }

  /// What it means that a connection does not do what it should.
  ///
  /// - Parameter place: which connection it was.
  func failure(_ error: any Error, at place: Place, in stage: HandoverControl.Stage) -> Failure {
    if var refusal = error as? Failure, refusal.cause == .refusedByDestination {
      refusal.hint = "\(refusal.hint ?? ""). \(sent)"
      return refusal
    }
    guard let error = error as? TransportError,
      [.closed, .reset, .timedOut, .lost].contains(error.kind)
    else { return Failure(error, at: place.name) }
    var failure = Failure(error, at: "destination")
    failure.why = "\(error.message) on \(place.text), \(stage.text)"
    switch (stage, error.kind) {
    case (_, .closed), (_, .reset):
      let also = channels > 0 ? "; multifd may be off there, or its multifd-channels be fewer" : ""
      failure.hint = "its stderr says why, this side is not told\(also). \(sent)"
    case (.waiting, .timedOut):
      failure.hint =
        "a QEMU with capability multifd waits for all of its multifd-channels. \(sent)"
    default:
      failure.hint =
        "a QEMU that cannot use what it gets may hang, and must be killed then: compare "
        + "multifd-compression, and how it syncs (--sync). \(sent)"
    }
    return failure
  }
}
