/// Whether a source waits for SWITCHOVER_ACK (SPECIFICATION section 6.3).
///
/// A source that has nothing left to send switches over, at once. One that goes round and round
/// with empty PARTs instead is kept from it, by its capability switchover-ack; and to a source that
/// waits for it an acknowledgement is welcome, whatever its version. (An unasked one is not: a QEMU
/// before 8.1 or after 11.0 fails the migration.)
struct SwitchoverWatch {
  /// It has been said, which is done once.
  var isAcknowledged = false
  private var pages = 0
  private var rounds = 0

  /// Empty PARTs in a row that no source sends for another reason. One that waits makes thousands
  /// in a second.
  static let mostRounds = 64

  /// A PART begins; `pages` have come so far, on all channels.
  mutating func isAwaited(pages: Int) -> Bool {
    guard !isAcknowledged else { return false }
    rounds = pages == self.pages ? rounds + 1 : 0
    self.pages = pages
    return rounds > Self.mostRounds
  }
}
