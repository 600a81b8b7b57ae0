import Migration
import Observe
import PluginLoader
import Store

/// What a hand-over amounted to, in QEMU's words.
public struct SendSummary: Codable, Sendable {
  /// `handed-over`.
  public var result = "handed-over"
  /// The folder.
  public var store: String
  /// The destination.
  public var to: String
  /// The machine type.
  public var machine: String
  /// Milliseconds from the connection to the verdict.
  public var totalTime: Double
  /// Bytes of all connections.
  public var transferred: UInt64
  /// Bytes of RAM.
  public var total: UInt64
  /// Pages with contents.
  public var normal: UInt64
  /// Zero pages.
  public var duplicate: UInt64
  /// Pages that the far side of a link had already; nil where it did not say what it has.
  public var unchanged: UInt64?
  /// Bytes in which it said so.
  public var referenceBytes: UInt64?
  /// Of the normal pages, those that were sent as differences; nil without a version to tell them
  /// by.
  public var differences: UInt64?
  /// The backend; `none` when everything went over the main channel.
  public var compression: String
  /// Bytes of pages by bytes of payload.
  public var ratio: Double
  /// What was chosen for packets, and why, where there was a choice; else empty.
  public var choices: [FormatUse]
  /// multifd channels.
  public var channels: Int
  /// How sync points were told: `flush` or `section`.
  public var sync: String
  /// What of the payloads was decoded before the destination could start: `all`, `sample`, `none`;
  /// nil where they are the pages themselves.
  public var verified: String?
  /// What went wrong although the guest runs at its destination; nil: nothing.
  public var warning: String?

  enum CodingKeys: String, CodingKey {
    case result, store, to, machine, transferred, total, normal, duplicate, compression, ratio
    case choices, channels, sync, verified, warning, unchanged, differences
    case referenceBytes = "reference-bytes"
    case totalTime = "total-time"
  }
}

extension SendSummary {
  /// What an attempt has moved.
  ///
  /// - Parameters:
  ///   - formats: all that pages went out in, differences too.
  ///   - unchanged: pages that the far side had already.
  ///   - start: when it connected.
  init(
    _ options: SendOptions, _ manifest: Manifest, _ main: MainSender, _ workers: [ChannelSender],
    _ formats: [OutgoingFormat], unchanged: UInt64, since start: ContinuousClock.Instant
  ) {
    let all = [main.counters] + workers.map(\.counters)
    let payload = workers.reduce(0) { $0 + $1.counters.payloadBytes }
    let normal = all.reduce(0) { $0 + $1.normal }
    let names = formats.map(\.backend.name).joined(separator: ", ")
    let zero = manifest.ramSize / UInt64(manifest.pageSize) - normal - unchanged
    self.init(
      store: options.store, to: options.to.description, machine: manifest.machine,
      totalTime: (ContinuousClock.now - start) / .milliseconds(1),
      transferred: all.reduce(0) { $0 + $1.bytes }, total: manifest.ramSize, normal: normal,
      duplicate: zero, compression: workers.isEmpty ? "none" : names,
      ratio: payload > 0 ? Double(normal * UInt64(manifest.pageSize)) / Double(payload) : 1,
      choices: FormatUse.sum(workers.map(\.uses)), channels: workers.count,
      sync: main.sync == .section ? "section" : "flush")
  }
}
