/* The last step of a creation or deletion: live peers read the record again before the answer goes out, so
 * that what any broker lists is no older than the answer. A peer that does not answer has lapsed by the end
 * of its lease. */
#include "catalog/catalog_int.h"
#include <floe/kafka/codec.h>

void floe_catalog_tell_fini(struct floe_catalog_op *op)
{
    for (uint32_t i = 0; i < op->told_count; i++) {
        floe_timer_stop(&op->told[i].retry);
        if (op->told[i].calling)
            op->c->cfg.peers->ops->cancel(op->c->cfg.peers, &op->told[i].call);
    }
    free(op->told);
    op->told = NULL;
    op->told_count = 0;
}

static void told(struct floe_peer_call *call)
{
    struct topic_told *t = call->user;
    struct floe_catalog_op *op = t->op;
    enum floe_err code = call->err.code;
    t->calling = false;
    floe_buf_unref(call->frame);
    call->frame = NULL;
    /* A closed connection says nothing of the peer; refused or silent for a lease time, it is gone or has
     * lapsed. */
    if (code == FLOE_ECLOSED && floe_loop_now_us(op->c->cfg.loop) < t->until_us) {
        floe_timer_start(op->c->cfg.loop, &t->retry, RETRY_US / 4);
        return;
    }
    if (--op->telling == 0)
        floe_catalog_told(op);
}

static void call_again(struct floe_timer *timer)
{
    struct topic_told *t = timer->user;
    t->calling = true;
    t->op->c->cfg.peers->ops->call(t->op->c->cfg.peers, &t->call);
}

static void tell(struct topic_told *t, const struct floe_node_info *node)
{
    struct floe_catalog_op *op = t->op;
    struct floe_kafka_PeerTopicChangedRequest rq;
    floe_kafka_defaults(&floe_kafka_PeerTopicChangedRequest_desc, &rq);
    rq.ClusterId = op->c->cfg.cluster;
    rq.Name = floe_kstr(op->name);
    rq.Revision = (int64_t)op->topic->rev;
    t->call = (struct floe_peer_call){.timeout_us = (uint64_t)node->lease_ms * 1000, .done = told, .user = t};
    floe_timer_init(&t->retry, call_again, t);
    t->until_us = floe_loop_now_us(op->c->cfg.loop) + t->call.timeout_us;
    t->calling = floe_catalog_call_peer(op->c, node, FLOE_PEER_TOPIC_CHANGED, &rq, &t->call, &t->body,
                                        t->bytes, sizeof t->bytes);
    op->telling += t->calling;
}

void floe_catalog_tell_peers(struct floe_catalog_op *op)
{
    struct floe_catalog *c = op->c;
    uint32_t n = c->cfg.peers ? floe_lease_nodes(c->cfg.lease, NULL, 0) : 0;
    struct floe_node_info *nodes = n ? calloc(n, sizeof *nodes) : NULL;
    op->told = nodes ? calloc(n, sizeof *op->told) : NULL;
    n = op->told ? FLOE_MIN(floe_lease_nodes(c->cfg.lease, nodes, n), n) : 0;
    op->telling = 1; /* not done before all are asked */
    for (uint32_t i = 0; i < n; i++) {
        if (nodes[i].state != FLOE_NODE_LIVE || nodes[i].session.node == floe_lease_node_id(c->cfg.lease))
            continue;
        op->told[op->told_count].op = op;
        tell(&op->told[op->told_count++], &nodes[i]);
    }
    free(nodes);
    if (--op->telling == 0)
        floe_catalog_told(op);
}
