/* Deletion, second step: every session that may hold a partition of the topic has confirmed that it stopped,
 * or is sealed; then the topic's entries leave the lease shards. Waiting a lease time would not be enough: a
 * lapsed session may live on. */
#include "catalog/catalog_int.h"
#include <floe/base/mutant.h>
#include <floe/kafka/codec.h>

static void ask_holders(struct floe_catalog_op *op);

void floe_catalog_stop_fini(struct floe_catalog_op *op)
{
    for (uint32_t i = 0; i < op->holder_count; i++) {
        if (op->holders[i].calling)
            op->c->cfg.peers->ops->cancel(op->c->cfg.peers, &op->holders[i].call);
    }
    free(op->holders);
    free(op->epochs);
    op->holders = NULL;
    op->epochs = NULL;
    op->holder_count = 0;
}

static void leases_gone(void *user, const struct floe_error *err)
{
    struct floe_catalog_op *op = user;
    floe_catalog_stop_fini(op);
    if (err->code)
        floe_catalog_op_retry(op, floe_catalog_stop_holders); /* a new holder, or the table is away */
    else
        floe_catalog_stopped(op);
}

static void answered(struct floe_peer_call *call)
{
    struct topic_holder *h = call->user;
    h->calling = false;
    if (!call->err.code && call->response.n >= 2 && floe_be16(call->response.p) == 0)
        h->stopped = true;
    floe_buf_unref(call->frame);
    call->frame = NULL;
    if (h->stopped)
        ask_holders(h->op);
}

bool floe_catalog_call_peer(struct floe_catalog *c, const struct floe_node_info *node, int16_t key,
                            const void *rq, struct floe_peer_call *call, struct floe_bufslice *body,
                            uint8_t *bytes, size_t cap)
{
    const struct floe_kafka_api *api = floe_kafka_api_find(key);
    struct floe_writer w;
    floe_writer_init(&w, cap);
    bool ok = floe_kafka_encode(api->request, api->max, rq, &w, NULL) == FLOE_OK && !w.bad;
    if (ok) {
        memcpy(bytes, w.p, w.n);
        *body = (struct floe_bufslice){NULL, bytes, w.n};
        call->api_key = api->key;
        call->api_version = api->max;
        call->flexible = true;
        call->body = body;
        call->body_count = 1;
        memcpy(call->addr, node->peer_addr, sizeof call->addr);
        c->cfg.peers->ops->call(c->cfg.peers, call);
    }
    floe_writer_fini(&w);
    return ok;
}

static void ask_peer(struct floe_catalog_op *op, struct topic_holder *h, const struct floe_node_info *node)
{
    struct floe_kafka_PeerTopicDeletedRequest rq;
    floe_kafka_defaults(&floe_kafka_PeerTopicDeletedRequest_desc, &rq);
    rq.ClusterId = op->c->cfg.cluster;
    rq.TopicId = op->topic->id;
    rq.NodeId = h->session.node;
    rq.NodeEpoch = h->session.epoch;
    rq.SessionId = (int64_t)h->session.id;
    h->call = (struct floe_peer_call){.timeout_us = 2000000, .done = answered, .user = h};
    h->calling = floe_catalog_call_peer(op->c, node, FLOE_PEER_TOPIC_DELETED, &rq, &h->call, &h->body,
                                        h->bytes, sizeof h->bytes);
}

/* One look at a holder: has it stopped, or is it asked now? */
static void look_at(struct floe_catalog_op *op, struct topic_holder *h)
{
    struct floe_catalog *c = op->c;
    struct floe_node_info node;
    const struct floe_session_name *own = floe_lease_session(c->cfg.lease);
    if (FLOE_MUTANT(DELETION_UNCONFIRMED))
        h->stopped = true;
    if (h->stopped || h->calling)
        return;
    if (own && floe_session_name_eq(own, &h->session)) {
        h->stopped = !c->cfg.topic_served(c->cfg.user, &op->topic->id, op->stop_n);
        return;
    }
    if (!floe_lease_node(c->cfg.lease, h->session.node, &node))
        return;
    /* A node id gets its next epoch only when the former session was sealed or had ended. */
    bool same = floe_session_name_eq(&node.session, &h->session);
    if ((!same && node.session.epoch > h->session.epoch) ||
        (same && (node.state == FLOE_NODE_SEALED || node.state == FLOE_NODE_ENDED)))
        h->stopped = true;
    else if (same && node.state == FLOE_NODE_LIVE && c->cfg.peers)
        ask_peer(op, h, &node);
}

static void ask_holders(struct floe_catalog_op *op)
{
    bool all = true;
    for (uint32_t i = 0; i < op->holder_count; i++) {
        look_at(op, &op->holders[i]);
        all = all && op->holders[i].stopped;
    }
    if (!all) {
        floe_catalog_op_retry(op, ask_holders);
        return;
    }
    floe_timer_stop(&op->timer);
    floe_lease_delete_topic(op->c->cfg.lease, &op->topic->id, op->stop_n, op->epochs, leases_gone, op);
}

static bool add_holder(struct floe_catalog_op *op, const struct floe_session_name *s)
{
    for (uint32_t i = 0; i < op->holder_count; i++) {
        if (floe_session_name_eq(&op->holders[i].session, s))
            return true;
    }
    struct topic_holder *h = realloc(op->holders, (op->holder_count + 1) * sizeof *h);
    if (!h)
        return false;
    op->holders = h;
    h[op->holder_count++] = (struct topic_holder){.op = op, .session = *s};
    return true;
}

/* Those of its record, and those that somebody had begun to give it. */
static int32_t leased(const struct floe_catalog_op *op)
{
    return FLOE_MAX(op->topic->partitions, floe_lease_partitions(op->c->cfg.lease, &op->topic->id));
}

static void shard_read(void *user, const struct floe_error *err)
{
    struct floe_catalog_op *op = user;
    if (err->code)
        op->req.err = *err; /* remembered until all have answered */
    if (--op->refreshing > 0)
        return;
    bool ok = op->req.err.code == FLOE_OK;
    op->req.err = (struct floe_error){0};
    op->stop_n = leased(op);
    op->epochs = ok ? calloc((size_t)op->stop_n, sizeof *op->epochs) : NULL;
    ok = op->epochs != NULL;
    for (int32_t i = 0; ok && i < op->stop_n; i++) {
        struct floe_tp tp = {op->topic->id, i};
        struct floe_lease_entry e;
        op->epochs[i] = -1;
        if (!floe_lease_lookup(op->c->cfg.lease, &tp, &e))
            continue;
        op->epochs[i] = e.epoch;
        ok = add_holder(op, &e.holder);
    }
    if (!ok) {
        floe_catalog_stop_fini(op);
        floe_catalog_op_retry(op, floe_catalog_stop_holders);
        return;
    }
    ask_holders(op);
}

void floe_catalog_stop_holders(struct floe_catalog_op *op)
{
    floe_lease_forget_topic(op->c->cfg.lease, &op->topic->id);
    op->req.err = (struct floe_error){0};
    op->refreshing = 1; /* not done before all are asked */
    for (int32_t i = 0, n = leased(op); i < n; i += 64) {
        struct floe_tp tp = {op->topic->id, i};
        op->refreshing++;
        floe_lease_refresh(op->c->cfg.lease, &tp, shard_read, op);
    }
    static const struct floe_error ok;
    shard_read(op, &ok);
}

static void stop_poll(struct floe_timer *t)
{
    struct stop_wait *s = t->user;
    struct floe_catalog *c = s->c;
    if (c->cfg.topic_served(c->cfg.user, &s->topic, s->partitions)) {
        floe_timer_start(c->cfg.loop, &s->timer, STOP_POLL_US);
        return;
    }
    void (*done)(void *user) = s->done;
    void *user = s->user;
    floe_list_remove(&s->link);
    free(s);
    done(user);
}

bool floe_catalog_peer_deleted(struct floe_catalog *c, const struct floe_uuid *topic,
                               void (*done)(void *user), void *user)
{
    const struct floe_topic *t = floe_catalog_find_id(c, topic);
    int32_t partitions = t ? t->partitions : FLOE_TOPIC_PARTITIONS_MAX;
    floe_lease_forget_topic(c->cfg.lease, topic);
    if (!c->cfg.topic_served(c->cfg.user, topic, partitions)) {
        done(user);
        return true;
    }
    struct stop_wait *s = calloc(1, sizeof *s);
    if (!s)
        return false;
    s->c = c;
    s->topic = *topic;
    s->partitions = partitions;
    s->done = done;
    s->user = user;
    floe_timer_init(&s->timer, stop_poll, s);
    floe_list_push_back(&c->stops, &s->link);
    floe_timer_start(c->cfg.loop, &s->timer, STOP_POLL_US);
    return true;
}
