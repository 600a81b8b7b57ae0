import Glibc
import Migration
import NBD
import Store
import Synchronization
import System
import Transport

/// A client of a disk's export: the handshake, and then its requests one after the other.
final class DiskConnection: Sendable {
  let socket: Socket
  /// When it came.
  let since = ContinuousClock.now
  private let disks: [EpochDisk]
  private let serving = Atomic(false)
  private let log: @Sendable (String) -> Void

  init(_ socket: Socket, _ disks: [EpochDisk], log: @escaping @Sendable (String) -> Void) {
    (self.socket, self.disks, self.log) = (socket, disks, log)
  }

  /// It has chosen a disk.
  var isServing: Bool { serving.load(ordering: .relaxed) }

  /// Serves it until it is gone. In a thread of its own.
  func run() {
    var input = InputBuffer(socket, capacity: 1 << 16)
    do {
      guard let (disk, ticket) = try chooseDisk(&input) else { return }
      var why = "its connection has ended"
      defer {
        if !disk.detach(ticket, why) { why = "a connection that has asked for nothing gives way" }
        log("disk '\(disk.name)': \(why)")
      }
      log("disk '\(disk.name)': a mirror is connected")
      serving.store(true, ordering: .relaxed)
      do {
        // Who asks for nothing may have to give way.
        guard try input.require(NBDRequest.size, idle: true) else { return }
        guard disk.use(ticket) else { return }
        try serve(disk, &input)
      } catch {
        why = "its connection has failed: \(Failure(error, at: "nbd").why)"
      }
    } catch {
      // A port scan, a health check, something that speaks no NBD.
      socket.cut()
    }
  }

  private func chooseDisk(
    _ input: inout InputBuffer
  ) throws -> (EpochDisk, ticket: Int)? {
    var handshake = NBDHandshake(exports: disks.map(Self.export))
    try socket.write(NBDHandshake.greeting)
    while true {
      switch try handshake.next(input.bytes) {
      case .needMore(let missing):
        guard try input.require(input.bytes.count + missing, idle: false) else { return nil }
      case .answer(let answer, let consumed):
        input.consume(consumed)
        if !answer.isEmpty { try socket.write(answer) }
      case .end(let answer, let consumed):
        input.consume(consumed)
        try socket.write(answer)
        return nil
      case .choose(let name, let consumed):
        input.consume(consumed)
        let disk = disks.first { $0.name == name }
        if let disk, let ticket = disk.attach(giveWay: { [socket] in socket.cut() }) {
          do { try socket.write(handshake.accept(Self.export(disk))) } catch {
            disk.detach(ticket, "its connection has failed")
            throw error
          }
          return (disk, ticket)
        }
        let why: NBDHandshake.Refusal =
          disk.map { $0.isOver ? .shutdown : .policy } ?? .unknown
        guard let answer = handshake.refuse(why) else { return nil }
        try socket.write(answer)
      }
    }
  }

  private static func export(_ disk: EpochDisk) -> NBD.Export {
    NBD.Export(
      name: disk.name, size: UInt64(disk.image.size),
      flags: [.sendFlush, .sendFUA, .sendTrim, .sendWriteZeroes])
  }

  private func serve(_ disk: EpochDisk, _ input: inout InputBuffer) throws {
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
        disk.refuse("its client has asked for what cannot be")
        // The data of a write come all the same.
        guard request.dataSize <= NBD.longestData else {
          throw Failure(.corrupt, "nbd", "a write of \(request.dataSize) bytes")
        }
        try skip(request.dataSize, &input)
        try socket.write(request.reply(obstacle))
        continue
      }
      if needs > buffer.count {
        buffer.deallocate()
        buffer = .allocate(byteCount: needs, alignment: 4096)
      }
      let data = UnsafeMutableRawBufferPointer(rebasing: buffer[..<needs])
      if request.kind == .write { try input.take(into: data) }
      let error = perform(request, data, on: disk)
      try answer(request, error, request.kind == .read ? UnsafeRawBufferPointer(data) : nil)
    }
  }

  private func perform(
    _ request: NBDRequest, _ data: UnsafeMutableRawBufferPointer, on disk: EpochDisk
  ) -> NBD.ReplyError {
    let range = Int(request.offset)..<Int(request.offset) + Int(request.length)
    do throws(EpochDisk.RequestError) {
      switch request.kind {
      case .read: try disk.read(into: data, at: range.lowerBound)
      case .write: try disk.write(UnsafeRawBufferPointer(data), at: range)
      case .trim, .writeZeroes: try disk.write(nil, at: range)
      case .flush: disk.flush()
      case .disconnect, nil: break
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
    _ request: NBDRequest, _ error: NBD.ReplyError, _ data: UnsafeRawBufferPointer?
  ) throws {
    let head = request.reply(error)
    guard let data, error == .none else { return try socket.write(head) }
    try head.withUnsafeBytes { head in
      try withUnsafeTemporaryAllocation(of: iovec.self, capacity: 2) { pieces in
        // Both live as long as the call; sendmsg(2) only reads.
        pieces[0] = iovec(
          iov_base: UnsafeMutableRawPointer(mutating: head.baseAddress), iov_len: head.count)
        pieces[1] = iovec(
          iov_base: UnsafeMutableRawPointer(mutating: data.baseAddress), iov_len: data.count)
        try socket.write(pieces: pieces)
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
