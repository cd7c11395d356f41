/* Raw system calls: in order on the principal's thread, or each on a new one. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "async_call.h"
#include "ops.h"

#define STACK_SIZE (256u * 1024u)

void (*async_done)(struct async_call *a);

void op_syscall(struct call *c)
{
	struct raw_call raw;
	if (raw_prepare(c, F_SYSCALL_NR, &raw))
		return;
	raw_run(&raw);
	if (raw.err == EINTR && call_cancelled(c)) {
		fail_errno(c, EINTR);
	} else {
		mp_map(&c->out, 3);
		raw_put_result(&c->out, &raw);
	}
	raw_free(&raw);
}

void async_free(struct async_call *a)
{
	raw_free(&a->raw);
	free(a);
}

void async_put_event(struct buf *b, const struct async_call *a)
{
	mp_map(b, 4);
	mp_put_str(b, "ev", EV_SYSCALL);
	raw_put_result(b, &a->raw);
}

/* Static, so that a thread may still be letting go of them when its starter has gone on. */
static pthread_mutex_t start_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t begun = PTHREAD_COND_INITIALIZER;

struct start {
	struct async_call *call;
	pid_t tid;
};

static void *async_thread(void *arg)
{
	struct start *start = arg;
	struct async_call *a = start->call;
	/* Working directory and umask of the moment, whatever the principal changes later. */
	unshare(CLONE_FS);
	pthread_mutex_lock(&start_lock);
	start->tid = (pid_t)syscall(SYS_gettid);
	pthread_cond_broadcast(&begun);
	pthread_mutex_unlock(&start_lock);
	raw_run(&a->raw);
	async_done(a);
	return NULL;
}

static int start_thread(struct async_call *a, pid_t *tid)
{
	struct start start = { a, 0 };
	pthread_attr_t attr;
	pthread_t thread;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	/* Made by the principal's own thread, it has that thread's credentials and namespaces. */
	int err = pthread_create(&thread, &attr, async_thread, &start);
	pthread_attr_destroy(&attr);
	if (err)
		return -err;
	pthread_mutex_lock(&start_lock);
	while (start.tid == 0)
		pthread_cond_wait(&begun, &start_lock);
	pthread_mutex_unlock(&start_lock);
	*tid = start.tid;
	return 0;
}

void op_syscall_async(struct call *c)
{
	struct async_call *a = calloc(1, sizeof(*a));
	pid_t tid = 0;
	if (!a) {
		fail_errno(c, ENOMEM);
		return;
	}
	a->id = get_bits(c, F_SYSCALL_ASYNC_CALL);
	if (raw_prepare(c, F_SYSCALL_ASYNC_NR, &a->raw)) {
		free(a);
		return;
	}
	int result = start_thread(a, &tid);
	if (result) {
		async_free(a);
		fail_errno(c, -result);
		return;
	}
	c->aux = tid;
	mp_map(&c->out, 1);
	mp_put_int(&c->out, "tid", tid);
}

void op_read_mem(struct call *c)
{
	int64_t length;
	if (!get_ranged(c, F_READ_MEM_LENGTH, 0, WIRE_MAX_FILE_IO, &length))
		return;
	uint8_t *into = call_alloc(c, (size_t)length + 1);
	if (!into)
		return;
	struct iovec local = { into, (size_t)length };
	struct iovec remote = { (void *)(uintptr_t)get_bits(c, F_READ_MEM_ADDR), (size_t)length };
	/* By the kernel: an address that is not mapped is an error instead of a crash. */
	ssize_t n = process_vm_readv(getpid(), &local, 1, &remote, 1, 0);
	if (n < 0 || n < length) {
		fail_errno(c, n < 0 ? errno : EFAULT);
		return;
	}
	mp_map(&c->out, 1);
	mp_put_bin(&c->out, "data", into, (size_t)length);
}
