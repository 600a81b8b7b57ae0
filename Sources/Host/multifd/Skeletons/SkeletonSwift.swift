import Migration

// The skeleton in Swift: the border to the host.

extension Skeleton {
  enum SwiftFiles {
    /// Backend.swift
    static let backend = #"""
      // @NAME@: a multifd backend. The contract is multifd_plugin.h, what to do next is in README.md.
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
              throw .corrupt("the payload is not one of @NAME@'s")
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

      """#

    /// Table.swift
    static let table = #"""
      // The C border: the callbacks and the table. `params` is the host's and valid during a call; calls with the
      // same params never overlap, so `compress_data`, once setup has put a state there, is this call's alone.

      /// The one exported symbol.
      @c @implementation
      public func multifd_plugin_entry(_ host_major: UInt32) -> UnsafePointer<MultiFDMethods>? {
        host_major == UInt32(MULTIFD_ABI_MAJOR) ? UnsafePointer(table) : nil
      }

      /// A byte that says what follows, and at worst the pages as they are.
      @c func payloadBound(_ pageSize: UInt32, _ pageCount: UInt32) -> UInt64 {
        guard (4096...1 << 30).contains(pageSize), pageSize & (pageSize - 1) == 0, pageCount > 0 else {
          return 0
        }
        return 1 + UInt64(pageSize) * UInt64(pageCount)
      }

      extension Host {
        init(_ params: UnsafeMutablePointer<MultiFDSendParams>) {
          self.init(services: params.pointee.services, channel: params.pointee.channel)
        }
        init(_ params: UnsafeMutablePointer<MultiFDRecvParams>) {
          self.init(services: params.pointee.services, channel: params.pointee.channel)
        }
      }

      @c func sendSetup(_ params: UnsafeMutablePointer<MultiFDSendParams>) -> Int32 {
        let host = Host(params)
        return host.run { () throws(Failure) in
          params.pointee.compress_data = try host.install(
            State(host, pageSize: params.pointee.page_size, pageCount: params.pointee.page_count))
        }
      }

      @c func sendCleanup(_ params: UnsafeMutablePointer<MultiFDSendParams>) {
        Host(params).remove(params.pointee.compress_data)
        params.pointee.compress_data = nil
      }

      @c func sendPrepare(_ params: UnsafeMutablePointer<MultiFDSendParams>) -> Int32 {
        guard let data = params.pointee.compress_data else { return MULTIFD_ERROR_INTERNAL }
        data.assumingMemoryBound(to: State.self).pointee.send(&params.pointee)
        return MULTIFD_OK
      }

      @c func recvSetup(_ params: UnsafeMutablePointer<MultiFDRecvParams>) -> Int32 {
        let host = Host(params)
        return host.run { () throws(Failure) in
          params.pointee.compress_data = try host.install(
            State(host, pageSize: params.pointee.page_size, pageCount: params.pointee.page_count))
        }
      }

      @c func recvCleanup(_ params: UnsafeMutablePointer<MultiFDRecvParams>) {
        Host(params).remove(params.pointee.compress_data)
        params.pointee.compress_data = nil
      }

      @c func recvPacket(_ params: UnsafeMutablePointer<MultiFDRecvParams>) -> Int32 {
        Host(params).run { () throws(Failure) in
          guard let data = params.pointee.compress_data else {
            throw Failure(status: MULTIFD_ERROR_INTERNAL, why: "recv() comes before recv_setup()")
          }
          try data.assumingMemoryBound(to: State.self).pointee.receive(params.pointee)
        }
      }

      /// Made at the first call, never freed, never changed: safe to read from every thread.
      nonisolated(unsafe) private let table: UnsafeMutablePointer<MultiFDMethods> = {
        let table = UnsafeMutablePointer<MultiFDMethods>.allocate(capacity: 1)
        table.initialize(
          to: MultiFDMethods(
            magic: MULTIFD_PLUGIN_MAGIC,
            abi_major: UInt16(MULTIFD_ABI_MAJOR),
            abi_minor: UInt16(MULTIFD_ABI_MINOR),
            struct_size: UInt32(MemoryLayout<MultiFDMethods>.size),
            capabilities: MULTIFD_CAP_INDEPENDENT | MULTIFD_CAP_DETERMINISTIC,
            name: ("@NAME@" as StaticString).cString,
            version: ("0.1.0" as StaticString).cString,
            // Another number whenever old payloads no longer decode.
            wire_format: ("@NAME@/1" as StaticString).cString,
            description: ("a backend of my own" as StaticString).cString,
            qemu_method: MULTIFD_QEMU_METHOD_UNKNOWN,
            max_in_flight: 0,
            options: nil,
            options_num: 0,
            option_size: UInt32(MemoryLayout<MultiFDOption>.size),
            payload_bound: payloadBound,
            send_setup: sendSetup,
            send_cleanup: sendCleanup,
            send_prepare: sendPrepare,
            recv_setup: recvSetup,
            recv_cleanup: recvCleanup,
            recv: recvPacket))
        return table
      }()

      """#
  }
}
