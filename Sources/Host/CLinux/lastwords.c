/* What a process leaves behind when something else than itself ends it: a signal that kills, or somebody's exit().
 * Written into memory that a parent shares, so that it can say in one line what happened, and where. */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "clinux.h"

static clinux_last_words *words;
/* The one who tells; what dies of its consequences adds nothing. */
static _Atomic uint64_t teller;

/* Whether it is for this thread to tell. Of two that die at once the later one waits: the process must not end before
 * the earlier one has told. One that dies again while it tells has told what it could. */
static int tells(void) {
  const uint64_t self = (uint64_t)pthread_self();
  uint64_t first = 0;
  if (atomic_compare_exchange_strong(&teller, &first, self)) return 1;
  while (first != self) pause();
  return 0;
}

static void dying(int number, siginfo_t *info, void *context) {
  (void)context;
  if (tells()) {
    words->thread = (uint64_t)pthread_self();
    words->address = info->si_code > 0 ? (uint64_t)info->si_addr : 0;
    words->signal = number;
  }
  signal(number, SIG_DFL);
  /* An instruction that failed is repeated on return, anything else is sent again. */
  if (info->si_code <= 0 || number == SIGTRAP || number == SIGSYS) raise(number);
}

static void leaving(int code, void *unused) {
  (void)unused;
  if (tells()) {
    words->thread = (uint64_t)pthread_self();
    words->code = code;
    words->exited = 1;
  }
  /* No destructors under threads that still run. */
  _exit(code);
}

void clinux_leave_last_words(clinux_last_words *shared) {
  words = shared;
  teller = 0;
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = dying;
  action.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK;
  const int fatal[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGSYS};
  for (size_t i = 0; i < sizeof fatal / sizeof *fatal; i++) sigaction(fatal[i], &action, NULL);
  on_exit(leaving, NULL);
}

uint64_t clinux_thread(void) { return (uint64_t)pthread_self(); }

typedef struct {
  void (*work)(void *, int);
  void *context;
} task;

static void *perform(void *argument) {
  const task *it = argument;
  it->work(it->context, 0);
  return NULL;
}

int clinux_fork(const char *name, void (*work)(void *, int), void *context) {
  const int parent = getpid();
  const int pid = fork();
  if (pid != 0) return pid;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(0); /* it died before we could ask */
  prctl(PR_SET_NAME, name);
  /* On this thread's stack, which it does not leave any more. */
  task it = {work, context};
  pthread_t thread;
  const int error = pthread_create(&thread, NULL, perform, &it);
  if (error != 0) work(context, error);
  else pthread_join(thread, NULL);
  _exit(0);
}
