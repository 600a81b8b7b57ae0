// The backend `zstd`: one frame per packet, or one endless frame per channel as stock QEMU sends it
// (SPECIFICATION section 4.3); it accepts both.
// README.md in this folder is its manual. This file is the table, the others the two directions.
import PluginAPI

/// Returns the table of this backend, or nil for a host of another major version.
@c @implementation
public func multifd_plugin_entry(_ host_major: UInt32) -> UnsafePointer<MultiFDMethods>? {
  host_major == UInt32(MULTIFD_ABI_MAJOR) ? UnsafePointer(table) : nil
}

/// The options, by their place in the table and in `params.options`.
enum Option {
  static let level = 0
  static let stream = 1
  static let windowLog = 2
  static let count = 3
}

/// The choices of the option `stream`, by their place in its table.
enum StreamChoice {
  static let endless = 0
  static let packet = 1
}

/// The largest window that zstd's decoders, stock QEMU's among them, accept by default: 128 MiB.
let windowLogLimit = 27

/// The largest window that is sent or accepted where nobody has said another: 128 MiB, which is what
/// level 22 has. A stock QEMU's levels end at 20, with 25 at the most; who trusts nobody with as
/// much for each channel says so.
private let windowLogDefault: StaticString = "27"

/// The window of a sender with the default options, ours or a stock QEMU: 512 KiB. A receiver takes
/// it whatever it is told, since the other side's operator may have said nothing.
let windowLogOfDefaults = 19

/// Made at the first call, never freed, never changed: safe to read from every thread.
nonisolated(unsafe) private let table: UnsafeMutablePointer<MultiFDMethods> = {
  let table = UnsafeMutablePointer<MultiFDMethods>.allocate(capacity: 1)
  table.initialize(
    to: MultiFDMethods(
      magic: MULTIFD_PLUGIN_MAGIC,
      abi_major: UInt16(MULTIFD_ABI_MAJOR),
      abi_minor: UInt16(MULTIFD_ABI_MINOR),
      struct_size: UInt32(MemoryLayout<MultiFDMethods>.size),
      capabilities: MULTIFD_CAP_STATEFUL | MULTIFD_CAP_DETERMINISTIC | MULTIFD_CAP_STABLE_INPUT
        | MULTIFD_CAP_SENDS_INDEPENDENT,
      name: ("zstd" as StaticString).cString,
      version: ("1.0.0" as StaticString).cString,
      wire_format: ("zstd/1" as StaticString).cString,
      description: ("Zstandard, a frame per packet or per channel, as QEMU's zstd" as StaticString)
        .cString,
      qemu_method: MULTIFD_QEMU_METHOD_ZSTD,
      max_in_flight: 0,
      options: makeOptions(),
      options_num: UInt32(Option.count),
      option_size: UInt32(MemoryLayout<MultiFDOption>.size),
      payload_bound: payloadBound,
      send_setup: sendSetup,
      send_cleanup: sendCleanup,
      send_prepare: sendPrepare,
      recv_setup: recvSetup,
      recv_cleanup: recvCleanup,
      recv: recv,
      // One packet at a time, and nothing to train.
      send_submit: nil, send_complete: nil, recv_submit: nil, recv_complete: nil,
      train: nil))
  return table
}()

private func makeOptions() -> UnsafePointer<MultiFDOption> {
  let choices = UnsafeMutablePointer<UnsafePointer<CChar>?>.allocate(capacity: 3)
  (choices + StreamChoice.endless).initialize(to: ("endless" as StaticString).cString)
  (choices + StreamChoice.packet).initialize(to: ("packet" as StaticString).cString)
  (choices + 2).initialize(to: nil)

  let options = UnsafeMutablePointer<MultiFDOption>.allocate(capacity: Option.count)
  (options + Option.level).initialize(
    to: MultiFDOption(
      name: ("level" as StaticString).cString,
      help: ("effort: negative is fast, 22 the smallest, 0 zstd's default" as StaticString).cString,
      default_value: ("1" as StaticString).cString,
      choices: nil, minimum: -7, maximum: 22, type: MULTIFD_OPTION_INT, reserved: 0))
  (options + Option.stream).initialize(
    to: MultiFDOption(
      name: ("stream" as StaticString).cString,
      help: ("sent: one frame per packet, or one per channel" as StaticString).cString,
      default_value: ("packet" as StaticString).cString,
      choices: UnsafePointer(choices), minimum: 0, maximum: 0, type: MULTIFD_OPTION_ENUM,
      reserved: 0))
  (options + Option.windowLog).initialize(
    to: MultiFDOption(
      name: ("window-log" as StaticString).cString,
      help: ("largest window sent or accepted, as a power of two" as StaticString).cString,
      default_value: windowLogDefault.cString,
      choices: nil, minimum: 10, maximum: Int64(windowLogLimit), type: MULTIFD_OPTION_INT,
      reserved: 0))
  return UnsafePointer(options)
}

/// Room for the worst that zstd does to data it cannot compress.
///
/// n/128: the 3 bytes of each raw block, were they as short as 384 bytes (the format's smallest
/// window makes 1 KiB blocks). 64 a page: a peer may send a frame for each page, at most 18 bytes
/// of header, one block header and 4 of checksum, or what zstd's own bound adds to 4 KiB. 64: the
/// frame header and an empty last block. For QEMU's packets (128 pages of 4 KiB) this is 536,640,
/// well below MULTIFD_QEMU_MAX_PAYLOAD. Below 2^63.
@c func payloadBound(_ pageSize: UInt32, _ pageCount: UInt32) -> UInt64 {
  guard Geometry.supports(pageSize: pageSize), pageCount > 0 else {
    return 0
  }
  let bytes = UInt64(pageSize) * UInt64(pageCount)
  return bytes + bytes / 128 + 64 * UInt64(pageCount) + 64
}
