/* The chain: segments in the order of their keys, and the durability point. */
#include <stdlib.h>

#include <floe/base/mutant.h>

#include "log_int.h"

bool floe_chain_may_send(struct floe_log *log)
{
    return log->chain.open && !log->chain.lost && log->cfg.hooks.alive(log->cfg.hooks.user);
}

void floe_chain_open(struct floe_log *log, const struct floe_session_name *s)
{
    struct floe_chain *c = &log->chain;
    FLOE_ASSERT(!c->open && floe_list_empty(&c->started) && floe_list_empty(&c->waiting));
    c->session = *s;
    c->open = true;
    c->lost = c->lost_told = c->lost_fatal = c->stopping = false;
    c->put_returned = c->linger_over = c->ckpt_over = c->hand_over = false;
    c->trouble = (struct floe_store_trouble){0};
    c->next_seq = c->committed = 0;
    floe_roll_init(&c->roll);
    c->round_seq = FLOE_LOG_SPAN_KEYS_MAX / 4;
    c->round_us = 0;
    c->puts_n = 0;
    c->hedge_credit = FLOE_LOG_HEDGE_COST;
}

/* Nothing that is not committed yet will be: what is open is answered when the session is over. */
void floe_chain_lost(struct floe_log *log, bool fatal, const struct floe_error *why)
{
    struct floe_chain *c = &log->chain;
    if (c->lost)
        return;
    c->lost = true;
    c->lost_fatal = fatal;
    c->lost_why = *why;
    floe_log_kick(log);
}

void floe_chain_publish(struct floe_log *log, const struct floe_log_segment *seg)
{
    for (uint32_t i = 0; i < seg->publish_count; i++) {
        const struct floe_log_publish *pub = &seg->publish[i];
        struct floe_partition *p = floe_partition_get(log, &pub->tp);
        struct floe_checkpoint_ref ref = {
            .session = log->chain.session, .seq = seg->put.seq, .present = true, .log_start = pub->log_start};
        if (p && p->epoch == pub->epoch)
            log->cfg.hooks.checkpointed(log->cfg.hooks.user, &pub->tp, pub->epoch, &ref);
    }
}

/* Index blocks that rode along replace their entries from now on. */
static void finish_rides(struct floe_log *log, const struct floe_log_segment *seg)
{
    for (uint32_t i = 0; i < seg->ride_count; i++) {
        const struct floe_log_index_ride *ride = &seg->rides[i];
        const struct floe_segment_opaque *o = &seg->image.opaques[ride->opaque];
        struct floe_partition *p = floe_partition_get(log, &ride->tp);
        if (!p || p->epoch != ride->epoch)
            continue;
        struct floe_index_entry where = {.session = log->chain.session,
                                         .seq = seg->put.seq,
                                         .position = o->position,
                                         .length = o->length,
                                         .crc = o->crc};
        if (floe_index_block_done(p->index, &ride->block, &where) != FLOE_OK) {
            struct floe_error why;
            floe_error_set(&why, FLOE_ENOMEM, "out of memory in a partition's index");
            floe_chain_lost(log, false, &why);
        }
        if (floe_index_block_due(p->index) && floe_list_empty(&p->index_link))
            floe_list_push_back(&log->index_due, &p->index_link);
    }
}

static void commit_batches(struct floe_log *log, struct floe_log_segment *seg)
{
    FLOE_LIST_EACH_SAFE(it, &seg->batches)
    {
        struct floe_entry *e = FLOE_LIST_ENTRY(it, struct floe_entry, seg_link);
        struct floe_partition *p = e->part;
        log->pending_mem -= e->bytes.n + sizeof *e;
        log->pace.mem_out += e->bytes.n;
        log->pace.tier_out += e->tier_seq != UINT64_MAX ? e->bytes.n : 0;
        floe_stage_detach(e);
        e->seg = NULL;
        if (!p) {
            floe_list_remove(&e->seg_link);
            floe_entry_free(log, e);
            continue;
        }
        p->high_watermark = floe_batch_last_offset(&e->head) + 1;
        floe_entry_answer(log, e, FLOE_OK, false);
        floe_partition_wake_data(p);
    }
}

/* THE DURABILITY POINT. A segment is committed here and nowhere else: its bytes are known to lie at its key,
 * every segment before it is committed, and the session is alive now (the last renewal that succeeded was
 * sent less than a lease time ago). Only what follows from here moves high watermarks and answers acks=all.
 */
void floe_chain_commit(struct floe_log *log)
{
    struct floe_chain *c = &log->chain;
    bool any = false;
    while (!floe_list_empty(&c->started) &&
           (floe_chain_may_send(log) || (FLOE_MUTANT(COMMIT_LAPSED) && c->open && !c->lost))) {
        struct floe_log_segment *seg = FLOE_LIST_ENTRY(c->started.next, struct floe_log_segment, link);
        if (FLOE_MUTANT(COMMIT_OUT_OF_ORDER) && seg->link.next != &c->started &&
            seg->state != FLOE_SEG_DURABLE)
            seg = FLOE_LIST_ENTRY(seg->link.next, struct floe_log_segment, link);
        if (seg->state != FLOE_SEG_DURABLE)
            break;
        FLOE_ASSERT(seg->put.seq == c->committed || FLOE_MUTANT(COMMIT_OUT_OF_ORDER));
        c->committed++;
        c->commit_us = floe_loop_now_us(log->cfg.loop);
        log->stats.commits++;
        commit_batches(log, seg);
        floe_memread_keep(log, &seg->batches);
        finish_rides(log, seg);
        floe_chain_publish(log, seg);
        for (uint32_t i = 0; i < seg->tier_count; i++)
            log->cfg.tier->ops->drop(log->cfg.tier, seg->tier[i].from, seg->tier[i].to);
        log->tier_refuses = false;
        floe_list_remove(&seg->link);
        floe_segment_free(seg);
        any = true;
    }
    if (any) {
        floe_chain_wake(log, false);
        floe_log_kick(log);
    }
}

void floe_chain_wake(struct floe_log *log, bool all)
{
    FLOE_LIST_EACH_SAFE(it, &log->chain.commit_waiters)
    {
        if (!all && log->chain.open &&
            (uint64_t)FLOE_LIST_ENTRY(it, struct floe_log_waiter, link)->offset >= log->chain.committed)
            continue;
        floe_list_remove(it);
        floe_list_push_back(&log->woken, it);
    }
    floe_log_kick(log);
}

void floe_segment_free(struct floe_log_segment *seg)
{
    struct floe_log *log = seg->log;
    floe_put_fini(&seg->put);
    for (struct floe_list *n; (n = floe_list_pop_front(&seg->batches));) {
        struct floe_entry *e = FLOE_LIST_ENTRY(n, struct floe_entry, seg_link);
        FLOE_ASSERT(!e->part); /* its partition answered it */
        floe_entry_drop_bytes(log, e);
        log->pending_mem -= sizeof *e;
        floe_stage_forget(log, e);
        floe_entry_free(log, e);
    }
    floe_segment_writer_destroy(&seg->writer);
    free(seg->publish);
    free(seg->rides);
    free(seg->tier);
    free(seg);
}

void floe_chain_abandon(struct floe_log *log)
{
    struct floe_chain *c = &log->chain;
    c->open = false;
    struct floe_list *lists[] = {&c->started, &c->waiting};
    for (int i = 0; i < 2; i++)
        for (struct floe_list *n; (n = floe_list_pop_front(lists[i]));)
            floe_segment_free(FLOE_LIST_ENTRY(n, struct floe_log_segment, link));
    if (c->open_seg)
        floe_segment_free(c->open_seg);
    c->open_seg = NULL;
    c->puts_n = 0;
    floe_roll_fini(&c->roll);
    floe_chain_wake(log, true);
    floe_timer_stop(&c->linger);
    floe_timer_stop(&c->bucket);
    floe_timer_stop(&c->ckpt);
}
