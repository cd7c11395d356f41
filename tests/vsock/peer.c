/*
 * A stranger on vsock: makes connections, says what it is told on each, and tells what came back.
 *   peer CID PORT CONNECTIONS MILLISECONDS [HEX]
 * One line: "connected N refused N bytes N closed N": how many connections were made and refused, how many bytes came back
 * on all of them, and how many had been hung up by the other end when the time was over.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/vm_sockets.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MOST 512
#define LONGEST 8192

static long long now_ms(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000LL + ts.tv_nsec / 1000000;
}

static size_t read_hex(const char *hex, unsigned char *out)
{
	size_t n = 0;
	unsigned byte;
	for (; n < LONGEST && sscanf(hex + 2 * n, "%2x", &byte) == 1; n++)
		out[n] = (unsigned char)byte;
	return n;
}

int main(int argc, char **argv)
{
	static struct pollfd peers[MOST];
	static unsigned char text[LONGEST], answer[4096];
	int made = 0, refused = 0, closed = 0;
	long long bytes = 0;
	if (argc < 5)
		return 2;
	struct sockaddr_vm name = { .svm_family = AF_VSOCK,
				    .svm_cid = (unsigned)strtoul(argv[1], NULL, 10),
				    .svm_port = (unsigned)strtoul(argv[2], NULL, 10) };
	int count = atoi(argv[3]);
	size_t size = argc > 5 ? read_hex(argv[5], text) : 0;
	long long until = now_ms() + atoll(argv[4]);
	for (int i = 0; i < count && i < MOST; i++) {
		int fd = socket(AF_VSOCK, SOCK_STREAM, 0);
		if (fd < 0 || connect(fd, (const struct sockaddr *)&name, sizeof(name)) < 0) {
			if (refused++ == 0)
				fprintf(stderr, "%s\n", strerror(errno));
			close(fd);
			continue;
		}
		if (size > 0 && send(fd, text, size, MSG_NOSIGNAL) < 0 && errno != EPIPE && errno != ECONNRESET)
			perror("send");
		peers[made++] = (struct pollfd){ .fd = fd, .events = POLLIN };
	}
	while (closed < made && now_ms() < until) {
		if (poll(peers, (nfds_t)made, (int)(until - now_ms())) < 0 && errno != EINTR)
			return 1;
		for (int i = 0; i < made; i++) {
			if (peers[i].fd < 0 || !peers[i].revents)
				continue;
			ssize_t n = read(peers[i].fd, answer, sizeof(answer));
			if (n > 0) {
				bytes += n;
				continue;
			}
			close(peers[i].fd);
			peers[i].fd = -1;
			closed++;
		}
	}
	printf("connected %d refused %d bytes %lld closed %d\n", made, refused, bytes, closed);
	return 0;
}
