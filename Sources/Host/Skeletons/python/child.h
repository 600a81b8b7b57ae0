/* A Python of one channel's own, in a process of its own. */
#ifndef CHILD_H
#define CHILD_H

#include <multifd_plugin.h>

#include <sys/types.h>

typedef struct {
  const MultiFDServices *services;
  MultiFDChannel *channel;
  pid_t pid;
  int link; /* a socket; -1 when there is no process */
} Child;

/* Starts it and waits until codec.py is loaded. `direction` is "send" or "recv". */
int32_t child_start(Child *child, const char *direction, uint32_t page_size, uint32_t page_count);

/* Has it encode or decode `in_size` bytes, of `count` pages. `*size` is the room at `out`, and then how much came:
 * 0 when the pages are to be sent as they are. What fails has been told to the host. */
int32_t child_ask(Child *child, uint32_t count, const uint8_t *in, size_t in_size, uint8_t *out, size_t *size);

/* Ends it, and what it has started, and leaves nothing of it. Returns how it ended, as waitpid() says it. */
int child_end(Child *child);

#endif
