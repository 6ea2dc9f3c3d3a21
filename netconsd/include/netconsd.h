/*
 * What a compiled output module gets from netconsd: docs/native of netconsd says how to write one.
 *
 * The layout is that of the C daemon of the same name, private fields included, so that modules compiled for it go on
 * working. The static assertions at the end hold it fast where long has 64 bits.
 */
#ifndef NETCONSD_H
#define NETCONSD_H

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * The most that a module gets, in bytes without the final NUL: a body (text and dictionary together), and a legacy
 * datagram. What is longer is cut there. Modules with buffers of these sizes were safe with the C daemon.
 */
#define NETCONSD_BODY_MAX 8191
#define NETCONSD_DATAGRAM_MAX 1023
#define NETCONSD_VERSION_SIZE 64

struct ncrx_list {
	struct ncrx_list *next;
	struct ncrx_list *prev;
};

/* A record of the extended format. */
struct ncrx_msg {
	uint64_t seq;           /* the record's number since the sender booted */
	uint64_t ts_usec;       /* microseconds since then, by the sender's clock */
	char *text;             /* escaped as it was sent, without its newline, NUL-terminated */
	char *dict;             /* the lines behind the text as they were sent; NULL if no newline ended the text */
	int text_len;           /* bytes before the NUL */
	int dict_len;
	uint8_t facility;
	uint8_t level;
	unsigned cont_start : 1; /* never set by netconsd */
	unsigned cont : 1;       /* it continues an earlier record */
	unsigned oos : 1;        /* later records were handed out before it */
	unsigned seq_reset : 1;  /* the sender's counting starts anew here */

	/* Private to the C daemon; filled in, but not to be relied on. */
	struct ncrx_list node;  /* a list of itself alone */
	uint64_t rx_at_mono;    /* when its first datagram came: milliseconds of the monotonic clock */
	uint64_t rx_at_real;    /* the same, in milliseconds of Unix time */
	int ncfrag_off;         /* 0 */
	int ncfrag_len;         /* 0 */
	int ncfrag_left;        /* 0, or 1 if parts of it were lost; the text says where, and how many bytes */

	char version[NETCONSD_VERSION_SIZE]; /* the kernel's release, if the header had it; NUL-terminated */
	unsigned emg : 1;       /* the sender sends it again, because nobody had answered */
	char buf[];             /* what text and dict point into */
};

/* A datagram of the legacy format. */
struct msg_buf {
	struct msg_buf *next;   /* NULL */
	struct iovec iovec;     /* the text: buf, and rcv_bytes */
	struct sockaddr_in6 src; /* the sender; IPv4 as ::ffff:a.b.c.d */
	uint64_t rcv_time;      /* when it came: milliseconds of Unix time */
	int rcv_flags;          /* 0, or MSG_TRUNC if it was longer and has been cut */
	int rcv_bytes;          /* bytes before the final NUL; there can be others among them */
	char buf[];
};

/* Called once before the first message, with the number of workers. Anything but 0 stops the start. May be missing. */
int netconsd_output_init(int workers);

/*
 * Called for each message, by different workers at once; `worker` counts from 0. One of buf and msg is NULL. All that
 * the pointers lead to is the module's own, to read and to change in place, until it returns.
 */
void netconsd_output_handler(int worker, struct in6_addr *src, struct msg_buf *buf, struct ncrx_msg *msg);

/* Called once after the last message. May be missing. */
void netconsd_output_exit(void);

#ifdef __cplusplus
}
#endif

#if defined(__LP64__) && defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L
_Static_assert(offsetof(struct ncrx_msg, facility) == 40, "layout");
_Static_assert(offsetof(struct ncrx_msg, node) == 48, "layout");
_Static_assert(offsetof(struct ncrx_msg, version) == 92, "layout");
_Static_assert(offsetof(struct ncrx_msg, buf) == 157, "layout");
_Static_assert(sizeof(struct ncrx_msg) == 160, "layout");
_Static_assert(offsetof(struct msg_buf, rcv_time) == 56, "layout");
_Static_assert(offsetof(struct msg_buf, buf) == 72, "layout");
#endif

#endif
