import Foundation
import TestSupport
import Testing

/// Kills a child process, as kill -9 does, directly before its n-th system call after a certain
/// moment: a small library that is loaded before the C library counts the calls that change
/// something or wait for something.
enum KillSwitch {
  /// From when on calls are counted.
  enum Moment {
    /// The store's manifest has been written: precopy is held.
    case manifest
    /// The store is locked, by whatever command.
    case lock
    /// So many checkpoints have been committed.
    case checkpoint(Int)
    /// The store has been told so often what its process is doing.
    case state(Int)
  }

  /// For the child.
  ///
  /// - Parameter disks: counts also the calls that only images and logs of disks are worth it for.
  static func environment(
    _ moment: Moment, at call: Int, disks: Bool = false
  ) throws -> [String: String] {
    let (from, times) =
      switch moment {
      case .manifest: ("manifest.json", 1)
      case .lock: ("lock", 1)
      case .checkpoint(let number): ("checkpoint", number)
      case .state(let number): ("state", number)
      }
    return [
      "LD_PRELOAD": try library.get(), "KILLSWITCH_FROM": from, "KILLSWITCH_TIMES": "\(times)",
      "KILLSWITCH_AT": "\(call)", "KILLSWITCH_DISKS": disks ? "1" : "0",
    ]
  }

  /// Why there can be none; nil when there can.
  static let unavailable: SkipReason? = {
    do {
      _ = try library.get()
      return nil
    } catch {
      let reason = SkipReason("the kill switch cannot be compiled (\(error))")
      reason.announce("kill -9 at every system call")
      return reason
    }
  }()

  /// For a test's trait.
  static var isAvailable: Bool { unavailable == nil }

  private static let folder: Result<TemporaryFolder, any Error> = Result { try TemporaryFolder() }

  private static let library: Result<String, any Error> = Result {
    let folder = try Self.folder.get()
    let (output, input) = (folder("killswitch.so"), folder("killswitch.c"))
    try source.write(toFile: input, atomically: false, encoding: .utf8)
    try CompiledOnce.make(["/usr/bin/env", "cc", "-shared", "-fPIC", "-O1", input], at: output)
    return output
  }

  private static let source = #"""
    #define _GNU_SOURCE
    #include <dlfcn.h>
    #include <fcntl.h>
    #include <signal.h>
    #include <stdarg.h>
    #include <stdatomic.h>
    #include <stdlib.h>
    #include <string.h>
    #include <sys/file.h>
    #include <sys/mman.h>
    #include <sys/socket.h>
    #include <unistd.h>

    static atomic_int armed;
    static atomic_long calls;

    static void happened(const char *moment) {
      static atomic_int times;
      const char *from = getenv("KILLSWITCH_FROM");
      if (from && strcmp(from, moment) == 0
          && atomic_fetch_add(&times, 1) + 1 == atoi(getenv("KILLSWITCH_TIMES")))
        atomic_store(&armed, 1);
    }

    static void count(void) {
      static atomic_long limit;
      if (!atomic_load(&armed)) return;
      if (limit == 0) limit = atol(getenv("KILLSWITCH_AT"));
      // Any later one, too: the thread whose call it was may be set aside before it kills.
      if (atomic_fetch_add(&calls, 1) + 1 >= limit) kill(getpid(), SIGKILL);
    }

    static void count_disks(void) {
      const char *disks = getenv("KILLSWITCH_DISKS");
      if (disks && *disks == '1') count();
    }

    #define WRAP_AND(what, type, name, parameters, arguments) \
      type name parameters { \
        static type (*next) parameters; \
        if (!next) next = (type (*) parameters)dlsym(RTLD_NEXT, #name); \
        what(); \
        return next arguments; \
      }
    #define WRAP(type, name, parameters, arguments) WRAP_AND(count, type, name, parameters, arguments)

    WRAP(ssize_t, write, (int f, const void *b, size_t n), (f, b, n))
    WRAP(ssize_t, send, (int f, const void *b, size_t n, int g), (f, b, n, g))
    WRAP(ssize_t, recv, (int f, void *b, size_t n, int g), (f, b, n, g))
    WRAP(ssize_t, read, (int f, void *b, size_t n), (f, b, n))
    WRAP(int, ftruncate, (int f, off_t n), (f, n))
    WRAP(int, fallocate, (int f, int m, off_t o, off_t n), (f, m, o, n))
    WRAP(int, madvise, (void *a, size_t n, int g), (a, n, g))
    WRAP(int, unlinkat, (int d, const char *p, int g), (d, p, g))
    WRAP(int, fsync, (int f), (f))
    WRAP(int, shutdown, (int f, int h), (f, h))
    WRAP_AND(count_disks, ssize_t, pread, (int f, void *b, size_t n, off_t o), (f, b, n, o))
    WRAP_AND(count_disks, ssize_t, pwrite, (int f, const void *b, size_t n, off_t o), (f, b, n, o))
    WRAP_AND(count_disks, int, fdatasync, (int f), (f))

    int openat(int d, const char *p, int flags, ...) {
      static int (*next)(int, const char *, int, ...);
      if (!next) next = (int (*)(int, const char *, int, ...))dlsym(RTLD_NEXT, "openat");
      va_list list;
      va_start(list, flags);
      mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(list, mode_t) : 0;
      va_end(list);
      count();
      return next(d, p, flags, mode);
    }

    int renameat(int d, const char *p, int e, const char *q) {
      static int (*next)(int, const char *, int, const char *);
      if (!next) next = (int (*)(int, const char *, int, const char *))dlsym(RTLD_NEXT, "renameat");
      count();
      int result = next(d, p, e, q);
      happened(q);
      return result;
    }

    int flock(int f, int how) {
      static int (*next)(int, int);
      if (!next) next = (int (*)(int, int))dlsym(RTLD_NEXT, "flock");
      int result = next(f, how);
      happened("lock");
      return result;
    }
    """#
}
