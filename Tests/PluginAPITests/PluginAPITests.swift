// The ABI header as a third party meets it: alone, in C and in C++, with every warning an error.
import Foundation
import Testing

/// A C or C++ compiler of this machine.
struct Compiler: Sendable, CustomTestStringConvertible {
  let path: String
  var testDescription: String { path }

  /// gcc and clang from PATH, and the clang that comes with Swift.
  static let all: [Compiler] = {
    let path = ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin"
    let folders = path.split(separator: ":").map(String.init)
    // swiftc is often a link into the toolchain, whose clang need not be in PATH.
    let toolchain = folders.map { URL(fileURLWithPath: "\($0)/swiftc") }
      .filter { FileManager.default.isExecutableFile(atPath: $0.path) }
      .map { $0.resolvingSymlinksInPath().deletingLastPathComponent().path }
    var seen: Set<String> = []
    return (folders + toolchain)
      .flatMap { folder in ["gcc", "clang"].map { URL(fileURLWithPath: "\(folder)/\($0)") } }
      .filter { FileManager.default.isExecutableFile(atPath: $0.path) }
      .filter { seen.insert($0.resolvingSymlinksInPath().path).inserted }
      .map { Compiler(path: $0.path) }
  }()

  /// Runs the compiler; returns whether it was content, and what it said.
  func run(_ arguments: [String]) throws -> (succeeded: Bool, output: String) {
    let process = Process()
    let pipe = Pipe()
    process.executableURL = URL(fileURLWithPath: path)
    process.arguments = arguments
    process.standardOutput = pipe
    process.standardError = pipe
    try process.run()
    let output = try pipe.fileHandleForReading.readToEnd() ?? Data()
    process.waitUntilExit()
    return (process.terminationStatus == 0, String(decoding: output, as: UTF8.self))
  }
}

@Suite(.enabled(if: !Compiler.all.isEmpty, "no gcc and no clang: the header was NOT compiled"))
struct PluginAPITests {
  private static let include = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    .appendingPathComponent("Sources/PluginAPI/include").path

  /// Compiles `source` with nothing but the header in reach.
  private func compile(_ compiler: Compiler, _ source: String, _ flags: [String]) throws
    -> (succeeded: Bool, output: String)
  {
    let folder = FileManager.default.temporaryDirectory
      .appendingPathComponent("multifd-header-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let file = folder.appendingPathComponent("source.txt")
    try Data(source.utf8).write(to: file)
    return try compiler.run(
      ["-Wall", "-Wextra", "-Werror", "-pedantic", "-fsyntax-only"] + flags
        + ["-I", Self.include, file.path])
  }

  static let languages = [["-x", "c", "-std=c99"], ["-x", "c++", "-std=c++17"]]

  @Test("the header compiles alone", arguments: Compiler.all, languages)
  func alone(compiler: Compiler, language: [String]) throws {
    let result = try compile(compiler, "#include \"multifd_plugin.h\"\n", language)
    #expect(result.succeeded, "\(result.output)")
  }

  @Test(
    "twice is once, and the system's headers do not disturb it", arguments: Compiler.all, languages)
  func amongOthers(compiler: Compiler, language: [String]) throws {
    let source = """
      #include <stdio.h>
      #include <stdlib.h>
      #include <sys/uio.h>
      #include "multifd_plugin.h"
      #include "multifd_plugin.h"
      int main(void) { return sizeof(MultiFDIOVec) == sizeof(struct iovec) ? 0 : 1; }
      """
    let result = try compile(compiler, source, language)
    #expect(result.succeeded, "\(result.output)")
  }

  @Test("a backend can be written with it", arguments: Compiler.all, languages)
  func backend(compiler: Compiler, language: [String]) throws {
    let source = """
      #include "multifd_plugin.h"
      static uint64_t bound(uint32_t size, uint32_t count) { return (uint64_t)size * count; }
      static int32_t send(MultiFDSendParams *p) { p->iovs_num = 0; return MULTIFD_OK; }
      static void send_end(MultiFDSendParams *p) { p->services->free(p->channel, p->compress_data); }
      static int32_t take(MultiFDRecvParams *p) {
        p->compress_data = p->services->alloc(p->channel, 64, 64);
        return p->services->read(p->channel, p->host, p->next_packet_size);
      }
      static void take_end(MultiFDRecvParams *p) { p->compress_data = NULL; }
      static const MultiFDMethods table = {
        MULTIFD_METHODS_HEAD, MULTIFD_CAP_INDEPENDENT, "x", "1.0.0", "x/1", "an example",
        MULTIFD_QEMU_METHOD_UNKNOWN, 0, NULL, 0, sizeof(MultiFDOption), bound,
        send, send_end, send, take, take_end, take };
      const MultiFDMethods *multifd_plugin_entry(uint32_t major) {
        return major == MULTIFD_ABI_MAJOR ? &table : NULL;
      }
      """
    // What a later minor has appended is zero, which is said of nobody who wants to hear all.
    let result = try compile(
      compiler, source, language + ["-Wno-missing-field-initializers"])
    #expect(result.succeeded, "\(result.output)")
  }

  @Test("a changed layout does not compile", arguments: Compiler.all, languages)
  func pinned(compiler: Compiler, language: [String]) throws {
    // A member that grew, as a careless edit would make it.
    let source = "#define iovs_num iovs_num; uint64_t extra\n#include \"multifd_plugin.h\"\n"
    #expect(try !compile(compiler, source, language).succeeded)
  }
}
