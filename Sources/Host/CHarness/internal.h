/* What child.c and zygote.c share. */
#ifndef CHARNESS_INTERNAL_H
#define CHARNESS_INTERNAL_H

#include "charness.h"

/* glibc fills fresh and freed memory with the value of this variable. */
#define CHARNESS_PERTURB "MALLOC_PERTURB_"

/* Nanoseconds that a thread had to wait for a processor, by its schedstat of /proc(5); 0 where there is none. */
uint64_t charness_waited_by(const char *schedstat);

/* Two pipes: the reading ends, which do not block, into a child's; its own ends for report and output. All above the
 * descriptors that a child is given. 0, or an errno value. */
int charness_pipes(charness_child *child, int theirs[2]);
/* Closes what the parent has of a child. */
void charness_close(charness_child *child);
/* pidfd_open(2); -1 on a kernel without. */
int charness_pidfd(int pid);

/* Its stdout and stderr, then its descriptors 3 and 4; -1 for one that it does not get. */
#define CHARNESS_FILES 3

/* Starts a program: stdin from /dev/null, no signal blocked, no other descriptor open; `files` are above 9, or 2. 0, or
 * an errno value. */
int charness_start(const char *program, char *const arguments[], int perturb,
                   const int files[CHARNESS_FILES], int own_group, int *pid);

#endif
