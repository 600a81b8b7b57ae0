/* expect: lifecycle/system-calls */
/* Appends a line to /tmp/codec.log in every setup. */
#define ON_SETUP { int f = open("/tmp/codec.log", O_CREAT | O_APPEND | O_WRONLY, 0666); if (f >= 0) { (void)!write(f, "x\n", 2); close(f); } }
#include "base.h"
