import Migration

/// Cuts what a filter-redirector writes into frames: 4 bytes of length, with vnet_hdr_support 4
/// bytes that say how many of the frame's first bytes are a virtio-net header, and the frame; all
/// numbers big-endian. However the bytes are cut on the way.
package struct FrameSplitter: Sendable {
  /// Bytes before a frame. vnet_hdr_support is always on: without a virtio-net header its length
  /// is 0.
  package static let headSize = 8
  /// The longest frame that a QEMU takes.
  package static let maxFrame = 4096 + 65536

  private var buffer = [UInt8](repeating: 0, count: 1 << 18)
  private var start = 0
  private var end = 0

  /// Nothing has come.
  package init() {}

  /// Bytes of a frame that has not come whole.
  package var pending: Int { end - start }

  /// Takes the next bytes.
  ///
  /// - Parameter read: puts bytes where it is told and says how many, or nil.
  /// - Returns: what `read` has returned.
  package mutating func fill<E>(
    _ read: (UnsafeMutableRawBufferPointer) throws(E) -> Int?
  ) throws(E) -> Int? {
    // What is left is the beginning of one frame, and the buffer is longer than three.
    if start > 0 {
      buffer.withUnsafeMutableBytes { bytes in
        // Both ranges lie in the buffer; memmove copes with their overlap.
        bytes.copyBytes(from: UnsafeRawBufferPointer(rebasing: bytes[start..<end]))
      }
      (start, end) = (0, end - start)
    }
    var result: Result<Int?, E> = .success(nil)
    buffer.withUnsafeMutableBytes { bytes in
      let room = UnsafeMutableRawBufferPointer(rebasing: bytes[end...])
      result = Result { () throws(E) in try read(room) }
    }
    let count = try result.get()
    end += count ?? 0
    return count
  }

  /// The next whole frame, with what stands before it; nil where none is here.
  ///
  /// - Throws: at a length that is no frame's. There is no way on then.
  package mutating func next() throws(Failure) -> ArraySlice<UInt8>? {
    guard pending >= Self.headSize else { return nil }
    let (length, header) = (number(at: start), number(at: start + 4))
    guard 1...Self.maxFrame ~= length, header <= length else {
      throw Failure(
        .corrupt, "packets", "QEMU writes a frame of \(length) bytes with a header of \(header)")
    }
    let size = Self.headSize + length
    guard pending >= size else { return nil }
    defer { start += size }
    return buffer[start..<start + size]
  }

  private func number(at place: Int) -> Int {
    buffer[place..<place + 4].reduce(0) { $0 << 8 | Int($1) }
  }
}
