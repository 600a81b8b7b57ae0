/// The pages of a packet in two versions, each one page after the other: what they were and what
/// they become. For backends that encode one against the other.
///
/// Both are copies. What a page was must hold still while it is compared with, in a store that
/// somebody else may be using, and on the receive side it is the memory that is written.
public final class VersionedPages {
  private let pageSize: Int
  private let before: ScratchPages
  private let after: ScratchPages

  /// Room for a packet of pages.
  public init(pageSize: Int) {
    self.pageSize = pageSize
    before = ScratchPages(pageSize: pageSize)
    after = ScratchPages(pageSize: pageSize)
  }

  /// What pages were: valid as long as this object, as the next.
  public var old: UnsafeMutableRawPointer { before.host }
  /// What they become.
  public var new: UnsafeMutableRawPointer { after.host }

  /// Where so many pages lie, counted from `old` and from `new`.
  func places(_ count: Int) -> UnsafeBufferPointer<UInt64> { after.places(count) }

  /// A packet's pages lie here from now on; how many there will be is to be seen.
  public func hold(_ packet: inout Packet) {
    _ = packet.roomForPlaces.update(from: places(packet.capacity))
    packet.lies(elsewhere: new, reference: old)
  }

  /// Takes copies of what a packet's pages are, before they come.
  func keep(_ packet: borrowing Packet) {
    for (index, place) in packet.places.enumerated() {
      // The packet's destination has made its places memory; there is room here for as many pages
      // as a packet has.
      (old + index * pageSize).copyMemory(from: packet.host! + Int(place), byteCount: pageSize)
    }
  }

  /// Puts what they have become where it belongs.
  func write(_ packet: borrowing Packet) {
    for (index, place) in packet.places.enumerated() {
      // As above.
      (packet.host! + Int(place)).copyMemory(from: new + index * pageSize, byteCount: pageSize)
    }
  }
}
