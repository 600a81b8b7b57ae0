/// The capabilities and parameters of a migration, as the operator of a stock QEMU sets them on
/// each side.
public struct MigrationSetup: Sendable {
  /// multifd channels; 0 is a plain migration on the main channel.
  public var channels: Int
  /// `none`, `zlib` or `zstd`; of no account without channels.
  public var compression: String
  /// `multifd-zlib-level`, when set.
  public var zlibLevel: Int?
  /// `multifd-zstd-level`, when set.
  public var zstdLevel: Int?
  /// `return-path`: the source then waits for the destination's word, and resumes its guest when
  /// that is bad.
  public var returnPath: Bool
  /// `none`, `legacy` or `multifd`; not known to 7.2, and left alone when nil.
  public var zeroPageDetection: String?
  /// `x-checkpoint-delay` in milliseconds, and capability `x-colo`; nil: an ordinary migration.
  public var checkpointDelay: Int?
  /// `tls-creds` of this side; nil: none.
  public var tls: QEMUCredentials?
  /// Bytes a second; QEMU's own default is far too slow for a test.
  public var maxBandwidth: Int = 100 << 30

  /// A migration over `channels` with `compression`.
  public init(
    channels: Int, compression: String = "none", zlibLevel: Int? = nil, zstdLevel: Int? = nil,
    returnPath: Bool = true, zeroPageDetection: String? = nil
  ) {
    self.channels = channels
    self.compression = compression
    self.zlibLevel = zlibLevel
    self.zstdLevel = zstdLevel
    self.returnPath = returnPath
    self.zeroPageDetection = zeroPageDetection
  }

  /// COLO checkpoints every `delay` ms, with or without return-path as `version` wants it.
  public static func colo(
    _ version: QEMUVersion, channels: Int, compression: String = "none", delay: Int
  ) -> Self {
    var setup = Self(
      channels: channels, compression: compression, returnPath: version >= .v111)
    setup.checkpointDelay = delay
    return setup
  }

  /// Which end of the migration a QEMU is.
  public enum Side: Sendable {
    /// The QEMU that has the guest.
    case source
    /// The QEMU that waits for it.
    case destination
  }

  /// Sets all this in `qemu`. Throws QEMU's refusal.
  public func apply(to qemu: any GuestHost, _ side: Side) throws {
    try tls?.apply(to: qemu, side)
    var capabilities: [String: Bool] = ["events": true]
    if channels > 0 { capabilities["multifd"] = true }
    if returnPath, side == .source || checkpointDelay != nil { capabilities["return-path"] = true }
    if checkpointDelay != nil { capabilities["x-colo"] = true }
    try qemu.qmp.execute(
      "migrate-set-capabilities",
      [
        "capabilities": .array(
          capabilities.sorted { $0.key < $1.key }.map {
            ["capability": .string($0.key), "state": .bool($0.value)]
          })
      ])
    var parameters: [String: JSON] = ["max-bandwidth": .integer(Int64(maxBandwidth))]
    if channels > 0 {
      parameters["multifd-channels"] = .integer(Int64(channels))
      parameters["multifd-compression"] = .string(compression)
      if let zlibLevel { parameters["multifd-zlib-level"] = .integer(Int64(zlibLevel)) }
      if let zstdLevel { parameters["multifd-zstd-level"] = .integer(Int64(zstdLevel)) }
    }
    if let checkpointDelay {
      parameters["x-checkpoint-delay"] = .integer(Int64(checkpointDelay))
    }
    if let zeroPageDetection, qemu.version > .v72 {
      parameters["zero-page-detection"] = .string(zeroPageDetection)
    }
    try qemu.qmp.execute("migrate-set-parameters", .object(parameters))
  }
}
