/* Faults of a backend, told with the rule that they break. */
#define _GNU_SOURCE
#include "charness.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <ucontext.h>
#include <unistd.h>

typedef struct {
  const char *read;   /* the test whose rule a read breaks */
  const char *write;
  const char *before; /* for a write in the second half of a guard page of a block */
  const char *what;
} rule;

static const rule rules[] = {
  [CHARNESS_TARGET] = {"bounds/read-past-page", "bounds/write-past-page",
                       "bounds/write-before-page", "outside the packet's pages"},
  [CHARNESS_SOURCE] = {"bounds/read-past-page", "bounds/source-read-only", NULL,
                       "in the block that is sent"},
  [CHARNESS_LIST] = {"bounds/lists-read-only", "bounds/lists-read-only", NULL,
                     "in or behind the lists of pages"},
  [CHARNESS_STALE_LIST] = {"bounds/pointers-kept", "bounds/pointers-kept", NULL,
                           "in the lists of pages of an earlier call"},
  [CHARNESS_STALE_BLOCK] = {"bounds/pointers-kept", "bounds/pointers-kept", NULL,
                            "in the block of an earlier call"},
  [CHARNESS_OPTIONS] = {"bounds/lists-read-only", "bounds/lists-read-only", NULL,
                        "in or behind the option values"},
  [CHARNESS_SERVICES] = {"bounds/lists-read-only", "bounds/lists-read-only", NULL,
                         "in or behind the services"},
  [CHARNESS_REFERENCE] = {"bounds/read-past-page", "bounds/lists-read-only", NULL,
                          "in the reference image"},
  [CHARNESS_IOV] = {"bounds/iov-count", "bounds/iov-count", NULL, "behind the host's iov array"},
  [CHARNESS_PARAMS] = {"bounds/params", "bounds/params", NULL, "behind the params struct"},
  [CHARNESS_ALLOCATION] = {"bounds/allocations", "bounds/allocations", NULL,
                           "outside memory that alloc() returned"},
  [CHARNESS_FREED] = {"bounds/allocations", "bounds/allocations", NULL,
                      "in memory that free() got back"},
  [CHARNESS_STALE_OPTIONS] = {"bounds/pointers-kept", "bounds/pointers-kept", NULL,
                              "in the file of an option of a channel that is gone"},
  [CHARNESS_LESSON] = {"options/trained", "options/trained", NULL,
                       "in or around the pages to make a file from"},
  [CHARNESS_ROOM] = {"options/trained", "options/trained", NULL,
                     "outside the room for the file or for the reason"},
  [CHARNESS_STACK] = {"bounds/stack", "bounds/stack", NULL, "below the thread's stack"},
};

#define GUARDS 8192
static struct {
  uintptr_t start, end;
  size_t page_size;
  int kind; /* 0: unused */
} guards[GUARDS];
static int first_free; /* none below is unused */
static int used;       /* none from here on was ever used */
static pthread_mutex_t guard_lock = PTHREAD_MUTEX_INITIALIZER;

int charness_guard_add(const void *start, size_t size, int kind, size_t page_size) {
  pthread_mutex_lock(&guard_lock);
  int number = first_free;
  while (number < GUARDS && guards[number].kind != 0) number++;
  if (number == GUARDS) {
    number = -1;
  } else {
    guards[number].start = (uintptr_t)start;
    guards[number].end = (uintptr_t)start + size;
    guards[number].page_size = page_size;
    guards[number].kind = kind;
    first_free = number + 1;
    if (number >= used) used = number + 1;
  }
  pthread_mutex_unlock(&guard_lock);
  return number;
}

void charness_guard_remove(int number) {
  if (number < 0) return;
  pthread_mutex_lock(&guard_lock);
  guards[number].kind = 0;
  if (number < first_free) first_free = number;
  pthread_mutex_unlock(&guard_lock);
}

static __thread const char *callback;
static __thread const char *blamed;
static __thread uint32_t channel;
static __thread uint64_t packet;
static int report = -1;

static charness_shared *shared;
#define CASE_AT 4096
#define SHARED_SIZE (CASE_AT + (size_t)CHARNESS_CASE_MAX)

unsigned char *charness_case_bytes(charness_shared *memory) {
  return (unsigned char *)memory + CASE_AT;
}

charness_shared *charness_shared_memory(void) {
  static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
  pthread_mutex_lock(&lock);
  if (shared == NULL) {
    struct stat status;
    void *memory = MAP_FAILED;
    if (report >= 0 && fstat(4, &status) == 0 && status.st_size == (off_t)SHARED_SIZE) {
      memory = mmap(NULL, SHARED_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, 4, 0);
    }
    if (memory == MAP_FAILED) {
      memory = mmap(NULL, SHARED_SIZE, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    }
    if (memory == MAP_FAILED) abort();
    shared = memory;
  }
  pthread_mutex_unlock(&lock);
  return shared;
}

charness_shared *charness_shared_new(int *fd) {
  *fd = memfd_create("harness", MFD_CLOEXEC);
  if (*fd < 0) return NULL;
  void *memory = MAP_FAILED;
  if (ftruncate(*fd, SHARED_SIZE) == 0) {
    memory = mmap(NULL, SHARED_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
  }
  if (memory == MAP_FAILED) {
    close(*fd);
    return NULL;
  }
  return memory;
}

void charness_shared_free(charness_shared *memory, int fd) {
  munmap(memory, SHARED_SIZE);
  close(fd);
}

/* Several threads may be inside a backend: the parent is told of the last one that entered. */
__attribute__((no_sanitize("thread")))
void charness_enter(const char *name, uint32_t in_channel, uint64_t in_packet) {
  callback = name;
  channel = in_channel;
  packet = in_packet;
  charness_shared *to = shared;
  if (to == NULL) return;
  size_t i = 0;
  for (; name != NULL && name[i] != 0 && i < sizeof to->callback - 1; i++) to->callback[i] = name[i];
  to->callback[i] = 0;
  to->channel = in_channel;
  to->packet = in_packet;
}

__attribute__((no_sanitize("thread")))
void charness_leave(void) {
  callback = NULL;
  if (shared != NULL) shared->callback[0] = 0;
}

void charness_blame(const char *test) { blamed = test; }

/* ---- the handler ---- */

static int is_write(const void *context) {
#if defined(__x86_64__)
  return (((const ucontext_t *)context)->uc_mcontext.gregs[REG_ERR] & 2) != 0;
#else
  (void)context;
  return 1;
#endif
}

static const rule *rule_at(uintptr_t address, int *kind, uintptr_t *start, size_t *page_size) {
  for (int i = used; i-- > 0;) {
    if (guards[i].kind == 0 || address < guards[i].start || address >= guards[i].end) continue;
    *kind = guards[i].kind;
    *start = guards[i].start;
    *page_size = guards[i].page_size;
    return &rules[guards[i].kind];
  }
  return NULL;
}

/* Runs once, in a process that is going to die of it; what it calls needs no lock that a backend could
 * hold, but for snprintf, which takes none for these formats. */
static void on_fault(int number, siginfo_t *info, void *context) {
  static _Atomic int entered;
  /* Another thread's fault is being told already; the process ends with that. */
  while (atomic_exchange(&entered, 1) != 0) pause();
  char text[512];
  const char *owner = blamed != NULL ? blamed : "";
  const int is_memory = (number == SIGSEGV || number == SIGBUS) && info->si_code > 0;
  size_t length = 0;
#define ADD(...) \
  if (length < sizeof text) length += (size_t)snprintf(text + length, sizeof text - length, __VA_ARGS__)
  char place[160] = "";
  if (is_memory) {
    const uintptr_t address = (uintptr_t)info->si_addr;
    const int write = is_write(context);
    int kind;
    uintptr_t start;
    size_t page_size;
    const rule *broken = rule_at(address, &kind, &start, &page_size);
    if (broken != NULL) {
      const char *name = write ? broken->write : broken->read;
      if (kind == CHARNESS_TARGET && write && page_size > 0
          && (address - start) % page_size >= page_size / 2) {
        name = broken->before;
      }
      if (blamed == NULL) owner = name;
      snprintf(place, sizeof place, "a %s at offset %ld of memory that is off limits: %s",
               write ? "write" : "read", (long)(address - start), broken->what);
    } else {
      snprintf(place, sizeof place, "a %s at address %#lx", write ? "write" : "read",
               (unsigned long)address);
    }
  }
  ADD("crash\t%s\tsignal %d (%s)", owner, number, strsignal(number));
  if (place[0] != 0) ADD(", %s", place);
  if (callback != NULL) ADD(", in %s(), channel %u, packet %lu", callback, channel, packet);
  ADD("\n");
  if (length > sizeof text) length = sizeof text;
  if (report >= 0 && write(report, text, length) < 0) {}
  /* The same fault again ends the process. A signal that somebody sent has to be repeated. */
  signal(number, SIG_DFL);
  if (!is_memory) raise(number);
}

/* ---- a small stack ---- */

/* How far a frame may leap over the end of the stack and still be told from a stray pointer. */
#define STACK_LEAP ((size_t)64 << 20)

typedef struct {
  void (*body)(void *);
  void *with;
  char spare[64 << 10]; /* the handler's stack */
} errand;

static void *run_errand(void *raw) {
  errand *what = raw;
  const stack_t alternative = {.ss_sp = what->spare, .ss_size = sizeof what->spare};
  sigaltstack(&alternative, NULL);
  what->body(what->with);
  const stack_t none = {.ss_flags = SS_DISABLE};
  sigaltstack(&none, NULL);
  return NULL;
}

int charness_on_stack(size_t size, void (*body)(void *), void *with) {
  errand *what = malloc(sizeof *what);
  if (what == NULL) return ENOMEM;
  what->body = body;
  what->with = with;
  unsigned char *memory = mmap(NULL, STACK_LEAP + size, PROT_NONE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  if (memory == MAP_FAILED) {
    free(what);
    return ENOMEM;
  }
  int error = mprotect(memory + STACK_LEAP, size, PROT_READ | PROT_WRITE) != 0 ? errno : 0;
  const int guard = charness_guard_add(memory, STACK_LEAP, CHARNESS_STACK, 0);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  if (error == 0) error = pthread_attr_setstack(&attributes, memory + STACK_LEAP, size);
  pthread_t thread;
  if (error == 0) error = pthread_create(&thread, &attributes, run_errand, what);
  if (error == 0) pthread_join(thread, NULL);
  pthread_attr_destroy(&attributes);
  charness_guard_remove(guard);
  munmap(memory, STACK_LEAP + size);
  free(what);
  return error;
}

void charness_catch_faults(int to) {
  report = to;
  (void)charness_shared_memory();
  static char stack[64 << 10];
  const stack_t alternative = {.ss_sp = stack, .ss_size = sizeof stack};
  sigaltstack(&alternative, NULL);
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  const int numbers[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGSYS, SIGPIPE};
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) sigaction(numbers[i], &action, NULL);
}
