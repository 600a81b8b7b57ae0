// The two directions of a channel, and the callbacks around them.
//
// `params` is the host's and valid during a call; calls with the same params never overlap. So
// `compress_data`, once setup has put a state there, is this call's alone.

let pieceSize = 4096  // divides every page size

/// Send side of a channel.
struct Sender: ~Copyable {
  let payload: Memory
  let piece: Memory
  let shortest: Int

  init(_ host: Host, _ params: borrowing MultiFDSendParams) throws(Failure) {
    let payload = try Memory(host, size: bound(params.page_size, params.page_count))
    let piece = try Memory(host, size: pieceSize)
    self.payload = payload
    self.piece = piece
    shortest = Int(truncatingIfNeeded: params.options[0].number)
  }

  func prepare(_ params: inout MultiFDSendParams) {
    params.iovs_num = 0
    params.next_packet_size = 0
    let pageSize = Int(params.page_size), count = Int(params.normal_num)
    guard count > 0, let block = params.host, let normal = params.normal else { return }
    let raw = 1 + count * pageSize  // at most payload.size: a packet has at most page_count pages
    var size: Int
    do throws(Full) {
      var writer = TokenWriter(payload.base + 1, limit: raw - 2)
      for index in 0..<count {
        for at in stride(from: 0, to: pageSize, by: pieceSize) {
          // Within a page of the packet. The guest may be writing to it: a piece is copied, so that
          // encode() sees bytes that hold still, each either old or new.
          memcpy(piece.base, block + Int(truncatingIfNeeded: normal[index]) + at, pieceSize)
          try writer.encode(piece.base, pieceSize, shortest: shortest)
        }
      }
      payload.base.pointee = Payload.rle
      size = 1 + writer.used
    } catch {  // it would not get smaller
      payload.base.pointee = Payload.raw
      size = 1
      for index in 0..<count {
        memcpy(payload.base + size, block + Int(truncatingIfNeeded: normal[index]), pageSize)
        size += pageSize
      }
    }
    params.iov[0] = MultiFDIOVec(iov_base: payload.base, iov_len: size)
    params.iovs_num = 1
    params.next_packet_size = UInt32(truncatingIfNeeded: size)  // fits: bound() has checked it
  }
}

/// Receive side of a channel.
struct Receiver: ~Copyable {
  let host: Host
  let payload: Memory

  init(_ host: Host, _ params: borrowing MultiFDRecvParams) throws(Failure) {
    payload = try Memory(host, size: bound(params.page_size, params.page_count))
    self.host = host
  }

  func receive(_ params: borrowing MultiFDRecvParams) throws(Failure) {
    let pageSize = Int(params.page_size), count = Int(params.normal_num)
    let size = Int(params.next_packet_size)
    guard count > 0, let block = params.host, let normal = params.normal else {
      guard size == 0 else { throw .corrupt("a payload without pages") }
      return
    }
    guard size >= 2, size <= payload.size else {
      throw .corrupt("the payload's size is not one that rle/1 can have")
    }
    try host.read(payload.base, 1)
    switch payload.base.pointee {
    case Payload.raw:
      guard size == 1 + count * pageSize else {
        throw .corrupt("a raw payload has not the size of its pages")
      }
      // Each page lies inside the block and is writable: the host has checked the offsets.
      for index in 0..<count {
        try host.read(block + Int(truncatingIfNeeded: normal[index]), pageSize)
      }
    case Payload.rle:
      try host.read(payload.base, size - 1)
      var reader = TokenReader(payload.base, limit: size - 1)
      for index in 0..<count {
        try reader.decode(block + Int(truncatingIfNeeded: normal[index]), pageSize)
      }
      guard reader.isAtEnd else { throw .corrupt("the payload is more than its pages") }
    default:
      throw .corrupt("the payload is neither RAW nor RLE")
    }
  }
}

/// payload_bound() for a channel that is being set up. Fails when such packets cannot be.
func bound(_ pageSize: UInt32, _ pageCount: UInt32) throws(Failure) -> Int {
  let bound = payloadBound(pageSize, pageCount)
  guard bound > 0, bound <= UInt64(UInt32.max) else {
    throw Failure(status: MULTIFD_ERROR_UNSUPPORTED, why: "packets of this size are not supported")
  }
  return Int(bound)
}

@c func sendSetup(_ params: UnsafeMutablePointer<MultiFDSendParams>) -> Int32 {
  let host = Host(services: params.pointee.services, channel: params.pointee.channel)
  return host.run { () throws(Failure) in
    params.pointee.compress_data = try host.install(Sender(host, params.pointee))
  }
}

@c func sendCleanup(_ params: UnsafeMutablePointer<MultiFDSendParams>) {
  Host(services: params.pointee.services, channel: params.pointee.channel)
    .remove(Sender.self, params.pointee.compress_data)
  params.pointee.compress_data = nil
}

@c func sendPrepare(_ params: UnsafeMutablePointer<MultiFDSendParams>) -> Int32 {
  guard let data = params.pointee.compress_data else { return MULTIFD_ERROR_INTERNAL }
  data.assumingMemoryBound(to: Sender.self).pointee.prepare(&params.pointee)
  return MULTIFD_OK
}

@c func recvSetup(_ params: UnsafeMutablePointer<MultiFDRecvParams>) -> Int32 {
  let host = Host(services: params.pointee.services, channel: params.pointee.channel)
  return host.run { () throws(Failure) in
    params.pointee.compress_data = try host.install(Receiver(host, params.pointee))
  }
}

@c func recvCleanup(_ params: UnsafeMutablePointer<MultiFDRecvParams>) {
  Host(services: params.pointee.services, channel: params.pointee.channel)
    .remove(Receiver.self, params.pointee.compress_data)
  params.pointee.compress_data = nil
}

@c func recvPacket(_ params: UnsafeMutablePointer<MultiFDRecvParams>) -> Int32 {
  let host = Host(services: params.pointee.services, channel: params.pointee.channel)
  return host.run { () throws(Failure) in
    guard let data = params.pointee.compress_data else {
      throw Failure(status: MULTIFD_ERROR_INTERNAL, why: "recv() comes before recv_setup()")
    }
    try data.assumingMemoryBound(to: Receiver.self).pointee.receive(params.pointee)
  }
}
