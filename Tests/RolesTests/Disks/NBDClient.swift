import Foundation
import Glibc
import TLS
import TestSupport

/// A client of an NBD server, as the other side of the tests: what it says is its caller's to
/// choose, right or wrong. Numbers are those of the protocol's document.
final class NBDClient {
  /// How a client ends, other than well.
  enum Ended: Error, Equatable {
    /// The server has closed the connection.
    case gone
    /// It says nothing.
    case silence
    /// It has answered an option with this error.
    case refused(UInt32)
    /// It says what is no answer.
    case unexpected(String)
  }

  /// Kinds of an option.
  enum Option {
    static let (exportName, abort, list, startTLS, info, go):
      (UInt32, UInt32, UInt32, UInt32, UInt32, UInt32) = (1, 2, 3, 5, 6, 7)
  }
  /// Kinds of a request.
  enum Kind: UInt16 { case read, write, disconnect, flush, trim, writeZeroes = 6 }
  /// Errors.
  enum Code {
    static let (policy, invalid, tlsRequired, unknown, shutdown):
      (UInt32, UInt32, UInt32, UInt32, UInt32) = (
        0x8000_0002, 0x8000_0003, 0x8000_0005, 0x8000_0006, 0x8000_0007
      )
  }

  /// The connection.
  let socket: Int32
  /// What the server has said of the export.
  private(set) var size: UInt64 = 0
  private(set) var flags: UInt16 = 0
  /// What it has come to speak by.
  private var tls: TLSSession?
  private var cookie: UInt64 = 0x1000
  private var open = true

  /// Connects, and says nothing.
  init(_ uri: String) throws { socket = try Primary.connect(uri) }

  /// Connects, and takes an export by GO.
  convenience init(_ uri: String, export: String, by tls: TLSCredentials? = nil) throws {
    try self.init(uri)
    do {
      try greet()
      if let tls { try startTLS(tls) }
      try go(export)
    } catch {
      close()
      throw error
    }
  }

  deinit { close() }

  /// Ends the connection without a word.
  func close() {
    guard open else { return }
    open = false
    Glibc.close(socket)
  }

  // MARK: The handshake

  /// The server's greeting, and flags in answer.
  func greet(flags: UInt32 = 3) throws {
    let greeting = try read(18)
    guard greeting == Array("NBDMAGICIHAVEOPT".utf8) + [0, 3] else {
      throw Ended.unexpected("greeting \(greeting)")
    }
    try send(flags.big)
  }

  /// Goes on by TLS.
  func startTLS(_ credentials: TLSCredentials) throws {
    _ = try ask(Option.startTLS)
    try shake(credentials)
  }

  /// The handshake of TLS, whatever was said before.
  func shake(_ credentials: TLSCredentials) throws {
    let session = try TLSSession(socket, credentials)
    try session.shake(within: 20)
    tls = session
  }

  /// Takes an export by GO.
  func go(_ name: String) throws { try take(answers: ask(Option.go, Self.infoData(name))) }

  /// Asks what an export is.
  func info(_ name: String) throws { try take(answers: ask(Option.info, Self.infoData(name))) }

  /// Takes an export the old way.
  func exportName(_ name: String, zeroes: Bool = false) throws {
    try send(Self.option(Option.exportName, Array(name.utf8)))
    let answer = try read(10 + (zeroes ? 124 : 0))
    (size, flags) = (answer.big(0), answer.big(8))
  }

  /// Names of exports.
  func list() throws -> [String] {
    try ask(Option.list).filter { $0.type == 2 }.map {
      String(decoding: $0.data.dropFirst(4), as: UTF8.self)
    }
  }

  /// Sends an option, and takes answers up to ACK or an error.
  func ask(_ kind: UInt32, _ data: [UInt8] = []) throws -> [(type: UInt32, data: [UInt8])] {
    try send(Self.option(kind, data))
    var answers: [(type: UInt32, data: [UInt8])] = []
    while true {
      let head = try read(20)
      guard head.big(0) as UInt64 == 0x0003_e889_0455_65a9, head.big(8) as UInt32 == kind else {
        throw Ended.unexpected("reply \(head)")
      }
      let (type, length): (UInt32, UInt32) = (head.big(12), head.big(16))
      let data = try read(Int(length))
      if type & 0x8000_0000 != 0 { throw Ended.refused(type) }
      guard type != 1 else { return answers }
      answers.append((type, data))
    }
  }

  private func take(answers: [(type: UInt32, data: [UInt8])]) throws {
    for answer in answers where answer.type == 3 && answer.data.big(0) as UInt16 == 0 {
      (size, flags) = (answer.data.big(2), answer.data.big(10))
    }
  }

  static func option(_ kind: UInt32, _ data: [UInt8] = []) -> [UInt8] {
    Array("IHAVEOPT".utf8) + kind.big + UInt32(data.count).big + data
  }

  /// What GO and INFO have in them: a name, and no wish for more than is told anyhow.
  static func infoData(_ name: String) -> [UInt8] {
    UInt32(name.utf8.count).big + Array(name.utf8) + UInt16(0).big
  }

  // MARK: Requests

  /// A request's bytes.
  static func request(
    _ kind: UInt16, flags: UInt16 = 0, cookie: UInt64 = 7, at offset: UInt64, count: UInt32
  ) -> [UInt8] {
    UInt32(0x2560_9513).big + flags.big + kind.big + cookie.big + offset.big + count.big
  }

  /// Sends a request, and takes its answer.
  ///
  /// - Returns: its error, 0 for none, and for a read that has worked the data.
  @discardableResult
  func perform(
    _ kind: Kind, flags: UInt16 = 0, at offset: Int = 0, count: Int = 0, _ data: [UInt8] = []
  ) throws -> (error: UInt32, data: [UInt8]) {
    cookie += 1
    try send(
      Self.request(
        kind.rawValue, flags: flags, cookie: cookie, at: UInt64(offset), count: UInt32(count))
        + data)
    let error = try answer(cookie)
    return (error, kind == .read && error == 0 ? try read(count) : [])
  }

  /// Takes the head of an answer: its error.
  func answer(_ cookie: UInt64) throws -> UInt32 {
    let head = try read(16)
    guard head.big(0) as UInt32 == 0x6744_6698, head.big(8) as UInt64 == cookie else {
      throw Ended.unexpected("answer \(head)")
    }
    return head.big(4)
  }

  // MARK: Bytes

  /// Sends bytes as they are.
  func send(_ bytes: [UInt8]) throws {
    if let tls { return try bytes.withUnsafeBytes { try tls.send($0) } }
    guard Sockets.write(socket, bytes) else { throw Ended.gone }
  }

  /// Reads exactly so many.
  func read(_ count: Int) throws -> [UInt8] {
    var bytes: [UInt8] = []
    while bytes.count < count {
      var buffer = [UInt8](repeating: 0, count: count - bytes.count)
      let got = tls == nil ? Sockets.receive(socket, &buffer) : receive(&buffer)
      if got < 0, errno == EAGAIN { throw Ended.silence }
      guard got > 0 else { throw Ended.gone }
      bytes += buffer[..<got]
    }
    return bytes
  }

  /// What it says until it closes.
  func rest() -> [UInt8] {
    var all: [UInt8] = []
    while let byte = try? read(1) { all += byte }
    return all
  }

  /// As recv(2).
  private func receive(_ buffer: inout [UInt8]) -> Int {
    buffer.withUnsafeMutableBytes { bytes in
      do throws(TLSError) { return try tls?.receive(bytes) ?? 0 } catch {
        errno = error.kind == .silent ? EAGAIN : 0
        return error.kind == .silent ? -1 : 0
      }
    }
  }

  /// Waits until the server has closed the connection; false if it does not within 20 s.
  func readToEnd() -> Bool {
    while true {
      do { _ = try read(1) } catch { return error as? Ended == .gone }
    }
  }
}

extension FixedWidthInteger {
  /// Its bytes, the highest first.
  var big: [UInt8] { withUnsafeBytes(of: bigEndian, Array.init) }
}

extension [UInt8] {
  /// The number at an offset.
  func big<Value: FixedWidthInteger>(_ offset: Int) -> Value {
    self[offset..<offset + MemoryLayout<Value>.size].reduce(0) { $0 << 8 | Value($1) }
  }
}
