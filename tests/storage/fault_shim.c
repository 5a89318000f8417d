/* Stands between a process and the C library, and lets one call on the store's files go wrong.
 *
 * fault_arm(at, kind) counts calls on files whose path holds "ledger.sqlite" from then on, and has
 * the at-th fail; fault_fired() says whether it came to that. With fault_trace(fd) every change is
 * written down instead, so that a test can make the disks that a power cut may leave behind.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

enum kind { NONE, KILL, TORN, EIO_ONCE, ENOSPC_ONCE, SHORT, FULL };

static int armed_at, seen, kind, fired, trace_fd = -1;

void fault_arm(int at, int what) { armed_at = at; kind = what; seen = 0; if (at) fired = 0; }
int fault_fired(void) { return fired; }

#define REAL(name, ...) \
    static __typeof__(name) *real; \
    if (!real) real = dlsym(RTLD_NEXT, #name);

static ssize_t real_write(int fd, const void *data, size_t size) {
    REAL(write);
    return real(fd, data, size);
}

void fault_trace(int fd) { trace_fd = fd; }

static void note(char op, const char *path, long long offset, const void *data, size_t size) {
    char head[512];
    int length;
    if (trace_fd < 0) return;
    length = snprintf(head, sizeof head, "%c %s %lld %zu\n", op, path, offset, size);
    real_write(trace_fd, head, length);
    if (size && data) real_write(trace_fd, data, size);
}

void fault_mark(int number) { note('k', "-", number, NULL, 0); }

static int is_ours(const char *path) {
    const char *name = path ? strstr(path, "ledger.sqlite") : NULL;
    return name && !strstr(name, "-shm");
}

/* The file's name within its folder, or NULL for a file that is not the store's. */
static const char *name_of(int fd, char *room, size_t size) {
    char link[64];
    ssize_t length;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    length = readlink(link, room, size - 1);
    if (length < 0) return NULL;
    room[length] = 0;
    return is_ours(room) ? strstr(room, "ledger.sqlite") : NULL;
}

/* Returns the kind of fault that this call has to suffer. */
static int strike(void) {
    if (!armed_at) return NONE;
    seen++;
    if (kind == FULL ? seen < armed_at : seen != armed_at) return NONE;
    fired = 1;
    if (kind == KILL) kill(getpid(), SIGKILL);
    return kind;
}

static int fails(int fault, int is_write) {
    if (fault == EIO_ONCE) { errno = EIO; return 1; }
    if ((fault == ENOSPC_ONCE || fault == FULL) && is_write) { errno = ENOSPC; return 1; }
    return 0;
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) {
    char room[4096];
    const char *name = name_of(fd, room, sizeof room);
    int fault = name ? strike() : NONE;
    ssize_t done;
    REAL(pwrite64);
    if (fails(fault, 1)) return -1;
    if (fault == SHORT && size > 1) size /= 2;
    if (fault == TORN) {
        real(fd, data, size / 2, offset);
        kill(getpid(), SIGKILL);
    }
    done = real(fd, data, size, offset);
    if (name && done > 0) note('w', name, offset, data, done);
    return done;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) {
    return pwrite64(fd, data, size, offset);
}

ssize_t write(int fd, const void *data, size_t size) {
    char room[4096];
    const char *name = fd == trace_fd ? NULL : name_of(fd, room, sizeof room);
    long long offset = name ? lseek(fd, 0, SEEK_CUR) : 0;
    int fault = name ? strike() : NONE;
    ssize_t done;
    if (fails(fault, 1)) return -1;
    if (fault == SHORT && size > 1) size /= 2;
    if (fault == TORN) {
        real_write(fd, data, size / 2);
        kill(getpid(), SIGKILL);
    }
    done = real_write(fd, data, size);
    if (name && done > 0) note('w', name, offset, data, done);
    return done;
}

ssize_t pread64(int fd, void *data, size_t size, off64_t offset) {
    char room[4096];
    int fault = name_of(fd, room, sizeof room) ? strike() : NONE;
    REAL(pread64);
    if (fault == TORN) kill(getpid(), SIGKILL);
    if (fails(fault, 0)) return -1;
    return real(fd, data, size, offset);
}

ssize_t pread(int fd, void *data, size_t size, off_t offset) {
    return pread64(fd, data, size, offset);
}

#define SYNC(name) \
    int name(int fd) { \
        char room[4096]; \
        const char *found = name_of(fd, room, sizeof room); \
        int fault = found ? strike() : NONE; \
        int done; \
        REAL(name); \
        if (fault == TORN) kill(getpid(), SIGKILL); \
        if (fails(fault, 1)) return -1; \
        done = real(fd); \
        if (found && done == 0) note('s', found, 0, NULL, 0); \
        return done; \
    }
SYNC(fsync)
SYNC(fdatasync)

int ftruncate64(int fd, off64_t size) {
    char room[4096];
    const char *name = name_of(fd, room, sizeof room);
    int fault = name ? strike() : NONE;
    int done;
    REAL(ftruncate64);
    if (fault == TORN) kill(getpid(), SIGKILL);
    if (fails(fault, 1)) return -1;
    done = real(fd, size);
    if (name && done == 0) note('t', name, size, NULL, 0);
    return done;
}

int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

int unlink(const char *path) {
    int fault = is_ours(path) ? strike() : NONE;
    int done;
    REAL(unlink);
    if (fault == TORN) kill(getpid(), SIGKILL);
    if (fails(fault, 0)) return -1;
    done = real(path);
    if (is_ours(path) && done == 0) note('u', strstr(path, "ledger.sqlite"), 0, NULL, 0);
    return done;
}

int rename(const char *from, const char *to) {
    int fault = is_ours(to) ? strike() : NONE;
    int done;
    REAL(rename);
    if (fault == TORN) kill(getpid(), SIGKILL);
    if (fails(fault, 1)) return -1;
    done = real(from, to);
    if (is_ours(to) && done == 0) note('r', strstr(from, "ledger.sqlite"), 0, NULL, 0);
    return done;
}

int open64(const char *path, int flags, ...) {
    int fault = is_ours(path) ? strike() : NONE;
    mode_t mode = 0;
    va_list more;
    REAL(open64);
    va_start(more, flags);
    if (flags & O_CREAT) mode = va_arg(more, mode_t);
    va_end(more);
    if (fault == TORN) kill(getpid(), SIGKILL);
    if (fails(fault, flags & O_CREAT)) return -1;
    return real(path, flags, mode);
}

int open(const char *path, int flags, ...) {
    mode_t mode = 0;
    va_list more;
    va_start(more, flags);
    if (flags & O_CREAT) mode = va_arg(more, mode_t);
    va_end(more);
    return open64(path, flags, mode);
}
