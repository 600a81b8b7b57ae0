import Foundation
import Migration
import PluginLoader
import Roles
import SessionReplay
import Store
import TestSupport
import Testing
import Wire

/// A backend that encodes wrongly: made here, with the machine's C compiler.
enum BrokenBackend {
  static let source = """
    #include "multifd_plugin.h"
    #include <stdlib.h>
    #include <string.h>
    static uint64_t bound(uint32_t size, uint32_t count) { return (uint64_t)size * count; }
    static int32_t send_setup(MultiFDSendParams *p) {
      p->compress_data = malloc((size_t)p->page_size * p->page_count);
      return p->compress_data ? MULTIFD_OK : MULTIFD_ERROR_NO_MEMORY;
    }
    static void send_cleanup(MultiFDSendParams *p) { free(p->compress_data); p->compress_data = 0; }
    static int32_t send_prepare(MultiFDSendParams *p) {
      uint8_t *out = p->compress_data;
      size_t size = p->page_size;
      if (p->normal_num == 0) return MULTIFD_OK;
      for (uint32_t i = 0; i < p->normal_num; i++)
        memcpy(out + i * size, p->host + p->normal[i], size);
      out[p->normal_num * size - 1] ^= 1; /* the last byte of the last page */
      p->iov[0].iov_base = out;
      p->iov[0].iov_len = p->normal_num * size;
      p->iovs_num = 1;
      p->next_packet_size = (uint32_t)(p->normal_num * size);
      return MULTIFD_OK;
    }
    static int32_t recv_setup(MultiFDRecvParams *p) { (void)p; return MULTIFD_OK; }
    static void recv_cleanup(MultiFDRecvParams *p) { (void)p; }
    static int32_t receive(MultiFDRecvParams *p) {
      for (uint32_t i = 0; i < p->normal_num; i++) {
        int32_t status = p->services->read(p->channel, p->host + p->normal[i], p->page_size);
        if (status != MULTIFD_OK) return status;
      }
      return MULTIFD_OK;
    }
    static const MultiFDMethods table = {
      MULTIFD_METHODS_HEAD,
      .capabilities = MULTIFD_CAP_INDEPENDENT | MULTIFD_CAP_DETERMINISTIC,
      .name = "broken", .version = "1", .wire_format = "zlib/1",
      .description = "turns over one bit of each packet",
      .qemu_method = MULTIFD_QEMU_METHOD_ZLIB, .option_size = sizeof(MultiFDOption),
      .payload_bound = bound,
      .send_setup = send_setup, .send_cleanup = send_cleanup, .send_prepare = send_prepare,
      .recv_setup = recv_setup, .recv_cleanup = recv_cleanup, .recv = receive,
    };
    const MultiFDMethods *multifd_plugin_entry(uint32_t major) {
      return major == MULTIFD_ABI_MAJOR ? &table : 0;
    }
    """

  /// A C compiler of this machine.
  static let compiler = ["/usr/bin/cc", "/usr/bin/gcc", "/usr/bin/clang"]
    .first { FileManager.default.isExecutableFile(atPath: $0) }

  /// The reason, said aloud, why there is none here.
  static let unavailable: SkipReason? = {
    guard compiler == nil else { return nil }
    let reason = SkipReason("there is no C compiler")
    reason.announce("a backend that encodes wrongly")
    return reason
  }()

  /// Compiles it into a folder.
  static func loader(in folder: TemporaryFolder) throws -> PluginLoader {
    try Data(source.utf8).write(to: URL(filePath: folder("broken.c")))
    let header = Fixtures.folder.appending(path: "../../Sources/PluginAPI/include").path
    let compile = Process()
    compile.executableURL = URL(filePath: try #require(compiler))
    compile.arguments = [
      "-std=c99", "-shared", "-fPIC", "-Wall", "-Werror", "-I", header, "-o",
      folder("libmultifd-broken.so"), folder("broken.c"),
    ]
    try compile.run()
    compile.waitUntilExit()
    try #require(compile.terminationStatus == 0)
    return PluginLoader(
      searchPath: PluginSearchPath(
        explicit: [folder.path], environment: [:], executable: folder("none/multifd")))
  }
}

@Suite(
  "Payloads are decoded before they count",
  .enabled(if: BrokenBackend.unavailable == nil, "SKIPPED: there is no C compiler"), .beside)
struct VerifyTests {
  @Test("A backend that encodes wrongly is caught, and the guest stays")
  func caught() throws {
    let folder = try TemporaryFolder()
    let loader = try BrokenBackend.loader(in: folder)
    let held = try HeldSession("bios-100-zlib-2ch")
    let destination = try FakeDestination(channels: 2)
    let result = SendTests.send(held, to: destination, loader: loader) {
      $0.compression = (try? FormatWish(parsing: "broken")) ?? .asTheyCome
    }
    let heard = destination.end()
    guard case .failure(let failure) = result else {
      Issue.record("it was sent")
      return
    }
    #expect(failure.kind == .internalError, "\(failure)")
    #expect(failure.why.contains("does not survive its own codec"), "\(failure)")
    #expect(held.state == .held)
    // Without its devices nobody can start it.
    #expect(!Self.hasDevices(heard, of: held))
  }

  @Test("Without verification it goes out: the check is what stops it")
  func unchecked() throws {
    let folder = try TemporaryFolder()
    let loader = try BrokenBackend.loader(in: folder)
    let held = try HeldSession("bios-100-zlib-2ch")
    let destination = try FakeDestination(channels: 2)
    let result = SendTests.send(held, to: destination, loader: loader) {
      $0.compression = (try? FormatWish(parsing: "broken")) ?? .asTheyCome
      $0.verify = .none
    }
    let heard = destination.end()
    _ = try result.get()
    #expect(heard.dropFirst().contains { $0.count > 64 + 4 * 1344 })
    #expect(Self.hasDevices(heard, of: held))
  }

  /// Whether a destination has got the devices' state of a guest.
  private static func hasDevices(_ heard: [[UInt8]], of held: HeldSession) -> Bool {
    guard let main = heard.first,
      let state = FileManager.default.contents(atPath: held.path + "/device-state"), !state.isEmpty
    else { return false }
    return Data(main).range(of: state) != nil
  }
}
