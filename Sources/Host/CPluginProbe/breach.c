/* What a library may not change of the process that it is loaded into, for the host has only one: the list that the
 * harness has, and descriptors. */
#define _GNU_SOURCE
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "probe.h"
#include "process_state.h"

static process_state before;
static int threads;

/* The open ones: the standard files, the folder, the account. */
static struct {
  int fd;
  dev_t device;
  ino_t inode;
} descriptors[64];
static size_t descriptors_num;

_Noreturn void breach(shared_page *shared, const char *does, const char *what) {
  snprintf(shared->breach, sizeof shared->breach, "opening it %s%s", does, what);
  _exit(1);
}

/* Calls a function for each descriptor that is open, in no order, but not for its own. */
static void for_each_descriptor(void (*look)(int fd, void *argument), void *argument) {
  DIR *list = opendir("/proc/self/fd");
  if (list == NULL) return;
  struct dirent *entry;
  while ((entry = readdir(list)) != NULL) {
    const int fd = atoi(entry->d_name); /* 0 for . and .., which then is looked at thrice */
    if (fd != dirfd(list)) look(fd, argument);
  }
  closedir(list);
}

static size_t index_of(int fd) {
  size_t i = 0;
  while (i < descriptors_num && descriptors[i].fd != fd) i++;
  return i;
}

static void remember_descriptor(int fd, void *unused) {
  (void)unused;
  struct stat status;
  const size_t i = index_of(fd);
  if (i == sizeof descriptors / sizeof *descriptors || fstat(fd, &status) != 0) return;
  descriptors[i].fd = fd;
  descriptors[i].device = status.st_dev;
  descriptors[i].inode = status.st_ino;
  if (i == descriptors_num) descriptors_num++;
}

void remember_process(void) {
  for_each_descriptor(remember_descriptor, NULL);
  threads = process_state_threads();
  process_state_take(&before);
}

static void check_new_descriptor(int fd, void *shared) {
  struct stat status;
  if (index_of(fd) < descriptors_num || fstat(fd, &status) != 0) return;
  char path[64], what[128];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  const ssize_t size = readlink(path, what, sizeof what - 1);
  what[size < 0 ? 0 : size] = 0;
  breach(shared, "leaves a descriptor open: ", what);
}

void check_descriptors(shared_page *shared) {
  for (size_t i = 0; i < descriptors_num; i++) {
    struct stat status;
    if (fstat(descriptors[i].fd, &status) != 0) breach(shared, "closes descriptors that it has not opened", "");
    if (status.st_dev != descriptors[i].device || status.st_ino != descriptors[i].inode)
      breach(shared, "puts a file of its own in the place of a descriptor that it has not opened", "");
  }
  for_each_descriptor(check_new_descriptor, shared);
}

void check_process(shared_page *shared) {
  if (process_state_more_threads(threads) > 0) breach(shared, "starts a thread", "");
  process_state after;
  process_state_take(&after);
  if (after.parts[PROCESS_CHILDREN] != before.parts[PROCESS_CHILDREN])
    breach(shared, "starts a process that it does not wait for", "");
  for (int part = 0; part < PROCESS_STATES; part++)
    if (after.parts[part] != before.parts[part]) breach(shared, "changes ", process_state_names[part]);
}
