/// Packets in a file: what fuzzing found, or what an earlier version of a backend sent.
///
/// All numbers are little-endian. `MFDREC01`, then u32 and bytes for each of backend, version, wire
/// format and options (`key=value,…`); u32 page size, u32 page count, u64 round; u32 packets; each
/// packet: u32 pages, a u64 offset for each, u32 and bytes of payload, u32 hashes (0, or as many as
/// pages), a u64 for each.
struct Recording: Equatable {
  struct Entry: Equatable {
    var offsets: [UInt64]
    var payload: [UInt8]
    /// FNV-1a of each page; empty where nothing is known of the pages.
    var hashes: [UInt64] = []
  }

  var backend: String
  var version: String
  var wireFormat: String
  var options: [String: String] = [:]
  var pageSize: Int
  var pageCount: Int
  /// For `fuzz/encode`: which round; 0 elsewhere.
  var round: UInt64 = 0
  var entries: [Entry] = []

  private static let magic = Array("MFDREC01".utf8)

  init(_ library: Library, _ shape: Shape, options: [String: String] = [:]) {
    backend = library.name
    version = library.version
    wireFormat = library.wireFormat
    self.options = options
    pageSize = shape.pageSize
    pageCount = shape.pageCount
  }

  var shape: Shape { Shape(pageSize: pageSize, pageCount: pageCount) }

  /// The file's bytes.
  var bytes: [UInt8] {
    var out = Self.magic
    func put(_ value: some FixedWidthInteger) {
      withUnsafeBytes(of: value.littleEndian) { out += $0 }
    }
    func put(_ data: some Collection<UInt8>) {
      put(UInt32(data.count))
      out += data
    }
    let pairs = options.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
    for text in [backend, version, wireFormat, pairs.joined(separator: ",")] { put(text.utf8) }
    put(UInt32(pageSize))
    put(UInt32(pageCount))
    put(round)
    put(UInt32(entries.count))
    for entry in entries {
      put(UInt32(entry.offsets.count))
      entry.offsets.forEach { put($0) }
      put(entry.payload)
      put(UInt32(entry.hashes.count))
      entry.hashes.forEach { put($0) }
    }
    return out
  }

  /// Nil for bytes that are no recording, or one that makes no sense.
  init?(_ bytes: [UInt8]) {
    guard bytes.starts(with: Self.magic) else { return nil }
    var at = Self.magic.count
    func number<T: FixedWidthInteger>(_: T.Type) -> T? {
      let size = MemoryLayout<T>.size
      guard size <= bytes.count - at else { return nil }
      defer { at += size }
      return T(
        littleEndian: bytes.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: at, as: T.self) })
    }
    func data() -> [UInt8]? {
      guard let size = number(UInt32.self), Int(size) <= bytes.count - at else { return nil }
      defer { at += Int(size) }
      return Array(bytes[at..<at + Int(size)])
    }
    func text() -> String? { data().map { String(decoding: $0, as: UTF8.self) } }
    func numbers() -> [UInt64]? {
      guard let count = number(UInt32.self), Int(count) <= (bytes.count - at) / 8 else {
        return nil
      }
      return (0..<count).map { _ in number(UInt64.self) ?? 0 }
    }
    guard let backend = text(), let version = text(), let wireFormat = text(), let pairs = text(),
      let pageSize = number(UInt32.self), let pageCount = number(UInt32.self),
      let round = number(UInt64.self), let count = number(UInt32.self),
      (12...30).contains(pageSize.trailingZeroBitCount), pageSize.nonzeroBitCount == 1,
      (1...65536).contains(pageCount)
    else { return nil }
    (self.backend, self.version, self.wireFormat) = (backend, version, wireFormat)
    (self.pageSize, self.pageCount, self.round) = (Int(pageSize), Int(pageCount), round)
    for pair in pairs.split(separator: ",") {
      let sides = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      guard sides.count == 2 else { return nil }
      options[String(sides[0])] = String(sides[1])
    }
    for _ in 0..<count {
      guard let offsets = numbers(), let payload = data(), let hashes = numbers(),
        offsets.count <= pageCount, hashes.isEmpty || hashes.count == offsets.count,
        offsets.allSatisfy({ $0 % UInt64(pageSize) == 0 && $0 < 1 << 40 })
      else { return nil }
      entries.append(Entry(offsets: offsets, payload: payload, hashes: hashes))
    }
    guard at == bytes.count else { return nil }
  }

  /// FNV-1a over a page.
  static func hash(_ page: UnsafeRawBufferPointer) -> UInt64 {
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    for byte in page { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
    return hash
  }
}

/// What fuzzing has found.
public enum CaseFile {
  /// The test that a case belongs to; nil for a file that is none.
  public static func test(of path: String) -> String? {
    guard let recording = readFile(path).flatMap({ Recording($0) }) else { return nil }
    return recording.entries.isEmpty ? "fuzz/encode" : "fuzz/decode"
  }
}
