/* expect: abi/constant */
#include "prelude.h"
#define TABLE_QUALIFIER
static void change(void);
#define ON_SETUP change()
#include "base.h"
static void change(void) { table.version = "2.0.0"; }
