import COLO
import Migration
import Observe
import PluginLoader
import Store
import Wire

/// What a reception amounted to, in QEMU's words.
public struct ReceiveSummary: Codable, Sendable {
  /// Pages and bytes of RAM, as in `query-migrate`.
  public struct RAM: Codable, Sendable {
    /// Bytes of the guest's RAM.
    public var total: UInt64
    /// Pages with contents that came.
    public var normal: UInt64
    /// Zero pages that came.
    public var duplicate: UInt64
    /// Pages that did not have to come; nil without a reference.
    public var unchanged: UInt64?
    /// Bytes of the main channel.
    public var mainBytes: UInt64
    /// Bytes of the multifd channels.
    public var multifdBytes: UInt64
    /// Passes over RAM that were seen.
    public var dirtySyncCount: Int
    /// Bytes of a page.
    public var pageSize: Int

    enum CodingKeys: String, CodingKey {
      case total, normal, duplicate, unchanged
      case mainBytes = "main-bytes"
      case multifdBytes = "multifd-bytes"
      case dirtySyncCount = "dirty-sync-count"
      case pageSize = "page-size"
    }
  }

  /// What the backend did.
  public struct Compression: Codable, Sendable {
    /// The backend; `none` without multifd or without pages on it. Of a link, those that packets
    /// may have been encoded with.
    public var backend: String
    /// Its wire format, or theirs.
    public var format: String?
    /// Bytes of pages.
    public var uncompressed: UInt64
    /// Bytes of their payloads.
    public var compressed: UInt64
    /// The first by the second.
    public var ratio: Double
  }

  /// The older version that the guest began with.
  public struct Reference: Codable, Sendable {
    /// Its folder.
    public var store: String
    /// Bytes that told the source of it.
    public var bytes: UInt64
  }

  /// One multifd channel.
  public struct Channel: Codable, Sendable {
    /// Its number.
    public var id: Int
    /// Packets.
    public var packets: UInt64
    /// Pages with contents.
    public var normal: UInt64
    /// Zero pages.
    public var duplicate: UInt64
    /// Bytes.
    public var bytes: UInt64
    /// Sync points.
    public var syncs: UInt64
  }

  /// `held`.
  public var result = "held"
  /// The folder.
  public var store: String
  /// The machine type.
  public var machine: String
  /// Milliseconds from the first byte to the verdict.
  public var totalTime: Double
  /// Milliseconds from the source's stop of the guest, as the stream shows it, to the verdict.
  public var downtime: Double?
  /// Bytes of all connections.
  public var transferred: UInt64
  /// Bytes per second.
  public var rate: Double
  /// RAM.
  public var ram: RAM
  /// The backend.
  public var compression: Compression
  /// What it began with; nil: with nothing.
  public var reference: Reference?
  /// What the guest's RAM lies on.
  public var memory: MemoryReport?
  /// The channels; empty without multifd.
  public var channels: [Channel]
  /// Bytes of device state.
  public var deviceState: Int
  /// Whether the source waits for a verdict. If not, it cannot be told of a failure.
  public var returnPath: Bool
  /// What went wrong although the guest is held; nil: nothing.
  public var warning: String?

  enum CodingKeys: String, CodingKey {
    case result, store, machine, transferred, rate, ram, compression, reference, memory, channels,
      downtime, warning
    case totalTime = "total-time"
    case deviceState = "device-state"
    case returnPath = "return-path"
  }

  init(
    session: Session, main: MainReceiver, manifest: Manifest, backends: [Backend],
    start: ContinuousClock.Instant
  ) {
    let now = ContinuousClock.now
    let counters = session.channelCounters
    let channelNormal = counters.reduce(0) { $0 + $1.counters.normal }
    let payload = counters.reduce(0) { $0 + $1.counters.payloadBytes }
    let pageSize = main.options.limits.pageSize
    let progress = session.progress(since: start, pageSize: pageSize)
    store = main.options.store
    machine = manifest.machine
    totalTime = (now - start) / .milliseconds(1)
    downtime = main.stopped.map { (now - $0) / .milliseconds(1) }
    transferred = progress.transferred
    rate = progress.rate
    ram = RAM(
      total: progress.total, normal: progress.normal, duplicate: progress.duplicate,
      mainBytes: session.mainCounters.bytes,
      multifdBytes: counters.reduce(0) { $0 + $1.counters.bytes },
      dirtySyncCount: main.passes, pageSize: pageSize)
    if let heritage = main.heritage {
      let came = progress.normal + progress.duplicate
      let pages = progress.total / UInt64(pageSize)
      ram.unchanged = pages > came ? pages - came : 0
      reference = Reference(store: heritage.path, bytes: heritage.bytes)
    }
    memory = main.stage.flatMap { MemoryReport($0.guest) }
    let plain = channelNormal * UInt64(pageSize)
    compression = Compression(
      backend: backends.isEmpty ? "none" : backends.map(\.name).joined(separator: ", "),
      format: backends.isEmpty ? nil : backends.map(\.wireFormat).joined(separator: ", "),
      uncompressed: plain,
      compressed: payload, ratio: payload > 0 ? Double(plain) / Double(payload) : 1)
    channels = counters.map {
      Channel(
        id: $0.id, packets: $0.counters.packets, normal: $0.counters.normal,
        duplicate: $0.counters.duplicate, bytes: $0.counters.bytes, syncs: $0.counters.syncs)
    }
    deviceState = main.earlyState.count + main.deviceState.count
    returnPath = main.sourceListens
  }
}
