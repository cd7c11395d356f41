/* Requests about processes. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "agent.h"
#include "dispatch.h"
#include "ops.h"
#include "proc_state.h"
#include "procfs.h"
#include "spawn.h"

/* The highest signal number of the kernel. */
#define MAX_SIGNAL 64
#define MAX_COMMAND 1024
/* Standard input, output, errors. */
#define MAX_STREAMS 3

enum target { TARGET_LEADER, TARGET_GROUP, TARGET_ALL };

static int open_output(struct call *c, struct proc *p, unsigned field, int *child_end)
{
	int fds[2];
	if (check_new_stream(c, get_int(c, field)))
		return -EEXIST;
	if (pipe2(fds, O_CLOEXEC) < 0) {
		fail_stage(c, "fork", errno);
		return -errno;
	}
	*child_end = fds[1];
	struct stream *s = stream_open_output(c->conn, get_bits(c, field), c->principal, fds[0]);
	if (!s) {
		fail_stage(c, "fork", ENOMEM);
		return -ENOMEM;
	}
	s->subject = p;
	return 0;
}

static int open_input(struct call *c, struct proc *p)
{
	int fds[2];
	if (check_new_stream(c, get_int(c, F_SPAWN_STDIN)))
		return -EEXIST;
	if (pipe2(fds, O_CLOEXEC) < 0) {
		fail_stage(c, "fork", errno);
		return -errno;
	}
	c->fds[0] = fds[0];
	struct stream *s = stream_open_input(c->conn, get_bits(c, F_SPAWN_STDIN), c->principal, fds[1]);
	if (!s) {
		fail_stage(c, "fork", ENOMEM);
		return -ENOMEM;
	}
	s->subject = p;
	return 0;
}

static int open_pipes(struct call *c, struct proc *p)
{
	if (has(c, F_SPAWN_STDIN) && open_input(c, p))
		return -EINVAL;
	if (has(c, F_SPAWN_STDOUT) && open_output(c, p, F_SPAWN_STDOUT, &c->fds[1]))
		return -EINVAL;
	if (!has(c, F_SPAWN_STDERR))
		return 0;
	if (!has(c, F_SPAWN_STDOUT) || get_int(c, F_SPAWN_STDOUT) != get_int(c, F_SPAWN_STDERR))
		return open_output(c, p, F_SPAWN_STDERR, &c->fds[2]);
	c->fds[2] = fcntl(c->fds[1], F_DUPFD_CLOEXEC, 3);
	if (c->fds[2] < 0)
		fail_stage(c, "fork", errno);
	return c->fds[2] < 0 ? -errno : 0;
}

static int set_size(int fd, int64_t cols, int64_t rows)
{
	struct winsize size = { .ws_col = (uint16_t)cols, .ws_row = (uint16_t)rows };
	return ioctl(fd, TIOCSWINSZ, &size) < 0 ? -errno : 0;
}

static int read_size(struct call *c, struct winsize *out)
{
	struct mp_val list = c->f[F_SPAWN_PTY], cols, rows;
	struct mp_reader r = { list.data, c->body + c->body_len };
	if (list.size != 2 || mp_read(&r, &cols) || mp_read(&r, &rows) || cols.num < 0 || rows.num < 0 ||
	    cols.num > UINT16_MAX || rows.num > UINT16_MAX) {
		fail_code(c, "format", "pty is not a pair of columns and rows");
		return -EINVAL;
	}
	*out = (struct winsize){ .ws_col = (uint16_t)cols.num, .ws_row = (uint16_t)rows.num };
	return 0;
}

static int attach_terminal(struct call *c, struct proc *p, int master)
{
	struct stream *s;
	if (has(c, F_SPAWN_STDIN)) {
		if (check_new_stream(c, get_int(c, F_SPAWN_STDIN)))
			return -EEXIST;
		s = stream_open_input(c->conn, get_bits(c, F_SPAWN_STDIN), c->principal,
				      fcntl(master, F_DUPFD_CLOEXEC, 3));
		if (!s)
			return -ENOMEM;
		s->is_pty = true;
		s->subject = p;
	}
	if (has(c, F_SPAWN_STDOUT)) {
		if (check_new_stream(c, get_int(c, F_SPAWN_STDOUT)))
			return -EEXIST;
		s = stream_open_output(c->conn, get_bits(c, F_SPAWN_STDOUT), c->principal,
				       fcntl(master, F_DUPFD_CLOEXEC, 3));
		if (!s)
			return -ENOMEM;
		s->subject = p;
	}
	return 0;
}

static int open_terminal(struct call *c, struct proc *p)
{
	struct winsize size;
	int unlocked = 0;
	if (read_size(c, &size))
		return -EINVAL;
	p->terminal = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	if (p->terminal < 0 || ioctl(p->terminal, TIOCSPTLCK, &unlocked) < 0) {
		fail_stage(c, "pty", errno);
		return -errno;
	}
	ioctl(p->terminal, TIOCSWINSZ, &size);
	c->fds[0] = ioctl(p->terminal, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (c->fds[0] < 0) {
		fail_stage(c, "pty", errno);
		return -errno;
	}
	c->is_pty = true;
	int result = attach_terminal(c, p, p->terminal);
	if (result && !c->fail.code)
		fail_stage(c, "pty", -result);
	return result;
}

static int open_group(struct call *c, struct proc *p)
{
	if (!cgroup_usable()) {
		draw_token(p->job.token);
		return 0;
	}
	p->job.cgroup = cgroup_take(p->job.token, &p->events.fd);
	int result = p->job.cgroup < 0 ? p->job.cgroup : 0;
	if (!result) {
		c->fds[SPAWN_GROUP] = fcntl(p->job.cgroup, F_DUPFD_CLOEXEC, 3);
		result = c->fds[SPAWN_GROUP] < 0 ? -errno : 0;
	}
	/* A worker may have given up the right to open it. */
	if (!result && c->principal != 0) {
		c->fds[SPAWN_GROUP_PROCS] = cgroup_open(p->job.cgroup, "cgroup.procs", O_WRONLY);
		result = c->fds[SPAWN_GROUP_PROCS] < 0 ? c->fds[SPAWN_GROUP_PROCS] : 0;
	}
	if (result)
		fail_stage(c, "cgroup", -result);
	return result;
}

int start_spawn(struct call *c)
{
	int64_t id = get_int(c, F_SPAWN_PROC);
	if (id <= 0 || proc_find((uint64_t)id)) {
		fail_code(c, "format", "process %lld is in use or no process", (long long)id);
		return -EEXIST;
	}
	struct proc *p = proc_new((uint64_t)id);
	if (!p) {
		fail_errno(c, ENOMEM);
		return -ENOMEM;
	}
	if ((uint64_t)id > c->conn->max_id)
		c->conn->max_id = (uint64_t)id;
	c->subject = p;
	p->conn = c->conn;
	p->principal = c->principal;
	p->looks++;
	int result = open_group(c, p);
	if (result)
		return result;
	memcpy(c->token, p->job.token, sizeof(c->token));
	return has(c, F_SPAWN_PTY) ? open_terminal(c, p) : open_pipes(c, p);
}

/* A worker may count processes otherwise than the agent does: the descriptor says which one is meant. */
static void use_own_number(struct call *c)
{
	char path[64], text[512];
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", c->ret_fd);
	if (read_text(path, text, sizeof(text)) < 0)
		return;
	int64_t pid = read_status_number(text, "\nPid:");
	if (pid <= 0 || pid == c->aux)
		return;
	c->aux = pid;
	c->out.len = 0;
	mp_map(&c->out, 1);
	mp_put_int(&c->out, "pid", pid);
}

void finish_spawn(struct call *c)
{
	struct proc *p = c->subject;
	if (!p)
		return;
	p->looks--;
	if (c->fail.code) {
		streams_abandon_subject(p);
		proc_failed(p);
		return;
	}
	if (c->ret_fd >= 0)
		use_own_number(c);
	proc_started(p, (pid_t)c->aux);
	/* Nobody will ever ask for it. */
	if (!c->conn && call_cancelled(c)) {
		signal_job(&p->job, SIGKILL);
		proc_release(p);
	}
}

static struct proc *asked_proc(struct call *c)
{
	struct proc *p = proc_find(get_bits(c, 0));
	if (!p || p->is_starting) {
		fail_no_id(c, "process", get_int(c, 0));
		return NULL;
	}
	p->looks++;
	c->subject = p;
	return p;
}

int start_proc_members(struct call *c)
{
	return asked_proc(c) ? 0 : -ENOENT;
}

int start_proc_status(struct call *c)
{
	return start_proc_members(c);
}

static void answer_count(struct call *c, int count)
{
	agent.signals_sent += (unsigned)count;
	mp_map(&c->out, 1);
	mp_put_int(&c->out, "count", count);
}

int start_proc_signal(struct call *c)
{
	int64_t sig, target;
	struct proc *p = asked_proc(c);
	if (!p)
		return -ENOENT;
	if (!get_ranged(c, F_PROC_SIGNAL_SIG, 0, MAX_SIGNAL, &sig) ||
	    !get_ranged(c, F_PROC_SIGNAL_TARGET, TARGET_LEADER, TARGET_ALL, &target))
		return -EINVAL;
	bool others = target == TARGET_ALL || (target == TARGET_GROUP && !p->is_running);
	if (others && !p->is_empty) {
		call_submit(c);
		return 0;
	}
	/* Not reaped yet, and only this thread reaps: the number is still its own. */
	int count = 0;
	if (p->is_running)
		count = kill(target == TARGET_GROUP ? -p->job.leader : p->job.leader, (int)sig) == 0;
	answer_count(c, count);
	call_ran(c);
	return 0;
}

void op_proc_signal(struct call *c)
{
	const struct proc *p = c->subject;
	int sig = (int)get_int(c, F_PROC_SIGNAL_SIG);
	if (get_int(c, F_PROC_SIGNAL_TARGET) == TARGET_ALL) {
		c->aux = signal_job(&p->job, sig);
		return;
	}
	struct members m;
	find_members(&p->job, &m);
	for (size_t i = 0; i < m.count; i++) {
		if (m.list[i].pgid == p->job.leader)
			c->aux += signal_member(&m.list[i], sig);
	}
	free_members(&m);
}

void finish_proc_signal(struct call *c)
{
	if (!c->fail.code && c->out.len <= 1) {
		c->out.len = 0;
		answer_count(c, (int)c->aux);
	}
	finish_proc_call(c);
}

void op_proc_members(struct call *c)
{
	const struct proc *p = c->subject;
	struct members m;
	find_members(&p->job, &m);
	mp_map(&c->out, 1);
	mp_str(&c->out, "members");
	mp_list(&c->out, (uint32_t)m.count);
	for (size_t i = 0; i < m.count; i++) {
		const struct member *one = &m.list[i];
		char command[MAX_COMMAND];
		size_t len = read_command(one->pid, one->command, command, sizeof(command));
		char state[2] = { one->state, '\0' };
		mp_map(&c->out, 6);
		mp_put_int(&c->out, "pid", one->pid);
		mp_put_int(&c->out, "ppid", one->ppid);
		mp_put_int(&c->out, "pgid", one->pgid);
		mp_put_str(&c->out, "state", state);
		mp_put_bin(&c->out, "command", command, len);
		mp_put_uint(&c->out, "startTicks", one->ticks);
	}
	free_members(&m);
}

void op_proc_status(struct call *c)
{
	const struct proc *p = c->subject;
	c->aux = count_members(&p->job);
}

void finish_proc_status(struct call *c)
{
	struct proc *p = c->subject;
	bool is_look = !c->body;
	if (p && !c->fail.code && !is_look) {
		bool ended = !p->is_running;
		c->out.len = 0;
		mp_map(&c->out, ended ? 4 : 3);
		mp_put_bool(&c->out, "running", p->is_running);
		mp_put_bool(&c->out, "stopped", p->is_stopped);
		if (ended)
			mp_put_int(&c->out, p->sig ? "sig" : "code", p->sig ? p->sig : p->code);
		mp_put_int(&c->out, "alive", p->is_empty ? 0 : c->aux);
	}
	if (p && is_look) {
		p->look_under_way = false;
		proc_seen(p, (int)c->aux);
		if (p->look_again && !p->is_empty)
			proc_look(p);
	}
	finish_proc_call(c);
}

void finish_proc_call(struct call *c)
{
	struct proc *p = c->subject;
	if (!p)
		return;
	p->looks--;
	proc_drop_if_done(p);
}

int start_proc_resize(struct call *c)
{
	struct proc *p = proc_find(get_bits(c, F_PROC_RESIZE_PROC));
	int64_t cols, rows;
	if (!p || p->terminal < 0)
		return fail_no_id(c, "terminal of process", get_int(c, F_PROC_RESIZE_PROC));
	if (!get_ranged(c, F_PROC_RESIZE_COLS, 0, UINT16_MAX, &cols) ||
	    !get_ranged(c, F_PROC_RESIZE_ROWS, 0, UINT16_MAX, &rows))
		return -EINVAL;
	int result = set_size(p->terminal, cols, rows);
	if (result)
		fail_errno(c, -result);
	return result;
}

int start_proc_release(struct call *c)
{
	struct proc *p = proc_find(get_bits(c, F_PROC_RELEASE_PROC));
	if (!p)
		return fail_no_id(c, "process", get_int(c, F_PROC_RELEASE_PROC));
	if (p->is_running || p->is_starting) {
		fail_errno(c, EBUSY);
		return -EBUSY;
	}
	proc_release(p);
	return 0;
}

int start_proc_attach(struct call *c)
{
	struct mp_val list = c->f[F_PROC_ATTACH_STREAMS], id;
	struct mp_reader r = { list.data, c->body + c->body_len };
	uint64_t found[MAX_STREAMS];
	uint32_t count = 0;
	struct proc *p = proc_find(get_bits(c, F_PROC_ATTACH_PROC));
	if (!p || p->is_starting)
		return fail_no_id(c, "process", get_int(c, F_PROC_ATTACH_PROC));
	for (uint32_t i = 0; i < list.size && i < MAX_STREAMS; i++) {
		if (mp_read(&r, &id))
			return -EINVAL;
		if (stream_attach(c->conn, (uint64_t)id.num, p))
			found[count++] = (uint64_t)id.num;
	}
	p->conn = c->conn;
	mp_map(&c->out, 1);
	mp_str(&c->out, "streams");
	mp_list(&c->out, count);
	for (uint32_t i = 0; i < count; i++)
		mp_uint(&c->out, found[i]);
	return 0;
}
