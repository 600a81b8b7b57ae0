// A zstd decompression context.
import CZstd
import PluginAPI

/// One channel's decompression context. Its memory is zstd's own (malloc), and grows to the window
/// that a frame's header asks for, which is refused beyond `windowLog`.
struct Decompressor: ~Copyable {
  let context: OpaquePointer

  init() throws(Failure) {
    guard let context = ZSTD_createDCtx() else { throw .noMemory }
    self.context = context
  }

  deinit { ZSTD_freeDCtx(context) }

  /// Refuses frames whose window is larger than 2^`windowLog`.
  func limit(windowLog: Int) throws(Failure) {
    let limit = Int32(truncatingIfNeeded: windowLog)
    let code = ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, limit)
    guard ZSTD_isError(code) == 0 else {
      throw Failure(MULTIFD_ERROR_INTERNAL, ZSTD_getErrorName(code))
    }
  }

  /// One step of decoding. Fails with `stuck` unless it used input or made output, so that a loop
  /// around it ends.
  func step(
    _ output: inout ZSTD_outBuffer, _ input: inout ZSTD_inBuffer, stuck: StaticString
  ) throws(Failure) {
    let before = (output.pos, input.pos)
    let code = ZSTD_decompressStream(context, &output, &input)
    guard ZSTD_isError(code) == 0 else {
      let error = ZSTD_getErrorCode(code)
      guard error != ZSTD_error_memory_allocation else { throw .noMemory }
      guard error != ZSTD_error_frameParameter_windowTooLarge else {
        throw .corrupt("a frame's window is larger than the option window-log allows")
      }
      throw Failure(MULTIFD_ERROR_CORRUPT, ZSTD_getErrorName(code))
    }
    guard (output.pos, input.pos) != before else { throw .corrupt(stuck) }
  }

  /// Whether the decoder holds output that nobody has asked for yet.
  func hasSurplus() -> Bool {
    var byte: UInt8 = 0
    // The pointer is used during the call only.
    return withUnsafeMutablePointer(to: &byte) { byte in
      var output = ZSTD_outBuffer(dst: byte, size: 1, pos: 0)
      var nothing = ZSTD_inBuffer(src: nil, size: 0, pos: 0)
      let code = ZSTD_decompressStream(context, &output, &nothing)
      return ZSTD_isError(code) != 0 || output.pos > 0
    }
  }
}
