/* What the handlers share. */
#ifndef FLOE_API_INT_H
#define FLOE_API_INT_H

#include "api_kafka/fetch_session.h"
#include <floe/api_kafka.h>

/* A request waits for a partition that is being rebuilt or handed over, and so does everything behind it on
 * its connection, of partitions that are well too: so long at a time, and then for a twentieth of the time.
 */
#define HOLD_US 250000
#define HOLD_REFILL 20
#define POLL_US 5000 /* how often a step without a call-back is looked at again */

/* Live brokers that have a rack, by rack, and clients that were sent to one (racks.c). */
#define API_SENT_MAX 1024u
struct api_rack_node {
    int32_t node;
    char rack[FLOE_RACK_MAX];
};
struct api_sent {
    uint64_t id; /* hash of client and partition; of two that share a place the younger is remembered */
    uint64_t sent_us, stay_us; /* first sent; served here until */
    uint32_t times;
};
struct api_racks {
    bool read;
    uint64_t read_us;
    struct api_rack_node *nodes;
    uint32_t n;
    struct api_sent sent[API_SENT_MAX];
};

struct floe_api {
    struct floe_api_config cfg;
    struct api_racks racks;
    struct floe_list produces; /* those that the log has not let go of (produce.c) */
    struct floe_list checks;   /* of these: those with a batch that is to be decompressed */
    struct floe_timer check;
    struct floe_api_count *counts; /* by the place in the table */
    uint64_t fetched_bytes, throttle_ms;
    struct fetch_sessions sessions;
    struct floe_budget answers; /* records that fetch answers hold until they are written */
};
static inline struct floe_api *api_of(const struct floe_request *rq)
{
    return rq->service;
}

/* One handler a served API. */
typedef void api_handler(struct floe_request *rq);
api_handler api_produce, api_fetch, api_list_offsets, api_metadata, api_versions, api_create_topics,
    api_delete_topics, api_init_producer_id, api_describe_cluster, api_describe_topic_partitions,
    api_create_partitions, api_alter_configs, api_incremental_alter_configs, api_find_coordinator,
    api_offset_commit, api_offset_fetch, api_offset_delete, api_join_group, api_sync_group,
    api_group_heartbeat, api_leave_group, api_describe_groups, api_list_groups, api_delete_groups,
    api_consumer_heartbeat, api_consumer_describe, api_offset_for_leader_epoch, api_describe_configs,
    api_delete_records, api_describe_log_dirs, api_describe_client_quotas, api_alter_client_quotas,
    api_elect_leaders, api_alter_reassignments, api_list_reassignments, api_describe_producers,
    api_describe_quorum, api_update_features, api_list_config_resources, api_peer_heartbeat,
    api_peer_lease_changed, api_broker_status, api_peer_topic_deleted, api_peer_topic_changed,
    api_peer_move_ahead, api_peer_chain, api_peer_read, api_alter_log_dirs, api_describe_acls,
    api_create_acls, api_delete_acls, api_sasl_handshake, api_sasl_authenticate;
/* What the topic asks of a batch, beyond what it is in itself (produce_check.c). */
struct api_records_check {
    int16_t error; /* 0: it may be appended */
    const char *message;
    struct floe_kafka_ProduceResponse_BatchIndexAndErrorMessage *errors;
    int32_t n;
};
/* Does that decompress it? A good part of a second, at worst. */
bool api_check_decompresses(struct floe_request *rq, const struct floe_batch *b, const struct floe_topic *t);
void api_check_records(struct floe_request *rq, struct floe_bufslice bytes, const struct floe_batch *b,
                       const struct floe_topic *t, int32_t partition, struct api_records_check *out);
bool api_produce_prepare(struct floe_request *rq);
/* Until when the request may wait for its partitions. */
uint64_t api_hold_until(struct floe_request *rq);
/* It waits for one, or does not any more; since when is kept in *since_us, 0 while it does not. */
void api_held(struct floe_request *rq, uint64_t *since_us, bool waits);
void api_produce_init(struct floe_api *api);
void api_produce_fini(struct floe_api *api);

/* FLOE_E… as Kafka's code. */
int16_t api_error(enum floe_err e);

/* Makes sure that the catalog knows the topics (a read of the table begun now, where it does not)
 * and that a lease of theirs is cached; then `then`. At once when all is known. */
struct api_want {
    struct floe_kstr name; /* n < 0: by id */
    struct floe_uuid id;
};
/* Where the table could not be read rq->lookup_error is set: what is not known may exist. */
void api_topics_ready(struct floe_request *rq, const struct api_want *wants, uint32_t n,
                      void (*then)(struct floe_request *rq));
/* The code for a topic that is not known. */
static inline int16_t api_unknown(const struct floe_request *rq, const struct api_want *w)
{
    if (rq->lookup_error)
        return rq->lookup_error;
    return w->name.n < 0 ? FLOE_KERR_UNKNOWN_TOPIC_ID : FLOE_KERR_UNKNOWN_TOPIC_OR_PARTITION;
}
/* Marks in `repeated[n]` what was wanted before, in the order of `wants`, and with `first_too` the first one
 * of each as well; false when memory is out. */
bool api_repeated(struct floe_request *rq, const struct api_want *wants, uint32_t n, bool first_too,
                  bool *repeated);
/* What AlterConfigs and IncrementalAlterConfigs ask for, one configuration. */
enum api_config_kind { API_CONFIG_SET, API_CONFIG_DELETE, API_CONFIG_APPEND, API_CONFIG_SUBTRACT };
#define API_CONFIG_CHANGES_MAX 512u /* of one resource */
struct api_config_change {
    struct floe_kstr name, value;
    uint8_t kind; /* more than API_CONFIG_SUBTRACT: one that there is not */
};
/* Which of them have a name that was there before; null: the arena is full. */
const bool *api_config_repeats(struct floe_request *rq, const struct api_config_change *w, uint32_t n);
/* The list with every element of `words` in it once, or with none of them; from malloc. */
char *api_list_edit(const char *list, const char *words, bool add);
/* dynamic.c: may there be such a resource, and may it be changed so? Kafka's code, 0 when it may. */
int16_t api_dynamic_resource(struct floe_request *rq, enum floe_dynamic_kind kind, struct floe_kstr name,
                             struct floe_error *err);
int16_t api_dynamic_check(struct floe_request *rq, enum floe_dynamic_kind kind, struct floe_kstr resource,
                          const struct api_config_change *w, uint32_t n, struct floe_error *err);
/* Stores it; `done` runs once, later, unless detached. Null: no memory. */
struct api_dynamic;
struct api_dynamic *api_dynamic_store(struct floe_request *rq, enum floe_dynamic_kind kind,
                                      struct floe_kstr resource, const struct api_config_change *w,
                                      uint32_t n, bool replace,
                                      void (*done)(void *user, const struct floe_error *err), void *user);
void api_dynamic_detach(struct api_dynamic *d);
/* What was set over the wire for this broker, else for all; null: nothing. */
const char *api_dynamic_value(struct floe_request *rq, const char *name);
/* A partition's brokers as an administrator names them: INVALID_REPLICA_ASSIGNMENT with Kafka's sentence
 * where none is named, one twice, or one that is not known; else 0. */
int16_t api_check_brokers(struct floe_request *rq, const int32_t *ids, int32_t n, struct floe_error *err);
/* Configurations of a topic that do not go together, or that need what is not there: Kafka's INVALID_CONFIG.
 */
enum floe_err api_configs_agree(const struct floe_topic_config *c, uint32_t n, struct floe_error *err);
/* A want for each topic of the catalog, in the request's arena; null when memory is out. */
struct api_want *api_all_topics(struct floe_request *rq, uint32_t *n);
const struct floe_topic *api_topic(struct floe_api *api, const struct api_want *w);

/* Leader and epoch that a partition's lease names; false when none is known. */
bool api_leader(struct floe_api *api, const struct floe_tp *tp, int32_t *node, int32_t *epoch);
/* Host and port of a node as this client should see it (KIP-951, Metadata). */
struct api_endpoint {
    int32_t node;
    struct floe_kstr host, rack;
    int32_t port;
};
/* Every node of the broker list, in the request's arena. */
struct api_endpoint *api_endpoints(struct floe_request *rq, uint32_t *n);
/* The same with each node's state. */
struct floe_node_info *api_nodes(struct floe_request *rq, uint32_t *n);
void api_endpoint_of(struct floe_request *rq, const struct floe_node_info *node, struct api_endpoint *out);

/* KIP-320: the error of a client that speaks of another leader epoch than the partition's; 0 where it fits,
 * or names none (-1). */
int16_t api_epoch_error(int32_t epoch, int32_t want);
/* The same where -1 alone names none, as all but Fetch have it in Kafka. */
static inline int16_t api_epoch_strict(int32_t epoch, int32_t want)
{
    return want < -1 ? FLOE_KERR_FENCED_LEADER_EPOCH : api_epoch_error(epoch, want);
}

/* Is that this broker's rack? */
bool api_rack_own(const struct floe_api *api, struct floe_kstr rack);
/* The broker of another rack that reads the partition for clients there; -1 when none lives in it. */
int32_t api_rack_reader(struct floe_api *api, struct floe_kstr rack, const struct floe_tp *tp);
/* May the client be sent there? Not if it was, a few times, and is back (clients may drop an answer):
 * whatever is wrong there, it is served here for a while. */
bool api_rack_send(struct floe_api *api, const struct floe_client *client, const struct floe_tp *tp);
/* Who can be read from: the leader, and the reader of each other rack. In the request's arena; null when
 * memory is out. */
int32_t *api_replicas(struct floe_request *rq, const struct floe_tp *tp, int32_t leader, int32_t *n);

/* A record that a producer with acks 0 or 1 takes for stored is committed in a moment. Who asks for the end
 * of the partition is answered then, as on a Kafka broker that has it in its log at once; the store may be
 * away: so long at most. */
#define API_SETTLE_US 1000000
bool api_settled(const struct floe_request *rq, const struct floe_partition *p, int64_t after,
                 uint64_t until_us);

/* A topic that a client's asking makes. */
struct floe_topic_spec api_auto_spec(const struct floe_api *api, const char *name);

/* Can the partition be used here? HANDING: it is on its way to another broker; what is committed is read here
 * until it is there, everything else waits. */
enum api_place { API_SERVING, API_HANDING, API_WAIT, API_ELSEWHERE, API_UNKNOWN };
enum api_place api_place(struct floe_api *api, const struct floe_topic *t, const struct floe_tp *tp,
                         struct floe_partition **p);

static inline struct floe_kstr api_copy(struct floe_request *rq, const char *s)
{
    char *p = floe_arena_strndup(&rq->arena, s, strlen(s));
    return p ? floe_kstr(p) : (struct floe_kstr){"", 0};
}
/* The arena is full, or another mistake that no answer can carry. */
void api_give_up(struct floe_request *rq);

#endif
