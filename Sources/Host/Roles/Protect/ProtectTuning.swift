import Migration
import System

/// What an operator may change of a protection while it runs.
package struct ProtectTuning: Sendable {
  /// See ``ProtectOptions/checkpoint``.
  package var checkpoint: CheckpointInterval
  /// Bytes a second; nil: as much as there is.
  package var maxBandwidth: Int?

  /// As QEMU's parameters of a migration.
  var parameters: [String: QMPValue] {
    [
      "x-checkpoint-delay": .integer(Int64(checkpoint.longest)),
      // No limit: it would hold up checkpoints, too.
      "max-bandwidth": .integer(Int64(maxBandwidth ?? 1 << 40)),
    ]
  }

  /// Takes what `migrate-set-parameters` has for it: `x-checkpoint-delay`, in milliseconds, and
  /// `max-bandwidth`, 0 for no limit.
  package mutating func take(_ arguments: QMPValue) throws(Failure) {
    let known = Set(["x-checkpoint-delay", "max-bandwidth"])
    var taken = self
    let delay = arguments["x-checkpoint-delay"], rate = arguments["max-bandwidth"]
    if delay != .null {
      guard let delay = delay.int, CheckpointInterval.milliseconds.contains(delay) else {
        throw Self.refusal
      }
      taken.checkpoint.longest = delay
      taken.checkpoint.shortest = min(delay, checkpoint.shortest)
    }
    if rate != .null {
      guard let rate = rate.int, rate >= 0 else { throw Self.refusal }
      taken.maxBandwidth = rate == 0 ? nil : rate
    }
    guard !arguments.keys.isEmpty, known.isSuperset(of: arguments.keys) else { throw Self.refusal }
    self = taken
  }

  private static let refusal = Failure(
    .usage, "migrate-set-parameters",
    "it takes 'x-checkpoint-delay', milliseconds from 1 to 3600000, and 'max-bandwidth', bytes a "
      + "second from 0 on")
}

extension Protector {
  /// Goes on otherwise from now on: with the standby that there is, and with each later one.
  ///
  /// - Parameter arguments: as `migrate-set-parameters` has them.
  package func tune(_ arguments: QMPValue) throws(Failure) {
    let tuned = try tuning.update { tuning -> Result<ProtectTuning, Failure> in
      do throws(Failure) { try tuning.take(arguments) } catch { return .failure(error) }
      return .success(tuning)
    }.get()
    // Before, QEMU is given them when it is to migrate.
    guard [.precopy, .protected].contains(state.line.state) else { return }
    do {
      _ = try monitor.execute(
        "migrate-set-parameters", .object(tuned.parameters), within: options.silence)
    } catch { throw error.failure }
  }
}
