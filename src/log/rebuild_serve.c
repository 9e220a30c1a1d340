/* A rebuild's last step: the lease is read again, and what it still names is served. */
#include <floe/base/mutant.h>

#include "rebuild_int.h"

static void serve(struct floe_rebuild_part *rp)
{
    struct floe_partition *p = rp->p;
    struct floe_log *log = rp->log;
    struct floe_error err = {.code = FLOE_OK};
    struct floe_tp tp = rp->tp;
    int32_t epoch = rp->epoch;
    if (FLOE_MUTANT(OFFSET_REUSED) && p->next_offset > floe_index_end(p->index) - 1 && p->next_offset > 0)
        p->next_offset--;
    if (floe_partition_begin_epoch(p, epoch, p->next_offset) != FLOE_OK) {
        floe_error_set(&err, FLOE_ENOMEM, "out of memory");
        floe_partition_destroy(p, FLOE_ENOTHOLDER);
    } else {
        bool others = false;
        p->span_from = log->chain.next_seq;
        for (uint32_t i = 0; i < rp->span_count; i++) {
            const struct floe_span *s = &rp->spans[i].span;
            if (floe_session_name_eq(&s->session, &log->chain.session) && s->end == FLOE_SPAN_OPEN)
                p->span_from = s->first;
            else
                others = true;
        }
        p->carried = p->span_from;
        p->high_watermark = p->started_end = p->next_offset;
        p->moved_us = epoch > 0 ? floe_loop_now_us(log->cfg.loop) : 0;
        p->state = FLOE_PARTITION_SERVING;
        p->rebuild = NULL;
        if (floe_index_block_due(p->index))
            floe_list_push_back(&log->index_due, &p->index_link);
        if (others && !log->chain.stopping)
            floe_checkpoint_want(p);
        floe_follow_drop(log, &tp);
        log->chain.hand_over |= !floe_list_empty(&p->serving_waiters); /* they have waited long enough */
        floe_partition_wake_serving(p);
    }
    log->cfg.hooks.adopted(log->cfg.hooks.user, &tp, epoch, &err);
}

static void on_recheck(void *user, bool still)
{
    struct floe_rebuild_part *rp = user;
    struct floe_log *log = rp->log;
    if (rp->p && still) {
        serve(rp);
    } else if (rp->p) {
        struct floe_error err;
        floe_error_set(&err, FLOE_ENOTHOLDER, "the lease names this session no longer");
        struct floe_tp tp = rp->tp;
        floe_partition_destroy(rp->p, FLOE_ENOTHOLDER);
        log->cfg.hooks.adopted(log->cfg.hooks.user, &tp, rp->epoch, &err);
    }
    floe_rebuild_part_free(rp);
}

void floe_rebuild_serve(struct floe_rebuild_part *rp)
{
    struct floe_log *log = rp->log;
    floe_list_push_back(&log->rechecks, &rp->link);
    if (FLOE_MUTANT(LEASE_NOT_READ_AGAIN))
        on_recheck(rp, true);
    else
        log->cfg.hooks.recheck(log->cfg.hooks.user, &rp->tp, rp->epoch, rp->ready_us, on_recheck, rp);
}
