/* The C shim for what Swift's Glibc overlay hides (everything behind _GNU_SOURCE). No policy in it.
 * No system header beyond stddef/stdint here: glibc headers in a module's public header break debug builds. */
#ifndef CLINUX_H
#define CLINUX_H
#include <stddef.h>
#include <stdint.h>
#endif
