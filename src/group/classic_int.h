/* Classic groups: members join, the coordinator picks a protocol and a leader, the leader divides the work,
 * everybody gets a share (JoinGroup, SyncGroup). The state machine is Apache Kafka's (KIP-62, 134, 345, 394,
 * 814):
 *
 *             first join                  all have joined, or time is up            the leader's SyncGroup
 *   EMPTY ───────────────► PREPARING ───────────────────────────────► COMPLETING ──────────────────────────►
 * STABLE ▲                      │    ▲                                        │ │ └──────────────────────┘
 * └────────────────────────────────────────┴────────────────────────────────────┘ nobody joined a member
 * joins, leaves, changes, or is out of time
 *
 * States change in classic_prepare, classic_complete_join and classic_stable alone. In the journal are groups
 * that are STABLE or EMPTY; what lies between is made again by its members after a failover. */
#ifndef FLOE_GROUP_CLASSIC_INT_H
#define FLOE_GROUP_CLASSIC_INT_H

#include "group_int.h"

#define CLASSIC_PENDING_MAX 10000u         /* ids handed out: for a new one the oldest is forgotten */
#define CLASSIC_PENDING_BYTES (4u << 20)   /* the same of their lengths: they begin with the client's id */
#define CLASSIC_NEW_MEMBER_US 300000000ull /* a new member's JoinGroup waits so long at most, as in Kafka */

enum classic_state { CLASSIC_EMPTY, CLASSIC_PREPARING, CLASSIC_COMPLETING, CLASSIC_STABLE };

struct classic_protocol {
    char *name;
    uint8_t *metadata;
    int32_t metadata_n;
};
struct classic_member {
    struct floe_map_node node, by_instance; /* classic.by_id, of static ones classic.by_instance */
    struct floe_list link;                  /* classic.members, in the order of joining */
    struct classic *c;
    char *id, *instance; /* instance null: a dynamic member */
    char *client_id, *client_host;
    uint32_t session_ms, rebalance_ms;
    struct classic_protocol *protocols; /* by preference */
    int32_t protocol_count;
    uint8_t *assignment;
    int32_t assignment_n;
    bool joining, syncing;                         /* its JoinGroup, its SyncGroup waits for the group, */
    size_t charged;                                /* members.c */
    struct floe_group_call *join_call, *sync_call; /* and is answered so; null: its client is gone */
    bool is_new;                                   /* has not been through a rebalance */
    int32_t former; /* the generation that it knows, where the group was converted since; -1: the group's */
    struct floe_timer session;
};
/* A member id that was handed out and has not come back yet (MEMBER_ID_REQUIRED, KIP-394). */
struct classic_pending {
    struct floe_map_node node; /* classic.pending_by_id */
    struct floe_list link;     /* classic.pending, the oldest first */
    struct classic *c;
    char *id;
    size_t charged;
    struct floe_timer session;
};
struct classic {
    struct group *g;
    enum classic_state state;
    bool initial;      /* PREPARING after EMPTY: more members are waited for */
    bool joined_since; /* a member came while they are */
    int32_t generation;
    uint64_t divided_us;                     /* when members told, or were told, last what they have */
    int64_t state_ms;                        /* wall clock of the last change that was recorded */
    char *protocol_type, *protocol, *leader; /* null: none */
    struct floe_map by_id, by_instance, pending_by_id;
    struct floe_list members, pending;
    size_t pending_bytes;
    uint32_t count, pending_count, joining_count;
    uint64_t initial_left_ms; /* how much longer an initial rebalance may be put off */
    int16_t end_error;        /* what calls that wait are told when all this goes */
    size_t kept_charged;
    struct floe_writer kept;     /* PREPARING, COMPLETING: the value that the journal has; empty: none */
    struct floe_timer rebalance; /* PREPARING: time is up; COMPLETING: who has not synced is out */
};

/* classic.c: members and states */
struct classic *classic_make(struct group *g); /* null: no memory */
struct classic_member *classic_member_find(const struct classic *c, struct floe_kstr id);
struct classic_member *classic_static_find(const struct classic *c, struct floe_kstr instance);
struct classic_pending *classic_pending_find(const struct classic *c, struct floe_kstr id);
struct classic_member *classic_member_add(struct classic *c, struct floe_kstr id, struct floe_kstr instance);
/* It goes on under another id. */
void classic_member_rename(struct classic_member *m, struct floe_kstr id);
void classic_pending_add(struct classic *c, struct floe_kstr id, uint32_t session_ms);
void classic_pending_remove(struct classic_pending *p);
/* Takes it out and rebalances the others; calls of its own that wait are answered with `error`. */
void classic_member_remove(struct classic_member *m, int16_t error);
void classic_member_touch(struct classic_member *m);  /* its session starts again */
void classic_member_charge(struct classic_member *m); /* what it keeps in memory has changed */
/* A group that the journal has never had, of which nobody is left, goes. */
void classic_drop_if_new(struct classic *c);
void classic_set_text(char **at, struct floe_kstr s); /* replaces a copy */
bool classic_set_protocols(struct classic_member *m, const struct floe_kafka_JoinGroupRequest *in);
bool classic_same_protocols(const struct classic_member *m, const struct floe_kafka_JoinGroupRequest *in);
const struct classic_protocol *classic_protocol_of(const struct classic_member *m, const char *name);
bool classic_supports(const struct classic *c, const struct floe_kafka_JoinGroupRequest *in);
/* The protocol that most members prefer of those that all know; null when there is none. */
const char *classic_select(const struct classic *c);
bool classic_is_leader(const struct classic *c, const struct classic_member *m);
void classic_prepare(struct classic *c);      /* a rebalance begins, where the state allows it */
void classic_check_joined(struct classic *c); /* and goes on once everybody is there */
bool classic_stable(struct classic *c);       /* assignments are set: records them; false: too large */

/* Is it the group's, or the one that this member may still speak of? */
bool classic_generation_ok(const struct classic_member *m, int32_t generation);

/* classic_join.c */
void classic_join_error(struct floe_group_call *call, int16_t error, struct floe_kstr member);
/* Of an answer that waited for its commit. */
void classic_join_failed(struct floe_group_call *call, int16_t error);
/* "client-uuid", as Kafka makes them; null: the arena is full. */
struct floe_kstr classic_new_id(struct floe_groups *g, struct floe_group_call *call, struct floe_kstr prefix);
void classic_answer_join(struct classic_member *m, int16_t error); /* the waiting JoinGroup */
/* classic_sync.c */
void classic_answer_sync(struct classic_member *m,
                         int16_t error); /* the waiting SyncGroup; 0: once recorded */
/* KIP-345: the member of that id and instance. 0, UNKNOWN_MEMBER_ID or FENCED_INSTANCE_ID. */
int16_t classic_member_check(const struct classic *c, struct floe_kstr id, struct floe_kstr instance,
                             struct classic_member **out);
/* classic_records.c */
bool classic_record(struct classic *c, bool urgent); /* the group as it is, in an operation of its own */
/* Before what leads to a rebalance changes anything: a snapshot must say again what the journal has. */
void classic_keep(struct classic *c);

#endif
