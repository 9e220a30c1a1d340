/* Gathers what a broker tells about itself: once a second on the core loop, from counters that are kept
 * anyway. */
#include "broker/broker_int.h"

#include <floe/base/log.h>
#include <floe/os/usage.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TICK_US 1000000u
#define FOLLOWED_MAX 64

static double load(const _Atomic uint64_t *v)
{
    return (double)atomic_load_explicit(v, memory_order_relaxed);
}

static void from_process(struct broker *b, struct floe_sample *s)
{
    struct floe_usage *u = &b->metrics.util.last;
    s->uptime_s = (double)(s->at_us - b->metrics.started_us) / 1e6;
    s->resident = (double)floe_os_resident();
    s->memory_limit = (double)b->cfg->memory;
    s->cpu_s = (double)u->cpu_us / 1e6;
    s->core_cpu_s = (double)u->core_cpu_us / 1e6;
    s->cores = u->cores;
    s->pending_used = (double)floe_budget_used(&b->pending);
    s->pending_limit = (double)b->pending.limit;
    s->cache_used = (double)floe_budget_used(&b->cache);
    s->cache_limit = (double)b->cache.limit;
    memcpy(s->util, b->metrics.util.of, sizeof s->util);
    s->util_max = b->metrics.util.max;
}

static void from_network(struct broker *b, struct floe_sample *s)
{
    const struct floe_server_stats *n = floe_server_stats(b->server);
    s->connections = load(&n->connections);
    s->accepted = load(&n->accepted);
    s->refused = load(&n->refused);
    s->paused = load(&n->paused);
    s->net_in = load(&n->bytes_in);
    s->net_out = load(&n->bytes_out);
}

/* Both stores, where the table has one of its own. */
static void from_store(const struct floe_store *store, struct floe_sample *s)
{
    if (store == NULL)
        return;
    const struct floe_store_stats *t = &store->stats;
    s->store_put += load(&t->put);
    s->store_get += load(&t->get);
    s->store_head += load(&t->head);
    s->store_list += load(&t->list);
    s->store_delete += load(&t->del);
    s->store_retries += load(&t->retries);
    s->store_errors += load(&t->errors);
    s->store_in += load(&t->bytes_in);
    s->store_out += load(&t->bytes_out);
}

static void from_table(const struct floe_table *table, struct floe_sample *s)
{
    if (table == NULL)
        return;
    const struct floe_table_stats *t = &table->stats;
    s->table_get = load(&t->get);
    s->table_put = load(&t->put);
    s->table_delete = load(&t->del);
    s->table_scan = load(&t->scan);
    s->table_conflicts = load(&t->conflicts);
    s->table_unclear = load(&t->indeterminate);
}

static void from_log(struct floe_log *log, struct floe_sample *s)
{
    struct floe_log_stats l;
    struct floe_followed followed[FOLLOWED_MAX];
    uint64_t lag = 0;
    floe_log_get_stats(log, &l);
    s->produced_batches = (double)l.appends;
    s->throttled = (double)l.paced;
    s->produced_records = (double)l.append_records;
    s->produced_bytes = (double)l.append_bytes;
    s->reads_memory = (double)l.reads_memory;
    s->reads_store = (double)l.reads_store;
    s->reads_view = (double)l.reads_view;
    s->footers = (double)l.footers_read;
    s->shared_asked = (double)l.shared_asked;
    s->shared_got = (double)l.shared_got;
    s->shared_lent = (double)l.lent;
    s->shared_got_bytes = (double)l.shared_bytes;
    s->shared_lent_bytes = (double)l.lent_bytes;
    s->segments = (double)l.segments;
    s->segment_bytes = (double)l.segment_bytes;
    s->commits = (double)l.commits;
    s->puts = (double)l.puts;
    s->hedges = (double)l.put_hedges;
    s->puts_in_flight = (double)l.puts_in_flight;
    s->pending_bytes = (double)l.pending_bytes;
    s->spilled_bytes = (double)l.spilled_bytes;
    s->partitions = (double)l.partitions;
    s->tier_refuses = l.tier_refuses;
    s->views = (double)l.views;
    s->put_latency = l.put_latency;
    uint32_t n = FLOE_MIN(floe_log_followed(log, followed, FOLLOWED_MAX), (uint32_t)FOLLOWED_MAX);
    for (uint32_t i = 0; i < n; i++)
        if (followed[i].views > 0)
            lag = FLOE_MAX(lag, followed[i].lag_us);
    s->view_lag_s = (double)lag / 1e6;
}

static uint32_t live_brokers(struct floe_lease *lease)
{
    struct floe_node_info *nodes;
    uint32_t n = floe_lease_nodes(lease, NULL, 0), live = 0;
    nodes = n > 0 ? calloc(n, sizeof *nodes) : NULL;
    n = nodes != NULL ? FLOE_MIN(floe_lease_nodes(lease, nodes, n), n) : 0;
    for (uint32_t i = 0; i < n; i++)
        live += nodes[i].state == FLOE_NODE_LIVE;
    free(nodes);
    return live;
}

static void from_core(struct broker *b, struct floe_sample *s)
{
    struct floe_lease *lease = floe_core_lease(b->core);
    const struct floe_core_stats *c = floe_core_stats(b->core);
    struct floe_api_stats api;
    struct floe_lease_stats moves;
    struct floe_group_stats groups;
    bool alive = floe_lease_alive(lease);
    floe_groups_get_stats(floe_core_groups(b->core), &groups);
    s->members_used = (double)groups.member_bytes;
    s->members_limit = (double)floe_broker_memory(b->cfg->memory).members;
    floe_api_get_stats(b->api, &api);
    s->fetched_bytes = (double)api.fetched_bytes;
    s->throttle_s = (double)api.throttle_ms / 1e3;
    s->fetch_sessions = (double)api.fetch_sessions;
    s->fetch_session_partitions = (double)api.fetch_session_partitions;
    s->fetch_session_evictions = (double)api.fetch_session_evictions;
    s->api_count = FLOE_MIN(api.count, (uint32_t)FLOE_ADMIN_APIS_MAX);
    memcpy(s->apis, api.counts, s->api_count * sizeof *s->apis);
    s->sessions = (double)c->sessions;
    s->lapses = (double)c->lapses;
    s->adopted_new = (double)c->adopted_new;
    s->adopted_taken = (double)c->adopted_taken;
    s->dropped = (double)c->dropped;
    floe_lease_get_stats(lease, &moves);
    s->moves_done = (double)moves.moved;
    s->moves_kept = (double)moves.kept;
    s->moving = moves.moving;
    s->move_stop_max_s = (double)moves.stop_us_max / 1e6;
    s->draining = moves.draining;
    s->node = floe_lease_node_id(lease);
    s->alive = alive;
    if (alive)
        b->metrics.alive_us = s->at_us;
    uint32_t brokers = live_brokers(lease);
    s->brokers = brokers;
    s->idle_usd = floe_idle_cost(brokers, b->cfg->lease_ms).usd_month;
    from_log(floe_core_log(b->core), s);
}

/* A session that has lapsed for a moment does not lose its clients: a table that is slow for all brokers
 * would take the whole cluster out of the load balancer. */
static enum floe_admin_phase phase_of(const struct broker *b, uint64_t now)
{
    if (b->ending)
        return FLOE_ADMIN_ENDING;
    if (!b->ready)
        return FLOE_ADMIN_STARTING;
    return now - b->metrics.alive_us > (uint64_t)b->cfg->lease_ms * 1000 ? FLOE_ADMIN_LAPSED
                                                                         : FLOE_ADMIN_SERVING;
}

static void take_usage(struct broker *b, const struct floe_sample *s)
{
    struct floe_usage u = {
        .at_us = s->at_us,
        .cpu_us = floe_os_cpu_us(),
        .core_cpu_us = floe_os_thread_cpu_us(),
        .cores = floe_os_cores(),
        .memory = floe_budget_used(&b->pending),
        .memory_max = b->pending.limit,
        .put_us = s->put_latency.sum_us,
        .put_slots = b->cfg->puts_in_flight,
        .tier = (uint64_t)s->tier_used,
        .tier_max = (uint64_t)s->tier_limit,
        .net_in = (uint64_t)(s->net_in + s->store_in),
        .net_out = (uint64_t)(s->net_out + s->store_out),
        .net_max = b->cfg->network_limit,
    };
    floe_utilisation_add(&b->metrics.util, &u);
}

void floe_broker_metrics_now(struct broker *b)
{
    struct floe_sample *s = &b->metrics.sample;
    *s = (struct floe_sample){.at_us = floe_os_clock_us(), .build = 1, .files_max = (double)b->files_max};
    from_network(b, s);
    from_store(b->store, s);
    from_store(b->table_store, s);
    from_table(b->table, s);
    if (b->tier != NULL) {
        s->tier_used = load(&b->tier->bytes);
        s->tier_limit = (double)b->tier->limit;
    }
    if (b->ready)
        from_core(b, s);
    struct floe_store_trouble trouble;
    floe_broker_trouble(b, &trouble);
    if (trouble.since_us > 0)
        s->store_trouble_s = (double)(floe_loop_now_us(b->loop) - trouble.since_us) / 1e6;
    s->phase = phase_of(b, s->at_us);
    s->ready = s->phase == FLOE_ADMIN_SERVING;
    take_usage(b, s);
    from_process(b, s);
    if (b->metrics.http != NULL)
        floe_admin_put(b->metrics.http, s);
}

/* What has come and gone since the last line. */
static void tell_partitions(struct broker *b)
{
    struct broker_metrics *m = &b->metrics;
    const struct floe_sample *s = &m->sample;
    double made = s->adopted_new - m->told_new, taken = s->adopted_taken - m->told_taken,
           gone = s->dropped - m->told_dropped;
    if (made + taken + gone == 0)
        return;
    m->told_new = s->adopted_new;
    m->told_taken = s->adopted_taken;
    m->told_dropped = s->dropped;
    floe_log_info("broker", "leads %.0f partition%s: %.0f new, %.0f taken over or moved here, %.0f gone",
                  s->partitions, s->partitions == 1 ? "" : "s", made, taken, gone);
}

static void on_tick(struct floe_timer *t)
{
    struct broker *b = t->user;
    floe_timer_start(b->loop, t, TICK_US);
    floe_broker_metrics_now(b);
    if (b->ready && !b->ending)
        tell_partitions(b);
}

enum floe_err floe_broker_metrics_open(struct broker *b, struct floe_error *err)
{
    b->metrics.started_us = floe_os_clock_us();
    floe_timer_init(&b->metrics.tick, on_tick, b);
    enum floe_err rc = b->cfg->has_http ? floe_admin_open(&b->metrics.http, &b->cfg->http, err) : FLOE_OK;
    if (rc == FLOE_OK)
        floe_timer_start(b->loop, &b->metrics.tick, TICK_US);
    return rc;
}

void floe_broker_status(void *broker, struct floe_api_status *out)
{
    static const char *const states[] = {[FLOE_ADMIN_STARTING] = "starting",
                                         [FLOE_ADMIN_SERVING] = "serving",
                                         [FLOE_ADMIN_LAPSED] = "lapsed",
                                         [FLOE_ADMIN_ENDING] = "ending"};
    const struct broker *b = broker;
    const struct floe_sample *s = &b->metrics.sample;
    struct floe_store_trouble t;
    bool lapsed = s->phase == FLOE_ADMIN_SERVING && !floe_lease_alive(floe_core_lease(b->core));
    *out = (struct floe_api_status){.state = states[lapsed ? FLOE_ADMIN_LAPSED : s->phase],
                                    .scarcest = floe_resource_names[b->metrics.util.scarcest],
                                    .utilisation = s->util_max,
                                    .idle_usd_month = s->idle_usd,
                                    .view_lag_ms = (int64_t)(s->view_lag_s * 1000)};
    floe_broker_trouble(b, &t);
    if (t.since_us > 0) {
        out->store_trouble_ms = (int64_t)((floe_loop_now_us(b->loop) - t.since_us) / 1000);
        snprintf(out->store_trouble, sizeof out->store_trouble, "%s", t.last.msg);
    }
}

void floe_broker_metrics_close(struct broker *b)
{
    floe_timer_stop(&b->metrics.tick);
    floe_admin_close(&b->metrics.http);
}
