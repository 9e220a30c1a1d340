/* What a broker tells about itself: metrics, health, how busy it is.
 *
 * What it is: a sample of figures that the core loop hands over about once a second, its text for Prometheus,
 * an HTTP server for it on a thread of its own, and the arithmetic of utilisation and idle cost. What it is
 * not: where the figures come from (broker/metrics.c).
 *
 *  1. The core loop never waits for a reader: the newest sample is put under a mutex that is held for a copy
 * only, and a busy mutex leaves the older one in place until the next second.
 *  2. Each metric is declared once, in src/admin/table.c, with type, unit and a sentence; /metrics,
 * `floe metrics list` and docs/operations/metrics.md come from there.
 *  3. No port is opened unless one is configured. The server takes GET and HEAD of three paths, reads no
 * body, and has at most FLOE_ADMIN_CONNECTIONS_MAX connections.
 */
#ifndef FLOE_ADMIN_H
#define FLOE_ADMIN_H

#include <floe/api_kafka.h>
#include <floe/base/hist.h>
#include <floe/base/str.h>

#define FLOE_ADMIN_CONNECTIONS_MAX 64
#define FLOE_ADMIN_APIS_MAX 64
#define FLOE_ADMIN_STALE_US 10000000u /* a core loop that has not turned for so long is dead */

/* ---- utilisation ------------------------------------------------------------------------------------- */

enum floe_resource {
    FLOE_RES_CPU,
    FLOE_RES_CORE,
    FLOE_RES_MEMORY,
    FLOE_RES_PUTS,
    FLOE_RES_TIER,
    FLOE_RES_NETWORK
};
#define FLOE_RESOURCES 6
extern const char *const floe_resource_names[FLOE_RESOURCES];

/* What has been used by now (counters), and of how much. */
struct floe_usage {
    uint64_t at_us;
    uint64_t cpu_us, core_cpu_us; /* of the process; of the core loop's thread */
    double cores;
    uint64_t memory, memory_max; /* request buffers and pending segments */
    uint64_t put_us;             /* sum of the durations of PUTs that have ended */
    uint32_t put_slots;
    uint64_t tier, tier_max;
    uint64_t net_in, net_out, net_max; /* bytes; bytes a second each way, 0: not known */
};
struct floe_utilisation {
    struct floe_usage last;
    double of[FLOE_RESOURCES]; /* 0 to 1, smoothed */
    double max;                /* of the scarcest one */
    enum floe_resource scarcest;
};
/* Takes another sample into the moving averages (time constant 30 s; the first two samples start it). Pure.
 */
void floe_utilisation_add(struct floe_utilisation *u, const struct floe_usage *now);

/* ---- idle cost --------------------------------------------------------------------------------------- */

/* AWS S3 standard, us-east-1: dollars a thousand requests. */
#define FLOE_USD_PER_1000_PUT 0.005 /* PUT, LIST */
#define FLOE_USD_PER_1000_GET 0.0004
struct floe_idle_cost {
    double puts, gets, lists; /* a second, of one broker without clients */
    double usd_month;         /* 30 days */
};
/* With `brokers` live ones in all, this one included, and a lease time. Does not depend on partitions. Pure.
 */
struct floe_idle_cost floe_idle_cost(uint32_t brokers, uint32_t lease_ms);

/* ---- the sample -------------------------------------------------------------------------------------- */

enum floe_admin_phase { FLOE_ADMIN_STARTING, FLOE_ADMIN_SERVING, FLOE_ADMIN_LAPSED, FLOE_ADMIN_ENDING };
struct floe_sample {
    uint64_t at_us;
    enum floe_admin_phase phase;
    int32_t node;
    double ready, alive, uptime_s;
    double util[FLOE_RESOURCES], util_max;
    double resident, memory_limit, cpu_s, core_cpu_s, cores;
    double pending_used, pending_limit, cache_used, cache_limit, members_used, members_limit;
    double tier_used, tier_limit, tier_refuses, build, files_max;
    double connections, accepted, refused, paused, net_in, net_out;
    double produced_batches, produced_records, produced_bytes, fetched_bytes, throttled, throttle_s;
    double fetch_sessions, fetch_session_partitions, fetch_session_evictions;
    double reads_memory, reads_store, reads_view, footers;
    double shared_asked, shared_got, shared_lent, shared_got_bytes, shared_lent_bytes;
    double segments, segment_bytes, commits, puts, hedges, puts_in_flight, pending_bytes, spilled_bytes;
    double store_put, store_get, store_head, store_list, store_delete, store_retries, store_errors, store_in,
        store_out, store_trouble_s;
    double table_get, table_put, table_delete, table_scan, table_conflicts, table_unclear;
    double partitions, views, view_lag_s;
    double sessions, lapses, adopted_new, adopted_taken, dropped;
    double moves_done, moves_kept, moving, move_stop_max_s, draining;
    double brokers, idle_usd;
    struct floe_hist put_latency;
    struct floe_api_count apis[FLOE_ADMIN_APIS_MAX];
    uint32_t api_count;
};
/* The sample as Prometheus text, format 0.0.4. Look at w->bad. */
void floe_admin_render(const struct floe_sample *s, struct floe_writer *w);
/* The table of metrics as text for people, or as JSON. */
void floe_admin_list(struct floe_writer *w, bool json);

/* ---- HTTP -------------------------------------------------------------------------------------------- */

struct floe_admin;
/* Listens, and answers from a thread of its own: /healthz at once, the others by the samples that come. */
enum floe_err floe_admin_open(struct floe_admin **out, const struct floe_str_addr *listen,
                              struct floe_error *err) FLOE_MUST_USE;
uint16_t floe_admin_port(const struct floe_admin *a);
void floe_admin_put(struct floe_admin *a, const struct floe_sample *s);
void floe_admin_close(struct floe_admin **a); /* ends every connection and the thread; null is fine */
/* Status and body for a request, without the server around it: what HTTP answers. `now_us` on
 * floe_os_clock_us. The body is a fresh writer's. */
struct floe_admin_answer {
    unsigned status; /* 200, 404, 405, 503 */
    const char *type;
};
struct floe_admin_answer floe_admin_handle(const struct floe_sample *s, uint64_t now_us, const char *method,
                                           const char *path, struct floe_writer *body);

#endif
