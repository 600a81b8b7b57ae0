/* Processes that are started anew, and what each test's process does and suffers. */
#define _GNU_SOURCE
#include "charness.h"
#include "internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* A pipe whose ends are above the descriptors that the child is given, so that none is clobbered. */
static int high_pipe(int ends[2]) {
  int low[2];
  if (pipe2(low, O_CLOEXEC) != 0) return errno;
  ends[0] = fcntl(low[0], F_DUPFD_CLOEXEC, 10);
  ends[1] = fcntl(low[1], F_DUPFD_CLOEXEC, 10);
  const int error = ends[0] < 0 || ends[1] < 0 ? errno : 0;
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

int charness_pipes(charness_child *child, int theirs[2]) {
  int report[2], output[2];
  int error = high_pipe(report);
  if (error != 0) return error;
  error = high_pipe(output);
  if (error != 0) {
    close(report[0]);
    close(report[1]);
    return error;
  }
  child->report = report[0];
  child->output = output[0];
  theirs[0] = report[1];
  theirs[1] = output[1];
  return 0;
}

int charness_pidfd(int pid) { return (int)syscall(SYS_pidfd_open, pid, 0); }

void charness_close(charness_child *child) {
  if (child->pidfd >= 0) close(child->pidfd);
  close(child->report);
  close(child->output);
}

/* This environment with some settings of our own; freed by the caller (the strings are not). */
static char **environment(char *perturb) {
  extern char **environ;
  static char backtrace[] = "SWIFT_BACKTRACE=enable=no";
  size_t count = 0;
  while (environ[count] != NULL) count++;
  char **copy = calloc(count + 3, sizeof *copy);
  if (copy == NULL) return NULL;
  size_t used = 0;
  for (size_t i = 0; i < count; i++) {
    if (strncmp(environ[i], "SWIFT_BACKTRACE=", 16) == 0) continue;
    if (strncmp(environ[i], CHARNESS_PERTURB "=", sizeof CHARNESS_PERTURB) == 0) continue;
    copy[used++] = environ[i];
  }
  copy[used++] = backtrace;
  if (perturb != NULL) copy[used++] = perturb;
  return copy;
}

static int spawn(const char *program, char *const arguments[], const int files[CHARNESS_FILES],
                 char **variables, short flags, int *pid) {
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
  posix_spawn_file_actions_adddup2(&actions, files[0], 1);
  posix_spawn_file_actions_adddup2(&actions, files[0], 2);
  int first = 3;
  for (int i = 1; i < CHARNESS_FILES && files[i] >= 0; i++) {
    posix_spawn_file_actions_adddup2(&actions, files[i], first++);
  }
  posix_spawn_file_actions_addclosefrom_np(&actions, first);
  sigset_t none, defaults;
  sigemptyset(&none);
  sigemptyset(&defaults);
  sigaddset(&defaults, SIGPIPE);
  /* Ignored, it would take away how the children of the zygote end. */
  sigaddset(&defaults, SIGCHLD);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &defaults);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes, flags | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  error = posix_spawn(pid, program, &actions, &attributes, arguments, variables);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  return error;
}

int charness_start(const char *program, char *const arguments[], int perturb,
                   const int files[CHARNESS_FILES], int own_group, int *pid) {
  char setting[32];
  snprintf(setting, sizeof setting, CHARNESS_PERTURB "=%d", perturb);
  char **variables = environment(perturb != 0 ? setting : NULL);
  if (variables == NULL) return ENOMEM;
  const int error =
    spawn(program, arguments, files, variables, own_group ? POSIX_SPAWN_SETPGROUP : 0, pid);
  free(variables);
  return error;
}

int charness_spawn(const char *program, char *const arguments[], int shared_fd, int perturb,
                   charness_child *child) {
  int ends[2];
  int error = charness_pipes(child, ends);
  if (error != 0) return error;
  const int high = fcntl(shared_fd, F_DUPFD_CLOEXEC, 10);
  if (high < 0) {
    error = errno;
  } else {
    /* Its own process group, so that what it starts can be ended with it. */
    error = charness_start(program, arguments, perturb, (int[]){ends[1], ends[0], high}, 1,
                           &child->pid);
    close(high);
  }
  close(ends[0]);
  close(ends[1]);
  child->pidfd = error == 0 ? charness_pidfd(child->pid) : -1;
  if (error != 0) charness_close(child);
  return error;
}

int charness_end(charness_child *child) {
  /* Not yet waited for, so the number still means this child and its group. A group that is not there
   * yet (the child has not come that far) leaves the child itself to be killed. */
  kill(-child->pid, SIGKILL);
  kill(child->pid, SIGKILL);
  int status = -1, result;
  do {
    result = waitpid(child->pid, &status, 0);
  } while (result < 0 && errno == EINTR);
  charness_close(child);
  return result == child->pid ? status : -1;
}

uint64_t charness_waited(int pid) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/task", pid);
  DIR *threads = opendir(path);
  if (threads == NULL) return 0;
  uint64_t most = 0;
  for (struct dirent *thread; (thread = readdir(threads)) != NULL;) {
    char file[128];
    if (thread->d_name[0] == '.') continue;
    snprintf(file, sizeof file, "%s/%.20s/schedstat", path, thread->d_name);
    const uint64_t waited = charness_waited_by(file);
    if (waited > most) most = waited;
  }
  closedir(threads);
  return most;
}

static rlim_t limit(int what, rlim_t bytes) {
  struct rlimit now;
  if (getrlimit(what, &now) != 0) return bytes;
  const rlim_t before = now.rlim_cur;
  now.rlim_cur = bytes < now.rlim_max ? bytes : now.rlim_max;
  setrlimit(what, &now);
  return before;
}

void charness_begin_child(void) {
  /* No core file is so short, and a limit of 0 is told from it. */
  const struct rlimit none = {1, 1};
  setrlimit(RLIMIT_CORE, &none);
  /* There is something left to be raised. */
  struct rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) limit(RLIMIT_NOFILE, files.rlim_max - 1);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
}

uint64_t charness_limit_data(uint64_t bytes) { return limit(RLIMIT_DATA, bytes); }

void charness_limit_address_space(uint64_t spare) {
  if (spare == 0) {
    limit(RLIMIT_AS, RLIM_INFINITY);
    return;
  }
  unsigned long pages = 0;
  char text[64];
  const int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  const ssize_t count = read(fd, text, sizeof text - 1);
  close(fd);
  if (count <= 0) return;
  text[count] = 0;
  pages = strtoul(text, NULL, 10);
  limit(RLIMIT_AS, (rlim_t)pages * 4096 + spare);
}

int charness_full_file(const char *name, int byte, size_t size) {
  const int file = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (file < 0) return -1;
  /* The lower ones are the report's and others'. */
  const int fd = fcntl(file, F_DUPFD_CLOEXEC, 5);
  close(file);
  void *room = MAP_FAILED;
  if (fd >= 0 && ftruncate(fd, (off_t)size) == 0) room = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (room != MAP_FAILED) {
    memset(room, byte, size);
    munmap(room, size);
    /* While somebody may write to a mapping of it, it cannot be sealed. */
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) == 0) return fd;
  }
  if (fd >= 0) close(fd);
  return -1;
}
