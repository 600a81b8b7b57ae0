import COLO
import Foundation
import Memory
import Migration
import Store
import Transport
import Wire

/// What the main channel says beside pages: checked, answered, kept.
extension MainReceiver {
  func check(_ configuration: Configuration) throws {
    for capability in configuration.capabilities {
      throw Failure(
        .refused, "main channel", "the source uses the capability \(capability)",
        hint: "turn it off: a guest is held with all of its RAM")
    }
    if let expected = options.uuid, let uuid = configuration.uuid, uuid != expected {
      throw Failure(.corrupt, "main channel", "the guest's UUID is \(uuid), expected \(expected)")
    }
    if let version = MachineVersion(machine: configuration.machine),
      version <= .lastWithAbruptEnds
    {
      session.acceptAbruptEnds()
    }
  }

  func answer(_ command: Command) throws {
    switch command {
    case .ping(let value):
      guard sourceListens else { break }
      try socket.write(ReturnPathMessage.pong(value).encode())
    case .enableCOLO:
      try delegate.coloBegins()
    case .switchoverStart: stopped = .now
    case .openReturnPath:
      // A source with the capability switchover-ack waits for one, and does not say that it does.
      let version = MachineVersion(machine: decoder.configuration?.machine ?? "")
      let expected = version.map(MachineVersion.withUnaskedSwitchoverAck.contains) ?? false
      guard options.switchoverAck || expected else { break }
      try acknowledgeSwitchover()
    }
  }

  /// Before each PART: where the machine type does not tell, the source's behaviour does.
  func watchForSwitchover() throws {
    guard sourceListens, switchover.isAwaited(pages: session.pages) else { return }
    try acknowledgeSwitchover()
  }

  private func acknowledgeSwitchover() throws {
    switchover.isAcknowledged = true
    try socket.write(ReturnPathMessage.switchoverAck.encode())
  }

  func makeMemory(_ list: [RAMBlockDescription]) throws {
    let size = options.limits.pageSize
    var blocks: [RAMBlock] = []
    for block in list {
      guard block.usedLength > 0, block.usedLength % UInt64(size) == 0,
        block.usedLength <= UInt64(Int.max)
      else {
        throw WireError(
          .badLength, at: decoder.position,
          "RAM block '\(block.name)' has \(block.usedLength) bytes, no multiple of a page")
      }
      blocks.append(
        try heritage?.take(block)
          ?? store.makeBlock(
            Manifest.Block(name: block.name, length: block.usedLength), pageSize: size))
    }
    heritage?.drop(from: store)
    let stage = COLOStage(
      guest: blocks, cache: try delegate.makeCache(store, blocks, pageSize: size))
    self.stage = stage
    let filling = stage.fillingBlocks
    preallocator = Preallocator(
      filling,
      threads: options.preallocationThreads ?? Preallocator.usefulThreads(for: filling))
    session.publish(stage)
  }

  func section(_ header: SectionHeader, _ size: Int) throws {
    guard header.kind == .full else {
      throw Failure(
        .refused, "main channel", "cannot hold what '\(header.name)' sends in several parts",
        hint: "only RAM may be iterated; detach the device or turn off the capability")
    }
    guard !session.isHeld else {
      throw Failure(
        .corrupt, "main channel", "the section '\(header.name)' among a checkpoint's pages")
    }
    let limit = options.limits.maxDeviceState
    guard earlyState.count + deviceState.count + size <= limit else {
      throw WireError(
        .limitExceeded, at: decoder.position, "the devices have more than \(limit) bytes of state")
    }
    if ramIsComplete {
      deviceState.append(contentsOf: input.bytes[..<size])
    } else {
      earlyState.append(contentsOf: input.bytes[..<size])
    }
  }
}
