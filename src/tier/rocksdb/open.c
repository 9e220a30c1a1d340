/* Start-up of the RocksDB tier: lock, meta file, database; what is corrupt is set aside, never deleted. */
#include "tier/rocksdb/tier_int.h"

#include <floe/base/assert.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static bool exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

static void sync_dir(const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return;
    (void)fsync(fd); /* as good as the disk gives: what follows fails if the disk does */
    close(fd);
}

/* DATA of DATA/tier. */
static void parent_of(char out[1024], const char *dir)
{
    snprintf(out, 1024, "%s", dir);
    char *slash = strrchr(out, '/');
    if (!slash)
        snprintf(out, 1024, ".");
    else if (slash == out)
        slash[1] = 0;
    else
        *slash = 0;
}

static enum floe_err make_dirs(struct tier_rocksdb *t, const char *parent, struct floe_error *err)
{
    if (mkdir(parent, 0700) != 0 && errno != EEXIST)
        return floe_tier_errno(err, errno, "cannot create the data directory", parent);
    if (mkdir(t->dir, 0700) != 0 && errno != EEXIST)
        return floe_tier_errno(err, errno, "cannot create", t->dir);
    return FLOE_OK;
}

/* One process a data directory. The lock goes with the descriptor, however the process ends. */
static enum floe_err take_lock(struct tier_rocksdb *t, const char *parent, struct floe_error *err)
{
    char path[1040], pid[32] = "";
    snprintf(path, sizeof path, "%s/lock", parent);
    t->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (t->lock_fd < 0)
        return floe_tier_errno(err, errno, "cannot open", path);
    if (flock(t->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK)
            return floe_tier_errno(err, errno, "cannot lock", path);
        ssize_t n = pread(t->lock_fd, pid, sizeof pid - 1, 0);
        pid[n > 0 ? strspn(pid, "0123456789") : 0] = 0;
        return floe_error_set(err, FLOE_EAGAIN,
                              "the data directory \"%.200s\" is in use by another process%s%s; stop it, or "
                              "give this one a directory of its own",
                              parent, pid[0] ? ", pid " : "", pid);
    }
    int n = snprintf(pid, sizeof pid, "%d\n", (int)getpid());
    if (ftruncate(t->lock_fd, 0) != 0 || pwrite(t->lock_fd, pid, (size_t)n, 0) != n)
        return floe_tier_errno(err, errno, "cannot write", path);
    return FLOE_OK;
}

/* Renames `path` to DIR.corrupt-<time>, and says so. */
static enum floe_err set_aside(struct tier_rocksdb *t, const char *path, const struct floe_error *why,
                               char note[256], struct floe_error *err)
{
    char to[1100], when[32], parent[1024];
    time_t now = (time_t)(floe_loop_wall_ms(t->base.loop) / 1000);
    struct tm tm;
    gmtime_r(&now, &tm);
    strftime(when, sizeof when, "%Y%m%dT%H%M%SZ", &tm);
    snprintf(to, sizeof to, "%s.corrupt-%s", t->dir, when);
    for (int i = 2; exists(to) && i < 1000; i++)
        snprintf(to, sizeof to, "%s.corrupt-%s-%d", t->dir, when, i);
    if (rename(path, to) != 0)
        return floe_tier_errno(err, errno, "cannot set aside the corrupt tier", path);
    parent_of(parent, t->dir);
    sync_dir(parent);
    snprintf(note, 256, "a corrupt tier was set aside as \"%.110s\" (%.80s)", to, why->msg);
    return FLOE_OK;
}

static enum floe_err store_meta(struct tier_rocksdb *t, struct floe_error *err)
{
    struct floe_writer w;
    floe_writer_init(&w, FLOE_TIER_META_FILE_MAX);
    floe_tier_metas_encode(&t->metas, &w);
    enum floe_err e = w.bad ? floe_error_set(err, FLOE_ENOMEM, "tier: no memory for the meta file")
                            : floe_tier_metas_store(t->dir, floe_slice(w.p, w.n), err);
    floe_writer_fini(&w);
    return e;
}

/* Loads the meta file, or starts one, and checks the cluster. A tier whose meta file cannot be read goes
 * aside whole: nobody can say whose entries they are. */
static enum floe_err open_meta(struct tier_rocksdb *t, const struct floe_uuid *cluster, char note[256],
                               struct floe_error *err)
{
    struct floe_error why = {0};
    enum floe_err e = floe_tier_metas_load(&t->metas, t->dir, &why);
    bool fresh = e == FLOE_ENOTFOUND;
    if (fresh && exists(t->db_dir))
        e = floe_error_set(&why, FLOE_ECORRUPT, "tier: entries without a meta file");
    if (e == FLOE_ECORRUPT) {
        if ((e = set_aside(t, t->dir, &why, note, err)))
            return e;
        if (mkdir(t->dir, 0700) != 0)
            return floe_tier_errno(err, errno, "cannot create", t->dir);
        fresh = true;
    } else if (e && !fresh) {
        if (err)
            *err = why;
        return e;
    }
    bool bound = !floe_uuid_is_zero(&t->metas.cluster);
    if (bound && !floe_uuid_is_zero(cluster) && !floe_uuid_eq(cluster, &t->metas.cluster)) {
        char theirs[23], ours[23];
        floe_uuid_b64(theirs, &t->metas.cluster);
        floe_uuid_b64(ours, cluster);
        return floe_error_set(
            err, FLOE_EINVAL,
            "the tier \"%.120s\" belongs to cluster %s, the store to cluster %s: name another "
            "data directory with --data-dir, or the store it was made with",
            t->dir, theirs, ours);
    }
    if (!bound)
        t->metas.cluster = *cluster;
    if (fresh || (!bound && !floe_uuid_is_zero(cluster)))
        return store_meta(t, err);
    return FLOE_OK;
}

/* True when the folder has entries' files but not the file that names them: RocksDB would make a new database
 * there and delete them. Without entries it is a creation that was cut short. */
static bool lost_current(const char *db_dir)
{
    char path[1300];
    snprintf(path, sizeof path, "%s/CURRENT", db_dir);
    if (exists(path))
        return false;
    DIR *d = opendir(db_dir);
    bool any = false;
    for (struct dirent *e; d && !any && (e = readdir(d));) {
        struct stat st;
        const char *dot = strrchr(e->d_name, '.');
        if (!dot || (strcmp(dot, ".sst") != 0 && strcmp(dot, ".log") != 0))
            continue;
        snprintf(path, sizeof path, "%s/%.250s", db_dir, e->d_name);
        any = lstat(path, &st) == 0 && st.st_size > 0;
    }
    if (d)
        closedir(d);
    return any;
}

static enum floe_err try_db(struct tier_rocksdb *t, struct floe_error *err)
{
    struct floe_tier_db_found found = {0};
    if (lost_current(t->db_dir))
        return floe_error_set(err, FLOE_ECORRUPT, "tier: CURRENT is missing");
    enum floe_err e = floe_tier_db_open(&t->db, t->db_dir, t->memory_bytes, err);
    if (!e)
        e = floe_tier_db_find(t->db, &found, err);
    if (!e && (e = floe_tier_ledger_init(&t->ledger, found.first, found.next, found.bytes)))
        floe_error_set(err, e, "tier: entries %llu to %llu", (unsigned long long)found.first,
                       (unsigned long long)found.next);
    if (e) {
        floe_tier_db_close(&t->db);
        return e;
    }
    t->base.first_seq = found.first;
    t->base.next_seq = found.next;
    return FLOE_OK;
}

static enum floe_err open_db(struct tier_rocksdb *t, char note[256], struct floe_error *err)
{
    struct floe_error why = {0};
    enum floe_err e = try_db(t, &why);
    if (e == FLOE_ECORRUPT) {
        if ((e = set_aside(t, t->db_dir, &why, note, err)))
            return e;
        e = try_db(t, &why);
    }
    if (e && err)
        *err = why;
    return e;
}

struct floe_uuid floe_tier_rocksdb_cluster(const char *dir)
{
    struct floe_tier_metas m = {0};
    struct floe_error ignored;
    struct floe_uuid id = {0};
    if (floe_tier_metas_load(&m, dir, &ignored) == FLOE_OK) {
        id = m.cluster;
        floe_tier_metas_fini(&m);
    }
    return id;
}

enum floe_err floe_tier_rocksdb_open(struct floe_tier **out, struct floe_loop *loop,
                                     const struct floe_tier_config *cfg, char note[256],
                                     struct floe_error *err)
{
    char parent[1024];
    note[0] = 0;
    size_t dir_n = strlen(cfg->dir);
    if (dir_n == 0 || dir_n >= sizeof parent || cfg->dir[dir_n - 1] == '/')
        return floe_error_set(err, FLOE_EINVAL, "tier: \"%.100s\" is not a usable path", cfg->dir);
    struct tier_rocksdb *t = calloc(1, sizeof *t);
    if (!t)
        return floe_error_set(err, FLOE_ENOMEM, "tier: no memory");
    t->lock_fd = -1;
    t->base.limit = cfg->limit_bytes ? cfg->limit_bytes : (uint64_t)10 << 30;
    t->memory_bytes = cfg->memory_bytes ? cfg->memory_bytes : (size_t)64 << 20;
    snprintf(t->dir, sizeof t->dir, "%s", cfg->dir);
    snprintf(t->db_dir, sizeof t->db_dir, "%s/db", cfg->dir);
    parent_of(parent, cfg->dir);
    floe_tier_driver_init(t, loop);
    enum floe_err e;
    if ((e = make_dirs(t, parent, err)))
        goto out;
    if ((e = take_lock(t, parent, err)))
        goto out;
    if ((e = open_meta(t, &cfg->cluster, note, err)))
        goto out;
    if ((e = open_db(t, note, err)))
        goto out;
    atomic_store(&t->base.bytes, t->ledger.bytes);
    e = floe_tier_writer_start(t, err);
out:
    if (e)
        floe_tier_driver_free(t);
    else
        *out = &t->base;
    return e;
}
