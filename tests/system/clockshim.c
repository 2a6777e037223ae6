/* A wall clock of its own for one program, and for all that it starts: preload it.

   The file that the environment variable CLOCKSHIM names holds two 64-bit numbers: by how many nanoseconds the wall
   clock is off, and what the kernel knows of it (see the enum). Steady clocks stay as they are. A write to the file is
   a step of the clock: like the kernel, this then cancels the timer that asked to be told (TFD_TIMER_CANCEL_ON_SET). A
   change through a mapping of the file is none, as when NTP finds that the clock is right. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

enum { UNKNOWN = 0, RIGHT = 1, MAY_NOT_BE_ASKED = 2 };

struct control {
    int64_t off_ns;
    int64_t state;
};

static const char *path;
static volatile struct control *control;
static int told = -1;

__attribute__((constructor)) static void begin(void) {
    path = getenv("CLOCKSHIM");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0)
        return;
    void *mapped = mmap(NULL, sizeof(struct control), PROT_READ, MAP_SHARED, file, 0);
    if (mapped != MAP_FAILED)
        control = mapped;
    close(file);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = (int)syscall(SYS_clock_gettime, clock, now);
    if (result == 0 && control && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        int64_t all = (int64_t)now->tv_sec * 1000000000 + now->tv_nsec + control->off_ns;
        now->tv_sec = all / 1000000000;
        now->tv_nsec = all % 1000000000;
    }
    return result;
}

time_t time(time_t *out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out)
        *out = now.tv_sec;
    return now.tv_sec;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone) {
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    out->tv_sec = now.tv_sec;
    out->tv_usec = now.tv_nsec / 1000;
    return 0;
}

int adjtimex(struct timex *out) {
    if (control && control->state == MAY_NOT_BE_ASKED) {
        errno = EPERM;
        return -1;
    }
    int right = control && control->state == RIGHT;
    out->maxerror = right ? 1000 : 16000000;
    return right ? TIME_OK : TIME_ERROR;
}

int timerfd_create(int clock, int flags) {
    if (clock != CLOCK_REALTIME || !control)
        return (int)syscall(SYS_timerfd_create, clock, flags);
    told = (int)syscall(SYS_inotify_init1, flags); /* the flags are those of open(2) in both */
    if (told >= 0)
        syscall(SYS_inotify_add_watch, told, path, IN_MODIFY);
    return told;
}

int timerfd_settime(int file, int flags, const struct itimerspec *when, struct itimerspec *before) {
    if (file == told && told >= 0) {
        if (flags == (TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET))
            return 0;
        errno = EINVAL;
        return -1;
    }
    return (int)syscall(SYS_timerfd_settime, file, flags, when, before);
}

ssize_t read(int file, void *into, size_t most) {
    if (file != told || told < 0)
        return syscall(SYS_read, file, into, most);
    char events[4096];
    if (syscall(SYS_read, file, events, sizeof events) >= 0)
        errno = ECANCELED;
    return -1;
}

int close(int file) {
    if (file == told)
        told = -1;
    return (int)syscall(SYS_close, file);
}
