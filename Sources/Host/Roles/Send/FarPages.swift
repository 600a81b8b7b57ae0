import Memory
import Migration
import Transport
import Wire

/// What the far side of a link has of the guest already: the reference that followed its answer,
/// as far as it is of the guest's blocks.
///
/// Which pages are the same is for every channel to find out of those that it looks at: a page here
/// is hashed when it is about to be sent, and one that is zero never.
final class FarPages: Sendable {
  /// One block's pages, in runs.
  private struct Block {
    /// The first page of each run.
    var starts: [Int] = []
    /// Where the hashes of each run begin; -1: its pages are zero.
    var firsts: [Int] = []
    var hashes: [PageHash] = []

    /// A run goes on where another of its kind ends.
    mutating func add(_ pages: Range<Int>, areZero: Bool) {
      if let last = firsts.last, (last < 0) == areZero { return }
      starts.append(pages.lowerBound)
      firsts.append(areZero ? -1 : hashes.count)
    }

    /// The hash of a page; nil where it is zero. All pages are in runs.
    func hash(of page: Int) -> PageHash? {
      var (low, high) = (0, starts.count)
      while high - low > 1 {
        let middle = (low + high) / 2
        if starts[middle] <= page { low = middle } else { high = middle }
      }
      return firsts[low] < 0 ? nil : hashes[firsts[low] + page - starts[low]]
    }
  }

  private let key: PageHashKey
  /// The hash of a page of zeroes, should anybody send it.
  private let zero: PageHash
  private let pageSize: Int
  /// By the guest's own; nil: the far side begins with an empty one.
  private let blocks: [Block?]
  /// Bytes that it took to know.
  let bytes: UInt64

  /// Reads a reference from the main connection, where nothing else may come.
  ///
  /// - Parameter guest: the blocks here; others of the far side's are passed over.
  init(
    from socket: Socket, _ key: PageHashKey, for guest: [RAMBlock], pageSize: Int
  ) throws {
    self.key = key
    self.pageSize = pageSize
    zero = [UInt8](repeating: 0, count: pageSize).withUnsafeBytes { key.hash($0) }
    var limits = StreamDecoder.Limits()
    limits.pageSize = pageSize
    var decoder = LinkReferenceDecoder(limits: limits)
    var input = InputBuffer(socket)
    var blocks = [Block?](repeating: nil, count: guest.count)
    /// By the far side's number.
    var ours: [Int?] = []
    reading: while true {
      switch try decoder.next(input.bytes) {
      case .end: break reading
      case .needMore(let missing):
        guard try input.require(input.bytes.count + missing, idle: false) else {
          throw TransportError(.closed, "\(socket.peer) closed the connection inside a reference")
        }
      case .element(let element, let consumed):
        switch element {
        case .blocks(let list):
          ours = list.map { far in
            guest.firstIndex { $0.name == far.name && UInt64($0.length) == far.usedLength }
          }
          for case let index? in ours { blocks[index] = Block() }
        case .zero(let block, let pages):
          if let index = ours[block] { blocks[index]!.add(pages, areZero: true) }
        case .hashes(let block, let pages):
          guard let index = ours[block] else { break }
          blocks[index]!.add(pages, areZero: false)
          let start = consumed - pages.count * PageHash.size
          for number in 0..<pages.count {
            blocks[index]!.hashes.append(
              PageHash(input.bytes, at: start + number * PageHash.size))
          }
        }
        input.consume(consumed)
      }
    }
    guard input.bytes.isEmpty else {
      throw WireError(
        .outOfOrder, at: decoder.position, "the far side goes on behind its reference unasked")
    }
    self.blocks = blocks
    bytes = decoder.position
  }

  /// The hash of what the far side has for a page; nil where that is zero.
  func hash(at offset: Int, of block: Int) -> PageHash? {
    blocks[block]?.hash(of: offset / pageSize)
  }

  /// Whether the far side has a page, which is not zero, as it is here.
  func has(_ page: UnsafeRawBufferPointer, at offset: Int, of block: Int) -> Bool {
    guard let hash = self.hash(at: offset, of: block) else { return false }
    return key.hash(page) == hash
  }

  /// The hash of a page.
  func hash(_ page: UnsafeRawBufferPointer) -> PageHash { key.hash(page) }

  /// Of zero pages here those that the far side has to be told of: where it may have others.
  func untold(_ piece: PageSource.Piece) -> [PageSource.Piece] {
    guard let block = blocks[piece.block] else { return [piece] }
    var pieces: [PageSource.Piece] = []
    for offset in stride(from: piece.range.lowerBound, to: piece.range.upperBound, by: pageSize) {
      guard let hash = block.hash(of: offset / pageSize), hash != zero else { continue }
      if pieces.last?.range.upperBound == offset {
        pieces[pieces.count - 1].range =
          pieces[pieces.count - 1].range.lowerBound..<offset + pageSize
      } else {
        pieces.append(PageSource.Piece(block: piece.block, range: offset..<offset + pageSize))
      }
    }
    return pieces
  }
}
