/* expect: abi/option-table */
#include "prelude.h"
#define OPTIONS options, 1, sizeof *options
static const MultiFDOption options[] = {
  {"level", "how hard it tries", "10", NULL, 0, 9, MULTIFD_OPTION_INT, 0},
};
#include "base.h"
