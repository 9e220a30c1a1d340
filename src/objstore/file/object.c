/* PUT, GET, HEAD and DELETE on a driver thread. */
#include "file_int.h"

#include <errno.h>
#include <fcntl.h>
#include <floe/base/crc32c.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define LOCK_FILES 1024
#define PLACE_TRIES 8 /* a folder may be removed as empty between its making and its use */

enum floe_err file_error(struct file_op *op, int e, const char *what, const char *key)
{
    enum floe_err code = FLOE_EIO;
    switch (e) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG: /* a limit of the process or the file system */
        code = FLOE_ENOSPACE;
        break;
    case EACCES:
    case EPERM:
    case EROFS:
        code = FLOE_EDENIED;
        break;
    case ENOENT:
        code = FLOE_ENOTFOUND;
        break;
    case EEXIST:
        code = FLOE_EEXISTS;
        break;
    case EBADMSG:
        code = FLOE_ECORRUPT;
        break;
    case ENAMETOOLONG:
        code = FLOE_EINVAL;
        break;
    case ENOMEM:
        code = FLOE_ENOMEM;
        break;
    case EMFILE:
    case ENFILE:
    case EAGAIN:
    case EINTR:
        code = FLOE_EUNAVAILABLE;
        break;
    default:
        break;
    }
    if (e == EBADMSG)
        return floe_error_set(&op->err, code, "%s: object \"%s\" is damaged: %s", op->s->base.url, key, what);
    return floe_error_set(&op->err, code, "%s: object \"%s\": %s: %s", op->s->base.url, key, what,
                          strerror(e));
}

static bool path_of(struct file_op *op, const char *key, char path[FILE_PATH_MAX], size_t *dir_n)
{
    if (file_path(path, dir_n, key))
        return true;
    floe_error_set(&op->err, FLOE_EINVAL, "%s: \"%s\" is not a valid key: a component is too long",
                   op->s->base.url, key);
    return false;
}

static int pread_all(int fd, void *p, size_t n, uint64_t at)
{
    uint8_t *to = p;
    while (n > 0) {
        ssize_t r = pread(fd, to, n, (off_t)at);
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return errno;
        if (r == 0)
            return EBADMSG;
        to += r;
        n -= (size_t)r;
        at += (uint64_t)r;
    }
    return 0;
}

int file_open_object(struct file_store *s, const char *path, struct file_trailer *t, int *e)
{
    uint8_t raw[FILE_TRAILER];
    struct stat st;
    int fd = openat(s->root_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        *e = errno == ENOTDIR ? ENOENT : errno;
        return -1;
    }
    if (fstat(fd, &st) != 0)
        *e = errno;
    else if (!S_ISREG(st.st_mode) || st.st_size < FILE_TRAILER)
        *e = EBADMSG;
    else
        *e = pread_all(fd, raw, sizeof raw, (uint64_t)st.st_size - FILE_TRAILER);
    if (*e == 0 && !file_trailer_decode(t, raw, (uint64_t)st.st_size))
        *e = EBADMSG;
    if (*e == 0)
        return fd;
    close(fd);
    return -1;
}

/* ---- PUT ---- */

static int write_all(int fd, const struct floe_bufslice *slices, uint32_t count)
{
    struct iovec iov[64];
    uint32_t next = 0;
    int n = 0;
    for (;;) {
        for (; n < (int)FLOE_COUNTOF(iov) && next < count; next++) {
            if (slices[next].n > 0)
                iov[n++] = (struct iovec){(void *)(uintptr_t)slices[next].p, slices[next].n};
        }
        if (n == 0)
            return 0;
        ssize_t w = writev(fd, iov, n);
        if (w < 0 && errno == EINTR)
            continue;
        if (w < 0)
            return errno;
        int whole = 0;
        while (whole < n && (size_t)w >= iov[whole].iov_len)
            w -= (ssize_t)iov[whole++].iov_len;
        memmove(iov, iov + whole, (size_t)(n - whole) * sizeof *iov);
        n -= whole;
        if (n > 0) {
            iov[0].iov_base = (char *)iov[0].iov_base + w;
            iov[0].iov_len -= (size_t)w;
        }
    }
}

/* Writes body and trailer into a new temporary file and fsyncs it. */
static int write_tmp(struct file_op *op, char tmp[64], struct file_trailer *t, const char **what)
{
    struct file_store *s = op->s;
    uint8_t raw[FILE_TRAILER];
    *t = (struct file_trailer){.body_n = op->body.n};
    for (uint32_t i = 0; i < op->body.count; i++)
        t->body_crc = floe_crc32c(t->body_crc, op->body.slices[i].p, op->body.slices[i].n);
    memcpy(t->random, op->random, sizeof t->random);
    memcpy(t->nonce, op->nonce, sizeof t->nonce);
    file_trailer_encode(raw, t);
    snprintf(tmp, 64, "tmp/%s-%llu", s->tmp_id, (unsigned long long)atomic_fetch_add(&s->tmp_seq, 1));
    *what = "creating a temporary file";
    int fd = openat(s->root_fd, tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0)
        return errno;
    *what = "writing";
    struct floe_bufslice trailer = {.p = raw, .n = sizeof raw};
    int e = write_all(fd, op->body.slices, op->body.count);
    if (e == 0)
        e = write_all(fd, &trailer, 1);
    if (e == 0 && s->dirs.fsync && fdatasync(fd) != 0)
        e = errno;
    if (close(fd) != 0 && e == 0)
        e = errno;
    if (e != 0)
        unlinkat(s->root_fd, tmp, 0);
    return e;
}

/* The lock file of a key, exclusively; -1 and an errno. Polls, so that a stopped process that holds it cannot
 * hold this thread for longer than the request may take. */
static int lock_key(struct file_op *op, const char *key, int *e)
{
    char name[32];
    snprintf(name, sizeof name, "locks/%03x", (unsigned)(floe_hash64(key, strlen(key), 0) % LOCK_FILES));
    int fd = openat(op->s->root_fd, name, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) {
        *e = errno;
        return -1;
    }
    struct timespec nap = {.tv_nsec = 100 * 1000};
    for (uint64_t waited_us = 0;; waited_us += (uint64_t)nap.tv_nsec / 1000) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0)
            return fd;
        *e = errno == EWOULDBLOCK ? EAGAIN : errno;
        if ((*e != EAGAIN && *e != EINTR) || waited_us > op->timeout_us)
            break;
        /* lint: nanosleep flock(2) has no deadline, and this is a driver's thread */
        nanosleep(&nap, NULL);
        nap.tv_nsec = FLOE_MIN(nap.tv_nsec * 2, 10 * 1000 * 1000);
    }
    close(fd);
    return -1;
}

/* An I/O error from link or rename leaves open whether the name changed. */
static enum floe_err place_error(struct file_op *op, int e, const char *what)
{
    file_error(op, e, what, op->key);
    if (op->err.code == FLOE_EIO)
        op->err.code = FLOE_EINDETERMINATE;
    return op->err.code;
}

/* Moves the temporary file over the key, where the condition holds. The lock is held for a read and a rename
 * only: data was fsynced before, the folder is fsynced after. */
static enum floe_err swap(struct file_op *op, const char *tmp, const char *path)
{
    struct file_trailer old;
    char version[FLOE_STORE_VERSION_MAX];
    enum floe_err rc = FLOE_OK;
    int e = 0, lock = lock_key(op, op->key, &e);
    if (lock < 0)
        return file_error(op, e, "taking the lock file", op->key);
    if (op->cond == FLOE_PUT_REPLACE) {
        int fd = file_open_object(op->s, path, &old, &e);
        if (fd < 0) {
            rc = e == ENOENT ? floe_error_set(&op->err, FLOE_ECONFLICT, "%s: object \"%s\" is not there",
                                              op->s->base.url, op->key)
                             : file_error(op, e, "reading its version", op->key);
            goto out;
        }
        close(fd);
        file_version(version, &old);
        if (strcmp(version, op->if_version) != 0) {
            rc = floe_error_set(&op->err, FLOE_ECONFLICT, "%s: object \"%s\" has another version",
                                op->s->base.url, op->key);
            goto out;
        }
    }
    if (renameat(op->s->root_fd, tmp, op->s->root_fd, path) != 0)
        rc = place_error(op, errno, "rename");
out:
    close(lock);
    return rc;
}

static enum floe_err place(struct file_op *op, const char *tmp, const char *path)
{
    if (op->cond != FLOE_PUT_CREATE)
        return swap(op, tmp, path);
    if (linkat(op->s->root_fd, tmp, op->s->root_fd, path, 0) != 0)
        return place_error(op, errno, "link");
    return FLOE_OK;
}

void file_put(struct file_op *op)
{
    char path[FILE_PATH_MAX], dir[FILE_PATH_MAX], tmp[64];
    const char *what = "";
    struct file_trailer t;
    size_t dir_n;
    if (!path_of(op, op->key, path, &dir_n))
        return;
    memcpy(dir, path, dir_n);
    dir[dir_n] = '\0';
    int e = write_tmp(op, tmp, &t, &what);
    if (e != 0) {
        file_error(op, e, what, op->key);
        return;
    }
    for (int tries = 0; tries < PLACE_TRIES; tries++) {
        /* A replace makes no folder: where there is none, there is nothing to replace. */
        e = op->cond == FLOE_PUT_REPLACE ? 0 : file_dirs_ensure(&op->s->dirs, dir, tries > 0);
        if (e == ENOENT && tries + 1 < PLACE_TRIES)
            continue;
        if (e != 0) {
            file_error(op, e, "making its folder", op->key);
            break;
        }
        op->err = (struct floe_error){0};
        struct dir *placing = file_dirs_placing(&op->s->dirs, dir);
        enum floe_err rc = place(op, tmp, path);
        file_dirs_placed(&op->s->dirs, placing, rc == FLOE_OK || rc == FLOE_EINDETERMINATE);
        if (rc != FLOE_ENOTFOUND)
            break;
    }
    if (op->err.code != FLOE_OK || op->cond == FLOE_PUT_CREATE)
        unlinkat(op->s->root_fd, tmp, 0);
    if (op->err.code != FLOE_OK)
        return;
    e = file_dirs_sync(&op->s->dirs, dir);
    if (e != 0 && e != ENOENT) { /* ENOENT: deleted already, folder and all */
        floe_error_set(&op->err, FLOE_EINDETERMINATE, "%s: object \"%s\": fsync of its folder: %s",
                       op->s->base.url, op->key, strerror(e));
        return;
    }
    file_version(op->version, &t);
}

/* ---- GET, HEAD, DELETE ---- */

static int open_result(struct file_op *op, struct file_trailer *t)
{
    char path[FILE_PATH_MAX];
    size_t dir_n;
    int e = 0;
    if (!path_of(op, op->key, path, &dir_n))
        return -1;
    int fd = file_open_object(op->s, path, t, &e);
    if (fd < 0) {
        if (e == ENOENT)
            floe_error_set(&op->err, FLOE_ENOTFOUND, "%s: object \"%s\" is not there", op->s->base.url,
                           op->key);
        else
            file_error(op, e, e == EBADMSG ? "its trailer is not whole" : "open", op->key);
        return -1;
    }
    return fd;
}

/* Who reads back what it has put takes it for durable, though the put has not been answered, or has failed.
 */
static bool settle(struct file_op *op)
{
    char path[FILE_PATH_MAX];
    size_t dir_n;
    int e = 0;
    if (op->lane != FILE_CONTROL || !path_of(op, op->key, path, &dir_n))
        return op->err.code == FLOE_OK;
    path[dir_n] = '\0';
    e = file_dirs_settle(&op->s->dirs, path);
    if (e != 0)
        file_error(op, e, "fsync of its folder", op->key);
    return e == 0;
}

static void set_head(struct file_op *op, const struct file_trailer *t)
{
    file_version(op->version, t);
    memcpy(op->got_nonce, t->nonce, sizeof op->got_nonce);
    op->size = t->body_n;
}

void file_head(struct file_op *op)
{
    struct file_trailer t;
    int fd = open_result(op, &t);
    if (fd < 0)
        return;
    if (settle(op))
        set_head(op, &t);
    close(fd);
}

void file_get(struct file_op *op)
{
    struct file_trailer t;
    int fd = open_result(op, &t);
    if (fd < 0)
        return;
    if (!settle(op)) {
        close(fd);
        return;
    }
    uint64_t at = (uint64_t)op->offset, back = (uint64_t)-op->offset;
    if (op->offset < 0)
        at = back < t.body_n ? t.body_n - back : 0;
    at = FLOE_MIN(at, t.body_n);
    uint64_t n = FLOE_MIN(op->length, t.body_n - at);
    struct floe_buf *buf = floe_buf_create_forced(n ? n : 1, op->s->base.budget);
    if (!buf) {
        floe_error_set(&op->err, FLOE_ENOMEM, "%s: object \"%s\": no memory for %llu bytes", op->s->base.url,
                       op->key, (unsigned long long)n);
        goto out;
    }
    int e = pread_all(fd, buf->data, n, at);
    if (e == 0 && n == t.body_n && floe_crc32c(0, buf->data, n) != t.body_crc)
        e = EBADMSG;
    if (e != 0) {
        file_error(op, e, e == EBADMSG ? "its bytes fail their checksum" : "read", op->key);
        goto out;
    }
    buf->n = n;
    set_head(op, &t);
    op->data = buf;
    buf = NULL;
out:
    floe_buf_unref(buf);
    close(fd);
}

static enum floe_err delete_one(struct file_op *op, const char *key)
{
    char path[FILE_PATH_MAX];
    size_t dir_n;
    int e = 0;
    if (!path_of(op, key, path, &dir_n))
        return op->err.code;
    int lock = lock_key(op, key, &e);
    if (lock < 0)
        return file_error(op, e, "taking the lock file", key);
    if (unlinkat(op->s->root_fd, path, 0) != 0)
        e = errno;
    close(lock);
    if (e == ENOENT || e == ENOTDIR)
        return FLOE_OK;
    if (e != 0)
        return file_error(op, e, "unlink", key);
    path[dir_n] = '\0';
    e = file_dirs_sync(&op->s->dirs, path);
    if (e == ENOENT)
        return FLOE_OK;
    if (e != 0)
        return floe_error_set(&op->err, FLOE_EINDETERMINATE, "%s: object \"%s\": fsync of its folder: %s",
                              op->s->base.url, key, strerror(e));
    file_dirs_prune(&op->s->dirs, path);
    return FLOE_OK;
}

void file_delete(struct file_op *op)
{
    if (op->key_count == 0) {
        (void)delete_one(op, op->key);
        return;
    }
    for (uint32_t i = 0; i < op->key_count; i++) {
        if (delete_one(op, op->keys[i]) != FLOE_OK)
            return;
    }
}
