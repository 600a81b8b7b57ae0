/* The C shim for what Swift's Glibc overlay hides (everything behind _GNU_SOURCE). No policy in it.
 * No system header beyond stddef/stdint here: glibc headers in a module's public header break debug builds. */
#ifndef CLINUX_H
#define CLINUX_H
#include <stddef.h>
#include <stdint.h>

/* ---- plug-in probe: probe.c ---- */

/* 1 when the process has rights that whoever started it has not (set-id, file capabilities). */
int clinux_privileged(void);

/* A child process of this very executable that only opens one library and tells how far it came. */
typedef struct {
  int pid;
  int pidfd;  /* readable when the child has ended; -1 on a kernel without pidfd_open */
  int report; /* the child's account of itself; non-blocking */
  int output; /* what the library printed; non-blocking */
} clinux_probe;

/* The bytes of the account, in order; TROUBLE is followed by text and ends it. */
#define CLINUX_PROBE_ALIVE 1     /* the child runs: the executable answers probes */
#define CLINUX_PROBE_OPENED 2    /* dlopen() came back with a handle */
#define CLINUX_PROBE_ENTERED 3   /* the entry point came back */
#define CLINUX_PROBE_DONE 4      /* the whole table could be read */
#define CLINUX_PROBE_TROUBLE 5

/* Starts it. 0, or an errno value. */
int clinux_probe_start(const char *library, clinux_probe *probe);
/* Kills what is left of it and its children, closes the descriptors. The status as of waitpid(), or -1
 * when it is unknown. */
int clinux_probe_end(clinux_probe *probe);
#endif
