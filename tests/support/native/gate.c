/* Says that it was called, and does not return before it is told to, or a while has passed: how often it was told. */
#include <netconsd.h>

#include <poll.h>
#include <unistd.h>

enum { MILLISECONDS = 20000 };

int gate_says, gate_waits;
int gate_opened;

void netconsd_output_handler(int worker, struct in6_addr *src, struct msg_buf *buf, struct ncrx_msg *msg)
{
	struct pollfd wait = { .fd = gate_waits, .events = POLLIN };
	char byte = '!';

	(void)worker, (void)src, (void)buf, (void)msg;
	if (write(gate_says, &byte, 1) == 1 && poll(&wait, 1, MILLISECONDS) == 1)
		gate_opened += read(gate_waits, &byte, 1) == 1;
}
