extension Manifest {
  /// Where the guest is. A manifest that says one of these says another only as
  /// `leads(to:before:forced:)` allows:
  ///
  ///     receiving -> held ---------------------> handing-over -> handed-over
  ///         |         ^                             ^    |
  ///         |-> unsettled - - - - - (forced) - - - -|    '-> what it was before: refused
  ///         '-> standby ----------------------------'
  ///
  /// Forced are also a second hand-over of a guest that was handed over, and of one of which nobody
  /// knows. While a guest is being received its folder has no manifest: that is *receiving*.
  public enum State: String, Codable, Sendable, CaseIterable {
    /// A migration is coming in; its guest still runs at its source.
    case receiving
    /// The guest is here, whole, and nowhere else.
    case held
    /// A primary's guest is here as of its last checkpoint, see ``CheckpointRecord``; the guest
    /// itself may still run at the primary.
    case standby
    /// The guest is here, whole, but its source could not be told so: it may go on there.
    case unsettled
    /// A hand-over was begun whose end nobody knows: the guest may run elsewhere.
    case handingOver = "handing-over"
    /// A destination has taken the guest: this copy must not run.
    case handedOver = "handed-over"

    /// Whether a manifest that says this may say `next` from then on.
    ///
    /// - Parameters:
    ///   - before: for a hand-over that was refused: what the manifest said before it was begun.
    ///   - forced: the operator answers for it that the guest runs nowhere else.
    package func leads(to next: State, before: State? = nil, forced: Bool = false) -> Bool {
      switch (self, next) {
      // It is here.
      case (.receiving, .held), (.receiving, .standby), (.receiving, .unsettled): true
      // Its source knows.
      case (.unsettled, .held): true
      // A hand-over begins.
      case (.held, .handingOver), (.standby, .handingOver): true
      case (.unsettled, .handingOver), (.handedOver, .handingOver): forced
      case (.handingOver, .handingOver): forced || before == next
      // It ends.
      case (.handingOver, .handedOver): true
      case (.handingOver, .held), (.handingOver, .standby), (.handingOver, .unsettled):
        before == next
      default: false
      }
    }
  }
}
