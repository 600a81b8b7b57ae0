import Foundation

/// What the guest with disks knows (Tests/Guest/disks.c), found in the memory of one that does not
/// run: a store's `ram/pc.ram`.
public struct GuestTable: Sendable {
  /// The last completed write of a sector.
  public struct Entry: Sendable, Equatable {
    /// Its number; 0: none.
    public var seq: UInt64
    /// What it wrote; 0: zeroes.
    public var nonce: UInt64
  }

  /// A write that was being made: each of its sectors may have been written or not.
  public struct Flight: Sendable {
    /// Where.
    public var disk: Int
    /// Which sectors of it.
    public var sectors: Range<Int>
    /// What each of them has if it was written.
    public var entry: Entry
  }

  /// By disk, by sector.
  public let disks: [[Entry]]
  /// Writes that were being made.
  public let flights: [Flight]
  /// The number of the last write that was begun.
  public let issued: Int
  /// How many writes were completed.
  public let completed: Int
  /// The number of the last packet, by kind.
  public let sent: [PacketWitness.Kind: Int]
  /// The number of the last answer of its echo.
  public let echoed: Int

  /// Looks through a file of guest memory. Throws when there is not exactly one table in it.
  public init(ram path: String) throws {
    var pages: [Data] = []
    let file = try FileHandle(forReadingFrom: URL(fileURLWithPath: path))
    // Read, not mapped: to touch a hole of a mapped tmpfs file would fill it.
    while let piece = try file.read(upToCount: 1 << 20), !piece.isEmpty {
      for start in stride(from: 0, to: piece.count, by: Self.page) {
        let page = piece.dropFirst(start).prefix(Self.page)
        if page.starts(with: Self.infoMagic) || page.starts(with: Self.tableMagic) {
          pages.append(Data(page))
        }
      }
    }
    let infos = pages.filter { $0.starts(with: Self.infoMagic) && $0.word(1) != 0 }
    guard infos.count == 1, let info = infos.first else {
      throw LabError("\(infos.count) tables of a guest in \(path)")
    }
    let count = Int(info.word(2))
    guard (0...8).contains(count) else { throw LabError("\(count) disks in \(path)") }
    var disks = (0..<count).map {
      [Entry?](repeating: nil, count: Int(min(info.word(4 + $0), 1 << 24)))
    }
    for page in pages where page.starts(with: Self.tableMagic) && page.word(1) == info.word(1) {
      let (disk, first) = (
        Int(page.word(2) & 0xffff_ffff), Int(page.word(2) >> 32) * Self.entries
      )
      guard disk < count, first < disks[disk].count, disks[disk][first] == nil else {
        throw LabError("a page of the table is in \(path) twice, or is none")
      }
      for index in 0..<min(Self.entries, disks[disk].count - first) {
        disks[disk][first + index] = Entry(
          seq: page.word(4 + 2 * index), nonce: page.word(5 + 2 * index))
      }
    }
    self.disks = try disks.map { entries in
      let known = entries.compactMap { $0 }
      guard known.count == entries.count else {
        throw LabError("\(entries.count - known.count) sectors are in no table in \(path)")
      }
      return known
    }
    issued = Int(info.word(12))
    completed = Int(info.word(13))
    sent = Dictionary(
      uniqueKeysWithValues: PacketWitness.Kind.allCases.map {
        ($0, Int(info.word(14 + $0.rawValue)))
      })
    echoed = Int(info.word(17))
    flights = (0..<Int(min(info.word(3), 16))).compactMap { writer in
      let at = 18 + 6 * writer
      guard info.word(at + 5) != 0 else { return nil }
      let first = Int(info.word(at + 1))
      return Flight(
        disk: Int(info.word(at)), sectors: first..<first + Int(info.word(at + 2)),
        entry: Entry(seq: info.word(at + 3), nonce: info.word(at + 4)))
    }
  }

  private static let infoMagic = Data("MFDINFO1".utf8)
  private static let tableMagic = Data("MFDTABL1".utf8)
  private static let page = 4096
  /// Of a page of the table.
  private static let entries = 254
}

extension Data {
  /// The 64-bit word `index` of what the guest has written, from this value's own beginning.
  func word(_ index: Int) -> UInt64 {
    withUnsafeBytes { bytes in
      // A load that does not lie within the bytes is a fault of the caller's, and traps.
      UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: 8 * index, as: UInt64.self))
    }
  }
}
