import Memory
import Store
import Transport
import Wire

/// What a guest that comes over a link has of an older version: its RAM blocks as they begin.
///
///     the older version's files --> copies, in the new store --> hashes --> the source
///
/// The source then sends what differs from the copies.
final class Heritage {
  /// The older version's folder.
  let path: String
  /// Bytes that were sent.
  private(set) var bytes: UInt64 = 0
  /// When the source was told something last.
  private var told = ContinuousClock.now
  /// By name; those that are not the guest's yet.
  private var blocks: [String: RAMBlock] = [:]

  /// Makes the copies, and tells the far side what is in them.
  ///
  /// - Parameter key: what it wants them hashed with.
  init(
    of reference: Store.Reference, in store: Store, _ key: PageHashKey, to socket: Socket,
    pageSize: Int
  ) throws {
    path = reference.path
    var encoder = LinkReferenceEncoder(
      reference.names.map { RAMBlockDescription(name: $0.name, usedLength: $0.length) })
    // Its beginning at once, and then something every second: a slow disk, or pages that are all
    // zero and so next to nothing to tell, are no silence.
    try flush(&encoder, to: socket)
    for (index, block) in reference.names.enumerated() {
      blocks[block.name] = try reference.begin(index, in: store) { stretch in
        switch stretch {
        case .hole(let pages): encoder.zero(pages: pages)
        case .pages(let bytes): Self.tell(bytes, key, pageSize, &encoder)
        }
        if encoder.bytes.count >= 1 << 16 || .now - told > .seconds(1) {
          try flush(&encoder, to: socket)
        }
      }
    }
    try flush(&encoder, to: socket)
  }

  /// A block as it begins, if it is one of the guest's: of the same name and length.
  func take(_ block: RAMBlockDescription) -> RAMBlock? {
    guard let begun = blocks.removeValue(forKey: block.name),
      begun.length == Int(clamping: block.usedLength)
    else { return nil }
    return begun
  }

  /// The guest has taken its blocks: the rest goes.
  func drop(from store: Store) {
    for name in blocks.keys { store.removeBlock(named: name) }
    blocks = [:]
  }

  /// Tells of pages: runs of those that are zero, which need no hash, and of others.
  private static func tell(
    _ bytes: UnsafeRawBufferPointer, _ key: PageHashKey, _ size: Int,
    _ encoder: inout LinkReferenceEncoder
  ) {
    var zero = 0
    var hashes: [PageHash] = []
    for at in stride(from: 0, to: bytes.count, by: size) {
      let page = UnsafeRawBufferPointer(rebasing: bytes[at..<at + size])
      // Whole pages of a buffer that is aligned like pages.
      if ZeroPage.isZero(page.baseAddress!, count: size) {
        encoder.pages(hashes)
        hashes.removeAll(keepingCapacity: true)
        zero += 1
      } else {
        encoder.zero(pages: zero)
        zero = 0
        hashes.append(key.hash(page))
      }
    }
    encoder.pages(hashes)
    encoder.zero(pages: zero)
  }

  private func flush(_ encoder: inout LinkReferenceEncoder, to socket: Socket) throws {
    try encoder.bytes.withUnsafeBytes { try socket.write($0) }
    bytes += UInt64(encoder.bytes.count)
    encoder.clear()
    told = .now
  }
}
