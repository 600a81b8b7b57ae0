/* What the parts of `multifd-probe` know of each other; main.c tells what it is. */
#ifndef PROBE_H
#define PROBE_H

#include <stddef.h>
#include <stdint.h>

#include "multifd_plugin.h"

/* ---- account.c: what is told to the loader ---- */

/* An item is its kind, a byte; the length of what follows, four bytes in this machine's order; and that. ProbeAccount.Kind
 * has the same kinds. */
enum {
  ALIVE = 1,   /* it runs */
  OPENED = 2,  /* dlopen() came back with a handle */
  ENTERED = 3, /* the entry point came back */
  DONE = 4,    /* the whole table could be read */
  TROUBLE = 5, /* why it went no further: text, the last item */
  TABLE = 6,   /* the table as far as this host knows it; of another kind of table, its first bytes */
  OPTION = 7,  /* an entry of its options, likewise; its texts follow */
  TEXT = 8,    /* what a pointer of the item before leads to, in the order of the struct, without its NUL */
  ABSENT = 9,  /* such a pointer is NULL */
  BOUNDS = 10, /* payload_bound() of 0, 1 and 128 pages of 4 KiB */
  BREACH = 11, /* what it does that it must not do when it is opened: text */
  LEFT = 12,   /* there were processes left when its own had ended */
  ENDED = 13,  /* how that ended, as wait(2) has it: four bytes, the last item */
};

/* Where the pipe is. */
void account_on(int fd);

/* An item that waits until a step is told. */
void add_item(unsigned char kind, const void *bytes, uint32_t length);

void flush_account(void);

/* A step, at once: what comes next may end this process. */
void tell(unsigned char step);

/* The end, with a reason. */
_Noreturn void trouble(const char *text);

/* ---- supervise.c: the process above the library's ---- */

/* What the two share, whatever becomes of descriptors. */
typedef struct {
  char breach[256];
} shared_page;

/* Forks. In the child it returns, with the page: that is the library's process. The parent waits for its end, ends all
 * that it has started, and tells. */
shared_page *supervise(void);

/* ---- confine.c: what the library's process cannot do ---- */

/* From here on signals and the like reach nobody else. Where one is tried, it is a breach, and the end. */
void confine(shared_page *shared);

/* ---- breach.c: what the library must not change ---- */

/* Remembers how everything is. */
void remember_process(void);

/* Ends the process, with a breach, if a descriptor has been opened, closed or replaced. */
void check_descriptors(shared_page *shared);

/* The same for all else that is on the list. */
void check_process(shared_page *shared);

/* Ends the process with a breach: "opening it ...". */
_Noreturn void breach(shared_page *shared, const char *does, const char *what);

/* ---- table.c: what a backend's table says ---- */

/* Adds items for all of it that the host is going to read, so that a wild pointer ends this process and not the host. What
 * is wrong but readable is for the host to judge. */
void add_table(const MultiFDMethods *theirs);
#endif
