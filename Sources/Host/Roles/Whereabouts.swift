import Migration

/// Where a guest is whose reception had all of it when it failed: said alike by whoever finds that
/// out, the reception or, where its process has ended, whoever looks at what it has left.
extension Failure {
  /// Adds what the operator could do.
  mutating func note(_ hint: String) { self.hint = (self.hint.map { $0 + "; " } ?? "") + hint }

  /// Its source waited for no verdict.
  mutating func noteArrived(in store: String) {
    why += "; what has come of the guest is in \(store), and its source may have let go of it"
    // What was found out before says that it goes on there.
    hint = "look whether it runs or waits there ('cont') before you remove the folder"
  }

  /// Whether its source has been told is not known.
  mutating func noteUntold() {
    why += "; the guest is held, and its source may not have been told"
    note("if the guest does not run at its source, send it from here with --force")
  }
}
