import Foundation

/// Looks for the content of pages in a recorded stream, where they can begin at any byte.
struct PageSearch {
  private struct Key {
    /// Where in the page the word stands that it is looked for by.
    var place: Int
    var page: Int
  }

  private let pages: [Data]
  private var keys: [UInt64: [Key]] = [:]
  /// A bit for each value of a word's low 16 bits after mixing: most words of a stream are none of
  /// the keys.
  private var filter = [Bool](repeating: false, count: 1 << 16)

  /// For these pages.
  init(_ pages: [Data]) {
    self.pages = pages
    for (index, page) in pages.enumerated() {
      let bytes = Array(page)
      // A word with many bytes in it is rarer than one with few.
      func weight(_ place: Int) -> Int { Set(bytes[place..<place + 8]).count }
      let places = stride(from: 0, to: bytes.count - 7, by: 8)
      guard let place = places.max(by: { weight($0) < weight($1) }) else { continue }
      let word = bytes[place..<place + 8].reversed().reduce(0) { $0 << 8 | UInt64($1) }
      keys[word, default: []].append(Key(place: place, page: index))
      filter[Self.slot(word)] = true
    }
  }

  private static func slot(_ word: UInt64) -> Int {
    Int(truncatingIfNeeded: (word &* 0x9e37_79b9_7f4a_7c15) >> 48)
  }

  /// The index of a page that is somewhere in `stream`; nil when none is.
  func first(in stream: Data) -> Int? {
    stream.withUnsafeBytes { bytes in
      // Every load and comparison is checked to lie within the buffer.
      guard bytes.count >= 8 else { return nil }
      for offset in 0...bytes.count - 8 {
        let word = bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self).littleEndian
        guard filter[Self.slot(word)], let candidates = keys[word] else { continue }
        for key in candidates {
          let (start, page) = (offset - key.place, pages[key.page])
          if start >= 0, start + page.count <= bytes.count,
            bytes[start..<start + page.count].elementsEqual(page)
          {
            return key.page
          }
        }
      }
      return nil
    }
  }
}
