/* The process above the library's. It opens nothing foreign, and so can be trusted to clear up: everything that the
 * library starts, daemons with a session of their own included, becomes its child in the end, since it is their
 * subreaper. Where it is killed itself, the library's process dies with it. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "probe.h"

/* Kills the children that there are now. Where the kernel does not list them (it may be built without), those that have
 * left the library's session live on. */
static void kill_children(void) {
  char path[64], text[4096];
  snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
  const int list = open(path, O_RDONLY | O_CLOEXEC);
  if (list < 0) return;
  /* Of a long list the rest is looked at the next time. */
  const ssize_t size = read(list, text, sizeof text - 1);
  close(list);
  text[size < 0 ? 0 : size] = 0;
  /* They are ours and nobody has waited for them: their numbers are theirs. A number that was cut off is not used. */
  char *at = text, *end;
  for (long pid; (pid = strtol(at, &end, 10)) > 0 && *end == ' '; at = end) kill((pid_t)pid, SIGKILL);
}

/* Ends all that is left. Whose parent dies comes here, so that it takes as many rounds as they are deep. Whether there
 * was anything. */
static int end_children(pid_t session) {
  int some = 0;
  /* Some seconds: what waits for storage that does not answer dies when that does. */
  for (int round = 0; round < 2000; round++) {
    const pid_t ended = waitpid(-1, NULL, WNOHANG | __WALL);
    if (ended < 0 && errno != EINTR) break;
    if (ended != 0) continue;
    some = 1;
    kill(-session, SIGKILL);
    kill_children();
    usleep(round < 10 ? 200 : 1000);
  }
  return some;
}

/* Waits for the library's process, or for being told to end it. */
static int wait_for(pid_t library, const sigset_t *awaited) {
  int status = 0;
  while (waitpid(library, &status, WNOHANG) != library) {
    if (sigwaitinfo(awaited, NULL) == SIGTERM) kill(library, SIGKILL);
  }
  return status;
}

shared_page *supervise(void) {
  shared_page *shared =
      mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  sigset_t awaited, none;
  sigemptyset(&none);
  sigemptyset(&awaited);
  sigaddset(&awaited, SIGCHLD);
  sigaddset(&awaited, SIGTERM);
  sigprocmask(SIG_SETMASK, &awaited, NULL);
  signal(SIGCHLD, SIG_DFL);
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  /* When the host dies. */
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  const pid_t parent = getpid(), library = shared == MAP_FAILED ? -1 : fork();
  if (library == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1); /* it died before we could ask */
    setsid();
    sigprocmask(SIG_SETMASK, &none, NULL);
    return shared;
  }
  if (library < 0) {
    perror("multifd-probe");
    _exit(71);
  }
  const int status = wait_for(library, &awaited);
  const int left = end_children(library);
  shared->breach[sizeof shared->breach - 1] = 0;
  if (shared->breach[0] != 0) add_item(BREACH, shared->breach, (uint32_t)strlen(shared->breach));
  if (left) add_item(LEFT, NULL, 0);
  add_item(ENDED, &status, sizeof status);
  flush_account();
  _exit(0);
}
