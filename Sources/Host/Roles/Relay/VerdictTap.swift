import Wire

/// Reads along on a return path until something is said that is none of its messages: COLO's, when
/// it begins.
struct VerdictTap {
  /// What SHUT said.
  private(set) var verdict: UInt32?
  /// COLO has begun.
  private(set) var hasCheckpoints = false
  /// Something was said.
  private(set) var isHeard = false
  private var rest: [UInt8] = []
  private var isDeaf = false
  /// Of what comes first.
  private var reference: LinkReferenceDecoder?

  /// - Parameter referencePages: a reference comes first, of pages of so many bytes.
  init(referencePages: Int? = nil) {
    guard let referencePages else { return }
    var limits = StreamDecoder.Limits()
    limits.pageSize = referencePages
    reference = LinkReferenceDecoder(limits: limits)
  }

  /// The next bytes of the return path.
  mutating func look(at bytes: UnsafeRawBufferPointer) {
    guard !isDeaf else { return }
    rest += bytes
    skipReference()
    isHeard = isHeard || reference == nil && !rest.isEmpty
    guard reference == nil, !isDeaf else { return }
    var at = 0
    rest.withUnsafeBytes { rest in
      while true {
        let left = UnsafeRawBufferPointer(rebasing: rest[at...])
        guard let step = try? ReturnPathMessage.decode(left, at: 0) else {
          isDeaf = true
          // Its messages are small numbers of 32 bits, and no type of a return path is 0.
          hasCheckpoints = left.starts(with: [0, 0])
          return
        }
        guard case .message(let message, let consumed) = step else { return }
        if case .shut(let value) = message { verdict = value }
        at += consumed
      }
    }
    rest.removeFirst(isDeaf ? rest.count : at)
  }

  /// A reference that breaks a rule is for the source to refuse.
  private mutating func skipReference() {
    guard var decoder = reference else { return }
    var at = 0
    let step = rest.withUnsafeBytes { bytes -> LinkReferenceDecoder.Step? in
      while true {
        let left = UnsafeRawBufferPointer(rebasing: bytes[at...])
        guard let step = try? decoder.next(left) else { return nil }
        guard case .element(_, let consumed) = step else { return step }
        at += consumed
      }
    }
    rest.removeFirst(at)
    reference = step == .end || step == nil ? nil : decoder
    if step == nil { (isDeaf, rest) = (true, []) }
  }
}
