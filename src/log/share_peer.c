/* Shared reads: the rack's brokers, which of them owns an object, and asking it. */
#include <floe/kafka/codec.h>

#include "share_int.h"

static void look(struct floe_share *s)
{
    const struct floe_log_hooks *h = &s->log->cfg.hooks;
    uint64_t now = floe_loop_now_us(s->base.loop);
    if (!h->neighbours || !s->log->cfg.peers || (s->near_read && now - s->near_us < SHARE_FRESH_US))
        return;
    s->near_n = h->neighbours(h->user, s->near, FLOE_LOG_NEIGHBOURS_MAX);
    s->near_read = true;
    s->near_us = now;
}

bool share_active(struct floe_share *s)
{
    look(s);
    return s->near_n > 1;
}

/* Null: this broker. */
static const struct floe_log_neighbour *owner_of(struct floe_share *s, const struct share_object *o)
{
    const struct floe_log_neighbour *best = NULL;
    uint64_t most = 0;
    look(s);
    for (uint32_t i = 0; i < s->near_n; i++) {
        uint64_t w = share_hash(&o->session, o->seq ^ ((uint64_t)s->near[i].node << 40));
        if (!best || w > most) {
            best = &s->near[i];
            most = w;
        }
    }
    return best && !best->own ? best : NULL;
}

/* A place for the node; one that nobody needs any more is taken over. */
static struct share_avoid *avoid_of(struct floe_share *s, int32_t node)
{
    struct share_avoid *free_one = &s->avoid[0];
    for (uint32_t i = 0; i < FLOE_LOG_NEIGHBOURS_MAX; i++) {
        if (s->avoid[i].node == node)
            return &s->avoid[i];
        if (s->avoid[i].until_us < free_one->until_us)
            free_one = &s->avoid[i];
    }
    *free_one = (struct share_avoid){.node = node};
    return free_one;
}

bool share_answer(struct floe_slice response, bool tail, uint64_t from, uint64_t want,
                  struct floe_slice *data, uint64_t *size)
{
    struct floe_arena arena;
    struct floe_error err;
    void *body = NULL;
    bool ok = false;
    floe_arena_init(&arena, 4096);
    if (floe_kafka_decode(&floe_kafka_PeerReadResponse_desc, 0, response, &arena, &body, &err) == FLOE_OK) {
        const struct floe_kafka_PeerReadResponse *rs = body;
        uint64_t n = (uint64_t)FLOE_MAX(rs->Data.n, 0), at = (uint64_t)FLOE_MAX(rs->From, 0);
        *size = (uint64_t)FLOE_MAX(rs->Size, 0);
        ok = rs->ErrorCode == 0 && rs->From >= 0 && n > 0 && n <= want && *size <= FLOE_STORE_OBJECT_MAX &&
             at <= *size && n <= *size - at &&
             (tail ? at == *size - n && n == FLOE_MIN(want, *size)
                   : at == from && (n == want || at + n == *size));
        *data = floe_slice(rs->Data.p, n);
    }
    floe_arena_fini(&arena);
    return ok;
}

static bool take(struct share_run *run, struct floe_peer_call *c, uint64_t *size)
{
    struct floe_slice data;
    if (!share_answer(c->response, run->tail, run->from, run->to - run->from, &data, size))
        return false;
    memmove(c->frame->data, data.p, data.n);
    c->frame->n = data.n;
    return true;
}

static void on_answer(struct floe_peer_call *c)
{
    struct share_run *run = c->user;
    struct floe_share *s = run->s;
    struct share_avoid *a = avoid_of(s, run->peer);
    uint64_t size = 0;
    if (c->err.code == FLOE_OK && take(run, c, &size)) {
        a->wait_us = 0;
        s->log->stats.shared_got++;
        s->log->stats.shared_bytes += c->frame->n;
        run->asked = false;
        share_run_came(run, c->frame, size);
        return;
    }
    if (c->err.code != FLOE_OK) { /* else it answers, and has not got it */
        a->wait_us = FLOE_MIN(FLOE_MAX(a->wait_us * 2, SHARE_AVOID_MIN_US), SHARE_AVOID_MAX_US);
        a->until_us = floe_loop_now_us(s->base.loop) + a->wait_us;
    }
    floe_buf_unref(c->frame);
    share_run_fetch(run);
}

static bool encode(struct share_run *run)
{
    const struct share_object *o = run->object;
    struct floe_kafka_PeerReadRequest rq;
    struct floe_writer w;
    struct floe_error err;
    uint64_t n = run->to - run->from;
    floe_kafka_defaults(&floe_kafka_PeerReadRequest_desc, &rq);
    rq.ClusterId = run->s->log->cfg.cluster;
    rq.NodeId = o->session.node;
    rq.NodeEpoch = o->session.epoch;
    rq.SessionId = (int64_t)o->session.id;
    rq.Seq = (int64_t)o->seq;
    rq.Offset = run->tail ? -(int64_t)n : (int64_t)run->from;
    rq.Length = (int32_t)n;
    floe_writer_init(&w, sizeof run->bytes);
    bool ok = floe_kafka_encode(&floe_kafka_PeerReadRequest_desc, 0, &rq, &w, &err) == FLOE_OK;
    if (ok)
        memcpy(run->bytes, w.p, w.n);
    run->body = (struct floe_bufslice){.p = run->bytes, .n = w.n};
    floe_writer_fini(&w);
    return ok;
}

bool share_ask(struct share_run *run)
{
    struct floe_share *s = run->s;
    uint64_t n = run->to - run->from;
    const struct floe_log_neighbour *o = owner_of(s, run->object);
    if (!o || n > SHARE_RUN_MAX || floe_loop_now_us(s->base.loop) < avoid_of(s, o->node)->until_us ||
        !encode(run))
        return false;
    run->call = (struct floe_peer_call){.api_key = FLOE_PEER_READ,
                                        .lane = (uint8_t)(FLOE_PEER_LANE_DATA + s->lane++ % SHARE_LANES),
                                        .flexible = true,
                                        .body = &run->body,
                                        .body_count = 1,
                                        .timeout_us = SHARE_ASK_US + n / 10,
                                        .response_max = (uint32_t)n + 256,
                                        .budget = s->base.budget,
                                        .done = on_answer,
                                        .user = run};
    memcpy(run->call.addr, o->addr, sizeof run->call.addr);
    run->peer = o->node;
    run->asked = true;
    s->log->stats.shared_asked++;
    s->log->cfg.peers->ops->call(s->log->cfg.peers, &run->call);
    return true;
}

void share_ask_cancel(struct share_run *run)
{
    if (!run->s->log->detached)
        run->s->log->cfg.peers->ops->cancel(run->s->log->cfg.peers, &run->call);
}
