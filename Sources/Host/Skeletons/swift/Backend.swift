// new-backend: a multifd backend. The contract is multifd_plugin.h, what to do next is in README.md.
//
// Codec.swift is the codec: replace it. The rest is the border to the host and complete as it is, for a codec
// that compresses a packet's pages as one piece, each packet by itself. Written for Embedded Swift.

/// The first byte of a payload.
enum First {
  static let raw: UInt8 = 0
  static let coded: UInt8 = 1
}

/// A channel's state, in either direction.
struct State: ~Copyable {
  let host: Host
  /// payload_bound() bytes.
  let payload: Memory
  /// A packet's pages, one after the other.
  let pages: Memory

  init(_ host: Host, pageSize: UInt32, pageCount: UInt32) throws(Failure) {
    let bound = payloadBound(pageSize, pageCount)
    guard bound > 0, bound <= UInt64(UInt32.max) else {
      let why: StaticString = "packets of this size are not supported"
      throw Failure(status: MULTIFD_ERROR_UNSUPPORTED, why: why)
    }
    let payload = try Memory(host, size: Int(bound))
    let pages = try Memory(host, size: Int(bound) - 1)
    self.host = host
    self.payload = payload
    self.pages = pages
  }

  func send(_ params: inout MultiFDSendParams) {
    params.iovs_num = 0
    params.next_packet_size = 0
    let pageSize = Int(params.page_size), count = Int(params.normal_num)
    guard count > 0, let block = params.host, let normal = params.normal else { return }
    // At most page_count pages, for which the memory was made.
    let pages = pages.first(count * pageSize), payload = payload.first(1 + count * pageSize)
    for index in 0..<count {
      // The guest may be writing to its page: the codec gets a copy.
      let page = UnsafeRawBufferPointer(
        start: block + Int(truncatingIfNeeded: normal[index]), count: pageSize)
      UnsafeMutableRawBufferPointer(rebasing: pages[(index * pageSize)...]).copyMemory(from: page)
    }

    let body = UnsafeMutableRawBufferPointer(rebasing: payload[1...])
    let room = UnsafeMutableRawBufferPointer(rebasing: body[..<(pages.count - 1)])
    var size = 1
    if let coded = encode(room, UnsafeRawBufferPointer(pages)) {
      payload[0] = First.coded
      size += coded
    } else {
      payload[0] = First.raw
      body.copyMemory(from: UnsafeRawBufferPointer(pages))
      size += pages.count
    }
    guard let base = payload.baseAddress else { return }
    params.iov[0] = MultiFDIOVec(iov_base: base, iov_len: size)
    params.iovs_num = 1
    params.next_packet_size = UInt32(truncatingIfNeeded: size)  // fits: init has checked the bound
  }

  func receive(_ params: borrowing MultiFDRecvParams) throws(Failure) {
    let pageSize = Int(params.page_size), count = Int(params.normal_num)
    let size = Int(params.next_packet_size)
    guard count > 0, let block = params.host, let normal = params.normal else {
      guard size == 0 else { throw .corrupt("a payload without pages") }
      return
    }
    guard size >= 1, size <= 1 + count * pageSize else {
      throw .corrupt("the payload has not the size of its pages")
    }
    let payload = payload.first(size)
    try host.read(payload)

    var pages = pages.first(count * pageSize)
    let body = UnsafeMutableRawBufferPointer(rebasing: payload[1...])
    if payload[0] == First.raw, body.count == pages.count {
      pages = body
    } else {
      guard payload[0] == First.coded, decode(pages, UnsafeRawBufferPointer(body)) else {
        throw .corrupt("the payload is not one of new-backend's")
      }
    }
    for index in 0..<count {
      // The host has checked that every page lies inside the block and is writable.
      UnsafeMutableRawBufferPointer(
        start: block + Int(truncatingIfNeeded: normal[index]), count: pageSize
      ).copyMemory(
        from: UnsafeRawBufferPointer(rebasing: pages[(index * pageSize)...].prefix(pageSize)))
    }
  }
}
