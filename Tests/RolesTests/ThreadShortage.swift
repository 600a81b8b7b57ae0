import Foundation
import TestSupport

/// Processes that start, and cannot have some of their threads.
///
/// Less memory would do it too, and take what other threads allocate along: the runtime ends a
/// process that is refused that.
enum ThreadShortage {
  /// The environment of a process that does not get its n-th thread.
  ///
  /// - Parameter starter: the name of a thread; nil: any. Those that it starts are counted.
  static func ofThread(_ number: Int, from starter: String? = nil) throws -> [String: String] {
    var environment = try ["LD_PRELOAD": shim.get()("shim.so"), "NO_THREAD": "\(number)"]
    environment["NO_THREAD_FROM"] = starter
    return environment
  }

  private static let shim: Result<TemporaryFolder, any Error> = Result {
    let folder = try TemporaryFolder()
    let source = #"""
      #define _GNU_SOURCE
      #include <dlfcn.h>
      #include <errno.h>
      #include <pthread.h>
      #include <stdatomic.h>
      #include <stdlib.h>
      #include <string.h>

      int pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*f)(void *), void *p) {
        static atomic_int count;
        int (*next)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *) =
          dlsym(RTLD_NEXT, "pthread_create");
        const char *number = getenv("NO_THREAD"), *starter = getenv("NO_THREAD_FROM");
        char name[16] = "";
        pthread_getname_np(pthread_self(), name, sizeof name);
        if (number && (!starter || strcmp(name, starter) == 0)
            && atomic_fetch_add(&count, 1) + 1 == atoi(number)) return EAGAIN;
        return next(t, a, f, p);
      }
      """#
    try source.write(toFile: folder("shim.c"), atomically: false, encoding: .utf8)
    try CompiledOnce.make(
      ["/usr/bin/env", "cc", "-shared", "-fPIC", folder("shim.c")], at: folder("shim.so"))
    return folder
  }
}
