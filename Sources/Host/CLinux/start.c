/* What a program does before anything else: a descriptor below 3 that was closed when it was started would be given to
 * the next file that is opened, and a store's folder or a guest's memory would become some child's output. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "clinux.h"

int clinux_fill_standard_files(void) {
  int fd;
  do {
    fd = open("/dev/null", O_RDWR);
    if (fd < 0) return -1;
  } while (fd <= STDERR_FILENO);
  close(fd);
  return 0;
}
