/// The type byte of a section (SPECIFICATION section 1.2).
public enum SectionKind: UInt8, Sendable, CaseIterable, CustomStringConvertible {
  /// An iterable handler's setup.
  case start = 1
  /// An iteration.
  case part = 2
  /// An iterable handler's completion.
  case end = 3
  /// All of a plain device.
  case full = 4

  /// `START`, `PART`, `END` or `FULL`.
  public var description: String {
    switch self {
    case .start: "START"
    case .part: "PART"
    case .end: "END"
    case .full: "FULL"
    }
  }

  /// True when name, instance and version are on the wire; else they are learned by the id.
  public var hasName: Bool { self == .start || self == .full }
}

/// Which section it is. PART and END carry only the id; the decoder fills in the rest.
public struct SectionHeader: Equatable, Sendable {
  /// START, PART, END or FULL.
  public var kind: SectionKind
  /// The source's number for the section; PART and END refer to it.
  public var id: UInt32
  /// The handler's name: together with `instance` its identity.
  public var name: String
  /// Which of the handlers of that name.
  public var instance: UInt32
  /// The format's version; 4 for `ram`.
  public var version: UInt32

  /// All of it.
  public init(kind: SectionKind, id: UInt32, name: String, instance: UInt32, version: UInt32) {
    self.kind = kind
    self.id = id
    self.name = name
    self.instance = instance
    self.version = version
  }

  /// Bytes of the header on the wire, type byte included.
  public var encodedSize: Int { kind.hasName ? 1 + 4 + 1 + name.utf8.count + 4 + 4 : 5 }
}
