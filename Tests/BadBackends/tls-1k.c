/* expect: load/static-tls */
/* 1000 bytes of static TLS (initial-exec): with two such libraries the second no longer loads. */
/* flags: -ftls-model=initial-exec */
#include "prelude.h"
static __thread uint8_t tls[1000];
#define ON_PREPARE tls[p->normal_num] = 1; if (tls[70] == 9) __builtin_trap()
#include "base.h"
