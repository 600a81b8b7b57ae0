/// The server's side of the handshake (fixed newstyle), until a client has chosen an export.
///
///     server   NBDMAGIC IHAVEOPT flags:16
///     client   flags:32
///     client   IHAVEOPT option:32 length:32 data     …
///     server   reply magic:64 option:32 type:32 length:32 data     …
///
/// Fed with what has come, it says what to answer and how many bytes it has used up. Structured
/// replies and contexts are told to be unknown, which every client has an answer to.
///
/// Where TLS is asked for, a client may ask for nothing before it: STARTTLS, and in TLS the options
/// begin anew. What was said in clear counts no more, and what has come behind STARTTLS was said by
/// whoever can write into a connection: it is an end, and never taken for what TLS has brought.
public struct NBDHandshake: Sendable {
  /// What is to be done.
  public enum Step: Equatable, Sendable {
    /// So many bytes more are needed.
    case needMore(Int)
    /// These bytes are to be sent.
    case answer([UInt8], consumed: Int)
    /// The client wants this export; ``accept(_:)`` or ``refuse(_:)`` says what to answer.
    case choose(name: String, consumed: Int)
    /// The client has had enough: after this answer the connection ends.
    case end([UInt8], consumed: Int)
    /// TLS begins behind this answer, and nothing else may be said before it has.
    case startTLS([UInt8], consumed: Int)
  }

  /// What has to be between the two.
  public enum Security: Sendable {
    /// Nothing, and there is no TLS to be had.
    case none
    /// TLS, before anything else.
    case required
    /// It is TLS.
    case encrypted
  }

  /// What the two do not agree about.
  public enum Mismatch: Sendable {
    /// The client has asked for something in clear, where TLS is asked for.
    case plain
    /// It has asked for TLS, where there is none.
    case wantsTLS
    /// Something has come in clear behind STARTTLS.
    case clearBehindTLS
  }

  /// Why a client does not get an export.
  public enum Refusal: Sendable {
    /// There is none of that name.
    case unknown
    /// It is in use.
    case policy
    /// It is not served any more.
    case shutdown
  }

  private enum Asked {
    case exportName
    case info(NBD.Option)
  }

  /// See ``Mismatch``; nil while they have not met one, or once they have got over it.
  public private(set) var mismatch: Mismatch?
  private let exports: [NBD.Export]
  private var security: Security
  private var hasFlags = false
  private var noZeroes = false
  private var asked = Asked.exportName
  /// Options that have been answered: nobody needs many.
  private var options = 0
  private static let mostOptions = 64
  private static let longestOption = NBD.longestName + 4 + 2 + 2 * 64

  /// A handshake over these exports.
  ///
  /// - Parameter requiresTLS: whoever has not begun TLS gets nothing.
  public init(exports: [NBD.Export], requiresTLS: Bool = false) {
    self.exports = exports
    security = requiresTLS ? .required : .none
  }

  /// What a server says first.
  public static var greeting: [UInt8] {
    var bytes: [UInt8] = []
    bytes.append(big: NBD.greeting)
    bytes.append(big: NBD.option)
    bytes.append(
      big: (NBD.HandshakeFlags.fixedNewstyle.rawValue | NBD.HandshakeFlags.noZeroes.rawValue))
    return bytes
  }

  /// Looks at what has come.
  ///
  /// - Throws: when the client does not speak the protocol: the connection ends without a word.
  public mutating func next(_ bytes: UnsafeRawBufferPointer) throws(NBDError) -> Step {
    guard hasFlags else { return try flags(bytes) }
    guard bytes.count >= 16 else { return .needMore(16 - bytes.count) }
    guard bytes.big(0, UInt64.self) == NBD.option else {
      throw NBDError("it sends no option where one is due")
    }
    let kind = bytes.big(8, UInt32.self)
    let length = Int(bytes.big(12, UInt32.self))
    options += 1
    guard options <= Self.mostOptions else { throw NBDError("it asks and asks, and takes nothing") }
    guard length <= Self.longestOption else {
      throw NBDError("an option of \(length) bytes")
    }
    guard bytes.count >= 16 + length else {
      options -= 1
      return .needMore(16 + length - bytes.count)
    }
    let data = UnsafeRawBufferPointer(rebasing: bytes[16..<16 + length])
    let consumed = 16 + length
    let option = NBD.Option(rawValue: kind)
    if security == .required, option != .startTLS, option != .abort {
      mismatch = .plain
      // It has no answer but an export.
      guard option != .exportName else { throw NBDError("it asks for an export in clear") }
      return .answer(reply(kind, .tlsRequired), consumed: consumed)
    }
    guard let option else { return .answer(reply(kind, .unsupported), consumed: consumed) }
    switch option {
    case .startTLS:
      return try startTLS(length, consumed: consumed, of: bytes.count)
    case .exportName:
      asked = .exportName
      guard let name = Self.name(data) else { throw NBDError("a name that is no UTF-8") }
      return .choose(name: name, consumed: consumed)
    case .abort: return .end(reply(kind, .ack), consumed: consumed)
    case .list:
      guard length == 0 else { return .answer(reply(kind, .invalid), consumed: consumed) }
      var answer: [UInt8] = []
      for export in exports {
        var data: [UInt8] = []
        data.append(big: UInt32(export.name.utf8.count))
        answer += reply(kind, .server, data + Array(export.name.utf8))
      }
      return .answer(answer + reply(kind, .ack), consumed: consumed)
    case .info, .go:
      guard let name = Self.infoName(data) else {
        return .answer(reply(kind, .invalid), consumed: consumed)
      }
      asked = .info(option)
      // Only to look: nobody is kept out by that.
      if option == .info {
        guard let export = exports.first(where: { $0.name == name }) else {
          return .answer(refuse(.unknown) ?? [], consumed: consumed)
        }
        return .answer(accept(export), consumed: consumed)
      }
      return .choose(name: name, consumed: consumed)
    }
  }

  /// The answer to a client that gets the export it wants: from here on it sends requests.
  public func accept(_ export: NBD.Export) -> [UInt8] {
    let flags = NBD.ExportFlags.hasFlags.union(export.flags).rawValue
    switch asked {
    case .exportName:
      var bytes: [UInt8] = []
      bytes.append(big: export.size)
      bytes.append(big: flags)
      return bytes + [UInt8](repeating: 0, count: noZeroes ? 0 : 124)
    case .info(let option):
      var data: [UInt8] = []
      data.append(big: UInt16(0))
      data.append(big: export.size)
      data.append(big: flags)
      var sizes: [UInt8] = []
      sizes.append(big: UInt16(3))
      for size: UInt32 in [1, 4096, UInt32(NBD.longestData)] { sizes.append(big: size) }
      return reply(option.rawValue, .info, data) + reply(option.rawValue, .info, sizes)
        + reply(option.rawValue, .ack)
    }
  }

  /// The answer to a client that does not; nil where the protocol has none, and the connection
  /// ends.
  public func refuse(_ why: Refusal) -> [UInt8]? {
    guard case .info(let option) = asked else { return nil }
    let type: NBD.OptionReply =
      switch why {
      case .unknown: .unknown
      case .policy: .policy
      case .shutdown: .shutdown
      }
    return reply(option.rawValue, type)
  }

  private mutating func startTLS(
    _ length: Int, consumed: Int, of count: Int
  ) throws(NBDError) -> Step {
    let kind = NBD.Option.startTLS.rawValue
    switch security {
    case .none:
      mismatch = .wantsTLS
      return .answer(reply(kind, .unsupported), consumed: consumed)
    case .encrypted: return .answer(reply(kind, .invalid), consumed: consumed)
    case .required:
      guard length == 0 else { return .answer(reply(kind, .invalid), consumed: consumed) }
      // A client waits for the answer before it says more.
      guard consumed == count else {
        mismatch = .clearBehindTLS
        throw NBDError("it goes on in clear behind STARTTLS")
      }
      (security, mismatch, options, asked) = (.encrypted, nil, 0, .exportName)
      return .startTLS(reply(kind, .ack), consumed: consumed)
    }
  }

  private mutating func flags(_ bytes: UnsafeRawBufferPointer) throws(NBDError) -> Step {
    guard bytes.count >= 4 else { return .needMore(4 - bytes.count) }
    let flags = bytes.big(0, UInt32.self)
    guard flags & 1 != 0, flags & ~3 == 0 else {
      throw NBDError("its flags are 0x\(String(flags, radix: 16))")
    }
    (hasFlags, noZeroes) = (true, flags & 2 != 0)
    return .answer([], consumed: 4)
  }

  private static func name(_ data: some Collection<UInt8>) -> String? {
    guard data.count <= NBD.longestName else { return nil }
    return String(validating: data, as: UTF8.self)
  }

  /// The name in an INFO or GO: length, name, count, as many kinds of information, which are not
  /// looked at: a client gets what it needs.
  private static func infoName(_ data: UnsafeRawBufferPointer) -> String? {
    guard data.count >= 6 else { return nil }
    let length = Int(data.big(0, UInt32.self))
    guard length <= data.count - 6 else { return nil }
    let wishes = Int(data.big(4 + length, UInt16.self))
    guard data.count == 6 + length + 2 * wishes else { return nil }
    return name(data[4..<4 + length])
  }

  private func reply(
    _ option: UInt32, _ type: NBD.OptionReply, _ data: [UInt8] = []
  ) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.append(big: NBD.optionReply)
    bytes.append(big: option)
    bytes.append(big: type.rawValue)
    bytes.append(big: UInt32(data.count))
    return bytes + data
  }
}

/// A client that does not speak the protocol.
public struct NBDError: Error, Equatable, Sendable {
  /// What is wrong.
  public let message: String
  init(_ message: String) { self.message = message }
}
