/* The process: started, asked, ended. What goes over the socket is said in worker.py.
 *
 * It is somebody else's process in which this happens. So nothing here waits for longer than LIMIT, a socket that has
 * no other end raises no SIGPIPE, and the child gets none of the host's descriptors and no signal of its terminal. */
#define _GNU_SOURCE
#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef LIMIT
#define LIMIT 10 /* seconds for one answer, Python's start too */
#endif

/* The two Python files are put into the library, which stays one file. */
#define EMBED(name, file)                                                                            \
  __asm__(".pushsection .rodata\n.global " #name ", " #name "_end\n.hidden " #name ", " #name "_end\n" \
          #name ": .incbin \"" file "\"\n" #name "_end: .byte 0\n.popsection\n");                    \
  extern const char name[] __attribute__((visibility("hidden")));                                    \
  extern const char name##_end[] __attribute__((visibility("hidden")))

EMBED(worker_py, "worker.py");
EMBED(codec_py, "codec.py");

/* ---- The socket ------------------------------------------------------------------------------ */

typedef enum { MOVED, LATE, ENDED } Outcome;

static int64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * INT64_C(1000) + time.tv_nsec / 1000000;
}

/* Whether the socket is ready before `deadline`. A signal does not start the time anew. */
static int wait_for(int link, short events, int64_t deadline) {
  for (;;) {
    struct pollfd asked = {link, events, 0};
    int64_t left = deadline - now();
    int count = left > 0 ? poll(&asked, 1, (int)left) : 0;
    if (count >= 0 || errno != EINTR) return count > 0;
  }
}

/* Writes, or with `events` POLLIN reads, all of `size` bytes. */
static Outcome move(int link, short events, void *data, size_t size, int64_t deadline) {
  for (uint8_t *at = data; size > 0;) {
    if (!wait_for(link, events, deadline)) return LATE;
    ssize_t count = events == POLLIN ? recv(link, at, size, MSG_DONTWAIT)
                                     : send(link, at, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (count < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (count <= 0) return ENDED;
    at += count;
    size -= (size_t)count;
  }
  return MOVED;
}

static int32_t fail(Child *child, int32_t status, const char *why) {
  child->services->error(child->channel, why);
  return status;
}

/* The two no longer understand each other: there is nothing left to ask. */
static int32_t give_up(Child *child, Outcome outcome) {
  char why[80] = "python3 speaks nonsense";
  int status = child_end(child);
  if (outcome == LATE)
    snprintf(why, sizeof why, "python3 has not answered for %d seconds", LIMIT);
  else if (outcome == ENDED && WIFEXITED(status))
    snprintf(why, sizeof why, "python3 has ended by itself, with status %d", WEXITSTATUS(status));
  else if (outcome == ENDED)
    snprintf(why, sizeof why, "python3 has ended by signal %d", WTERMSIG(status));
  return fail(child, MULTIFD_ERROR_INTERNAL, why);
}

/* ---- An answer ------------------------------------------------------------------------------- */

typedef struct {
  uint32_t count, length;
} Request;

typedef struct {
  char kind, unused[3];
  uint32_t length;
} Answer;

int32_t child_ask(Child *child, uint32_t count, const uint8_t *in, size_t in_size, uint8_t *out, size_t *size) {
  if (child->link < 0) return fail(child, MULTIFD_ERROR_INTERNAL, "there is no python3 any more");
  int64_t deadline = now() + LIMIT * INT64_C(1000);
  Request request = {count, (uint32_t)in_size};
  Outcome outcome = move(child->link, POLLOUT, &request, sizeof request, deadline);
  if (outcome == MOVED) outcome = move(child->link, POLLOUT, (void *)in, in_size, deadline);
  while (outcome == MOVED) {
    Answer answer;
    char text[401];
    outcome = move(child->link, POLLIN, &answer, sizeof answer, deadline);
    if (outcome != MOVED) break;
    int is_text = answer.kind != 'O';
    if (answer.length > (is_text ? sizeof text - 1 : *size)) return give_up(child, MOVED);
    outcome = move(child->link, POLLIN, is_text ? (void *)text : out, answer.length, deadline);
    if (outcome != MOVED) break;
    if (is_text) text[answer.length] = 0;
    switch (answer.kind) {
      case 'O': return *size = answer.length, MULTIFD_OK;
      case 'R': return *size = 0, MULTIFD_OK;
      case 'C': return fail(child, MULTIFD_ERROR_CORRUPT, text);
      case 'F': return fail(child, MULTIFD_ERROR_INTERNAL, text);
      case 'M': return fail(child, MULTIFD_ERROR_NO_MEMORY, "python3 has no memory left");
      case 'L': child->services->log(child->channel, MULTIFD_LOG_INFO, text); break;
      default: return give_up(child, MOVED);
    }
  }
  return give_up(child, outcome);
}

/* ---- Start and end --------------------------------------------------------------------------- */

/* Descriptor 3 is the socket, 0 to 2 are nothing, and there are no others: a connection of the host's that somebody
 * else has too does not end when the host closes it. */
static int spawn(Child *child, int end, char *const arguments[]) {
  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  int error = posix_spawn_file_actions_init(&files);
  if (error != 0) return error;
  error = posix_spawnattr_init(&attributes);
  if (error == 0) {
    if ((error = posix_spawn_file_actions_adddup2(&files, end, 3)) == 0 &&
        (error = posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDWR, 0)) == 0 &&
        (error = posix_spawn_file_actions_adddup2(&files, 0, 1)) == 0 &&
        (error = posix_spawn_file_actions_adddup2(&files, 0, 2)) == 0 &&
        (error = posix_spawn_file_actions_addclosefrom_np(&files, 4)) == 0 &&
        (error = posix_spawnattr_setsigmask(&attributes, &none)) == 0 &&
        (error = posix_spawnattr_setsigdefault(&attributes, &all)) == 0 &&
        (error = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK |
                                                           POSIX_SPAWN_SETSIGDEF)) == 0)
      error = posix_spawnp(&child->pid, PYTHON, &files, &attributes, arguments, environ);
    posix_spawnattr_destroy(&attributes);
  }
  posix_spawn_file_actions_destroy(&files);
  return error;
}

int32_t child_start(Child *child, const char *direction, uint32_t page_size, uint32_t page_count) {
  char size[11], count[11], why[300];
  int ends[2];
  snprintf(size, sizeof size, "%u", page_size);
  snprintf(count, sizeof count, "%u", page_count);
  /* Its path tells Python which packages it has. -I: neither the environment nor the folder does. -S: see worker.py. */
  char *const arguments[] = {PYTHON, "-IS", "-c", (char *)worker_py, (char *)direction, size, count, NULL};
  int error = 0;
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    error = errno;
  } else {
    error = spawn(child, ends[1], arguments);
    close(ends[1]);
    child->link = ends[0];
    if (error != 0) close(ends[0]), child->link = -1;
  }
  if (error != 0) {
    errno = error;
    snprintf(why, sizeof why, "%.200s cannot be started: %m", PYTHON);
    return fail(child, error == ENOMEM || error == EAGAIN ? MULTIFD_ERROR_NO_MEMORY : MULTIFD_ERROR_INTERNAL, why);
  }
  size_t nothing = 0;
  return child_ask(child, 0, (const uint8_t *)codec_py, (size_t)(codec_py_end - codec_py), NULL, &nothing);
}

int child_end(Child *child) {
  int status = 0;
  if (child->link < 0) return status;
  close(child->link);
  child->link = -1;
  /* Its session too, which is its own. It has nothing to tidy up, and whoever is killed does not keep us waiting. */
  kill(-child->pid, SIGKILL);
  while (waitpid(child->pid, &status, 0) < 0 && errno == EINTR) {}
  return status;
}
