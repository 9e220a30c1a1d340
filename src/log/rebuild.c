/* Rebuild: a partition's state from its checkpoint and the footers of the spans that its lease lists.
 *
 *   adopt -> [checkpoint] -> spans, oldest first -> lease read again -> serving, and a checkpoint is wanted
 *   view  -> [checkpoint] -> spans, oldest first -> floe_follow_rebuilt (follow.c)
 *
 * A footer is read once for all partitions that are taken together; those that come while others are being
 * rebuilt wait a little for each other. What comes before its turn (a later span,
 * or a span before the checkpoint is there) is kept aside. Each failure is one partition's (all those that a
 * bad footer concerns): it is answered with the error and dropped, the lease module asks again later, the
 * others go on. */
#include <stdlib.h>

#include <floe/base/crc32c.h>
#include <floe/base/mutant.h>

#include "rebuild_int.h"

/* ---- a partition's end ---------------------------------------------------------------------------- */

void floe_rebuild_part_free(struct floe_rebuild_part *rp)
{
    for (uint32_t i = 0; i < rp->span_count; i++)
        for (struct floe_list *n; (n = floe_list_pop_front(&rp->spans[i].deltas));)
            free(FLOE_LIST_ENTRY(n, struct floe_rebuild_delta, link));
    floe_list_remove(&rp->link);
    free(rp);
}

/* Out of its group: nothing refers to it there any more. */
static void leave_group(struct floe_rebuild_part *rp)
{
    struct floe_rebuild *g = rp->group;
    if (!g)
        return;
    rp->group = NULL;
    floe_list_remove(&rp->link);
    FLOE_LIST_EACH(it, &g->ranges)
    {
        if (!rp->ckpt_wait)
            break; /* its checkpoint came: no range names it */
        struct floe_rebuild_range *range = FLOE_LIST_ENTRY(it, struct floe_rebuild_range, link);
        for (uint32_t i = 0; i < range->n; i++)
            if (range->items[i].part == rp)
                range->items[i].part = NULL;
    }
    floe_rebuild_maybe_done(g);
}

void floe_rebuild_cancel(struct floe_partition *p)
{
    struct floe_rebuild_part *rp = p->rebuild;
    p->rebuild = NULL;
    rp->p = NULL;
    if (!rp->group)
        return; /* the lease is being read: its answer frees it */
    leave_group(rp);
    floe_rebuild_part_free(rp);
}

void floe_rebuild_fail(struct floe_rebuild_part *rp, const struct floe_error *err)
{
    struct floe_log *log = rp->log;
    struct floe_tp tp = rp->tp;
    int32_t epoch = rp->epoch;
    if (rp->p->feed) {
        floe_follow_failed(rp->p->feed, err);
        return;
    }
    if (rp->p->ahead) {
        floe_ahead_failed(rp->p->ahead, err);
        return;
    }
    floe_partition_destroy(rp->p, FLOE_ENOTHOLDER);
    log->cfg.hooks.adopted(log->cfg.hooks.user, &tp, epoch, err);
}

void floe_rebuild_maybe_done(struct floe_rebuild *g)
{
    if (floe_list_empty(&g->parts) && !floe_timer_armed(&g->end))
        floe_timer_start(g->log->cfg.loop, &g->end, 0);
}

static void free_group(struct floe_rebuild *g)
{
    floe_timer_stop(&g->start);
    floe_timer_stop(&g->end);
    floe_rebuild_fetch_fini(g);
    floe_list_remove(&g->link);
    free(g);
}

/* A group of adopted partitions that is at work, or one that is not yet. */
static struct floe_rebuild *adoption(struct floe_log *log, bool started)
{
    FLOE_LIST_EACH(it, &log->rebuilds)
    {
        struct floe_rebuild *g = FLOE_LIST_ENTRY(it, struct floe_rebuild, link);
        if (g->started == started && g->kind == FLOE_REBUILD_ADOPT)
            return g;
    }
    return NULL;
}

static void on_end(struct floe_timer *t)
{
    struct floe_rebuild *g = t->user;
    struct floe_log *log = g->log;
    if (!floe_list_empty(&g->parts))
        return;
    free_group(g);
    struct floe_rebuild *next = adoption(log, false);
    if (next)
        floe_timer_start(log->cfg.loop, &next->start, 0);
}

void floe_rebuild_fini(struct floe_log *log)
{
    while (!floe_list_empty(&log->rebuilds))
        free_group(FLOE_LIST_ENTRY(log->rebuilds.next, struct floe_rebuild, link));
    while (!floe_list_empty(&log->rechecks))
        floe_rebuild_part_free(FLOE_LIST_ENTRY(log->rechecks.next, struct floe_rebuild_part, link));
    while (!floe_list_empty(&log->floor_asks))
        free(FLOE_LIST_ENTRY(floe_list_pop_front(&log->floor_asks), struct floe_rebuild_ask, link));
}

/* ---- applying ------------------------------------------------------------------------------------- */

enum floe_err floe_rebuild_apply(struct floe_partition *p, const struct floe_segment_block *b,
                                 const struct floe_session_name *session, uint64_t seq)
{
    struct floe_index_entry e = floe_index_entry_of(b, session, seq);
    if (b->base_offset < p->next_offset)
        return FLOE_ECORRUPT;
    enum floe_err rc = floe_partition_begin_epoch(p, b->leader_epoch, b->base_offset);
    if (rc == FLOE_OK)
        rc = floe_index_append(p->index, &e);
    if (rc == FLOE_OK)
        p->next_offset = b->end_offset;
    return rc;
}

static enum floe_err apply_batch(struct floe_partition *p, const struct floe_segment_batch *b)
{
    if (b->producer_id < 0 || b->base_sequence < 0 || FLOE_MUTANT(PRODUCERS_FORGOTTEN))
        return FLOE_OK;
    struct floe_batch head = {.base_offset = b->base_offset,
                              .max_timestamp = b->max_timestamp,
                              .producer_id = b->producer_id,
                              .producer_epoch = b->producer_epoch,
                              .base_sequence = b->base_sequence,
                              .last_offset_delta = b->last_offset_delta};
    return floe_producer_note(p, &head);
}

/* False when the partition failed (and is gone). */
static bool applied(struct floe_rebuild_part *rp, const struct floe_segment_block *b,
                    const struct floe_session_name *session, uint64_t seq, enum floe_err rc)
{
    if (rc == FLOE_OK)
        return true;
    char key[FLOE_CHAIN_KEY_MAX];
    struct floe_error err;
    floe_chain_key(key, session, seq);
    if (rc == FLOE_ENOMEM)
        floe_error_set(&err, rc, "out of memory");
    else
        floe_error_set(
            &err, FLOE_ECORRUPT,
            "%s: the block at %llu holds offsets [%lld, %lld), but the partition is at %lld already", key,
            (unsigned long long)b->position, (long long)b->base_offset, (long long)b->end_offset,
            (long long)rp->p->next_offset);
    floe_rebuild_fail(rp, &err);
    return false;
}

static bool apply_deltas(struct floe_rebuild_part *rp, struct floe_rebuild_span *s)
{
    for (struct floe_list *n; (n = floe_list_pop_front(&s->deltas));) {
        struct floe_rebuild_delta *d = FLOE_LIST_ENTRY(n, struct floe_rebuild_delta, link);
        enum floe_err rc = floe_rebuild_apply(rp->p, &d->block, &s->span.session, d->seq);
        for (uint32_t i = 0; i < d->n && rc == FLOE_OK; i++)
            rc = apply_batch(rp->p, &d->batches[i]);
        rp->p->carried = d->seq + 1;
        bool ok = applied(rp, &d->block, &s->span.session, d->seq, rc);
        free(d);
        if (!ok)
            return false;
    }
    return true;
}

/* Goes on as far as what was delivered allows. The partition may be gone after. */
static void advance(struct floe_rebuild_part *rp)
{
    if (rp->ckpt_wait)
        return;
    for (; rp->cur < rp->span_count; rp->cur++) {
        struct floe_rebuild_span *s = &rp->spans[rp->cur];
        if (!apply_deltas(rp, s))
            return;
        if (s->source && !floe_rebuild_passed(s->source, s->span.end))
            return;
    }
    struct floe_feed *feed = rp->p->feed;
    struct floe_ahead *ahead = rp->p->ahead;
    leave_group(rp);
    if (!feed && !ahead) {
        rp->ready_us = floe_loop_now_us(rp->log->cfg.loop);
        floe_rebuild_serve(rp);
        return;
    }
    rp->p->rebuild = NULL;
    floe_rebuild_part_free(rp);
    if (feed)
        floe_follow_rebuilt(feed);
    else
        floe_ahead_rebuilt(ahead);
}

void floe_rebuild_advance_all(struct floe_rebuild *g)
{
    FLOE_LIST_EACH_SAFE(it, &g->parts)
    advance(FLOE_LIST_ENTRY(it, struct floe_rebuild_part, link));
}

/* ---- what came ------------------------------------------------------------------------------------ */

static struct floe_rebuild_span *span_of(struct floe_rebuild_part *rp, const struct floe_rebuild_source *src,
                                         uint64_t seq, int32_t epoch)
{
    for (uint32_t i = rp->cur; i < rp->span_count; i++) {
        struct floe_rebuild_span *s = &rp->spans[i];
        if (s->source == src && s->span.first <= seq && seq < s->span.end &&
            (s->span.epoch == epoch || FLOE_MUTANT(SPAN_EPOCH_IGNORED)))
            return s;
    }
    return NULL;
}

static struct floe_rebuild_part *part_of(struct floe_rebuild *g, const struct floe_uuid *topic, int32_t index)
{
    struct floe_tp tp = {.topic = *topic, .index = index};
    struct floe_partition *p = g->kind == FLOE_REBUILD_ADOPT   ? floe_partition_get(g->log, &tp)
                               : g->kind == FLOE_REBUILD_VIEWS ? floe_follow_building(g->log, &tp)
                                                               : floe_ahead_building(g->log, &tp);
    return p && p->rebuild && p->rebuild->group == g ? p->rebuild : NULL;
}

/* The block that the cursor stands on. */
static void take_block(struct floe_rebuild_source *src, uint64_t seq, const struct floe_segment_block *b,
                       struct floe_segment_cursor *c)
{
    struct floe_rebuild_part *rp = part_of(src->group, &b->topic, b->partition);
    struct floe_rebuild_span *s = rp ? span_of(rp, src, seq, b->leader_epoch) : NULL;
    if (!s)
        return;
    if (!rp->p->topic_name) {
        char name[FLOE_SEGMENT_TOPIC_NAME_MAX + 1];
        floe_segment_topic_name(c->f, b->topic_ref, name);
        (void)!floe_partition_set_name(rp->p, name); /* the first append sets it else */
    }
    bool now = !rp->ckpt_wait && s == &rp->spans[rp->cur];
    uint32_t batches = rp->p->feed ? 0 : b->batch_count; /* a view needs no producers */
    struct floe_rebuild_delta *d = malloc(sizeof *d + (size_t)batches * sizeof d->batches[0]);
    if (!d) {
        applied(rp, b, &src->session, seq, FLOE_ENOMEM);
        return;
    }
    d->block = *b;
    d->seq = seq;
    for (d->n = 0; d->n < batches && floe_segment_next_batch(c, &d->batches[d->n]); d->n++)
        ;
    floe_list_push_back(&s->deltas, &d->link);
    if (now)
        apply_deltas(rp, s);
}

/* True when the block lies in the bytes that came with the footer, and was taken from there. */
static bool taken_from_tail(struct floe_rebuild_part *rp, const struct floe_rebuild_tail *t,
                            const struct floe_segment_opaque *o)
{
    if (o->position < t->at)
        return false;
    const uint8_t *p = t->bytes.p + (o->position - t->at);
    if (floe_crc32c(0, p, o->length) != o->crc)
        return false; /* read again, to be sure */
    floe_rebuild_checkpoint(rp, floe_slice(p, o->length), t->footer->key);
    return true;
}

/* Checkpoints that lie near each other are read together. */
static void get_checkpoints(struct floe_rebuild_source *src, uint64_t seq,
                            const struct floe_rebuild_ckpt *items, uint32_t n)
{
    for (uint32_t from = 0, to; from < n; from = to) {
        uint64_t start = items[from].position, end = start + items[from].length;
        for (to = from + 1; to < n; to++) {
            uint64_t next = items[to].position + items[to].length;
            if (items[to].position > end + FLOE_REBUILD_RANGE_GAP || next - start > FLOE_REBUILD_RANGE_MAX)
                break;
            end = next;
        }
        if (floe_rebuild_get_range(src, seq, items + from, to - from) != FLOE_OK)
            for (uint32_t i = from; i < to; i++)
                items[i].part->ckpt_found = false; /* fails below */
    }
}

static void take_checkpoints(struct floe_rebuild_source *src, uint64_t seq, const struct floe_rebuild_tail *t,
                             struct floe_segment_cursor *c)
{
    struct floe_rebuild_ckpt *items =
        malloc((t->footer->opaque_count ? t->footer->opaque_count : 1) * sizeof *items);
    struct floe_segment_opaque o;
    uint32_t n = 0;
    while (items && floe_segment_next_opaque(c, &o)) {
        struct floe_rebuild_part *rp = o.kind == FLOE_OPAQUE_CHECKPOINT && o.has_topic
                                           ? part_of(src->group, &o.topic, o.partition)
                                           : NULL;
        if (!rp || !rp->ckpt_wait || rp->ckpt_found || rp->ckpt.seq != seq ||
            !floe_session_name_eq(&rp->ckpt.session, &src->session))
            continue;
        rp->ckpt_found = true;
        if (!taken_from_tail(rp, t, &o))
            items[n++] = (struct floe_rebuild_ckpt){rp, o.position, o.length, o.crc};
    }
    get_checkpoints(src, seq, items, n);
    free(items);
}

/* Everybody who needs that key. */
static void fail_all(struct floe_rebuild_source *src, uint64_t seq, const struct floe_error *err)
{
    FLOE_LIST_EACH_SAFE(it, &src->group->parts)
    {
        struct floe_rebuild_part *rp = FLOE_LIST_ENTRY(it, struct floe_rebuild_part, link);
        bool needs =
            rp->ckpt_wait && rp->ckpt.seq == seq && floe_session_name_eq(&rp->ckpt.session, &src->session);
        for (uint32_t i = 0; i < rp->span_count && !needs; i++)
            needs =
                rp->spans[i].source == src && rp->spans[i].span.first <= seq && seq < rp->spans[i].span.end;
        if (needs)
            floe_rebuild_fail(rp, err);
    }
}

/* Whoever looked for its checkpoint at that key, and did not find it. */
static void fail_without_checkpoint(struct floe_rebuild_source *src, uint64_t seq)
{
    FLOE_LIST_EACH_SAFE(it, &src->group->parts)
    {
        struct floe_rebuild_part *rp = FLOE_LIST_ENTRY(it, struct floe_rebuild_part, link);
        if (!rp->ckpt_wait || rp->ckpt_found || rp->ckpt.seq != seq ||
            !floe_session_name_eq(&rp->ckpt.session, &src->session))
            continue;
        char key[FLOE_CHAIN_KEY_MAX];
        struct floe_error missing;
        floe_chain_key(key, &src->session, seq);
        floe_error_set(&missing, FLOE_ECORRUPT,
                       "%s holds no checkpoint of the partition, though its lease says so", key);
        floe_rebuild_fail(rp, &missing);
    }
}

void floe_rebuild_deliver(struct floe_rebuild_source *src, uint64_t seq, const struct floe_rebuild_tail *tail,
                          const struct floe_error *err)
{
    const struct floe_segment_footer *footer = tail->footer;
    if (!footer) {
        if (err->code != FLOE_OK)
            fail_all(src, seq, err);
        else
            fail_without_checkpoint(src, seq);
        return;
    }
    struct floe_segment_cursor c;
    struct floe_segment_block b;
    floe_segment_cursor_init(&c, footer);
    while (floe_segment_next_block(&c, &b))
        take_block(src, seq, &b, &c);
    take_checkpoints(src, seq, tail, &c);
    const struct floe_error *bad = floe_segment_cursor_err(&c);
    if (bad->code != FLOE_OK)
        fail_all(src, seq, bad);
    else
        fail_without_checkpoint(src, seq);
}

void floe_rebuild_checkpoint(struct floe_rebuild_part *rp, struct floe_slice bytes, const char *key)
{
    struct floe_error err;
    if (floe_checkpoint_decode(rp->p, bytes, &rp->ckpt, key, &err) != FLOE_OK) {
        floe_rebuild_fail(rp, &err);
        return;
    }
    rp->ckpt_wait = false;
    advance(rp);
}

/* ---- start ---------------------------------------------------------------------------------------- */

static enum floe_err want_spans(struct floe_rebuild *g, struct floe_rebuild_part *rp)
{
    const struct floe_session_name *own = &g->log->chain.session;
    if (rp->ckpt_wait) {
        struct floe_rebuild_source *src = floe_rebuild_source_of(g, &rp->ckpt.session);
        if (!src || floe_rebuild_want(src, rp->ckpt.seq, rp->ckpt.seq + 1) != FLOE_OK)
            return FLOE_ENOMEM;
    }
    for (uint32_t i = 0; i < rp->span_count; i++) {
        struct floe_rebuild_span *s = &rp->spans[i];
        bool open = s->span.end == FLOE_SPAN_OPEN;
        if (open && !floe_session_name_eq(&s->span.session, own))
            return FLOE_EINVAL;
        if (open || s->span.first >= s->span.end)
            continue; /* nothing of ours before we serve; nothing at all */
        s->source = floe_rebuild_source_of(g, &s->span.session);
        if (!s->source || floe_rebuild_want(s->source, s->span.first, s->span.end) != FLOE_OK)
            return FLOE_ENOMEM;
    }
    return FLOE_OK;
}

static struct floe_rebuild_part *make_part(struct floe_log *log, const struct floe_lease_entry *e,
                                           struct floe_partition *p)
{
    struct floe_rebuild_part *rp = calloc(1, sizeof *rp + e->span_count * sizeof rp->spans[0]);
    if (!rp)
        return NULL;
    rp->p = p;
    rp->p->rebuild = rp;
    rp->log = log;
    rp->tp = e->tp;
    rp->epoch = e->epoch;
    rp->ckpt = e->checkpoint;
    rp->ckpt_wait = e->checkpoint.present;
    rp->span_count = e->span_count;
    floe_list_init(&rp->link);
    for (uint32_t i = 0; i < e->span_count; i++) {
        rp->spans[i].span = e->spans[i];
        floe_list_init(&rp->spans[i].deltas);
    }
    return rp;
}

bool floe_rebuild_add(struct floe_rebuild *g, const struct floe_lease_entry *e, struct floe_partition *p)
{
    struct floe_rebuild_part *rp = make_part(g->log, e, p);
    if (!rp)
        return false;
    rp->group = g;
    floe_list_push_back(&g->parts, &rp->link);
    return true;
}

bool floe_rebuild_done(struct floe_log *log, const struct floe_lease_entry *e, struct floe_partition *p,
                       uint64_t ready_us)
{
    struct floe_rebuild_part *rp = make_part(log, e, p);
    if (!rp) {
        floe_partition_destroy(p, FLOE_ENOTHOLDER);
        return false;
    }
    rp->ready_us = ready_us;
    log->stats.read_ahead++;
    floe_rebuild_serve(rp);
    return true;
}

/* So long a group of adopted partitions still waits for others to come. */
static uint64_t gathers_us(const struct floe_rebuild *g)
{
    uint64_t now = floe_loop_now_us(g->log->cfg.loop), until = g->made_us + FLOE_REBUILD_GATHER_US;
    return g->kind == FLOE_REBUILD_ADOPT && now < until && adoption(g->log, true) ? until - now : 0;
}

static void on_start(struct floe_timer *t)
{
    struct floe_rebuild *g = t->user;
    uint64_t wait_us = g->started ? 0 : gathers_us(g);
    if (wait_us) {
        floe_timer_start(g->log->cfg.loop, &g->start, wait_us);
        return;
    }
    if (!g->started) {
        g->started = true;
        FLOE_LIST_EACH_SAFE(it, &g->parts)
        {
            struct floe_rebuild_part *rp = FLOE_LIST_ENTRY(it, struct floe_rebuild_part, link);
            enum floe_err rc = want_spans(g, rp);
            if (rc == FLOE_OK)
                continue;
            struct floe_error err;
            floe_error_set(&err, rc, "%s",
                           rc == FLOE_ENOMEM ? "out of memory"
                                             : "the lease lists an open span of another session");
            floe_rebuild_fail(rp, &err);
        }
        floe_rebuild_merge(g);
        floe_rebuild_advance_all(g);
    }
    floe_rebuild_fetch(g);
}

static void refuse(struct floe_log *log, const struct floe_lease_entry *e, enum floe_err code,
                   const char *why)
{
    struct floe_error err;
    floe_error_set(&err, code, "%s", why);
    log->cfg.hooks.adopted(log->cfg.hooks.user, &e->tp, e->epoch, &err);
}

struct floe_rebuild *floe_rebuild_group(struct floe_log *log, struct floe_store *store,
                                        enum floe_rebuild_kind kind)
{
    struct floe_rebuild *g = calloc(1, sizeof *g);
    if (!g)
        return NULL;
    g->log = log;
    g->store = store;
    g->kind = kind;
    g->gets_max = FLOE_REBUILD_GETS_MAX;
    g->made_us = floe_loop_now_us(log->cfg.loop);
    floe_list_init(&g->parts);
    floe_list_init(&g->sources);
    floe_list_init(&g->ranges);
    floe_timer_init(&g->start, on_start, g);
    floe_timer_init(&g->end, on_end, g);
    floe_list_push_back(&log->rebuilds, &g->link);
    floe_timer_start(log->cfg.loop, &g->start, 0);
    return g;
}

void floe_log_adopt(struct floe_log *log, const struct floe_lease_entry *entries, uint32_t n)
{
    struct floe_rebuild *g = adoption(log, false);
    for (uint32_t i = 0; i < n; i++) {
        const struct floe_lease_entry *e = &entries[i];
        struct floe_partition *old = floe_partition_get(log, &e->tp);
        if (!log->chain.open || log->chain.lost || log->chain.stopping ||
            !floe_session_name_eq(&e->holder, &log->chain.session)) {
            refuse(log, e, FLOE_ENOTHOLDER, "the lease names another session than the open one");
            continue;
        }
        if (old && old->epoch >= e->epoch) {
            if (old->state == FLOE_PARTITION_SERVING)
                refuse(log, e, FLOE_OK, "");
            continue; /* else it is answered when its rebuild ends */
        }
        if (old)
            floe_partition_destroy(old, FLOE_ENOTHOLDER);
        if (floe_ahead_adopt(log, e))
            continue;
        if (!g)
            g = floe_rebuild_group(log, log->cfg.store, FLOE_REBUILD_ADOPT);
        struct floe_partition *p = g ? floe_partition_create(log, &e->tp, e->epoch) : NULL;
        if (p && floe_rebuild_add(g, e, p))
            continue;
        if (p)
            floe_partition_destroy(p, FLOE_ENOTHOLDER);
        refuse(log, e, FLOE_ENOMEM, "out of memory");
    }
}
