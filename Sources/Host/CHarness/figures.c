/* What the kernel, glibc and the compiler's instrumentation know about this process. */
#define _GNU_SOURCE
#include "charness.h"
#include "internal.h"

#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

size_t charness_malloc_in_use(void) {
  const struct mallinfo2 info = mallinfo2();
  return info.uordblks + info.hblkhd;
}

/* The number behind `key` in /proc/self/status. */
static size_t status_value(const char *key) {
  char text[8192];
  const int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  size_t length = 0;
  ssize_t count;
  while (length < sizeof text - 1 && (count = read(fd, text + length, sizeof text - 1 - length)) > 0) {
    length += (size_t)count;
  }
  close(fd);
  text[length] = 0;
  const char *at = strstr(text, key);
  return at == NULL ? 0 : strtoul(at + strlen(key), NULL, 10);
}

size_t charness_data_size(void) { return status_value("\nVmData:") * 1024; }
size_t charness_peak_resident(void) { return status_value("\nVmHWM:") * 1024; }

void charness_reset_peak(void) {
  const int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  if (write(fd, "5", 1) < 0) {}
  close(fd);
}

static uint64_t clock_time(clockid_t clock) {
  struct timespec time;
  clock_gettime(clock, &time);
  return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

uint64_t charness_now(void) { return clock_time(CLOCK_MONOTONIC); }
uint64_t charness_thread_time(void) { return clock_time(CLOCK_THREAD_CPUTIME_ID); }
uint64_t charness_process_time(void) { return clock_time(CLOCK_PROCESS_CPUTIME_ID); }

uint64_t charness_waited_by(const char *schedstat) {
  char text[128];
  const int fd = open(schedstat, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  const ssize_t count = read(fd, text, sizeof text - 1);
  close(fd);
  if (count <= 0) return 0;
  text[count] = 0;
  /* Time on a processor, time waiting for one, how often. */
  char *second;
  strtoull(text, &second, 10);
  return strtoull(second, NULL, 10);
}

uint64_t charness_thread_waited(void) { return charness_waited_by("/proc/thread-self/schedstat"); }

uint64_t charness_process_waited(void) {
  DIR *tasks = opendir("/proc/self/task");
  if (tasks == NULL) return 0;
  uint64_t all = 0;
  for (struct dirent *task; (task = readdir(tasks)) != NULL;) {
    if (task->d_name[0] == '.') continue;
    char path[sizeof "/proc/self/task//schedstat" + sizeof task->d_name];
    snprintf(path, sizeof path, "/proc/self/task/%s/schedstat", task->d_name);
    all += charness_waited_by(path);
  }
  closedir(tasks);
  return all;
}

/* Whether a thread other than the caller's runs, or waits for a processor. Its state is behind its name, which may have
 * any byte. */
static int somebody_runs(void) {
  DIR *tasks = opendir("/proc/self/task");
  if (tasks == NULL) return 0;
  const int own = charness_thread_id();
  int runs = 0;
  for (struct dirent *task; !runs && (task = readdir(tasks)) != NULL;) {
    if (task->d_name[0] == '.' || atoi(task->d_name) == own) continue;
    char path[sizeof "/proc/self/task//stat" + sizeof task->d_name], text[128];
    snprintf(path, sizeof path, "/proc/self/task/%s/stat", task->d_name);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) continue;
    const ssize_t count = read(fd, text, sizeof text - 1);
    close(fd);
    text[count > 0 ? count : 0] = 0;
    const char *name_end = strrchr(text, ')');
    runs = name_end != NULL && strncmp(name_end, ") R", 3) == 0;
  }
  closedir(tasks);
  return runs;
}

int charness_rest(uint64_t limit) {
  const uint64_t end = charness_now() + limit;
  const struct timespec moment = {.tv_nsec = 50000};
  /* Twice: one may be between two sleeps. */
  for (int quiet = 0; quiet < 2;) {
    if (charness_now() > end) return 0;
    nanosleep(&moment, NULL);
    quiet = somebody_runs() ? 0 : quiet + 1;
  }
  return 1;
}

const char *charness_library_of(const void *address) {
  Dl_info info;
  return dladdr(address, &info) != 0 ? info.dli_fname : NULL;
}

void charness_last_processor(void) {
  cpu_set_t processors, last;
  if (sched_getaffinity(0, sizeof processors, &processors) != 0) return;
  CPU_ZERO(&last);
  for (int i = CPU_SETSIZE; i-- > 0;) {
    if (!CPU_ISSET(i, &processors)) continue;
    CPU_SET(i, &last);
    sched_setaffinity(0, sizeof last, &last);
    return;
  }
}

int charness_rename_host(void) {
  if (unshare(CLONE_NEWUTS) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWUTS) != 0) return 0;
  const char name[] = "another-host";
  return sethostname(name, sizeof name - 1) == 0;
}

int charness_sanitized(void) {
  return dlsym(RTLD_DEFAULT, "__asan_init") != NULL || dlsym(RTLD_DEFAULT, "__tsan_init") != NULL;
}

/* What ThreadSanitizer is not to report: it knows nothing of the locks of Swift's run-time, which is compiled without it,
 * and sees its memset and strcmp. Its own name for what it asks a program. */
const char *__tsan_default_suppressions(void);
__attribute__((used, visibility("default"))) const char *__tsan_default_suppressions(void) {
  return "race:libswiftCore.so\nrace:swift::\nrace:_swift_\n";
}

int charness_thread_id(void) { return (int)syscall(SYS_gettid); }

__attribute__((no_sanitize("thread"), no_sanitize("address")))
void charness_overwrite(void *to, const void *from, size_t size) {
  volatile unsigned char *target = to;
  const volatile unsigned char *source = from;
  for (size_t i = 0; i < size; i++) target[i] = source[i];
}

/* ---- coverage ---- */

/* What clang's -fsanitize-coverage=inline-8bit-counters calls when a library is loaded. Exported by the
 * executable, so that such a backend finds it. */
void __sanitizer_cov_8bit_counters_init(uint8_t *start, uint8_t *stop);
void __sanitizer_cov_pcs_init(const uintptr_t *start, const uintptr_t *stop);

static uint8_t *counters;
static uint8_t *magnitudes;
static size_t counter_count;

__attribute__((visibility("default")))
void __sanitizer_cov_8bit_counters_init(uint8_t *start, uint8_t *stop) {
  if (counters != NULL || stop <= start) return; /* the first library is the backend */
  counters = start;
  counter_count = (size_t)(stop - start);
  magnitudes = calloc(counter_count, 1);
  if (magnitudes == NULL) counter_count = 0;
}

__attribute__((visibility("default")))
void __sanitizer_cov_pcs_init(const uintptr_t *start, const uintptr_t *stop) {
  (void)start;
  (void)stop;
}

size_t charness_coverage_size(void) { return counter_count; }

size_t charness_coverage_new(void) {
  size_t fresh = 0;
  for (size_t i = 0; i < counter_count; i++) {
    const uint8_t count = counters[i];
    if (count == 0) continue;
    counters[i] = 0;
    /* 1, 2, 3, 4-7, 8-15, 16-31, 32-127, 128-255: as AFL counts. */
    const uint8_t bit = count < 4 ? (uint8_t)(1u << (count - 1))
                        : count < 8 ? 8 : count < 16 ? 16 : count < 32 ? 32 : count < 128 ? 64 : 128;
    if (magnitudes[i] & bit) continue;
    magnitudes[i] |= bit;
    fresh++;
  }
  return fresh;
}
