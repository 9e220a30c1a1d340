/* Hints: a long poll at the holder of a followed chain, so that new keys are looked for when they are there.
 * A hint proves nothing; without any the follower looks by itself, with pauses. */
#include <floe/kafka/codec.h>

#include "follow_int.h"

static void on_told(struct floe_peer_call *call)
{
    struct follow_chain *c = call->user;
    uint64_t now = floe_loop_now_us(c->log->cfg.loop);
    struct floe_arena arena;
    struct floe_error err = call->err;
    void *body = NULL;
    c->calling = false;
    floe_arena_init(&arena, 4096);
    if (err.code == FLOE_OK)
        (void)!floe_kafka_decode(&floe_kafka_PeerChainResponse_desc, 0, call->response, &arena, &body, &err);
    const struct floe_kafka_PeerChainResponse *rs = body;
    if (err.code == FLOE_OK && rs->ErrorCode == 0 && rs->Committed >= 0) {
        c->call_wait_us = c->call_us = 0;
        c->told_until_us = now + FOLLOW_TOLD_US;
        c->hinted = FLOE_MAX(c->hinted, (uint64_t)rs->Committed);
        if (c->hinted > c->proven && c->fails == 0)
            c->next_us = 0;
    } else {
        c->call_wait_us =
            FLOE_MIN(FLOE_MAX(c->call_wait_us * 2, FOLLOW_TELL_RETRY_MIN_US), FOLLOW_TELL_RETRY_MAX_US);
        c->call_us = now + c->call_wait_us;
    }
    floe_arena_fini(&arena);
    floe_buf_unref(call->frame);
    follow_chain_run(c);
}

static bool encode(struct follow_chain *c)
{
    struct floe_kafka_PeerChainRequest rq;
    struct floe_writer w;
    struct floe_error err;
    floe_kafka_defaults(&floe_kafka_PeerChainRequest_desc, &rq);
    rq.ClusterId = c->log->cfg.cluster;
    rq.NodeId = c->session.node;
    rq.NodeEpoch = c->session.epoch;
    rq.SessionId = (int64_t)c->session.id;
    rq.Known = (int64_t)FLOE_MAX(c->hinted, c->proven);
    rq.WaitMs = FOLLOW_TELL_MS;
    floe_writer_init(&w, sizeof c->bytes);
    bool ok = floe_kafka_encode(&floe_kafka_PeerChainRequest_desc, 0, &rq, &w, &err) == FLOE_OK;
    if (ok)
        memcpy(c->bytes, w.p, w.n);
    c->body = (struct floe_bufslice){.p = c->bytes, .n = w.n};
    floe_writer_fini(&w);
    return ok;
}

void follow_hint(struct follow_chain *c)
{
    struct floe_log *log = c->log;
    struct floe_node_info n;
    if (!log->cfg.peers || c->calling || floe_loop_now_us(log->cfg.loop) < c->call_us ||
        !log->cfg.hooks.node(log->cfg.hooks.user, c->session.node, &n) ||
        !floe_session_name_eq(&n.session, &c->session) || n.state != FLOE_NODE_LIVE || !n.peer_addr[0] ||
        !encode(c))
        return;
    c->call = (struct floe_peer_call){.api_key = FLOE_PEER_CHAIN,
                                      .lane = FLOE_PEER_LANE_WAIT,
                                      .flexible = true,
                                      .body = &c->body,
                                      .body_count = 1,
                                      .timeout_us = FOLLOW_TELL_TIMEOUT_US,
                                      .done = on_told,
                                      .user = c};
    memcpy(c->call.addr, n.peer_addr, sizeof c->call.addr);
    c->calling = true;
    log->cfg.peers->ops->call(log->cfg.peers, &c->call);
}

void follow_hint_cancel(struct follow_chain *c)
{
    if (c->calling && !c->log->detached)
        c->log->cfg.peers->ops->cancel(c->log->cfg.peers, &c->call);
    c->calling = false;
}
