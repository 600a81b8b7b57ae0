import Glibc
import Memory
import Observe
import Store
import Transport
import Wire

/// The main channel of a hand-over: the stream around the pages, zero pages, and without multifd
/// the pages too.
final class MainSender {
  private let socket: Socket
  private let manifest: Manifest
  private let source: PageSource
  private let channels: Int
  private var stream: GuestStream
  let counters = Counters()

  /// How the sync points after START are told.
  var sync: SyncPoints

  /// PINGs that are answered when all before them has been taken.
  enum Ping {
    /// Behind the configuration: loading has begun, so all connections are there.
    static let begin: UInt32 = 1
    /// Behind START, when it is not known how the destination syncs.
    static let start: UInt32 = 2
    /// Behind the RAM: all of it is there, and nothing yet that could start the guest.
    static let ram: UInt32 = 3
  }

  init(
    _ socket: Socket, _ manifest: Manifest, _ source: PageSource, sync: SyncPoints, channels: Int
  ) {
    self.socket = socket
    self.manifest = manifest
    self.source = source
    self.sync = sync
    self.channels = channels
    stream = GuestStream(manifest)
  }

  /// Everything before the first section.
  func begin() throws {
    stream.head(ping: Ping.begin)
    try send()
  }

  /// Early sections and START, with the block list.
  func start(earlyState: [UInt8]) throws {
    stream.start(earlyState: earlyState, flush: flushes)
    if sync == .unknown && channels > 0 { stream.encoder.command(.ping(Ping.start)) }
    try send()
  }

  /// The PART section: zero pages as the channels find them, or without channels every page.
  func sendPages() throws {
    stream.beginRAM(.part)
    if channels == 0 { try sendPlainPages() }
    while let zero = source.takeZero() {
      for piece in zero { try sendZero(piece) }
    }
    // Between sections there is no sync in flush mode; a legacy receiver syncs at every one's end.
    stream.endRAM()
    try send()
  }

  /// The END section.
  func endPages() throws {
    stream.beginRAM(.end)
    stream.endRAM(flush: flushes)
    stream.encoder.command(.ping(Ping.ram))
    try send()
  }

  /// The devices, and the end of the stream. After this the guest may run there.
  func end(_ guest: HeldGuest) throws {
    stream.devices(of: guest)
    try send()
  }

  // MARK: Inside

  /// Whether sync points are told by a flag of their own.
  private var flushes: Bool { channels > 0 && sync == .flush }

  private func sendZero(_ piece: PageSource.Piece) throws {
    for offset in stride(
      from: piece.range.lowerBound, to: piece.range.upperBound, by: manifest.pageSize)
    {
      stream.encoder.zero(block: piece.block, offset: UInt64(offset))
      if stream.encoder.bytes.count >= 1 << 16 { try send() }
    }
    if channels == 0 { counters.zeroPages(piece.range.count / manifest.pageSize) }
  }

  /// Records and pages in turns, as few system calls as possible, no page copied.
  private func sendPlainPages() throws {
    let capacity = MultiFDPacketHeader.capacity(pageSize: manifest.pageSize)
    try withUnsafeTemporaryAllocation(of: iovec.self, capacity: 2 * capacity) { pieces in
      while let piece = source.piece() {
        try send()
        let block = source.blocks[piece.block]
        var ends: [(record: Int, page: Int)] = []
        let zero = source.scan(piece) { offset in
          stream.encoder.pageRecord(block: piece.block, offset: UInt64(offset))
          ends.append((stream.encoder.bytes.count, offset))
        }
        try stream.encoder.bytes.withUnsafeBytes { records in
          var start = 0
          for (index, end) in ends.enumerated() {
            // sendmsg(2) only reads: the casts promise nothing that is broken. Records and pages
            // stay where they are until it returns.
            pieces[2 * index] = iovec(
              iov_base: UnsafeMutableRawPointer(mutating: records.baseAddress! + start),
              iov_len: end.record - start)
            pieces[2 * index + 1] = iovec(
              iov_base: block.base + end.page, iov_len: block.pageSize)
            start = end.record
          }
          try socket.write(
            pieces: UnsafeMutableBufferPointer(rebasing: pieces[..<(2 * ends.count)]))
        }
        counters.moved(bytes: stream.encoder.bytes.count)
        for _ in ends { counters.page(bytes: block.pageSize) }
        stream.encoder.clear()
        source.foundZero(zero)
      }
      source.workerDone()
    }
  }

  private func send() throws {
    try stream.encoder.bytes.withUnsafeBytes { try socket.write($0) }
    counters.moved(bytes: stream.encoder.bytes.count)
    stream.encoder.clear()
  }
}
