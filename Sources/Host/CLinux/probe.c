/* Trying a library in a child process, so that a constructor that crashes, hangs, exits or prints is a
 * reason and not the end of the host.
 *
 * The child is this very executable, started again. fork() alone will not do: the host has threads,
 * one of them may be inside dlopen() or malloc(); and the child of a fork still has every shared
 * mapping and descriptor of the host, guest memory among them, at the mercy of a library that nobody
 * has checked. A started program has neither.
 *
 * It answers in a constructor, before main() and before any argument is looked at: so each program
 * that links the loader (the command, the harness, a test runner, somebody's own host) can probe
 * without being told to. What runs there is C only, because a Swift executable's own metadata may not
 * be registered yet. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../PluginAPI/include/multifd_plugin.h"
#include "clinux.h"

#define ARGUMENT "--multifd-probe-library"
#define REPORT_FD 3
/* Where the child finds the library's folder. */
#define FOLDER_FD 4
#define FOLDER "/proc/self/fd/4/"

int clinux_privileged(void) {
  return getauxval(AT_SECURE) != 0 || geteuid() != getuid() || getegid() != getgid();
}

/* ---- the child ---- */

static void tell(char stage) {
  while (write(REPORT_FD, &stage, 1) < 0 && errno == EINTR) {}
}

static _Noreturn void trouble(const char *text) {
  tell(CLINUX_PROBE_TROUBLE);
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

/* Reads whatever the host is going to read, so that a wild pointer ends the child and not the host.
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

/* A set-id program can be started with any argument and any descriptors by anybody: then only root's own files. What
 * is looked at here is what is opened: by its name in a folder that is open already, and in a folder of root's that
 * nobody else can write to a name does not change its meaning. */
static int may_answer(const char *name) {
  struct stat status;
  if (fstat(REPORT_FD, &status) != 0 || !S_ISFIFO(status.st_mode)) return 0;
  if (strchr(name, '/') != NULL || strlen(name) > 255) return 0;
  if (!clinux_privileged()) return 1;
  if (fstat(FOLDER_FD, &status) != 0 || !S_ISDIR(status.st_mode)) return 0;
  if (status.st_uid != 0 || (status.st_mode & 022)) return 0;
  if (fstatat(FOLDER_FD, name, &status, AT_SYMLINK_NOFOLLOW) != 0) return 0;
  return S_ISREG(status.st_mode) && status.st_uid == 0 && !(status.st_mode & 022);
}

/* glibc hands constructors what it hands main(). */
__attribute__((constructor)) static void answer(int argc, char **argv) {
  if (argc != 3 || strcmp(argv[1], ARGUMENT) != 0 || !may_answer(argv[2])) return;
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
  tell(CLINUX_PROBE_ALIVE);

  char path[sizeof FOLDER + 256];
  snprintf(path, sizeof path, FOLDER "%s", argv[2]);
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (library == NULL) trouble(dlerror());
  tell(CLINUX_PROBE_OPENED);
  const MultiFDMethods *(*entry)(uint32_t);
  *(void **)&entry = dlsym(library, MULTIFD_PLUGIN_ENTRY);
  if (entry == NULL) trouble("exports no " MULTIFD_PLUGIN_ENTRY "()");
  const MultiFDMethods *table = entry(MULTIFD_ABI_MAJOR);
  tell(CLINUX_PROBE_ENTERED);
  if (table != NULL) touch_table(table);
  fflush(NULL); /* what it printed may still be in a buffer */
  tell(CLINUX_PROBE_DONE);
  _exit(0);
}

/* ---- the host ---- */

/* A pipe whose ends are above the descriptors that the child is given, so that none is clobbered. */
static int high_pipe(int ends[2]) {
  int low[2];
  if (pipe2(low, O_CLOEXEC) != 0) return errno;
  ends[0] = fcntl(low[0], F_DUPFD_CLOEXEC, 10);
  ends[1] = fcntl(low[1], F_DUPFD_CLOEXEC, 10);
  int error = ends[0] < 0 || ends[1] < 0 ? errno : 0;
  close(low[0]);
  close(low[1]);
  if (error != 0) {
    if (ends[0] >= 0) close(ends[0]);
    if (ends[1] >= 0) close(ends[1]);
    return error;
  }
  fcntl(ends[0], F_SETFL, O_NONBLOCK);
  return 0;
}

static int spawn(int folder, const char *name, int report, int output, int *pid) {
  extern char **environ;
  char *arguments[] = {"multifd", ARGUMENT, (char *)name, NULL};
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  int error = posix_spawn_file_actions_init(&actions);
  if (error != 0) return error;
  error = posix_spawnattr_init(&attributes);
  if (error != 0) {
    posix_spawn_file_actions_destroy(&actions);
    return error;
  }
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, output, 1);
  posix_spawn_file_actions_adddup2(&actions, output, 2);
  posix_spawn_file_actions_adddup2(&actions, report, REPORT_FD);
  posix_spawn_file_actions_adddup2(&actions, folder, FOLDER_FD);
  posix_spawn_file_actions_addclosefrom_np(&actions, FOLDER_FD + 1);
  /* Its own process group, so that what it starts can be ended with it. */
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
  posix_spawnattr_setpgroup(&attributes, 0);
  error = posix_spawn(pid, "/proc/self/exe", &actions, &attributes, arguments, environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  return error;
}

int clinux_probe_start(int folder, const char *name, clinux_probe *probe) {
  int report[2], output[2];
  folder = fcntl(folder, F_DUPFD_CLOEXEC, 10);
  if (folder < 0) return errno;
  int error = high_pipe(report);
  if (error != 0) {
    close(folder);
    return error;
  }
  error = high_pipe(output);
  if (error != 0) {
    close(folder);
    close(report[0]);
    close(report[1]);
    return error;
  }
  error = spawn(folder, name, report[1], output[1], &probe->pid);
  close(folder);
  close(report[1]);
  close(output[1]);
  if (error != 0) {
    close(report[0]);
    close(output[0]);
    return error;
  }
  probe->report = report[0];
  probe->output = output[0];
  probe->pidfd = (int)syscall(SYS_pidfd_open, probe->pid, 0);
  return 0;
}

int clinux_probe_end(clinux_probe *probe) {
  /* Ours until it is waited for, so the number still means this child and its group. (A host that ignores
   * SIGCHLD has nothing to wait for, and its children's numbers may belong to others by now.) A group
   * that is not there yet, since the child has not come that far, leaves the child itself. */
  siginfo_t info;
  if (waitid(P_PID, (id_t)probe->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0) {
    kill(-probe->pid, SIGKILL);
    kill(probe->pid, SIGKILL);
  }
  int status = -1, result;
  do {
    result = waitpid(probe->pid, &status, 0);
  } while (result < 0 && errno == EINTR);
  if (probe->pidfd >= 0) close(probe->pidfd);
  close(probe->report);
  close(probe->output);
  return result == probe->pid ? status : -1;
}
