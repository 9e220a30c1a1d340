#include <floe_cmocka.h>
#include "tier_fixture.h"

#include <dirent.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* RocksDB is not built with the sanitizer, which therefore does not see its locks and fences. */
__attribute__((visibility("default"))) const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
    return "race:librocksdb\ncalled_from_lib:librocksdb.so\n";
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

void tier_fx_init(struct tier_fx *f, const char *base)
{
    const char *tmp = base ? base : getenv("TMPDIR");
    *f = (struct tier_fx){0};
    snprintf(f->root, sizeof f->root, "%.200s/floe-tier-XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(f->root));
    snprintf(f->dir, sizeof f->dir, "%s/tier", f->root);
    assert_int_equal(floe_loop_uv_create(&f->uv, &f->err), FLOE_OK);
    f->loop = floe_loop_uv_base(f->uv);
    f->cfg = (struct floe_tier_config){
        .dir = f->dir, .cluster = {{1, 2, 3}}, .limit_bytes = 1 << 30, .memory_bytes = 16 << 20};
}

void tier_fx_fini(struct tier_fx *f)
{
    tier_fx_close(f);
    floe_loop_uv_destroy(&f->uv);
    nftw(f->root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

enum floe_err tier_fx_open(struct tier_fx *f)
{
    return floe_tier_rocksdb_open(&f->tier, f->loop, &f->cfg, f->note, &f->err);
}

static void on_closed(void *user)
{
    *(bool *)user = true;
}

void tier_fx_close(struct tier_fx *f)
{
    if (!f->tier)
        return;
    bool closed = false;
    f->tier->ops->close(f->tier, on_closed, &closed);
    tier_fx_wait(f, &closed);
    f->tier = NULL;
}

struct waiting {
    struct tier_fx *f;
    const bool *flag;
    int ticks;
};

static void on_tick(struct floe_timer *t)
{
    struct waiting *w = t->user;
    if (*w->flag || ++w->ticks > 60000)
        floe_loop_uv_stop(w->f->uv);
    else
        floe_timer_start(w->f->loop, t, 500);
}

void tier_fx_wait(struct tier_fx *f, const bool *flag)
{
    struct waiting w = {f, flag, 0};
    struct floe_timer t;
    floe_timer_init(&t, on_tick, &w);
    floe_timer_start(f->loop, &t, 0);
    floe_loop_uv_run(f->uv);
    if (!*flag)
        fail_msg("no answer within 30 s");
}

void tier_fx_fill(uint8_t *p, size_t n, uint64_t seq)
{
    uint64_t x = seq * 0x9e3779b97f4a7c15u + 1;
    for (size_t i = 0; i < n; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        p[i] = (uint8_t)x;
    }
}

static void on_op(struct floe_tier_op *op)
{
    *(bool *)op->user = true;
}

enum floe_err tier_fx_put(struct tier_fx *f, uint64_t seq, size_t n, bool durable)
{
    bool done = false;
    uint8_t *p = malloc(n + 1);
    tier_fx_fill(p, n, seq);
    struct floe_tier_op op = {.seq = seq,
                              .head = floe_slice("head", 4),
                              .body = {NULL, p, n},
                              .durable = durable,
                              .done = on_op,
                              .user = &done};
    f->tier->ops->put(f->tier, &op);
    assert_false(done);
    tier_fx_wait(f, &done);
    free(p);
    f->err = op.err;
    return op.err.code;
}

enum floe_err tier_fx_check(struct tier_fx *f, uint64_t seq, size_t n)
{
    bool done = false;
    struct floe_tier_op op = {.seq = seq, .done = on_op, .user = &done};
    f->tier->ops->get(f->tier, &op);
    assert_false(done);
    tier_fx_wait(f, &done);
    f->err = op.err;
    if (op.err.code) {
        assert_null(op.data);
        return op.err.code;
    }
    uint8_t *p = malloc(n + 1);
    tier_fx_fill(p, n, seq);
    assert_int_equal(op.head_n, 4);
    assert_int_equal(op.data->n, 4 + n);
    assert_memory_equal(op.data->data, "head", 4);
    assert_memory_equal(op.data->data + 4, p, n);
    free(p);
    floe_buf_unref(op.data);
    return FLOE_OK;
}

struct answer {
    bool done;
    struct floe_error err;
    uint32_t count;
    uint64_t last;
};

static void on_answer(void *user, const struct floe_error *err)
{
    struct answer *a = user;
    a->done = true;
    a->err = *err;
}

enum floe_err tier_fx_meta(struct tier_fx *f, const char *name, const void *p, size_t n)
{
    struct answer a = {0};
    f->tier->ops->meta_put(f->tier, name, floe_slice(p, n), on_answer, &a);
    assert_false(a.done);
    tier_fx_wait(f, &a.done);
    f->err = a.err;
    return a.err.code;
}

static void on_each(void *user, uint64_t seq, struct floe_slice head, struct floe_slice body)
{
    struct answer *a = user;
    assert_true(a->count == 0 || seq > a->last);
    a->last = seq;
    a->count++;
    assert_int_equal(head.n, 4);
    assert_memory_equal(head.p, "head", 4);
    uint8_t *p = malloc(body.n + 1);
    tier_fx_fill(p, body.n, seq);
    assert_memory_equal(body.p, p, body.n);
    free(p);
}

uint32_t tier_fx_scan(struct tier_fx *f, uint64_t from, uint64_t to, struct floe_error *err)
{
    struct answer a = {0};
    f->tier->ops->scan(f->tier, from, to, on_each, on_answer, &a);
    assert_false(a.done);
    tier_fx_wait(f, &a.done);
    if (err)
        *err = a.err;
    else
        assert_int_equal(a.err.code, FLOE_OK);
    return a.count;
}

int tier_fx_find(const char *dir, const char *part, char path[512])
{
    int n = 0;
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));) {
        if (!strstr(e->d_name, part))
            continue;
        n++;
        if (path)
            snprintf(path, 512, "%.250s/%.250s", dir, e->d_name);
    }
    if (d)
        closedir(d);
    return n;
}
