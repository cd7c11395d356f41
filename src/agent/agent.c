/* The agent proper: puts the parts together and runs them. */
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "async_calls.h"
#include "cgroup.h"
#include "conn.h"
#include "pool.h"
#include "principal.h"
#include "proc.h"
#include "reap.h"
#include "vsock.h"
#include "watch.h"

struct agent agent = { .init_fd = -1, .vsock_port = -1 };

static int read_secret(const struct agent_options *options)
{
	int fd = options->secret_fd;
	if (options->secret_file)
		fd = open(options->secret_file, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return options->secret_file ? -errno : -EINVAL;
	int result = read_full(fd, agent.secret, sizeof(agent.secret));
	close(fd);
	return result;
}

static int connect_unix(const char *path)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof(name.sun_path))
		return -ENAMETOOLONG;
	memcpy(name.sun_path, path, strlen(path));
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&name, sizeof(name)) < 0) {
		int err = errno;
		close(fd);
		return -err;
	}
	return fd;
}

static int open_control(const char *control, bool *is_port)
{
	*is_port = false;
	if (!strncmp(control, "unix:", 5))
		return connect_unix(control + 5);
	if (!strncmp(control, "fd:", 3)) {
		int fd = (int)strtol(control + 3, NULL, 10);
		return fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 ? -errno : fd;
	}
	*is_port = true;
	int fd = open(control, O_RDWR | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static void on_cancel(int sig)
{
	(void)sig;
}

static void prepare_process(void)
{
	/* Without SA_RESTART: to interrupt is all that it is for. */
	struct sigaction cancel = { .sa_handler = on_cancel };
	struct sigaction ignore = { .sa_handler = SIG_IGN };
	reset_signals();
	sigaction(CANCEL_SIGNAL, &cancel, NULL);
	sigaction(SIGPIPE, &ignore, NULL);
	reap_block_signals();
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	prctl(PR_SET_NAME, "belljar-agent");
	umask(022);
}

void agent_stop(void)
{
	loop_stop();
}

static void end_everything(void)
{
	procs_kill_all();
	workers_kill_all();
}

static int fail(const char *what, int result)
{
	fprintf(stderr, "belljar-agent: cannot %s: %s\n", what, strerror(-result));
	return 1;
}

static void take_options(const struct agent_options *options)
{
	agent.init_fd = options->init_fd;
	agent.under_init = options->init_fd >= 0;
	agent.was_restarted = options->was_restarted;
	agent.restart_code = options->restart_code;
	agent.restart_sig = options->restart_sig;
}

static int start_parts(void)
{
	int result = loop_init();
	if (!result)
		result = reap_init();
	if (!result)
		result = pool_init();
	async_calls_init();
	return result;
}

static int open_connections(const struct agent_options *options)
{
	bool is_port;
	int fd = open_control(options->control, &is_port);
	if (fd < 0)
		return fail("open the control connection", fd);
	agent.control = conn_add(fd, is_port, true);
	if (!agent.control)
		return fail("use the control connection", -ENOMEM);
	agent.ends_with_control = !is_port;
	if (options->vsock_port < 0)
		return 0;
	int result = vsock_listen(options->vsock_port);
	if (!result)
		agent.vsock_port = options->vsock_port;
	else if (fail("listen on vsock", result) && agent.ends_with_control)
		return 1; /* the harness draws another port */
	return 0;
}

/* What belongs to the whole machine is touched in a guest only, never on a host, whoever the agent runs as there. */
static void take_machine(void)
{
	/* Last to go when memory runs out. */
	write_text("/proc/self/oom_score_adj", "-900");
	cgroup_init();
	if (agent.was_restarted)
		cgroup_kill_leftovers();
	power_button_init();
}

int agent_main(const struct agent_options *options)
{
	int result = read_secret(options);
	if (result)
		return fail("read the secret", result);
	prepare_process();
	take_options(options);
	result = start_parts();
	if (result)
		return fail("start", result);
	if (open_connections(options))
		return 1;
	if (!agent.ends_with_control)
		take_machine();
	loop_run(conns_turn);
	end_everything();
	return 0;
}
