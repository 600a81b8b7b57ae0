import Glibc
import Migration
import NBD
import Store
import Synchronization
import System
import TLS
import Transport

/// A client of a disk's export: the handshake, and then its requests one after the other.
final class DiskConnection: Sendable {
  let socket: Socket
  /// When it came.
  let since = ContinuousClock.now
  private let disks: [EpochDisk]
  private let tls: TLSCredentials?
  private let timeout: Double
  private let serving = Atomic(false)
  private let strangers: StrangerLog
  private let log: @Sendable (String) -> Void

  /// A client that has connected.
  ///
  /// - Parameters:
  ///   - tls: what it has to come by; nil: it cannot.
  ///   - timeout: seconds that its handshake for that may take.
  ///   - strangers: told of those that are not to come in.
  init(
    _ socket: Socket, _ disks: [EpochDisk], tls: TLSCredentials?, within timeout: Double,
    strangers: StrangerLog, log: @escaping @Sendable (String) -> Void
  ) {
    (self.socket, self.disks, self.log) = (socket, disks, log)
    (self.tls, self.timeout, self.strangers) = (tls, timeout, strangers)
  }

  /// It has chosen a disk.
  var isServing: Bool { serving.load(ordering: .relaxed) }

  /// Serves it until it is gone. In a thread of its own.
  func run() {
    // The socket, until it is the same with TLS.
    var line = socket
    var input = InputBuffer(line, capacity: 1 << 16)
    do {
      guard let (disk, ticket) = try chooseDisk(&line, &input) else { return }
      // What ends it is a request of its own: any other end is a mirror that is lost.
      line.acceptAbruptEnd()
      var why = "its connection has ended"
      defer {
        if !disk.detach(ticket, why) { why = "a connection that has asked for nothing gives way" }
        log("disk '\(disk.name)': \(why)")
      }
      let by = line.encryption.map { " by \($0)" } ?? ""
      log("disk '\(disk.name)': a mirror is connected\(by)")
      serving.store(true, ordering: .relaxed)
      do {
        // Who asks for nothing may have to give way.
        guard try input.require(NBDRequest.size, idle: true) else { return }
        guard disk.use(ticket) else { return }
        try serve(disk, line, &input)
      } catch {
        why = "its connection has failed: \(Failure(error, at: "nbd").why)"
      }
    } catch {
      // A port scan, a health check, something that speaks no NBD.
      socket.cut()
    }
  }

  private func chooseDisk(
    _ line: inout Socket, _ input: inout InputBuffer
  ) throws -> (EpochDisk, ticket: Int)? {
    var handshake = NBDHandshake(exports: disks.map(Self.export), requiresTLS: tls != nil)
    var chosen: (EpochDisk, ticket: Int)?
    defer {
      // Not of one that has got over it.
      if chosen == nil {
        switch handshake.mismatch {
        case .plain: strangers.note(.plain, from: socket.origin)
        case .wantsTLS: strangers.note(.encrypted, from: socket.origin)
        case .clearBehindTLS:
          strangers.note(.untrusted("it goes on in clear behind STARTTLS"), from: socket.origin)
        case nil: break
        }
      }
    }
    chosen = try chooseDisk(&handshake, &line, &input)
    return chosen
  }

  /// Goes on by TLS; false where the client has left.
  private func encrypt(
    _ line: inout Socket, _ input: inout InputBuffer, by tls: TLSCredentials
  ) throws -> Bool {
    do {
      line = try socket.encrypted(by: tls, within: timeout)
      // Not what was in the other: that came in clear.
      input = InputBuffer(line, capacity: 1 << 16)
      return try input.require(1, idle: false)
    } catch let error as TLSError {
      strangers.note(.untrusted(error.message), from: socket.origin)
      throw error
    } catch let error as TransportError where error.kind == .closed || error.kind == .untrusted {
      // It does not accept this side: a QEMU says so by leaving.
      strangers.note(.untrusted(error.message), from: socket.origin)
      throw error
    }
  }

  private func chooseDisk(
    _ handshake: inout NBDHandshake, _ line: inout Socket, _ input: inout InputBuffer
  ) throws -> (EpochDisk, ticket: Int)? {
    try line.write(NBDHandshake.greeting)
    while true {
      switch try handshake.next(input.bytes) {
      case .needMore(let missing):
        guard try input.require(input.bytes.count + missing, idle: false) else { return nil }
      case .answer(let answer, let consumed):
        input.consume(consumed)
        if !answer.isEmpty { try line.write(answer) }
      case .end(let answer, let consumed):
        input.consume(consumed)
        try line.write(answer)
        line.finishWriting()
        return nil
      case .startTLS(let answer, _):
        guard let tls else { return nil }
        try line.write(answer)
        guard try encrypt(&line, &input, by: tls) else { return nil }
      case .choose(let name, let consumed):
        input.consume(consumed)
        let disk = disks.first { $0.name == name }
        if let disk, let ticket = disk.attach(giveWay: { [socket] in socket.cut() }) {
          do { try line.write(handshake.accept(Self.export(disk))) } catch {
            disk.detach(ticket, "its connection has failed")
            throw error
          }
          return (disk, ticket)
        }
        let why: NBDHandshake.Refusal =
          disk.map { $0.isOver ? .shutdown : .policy } ?? .unknown
        guard let answer = handshake.refuse(why) else { return nil }
        try line.write(answer)
      }
    }
  }

  private static func export(_ disk: EpochDisk) -> NBD.Export {
    NBD.Export(
      name: disk.name, size: UInt64(disk.image.size),
      flags: [.sendFlush, .sendFUA, .sendTrim, .sendWriteZeroes])
  }

  private func serve(_ disk: EpochDisk, _ line: Socket, _ input: inout InputBuffer) throws {
    // For the data of one request: as much as the longest so far.
    var buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 18, alignment: 4096)
    defer { buffer.deallocate() }
    while true {
      guard try input.require(NBDRequest.size, idle: true) else { return }
      let request: NBDRequest
      do {
        request = try NBDRequest(decoding: input.bytes)
      } catch {
        disk.refuse("its client \(error.message)")
        throw error
      }
      input.consume(NBDRequest.size)
      if request.kind == .disconnect { return }
      let size = Int(request.length)
      let needs = request.kind == .read || request.kind == .write ? size : 0
      if let obstacle = request.obstacle(size: UInt64(disk.image.size)) {
        // What it was to write there the image lacks.
        disk.refuse(
          "its client has asked for what cannot be",
          lacking: request.kind == .read ? nil : request.range(size: UInt64(disk.image.size)))
        // The data of a write come all the same.
        guard request.dataSize <= NBD.longestData else {
          throw Failure(.corrupt, "nbd", "a write of \(request.dataSize) bytes")
        }
        try skip(request.dataSize, &input)
        try line.write(request.reply(obstacle))
        continue
      }
      if needs > buffer.count {
        buffer.deallocate()
        buffer = .allocate(byteCount: needs, alignment: 4096)
      }
      let data = UnsafeMutableRawBufferPointer(rebasing: buffer[..<needs])
      if request.kind == .write { try input.take(into: data) }
      let error = perform(request, data, on: disk)
      let read = request.kind == .read ? UnsafeRawBufferPointer(data) : nil
      try answer(request, error, read, on: line)
    }
  }

  private func perform(
    _ request: NBDRequest, _ data: UnsafeMutableRawBufferPointer, on disk: EpochDisk
  ) -> NBD.ReplyError {
    do throws(EpochDisk.RequestError) {
      switch (request.kind, request.range(size: UInt64(disk.image.size))) {
      case (.read, let range?): try disk.read(into: data, at: range.lowerBound)
      case (.write, let range?): try disk.write(UnsafeRawBufferPointer(data), at: range)
      case (.trim, let range?), (.writeZeroes, let range?): try disk.write(nil, at: range)
      case (.flush, _): disk.flush()
      default: break
      }
      return .none
    } catch {
      switch error {
      case .full:
        // The primary goes on without us before any checkpoint could say so.
        log("disk '\(disk.name)': no room for a write: its file system is full")
        return .noSpace
      case .failed(let why):
        log("disk '\(disk.name)': \(why)")
        return .io
      case .closed: return .shutdown
      }
    }
  }

  private func answer(
    _ request: NBDRequest, _ error: NBD.ReplyError, _ data: UnsafeRawBufferPointer?,
    on line: Socket
  ) throws {
    let head = request.reply(error)
    guard let data, error == .none else { return try line.write(head) }
    try head.withUnsafeBytes { head in
      try withUnsafeTemporaryAllocation(of: iovec.self, capacity: 2) { pieces in
        // Both live as long as the call; sendmsg(2) only reads.
        pieces[0] = iovec(
          iov_base: UnsafeMutableRawPointer(mutating: head.baseAddress), iov_len: head.count)
        pieces[1] = iovec(
          iov_base: UnsafeMutableRawPointer(mutating: data.baseAddress), iov_len: data.count)
        try line.write(pieces: pieces)
      }
    }
  }

  private func skip(_ count: Int, _ input: inout InputBuffer) throws {
    guard count > 0 else { return }
    let rest = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 16)
    defer { rest.deallocate() }
    try input.take(into: rest)
  }
}
