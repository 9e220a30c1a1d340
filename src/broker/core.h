/* The core of one broker: lease, log, catalog and the Kafka handlers, wired to each other and to drivers that
 * are handed in. It runs on any loop over any drivers, so the simulator runs as many as it likes in one
 * process.
 *
 * Owning thread: the loop's. The drivers belong to the caller and outlive the core. */
#ifndef FLOE_BROKER_CORE_H
#define FLOE_BROKER_CORE_H

#include <floe/api_kafka.h>
#include <floe/catalog.h>
#include <floe/group.h>
#include <floe/lease.h>
#include <floe/log.h>
#include <floe/retain.h>

struct floe_core_config {
    struct floe_loop *loop;
    struct floe_store *store;
    struct floe_table *table;
    struct floe_tier *tier;
    struct floe_peers *peers;
    struct floe_cluster_info cluster;
    uint32_t lease_ms;
    const struct floe_listener_addr *addrs;
    uint32_t addr_count;
    const char *peer_addr, *rack;
    const char *aside_dir; /* where batches go that cannot be appended again */
    struct floe_budget *pending, *cache;
    uint32_t segment_bytes, linger_us, puts_in_flight;
    double put_rate, put_burst;
    bool spill_all;
    struct floe_group_settings group;
    struct floe_api_config api; /* the fields that are settings; the rest is filled in */
    bool log_append_time;
    uint64_t garbage_age_us; /* 0: the default */
    int32_t newest_format;   /* of table and bucket that is read; 0: floe_format_newest */
    /* The process must not go on. */
    void (*fatal)(void *user, const struct floe_error *err);
    /* A partition is served from now on. May be null. */
    void (*serves)(void *user, const struct floe_tp *tp, int32_t epoch);
    void *user;
};
struct floe_core;
/* What became of sessions and partitions, since the start. */
struct floe_core_stats {
    uint64_t sessions, lapses, adopted_new, adopted_taken, dropped;
};
enum floe_err floe_core_create(struct floe_core **out, const struct floe_core_config *cfg,
                               struct floe_error *err) FLOE_MUST_USE;
/* `started` runs when requests can be served, or with why they cannot. */
void floe_core_start(struct floe_core *c, void (*started)(void *user, const struct floe_error *err),
                     void *user);
/* Clean end: partitions are handed over to the others, then flush, checkpoints, own seal, session ended. */
void floe_core_end(struct floe_core *c, void (*done)(void *user, const struct floe_error *err), void *user);
/* After the drivers were closed, or forgot this node (simulated kill): they call back no more. Requests that
 * are not answered stay the caller's. */
void floe_core_destroy(struct floe_core **c);
struct floe_api *floe_core_api(struct floe_core *c);
const struct floe_core_stats *floe_core_stats(const struct floe_core *c);
struct floe_log *floe_core_log(struct floe_core *c);
struct floe_lease *floe_core_lease(struct floe_core *c);
struct floe_retain *floe_core_retain(struct floe_core *c);
struct floe_groups *floe_core_groups(struct floe_core *c);

#endif
