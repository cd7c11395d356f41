#include "start_child.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FLAGS (CLONE_VM | CLONE_VFORK)
/* linux/sched.h; only clone3() takes it. */
#define INTO_CGROUP 0x200000000ull

#ifdef __x86_64__

/* As linux/sched.h has it since 5.7, whose other names collide with the library's. */
struct clone3_args {
	_Alignas(8) uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid,
		set_tid_size, cgroup;
};

/* The library has no function for it: the child goes on behind the call, but on a stack where nothing lies. */
static long clone3_call(const struct clone3_args *args, int (*run)(void *), void *arg)
{
	long result;
	__asm__ volatile("syscall\n\t"
			 "test %%rax, %%rax\n\t"
			 "jnz 1f\n\t"
			 "xor %%ebp, %%ebp\n\t"
			 "mov %[arg], %%rdi\n\t"
			 "call *%[run]\n\t"
			 "mov %%eax, %%edi\n\t"
			 "mov %[exit], %%eax\n\t"
			 "syscall\n\t"
			 "hlt\n"
			 "1:"
			 : "=a"(result)
			 : "0"((long)SYS_clone3), "D"(args), "S"(sizeof(*args)), [run] "r"(run), [arg] "r"(arg),
			   [exit] "i"(SYS_exit)
			 : "rcx", "r11", "cc", "memory");
	return result;
}

static pid_t start_in_group(const struct child_start *s)
{
	struct clone3_args args = {
		.flags = FLAGS | INTO_CGROUP,
		.stack = (uint64_t)(uintptr_t)s->stack,
		.stack_size = s->stack_size,
		.cgroup = (uint64_t)s->group,
	};
	if (s->for_parent) {
		/* The kernel takes the signal from the caller's own start then, and refuses another. */
		args.flags |= CLONE_PARENT | CLONE_PIDFD;
		args.pidfd = (uint64_t)(uintptr_t)s->pidfd;
	} else {
		args.flags |= CLONE_PARENT_SETTID;
		args.parent_tid = (uint64_t)(uintptr_t)s->pid;
		args.exit_signal = SIGCHLD;
	}
	long result = clone3_call(&args, s->main, s->arg);
	if (result >= 0)
		return (pid_t)result;
	/* An older kernel knows neither the flag nor the size of the arguments. */
	errno = result == -EINVAL || result == -E2BIG ? ENOSYS : (int)-result;
	return -1;
}

#else

static pid_t start_in_group(const struct child_start *s)
{
	(void)s;
	errno = ENOSYS;
	return -1;
}

#endif

pid_t start_child(const struct child_start *s)
{
	char *top = s->stack + s->stack_size;
	if (s->group >= 0)
		return start_in_group(s);
	if (s->for_parent)
		return clone(s->main, top, FLAGS | SIGCHLD | CLONE_PARENT | CLONE_PIDFD, s->arg, s->pidfd);
	return clone(s->main, top, FLAGS | SIGCHLD | CLONE_PARENT_SETTID, s->arg, s->pid);
}
