import COLO
import Foundation
import Memory
import PluginAPI
import PluginLoader
import TestSupport
import Wire

/// Applies a script's steps to a COLO stage, page payloads through the real backends.
///
/// Packets of different channels may be applied by different threads at once.
public final class StageReplay: Sendable {
  /// What is replayed.
  public let script: StreamScript
  /// Where it goes: blocks in memory files.
  public let stage: COLOStage
  private let decoders: [PacketInput]

  /// Memory as the script's block list wants it, all zero.
  ///
  /// - Parameter cache: in which cache checkpoints are kept; beginning in precopy state. Nil: no
  ///   COLO.
  public init(_ script: StreamScript, cache: TestCache?) throws {
    self.script = script
    let guest = try script.blocks.map {
      try RAMBlock(
        memfd: $0.name, length: Int($0.usedLength), pageSize: script.decoder.limits.pageSize)
    }
    stage = COLOStage(guest: guest, cache: try cache?.make(for: guest) ?? .none)
    decoders = try script.channels.map { try PacketInput($0, of: script.channels.count) }
  }

  /// Applies one step. A checkpoint's completion copies nothing to the guest: that is the caller's.
  public func apply(_ step: StreamScript.Step) throws {
    switch step {
    case .page(let block, let offset, let bytes):
      try normalPage(block, offset) { page in
        script.main[bytes].withUnsafeBytes { page.copyMemory(from: $0) }
      }
    case .zero(let block, let offset, 0):
      try stage.receive(block, normal: [], zero: [offset]) { _ in }
    case .zero(let block, let offset, let fill):
      try normalPage(block, offset) { memset($0.baseAddress!, Int32(fill), $0.count) }
    case .packet(let channel, let index): try packet(channel, index)
    case .precopyComplete: if stage.state == .precopy { stage.enterCOLO() }
    case .marker, .checkpointBegin, .checkpointComplete: break
    }
  }

  /// Applies all of it, and copies each checkpoint to the guest when it is complete.
  public func run(_ schedule: Schedule = .mainFirst) throws {
    for step in script.steps(schedule) {
      try apply(step)
      if case .checkpointComplete = step, stage.state == .colo { try stage.flush() }
    }
  }

  private func packet(_ channel: Int, _ index: Int) throws {
    let packet = script.channels[channel].packets[index]
    guard packet.header.pageCount > 0 else { return }
    try stage.receive(packet.block, normal: packet.normal, zero: packet.zero) { target in
      try decoders[channel].receive(packet, into: target.host, normal: target.normal)
    }
  }

  private func normalPage(
    _ block: Int, _ offset: UInt64, _ fill: (UnsafeMutableRawBufferPointer) -> Void
  ) throws {
    try stage.receive(block, normal: [offset], zero: []) { target in
      // The decoder has checked that the page lies inside its block.
      fill(
        UnsafeMutableRawBufferPointer(
          start: target.host + Int(target.normal[0]), count: script.decoder.limits.pageSize))
    }
  }
}

extension COLOStage {
  /// Passes a packet through the stage.
  ///
  /// - Parameter contents: fills the normal pages where the stage wants them.
  public func receive(
    _ block: Int, normal: some Collection<UInt64>, zero: some Collection<UInt64>,
    contents: (Target) throws -> Void
  ) throws {
    let (normal, zero) = (Array(normal), Array(zero))
    var slots = [UInt64](repeating: .max, count: normal.count)
    try normal.withUnsafeBufferPointer { normal in
      try zero.withUnsafeBufferPointer { zero in
        try slots.withUnsafeMutableBufferPointer { slots in
          let target = try prepare(block: block, normal: normal, zero: zero, slots: slots)
          try contents(target)
          try process(block: block, normal: normal, zero: zero)
        }
      }
    }
  }

  /// A checkpoint is complete: copies it to the guest and frees its side of the cache.
  public func flush() throws {
    let sealed = seal()
    try redo(sealed)
    try forget(sealed)
  }
}

/// A channel's payloads through its backend. Belongs to one thread at a time.
final class PacketInput: PayloadSource, @unchecked Sendable {
  private let script: StreamScript.Channel
  private var channel: ReceiveChannel?
  private var method = MultiFDMethod.none
  private var payload: Range<Int> = 0..<0
  private let channels: Int

  init(_ script: StreamScript.Channel, of channels: Int) throws {
    self.script = script
    self.channels = channels
  }

  /// Decodes one packet.
  ///
  /// - Parameters:
  ///   - host: where its normal pages go.
  ///   - normal: their offsets there.
  func receive(
    _ packet: StreamScript.Packet, into host: UnsafeMutableRawPointer,
    normal: UnsafeBufferPointer<UInt64>
  ) throws {
    guard !normal.isEmpty else { return }
    if channel == nil {
      let backend = try TestBackends.loader.load(
        qemuMethod: packet.header.flags.method.rawValue, to: .receive)
      method = packet.header.flags.method
      channel = try backend.makeReceiver(
        id: script.id, channels: channels, pageSize: packet.header.pageSize,
        pageCount: MultiFDPacketHeader.capacity(pageSize: packet.header.pageSize),
        options: try backend.parse([]), source: self)
    }
    guard packet.header.flags.method == method else { throw LabError("the method changes") }
    payload = packet.payload
    try channel!.receive(
      host: host, normal: normal, zero: UnsafeBufferPointer(start: nil, count: 0),
      payloadSize: packet.payload.count, flags: packet.header.flags.rawValue,
      packetNumber: packet.header.packetNumber)
    guard payload.isEmpty else { throw LabError("\(payload.count) bytes of payload were not read") }
  }

  func read(into buffer: UnsafeMutableRawBufferPointer) throws {
    guard buffer.count <= payload.count else { throw LabError("more is read than there is") }
    buffer.copyBytes(from: script.bytes[payload.prefix(buffer.count)])
    payload = payload.dropFirst(buffer.count)
  }

  func readv(_ pieces: UnsafeBufferPointer<MultiFDIOVec>) throws {
    for piece in pieces {
      try read(into: UnsafeMutableRawBufferPointer(start: piece.iov_base, count: piece.iov_len))
    }
  }
}
