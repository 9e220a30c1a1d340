/* Life of the process:
 *
 *   bind → stores → cluster (probe or kept verdict) → tier → core (node id, session, leases) → ready
 *   SIGTERM → flush, checkpoints, seal → session ended → ports closed → exit 0
 */
#include <floe/broker/broker.h>
#include "broker/broker_int.h"
#include <ctype.h>
#include <errno.h>
#include <floe/base/assert.h>
#include <floe/base/log.h>
#include <floe/os/usage.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define START_LIMIT_US 15000000ull
#define START_NOTE_US 1500000ull
#define END_LIMIT_US 24000000ull /* SIGTERM ends within 25 s */
#define END_LIMIT_S 25
#define OWN_FILES 192              /* of the tier, the store's control plane, other brokers and HTTP */
#define SIGNAL_TWICE_US 1000000ull /* supervisors signal the process and its group: that is one signal */

static void stop(struct broker *b, int exit_code)
{
    b->exit_code = exit_code;
    floe_loop_uv_stop(b->uv);
}

/* Start-up failed: one sentence, exit 1. */
static void fail(struct broker *b, const struct floe_error *err)
{
    floe_log_error("broker", "%s", err->msg[0] ? err->msg : floe_err_name(err->code));
    stop(b, 1);
}

static void fatal(void *user, const struct floe_error *err)
{
    (void)user;
    floe_log_error("broker", "stopping at once: %s", err->msg);
    _exit(1);
}

/* ---- end ---- */

static void tier_closed(void *user)
{
    struct broker *b = user;
    b->tier = NULL;
    stop(b, b->exit_code);
}

static void lease_closed(void *user)
{
    struct broker *b = user;
    b->tier->ops->close(b->tier, tier_closed, b);
}

static void server_closed(void *user)
{
    struct broker *b = user;
    floe_lease_close(floe_core_lease(b->core), lease_closed, b);
}

static void core_ended(void *user, const struct floe_error *err)
{
    struct broker *b = user;
    b->exit_code = err->code ? 1 : 0;
    if (err->code)
        floe_log_error("broker",
                       "the session could not be ended cleanly; others take over after the lease time: %s",
                       err->msg);
    else
        floe_log_info("broker", "flushed, sealed, leases released");
    floe_broker_metrics_close(b);
    floe_server_close(b->server, server_closed, b);
}

static void end_limit(struct floe_timer *t)
{
    struct broker *b = t->user;
    floe_log_error(
        "broker",
        "could not end cleanly within the time limit; others take over after the lease time. Start a "
        "broker on data directory %s again: its tier may hold what acks=1 acknowledged",
        b->cfg->data_dir);
    _exit(1);
}

static const char *signal_name(int signum)
{
    return signum == SIGTERM ? "SIGTERM" : signum == SIGINT ? "SIGINT" : "SIGHUP";
}

static void on_signal(uv_signal_t *s, int signum)
{
    struct broker *b = s->data;
    if (b->ending && floe_loop_now_us(b->loop) - b->ending_us < SIGNAL_TWICE_US)
        return;
    if (b->ending) {
        floe_log_error("broker", "second %s: stopping at once", signal_name(signum));
        _exit(1);
    }
    b->ending = true;
    b->ending_us = floe_loop_now_us(b->loop);
    floe_broker_metrics_now(b);
    if (!b->ready) {
        floe_log_error("broker", "%s: stopped before it was ready", signal_name(signum));
        _exit(1);
    }
    floe_log_info("broker", "%s: ending, within %d s; leads %.0f partitions, other brokers: %.0f",
                  signal_name(signum), END_LIMIT_S, b->metrics.sample.partitions,
                  FLOE_MAX(b->metrics.sample.brokers - 1, 0.0));
    alarm(END_LIMIT_S);
    floe_timer_start(b->loop, &b->end_limit, END_LIMIT_US);
    floe_core_end(b->core, core_ended, b);
}

/* ---- start ---- */

static void start_note(struct floe_timer *timer)
{
    struct broker *b = timer->user;
    struct floe_store_trouble t;
    floe_broker_trouble(b, &t);
    floe_log_warn("broker", "waiting for store %s%s%s while %s, for %llu s more%s%s", b->cfg->store.text,
                  b->cfg->table_is_store ? "" : " or table ",
                  b->cfg->table_is_store ? "" : b->cfg->table.text, b->stage,
                  (START_LIMIT_US - START_NOTE_US) / 1000000, t.since_us > 0 ? "; the last attempt: " : "",
                  t.last.msg);
}

static void start_limit(struct floe_timer *t)
{
    struct broker *b = t->user;
    floe_log_error(
        "broker",
        "not started within 15 s, while %s: check that store %s and table %s can be reached from here, and "
        "the endpoint, bucket and credentials",
        b->stage, b->cfg->store.text, b->cfg->table_is_store ? "(the same)" : b->cfg->table.text);
    _exit(1);
}

static void started(void *user, const struct floe_error *err)
{
    struct broker *b = user;
    char line[(FLOE_CONFIG_LISTENERS_MAX + 1) * 300] = "ready", cluster[23];
    if (err->code) {
        fail(b, err);
        return;
    }
    floe_timer_stop(&b->start_limit);
    floe_timer_stop(&b->start_note);
    floe_server_open(b->server);
    b->ready = true;
    floe_broker_metrics_now(b);
    floe_uuid_b64(cluster, &b->cluster.id);
    floe_log_info(
        "broker",
        "node %d of cluster %s with store %s serves; retention and compaction of topics are not obeyed yet",
        floe_lease_node_id(floe_core_lease(b->core)), cluster, b->cfg->store.text);
    if (!b->store->free_puts)
        floe_log_info("broker", "without clients its requests cost about $%.2f a month, at AWS S3 prices",
                      b->metrics.sample.idle_usd);
    for (uint32_t i = 0; i < b->cfg->listener_count; i++) {
        char addr[FLOE_STR_ADDR];
        size_t n = strlen(line);
        floe_str_addr(addr, b->listens[i].host, b->listens[i].port);
        snprintf(line + n, sizeof line - n, " listen=%s", addr);
    }
    if (b->metrics.http) {
        char addr[FLOE_STR_ADDR];
        size_t n = strlen(line);
        floe_str_addr(addr, b->cfg->http.host, floe_admin_port(b->metrics.http));
        snprintf(line + n, sizeof line - n, " http=%s", addr);
    }
    dprintf(STDERR_FILENO, "%s\n", line);
}

static const char *kafka_setting(void *user, const char *name, char out[32])
{
    const struct broker *b = user;
    if (strcmp(name, "listeners") == 0)
        return b->listeners;
    if (strcmp(name, "advertised.listeners") == 0)
        return b->advertised;
    if (strcmp(name, "log.dirs") == 0)
        return b->cfg->data_dir;
    return floe_config_kafka(b->cfg, name, out);
}

static void start_core(struct broker *b)
{
    const struct floe_config *cfg = b->cfg;
    struct memory_shares mem = floe_broker_memory(cfg->memory);
    char aside[FLOE_CONFIG_PATH_MAX + 8];
    struct floe_error err;
    snprintf(aside, sizeof aside, "%s/aside", cfg->data_dir);
    struct floe_core_config core = {
        .loop = b->loop,
        .store = b->store,
        .table = b->table,
        .tier = b->tier,
        .peers = b->peers,
        .cluster = b->cluster,
        .lease_ms = cfg->lease_ms,
        .addrs = b->addrs,
        .addr_count = cfg->listener_count,
        .peer_addr = b->addrs[cfg->peer_listener].addr,
        .rack = cfg->rack,
        .aside_dir = aside,
        .pending = &b->pending,
        .cache = &b->cache,
        .segment_bytes = (uint32_t)cfg->segment_bytes,
        .linger_us = cfg->linger_ms * 1000,
        .puts_in_flight = cfg->puts_in_flight,
        .put_rate = b->store->free_puts && cfg->put_rate < 0 ? 0 : cfg->put_rate,
        .put_burst = cfg->put_burst,
        .spill_all = cfg->tier_all,
        .api = {.message_max = cfg->message_bytes_max,
                .num_partitions = (int32_t)cfg->num_partitions,
                .replication_factor = (int16_t)cfg->default_replication_factor,
                .auto_create = cfg->auto_create_topics,
                .fetch_max = (uint32_t)FLOE_MIN(mem.fetch_max, cfg->fetch_bytes_max),
                .fetch_sessions = cfg->fetch_sessions,
                .answers_max = mem.answers,
                .setting = kafka_setting,
                .status = floe_broker_status,
                .status_user = b},
        .group = {.partitions = (int32_t)cfg->offsets_partitions,
                  .metadata_max = cfg->offset_metadata_max,
                  .retention_ms = cfg->offsets_retention_min * 60000ull,
                  .retention_check_ms = cfg->offsets_check_ms,
                  .initial_rebalance_delay_ms = cfg->group_delay_ms,
                  .session_min_ms = cfg->group_session_min_ms,
                  .session_max_ms = cfg->group_session_max_ms,
                  .size_max = cfg->group_size_max,
                  .consumer_session_ms = cfg->consumer_session_ms,
                  .consumer_heartbeat_ms = cfg->consumer_heartbeat_ms,
                  .consumer_size_max = cfg->consumer_size_max,
                  .members_max = mem.members,
                  .migration = cfg->group_migration,
                  .gather_us = (uint32_t)(cfg->commit_gather_ms * 1000),
                  .gather_group_us = (uint32_t)(cfg->commit_gather_group_ms * 1000)},
        .log_append_time = cfg->log_append_time,
        .garbage_age_us = 1000ull * FLOE_MAX(cfg->garbage_age_ms, FLOE_RETAIN_AGE_LEASES_MIN * cfg->lease_ms),
        .fatal = fatal,
        .user = b,
    };
    for (uint32_t i = 0; i < cfg->listener_count; i++)
        memcpy(core.api.listeners[i], b->addrs[i].name, sizeof core.api.listeners[i]);
    if (floe_core_create(&b->core, &core, &err)) {
        fail(b, &err);
        return;
    }
    b->api = floe_core_api(b->core);
    b->stage = "claiming a node id and reading leases";
    floe_core_start(b->core, started, b);
}

static void cluster_open(void *user, const struct floe_error *err, const struct floe_cluster_info *info)
{
    struct broker *b = user;
    struct floe_error e;
    char id[23];
    if (err->code) {
        fail(b, err);
        return;
    }
    b->cluster = *info;
    floe_uuid_b64(id, &info->id);
    if (info->made)
        floe_log_info("broker", "the store %s held no cluster: cluster %s was made there", b->cfg->store.text,
                      id);
    b->stage = "opening the tier";
    if (floe_broker_open_tier(b, &e) || floe_peers_uv_create(&b->peers, b->uv, &e))
        fail(b, &e);
    else
        start_core(b);
}

static void start_request(struct floe_request *rq)
{
    struct broker *b = rq->service;
    rq->service = b->api;
    floe_api_start(rq);
}

/* One more of NAME://HOST:PORT,... */
static void add_listener(char *to, size_t cap, const char *name, const char *addr)
{
    size_t n = strlen(to);
    int k = snprintf(to + n, cap - n, "%s%s://%s", n ? "," : "", name, addr);
    FLOE_ASSERT(k > 0 && (size_t)k < cap - n);
    for (char *c = to + n; *c != ':'; c++)
        *c = (char)toupper((unsigned char)*c);
}

static enum floe_err bind_listeners(struct broker *b, struct floe_error *err)
{
    const struct floe_config *cfg = b->cfg;
    for (uint32_t i = 0; i < cfg->listener_count; i++) {
        const struct floe_config_listener *l = &cfg->listeners[i];
        b->listens[i] = (struct floe_listen){.name = l->name,
                                             .host = l->listen.host,
                                             .port = l->listen.port,
                                             .for_peers = i == cfg->peer_listener};
    }
    struct floe_server_config server = {.core = b->loop,
                                        .threads = cfg->net_threads,
                                        .budget = &b->pending,
                                        .frame_max = cfg->request_bytes_max,
                                        .connections_max = b->connections_max,
                                        .idle_ms = cfg->idle_ms,
                                        .listens = b->listens,
                                        .listen_count = cfg->listener_count,
                                        .user = b,
                                        .prepare = floe_api_prepare,
                                        .start = start_request};
    server.served = floe_api_served(&server.served_count);
    enum floe_err rc = floe_server_create(&b->server, &server, err);
    for (uint32_t i = 0; !rc && i < cfg->listener_count; i++) {
        const struct floe_config_listener *l = &cfg->listeners[i];
        const struct floe_str_addr *a = l->advertised ? &l->advertise : &l->listen;
        uint16_t port = l->advertised && l->advertise.port ? l->advertise.port : b->listens[i].port;
        char addr[FLOE_STR_ADDR];
        snprintf(b->addrs[i].name, sizeof b->addrs[i].name, "%s", l->name[0] ? l->name : "plaintext");
        snprintf(b->addrs[i].addr, sizeof b->addrs[i].addr, "%s", floe_str_addr(addr, a->host, port));
        add_listener(b->advertised, sizeof b->advertised, b->addrs[i].name, b->addrs[i].addr);
        floe_str_addr(addr, b->listens[i].host, b->listens[i].port);
        add_listener(b->listeners, sizeof b->listeners, b->addrs[i].name, addr);
    }
    return rc;
}

static enum floe_err make_data_dir(const char *path, struct floe_error *err)
{
    char part[FLOE_CONFIG_PATH_MAX];
    size_t n = strlen(path);
    if (n >= sizeof part)
        return floe_error_set(err, FLOE_EINVAL, "--data-dir is too long");
    for (size_t i = 1; i <= n; i++) {
        if (i < n && path[i] != '/')
            continue;
        memcpy(part, path, i);
        part[i] = 0;
        if (mkdir(part, 0777) != 0 && errno != EEXIST)
            return floe_error_set(err, FLOE_EIO, "cannot make --data-dir %s: %s", path, strerror(errno));
    }
    return FLOE_OK;
}

/* Clients leave the files that the store's and the disk's work needs: without those no lease is renewed. */
static uint32_t connections_for(const struct floe_config *cfg, uint64_t files)
{
    uint64_t own = FLOE_MIN(OWN_FILES + 2ull * cfg->s3_connections, files / 2);
    if (files == 0 || cfg->connections_max <= files - own)
        return cfg->connections_max;
    floe_log_warn(
        "broker",
        "this process may open %llu files, so %llu connections are accepted at once and not %u: raise "
        "its limit (ulimit -Hn, LimitNOFILE=) or lower max.connections",
        (unsigned long long)files, (unsigned long long)(files - own), cfg->connections_max);
    return (uint32_t)(files - own);
}

static enum floe_err begin(struct broker *b, struct floe_error *err)
{
    const struct floe_config *cfg = b->cfg;
    struct memory_shares mem = floe_broker_memory(cfg->memory);
    if (strlen(cfg->rack) >= FLOE_RACK_MAX)
        return floe_error_set(err, FLOE_EINVAL, "--rack takes at most %d bytes", FLOE_RACK_MAX - 1);
    floe_budget_init(&b->pending, mem.pending);
    floe_budget_init(&b->cache, mem.cache);
    b->files_max = floe_os_open_files();
    b->connections_max = connections_for(cfg, b->files_max);
    floe_buf_cache_limit(mem.recycle);
    floe_buf_cache_together(mem.pending + mem.recycle); /* the room of recent batches, while there are few */
    enum floe_err rc = make_data_dir(cfg->data_dir, err);
    if (!rc)
        rc = floe_loop_uv_create(&b->uv, err);
    if (rc)
        return rc;
    b->loop = floe_loop_uv_base(b->uv);
    floe_timer_init(&b->start_limit, start_limit, b);
    floe_timer_init(&b->start_note, start_note, b);
    floe_timer_init(&b->end_limit, end_limit, b);
    uv_signal_init(floe_loop_uv_raw(b->uv), &b->on_term);
    uv_signal_init(floe_loop_uv_raw(b->uv), &b->on_int);
    uv_signal_init(floe_loop_uv_raw(b->uv), &b->on_hup);
    b->on_term.data = b->on_int.data = b->on_hup.data = b;
    uv_signal_start(&b->on_term, on_signal, SIGTERM);
    uv_signal_start(&b->on_int, on_signal, SIGINT);
    if (signal(SIGHUP, SIG_DFL) == SIG_IGN) /* by nohup: the terminal may go */
        signal(SIGHUP, SIG_IGN);
    else
        uv_signal_start(&b->on_hup, on_signal, SIGHUP);
    rc = bind_listeners(b, err);
    if (!rc)
        rc = floe_broker_metrics_open(b, err);
    return rc ? rc : floe_broker_open_stores(b, err);
}

int floe_broker_main(const struct floe_config *cfg)
{
    static struct broker b; /* what is left at the exit stays reachable */
    struct floe_error err = {0};
    b = (struct broker){.cfg = cfg, .stage = "reading the cluster's record"};
    floe_log_setup((enum floe_log_level)cfg->log_level, cfg->log_json);
    signal(SIGPIPE, SIG_IGN);
    mallopt(M_ARENA_MAX, 2);
    mallopt(M_MMAP_THRESHOLD, 128 * 1024);
    if (begin(&b, &err)) {
        floe_log_error("broker", "%s", err.msg);
        return 1;
    }
    if (cfg->s3_endpoint[0] && cfg->store.scheme != FLOE_CONFIG_S3 && cfg->table.scheme != FLOE_CONFIG_S3)
        floe_log_warn(
            "broker",
            "s3-endpoint is set, but nothing is kept there: the store is %s (--store s3://BUCKET/PREFIX?)",
            cfg->store.text);
    floe_timer_start(b.loop, &b.start_limit, START_LIMIT_US);
    floe_timer_start(b.loop, &b.start_note, START_NOTE_US);
    struct floe_uuid own = floe_broker_tier_cluster(&b);
    floe_cluster_open(b.store, b.table, &own, floe_format_newest, cluster_open, &b);
    floe_loop_uv_run(b.uv);
    if (b.exit_code == 0)
        floe_log_info("broker", "ended");
    /* Threads of the drivers end with the process: nothing of theirs is pending. Without exit(3), whose
     * handlers would free OpenSSL's locks while these threads still use them. */
    fflush(NULL);
    _exit(b.exit_code);
}
