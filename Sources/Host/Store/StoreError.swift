import Glibc
import Memory
import System

/// Why a store cannot be used.
public struct StoreError: Error, Equatable, Sendable, CustomStringConvertible {
  /// What kind of failure.
  public enum Kind: Equatable, Sendable {
    /// There is no store, or none that holds a guest.
    case empty
    /// It holds a guest already, which must not be overwritten.
    case occupied
    /// There is something in the folder, and it is no store's.
    case foreign
    /// Somebody else could change what is in the folder, or has put something there.
    case untrusted
    /// Its guest was handed to another host: it runs elsewhere.
    case handedOver
    /// Its guest was continued on these very files: there is nothing left that could be continued.
    case used
    /// A standby's whose guest has ended at its primary, or is protected no more.
    case ended
    /// A standby's, from before the machine was started: it was never forced to disk.
    case stale
    /// Another process uses it.
    case busy
    /// Its files contradict its manifest, or the manifest cannot be understood.
    case damaged
    /// No space is left, or a file may not be so long.
    case full
    /// A system call failed.
    case system
    /// Memory of the guest is no longer what its file holds: what runs in this process has mapped
    /// other memory in its place.
    case displaced
    /// A fault of this program: it was about to say of a guest what cannot follow what its store
    /// says.
    case outOfTurn
  }

  /// What kind of failure.
  public var kind: Kind
  /// One line for people.
  public var message: String
  /// What the operator could do, where it is not always the same for its kind.
  public var hint: String?

  /// An error with its texts.
  public init(_ kind: Kind, _ message: String, hint: String? = nil) {
    self.kind = kind
    self.message = message
    self.hint = hint
  }

  /// A system call that failed at a path.
  init(_ error: SystemError, at path: String) {
    switch error.errno {
    case ENOSPC, EDQUOT: self.init(.full, "\(path): \(error)")
    case EFBIG:
      self.init(
        .full, "\(path): \(error): this process may not write files so long",
        hint: "raise its limit (ulimit -f), or use a file system for long files")
    case EMFILE:
      self.init(
        .system, "\(path): \(error)", hint: "raise the limit on open files (ulimit -n)")
    default: self.init(.system, "\(path): \(error)")
    }
  }

  /// A fault of this program: one that is being debugged ends there.
  init(outOfTurn message: String) {
    self.init(.outOfTurn, message)
    assertionFailure(message)
  }

  /// The message.
  public var description: String { message }
}
