/* The process: what broker.c (life) and drivers.c (which drivers) share. */
#ifndef FLOE_BROKER_INT_H
#define FLOE_BROKER_INT_H

#include "broker/core.h"
#include <floe/admin.h>
#include <floe/broker/config.h>
#include <floe/net/server.h>
#include <uv.h>

/* metrics.c */
struct broker_metrics {
    struct floe_admin *http; /* null: not configured */
    struct floe_timer tick;
    uint64_t started_us, alive_us; /* the process; when the session was last seen alive */
    struct floe_utilisation util;
    struct floe_sample sample;                 /* the newest */
    double told_new, told_taken, told_dropped; /* of partitions, in the log */
};
struct broker {
    const struct floe_config *cfg;
    struct floe_loop_uv *uv;
    struct floe_loop *loop;
    struct floe_server *server;
    struct floe_store *store, *table_store; /* the second only for a table of its own */
    struct floe_table *table;
    struct floe_tier *tier;
    struct floe_peers *peers;
    struct floe_core *core;
    struct floe_api *api;
    struct floe_budget pending, cache;
    struct broker_metrics metrics;
    struct floe_cluster_info cluster;
    struct floe_listen listens[FLOE_LISTENER_MAX];
    struct floe_listener_addr addrs[FLOE_LISTENER_MAX];
    char listeners[FLOE_LISTENER_MAX * 320], advertised[FLOE_LISTENER_MAX * 320]; /* as Kafka writes them */
    struct floe_timer start_note, start_limit, end_limit;
    uv_signal_t on_term, on_int, on_hup;
    uint64_t files_max;       /* open files, 0: no limit */
    uint32_t connections_max; /* the setting, or what open files leave room for */
    const char *stage;        /* of the start, for the error of its time limit */
    bool ready, ending;
    uint64_t ending_us;
    int exit_code;
};

/* How --memory is shared out. */
struct memory_shares {
    uint64_t pending, cache, tier, recycle, answers, fetch_max, members;
};
struct memory_shares floe_broker_memory(uint64_t memory);

enum floe_err floe_broker_metrics_open(struct broker *b, struct floe_error *err) FLOE_MUST_USE;
void floe_broker_metrics_now(struct broker *b); /* the phase has changed */
void floe_broker_status(void *broker, struct floe_api_status *out);
void floe_broker_metrics_close(struct broker *b);

/* drivers.c: by the URLs of the configuration. */
enum floe_err floe_broker_open_stores(struct broker *b, struct floe_error *err) FLOE_MUST_USE;
/* Of store, table, or segments' PUTs: what has lasted longest. */
void floe_broker_trouble(const struct broker *b, struct floe_store_trouble *out);
/* The cluster that the data directory belongs to; zero: to none yet. */
struct floe_uuid floe_broker_tier_cluster(const struct broker *b);
enum floe_err floe_broker_open_tier(struct broker *b, struct floe_error *err) FLOE_MUST_USE;

#endif
