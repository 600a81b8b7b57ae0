/* Signals, ptrace(2) and the like reach nobody but the library's own process: not the process above it, which would
 * otherwise be a kill(getppid()) away, and not the host. Where the kernel has no seccomp, or this processor is not known
 * here, nothing is confined: it is mistakes that are caught here, and most machines catch them. */
#define _GNU_SOURCE
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "probe.h"

/* The filter below looks at halves of arguments. */
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#elif defined(__x86_64__)
#define OWN_ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define OWN_ARCHITECTURE AUDIT_ARCH_AARCH64
#elif defined(__riscv) && __riscv_xlen == 64
#define OWN_ARCHITECTURE AUDIT_ARCH_RISCV64
#endif

#ifdef OWN_ARCHITECTURE

static shared_page *page;
static pid_t own;

static const struct {
  int number;
  const char *name;
} calls[] = {
    /* Those that say by their first argument whom they are about; `own` may be. */
    {SYS_kill, "kill"},
    {SYS_tkill, "tkill"},
    {SYS_tgkill, "tgkill"},
    {SYS_rt_sigqueueinfo, "rt_sigqueueinfo"},
    {SYS_rt_tgsigqueueinfo, "rt_tgsigqueueinfo"},
    {SYS_prlimit64, "prlimit"},
    /* Those that are about others only. */
    {SYS_ptrace, "ptrace"},
    {SYS_process_vm_readv, "process_vm_readv"},
    {SYS_process_vm_writev, "process_vm_writev"},
    {SYS_pidfd_send_signal, "pidfd_send_signal"},
#ifdef SYS_pidfd_getfd
    {SYS_pidfd_getfd, "pidfd_getfd"},
#endif
};
#define CALLS (sizeof calls / sizeof *calls)
#define CALLS_WITH_TARGET 6

static void tried(int number, siginfo_t *info, void *context) {
  (void)number, (void)context;
  /* A child of the library's is nobody's concern; abort() in it looks like this. */
  if (getpid() != own) _exit(128 + SIGSYS);
  /* As little as can be: the library may be in the middle of anything. */
  const char *name = "a system call of another architecture";
  for (size_t i = 0; i < CALLS; i++)
    if (calls[i].number == info->si_syscall) name = calls[i].name;
  breach(page, "reaches for another process: ", name);
}

/* The filter is a handful of comparisons, made for the own process id. */
#define LOAD(member) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, member))
#define IF_EQUAL(value, then, otherwise) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)(value), then, otherwise)
#define ALLOW BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#define TRAP BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP)

void confine(shared_page *shared) {
  page = shared;
  own = getpid();
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = tried;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGSYS, &action, NULL);

  struct sock_filter filter[8 + 2 * CALLS + 8];
  unsigned short n = 0;
#define ADD(...) filter[n++] = (struct sock_filter)__VA_ARGS__
  ADD(LOAD(arch));
  ADD(IF_EQUAL(OWN_ARCHITECTURE, 1, 0));
  ADD(TRAP);
  ADD(LOAD(nr));
#ifdef __x86_64__
  /* The x32 calls have the same architecture. */
  ADD(BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 0, 1));
  ADD(TRAP);
#endif
  for (size_t i = CALLS_WITH_TARGET; i < CALLS; i++) {
    ADD(IF_EQUAL(calls[i].number, 0, 1));
    ADD(TRAP);
  }
  for (size_t i = 0; i < CALLS_WITH_TARGET; i++) {
    /* To the look at the target, behind the other comparisons and an ALLOW. */
    const unsigned char rest = (unsigned char)(CALLS_WITH_TARGET - i);
    ADD(IF_EQUAL(calls[i].number, rest, 0));
  }
  ADD(ALLOW);
  /* The lower half, which is what the kernel looks at: a pid_t. 0 is the own process or, for kill(), its group. */
  ADD(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args)));
  ADD(IF_EQUAL(own, 2, 0));
  ADD(IF_EQUAL(-own, 1, 0));
  ADD(IF_EQUAL(0, 0, 1));
  ADD(ALLOW);
  ADD(TRAP);
#undef ADD
  const struct sock_fprog program = {n, filter};
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

#else

void confine(shared_page *shared) {
  (void)shared;
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

#endif
