/* LIST: walks only folders that can hold keys of the prefix after `start_after`, in the order of keys. A
 * folder sorts as its name with a slash, a file as its name: so "a-b" < "a/x" < "a0". Of a large folder only
 * the smallest names still wanted are kept in memory. */
#include "file_int.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define BATCH_MIN 64

struct child {
    char sort[FILE_NAME_SIZE + 1]; /* with a slash where it is a folder */
    bool object;
};
struct batch {
    struct child *c;
    size_t n, cap, want; /* `want` smallest are kept; the array holds up to twice as many */
    bool more;
};
struct walk {
    struct file_op *op;
    char path[FILE_PATH_MAX];
    char key[FLOE_STORE_KEY_MAX + FILE_NAME_SIZE + 1];
    bool full;
};

static int by_sort(const void *a, const void *b)
{
    return strcmp(((const struct child *)a)->sort, ((const struct child *)b)->sort);
}

static void trim(struct batch *b)
{
    if (b->n > 1)
        qsort(b->c, b->n, sizeof *b->c, by_sort);
    if (b->n > b->want) {
        b->n = b->want;
        b->more = true;
    }
}

static bool batch_add(struct batch *b, const char *sort, bool object)
{
    if (b->n == b->want * 2)
        trim(b);
    if (b->n == b->cap) {
        size_t cap = b->cap ? b->cap * 2 : BATCH_MIN;
        struct child *c = realloc(b->c, cap * sizeof *c);
        if (!c)
            return false;
        b->c = c;
        b->cap = cap;
    }
    memcpy(b->c[b->n].sort, sort, strlen(sort) + 1);
    b->c[b->n++].object = object;
    return true;
}

static bool starts_with(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

/* May this key, or a key below this folder (it ends with a slash), be in the answer? */
static bool wanted(const struct file_op *op, const char *key, bool object)
{
    if (object)
        return starts_with(key, op->key) && strcmp(key, op->start_after) > 0;
    return (starts_with(key, op->key) || starts_with(op->key, key)) &&
           (strcmp(op->start_after, key) < 0 || starts_with(op->start_after, key));
}

/* The smallest wanted children of the folder w->path that sort after `after`. */
static int read_dir(struct walk *w, size_t key_n, const char *after, struct batch *b)
{
    int fd = openat(w->op->s->root_fd, w->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), e = 0;
    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR ? 0 : errno;
    DIR *d = fdopendir(fd);
    if (!d) {
        e = errno;
        close(fd);
        return e;
    }
    b->n = 0;
    b->more = false;
    for (;;) {
        char name[FILE_NAME_SIZE + 1];
        bool object;
        errno = 0;
        struct dirent *ent = readdir(d);
        if (!ent) {
            e = errno;
            break;
        }
        if (!file_name_decode(name, &object, ent->d_name))
            continue;
        size_t n = strlen(name);
        if (!object) {
            name[n++] = '/';
            name[n] = '\0';
        }
        if (key_n + n >= sizeof w->key || strcmp(name, after) <= 0)
            continue;
        memcpy(w->key + key_n, name, n + 1);
        if (wanted(w->op, w->key, object) && !batch_add(b, name, object)) {
            e = ENOMEM;
            break;
        }
    }
    closedir(d);
    w->key[key_n] = '\0';
    trim(b);
    return e;
}

/* Adds the object w->key, unless it has gone meanwhile. */
static int add_entry(struct walk *w, const char *path)
{
    struct file_op *op = w->op;
    struct file_trailer t;
    int e = 0;
    if (op->entry_count == op->max_keys) {
        op->truncated = w->full = true;
        return 0;
    }
    int fd = file_open_object(op->s, path, &t, &e);
    if (fd < 0 && e == ENOENT)
        return 0;
    if (fd < 0 && e != EBADMSG)
        return e;
    struct floe_store_entry *out = &op->entries[op->entry_count];
    out->key = floe_arena_strndup(&op->arena, w->key, strlen(w->key));
    if (!out->key) {
        if (fd >= 0)
            close(fd);
        return ENOMEM;
    }
    /* A damaged object is listed without size and version: GET says what is wrong with it. */
    if (fd >= 0) {
        close(fd);
        out->size = t.body_n;
        file_version(out->version, &t);
    }
    op->entry_count++;
    return 0;
}

static int visit(struct walk *w, size_t path_n, size_t key_n);

static int visit_child(struct walk *w, size_t path_n, size_t key_n, const struct child *c)
{
    size_t n = strlen(c->sort), comp_n = c->object ? n : n - 1, at = path_n;
    int e = 0;
    memcpy(w->key + key_n, c->sort, n + 1);
    if (!file_path_add(w->path, &at, c->sort, comp_n, c->object))
        e = ENAMETOOLONG;
    else if (c->object)
        e = add_entry(w, w->path);
    else
        e = visit(w, at, key_n + n);
    w->path[path_n] = '\0';
    w->key[key_n] = '\0';
    return e;
}

static int visit(struct walk *w, size_t path_n, size_t key_n)
{
    char after[FILE_NAME_SIZE + 1] = "";
    struct batch b = {.want = w->op->max_keys + 1u};
    int e;
    do {
        e = read_dir(w, key_n, after, &b);
        for (size_t i = 0; e == 0 && i < b.n && !w->full; i++)
            e = visit_child(w, path_n, key_n, &b.c[i]);
        if (b.n > 0)
            memcpy(after, b.c[b.n - 1].sort, sizeof after);
    } while (e == 0 && b.more && !w->full);
    free(b.c);
    return e;
}

void file_list(struct file_op *op)
{
    struct walk w = {.op = op};
    const char *slash = strrchr(op->key, '/');
    size_t key_n = slash ? (size_t)(slash + 1 - op->key) : 0;
    floe_arena_init(&op->arena,
                    (size_t)op->max_keys * (sizeof *op->entries + FLOE_STORE_KEY_MAX + 64) + 4096);
    op->entries = floe_arena_calloc(&op->arena, op->max_keys, sizeof *op->entries);
    if (!op->entries) {
        file_error(op, ENOMEM, "LIST", op->key);
        return;
    }
    if (!file_dir_path(w.path, op->key, strlen(op->key)))
        return; /* no object can have such a key */
    memcpy(w.key, op->key, key_n);
    int e = visit(&w, strlen(w.path), key_n);
    if (e != 0)
        file_error(op, e, "LIST", op->key);
}
