// The reference: what the answering side of a link holds of the guest already, page by page, as
// hashes (docs/LINK.md section 5.1). It follows the answer on main.

/// Writes a reference: appends to an array that the caller sends.
public struct LinkReferenceEncoder: Sendable {
  static let magic = Array("MFDLREFR".utf8)
  /// Of a run's word: its pages are zero, and no hashes follow.
  static let zeroRun: UInt32 = 1 << 31

  /// What was appended and not yet sent.
  public private(set) var bytes: [UInt8] = []

  /// A reference of these blocks: their names are 1 to 255 printable bytes, their lengths whole
  /// pages. Their pages are then appended block by block.
  public init(_ blocks: [RAMBlockDescription]) {
    bytes = Self.magic
    bytes.append(bigEndian: UInt32(blocks.count))
    for block in blocks {
      bytes.append(counted: block.name.utf8)
      bytes.append(bigEndian: block.usedLength)
    }
  }

  /// The next pages are zero.
  public mutating func zero(pages: Int) {
    var left = pages
    while left > 0 {
      let count = min(left, Int(Self.zeroRun - 1))
      bytes.append(bigEndian: UInt32(count) | Self.zeroRun)
      left -= count
    }
  }

  /// The next pages have these hashes.
  public mutating func pages(_ hashes: [PageHash]) {
    guard !hashes.isEmpty else { return }
    precondition(hashes.count < Int(Self.zeroRun), "a run has fewer pages")
    bytes.append(bigEndian: UInt32(hashes.count))
    for hash in hashes {
      // Both pointers are to copies on the stack and do not leave the closures.
      withUnsafeBytes(of: hash.first.littleEndian) { bytes.append(contentsOf: $0) }
      withUnsafeBytes(of: hash.second.littleEndian) { bytes.append(contentsOf: $0) }
    }
  }

  /// Forgets the bytes so far, which were sent from `bytes`, and keeps their memory.
  public mutating func clear() { bytes.removeAll(keepingCapacity: true) }
}

/// Reads a reference, run by run, as it comes. It keeps the list of blocks and nothing else.
public struct LinkReferenceDecoder: Sendable {
  /// What a reference consists of.
  public enum Element: Equatable, Sendable {
    /// The blocks, once, first.
    case blocks([RAMBlockDescription])
    /// Pages of a block that are zero, by their numbers.
    case zero(block: Int, pages: Range<Int>)
    /// Pages of a block whose hashes are the last of the bytes consumed, 16 for each.
    case hashes(block: Int, pages: Range<Int>)
  }

  /// What `next` made of the bytes.
  public enum Step: Equatable, Sendable {
    /// Nothing yet: at least so many bytes beyond those given are needed.
    case needMore(atLeast: Int)
    /// An element of `consumed` bytes.
    case element(Element, consumed: Int)
    /// All pages of all blocks were told: the return path begins here.
    case end
  }

  private let limits: StreamDecoder.Limits
  /// The blocks and their numbers of pages; nil before they have come.
  private var blocks: [Int]?
  private var block = 0
  private var page = 0
  /// Hashes of the current run that have not come yet.
  private var due = 0
  /// The next byte of the connection.
  public private(set) var position: UInt64

  /// A decoder at the byte of the connection behind the answer.
  ///
  /// - Parameter limits: of blocks, RAM and the size of a page.
  public init(limits: StreamDecoder.Limits, at position: UInt64 = 0) {
    self.limits = limits
    self.position = position
  }

  /// Decodes what `bytes`, the next of the connection, begin with.
  public mutating func next(_ bytes: UnsafeRawBufferPointer) throws(WireError) -> Step {
    guard let blocks else { return try head(bytes) }
    guard block < blocks.count else { return .end }
    if due > 0 { return hashes(bytes, from: 0) }
    guard bytes.count >= 4 else { return .needMore(atLeast: 4 - bytes.count) }
    let word = bytes.u32(0)
    let count = Int(word & ~LinkReferenceEncoder.zeroRun)
    guard count > 0, count <= blocks[block] - page else {
      throw WireError(
        .badLength, at: position,
        "a run of \(count) pages of the reference, where its block has \(blocks[block] - page) left"
      )
    }
    guard word & LinkReferenceEncoder.zeroRun == 0 else {
      return step(.zero(block: block, pages: page..<page + count), count, 4)
    }
    guard bytes.count >= 4 + PageHash.size else {
      return .needMore(atLeast: 4 + PageHash.size - bytes.count)
    }
    due = count
    return hashes(bytes, from: 4)
  }

  /// As many hashes of the run as are here.
  private mutating func hashes(_ bytes: UnsafeRawBufferPointer, from start: Int) -> Step {
    let count = min(due, (bytes.count - start) / PageHash.size)
    guard count > 0 else { return .needMore(atLeast: PageHash.size - bytes.count) }
    due -= count
    return step(
      .hashes(block: block, pages: page..<page + count), count, start + count * PageHash.size)
  }

  private mutating func step(_ element: Element, _ pages: Int, _ consumed: Int) -> Step {
    page += pages
    if page == blocks![block] { (block, page) = (block + 1, 0) }
    position += UInt64(consumed)
    return .element(element, consumed: consumed)
  }

  private mutating func head(_ bytes: UnsafeRawBufferPointer) throws(WireError) -> Step {
    let magic = LinkReferenceEncoder.magic
    guard magic.starts(with: bytes.prefix(magic.count)) else {
      throw WireError(.badMagic, at: position, "no reference follows the answer, as it says")
    }
    var cursor = Cursor(bytes, from: min(bytes.count, magic.count))
    guard let count = cursor.u32() else { return .needMore(atLeast: 12 - bytes.count) }
    guard count > 0, count <= limits.maxBlocks else {
      throw WireError(
        .limitExceeded, at: position + 8,
        "a reference of \(count) RAM blocks, 1 to \(limits.maxBlocks) are allowed")
    }
    var list: [RAMBlockDescription] = []
    var names: Set<String> = []
    var total: UInt64 = 0
    for _ in 0..<count {
      let start = position + UInt64(cursor.offset)
      guard let name = try cursor.name(of: "a RAM block", at: position), let length = cursor.u64()
      else { return .needMore(atLeast: cursor.missing) }
      guard names.insert(name.text).inserted else {
        throw WireError(.mismatch, at: start, "the RAM block \(name.text) is there twice")
      }
      guard length > 0, length % UInt64(limits.pageSize) == 0 else {
        throw WireError(
          .badLength, at: start, "RAM block \(name.text) of \(length) bytes, which are no pages")
      }
      let (sum, overflow) = total.addingReportingOverflow(length)
      guard !overflow, sum <= limits.maxRAM else {
        throw WireError(
          .limitExceeded, at: start, "a reference of more than \(limits.maxRAM) bytes of RAM",
          limit: .ram)
      }
      total = sum
      list.append(RAMBlockDescription(name: name.text, usedLength: length))
    }
    // Lengths are at most `maxRAM`.
    blocks = list.map { Int($0.usedLength / UInt64(limits.pageSize)) }
    position += UInt64(cursor.offset)
    return .element(.blocks(list), consumed: cursor.offset)
  }
}
