import Migration

// The skeleton in Swift: the codec, the services, and what builds it.

extension Skeleton {
  enum SwiftCodecFiles {
    /// Codec.swift
    static let codec = #"""
      // The codec: replace it. Nothing here may trap: a trap ends the host.
      //
      // This one leaves out words of zeroes: of each 64 words, a bitmap of those that are not zero, then those.

      private let groupSize = 64 * 8  // divides every page size

      /// Compresses `pages` into `out`. Returns the compressed size, nil when it would be more than `out` can hold: the
      /// pages are then sent as they are. `pages` is a private copy, which holds still.
      func encode(_ out: UnsafeMutableRawBufferPointer, _ pages: UnsafeRawBufferPointer) -> Int? {
        var used = 0
        for start in stride(from: 0, to: pages.count, by: groupSize) {
          guard out.count - used >= 8 else { return nil }
          let mapPlace = used
          var map: UInt64 = 0
          used += 8
          for index in 0..<64 {
            let word = pages.loadUnaligned(fromByteOffset: start + index * 8, as: UInt64.self)
            if word == 0 { continue }
            guard out.count - used >= 8 else { return nil }
            out.storeBytes(of: word, toByteOffset: used, as: UInt64.self)
            used += 8
            map |= 1 << UInt64(index)
          }
          out.storeBytes(of: map, toByteOffset: mapPlace, as: UInt64.self)
        }
        return used
      }

      /// Decompresses `body` into exactly all of `pages`. False when `body` is anything else than that: the bytes come
      /// from the network, and nothing about them is sure.
      func decode(_ pages: UnsafeMutableRawBufferPointer, _ body: UnsafeRawBufferPointer) -> Bool {
        var used = 0
        for start in stride(from: 0, to: pages.count, by: groupSize) {
          guard body.count - used >= 8 else { return false }
          let map = body.loadUnaligned(fromByteOffset: used, as: UInt64.self)
          used += 8
          for index in 0..<64 {
            var word: UInt64 = 0
            if map >> UInt64(index) & 1 != 0 {
              guard body.count - used >= 8 else { return false }
              word = body.loadUnaligned(fromByteOffset: used, as: UInt64.self)
              used += 8
            }
            pages.storeBytes(of: word, toByteOffset: start + index * 8, as: UInt64.self)
          }
        }
        return used == body.count
      }

      """#

    /// Host.swift
    static let host = #"""
      // The host's side of the interface in Swift's words: services that throw, memory that frees itself.

      /// What a callback fails with: a status, and a reason unless the host knows it.
      struct Failure: Error {
        let status: Int32
        let why: StaticString?

        static func corrupt(_ why: StaticString) -> Failure {
          Failure(status: MULTIFD_ERROR_CORRUPT, why: why)
        }
        static var noMemory: Failure { Failure(status: MULTIFD_ERROR_NO_MEMORY, why: "out of memory") }
      }

      extension StaticString {
        /// The literal as C sees it: NUL-terminated, in the library's read-only data, valid for ever.
        var cString: UnsafePointer<CChar> {
          UnsafeRawPointer(utf8Start).assumingMemoryBound(to: CChar.self)
        }
      }

      /// The services of one channel; both pointers are the host's and valid from setup until cleanup returns.
      struct Host {
        let services: UnsafePointer<MultiFDServices>
        let channel: OpaquePointer

        /// Reads exactly as many bytes of the packet's payload as `bytes` holds. During recv only.
        func read(_ bytes: UnsafeMutableRawBufferPointer) throws(Failure) {
          guard let base = bytes.baseAddress else { return }
          let status = services.pointee.read(channel, base, bytes.count)
          guard status == MULTIFD_OK else { throw Failure(status: status, why: nil) }
        }

        /// Runs a callback's body; what it throws becomes the status, and its text goes to the host.
        func run(_ body: () throws(Failure) -> Void) -> Int32 {
          do throws(Failure) {
            try body()
            return MULTIFD_OK
          } catch {
            if let why = error.why { services.pointee.error(channel, why.cString) }
            return error.status
          }
        }

        /// Moves a new state into memory of its own, for `compress_data`. When there is none, the state is
        /// destroyed, and with it all that it owns.
        func install(_ state: consuming State) throws(Failure) -> UnsafeMutableRawPointer {
          guard let raw = services.pointee.alloc(channel, MemoryLayout<State>.size, 64) else {
            throw .noMemory
          }
          raw.bindMemory(to: State.self, capacity: 1).initialize(to: state)
          return raw
        }

        /// Undoes `install`. `raw` is what it returned, or nil.
        func remove(_ raw: UnsafeMutableRawPointer?) {
          guard let raw else { return }
          raw.assumingMemoryBound(to: State.self).deinitialize(count: 1)
          services.pointee.free(channel, raw)
        }
      }

      /// Memory from the host, freed with its owner.
      struct Memory: ~Copyable {
        private let base: UnsafeMutableRawPointer
        private let host: Host

        init(_ host: Host, size: Int) throws(Failure) {
          guard let base = host.services.pointee.alloc(host.channel, size, 64) else { throw .noMemory }
          self.base = base
          self.host = host
        }

        deinit { host.services.pointee.free(host.channel, base) }

        /// The first `size` bytes; the caller has asked for as many in init.
        func first(_ size: Int) -> UnsafeMutableRawBufferPointer {
          UnsafeMutableRawBufferPointer(start: base, count: size)
        }
      }

      """#

    /// Header.h
    static let header = #"""
      /* What the Swift code sees of C: the interface, and memcpy() and memset(). */
      #include <multifd_plugin.h>

      #include <string.h>

      """#

    /// Makefile
    static let makefile = #"""
      # make             builds libmultifd-@NAME@.so
      # make check       runs the harness on it; ARGS=--quick for the short form
      # make install     puts it where the host looks
      LIBRARY := libmultifd-@NAME@.so

      SWIFTC ?= swiftc
      SOURCES := $(wildcard *.swift)
      # Where multifd is installed, by pkg-config; else where it was when it wrote this file.
      PLUGIN_CFLAGS := $(shell pkg-config --cflags multifd-plugin 2>/dev/null || echo -I@INCLUDE@)
      PLUGINDIR ?= $(shell pkg-config --variable=plugindir multifd-plugin 2>/dev/null || echo @PLUGINDIR@)
      HARNESS ?= $(shell command -v multifd-harness || echo @BIN@/multifd-harness)

      # Embedded Swift: no Swift run-time among what the library needs, so that it runs wherever the host does.
      FLAGS := -enable-experimental-feature Embedded -wmo -O -swift-version 6 -warnings-as-errors \
        -parse-as-library -module-name Backend

      $(LIBRARY): $(SOURCES) Header.h plugin.map Makefile
      \#t$(SWIFTC) $(FLAGS) -import-objc-header Header.h $(addprefix -Xcc ,$(CPPFLAGS) $(PLUGIN_CFLAGS)) \
      \#t  -emit-library -nostartfiles -Xlinker --version-script=plugin.map -Xlinker -soname=$(LIBRARY) \
      \#t  -Xlinker --no-undefined $(SWIFTFLAGS) -o $@ $(SOURCES)

      .PHONY: check install clean
      check: $(LIBRARY)
      \#t$(HARNESS) $(ARGS) ./$(LIBRARY)

      install: $(LIBRARY)
      \#tinstall -D -m 644 $(LIBRARY) $(DESTDIR)$(PLUGINDIR)/$(LIBRARY)

      clean:
      \#trm -f $(LIBRARY)

      """#
  }
}
