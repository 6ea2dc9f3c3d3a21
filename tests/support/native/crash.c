/* Crashes in its handler. */
#include <signal.h>
#include "netconsd.h"

void netconsd_output_handler(int worker, struct in6_addr *src, struct msg_buf *buf, struct ncrx_msg *msg)
{
	raise(SIGSEGV);
}
