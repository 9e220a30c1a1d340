/* The tier: acks=1 batches go in with its write-ahead log before their reply; batches of closed segments that
 * wait for a slow store go in without, and leave memory until their PUT. Header of an entry:
 * docs/formats/tier.md. */
#include <floe/base/crc32c.h>
#include <stdlib.h>

#include "log_int.h"

struct floe_stage_op {
    struct floe_list link; /* log's stage_ops */
    struct floe_log *log;
    struct floe_entry *e; /* null once nobody waits for it */
    struct floe_tier_op op;
    struct floe_buf *body; /* own reference */
    uint8_t head[FLOE_STAGE_HEAD_BYTES];
    bool spill;
    size_t n;
};

/* ---- the staging header --------------------------------------------------------------------------- */

void floe_stage_head_encode(uint8_t out[FLOE_STAGE_HEAD_BYTES], const struct floe_stage_head *h)
{
    memset(out, 0, FLOE_STAGE_HEAD_BYTES);
    out[0] = FLOE_STAGE_VERSION;
    out[1] = (uint8_t)h->acks;
    memcpy(out + 4, h->tp.topic.b, 16);
    floe_put_le32(out + 20, (uint32_t)h->tp.index);
    floe_put_le32(out + 24, (uint32_t)h->epoch);
    floe_put_le32(out + 28, (uint32_t)h->session.node);
    floe_put_le32(out + 32, (uint32_t)h->session.epoch);
    floe_put_le64(out + 36, h->session.id);
    floe_put_le64(out + 44, (uint64_t)h->offset);
    floe_put_le64(out + 52, (uint64_t)h->time_ms);
    floe_put_le32(out + 60, floe_crc32c(0, out, 60));
}

enum floe_err floe_stage_head_decode(struct floe_slice in, struct floe_stage_head *out,
                                     struct floe_error *err)
{
    if (in.n < FLOE_STAGE_HEAD_BYTES)
        return floe_error_set(err, FLOE_ECORRUPT, "a tier entry's header has %zu bytes, not %u", in.n,
                              FLOE_STAGE_HEAD_BYTES);
    const uint8_t *p = in.p;
    if (p[0] != FLOE_STAGE_VERSION)
        return floe_error_set(err, FLOE_EUNSUPPORTED, "a tier entry's header has version %u", p[0]);
    if (floe_le32(p + 60) != floe_crc32c(0, p, 60))
        return floe_error_set(err, FLOE_ECORRUPT, "a tier entry's header fails its checksum");
    struct floe_stage_head h = {.acks = (int8_t)p[1],
                                .tp.index = (int32_t)floe_le32(p + 20),
                                .epoch = (int32_t)floe_le32(p + 24),
                                .session.node = (int32_t)floe_le32(p + 28),
                                .session.epoch = (int32_t)floe_le32(p + 32),
                                .session.id = floe_le64(p + 36),
                                .offset = (int64_t)floe_le64(p + 44),
                                .time_ms = (int64_t)floe_le64(p + 52)};
    memcpy(h.tp.topic.b, p + 4, 16);
    *out = h;
    return FLOE_OK;
}

/* ---- puts ----------------------------------------------------------------------------------------- */

static void free_op(struct floe_stage_op *op)
{
    floe_list_remove(&op->link);
    floe_buf_unref(op->body);
    free(op);
}

#define TIER_FINE_US 5000000u

/* Named once, until puts have succeeded for a while: a disk that is nearly full takes one and not the next.
 * No spill until one does, or until a commit may have made room. */
static void tier_failed(struct floe_log *log, const struct floe_error *err)
{
    log->tier_refuses = true;
    log->tier_failed_us = floe_loop_now_us(log->cfg.loop);
    if (log->tier_noted)
        return;
    log->tier_noted = true;
    struct floe_error note = *err;
    floe_error_prefix(&note, "the tier takes no batches (acks=1 waits for the store meanwhile)");
    floe_log_note(log, &note);
}

static void tier_took(struct floe_log *log)
{
    struct floe_error note = {0};
    log->tier_refuses = false;
    if (!log->tier_noted || floe_loop_now_us(log->cfg.loop) - log->tier_failed_us < TIER_FINE_US)
        return;
    log->tier_noted = false;
    floe_error_set(&note, FLOE_OK, "the tier takes batches again");
    floe_log_note(log, &note);
}

static void on_put(struct floe_tier_op *top)
{
    struct floe_stage_op *op = top->user;
    struct floe_log *log = op->log;
    struct floe_entry *e = op->e;
    bool ok = top->err.code == FLOE_OK;
    log->staging -= op->n;
    if (op->spill)
        log->spilling -= op->n;
    if (ok)
        tier_took(log);
    else
        tier_failed(log, &top->err);
    if (e) {
        e->op = NULL;
        e->stage = ok ? FLOE_STAGE_HELD : FLOE_STAGE_NONE;
        if (ok && top->durable && e->append) { /* duplicates wait for the commit */
            floe_log_answer(log, e->append, FLOE_OK, NULL);
            e->append = NULL;
        }
        if (ok && op->spill && e->seg && e->seg->state == FLOE_SEG_WAITING && !e->seg->pinned) {
            log->stats.spilled_bytes += e->bytes.n;
            floe_entry_drop_bytes(log, e);
        }
    }
    free_op(op);
    floe_log_kick(log);
}

static void put_entry(struct floe_entry *e, bool durable, bool spill)
{
    struct floe_log *log = e->part->log;
    struct floe_tier *tier = log->cfg.tier;
    struct floe_stage_op *op = tier ? calloc(1, sizeof *op) : NULL;
    if (!op)
        return;
    struct floe_stage_head h = {.tp = e->part->tp,
                                .epoch = e->head.leader_epoch,
                                .session = log->chain.session,
                                .offset = e->head.base_offset,
                                .time_ms = floe_loop_wall_ms(log->cfg.loop),
                                .acks = durable ? 1 : -1};
    floe_stage_head_encode(op->head, &h);
    op->log = log;
    op->e = e;
    op->spill = spill;
    op->n = e->bytes.n;
    op->body = floe_buf_ref(e->bytes.buf);
    e->tier_seq = log->tier_next++;
    e->stage = FLOE_STAGE_PUTTING;
    e->durable = durable;
    e->op = op;
    op->op = (struct floe_tier_op){.seq = e->tier_seq,
                                   .head = floe_slice(op->head, sizeof op->head),
                                   .body = e->bytes,
                                   .durable = durable,
                                   .done = on_put,
                                   .user = op};
    floe_list_push_back(&log->stage_ops, &op->link);
    log->staging += op->n;
    if (spill)
        log->spilling += op->n;
    tier->ops->put(tier, &op->op);
    /* A segment that was built knows only the entries it found. One that is not noted for want of memory
     * leaves the tier with the session. */
    if (e->seg->state == FLOE_SEG_STARTED || e->seg->state == FLOE_SEG_DURABLE)
        (void)!floe_build_note_tier(e->seg, e->tier_seq);
}

void floe_stage_put(struct floe_entry *e, bool durable)
{
    put_entry(e, durable, false);
}

/* The store takes steadily what comes in, and it limits that, or the disk is slower than it. */
static bool store_keeps_up(const struct floe_log *log)
{
    const struct floe_chain *c = &log->chain;
    bool queued = c->puts_n >= log->cfg.puts_in_flight_max && !floe_list_empty(&c->waiting);
    return (queued || log->staging > FLOE_STAGE_BEHIND) && log->cfg.hooks.alive(log->cfg.hooks.user) &&
           floe_loop_now_us(log->cfg.loop) - c->commit_us < FLOE_STAGE_STALL_US;
}

/* In their order: what is appended again after a crash must follow it. */
static void put_waiting(struct floe_log *log)
{
    floe_timer_stop(&log->stage_stall);
    for (struct floe_list *n; (n = floe_list_pop_front(&log->stage_wait));)
        put_entry(FLOE_LIST_ENTRY(n, struct floe_entry, stage_link), true, false);
}

static void on_stall(struct floe_timer *t)
{
    struct floe_log *log = t->user;
    uint64_t since = floe_loop_now_us(log->cfg.loop) - log->chain.commit_us;
    if (floe_list_empty(&log->stage_wait))
        return;
    if (since < FLOE_STAGE_STALL_US && log->cfg.hooks.alive(log->cfg.hooks.user))
        floe_timer_start(log->cfg.loop, &log->stage_stall, FLOE_STAGE_STALL_US - since);
    else
        put_waiting(log);
}

void floe_stage_init(struct floe_log *log)
{
    floe_timer_init(&log->stage_stall, on_stall, log);
}

void floe_stage_acks1(struct floe_entry *e)
{
    struct floe_log *log = e->part->log;
    bool behind_others = !floe_list_empty(&log->stage_wait);
    if (log->cfg.spill_all || !(behind_others || store_keeps_up(log))) {
        put_entry(e, true, false);
        return;
    }
    floe_list_push_back(&log->stage_wait, &e->stage_link);
    if (!floe_timer_armed(&log->stage_stall))
        floe_timer_start(log->cfg.loop, &log->stage_stall, FLOE_STAGE_STALL_US);
}

/* Newest waiting segments first: the oldest are the next to be sent. */
void floe_stage_spill(struct floe_log *log)
{
    struct floe_chain *c = &log->chain;
    struct floe_budget *b = log->cfg.pending_budget;
    if (!log->cfg.tier || !b || b->limit == 0)
        return;
    size_t half = b->limit / 2;
    for (struct floe_list *s = c->waiting.prev; s != &c->waiting; s = s->prev) {
        struct floe_log_segment *seg = FLOE_LIST_ENTRY(s, struct floe_log_segment, link);
        if (seg->pinned || seg->mem_bytes == 0)
            continue;
        FLOE_LIST_EACH(it, &seg->batches)
        {
            if (FLOE_MAX(floe_budget_used(b), (size_t)log->pending_mem) <= half + log->spilling)
                return;
            struct floe_entry *e = FLOE_LIST_ENTRY(it, struct floe_entry, seg_link);
            if (!e->bytes.p)
                continue;
            if (!floe_list_empty(&e->stage_link))
                put_waiting(log);
            if (e->stage == FLOE_STAGE_HELD) {
                log->stats.spilled_bytes += e->bytes.n;
                floe_entry_drop_bytes(log, e);
            } else if (e->stage == FLOE_STAGE_NONE && e->tier_seq == UINT64_MAX && !log->tier_refuses) {
                put_entry(e, false, true);
            }
        }
    }
}

/* ---- gets ----------------------------------------------------------------------------------------- */

static void take_back(struct floe_stage_op *op)
{
    struct floe_log *log = op->log;
    struct floe_entry *e = op->e;
    struct floe_tier_op *top = &op->op;
    struct floe_error why;
    if (!e)
        return;
    e->op = NULL;
    struct floe_log_segment *seg = e->seg;
    if (--seg->loading == 0)
        seg->state = FLOE_SEG_WAITING;
    if (top->err.code != FLOE_OK) {
        why = top->err;
        floe_error_prefix(&why, "a batch that waited in the tier cannot be read back");
        floe_chain_lost(log, false, &why);
        return;
    }
    struct floe_buf *b = top->data;
    size_t n = b->n - top->head_n;
    if (b->n < top->head_n || n != e->bytes.n || n < FLOE_BATCH_HEADER ||
        (int64_t)floe_be64(b->data + top->head_n) != e->head.base_offset ||
        !floe_batch_crc_ok(b->data + top->head_n, &e->head)) {
        floe_error_set(&why, FLOE_ECORRUPT, "entry %llu of the tier is not the batch that was put there",
                       (unsigned long long)e->tier_seq);
        floe_chain_lost(log, false, &why);
        return;
    }
    e->bytes.buf = b;
    e->bytes.p = b->data + top->head_n;
    top->data = NULL;
    seg->mem_bytes += n;
    log->pending_mem += n;
}

static void on_get(struct floe_tier_op *top)
{
    struct floe_stage_op *op = top->user;
    struct floe_log *log = op->log;
    log->loading -= op->n;
    take_back(op);
    floe_buf_unref(top->data);
    free_op(op);
    floe_log_kick(log);
}

/* What comes back from the tier finds room beside what is in memory; the next segment to be sent comes in any
 * case when nothing is in flight. */
static bool room_to_load(const struct floe_log_segment *seg)
{
    const struct floe_log *log = seg->log;
    const struct floe_budget *b = log->cfg.pending_budget;
    bool next = log->chain.puts_n == 0 && log->loading == 0 && log->chain.waiting.next == &seg->link;
    size_t used = b ? FLOE_MAX(floe_budget_used(b), (size_t)log->pending_mem) : 0;
    return !b || b->limit == 0 || next ||
           used + log->loading + (seg->bytes - seg->mem_bytes) <= b->limit - b->limit / 4;
}

bool floe_stage_load(struct floe_log_segment *seg)
{
    struct floe_log *log = seg->log;
    if (seg->state == FLOE_SEG_LOADING)
        return false;
    if (seg->mem_bytes == seg->bytes) {
        seg->pinned = true;
        return true;
    }
    if (!room_to_load(seg))
        return false;
    seg->pinned = true;
    FLOE_LIST_EACH(it, &seg->batches)
    {
        struct floe_entry *e = FLOE_LIST_ENTRY(it, struct floe_entry, seg_link);
        if (e->bytes.p)
            continue;
        FLOE_ASSERT(e->stage == FLOE_STAGE_HELD && !e->op);
        struct floe_stage_op *op = calloc(1, sizeof *op);
        if (!op) { /* tried again in the next turn */
            floe_log_kick(log);
            break;
        }
        op->log = log;
        op->e = e;
        op->n = e->bytes.n;
        log->loading += op->n;
        e->op = op;
        op->op = (struct floe_tier_op){
            .seq = e->tier_seq, .budget = log->cfg.pending_budget, .done = on_get, .user = op};
        floe_list_push_back(&log->stage_ops, &op->link);
        seg->loading++;
        seg->state = FLOE_SEG_LOADING;
        log->cfg.tier->ops->get(log->cfg.tier, &op->op);
    }
    return false;
}

/* ---- end ------------------------------------------------------------------------------------------ */

void floe_stage_detach(struct floe_entry *e)
{
    floe_list_remove(&e->stage_link);
    if (e->op)
        e->op->e = NULL;
    e->op = NULL;
}

void floe_stage_forget(struct floe_log *log, struct floe_entry *e)
{
    floe_stage_detach(e);
    if (e->tier_seq != UINT64_MAX && !e->durable && log->cfg.tier && !log->detached)
        log->cfg.tier->ops->drop(log->cfg.tier, e->tier_seq, e->tier_seq + 1);
}

void floe_stage_fini(struct floe_log *log)
{
    floe_timer_stop(&log->stage_stall);
    while (!floe_list_empty(&log->stage_ops))
        free_op(FLOE_LIST_ENTRY(log->stage_ops.next, struct floe_stage_op, link));
}
