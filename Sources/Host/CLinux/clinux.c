#define _GNU_SOURCE
#include "clinux.h"

#ifdef __x86_64__
#include <emmintrin.h>
#endif
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

int clinux_memfd_create(const char *name) { return memfd_create(name, MFD_CLOEXEC); }

int clinux_open_folder(int at, const char *name) {
  return openat(at, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

int clinux_fallocate(int fd, int64_t offset, int64_t length) {
  return fallocate(fd, 0, offset, length);
}

int clinux_punch_hole(int fd, int64_t offset, int64_t length) {
  return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length);
}

void clinux_start_writing(int fd) { sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE); }

int clinux_is_locked(int fd, int64_t start, int64_t length) {
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
  return fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

int clinux_clone(int to, int from) { return ioctl(to, FICLONE, from); }

int64_t clinux_seek_data(int fd, int64_t offset) { return lseek(fd, offset, SEEK_DATA); }

int64_t clinux_seek_hole(int fd, int64_t offset) { return lseek(fd, offset, SEEK_HOLE); }

int clinux_unread(int fd) {
  int count = 0;
  return ioctl(fd, FIONREAD, &count) < 0 ? -1 : count;
}

int clinux_untaken(int fd) {
  int count = 0;
  return ioctl(fd, TIOCOUTQ, &count) < 0 ? -1 : count;
}

/* A field of TCP_INFO that begins at `offset`; -1 where this kernel has none, or this is no TCP. */
static int64_t tcp_field(int fd, size_t offset) {
  struct tcp_info info;
  uint32_t value;
  socklen_t size = sizeof info;
  if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return -1;
  if (size < offset + sizeof value) return -1;
  memcpy(&value, (const char *)&info + offset, sizeof value);
  return value;
}

int64_t clinux_peer_window(int fd) { return tcp_field(fd, offsetof(struct tcp_info, tcpi_snd_wnd)); }

int64_t clinux_round_trip(int fd) { return tcp_field(fd, offsetof(struct tcp_info, tcpi_rtt)); }

int64_t clinux_splice(int from, int to, size_t count, int more) {
  return splice(from, NULL, to, NULL, count, SPLICE_F_MOVE | (more ? SPLICE_F_MORE : 0));
}

int clinux_wide_pipe(int ends[2], int size) {
  if (pipe2(ends, O_CLOEXEC) != 0) return -1;
  int room = fcntl(ends[0], F_SETPIPE_SZ, size);
  return room > 0 ? room : fcntl(ends[0], F_GETPIPE_SZ);
}

int clinux_accept(int fd) { return accept4(fd, NULL, NULL, SOCK_CLOEXEC); }

int clinux_accept_from(int fd, void *address, size_t size) {
  socklen_t length = (socklen_t)size;
  return accept4(fd, address, &length, SOCK_CLOEXEC);
}

int clinux_epoll(const int *fds, int count) {
  const int set = epoll_create1(EPOLL_CLOEXEC);
  for (int i = 0; i < count && set >= 0; i++) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fds[i]};
    if (epoll_ctl(set, EPOLL_CTL_ADD, fds[i], &event) == 0) continue;
    const int error = errno;
    close(set);
    errno = error;
    return -1;
  }
  return set;
}

void clinux_set_thread_name(const char *name) {
  char cut[16];
  strncpy(cut, name, sizeof cut - 1);
  cut[sizeof cut - 1] = 0;
  pthread_setname_np(pthread_self(), cut);
}

int clinux_usable_processors(void) {
  cpu_set_t set;
  return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : -1;
}

int64_t clinux_monotonic(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

int clinux_wait_until(void *condition, void *mutex, int64_t deadline) {
  const struct timespec end = {deadline / 1000000000, deadline % 1000000000};
  return pthread_cond_clockwait(condition, mutex, CLOCK_MONOTONIC, &end);
}

int clinux_join_within(unsigned long thread, double seconds) {
  /* A deadline that has passed is slept on all the same, for as long as a timer may be late: some 50 us. */
  if (seconds <= 0) return pthread_tryjoin_np((pthread_t)thread, NULL);
  struct timespec end;
  clock_gettime(CLOCK_MONOTONIC, &end);
  time_t whole = (time_t)seconds;
  end.tv_sec += whole;
  end.tv_nsec += (long)((seconds - (double)whole) * 1e9);
  if (end.tv_nsec >= 1000000000) {
    end.tv_sec++;
    end.tv_nsec -= 1000000000;
  }
  return pthread_clockjoin_np((pthread_t)thread, NULL, CLOCK_MONOTONIC, &end);
}

int clinux_pipe(int ends[2]) {
  if (pipe2(ends, O_CLOEXEC) != 0) return -1;
  return fcntl(ends[0], F_SETFL, O_NONBLOCK);
}

int clinux_spawn_close_from(void *actions, int first) {
  return posix_spawn_file_actions_addclosefrom_np(actions, first);
}

int clinux_datagram_pair(int ends[2]) {
  return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends);
}

/* By number: glibc has the wrappers since 2.36 only. */
int clinux_pidfd_open(int pid) { return (int)syscall(SYS_pidfd_open, pid, 0); }

int clinux_reset_sockets(int pidfd, const int *sockets, int count) {
  const int pid = fork();
  if (pid != 0) return pid < 0 ? -1 : 0;
  /* This process had other threads: system calls only. The first look makes all of them, so that one that waits keeps
   * only itself; each has a child of its own. */
  for (int i = 0; i < count; i++) {
    if (fork() != 0) continue;
    const int copy = (int)syscall(SYS_pidfd_getfd, pidfd, sockets[i], 0);
    if (copy >= 0) {
      /* To cut it is not enough for TCP: a peer's bytes would still find room, and it would never know. To connect to
       * nowhere resets it (tcp(7)); other families refuse that, and do not need it. */
      const struct sockaddr nowhere = {.sa_family = AF_UNSPEC};
      shutdown(copy, SHUT_RDWR);
      connect(copy, &nowhere, sizeof nowhere);
    }
    _exit(0);
  }
  _exit(0);
}

int clinux_pidfd_send_signal(int pidfd, int signal) {
  return (int)syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0);
}

int clinux_is_mapped(const void *start, size_t size, uint64_t device, uint64_t inode, int *access) {
  FILE *maps = fopen("/proc/self/maps", "re");
  if (maps == NULL) return 1; /* nothing is known */
  const unsigned long first = (unsigned long)start, end = first + size;
  unsigned long next = first;
  int is_whole = 1;
  *access = 0;
  char line[512];
  while (fgets(line, sizeof line, maps) != NULL) {
    unsigned long offset, number;
    unsigned major, minor;
    char rights[8], *rest;
    /* By hand up to here: a process may have thousands of mappings, and scanf(3) takes longer for one than the kernel. */
    const unsigned long from = strtoul(line, &rest, 16);
    if (*rest != '-') continue; /* the rest of a long line */
    const unsigned long to = strtoul(rest + 1, &rest, 16);
    if (to <= first) continue;
    if (from >= end) break; /* they come in order */
    if (sscanf(rest, "%7s %lx %x:%x %lu", rights, &offset, &major, &minor, &number) != 5) continue;
    *access |= (rights[0] == 'r' ? 1 : 0) | (rights[1] == 'w' ? 2 : 0) | (rights[2] == 'x' ? 4 : 0);
    const unsigned long at = from > first ? from : first;
    if (at != next || rights[3] != 's' || number != inode || makedev(major, minor) != device
        || offset + (at - from) != at - first) is_whole = 0;
    next = to;
  }
  fclose(maps);
  return is_whole && next >= end;
}

int clinux_tell_mapping(const void *start, clinux_mapping *told) {
  FILE *maps = fopen("/proc/self/smaps", "re");
  if (maps == NULL) return -1;
  *told = (clinux_mapping){0};
  int is_found = 0;
  char line[512];
  while (fgets(line, sizeof line, maps) != NULL) {
    size_t kilobytes;
    int eligible;
    /* A field's name may begin like a number: "FilePmdMapped". What has a dash behind its digits is an address. */
    char *rest;
    const unsigned long from = strtoul(line, &rest, 16);
    if (rest != line && *rest == '-') {
      if (is_found) break;
      is_found = from == (unsigned long)start;
    } else if (!is_found) {
      continue;
    } else if (sscanf(line, "ShmemPmdMapped: %zu kB", &kilobytes) == 1
               || sscanf(line, "FilePmdMapped: %zu kB", &kilobytes) == 1
               || sscanf(line, "Shared_Hugetlb: %zu kB", &kilobytes) == 1
               || sscanf(line, "Private_Hugetlb: %zu kB", &kilobytes) == 1) {
      told->mapped += kilobytes << 10;
    } else if (sscanf(line, "THPeligible: %d", &eligible) == 1) {
      told->eligible = eligible;
    }
  }
  fclose(maps);
  return is_found ? 0 : -1;
}

/* Of linux/stat.h; glibc's headers may be older than the kernel. */
#ifndef STATX_MNT_ID_UNIQUE
#define STATX_MNT_ID_UNIQUE 0x00004000U
#endif

int clinux_mount_id(int fd, uint64_t *id) {
  struct statx answer;
  if (statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID_UNIQUE, &answer) != 0) return -1;
  if ((answer.stx_mask & STATX_MNT_ID_UNIQUE) == 0) return -1;
  *id = answer.stx_mnt_id;
  return 0;
}

int64_t clinux_file_system(int fd, int64_t *block) {
  struct statfs answer;
  if (fstatfs(fd, &answer) != 0) return -1;
  *block = answer.f_bsize;
  return answer.f_type;
}

int64_t clinux_peer_user(int fd) {
  struct ucred peer;
  socklen_t size = sizeof peer;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 || peer.pid == 0) return -1;
  return peer.uid;
}

void clinux_copy_past_caches(void *to, const void *from, int64_t count) {
#ifdef __x86_64__
  __m128i *target = to;
  const __m128i *source = from;
  for (int64_t left = count / 64; left > 0; left--, target += 4, source += 4) {
    __m128i a = _mm_loadu_si128(source), b = _mm_loadu_si128(source + 1);
    __m128i c = _mm_loadu_si128(source + 2), d = _mm_loadu_si128(source + 3);
    _mm_stream_si128(target, a);
    _mm_stream_si128(target + 1, b);
    _mm_stream_si128(target + 2, c);
    _mm_stream_si128(target + 3, d);
  }
  /* Such stores are not in order with others of this thread, a lock's for instance. */
  _mm_sfence();
#else
  memcpy(to, from, (size_t)count);
#endif
}
