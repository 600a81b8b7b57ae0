#include <isa-l.h>

/* What levels 1 to 3 want to work in. Swift does not see macros with a sizeof() in them. Blocks end where this is
 * full, 32 Ki symbols, which is the best of ISA-L's sizes: larger ones cost ratio, smaller ones time. */
enum {
  multifd_isal_level_1 = ISAL_DEF_LVL1_MEDIUM,
  multifd_isal_level_2 = ISAL_DEF_LVL2_MEDIUM,
  multifd_isal_level_3 = ISAL_DEF_LVL3_MEDIUM,
};
