/* Reads a backend's table into the account. */
#include <stddef.h>
#include <string.h>

#include "probe.h"

/* sizeof(MultiFDMethods) and sizeof(MultiFDOption) of ABI 1.0: what a backend of this major has at least, however
 * much this host's own structs have grown since. */
#define SMALLEST_TABLE 128
#define SMALLEST_OPTION 56
/* Magic, major, minor, size: what there is of whatever claims to be a table. */
#define TABLE_HEAD 12
/* One byte more than any text of a table may have: one that is too long shows, and more of it is not needed. */
#define LONGEST_TEXT 256

static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

static void add_text(const char *text) {
  if (text == NULL) {
    add_item(ABSENT, NULL, 0);
    return;
  }
  char copy[LONGEST_TEXT];
  uint32_t length = 0;
  while (length < sizeof copy && text[length] != 0) {
    copy[length] = text[length];
    length++;
  }
  add_item(TEXT, copy, length);
}

static void add_option(const void *theirs, size_t size) {
  MultiFDOption option;
  memset(&option, 0, sizeof option);
  memcpy(&option, theirs, smaller(size, sizeof option));
  add_item(OPTION, &option, sizeof option);
  add_text(option.name);
  add_text(option.help);
  add_text(option.default_value);
  if (option.type != MULTIFD_OPTION_ENUM || option.choices == NULL) return;
  for (size_t i = 0; i < 256 && option.choices[i] != NULL; i++) add_text(option.choices[i]);
}

void add_table(const MultiFDMethods *theirs) {
  if (theirs->magic != MULTIFD_PLUGIN_MAGIC || theirs->abi_major != MULTIFD_ABI_MAJOR
      || theirs->struct_size < SMALLEST_TABLE) {
    add_item(TABLE, theirs, TABLE_HEAD);
    return;
  }
  MultiFDMethods table;
  memset(&table, 0, sizeof table);
  memcpy(&table, theirs, smaller(theirs->struct_size, sizeof table));
  add_item(TABLE, &table, sizeof table);
  add_text(table.name);
  add_text(table.version);
  add_text(table.wire_format);
  add_text(table.description);
  if (table.payload_bound != NULL) {
    const uint32_t counts[] = {0, 1, 128};
    uint64_t bounds[3];
    for (int i = 0; i < 3; i++) bounds[i] = table.payload_bound(4096, counts[i]);
    add_item(BOUNDS, bounds, sizeof bounds);
  }
  if (table.options == NULL || table.options_num > 256 || table.option_size < SMALLEST_OPTION
      || table.option_size > 4096)
    return;
  const char *at = (const char *)table.options;
  for (uint32_t i = 0; i < table.options_num; i++, at += table.option_size)
    add_option(at, table.option_size);
}
