/// Pages of one block in ascending order, whose records follow one another: what
/// ``StreamDecoder/pages(_:into:)`` finds in the bytes of a plain stream. No page is in it twice, so
/// it is a packet to whoever takes it.
public struct PageRun: ~Copyable {
  /// As many pages as a packet of multifd has.
  public static let capacity = 128

  /// The index of their block.
  public private(set) var block = 0
  /// Pages with contents.
  public private(set) var normalCount = 0
  /// Zero pages.
  public private(set) var zeroCount = 0
  /// The offset of the first page in its block.
  public private(set) var first: UInt64 = 0
  /// That of the last.
  public private(set) var last: UInt64 = 0
  // Owned by this value; room for `capacity` pages of each kind. What is beyond the counts is
  // initialized, too, and means nothing.
  private let normalOffsets: UnsafeMutableBufferPointer<UInt64>
  private let zeroOffsets: UnsafeMutableBufferPointer<UInt64>
  private let places: UnsafeMutableBufferPointer<Int>

  /// None yet.
  public init() {
    normalOffsets = .allocate(capacity: Self.capacity)
    zeroOffsets = .allocate(capacity: Self.capacity)
    places = .allocate(capacity: Self.capacity)
    normalOffsets.initialize(repeating: 0)
    zeroOffsets.initialize(repeating: 0)
    places.initialize(repeating: 0)
  }

  deinit {
    normalOffsets.deallocate()
    zeroOffsets.deallocate()
    places.deallocate()
  }

  /// Offsets in the block of the pages with contents. Valid until the next run is decoded.
  public var normal: UnsafeBufferPointer<UInt64> {
    UnsafeBufferPointer(rebasing: normalOffsets[..<normalCount])
  }

  /// Where the contents of each begin in the bytes that were decoded. Valid as long.
  public var contents: UnsafeBufferPointer<Int> {
    UnsafeBufferPointer(rebasing: places[..<normalCount])
  }

  /// Offsets in the block of the zero pages. Valid as long.
  public var zero: UnsafeBufferPointer<UInt64> {
    UnsafeBufferPointer(rebasing: zeroOffsets[..<zeroCount])
  }

  /// Whether there is no room for another page.
  var isFull: Bool { normalCount == Self.capacity || zeroCount == Self.capacity }

  mutating func begin(block: Int) {
    self.block = block
    (normalCount, zeroCount) = (0, 0)
  }

  mutating func append(normal offset: UInt64, contents place: Int) {
    note(offset)
    normalOffsets[normalCount] = offset
    places[normalCount] = place
    normalCount += 1
  }

  mutating func append(zero offset: UInt64) {
    note(offset)
    zeroOffsets[zeroCount] = offset
    zeroCount += 1
  }

  private mutating func note(_ offset: UInt64) {
    if normalCount + zeroCount == 0 { first = offset }
    last = offset
  }
}

extension StreamDecoder {
  /// Takes the records of a run of pages, with their contents, for as long as they are all in
  /// `bytes`, which begin at `position`: many at a time, where ``next(_:)`` takes one. Whatever is
  /// something else, wrong or not all here is left to `next`.
  ///
  /// - Returns: how many bytes are done with; 0 where no such record comes first.
  public mutating func pages(_ bytes: UnsafeRawBufferPointer, into run: inout PageRun) -> Int {
    run.begin(block: currentBlock)
    guard phase == .ram, currentBlock >= 0, pending == 0 else { return 0 }
    let pageSize = UInt64(limits.pageSize)
    var at = 0
    var least: UInt64 = 0
    // 9 bytes: the word and a fill byte.
    records: while bytes.count - at >= 9, !run.isFull {
      let word = bytes.u64(at)
      let offset = word & ~pageMask
      guard offset >= least, offset <= lastOffset else { break }
      switch word & pageMask {
      case RAMFlag.page | RAMFlag.continue:
        guard bytes.count - at - 8 >= limits.pageSize else { break records }
        run.append(normal: offset, contents: at + 8)
        at += 8 + limits.pageSize
      case RAMFlag.zero | RAMFlag.continue:
        guard bytes.u8(at + 8) == 0 else { break records }
        run.append(zero: offset)
        at += 9
      default: break records
      }
      // No overflow: the last page of a block begins below its length.
      least = offset + pageSize
    }
    position &+= UInt64(at)
    return at
  }
}
