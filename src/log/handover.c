/* Hand-over of partitions to another session: appends stop, what was appended is committed, the layer above
 * is told, and either drops the partition or lets it go on.
 *
 *   SERVING -> HANDING (floe_log_stop) -> told, once nothing of it is pending -> floe_log_drop
 *                     ^------------- floe_log_resume -------------'
 *
 * While it is HANDING reads below the high watermark go on. Nobody may be told that a position above it does
 * not exist, or what is latest: the new holder may have been written to already. */
#include "log_int.h"

#include <floe/base/mutant.h>

/* The key from which a checkpoint must be published before the partition is stopped. */
uint64_t floe_log_checkpoint_now(struct floe_log *log, const struct floe_tp *tp)
{
    struct floe_partition *p = floe_partition_get(log, tp);
    struct floe_chain *c = &log->chain;
    if (!p || p->state != FLOE_PARTITION_SERVING)
        return UINT64_MAX;
    bool changed = !floe_list_empty(&p->dirty_link) || p->next_offset > p->started_end;
    if (p->ckpt_built && !changed && floe_list_empty(&p->ckpt_link))
        return p->span_from;
    floe_checkpoint_want(p);
    c->ckpt_over = true;
    floe_log_kick(log);
    return c->next_seq;
}

uint64_t floe_log_want_start(struct floe_log *log, const struct floe_tp *tp, int64_t offset)
{
    struct floe_partition *p = floe_partition_get(log, tp);
    bool more = p && offset > FLOE_MAX(p->log_start, p->wanted_start);
    if (more) {
        FLOE_ASSERT(offset <= p->high_watermark);
        p->wanted_start = offset;
        floe_checkpoint_dirty(p);
    }
    uint64_t key = floe_log_checkpoint_now(log, tp);
    if (more) {
        p->start_key = key;
        floe_list_remove(&p->start_link);
        floe_list_push_back(&log->starts, &p->start_link);
    }
    return key;
}

void floe_log_start_named(struct floe_log *log, const struct floe_tp *tp, int64_t offset)
{
    struct floe_partition *p = floe_partition_get(log, tp);
    if (!p)
        return;
    p->log_start = FLOE_MAX(p->log_start, FLOE_MIN(offset, p->wanted_start));
    if (p->log_start >= p->wanted_start)
        floe_list_remove(&p->start_link);
}

void floe_starts_look(struct floe_log *log)
{
    const struct floe_log_hooks *h = &log->cfg.hooks;
    FLOE_LIST_EACH_SAFE(it, &log->starts)
    {
        struct floe_partition *p = FLOE_LIST_ENTRY(it, struct floe_partition, start_link);
        struct floe_lease_entry e;
        if (h->lease && h->lease(h->user, &p->tp, &e) && e.checkpoint.present &&
            floe_session_name_eq(&e.checkpoint.session, &log->chain.session) &&
            e.checkpoint.seq >= p->start_key)
            floe_log_start_named(log, &p->tp, p->wanted_start);
    }
}

void floe_log_stop(struct floe_log *log, const struct floe_tp *tp)
{
    struct floe_partition *p = floe_partition_get(log, tp);
    if (!p || p->state != FLOE_PARTITION_SERVING || p->handing)
        return;
    p->handing = true;
    floe_list_push_back(&log->handing, &p->hand_link);
    log->chain.hand_over |= p->next_offset > p->started_end;
    floe_log_kick(log);
}

void floe_log_resume(struct floe_log *log, const struct floe_tp *tp)
{
    struct floe_partition *p = floe_partition_get(log, tp);
    if (!p || !p->handing)
        return;
    p->handing = false;
    floe_list_remove(&p->hand_link);
    floe_partition_wake_serving(p);
}

/* Tells of those that every segment that carries them has been committed for. */
void floe_handover_turn(struct floe_log *log)
{
    const struct floe_log_hooks *h = &log->cfg.hooks;
    FLOE_LIST_EACH_SAFE(it, &log->handing)
    {
        struct floe_partition *p = FLOE_LIST_ENTRY(it, struct floe_partition, hand_link);
        if (p->high_watermark < p->next_offset && !FLOE_MUTANT(HANDED_OVER_UNRESOLVED))
            continue;
        floe_list_remove(&p->hand_link);
        h->stopped(h->user, &p->tp, p->epoch, p->carried);
    }
}
