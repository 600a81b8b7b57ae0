import Migration
import Store

// Who has the guest, by what the store says: before the destination could start it, and after.

extension SendAttempt {
  /// The store says that a hand-over is under way, before the first byte with which the destination
  /// could start the guest.
  func beginHandOver() throws -> HandOver {
    let handOver: HandOver
    do throws(HandOver.NotBegun) {
      handOver = try guest.handOver(to: options.to.description)
    } catch {
      var failure = Failure(error.cause, at: "send")
      failure.hint = "nothing was handed over: the guest is in its store as before"
      mayNeedForce = !error.isAsBefore
      throw failure
    }
    do throws(Failure) { try control.enter(.devices) } catch {
      let failure = error
      do { try handOver.refused() } catch { mayNeedForce = true }
      throw failure
    }
    return handOver
  }

  static let mayNeedForce =
    "nothing was handed over; should the store say 'handing-over', send again with --force"

  /// What the store says after a failure. Only an explicit "no" of the destination makes the guest
  /// ours again.
  func settle(_ handOver: consuming HandOver, _ failure: Failure) -> Failure {
    var failure = failure
    guard failure.cause == .refusedByDestination else {
      handOver.unknown()
      failure.why += "; whether the guest runs there is not known"
      failure.hint =
        "look at the destination; if the guest does not run there, send again with --force"
      return failure
    }
    do { try handOver.refused() } catch {
      failure.hint =
        "the store cannot be written (\(error)) and says 'handing-over': send again with --force"
    }
    return failure
  }
}
