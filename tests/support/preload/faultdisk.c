/* A disk that fails, for tests: LD_PRELOAD it into a process.
 *
 * FAULTDISK_DIR: files below that folder are concerned, others never.
 * FAULTDISK_CONTROL: a file of lines "CALLS ERROR", read again whenever it has changed (its size or time):
 * CALLS is write (also pwrite, writev, ftruncate), sync (fsync, fdatasync, sync_file_range), open (for
 * writing, mkdir, rename, unlink) or read (also pread); ERROR is EIO, ENOSPC, EROFS or EDQUOT, or "hang MS"
 * as in "sync hang 5000". An empty file heals the disk. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

enum call { WRITE, SYNC, OPEN, READ, CALLS };
static const char *const call_names[CALLS] = {"write", "sync", "open", "read"};
static _Atomic int fails[CALLS], hangs_ms[CALLS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct timespec last_time;
static off_t last_size = -1;

static int error_number(const char *name)
{
    return strcmp(name, "EIO") == 0      ? EIO
           : strcmp(name, "ENOSPC") == 0 ? ENOSPC
           : strcmp(name, "EROFS") == 0  ? EROFS
           : strcmp(name, "EDQUOT") == 0 ? EDQUOT
                                         : 0;
}

static void parse(char *text)
{
    for (int i = 0; i < CALLS; i++)
        fails[i] = hangs_ms[i] = 0;
    char *save = NULL;
    for (char *l = strtok_r(text, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
        char call[16], how[16];
        int ms = 0, n = sscanf(l, "%15s %15s %d", call, how, &ms);
        for (int i = 0; n >= 2 && i < CALLS; i++) {
            if (strcmp(call, call_names[i]) == 0) {
                fails[i] = error_number(how);
                hangs_ms[i] = strcmp(how, "hang") == 0 ? ms : 0;
            }
        }
    }
}

static void refresh(void)
{
    const char *path = getenv("FAULTDISK_CONTROL");
    struct stat st;
    if (!path || stat(path, &st) != 0)
        return;
    pthread_mutex_lock(&lock);
    if (st.st_size != last_size || memcmp(&st.st_mtim, &last_time, sizeof last_time) != 0) {
        char text[1024];
        int fd = REAL(open)(path, O_RDONLY | O_CLOEXEC);
        ssize_t n = fd < 0 ? 0 : REAL(read)(fd, text, sizeof text - 1);
        if (fd >= 0)
            close(fd);
        text[n > 0 ? n : 0] = '\0';
        parse(text);
        last_size = st.st_size;
        last_time = st.st_mtim;
    }
    pthread_mutex_unlock(&lock);
}

static bool ours(const char *path)
{
    const char *dir = getenv("FAULTDISK_DIR");
    return dir && strncmp(path, dir, strlen(dir)) == 0;
}

static bool our_fd(int fd)
{
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n <= 0)
        return false;
    path[n] = '\0';
    return ours(path);
}

/* True: the call fails, errno is set. */
static bool harm(enum call call)
{
    if (hangs_ms[call]) {
        struct timespec t = {.tv_sec = hangs_ms[call] / 1000,
                             .tv_nsec = (long)(hangs_ms[call] % 1000) * 1000000};
        nanosleep(&t, NULL);
    }
    if (fails[call])
        errno = fails[call];
    return fails[call] != 0;
}

static bool wanted(enum call call)
{
    refresh();
    return fails[call] || hangs_ms[call];
}

static bool harm_fd(enum call call, int fd)
{
    return wanted(call) && our_fd(fd) && harm(call);
}

static bool harm_path(const char *path)
{
    return wanted(OPEN) && ours(path) && harm(OPEN);
}

EXPORT ssize_t write(int fd, const void *p, size_t n)
{
    return harm_fd(WRITE, fd) ? -1 : REAL(write)(fd, p, n);
}
EXPORT ssize_t pwrite(int fd, const void *p, size_t n, off_t at)
{
    return harm_fd(WRITE, fd) ? -1 : REAL(pwrite)(fd, p, n, at);
}
EXPORT ssize_t pwrite64(int fd, const void *p, size_t n, off64_t at)
{
    return harm_fd(WRITE, fd) ? -1 : REAL(pwrite64)(fd, p, n, at);
}
EXPORT ssize_t writev(int fd, const struct iovec *v, int n)
{
    return harm_fd(WRITE, fd) ? -1 : REAL(writev)(fd, v, n);
}
EXPORT int ftruncate(int fd, off_t n)
{
    return harm_fd(WRITE, fd) ? -1 : REAL(ftruncate)(fd, n);
}
EXPORT int ftruncate64(int fd, off64_t n)
{
    return harm_fd(WRITE, fd) ? -1 : REAL(ftruncate64)(fd, n);
}
EXPORT int fsync(int fd)
{
    return harm_fd(SYNC, fd) ? -1 : REAL(fsync)(fd);
}
EXPORT int fdatasync(int fd)
{
    return harm_fd(SYNC, fd) ? -1 : REAL(fdatasync)(fd);
}
EXPORT int sync_file_range(int fd, off64_t from, off64_t n, unsigned flags)
{
    /* Without flags it does nothing and cannot fail. */
    return flags && harm_fd(SYNC, fd) ? -1 : REAL(sync_file_range)(fd, from, n, flags);
}
EXPORT ssize_t read(int fd, void *p, size_t n)
{
    return harm_fd(READ, fd) ? -1 : REAL(read)(fd, p, n);
}
EXPORT ssize_t pread(int fd, void *p, size_t n, off_t at)
{
    return harm_fd(READ, fd) ? -1 : REAL(pread)(fd, p, n, at);
}
EXPORT ssize_t pread64(int fd, void *p, size_t n, off64_t at)
{
    return harm_fd(READ, fd) ? -1 : REAL(pread64)(fd, p, n, at);
}
EXPORT int mkdir(const char *path, mode_t mode)
{
    return harm_path(path) ? -1 : REAL(mkdir)(path, mode);
}
EXPORT int rename(const char *from, const char *to)
{
    return harm_path(to) ? -1 : REAL(rename)(from, to);
}
EXPORT int unlink(const char *path)
{
    return harm_path(path) ? -1 : REAL(unlink)(path);
}

static bool writes(int flags)
{
    return (flags & O_ACCMODE) != O_RDONLY || (flags & O_CREAT);
}

EXPORT int open(const char *path, int flags, ...)
{
    va_list ap;
    va_start(ap, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(ap, mode_t) : 0;
    va_end(ap);
    return writes(flags) && harm_path(path) ? -1 : REAL(open)(path, flags, mode);
}
EXPORT int open64(const char *path, int flags, ...)
{
    va_list ap;
    va_start(ap, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(ap, mode_t) : 0;
    va_end(ap);
    return writes(flags) && harm_path(path) ? -1 : REAL(open64)(path, flags, mode);
}
