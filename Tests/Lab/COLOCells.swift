import ArgumentParser
import TestSupport

extension Protection.OnLoss: ExpressibleByArgument {}

extension COLOCell {
  /// Enough to see that everything works.
  static let quick = [
    Self(delay: 100, checkpoints: 5), Self(channels: 0, delay: 100, checkpoints: 5),
    Self(compression: "zstd", delay: 100, cache: "mirror", checkpoints: 5, onLoss: .spare),
    Self(channels: 1, compression: "zlib", delay: 100, checkpoints: 5, onLoss: .failover),
  ]

  /// Every value of every axis, and the pairs that matter.
  static let representative = [
    Self(checkpoints: 100),
    Self(delay: 100, rate: 200, checkpoints: 100, onLoss: .spare),
    Self(channels: 0, delay: 100, checkpoints: 100),
    Self(rate: 0),
    Self(delay: 100, rate: 0, onLoss: .failover),
    Self(rate: 200, onLoss: .failover),
    Self(channels: 0, rate: 200, onLoss: .spare),
    Self(channels: 0, delay: 100, rate: 0, cache: "mirror"),
    Self(compression: "zstd"),
    Self(compression: "zstd", delay: 100, rate: 200, onLoss: .spare),
    Self(channels: 4, compression: "zstd", delay: 100, cache: "mirror"),
    Self(channels: 1, compression: "zlib"),
    Self(channels: 1, compression: "zlib", delay: 100, rate: 200, cache: "mirror"),
    Self(channels: 4, delay: 100),
    Self(channels: 4, rate: 200),
    Self(channels: 4, delay: 100, rate: 200, cache: "mirror", onLoss: .failover),
    Self(delay: 100, rate: 200, cache: "mirror"),
    Self(source: .v100, delay: 100),
    Self(source: .v100, channels: 0, delay: 100),
    Self(source: .v72, delay: 100),
    Self(source: .v72, channels: 0, delay: 100, rate: 0),
    Self(delay: 100, andBack: true),
    Self(delay: 100, checkpoints: 50, link: "lz4", pair: true),
    Self(channels: 4, delay: 100, rate: 200, checkpoints: 20, link: "zstd", pair: true),
    Self(delay: 100, checkpoints: 100, link: "lz4"),
    Self(channels: 4, delay: 100, rate: 200, checkpoints: 100, onLoss: .spare, link: "zstd"),
    Self(compression: "zstd", delay: 100, cache: "mirror", link: "none"),
    Self(compression: "zlib", delay: 100, onLoss: .failover, link: "auto"),
    Self(channels: 0, delay: 100, link: "none"),
  ]
}
