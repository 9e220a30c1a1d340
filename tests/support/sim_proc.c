/* One broker process: production's core (src/broker/core.c) over simulated drivers. */
#include <stdlib.h>

#include <floe/base/assert.h>

#include "simcluster_int.h"

static void on_fatal(void *user, const struct floe_error *err)
{
    struct simproc *p = user;
    if (!simmixed_refuses(p, err))
        simcluster_violation(p->c, 7, "node %s must exit: %s", floe_sim_node_name(p->node), err->msg);
    floe_sim_node_kill(p->node);
}
/* It looks at the lease between its rebuild and serving: what it found was true when it asked, a third of the
 * lease time ago at most, or before it stood still. */
static void check_looked(struct simproc *p, uint32_t part, int32_t epoch)
{
    uint64_t now = floe_sim_now_us(p->c->sim), since = simwatch_superseded(p->c, part, epoch);
    if (since && now > since + 1000ull * p->c->shape.lease_ms / 3 && now > p->stalled_until + 10000 &&
        now >= p->misled_until)
        simcluster_violation(p->c, 6,
                             "partition %u: node %s begins to serve epoch %d, which was over %llu us ago",
                             part, floe_sim_node_name(p->node), epoch, (unsigned long long)(now - since));
}
static void check_adopted(struct simproc *p, const struct floe_tp *tp, int32_t epoch)
{
    struct floe_partition *part;
    int32_t at = simcluster_part(p->c, &tp->topic, tp->index);
    if (at < 0)
        return;
    struct simledger *l = &p->c->ledger[at];
    if (floe_log_find(p->log, tp, &part) != FLOE_PARTITION_SERVING || floe_partition_epoch(part) != epoch)
        return;
    int64_t hw = floe_partition_high_watermark(part);
    /* One that stood still between its last look at the lease and this may be behind; it cannot write, and
     * while it knows that time has passed it tells nobody what is latest. */
    bool behind = !floe_lease_alive(p->lease) || floe_sim_now_us(p->c->sim) < p->misled_until;
    if (epoch < l->served_epoch && behind) {
        check_looked(p, (uint32_t)at, epoch);
        return;
    }
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
static void on_serves(void *user, const struct floe_tp *tp, int32_t epoch)
{
    struct simproc *p = user;
    if (simcluster_part(p->c, &tp->topic, tp->index) < 0)
        return; /* one of those that come and go */
    floe_sim_note(p->c->sim, p->node, "serves %d at epoch %d", tp->index, epoch);
    p->c->out->takeovers++;
    check_adopted(p, tp, epoch);
}

/* What it says of itself, and what its record says: its last renewal landed longer than a lease time ago, so
 * that others may have taken over, whatever it takes for true. What was decided before a stall is told after
 * it, and what was decided before it began to write that it ends may be told a moment later; clocks run 500
 * ppm fast or slow. */
bool simproc_lapsed(const struct simproc *p)
{
    const struct simcluster *c = p->c;
    uint64_t now = floe_sim_now_us(c->sim), lease = 1002ull * c->shape.lease_ms;
    if (now <= p->stalled_until + 10000)
        return false;
    return (p->state == PROC_ENDING ? p->over : !floe_lease_alive(p->lease)) ||
           (now >= p->misled_until && now > p->renewed_us + lease);
}

/* Life and death. */
static void on_reap(struct floe_sim_event *e)
{
    struct simproc *p = FLOE_CONTAINER(e, struct simproc, reap);
    floe_core_destroy(&p->core);
    simtable_destroy(&p->table);
    simdoor_reap(p);
    simcalls_reap(p);
    floe_list_remove(&p->driver.link);
    if (p->c->machine[p->machine].proc == p)
        p->c->machine[p->machine].proc = NULL;
    free(p);
}
static void on_killed(struct floe_sim_driver *d)
{
    struct simproc *p = FLOE_CONTAINER(d, struct simproc, driver);
    /* One that was asked to end under faults, or does not read the cluster's format: its machine has a broker
     * again later than the faults' end. */
    p->c->machine[p->machine].back_late = p->c->healed && (p->state == PROC_ENDING || p->refused);
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
        struct simcluster *c = p->c;
        uint32_t machine = p->machine;
        bool late = c->healed && p->started_us < c->healed_us; /* a stall took its time to start */
        floe_sim_node_kill(p->node);
        if (late) {
            floe_sim_after(c->sim, &c->machine[machine].restart, 1000);
            c->healed_us = FLOE_MAX(c->healed_us, floe_sim_now_us(c->sim) + 1000);
        }
        return;
    }
    p->state = PROC_UP;
    simmixed_started(p);
    floe_sim_note(p->c->sim, p->node, "serves as node %d after %llu us", floe_lease_node_id(p->lease),
                  (unsigned long long)(floe_sim_now_us(p->c->sim) - p->started_us));
}
const char *simproc_rack(uint32_t machine)
{
    return machine % 2 ? "r1" : "r0";
}
static void create_core(struct simproc *p)
{
    struct simcluster *c = p->c;
    struct simmachine *m = &c->machine[p->machine];
    struct floe_listener_addr addr = {.name = "PLAINTEXT"};
    struct floe_error err;
    snprintf(addr.addr, sizeof addr.addr, "%s", m->addr);
    struct floe_core_config cfg = {
        .loop = floe_sim_node_loop(p->node),
        .store = p->store,
        .table = p->table,
        .tier = p->tier,
        .peers = p->peers,
        .cluster = c->info,
        .lease_ms = c->shape.lease_ms,
        .addrs = &addr,
        .addr_count = 1,
        .peer_addr = m->addr,
        .rack = simproc_rack(p->machine),
        .pending = &p->pending,
        .cache = &p->cache,
        .segment_bytes = c->shape.segment_bytes,
        .linger_us = c->shape.linger_us,
        .puts_in_flight = c->shape.puts_in_flight,
        .put_rate = c->shape.put_rate,
        .put_burst = 50,
        .spill_all = c->shape.spill_all,
        .garbage_age_us = c->shape.garbage_age_us,
        .newest_format = p->newest,
        .api = {.message_max = 1 << 20,
                .num_partitions = 1,
                .replication_factor = 3,
                .fetch_max = 1 << 20,
                .fetch_sessions = 4,
                .answers_max = c->shape.answers_bytes},
        .fatal = on_fatal,
        .serves = on_serves,
        .user = p,
    };
    snprintf(cfg.api.listeners[0], sizeof cfg.api.listeners[0], "%s", addr.name);
    FLOE_ASSERT(floe_core_create(&p->core, &cfg, &err) == FLOE_OK);
    p->lease = floe_core_lease(p->core);
    p->log = floe_core_log(p->core);
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
    floe_sim_node_clock(p->node, 999500 + floe_rng_below(&c->rng, 1000),
                        (int64_t)floe_rng_below(&c->rng, 10000));
    floe_sim_net_vanish(c->net, m->name, false);
    floe_list_init(&p->calls);
    simdoor_init(p);
    p->reap.fn = on_reap;
    p->driver.killed = on_killed;
    floe_budget_init(&p->pending, c->shape.pending_bytes);
    floe_budget_init(&p->cache, c->shape.cache_bytes);
    p->store = floe_sim_store_create(c->bucket, p->node);
    p->peers = floe_sim_peers_create(c->net, p->node);
    FLOE_ASSERT(floe_sim_tier_open(&p->tier, m->disk, p->node, &c->info.id, c->shape.tier_bytes, &err) ==
                FLOE_OK);
    p->table = simtable_create(c, p->store, p->node);
    floe_sim_node_register(p->node, &p->driver);
    simmixed_starts(p);
    create_core(p);
    m->proc = p;
    floe_sim_net_listen_later(c->net, p->node, m->addr, simdoor_peer, p);
    floe_sim_note(c->sim, p->node, "starts");
    if (m->back_late)
        c->healed_us = FLOE_MAX(c->healed_us, floe_sim_now_us(c->sim));
    floe_core_start(p->core, on_started, p);
}

static void on_ended(void *user, const struct floe_error *err)
{
    struct simproc *p = user;
    floe_sim_note(p->c->sim, p->node, "ended: %s", err && err->code ? err->msg : "ok");
    floe_sim_node_kill(p->node);
}
void simproc_end(struct simproc *p)
{
    FLOE_ASSERT(p->state == PROC_UP);
    p->state = PROC_ENDING;
    p->ending_us = floe_sim_now_us(p->c->sim);
    floe_sim_note(p->c->sim, p->node, "asked to end");
    floe_core_end(p->core, on_ended, p);
}
struct simproc *simproc_at(struct simcluster *c, int32_t machine)
{
    if (machine < 0 || (uint32_t)machine >= c->shape.nodes)
        return NULL;
    struct simproc *p = c->machine[machine].proc;
    return p && p->state != PROC_DEAD && p->state != PROC_STARTING ? p : NULL;
}
struct simproc *simproc_of(struct simcluster *c, const struct floe_sim_node *node)
{
    for (uint32_t i = 0; i < c->shape.nodes; i++)
        if (c->machine[i].proc && c->machine[i].proc->node == node)
            return c->machine[i].proc;
    return NULL;
}
struct simproc *simproc_any_from(struct simcluster *c, uint64_t from)
{
    for (uint32_t i = 0; i < c->shape.nodes; i++) {
        struct simproc *p = c->machine[(from + i) % c->shape.nodes].proc;
        if (p && p->state == PROC_UP)
            return p;
    }
    return NULL;
}
struct simproc *simproc_any(struct simcluster *c)
{
    return simproc_any_from(c, floe_rng_below(&c->rng, c->shape.nodes));
}
static bool sees(const struct simproc *p, const struct simproc *q)
{
    const struct floe_session_name *s = q && q->state == PROC_UP ? floe_lease_session(q->lease) : NULL;
    struct floe_node_info n;
    return !s || !p || p->state != PROC_UP || !floe_lease_alive(q->lease) ||
           (floe_lease_node(p->lease, s->node, &n) && floe_session_name_eq(&n.session, s) &&
            n.state == FLOE_NODE_LIVE);
}
static bool all_see(void *user)
{
    const struct simcluster *c = user;
    for (uint32_t i = 0; i < c->shape.nodes * c->shape.nodes; i++)
        if (!sees(c->machine[i / c->shape.nodes].proc, c->machine[i % c->shape.nodes].proc))
            return false;
    return true;
}
/* Without faults, every broker sees itself and the others, those that have just come a little later. */
void simprocs_see_each_other(struct simcluster *c)
{
    if (floe_sim_run_until(c->sim, all_see, c, 2000000))
        return;
    for (uint32_t i = 0; i < c->shape.nodes * c->shape.nodes; i++) {
        const struct simproc *p = c->machine[i / c->shape.nodes].proc,
                             *q = c->machine[i % c->shape.nodes].proc;
        if (!sees(p, q))
            simcluster_violation(c, 10, "node %s does not see that %s lives", floe_sim_node_name(p->node),
                                 floe_sim_node_name(q->node));
    }
}
