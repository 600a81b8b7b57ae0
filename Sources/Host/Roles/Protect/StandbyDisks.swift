import Migration
import Transport

/// Where a standby serves its disks, as seen from the primary.
struct StandbyDisks: Sendable {
  /// The address.
  let endpoint: Endpoint
  /// What it is reached by; nil: in clear.
  let tls: StandbyTLS?
}
