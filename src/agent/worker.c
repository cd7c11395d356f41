/* A worker: one thread that runs requests in order, with credentials and namespaces of its own. */
#include "worker.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "async_call.h"
#include "spawn.h"
#include "worker_wire.h"

static struct worker_shared *shared;
/* Threads of asynchronous calls answer, too. */
static pthread_mutex_t send_lock = PTHREAD_MUTEX_INITIALIZER;

static void on_cancel(int sig)
{
	(void)sig;
}

static int send_answer(const struct worker_answer *head, const void *payload, int fd)
{
	pthread_mutex_lock(&send_lock);
	ssize_t n = send_with_fds(WORKER_SOCKET, head, sizeof(*head), &fd, fd >= 0);
	int result = n < 0 ? (int)n : 0;
	if (!result && (size_t)n < sizeof(*head))
		result = write_full(WORKER_SOCKET, (const char *)head + n, sizeof(*head) - (size_t)n);
	if (!result)
		result = write_full(WORKER_SOCKET, payload, head->len);
	pthread_mutex_unlock(&send_lock);
	return result;
}

static void returned(struct async_call *a)
{
	struct buf b = { 0 };
	async_put_event(&b, a);
	struct worker_answer head = { .serial = a->id, .kind = WORKER_RETURNED, .len = (uint32_t)b.len };
	send_answer(&head, b.data, -1);
	buf_free(&b);
	async_free(a);
}

/* Receives one request. Returns 1, 0 at the end, or -errno. */
static int receive(struct call *c)
{
	struct worker_request head;
	int fds[CALL_FDS];
	unsigned count = 0, used = 0;
	ssize_t n = receive_with_fds(WORKER_SOCKET, &head, sizeof(head), fds, CALL_FDS, &count);
	if (n <= 0)
		return (int)n;
	if ((size_t)n < sizeof(head)) {
		int result = read_full(WORKER_SOCKET, (char *)&head + n, sizeof(head) - (size_t)n);
		if (result)
			return result;
	}
	for (int i = 0; i < CALL_FDS; i++)
		c->fds[i] = head.fd_mask & 1u << i && used < count ? fds[used++] : -1;
	uint8_t *body = malloc(head.len + 1u);
	if (!body)
		return -ENOMEM;
	int result = read_full(WORKER_SOCKET, body, head.len);
	if (result) {
		free(body);
		return result;
	}
	c->serial = head.serial;
	c->cancel_word = &shared->cancel;
	memcpy(c->token, head.token, sizeof(c->token));
	c->token[sizeof(c->token) - 1] = '\0';
	c->is_pty = head.is_pty;
	call_decode(c, body, head.len);
	return 1;
}

static int answer(struct call *c)
{
	struct worker_answer head = { .serial = c->serial, .aux = c->aux };
	struct buf error = { 0 };
	const struct buf *payload = &c->out;
	if (c->fail.code) {
		put_failure(&error, c->op, &c->fail);
		payload = &error;
		head.kind = WORKER_ERROR;
	}
	head.len = (uint32_t)payload->len;
	int result = send_answer(&head, payload->data, c->ret_fd);
	buf_free(&error);
	return result;
}

static int prepare(void)
{
	struct sigaction cancel = { .sa_handler = on_cancel };
	struct sigaction ignore = { .sa_handler = SIG_IGN };
	sigset_t none;
	reset_signals();
	sigaction(CANCEL_SIGNAL, &cancel, NULL);
	sigaction(SIGPIPE, &ignore, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	prctl(PR_SET_NAME, "belljar-worker");
	if (fcntl(WORKER_SOCKET, F_SETFD, FD_CLOEXEC) < 0)
		return -errno;
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED, WORKER_SHARED, 0);
	if (shared == MAP_FAILED)
		return -errno;
	close(WORKER_SHARED);
	spawn_from_worker = true;
	async_done = returned;
	return 0;
}

int worker_main(void)
{
	int more = prepare() ? -1 : 1;
	while (more > 0) {
		struct call *c = call_new();
		if (!c)
			return 1;
		more = receive(c);
		if (more > 0) {
			if (!c->fail.code)
				call_execute(c);
			if (answer(c))
				more = -1;
		}
		call_free(c);
	}
	return more < 0;
}
