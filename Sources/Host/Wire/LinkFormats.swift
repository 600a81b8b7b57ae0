/// The formats that the two sides of a link have agreed on, by the index that packets bear in the
/// bits of QEMU's method (docs/LINK.md section 5).
///
/// Index 0 is pages as they are; 1 is the first of `agreed`.
public struct LinkFormats: Equatable, Sendable {
  /// Formats that can be agreed: five bits, less index 0.
  public static let most = 31

  /// In the order of the answer.
  public let agreed: [LinkFormat]

  /// No format but pages as they are.
  public static let rawOnly = LinkFormats(checked: [])

  /// The formats of an answer; nil when they are more than `most`, or one has another's name.
  public init?(_ agreed: [LinkFormat]) {
    guard agreed.count <= Self.most, Set(agreed.map(\.name)).count == agreed.count else {
      return nil
    }
    self.agreed = agreed
  }

  private init(checked agreed: [LinkFormat]) { self.agreed = agreed }

  /// The format of `index`; nil for 0, which is none, and for what was not agreed.
  public subscript(index: Int) -> LinkFormat? {
    index > 0 && index <= agreed.count ? agreed[index - 1] : nil
  }

  /// The index of the wire format `name`: 0 for `none/1`, nil when it was not agreed.
  public func index(of name: String) -> Int? {
    name == LinkFormat.raw ? 0 : agreed.firstIndex { $0.name == name }.map { $0 + 1 }
  }

  /// The method bits of `index`, which is one of this link: `index << 1`.
  public func method(of index: Int) -> MultiFDMethod {
    precondition((0...agreed.count).contains(index), "only what was agreed is sent")
    return MultiFDMethod(index: index)
  }

  /// The index that the method bits of `flags` hold. `offset` is where the packet begins.
  ///
  /// An index that was not agreed is `unknownFlags`.
  public func index(of flags: MultiFDFlags, at offset: UInt64) throws(WireError) -> Int {
    let index = flags.method.index
    guard index <= agreed.count else {
      throw WireError(
        .unknownFlags, at: offset + 8,
        "multifd packet flags \(hex(flags.rawValue)): format \(index), \(agreed.count) were agreed")
    }
    return index
  }
}
