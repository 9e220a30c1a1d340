/* Views: partitions of other sessions, read for clients. Building, lease changes, disuse. */
#include <inttypes.h>
#include <stdlib.h>

#include "follow_int.h"
#include "rebuild_int.h"
#include "share.h"

#include <floe/base/mutant.h>

static uint64_t now_us(const struct floe_log *log)
{
    return floe_loop_now_us(log->cfg.loop);
}

static struct floe_view *view_get(const struct floe_log *log, const struct floe_tp *tp)
{
    for (struct floe_map_node *n = floe_map_first(&log->follow->views, floe_tp_hash(tp)); n;
         n = floe_map_next_same(n)) {
        struct floe_view *v = FLOE_MAP_ENTRY(n, struct floe_view, node);
        if (floe_tp_eq(&v->tp, tp))
            return v;
    }
    return NULL;
}

struct floe_partition *floe_follow_get(struct floe_log *log, const struct floe_tp *tp)
{
    struct floe_view *v = view_get(log, tp);
    return v && v->cur ? v->cur->p : NULL;
}

struct floe_partition *floe_follow_building(struct floe_log *log, const struct floe_tp *tp)
{
    struct floe_view *v = view_get(log, tp);
    return v && v->next && !v->next->ready ? v->next->p : NULL;
}

uint32_t floe_follow_count(const struct floe_log *log)
{
    return log->follow->count;
}

/* ---- feeds ---------------------------------------------------------------------------------------- */

/* It gets nothing more. The chain goes with its last feed. */
static void detach(struct floe_feed *f)
{
    struct follow_chain *c = f->chain;
    f->chain = NULL;
    floe_list_remove(&f->link);
    if (c && floe_list_empty(&c->feeds) && !floe_timer_armed(&c->timer))
        floe_timer_start(c->log->cfg.loop, &c->timer, FOLLOW_CHAIN_LINGER_US);
}

static void feed_free(struct floe_feed **out)
{
    struct floe_feed *f = *out;
    if (!f)
        return;
    *out = NULL;
    for (struct floe_list *n; (n = floe_list_pop_front(&f->deltas));)
        free(FLOE_LIST_ENTRY(n, struct follow_delta, link));
    detach(f);
    floe_partition_destroy(f->p, FLOE_ENOTHOLDER);
    free(f);
}

static void view_free(struct floe_view *v)
{
    struct floe_follow *fo = v->log->follow;
    feed_free(&v->next);
    feed_free(&v->cur);
    floe_map_remove(&fo->views, &v->node);
    floe_list_remove(&v->link);
    floe_list_remove(&v->due);
    fo->count--;
    fo->bytes -= v->bytes;
    if (v->log->cfg.cache_budget)
        floe_budget_give(v->log->cfg.cache_budget, v->bytes);
    free(v);
}

void floe_follow_drop(struct floe_log *log, const struct floe_tp *tp)
{
    struct floe_view *v = view_get(log, tp);
    if (v)
        view_free(v);
}

static void want_build(struct floe_view *v)
{
    struct floe_follow *fo = v->log->follow;
    if (v->next || !floe_list_empty(&v->due) || now_us(v->log) < v->retry_us)
        return;
    floe_list_push_back(&fo->due, &v->due);
    if (!floe_timer_armed(&fo->start))
        floe_timer_start(v->log->cfg.loop, &fo->start, 0);
}

static void build_failed(struct floe_view *v, const struct floe_error *err)
{
    struct floe_log *log = v->log;
    feed_free(&v->next);
    uint64_t wait = FOLLOW_RETRY_MIN_US << FLOE_MIN(v->fails, 8u);
    v->retry_us = now_us(log) + FLOE_MIN(wait, (uint64_t)FOLLOW_RETRY_MAX_US);
    if (v->fails++ == 3) {
        struct floe_error told = *err;
        floe_error_prefix(&told, "a partition of another broker cannot be read here");
        floe_log_note(log, &told);
    }
}

void floe_follow_failed(struct floe_feed *f, const struct floe_error *err)
{
    struct floe_view *v = f->view;
    if (f == v->next) {
        build_failed(v, err);
        return;
    }
    detach(f); /* what it has stays good, and is served until a new one is there */
    want_build(v);
}

/* ---- what the chain brings ------------------------------------------------------------------------ */

static void apply(struct floe_feed *f, uint64_t seq, const struct floe_segment_block *b)
{
    struct floe_partition *p = f->p;
    struct floe_error err;
    enum floe_err rc =
        b->base_offset == p->next_offset ? floe_rebuild_apply(p, b, &f->session, seq) : FLOE_ECORRUPT;
    if (rc == FLOE_OK) {
        p->high_watermark = p->started_end = p->next_offset;
        floe_partition_wake_data(p);
        return;
    }
    floe_error_set(&err, rc, "key %" PRIu64 " holds offsets from %" PRId64 ", but %" PRId64 " were due", seq,
                   b->base_offset, p->next_offset);
    floe_follow_failed(f, &err);
}

static void take(struct floe_feed *f, const struct follow_chain *c, uint64_t seq,
                 const struct floe_segment_block *b)
{
    if (!f || f->chain != c || seq < f->first || seq < f->from || b->leader_epoch != f->epoch)
        return;
    if (f->ready) {
        apply(f, seq, b);
        return;
    }
    struct follow_delta *d = f->delta_n < FOLLOW_DELTAS_MAX ? malloc(sizeof *d) : NULL;
    if (!d) {
        struct floe_error err;
        floe_error_set(&err, FLOE_ENOMEM, "too much came while it was rebuilt");
        floe_follow_failed(f, &err);
        return;
    }
    d->block = *b;
    d->seq = seq;
    f->delta_n++;
    floe_list_push_back(&f->deltas, &d->link);
}

void follow_take_block(struct follow_chain *c, uint64_t seq, const struct floe_segment_block *b)
{
    struct floe_tp tp = {.topic = b->topic, .index = b->partition};
    struct floe_view *v = view_get(c->log, &tp);
    if (!v)
        return;
    take(v->cur, c, seq, b);
    take(v->next, c, seq, b);
}

void follow_missed(struct follow_chain *c, const struct floe_error *why)
{
    FLOE_LIST_EACH_SAFE(it, &c->feeds)
    floe_follow_failed(FLOE_LIST_ENTRY(it, struct floe_feed, link), why);
}

/* ---- building ------------------------------------------------------------------------------------- */

/* The rebuild has given everything below `from`; what came since is applied, and it takes its place. */
void floe_follow_rebuilt(struct floe_feed *f)
{
    struct floe_view *v = f->view;
    struct floe_partition *p = f->p, *old = v->cur ? v->cur->p : NULL;
    struct floe_error err;
    if (floe_partition_begin_epoch(p, f->epoch, p->next_offset) != FLOE_OK) {
        floe_error_set(&err, FLOE_ENOMEM, "out of memory");
        build_failed(v, &err);
        return;
    }
    f->ready = true;
    p->high_watermark = p->started_end = p->next_offset;
    for (struct floe_list *n; (n = floe_list_pop_front(&f->deltas));) {
        struct follow_delta *d = FLOE_LIST_ENTRY(n, struct follow_delta, link);
        apply(f, d->seq, &d->block);
        free(d);
        if (v->next != f)
            return; /* it failed */
    }
    if (old)
        p->log_start = FLOE_MAX(p->log_start, old->log_start);
    if (old && p->high_watermark < old->high_watermark) {
        floe_error_set(&err, FLOE_ECORRUPT, "it ends at %" PRId64 " now, and ended at %" PRId64 " before",
                       p->high_watermark, old->high_watermark);
        build_failed(v, &err);
        return;
    }
    p->state = FLOE_PARTITION_SERVING;
    v->next = NULL;
    if (old) {
        for (struct floe_list *n; (n = floe_list_pop_front(&old->data_waiters));)
            floe_list_push_back(&p->data_waiters, n);
        feed_free(&v->cur);
    }
    v->cur = f;
    v->fails = 0;
    v->retry_us = 0;
    floe_partition_wake_data(p);
    if (f->chain)
        follow_chain_run(f->chain);
}

/* The number of keys that are known to be committed in the session's chain. */
static uint64_t committed(const struct floe_log *log, const struct floe_session_name *s,
                          const struct floe_lease_entry *e)
{
    struct floe_node_info n;
    uint64_t keys = 0;
    if (e && e->checkpoint.present && floe_session_name_eq(&e->checkpoint.session, s))
        keys = e->checkpoint.seq + 1;
    if (log->cfg.hooks.node(log->cfg.hooks.user, s->node, &n) && floe_session_name_eq(&n.session, s)) {
        bool over = n.state == FLOE_NODE_SEALED || n.state == FLOE_NODE_ENDED;
        keys = FLOE_MAX(keys, over ? n.end : n.committed);
    }
    return keys;
}

static bool last_is_open(const struct floe_lease_entry *e)
{
    return e->span_count > 0 && e->spans[e->span_count - 1].end == FLOE_SPAN_OPEN;
}

static struct floe_feed *feed_new(struct floe_view *v, const struct floe_lease_entry *e)
{
    struct floe_log *log = v->log;
    struct floe_feed *f = calloc(1, sizeof *f);
    if (!f)
        return NULL;
    f->view = v;
    f->epoch = e->epoch;
    f->session = e->holder;
    f->ckpt = e->checkpoint;
    floe_list_init(&f->deltas);
    floe_list_init(&f->link);
    f->p = floe_partition_create_aside(log, &v->tp, e->epoch);
    if (!f->p) {
        free(f);
        return NULL;
    }
    f->p->feed = f;
    v->next = f;
    if (!last_is_open(e))
        return f;
    const struct floe_span *open = &e->spans[e->span_count - 1];
    f->session = open->session;
    f->epoch = open->epoch;
    f->first = open->first;
    uint64_t base = committed(log, &open->session, e);
    if (FLOE_MUTANT(VIEW_FROM_FIRST))
        base = FLOE_MAX(base, open->first);
    f->chain = follow_chain_of(log, &open->session, base);
    if (!f->chain) {
        feed_free(&v->next);
        return NULL;
    }
    f->from = f->chain->proven;
    floe_list_push_back(&f->chain->feeds, &f->link);
    return f;
}

/* The lease as the rebuild takes it: closed spans, the open one closed at what the chain's follower has
 * passed. */
static bool start_rebuild(struct floe_rebuild *g, struct floe_feed *f, const struct floe_lease_entry *e)
{
    struct floe_lease_entry closed = *e;
    struct floe_span *spans = malloc((e->span_count ? e->span_count : 1) * sizeof *spans);
    if (!spans)
        return false;
    memcpy(spans, e->spans, e->span_count * sizeof *spans);
    if (f->chain)
        spans[e->span_count - 1].end = FLOE_MAX(f->first, f->from);
    closed.spans = spans;
    bool ok = floe_rebuild_add(g, &closed, f->p);
    free(spans);
    return ok;
}

static void build(struct floe_view *v, struct floe_rebuild **g)
{
    struct floe_log *log = v->log;
    struct floe_lease_entry e;
    struct floe_error err;
    if (v->next)
        return;
    if (!log->cfg.hooks.lease(log->cfg.hooks.user, &v->tp, &e)) {
        view_free(v);
        return;
    }
    floe_error_set(&err, FLOE_ENOMEM, "out of memory");
    struct floe_feed *f = feed_new(v, &e);
    if (f && !*g)
        *g = floe_rebuild_group(log, v->fails ? log->cfg.store : floe_share_store(log->share),
                                FLOE_REBUILD_VIEWS);
    if (!f || !*g || !start_rebuild(*g, f, &e))
        build_failed(v, &err);
}

static void on_start(struct floe_timer *t)
{
    struct floe_follow *fo = t->user;
    struct floe_rebuild *g = NULL;
    for (struct floe_list *n; (n = floe_list_pop_front(&fo->due));)
        build(FLOE_LIST_ENTRY(n, struct floe_view, due), &g);
}

/* ---- leases --------------------------------------------------------------------------------------- */

static bool fits(const struct floe_feed *f, const struct floe_lease_entry *e)
{
    if (!f || f->p->epoch != e->epoch)
        return false;
    return last_is_open(e) ? f->chain && f->epoch == e->spans[e->span_count - 1].epoch : true;
}

/* Its index only grows: the holder alone puts it into blocks. So a long one is built anew, from a checkpoint
 * that has come since. */
static bool grown(const struct floe_feed *f, const struct floe_lease_entry *e)
{
    const struct floe_checkpoint_ref *c = &e->checkpoint;
    return floe_index_memory(f->p->index) > FOLLOW_INDEX_BYTES && c->present &&
           (!f->ckpt.present || !floe_session_name_eq(&c->session, &f->ckpt.session) ||
            c->seq >= f->ckpt.seq + FLOE_LOG_SPAN_KEYS_MAX);
}

/* A view's log start follows the lease's checkpoint: what DeleteRecords took is not served again. */
static void raise_start(struct floe_feed *f, int64_t log_start)
{
    if (f && f->ready && log_start > f->p->log_start) {
        f->p->log_start = FLOE_MIN(log_start, f->p->high_watermark);
        floe_partition_wake_data(f->p);
    }
}

/* False when the view is gone, with its lease. */
static bool look(struct floe_view *v)
{
    struct floe_log *log = v->log;
    struct floe_lease_entry e;
    if (!log->cfg.hooks.lease(log->cfg.hooks.user, &v->tp, &e)) {
        view_free(v);
        return false;
    }
    if (log->chain.open && floe_session_name_eq(&e.holder, &log->chain.session))
        return true; /* the log serves it itself */
    raise_start(v->cur, e.checkpoint.log_start);
    if (v->next && !fits(v->next, &e))
        feed_free(&v->next);
    if (!fits(v->cur, &e) || grown(v->cur, &e))
        want_build(v);
    return true;
}

static void on_check(struct floe_timer *t)
{
    struct floe_follow *fo = t->user;
    FLOE_LIST_EACH_SAFE(it, &fo->all)
    look(FLOE_LIST_ENTRY(it, struct floe_view, link));
    FLOE_LIST_EACH(it, &fo->chains)
    {
        struct follow_chain *c = FLOE_LIST_ENTRY(it, struct follow_chain, link);
        follow_chain_known(c, committed(fo->log, &c->session, NULL));
        follow_chain_run(c);
    }
}

void floe_log_leases_changed(struct floe_log *log)
{
    struct floe_follow *fo = log->follow;
    floe_starts_look(log);
    if (fo->count > 0 && !floe_timer_armed(&fo->check))
        floe_timer_start(log->cfg.loop, &fo->check, FOLLOW_CHECK_US);
}

/* ---- disuse --------------------------------------------------------------------------------------- */

static size_t memory_of(const struct floe_view *v)
{
    size_t n = sizeof *v;
    if (v->cur)
        n += sizeof *v->cur + sizeof *v->cur->p + floe_index_memory(v->cur->p->index);
    if (v->next)
        n += sizeof *v->next + sizeof *v->next->p + floe_index_memory(v->next->p->index);
    return n;
}

static void recount(struct floe_view *v)
{
    struct floe_budget *b = v->log->cfg.cache_budget;
    size_t n = memory_of(v);
    if (b && n > v->bytes)
        floe_budget_force(b, n - v->bytes);
    else if (b)
        floe_budget_give(b, v->bytes - n);
    v->log->follow->bytes += n - v->bytes;
    v->bytes = n;
}

/* Views take an eighth of the cache at most, but where that is little. */
static bool over_memory(const struct floe_log *log)
{
    const struct floe_budget *b = log->cfg.cache_budget;
    return b && log->follow->bytes > FLOE_MAX(b->limit / 8, (size_t)FOLLOW_BYTES_MIN);
}

static bool unused(const struct floe_view *v, uint64_t for_us)
{
    return now_us(v->log) - v->used_us > for_us && (!v->cur || floe_list_empty(&v->cur->p->data_waiters));
}

static void on_tick(struct floe_timer *t)
{
    struct floe_follow *fo = t->user;
    FLOE_LIST_EACH_SAFE(it, &fo->all)
    {
        struct floe_view *v = FLOE_LIST_ENTRY(it, struct floe_view, link);
        recount(v);
        if (unused(v, over_memory(fo->log) ? FOLLOW_USED_US : FOLLOW_IDLE_US))
            view_free(v);
    }
    on_check(&fo->check);
    if (fo->count > 0)
        floe_timer_start(fo->log->cfg.loop, &fo->tick, FOLLOW_TICK_US);
}

/* ---- asked for ------------------------------------------------------------------------------------ */

static struct floe_view *view_new(struct floe_log *log, const struct floe_tp *tp)
{
    struct floe_follow *fo = log->follow;
    if (fo->count >= FOLLOW_VIEWS_MAX || over_memory(log)) {
        struct floe_view *oldest = FLOE_LIST_ENTRY(fo->all.next, struct floe_view, link);
        if (!unused(oldest, FOLLOW_USED_US))
            return NULL;
        view_free(oldest);
    }
    struct floe_view *v = calloc(1, sizeof *v);
    if (!v)
        return NULL;
    v->tp = *tp;
    v->log = log;
    floe_list_init(&v->link);
    floe_list_init(&v->due);
    if (!floe_map_insert(&fo->views, &v->node, floe_tp_hash(tp))) {
        free(v);
        return NULL;
    }
    floe_list_push_back(&fo->all, &v->link);
    fo->count++;
    recount(v);
    if (!floe_timer_armed(&fo->tick))
        floe_timer_start(log->cfg.loop, &fo->tick, FOLLOW_TICK_US);
    return v;
}

enum floe_view_state floe_log_view(struct floe_log *log, const struct floe_tp *tp,
                                   struct floe_partition **out)
{
    struct floe_lease_entry e;
    *out = NULL;
    if (!log->cfg.hooks.lease || !log->cfg.hooks.node)
        return FLOE_VIEW_NONE;
    struct floe_view *v = view_get(log, tp);
    if (!v && log->cfg.hooks.lease(log->cfg.hooks.user, tp, &e))
        v = view_new(log, tp);
    if (!v || !look(v))
        return FLOE_VIEW_NONE;
    v->used_us = now_us(log);
    floe_list_remove(&v->link);
    floe_list_push_back(&log->follow->all, &v->link);
    if (v->cur) {
        if (v->cur->chain)
            follow_chain_run(v->cur->chain);
        *out = v->cur->p;
        /* A client would take the end of what was read so far for the end of the partition. */
        return !v->cur->chain || follow_chain_caught_up(v->cur->chain) ? FLOE_VIEW_SERVING
                                                                       : FLOE_VIEW_BUILDING;
    }
    return v->next || !floe_list_empty(&v->due) ? FLOE_VIEW_BUILDING : FLOE_VIEW_NONE;
}

uint32_t floe_log_followed(const struct floe_log *log, struct floe_followed *out, uint32_t max)
{
    uint32_t n = 0;
    FLOE_LIST_EACH(it, &log->follow->chains)
    {
        const struct follow_chain *c = FLOE_LIST_ENTRY(it, struct follow_chain, link);
        if (n < max) {
            struct floe_followed *o = &out[n];
            *o = (struct floe_followed){.session = c->session,
                                        .proven = c->proven,
                                        .hinted = FLOE_MAX(c->hinted, c->known),
                                        .ended = c->ended};
            FLOE_LIST_EACH(f, &c->feeds)
            o->views++;
            o->lag_us = follow_chain_lag_us(c);
        }
        n++;
    }
    return n;
}

/* ---- life ----------------------------------------------------------------------------------------- */

enum floe_err floe_follow_init(struct floe_log *log)
{
    struct floe_follow *fo = calloc(1, sizeof *fo);
    if (!fo)
        return FLOE_ENOMEM;
    fo->log = log;
    floe_map_init(&fo->views);
    floe_list_init(&fo->all);
    floe_list_init(&fo->due);
    floe_list_init(&fo->chains);
    floe_timer_init(&fo->start, on_start, fo);
    floe_timer_init(&fo->check, on_check, fo);
    floe_timer_init(&fo->tick, on_tick, fo);
    log->follow = fo;
    return FLOE_OK;
}

void floe_follow_fini(struct floe_log *log)
{
    struct floe_follow *fo = log->follow;
    while (!floe_list_empty(&fo->all))
        view_free(FLOE_LIST_ENTRY(fo->all.next, struct floe_view, link));
    while (!floe_list_empty(&fo->chains))
        follow_chain_free(FLOE_LIST_ENTRY(fo->chains.next, struct follow_chain, link));
    floe_timer_stop(&fo->start);
    floe_timer_stop(&fo->check);
    floe_timer_stop(&fo->tick);
    floe_map_fini(&fo->views);
    free(fo);
    log->follow = NULL;
}
