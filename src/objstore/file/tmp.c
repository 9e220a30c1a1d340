/* Names for temporary files: DIR/tmp/<16 hex>-<n>, where <16 hex>.lock is held (flock) by the process that
 * writes them. A process that finds such a lock free removes what its dead owner left. */
#include "file_int.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static void remove_of(int tmp_fd, const char *id)
{
    int fd = openat(tmp_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (!d) {
        if (fd >= 0)
            close(fd);
        return;
    }
    for (struct dirent *e = readdir(d); e; e = readdir(d)) {
        if (strncmp(e->d_name, id, 16) == 0 && e->d_name[16] == '-')
            unlinkat(tmp_fd, e->d_name, 0);
    }
    closedir(d);
}

static void sweep(int tmp_fd)
{
    int fd = openat(tmp_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (!d) {
        if (fd >= 0)
            close(fd);
        return;
    }
    for (struct dirent *e = readdir(d); e; e = readdir(d)) {
        if (strlen(e->d_name) != 21 || strcmp(e->d_name + 16, ".lock") != 0)
            continue;
        int lock = openat(tmp_fd, e->d_name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
        if (lock < 0)
            continue;
        if (flock(lock, LOCK_EX | LOCK_NB) == 0) {
            remove_of(tmp_fd, e->d_name);
            unlinkat(tmp_fd, e->d_name, 0);
        }
        close(lock);
    }
    closedir(d);
}

enum floe_err file_tmp_open(struct file_store *s, struct floe_error *err)
{
    enum floe_err rc = FLOE_OK;
    int tmp_fd = openat(s->root_fd, "tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (tmp_fd < 0)
        return floe_error_set(err, FLOE_EIO, "%s: cannot open the folder tmp: %s", s->base.url,
                              strerror(errno));
    sweep(tmp_fd);
    for (int tries = 0; tries < 16; tries++) {
        char name[32];
        uint8_t id[8];
        struct stat st;
        floe_rng_bytes(&s->base.loop->rng, id, sizeof id);
        floe_hex(s->tmp_id, id, sizeof id);
        snprintf(name, sizeof name, "%s.lock", s->tmp_id);
        int fd = openat(tmp_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
        if (fd < 0 && errno == EEXIST)
            continue;
        if (fd < 0) {
            rc = floe_error_set(err, errno == ENOSPC ? FLOE_ENOSPACE : FLOE_EDENIED,
                                "%s: cannot write into the folder tmp: %s", s->base.url, strerror(errno));
            goto out;
        }
        /* A sweeping process may have taken it between the two calls: then it is gone, take another. */
        if (flock(fd, LOCK_EX | LOCK_NB) == 0 && fstat(fd, &st) == 0 && st.st_nlink > 0) {
            s->tmp_lock_fd = fd;
            goto out;
        }
        close(fd);
    }
    rc = floe_error_set(err, FLOE_EIO, "%s: no lock file for temporary files could be taken", s->base.url);
out:
    close(tmp_fd);
    return rc;
}

void file_tmp_close(struct file_store *s)
{
    char name[64];
    if (s->tmp_lock_fd < 0)
        return;
    snprintf(name, sizeof name, "tmp/%s.lock", s->tmp_id);
    unlinkat(s->root_fd, name, 0);
    close(s->tmp_lock_fd);
    s->tmp_lock_fd = -1;
}
