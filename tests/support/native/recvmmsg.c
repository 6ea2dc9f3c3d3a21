/* In place of recvmmsg(2), preloaded: a call fails with the next error of a script; 0 is a real call, and so is each
   behind its end. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <sys/socket.h>

static int errors[64];
static int length, place;

void script(const int *wanted, int count)
{
    place = 0;
    for (length = 0; length < count && length < 64; length++)
        errors[length] = wanted[length];
}

int recvmmsg(int fd, struct mmsghdr *messages, unsigned int count, int flags, struct timespec *timeout)
{
    int (*real)(int, struct mmsghdr *, unsigned int, int, struct timespec *) = dlsym(RTLD_NEXT, "recvmmsg");
    if (place < length && errors[place++]) {
        errno = errors[place - 1];
        return -1;
    }
    return real(fd, messages, count, flags, timeout);
}
