/* The C shim for what Swift's Glibc overlay hides (everything behind _GNU_SOURCE, variadic calls,
 * macros). No policy in it: each function is the call it is named after.
 * No system header beyond stddef/stdint here: glibc headers in a module's public header break debug
 * builds. */
#ifndef CLINUX_H
#define CLINUX_H

#include <stddef.h>
#include <stdint.h>

/* memfd_create(2) with MFD_CLOEXEC. A descriptor, or -1 with errno. */
int clinux_memfd_create(const char *name);

/* openat(2) of a folder that is no link, close-on-exec, with O_PATH: also one that may not be read. A descriptor, or -1
 * with errno. */
int clinux_open_folder(int at, const char *name);

/* fallocate(2), mode 0: room for the range, which reads as zeroes where nothing was. 0, or -1 with errno. */
int clinux_fallocate(int fd, int64_t offset, int64_t length);

/* fallocate(2) with FALLOC_FL_PUNCH_HOLE: the range's memory is given back and reads as zeroes. */
int clinux_punch_hole(int fd, int64_t offset, int64_t length);

/* sync_file_range(2): the kernel begins to write out what it has of a file, and nobody waits for it. */
void clinux_start_writing(int fd);

/* F_OFD_GETLK of fcntl(2): whether another open file has a lock, of whatever kind, on bytes of the range. */
int clinux_is_locked(int fd, int64_t start, int64_t length);

/* ioctl_ficlone(2): `to` has what `from` has, and they share it until one is written. 0, or -1 with errno. */
int clinux_clone(int to, int from);

/* lseek(2) with SEEK_DATA and SEEK_HOLE. An offset, or -1 with errno (ENXIO: no data behind here). */
int64_t clinux_seek_data(int fd, int64_t offset);
int64_t clinux_seek_hole(int fd, int64_t offset);

/* ioctl(2) FIONREAD: bytes that a socket has to read. -1 with errno. */
int clinux_unread(int fd);

/* ioctl(2) TIOCOUTQ: 0 when the peer of a UNIX socket has read all that was written. -1 with errno. */
int clinux_untaken(int fd);

/* getsockopt(2) TCP_INFO, tcpi_snd_wnd: bytes that the peer has room for. -1 where it is not told. */
int64_t clinux_peer_window(int fd);

/* getsockopt(2) TCP_INFO, tcpi_rtt: microseconds to the peer and back, as the kernel has seen it. -1 where it is not
 * told. */
int64_t clinux_round_trip(int fd);

/* splice(2) between a pipe and a socket, with SPLICE_F_MOVE, and SPLICE_F_MORE where `more`. Bytes moved, or -1 with
 * errno. */
int64_t clinux_splice(int from, int to, size_t count, int more);

/* pipe2(2), close-on-exec and blocking, with room for `size` bytes if the kernel gives it. How many it has room for, or
 * -1 with errno. */
int clinux_wide_pipe(int ends[2], int size);

/* accept4(2) with SOCK_CLOEXEC. A descriptor, or -1 with errno. */
int clinux_accept(int fd);

/* The same; `address` has room for `size` bytes, all zero, and gets the peer's. */
int clinux_accept_from(int fd, void *address, size_t size);

/* epoll_create1(2), close-on-exec: readable while one of these descriptors is. A descriptor, or -1 with errno. */
int clinux_epoll(const int *fds, int count);

/* pthread_setname_np(3) for the calling thread; longer names are cut at 15 bytes. */
void clinux_set_thread_name(const char *name);

/* How many processors sched_getaffinity(2) gives the calling thread; -1 where it does not say, or there are too many for
 * a cpu_set_t. */
int clinux_usable_processors(void);

/* clock_gettime(2) of the monotonic clock, in nanoseconds. */
int64_t clinux_monotonic(void);

/* pthread_cond_clockwait(3) of a pthread_cond_t and a pthread_mutex_t, on the monotonic clock until `deadline`: 0,
 * ETIMEDOUT, or another error number. */
int clinux_wait_until(void *condition, void *mutex, int64_t deadline);

/* pthread_clockjoin_np(3) on the monotonic clock: 0, ETIMEDOUT after `seconds`, or another error number. Of 0 seconds
 * pthread_tryjoin_np(3): a look, and EBUSY where it runs. */
int clinux_join_within(unsigned long thread, double seconds);

/* pipe2(2), close-on-exec; the reading end, the first, does not block. 0, or -1 with errno. */
int clinux_pipe(int ends[2]);

/* posix_spawn_file_actions_addclosefrom_np(3): the child has no descriptor from `first` on. 0, or an error number. */
int clinux_spawn_close_from(void *actions, int first);

/* socketpair(2) of datagrams that keep their order, close-on-exec. 0, or -1 with errno. */
int clinux_datagram_pair(int ends[2]);

/* Whether every page of [start, start + size) is a shared mapping of the file `inode` on `device`, in order from the
 * file's first byte on, by /proc/self/maps. `access` gets the bits of PROT_* that any of its pages has. 1 too where
 * nothing is told. */
int clinux_is_mapped(const void *start, size_t size, uint64_t device, uint64_t inode, int *access);

/* What /proc/self/smaps says of the mapping that begins at `start`. */
typedef struct {
  size_t mapped; /* bytes that are in huge pages, hugetlb or not */
  int eligible;  /* THPeligible: the kernel may use huge pages for it */
} clinux_mapping;

/* Fills `told`. 0, or -1 where nothing is told. The kernel walks the page tables of the whole process for it. */
int clinux_tell_mapping(const void *start, clinux_mapping *told);

/* statx(2): the id of the mount that a file is on, which no other mount ever has. -1 where the kernel has none (before
 * Linux 6.8). */
int clinux_mount_id(int fd, uint64_t *id);

/* fstatfs(2): f_type, and f_bsize in `block`. -1 with errno. */
int64_t clinux_file_system(int fd, int64_t *block);

/* The user whose process is at the other end of a UNIX socket; -1 where there is none. */
int64_t clinux_peer_user(int fd);

/* ---- a worker process: lastwords.c ---- */

/* fork(2), before there is a second thread. The child does `work(context, 0)` in a thread of its own, and is called
 * `name`; it ends when the thread that called this does. Its number, or -1 with errno. Where there can be no thread the
 * child says `work(context, errno value)`, to tell it and to end.
 *
 * In a thread: Swift's runtime keeps a thread's number where it once needed it (swift_once, its locks), and a forked
 * process's first thread still has its parent's there. Where two threads want such a lock at once, the kernel knows no
 * owner of that number, and both ask for it for ever. A thread that is new has looked at no number yet. */
int clinux_fork(const char *name, void (*work)(void *, int), void *context);

/* What ended a process from within; all zero while nothing has. */
typedef struct {
  int32_t signal;   /* the signal that killed it, or 0 */
  int32_t exited;   /* 1: somebody has called exit() */
  int32_t code;     /* and this was its argument */
  int32_t reserved;
  uint64_t thread;  /* clinux_thread() of who did it */
  uint64_t address; /* what a memory access was about, or 0 */
} clinux_last_words;

/* From here on the process leaves its last words there before a signal that kills, and in exit(), which ends it at
 * once. It ends itself by _exit(2). */
void clinux_leave_last_words(clinux_last_words *shared);

/* pthread_self(3): a number that no other thread of the process has. */
uint64_t clinux_thread(void);

/* pidfd_open(2): a process by its number, and from then on no other. A descriptor, or -1 with errno. */
int clinux_pidfd_open(int pid);

/* Takes down sockets of another process, for their peers too: by copies (pidfd_getfd(2)), in a child that is not waited
 * for, since a thread that is reading into memory which cannot be had holds its socket, and nobody else may touch it
 * meanwhile. 0, or -1 with errno when there is no such child. */
int clinux_reset_sockets(int pidfd, const int *sockets, int count);

/* pidfd_send_signal(2) without more. 0, or -1 with errno (ESRCH: it has ended). */
int clinux_pidfd_send_signal(int pidfd, int signal);

/* Copies `count` bytes, a multiple of 64, to memory whose address is one of 16, and leaves it in no cache: what nobody
 * reads soon is written without being read first. */
void clinux_copy_past_caches(void *to, const void *from, int64_t count);

/* ---- process start: start.c ---- */

/* Opens /dev/null for each of the descriptors 0 to 2 that is closed. 0, or -1 with errno. */
int clinux_fill_standard_files(void);

/* 1 when the process has rights that whoever started it has not (set-id, file capabilities). */
int clinux_privileged(void);
#endif
