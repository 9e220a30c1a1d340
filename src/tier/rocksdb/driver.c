/* The RocksDB tier on the loop: see tier_int.h and <floe/tier.h>. */
#include "tier/rocksdb/tier_int.h"

#include <floe/base/assert.h>

#include <stdlib.h>
#include <unistd.h>

#define POOL_MAX 1024

static struct tier_rocksdb *driver(struct floe_tier *t)
{
    return FLOE_CONTAINER(t, struct tier_rocksdb, base);
}

static struct tier_req *req_make(struct tier_rocksdb *t, enum tier_kind kind)
{
    struct tier_req *r = t->pool;
    if (r) {
        t->pool = r->next;
        t->pool_n--;
    } else {
        r = malloc(sizeof *r);
        FLOE_ASSERT(r); /* a few words: a process that cannot have them cannot go on */
    }
    *r = (struct tier_req){.kind = kind};
    return r;
}

static void req_free(struct tier_rocksdb *t, struct tier_req *r)
{
    if (r->scan) {
        floe_writer_fini(&r->scan->bytes);
        free(r->scan);
    }
    floe_writer_fini(&r->bytes);
    free(r->err);
    if (t->pool_n >= POOL_MAX) {
        free(r);
        return;
    }
    r->next = t->pool;
    t->pool = r;
    t->pool_n++;
}

/* Comes after close: answered just before `closed`. */
static void submit_late(struct tier_rocksdb *t, struct tier_req *r)
{
    struct floe_error *err = r->op ? &r->op->err : r->err;
    if (err && !err->code)
        floe_error_set(err, FLOE_ECLOSED, "tier: closed");
    floe_tier_queue_push(&t->late, r);
}

static void submit(struct tier_rocksdb *t, struct tier_req *r)
{
    if (t->closing && r->kind != TIER_CLOSE) {
        submit_late(t, r);
        return;
    }
    pthread_mutex_lock(&t->lock);
    floe_tier_queue_push(&t->queue, r);
    bool wake = t->waiting;
    t->waiting = false;
    pthread_mutex_unlock(&t->lock);
    if (wake)
        pthread_cond_signal(&t->wake);
}

static void note_bytes(struct tier_rocksdb *t)
{
    atomic_store_explicit(&t->base.bytes, t->ledger.bytes, memory_order_relaxed);
}

/* Why a put is refused before the disk is asked. */
static enum floe_err admit(struct tier_rocksdb *t, struct floe_tier_op *op)
{
    size_t n = op->head.n + op->body.n;
    unsigned long long seq = op->seq;
    if (op->head.n > FLOE_TIER_ENTRY_MAX || op->body.n > FLOE_TIER_ENTRY_MAX || n > FLOE_TIER_ENTRY_MAX)
        return floe_error_set(&op->err, FLOE_ETOOLARGE, "tier: entry %llu has %zu bytes, the limit is %zu",
                              seq, n, FLOE_TIER_ENTRY_MAX);
    uint64_t charge = floe_tier_ledger_charge(n);
    if (charge > t->base.limit || t->ledger.bytes > t->base.limit - charge)
        return floe_error_set(&op->err, FLOE_ENOSPACE, "tier: it holds %llu bytes, the limit is %llu",
                              (unsigned long long)t->ledger.bytes, (unsigned long long)t->base.limit);
    enum floe_err e = floe_tier_ledger_put(&t->ledger, op->seq, n);
    if (e == FLOE_EINVAL)
        return floe_error_set(&op->err, e, "tier: sequence number %llu was used before (head %llu)", seq,
                              (unsigned long long)t->ledger.head);
    if (e == FLOE_ENOSPACE)
        return floe_error_set(&op->err, e, "tier: entries %llu to %llu are too many",
                              (unsigned long long)t->ledger.head, seq);
    if (e)
        return floe_error_set(&op->err, e, "tier: no memory for entry %llu", seq);
    note_bytes(t);
    return FLOE_OK;
}

static void put(struct floe_tier *base, struct floe_tier_op *op)
{
    struct tier_rocksdb *t = driver(base);
    struct tier_req *r = req_make(t, TIER_PUT);
    r->op = op;
    op->err.code = FLOE_OK;
    op->err.msg[0] = 0;
    r->charged = admit(t, op) == FLOE_OK;
    submit(t, r);
}

static void get(struct floe_tier *base, struct floe_tier_op *op)
{
    struct tier_rocksdb *t = driver(base);
    struct tier_req *r = req_make(t, TIER_GET);
    r->op = op;
    op->err.code = FLOE_OK;
    op->err.msg[0] = 0;
    op->data = NULL;
    op->head_n = 0;
    if (!floe_tier_ledger_has(&t->ledger, op->seq))
        floe_error_set(&op->err, FLOE_ENOTFOUND, "tier: entry %llu is not there",
                       (unsigned long long)op->seq);
    submit(t, r);
}

static void drop(struct floe_tier *base, uint64_t from, uint64_t to)
{
    struct tier_rocksdb *t = driver(base);
    uint64_t end = FLOE_MIN(to, t->ledger.next + FLOE_TIER_AHEAD_MAX);
    if (from >= end)
        return;
    uint64_t before = t->ledger.bytes;
    floe_tier_ledger_drop(&t->ledger, from, to);
    note_bytes(t);
    struct tier_req *r = req_make(t, TIER_DROP);
    r->from = from;
    r->to = FLOE_MIN(end, t->ledger.next);
    r->head = t->ledger.head;
    r->freed = t->ledger.bytes == 0 ? UINT64_MAX : before - t->ledger.bytes;
    if (r->from < r->to)
        submit(t, r);
    else
        req_free(t, r);
}

static void scan(struct floe_tier *base, uint64_t from, uint64_t to,
                 void (*each)(void *user, uint64_t seq, struct floe_slice head, struct floe_slice body),
                 void (*done)(void *user, const struct floe_error *err), void *user)
{
    struct tier_rocksdb *t = driver(base);
    struct tier_req *r = req_make(t, TIER_SCAN);
    r->scan = calloc(1, sizeof *r->scan);
    r->err = calloc(1, sizeof *r->err);
    FLOE_ASSERT(r->scan && r->err);
    r->scan->next = from;
    r->scan->to = to;
    r->scan->each = each;
    floe_writer_init(&r->scan->bytes, FLOE_TIER_ENTRY_MAX + FLOE_TIER_SCAN_MAX);
    r->done = done;
    r->user = user;
    submit(t, r);
}

static void meta_put(struct floe_tier *base, const char *name, struct floe_slice value,
                     void (*done)(void *user, const struct floe_error *err), void *user)
{
    struct tier_rocksdb *t = driver(base);
    struct tier_req *r = req_make(t, TIER_META);
    r->err = calloc(1, sizeof *r->err);
    FLOE_ASSERT(r->err);
    r->done = done;
    r->user = user;
    floe_writer_init(&r->bytes, FLOE_TIER_META_FILE_MAX);
    if (floe_tier_metas_set(&t->metas, name, value, r->err) == FLOE_OK) {
        floe_tier_metas_encode(&t->metas, &r->bytes);
        if (r->bytes.bad)
            floe_error_set(r->err, FLOE_ENOMEM, "tier: no memory for the meta file");
    }
    submit(t, r);
}

static struct floe_slice meta(struct floe_tier *base, const char *name)
{
    return floe_tier_metas_get(&driver(base)->metas, name);
}

static void close_(struct floe_tier *base, void (*closed)(void *user), void *user)
{
    struct tier_rocksdb *t = driver(base);
    FLOE_ASSERT(!t->closing);
    t->closing = true;
    floe_timer_stop(&t->reopen_timer);
    floe_tier_queue_init(&t->late);
    struct tier_req *r = req_make(t, TIER_CLOSE);
    r->closed = closed;
    r->user = user;
    submit(t, r);
}

/* Answers. */

static void finish_put(struct tier_rocksdb *t, struct tier_req *r)
{
    struct floe_tier_op *op = r->op;
    if (op->err.code && r->charged) {
        floe_tier_ledger_unput(&t->ledger, op->seq);
        note_bytes(t);
    }
    req_free(t, r);
    op->done(op);
}

static void finish_scan(struct tier_rocksdb *t, struct tier_req *r)
{
    struct tier_scan *s = r->scan;
    for (uint32_t i = 0; i < s->count; i++) {
        struct tier_entry *e = &s->entries[i];
        if (floe_tier_ledger_has(&t->ledger, e->seq))
            s->each(r->user, e->seq, e->head, e->body);
    }
    if (!r->err->code && s->more && t->closing)
        floe_error_set(r->err, FLOE_ECLOSED, "tier: closed during a scan");
    if (!r->err->code && s->more) {
        submit(t, r);
        return;
    }
    r->done(r->user, r->err);
    req_free(t, r);
}

static bool finish(struct tier_rocksdb *t, struct tier_req *r);

static void finish_close(struct tier_rocksdb *t, struct tier_req *r)
{
    for (struct tier_req *l; (l = t->late.first);) {
        if (!(t->late.first = l->next))
            floe_tier_queue_init(&t->late);
        (void)finish(t, l);
    }
    void (*closed)(void *user) = r->closed;
    void *user = r->user;
    pthread_join(t->thread, NULL);
    req_free(t, r);
    floe_tier_driver_free(t);
    closed(user);
}

/* A broken tier that holds nothing any more starts afresh. */
static void reopen_if_empty(struct tier_rocksdb *t)
{
    if (!atomic_load(&t->is_broken) || t->closing || t->reopening || t->ledger.bytes != 0 ||
        floe_timer_armed(&t->reopen_timer))
        return;
    t->reopening = true;
    struct tier_req *r = req_make(t, TIER_REOPEN);
    r->head = t->ledger.head;
    submit(t, r);
}

static void on_reopen_timer(struct floe_timer *timer)
{
    reopen_if_empty(timer->user);
}

static void finish_reopen(struct tier_rocksdb *t, struct tier_req *r)
{
    req_free(t, r);
    t->reopening = false;
    if (atomic_load(&t->is_broken) && !t->closing)
        floe_timer_start(t->base.loop, &t->reopen_timer, FLOE_TIER_REOPEN_US);
}

/* Answers one request. False when the tier is gone. */
static bool finish(struct tier_rocksdb *t, struct tier_req *r)
{
    struct floe_tier_op *op = r->op;
    switch (r->kind) {
    case TIER_PUT:
        finish_put(t, r);
        return true;
    case TIER_GET:
        req_free(t, r);
        op->done(op);
        return true;
    case TIER_SCAN:
        finish_scan(t, r);
        return true;
    case TIER_META:
        r->done(r->user, r->err);
        req_free(t, r);
        return true;
    case TIER_REOPEN:
        finish_reopen(t, r);
        return true;
    case TIER_CLOSE:
        finish_close(t, r);
        return false;
    case TIER_DROP:
        req_free(t, r);
        return true;
    }
    return true;
}

static void on_done(struct floe_task *task)
{
    struct tier_rocksdb *t = task->user;
    pthread_mutex_lock(&t->lock);
    struct tier_req *r = t->done.first;
    floe_tier_queue_init(&t->done);
    t->posted = false;
    pthread_mutex_unlock(&t->lock);
    for (struct tier_req *next; r; r = next) {
        next = r->next;
        if (!finish(t, r))
            return;
    }
    reopen_if_empty(t);
}

static const struct floe_tier_ops ops = {
    .put = put, .get = get, .drop = drop, .scan = scan, .meta_put = meta_put, .meta = meta, .close = close_};

void floe_tier_driver_init(struct tier_rocksdb *t, struct floe_loop *loop)
{
    t->base.ops = &ops;
    t->base.loop = loop;
    t->task = (struct floe_task){.fn = on_done, .user = t};
    floe_timer_init(&t->reopen_timer, on_reopen_timer, t);
    floe_tier_queue_init(&t->queue);
    floe_tier_queue_init(&t->done);
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->wake, NULL);
    note_bytes(t);
}

void floe_tier_driver_free(struct tier_rocksdb *t)
{
    floe_tier_db_close(&t->db);
    floe_tier_ledger_fini(&t->ledger);
    floe_tier_metas_fini(&t->metas);
    while (t->pool) {
        struct tier_req *r = t->pool;
        t->pool = r->next;
        free(r);
    }
    pthread_mutex_destroy(&t->lock);
    pthread_cond_destroy(&t->wake);
    if (t->lock_fd >= 0)
        close(t->lock_fd);
    free(t);
}
