/* What brokers ask each other for reads anywhere: how far a chain is, and bytes of its objects. */
#include "api_kafka/api_int.h"

#define WAIT_MS_MAX 10000

struct chain {
    struct floe_request *rq;
    struct floe_session_name session;
    struct floe_log_waiter waiter;
    struct floe_timer timer;
};

static bool open_here(const struct chain *k)
{
    const struct floe_session_name *own = floe_lease_session(api_of(k->rq)->cfg.lease);
    return own && floe_session_name_eq(own, &k->session);
}

static void chain_answer(struct chain *k)
{
    struct floe_request *rq = k->rq;
    struct floe_kafka_PeerChainResponse *rs = floe_arena_alloc(&rq->arena, sizeof *rs);
    floe_timer_stop(&k->timer);
    floe_log_wait_cancel(&k->waiter);
    if (!rs) {
        api_give_up(rq);
        return;
    }
    floe_kafka_defaults(&floe_kafka_PeerChainResponse_desc, rs);
    if (open_here(k))
        rs->Committed = (int64_t)floe_log_committed(api_of(rq)->cfg.log);
    else
        rs->ErrorCode = FLOE_KERR_NOT_LEADER_OR_FOLLOWER;
    rq->response = rs;
    floe_request_complete(rq);
}

static void on_commit(struct floe_log_waiter *w)
{
    chain_answer(w->user);
}

static void on_wait_over(struct floe_timer *t)
{
    chain_answer(t->user);
}

static void chain_cancel(struct floe_request *rq)
{
    chain_answer(rq->state);
}

void api_peer_chain(struct floe_request *rq)
{
    const struct floe_kafka_PeerChainRequest *in = rq->body;
    struct floe_api *api = api_of(rq);
    struct chain *k = floe_arena_alloc(&rq->arena, sizeof *k);
    if (!k) {
        api_give_up(rq);
        return;
    }
    *k = (struct chain){.rq = rq,
                        .session = {in->NodeId, in->NodeEpoch, (uint64_t)in->SessionId},
                        .waiter = {.fn = on_commit, .user = k}};
    floe_list_init(&k->waiter.link);
    floe_timer_init(&k->timer, on_wait_over, k);
    uint64_t known = (uint64_t)FLOE_MAX(in->Known, 0);
    if (!floe_uuid_eq(&in->ClusterId, &api->cfg.cluster) || !open_here(k) ||
        floe_log_committed(api->cfg.log) > known || in->WaitMs <= 0) {
        chain_answer(k);
        return;
    }
    rq->state = k;
    rq->cancel = chain_cancel;
    floe_request_next(rq);
    floe_log_wait_commit(api->cfg.log, known, &k->waiter);
    floe_timer_start(api->cfg.loop, &k->timer, (uint64_t)FLOE_MIN(in->WaitMs, WAIT_MS_MAX) * 1000);
}

struct lent {
    struct floe_request *rq;
    struct floe_log_lend lend;
};

/* On the network thread, once the answer was encoded (or dropped). */
static void read_release(struct floe_request *rq)
{
    struct lent *k = rq->state;
    floe_log_lend_fini(&k->lend);
}

static void read_answer(struct floe_log_lend *l)
{
    struct lent *k = l->user;
    struct floe_request *rq = k->rq;
    struct floe_kafka_PeerReadResponse *rs = floe_arena_alloc(&rq->arena, sizeof *rs);
    rq->release = read_release;
    if (!rs) {
        api_give_up(rq);
        return;
    }
    floe_kafka_defaults(&floe_kafka_PeerReadResponse_desc, rs);
    rs->Data = (struct floe_krecords){.p = (const uint8_t *)"", .n = 0};
    if (l->err.code) {
        rs->ErrorCode = api_error(l->err.code);
    } else {
        rs->Size = (int64_t)l->size;
        rs->From = (int64_t)l->from;
        if (l->bytes)
            rs->Data = (struct floe_krecords){NULL, (int32_t)l->bytes, l->slice_count, l->slices};
        floe_budget_force(&api_of(rq)->answers, l->bytes);
        rq->held = l->bytes;
        rq->held_budget = &api_of(rq)->answers;
    }
    rq->response = rs;
    floe_request_complete(rq);
}

void api_peer_read(struct floe_request *rq)
{
    const struct floe_kafka_PeerReadRequest *in = rq->body;
    struct floe_api *api = api_of(rq);
    struct lent *k = floe_arena_alloc(&rq->arena, sizeof *k);
    if (!k) {
        api_give_up(rq);
        return;
    }
    *k = (struct lent){.rq = rq,
                       .lend = {.session = {in->NodeId, in->NodeEpoch, (uint64_t)in->SessionId},
                                .seq = (uint64_t)in->Seq,
                                .offset = in->Offset,
                                .length = (uint32_t)FLOE_MAX(in->Length, 0),
                                .done = read_answer,
                                .user = k}};
    rq->state = k;
    floe_request_next(rq);
    if (!floe_uuid_eq(&in->ClusterId, &api->cfg.cluster) || in->Seq < 0)
        floe_error_set(&k->lend.err, FLOE_EINVAL, "another cluster's");
    else if (floe_budget_used(&api->answers) >= api->answers.limit)
        floe_error_set(&k->lend.err, FLOE_EAGAIN, "too much is on its way");
    else {
        floe_log_lend(api->cfg.log, &k->lend);
        return;
    }
    read_answer(&k->lend);
}
