/* Every API that is served: versions, handler. ApiVersions, the parser and the documentation go by this
 * table. */
#include "api_kafka/api_int.h"
#include "api_kafka/fetch_session.h"
#include <floe/base/assert.h>
#include <stdlib.h>

#define API_TABLE(X)                                                                                         \
    X(0, 0, 13, false, api_produce) /* 0 to 2 are refused by the parser below, as in Kafka 4 */              \
    X(1, 4, 18, false, api_fetch)                                                                            \
    X(2, 1, 11, false, api_list_offsets)                                                                     \
    X(3, 0, 13, false, api_metadata)                                                                         \
    X(8, 2, 10, false, api_offset_commit)                                                                    \
    X(9, 1, 10, false, api_offset_fetch)                                                                     \
    X(10, 0, 6, false, api_find_coordinator)                                                                 \
    X(11, 0, 9, false, api_join_group)                                                                       \
    X(12, 0, 4, false, api_group_heartbeat)                                                                  \
    X(13, 0, 5, false, api_leave_group)                                                                      \
    X(14, 0, 5, false, api_sync_group)                                                                       \
    X(15, 0, 6, false, api_describe_groups)                                                                  \
    X(16, 0, 5, false, api_list_groups)                                                                      \
    X(17, 0, 1, false, api_sasl_handshake)                                                                   \
    X(18, 0, 4, false, api_versions)                                                                         \
    X(19, 2, 7, false, api_create_topics)                                                                    \
    X(20, 1, 6, false, api_delete_topics)                                                                    \
    X(21, 0, 2, false, api_delete_records)                                                                   \
    X(22, 0, 5, false, api_init_producer_id)                                                                 \
    X(23, 2, 4, false, api_offset_for_leader_epoch)                                                          \
    X(29, 1, 3, false, api_describe_acls)                                                                    \
    X(30, 1, 3, false, api_create_acls)                                                                      \
    X(31, 1, 3, false, api_delete_acls)                                                                      \
    X(32, 1, 4, false, api_describe_configs)                                                                 \
    X(33, 0, 2, false, api_alter_configs)                                                                    \
    X(34, 1, 2, false, api_alter_log_dirs)                                                                   \
    X(35, 1, 5, false, api_describe_log_dirs)                                                                \
    X(36, 0, 2, false, api_sasl_authenticate)                                                                \
    X(37, 0, 3, false, api_create_partitions)                                                                \
    X(42, 0, 2, false, api_delete_groups)                                                                    \
    X(43, 0, 2, false, api_elect_leaders)                                                                    \
    X(44, 0, 1, false, api_incremental_alter_configs)                                                        \
    X(45, 0, 1, false, api_alter_reassignments)                                                              \
    X(46, 0, 0, false, api_list_reassignments)                                                               \
    X(47, 0, 0, false, api_offset_delete)                                                                    \
    X(48, 0, 1, false, api_describe_client_quotas)                                                           \
    X(49, 0, 1, false, api_alter_client_quotas)                                                              \
    X(55, 0, 2, false, api_describe_quorum)                                                                  \
    X(57, 0, 2, false, api_update_features)                                                                  \
    X(60, 0, 2, false, api_describe_cluster)                                                                 \
    X(61, 0, 0, false, api_describe_producers)                                                               \
    X(68, 0, 1, false, api_consumer_heartbeat)                                                               \
    X(69, 0, 1, false, api_consumer_describe)                                                                \
    X(74, 0, 1, false, api_list_config_resources)                                                            \
    X(75, 0, 0, false, api_describe_topic_partitions)                                                        \
    X(FLOE_BROKER_STATUS, 0, 0, false, api_broker_status)                                                    \
    X(FLOE_PEER_HEARTBEAT, 0, 0, true, api_peer_heartbeat)                                                   \
    X(FLOE_PEER_LEASE_CHANGED, 0, 0, true, api_peer_lease_changed)                                           \
    X(FLOE_PEER_TOPIC_DELETED, 0, 0, true, api_peer_topic_deleted)                                           \
    X(FLOE_PEER_TOPIC_CHANGED, 0, 0, true, api_peer_topic_changed)                                           \
    X(FLOE_PEER_MOVE_AHEAD, 0, 0, true, api_peer_move_ahead)                                                 \
    X(FLOE_PEER_CHAIN, 0, 0, true, api_peer_chain)                                                           \
    X(FLOE_PEER_READ, 0, 0, true, api_peer_read)

#define RANGE(key, min, max, peer, fn) {key, min, max, peer},
#define HANDLER(key, min, max, peer, fn) fn,
static const struct floe_version_range ranges[] = {API_TABLE(RANGE)};
static api_handler *const handlers[] = {API_TABLE(HANDLER)};

const struct floe_version_range *floe_api_served(uint32_t *count)
{
    *count = FLOE_COUNTOF(ranges);
    return ranges;
}

static void finished(struct floe_request *rq)
{
    struct floe_api *api = api_of(rq);
    for (uint32_t i = 0; i < FLOE_COUNTOF(ranges); i++) {
        if (ranges[i].key != rq->head.api_key)
            continue;
        struct floe_api_count *c = &api->counts[i];
        api->throttle_ms += rq->mute_ms;
        c->errors += rq->errors + (rq->close ? 1 : 0);
        floe_hist_note(&c->latency, floe_loop_now_us(api->cfg.loop) - rq->started_us);
        return;
    }
}

void floe_api_get_stats(const struct floe_api *api, struct floe_api_stats *out)
{
    *out = (struct floe_api_stats){.counts = api->counts,
                                   .count = FLOE_COUNTOF(ranges),
                                   .fetched_bytes = api->fetched_bytes,
                                   .throttle_ms = api->throttle_ms,
                                   .fetch_sessions = api->sessions.by_id.n,
                                   .fetch_session_partitions = fetch_sessions_partitions(&api->sessions),
                                   .fetch_session_evictions = api->sessions.evictions};
}

void floe_api_start(struct floe_request *rq)
{
    rq->started_us = floe_loop_now_us(api_of(rq)->cfg.loop);
    rq->finished = finished;
    for (uint32_t i = 0; i < FLOE_COUNTOF(ranges); i++) {
        if (ranges[i].key == rq->head.api_key) {
            handlers[i](rq);
            return;
        }
    }
    floe_request_close(rq, "API key %d is not served", rq->head.api_key);
}

bool floe_api_prepare(void *api, struct floe_request *rq)
{
    (void)api;
    rq->keep = rq->head.api_key == 0; /* records that have come are kept, answer or not */
    return rq->head.api_key != 0 || api_produce_prepare(rq);
}

enum floe_err floe_api_create(struct floe_api **out, const struct floe_api_config *cfg,
                              struct floe_error *err)
{
    struct floe_api *a = calloc(1, sizeof *a);
    struct floe_api_count *counts = calloc(FLOE_COUNTOF(ranges), sizeof *counts);
    if (!a || !counts) {
        free(a);
        free(counts);
        return floe_error_set(err, FLOE_ENOMEM, "no memory");
    }
    a->counts = counts;
    for (uint32_t i = 0; i < FLOE_COUNTOF(ranges); i++) {
        counts[i].key = ranges[i].key;
        counts[i].name = floe_kafka_api_find(ranges[i].key)->name;
    }
    a->cfg = *cfg;
    api_produce_init(a);
    floe_budget_init(&a->answers, cfg->answers_max ? (size_t)cfg->answers_max : (size_t)64 << 20);
    fetch_sessions_init(&a->sessions, cfg->loop, cfg->fetch_sessions, a->answers.limit / 4);
    *out = a;
    return FLOE_OK;
}

void floe_api_destroy(struct floe_api **api)
{
    if (*api) {
        free((*api)->racks.nodes);
        free((*api)->counts);
        api_produce_fini(*api);
        fetch_sessions_fini(&(*api)->sessions);
    }
    free(*api);
    *api = NULL;
}
