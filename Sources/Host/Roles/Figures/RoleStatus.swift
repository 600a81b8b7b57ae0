// Figures: what a role publishes about itself while it works, and how that is told.

import Foundation
import Migration
import Observe
import Wire

/// What a role is doing, in figures: the one value that it publishes. `multifd status`, the control
/// socket and the metrics are made of it, and of nothing else.
///
/// A member that a role has nothing to say about is missing.
public struct RoleStatus: Codable, Equatable, Sendable {
  /// Whose it is.
  public enum Role: String, Codable, Sendable { case receive, standby, send, relay, protect }

  /// Pages and bytes that one connection has moved.
  public struct Channel: Codable, Equatable, Sendable {
    /// `main`, or the number of a multifd channel.
    public var id: String
    /// Bytes that came in.
    public var received: UInt64
    /// Bytes that went out.
    public var sent: UInt64
    /// Bytes of page payload on the wire, on the side where pages leave for the guest.
    public var payload: UInt64
    /// multifd packets.
    public var packets: UInt64
    /// Pages with contents.
    public var normal: UInt64
    /// Zero pages.
    public var duplicate: UInt64
    /// What of the payload was in which format, on the same side.
    public var formats: [Format]

    /// Of a connection that has moved so much.
    public init(
      id: String, received: UInt64, sent: UInt64, payload: UInt64, packets: UInt64, normal: UInt64,
      duplicate: UInt64, formats: [Format]
    ) {
      (self.id, self.received, self.sent, self.payload) = (id, received, sent, payload)
      (self.packets, self.normal, self.duplicate) = (packets, normal, duplicate)
      self.formats = formats
    }
  }

  /// What one connection has moved in one format.
  public struct Format: Codable, Equatable, Sendable {
    /// The wire format, `zstd/1`.
    public var name: String
    /// Pages with contents.
    public var pages: UInt64
    /// Bytes of their payload on the wire.
    public var payload: UInt64

    /// Of a format in which so much was moved.
    public init(name: String, pages: UInt64, payload: UInt64) {
      (self.name, self.pages, self.payload) = (name, pages, payload)
    }
  }

  /// A standby's checkpoints.
  public struct Checkpoints: Codable, Equatable, Sendable {
    /// The last committed one; 0 before the first: the end of precopy.
    public var number: Int
    /// When that was, in seconds since 1970.
    public var committed: Double
    /// From REPLY to LOADED: how long the guest stood still, as far as a standby can tell.
    public var pause = Buckets()
    /// From VMSTATE_SEND to the last byte of device state.
    public var transfer = Buckets()
    /// From there to the commit.
    public var commit = Buckets()
    /// Pages of all of them.
    public var pages = 0
    /// Bytes that the cache had to keep for the last one, and for the largest.
    public var cacheBytes = 0
    /// Bytes of the largest.
    public var cachePeak = 0

    /// Of a standby that has committed nothing since so many seconds since 1970.
    public init(number: Int, committed: Double) {
      (self.number, self.committed) = (number, committed)
    }

    enum CodingKeys: String, CodingKey {
      case number, committed, pause, transfer, commit, pages
      case cacheBytes = "cache-bytes"
      case cachePeak = "cache-peak"
    }
  }

  /// A netdev whose packets wait for their checkpoints.
  public struct Net: Codable, Equatable, Sendable {
    /// Its id.
    public var id: String
    /// Packets that wait.
    public var held: Int
    /// Bytes of them.
    public var bytes: Int
    /// Packets that have left.
    public var released: Int
    /// Packets for which there was no room.
    public var dropped: Int

    /// Of a netdev with so many packets.
    public init(id: String, held: Int, bytes: Int, released: Int, dropped: Int) {
      (self.id, self.held, self.bytes) = (id, held, bytes)
      (self.released, self.dropped) = (released, dropped)
    }
  }

  /// Whose it is.
  public var role: Role
  /// Of the program.
  public var version = ""
  /// The process that does the work.
  public var pid = getpid()
  /// When it began, in seconds since 1970.
  public var started = 0.0
  /// When this was true.
  public var updated: Double
  /// What it is doing, in a word: `listening`, `receiving`, `committed`.
  public var phase: String
  /// The guest's machine type.
  public var machine: String?
  /// Bytes of the guest's RAM.
  public var ram: UInt64?
  /// Bytes of it that the first pass has still to bring.
  public var remaining: UInt64?
  /// The connections, the main channel first.
  public var channels: [Channel] = []
  /// The backends that pages go through.
  public var backends: [String] = []
  /// A standby's.
  public var checkpoints: Checkpoints?
  /// A standby's, or those of a guest that is protected.
  public var disks: [DiskReport]?
  /// Of a guest that is protected.
  public var nets: [Net]?
  /// Whether the guest can be continued from here, or (`protect`) by its standby.
  public var failoverReady: Bool?
  /// Connections that were turned away.
  public var strangers: Int?
  /// How often protection was lost.
  public var losses: Int?
  /// What went wrong last.
  public var error: String?

  enum CodingKeys: String, CodingKey {
    case role, version, pid, started, updated, phase, machine, ram, remaining, channels, backends
    case checkpoints, disks, nets, strangers, losses, error
    case failoverReady = "failover-ready"
  }

  /// Of a role that has nothing more to say yet. Of which program it is, and since when, is for
  /// whoever tells it (`FiguresDesk`).
  public init(_ role: Role, phase: String) {
    (self.role, self.phase) = (role, phase)
    updated = Date().timeIntervalSince1970
  }

  /// As it is when the role has ended.
  package func ended(because failure: Failure?) -> RoleStatus {
    var last = self
    (last.phase, last.error) = ("ended", failure?.description)
    return last
  }

  /// The role has ended.
  var hasEnded: Bool { phase == "ended" }

  /// Or is about to, without its guest.
  var isEnding: Bool { hasEnded || phase == "failing" }
}

extension RoleStatus.Channel {
  /// - Parameter format: what is called so by method bits.
  init(
    _ id: String, received: Counters?, sent: Counters?, format: (MultiFDMethod) -> String
  ) {
    // Pages are the same on both sides; as payload they are what goes on to the guest.
    let pages = sent ?? received
    self.init(
      id: id, received: received?.bytes ?? 0, sent: sent?.bytes ?? 0,
      payload: pages?.payloadBytes ?? 0, packets: (received ?? sent)?.packets ?? 0,
      normal: (received ?? sent)?.normal ?? 0, duplicate: (received ?? sent)?.duplicate ?? 0,
      formats: pages.map { counters in
        (0..<Counters.formatCount).compactMap { index in
          let (pages, payload) = counters.format(index)
          guard pages > 0 else { return nil }
          return RoleStatus.Format(
            name: format(MultiFDMethod(index: index)), pages: pages, payload: payload)
        }
      } ?? [])
  }
}
