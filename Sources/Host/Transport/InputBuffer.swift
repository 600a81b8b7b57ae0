import Glibc

/// What has arrived on a connection and is not consumed yet: the bytes that an incremental decoder
/// looks at. Grows only as far as its owner asks, which the decoder's limits bound.
public struct InputBuffer: ~Copyable {
  private var memory: UnsafeMutableRawBufferPointer
  private var start = 0
  private var end = 0
  private let socket: Socket
  private let acknowledgesAtOnce: Bool

  /// A buffer in front of a socket.
  ///
  /// - Parameter acknowledgesAtOnce: a source writes the end of a migration in small pieces without
  ///   TCP_NODELAY, so its kernel waits for an ACK that ours would delay by 40 ms, while the guest
  ///   stands still (SPECIFICATION, "delayed ACKs"). With this, it does not.
  public init(_ socket: Socket, capacity: Int = 1 << 18, acknowledgesAtOnce: Bool = false) {
    self.socket = socket
    self.acknowledgesAtOnce = acknowledgesAtOnce
    memory = .allocate(byteCount: capacity, alignment: 64)
  }

  deinit { memory.deallocate() }

  /// The bytes that are there. Valid until the next mutating call.
  public var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: memory[start..<end]) }

  /// Drops bytes from the front.
  public mutating func consume(_ count: Int) {
    precondition(count >= 0 && count <= end - start)
    start += count
    if start == end { (start, end) = (0, 0) }
  }

  /// Reads until at least `count` bytes are there.
  ///
  /// - Parameter idle: the peer may be silent while there is nothing in the buffer.
  /// - Returns: false at the end of the stream.
  public mutating func require(_ count: Int, idle: Bool) throws(TransportError) -> Bool {
    makeRoom(for: count)
    while end - start < count {
      let got = try socket.read(
        into: UnsafeMutableRawBufferPointer(rebasing: memory[end...]), idle: idle && start == end)
      if got == 0 { return false }
      didRead(got)
    }
    return true
  }

  /// The same until a certain moment.
  ///
  /// - Returns: nil when that has come; what has come by then is kept.
  public mutating func require(
    _ count: Int, until deadline: ContinuousClock.Instant
  ) throws(TransportError) -> Bool? {
    makeRoom(for: count)
    while end - start < count {
      guard socket.waitReadable(seconds: (deadline - .now) / .seconds(1)) else { return nil }
      let room = UnsafeMutableRawBufferPointer(rebasing: memory[end...])
      guard let got = try socket.readNow(into: room) else { continue }
      if got == 0 { return false }
      didRead(got)
    }
    return true
  }

  /// For so many bytes, those that are there with them.
  private mutating func makeRoom(for count: Int) {
    if memory.count - start < count {
      if memory.count < count {
        let bigger = UnsafeMutableRawBufferPointer.allocate(
          byteCount: max(count, memory.count * 2), alignment: 64)
        bigger.copyMemory(from: bytes)
        memory.deallocate()
        memory = bigger
      } else {
        // Source and destination lie in the same allocation; memmove copes with their overlap.
        memmove(memory.baseAddress!, memory.baseAddress! + start, end - start)
      }
      (start, end) = (0, end - start)
    }
  }

  private mutating func didRead(_ count: Int) {
    end += count
    // Where the buffer is full there is more to read, and the kernel acknowledges that by itself.
    if acknowledgesAtOnce, end < memory.count { socket.acknowledge() }
  }

  /// Moves `destination.count` bytes out: from the buffer first, the rest straight from the socket.
  /// Where that is little, what follows comes with it.
  public mutating func take(into destination: UnsafeMutableRawBufferPointer) throws(TransportError)
  {
    let buffered = min(destination.count, end - start)
    if buffered > 0 {
      // Both ranges have at least `buffered` bytes, and the buffer is nobody else's memory.
      destination.baseAddress!.copyMemory(
        from: memory.baseAddress! + start, byteCount: buffered)
      consume(buffered)
    }
    guard buffered < destination.count else { return }
    let rest = UnsafeMutableRawBufferPointer(rebasing: destination[buffered...])
    if rest.count <= memory.count / 8 {
      // The buffer is empty: all of it is room.
      didRead(try socket.fill(rest, more: memory))
      return
    }
    guard try socket.fill(rest, idle: false) else {
      throw TransportError(.closed, "\(socket.peer) closed the connection inside a page")
    }
  }
}
