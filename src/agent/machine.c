#include "machine.h"

#include <errno.h>
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
	if (conn)
		conn->is_ending = true;
	return 0;
}

static void shut_down(struct timer *t)
{
	(void)t;
	if (agent.init_fd < 0 || write(agent.init_fd, &shutdown_order, 1) != 1)
		agent_stop();
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
