// LZ4's two compressors behind one call.
import CLZ4
import PluginAPI

/// Compresses segments, each by itself, with working memory that is allocated once.
struct Compressor: ~Copyable {
  private let state: Memory<UInt8>
  private let acceleration: Int32
  /// 0 for the fast compressor, else a level of the HC one.
  private let level: Int32

  /// Fails when there is no memory, or the options contradict each other.
  init(_ host: Host, options: UnsafePointer<MultiFDOptionValue>) throws(Failure) {
    let acceleration = options[Option.acceleration].number
    let level = options[Option.level].number
    // As lz4's own command line counts: HC starts at 3, below it is the fast compressor.
    let isHC = level >= 3
    guard !isHC || acceleration == 1 else {
      throw Failure(MULTIFD_ERROR_OPTION, "acceleration does not go with a level of 3 or more")
    }
    let size = isHC ? LZ4_sizeofStateHC() : LZ4_sizeofState()
    let state = try Memory<UInt8>(host, count: Int(size))
    self.state = state
    self.acceleration = Int32(truncatingIfNeeded: acceleration)
    self.level = isHC ? Int32(truncatingIfNeeded: level) : 0
  }

  /// One block from `size` bytes at `input`. Returns its length, or nil if it would have more than
  /// `room` bytes.
  ///
  /// Both functions start from a cleared state (that is what "extState" without "fastReset" means),
  /// so what they emit depends on the input alone: MULTIFD_CAP_DETERMINISTIC.
  func block(
    _ input: UnsafePointer<UInt8>, _ size: Int, _ output: UnsafeMutablePointer<UInt8>, room: Int
  ) -> Int? {
    // LZ4 speaks char and int; a segment has 20 bits. `state` is as large and as aligned as it
    // asks.
    let source = UnsafeRawPointer(input).assumingMemoryBound(to: CChar.self)
    let target = UnsafeMutableRawPointer(output).assumingMemoryBound(to: CChar.self)
    let (size, room) = (Int32(truncatingIfNeeded: size), Int32(truncatingIfNeeded: room))
    let length =
      level > 0
      ? LZ4_compress_HC_extStateHC(state.base, source, target, size, room, level)
      : LZ4_compress_fast_extState(state.base, source, target, size, room, acceleration)
    return length > 0 ? Int(length) : nil
  }
}
