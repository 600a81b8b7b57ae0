/// Reads fields one after another from what has arrived of an element, and knows how much is
/// missing.
///
/// Every reader answers nil when the buffer ends inside its field; `missing` then says by how many
/// bytes. The buffer is the caller's and outlives the cursor.
struct Cursor {
  let bytes: UnsafeRawBufferPointer
  /// The next byte to read; never more than `bytes.count`.
  private(set) var offset: Int
  /// Bytes by which the last reader that answered nil fell short.
  private(set) var missing = 0

  init(_ bytes: UnsafeRawBufferPointer, from offset: Int = 0) {
    precondition(offset >= 0 && offset <= bytes.count)
    self.bytes = bytes
    self.offset = offset
  }

  /// Reserves `size` bytes: their first index, or nil.
  private mutating func take(_ size: Int) -> Int? {
    // No overflow: offset <= count, and sizes here are at most 64 KiB.
    guard size <= bytes.count - offset else {
      missing = size - (bytes.count - offset)
      return nil
    }
    defer { offset += size }
    return offset
  }

  mutating func u8() -> UInt8? { take(1).map { bytes.u8($0) } }
  mutating func u16() -> UInt16? { take(2).map { bytes.u16($0) } }
  mutating func u32() -> UInt32? { take(4).map { bytes.u32($0) } }
  mutating func u64() -> UInt64? { take(8).map { bytes.u64($0) } }

  /// `count` bytes, at most 64 KiB: callers have compared `count` with their limit.
  mutating func bytes(_ count: Int) -> UnsafeRawBufferPointer? {
    take(count).map { bytes.part($0..<$0 + count) }
  }

  /// The next byte without taking it.
  mutating func peek() -> UInt8? {
    guard offset < bytes.count else {
      missing = 1
      return nil
    }
    return bytes[offset]
  }

  /// A counted string (SPECIFICATION section 0) of printable bytes. `position` is the stream offset
  /// of the buffer's first byte, for errors.
  mutating func name(
    of what: String, at position: UInt64
  ) throws(WireError) -> UnsafeRawBufferPointer? {
    let start = offset
    guard let length = u8() else { return nil }
    guard length > 0 else {
      throw WireError(.badLength, at: position + UInt64(start), "the name of \(what) is empty")
    }
    guard let name = bytes(Int(length)) else { return nil }
    guard name.isPrintable else {
      throw WireError(
        .badName, at: position + UInt64(start + 1), "the name of \(what) has unprintable bytes")
    }
    return name
  }
}
