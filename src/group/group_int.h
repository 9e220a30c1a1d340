/* What the files of the group module share.
 *
 *   groups.c    the object, shards by partition, groups by name, finding the one a request is for
 *   journal.c   records gathered into batches, appended, and who waits for their commit
 *   load.c      a shard's state from its journal; snapshots that keep the journal short
 *   records.c   keys and values in bytes, and whom a record belongs to
 *   offsets.c   committed offsets: commit, fetch, delete, expiry
 *   classic*.c  groups whose members divide the work themselves (JoinGroup, SyncGroup)
 *   members.c   what members may keep in memory
 *   subscribed.c  topics that members of either kind subscribe to
 *   admin.c     describe, list, delete
 *   consumer*.c, parts.c, assign.c   groups whose coordinator divides it (KIP-848; consumer_int.h)
 */
#ifndef FLOE_GROUP_INT_H
#define FLOE_GROUP_INT_H

#include <floe/base/assert.h>
#include <floe/base/list.h>
#include <floe/base/map.h>
#include <floe/group.h>
#include <floe/kafka/batch.h>

#define CLASSIC_VALUE_VERSION 3           /* of GroupMetadataValue, as it is written */
#define GROUP_NAME_MAX 32767              /* bytes, as Kafka's strings */
#define GROUP_BATCH_BYTES (256u << 10)    /* a batch that is longer is appended at once */
#define GROUP_MEMBER_BYTES_MAX (4u << 20) /* protocols of a classic member */
#define GROUP_NAMES_MAX 20000             /* topics that a member names, */
#define GROUP_ALL_NAMES_MAX 1000000u      /* and all members of a group of the consumer protocol */
#define GROUP_OP_BYTES_MAX (8u << 20)     /* records of one operation */
#define GROUP_SNAPSHOT_MIN (1u << 20)     /* a journal shorter than this is not rewritten */
#define GROUP_SNAPSHOT_CHUNK (128u << 10) /* bytes of a snapshot under way at a time, about */
#define GROUP_UNSENT_MAX (1u << 20)       /* what the log puts off, before offset commits are refused */
#define GROUP_GATHER_SLOTS 64u            /* groups that commit at present are counted up to about so many */
#define GROUP_BURST 50u                   /* flushes of gathered records that a pause allows at once */
#define GROUP_RETRY_US 50000u  /* an append that the log put off; a load that failed, doubled up to */
#define GROUP_PROTOCOLS_MAX 64 /* of one classic member: each is compared with each */
#define GROUP_FULL_TOLD_US                                                                                   \
    60000000u                    /* how often the log hears that members fill their share of the memory      \
                                  */
#define GROUP_STALL_US 2000000u  /* a journal that commits nothing of what waits for so long stands still; */
#define GROUP_GRACE_US 10000000u /* when it goes on, members have so long to be heard again */
#define GROUP_LOAD_RETRY_MAX_US 3000000u

enum group_record_type {
    GROUP_REC_OFFSET_OLD = 0,
    GROUP_REC_OFFSET = 1,
    GROUP_REC_CLASSIC = 2,
    GROUP_REC_CONSUMER = 3,
    GROUP_REC_MEMBER = 5,
    GROUP_REC_TARGET = 6,
    GROUP_REC_TARGET_MEMBER = 7,
    GROUP_REC_CURRENT = 8,
    GROUP_REC_REGEX = 16,
};

struct classic;                                                 /* classic_int.h */
struct consumer;                                                /* consumer_int.h */
enum group_kind { GROUP_EMPTY, GROUP_CLASSIC, GROUP_CONSUMER }; /* empty: offsets only, if at all */

/* ---- offsets ------------------------------------------------------------------------------------------- */

/* Of one partition of one topic, by topic name and id: a name made again has another id, and no offset. */
struct group_offset {
    struct floe_map_node node; /* group_topic.partitions */
    int32_t partition;
    int64_t offset;
    int32_t leader_epoch;
    int64_t commit_ms, expire_ms; /* expire_ms -1: by the setting */
    char *metadata;               /* never null; any bytes */
    int32_t metadata_n;
};
struct group_topic {
    struct floe_map_node node; /* group.topics, by name */
    struct floe_uuid id;
    char *name;
    bool seen; /* the catalog knew the topic by this id */
    struct floe_map partitions;
    uint32_t count;
};

/* ---- groups, shards ------------------------------------------------------------------------------------ */

struct group {
    struct floe_map_node node; /* shard.groups */
    struct floe_list link;     /* shard.order */
    struct group_shard *shard;
    char *name;
    enum group_kind kind;
    uint32_t snapshot; /* the last one that has it, or that it was made in */
    struct floe_map topics;
    uint32_t offset_count;
    int64_t empty_since_ms; /* wall clock: since when it has no member; -1: it has some */
    struct classic *classic;
    struct consumer *consumer;
};

struct group_wait {
    struct floe_list link;
    int64_t seq;
    void (*fn)(struct group_wait *w, bool committed);
};

enum group_shard_state { SHARD_LOADING, SHARD_ACTIVE, SHARD_DEAD };
struct group_append; /* journal.c: a batch on its way */
struct group_load;   /* load.c */
struct group_shard {
    struct floe_map_node node; /* groups.shards */
    struct floe_list link;     /* groups.list */
    struct floe_groups *g;
    struct floe_tp tp;
    int32_t epoch;
    enum group_shard_state state;
    struct floe_map groups;
    struct floe_list order; /* group.link: those that the running snapshot has come last */
    uint32_t group_count;
    /* journal */
    struct floe_batch_builder open;
    bool op;                /* between journal_begin and journal_end */
    bool op_failed;         /* a record did not fit */
    bool op_refused;        /* journal_end took one back since the snapshot's step began */
    struct floe_list queue; /* group_append: finished batches that are not committed, oldest first */
    size_t unsent;          /* their bytes that the log has not taken */
    size_t op_bytes;        /* of `open` before the operation, and its records, to take it back */
    struct floe_batch op_head;
    struct floe_list waits;      /* group_wait, by seq */
    int64_t seq, committed;      /* operations so far; of them committed */
    struct floe_timer retry;     /* the log has put an append off; the load failed */
    struct floe_log_waiter room; /* linked while an append waits for room in the log */
    uint64_t flow_us;            /* when something was last committed, or first waited for that */
    uint64_t well_us;            /* since when that goes on again, after it did not; 0: since ever */
    bool gathering;              /* the open batch waits for the gather timer */
    /* load and snapshots */
    struct group_load *load;
    uint32_t load_fails;              /* one after another */
    uint64_t loaded_us;               /* what it found then was of topics that were there */
    uint64_t journal_bytes;           /* since the last snapshot began */
    uint64_t snapshot_bytes;          /* of the last one */
    uint32_t snapshot;                /* number of the running or last one */
    bool snapshotting, snapshot_last; /* last: every group has been written */
    bool snapshot_spoiled;            /* something could not be: the journal before it goes on counting */
    int64_t snapshot_from;
    uint64_t snapshot_start; /* journal_bytes when it began */
    struct group_wait snapshot_wait;
    struct floe_table_req record; /* coordinator/<topic>/<partition> */
    bool recording;
    char record_value[128];
};
struct floe_groups {
    struct floe_groups_config cfg;
    struct floe_map shards; /* by partition */
    struct floe_list list;
    struct floe_timer gather, sweep;
    uint64_t paid_us; /* flushes of gathered records are paid for up to then: journal.c's gather_us each */
    uint64_t committed_us[GROUP_GATHER_SLOTS]; /* when a group last committed offsets, by its name's hash */
    bool closing;                              /* being destroyed: nobody is answered, the log is gone */
    struct floe_list answered;                 /* floe_group_call */
    struct floe_timer answer;
    struct floe_list orphans;      /* group_append of shards that are gone: the log still holds them */
    struct floe_writer key, value; /* of the record being put */
    struct {                       /* regexes.c */
        struct floe_map map;
        struct floe_list queue;
        struct floe_timer timer;
        uint64_t paid_us; /* slices are paid for up to then */
        uint64_t last;    /* the group that had the last turn, by its name's hash */
        uint64_t found;   /* raised when an expression matches more than it did */
    } regexes;
    uint64_t full_told_us; /* members.c: when the log last heard of it; 0: never */
    struct floe_group_stats stats;
};

/* members.c: what all members of this broker's groups keep in memory. A member that is new finds room or is
 * refused. One that is there may grow into a reserve beyond; what a journal brings is taken whatever there
 * is.
 */
/* What is charged for it is `now` from now on. */
void members_charge(struct floe_groups *g, size_t *charged, size_t now);
/* Kafka's code for a member that is new: 0, or COORDINATOR_NOT_AVAILABLE, and the log is told. */
int16_t members_room(struct floe_groups *g);
/* The same for one that keeps so much more than it did. */
int16_t members_growth(struct floe_groups *g, size_t more);

/* groups.c */
/* Topic of __consumer_offsets; null while it is not known to exist. */
const struct floe_topic *groups_topic(const struct floe_groups *g);
/* The shard that coordinates the group, or Kafka's code why not: INVALID_GROUP_ID (empty or null name, where
 * that is not allowed; one with a NUL), COORDINATOR_NOT_AVAILABLE, COORDINATOR_LOAD_IN_PROGRESS,
 * NOT_COORDINATOR. */
int16_t groups_shard(struct floe_groups *g, struct floe_kstr name, bool empty_ok, struct group_shard **out);
struct group *group_find(struct group_shard *s, struct floe_kstr name);
struct group *group_make(struct group_shard *s, struct floe_kstr name); /* finds or makes; null: no memory */
/* Forgets a group that has neither members nor offsets (state only; records are the caller's). */
void group_free(struct group *g);
/* Frees it if it is GROUP_EMPTY without offsets. */
void group_drop_if_nothing(struct group *g);
/* A zeroed response in the call's arena with its defaults; c->response. Null: the arena is full. */
void *group_response(struct floe_group_call *c, const struct floe_kafka_msg *m);
/* Answers at the end of this turn of the loop: never inside a call, whatever is being walked. */
void group_answer(struct floe_group_call *c);
/* Answers once everything that the shard's journal was given so far is committed; where the shard is dropped
 * before, `failed` fills the response with NOT_COORDINATOR first. Invariant 2. */
void group_answer_committed(struct group_shard *s, struct floe_group_call *c,
                            void (*failed)(struct floe_group_call *c, int16_t error));
int64_t group_wall_ms(const struct floe_groups *g);
uint64_t group_now_us(const struct floe_groups *g);
char *group_strdup(struct floe_kstr s); /* null: no memory (or a null string) */
bool group_is_text(struct floe_kstr s); /* no NUL is in it: names and ids with one are refused */
struct floe_kstr group_arena_str(struct floe_arena *a, const char *s); /* a copy; null stays null */
uint64_t group_hash(const void *p, size_t n);

/* regexes.c */
void regexes_init(struct floe_groups *g);
void regexes_fini(struct floe_groups *g);

/* journal.c */
void journal_init(struct group_shard *s);
void journal_fini(struct group_shard *s); /* drops what waits: their calls are failed by groups.c first */
/* One operation's records. journal_put encodes now: key and value may go afterwards; a null value deletes.
 * `version` is the value's. journal_end makes them part of the journal, or takes all of them back and returns
 * false (too large, no memory): then the operation must not change anything, so end it before you do.
 * Records of a shard that the log takes nothing from any more go nowhere, and who waits for them is told so.
 * `urgent`: append in this turn; otherwise with what else comes within the gathering time. */
void journal_begin(struct group_shard *s);
void journal_put(struct group_shard *s, int16_t type, const struct floe_kafka_msg *key_desc, const void *key,
                 const struct floe_kafka_msg *value_desc, int16_t version, const void *value);
bool journal_end(struct group_shard *s, bool urgent) FLOE_MUST_USE;
/* Has the open operation so many records that what can be told in parts should go on in another one? */
bool journal_op_large(const struct group_shard *s);
/* `fn` runs once everything given so far is committed (perhaps inside the call), or the shard is dropped. */
void journal_wait(struct group_shard *s, struct group_wait *w);
/* So much waits for room in the log that offsets must not be added to it. */
bool journal_full(const struct group_shard *s);
/* Has everything given so far been committed? */
bool journal_idle(const struct group_shard *s);
/* While nothing can be committed members wait for answers, and cannot be heard: for how long those that seem
 * silent are to be given time, until a little after commits go on; 0: none is owed. */
uint64_t journal_grace_us(const struct group_shard *s);
void journal_flush(struct group_shard *s); /* appends what is gathered */
void journal_fail_all(struct group_shard *s);
void journal_gather_due(struct floe_groups *g);
/* The group commits offsets: see gather_group_us. */
void journal_gather_for(struct floe_groups *g, struct floe_kstr group);
void journal_orphans_free(struct floe_groups *g);

/* load.c */
void load_start(struct group_shard *s);
void load_stop(struct group_shard *s);
void snapshot_consider(struct group_shard *s); /* after appends and commits */
void snapshot_stop(struct group_shard *s);

/* records.c: replays one record onto the state. FLOE_EUNSUPPORTED: a type of later versions, skipped. */
enum floe_err records_replay(struct group_shard *s, struct floe_kbytes key, struct floe_kbytes value,
                             struct floe_arena *scratch, struct floe_error *err) FLOE_MUST_USE;
/* A decoded record of a group (not of an offset): onto the state, and into the open operation. */
void records_apply(struct group_shard *s, int16_t type, const void *key, const void *value);
void records_put(struct group_shard *s, int16_t type, const void *key, const void *value);
/* Writes every record that makes the group what it is once more, in operations of its own: any part of them
 * says nothing new. */
void records_snapshot(struct group *g);

/* offsets.c, offsets_fetch.c */
struct group_topic *offsets_topic(const struct group *g, struct floe_kstr name); /* null: none */
struct group_offset *offsets_at(const struct group_topic *t, int32_t partition);
/* A live topic by name, or from version 10 of the offset APIs on by id. */
const struct floe_topic *offsets_known(struct floe_groups *g, int16_t version, struct floe_kstr name,
                                       const struct floe_uuid *id);
/* Has the group offsets of that name's topic by an id that the catalog has never had, and may hear of yet? */
bool offsets_unsure(const struct group *g, const struct floe_topic *known);
void offsets_replay(struct group_shard *s, const struct floe_kafka_OffsetCommitKey *k,
                    const struct floe_kafka_OffsetCommitValue *v);
void offsets_snapshot(struct group *g);
void offsets_free(struct group *g);
/* Inside an operation: tombstones for all of them. */
void offsets_put_tombstones(struct group *g);
/* Takes out all offsets of a group that has more than fit into one operation. False: some have stayed. */
bool offsets_take_out(struct group *g) FLOE_MUST_USE;
/* Expired and deleted topics' offsets of one shard; groups that are left with nothing go. */
void offsets_sweep(struct group_shard *s);

/* classic.c */
void classic_replay(struct group_shard *s, const struct floe_kafka_GroupMetadataKey *k,
                    const struct floe_kafka_GroupMetadataValue *v);
void classic_snapshot(struct group *g);
void classic_loaded(struct group *g);         /* the shard is active: timers start */
void classic_free(struct group *g);           /* state goes; calls that wait are answered NOT_COORDINATOR */
void classic_put_tombstones(struct group *g); /* inside an operation */
/* May this member commit (or fetch) now? Kafka's code. `generation` -1 with an empty member: a simple
 * consumer. */
int16_t classic_validate_commit(struct group *g, struct floe_kstr member, struct floe_kstr instance,
                                int32_t generation);
const char *classic_state(const struct group *g); /* as DescribeGroups shows it */
struct floe_kstr classic_protocol_type(const struct group *g, struct floe_arena *a);
void classic_describe(struct group *g, struct floe_kafka_DescribeGroupsResponse_DescribedGroup *out,
                      struct floe_arena *a);
bool classic_has_members(const struct group *g);
uint32_t classic_member_count(const struct group *g); /* without those that were only given an id */
/* Topics that members subscribe to, some of them several times. False: any may be among them (they are not
 * known, or are not told: another protocol type than "consumer"). */
bool classic_subscriptions(const struct group *g, struct floe_kstr **names, uint32_t *n,
                           struct floe_arena *a);

/* consumer.c */
void consumer_replay(struct group_shard *s, int16_t type, const void *key, const void *value);
void consumer_snapshot(struct group *g);
void consumer_loaded(struct group *g);
void consumer_free(struct group *g);
void consumer_put_tombstones(struct group *g);
int16_t consumer_validate_commit(struct group *g, struct floe_kstr member, int32_t member_epoch,
                                 int16_t version);
int16_t consumer_validate_fetch(struct group *g, struct floe_kstr member, int32_t member_epoch);
bool consumer_has_members(const struct group *g);
void consumer_subscriptions(const struct group *g, struct floe_kstr **names, uint32_t *n,
                            struct floe_arena *a);                             /* those that are named */
bool consumer_regex_subscribed(const struct group *g, struct floe_kstr topic); /* or matched */

/* subscribed.c: topics that members subscribe to, as they are now. Offsets of these are neither deleted nor
 * expired. */
struct subscribed {
    struct group *g;
    bool all; /* what cannot be read may be any topic */
    struct floe_kstr *names;
    uint32_t n;
    struct floe_arena arena;
};
void subscribed_init(struct subscribed *s, struct group *g);
bool subscribed_to(const struct subscribed *s, struct floe_kstr topic);
void subscribed_fini(struct subscribed *s);
/* A classic member comes to a group without members: it is the new protocol's no longer, and may be gone. */
int16_t consumer_end(struct group *g);
/* Requests of members that speak the classic protocol, in groups of the other one (consumer_classic.c): the
 * group where it is one of these, after what is due was done (only classic members are left); null: go on as
 * ever. */
struct group *consumer_of_classic(struct floe_groups *g, struct floe_kstr name);
/* False: the group is a classic one from now on: go on as ever. */
bool consumer_classic_join(struct group *g, struct floe_group_call *call);
void consumer_classic_sync(struct group *g, struct floe_group_call *call);
int16_t consumer_classic_heartbeat(struct group *g, const struct floe_kafka_HeartbeatRequest *in);
/* Marks it as one that leaves. Who marks calls consumer_remove_leaving before anything else: all that are
 * marked go in one operation. False: the journal did not take it, and nobody is marked any more. Groups and
 * members are to be looked up again. */
int16_t consumer_classic_leave(struct group *g, struct floe_kstr id, struct floe_kstr instance);
bool consumer_remove_leaving(struct consumer *c) FLOE_MUST_USE;
/* State as ListGroups and ConsumerGroupDescribe show it. */
const char *consumer_state(const struct group *g);

#endif
