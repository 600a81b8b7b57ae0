import Foundation
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

/// Testing takes a backtrace of every error that is thrown anywhere, for which the runtime has a
/// hook. Where an error is expected at each byte of a stream, that is most of the time.
public enum Backtraces {
  /// From now on there are none: of all tests of this process, which lose them in their reports.
  public static let off: Void = {
    for name in ["_swift_willThrow", "_swift_willThrowTypedImpl"] {
      // A variable of the runtime's, of one pointer, that lives as long as the process.
      guard let hook = dlsym(nil, name) else { continue }
      hook.assumingMemoryBound(to: UnsafeRawPointer?.self).pointee = nil
    }
  }()
}
