/* Folders: made durably once, and fsynced once for all writers that wait for the same one. */
#include "file_int.h"

#include <errno.h>
#include <fcntl.h>
#include <floe/base/crc32c.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* Folders remembered; beyond it those that nobody uses are forgotten (and checked again when needed). */
#define DIRS_MAX 4096

struct dir {
    struct floe_map_node node;
    uint64_t started, done; /* fsyncs begun and ended */
    uint64_t failed;        /* number of the last one that failed, with this errno */
    int failed_errno;
    uint64_t good;    /* number of the last one that succeeded */
    uint64_t owed;    /* so far they must have, for all changes of names to stay */
    uint32_t placing; /* changes under way */
    uint32_t users;
    bool running;
    bool durable; /* it and all folders above it were fsynced into their parents */
    char path[];
};

bool file_dirs_init(struct file_dirs *d, int root_fd, bool fsync)
{
    *d = (struct file_dirs){.root_fd = root_fd, .fsync = fsync};
    floe_map_init(&d->map);
    if (pthread_mutex_init(&d->lock, NULL) != 0)
        return false;
    if (pthread_cond_init(&d->changed, NULL) != 0) {
        pthread_mutex_destroy(&d->lock);
        return false;
    }
    return true;
}

static bool settled(const struct dir *e)
{
    return e->placing == 0 && e->owed <= e->good;
}

static void forget(struct file_dirs *d, bool all)
{
    struct floe_map_node *next;
    for (struct floe_map_node *n = floe_map_iter(&d->map, NULL); n; n = next) {
        struct dir *e = FLOE_MAP_ENTRY(n, struct dir, node);
        next = floe_map_iter(&d->map, n);
        FLOE_ASSERT(!all || e->users == 0);
        if (e->users == 0 && (all || settled(e))) {
            floe_map_remove(&d->map, n);
            free(e);
        }
    }
}

void file_dirs_fini(struct file_dirs *d)
{
    forget(d, true);
    floe_map_fini(&d->map);
    pthread_cond_destroy(&d->changed);
    pthread_mutex_destroy(&d->lock);
}

/* The folder's entry with one more user, or null when memory is out. Called with the lock held. */
static struct dir *use(struct file_dirs *d, const char *path)
{
    size_t n = strlen(path);
    uint64_t hash = floe_hash64(path, n, 0);
    for (struct floe_map_node *m = floe_map_first(&d->map, hash); m; m = floe_map_next_same(m)) {
        struct dir *e = FLOE_MAP_ENTRY(m, struct dir, node);
        if (strcmp(e->path, path) == 0) {
            e->users++;
            return e;
        }
    }
    if (d->map.n >= DIRS_MAX)
        forget(d, false);
    struct dir *e = calloc(1, sizeof *e + n + 1);
    if (!e)
        return NULL;
    memcpy(e->path, path, n + 1);
    if (!floe_map_insert(&d->map, &e->node, hash)) {
        free(e);
        return NULL;
    }
    e->users = 1;
    return e;
}

static int fsync_path(const struct file_dirs *d, const char *path)
{
    int fd = openat(d->root_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), e = 0;
    if (fd < 0)
        return errno;
    if (fsync(fd) != 0)
        e = errno;
    close(fd);
    return e;
}

int file_dirs_sync(struct file_dirs *d, const char *path)
{
    int result = 0;
    if (!d->fsync)
        return 0;
    pthread_mutex_lock(&d->lock);
    struct dir *e = use(d, path);
    if (!e) {
        pthread_mutex_unlock(&d->lock);
        return fsync_path(d, path);
    }
    /* The one that runs may have begun before our change: the next one counts. */
    uint64_t need = e->started + 1;
    while (e->done < need) {
        if (e->running) {
            pthread_cond_wait(&d->changed, &d->lock);
            continue;
        }
        e->running = true;
        uint64_t mine = ++e->started;
        pthread_mutex_unlock(&d->lock);
        int r = fsync_path(d, path);
        pthread_mutex_lock(&d->lock);
        e->running = false;
        e->done = mine;
        if (r == 0 || r == ENOENT) /* ENOENT: it is gone, with all that was in it */
            e->good = mine;
        if (r != 0) {
            e->failed = mine;
            e->failed_errno = r;
        }
        pthread_cond_broadcast(&d->changed);
    }
    if (e->failed >= need)
        result = e->failed_errno;
    e->users--;
    pthread_mutex_unlock(&d->lock);
    return result;
}

struct dir *file_dirs_placing(struct file_dirs *d, const char *path)
{
    if (!d->fsync)
        return NULL;
    pthread_mutex_lock(&d->lock);
    struct dir *e = use(d, path);
    if (e)
        e->placing++;
    pthread_mutex_unlock(&d->lock);
    return e;
}

void file_dirs_placed(struct file_dirs *d, struct dir *was, bool changed)
{
    if (!was)
        return;
    pthread_mutex_lock(&d->lock);
    if (changed)
        was->owed = was->started + 1;
    was->placing--;
    was->users--;
    pthread_mutex_unlock(&d->lock);
}

int file_dirs_settle(struct file_dirs *d, const char *path)
{
    if (!d->fsync)
        return 0;
    pthread_mutex_lock(&d->lock);
    struct dir *e = use(d, path);
    bool now = e && settled(e);
    if (e)
        e->users--;
    pthread_mutex_unlock(&d->lock);
    return now ? 0 : file_dirs_sync(d, path);
}

/* True when the folder is known to be durable; sets it when `set`, clears it when `clear`. */
static bool durable(struct file_dirs *d, const char *path, bool set, bool clear)
{
    pthread_mutex_lock(&d->lock);
    struct dir *e = use(d, path);
    bool was = e && e->durable;
    if (e) {
        e->durable = (was || set) && !clear;
        e->users--;
    }
    pthread_mutex_unlock(&d->lock);
    return was;
}

int file_dirs_ensure(struct file_dirs *d, const char *path, bool again)
{
    char p[FILE_PATH_MAX];
    if (durable(d, path, false, again) && !again)
        return 0;
    size_t n = strlen(path);
    memcpy(p, path, n + 1);
    /* From the top: each folder is made, then its parent is fsynced. */
    for (char *slash = strchr(p, '/'); slash; slash = strchr(slash + 1, '/')) {
        char *end = strchr(slash + 1, '/');
        if (end)
            *end = '\0';
        if (again || !durable(d, p, false, false)) {
            if (mkdirat(d->root_fd, p, 0755) != 0 && errno != EEXIST)
                return errno;
            *slash = '\0';
            int e = file_dirs_sync(d, p);
            *slash = '/';
            if (e != 0)
                return e;
            durable(d, p, true, false);
        }
        if (end)
            *end = '/';
    }
    return 0;
}

void file_dirs_prune(struct file_dirs *d, const char *path)
{
    char p[FILE_PATH_MAX];
    memcpy(p, path, strlen(path) + 1);
    for (char *slash; (slash = strrchr(p, '/')) != NULL; *slash = '\0') {
        /* First it is no longer known, then it goes: who finds it missing makes it again. */
        durable(d, p, false, true);
        if (unlinkat(d->root_fd, p, AT_REMOVEDIR) != 0)
            return;
    }
}
