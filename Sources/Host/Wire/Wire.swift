// Bytes <-> values: everything that QEMU's migration stream puts on a socket, and what a link puts
// before it, as pure values.
//
// Nothing here reads, writes, waits or allocates by a peer's word. A decoder is fed with the bytes
// that have arrived and answers with the next element or with how much is missing; an encoder
// appends to an array. All layouts are cited by their section of SPECIFICATION, the link's by that
// of docs/LINK.md.
//
//   WireError                   what was expected, what was found, at which byte
//   VMUUID                      16 bytes that must be equal on both sides
//   MultiFDInit, MultiFDFlags, MultiFDMethod, MultiFDPacketHeader, DeviceStatePacketHeader,
//   ChannelDecoder              one multifd channel
//   StreamDecoder, StreamEncoder, Configuration, Command, SectionHeader, RAMBlockDescription
//                               the main channel
//   DeviceStateScanner, VMDescription
//                               device state: opaque, split by its footers, checked by its JSON
//   ReturnPathMessage, COLOMessage
//                               what travels the other way, and the checkpoint protocol
//   LinkHello, LinkAnswer, LinkFormats
//                               what two hosts of ours say before it: LinkFrame.swift has the rest
//
// Unsafe pointers: callers hand in `UnsafeRawBufferPointer`s that are valid for the call only.
// Nothing here keeps one, and every load is preceded by a comparison with the buffer's count.

/// Big-endian loads. The callers have compared `offset + size` with the buffer's count before:
/// `loadUnaligned` itself checks nothing in a release build.
extension UnsafeRawBufferPointer {
  @inline(__always)
  func u8(_ offset: Int) -> UInt8 {
    assert(offset >= 0 && offset < count)
    return self[offset]
  }

  @inline(__always)
  func u16(_ offset: Int) -> UInt16 {
    assert(offset >= 0 && offset + 2 <= count)
    return UInt16(bigEndian: loadUnaligned(fromByteOffset: offset, as: UInt16.self))
  }

  @inline(__always)
  func u32(_ offset: Int) -> UInt32 {
    assert(offset >= 0 && offset + 4 <= count)
    return UInt32(bigEndian: loadUnaligned(fromByteOffset: offset, as: UInt32.self))
  }

  @inline(__always)
  func u64(_ offset: Int) -> UInt64 {
    assert(offset >= 0 && offset + 8 <= count)
    return UInt64(bigEndian: loadUnaligned(fromByteOffset: offset, as: UInt64.self))
  }

  /// The bytes of `range`, which the caller has checked, with indices from zero.
  @inline(__always)
  func part(_ range: Range<Int>) -> UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(rebasing: self[range])
  }

  /// True when every byte is printable ASCII: names of sections, blocks, machines and capabilities.
  var isPrintable: Bool { allSatisfy { $0 >= 0x20 && $0 < 0x7f } }

  /// The bytes as text. Lossless for printable ASCII.
  var text: String { String(decoding: self, as: UTF8.self) }
}

extension UnsafeMutableRawBufferPointer {
  /// Stores big-endian; the caller has compared with `count`.
  @inline(__always)
  func store<T: FixedWidthInteger>(_ value: T, at offset: Int) {
    storeBytes(of: value.bigEndian, toByteOffset: offset, as: T.self)
  }
}

extension [UInt8] {
  /// Appends `value` big-endian.
  @inline(__always)
  mutating func append<T: FixedWidthInteger & UnsignedInteger>(bigEndian value: T) {
    // The pointer is to a copy on the stack and does not leave the closure.
    Swift.withUnsafeBytes(of: value.bigEndian) { append(contentsOf: $0) }
  }

  /// Appends a counted string: u8 length, then the bytes. Longer names are the caller's error.
  mutating func append(counted name: some Collection<UInt8>) {
    precondition(!name.isEmpty && name.count <= 255, "a counted string has 1 to 255 bytes")
    append(UInt8(name.count))
    append(contentsOf: name)
  }
}

/// `0x…` for messages.
func hex(_ value: some BinaryInteger) -> String { "0x" + String(value, radix: 16) }
