#define _GNU_SOURCE
#include "process_state.h"

#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

const char *const process_state_names[PROCESS_STATES] = {
  [PROCESS_SIGNAL_HANDLERS] = "signal handlers",
  [PROCESS_SIGNAL_MASK] = "the signal mask",
  [PROCESS_ENVIRONMENT] = "the environment",
  [PROCESS_LOCALE] = "the locale",
  [PROCESS_FOLDER] = "the working folder",
  [PROCESS_UMASK] = "the umask",
  [PROCESS_FLOATING_POINT] = "the floating-point mode",
  [PROCESS_LIMITS] = "resource limits",
  [PROCESS_AFFINITY] = "the processors that it may run on",
  [PROCESS_PRIORITY] = "its priority",
  [PROCESS_TIMERS] = "timers",
  [PROCESS_NAME] = "the thread's name",
  [PROCESS_FLAGS] = "flags of the process (prctl, personality, ids)",
  [PROCESS_SESSION] = "its session or process group",
  [PROCESS_STANDARD_FILES] = "standard input, output or error",
  [PROCESS_EXECUTABLE_STACK] = "memory that can be written and executed",
  [PROCESS_MALLOC] = "settings of malloc()",
  [PROCESS_RANDOM] = "the numbers of rand(), random() or drand48()",
  [PROCESS_CHILDREN] = "its children",
};

static uint64_t hash(uint64_t value, const void *bytes, size_t size) {
  for (size_t i = 0; i < size; i++) {
    value = (value ^ ((const unsigned char *)bytes)[i]) * 0x100000001b3u;
  }
  return value;
}

#define HASH(part, value) state->parts[part] = hash(state->parts[part], &(value), sizeof(value))

static void hash_text(uint64_t *part, const char *text) {
  if (text != NULL) *part = hash(*part, text, strlen(text) + 1);
}

/* The whole of a small file of /proc; 0 bytes of one that there is not. */
static size_t read_file(const char *path, char *text, size_t size) {
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  size_t length = 0;
  ssize_t count;
  while (length < size - 1 && (count = read(fd, text + length, size - 1 - length)) > 0) {
    length += (size_t)count;
  }
  close(fd);
  text[length] = 0;
  return length;
}

/* ---- malloc() ---- */

/* Every object of the process finds this one before glibc's, where the executable exports it. */
__attribute__((visibility("default"))) int mallopt(int parameter, int value);
extern int __libc_mallopt(int parameter, int value);

static atomic_int mallopt_calls;

int mallopt(int parameter, int value) {
  atomic_fetch_add(&mallopt_calls, 1);
  return __libc_mallopt(parameter, value);
}

/* ---- the parts ---- */

static void take_signals(process_state *state) {
  for (int number = 1; number < 65; number++) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    if (sigaction(number, NULL, &action) != 0) continue;
    void *handler = (void *)action.sa_sigaction;
    HASH(PROCESS_SIGNAL_HANDLERS, handler);
    const int flags = action.sa_flags & ~0x04000000; /* SA_RESTORER, which glibc adds by itself */
    HASH(PROCESS_SIGNAL_HANDLERS, flags);
  }
  sigset_t mask;
  sigemptyset(&mask);
  pthread_sigmask(SIG_BLOCK, NULL, &mask);
  for (int number = 1; number < 65; number++) {
    const int blocked = sigismember(&mask, number);
    HASH(PROCESS_SIGNAL_MASK, blocked);
  }
  stack_t stack;
  if (sigaltstack(NULL, &stack) == 0) {
    HASH(PROCESS_SIGNAL_MASK, stack.ss_sp);
    HASH(PROCESS_SIGNAL_MASK, stack.ss_size);
  }
}

static void take_files(process_state *state) {
  struct stat status;
  if (stat(".", &status) == 0) {
    HASH(PROCESS_FOLDER, status.st_dev);
    HASH(PROCESS_FOLDER, status.st_ino);
  }
  /* Of all ways to read it the one that does not set it. */
  char text[2048];
  read_file("/proc/self/status", text, sizeof text);
  const char *line = strstr(text, "\nUmask:");
  if (line != NULL) state->parts[PROCESS_UMASK] = hash(state->parts[PROCESS_UMASK], line, 12);
  for (int fd = 0; fd < 3; fd++) {
    const int flags = fcntl(fd, F_GETFL);
    HASH(PROCESS_STANDARD_FILES, flags);
    if (fstat(fd, &status) != 0) continue;
    HASH(PROCESS_STANDARD_FILES, status.st_dev);
    HASH(PROCESS_STANDARD_FILES, status.st_ino);
  }
}

static void take_floating_point(process_state *state) {
  /* From the registers: fegetround() is in libm, which not every user of this has. */
#if defined(__x86_64__)
  unsigned control;
  __asm__ volatile("stmxcsr %0" : "=m"(control));
  control &= ~0x3fu; /* not the flags that any computation sets */
  HASH(PROCESS_FLOATING_POINT, control);
  unsigned short x87;
  __asm__ volatile("fnstcw %0" : "=m"(x87));
  HASH(PROCESS_FLOATING_POINT, x87);
#elif defined(__aarch64__)
  uint64_t control;
  __asm__ volatile("mrs %0, fpcr" : "=r"(control));
  HASH(PROCESS_FLOATING_POINT, control);
#endif
}

static void take_limits(process_state *state) {
  for (int what = 0; what < RLIM_NLIMITS; what++) {
    struct rlimit limit;
    if (getrlimit(what, &limit) == 0) HASH(PROCESS_LIMITS, limit);
  }
}

static void take_scheduling(process_state *state) {
  cpu_set_t processors;
  CPU_ZERO(&processors);
  if (sched_getaffinity(0, sizeof processors, &processors) == 0) {
    HASH(PROCESS_AFFINITY, processors);
  }
  const int nice = getpriority(PRIO_PROCESS, 0), policy = sched_getscheduler(0);
  HASH(PROCESS_PRIORITY, nice);
  HASH(PROCESS_PRIORITY, policy);
  struct sched_param parameters;
  if (sched_getparam(0, &parameters) == 0) HASH(PROCESS_PRIORITY, parameters.sched_priority);
}

static void take_timers(process_state *state) {
  for (int which = ITIMER_REAL; which <= ITIMER_PROF; which++) {
    struct itimerval timer;
    if (getitimer(which, &timer) != 0) continue;
    /* What is left of it changes by itself; whether it runs, and how it repeats, does not. */
    const int runs = timer.it_value.tv_sec != 0 || timer.it_value.tv_usec != 0;
    HASH(PROCESS_TIMERS, runs);
    HASH(PROCESS_TIMERS, timer.it_interval);
  }
  char text[4096];
  const size_t size = read_file("/proc/self/timers", text, sizeof text);
  state->parts[PROCESS_TIMERS] = hash(state->parts[PROCESS_TIMERS], text, size);
}

static void take_flags(process_state *state) {
  char name[16] = "";
  prctl(PR_GET_NAME, name);
  hash_text(&state->parts[PROCESS_NAME], name);
  const int asked[] = {PR_GET_DUMPABLE, PR_GET_KEEPCAPS, PR_GET_NO_NEW_PRIVS, PR_GET_SECCOMP,
                       PR_GET_SECUREBITS, PR_GET_TIMERSLACK, PR_GET_THP_DISABLE};
  for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) {
    const int value = prctl(asked[i], 0, 0, 0, 0);
    HASH(PROCESS_FLAGS, value);
  }
  const int given[] = {PR_GET_PDEATHSIG, PR_GET_CHILD_SUBREAPER};
  for (size_t i = 0; i < sizeof given / sizeof *given; i++) {
    int value = 0;
    prctl(given[i], &value);
    HASH(PROCESS_FLAGS, value);
  }
  const int persona = personality(0xffffffff);
  HASH(PROCESS_FLAGS, persona);
  uid_t users[3] = {0};
  gid_t groups[3] = {0};
  getresuid(users, users + 1, users + 2);
  getresgid(groups, groups + 1, groups + 2);
  HASH(PROCESS_FLAGS, users);
  HASH(PROCESS_FLAGS, groups);
  const pid_t session = getsid(0), group = getpgrp();
  HASH(PROCESS_SESSION, session);
  HASH(PROCESS_SESSION, group);
}

/* Counts mappings that can be written and executed. A line is read in pieces: a path may be as long as it likes. */
static void take_mappings(process_state *state) {
  const int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  char text[4096];
  ssize_t count;
  int field = 0, column = 0, writable = 0, both = 0;
  while ((count = read(fd, text, sizeof text)) > 0) {
    for (ssize_t i = 0; i < count; i++) {
      if (text[i] == '\n') {
        field = 0;
      } else if (text[i] == ' ') {
        field++;
        column = 0;
      } else if (field == 1) {
        if (column == 1) writable = text[i] == 'w';
        if (column == 2 && writable && text[i] == 'x') both++;
        column++;
      }
    }
  }
  close(fd);
  HASH(PROCESS_EXECUTABLE_STACK, both);
}

/* glibc keeps the state of random() and rand() in a buffer that its user may provide, and hides it otherwise. */
static char random_numbers[128];

static void take_random(process_state *state) {
  static int is_ours;
  if (!is_ours) {
    is_ours = 1;
    /* Not the seed that everybody uses. */
    initstate(0x6d756c74, random_numbers, sizeof random_numbers);
  }
  HASH(PROCESS_RANDOM, random_numbers);
  /* seed48() tells the old numbers when it is given new ones. */
  unsigned short numbers[3] = {0, 0, 0};
  memcpy(numbers, seed48(numbers), sizeof numbers);
  seed48(numbers);
  HASH(PROCESS_RANDOM, numbers);
}

static void take_children(process_state *state) {
  siginfo_t child;
  const int some = waitid(P_ALL, 0, &child, WEXITED | WNOHANG | WNOWAIT) == 0;
  HASH(PROCESS_CHILDREN, some);
}

void process_state_take(process_state *state) {
  extern char **environ;
  const int error = errno;
  for (int part = 0; part < PROCESS_STATES; part++) state->parts[part] = 0xcbf29ce484222325u;
  take_signals(state);
  for (char **at = environ; at != NULL && *at != NULL; at++) {
    hash_text(&state->parts[PROCESS_ENVIRONMENT], *at);
  }
  hash_text(&state->parts[PROCESS_LOCALE], setlocale(LC_ALL, NULL));
  take_files(state);
  take_floating_point(state);
  take_limits(state);
  take_scheduling(state);
  take_timers(state);
  take_flags(state);
  take_mappings(state);
  const int calls = atomic_load(&mallopt_calls);
  HASH(PROCESS_MALLOC, calls);
  take_random(state);
  take_children(state);
  errno = error;
}

int process_state_threads(void) {
  char text[4096];
  read_file("/proc/self/status", text, sizeof text);
  const char *line = strstr(text, "\nThreads:");
  return line == NULL ? 0 : atoi(line + 9);
}

int process_state_more_threads(int before) {
  int more = process_state_threads() - before;
  for (int waited = 0; more > 0 && waited < 2000; waited++) {
    usleep(1000);
    more = process_state_threads() - before;
  }
  return more;
}
