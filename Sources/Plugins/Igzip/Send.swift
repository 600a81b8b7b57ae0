// Send side of `igzip`.
import CISAL
import PluginAPI

/// A channel's state.
struct Sender: ~Copyable {
  let geometry: Geometry
  /// ISA-L's state, which begins anew with each packet.
  let stream: Memory<isal_zstream>
  let level: Int
  /// What levels 1 to 3 work in.
  let working: Memory<UInt8>
  /// Where the pages of a packet come together that are not neighbours.
  let input: Memory<UInt8>
  let output: Memory<UInt8>
  /// The stream's header has been sent.
  var hasBegun = false

  init(_ params: UnsafeMutablePointer<MultiFDSendParams>) throws(Failure) {
    let host = Host(params)
    let geometry = try Geometry(params.pointee)
    let level = Int(params.pointee.options[Option.level].number)
    let workingSize =
      switch level {
      case 0: 1
      case 1: Int(multifd_isal_level_1)
      case 2: Int(multifd_isal_level_2)
      default: Int(multifd_isal_level_3)
      }
    let working = try Memory<UInt8>(host, count: workingSize)
    let input = try Memory<UInt8>(host, count: geometry.packetSize)
    let output = try Memory<UInt8>(host, count: geometry.bound)
    let stream = try Memory<isal_zstream>(host, count: 1)
    // All of it, the part without names too. It is ours, and this long.
    UnsafeMutableRawPointer(stream.base)
      .initializeMemory(as: UInt8.self, repeating: 0, count: MemoryLayout<isal_zstream>.size)
    self.geometry = geometry
    self.stream = stream
    self.level = level
    self.working = working
    self.input = input
    self.output = output
  }

  /// Compresses the pages of one packet into `output`, which stays as it is until the next call.
  ///
  /// ISA-L reads its input more than once, so the pages must hold still (STABLE_INPUT). What it
  /// makes of a packet at a time is a part of a deflate stream of its own, and one behind the
  /// other they are the endless one that the format is. Pages that do not compress it stores.
  mutating func prepare(_ params: UnsafeMutablePointer<MultiFDSendParams>) throws(Failure) {
    let pages = try Pages(
      params.pointee.normal, count: params.pointee.normal_num, geometry: geometry)
    guard let block = params.pointee.host, pages.byteCount > 0 else { return }
    var at = 0
    if !hasBegun {
      // CMF and FLG of RFC 1950: deflate, a window of 32 KiB, the fastest; a multiple of 31.
      output.base[0] = 0x78
      output.base[1] = 0x01
      at = 2
      hasBegun = true
    }
    let stream = begin()
    // It is only read: the pointer is mutable because ISA-L's is.
    stream.pointee.next_in = UnsafeMutablePointer(mutating: pages.gathered(block, input))
    // Both fit: Geometry has checked that the bound has 32 bits.
    stream.pointee.avail_in = UInt32(truncatingIfNeeded: pages.byteCount)
    stream.pointee.next_out = output.base + at
    stream.pointee.avail_out = UInt32(truncatingIfNeeded: output.count - at - Flush.length)
    guard isal_deflate_stateless(stream) == COMP_OK, stream.pointee.avail_in == 0 else {
      throw .internal("ISA-L needs more room than payload_bound() says")
    }
    at += Int(stream.pointee.total_out)
    // Pages that are stored end without a flush. (Or they end as one does, and then they may: what
    // counts is that the payload's last block ends at a byte, which a stored one does.)
    if !Flush.ends(output.base, at) { at += Flush.write(output.base + at) }
    params.setPayload(output.base, at)
  }

  /// ISA-L's state for a packet.
  private func begin() -> UnsafeMutablePointer<isal_zstream> {
    let stream = stream.base
    isal_deflate_stateless_init(stream)
    stream.pointee.level = UInt32(level)
    stream.pointee.level_buf = working.base
    // Fits: it is a constant of ISA-L's.
    stream.pointee.level_buf_size = UInt32(working.count)
    // Neither header nor checksum: the one comes once in a channel, the other never.
    stream.pointee.gzip_flag = UInt16(IGZIP_DEFLATE)
    // What is made ends at a byte and does not end the stream, and nothing refers back beyond it.
    stream.pointee.flush = UInt16(FULL_FLUSH)
    return stream
  }
}
