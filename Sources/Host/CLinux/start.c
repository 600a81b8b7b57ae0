/* How this program was started, and what it does about that before anything else: a descriptor below 3 that was closed
 * then would be given to the next file that is opened, and a store's folder or a guest's memory would become some
 * child's output. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/auxv.h>
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

int clinux_privileged(void) {
  return getauxval(AT_SECURE) != 0 || geteuid() != getuid() || getegid() != getgid();
}
