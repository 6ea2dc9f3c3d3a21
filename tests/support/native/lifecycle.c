/* Writes down the calls that it gets; refuses to start with as many workers as REFUSE, if that is defined. */
#include <netconsd.h>

#include <stdio.h>
#include <string.h>

static char calls[200];

int netconsd_output_init(int workers)
{
	sprintf(calls + strlen(calls), "init(%d) ", workers);
#ifdef REFUSE
	return workers == REFUSE ? 7 : 0;
#else
	return 0;
#endif
}

void netconsd_output_handler(int worker, struct in6_addr *src, struct msg_buf *buf, struct ncrx_msg *msg)
{
	(void)src;
	sprintf(calls + strlen(calls), "%s(%d) ", buf ? "buf" : msg ? "msg" : "nothing", worker);
}

void netconsd_output_exit(void)
{
	strcat(calls, "exit ");
}

const char *calls_so_far(void)
{
	return calls;
}
