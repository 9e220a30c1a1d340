/* The Kafka front door: one table of the APIs and versions that are served, their handlers on the core loop.
 *
 * What it is: requests (net/request.h) answered from catalog, lease and log. What it is not: sockets,
 * storage, or any state beyond requests under way.
 *
 *  1. The table in src/api_kafka/table.c is the only place that says what is served; ApiVersions answers from
 * it.
 *  2. Errors of the core become Kafka's codes in one place: floe_api_error.
 *  3. Partition errors never close a connection, but for acks=0, as in Kafka.
 */
#ifndef FLOE_API_KAFKA_H
#define FLOE_API_KAFKA_H

#include <floe/catalog.h>
#include <floe/group.h>
#include <floe/lease.h>
#include <floe/log.h>
#include <floe/net/request.h>

struct floe_api;
/* What `floe cluster status` shows of a broker. */
struct floe_api_status {
    const char *state, *scarcest; /* static */
    double utilisation;           /* 0 to 1 */
    double idle_usd_month;
    int64_t view_lag_ms;
    int64_t store_trouble_ms; /* since when the store does not answer, or refuses segments; 0: all is well */
    char store_trouble[320];  /* why; empty: it answers */
};
struct floe_api_config {
    struct floe_loop *loop;
    struct floe_lease *lease;
    struct floe_catalog *catalog;
    struct floe_log *log;
    struct floe_groups *groups;
    int32_t offsets_partitions; /* offsets.topic.num.partitions */
    struct floe_uuid cluster;
    const char *rack;                      /* this broker's; null or empty: none */
    char listeners[FLOE_LISTENER_MAX][32]; /* names, by the index in struct floe_client */
    uint32_t message_max;                  /* message.max.bytes */
    int32_t num_partitions;
    int16_t replication_factor; /* shown to who asks for the default */
    bool auto_create;
    uint32_t fetch_max;      /* bytes of one fetch answer at most */
    uint32_t fetch_sessions; /* max.incremental.fetch.session.cache.slots; what they hold is a quarter of
                                answers_max */
    uint64_t answers_max;    /* bytes of fetch answers on their way to clients, about; 0: 64 MiB */
    /* What the broker is set to by that name of Kafka's; null: no such setting. `out` may hold the value. */
    const char *(*setting)(void *user, const char *name, char out[32]);
    void (*status)(void *user, struct floe_api_status *out); /* null: nothing but that it serves is told */
    void *status_user;                                       /* of setting and status */
};
enum floe_err floe_api_create(struct floe_api **out, const struct floe_api_config *cfg,
                              struct floe_error *err) FLOE_MUST_USE;
void floe_api_destroy(struct floe_api **api);

/* What was served, since the start. */
struct floe_api_count {
    int16_t key;
    const char *name;
    uint64_t errors; /* partitions that were refused (Produce, Fetch), and connections closed for it */
    struct floe_hist latency; /* from the start of its handler to the answer */
};
struct floe_api_stats {
    const struct floe_api_count *counts; /* the api's own, of `count` APIs in the order of the table */
    uint32_t count;
    uint64_t fetched_bytes, throttle_ms;               /* what producers were told to wait, together */
    uint64_t fetch_sessions, fetch_session_partitions; /* now */
    uint64_t fetch_session_evictions;
};
void floe_api_get_stats(const struct floe_api *api, struct floe_api_stats *out);

/* Every API that is served, with its versions. */
const struct floe_version_range *floe_api_served(uint32_t *count);
/* Network thread: checks the batches of a Produce. Touches nothing but the request. */
bool floe_api_prepare(void *api, struct floe_request *rq);
/* Core loop: begins a request; rq->service is the api. */
void floe_api_start(struct floe_request *rq);

#endif
