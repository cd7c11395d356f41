#include "pool.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "dispatch.h"

#define MAX_THREADS 128
#define KEPT_THREADS 2
#define IDLE_SECONDS 10
#define STACK_SIZE (512u * 1024u)

struct queue {
	struct call *head;
	struct call *tail;
	pthread_cond_t filled;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct queue pool = { .filled = PTHREAD_COND_INITIALIZER };
static struct queue pinned = { .filled = PTHREAD_COND_INITIALIZER };
static unsigned threads, idle, waiting_calls;

static void push(struct queue *q, struct call *c)
{
	c->queue_next = NULL;
	if (q->tail)
		q->tail->queue_next = c;
	else
		q->head = c;
	q->tail = c;
}

static struct call *pop(struct queue *q)
{
	struct call *c = q->head;
	if (!c)
		return NULL;
	q->head = c->queue_next;
	if (!q->head)
		q->tail = NULL;
	return c;
}

static bool take_out(struct queue *q, struct call *c)
{
	struct call *before = NULL;
	for (struct call *at = q->head; at; before = at, at = at->queue_next) {
		if (at != c)
			continue;
		if (before)
			before->queue_next = c->queue_next;
		else
			q->head = c->queue_next;
		if (q->tail == c)
			q->tail = before;
		return true;
	}
	return false;
}

static void run_done(struct post *p)
{
	call_ran(container_of(p, struct call, post));
}

/* Called with the lock held; it is open while the call runs. */
static void run_call(struct call *c)
{
	c->state = CALL_RUNNING;
	c->tid = (pid_t)syscall(SYS_gettid);
	pthread_mutex_unlock(&lock);
	call_execute(c);
	pthread_mutex_lock(&lock);
	c->tid = 0;
	c->post.run = run_done;
	loop_post(&c->post);
}

static void *pool_thread(void *arg)
{
	(void)arg;
	pthread_mutex_lock(&lock);
	for (;;) {
		struct call *c = pop(&pool);
		if (c) {
			waiting_calls--;
			run_call(c);
			continue;
		}
		struct timespec until;
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_sec += IDLE_SECONDS;
		idle++;
		int timed_out = pthread_cond_timedwait(&pool.filled, &lock, &until);
		idle--;
		if (timed_out && !pool.head && threads > KEPT_THREADS)
			break;
	}
	threads--;
	pthread_mutex_unlock(&lock);
	return NULL;
}

static void *pinned_thread(void *arg)
{
	(void)arg;
	/* Its working directory, root and umask are what raw calls make them, and nobody else's. */
	unshare(CLONE_FS);
	pthread_mutex_lock(&lock);
	for (;;) {
		struct call *c = pop(&pinned);
		if (c)
			run_call(c);
		else
			pthread_cond_wait(&pinned.filled, &lock);
	}
	return NULL;
}

static int start_thread(void *(*run)(void *))
{
	pthread_attr_t attr;
	pthread_t thread;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	int err = pthread_create(&thread, &attr, run, NULL);
	pthread_attr_destroy(&attr);
	return -err;
}

int pool_init(void)
{
	int result = start_thread(pinned_thread);
	/*
	 * One that waits already: in a clone the first operation would else pay for making it, in a guest whose code is
	 * translated anew by QEMU.
	 */
	pthread_mutex_lock(&lock);
	if (!result && !start_thread(pool_thread))
		threads++;
	pthread_mutex_unlock(&lock);
	return result;
}

void pool_submit(struct call *c)
{
	pthread_mutex_lock(&lock);
	push(&pool, c);
	waiting_calls++;
	/* A thread that is idle may have been woken for another call already. */
	if (waiting_calls > idle && threads < MAX_THREADS && !start_thread(pool_thread))
		threads++;
	bool nobody = threads == 0;
	if (nobody)
		take_out(&pool, c);
	pthread_mutex_unlock(&lock);
	/* Not with the lock held: whoever is woken would have to wait for it at once. */
	pthread_cond_signal(&pool.filled);
	if (nobody) {
		fail_errno(c, EAGAIN);
		call_ran(c);
	}
}

void pinned_submit(struct call *c)
{
	pthread_mutex_lock(&lock);
	push(&pinned, c);
	pthread_mutex_unlock(&lock);
	pthread_cond_signal(&pinned.filled);
}

bool pool_withdraw(struct call *c)
{
	pthread_mutex_lock(&lock);
	bool found = take_out(&pool, c);
	if (found)
		waiting_calls--;
	else
		found = take_out(&pinned, c);
	pthread_mutex_unlock(&lock);
	return found;
}

void pool_nudge(struct call *c)
{
	pthread_mutex_lock(&lock);
	pid_t child = atomic_load(&c->child);
	if (child > 0)
		kill(child, SIGKILL);
	if (c->tid > 0)
		syscall(SYS_tgkill, getpid(), c->tid, CANCEL_SIGNAL);
	pthread_mutex_unlock(&lock);
}

unsigned pool_threads(void)
{
	pthread_mutex_lock(&lock);
	unsigned n = threads;
	pthread_mutex_unlock(&lock);
	return n;
}
