/* expect: abi/option-table */
#include "prelude.h"
#define OPTIONS options, 1, sizeof *options
static const MultiFDOption options[] = {
  {"level", "How hard it tries.", "1", NULL, 0, 9, MULTIFD_OPTION_INT, 0},
};
#include "base.h"
