/* What the harness needs of Linux and C: child processes and where they come from, a signal handler that knows
 * whose memory was touched, memory figures of the process. No policy but the names of the tests in crash.c.
 * No system header beyond stddef/stdint here, as in clinux.h. */
#ifndef CHARNESS_H
#define CHARNESS_H

#include <stddef.h>
#include <stdint.h>

/* ---- memory that nobody may touch: crash.c ---- */

/* What a guarded piece of memory is; decides which rule a fault there breaks. */
enum {
  CHARNESS_TARGET = 1, /* a block that pages are received into */
  CHARNESS_SOURCE,     /* a block that pages are sent from */
  CHARNESS_LIST,       /* normal, zero */
  CHARNESS_STALE_LIST, /* those of an earlier call */
  CHARNESS_STALE_BLOCK,
  CHARNESS_OPTIONS,
  CHARNESS_SERVICES,
  CHARNESS_REFERENCE,
  CHARNESS_IOV,
  CHARNESS_PARAMS,
  CHARNESS_ALLOCATION, /* around memory from alloc() */
  CHARNESS_FREED,      /* memory that free() got back */
  CHARNESS_STACK,      /* below the stack of charness_on_stack() */
  CHARNESS_STALE_OPTIONS, /* files of a channel that is gone */
  CHARNESS_LESSON,     /* pages that a file is made from */
  CHARNESS_ROOM        /* where the file goes, and the reason why there is none */
};

/* Notes [start, start + size) as `kind`; page_size matters for blocks. A number for remove, or -1 when
 * the table is full (a fault there is then just a crash). */
int charness_guard_add(const void *start, size_t size, int kind, size_t page_size);
void charness_guard_remove(int number);

/* Where the calling thread is: `callback` is a literal or NULL. Kept for a crash, and for the parent. */
void charness_enter(const char *callback, uint32_t channel, uint64_t packet);
void charness_leave(void);
/* While not NULL: whose rule any fault of this thread breaks, a literal. */
void charness_blame(const char *test);

/* Describes faults on `report`, then lets them end the process. */
void charness_catch_faults(int report);

/* What parent and child share: it survives the child. */
typedef struct {
  char callback[24]; /* where the child is, as of charness_enter */
  uint32_t channel;
  uint32_t case_size; /* bytes of the fuzz case that is being tried */
  uint64_t packet;
} charness_shared;
/* Behind it: room for CHARNESS_CASE_MAX bytes of that case. */
#define CHARNESS_CASE_MAX (8u << 20)
unsigned char *charness_case_bytes(charness_shared *shared);

/* The child's: the mapping of descriptor 4, or private memory when there is none. Never NULL. */
charness_shared *charness_shared_memory(void);
/* The parent's: a new one and its descriptor; NULL with errno. */
charness_shared *charness_shared_new(int *fd);
void charness_shared_free(charness_shared *shared, int fd);

/* ---- child processes: child.c ---- */

typedef struct {
  int pid;
  int pidfd;  /* readable when the child has ended; -1 on a kernel without pidfd_open */
  int report; /* what it reports on its descriptor 3; non-blocking */
  int output; /* what it writes to stdout and stderr; non-blocking */
} charness_child;

/* The exit code of a process that failed for a reason of its own. */
#define CHARNESS_FAULT 70

/* Starts `program` in a process group of its own, stdin from /dev/null. `perturb`: glibc fills fresh and
 * freed memory with it, 0 for not. 0, or an errno value. */
int charness_spawn(const char *program, char *const arguments[], int shared_fd, int perturb,
                   charness_child *child);
/* Kills what is left of one that charness_spawn() has started and its group, reaps it. Status as of waitpid(), or
 * -1. */
int charness_end(charness_child *child);

/* ---- the process that forks children: zygote.c ---- */

typedef struct {
  int pid;
  int socket; /* what it is asked through */
} charness_zygote;

/* The longest name of a test, its NUL included. */
#define CHARNESS_NAME_MAX 64

/* Starts `program`, which calls charness_zygote_serve(). `perturb` as above, for all its children. An answer is waited
 * for `patience` seconds. 0, or an errno value. */
int charness_zygote_start(const char *program, char *const arguments[], int perturb, int patience,
                          charness_zygote *zygote);
/* A child of it, as charness_spawn() would start one; `perturb` 0: its memory is not filled. 0, or an errno value:
 * EPIPE when the zygote has ended, ETIMEDOUT when it does not answer. */
int charness_zygote_child(const charness_zygote *zygote, const char *test, int shared_fd,
                          int perturb, charness_child *child);
/* Kills what is left of it and its group, reaps it. The same errors; without one, the status as of waitpid(), or -1. */
int charness_zygote_end_child(const charness_zygote *zygote, charness_child *child, int *status);
/* Ends the zygote, if there is one; its children die with it. */
void charness_zygote_end(charness_zygote *zygote);

/* Its children keep this descriptor, at the same number: not below 5, and none that a child could do harm with. */
void charness_zygote_keep(int fd);
/* The zygote's own side, with its socket as descriptor 3: forks what it is asked for and comes back in each child, with
 * the name of its test. Ends the process when nobody is left to ask. The process has no second thread. */
void charness_zygote_serve(char test[CHARNESS_NAME_MAX]);

/* ---- what a test's process does and suffers: child.c ---- */

/* A file of `size` bytes of one value that nobody can change any more, in memory, to be mapped. Its descriptor, 5 or
 * above; -1 where there can be none. */
int charness_full_file(const char *name, int byte, size_t size);

/* Nanoseconds that a process was ready to run and had to wait for a processor: of its thread that waited longest.
 * 0 where the kernel does not count that. */
uint64_t charness_waited(int pid);

/* The child's first words: no core file, dies with its parent. */
void charness_begin_child(void);
/* At most this much private writable memory for this process: a bomb must not take the machine along. The limit until
 * now. */
uint64_t charness_limit_data(uint64_t bytes);
/* RLIMIT_AS: now's address space and `spare` bytes. 0 takes the limit away again. */
void charness_limit_address_space(uint64_t spare);

/* Runs `body` in a thread that has `size` bytes of stack, and waits for it. 0, or an errno value. */
int charness_on_stack(size_t size, void (*body)(void *), void *with);

/* ---- calls that meet: meet.c ---- */

/* Runs `one` and `other` in threads of their own. `delay` nanoseconds after its start `one` is interrupted until `other`
 * has ended, or for `patience` nanoseconds, for it may want a lock that `one` holds; with 0, or where it has ended by
 * then, `other` comes after it. `time` gets how long `one` took. One meeting at a time in a process. 0, or an errno value. */
int charness_meet(uint64_t delay, uint64_t patience, void (*one)(void *), void *with_one, void (*other)(void *),
                  void *with_other, uint64_t *time);

/* What part of its work `one` had done when it was interrupted in the last meeting, by its own processor time: from 0,
 * where it had not begun, to 1, where it had ended. On a busy machine that is not what the delay was to bring. */
double charness_met_at(void);

/* Whether `other` had not ended when the interruption of the last meeting did: it waited for `one`. */
int charness_met_in_vain(void);

/* ---- what a thread asks of the kernel: watch.c ---- */

/* From here on the calling thread, and those that it starts, are watched; once in a process. 0, or an errno value where
 * that cannot be had. The process has no new privileges afterwards. */
int charness_watch_calls(void);
/* What was asked for since the last call, a line each; how many bytes of `text` are filled. */
size_t charness_watched_calls(char *text, size_t size);

/* ---- figures: figures.c ---- */

/* Bytes that malloc() has given out and not got back, all arenas. */
size_t charness_malloc_in_use(void);
/* Private data of the process in bytes: VmData. */
size_t charness_data_size(void);
/* Peak resident memory since the last reset, bytes. */
size_t charness_peak_resident(void);
void charness_reset_peak(void);
/* Nanoseconds on a clock that only goes forward. */
uint64_t charness_now(void);
/* Nanoseconds of processor time: of the calling thread, of the whole process. */
uint64_t charness_thread_time(void);
uint64_t charness_process_time(void);
/* Nanoseconds that the calling thread was ready to run and had to wait for a processor. */
uint64_t charness_thread_waited(void);
/* The same of all threads that the process has now, together. */
uint64_t charness_process_waited(void);
/* Waits until all other threads of the process wait for something, or for `limit` nanoseconds: what they were given is
 * done, however long they had to wait for a processor. 1, or 0 at the limit. */
int charness_rest(uint64_t limit);
/* 1 when this process runs under ASan or TSan. */
int charness_sanitized(void);
/* The id of the calling thread. */
int charness_thread_id(void);

/* The file of the library that has `address`, as the dynamic linker calls it; NULL for none. */
const char *charness_library_of(const void *address);

/* Leaves this thread the last of its processors only. */
void charness_last_processor(void);
/* Another host name than the machine's, for this process. 0 where that may not be. */
int charness_rename_host(void);

/* Writes `size` bytes over a page that somebody else is reading, as a guest does: a race on purpose, which
 * no sanitizer needs to hear of. */
void charness_overwrite(void *to, const void *from, size_t size);

/* ---- coverage of a backend that was built with -fsanitize-coverage=inline-8bit-counters ---- */

/* Counters that the libraries of this process brought along; 0 for none. */
size_t charness_coverage_size(void);
/* How many counters have reached a magnitude that they never had before; clears them. */
size_t charness_coverage_new(void);

#endif
