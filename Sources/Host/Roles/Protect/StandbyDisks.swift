import Migration
import NBD
import Transport

/// Where a standby serves its disks, as seen from the primary.
struct StandbyDisks: Sendable {
  /// The address.
  let endpoint: Endpoint
  /// What it is reached by; nil: in clear.
  let tls: StandbyTLS?

  /// Makes sure that it answers.
  ///
  /// QEMU connects in its main loop: its guest stands still for as long as that takes, and a yank
  /// does not free it (seen with 11.1). So it is not sent to a server that hangs, or to a port that
  /// a firewall lets nothing through to.
  func expectAnswer(within seconds: Double) throws(Failure) {
    // Where a path leads only QEMU knows.
    guard case .tcp = endpoint else { return }
    do {
      let socket = try Socket.connect(to: endpoint, timeout: seconds)
      var input = InputBuffer(socket, capacity: 1 << 8)
      let greeting = NBDHandshake.greeting
      guard try input.require(greeting.count, idle: false), input.bytes.starts(with: greeting)
      else {
        throw Failure(.failed, "disks", "\(endpoint) is no NBD server of a standby")
      }
    } catch { throw Failure(error, at: "disks") }
  }
}
