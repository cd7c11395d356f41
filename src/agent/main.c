#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent.h"
#include "guard.h"
#include "init.h"
#include "util.h"
#include "wire_gen.h"
#include "worker.h"

static int usage(void)
{
	fputs("usage: belljar-agent agent --control PATH|unix:PATH|fd:N --secret-file PATH [--listen vsock:PORT]\n"
	      "       belljar-agent guard --watch -- COMMAND...\n"
	      "       belljar-agent guard --run DIR --token TOKEN\n"
	      "       belljar-agent --version\n",
	      stderr);
	return 2;
}

static bool read_number(const char *text, int *out)
{
	char *end;
	errno = 0;
	long value = strtol(text, &end, 10);
	if (end == text || *end || errno || value < 0 || value > INT32_MAX)
		return false;
	*out = (int)value;
	return true;
}

static int run_agent(int argc, char **argv)
{
	struct agent_options o = { .secret_fd = -1, .init_fd = -1, .vsock_port = -1 };
	for (int i = 0; i < argc; i += 2) {
		if (i + 1 >= argc)
			return usage();
		const char *value = argv[i + 1];
		bool good = true;
		if (!strcmp(argv[i], "--control"))
			o.control = value;
		else if (!strcmp(argv[i], "--secret-file"))
			o.secret_file = value;
		else if (!strcmp(argv[i], "--listen"))
			good = !strncmp(value, "vsock:", 6) && read_number(value + 6, &o.vsock_port);
		else if (!strcmp(argv[i], "--secret-fd"))
			good = read_number(value, &o.secret_fd);
		else if (!strcmp(argv[i], "--init-fd"))
			good = read_number(value, &o.init_fd);
		else if (!strcmp(argv[i], "--restarted-code"))
			good = o.was_restarted = read_number(value, &o.restart_code);
		else if (!strcmp(argv[i], "--restarted-signal"))
			good = o.was_restarted = read_number(value, &o.restart_sig);
		else
			good = false;
		if (!good)
			return usage();
	}
	return o.control ? agent_main(&o) : usage();
}

int main(int argc, char **argv)
{
	/* The kernel hands unknown words of its command line to /init: they are not for us. */
	if (getpid() == 1 && argc > 0 && strstr(argv[0], "init"))
		return init_main();
	if (argc < 2)
		return usage();
	if (ensure_stdio())
		return 1;
	if (!strcmp(argv[1], "--version")) {
		printf("belljar-agent %s\n", BELLJAR_VERSION);
		return 0;
	}
	if (!strcmp(argv[1], "agent"))
		return run_agent(argc - 2, argv + 2);
	if (!strcmp(argv[1], "worker"))
		return worker_main();
	if (argc >= 5 && !strcmp(argv[1], "guard") && !strcmp(argv[2], "--watch") && !strcmp(argv[3], "--"))
		return guard_watch(argv + 4);
	if (argc == 6 && !strcmp(argv[1], "guard") && !strcmp(argv[2], "--run") && !strcmp(argv[4], "--token"))
		return guard_run(argv[3], argv[5]);
	return usage();
}
