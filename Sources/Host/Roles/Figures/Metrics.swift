import Foundation
import Observe

/// A role's figures as a monitoring system scrapes them: text in OpenMetrics 1.0, or in the format
/// of Prometheus that came before it. The two differ in how a counter is announced, and in the end.
///
/// Names begin with `multifd_`; units are seconds and bytes. A figure that does not apply is
/// missing.
public struct Metrics: Sendable {
  /// Which of the two.
  public enum Format: Sendable {
    case openMetrics
    case prometheus

    /// For HTTP.
    public var contentType: String {
      switch self {
      case .openMetrics: "application/openmetrics-text; version=1.0.0; charset=utf-8"
      case .prometheus: "text/plain; version=0.0.4; charset=utf-8"
      }
    }
  }

  /// The text.
  public private(set) var text = ""
  private let format: Format

  /// - Parameters:
  ///   - status: what a role has published last; nil: nothing yet.
  ///   - now: seconds since 1970: ages are told as of then.
  public init(
    _ status: RoleStatus?, _ format: Format = .openMetrics,
    now: Double = Date().timeIntervalSince1970
  ) {
    self.format = format
    if let status { add(status, now) }
    if format == .openMetrics { text += "# EOF\n" }
  }

  private typealias Labels = [(String, String)]
  private typealias Samples = [(labels: Labels, value: Double)]

  private mutating func add(_ status: RoleStatus, _ now: Double) {
    // Info has no type of its own in the older format.
    gauge(
      "multifd_role_info", "What runs here.",
      [
        (
          [
            ("role", status.role.rawValue), ("version", status.version),
            ("machine", status.machine ?? ""), ("backends", status.backends.joined(separator: " ")),
          ], 1
        )
      ])
    gauge("multifd_phase", "What it is doing now.", [([("phase", status.phase)], 1)])
    gauge(
      "multifd_start_time_seconds", "When it began, in seconds since 1970.",
      one(status.started))
    gauge(
      "multifd_status_age_seconds",
      "How old these figures are: a process that stands publishes none.",
      one(max(0, now - status.updated)))
    gauge("multifd_ram_bytes", "Memory of the guest.", one(status.ram))
    gauge(
      "multifd_remaining_bytes", "Memory that the first pass has still to bring.",
      one(status.remaining))
    add(status.channels)
    if let checkpoints = status.checkpoints { add(checkpoints, now) }
    gauge(
      "multifd_failover_ready", "1 where the guest can be continued by a standby.",
      one(status.failoverReady.map { $0 ? 1 : 0 }))
    add(status.disks ?? [])
    add(status.nets ?? [])
    counter(
      "multifd_strangers", "Connections that were turned away.",
      one(status.strangers))
    counter(
      "multifd_protection_losses", "How often protection was lost.",
      one(status.losses))
    gauge("multifd_error", "1 where something has gone wrong.", one(status.error == nil ? 0 : 1))
  }

  private mutating func add(_ channels: [RoleStatus.Channel]) {
    func each(_ value: (RoleStatus.Channel) -> UInt64) -> Samples {
      channels.map { ([("channel", $0.id)], Double(value($0))) }
    }
    counter("multifd_received_bytes", "Bytes that came in.", each(\.received))
    counter("multifd_sent_bytes", "Bytes that went out.", each(\.sent))
    counter("multifd_payload_bytes", "Bytes of page payload on the wire.", each(\.payload))
    counter("multifd_packets", "Packets of multifd channels.", each(\.packets))
    func formats(_ value: (RoleStatus.Format) -> UInt64) -> Samples {
      channels.flatMap { channel in
        channel.formats.map {
          ([("channel", channel.id), ("format", $0.name)], Double(value($0)))
        }
      }
    }
    counter("multifd_format_pages", "Pages with contents that went in a format.", formats(\.pages))
    counter("multifd_format_payload_bytes", "Bytes of their payload.", formats(\.payload))
    counter(
      "multifd_pages", "Pages of the guest, with contents (normal) or zero (duplicate).",
      channels.flatMap { channel -> Samples in
        [
          ([("channel", channel.id), ("kind", "normal")], Double(channel.normal)),
          ([("channel", channel.id), ("kind", "duplicate")], Double(channel.duplicate)),
        ]
      })
  }

  private mutating func add(_ checkpoints: RoleStatus.Checkpoints, _ now: Double) {
    gauge(
      "multifd_last_commit_age_seconds",
      "How much of the guest's life would be lost if its primary were lost now.",
      one(max(0, now - checkpoints.committed)))
    gauge(
      "multifd_last_commit_timestamp_seconds", "When that checkpoint was committed.",
      one(checkpoints.committed))
    gauge("multifd_checkpoint", "The last committed checkpoint.", one(checkpoints.number))
    histogram(
      "multifd_checkpoint_pause_seconds", "How long the guest stood still for a checkpoint.",
      checkpoints.pause)
    histogram(
      "multifd_checkpoint_transfer_seconds", "How long a stopped guest's state took to come.",
      checkpoints.transfer)
    histogram("multifd_checkpoint_commit_seconds", "How long a commit took.", checkpoints.commit)
    counter("multifd_checkpoint_pages", "Pages of all checkpoints.", one(checkpoints.pages))
    gauge(
      "multifd_cache_bytes", "What the cache kept for the last checkpoint.",
      one(checkpoints.cacheBytes))
    gauge(
      "multifd_cache_peak_bytes", "What the cache kept for the largest checkpoint.",
      one(checkpoints.cachePeak))
  }

  private mutating func add(_ disks: [DiskReport]) {
    func each(_ value: (DiskReport) -> Int) -> Samples {
      disks.map { ([("disk", $0.name)], Double(value($0))) }
    }
    gauge(
      "multifd_disk_state", "How far a disk is.",
      disks.map { ([("disk", $0.name), ("state", $0.state)], 1) })
    gauge("multifd_disk_bytes", "Size of a disk.", each(\.size))
    gauge("multifd_disk_covered_bytes", "What of a disk has come.", each(\.covered))
    gauge("multifd_disk_epoch", "The epoch that writes go to.", each(\.epoch))
    gauge("multifd_disk_log_bytes", "The log of that epoch.", each(\.epochBytes))
    gauge(
      "multifd_disk_backlog_bytes", "Committed logs that are not in the image yet.",
      each(\.backlog))
    counter("multifd_disk_requests", "Requests that were answered.", each(\.requests))
  }

  private mutating func add(_ nets: [RoleStatus.Net]) {
    func each(_ value: (RoleStatus.Net) -> Int) -> Samples {
      nets.map { ([("net", $0.id)], Double(value($0))) }
    }
    gauge("multifd_net_held_packets", "Packets that wait for their checkpoint.", each(\.held))
    gauge("multifd_net_held_bytes", "Bytes of them.", each(\.bytes))
    counter("multifd_net_released_packets", "Packets that have left.", each(\.released))
    counter("multifd_net_dropped_packets", "Packets for which there was no room.", each(\.dropped))
  }

  // MARK: Lines

  private func one(_ value: Double?) -> Samples { value.map { [([], $0)] } ?? [] }

  // Not `map(Double.init)`: of an unsigned number that takes the bits.
  private func one(_ value: (some BinaryInteger)?) -> Samples { one(value.map { Double($0) }) }

  private mutating func gauge(_ name: String, _ help: String, _ samples: Samples) {
    guard !samples.isEmpty else { return }
    head(name, "gauge", help)
    for sample in samples { line(name, sample.labels, sample.value) }
  }

  private mutating func counter(_ name: String, _ help: String, _ samples: Samples) {
    guard !samples.isEmpty else { return }
    head(format == .openMetrics ? name : name + "_total", "counter", help)
    for sample in samples { line(name + "_total", sample.labels, sample.value) }
  }

  private mutating func histogram(_ name: String, _ help: String, _ buckets: Buckets) {
    head(name, "histogram", help)
    var count: UInt64 = 0
    for (index, bound) in (Buckets.bounds.map { "\($0)" } + ["+Inf"]).enumerated() {
      count += buckets.counts[index]
      line(name + "_bucket", [("le", bound)], Double(count))
    }
    line(name + "_sum", [], buckets.sum)
    line(name + "_count", [], Double(count))
  }

  private mutating func head(_ name: String, _ type: String, _ help: String) {
    text += "# HELP \(name) \(help)\n# TYPE \(name) \(type)\n"
  }

  private mutating func line(_ name: String, _ labels: Labels, _ value: Double) {
    text += name
    if !labels.isEmpty {
      text += "{" + labels.map { "\($0)=\"\(Self.escaped($1))\"" }.joined(separator: ",") + "}"
    }
    text += " \(Self.number(value))\n"
  }

  /// A whole number without a fraction.
  private static func number(_ value: Double) -> String {
    Int64(exactly: value).map(String.init) ?? "\(value)"
  }

  /// Names of machines, disks and netdevs are others' words.
  private static func escaped(_ text: String) -> String {
    String(
      text.map { character -> String in
        switch character {
        case "\\": "\\\\"
        case "\"": "\\\""
        case "\n": "\\n"
        default: String(character)
        }
      }.joined())
  }
}
