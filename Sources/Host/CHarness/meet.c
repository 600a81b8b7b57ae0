/* Two calls that meet: one is interrupted at a given moment, and the other is run from beginning to end meanwhile. What
 * two threads come to by chance, on idle processors, once in a thousand times is brought about here. */
#define _GNU_SOURCE
#include "charness.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

#define MOMENT (SIGRTMIN + 5)

typedef struct {
  void (*body)(void *);
  void *with;
} call;

static struct {
  sem_t begins;
  atomic_int is_begun, is_done, is_in_vain;
  call one, other;
  uint64_t delay, patience, time;
  /* In the own time of the thread that is interrupted: when it began, was interrupted (0: it was not) and ended, and
   * what of it the interruption took. */
  uint64_t start, interrupted, end, waited;
} meeting;

static void *run_other(void *unused) {
  (void)unused;
  while (sem_wait(&meeting.begins) != 0) {}
  meeting.other.body(meeting.other.with);
  atomic_store(&meeting.is_done, 1);
  return NULL;
}

static void begin(void) {
  if (atomic_exchange(&meeting.is_begun, 1) == 0) sem_post(&meeting.begins);
}

static void on_moment(int number) {
  (void)number;
  const int error = errno;
  meeting.interrupted = charness_thread_time();
  const uint64_t end = charness_now() + meeting.patience;
  const struct timespec moment = {.tv_nsec = 10000};
  begin();
  while (!atomic_load(&meeting.is_done) && charness_now() < end) nanosleep(&moment, NULL);
  if (!atomic_load(&meeting.is_done)) atomic_store(&meeting.is_in_vain, 1);
  meeting.waited = charness_thread_time() - meeting.interrupted;
  errno = error;
}

static void *run_one(void *unused) {
  (void)unused;
  struct sigevent event;
  memset(&event, 0, sizeof event);
  event.sigev_notify = SIGEV_THREAD_ID;
  event.sigev_signo = MOMENT;
  event.sigev_notify_thread_id = charness_thread_id();
  timer_t timer;
  const int is_timed = meeting.delay > 0 && timer_create(CLOCK_MONOTONIC, &event, &timer) == 0;
  const struct itimerspec at = {.it_value = {.tv_sec = (time_t)(meeting.delay / 1000000000),
                                             .tv_nsec = (long)(meeting.delay % 1000000000)}};
  const uint64_t start = charness_now();
  if (is_timed) timer_settime(timer, 0, &at, NULL);
  meeting.start = charness_thread_time();
  meeting.one.body(meeting.one.with);
  meeting.end = charness_thread_time();
  meeting.time = charness_now() - start;
  if (is_timed) timer_delete(timer);
  begin();
  return NULL;
}

int charness_meet(uint64_t delay, uint64_t patience, void (*one)(void *), void *with_one, void (*other)(void *),
                  void *with_other, uint64_t *time) {
  struct sigaction action, before;
  memset(&action, 0, sizeof action);
  action.sa_handler = on_moment;
  action.sa_flags = SA_RESTART;
  sigaction(MOMENT, &action, &before);
  atomic_store(&meeting.is_begun, 0);
  atomic_store(&meeting.is_done, 0);
  atomic_store(&meeting.is_in_vain, 0);
  meeting.one = (call){one, with_one};
  meeting.other = (call){other, with_other};
  meeting.delay = delay;
  meeting.patience = patience;
  meeting.time = meeting.start = meeting.interrupted = meeting.end = meeting.waited = 0;
  sem_init(&meeting.begins, 0, 0);
  /* Both in threads of their own: in a process that was forked the first thread is not what a run-time library has noted
   * of it, and locks that go by its number fail. */
  pthread_t threads[2];
  int error = pthread_create(threads, NULL, run_other, NULL);
  if (error == 0) {
    error = pthread_create(threads + 1, NULL, run_one, NULL);
    if (error == 0) pthread_join(threads[1], NULL);
    begin();
    pthread_join(threads[0], NULL);
  }
  /* The signal is for a thread that has ended. */
  sigaction(MOMENT, &before, NULL);
  *time = meeting.time;
  sem_destroy(&meeting.begins);
  return error;
}

double charness_met_at(void) {
  if (meeting.interrupted == 0 || meeting.interrupted >= meeting.end) return 1;
  if (meeting.interrupted <= meeting.start) return 0;
  const uint64_t all = meeting.end - meeting.start - meeting.waited;
  return (double)(meeting.interrupted - meeting.start) / (double)all;
}

int charness_met_in_vain(void) { return atomic_load(&meeting.is_in_vain); }
