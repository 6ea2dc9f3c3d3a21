/* In place of the system's clock, preloaded: it is as many seconds ahead as the file says that STEP_FILE names. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static volatile const long long *step;

__attribute__((constructor)) static void open_step(void)
{
    const char *path = getenv("STEP_FILE");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *mapped;

    if (fd < 0)
        return;
    mapped = mmap(NULL, sizeof(*step), PROT_READ, MAP_SHARED, fd, 0);
    if (mapped != MAP_FAILED)
        step = mapped;
    close(fd);
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int result = syscall(SYS_clock_gettime, clock, now);

    if (result == 0 && clock == CLOCK_REALTIME && step)
        now->tv_sec += *step;
    return result;
}
