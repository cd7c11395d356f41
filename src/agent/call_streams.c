/* Streams of operations: pipes between the loop and whoever runs the operation. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "dispatch.h"
#include "file_ops.h"

#define OP_PIPE_SIZE (512 * 1024)
/* Granted to uploads at once: they are to keep the line busy while credit is under way. */
#define UPLOAD_CREDIT (768u * 1024u)

int check_new_stream(struct call *c, int64_t id)
{
	if (id <= 0 || stream_find(c->conn, (uint64_t)id)) {
		fail_code(c, "format", "stream %lld is in use or no stream", (long long)id);
		return -EEXIST;
	}
	if ((uint64_t)id > c->conn->max_id)
		c->conn->max_id = (uint64_t)id;
	return 0;
}

/* The answer to a file that the loop itself has sent. */
static void answer_file(struct call *c, const struct stream *s)
{
	if (c->fail.code)
		return;
	c->out.len = 0;
	mp_map(&c->out, 1);
	mp_put_int(&c->out, "size", s->file_at - c->nums[READ_FROM]);
	if (s->discard)
		fail_code(c, "cancelled", "%s", "");
	else if (s->err)
		fail_path(c, s->err, F_READ_FILE_PATH);
}

static void output_ended(struct stream *s)
{
	struct call *c = s->subject;
	if (!c)
		return;
	c->stream = NULL;
	if (s->is_file)
		answer_file(c, s);
	if (c->answer_due)
		call_answer(c);
}

static void output_refused(struct stream *s)
{
	struct call *c = s->subject;
	if (c && !call_cancelled(c) && c->state != CALL_RAN)
		call_cancel(c);
}

static int make_op_pipe(struct call *c, int fds[2])
{
	if (pipe2(fds, O_CLOEXEC) < 0) {
		fail_errno(c, errno);
		return -errno;
	}
	/* Fewer turns for bulk data; the default will do where this is refused. */
	fcntl(fds[0], F_SETPIPE_SZ, OP_PIPE_SIZE);
	return 0;
}

int call_output(struct call *c, unsigned field)
{
	int fds[2];
	if (check_new_stream(c, get_int(c, field)) || make_op_pipe(c, fds))
		return -EINVAL;
	c->fds[0] = fds[1];
	c->stream = stream_open_output(c->conn, get_bits(c, field), c->principal, fds[0]);
	if (!c->stream) {
		fail_errno(c, ENOMEM);
		return -ENOMEM;
	}
	c->stream->subject = c;
	c->stream->ended = output_ended;
	c->stream->refused = output_refused;
	return 0;
}

int call_input(struct call *c, unsigned field)
{
	int fds[2];
	if (check_new_stream(c, get_int(c, field)) || make_op_pipe(c, fds))
		return -EINVAL;
	c->fds[0] = fds[0];
	struct stream *s = stream_open_input(c->conn, get_bits(c, field), c->principal, fds[1]);
	if (!s) {
		fail_errno(c, ENOMEM);
		return -ENOMEM;
	}
	stream_widen(s, UPLOAD_CREDIT);
	return 0;
}
