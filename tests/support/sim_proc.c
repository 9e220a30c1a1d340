/* One broker process: the wiring of lease and log that the broker layer does, without a front door. */
#include <stdlib.h>

#include <floe/base/assert.h>
#include <floe/kafka/codec.h>

#include "simcluster_int.h"

struct recheck {
    struct floe_list link;
    struct simproc *p;
    struct floe_tp tp;
    int32_t epoch;
    void (*done)(void *user2, bool still);
    void *user2;
};

/* Hooks of the lease. */
static void on_session_open(void *user, const struct floe_session_name *s)
{
    struct simproc *p = user;
    char name[FLOE_SESSION_NAME_MAX];
    floe_session_format(name, s);
    floe_sim_note(p->c->sim, p->node, "session %s opens", name);
    floe_log_session_open(p->log, s);
}
static void on_session_alive(void *user, bool alive)
{
    struct simproc *p = user;
    floe_sim_note(p->c->sim, p->node, alive ? "alive" : "lapsed");
    floe_log_session_alive(p->log, alive);
}
static void on_session_over(void *user, const char *why)
{
    struct simproc *p = user;
    floe_sim_note(p->c->sim, p->node, "session over: %s", why);
    floe_log_session_over(p->log);
}
static void on_adopt(void *user, const struct floe_lease_entry *entries, uint32_t n)
{
    struct simproc *p = user;
    for (uint32_t i = 0; i < n; i++)
        floe_sim_note(p->c->sim, p->node, "adopt %d at epoch %d, %u spans", entries[i].tp.index,
                      entries[i].epoch, entries[i].span_count);
    p->c->out->takeovers += n;
    floe_log_adopt(p->log, entries, n);
}
static void on_drop(void *user, const struct floe_tp *tp)
{
    struct simproc *p = user;
    floe_sim_note(p->c->sim, p->node, "drop %d", tp->index);
    floe_log_drop(p->log, tp);
}
static uint64_t on_next_key(void *user)
{
    return floe_log_next_key(((struct simproc *)user)->log);
}
static uint64_t on_committed(void *user)
{
    return floe_log_committed(((struct simproc *)user)->log);
}
static void on_changed(void *user)
{
    (void)user;
}
static void on_fatal(void *user, const struct floe_error *err)
{
    struct simproc *p = user;
    simcluster_violation(p->c, 7, "node %s must exit: %s", floe_sim_node_name(p->node), err->msg);
    floe_sim_node_kill(p->node);
}
static void on_lease_note(void *user, enum floe_log_level level, const char *msg)
{
    struct simproc *p = user;
    (void)level;
    floe_sim_note(p->c->sim, p->node, "lease: %s", msg);
}

/* Hooks of the log. */
static bool on_alive(void *user)
{
    return floe_lease_alive(((struct simproc *)user)->lease);
}
static void check_adopted(struct simproc *p, const struct floe_tp *tp, int32_t epoch)
{
    struct floe_partition *part;
    struct simledger *l = &p->c->ledger[tp->index];
    if (floe_log_find(p->log, tp, &part) != FLOE_PARTITION_SERVING || floe_partition_epoch(part) != epoch)
        return;
    int64_t hw = floe_partition_high_watermark(part);
    /* One that stood still between its last look at the lease and this may be behind; it cannot write, and
     * while it knows that time has passed it tells nobody what is latest. */
    bool behind = !floe_lease_alive(p->lease) || floe_sim_now_us(p->c->sim) < p->misled_until;
    if (epoch < l->served_epoch && behind)
        return;
    if (epoch <= l->served_epoch)
        simcluster_violation(p->c, 6, "partition %d served again at epoch %d, %d was served before",
                             tp->index, epoch, l->served_epoch);
    if (hw < l->acked_end)
        simcluster_violation(p->c, 2,
                             "partition %d epoch %d starts at high watermark %lld, %lld was acknowledged",
                             tp->index, epoch, (long long)hw, (long long)l->acked_end);
    if (hw < l->served_hw)
        simcluster_violation(p->c, 3, "partition %d epoch %d starts at high watermark %lld, %lld was served",
                             tp->index, epoch, (long long)hw, (long long)l->served_hw);
    l->served_epoch = FLOE_MAX(l->served_epoch, epoch);
}
static void on_adopted(void *user, const struct floe_tp *tp, int32_t epoch, const struct floe_error *err)
{
    struct simproc *p = user;
    floe_sim_note(p->c->sim, p->node, "adopted %d at epoch %d: %s", tp->index, epoch,
                  err && err->code ? err->msg : "ok");
    if (!err || !err->code)
        check_adopted(p, tp, epoch);
    floe_lease_adopted(p->lease, tp, epoch, err);
}
static void on_rechecked(void *user, const struct floe_error *err)
{
    struct recheck *r = user;
    struct simproc *p = r->p;
    struct floe_lease_entry e;
    const struct floe_session_name *own = floe_lease_session(p->lease);
    bool still = !(err && err->code) && own && floe_lease_lookup(p->lease, &r->tp, &e) &&
                 e.epoch == r->epoch && floe_session_name_eq(&e.holder, own);
    void (*done)(void *user2, bool still2) = r->done;
    void *user2 = r->user2;
    floe_list_remove(&r->link);
    free(r);
    done(user2, still);
}
static void on_recheck(void *user, const struct floe_tp *tp, int32_t epoch,
                       void (*done)(void *user2, bool still), void *user2)
{
    struct simproc *p = user;
    struct recheck *r = calloc(1, sizeof *r);
    FLOE_ASSERT(r);
    *r = (struct recheck){.p = p, .tp = *tp, .epoch = epoch, .done = done, .user2 = user2};
    floe_list_push_back(&p->rechecks, &r->link);
    floe_lease_refresh(p->lease, tp, on_rechecked, r);
}
static void on_checkpointed(void *user, const struct floe_tp *tp, int32_t epoch,
                            const struct floe_checkpoint_ref *ref)
{
    struct simproc *p = user;
    floe_sim_note(p->c->sim, p->node, "checkpoint of %d at key %llu", tp->index,
                  (unsigned long long)ref->seq);
    floe_lease_checkpointed(p->lease, tp, epoch, ref);
}
static void on_session_lost(void *user, const char *why)
{
    struct simproc *p = user;
    floe_sim_note(p->c->sim, p->node, "log lost its session: %s", why);
    floe_lease_session_lost(p->lease, why);
}
static void on_log_note(void *user, const struct floe_error *err)
{
    struct simproc *p = user;
    floe_sim_note(p->c->sim, p->node, "log: %s", err->msg);
}
static void on_producer_id(void *user,
                           void (*done)(void *user2, const struct floe_error *err, int64_t id, int16_t epoch),
                           void *user2)
{
    struct simproc *p = user;
    struct floe_error ok = {.code = FLOE_OK};
    done(user2, &ok, p->c->next_producer_id++, 0);
}

static const char *on_topic_name(void *user, const struct floe_uuid *topic)
{
    struct simproc *p = user;
    return floe_uuid_eq(topic, &p->c->topic) ? "topic" : NULL;
}
/* What the tier kept for a partition that another broker holds now goes to that one. */
struct forward {
    void *user2;
    void (*end_done)(void *user2, const struct floe_error *err, int64_t end);
    void (*send_done)(void *user2, const struct floe_error *err, int16_t kafka_error);
};
static void on_forwarded(struct simcall *k)
{
    struct forward *f = k->user;
    struct floe_error err = {.code = k->err};
    if (err.code)
        floe_error_set(&err, k->err, "the holder answers: %s", floe_err_name(k->err));
    if (f->end_done)
        f->end_done(f->user2, &err, k->result);
    else
        f->send_done(f->user2, &err, k->kafka_error);
}
static struct simcall *forward(struct simproc *p, enum simcall_kind kind, const struct floe_tp *tp,
                               const struct forward *how)
{
    struct simcall *k = simcall_new(p->c, kind, (uint32_t)tp->index, on_forwarded, NULL);
    struct forward *f = simcall_extra(k, sizeof *f);
    *f = *how;
    k->user = f;
    k->acks = -1;
    simcall_from(k, p->node);
    return k;
}
static struct simproc *holder(struct simproc *p, const struct floe_tp *tp)
{
    struct floe_lease_entry e;
    return floe_lease_lookup(p->lease, tp, &e) ? simproc_by_node(p->c, e.holder.node) : NULL;
}
static void on_reappend_end(void *user, const struct floe_tp *tp, int32_t epoch,
                            void (*done)(void *user2, const struct floe_error *err, int64_t end), void *user2)
{
    struct simproc *p = user;
    struct simcall *k = forward(p, CALL_EPOCH_END, tp, &(struct forward){.user2 = user2, .end_done = done});
    k->epoch = epoch;
    simcall_send(k, holder(p, tp), 2000000);
}
static void on_reappend_send(void *user, const struct floe_tp *tp, const struct floe_bufslice *batch,
                             void (*done)(void *user2, const struct floe_error *err, int16_t kafka_error),
                             void *user2)
{
    struct simproc *p = user;
    struct simcall *k = forward(p, CALL_REAPPEND, tp, &(struct forward){.user2 = user2, .send_done = done});
    k->batch = malloc(batch->n);
    FLOE_ASSERT(k->batch);
    memcpy(k->batch, batch->p, batch->n);
    k->batch_n = batch->n;
    simcall_send(k, holder(p, tp), 2000000);
}

/* Peers. */
static bool serve_peer(void *user, int16_t api_key, int16_t api_version, struct floe_slice body,
                       struct floe_writer *response)
{
    struct simproc *p = user;
    struct floe_arena arena;
    const struct floe_kafka_api *api = floe_kafka_api_find(api_key);
    struct floe_error err;
    void *rq;
    bool ok = false;
    floe_arena_init(&arena, 1 << 20);
    if (p->state == PROC_DEAD || !p->lease || !api ||
        floe_kafka_decode(api->request, api_version, body, &arena, &rq, &err))
        goto out;
    if (api_key == 20000) {
        struct floe_kafka_PeerHeartbeatResponse rs;
        floe_kafka_defaults(&floe_kafka_PeerHeartbeatResponse_desc, &rs);
        floe_lease_heard(p->lease, rq, &rs);
        ok = !floe_kafka_encode(api->response, api_version, &rs, response, &err);
    } else if (api_key == 20001) {
        struct floe_kafka_PeerLeaseChangedResponse rs;
        floe_kafka_defaults(&floe_kafka_PeerLeaseChangedResponse_desc, &rs);
        floe_lease_hint(p->lease, rq);
        ok = !floe_kafka_encode(api->response, api_version, &rs, response, &err);
    }
out:
    floe_arena_fini(&arena);
    return ok;
}

/* Life and death. */
static void on_reap(struct floe_sim_event *e)
{
    struct simproc *p = FLOE_CONTAINER(e, struct simproc, reap);
    floe_log_destroy(&p->log);
    floe_lease_destroy(&p->lease);
    floe_table_store_destroy(&p->table);
    simcalls_reap(p);
    FLOE_LIST_EACH_SAFE(it, &p->rechecks)
    free(FLOE_LIST_ENTRY(it, struct recheck, link));
    floe_list_remove(&p->driver.link);
    if (p->c->machine[p->machine].proc == p)
        p->c->machine[p->machine].proc = NULL;
    free(p);
}
static void on_killed(struct floe_sim_driver *d)
{
    struct simproc *p = FLOE_CONTAINER(d, struct simproc, driver);
    p->state = PROC_DEAD;
    p->c->out->kills++;
    simcalls_broken(p);
    struct floe_sim_event *restart = &p->c->machine[p->machine].restart;
    if (!restart->heap_at)
        floe_sim_after(p->c->sim, restart, 200000 + floe_rng_below(&p->c->rng, 3000000));
    /* Not here: the node may be inside one of its own calls. */
    floe_sim_after(p->c->sim, &p->reap, 0);
}
static void on_started(void *user, const struct floe_error *err)
{
    struct simproc *p = user;
    if (p->state != PROC_STARTING)
        return;
    if (err && err->code) {
        floe_sim_note(p->c->sim, p->node, "cannot start: %s", err->msg);
        floe_sim_node_kill(p->node);
        return;
    }
    p->state = PROC_UP;
    floe_sim_note(p->c->sim, p->node, "serves as node %d after %llu us", floe_lease_node_id(p->lease),
                  (unsigned long long)(floe_sim_now_us(p->c->sim) - p->started_us));
}
static void create_modules(struct simproc *p)
{
    struct simcluster *c = p->c;
    struct simmachine *m = &c->machine[p->machine];
    struct floe_listener_addr addr = {.name = "PLAINTEXT"};
    snprintf(addr.addr, sizeof addr.addr, "%s", m->addr);
    struct floe_error err;
    struct floe_log_config lc = {
        .loop = floe_sim_node_loop(p->node),
        .store = p->store,
        .tier = p->tier,
        .cluster = c->info.id,
        .pending_budget = &p->pending,
        .cache_budget = &p->cache,
        .segment_bytes_max = c->shape.segment_bytes,
        .linger_us = c->shape.linger_us,
        .puts_in_flight_max = c->shape.puts_in_flight,
        .put_rate = c->shape.put_rate,
        .put_burst = 50,
        .spill_all = c->shape.spill_all,
        .hooks = {.user = p,
                  .alive = on_alive,
                  .adopted = on_adopted,
                  .recheck = on_recheck,
                  .checkpointed = on_checkpointed,
                  .session_lost = on_session_lost,
                  .fatal = on_fatal,
                  .note = on_log_note,
                  .topic_name = on_topic_name,
                  .reappend_producer_id = on_producer_id,
                  .reappend_epoch_end = on_reappend_end,
                  .reappend_send = on_reappend_send},
    };
    struct floe_lease_config sc = {
        .loop = lc.loop,
        .store = p->store,
        .table = p->table,
        .tier = p->tier,
        .peers = p->peers,
        .cluster = c->info.id,
        .shards = c->info.shards,
        .lease_ms = c->shape.lease_ms,
        .addrs = &addr,
        .addr_count = 1,
        .peer_addr = m->addr,
        .rack = "",
        .hooks = {p, on_session_open, on_session_alive, on_session_over, on_adopt, on_drop, on_next_key,
                  on_committed, on_changed, on_fatal, on_lease_note},
    };
    FLOE_ASSERT(floe_log_create(&p->log, &lc, &err) == FLOE_OK);
    FLOE_ASSERT(floe_lease_create(&p->lease, &sc, &err) == FLOE_OK);
}
void simproc_start(struct simcluster *c, uint32_t machine)
{
    struct simmachine *m = &c->machine[machine];
    struct floe_error err;
    FLOE_ASSERT(!m->proc);
    struct simproc *p = calloc(1, sizeof *p);
    FLOE_ASSERT(p);
    p->c = c;
    p->machine = machine;
    p->started_us = floe_sim_now_us(c->sim);
    p->node = floe_sim_node_create(c->sim, m->name);
    floe_sim_node_clock(p->node, 999900 + floe_rng_below(&c->rng, 200),
                        (int64_t)floe_rng_below(&c->rng, 10000));
    floe_sim_net_vanish(c->net, m->name, false);
    floe_list_init(&p->calls);
    floe_list_init(&p->rechecks);
    p->reap.fn = on_reap;
    p->driver.killed = on_killed;
    floe_budget_init(&p->pending, c->shape.pending_bytes);
    floe_budget_init(&p->cache, c->shape.cache_bytes);
    p->store = floe_sim_store_create(c->bucket, p->node);
    p->peers = floe_sim_peers_create(c->net, p->node);
    FLOE_ASSERT(floe_sim_tier_open(&p->tier, m->disk, p->node, &c->info.id, c->shape.tier_bytes, &err) ==
                FLOE_OK);
    FLOE_ASSERT(floe_table_store_create(&p->table, p->store, &err) == FLOE_OK);
    floe_sim_node_register(p->node, &p->driver);
    create_modules(p);
    m->proc = p;
    floe_sim_net_listen(c->net, p->node, m->addr, serve_peer, p);
    floe_sim_note(c->sim, p->node, "starts");
    floe_lease_start(p->lease, on_started, p);
}

static void on_lease_ended(void *user, const struct floe_error *err)
{
    struct simproc *p = user;
    floe_sim_note(p->c->sim, p->node, "ended: %s", err && err->code ? err->msg : "ok");
    floe_sim_node_kill(p->node);
}
static void on_log_ended(void *user, const struct floe_error *err, uint64_t end)
{
    struct simproc *p = user;
    if (err && err->code) {
        floe_sim_note(p->c->sim, p->node, "cannot seal: %s", err->msg);
        floe_sim_node_kill(p->node);
        return;
    }
    floe_lease_end(p->lease, end, on_lease_ended, p);
}
void simproc_end(struct simproc *p)
{
    FLOE_ASSERT(p->state == PROC_UP);
    p->state = PROC_ENDING;
    p->ending_us = floe_sim_now_us(p->c->sim);
    floe_sim_note(p->c->sim, p->node, "asked to end");
    floe_log_session_end(p->log, on_log_ended, p);
}
struct simproc *simproc_by_node(struct simcluster *c, int32_t node_id)
{
    for (uint32_t i = 0; i < c->shape.nodes; i++) {
        struct simproc *p = c->machine[i].proc;
        if (p && p->state != PROC_DEAD && p->state != PROC_STARTING &&
            floe_lease_node_id(p->lease) == node_id)
            return p;
    }
    return NULL;
}
struct simproc *simproc_any(struct simcluster *c)
{
    uint32_t from = (uint32_t)floe_rng_below(&c->rng, c->shape.nodes);
    for (uint32_t i = 0; i < c->shape.nodes; i++) {
        struct simproc *p = c->machine[(from + i) % c->shape.nodes].proc;
        if (p && p->state == PROC_UP)
            return p;
    }
    return NULL;
}
