/* What a thread asks of the kernel: files that it creates, sockets, processes, signals, descriptors of others that it
 * closes.
 *
 * A seccomp filter hands those calls to a second thread of this process before they are made (seccomp_unotify(2)), which
 * notes them and lets them pass. Nothing else sees a call that leaves no trace: a child that has been waited for, a file
 * that is written and closed. */
#define _GNU_SOURCE
#include "charness.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/close_range.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

static const struct {
  int number;
  const char *what;
} watched[] = {
#ifdef SYS_open
  {SYS_open, "open"}, {SYS_creat, "creates a file"}, {SYS_fork, "forks"}, {SYS_vfork, "forks"},
  {SYS_unlink, "removes a file"}, {SYS_rename, "renames a file"}, {SYS_mkdir, "makes a folder"},
  {SYS_dup2, "dup"},
#endif
  {SYS_close, "close"},
  {SYS_close_range, "close range"},
  {SYS_dup3, "dup"},
  {SYS_openat, "open"},
  {SYS_openat2, "open"},
  {SYS_clone, "clone"},
  {SYS_clone3, "clone"},
  {SYS_execve, "starts a program"},
  {SYS_execveat, "starts a program"},
  {SYS_socket, "makes a socket"},
  {SYS_socketpair, "makes sockets"},
  {SYS_kill, "signals a process"},
  {SYS_pidfd_send_signal, "signals a process"},
  {SYS_ptrace, "traces a process"},
  {SYS_process_vm_readv, "reads a process's memory"},
  {SYS_process_vm_writev, "writes to a process's memory"},
  {SYS_unlinkat, "removes a file"},
  {SYS_renameat2, "renames a file"},
  {SYS_mkdirat, "makes a folder"},
  {SYS_mlockall, "locks all memory"},
  {SYS_setns, "changes a namespace"},
  {SYS_unshare, "changes a namespace"},
};
#define WATCHED (sizeof watched / sizeof *watched)

/* More are not looked at. */
#define DESCRIPTORS 1024

static struct {
  int listener;
  pthread_mutex_t lock;
  size_t length;
  char notes[4096]; /* lines */
  unsigned char was_open[DESCRIPTORS]; /* when the watch began: the host's */
} watch = {.listener = -1, .lock = PTHREAD_MUTEX_INITIALIZER};

static void note(const char *what, const char *path) {
  pthread_mutex_lock(&watch.lock);
  const size_t room = sizeof watch.notes - watch.length;
  const int count = snprintf(watch.notes + watch.length, room, "%s%s%.200s\n", what,
                             path == NULL ? "" : " ", path == NULL ? "" : path);
  if (count > 0 && (size_t)count < room) watch.length += (size_t)count;
  watch.notes[watch.length] = 0;
  pthread_mutex_unlock(&watch.lock);
}

static int is_open(int descriptor) { return fcntl(descriptor, F_GETFD) >= 0; }

static int is_hosts(uint64_t descriptor) {
  return descriptor < DESCRIPTORS && watch.was_open[descriptor];
}

/* Whether one of the host's is among them. */
static int has_hosts(uint64_t first, uint64_t last) {
  for (uint64_t i = first; i <= last && i < DESCRIPTORS; i++) {
    if (is_hosts(i) && is_open((int)i)) return 1;
  }
  return 0;
}

/* A device that is no terminal, such as an accelerator: it is written to by opening it so. */
static int is_device(int folder, const char *path) {
  struct stat status;
  if (fstatat(folder, path, &status, 0) != 0 || !S_ISCHR(status.st_mode)) return 0;
  const unsigned kind = major(status.st_rdev); /* 4, 5: tty; 136 to 143: pts */
  return kind != 4 && kind != 5 && (kind < 136 || kind > 143);
}

/* What a call closes that is not the backend's; NULL when that is nothing. `what` is how it is watched. */
static const char *closes(const char *what, const struct seccomp_data *call) {
  /* The kernel looks at 32 bits of a descriptor. */
  const uint32_t first = (uint32_t)call->args[0], second = (uint32_t)call->args[1];
  if (strcmp(what, "close") == 0) {
    if (is_hosts(first)) return "closes a descriptor that it has not opened";
    return is_open((int)first) ? NULL : "closes a descriptor that is not open";
  }
  if (strcmp(what, "close range") == 0) {
    if (call->args[2] & CLOSE_RANGE_CLOEXEC) return NULL;
    return has_hosts(first, second) ? "closes descriptors that it has not opened" : NULL;
  }
  return first != second && is_hosts(second) ? "puts another file in a descriptor's place" : NULL;
}

/* A call that thread `tid` waits in. Its pointers lead into our own memory, unless it is a process that a watched thread
 * has forked: that has been noted, and what it does is not looked into. */
static void judge(int tid, const struct seccomp_data *call) {
  if (syscall(SYS_tgkill, getpid(), tid, 0) != 0) return;
  const char *what = NULL, *path = NULL;
  for (size_t i = 0; i < WATCHED; i++) {
    if (watched[i].number == call->nr) what = watched[i].what;
  }
  if (what == NULL) return;
  if (strcmp(what, "clone") == 0) {
    uint64_t flags = call->args[0];
    /* The kernel is about to read them there as well. */
    if (call->nr == SYS_clone3) flags = *(const uint64_t *)(uintptr_t)call->args[0];
    if (flags & CLONE_THREAD) return;
    what = "forks";
  } else if (strcmp(what, "open") == 0) {
    const int at = call->nr != SYS_openat && call->nr != SYS_openat2 ? 0 : 1;
    uint64_t flags = call->args[at + 1];
    if (call->nr == SYS_openat2) flags = *(const uint64_t *)(uintptr_t)call->args[2];
    if ((flags & O_ACCMODE) == O_RDONLY && !(flags & (O_CREAT | O_TRUNC))) return;
    path = (const char *)(uintptr_t)call->args[at];
    if (is_device(at == 0 ? AT_FDCWD : (int)call->args[0], path)) return;
    what = "opens a file to write to it:";
  } else if (strcmp(what, "dup") == 0 || strncmp(what, "close", 5) == 0) {
    if ((what = closes(what, call)) == NULL) return;
  }
  note(what, path);
}

static void *follow(void *unused) {
  (void)unused;
  for (;;) {
    struct seccomp_notif asked;
    struct seccomp_notif_resp answer;
    memset(&asked, 0, sizeof asked);
    if (ioctl(watch.listener, SECCOMP_IOCTL_NOTIF_RECV, &asked) != 0) {
      if (errno == EINTR || errno == ENOENT) continue;
      return NULL;
    }
    judge((int)asked.pid, &asked.data);
    memset(&answer, 0, sizeof answer);
    answer.id = asked.id;
    answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
    ioctl(watch.listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
  }
}

static void *start(void *unused) {
  pthread_mutex_lock(&watch.lock);
  const int listener = watch.listener;
  pthread_mutex_unlock(&watch.lock);
  return listener < 0 ? NULL : follow(unused);
}

int charness_watch_calls(void) {
#ifndef ARCHITECTURE
  return ENOSYS;
#else
  struct sock_filter filter[WATCHED + 6];
  size_t length = 0;
  filter[length++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
                                                  offsetof(struct seccomp_data, arch));
  filter[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0);
  filter[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  filter[length++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
                                                  offsetof(struct seccomp_data, nr));
  for (size_t i = 0; i < WATCHED; i++) {
    /* To the last instruction. */
    filter[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
                                                    (uint32_t)watched[i].number,
                                                    (uint8_t)(WATCHED - i), 0);
  }
  filter[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  filter[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF);
  const struct sock_fprog program = {.len = (unsigned short)length, .filter = filter};
  /* The watcher is there before there is anything to watch, or it would be watched itself. It waits for its
   * descriptor by way of the lock. */
  pthread_t watcher;
  for (int i = 0; i < DESCRIPTORS; i++) watch.was_open[i] = (unsigned char)is_open(i);
  pthread_mutex_lock(&watch.lock);
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
    pthread_mutex_unlock(&watch.lock);
    return errno;
  }
  int error = pthread_create(&watcher, NULL, start, NULL);
  if (error == 0) {
    watch.listener = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
                                  SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
    if (watch.listener < 0) error = errno;
    pthread_detach(watcher);
  }
  pthread_mutex_unlock(&watch.lock);
  return error;
#endif
}

size_t charness_watched_calls(char *text, size_t size) {
  pthread_mutex_lock(&watch.lock);
  const size_t length = watch.length < size ? watch.length : size;
  memcpy(text, watch.notes, length);
  watch.length = 0;
  pthread_mutex_unlock(&watch.lock);
  return length;
}
