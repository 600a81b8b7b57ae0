/// A packet that has an owner: while it is in flight, that is whoever works on it.
public final class PacketBox {
  /// What is in it.
  public var packet: Packet
  /// Memory for its pages, of whoever keeps them nowhere else; made when it is asked for.
  public private(set) lazy var pages = ScratchPages(pageSize: packet.pageSize)

  init(pageSize: Int) { packet = Packet(pageSize: pageSize) }
}

/// The packets of one channel: as many as it ever had at a time. It belongs to one thread.
public final class PacketPool {
  /// Bytes of a page.
  public let pageSize: Int
  private var spare: [PacketBox] = []

  /// An empty one.
  public init(pageSize: Int) { self.pageSize = pageSize }

  /// One that nobody has, with whatever its last owner has left in it.
  public func take() -> PacketBox { spare.popLast() ?? PacketBox(pageSize: pageSize) }

  /// Gives one back.
  public func put(_ box: PacketBox) { spare.append(box) }
}
