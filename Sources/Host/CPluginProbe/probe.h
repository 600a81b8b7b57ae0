/* What the parts of `multifd-probe` know of each other; main.c tells what it is. */
#ifndef PROBE_H
#define PROBE_H

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
};

/* An item that waits until a step is told. */
void add_item(unsigned char kind, const void *bytes, uint32_t length);

/* A step, at once: what comes next may end this process. */
void tell(unsigned char step);

/* The end, with a reason. */
_Noreturn void trouble(const char *text);

/* ---- table.c: what a backend's table says ---- */

/* Adds items for all of it that the host is going to read, so that a wild pointer ends this process and not the host. What
 * is wrong but readable is for the host to judge. */
void add_table(const MultiFDMethods *theirs);
#endif
