import Glibc
import TLS

/// A connection in the lobby, which has not introduced itself yet.
struct Visitor {
  let socket: Socket
  let origin: Origin
  let since: ContinuousClock.Instant
  /// When it must have introduced itself.
  var deadline: ContinuousClock.Instant
  /// It had said nothing when a main channel came that had connected later.
  var isEarly = false
  /// It has said that it is a multifd channel.
  private(set) var isChannel = false
  /// What it has brought so far of an introduction of so many bytes, which are being taken.
  private(set) var letter: (bytes: [UInt8], size: Int)?
  /// It has not said a byte that was looked at.
  private var isNew = true
  /// What its handshake waits for; nil when it is done, or there is none.
  private(set) var handshake: Int16?
  /// When it is worth looking at again: poll(2) speaks of every byte, where not all count.
  private(set) var nextLook: ContinuousClock.Instant

  /// An introduction is a few hundred bytes. They stay in the kernel's buffer until then.
  private static let maxIntroduction = 1 << 16
  /// How soon one that was looked at in vain is worth another look.
  private static let pause = Duration.milliseconds(10)

  /// One that has just come, and has so long to introduce itself.
  init(_ socket: Socket, from origin: Origin, within limit: Duration) {
    (self.socket, self.origin) = (socket, origin)
    since = .now
    (deadline, nextLook) = (since + limit, since)
    handshake = socket.tls == nil ? nil : Int16(POLLIN)
  }

  /// Looks at what it has said since.
  ///
  /// - Parameters:
  ///   - events: what poll(2) says of it.
  ///   - examine: tells what the first bytes say.
  mutating func look(
    _ events: Int16, _ handshakes: inout Handshakes,
    _ examine: (UnsafeRawBufferPointer) -> Lobby.Verdict
  ) -> Lobby.Verdict {
    let hasEnded = events & (Socket.hangUp | Int16(POLLHUP | POLLERR | POLLNVAL)) != 0
    let isLate = ContinuousClock.now >= deadline
    if isChannel {
      return hasEnded || isLate ? .stranger(.alone) : .channel
    }
    guard events != 0 || isLate else { return .undecided(needs: 0) }
    if handshake != nil {
      if let verdict = shake(hasEnded, isLate, &handshakes) { return verdict }
      // What came with its end is in the record layer, of which poll(2) does not speak: on.
    }
    if letter != nil { return take(hasEnded, isLate) }
    let verdict = peek(hasEnded, isLate, examine)
    guard case .letter(let size) = verdict else { return verdict }
    letter = ([], size)
    socket.setLowWaterMark(1)
    return take(hasEnded, isLate)
  }

  /// Goes on with a handshake; nil when it is done.
  private mutating func shake(
    _ hasEnded: Bool, _ isLate: Bool, _ handshakes: inout Handshakes
  ) -> Lobby.Verdict? {
    guard !isLate else { return .stranger(.silent(after: 0)) }
    var first: UInt8 = 0
    if isNew, recv(socket.descriptor, &first, 1, Int32(MSG_PEEK | MSG_DONTWAIT)) > 0 {
      // What every handshake begins with.
      guard first == 0x16 else { return .stranger(.plain) }
      // Nobody is there any more to answer.
      guard !hasEnded else { return .stranger(.closed(after: 0)) }
      guard handshakes.begin(origin) else {
        nextLook = .now + Self.pause * 10
        return .undecided(needs: 1)
      }
      isNew = false
    }
    guard handshakes.isItsTurn(origin) else { return .undecided(needs: 1) }
    do throws(TLSError) { handshake = try socket.shake() } catch {
      return .stranger(error.kind == .ended ? .closed(after: 0) : .untrusted(error.message))
    }
    guard handshake != nil else { return nil }
    // A record may come byte by byte.
    nextLook = .now + Self.pause
    return .undecided(needs: 1)
  }

  /// Takes what is here of a letter.
  private mutating func take(_ hasEnded: Bool, _ isLate: Bool) -> Lobby.Verdict {
    guard case (var bytes, let size)? = letter else { return .undecided(needs: 0) }
    // Grown where it stands.
    letter = nil
    defer { letter = (bytes, size) }
    return withUnsafeTemporaryAllocation(byteCount: 1 << 12, alignment: 8) { buffer in
      while bytes.count < size {
        let part = UnsafeMutableRawBufferPointer(rebasing: buffer.prefix(size - bytes.count))
        let count = socket.take(into: part)
        if count > 0 {
          // recv(2) has filled so many bytes of the buffer.
          bytes += part[..<count]
          continue
        }
        if count < 0, errno == EINTR { continue }
        guard count < 0, errno == EAGAIN, !hasEnded else {
          return .stranger(.closed(after: bytes.count))
        }
        return isLate ? .stranger(.silent(after: bytes.count)) : .undecided(needs: 0)
      }
      return .letter(size: size)
    }
  }

  private mutating func peek(
    _ hasEnded: Bool, _ isLate: Bool, _ examine: (UnsafeRawBufferPointer) -> Lobby.Verdict
  ) -> Lobby.Verdict {
    withUnsafeTemporaryAllocation(byteCount: Self.maxIntroduction, alignment: 8) { buffer in
      let count = socket.peek(into: buffer)
      guard count > 0 else {
        guard count < 0, errno == EAGAIN || errno == EINTR else {
          return .stranger(.closed(after: 0))
        }
        guard isLate else { return .undecided(needs: 1) }
        return .stranger(isEarly ? .early : .silent(after: 0))
      }
      // recv(2) has filled so many bytes of the buffer.
      let verdict = examine(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
      switch verdict {
      case .undecided(let needs):
        if hasEnded { return .stranger(.closed(after: count)) }
        if isLate { return .stranger(isEarly ? .early : .silent(after: count)) }
        guard needs <= Self.maxIntroduction else {
          return .stranger(.broken("it does not introduce itself"))
        }
        // poll(2) now speaks when they are there. A UNIX socket has no such mark: not a busy loop
        // for three bytes.
        socket.setLowWaterMark(needs)
        nextLook = .now + Self.pause
      case .channel:
        isChannel = true
        socket.setLowWaterMark(1)
      case .main: socket.setLowWaterMark(1)
      case .letter, .stranger: break
      }
      return verdict
    }
  }
}
