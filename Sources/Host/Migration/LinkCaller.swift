import PluginLoader
import TLS
import Transport
import Wire

/// The connecting side of a link: makes connections, says hello on each, and waits for the answer,
/// before which nothing else is said (docs/LINK.md).
public final class LinkCaller: Sendable {
  private let endpoint: Endpoint
  private let tls: TLSCredentials?
  private let timeout: Double
  private let pageSize: UInt32
  private let session: VMUUID

  /// A caller with a session of its own.
  ///
  /// - Parameters:
  ///   - tls: what is shown and asked for below the link; nil: nothing.
  ///   - timeout: seconds in which a connection is made and answered; and, from then on, seconds of
  ///     silence in the middle of something.
  ///   - pageSize: bytes of the guest's pages.
  public init(
    to endpoint: Endpoint, tls: TLSCredentials? = nil, timeout: Double, pageSize: Int
  ) {
    self.endpoint = endpoint
    self.tls = tls
    self.timeout = timeout
    self.pageSize = UInt32(pageSize)
    var random = SystemRandomNumberGenerator()
    session =
      VMUUID(bytes: (0..<16).map { _ in UInt8.random(in: 0...255, using: &random) }) ?? .zero
  }

  /// Makes the main connection.
  ///
  /// - Parameters:
  ///   - formats: what is offered, best first.
  ///   - required: so many of them, from the first, must be agreed.
  ///   - files: what some of them are encoded with besides.
  ///   - reference: the key for hashes of pages that the far side has, which can then be left out;
  ///     nil: none are.
  /// - Returns: what was agreed, and whether a reference follows, which is to be read before
  ///   anything else.
  public func main(
    offering formats: [LinkFormat], required: Int, files: [LinkFile] = [],
    reference: PageHashKey? = nil
  ) throws(Failure) -> (Socket, LinkFormats, hasReference: Bool) {
    try call(.main, formats, required, files, reference)
  }

  /// Makes the connection of channel `id`, after main was accepted.
  public func channel(_ id: Int) throws(Failure) -> Socket {
    try call(.channel(UInt16(clamping: id)), [], 0, []).0
  }

  private func call(
    _ role: LinkRole, _ formats: [LinkFormat], _ required: Int, _ files: [LinkFile],
    _ reference: PageHashKey? = nil
  ) throws(Failure) -> (Socket, LinkFormats, hasReference: Bool) {
    let capacity = UInt32(MultiFDPacketHeader.capacity(pageSize: Int(pageSize)))
    guard
      let hello = LinkHello(
        session: session, role: role, pageSize: pageSize, capacity: capacity, formats: formats,
        required: required, files: files, reference: reference)
    else {
      throw Failure(.internalError, place, "\(role) cannot be said in a hello")
    }
    do {
      let deadline = ContinuousClock.now + .seconds(timeout)
      let socket = try Socket.connect(to: endpoint, timeout: timeout, tls: tls)
      try socket.write(hello.encode())
      switch try answer(on: socket, to: hello, until: deadline) {
      case .accepted(let formats, let hasReference): return (socket, formats, hasReference)
      case .refused(let refusal):
        throw Failure(.refused, place, "\(role) was refused: \(refusal)")
      }
    } catch let error as WireError {
      var failure = Failure(error, at: place)
      if error.code == .badVersion { (failure.kind, failure.why) = (.refused, error.message) }
      failure.hint = nil
      throw failure
    } catch { throw Failure(error, at: place) }
  }

  private var place: String { "link:\(endpoint)" }

  /// Takes the answer and not a byte more: what follows is the destination's.
  private func answer(
    on socket: Socket, to hello: LinkHello, until deadline: ContinuousClock.Instant
  ) throws -> LinkAnswer {
    var bytes: [UInt8] = []
    while true {
      let step = try bytes.withUnsafeBytes { bytes throws(WireError) in
        try LinkAnswer.decode(bytes, to: hello)
      }
      guard case .needMore(let missing) = step else {
        guard case .answer(let answer, _) = step else { preconditionFailure("one of two") }
        return answer
      }
      guard socket.waitReadable(seconds: max(0, (deadline - .now) / .seconds(1))) else {
        throw Failure(
          .unreachable, place, "no answer to the hello within \(timeout.formatted) s",
          hint: "is it a relay or a 'multifd receive' that listens there? A QEMU is named without "
            + "link:")
      }
      try withUnsafeTemporaryAllocation(byteCount: missing, alignment: 1) { buffer in
        let count: Int
        do throws(TransportError) { count = try socket.read(into: buffer, idle: false) } catch {
          // A QEMU that cannot make sense of a hello resets the connection.
          guard error.kind == .reset else { throw error }
          throw unanswered
        }
        guard count > 0 else { throw unanswered }
        // recv(2) has filled so many bytes of the buffer.
        bytes += UnsafeRawBufferPointer(rebasing: buffer[..<count])
      }
    }
  }

  private var unanswered: Failure {
    Failure(
      .failed, place, "the other side closed the connection before it answered the hello",
      hint: "a QEMU with -incoming does so, and its own log says why: it is named without link:")
  }
}
