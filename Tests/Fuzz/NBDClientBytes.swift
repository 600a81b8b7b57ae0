import NBD

/// What a client of the server of disks sends: options, and requests when it has chosen an export.
enum NBDClientBytes {
  private static let export = NBD.Export(
    name: "disk0", size: 1 << 20, flags: [.sendFlush, .sendFUA, .sendTrim, .sendWriteZeroes])

  static var seeds: [(name: String, bytes: [UInt8])] {
    let flags: [UInt8] = [0, 0, 0, 3]
    let name = Array("disk0".utf8)
    let go = big(UInt32(name.count)) + name + [0, 1, 0, 3]
    let requests =
      request(.write, 4096, 8) + Array("8 bytes!".utf8) + request(.flush, 0, 0)
      + request(.flush, 1 << 63, .max) + request(.read, 0, 512) + request(.trim, 0, 4096)
      + request(.writeZeroes, 1 << 19, 4096)
      + request(.disconnect, 0, 0)
    return [
      ("go", flags + option(7, go) + requests),
      ("export-name", flags + option(1, name) + requests),
      ("list", flags + option(3) + option(6, go) + option(2)),
      // STARTTLS, and what nobody knows.
      ("others", flags + option(5) + option(8) + option(77, [1, 2, 3]) + option(7, go)),
    ]
  }

  static func check(_ all: UnsafeRawBufferPointer) {
    check(all, requiresTLS: false)
    check(all, requiresTLS: true)
  }

  private static func check(_ all: UnsafeRawBufferPointer, requiresTLS: Bool) {
    var handshake = NBDHandshake(exports: [export], requiresTLS: requiresTLS)
    var start = 0
    while true {
      let rest = UnsafeRawBufferPointer(rebasing: all[start...])
      guard let step = try? handshake.next(rest) else { return }
      var used = 0
      if case .needMore(let count) = step {
        if count <= 0 || rest.count + count > 1 << 16 { breach("it asks for \(count) bytes") }
        return
      }
      if case .answer(_, let consumed) = step { used = consumed }
      if case .end(_, let consumed) = step { used = consumed }
      if case .startTLS(_, let consumed) = step {
        if !requiresTLS || consumed != rest.count { breach("TLS begins where it may not") }
        return
      }
      if case .choose(let name, let consumed) = step {
        if requiresTLS { breach("an export in clear") }
        used = consumed
        guard name != export.name else {
          if handshake.accept(export).count < 10 { breach("an export without a size") }
          start += used
          break
        }
        guard handshake.refuse(.unknown) != nil else { return }
      }
      // What it has understood and says no more of, it has done.
      guard used > 0 else { return }
      if used > rest.count { breach("\(used) of \(rest.count) bytes used") }
      if case .end = step { return }
      start += used
    }
    while all.count - start >= NBDRequest.size {
      let head = UnsafeRawBufferPointer(rebasing: all[start..<start + NBDRequest.size])
      guard let request = try? NBDRequest(decoding: head) else { return }
      start += NBDRequest.size + request.dataSize
      // Of whatever it is, refused or not.
      let range = request.range(size: export.size)
      if let range, range.upperBound > export.size { breach("\(range) is not inside") }
      guard request.obstacle(size: export.size) == nil else { continue }
      guard let kind = request.kind else { breach("a request of no kind may be done") }
      if kind == .flush || kind == .disconnect {
        if range != nil { breach("a request that is about nothing is about \(request)") }
        continue
      }
      if range?.count != Int(request.length) { breach("\(request) is done in part") }
      let (end, overflow) = request.offset.addingReportingOverflow(UInt64(request.length))
      if overflow || end > export.size {
        breach("a request beyond the end may be done: \(request)")
      }
      if kind == .read || kind == .write, request.length > NBD.longestData {
        breach("\(request.length) bytes at once")
      }
    }
  }

  private static func option(_ number: UInt32, _ data: [UInt8] = []) -> [UInt8] {
    big(0x4948_4156_454f_5054 as UInt64) + big(number) + big(UInt32(data.count)) + data
  }

  private static func request(_ kind: NBDRequest.Kind, _ offset: UInt64, _ length: UInt32)
    -> [UInt8]
  {
    big(0x2560_9513 as UInt32) + [0, 0] + big(kind.rawValue) + big(UInt64(7)) + big(offset)
      + big(length)
  }

  private static func big(_ number: some FixedWidthInteger) -> [UInt8] {
    withUnsafeBytes(of: number.bigEndian, Array.init)
  }
}
