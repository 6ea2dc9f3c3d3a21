/* Prints every message: an output module for netconsd, and for the C daemon of the same name. */
#include <netconsd.h>

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>

int netconsd_output_init(int workers)
{
	printf("%d workers will call\n", workers);
	return 0;
}

void netconsd_output_handler(int worker, struct in6_addr *src, struct msg_buf *buf, struct ncrx_msg *msg)
{
	char address[INET6_ADDRSTRLEN];

	(void)worker;
	inet_ntop(AF_INET6, src, address, sizeof(address));
	/* One call of printf per line: other workers print at the same time. */
	if (buf)
		printf("%s port %d: %.*s", address, ntohs(buf->src.sin6_port), buf->rcv_bytes, buf->buf);
	else
		printf("%s %s #%" PRIu64 " at %" PRIu64 " us, level %d, facility %d%s%s%s%s%s: %s\n%s", address,
		       msg->version[0] ? msg->version : "-", msg->seq, msg->ts_usec, msg->level, msg->facility,
		       msg->cont_start ? ", begins" : "", msg->cont ? ", goes on" : "", msg->oos ? ", late" : "",
		       msg->seq_reset ? ", start" : "", msg->emg ? ", again" : "", msg->text,
		       msg->dict_len ? msg->dict : "");
}

void netconsd_output_exit(void)
{
	puts("the end");
}
