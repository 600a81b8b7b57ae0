// Store: a held guest on disk or tmpfs: manifest, RAM blocks, device state.

/// Why a store cannot be used.
public struct StoreError: Error, Equatable, Sendable, CustomStringConvertible {
  /// What kind of failure.
  public enum Kind: Equatable, Sendable {
    /// There is no store, or none that holds a guest.
    case empty
    /// It holds a guest already, which must not be overwritten.
    case occupied
    /// Its guest was handed to another host: it runs elsewhere.
    case handedOver
    /// Its guest was continued on these very files: there is nothing left that could be continued.
    case used
    /// A standby's, from before the machine was started: it was never forced to disk.
    case stale
    /// Another process uses it.
    case busy
    /// Its files contradict its manifest, or the manifest cannot be understood.
    case damaged
    /// No space is left.
    case full
    /// A system call failed.
    case system
  }

  /// What kind of failure.
  public var kind: Kind
  /// One line for people.
  public var message: String

  /// An error with its text.
  public init(_ kind: Kind, _ message: String) {
    self.kind = kind
    self.message = message
  }

  /// The message.
  public var description: String { message }
}
