/* Peers: heartbeats, and hints that something changed. All of it only makes the table be read sooner, but for
 * two signs of death: a refused connection and another session's answer. */
#include "lease_int.h"

#include <floe/kafka/codec.h>

#include <stdlib.h>

#define BODY_MAX (64u << 10)
#define REFUSED_GAP_US 100000u /* between the two refusals that count */
#define HINT_SHARDS_MAX 4096

char *lease_peer_encode(const struct floe_kafka_msg *m, const void *msg, size_t *n)
{
    struct floe_writer w;
    struct floe_error err;
    floe_writer_init(&w, BODY_MAX);
    FLOE_ASSERT(floe_kafka_encode(m, 0, msg, &w, &err) == FLOE_OK);
    *n = w.n;
    char *text = lease_alloc(w.n);
    memcpy(text, w.p, w.n);
    floe_writer_fini(&w);
    return text;
}

static bool callable(const struct floe_lease *l, const struct lease_node *n)
{
    return n->present && !n->bad && n->rec.info.state == FLOE_NODE_LIVE && n->rec.info.peer_addr[0] != '\0' &&
           n->id != l->own.name.node;
}

/* ---- heartbeats ------------------------------------------------------------------------------------ */

static void answered(struct floe_lease *l, struct lease_node *n,
                     const struct floe_kafka_PeerHeartbeatResponse *rs)
{
    const struct floe_session_name *s = &n->rec.info.session;
    n->refusals = 0;
    if (rs->ErrorCode != 0)
        return;
    if (rs->NodeId == s->node && rs->NodeEpoch == s->epoch && (uint64_t)rs->SessionId == s->id) {
        n->reached = true;
        n->gone = NULL;
        n->heard_us = n->view_us = lease_now(l);
        n->view = (uint64_t)rs->PlacementHash;
        n->next_key = rs->NextKey;
        lease_catalog_hint(l, (uint64_t)rs->CatalogVersion);
    } else if (n->reached) {
        n->gone = "its address answers as another session"; /* the record decides: its version must still be
                                                               the one that was read */
        lease_kick(l);
    } else {
        lease_node_read(l, n);
    }
}

static void on_heartbeat(struct lease_op *op)
{
    struct floe_lease *l = op->l;
    struct lease_node *n = op->ctx;
    const struct floe_peer_call *c = &op->u.peer;
    uint64_t now = lease_now(l);
    n->call = NULL;
    n->next_call_us = now + l->lease_us / 10;
    if (!n->present || n->rec.info.session.id != op->tag)
        return; /* what was asked is not what is there now */
    if (c->err.code == FLOE_OK) {
        struct floe_arena arena;
        void *rs;
        struct floe_error err;
        floe_arena_init(&arena, BODY_MAX);
        if (floe_kafka_decode(&floe_kafka_PeerHeartbeatResponse_desc, 0, c->response, &arena, &rs, &err) ==
            FLOE_OK)
            answered(l, n, rs);
        floe_arena_fini(&arena);
    } else if (c->err.code == FLOE_EREFUSED && n->reached) {
        if (n->refusals == 0) {
            n->refusals = 1;
            n->refused_us = now;
        } else if (now - n->refused_us >= REFUSED_GAP_US) {
            n->gone = "its address refuses connections";
            lease_kick(l);
        }
        if (n->gone == NULL)
            n->next_call_us = now + FLOE_MIN((uint64_t)REFUSED_GAP_US, l->lease_us / 10);
    } else {
        n->refusals = 0;
    }
}

static void heartbeat(struct floe_lease *l, struct lease_node *n)
{
    struct floe_kafka_PeerHeartbeatRequest rq;
    size_t size;
    floe_kafka_defaults(&floe_kafka_PeerHeartbeatRequest_desc, &rq);
    rq.ClusterId = l->cfg.cluster;
    if (lease_own_open(l)) {
        rq.NodeId = l->own.name.node;
        rq.NodeEpoch = l->own.name.epoch;
        rq.SessionId = (int64_t)l->own.name.id;
    }
    rq.SentUs = (int64_t)lease_now(l);
    rq.PlacementHash = (int64_t)lease_view(l);
    rq.CatalogVersion = (int64_t)l->catalog.version;
    char *body = lease_peer_encode(&floe_kafka_PeerHeartbeatRequest_desc, &rq, &size);
    n->call = lease_op_call(l, n->rec.info.peer_addr, floe_kafka_PeerHeartbeatRequest_desc.key,
                            FLOE_PEER_LANE_CONTROL, body, size, lease_step_us(l), on_heartbeat, n);
    n->call->tag = n->rec.info.session.id;
}

void lease_peers_tick(struct floe_lease *l)
{
    uint64_t now = lease_now(l);
    if (l->cfg.peers == NULL)
        return;
    for (uint32_t i = 0; i < l->node_count; i++) {
        struct lease_node *n = l->nodes[i];
        if (callable(l, n) && n->call == NULL && now >= n->next_call_us)
            heartbeat(l, n);
    }
}

void floe_lease_heard(struct floe_lease *l, const struct floe_kafka_PeerHeartbeatRequest *rq,
                      struct floe_kafka_PeerHeartbeatResponse *rs)
{
    floe_kafka_defaults(&floe_kafka_PeerHeartbeatResponse_desc, rs);
    if (!floe_uuid_eq(&rq->ClusterId, &l->cfg.cluster)) {
        rs->ErrorCode = FLOE_KERR_INCONSISTENT_CLUSTER_ID;
        return;
    }
    if (lease_own_open(l) || l->own.state == OWN_ENDED) {
        rs->NodeId = l->own.name.node;
        rs->NodeEpoch = l->own.name.epoch;
        rs->SessionId = (int64_t)l->own.name.id;
        if (lease_own_open(l) && !l->own.tell_open)
            rs->CommittedSeq = (int64_t)l->cfg.hooks.committed(l->cfg.hooks.user);
        if (l->own.state == OWN_LIVE && !l->own.tell_open && !l->mover.draining && floe_lease_alive(l))
            rs->NextKey = (int64_t)l->cfg.hooks.next_key(l->cfg.hooks.user);
        rs->PlacementHash = (int64_t)lease_view(l);
    }
    rs->CatalogVersion = (int64_t)l->catalog.version;
    if (rq->NodeId < 1 || rq->NodeId > LEASE_NODE_ID_MAX || l->life != LIFE_RUNNING ||
        (lease_own_open(l) && rq->NodeId == l->own.name.node))
        return;
    lease_catalog_hint(l, (uint64_t)rq->CatalogVersion);
    struct lease_node *n = lease_node_find(l, rq->NodeId);
    if (n != NULL && n->present && n->rec.info.session.epoch == rq->NodeEpoch &&
        n->rec.info.session.id == (uint64_t)rq->SessionId) {
        n->heard_us = lease_now(l);
    } else if (n == NULL) {
        lease_nodes_scan_soon(l); /* a hint is no reason to make room for any number it names */
    } else if (n->read == NULL && n->rec.info.session.epoch <= rq->NodeEpoch) {
        lease_node_read(l, n);
    }
}

/* ---- hints ----------------------------------------------------------------------------------------- */

static void on_told(struct lease_op *op)
{
    struct floe_lease *l = op->l;
    l->tells--; /* a hint that is lost costs a poll */
    if (op->tag > 0 &&
        op->u.peer.err.code != FLOE_OK) { /* to a receiver, for which producers wait: once more */
        struct lease_shard *s = &l->shards[op->tag - 1];
        s->tell = true;
        s->told_n = 0;
        l->tell_us = lease_now(l);
    }
    lease_kick(l);
}

/* `only`: null for all. Says who tells. `tag`: for on_told. */
static void tell(struct floe_lease *l, struct lease_node *only, struct floe_kafka_PeerLeaseChangedRequest rq,
                 uint64_t tag)
{
    if (l->cfg.peers == NULL || (!lease_own_open(l) && l->own.state != OWN_ENDED))
        return;
    rq.ClusterId = l->cfg.cluster;
    rq.NodeId = l->own.name.node;
    rq.NodeEpoch = l->own.name.epoch;
    rq.SessionId = (int64_t)l->own.name.id;
    rq.CatalogVersion = (int64_t)l->catalog.version;
    for (uint32_t i = 0; i < l->node_count; i++) {
        struct lease_node *node = l->nodes[i];
        size_t size;
        if (!callable(l, node) || (only != NULL && node != only))
            continue;
        char *body = lease_peer_encode(&floe_kafka_PeerLeaseChangedRequest_desc, &rq, &size);
        struct lease_op *op =
            lease_op_call(l, node->rec.info.peer_addr, floe_kafka_PeerLeaseChangedRequest_desc.key,
                          FLOE_PEER_LANE_CONTROL, body, size, lease_step_us(l), on_told, node);
        op->tag = tag;
        l->tells++;
    }
}

static struct floe_kafka_PeerLeaseChangedRequest changed(const int32_t *shards, uint32_t n)
{
    struct floe_kafka_PeerLeaseChangedRequest rq;
    floe_kafka_defaults(&floe_kafka_PeerLeaseChangedRequest_desc, &rq);
    rq.Shards = (void *)shards;
    rq.Shards_n = (int32_t)n;
    return rq;
}

bool lease_shard_told(const struct lease_shard *s, int32_t node)
{
    for (uint32_t i = 0; i < s->told_n; i++)
        if (s->told[i] == node)
            return true;
    return false;
}

void lease_peers_tell(struct floe_lease *l, const int32_t *shards, uint32_t n)
{
    int32_t news[LEASE_SHARD_MAX];
    for (uint32_t i = 0; i < l->node_count; i++) {
        uint32_t k = 0;
        for (uint32_t j = 0; j < n; j++)
            if (!lease_shard_told(&l->shards[shards[j]], l->nodes[i]->id))
                news[k++] = shards[j];
        if (k > 0 || n == 0)
            tell(l, l->nodes[i], changed(news, k), 0);
    }
}

void lease_peers_tell_due(struct floe_lease *l, const int32_t *shards, uint32_t n)
{
    uint64_t now = lease_now(l);
    bool ending = l->own.state == OWN_ENDING;
    if (n > 0 && (now >= l->tell_us || ending)) {
        for (uint32_t i = 0; i < n; i++)
            l->shards[shards[i]].tell = false;
        lease_peers_tell(l, shards, n);
        if (l->bump_us == UINT64_MAX)
            l->bump_by_us = now + l->lease_us;
        l->bump_us =
            l->tell_bump ? now : FLOE_MIN(l->bump_by_us, now + FLOE_MIN(LEASE_BUMP_US, l->lease_us / 5));
        l->tell_us = UINT64_MAX;
        l->tell_bump = false;
    }
    if (now >= l->bump_us || (ending && l->bump_us != UINT64_MAX)) {
        l->bump_us = UINT64_MAX;
        floe_lease_bump_catalog(l);
    }
    uint64_t next = FLOE_MIN(l->tell_us, l->bump_us);
    if (next != UINT64_MAX)
        lease_wake(l, next);
}

void lease_peers_calm(struct floe_lease *l, const int32_t *shards, uint32_t n, bool stopping)
{
    struct floe_kafka_PeerLeaseChangedRequest rq = changed(NULL, 0);
    rq.Moving = (void *)shards;
    rq.Moving_n = (int32_t)n;
    rq.Stopping = stopping;
    tell(l, NULL, rq, 0);
}

void lease_peer_tell(struct floe_lease *l, int32_t node, int32_t shard)
{
    struct lease_node *n = lease_node_find(l, node);
    if (n != NULL)
        tell(l, n, changed(&shard, 1), (uint64_t)shard + 1);
}

void lease_shard_calm(struct floe_lease *l, struct lease_shard *s)
{
    uint64_t now = lease_now(l);
    s->calm_us = now + FLOE_MIN((uint64_t)LEASE_CALM_US, l->lease_us / 10);
    if (s->put_us > now)
        s->put_us = FLOE_MAX(s->put_us, s->calm_us);
}

void floe_lease_hint(struct floe_lease *l, const struct floe_kafka_PeerLeaseChangedRequest *rq)
{
    if (!floe_uuid_eq(&rq->ClusterId, &l->cfg.cluster) || l->life != LIFE_RUNNING)
        return;
    for (int32_t i = 0; i < rq->Shards_n && i < HINT_SHARDS_MAX; i++) {
        int32_t s = rq->Shards[i];
        if (s >= 0 && (uint32_t)s < l->shard_count)
            l->shards[s].stale = true;
    }
    for (int32_t i = 0; i < rq->Moving_n && i < HINT_SHARDS_MAX; i++) {
        int32_t s = rq->Moving[i];
        if (s < 0 || (uint32_t)s >= l->shard_count)
            continue;
        lease_shard_calm(l, &l->shards[s]);
        l->shards[s].theirs_us = l->shards[s].calm_us;
    }
    if (rq->Stopping) {
        l->mover.window_at_us = lease_now(l);
        l->mover.window_us = lease_now(l) + FLOE_MIN((uint64_t)LEASE_WINDOW_US, l->lease_us / 40);
        l->mover.window_of = rq->NodeId;
    }
    lease_catalog_hint(l, (uint64_t)rq->CatalogVersion);
    struct lease_node *n = lease_node_find(l, rq->NodeId);
    const struct floe_session_name *s = n != NULL ? &n->rec.info.session : NULL;
    bool known = s != NULL && n->present && s->epoch == rq->NodeEpoch && s->id == (uint64_t)rq->SessionId;
    if (known && (rq->Shards_n > 0 || rq->Moving_n > 0))
        lease_kick(l); /* it lives */
    else if (n == NULL)
        lease_nodes_scan_soon(l);
    else if (!lease_own_open(l) || rq->NodeId != l->own.name.node)
        lease_node_read(l, n); /* it may have ended */
    lease_kick(l);
}
