/* Reads a UDP socket as netconsd's compiled reader does, and nothing else: the cost of the system calls alone.
 *
 *   floor RCVBUF BATCH BATCHES PAUSE
 *
 * RCVBUF in bytes; BATCH datagrams per system call, BATCHES calls in a row; PAUSE in microseconds after a read under
 * load, unless the kernel grants less than 2 MiB of receive buffer (as in netconsd/service.py). Prints the port and the
 * granted receive buffer; after SIGTERM, the numbers of datagrams read and dropped by the kernel.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef SO_MEMINFO
#define SO_MEMINFO 55
#endif

enum {
    SLOT = 2048,                /* larger than any datagram of the benchmarks */
    PAUSE_RCVBUF = 2 * 1024 * 1024, /* netconsd.service.PAUSE_RCVBUF */
    PAUSE_BYTES_PER_SECOND = 1024 * 1024 * 1024, /* netconsd.service.PAUSE_BYTES_PER_SECOND */
    SECONDS = 300,              /* limit: duration of a run */
};

static volatile sig_atomic_t ended;

static void end(int number)
{
    (void)number;
    ended = 1;
}

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

/* As netconsd without --address: IPv4 and IPv6 in one socket, and IPv4 alone where there is no IPv6. */
static int bind_any(int *port)
{
    struct sockaddr_in6 any6 = {.sin6_family = AF_INET6};
    struct sockaddr_in any4 = {.sin_family = AF_INET};
    int off = 0, fd = socket(AF_INET6, SOCK_DGRAM, 0), bound;
    if (fd >= 0) {
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
        bound = bind(fd, (struct sockaddr *)&any6, sizeof any6);
    } else {
        fd = socket(AF_INET, SOCK_DGRAM, 0);
        bound = fd < 0 ? -1 : bind(fd, (struct sockaddr *)&any4, sizeof any4);
    }
    socklen_t length = sizeof any6;
    if (bound < 0 || getsockname(fd, (struct sockaddr *)&any6, &length) < 0)
        fail("bind");
    *port = ntohs(any6.sin6_port); /* same offset in sockaddr_in */
    return fd;
}

static int raise_rcvbuf(int fd, int size)
{
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) < 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    socklen_t length = sizeof size;
    getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, &length);
    return size / 2;
}

int main(int argc, char **argv)
{
    if (argc != 5)
        return fprintf(stderr, "usage: floor RCVBUF BATCH BATCHES PAUSE\n"), 2;
    int batch = atoi(argv[2]), slots = batch * atoi(argv[3]), port;
    long pause = atol(argv[4]) * 1000;
    int fd = bind_any(&port), granted = raise_rcvbuf(fd, atoi(argv[1]));
    if (granted < PAUSE_RCVBUF)
        pause = 0;
    else if (pause > 1e9 * granted / PAUSE_BYTES_PER_SECOND)
        pause = 1e9 * granted / PAUSE_BYTES_PER_SECOND;
    struct mmsghdr *headers = calloc(slots, sizeof *headers);
    struct iovec *parts = calloc(slots, sizeof *parts);
    struct sockaddr_in6 *names = calloc(slots, sizeof *names);
    char *data = calloc(slots, SLOT);
    if (batch < 1 || slots < 1 || !headers || !parts || !names || !data)
        fail("room for datagrams");
    for (int i = 0; i < slots; i++) {
        parts[i] = (struct iovec){data + (size_t)i * SLOT, SLOT};
        headers[i].msg_hdr.msg_iov = &parts[i];
        headers[i].msg_hdr.msg_iovlen = 1;
        headers[i].msg_hdr.msg_name = &names[i];
    }
    struct sigaction action = {.sa_handler = end};
    sigaction(SIGTERM, &action, NULL);
    alarm(SECONDS);
    printf("%d %d\n", port, granted);
    fflush(stdout);

    uint64_t total = 0;
    while (!ended) {
        struct pollfd ready = {fd, POLLIN, 0};
        /* With a timeout, because a signal may arrive just before. */
        if (poll(&ready, 1, 1000) <= 0)
            continue;
        int count = 0;
        while (count < slots) {
            for (int i = count; i < count + batch; i++)
                headers[i].msg_hdr.msg_namelen = sizeof *names;
            int got = recvmmsg(fd, headers + count, batch, MSG_DONTWAIT, NULL);
            if (got > 0)
                count += got;
            if (got < batch)
                break;
        }
        total += count;
        if (pause && count > 1 && count < slots)
            nanosleep(&(struct timespec){.tv_nsec = pause}, NULL);
    }
    uint32_t info[9] = {0};
    socklen_t length = sizeof info;
    getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info, &length);
    printf("%llu %u\n", (unsigned long long)total, info[8]);
    return 0;
}
