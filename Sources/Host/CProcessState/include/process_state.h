/* What a library may not change of the process that it is loaded into: the judge looks at it around every test, the
 * probe around a constructor. One list for both.
 * No system header beyond stddef/stdint here, as in clinux.h. */
#ifndef PROCESS_STATE_H
#define PROCESS_STATE_H

#include <stddef.h>
#include <stdint.h>

/* The parts of the list, each hashed. What a thread has of its own is the calling thread's. */
enum {
  PROCESS_SIGNAL_HANDLERS,
  PROCESS_SIGNAL_MASK,      /* and the alternate stack */
  PROCESS_ENVIRONMENT,
  PROCESS_LOCALE,
  PROCESS_FOLDER,
  PROCESS_UMASK,
  PROCESS_FLOATING_POINT,   /* rounding, exceptions that trap, flush to zero; not the flags of computations */
  PROCESS_LIMITS,
  PROCESS_AFFINITY,
  PROCESS_PRIORITY,         /* nice value and scheduling policy */
  PROCESS_TIMERS,           /* alarms, interval and POSIX timers */
  PROCESS_NAME,             /* the thread's */
  PROCESS_FLAGS,            /* what prctl(2) sets, personality(2), user and group ids */
  PROCESS_SESSION,          /* and process group */
  PROCESS_STANDARD_FILES,   /* what descriptors 0 to 2 are, and their status flags */
  PROCESS_EXECUTABLE_STACK, /* or other memory that can be written and executed */
  PROCESS_MALLOC,           /* settings of malloc(): calls of mallopt() */
  PROCESS_RANDOM,           /* the numbers of rand(), random() and drand48() */
  PROCESS_CHILDREN,         /* whether there are any, dead ones that nobody waits for included */
  PROCESS_STATES
};

/* What each part is called in a message. */
extern const char *const process_state_names[PROCESS_STATES];

typedef struct {
  uint64_t parts[PROCESS_STATES];
} process_state;

/* The state now. The first call gives random() a buffer of its own to look into, and other numbers than it begins with.
 * Not for two threads at once. */
void process_state_take(process_state *state);

/* How many threads the process has. */
int process_state_threads(void);

/* How many more it has than `before`. The kernel takes a moment to forget one that has been joined: where there are more,
 * they have two seconds to go. */
int process_state_more_threads(int before);

#endif
