import Testing

/// What `#require` is, for loops over each byte of something: the macro takes apart what it compares
/// each time, which costs many times what is tried.
///
/// - Throws: where it does not hold, with an issue that says what.
public func hold(
  _ condition: Bool, _ what: @autoclosure () -> String = "it does not hold",
  sourceLocation: SourceLocation = #_sourceLocation
) throws {
  guard !condition else { return }
  let error = LabError(what())
  Issue.record(error, sourceLocation: sourceLocation)
  throw error
}
