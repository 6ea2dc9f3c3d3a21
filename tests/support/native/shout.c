/* Changes what it gets in place, up to the last byte, and prints it. */
#include <netconsd.h>

#include <ctype.h>
#include <stdio.h>
#include <string.h>

static void shout(char *text, size_t length)
{
	for (size_t index = 0; index < length; index++)
		text[index] = toupper((unsigned char)text[index]);
}

void netconsd_output_handler(int worker, struct in6_addr *src, struct msg_buf *buf, struct ncrx_msg *msg)
{
	(void)worker;
	memset(src, 0xff, sizeof(*src));
	if (buf) {
		shout(buf->buf, buf->rcv_bytes);
		buf->rcv_bytes = -1;
		printf("shout: %s\n", buf->buf);
	} else {
		shout(msg->text, msg->text_len);
		if (msg->dict)
			shout(msg->dict, msg->dict_len);
		printf("shout: %s|%s\n", msg->text, msg->dict ? msg->dict : "");
		memset(msg, 0xff, sizeof(*msg));
	}
}
