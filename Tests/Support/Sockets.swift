import CLinux
import Foundation

/// The few socket calls the lab needs, as blocking functions on plain descriptors. Loopback only.
public enum Sockets {
  /// A connected UNIX-domain stream socket, or nil when nobody listens at `path`.
  public static func connect(unix path: String) -> Int32? {
    guard var address = unix(path) else { return nil }
    return connect(AF_UNIX, &address, MemoryLayout<sockaddr_un>.size)
  }

  /// A UNIX-domain stream socket that listens at `path`, where nothing is yet.
  public static func listen(unix path: String) throws -> Int32 {
    let descriptor = socket(AF_UNIX, streamType, 0)
    if name(descriptor, path), Glibc.listen(descriptor, 8) == 0 { return descriptor }
    let reason = String(cString: strerror(errno))
    close(descriptor)
    throw LabError("listening on \(path): \(reason)")
  }

  /// The file of a socket that nobody has any more, as who dies leaves it. A socket that is made and
  /// closed for that may live on, for a moment, in a process that another thread has just started.
  public static func leave(at path: String) throws {
    guard mknod(path, S_IFSOCK | 0o600, 0) == 0 else {
      throw LabError("mknod \(path): \(String(cString: strerror(errno)))")
    }
  }

  /// A UNIX-domain datagram socket at `path`, where nothing is yet, whose reads end after 20 s.
  public static func listen(datagrams path: String) throws -> Int32 {
    let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    var limit = timeval(tv_sec: 20, tv_usec: 0)
    setsockopt(
      descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    if name(descriptor, path) { return descriptor }
    close(descriptor)
    throw LabError("no datagrams at \(path)")
  }

  /// Binds a socket to a path.
  private static func name(_ descriptor: Int32, _ path: String) -> Bool {
    guard var address = unix(path) else { return false }
    // As below: one live address of the stated size.
    return withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    } == 0
  }

  /// Says something to a port of 127.0.0.1, and gives all that comes until it is closed.
  public static func ask(port: Int, _ text: String) throws -> String {
    guard let descriptor = connect(port: port) else {
      throw LabError("nobody listens at port \(port)")
    }
    defer { close(descriptor) }
    write(descriptor, Array(text.utf8)[...])
    var (all, buffer): ([UInt8], [UInt8]) = ([], [UInt8](repeating: 0, count: 4096))
    while case let count = read(descriptor, &buffer), count > 0 { all += buffer[..<count] }
    return String(decoding: all, as: UTF8.self)
  }

  /// The address of a path; nil where it is too long for one.
  private static func unix(_ path: String) -> sockaddr_un? {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    let bytes = Array(path.utf8)
    guard bytes.count < MemoryLayout.size(ofValue: address.sun_path) else { return nil }
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
    return address
  }

  /// A connected TCP socket to an IPv4 address, without Nagle's delay, or nil when nobody listens.
  ///
  /// - Parameter source: an address to come from: all of 127.0.0.0/8 are this machine's.
  public static func connect(
    host: String = "127.0.0.1", port: Int, from source: String? = nil
  ) -> Int32? {
    var address = loopback(port)
    guard inet_pton(AF_INET, host, &address.sin_addr) == 1 else { return nil }
    var own: sockaddr_in?
    if let source {
      var place = loopback(0)
      guard inet_pton(AF_INET, source, &place.sin_addr) == 1 else { return nil }
      own = place
    }
    guard let descriptor = connect(AF_INET, &address, MemoryLayout<sockaddr_in>.size, from: own)
    else { return nil }
    setNoDelay(descriptor)
    return descriptor
  }

  private static func connect<A>(
    _ family: Int32, _ address: inout A, _ size: Int, from own: A? = nil
  ) -> Int32? {
    let descriptor = socket(family, streamType, 0)
    guard descriptor >= 0 else { return nil }
    if var own {
      // As below: one live address of the stated size.
      let result = withUnsafePointer(to: &own) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          bind(descriptor, $0, socklen_t(size))
        }
      }
      guard result == 0 else {
        close(descriptor)
        return nil
      }
    }
    // The address lives on this frame for the whole call, and `size` is its own size.
    let result = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        Glibc.connect(descriptor, $0, socklen_t(size))
      }
    }
    if result == 0 { return descriptor }
    close(descriptor)
    return nil
  }

  /// Accepts a connection, or gives -1: not for the children that another test is just starting.
  public static func accept(_ listener: Int32) -> Int32 { clinux_accept(listener) }

  /// A socket that listens on 127.0.0.1 (`port` 0: any) and the port it got.
  public static func listen(port: Int = 0) throws -> (descriptor: Int32, port: Int) {
    var address = loopback(port)
    let descriptor = try listen(&address, on: "127.0.0.1:\(port)") { _ in }
    return (descriptor, Int(UInt16(bigEndian: address.sin_port)))
  }

  /// Whether there is an [::1].
  public static let hasSix: Bool = {
    guard let (descriptor, _) = try? listenOnSix() else { return false }
    close(descriptor)
    return true
  }()

  /// A socket that listens on [::1] alone: an IPv4 socket may have the same port.
  public static func listenOnSix(port: Int = 0) throws -> (descriptor: Int32, port: Int) {
    var address = sockaddr_in6()
    address.sin6_family = sa_family_t(AF_INET6)
    address.sin6_port = UInt16(truncatingIfNeeded: port).bigEndian
    address.sin6_addr = in6addr_loopback
    let descriptor = try listen(&address, on: "[::1]:\(port)") { descriptor in
      var one: Int32 = 1
      setsockopt(
        descriptor, Int32(IPPROTO_IPV6), IPV6_V6ONLY, &one, socklen_t(MemoryLayout<Int32>.size))
    }
    return (descriptor, Int(UInt16(bigEndian: address.sin6_port)))
  }

  /// Listens at an address, which then has its port.
  private static func listen<Address>(
    _ address: inout Address, on place: String, prepare: (Int32) -> Void
  ) throws -> Int32 {
    var size = socklen_t(MemoryLayout<Address>.size)
    // As above: one live address of the stated size for each call.
    let (descriptor, result) = withUnsafeMutablePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer -> (Int32, Int32) in
        let descriptor = socket(Int32(pointer.pointee.sa_family), streamType, 0)
        var one: Int32 = 1
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &one, socklen_t(MemoryLayout<Int32>.size))
        prepare(descriptor)
        guard bind(descriptor, pointer, size) == 0, Glibc.listen(descriptor, 64) == 0 else {
          return (descriptor, -1)
        }
        return (descriptor, getsockname(descriptor, pointer, &size))
      }
    }
    guard result == 0 else {
      let reason = String(cString: strerror(errno))
      close(descriptor)
      throw LabError("listening on \(place): \(reason)")
    }
    return descriptor
  }

  /// A TCP port that was free a moment ago, and that nobody is given but who asks for it by number:
  /// below those that the kernel chooses from (32768 and up), and another one at each call.
  public static func freePort() throws -> Int {
    for _ in 0..<1000 {
      let port = lastPort.update { last in
        last = ports.contains(last + 1) ? last + 1 : ports.lowerBound
        return last
      }
      guard let (descriptor, _) = try? listen(port: port) else { continue }
      close(descriptor)
      return port
    }
    throw LabError("of ports \(ports) a thousand are in use")
  }

  private static let ports = 20_000...32_000
  /// Two processes of tests begin at different ones.
  private static let lastPort = Monitor(Int.random(in: ports))

  /// Writes all of `bytes`; false when the other side is gone.
  @discardableResult
  public static func write(_ descriptor: Int32, _ bytes: some Collection<UInt8>) -> Bool {
    let bytes = ContiguousArray(bytes)
    // The buffer is valid within the closure, and `offset` stays below its count.
    return bytes.withUnsafeBytes { buffer in
      var offset = 0
      while offset < buffer.count {
        let count = send(
          descriptor, buffer.baseAddress! + offset, buffer.count - offset, Int32(MSG_NOSIGNAL))
        if count > 0 { offset += count } else if count == 0 || errno != EINTR { return false }
      }
      return true
    }
  }

  /// Reads what is there, at most `buffer.count` bytes, waiting for at least one; 0 at the end or
  /// on an error.
  public static func read(_ descriptor: Int32, _ buffer: inout [UInt8]) -> Int {
    max(0, receive(descriptor, &buffer))
  }

  /// The same, and -1 with errno on an error, as read(2) has it: but one that was interrupted is
  /// taken up again, which a read with a time-out is not by itself behind SIGCONT (signal(7)).
  public static func receive(_ descriptor: Int32, _ buffer: inout [UInt8]) -> Int {
    while true {
      // The array is not resized while its storage is lent to read().
      let count = buffer.withUnsafeMutableBytes { Glibc.read(descriptor, $0.baseAddress, $0.count) }
      if count >= 0 || errno != EINTR { return count }
    }
  }

  /// How long a read, an accept or a write waits: a test that waits for nothing ends all the same.
  public static func limit(_ descriptor: Int32, seconds: Double) {
    var limit = timeval(
      tv_sec: Int(seconds), tv_usec: Int(seconds.truncatingRemainder(dividingBy: 1) * 1e6))
    for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
      setsockopt(
        descriptor, SOL_SOCKET, option, &limit, socklen_t(MemoryLayout<timeval>.size))
    }
  }

  /// Turns Nagle's algorithm off.
  public static func setNoDelay(_ descriptor: Int32) {
    var one: Int32 = 1
    setsockopt(
      descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &one, socklen_t(MemoryLayout<Int32>.size))
  }

  static var streamType: Int32 {
    Int32(bitPattern: SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
  }

  private static func loopback(_ port: Int) -> sockaddr_in {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = UInt16(truncatingIfNeeded: port).bigEndian
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    return address
  }
}
