/* Groups whose coordinator divides the work (KIP-848). Three epochs, of which none ever goes back:
 *
 *   group epoch ──(target computed)──► target epoch ──(a member's heartbeats)──► the member's epoch
 *
 * A member that must give partitions back first is UNREVOKED and keeps its epoch until its heartbeat says
 * that it has; one that waits for partitions that others still have is UNRELEASED. A partition is in what at
 * most one member has or gives back.
 *
 *   parts.c               sets of partitions
 *   assign.c              the assignors: pure functions
 *   regex.c, regexes.c    subscriptions by regular expression: matching a name; which names they match
 *   consumer.c            groups and members; what others ask about them
 *   consumer_records.c    the journal's records, and the one place where they change the state
 *   consumer_reconcile.c  the target assignment, and a member's way to it
 *   consumer_step.c       all that a request of one member changes
 *   consumer_heartbeat.c  ConsumerGroupHeartbeat, sessions
 *   consumer_classic.c    members that still speak the classic protocol: JoinGroup, SyncGroup, Heartbeat,
 * LeaveGroup consumer_describe.c   ConsumerGroupDescribe migrate.c             a classic group becomes one of
 * these, and one of these a classic group embedded.c            what classic members tell each other:
 * subscriptions, assignments
 *
 * Members of both protocols may be in a group. A classic one hears of a change by REBALANCE_IN_PROGRESS; its
 * JoinGroup is what a heartbeat is of the others, with what it owns in its subscription, the member epoch in
 * the place of the generation; its SyncGroup gets what it has. Once only classic ones are left, and the
 * policy permits it, the group is a classic one again.
 *
 * An operation is a list of records (struct change). Once the journal has taken them they are replayed onto
 * the state, as they are when a journal is loaded: what is in memory is what a successor will read. */
#ifndef FLOE_GROUP_CONSUMER_INT_H
#define FLOE_GROUP_CONSUMER_INT_H

#include "group_int.h"

/* ---- sets of partitions (parts.c) ---------------------------------------------------------------------- */

struct part {
    struct floe_uuid topic;
    int32_t index;
};
struct parts { /* sorted, each once */
    struct part *p;
    uint32_t n;
};
int part_cmp(const struct part *a, const struct part *b);
bool parts_has(const struct parts *s, const struct part *p);
bool parts_eq(const struct parts *a, const struct parts *b);
bool parts_subset(const struct parts *a, const struct parts *b); /* is all of a in b? */
bool parts_meet(const struct parts *a, const struct parts *b);
/* In the arena: a without b (or, with `keep`, what is in both); both together. */
struct parts parts_filter(const struct parts *a, const struct parts *b, bool keep, struct floe_arena *arena);
struct parts parts_union(const struct parts *a, const struct parts *b, struct floe_arena *arena);
void parts_sort(struct parts *s);                         /* and takes doubles out */
void parts_set(struct parts *at, const struct parts *to); /* replaces a copy on the heap */
/* Topics in a row, as all messages have them: how many, and the end of the one that begins at `from`. */
int32_t parts_topics(const struct parts *s);
uint32_t parts_topic_end(const struct parts *s, uint32_t from);

/* Arenas of operations: what they hold is bounded by the group, and a group's state cannot do without. */
void *consumer_alloc(struct floe_arena *a, size_t count, size_t size);

/* ---- assignors (assign.c) ------------------------------------------------------------------------------ */

struct assign_topic {
    struct floe_uuid id;
    int32_t partitions;
};
struct assign_member {
    const char *id, *instance; /* instance null: a dynamic member */
    const uint32_t *topics;    /* places in the list of topics, ascending */
    uint32_t topic_count;
    struct parts prior; /* what it shall have so far */
    struct parts out;   /* in the arena */
};
/* Topics in ascending order of their ids. Every partition that somebody subscribes to goes to one subscriber.
 * `uniform`: as even as subscriptions allow, and as few moves as that allows. */
void assign_uniform(const struct assign_topic *t, uint32_t topics, struct assign_member *m, uint32_t members,
                    struct floe_arena *a);
/* `range`: of each topic its subscribers get ranges, static members first, by instance id, then by member id:
 * partitions of one number of topics of one size go together. */
void assign_range(const struct assign_topic *t, uint32_t topics, struct assign_member *m, uint32_t members,
                  struct floe_arena *a);

/* ---- regular expressions (regex.c, regexes.c) -----------------------------------------------------------
 */

#define REGEX_WHY 128
struct regex_code;
/* Null: it is none; why. */
struct regex_code *regex_compile(struct floe_kstr e, char why[REGEX_WHY]);
void regex_code_free(struct regex_code *c);
enum regex_answer { REGEX_NO, REGEX_YES, REGEX_GAVE_UP };
/* `steps`: that it may take; then those that are left. */
enum regex_answer regex_match(struct regex_code *c, const char *name, size_t n, uint64_t *steps);

struct regex { /* of one group */
    struct floe_map_node node;
    struct floe_list link; /* floe_groups.regexes.queue: names wait */
    struct floe_kstr group, text;
    struct regex_code *code;
    uint32_t users;
    uint32_t seen;  /* names that were looked at, in the catalog's order */
    uint64_t *bits; /* those that match; `words` of 64 */
    uint32_t words;
    uint64_t spent;          /* steps */
    uint32_t given_up, told; /* names that take too many; of them those that the log has heard of */
    bool changed;            /* a name was found since it caught up last */
    bool ready;              /* it had looked at all names once */
    uint32_t line;           /* consumer_reconcile.c's */
};
/* The group's expression, for one more user; null: it is none; why. */
struct regex *regex_get(struct floe_groups *g, struct floe_kstr group, struct floe_kstr e,
                        char why[REGEX_WHY]);
void regex_put(struct floe_groups *g, struct regex *r); /* null is fine */
struct regex *regex_find(const struct floe_groups *g, struct floe_kstr group, struct floe_kstr e);
/* Looks at names that are new, now or soon. */
void regex_look(struct floe_groups *g, struct regex *r);
/* Does it match that name, as far as is known? */
bool regex_has(const struct regex *r, uint32_t name_index);

/* ---- state --------------------------------------------------------------------------------------------- */

#define CONSUMER_EPOCH_JOIN 0
#define CONSUMER_EPOCH_LEAVE (-1)
#define CONSUMER_EPOCH_STATIC_LEAVE (-2)
#define CONSUMER_REFRESH_US 1000000u /* how often a group looks whether its topics changed, at most */
#define CONSUMER_HURRY_MS 500u       /* how often members of a group on the move send heartbeats, at most */

/* As Kafka's records number them. */
enum consumer_member_state { MEMBER_STABLE = 0, MEMBER_UNREVOKED = 1, MEMBER_UNRELEASED = 2 };

typedef struct floe_kafka_ConsumerGroupMemberMetadataValue member_meta;
typedef struct floe_kafka_ConsumerGroupMemberMetadataValue_ClassicMemberMetadata classic_meta;
typedef struct floe_kafka_ConsumerGroupMemberMetadataValue_ClassicProtocol classic_meta_protocol;

struct consumer_current { /* what a member has */
    int32_t epoch, previous;
    enum consumer_member_state state;
    struct parts assigned, revoking;
};
/* What was set for the group over the wire, else the broker's. */
uint32_t consumer_setting(const struct floe_groups *g, struct floe_kstr group, const char *name,
                          uint32_t def);

struct consumer_member {
    struct floe_map_node node, by_instance; /* consumer.by_id, of static ones consumer.by_instance */
    struct floe_list link;                  /* consumer.members, in the order of joining */
    struct consumer *c;
    char *id;
    bool leaving;                   /* it is being taken out (consumer_remove_leaving) */
    bool late_session, late_revoke; /* its time is up: it goes with the next that go (consumer.c) */
    size_t charged;                 /* members.c */
    size_t meta_bytes;
    member_meta *meta;   /* one block of memory with all its texts; its ClassicMemberMetadata is null, or the
                            member speaks the classic protocol */
    struct regex *regex; /* null: it has none */
    struct consumer_current now;
    struct parts target;
    struct floe_timer session;
    struct floe_timer revoke; /* it must give back; of a classic member: must join, or ask for its share */
};
struct consumer {
    struct group *g;
    int32_t epoch, target_epoch;
    uint64_t hash;       /* of the topics that members subscribe to; a change makes an epoch */
    uint64_t checked_us; /* when that was last looked at; 0: never */
    uint64_t checked;    /* and what was known of topics (consumer_topics_state) */
    uint64_t moved_us;   /* when its epoch was raised by this coordinator; 0: it was not */
    bool topics_known;   /* all that its members subscribe to was looked for since it was loaded */
    struct floe_map by_id, by_instance;
    struct floe_list members;
    uint32_t count;
    struct floe_timer expire; /* members that are late go then */
    uint64_t expired_us;      /* when some went last; 0: never */
};

/* A member that speaks the classic protocol? */
static inline bool consumer_is_classic(const struct consumer_member *m)
{
    return m->meta && m->meta->ClassicMemberMetadata;
}

/* consumer.c */
struct consumer *consumer_make(struct group *g);
struct consumer_member *consumer_member_find(const struct consumer *c, struct floe_kstr id);
struct consumer_member *consumer_static_find(const struct consumer *c, struct floe_kstr instance);
struct consumer_member *consumer_member_add(struct consumer *c, struct floe_kstr id);
/* What its record says, from now on, in so many bytes; takes both. */
void consumer_member_set(struct consumer_member *m, member_meta *meta, size_t bytes, struct regex *regex);
void consumer_member_charge(struct consumer_member *m); /* what it keeps in memory has changed */
void consumer_member_free(struct consumer_member *m);
void consumer_member_touch(struct consumer_member *m); /* its session starts again */
/* The time in which a member must give partitions back runs, or does not. */
void consumer_member_watch(struct consumer_member *m, bool restart);
/* Its rebalance time-out runs: by its end it must have done what is due. */
void consumer_member_due(struct consumer_member *m, bool restart);
/* Out of the group, which notices at the next heartbeat of anybody, or is a classic one from now on. False:
 * the journal did not take it. Groups and members are to be looked up again. */
bool consumer_remove(struct consumer *c, struct floe_kstr id) FLOE_MUST_USE;

/* ---- operations (consumer_records.c) --------------------------------------------------------------------
 */

struct change_record {
    struct change_record *next;
    int16_t type;
    const void *key, *value;
};
struct change {
    struct group_shard *s;
    struct floe_kstr group;
    struct floe_arena a; /* of the records, and of what is thought on the way */
    struct change_record *first, **last;
};
void change_begin(struct change *x, struct group_shard *s, struct floe_kstr group);
/* Journal and state, or neither. Ends the change. Groups and members are to be looked up again. */
bool change_commit(struct change *x) FLOE_MUST_USE;
void change_drop(struct change *x);
void change_end_classic(struct change *x); /* the group was a classic one */
void change_group(struct change *x, int32_t epoch, uint64_t hash);
void change_member(struct change *x, struct floe_kstr id, const member_meta *meta);
void change_target_epoch(struct change *x, int32_t epoch);
void change_target(struct change *x, struct floe_kstr id, const struct parts *target);
void change_current(struct change *x, struct floe_kstr id, const struct consumer_current *now);
void change_remove(struct change *x, struct floe_kstr id);
/* All that there is of the group is of the other protocol from now on: tombstones, and its classic record. */
void change_to_classic(struct change *x, const struct consumer *c,
                       const struct floe_kafka_GroupMetadataValue *v);

/* ---- reconciliation (consumer_reconcile.c) ---------------------------------------------------------------
 */

/* The member that an operation is about, as it will be. */
struct consumer_subject {
    struct floe_kstr id, replaces; /* replaces: another id that it goes on for; or null */
    const member_meta *meta;
    struct regex *regex;
    struct parts target;
};
/* Of topics that members subscribe to: ids and partition counts. `subject` may be null. */
uint64_t consumer_topics_hash(const struct consumer *c, struct floe_groups *g,
                              const struct consumer_subject *subject, struct floe_arena *a);
bool consumer_wants_range(const struct consumer *c, struct floe_arena *a);
/* A target of all members for the epoch: records, and the subject's. */
void consumer_compute_target(struct change *x, const struct consumer *c, struct consumer_subject *subject,
                             int32_t epoch);
/* Where a member goes from where it is. `owned`: what it says it has; null: it did not say. */
struct consumer_current consumer_reconcile(const struct consumer *c, const struct consumer_subject *subject,
                                           const struct consumer_current *now, int32_t target_epoch,
                                           const struct parts *owned, struct floe_arena *a);
/* Is a partition that it shall have still another member's? */
bool consumer_waits(const struct consumer_member *m);

/* ---- one member's request (consumer_step.c) --------------------------------------------------------------
 */

struct consumer_step {
    struct floe_groups *g;
    struct change x;
    struct consumer *c;          /* null: the group is new */
    struct consumer_member *m;   /* the member; null: it is new */
    struct consumer_member *old; /* whom it goes on for (a static member), where that has another id */
    struct floe_kstr id;
    const struct parts *owned; /* null: it does not say */
    struct consumer_subject subject;
};
/* Records of all that a request changes of a member that is now as `meta` says; where the member goes. */
struct consumer_current consumer_step(struct consumer_step *b, const member_meta *meta);
/* Sorted, each once; the names themselves are borrowed. */
void consumer_set_names(member_meta *to, const struct floe_kstr *names, int32_t n, struct floe_arena *a);
/* Changes whenever the catalog, or what expressions match, does. */
uint64_t consumer_topics_state(const struct floe_groups *g);
/* May this member (null: a new one) name so many topics, beside what the others do? `c` null: it is alone. */
bool consumer_names_fit(const struct consumer *c, const struct consumer_member *m, int32_t n);
/* Looks at the topics again, where it is time to: a change makes an epoch. */
void consumer_refresh(struct consumer *c);
/* Is a topic not known that may exist all the same: in general, or of those that members subscribe to, since
 * the group was loaded; or of a request's, for which the table could not be asked? */
bool consumer_topic_unsure(struct group_shard *s, struct floe_kstr name, uint64_t since_us);
bool consumer_topics_unsure(struct consumer *c);
bool consumer_lookup_failed(const struct floe_group_call *call, struct floe_catalog *topics,
                            const struct floe_kstr *names, int32_t n);

/* ---- what classic members say (embedded.c) ---------------------------------------------------------------
 */

#define EMBEDDED_PROTOCOL_TYPE "consumer" /* JoinGroup's, of members that speak so */
typedef struct floe_kafka_ConsumerProtocolSubscription embedded_subscription;
typedef struct floe_kafka_ConsumerProtocolAssignment embedded_assignment;
/* The version that it says it has, or the nearest that is known. */
int16_t embedded_version(struct floe_kbytes in);
/* Null: malformed, or the arena is full. Texts are borrowed from `in`. */
const embedded_subscription *embedded_read_subscription(struct floe_kbytes in, struct floe_arena *a);
const embedded_assignment *embedded_read_assignment(struct floe_kbytes in, struct floe_arena *a);
/* Partitions that exist, of topics that are known. */
struct parts embedded_assigned(const embedded_assignment *v, struct floe_catalog *topics,
                               struct floe_arena *a);
struct parts embedded_owned(const embedded_subscription *v, struct floe_catalog *topics,
                            struct floe_arena *a);
/* A ConsumerProtocolAssignment of that version, without topics that are gone; null: the arena is full. */
struct floe_kbytes embedded_write_assignment(const struct parts *s, int16_t version,
                                             struct floe_catalog *topics, struct floe_arena *a);

/* ---- migration (migrate.c) -------------------------------------------------------------------------------
 */

/* A classic group with members becomes one of the consumer protocol. Else Kafka's code, and why not. Groups
 * are to be looked up again. */
int16_t migrate_upgrade(struct group_shard *s, struct floe_kstr name, struct floe_kstr instance,
                        const char **why);
/* Without this member (null: as it is), are there only classic ones, and may the group be one of theirs? */
bool migrate_may_downgrade(const struct consumer *c, struct floe_kstr leaving);
/* Makes it so. False: the journal did not take it. Groups are to be looked up again. */
bool migrate_downgrade(struct consumer *c, struct floe_kstr leaving);

#endif
