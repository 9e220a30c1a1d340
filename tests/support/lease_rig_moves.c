/* The stand-in log's side of planned moves: a checkpoint is the next segment, appends stop at once. */
#include "lease_rig.h"

#include <stdlib.h>

struct wanted {
    struct floe_list link;
    struct floe_tp tp;
    int32_t epoch;
    uint64_t seq;
};

static uint64_t checkpoint_now(void *user, const struct floe_tp *tp)
{
    struct lrig_broker *b = user;
    uint64_t now = floe_sim_now_us(b->rig->sim);
    if (b->ckpt_us != now || b->next == 0) { /* one segment carries those of a turn */
        lrig_write(b->rig, (int)(b - b->rig->b));
        b->ckpt_us = now;
    }
    struct wanted *w = calloc(1, sizeof *w);
    *w = (struct wanted){.tp = *tp, .epoch = lrig_part_of(b, tp)->epoch, .seq = b->next - 1};
    floe_list_push_back(&b->ckpts, &w->link);
    return w->seq;
}

static void tell_stopped(struct lrig_broker *b)
{
    for (uint32_t k = 0; k < b->part_count && b->committed == b->next && !b->hold_stop; k++) {
        if (b->parts[k].stopping)
            floe_lease_stopped(b->lease, &b->parts[k].tp, b->parts[k].epoch, b->next);
        b->parts[k].stopping = false;
    }
}

static void stop(void *user, const struct floe_tp *tp)
{
    struct lrig_part *p = lrig_part_of(user, tp);
    assert_true(p->epoch >= 0 && !p->handing);
    p->stopping = p->handing = true;
    tell_stopped(user);
}

static void resume(void *user, const struct floe_tp *tp)
{
    struct lrig_broker *b = user;
    struct lrig_part *p = lrig_part_of(b, tp);
    assert_true(p->epoch >= 0 && p->handing);
    p->stopping = p->handing = false;
    b->resumed++;
    lrig_check_single(b->rig, b, tp);
    assert_true(lrig_lease_names(b->rig, &b->session, tp, p->epoch));
}

/* What the sender says must be so: its checkpoint is named, the keys are committed, and nothing follows. */
int32_t lrig_read_ahead(struct lrig_broker *b, const struct floe_kafka_PeerMoveAheadRequest *rq)
{
    struct lrig_broker *from = NULL;
    for (int i = 0; i < LRIG_BROKERS; i++)
        if (b->rig->b[i].up && b->rig->b[i].session.id == (uint64_t)rq->SessionId)
            from = &b->rig->b[i];
    for (int32_t i = 0; i < rq->Partitions_n && from != NULL; i++) {
        assert_true(rq->Partitions[i].Checkpoint < (int64_t)from->committed);
        assert_true(rq->Partitions[i].End <= (int64_t)from->committed);
        assert_true(rq->Partitions[i].End >= rq->Partitions[i].Checkpoint);
    }
    if (rq->Stopped) {
        b->ahead_stopped += (uint32_t)rq->Partitions_n;
        return 0;
    }
    b->ahead_asks++;
    b->ahead_parts += (uint32_t)rq->Partitions_n;
    if (b->ahead_waits == 0)
        return 0;
    b->ahead_waits--;
    return rq->Partitions_n;
}

void lrig_committed(struct lrig_broker *b)
{
    FLOE_LIST_EACH_SAFE(it, &b->ckpts)
    {
        struct wanted *w = FLOE_LIST_ENTRY(it, struct wanted, link);
        struct floe_checkpoint_ref ref = {.session = b->session, .seq = w->seq, .present = true};
        if (w->seq >= b->committed)
            continue;
        floe_list_remove(&w->link);
        floe_lease_checkpointed(b->lease, &w->tp, w->epoch, &ref);
        free(w);
    }
    tell_stopped(b);
}

void lrig_forget_moves(struct lrig_broker *b)
{
    while (!floe_list_empty(&b->ckpts))
        free(FLOE_LIST_ENTRY(floe_list_pop_front(&b->ckpts), struct wanted, link));
}

void lrig_move_hooks(struct floe_lease_hooks *h)
{
    h->checkpoint_now = checkpoint_now;
    h->stop = stop;
    h->resume = resume;
}

static void on_drained(void *user)
{
    ((struct lrig_broker *)user)->drained = true;
}

void lrig_drain(struct lrig *r, int i, uint64_t limit_ms)
{
    r->b[i].drained = false;
    floe_lease_drain(r->b[i].lease, limit_ms * 1000, on_drained, &r->b[i]);
}
