import Foundation
import TestSupport
import Testing
import Transport

/// `pthread_create` fails now and then, or always from some moment on: no process dies of it.
@Suite("No more threads", .beside)
struct NoThreadsTests {
  @Test("Receiving, with every thread missing in turn")
  func receive() throws {
    let shim = try Self.shim.get()
    let lines = try Line.of(#require(Fixtures.session("bios-111-q35-72-zstd-2ch")))
    var held = 0
    for number in 1...7 {
      let folder = try TemporaryFolder(.memory(bytes: 64 << 20))
      defer { folder.remove() }
      let multifd = try MultiFDProcess(
        [
          "receive", "--listen", "unix:" + folder("socket"), "--store", folder("store"),
          "--timeout", "2",
        ],
        environment: ["LD_PRELOAD": shim("shim.so"), "NO_THREAD": "\(number)"])
      if let uri = try? multifd.waitListening(.seconds(5)) {
        let source = FakeSource(lines, to: try Endpoint(parsing: uri))
        _ = try multifd.wait(.seconds(30))
        _ = source.end()
      }
      let result = try multifd.wait(.seconds(30))
      // A helper that could be left out, or an error in words.
      let isTold = result.errorLine?.contains("starting the thread") == true
      #expect(result.code == 0 || (result.code == 1 && isTold), "thread \(number): \(result)")
      if result.code == 0 { held += 1 }
    }
    #expect(held > 0 && held < 7)
  }

  /// Fails the n-th thread that a process starts.
  private static let shim: Result<TemporaryFolder, any Error> = Result {
    let folder = try TemporaryFolder()
    let source = #"""
      #define _GNU_SOURCE
      #include <dlfcn.h>
      #include <errno.h>
      #include <pthread.h>
      #include <stdatomic.h>
      #include <stdlib.h>

      int pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*f)(void *), void *p) {
        static atomic_int count;
        int (*next)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *) =
          dlsym(RTLD_NEXT, "pthread_create");
        const char *number = getenv("NO_THREAD");
        if (number && atomic_fetch_add(&count, 1) + 1 == atoi(number)) return EAGAIN;
        return next(t, a, f, p);
      }
      """#
    try source.write(toFile: folder("shim.c"), atomically: false, encoding: .utf8)
    let compiler = try ChildProcess(
      ["/usr/bin/env", "cc", "-shared", "-fPIC", "-o", folder("shim.so"), folder("shim.c")])
    guard compiler.wait(.seconds(60)) == .code(0) else { throw LabError(compiler.errors.text) }
    return folder
  }
}
