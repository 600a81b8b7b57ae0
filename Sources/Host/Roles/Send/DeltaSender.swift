import Migration
import Wire

/// What a channel sends as differences: pages of which this side knows, by its hash, what the far
/// side has for them. A packet of its own beside the channel's.
final class DeltaSender {
  private let encoder: PacketEncoder
  private let far: FarPages
  private let old: OldPages
  private let versions: VersionedPages
  private let pageSize: Int
  private var packet: Packet
  /// Pages that were taken.
  private(set) var pages = 0

  init(_ encoder: PacketEncoder, _ far: FarPages, _ old: OldPages, pageSize: Int) {
    self.encoder = encoder
    self.far = far
    self.old = old
    self.pageSize = pageSize
    versions = VersionedPages(pageSize: pageSize)
    packet = Packet(pageSize: pageSize)
  }

  /// It is full.
  var isFull: Bool { packet.normal.count == packet.capacity }

  /// Pages of another block follow.
  func begin(_ block: Int, named name: String) {
    packet.begin(block: block, named: name, host: nil)
    versions.hold(&packet)
  }

  /// Takes a page, if its old version here is the far side's.
  ///
  /// - Parameter page: its contents.
  func takes(_ page: UnsafeRawPointer, at offset: Int) throws -> Bool {
    guard let hash = far.hash(at: offset, of: packet.block) else { return false }
    let place = packet.normal.count * pageSize
    // It is not full: both versions have room for another page.
    let before = UnsafeMutableRawBufferPointer(start: versions.old + place, count: pageSize)
    guard try old.read(before, of: packet.block, at: offset),
      far.hash(UnsafeRawBufferPointer(before)) == hash
    else { return false }
    (versions.new + place).copyMemory(from: page, byteCount: pageSize)
    packet.append(normal: UInt64(offset))
    pages += 1
    return true
  }

  /// Sends what it has.
  func flush(_ numbers: PacketWriter.Numbers, to writer: PacketWriter) throws {
    guard packet.hasPages else { return }
    packet.close(number: numbers.next())
    try writer.write(packet, with: encoder)
  }
}
