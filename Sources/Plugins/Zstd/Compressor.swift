// A zstd compression context, set up for one of the two ways to send.
import CZstd
import PluginAPI

/// One channel's compression context. Its memory is zstd's own (malloc): the functions that take an
/// allocator are not part of libzstd's stable interface.
struct Compressor: ~Copyable {
  let context: OpaquePointer

  init() throws(Failure) {
    guard let context = ZSTD_createCCtx() else { throw .noMemory }
    self.context = context
  }

  deinit { ZSTD_freeCCtx(context) }

  /// Makes the context compress at `level` and never announce a window beyond 2^`windowLog`.
  ///
  /// `frameSize` is the size of the largest packet if each packet becomes a frame, nil for one
  /// endless frame. What an endless frame needs is allocated here, not with the first packet. Fails
  /// when there is no memory.
  func configure(level: Int, windowLog: Int, frameSize: Int?) throws(Failure) {
    try set(ZSTD_c_compressionLevel, level)
    if let frameSize {
      // A window never needs to be larger than the frame; zstd makes it smaller for short packets.
      let log = Int.bitWidth - (frameSize - 1).leadingZeroBitCount
      try set(ZSTD_c_windowLog, min(max(log, 10), windowLog))
      // At level 1 zstd looks for matches of 7 bytes. Those of 6 make up for what a frame does not
      // know of the packets before it: on text a hundredth, on memory it gains as much.
      if level == 1 { try set(ZSTD_c_minMatch, 6) }
    } else {
      // Every level has its own window, and only a frame header tells which.
      if try chosenWindowLog() > windowLog {
        try set(ZSTD_c_windowLog, windowLog)
        guard try chosenWindowLog() <= windowLog else {
          throw .internal("zstd does not keep to the window it was given")
        }
      }
    }
  }

  private func set(_ parameter: ZSTD_cParameter, _ value: Int) throws(Failure) {
    try check(ZSTD_CCtx_setParameter(context, parameter, Int32(truncatingIfNeeded: value)))
  }

  /// The window that a frame of unknown length gets: starts one, reads its header, drops it.
  private func chosenWindowLog() throws(Failure) -> Int {
    // The header takes at most 18 bytes, a block of one byte 4.
    let size = 64
    let code = withUnsafeTemporaryAllocation(of: UInt8.self, capacity: size) { buffer in
      var byte: UInt8 = 0
      var output = ZSTD_outBuffer(dst: buffer.baseAddress, size: size, pos: 0)
      var code = withUnsafePointer(to: &byte) { byte in
        var input = ZSTD_inBuffer(src: byte, size: 1, pos: 0)
        return ZSTD_compressStream2(context, &output, &input, ZSTD_e_continue)
      }
      if ZSTD_isError(code) == 0 {
        var input = ZSTD_inBuffer(src: nil, size: 0, pos: 0)
        code = ZSTD_compressStream2(context, &output, &input, ZSTD_e_flush)
      }
      if ZSTD_isError(code) == 0 {
        // RFC 8878, 3.1.1.1: the magic number, a descriptor, and since the length is unknown the
        // window: 5 bits of exponent over 3 of mantissa, which zstd leaves 0.
        code = output.pos > 5 ? 10 + Int(buffer[5] >> 3) + (buffer[5] & 7 > 0 ? 1 : 0) : 0
      }
      return code
    }
    try check(code)
    try check(ZSTD_CCtx_reset(context, ZSTD_reset_session_only))
    return code
  }

  /// Turns a zstd status into an error: the backend's own fault, if it is not memory.
  private func check(_ code: Int) throws(Failure) {
    guard ZSTD_isError(code) != 0 else { return }
    guard ZSTD_getErrorCode(code) != ZSTD_error_memory_allocation else { throw .noMemory }
    throw Failure(MULTIFD_ERROR_INTERNAL, ZSTD_getErrorName(code))
  }

  /// Feeds the endless frame; with `flush` all that was fed so far comes out.
  func feed(_ input: inout ZSTD_inBuffer, _ output: inout ZSTD_outBuffer, flush: Bool)
    throws(Failure)
  {
    let code = ZSTD_compressStream2(
      context, &output, &input, flush ? ZSTD_e_flush : ZSTD_e_continue)
    try check(code)
    // A flush returns what it could not write yet; without a flush the number is only a hint.
    guard input.pos == input.size, !flush || code == 0 else {
      throw .internal("zstd needs more room than payload_bound() says")
    }
  }

  /// One whole frame. Returns its size in `output`.
  func frame(_ input: UnsafePointer<UInt8>, _ size: Int, _ output: borrowing Memory<UInt8>)
    throws(Failure) -> Int
  {
    let code = ZSTD_compress2(context, output.base, output.count, input, size)
    try check(code)
    return code
  }
}
