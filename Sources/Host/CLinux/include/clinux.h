/* The C shim for what Swift's Glibc overlay hides (everything behind _GNU_SOURCE, variadic calls,
 * macros). No policy in it: each function is the call it is named after.
 * No system header beyond stddef/stdint here: glibc headers in a module's public header break debug
 * builds. */
#ifndef CLINUX_H
#define CLINUX_H

#include <stddef.h>
#include <stdint.h>

/* memfd_create(2) with MFD_CLOEXEC. A descriptor, or -1 with errno. */
int clinux_memfd_create(const char *name);

/* fallocate(2), mode 0: room for the range, which reads as zeroes where nothing was. 0, or -1 with errno. */
int clinux_fallocate(int fd, int64_t offset, int64_t length);

/* lseek(2) with SEEK_DATA and SEEK_HOLE. An offset, or -1 with errno (ENXIO: no data behind here). */
int64_t clinux_seek_data(int fd, int64_t offset);
int64_t clinux_seek_hole(int fd, int64_t offset);

/* accept4(2) with SOCK_CLOEXEC. A descriptor, or -1 with errno. */
int clinux_accept(int fd);

/* pthread_setname_np(3) for the calling thread; longer names are cut at 15 bytes. */
void clinux_set_thread_name(const char *name);

#endif
