/* The tier's writer thread: see tier_int.h.
 *
 * It takes everything that is queued at once. Puts and drops gather in one group until something else comes,
 * the group is full or the queue is empty; then the group is one write, and its requests go back in their
 * order. Reads see every write that was given before them.
 *
 * The first write that fails breaks the database for good: RocksDB before 9.7 cannot be trusted to go on
 * after a failed write-ahead log. Reads still work, so what is held can be taken to the store; when nothing
 * is held any more the loop asks for a fresh database (TIER_REOPEN).
 */
#include "tier/rocksdb/tier_int.h"

#include <floe/base/assert.h>

#include <signal.h>

void floe_tier_queue_init(struct tier_queue *q)
{
    q->first = NULL;
    q->last = &q->first;
}

void floe_tier_queue_push(struct tier_queue *q, struct tier_req *r)
{
    r->next = NULL;
    *q->last = r;
    q->last = &r->next;
}

void floe_tier_queue_append(struct tier_queue *to, struct tier_queue *from)
{
    if (!from->first)
        return;
    *to->last = from->first;
    to->last = from->last;
    floe_tier_queue_init(from);
}

/* Gives requests back to the loop. */
static void give_back(struct tier_rocksdb *t, struct tier_queue *q)
{
    if (!q->first)
        return;
    pthread_mutex_lock(&t->lock);
    floe_tier_queue_append(&t->done, q);
    bool post = !t->posted;
    t->posted = true;
    pthread_mutex_unlock(&t->lock);
    if (post)
        floe_loop_post(t->base.loop, &t->task);
}

static void break_db(struct tier_rocksdb *t, const struct floe_error *err)
{
    if (t->broken.code)
        return;
    t->broken = *err;
    atomic_store(&t->is_broken, true);
}

/* Writes the open group, and answers it. */
static void flush_group(struct tier_rocksdb *t)
{
    if (!t->group.first)
        return;
    struct floe_tier_db_written w = {0};
    if (t->db && floe_tier_db_group_bytes(t->db) > 0)
        floe_tier_db_write(t->db, &w);
    if (w.volatile_err.code)
        break_db(t, &w.volatile_err);
    if (w.durable_err.code)
        break_db(t, &w.durable_err);
    for (struct tier_req *r = t->group.first; r; r = r->next) {
        if (r->kind != TIER_PUT || r->op->err.code)
            continue;
        const struct floe_error *e = r->op->durable ? &w.durable_err : &w.volatile_err;
        if (e->code)
            r->op->err = *e;
    }
    give_back(t, &t->group);
}

static void add_put(struct tier_rocksdb *t, struct tier_req *r)
{
    struct floe_tier_op *op = r->op;
    if (!op->err.code && t->broken.code)
        op->err = t->broken;
    if (!op->err.code)
        floe_tier_db_put(t->db, op->seq, op->head, floe_slice(op->body.p, op->body.n), op->durable);
}

static void run_get(struct tier_rocksdb *t, struct tier_req *r)
{
    struct floe_tier_op *op = r->op;
    if (op->err.code)
        return;
    if (!t->db) {
        op->err = t->broken;
        return;
    }
    struct floe_error err;
    err.code = FLOE_OK;
    err.msg[0] = 0;
    if (floe_tier_db_get(t->db, op->seq, op->budget, &op->data, &op->head_n, &err) != FLOE_OK)
        op->err = err;
}

static bool take(void *user, uint64_t seq, struct floe_slice head, struct floe_slice body)
{
    struct tier_scan *s = user;
    if (s->count == FLOE_TIER_SCAN_ENTRIES ||
        (s->count > 0 && s->bytes.n + head.n + body.n > FLOE_TIER_SCAN_MAX)) {
        s->more = true;
        return false;
    }
    struct tier_entry *e = &s->entries[s->count];
    *e = (struct tier_entry){.seq = seq, .at = s->bytes.n, .head = {NULL, head.n}, .body = {NULL, body.n}};
    floe_write(&s->bytes, head.p, head.n);
    floe_write(&s->bytes, body.p, body.n);
    if (s->bytes.bad)
        return false;
    s->count++;
    s->next = seq + 1;
    return true;
}

static void run_scan(struct tier_rocksdb *t, struct tier_req *r)
{
    struct tier_scan *s = r->scan;
    s->count = 0;
    s->more = false;
    s->bytes.n = 0;
    if (!t->db) {
        *r->err = t->broken;
        return;
    }
    /* What an error leaves of the turn is delivered before it is told. */
    if (floe_tier_db_scan(t->db, s->next, s->to, take, s, r->err) == FLOE_OK && s->bytes.bad)
        floe_error_set(r->err, FLOE_ENOMEM, "tier: no memory for a scan");
    for (uint32_t i = 0; i < s->count; i++) {
        struct tier_entry *e = &s->entries[i];
        e->head.p = s->bytes.p + e->at;
        e->body.p = e->head.p + e->head.n;
    }
}

static void run_reopen(struct tier_rocksdb *t, struct tier_req *r)
{
    floe_tier_db_close(&t->db);
    floe_tier_db_erase(t->db_dir);
    struct floe_error err = {0};
    if (floe_tier_db_open(&t->db, t->db_dir, t->memory_bytes, &err) == FLOE_OK) {
        struct floe_tier_db_written w;
        floe_tier_db_drop(t->db, r->head, r->head, r->head, 0); /* notes the head */
        floe_tier_db_write(t->db, &w);
        err = w.durable_err;
    }
    t->broken = err;
    atomic_store(&t->is_broken, err.code != FLOE_OK);
}

/* Runs one request. False after a close. */
static bool run(struct tier_rocksdb *t, struct tier_req *r)
{
    if (r->kind == TIER_PUT || r->kind == TIER_DROP) {
        if (r->kind == TIER_PUT)
            add_put(t, r);
        else if (!t->broken.code)
            floe_tier_db_drop(t->db, r->from, r->to, r->head, r->freed);
        floe_tier_queue_push(&t->group, r);
        if (t->db && floe_tier_db_group_bytes(t->db) >= FLOE_TIER_GROUP_MAX)
            flush_group(t);
        return true;
    }
    flush_group(t);
    if (r->kind == TIER_GET)
        run_get(t, r);
    else if (r->kind == TIER_SCAN)
        run_scan(t, r);
    else if (r->kind == TIER_META && !r->err->code)
        r->err->code = floe_tier_metas_store(t->dir, floe_slice(r->bytes.p, r->bytes.n), r->err);
    else if (r->kind == TIER_REOPEN)
        run_reopen(t, r);
    else if (r->kind == TIER_CLOSE)
        floe_tier_db_close(&t->db);
    bool last = r->kind == TIER_CLOSE;
    struct tier_queue one;
    floe_tier_queue_init(&one);
    floe_tier_queue_push(&one, r);
    give_back(t, &one);
    return !last;
}

static void *writer(void *arg)
{
    struct tier_rocksdb *t = arg;
    for (bool more = true; more;) {
        pthread_mutex_lock(&t->lock);
        while (!t->queue.first) {
            t->waiting = true;
            pthread_cond_wait(&t->wake, &t->lock);
        }
        t->waiting = false;
        struct tier_req *r = t->queue.first;
        floe_tier_queue_init(&t->queue);
        pthread_mutex_unlock(&t->lock);
        for (struct tier_req *next; r && more; r = next) {
            next = r->next;
            more = run(t, r);
        }
        if (more)
            flush_group(t);
    }
    return NULL;
}

enum floe_err floe_tier_writer_start(struct tier_rocksdb *t, struct floe_error *err)
{
    floe_tier_queue_init(&t->group);
    sigset_t all, old; /* signals are the loop's */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int e = pthread_create(&t->thread, NULL, writer, t);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return e ? floe_tier_errno(err, e, "cannot start a thread for", t->dir) : FLOE_OK;
}
