// Observe: counts, progress, summaries. Never in the way of the data.

import Synchronization

/// What one connection has moved so far. Its thread writes, anybody reads.
public final class Counters: Sendable {
  private let _bytes = Atomic<UInt64>(0)
  private let _packets = Atomic<UInt64>(0)
  private let _duplicate = Atomic<UInt64>(0)
  private let _syncs = Atomic<UInt64>(0)
  private let formats = (0..<formatCount).map { _ in FormatCounters() }

  /// How many formats the packets of a connection can name, by five bits.
  public static let formatCount = 32

  /// All zero.
  public init() {}

  /// Bytes of headers, payloads, everything.
  public var bytes: UInt64 { _bytes.load(ordering: .relaxed) }
  /// Bytes of page payload as they were on the wire.
  public var payloadBytes: UInt64 {
    formats.reduce(0) { $0 + $1.payload.load(ordering: .relaxed) }
  }
  /// multifd packets.
  public var packets: UInt64 { _packets.load(ordering: .relaxed) }
  /// Pages with contents.
  public var normal: UInt64 { formats.reduce(0) { $0 + $1.pages.load(ordering: .relaxed) } }
  /// Zero pages: `duplicate`, as QEMU calls them.
  public var duplicate: UInt64 { _duplicate.load(ordering: .relaxed) }
  /// SYNC packets.
  public var syncs: UInt64 { _syncs.load(ordering: .relaxed) }

  /// Pages with contents that have come in a format, and bytes of their payload.
  ///
  /// - Parameter index: what the five bits of its packets say; 0 is pages as they are.
  public func format(_ index: Int) -> (pages: UInt64, payload: UInt64) {
    let format = formats[index]
    return (format.pages.load(ordering: .relaxed), format.payload.load(ordering: .relaxed))
  }

  /// Counts one multifd packet.
  ///
  /// - Parameter format: see ``format(_:)``.
  public func packet(
    bytes: Int, payload: Int, format: Int, normal: Int, duplicate: Int, sync: Bool
  ) {
    add(bytes, to: _bytes)
    add(1, to: _packets)
    add(payload, to: formats[format].payload)
    add(normal, to: formats[format].pages)
    add(duplicate, to: _duplicate)
    if sync { add(1, to: _syncs) }
  }

  /// Counts bytes that are no page.
  public func moved(bytes: Int) { add(bytes, to: _bytes) }

  /// Counts a page of the main channel.
  public func page(bytes: Int) { run(bytes: bytes, pageSize: bytes, normal: 1, zero: 0) }

  /// Counts a run of pages of the main channel, and all bytes of it.
  public func run(bytes: Int, pageSize: Int, normal: Int, zero: Int) {
    add(bytes, to: _bytes)
    add(normal * pageSize, to: formats[0].payload)
    add(normal, to: formats[0].pages)
    add(zero, to: _duplicate)
  }

  /// Counts zero pages of the main channel.
  public func zeroPages(_ count: Int) { add(count, to: _duplicate) }

  // One writer: a plain load and store does, no locked instruction.
  private func add(_ amount: Int, to counter: borrowing Atomic<UInt64>) {
    counter.store(
      counter.load(ordering: .relaxed) &+ UInt64(truncatingIfNeeded: amount), ordering: .relaxed)
  }
}

/// What a connection has moved in one format.
private final class FormatCounters: Sendable {
  let pages = Atomic<UInt64>(0)
  let payload = Atomic<UInt64>(0)
}
