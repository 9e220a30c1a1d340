/* A planned move's receivers read ahead: before appends stop they are told where the checkpoints lie and how
 * far the chain may be read, and once more when it is known where each span ends. All of it is a hint
 * (PeerMoveAhead): a receiver that was not told, or could not read, reads later what it needs. */
#include "lease_int.h"

#include <floe/kafka/codec.h>

#include <stdlib.h>

#define AGAIN_US 10000u /* between two questions whether all has been read, at first */
#define PATIENCE_US                                                                                          \
    500000u /* or a tenth of the lease time, and as long for a turn: then appends stop in any case */
#define SETTLE_US 5000u /* so long it is heard what others say at the same time */

static void on_answer(struct lease_op *op)
{
    struct lease_ahead *a = &op->l->mover.ahead;
    const struct floe_peer_call *c = &op->u.peer;
    if (op->tag != a->round)
        return;
    a->asked--;
    if (c->err.code == FLOE_OK) {
        struct floe_arena arena;
        struct floe_error err;
        void *body;
        floe_arena_init(&arena, 1024);
        if (floe_kafka_decode(&floe_kafka_PeerMoveAheadResponse_desc, 0, c->response, &arena, &body, &err) ==
            FLOE_OK)
            a->waiting |= ((const struct floe_kafka_PeerMoveAheadResponse *)body)->Waiting > 0;
        floe_arena_fini(&arena);
    }
    lease_kick(op->l);
}

/* What the receiver `to` shall know of its partitions; returns how many there are. */
static uint32_t fill(struct floe_lease *l, const struct floe_session_name *to, bool stopped,
                     struct floe_kafka_PeerMoveAheadRequest_MovingPartition *out)
{
    uint64_t committed = l->cfg.hooks.committed(l->cfg.hooks.user);
    uint32_t n = 0;
    FLOE_LIST_EACH(it, &l->mover.moves)
    {
        const struct lease_move *m = FLOE_LIST_ENTRY(it, struct lease_move, link);
        struct floe_lease_entry e;
        if (!floe_session_name_eq(&m->to, to) || !floe_lease_lookup(l, &m->tp, &e) || !e.checkpoint.present ||
            !lease_own_is(l, &e.checkpoint.session) || e.epoch != m->epoch)
            continue;
        floe_kafka_struct_defaults(&floe_kafka_PeerMoveAheadRequest_MovingPartition_desc, &out[n]);
        out[n].TopicId = m->tp.topic;
        out[n].Index = m->tp.index;
        out[n].LeaderEpoch = m->epoch;
        out[n].Checkpoint = (int64_t)e.checkpoint.seq;
        out[n].End = (int64_t)FLOE_MAX(stopped ? m->end : committed, e.checkpoint.seq);
        n++;
    }
    return n;
}

static void tell(struct floe_lease *l, const struct lease_node *to, bool stopped)
{
    struct lease_ahead *a = &l->mover.ahead;
    struct floe_kafka_PeerMoveAheadRequest rq;
    struct floe_kafka_PeerMoveAheadRequest_MovingPartition *parts =
        lease_alloc(l->mover.count * sizeof *parts);
    floe_kafka_defaults(&floe_kafka_PeerMoveAheadRequest_desc, &rq);
    rq.ClusterId = l->cfg.cluster;
    rq.NodeId = l->own.name.node;
    rq.NodeEpoch = l->own.name.epoch;
    rq.SessionId = (int64_t)l->own.name.id;
    rq.Stopped = stopped;
    rq.Partitions = parts;
    rq.Partitions_n = (int32_t)fill(l, &to->rec.info.session, stopped, parts);
    if (rq.Partitions_n > 0 && to->rec.info.peer_addr[0] != '\0') {
        size_t n;
        char *body = lease_peer_encode(&floe_kafka_PeerMoveAheadRequest_desc, &rq, &n);
        struct lease_op *op =
            lease_op_call(l, to->rec.info.peer_addr, floe_kafka_PeerMoveAheadRequest_desc.key,
                          FLOE_PEER_LANE_MOVE, body, n, lease_step_us(l), on_answer, NULL);
        op->tag = stopped ? 0 : a->round;
        a->asked += !stopped;
    }
    free(parts);
}

static bool told_before(const struct floe_lease *l, const struct lease_move *m)
{
    FLOE_LIST_EACH(it, &l->mover.moves)
    {
        const struct lease_move *o = FLOE_LIST_ENTRY(it, struct lease_move, link);
        if (o == m)
            return false;
        if (o->to.node == m->to.node)
            return true;
    }
    return false;
}

static void tell_all(struct floe_lease *l, bool stopped)
{
    FLOE_LIST_EACH(it, &l->mover.moves)
    {
        const struct lease_move *m = FLOE_LIST_ENTRY(it, struct lease_move, link);
        const struct lease_node *to = told_before(l, m) ? NULL : lease_node_find(l, m->to.node);
        if (to != NULL && floe_session_name_eq(&to->rec.info.session, &m->to))
            tell(l, to, stopped);
    }
}

static void ask(struct floe_lease *l)
{
    struct lease_ahead *a = &l->mover.ahead;
    a->round++; /* 0 is nobody's */
    a->asked = 0;
    a->waiting = false;
    tell_all(l, false);
    a->again_us = lease_now(l) + a->pause_us;
    a->pause_us += a->pause_us / 2;
}

static uint64_t patience_us(const struct floe_lease *l)
{
    return FLOE_MIN((uint64_t)PATIENCE_US, l->lease_us / 10);
}

void lease_ahead_begin(struct floe_lease *l)
{
    l->mover.ahead.until_us = lease_now(l) + patience_us(l);
    l->mover.ahead.announced_us = 0;
    l->mover.ahead.pause_us = AGAIN_US;
    ask(l);
}

/* Appends stop next: the others are told, and the shards are read that were not since the batch was begun, or
 * the puts that name the receivers would meet what others wrote meanwhile. */
static void announce(struct floe_lease *l)
{
    struct lease_ahead *a = &l->mover.ahead;
    a->announced_us = lease_now(l);
    a->waited = false;
    FLOE_LIST_EACH(it, &l->mover.moves)
    {
        struct lease_shard *s = lease_shard_at(l, &FLOE_LIST_ENTRY(it, struct lease_move, link)->tp);
        s->stale |= s->asked_us < l->mover.begun_us;
    }
    lease_moves_calm(l, true);
    lease_kick(l);
}

static bool shards_read(struct floe_lease *l)
{
    FLOE_LIST_EACH(it, &l->mover.moves)
    {
        const struct lease_shard *s = lease_shard_at(l, &FLOE_LIST_ENTRY(it, struct lease_move, link)->tp);
        if (s->stale || s->op != NULL)
            return false;
    }
    return true;
}

/* Several brokers at once would make their producers wait for each other's requests. Who said so clearly
 * earlier goes first, else the lower node; without any promise, since all of it is hints. */
static bool own_turn(struct floe_lease *l)
{
    const struct lease_mover *m = &l->mover;
    struct lease_ahead *a = &l->mover.ahead;
    uint64_t now = lease_now(l), settled = a->announced_us + SETTLE_US;
    if (now >= a->turn_until_us)
        return true;
    bool before = m->window_at_us + SETTLE_US < a->announced_us;
    bool meanwhile = !before && m->window_at_us <= settled;
    uint64_t at = settled;
    if (now < m->window_us && (before || (meanwhile && m->window_of < l->own.name.node))) {
        a->waited = true;
        at = m->window_us;
    } else if (a->waited) {
        announce(l);
        at = now + SETTLE_US;
    } else if (!shards_read(l)) {
        at = a->turn_until_us; /* their answers kick */
    } else if (now >= settled) {
        return true;
    }
    lease_wake(l, FLOE_MIN(at, a->turn_until_us));
    return false;
}

bool lease_ahead_read(struct floe_lease *l)
{
    struct lease_ahead *a = &l->mover.ahead;
    uint64_t now = lease_now(l);
    if (a->announced_us != 0)
        return own_turn(l);
    if (now >= a->until_us || (a->asked == 0 && !a->waiting)) {
        a->turn_until_us = now + patience_us(l);
        announce(l);
        return own_turn(l);
    }
    if (a->asked == 0 && now >= a->again_us)
        ask(l);
    lease_wake(l, a->asked == 0 ? FLOE_MIN(a->until_us, a->again_us) : a->until_us);
    return false;
}

void lease_ahead_stopped(struct floe_lease *l)
{
    tell_all(l, true);
}
