/* The group coordinator: consumer groups and the offsets they commit, on the core loop.
 *
 * What it is: one object a broker, `struct floe_groups`. Groups live in *shards*, one a partition of the
 * internal topic __consumer_offsets that this broker serves; what a group is, and what it committed, are
 * records of that partition (docs/rfcs/0003-group-coordinators.md, docs/formats/group.md). What it is not:
 * requests and their connections (api_kafka), leases, the log.
 *
 * Invariants
 *  1. A group belongs to partition floe_group_partition(name) of __consumer_offsets. The holder of that
 * partition's lease is its coordinator; the leader epoch is the coordinator's epoch, the partition's log its
 * journal.
 *  2. State changes together with a record that says so. An answer that depends on a change leaves after the
 *     record's commit, never before; so does every answer that tells a committed offset or a group's state.
 *  3. Records of one operation stand in one batch: all of them are in the journal, or none.
 *  4. An append that the log has accepted is committed, or the shard is dropped with all its state. Nothing
 * is ever undone in memory.
 *  5. A session that is not alive answers no group request (COORDINATOR_NOT_AVAILABLE).
 *
 * Thread: the core loop. Errors are Kafka's codes in the responses; the functions themselves cannot fail.
 */
#ifndef FLOE_GROUP_H
#define FLOE_GROUP_H

#include <floe/base/arena.h>
#include <floe/catalog.h>
#include <floe/kafka/codec.h>
#include <floe/lease.h>
#include <floe/log.h>
#include <floe/table.h>

#define FLOE_OFFSETS_TOPIC "__consumer_offsets"

/* Which groups may be converted while they have members. */
enum floe_group_migration {
    FLOE_GROUP_MIGRATION_DISABLED = 0,
    FLOE_GROUP_MIGRATION_DOWNGRADE = 1, /* to the classic protocol */
    FLOE_GROUP_MIGRATION_UPGRADE = 2,   /* to the consumer protocol */
    FLOE_GROUP_MIGRATION_BIDIRECTIONAL = 3,
};

/* Kafka's broker settings of the same names. */
struct floe_group_settings {
    int32_t partitions;                      /* offsets.topic.num.partitions */
    uint32_t metadata_max;                   /* offset.metadata.max.bytes */
    uint64_t retention_ms;                   /* offsets.retention.minutes */
    uint64_t retention_check_ms;             /* offsets.retention.check.interval.ms */
    uint32_t initial_rebalance_delay_ms;     /* group.initial.rebalance.delay.ms */
    uint32_t session_min_ms, session_max_ms; /* group.min.session.timeout.ms, group.max.session.timeout.ms */
    uint32_t size_max;                       /* group.max.size */
    uint32_t consumer_session_ms;            /* group.consumer.session.timeout.ms */
    uint32_t consumer_heartbeat_ms;          /* group.consumer.heartbeat.interval.ms */
    uint32_t consumer_size_max;              /* group.consumer.max.size */
    uint64_t members_max;                    /* bytes of all members of all groups here, about; 0: no bound */
    int migration;                           /* group.consumer.migration.policy: enum floe_group_migration */
    uint32_t gather_us; /* offset commits wait so long for company: 1 s / gather_us flushes a second, with a
                           burst of 50 after a pause; */
    uint32_t gather_group_us; /* or so long for each group that commits at present, where that is less: who is
                                 alone has no company to wait for */
};
void floe_group_settings_default(struct floe_group_settings *s);

struct floe_groups;
struct floe_groups_config {
    struct floe_loop *loop;
    struct floe_table *table;
    struct floe_lease *lease;
    struct floe_log *log;
    struct floe_catalog *catalog;
    struct floe_group_settings set;
};
enum floe_err floe_groups_create(struct floe_groups **out, const struct floe_groups_config *cfg,
                                 struct floe_error *err) FLOE_MUST_USE;
/* After the log was destroyed, before the lease is: no call-back may come any more. What waits is
 * not answered. */
void floe_groups_destroy(struct floe_groups **g);

/* From the core's wiring: the log serves this partition from now on (loads the shard, where it is one of
 * __consumer_offsets), or does not any more. */
void floe_groups_serving(struct floe_groups *g, const struct floe_tp *tp, int32_t epoch);
void floe_groups_dropped(struct floe_groups *g, const struct floe_tp *tp);
/* The session is over: every shard goes. */
void floe_groups_over(struct floe_groups *g);
/* Of a group whose partition this broker leads: are its requests refused for now, because the partition is
 * not read yet? */
bool floe_group_loading(struct floe_groups *g, struct floe_kstr group);

/* Partition of __consumer_offsets that a group belongs to: String.hashCode without its sign bit, % n.
 * (Kafka's takes the absolute value.) */
int32_t floe_group_partition(struct floe_kstr group, int32_t n);

/* One request. All of it belongs to the caller until `done`, which runs later, once. `request` and
 * `response` are the generated structs of that API; strings of the answer lie in the arena or are borrowed
 * from the request. A null `response`: the arena is full. */
struct floe_group_call {
    /* in */
    const void *request;
    int16_t version;
    struct floe_kstr client_id;
    const char *client_host; /* "/10.0.0.1", as Kafka shows it */
    struct floe_arena *arena;
    bool topics_unsure; /* the catalog could not be read: a topic that it does not know may exist */
    void (*done)(struct floe_group_call *c);
    void *user;
    /* out */
    void *response;
    /* The member that waits for the others of its group with this call (JoinGroup, SyncGroup), for minutes
     * perhaps; null: the answer is made, or about to be. While it waits nothing of the request is looked at,
     * and nothing of the answer is in the arena: the caller may let go of both. */
    void *waits;
    /* the module's own */
    struct floe_groups *g;
    struct floe_list link;
};

/* Offsets: OffsetCommit 2-10, OffsetFetch 1-10, OffsetDelete 0. Names and ids of topics are both filled in by
 * the callee from the catalog, which the caller has made sure to know the topics (api_topics_ready). */
void floe_group_offset_commit(struct floe_groups *g, struct floe_group_call *c);
void floe_group_offset_fetch(struct floe_groups *g, struct floe_group_call *c);
void floe_group_offset_delete(struct floe_groups *g, struct floe_group_call *c);
/* Classic groups: JoinGroup 0-9, SyncGroup 0-5, Heartbeat 0-4, LeaveGroup 0-5. */
void floe_group_join(struct floe_groups *g, struct floe_group_call *c);
/* Topics that a JoinGroup of protocol type "consumer" subscribes to or owns; none where that cannot be read.
 */
const struct floe_kstr *floe_group_join_topics(const struct floe_kafka_JoinGroupRequest *in, uint32_t *n,
                                               struct floe_arena *arena);
void floe_group_sync(struct floe_groups *g, struct floe_group_call *c);
void floe_group_heartbeat(struct floe_groups *g, struct floe_group_call *c);
void floe_group_leave(struct floe_groups *g, struct floe_group_call *c);
/* DescribeGroups 0-6, ListGroups 0-5 (groups of this broker), DeleteGroups 0-2. */
void floe_group_describe(struct floe_groups *g, struct floe_group_call *c);
void floe_group_list(struct floe_groups *g, struct floe_group_call *c);
void floe_group_delete(struct floe_groups *g, struct floe_group_call *c);
/* KIP-848: ConsumerGroupHeartbeat 0-1, ConsumerGroupDescribe 0-1. */
void floe_group_consumer_heartbeat(struct floe_groups *g, struct floe_group_call *c);
void floe_group_consumer_describe(struct floe_groups *g, struct floe_group_call *c);

/* The client of a call that waits is gone: `done` is not called any more. The member stays, as in Kafka,
 * until its group has gone on without hearing from it. */
void floe_group_abandon(struct floe_group_call *c);

struct floe_group_stats {
    uint64_t shards, groups, members, offsets; /* now */
    uint64_t member_bytes;                     /* what members keep in memory, by the module's account */
    uint64_t records, batches, commits, snapshots, loads, rebalances;
};
void floe_groups_get_stats(const struct floe_groups *g, struct floe_group_stats *out);

#endif
