/* The meta file: see meta.h and docs/formats/tier-files.md. */
#include "tier/rocksdb/meta.h"

#include <floe/base/assert.h>
#include <floe/base/crc32c.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC "FLOETIER"
#define VERSION 1u

void floe_tier_metas_fini(struct floe_tier_metas *m)
{
    for (uint32_t i = 0; i < m->n; i++)
        free(m->v[i].p);
    free(m->v);
    *m = (struct floe_tier_metas){0};
}

static struct floe_tier_meta_value *find(const struct floe_tier_metas *m, const char *name)
{
    for (uint32_t i = 0; i < m->n; i++)
        if (strcmp(m->v[i].name, name) == 0)
            return &m->v[i];
    return NULL;
}

struct floe_slice floe_tier_metas_get(const struct floe_tier_metas *m, const char *name)
{
    const struct floe_tier_meta_value *v = find(m, name);
    return v ? floe_slice(v->p, v->n) : floe_slice(NULL, 0);
}

enum floe_err floe_tier_metas_set(struct floe_tier_metas *m, const char *name, struct floe_slice value,
                                  struct floe_error *err)
{
    size_t name_n = strlen(name);
    if (name_n == 0 || name_n > FLOE_TIER_META_NAME_MAX)
        return floe_error_set(err, FLOE_EINVAL, "tier: a meta name has 1 to %d bytes, not %zu",
                              FLOE_TIER_META_NAME_MAX, name_n);
    if (value.n > FLOE_TIER_META_VALUE_MAX)
        return floe_error_set(err, FLOE_ETOOLARGE, "tier: meta \"%s\" has %zu bytes, the limit is %d", name,
                              value.n, FLOE_TIER_META_VALUE_MAX);
    struct floe_tier_meta_value *v = find(m, name);
    if (value.n == 0) {
        if (v) {
            free(v->p);
            *v = m->v[--m->n];
        }
        return FLOE_OK;
    }
    if (!v && m->n == FLOE_TIER_META_COUNT_MAX)
        return floe_error_set(err, FLOE_ETOOLARGE, "tier: there are %d meta values already",
                              FLOE_TIER_META_COUNT_MAX);
    uint8_t *p = malloc(value.n);
    if (p && !v) {
        struct floe_tier_meta_value *all = realloc(m->v, (m->n + 1) * sizeof *all);
        if (all) {
            m->v = all;
            v = &all[m->n++];
            *v = (struct floe_tier_meta_value){0};
            memcpy(v->name, name, name_n + 1);
        }
    }
    if (!p || !v) {
        free(p);
        return floe_error_set(err, FLOE_ENOMEM, "tier: no memory for meta \"%s\"", name);
    }
    memcpy(p, value.p, value.n);
    free(v->p);
    v->p = p;
    v->n = value.n;
    return FLOE_OK;
}

void floe_tier_metas_encode(const struct floe_tier_metas *m, struct floe_writer *w)
{
    size_t start = w->n;
    floe_write(w, MAGIC, 8);
    floe_write_le32(w, VERSION);
    floe_write(w, m->cluster.b, 16);
    floe_write_le32(w, m->n);
    for (uint32_t i = 0; i < m->n; i++) {
        size_t name_n = strlen(m->v[i].name);
        floe_write_u8(w, (uint8_t)name_n);
        floe_write(w, m->v[i].name, name_n);
        floe_write_le16(w, (uint16_t)m->v[i].n);
        floe_write(w, m->v[i].p, m->v[i].n);
    }
    if (!w->bad)
        floe_write_le32(w, floe_crc32c(0, w->p + start, w->n - start));
}

static enum floe_err decode_values(struct floe_tier_metas *m, struct floe_reader *r, struct floe_error *err)
{
    uint32_t count = floe_read_le32(r);
    if (r->bad || count > FLOE_TIER_META_COUNT_MAX)
        return floe_error_set(err, FLOE_ECORRUPT, "tier meta: %u values, the limit is %d", count,
                              FLOE_TIER_META_COUNT_MAX);
    for (uint32_t i = 0; i < count; i++) {
        char name[FLOE_TIER_META_NAME_MAX + 1] = {0};
        uint8_t name_n = floe_read_u8(r);
        const uint8_t *name_p = floe_reader_take(r, name_n);
        uint16_t value_n = floe_read_le16(r);
        const uint8_t *value_p = floe_reader_take(r, value_n);
        if (r->bad || name_n == 0 || name_n > FLOE_TIER_META_NAME_MAX || value_n == 0 ||
            memchr(name_p, 0, name_n))
            return floe_error_set(err, FLOE_ECORRUPT, "tier meta: value %u is malformed", i);
        memcpy(name, name_p, name_n);
        if (find(m, name))
            return floe_error_set(err, FLOE_ECORRUPT, "tier meta: \"%s\" is there twice", name);
        enum floe_err e = floe_tier_metas_set(m, name, floe_slice(value_p, value_n), err);
        if (e == FLOE_ETOOLARGE)
            e = err ? (err->code = FLOE_ECORRUPT) : FLOE_ECORRUPT;
        if (e)
            return e;
    }
    return FLOE_OK;
}

enum floe_err floe_tier_metas_decode(struct floe_tier_metas *out, struct floe_slice bytes,
                                     struct floe_error *err)
{
    struct floe_tier_metas m = {0};
    struct floe_reader r = floe_reader(bytes);
    const uint8_t *magic = floe_reader_take(&r, 8);
    uint32_t version = floe_read_le32(&r);
    if (r.bad || memcmp(magic, MAGIC, 8) != 0)
        return floe_error_set(err, FLOE_ECORRUPT, "tier meta: not a tier's meta file");
    if (bytes.n < 16 || floe_crc32c(0, bytes.p, bytes.n - 4) != floe_le32(bytes.p + bytes.n - 4))
        return floe_error_set(err, FLOE_ECORRUPT, "tier meta: the checksum does not match");
    if (version != VERSION)
        return floe_error_set(err, FLOE_EUNSUPPORTED, "tier meta: format %u, this Floe reads %u", version,
                              VERSION);
    r.end -= 4;
    const uint8_t *cluster = floe_reader_take(&r, 16);
    if (cluster)
        memcpy(m.cluster.b, cluster, 16);
    enum floe_err e = decode_values(&m, &r, err);
    if (!e && floe_reader_left(&r) != 0)
        e = floe_error_set(err, FLOE_ECORRUPT, "tier meta: %zu bytes too many", floe_reader_left(&r));
    if (e)
        floe_tier_metas_fini(&m);
    else
        *out = m;
    return e;
}

enum floe_err floe_tier_errno(struct floe_error *err, int e, const char *what, const char *path)
{
    enum floe_err code = FLOE_EIO;
    if (e == ENOSPC || e == EDQUOT || e == EFBIG)
        code = FLOE_ENOSPACE;
    else if (e == EACCES || e == EPERM)
        code = FLOE_EDENIED;
    else if (e == ENOENT)
        code = FLOE_ENOTFOUND;
    else if (e == ENOMEM)
        code = FLOE_ENOMEM;
    char buf[96];
    return floe_error_set(err, code, "tier: %s \"%s\": %s", what, path, strerror_r(e, buf, sizeof buf));
}

static enum floe_err read_whole(int fd, const char *path, struct floe_tier_metas *out, struct floe_error *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return floe_tier_errno(err, errno, "cannot read", path);
    if (st.st_size > FLOE_TIER_META_FILE_MAX)
        return floe_error_set(err, FLOE_ECORRUPT, "tier meta: \"%s\" has %lld bytes, the limit is %d", path,
                              (long long)st.st_size, FLOE_TIER_META_FILE_MAX);
    size_t n = 0, size = (size_t)st.st_size;
    uint8_t *p = malloc(size + 1);
    if (!p)
        return floe_error_set(err, FLOE_ENOMEM, "tier meta: no memory for %zu bytes", size);
    ssize_t got = 1;
    while (n < size && (got = read(fd, p + n, size - n)) > 0)
        n += (size_t)got;
    enum floe_err e = got < 0 ? floe_tier_errno(err, errno, "cannot read", path)
                              : floe_tier_metas_decode(out, floe_slice(p, n), err);
    free(p);
    return e;
}

enum floe_err floe_tier_metas_load(struct floe_tier_metas *out, const char *dir, struct floe_error *err)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/" FLOE_TIER_META_FILE, dir);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return floe_tier_errno(err, errno, "cannot open", path);
    enum floe_err e = read_whole(fd, path, out, err);
    close(fd);
    return e;
}

static int write_whole(const char *path, struct floe_slice bytes)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), e = 0;
    if (fd < 0)
        return errno;
    for (size_t n = 0; n < bytes.n && !e;) {
        ssize_t put = write(fd, bytes.p + n, bytes.n - n);
        if (put < 0)
            e = errno == EINTR ? 0 : errno;
        else
            n += (size_t)put;
    }
    if (!e && fsync(fd) != 0)
        e = errno;
    if (close(fd) != 0 && !e)
        e = errno;
    return e;
}

static int sync_dir(const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return errno;
    int e = fsync(fd) != 0 ? errno : 0;
    close(fd);
    return e;
}

enum floe_err floe_tier_metas_store(const char *dir, struct floe_slice bytes, struct floe_error *err)
{
    char path[PATH_MAX], tmp[PATH_MAX];
    snprintf(path, sizeof path, "%s/" FLOE_TIER_META_FILE, dir);
    snprintf(tmp, sizeof tmp, "%s/" FLOE_TIER_META_FILE ".new", dir);
    int e = write_whole(tmp, bytes);
    if (!e && rename(tmp, path) != 0)
        e = errno;
    if (!e)
        e = sync_dir(dir);
    return e ? floe_tier_errno(err, e, "cannot write", path) : FLOE_OK;
}
