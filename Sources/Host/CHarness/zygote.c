/* The zygote: a process that does nothing but fork, one child for each test.
 *
 * It is started once in a run, waits for words on a socket, has one thread for its whole life and never opens a
 * library. What it forks is therefore as untouched as a program that has just been started, and costs neither an exec
 * nor the dynamic linking of a Swift executable. Each child is the zygote's own, so it is the zygote that kills and
 * reaps it, when it is told to: until then the number means that child and no other. */
#define _GNU_SOURCE
#include "charness.h"
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

/* Where the zygote finds its end of the socket. */
#define SOCKET_FD 3
enum { START = 1, END };

/* What travels each way, with the descriptors of a new child where there are some. */
typedef struct {
  int what;
  int pid;
  int perturb;
  char test[CHARNESS_NAME_MAX];
} request;

typedef struct {
  int pid;   /* of the child that was started; 0 when there is none */
  int value; /* an errno value, or the child's status as of waitpid() */
} answer;

enum { REPORT, OUTPUT, SHARED, DESCRIPTORS };

typedef union {
  struct cmsghdr header;
  char bytes[CMSG_SPACE(DESCRIPTORS * sizeof(int))];
} ancillary;

/* ---- the zygote ---- */

/* The next request and its descriptors; ends the process when there is nobody who could ask. */
static request next(int descriptors[DESCRIPTORS]) {
  request asked;
  ancillary with;
  struct iovec piece = {.iov_base = &asked, .iov_len = sizeof asked};
  struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1, .msg_control = with.bytes,
                           .msg_controllen = sizeof with.bytes};
  ssize_t count;
  do {
    count = recvmsg(SOCKET_FD, &message, 0);
  } while (count < 0 && errno == EINTR);
  if (count != sizeof asked) _exit(count == 0 ? 0 : 1);
  const struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  for (int i = 0; i < DESCRIPTORS; i++) descriptors[i] = -1;
  if (header != NULL) memcpy(descriptors, CMSG_DATA(header), header->cmsg_len - CMSG_LEN(0));
  return asked;
}

static void tell(answer said) {
  ssize_t count;
  do {
    count = send(SOCKET_FD, &said, sizeof said, MSG_NOSIGNAL);
  } while (count < 0 && errno == EINTR);
  if (count != sizeof said) _exit(1);
}

/* What children keep, in order. */
static int kept[4];
static int kept_count;

void charness_zygote_keep(int fd) {
  if (fd < 5 || kept_count == (int)(sizeof kept / sizeof *kept)) _exit(CHARNESS_FAULT);
  int at = kept_count++;
  for (; at > 0 && kept[at - 1] > fd; at--) kept[at] = kept[at - 1];
  kept[at] = fd;
}

static void close_all(unsigned first, unsigned last) {
  if (first > last || close_range(first, last, 0) == 0) return;
  /* An old kernel. */
  if (last == ~0u) closefrom((int)first);
  else for (unsigned fd = first; fd <= last; fd++) close((int)fd);
}

/* All from 5 on but what is kept. */
static void close_others(void) {
  unsigned first = 5;
  for (int i = 0; i < kept_count; i++) {
    close_all(first, (unsigned)kept[i] - 1);
    first = (unsigned)kept[i] + 1;
  }
  close_all(first, ~0u);
}

/* Makes a forked process what charness_spawn() makes of a started one. */
static void become_child(int zygote, const int descriptors[DESCRIPTORS], int perturb) {
  charness_begin_child();
  if (getppid() != zygote) _exit(0); /* it died before we could ask */
  /* Its own process group, so that what it starts can be ended with it. */
  setpgid(0, 0);
  /* All above what they are going to be, so that none is clobbered. */
  int high[DESCRIPTORS];
  for (int i = 0; i < DESCRIPTORS; i++) {
    high[i] = fcntl(descriptors[i], F_DUPFD, 10);
    if (high[i] < 0) _exit(CHARNESS_FAULT);
  }
  if (dup2(high[OUTPUT], 1) < 0 || dup2(high[OUTPUT], 2) < 0) _exit(CHARNESS_FAULT);
  if (dup2(high[REPORT], 3) < 0 || dup2(high[SHARED], 4) < 0) _exit(CHARNESS_FAULT);
  close_others();
  /* Of its own: flags that a test sets on an open file are seen by all who share it. */
  close(0);
  if (open("/dev/null", O_RDONLY) != 0) _exit(CHARNESS_FAULT);
  if (!perturb) {
    mallopt(M_PERTURB, 0);
    unsetenv(CHARNESS_PERTURB);
  }
}

void charness_zygote_serve(char test[CHARNESS_NAME_MAX]) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const int zygote = getpid();
  signal(SIGCHLD, SIG_DFL);
  for (;;) {
    int descriptors[DESCRIPTORS];
    const request asked = next(descriptors);
    if (asked.what == END) {
      int status = -1, result;
      if (asked.pid <= 0) _exit(1); /* such a number is more than one process's */
      /* Not yet waited for, so the number still means this child and its group. */
      kill(-asked.pid, SIGKILL);
      kill(asked.pid, SIGKILL);
      do {
        result = waitpid(asked.pid, &status, 0);
      } while (result < 0 && errno == EINTR);
      tell((answer){.pid = asked.pid, .value = result == asked.pid ? status : -1});
      continue;
    }
    /* The last one is missing where there was no room for all of them. */
    const int complete = descriptors[DESCRIPTORS - 1] >= 0;
    const int pid = complete ? fork() : -1;
    if (pid == 0) {
      become_child(zygote, descriptors, asked.perturb);
      memcpy(test, asked.test, CHARNESS_NAME_MAX);
      return;
    }
    const int error = complete ? errno : EMFILE;
    for (int i = 0; i < DESCRIPTORS; i++) close(descriptors[i]);
    /* Here as well: its group is there when it is first asked for. */
    if (pid > 0) setpgid(pid, pid);
    tell((answer){.pid = pid > 0 ? pid : 0, .value = pid > 0 ? 0 : error});
  }
}

/* ---- its user ---- */

int charness_zygote_start(const char *program, char *const arguments[], int perturb, int patience,
                          charness_zygote *zygote) {
  int ends[2];
  zygote->pid = 0;
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return errno;
  /* Nobody waits for ever for one that has been stopped. */
  const struct timeval limit = {.tv_sec = patience};
  setsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  const int theirs = fcntl(ends[1], F_DUPFD_CLOEXEC, 10);
  int error = theirs < 0 ? errno : 0;
  close(ends[1]);
  if (error == 0) {
    /* What it has to complain of goes where our own complaints go. */
    error = charness_start(program, arguments, perturb, (int[]){2, theirs, -1}, 0, &zygote->pid);
    close(theirs);
  }
  if (error != 0) {
    close(ends[0]);
    return error;
  }
  zygote->socket = ends[0];
  return 0;
}

/* Asks and waits for the answer. 0, or an errno value; EPIPE when there is no zygote any more. */
static int ask(const charness_zygote *zygote, const request *question, const int *descriptors,
               answer *said) {
  ancillary with;
  struct iovec piece = {.iov_base = (void *)question, .iov_len = sizeof *question};
  struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
  if (descriptors != NULL) {
    memset(&with, 0, sizeof with);
    message.msg_control = with.bytes;
    message.msg_controllen = sizeof with.bytes;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(DESCRIPTORS * sizeof(int));
    memcpy(CMSG_DATA(header), descriptors, DESCRIPTORS * sizeof(int));
  }
  ssize_t count;
  do {
    count = sendmsg(zygote->socket, &message, MSG_NOSIGNAL);
  } while (count < 0 && errno == EINTR);
  if (count < 0) return errno == ECONNRESET ? EPIPE : errno;
  do {
    count = recv(zygote->socket, said, sizeof *said, 0);
  } while (count < 0 && errno == EINTR);
  if (count < 0) return errno == EAGAIN ? ETIMEDOUT : errno == ECONNRESET ? EPIPE : errno;
  return count == sizeof *said ? 0 : EPIPE;
}

int charness_zygote_child(const charness_zygote *zygote, const char *test, int shared_fd,
                          int perturb, charness_child *child) {
  request question = {.what = START, .perturb = perturb};
  if (strlen(test) >= sizeof question.test) return ENAMETOOLONG;
  strcpy(question.test, test);
  int ends[2];
  int error = charness_pipes(child, ends);
  if (error != 0) return error;
  const int descriptors[DESCRIPTORS] = {[REPORT] = ends[0], [OUTPUT] = ends[1], [SHARED] = shared_fd};
  answer said;
  error = ask(zygote, &question, descriptors, &said);
  if (error == 0) error = said.value;
  close(ends[0]);
  close(ends[1]);
  if (error != 0) {
    child->pidfd = -1;
    charness_close(child);
    return error;
  }
  child->pid = said.pid;
  child->pidfd = charness_pidfd(said.pid);
  return 0;
}

int charness_zygote_end_child(const charness_zygote *zygote, charness_child *child, int *status) {
  const request question = {.what = END, .pid = child->pid};
  answer said;
  const int error = ask(zygote, &question, NULL, &said);
  charness_close(child);
  if (error == 0) *status = said.value;
  return error;
}

void charness_zygote_end(charness_zygote *zygote) {
  if (zygote->pid <= 0) return; /* never started */
  close(zygote->socket);
  /* Its children die with it. */
  kill(zygote->pid, SIGKILL);
  while (waitpid(zygote->pid, NULL, 0) < 0 && errno == EINTR) {}
  zygote->pid = 0;
}
