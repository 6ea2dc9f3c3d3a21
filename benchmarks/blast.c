/* Sends netconsole messages from many loopback addresses, at a rate or as fast as possible.
 *
 *   blast PORT FILE SENDERS MESSAGES RATE SKIP
 *
 * FILE has the datagrams of one message, each after its length (two bytes, big-endian). In them, a run of bytes 1 is
 * replaced by the message's seq, a run of bytes 2 by its timestamp, a run of bytes 3 by its msgid: decimal numbers with
 * as many digits as the run has bytes, without leading zeros. Each message is sent from the next of SENDERS addresses,
 * from 127.1.0.0 up. RATE is in datagrams per second, 0 for unlimited. If SKIP is not 0, a seq is omitted after every
 * SKIP messages of a sender.
 *
 * One socket is enough for a million senders: IP_PKTINFO (ip(7)) sets the source address of each datagram.
 * Prints one line: the number of datagrams sent, and the nanoseconds.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    BATCH = 64,       /* datagrams per system call */
    PIECES = 128,     /* limit: datagrams of one message */
    SIZE = 1024,      /* limit: bytes of a datagram; a kernel sends 1000 */
    MARKS = 4,        /* limit: numbers in one datagram */
    SECONDS = 120,    /* limit: duration of a run */
    FIRST = 0x7f010000, /* 127.1.0.0 */
};

enum { SEQ = 1, TS = 2, MSGID = 3 };

struct mark {
    int kind, start, width;
};

struct piece {
    int length, marks;
    struct mark mark[MARKS];
    char data[SIZE];
};

static struct piece pieces[PIECES];

static struct mmsghdr messages[BATCH];
static struct iovec parts[BATCH];
static char buffers[BATCH][SIZE];
static union {
    char room[CMSG_SPACE(sizeof(struct in_pktinfo))];
    struct cmsghdr align;
} controls[BATCH];
static struct in_pktinfo *sources[BATCH];

static void fail(const char *message)
{
    fprintf(stderr, "blast: %s: %s\n", message, errno ? strerror(errno) : "invalid");
    exit(1);
}

static int64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void find_marks(struct piece *piece)
{
    for (int i = 0; i < piece->length; i++) {
        int kind = piece->data[i], start = i;
        if (kind != SEQ && kind != TS && kind != MSGID)
            continue;
        while (i + 1 < piece->length && piece->data[i + 1] == kind)
            i++;
        if (piece->marks == MARKS)
            fail("too many numbers in a datagram");
        piece->mark[piece->marks++] = (struct mark){kind, start, i + 1 - start};
    }
}

static int read_pieces(const char *path)
{
    FILE *file = fopen(path, "rb");
    int count = 0, high;
    if (!file)
        fail(path);
    while ((high = getc(file)) != EOF) {
        if (count == PIECES)
            fail("too many datagrams in a message");
        struct piece *piece = &pieces[count++];
        piece->length = high << 8 | getc(file);
        if (piece->length > SIZE || fread(piece->data, 1, piece->length, file) != (size_t)piece->length)
            fail("a datagram is too long or truncated");
        find_marks(piece);
    }
    fclose(file);
    if (!count)
        fail("no datagrams");
    return count;
}

/* The first digit is at least 1, so that there are no leading zeros. */
static void write_number(char *at, int width, uint64_t number)
{
    for (int i = width - 1; i > 0; i--) {
        at[i] = '0' + number % 10;
        number /= 10;
    }
    at[0] = '1' + number % 9;
}

static void prepare(int slot, const struct piece *piece, uint64_t seq, uint64_t ts, uint64_t msgid, uint32_t address)
{
    memcpy(buffers[slot], piece->data, piece->length);
    for (int i = 0; i < piece->marks; i++) {
        const struct mark *mark = &piece->mark[i];
        uint64_t number = mark->kind == SEQ ? seq : mark->kind == TS ? ts : msgid;
        write_number(buffers[slot] + mark->start, mark->width, number);
    }
    parts[slot].iov_len = piece->length;
    sources[slot]->ipi_spec_dst.s_addr = htonl(address);
}

static int make_socket(struct sockaddr_in *to)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (fd < 0)
        fail("socket");
    for (int slot = 0; slot < BATCH; slot++) {
        struct msghdr *header = &messages[slot].msg_hdr;
        parts[slot].iov_base = buffers[slot];
        header->msg_name = to;
        header->msg_namelen = sizeof *to;
        header->msg_iov = &parts[slot];
        header->msg_iovlen = 1;
        header->msg_control = controls[slot].room;
        header->msg_controllen = sizeof controls[slot].room;
        struct cmsghdr *control = CMSG_FIRSTHDR(header);
        control->cmsg_level = IPPROTO_IP;
        control->cmsg_type = IP_PKTINFO;
        control->cmsg_len = CMSG_LEN(sizeof(struct in_pktinfo));
        sources[slot] = (struct in_pktinfo *)CMSG_DATA(control);
    }
    return fd;
}

static void send_all(int fd, int count)
{
    for (int done = 0; done < count;) {
        int got = sendmmsg(fd, messages + done, count - done, 0);
        if (got < 0 && errno != EINTR && errno != ENOBUFS)
            fail("sendmmsg");
        if (got > 0)
            done += got;
    }
}

int main(int argc, char **argv)
{
    if (argc != 7)
        return fprintf(stderr, "usage: blast PORT FILE SENDERS MESSAGES RATE SKIP\n"), 2;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1]))};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    uint64_t per_message = read_pieces(argv[2]);
    uint64_t senders = strtoull(argv[3], NULL, 10);
    uint64_t total = strtoull(argv[4], NULL, 10) * per_message;
    uint64_t rate = strtoull(argv[5], NULL, 10);
    uint64_t skip = strtoull(argv[6], NULL, 10);
    if (!senders || senders > 1 << 22)
        fail("number of senders");
    alarm(SECONDS);
    prctl(PR_SET_TIMERSLACK, 1000);
    int fd = make_socket(&to);

    int64_t start = now();
    uint64_t sent = 0;
    while (sent < total) {
        uint64_t due = total;
        if (rate) {
            due = (uint64_t)((double)(now() - start) * rate / 1e9) + 1;
            due = due > total ? total : due;
        }
        if (sent >= due) {
            nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
            continue;
        }
        int count = due - sent < BATCH ? due - sent : BATCH;
        for (int slot = 0; slot < count; slot++) {
            uint64_t message = (sent + slot) / per_message;
            uint64_t nth = message / senders;
            uint64_t seq = skip ? nth + nth / skip : nth;
            prepare(slot, &pieces[(sent + slot) % per_message], seq, message, nth, FIRST + message % senders);
        }
        send_all(fd, count);
        sent += count;
    }
    printf("%llu %lld\n", (unsigned long long)sent, (long long)(now() - start));
    return 0;
}
