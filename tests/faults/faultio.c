/* A library to be preloaded: it notes what a process does to the files below one folder, and makes calls fail.
 *
 * Nothing happens until faultio_start() or faultio_fail() is called, by ctypes, in the process itself. The notes are
 * records of a fixed header and data, see writelog.py. Writes to the mark descriptor are noted too: so the notes tell
 * what had been promised at any moment.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { OPEN = 1, WRITE, TRUNCATE, SYNC, SYNC_FAILED, UNLINK, RENAME, MARK, SYNC_FOLDER, LINK };
enum { SHORT = -1, GARBAGE = -2 };
enum { MOST = 1024, NAME = 512, FOLDER = 1 };

struct header {
    uint8_t op;
    uint32_t file;
    uint64_t offset;
    uint32_t length;
} __attribute__((packed));

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int notes = -1, marks = -1, without_sync;
static char folder[NAME];
static uint32_t inodes[MOST]; /* by descriptor; 0: not of interest */
static char names[MOST][NAME];

static char fail_op[16], fail_match[NAME];
static int fail_error;
static long fail_at, fail_count, fail_seen;

static void note(uint8_t op, uint32_t file, uint64_t offset, uint32_t length, const void *data) {
    if (notes < 0)
        return;
    struct header head = {op, file, offset, length};
    char *record = malloc(sizeof head + length);
    memcpy(record, &head, sizeof head);
    if (length)
        memcpy(record + sizeof head, data, length);
    pthread_mutex_lock(&lock);
    syscall(SYS_write, notes, record, sizeof head + length);
    pthread_mutex_unlock(&lock);
    free(record);
}

static int below(const char *path) { return folder[0] && strncmp(path, folder, strlen(folder)) == 0; }
static int watched(int fd) { return fd >= 0 && fd < MOST && inodes[fd] > FOLDER; }

/* 0: go on; 1: fail with errno set; below zero: SHORT or GARBAGE */
static int fails(const char *op, const char *name) {
    if (!fail_op[0] || strcmp(op, fail_op) || !strstr(name, fail_match))
        return 0;
    long seen = __sync_add_and_fetch(&fail_seen, 1);
    if (seen < fail_at || (fail_count && seen >= fail_at + fail_count))
        return 0;
    if (fail_error < 0)
        return fail_error;
    errno = fail_error;
    return 1;
}

/* Begin to watch `dir`. `path` of the notes may be empty: then calls only fail, and none is noted. */
void faultio_start(const char *path, const char *dir, int mark_fd, int nosync) {
    snprintf(folder, sizeof folder, "%s", dir);
    if (path[0])
        notes = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    marks = mark_fd;
    without_sync = nosync;
}

/* Let calls of kind `op` (open, read, write, sync) on files whose name holds `match` fail: from the `at`-th on,
 * `count` of them, 0 for all. `error` is an errno, or SHORT or GARBAGE. An empty `op` ends it. */
void faultio_fail(const char *op, const char *match, int error, long at, long count) {
    fail_op[0] = 0;
    snprintf(fail_match, sizeof fail_match, "%s", match);
    fail_error = error, fail_at = at, fail_count = count, fail_seen = 0;
    snprintf(fail_op, sizeof fail_op, "%s", op);
}

long faultio_seen(void) { return fail_seen; }

static int opened(int fd, const char *path, int flags) {
    struct stat status;
    if (fd < 0 || fd >= MOST)
        return fd;
    inodes[fd] = 0;
    if (!below(path) || fstat(fd, &status))
        return fd;
    snprintf(names[fd], NAME, "%s", path);
    if (S_ISDIR(status.st_mode)) {
        inodes[fd] = FOLDER;
        return fd;
    }
    inodes[fd] = (uint32_t)status.st_ino;
    note(OPEN, inodes[fd], (uint64_t)flags, strlen(path), path);
    return fd;
}

static int do_open(int at, const char *path, int flags, mode_t mode) {
    if (below(path) && fails("open", path) > 0)
        return -1;
    return opened(syscall(SYS_openat, at, path, flags, mode), path, flags);
}

#define MODE(flags)                                                                                                    \
    mode_t mode = 0;                                                                                                   \
    if ((flags) & (O_CREAT | O_TMPFILE)) {                                                                             \
        va_list rest;                                                                                                  \
        va_start(rest, flags);                                                                                         \
        mode = va_arg(rest, mode_t);                                                                                   \
        va_end(rest);                                                                                                  \
    }
int open(const char *path, int flags, ...) {
    MODE(flags)
    return do_open(AT_FDCWD, path, flags, mode);
}
int open64(const char *path, int flags, ...) {
    MODE(flags)
    return do_open(AT_FDCWD, path, flags, mode);
}
int openat(int at, const char *path, int flags, ...) {
    MODE(flags)
    return do_open(at, path, flags, mode);
}
int openat64(int at, const char *path, int flags, ...) {
    MODE(flags)
    return do_open(at, path, flags, mode);
}
int __open_2(const char *path, int flags) { return do_open(AT_FDCWD, path, flags, 0); }
int __open64_2(const char *path, int flags) { return do_open(AT_FDCWD, path, flags, 0); }

int close(int fd) {
    if (fd >= 0 && fd < MOST)
        inodes[fd] = 0;
    return syscall(SYS_close, fd);
}

static ssize_t do_pwrite(int fd, const void *data, size_t size, off_t offset) {
    if (watched(fd)) {
        int fault = fails("write", names[fd]);
        if (fault > 0)
            return -1;
        if (fault == SHORT)
            size = size / 2 ? size / 2 : 1;
    }
    ssize_t done = syscall(SYS_pwrite64, fd, data, size, offset);
    if (done > 0 && watched(fd))
        note(WRITE, inodes[fd], offset, done, data);
    return done;
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) { return do_pwrite(fd, data, size, offset); }
ssize_t pwrite64(int fd, const void *data, size_t size, off_t offset) { return do_pwrite(fd, data, size, offset); }

ssize_t write(int fd, const void *data, size_t size) {
    if (watched(fd)) {
        struct stat status;
        off_t offset = lseek(fd, 0, SEEK_CUR);
        if (fcntl(fd, F_GETFL) & O_APPEND && !fstat(fd, &status))
            offset = status.st_size;
        int fault = fails("write", names[fd]);
        if (fault > 0)
            return -1;
        if (fault == SHORT)
            size = size / 2 ? size / 2 : 1;
        ssize_t done = syscall(SYS_write, fd, data, size);
        if (done > 0)
            note(WRITE, inodes[fd], offset, done, data);
        return done;
    }
    if (fd == marks && marks >= 0)
        note(MARK, 0, 0, size, data);
    return syscall(SYS_write, fd, data, size);
}

static ssize_t do_pread(int fd, void *data, size_t size, off_t offset) {
    int fault = watched(fd) ? fails("read", names[fd]) : 0;
    if (fault > 0)
        return -1;
    ssize_t done = syscall(SYS_pread64, fd, data, size, offset);
    if (fault == GARBAGE && done > 0)
        memset(data, 0xa5, done);
    if (fault == SHORT && done > 1)
        done /= 2;
    return done;
}
ssize_t pread(int fd, void *data, size_t size, off_t offset) { return do_pread(fd, data, size, offset); }
ssize_t pread64(int fd, void *data, size_t size, off_t offset) { return do_pread(fd, data, size, offset); }
ssize_t __pread64_chk(int fd, void *data, size_t size, off_t offset, size_t room) {
    if (size > room)
        abort();
    return do_pread(fd, data, size, offset);
}

static int do_truncate(int fd, off_t length) {
    if (watched(fd) && fails("write", names[fd]) > 0)
        return -1;
    int failed = syscall(SYS_ftruncate, fd, length);
    if (!failed && watched(fd))
        note(TRUNCATE, inodes[fd], length, 0, 0);
    return failed;
}
int ftruncate(int fd, off_t length) { return do_truncate(fd, length); }
int ftruncate64(int fd, off_t length) { return do_truncate(fd, length); }

static int do_sync(int fd, long call) {
    if (watched(fd) && fails("sync", names[fd]) > 0) {
        int error = errno;
        note(SYNC_FAILED, inodes[fd], 0, 0, 0);
        errno = error;
        return -1;
    }
    int failed = without_sync ? 0 : syscall(call, fd);
    if (!failed && fd >= 0 && fd < MOST && inodes[fd]) {
        if (inodes[fd] == FOLDER)
            note(SYNC_FOLDER, 0, 0, strlen(names[fd]), names[fd]);
        else
            note(SYNC, inodes[fd], 0, 0, 0);
    }
    return failed;
}
int fsync(int fd) { return do_sync(fd, SYS_fsync); }
int fdatasync(int fd) { return do_sync(fd, SYS_fdatasync); }

int unlink(const char *path) {
    int failed = syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    if (!failed && below(path))
        note(UNLINK, 0, 0, strlen(path), path);
    return failed;
}

static int two_names(int op, int failed, const char *from, const char *to) {
    if (!failed && (below(from) || below(to))) {
        char both[2 * PATH_MAX];
        int length = snprintf(both, sizeof both, "%s%c%s", from, 0, to);
        note(op, 0, 0, length, both);
    }
    return failed;
}

int rename(const char *from, const char *to) {
    return two_names(RENAME, syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0), from, to);
}

int link(const char *from, const char *to) {
    return two_names(LINK, syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0), from, to);
}
