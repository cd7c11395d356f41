#include "machine.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent.h"
#include "dispatch.h"

/* Long enough for the answer to leave; the order is given then, whether it was read or not. */
#define SHUTDOWN_DELAY_MS 20

static struct timer shutdown_timer;
static char shutdown_order;

int start_quiesce(struct call *c)
{
	struct conn *conn = c->conn;
	mp_map(&c->out, 0);
	call_answer(c);
	conns_quiesce();
	if (conn)
		conn->is_ending = true;
	return 0;
}

/* As a service: what process 1 takes as the order, systemd in signals(7) of its manual, others as busybox does. */
static void signal_init(char order)
{
	/* systemd counts from the first real-time signal of glibc, which is not that of every library. */
	const int first_rt = 34;
	int sig;
	if (access("/run/systemd/system", F_OK) == 0)
		sig = first_rt + (order == 'h' ? 3 : order == 'p' ? 4 : 5);
	else
		sig = order == 'h' ? SIGUSR1 : order == 'p' ? SIGUSR2 : SIGTERM;
	if (kill(1, sig) < 0)
		fprintf(stderr, "belljar-agent: cannot signal process 1: %s\n", strerror(errno));
}

static void shut_down(struct timer *t)
{
	(void)t;
	if (agent.init_fd >= 0 && write(agent.init_fd, &shutdown_order, 1) == 1)
		return;
	if (agent.ends_with_control)
		agent_stop();
	else
		signal_init(shutdown_order);
}

int start_shutdown(struct call *c)
{
	const struct mp_val *how = &c->f[F_SHUTDOWN_HOW];
	if (mp_is_str(how, "poweroff"))
		shutdown_order = 'p';
	else if (mp_is_str(how, "reboot"))
		shutdown_order = 'r';
	else if (mp_is_str(how, "halt"))
		shutdown_order = 'h';
	else {
		fail_code(c, "format", "how is none of poweroff, reboot, halt");
		return -EINVAL;
	}
	shutdown_timer.fire = shut_down;
	timer_set(&shutdown_timer, SHUTDOWN_DELAY_MS);
	return 0;
}
