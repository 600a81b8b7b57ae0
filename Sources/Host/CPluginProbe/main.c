/* `multifd-probe`: opens one backend's library, calls its entry point, reads its table, and tells how far it came. The
 * loader starts it for every library before it opens that itself, so that a constructor that crashes, hangs, exits or
 * prints is a reason and not the end of the host.
 *
 * It is a program of its own. fork() alone will not do: the host has threads, one of them may be inside dlopen() or
 * malloc(); and the child of a fork still has every shared mapping and descriptor of the host, guest memory among them,
 * at the mercy of a library that nobody has checked. A started program has neither. And it is C with nothing but libc,
 * so it has started in a millisecond, and what a library finds in it is what it brings itself.
 *
 *     multifd-probe NAME        3: a pipe, its account      4: the folder of NAME, open      5: this very file
 *
 * The account is a byte for each step (below); stdout and stderr are the library's own to print on. The other side is
 * PluginProbe.swift. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "multifd_plugin.h"

#define REPORT_FD 3
#define FOLDER_FD 4
#define FOLDER "/proc/self/fd/4/"
#define PROGRAM_FD 5

/* The bytes of the account, in order; TROUBLE is followed by text and ends it. PluginProbe.Stage has the same. */
enum {
  ALIVE = 1,   /* it runs */
  OPENED = 2,  /* dlopen() came back with a handle */
  ENTERED = 3, /* the entry point came back */
  DONE = 4,    /* the whole table could be read */
  TROUBLE = 5,
};

static void tell(char stage) {
  while (write(REPORT_FD, &stage, 1) < 0 && errno == EINTR) {}
}

static _Noreturn void trouble(const char *text) {
  tell(TROUBLE);
  /* A short or failed write only shortens a message. */
  if (write(REPORT_FD, text, strlen(text)) < 0) {}
  fflush(NULL);
  _exit(1);
}

static volatile unsigned char sink;

/* Reads a string as far as the host will. */
static void touch(const char *text) {
  if (text == NULL) return;
  for (size_t i = 0; i < 4096; i++) {
    sink = (unsigned char)text[i];
    if (text[i] == 0) return;
  }
}

/* sizeof(MultiFDMethods) and sizeof(MultiFDOption) of ABI 1.0: what a backend of this major has at least, however
 * much this host's own structs have grown since. */
#define SMALLEST_TABLE 128
#define SMALLEST_OPTION 56

static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

static void touch_option(const MultiFDOption *option) {
  touch(option->name);
  touch(option->help);
  touch(option->default_value);
  if (option->type != MULTIFD_OPTION_ENUM || option->choices == NULL) return;
  for (size_t i = 0; i < 256 && option->choices[i] != NULL; i++) touch(option->choices[i]);
}

/* Reads whatever the host is going to read, so that a wild pointer ends this process and not the host.
 * What is wrong but readable is for the host to judge. */
static void touch_table(const MultiFDMethods *theirs) {
  if (theirs->magic != MULTIFD_PLUGIN_MAGIC || theirs->abi_major != MULTIFD_ABI_MAJOR) return;
  if (theirs->struct_size < SMALLEST_TABLE) return;
  MultiFDMethods copy, *const table = &copy;
  memset(table, 0, sizeof *table);
  memcpy(table, theirs, smaller(theirs->struct_size, sizeof *table));
  touch(table->name);
  touch(table->version);
  touch(table->wire_format);
  touch(table->description);
  if (table->options != NULL && table->options_num <= 256
      && table->option_size >= SMALLEST_OPTION && table->option_size <= 4096) {
    const char *at = (const char *)table->options;
    for (uint32_t i = 0; i < table->options_num; i++, at += table->option_size) {
      MultiFDOption option;
      memset(&option, 0, sizeof option);
      memcpy(&option, at, smaller(table->option_size, sizeof option));
      touch_option(&option);
    }
  }
  if (table->payload_bound != NULL) {
    const uint32_t counts[] = {0, 1, 128};
    for (int i = 0; i < 3; i++) sink = (unsigned char)table->payload_bound(4096, counts[i]);
  }
}

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

int main(int argc, char **argv) {
  if (argc != 2 || !may_answer(argv[1])) {
    fputs("multifd-probe: tries a backend for multifd, which starts it; see 'multifd plugins check'\n", stderr);
    return 64;
  }
  /* The library has no use for it. */
  close(PROGRAM_FD);
  /* The library's death is expected and told in one line: no core file, no backtrace. */
  const struct rlimit none = {0, 0};
  setrlimit(RLIMIT_CORE, &none);
  prctl(PR_SET_DUMPABLE, 0);
  prctl(PR_SET_NAME, "multifd-probe");
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const int fatal[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGSYS, SIGPIPE, SIGXFSZ};
  for (size_t i = 0; i < sizeof fatal / sizeof *fatal; i++) signal(fatal[i], SIG_DFL);
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_UNBLOCK, &all, NULL);
  tell(ALIVE);

  char path[sizeof FOLDER + 256];
  snprintf(path, sizeof path, FOLDER "%s", argv[1]);
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (library == NULL) trouble(dlerror());
  tell(OPENED);
  const MultiFDMethods *(*entry)(uint32_t);
  *(void **)&entry = dlsym(library, MULTIFD_PLUGIN_ENTRY);
  if (entry == NULL) trouble("exports no " MULTIFD_PLUGIN_ENTRY "()");
  const MultiFDMethods *table = entry(MULTIFD_ABI_MAJOR);
  tell(ENTERED);
  if (table != NULL) touch_table(table);
  fflush(NULL); /* what it printed may still be in a buffer */
  tell(DONE);
  _exit(0);
}
