import COLO
import Memory
import System
import Wire

/// Where a packet's pages go.
public protocol PageDestination {
  /// Finds a block.
  ///
  /// - Returns: its number and its bytes; nil if there is none of that name.
  func block(named name: UnsafeRawBufferPointer) -> (index: Int, length: UInt64)?
  /// Readies memory for a packet's pages and says where it is; zero pages are cleared. The offsets
  /// lie in their block.
  func prepare(_ packet: inout Packet) throws
  /// The pages of a packet are there.
  func process(_ packet: borrowing Packet) throws
}

/// The stage takes pages for the guest, or for the cache in front of it.
extension COLOStage: PageDestination {
  /// One of the guest's.
  public func block(named name: UnsafeRawBufferPointer) -> (index: Int, length: UInt64)? {
    let text = String(decoding: name, as: UTF8.self)
    return guest.firstIndex { $0.name == text }.map { ($0, UInt64(guest[$0].length)) }
  }

  /// The guest's memory, or the cache's.
  public func prepare(_ packet: inout Packet) throws {
    let room = packet.roomForPlaces
    let target = try prepare(
      block: packet.block, normal: packet.normal, zero: packet.zero, slots: room)
    if target.normal.baseAddress == UnsafePointer(room.baseAddress) {
      packet.lies(elsewhere: target.host)
    } else {
      packet.lies(inBlock: target.host)
    }
  }

  /// In precopy a mirror's pages go to the guest too.
  public func process(_ packet: borrowing Packet) throws {
    try process(block: packet.block, normal: packet.normal, zero: packet.zero)
  }
}

/// Pages that are on their way to somebody else, or that nobody keeps: one packet's, one after the
/// other.
public final class ScratchPages: PageDestination {
  /// Bytes of a page.
  public let pageSize: Int
  private let image: UnsafeMutableRawBufferPointer
  private let list: UnsafeMutableBufferPointer<UInt64>

  /// Room for a packet of pages.
  public init(pageSize: Int) {
    self.pageSize = pageSize
    let capacity = MultiFDPacketHeader.capacity(pageSize: pageSize)
    // Both are this object's, with room for every page that a header can name.
    image = .allocate(byteCount: capacity * pageSize, alignment: 4096)
    list = .allocate(capacity: capacity)
    for index in 0..<capacity { list[index] = UInt64(index * pageSize) }
  }

  deinit {
    image.deallocate()
    list.deallocate()
  }

  /// Where the pages lie, one after the other: valid as long as this object.
  public var room: UnsafeMutableRawBufferPointer { image }

  var host: UnsafeMutableRawPointer { image.baseAddress! }

  /// Where so many pages lie, counted from `host`.
  func places(_ count: Int) -> UnsafeBufferPointer<UInt64> {
    UnsafeBufferPointer(rebasing: UnsafeBufferPointer(list)[..<count])
  }

  /// Any block will do whose name is terminated; its length is not known here.
  public func block(named name: UnsafeRawBufferPointer) -> (index: Int, length: UInt64)? {
    name.count < 256 ? (0, .max) : nil
  }

  /// One page after the other.
  public func prepare(_ packet: inout Packet) {
    _ = packet.roomForPlaces.update(from: places(Int(packet.header.normalCount)))
    packet.lies(elsewhere: host)
  }

  /// Nothing more is to be done.
  public func process(_ packet: borrowing Packet) {}
}
