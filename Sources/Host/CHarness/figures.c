/* What the kernel, glibc and the compiler's instrumentation know about this process. */
#define _GNU_SOURCE
#include "charness.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <fenv.h>
#include <locale.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
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
int charness_thread_count(void) { return (int)status_value("\nThreads:"); }

void charness_reset_peak(void) {
  const int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  if (write(fd, "5", 1) < 0) {}
  close(fd);
}

uint64_t charness_now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

int charness_sanitized(void) {
  return dlsym(RTLD_DEFAULT, "__asan_init") != NULL || dlsym(RTLD_DEFAULT, "__tsan_init") != NULL;
}

int charness_thread_id(void) { return (int)syscall(SYS_gettid); }

const char *const charness_state_names[CHARNESS_STATES] = {
  "signal handlers", "the signal mask", "the environment", "the locale",
  "the working folder or the umask", "the floating-point mode"};

static uint64_t hash(uint64_t value, const void *bytes, size_t size) {
  for (size_t i = 0; i < size; i++) {
    value = (value ^ ((const unsigned char *)bytes)[i]) * 0x100000001b3u;
  }
  return value;
}

void charness_process_state(uint64_t hashes[CHARNESS_STATES]) {
  extern char **environ;
  for (int i = 0; i < CHARNESS_STATES; i++) hashes[i] = 0xcbf29ce484222325u;
  for (int number = 1; number < 65; number++) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    if (sigaction(number, NULL, &action) != 0) continue;
    void *handler = (void *)action.sa_sigaction;
    hashes[0] = hash(hashes[0], &handler, sizeof handler);
    const int flags = action.sa_flags & ~0x04000000; /* SA_RESTORER, which glibc adds by itself */
    hashes[0] = hash(hashes[0], &flags, sizeof flags);
  }
  sigset_t mask;
  sigemptyset(&mask);
  pthread_sigmask(SIG_BLOCK, NULL, &mask);
  for (int number = 1; number < 65; number++) {
    const int blocked = sigismember(&mask, number);
    hashes[1] = hash(hashes[1], &blocked, sizeof blocked);
  }
  for (char **at = environ; *at != NULL; at++) hashes[2] = hash(hashes[2], *at, strlen(*at) + 1);
  const char *locale = setlocale(LC_ALL, NULL);
  if (locale != NULL) hashes[3] = hash(hashes[3], locale, strlen(locale));
  char folder[4096];
  if (getcwd(folder, sizeof folder) != NULL) hashes[4] = hash(hashes[4], folder, strlen(folder));
  const mode_t mode = umask(0);
  umask(mode);
  hashes[4] = hash(hashes[4], &mode, sizeof mode);
  const int rounding = fegetround();
  hashes[5] = hash(hashes[5], &rounding, sizeof rounding);
#if defined(__x86_64__)
  unsigned control;
  __asm__ volatile("stmxcsr %0" : "=m"(control));
  control &= ~0x3fu; /* not the flags that any computation sets */
  hashes[5] = hash(hashes[5], &control, sizeof control);
#endif
}

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
