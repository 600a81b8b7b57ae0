import Foundation
import TestSupport

/// What a child process has forced to disk, and what it has said meanwhile: a small library that is
/// loaded before the C library writes it down, call by call.
struct SystemCallLog {
  private let file: String

  /// - Parameter file: where it is written.
  init(_ file: String) { self.file = file }

  /// For the child.
  func environment() throws -> [String: String] {
    ["LD_PRELOAD": try Self.shim.get()("shim.so"), "CALL_LOG": file]
  }

  /// `fsync PATH`, and `send` with the bytes of what is as short as a verdict, in order.
  func lines() throws -> [String] {
    try String(contentsOfFile: file, encoding: .utf8).split(separator: "\n").map(String.init)
  }

  private static let shim: Result<TemporaryFolder, any Error> = Result {
    let folder = try TemporaryFolder()
    let source = #"""
      #define _GNU_SOURCE
      #include <dlfcn.h>
      #include <fcntl.h>
      #include <stdio.h>
      #include <stdlib.h>
      #include <sys/socket.h>
      #include <unistd.h>

      static void tell(const char *line) {
        int file = open(getenv("CALL_LOG"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        dprintf(file, "%s\n", line);
        close(file);
      }

      int fsync(int f) {
        int (*next)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
        char link[32], path[4096], line[4200];
        snprintf(link, sizeof link, "/proc/self/fd/%d", f);
        ssize_t length = readlink(link, path, sizeof path);
        int result = next(f);
        snprintf(line, sizeof line, "fsync %.*s", (int)(length < 0 ? 0 : length), path);
        tell(line);
        return result;
      }

      ssize_t send(int f, const void *bytes, size_t count, int flags) {
        ssize_t (*next)(int, const void *, size_t, int) =
          (ssize_t (*)(int, const void *, size_t, int))dlsym(RTLD_NEXT, "send");
        char line[64] = "send ";
        if (count <= 16) {
          for (size_t i = 0; i < count; i++)
            sprintf(line + 5 + 2 * i, "%02x", ((const unsigned char *)bytes)[i]);
          tell(line);
        }
        return next(f, bytes, count, flags);
      }
      """#
    try source.write(toFile: folder("shim.c"), atomically: false, encoding: .utf8)
    try CompiledOnce.make(
      ["/usr/bin/env", "cc", "-shared", "-fPIC", folder("shim.c")], at: folder("shim.so"))
    return folder
  }
}
