/* `multifd-probe`: opens one backend's library, calls its entry point, reads its table, and tells how far it came. The
 * loader starts it for every library before it opens that itself, so that a constructor that crashes, hangs, exits, prints,
 * or leaves the process another than it was, is a reason and not the end of the host.
 *
 * It is a program of its own. fork() alone will not do: the host has threads, one of them may be inside dlopen() or
 * malloc(); and the child of a fork still has every shared mapping and descriptor of the host, guest memory among them,
 * at the mercy of a library that nobody has checked. A started program has neither. And it is C with nothing but libc,
 * so it has started in a millisecond, and what a library finds in it is what it brings itself.
 *
 * It is two processes. The library is opened in the second, which has a session of its own and can signal nobody else
 * (confine.c); the first never opens one, adopts whatever that leaves behind, and ends it (supervise.c). That keeps
 * mistakes in, even bad ones. It is no sandbox: a library has the user's rights, here as in the host.
 *
 *     multifd-probe NAME        3: a pipe, its account      4: the folder of NAME, open      5: this very file
 *
 * The account is a list of items (probe.h): how far it came, and all that the table says, so that a host can tell
 * about a library that it never opens. stdout and stderr are the library's own to print on. The other side is
 * ProbeAccount.swift. SIGTERM ends all of it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "probe.h"

#define REPORT_FD 3
#define FOLDER_FD 4
#define FOLDER "/proc/self/fd/4/"
#define PROGRAM_FD 5

/* Rights that whoever started this has not: handed on by a host that is set-id, or somebody has made this so. */
static int privileged(void) {
  return getauxval(AT_SECURE) != 0 || geteuid() != getuid() || getegid() != getgid();
}

/* With such rights it can be started with any argument and any descriptors by anybody: then only root's own files. What
 * is looked at here is what is opened: by its name in a folder that is open already, and in a folder of root's that
 * nobody else can write to a name does not change its meaning. */
static int may_answer(const char *name) {
  struct stat status;
  if (fstat(REPORT_FD, &status) != 0 || !S_ISFIFO(status.st_mode)) return 0;
  if (strchr(name, '/') != NULL || strlen(name) > 255) return 0;
  if (!privileged()) return 1;
  if (fstat(FOLDER_FD, &status) != 0 || !S_ISDIR(status.st_mode)) return 0;
  if (status.st_uid != 0 || (status.st_mode & 022)) return 0;
  if (fstatat(FOLDER_FD, name, &status, AT_SYMLINK_NOFOLLOW) != 0) return 0;
  return S_ISREG(status.st_mode) && status.st_uid == 0 && !(status.st_mode & 022);
}

/* A backend that counts its own coverage calls these of whoever opens it; multifd-harness has them. Here they count
 * nothing, but without them such a backend could not be opened. */
void __sanitizer_cov_8bit_counters_init(uint8_t *start, uint8_t *stop);
void __sanitizer_cov_pcs_init(const uintptr_t *start, const uintptr_t *stop);
void __sanitizer_cov_8bit_counters_init(uint8_t *start, uint8_t *stop) { (void)start, (void)stop; }
void __sanitizer_cov_pcs_init(const uintptr_t *start, const uintptr_t *stop) {
  (void)start, (void)stop;
}

/* Beyond what a loop that closes "everything" closes, and gone where the library runs another program. */
static void hide_account(void) {
  int copy = -1;
  for (int number = 1000; copy < 0 && number > REPORT_FD; number /= 2)
    copy = fcntl(REPORT_FD, F_DUPFD_CLOEXEC, number);
  if (copy < 0) return;
  close(REPORT_FD);
  account_on(copy);
}

int main(int argc, char **argv) {
  if (argc != 2 || !may_answer(argv[1])) {
    fputs("multifd-probe: tries a backend for multifd, which starts it; see 'multifd plugins check'\n", stderr);
    return 64;
  }
  account_on(REPORT_FD);
  /* The library has no use for it. */
  close(PROGRAM_FD);
  /* The library's death is expected and told in one line: no core file, no backtrace. */
  const struct rlimit none = {0, 0};
  setrlimit(RLIMIT_CORE, &none);
  prctl(PR_SET_DUMPABLE, 0);
  prctl(PR_SET_NAME, "multifd-probe");
  const int fatal[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGSYS, SIGPIPE, SIGXFSZ};
  for (size_t i = 0; i < sizeof fatal / sizeof *fatal; i++) signal(fatal[i], SIG_DFL);

  shared_page *shared = supervise();
  hide_account();
  confine(shared);
  tell(ALIVE);
  remember_process();

  char path[sizeof FOLDER + 256];
  snprintf(path, sizeof path, FOLDER "%s", argv[1]);
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  /* Before a word is said: the account's own descriptor may have become something else. */
  check_descriptors(shared);
  if (library == NULL) trouble(dlerror());
  tell(OPENED);
  const MultiFDMethods *(*entry)(uint32_t);
  *(void **)&entry = dlsym(library, MULTIFD_PLUGIN_ENTRY);
  if (entry == NULL) trouble("exports no " MULTIFD_PLUGIN_ENTRY "()");
  const MultiFDMethods *table = entry(MULTIFD_ABI_MAJOR);
  check_descriptors(shared);
  tell(ENTERED);
  check_process(shared);
  if (table != NULL) add_table(table);
  fflush(NULL); /* what it printed may still be in a buffer */
  tell(DONE);
  _exit(0);
}
