/// Bytes that are not what the format allows at that place, or not what this program can take.
public struct WireError: Error, Equatable, Sendable, CustomStringConvertible {
  /// What kind of wrong, for programs; `message` is for people.
  public enum Code: String, Sendable, CaseIterable {
    /// The stream ends inside an element.
    case truncated
    /// A magic number is wrong.
    case badMagic
    /// A version that no supported QEMU writes.
    case badVersion
    /// A length or count that cannot be right.
    case badLength
    /// A page offset that is unaligned or outside its RAM block.
    case badOffset
    /// A name with bytes that no name has.
    case badName
    /// The VM description is no JSON of the known shape.
    case badDescription
    /// A RAM block that the block list does not have.
    case unknownBlock
    /// A section id that no START introduced.
    case unknownSection
    /// Flag bits that are unknown or that exclude one another.
    case unknownFlags
    /// A type, command, subsection or message number that is unknown.
    case unknownElement
    /// A feature that this program refuses; the message names what to turn off.
    case unsupported
    /// More than the configured limits allow.
    case limitExceeded
    /// Two statements of the stream contradict one another.
    case mismatch
    /// A known element where it must not be.
    case outOfOrder
  }

  /// Which limit a stream exceeds.
  public enum Limit: Equatable, Sendable {
    /// `Limits.maxRAM`, which the operator sets.
    case ram
    /// One that nobody sets.
    case builtIn
  }

  /// What kind of wrong.
  public var code: Code
  /// Of `limitExceeded`: which.
  public var limit: Limit?
  /// The byte of that stream (not of the buffer) where the offending field begins.
  public var offset: UInt64
  /// What was expected and what was found.
  public var message: String

  /// An error at byte `offset` of its stream.
  public init(_ code: Code, at offset: UInt64, _ message: String, limit: Limit = .builtIn) {
    self.code = code
    self.limit = code == .limitExceeded ? limit : nil
    self.offset = offset
    self.message = message
  }

  /// `badOffset at byte 1344: …`
  public var description: String { "\(code.rawValue) at byte \(offset): \(message)" }
}
