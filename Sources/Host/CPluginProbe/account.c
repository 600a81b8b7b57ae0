/* The account: items on a pipe. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "probe.h"

static int account = -1;

void account_on(int fd) { account = fd; }

static unsigned char waiting[4096];
static size_t waiting_size;

void flush_account(void) {
  for (size_t done = 0; done < waiting_size;) {
    const ssize_t count = write(account, waiting + done, waiting_size - done);
    if (count < 0 && errno != EINTR) break; /* the account ends too soon, which shows */
    if (count > 0) done += (size_t)count;
  }
  waiting_size = 0;
}

static void add(const void *bytes, size_t size) {
  for (size_t i = 0; i < size; i++) {
    if (waiting_size == sizeof waiting) flush_account();
    waiting[waiting_size++] = ((const unsigned char *)bytes)[i];
  }
}

void add_item(unsigned char kind, const void *bytes, uint32_t length) {
  add(&kind, 1);
  add(&length, sizeof length);
  add(bytes, length);
}

void tell(unsigned char step) {
  add_item(step, NULL, 0);
  flush_account();
}

_Noreturn void trouble(const char *text) {
  add_item(TROUBLE, text, (uint32_t)strlen(text));
  flush_account();
  fflush(NULL);
  _exit(1);
}
