/*
 * The interface of compiled output modules; docs/native of netconsd describes how to write one.
 *
 * The layout is that of the C daemon of the same name, private fields included, so that modules compiled for the C
 * daemon work unchanged. Static assertions at the end check the layout if long has 64 bits.
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
 * The longest body (text and dictionary together) and legacy datagram, in bytes without the final NUL. Longer ones are
 * truncated. These are the C daemon's sizes, so that modules with buffers of these sizes are safe.
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
	uint64_t seq;           /* the record's sequence number since the sender booted */
	uint64_t ts_usec;       /* microseconds since the sender booted, by its clock */
	char *text;             /* escaped as it was sent, without its newline, NUL-terminated */
	char *dict;             /* the lines after the text as they were sent; NULL if the text ended without a newline */
	int text_len;           /* bytes before the NUL */
	int dict_len;
	uint8_t facility;
	uint8_t level;
	unsigned cont_start : 1; /* never set by netconsd */
	unsigned cont : 1;       /* the record continues an earlier record */
	unsigned oos : 1;        /* later records were delivered before this record */
	unsigned seq_reset : 1;  /* the sender's sequence starts again here */

	/* Private to the C daemon; filled in, but do not rely on them. */
	struct ncrx_list node;  /* a list with only this record */
	uint64_t rx_at_mono;    /* time of its first datagram: milliseconds of the monotonic clock */
	uint64_t rx_at_real;    /* the same, in milliseconds of Unix time */
	int ncfrag_off;         /* 0 */
	int ncfrag_len;         /* 0 */
	int ncfrag_left;        /* 0, or 1 if fragments were lost; the text shows the places and sizes */

	char version[NETCONSD_VERSION_SIZE]; /* the kernel's release, if the header had it; NUL-terminated */
	unsigned emg : 1;       /* the sender sent the record again, because it had no answer */
	char buf[];             /* the bytes of text and dict */
};

/* A datagram of the legacy format. */
struct msg_buf {
	struct msg_buf *next;   /* NULL */
	struct iovec iovec;     /* the text: buf, and rcv_bytes */
	struct sockaddr_in6 src; /* the sender; IPv4 as ::ffff:a.b.c.d */
	uint64_t rcv_time;      /* time of receipt: milliseconds of Unix time */
	int rcv_flags;          /* 0, or MSG_TRUNC if the datagram was truncated */
	int rcv_bytes;          /* bytes before the final NUL; they can include other NULs */
	char buf[];
};

/* Optional. Called once before the first message, with the number of workers. The start fails unless it returns 0. */
int netconsd_output_init(int workers);

/*
 * Called for each message, by different workers at the same time; `worker` counts from 0. One of buf and msg is NULL.
 * The module can read and change the structures and texts until it returns.
 */
void netconsd_output_handler(int worker, struct in6_addr *src, struct msg_buf *buf, struct ncrx_msg *msg);

/* Optional. Called once after the last message. */
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
