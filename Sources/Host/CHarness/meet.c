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

/* How long the one that is interrupted waits: the other may want a lock that it holds. */
#define PATIENCE_NS 100000000

static struct {
  sem_t begins;
  atomic_int is_begun, is_done;
  void (*body)(void *);
  void *with;
} meeting;

static void *run_other(void *unused) {
  (void)unused;
  while (sem_wait(&meeting.begins) != 0) {}
  meeting.body(meeting.with);
  atomic_store(&meeting.is_done, 1);
  return NULL;
}

static void begin(void) {
  if (atomic_exchange(&meeting.is_begun, 1) == 0) sem_post(&meeting.begins);
}

static void on_moment(int number) {
  (void)number;
  const int error = errno;
  const uint64_t end = charness_now() + PATIENCE_NS;
  const struct timespec moment = {.tv_nsec = 10000};
  begin();
  while (!atomic_load(&meeting.is_done) && charness_now() < end) nanosleep(&moment, NULL);
  errno = error;
}

int charness_meet(uint64_t delay, void (*one)(void *), void (*other)(void *), void *with,
                  uint64_t *time) {
  const int number = SIGRTMIN + 5;
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = on_moment;
  action.sa_flags = SA_RESTART;
  /* For good: the signal may come when all is over, and would end the process. */
  sigaction(number, &action, NULL);
  atomic_store(&meeting.is_begun, 0);
  atomic_store(&meeting.is_done, 0);
  meeting.body = other;
  meeting.with = with;
  sem_init(&meeting.begins, 0, 0);
  pthread_t thread;
  int error = pthread_create(&thread, NULL, run_other, NULL);
  if (error == 0) {
    struct sigevent event;
    memset(&event, 0, sizeof event);
    event.sigev_notify = SIGEV_THREAD_ID;
    event.sigev_signo = number;
    event.sigev_notify_thread_id = charness_thread_id();
    timer_t timer;
    const int is_timed = delay > 0 && timer_create(CLOCK_MONOTONIC, &event, &timer) == 0;
    const uint64_t start = charness_now();
    if (is_timed) {
      const struct itimerspec at = {.it_value = {.tv_sec = (time_t)(delay / 1000000000),
                                                 .tv_nsec = (long)(delay % 1000000000)}};
      timer_settime(timer, 0, &at, NULL);
    }
    one(with);
    *time = charness_now() - start;
    if (is_timed) timer_delete(timer);
    begin();
    pthread_join(thread, NULL);
  }
  sem_destroy(&meeting.begins);
  return error;
}
