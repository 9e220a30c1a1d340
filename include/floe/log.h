/* The log: partitions that this broker serves, their appends, flushes, commits and reads.
 *
 * What it is: one object a broker, `struct floe_log`, on the core loop. A *chain* (the open session's
 * segments) gathers batches of all partitions; *partitions* are adopted when their lease names the session,
 * and dropped when it does not. What it is not: leases, topics' names and configurations (handed in), Kafka
 * requests.
 *
 * Invariants
 *  1. An offset given to a batch whose PUT was started is never given to another batch by this session.
 *  2. Segment n is committed only when 0..n-1 are, by an answer that counted while the session was alive.
 *  3. The high watermark is the end of what is committed; it never goes back; nothing at or past it is
 * served.
 *  4. acks=all call-backs run in chain order after the commit; a duplicate of an uncommitted batch waits for
 * that commit.
 *  5. A producer's batch is stored once and in order (last five batches remembered, KIP-98, KIP-360).
 *  6. Checkpoints ride in the chain and cover exactly the committed prefix before their segment.
 *  7. Buffers are bounded: FLOE_EAGAIN pushes back before memory or tier overflow; what was acknowledged is
 * never dropped.
 */
#ifndef FLOE_LOG_H
#define FLOE_LOG_H

#include <floe/base/buf.h>
#include <floe/base/hist.h>
#include <floe/kafka/batch.h>
#include <floe/lease.h>
#include <floe/net/peer.h>
#include <floe/objstore.h>
#include <floe/tier.h>

struct floe_log;

enum floe_reappend_topic {
    FLOE_REAPPEND_SEND,
    FLOE_REAPPEND_ASIDE, /* compacted: set aside and reported */
    FLOE_REAPPEND_DROP,  /* deleted */
    FLOE_REAPPEND_LATER, /* not known yet */
};
#define FLOE_LOG_NEIGHBOURS_MAX 64
struct floe_log_neighbour {
    int32_t node;
    bool own;
    char addr[FLOE_PEER_ADDR_MAX]; /* where other brokers call it */
};
struct floe_log_hooks {
    void *user;
    bool (*alive)(void *user); /* floe_lease_alive */
    void (*adopted)(void *user, const struct floe_tp *tp, int32_t epoch, const struct floe_error *err);
    /* The lease is read again after the rebuild, before serving: `done` with true when a read of it that was
     * begun at `since_us` or later names this session at that epoch. */
    void (*recheck)(void *user, const struct floe_tp *tp, int32_t epoch, uint64_t since_us,
                    void (*done)(void *user2, bool still), void *user2);
    void (*checkpointed)(void *user, const struct floe_tp *tp, int32_t epoch,
                         const struct floe_checkpoint_ref *ref);
    void (*session_lost)(void *user,
                         const char *why); /* a seal in the own chain; a PUT that will never be sent again */
    void (*fatal)(void *user, const struct floe_error *err); /* a foreign object in the own chain */

    /* Any of the following may be null. */

    /* floe_lease_pressed: rebuilds leave store and processor to the renewals. Null: they are never late. */
    bool (*pressed)(void *user);

    /* The durable floor of a session's chain (floe_lease_read_floor). Below it a key that is missing, or
     * holds a stray seal, held nothing that is wanted; null: no chain has one. */
    void (*floor)(void *user, const struct floe_session_name *s,
                  void (*done)(void *user2, const struct floe_error *err, uint64_t floor), void *user2);

    /* The topic's name for the footer's dictionary, where neither an append nor a footer has told it yet
     * (checkpoints of untouched partitions); null or unknown (a null result): its id in hex stands in.
     * Copied.
     */
    const char *(*topic_name)(void *user, const struct floe_uuid *topic);

    /* Something that an operator should know, once per cause: a store that refuses PUTs (and that it takes
     * them again: code FLOE_OK), a tier that is full or fails, what a re-append did. */
    void (*note)(void *user, const struct floe_error *err);

    /* Views (below): the cached lease of a partition, and a node's record. Null: there are none. */
    bool (*lease)(void *user, const struct floe_tp *tp, struct floe_lease_entry *out);
    bool (*node)(void *user, int32_t node, struct floe_node_info *out);
    /* Shared reads: the live brokers of the own rack, this one too; none without a rack. Null: none. */
    uint32_t (*neighbours)(void *user, struct floe_log_neighbour *out, uint32_t max);

    /* The partition is stopped (floe_log_stop), and nothing of it is pending: this session's keys from `end`
     * on carry no batch of it. Null: nothing is handed over. */
    void (*stopped)(void *user, const struct floe_tp *tp, int32_t epoch, uint64_t end);

    /* Re-append of what acks=1 left in the tier (design.md "Commit"). Without `reappend_producer_id` it does
     * not run and the entries stay. */

    /* True when that session is known to be sealed or ended. Null: every session but the open one is. */
    bool (*sealed)(void *user, const struct floe_session_name *s);
    /* A fresh producer id of the cluster. */
    void (*reappend_producer_id)(void *user,
                                 void (*done)(void *user2, const struct floe_error *err, int64_t id,
                                              int16_t epoch),
                                 void *user2);
    /* What to do with batches of that topic. Null: FLOE_REAPPEND_SEND. */
    enum floe_reappend_topic (*reappend_topic)(void *user, const struct floe_uuid *topic);
    /* For partitions that another broker holds (null: they wait until this log serves them). End offset of
     * the greatest epoch <= `epoch` as the present holder, under a higher epoch, answers; 0 when there is
     * none. */
    void (*reappend_epoch_end)(void *user, const struct floe_tp *tp, int32_t epoch,
                               void (*done)(void *user2, const struct floe_error *err, int64_t end),
                               void *user2);
    /* Produces one batch with acks=all to the present holder; kafka_error as it answered. The bytes stay
     * until `done`. */
    void (*reappend_send)(void *user, const struct floe_tp *tp, const struct floe_bufslice *batch,
                          void (*done)(void *user2, const struct floe_error *err, int16_t kafka_error),
                          void *user2);
    /* Keeps a batch that cannot be appended in a named file; false when that failed (tried again later). */
    bool (*set_aside)(void *user, const struct floe_tp *tp, int64_t offset, struct floe_slice batch,
                      const char *why);
};
struct floe_log_config {
    struct floe_loop *loop;
    struct floe_store *store;
    struct floe_tier *tier;
    struct floe_peers *peers; /* views: hints from holders; may be null */
    struct floe_uuid cluster;
    struct floe_budget
        *pending_budget; /* request buffers and pending segments (shared with the network threads) */
    struct floe_budget *cache_budget; /* recent batches and read cache: bounded by eviction */
    uint32_t segment_bytes_max;       /* 8 MiB */
    uint32_t linger_us;               /* how long a batch waits for company while a PUT is in flight */
    uint32_t puts_in_flight_max;      /* 4 */
    double put_rate, put_burst;       /* PUT budget; rate 0: unlimited */
    bool spill_all;                   /* every batch through the tier (measured, not the default) */
    struct floe_log_hooks hooks;
};
enum floe_err floe_log_create(struct floe_log **out, const struct floe_log_config *cfg,
                              struct floe_error *err) FLOE_MUST_USE;
/* After store and tier were closed, or forgot this node (simulated kill): no call-back may come any more.
 * What waits is not answered. */
void floe_log_destroy(struct floe_log **log);

/* Sessions. Open: the chain starts at key 0. Over: every waiting append is answered FLOE_EFENCED, partitions
 * are dropped, bytes of acks=1 stay in the tier for re-append. */
void floe_log_session_open(struct floe_log *log, const struct floe_session_name *s);
void floe_log_session_alive(struct floe_log *log, bool alive);
void floe_log_session_over(struct floe_log *log);
/* Clean end: stops appends (FLOE_ENOTHOLDER), flushes, puts checkpoints of all partitions, waits for them to
 * be committed and published (hooks.checkpointed), then puts the session's own seal. `done` gets the seal's
 * key, or the error that prevented it. */
void floe_log_session_end(struct floe_log *log,
                          void (*done)(void *user, const struct floe_error *err, uint64_t end), void *user);
uint64_t floe_log_next_key(const struct floe_log *log);
uint64_t floe_log_committed(const struct floe_log *log);
/* Calls w->fn once, later, when more than `keys` keys of the open session's chain are committed, or the
 * session is over. */
struct floe_log_waiter;
void floe_log_wait_commit(struct floe_log *log, uint64_t keys, struct floe_log_waiter *w);

/* Partitions. Adopt rebuilds many at once (a session's footers are read once for all) and answers each by
 * hooks.adopted. */
void floe_log_adopt(struct floe_log *log, const struct floe_lease_entry *entries, uint32_t n);
void floe_log_drop(struct floe_log *log, const struct floe_tp *tp);

/* This session is about to take the partition, whose lease is `e`; its last span, of a sealed chain, ends at
 * `end`. What that lists is read while the table is written: floe_log_adopt finds it where the lease then
 * says the same, and rebuilds as ever where it does not. */
void floe_log_taking(struct floe_log *log, const struct floe_lease_entry *e, uint64_t end);

/* Planned moves to this broker: what the sender tells (PeerMoveAhead) is read from the store before the lease
 * names this session, which then finds the partition's state ready where it confirms all of that. Returns of
 * how many partitions something is not read yet; those that cannot be are not counted. */
struct floe_moving {
    struct floe_tp tp;
    int32_t epoch;            /* the sender's leader epoch */
    uint64_t checkpoint, end; /* keys of its chain: of its newest checkpoint; those below `end` may be read */
};
uint32_t floe_log_ahead(struct floe_log *log, const struct floe_session_name *sender,
                        const struct floe_moving *parts, uint32_t n, bool stopped);
/* The sender has told that the partition's lease is about to name this session. */
bool floe_log_expects(struct floe_log *log, const struct floe_tp *tp);

/* Hand-over to another session. First a checkpoint is put as soon as can be: once one of this session's is
 * published at the returned key or a later one, a rebuild reads little. (UINT64_MAX: it is not served.) */
uint64_t floe_log_checkpoint_now(struct floe_log *log, const struct floe_tp *tp);
/* DeleteRecords. First the checkpoints say from now on that the partition, which is served, starts at
 * `offset` or later (at most its high watermark): returns the key as above. Once such a checkpoint is named
 * by the lease the log start is raised; before that a takeover could let it go back. */
uint64_t floe_log_want_start(struct floe_log *log, const struct floe_tp *tp, int64_t offset);
void floe_log_start_named(struct floe_log *log, const struct floe_tp *tp, int64_t offset);
/* Appends are refused with FLOE_EAGAIN from now on, what is pending is flushed, without waiting for a token;
 * hooks.stopped runs when every segment that carries the partition is committed. Then floe_log_drop, or
 * floe_log_resume where the lease certainly stayed. */
void floe_log_stop(struct floe_log *log, const struct floe_tp *tp);
void floe_log_resume(struct floe_log *log, const struct floe_tp *tp);

struct floe_partition; /* borrowed handle; look it up again in each turn of the loop */
/* HANDING: as SERVING, but appends wait, and what is latest is not told. */
enum floe_partition_state {
    FLOE_PARTITION_ABSENT,
    FLOE_PARTITION_REBUILDING,
    FLOE_PARTITION_SERVING,
    FLOE_PARTITION_HANDING
};
enum floe_partition_state floe_log_find(struct floe_log *log, const struct floe_tp *tp,
                                        struct floe_partition **out);
int32_t floe_partition_epoch(const struct floe_partition *p);
int64_t floe_partition_high_watermark(const struct floe_partition *p);
/* Up to where producers with acks 0 and 1 may take their records for stored; 0 without any. */
int64_t floe_partition_early_end(const struct floe_partition *p);
int64_t floe_partition_log_start(const struct floe_partition *p);
/* The offset that the next batch gets: a producer may know of offsets up to here before they are committed.
 */
int64_t floe_partition_next_offset(const struct floe_partition *p);
/* End offset of the greatest epoch <= `epoch` (OffsetForLeaderEpoch, KIP-101): returns that epoch, or -1.
 * The newest epoch ends where its next batch begins: who was told of offsets above the high watermark
 * (acks=1), or has read them elsewhere before the holder heard of their commit, has not read another history.
 */
int32_t floe_partition_epoch_end(const struct floe_partition *p, int32_t epoch, int64_t *end);
/* Bytes of its batches in the store, also of those below the log start. */
int64_t floe_partition_bytes(const struct floe_partition *p);
/* The idempotent producers that it remembers (DescribeProducers). Returns how many there are; fills at most
 * `max`. */
struct floe_producer_info {
    int64_t id, last_timestamp;
    int32_t last_sequence;
    int16_t epoch;
};
uint32_t floe_partition_producers(const struct floe_partition *p, struct floe_producer_info *out,
                                  uint32_t max);
/* Calls fn (once, later, on the loop) when the partition leaves REBUILDING or HANDING, or is dropped.
 * Waiter is embedded in the caller's struct. */
struct floe_log_waiter {
    struct floe_list link;
    void (*fn)(struct floe_log_waiter *w);
    void *user;
    int64_t offset; /* the log's own */
};
void floe_log_wait_serving(struct floe_log *log, const struct floe_tp *tp, struct floe_log_waiter *w);
void floe_log_wait_cancel(struct floe_log_waiter *w);

/* Append of one validated batch. The struct is the caller's until `done`. */
struct floe_log_append {
    /* in */
    struct floe_tp tp;
    struct floe_batch batch; /* parsed header */
    struct floe_bufslice
        bytes; /* the batch itself, writable in its patchable fields; the log takes its own reference */
    const char *topic_name; /* for the footer's dictionary; copied once a partition */
    int8_t acks;            /* -1, 0, 1; with 0 and `done` null the struct is not touched after the call */
    bool log_append_time;   /* message.timestamp.type */
    bool waited;            /* floe_log_wait_room said that its turn has come */
    void (*done)(struct floe_log_append *a);
    void *user;
    /* out */
    struct floe_error err; /* FLOE_OK; or with `kafka_error` set: OUT_OF_ORDER_SEQUENCE_NUMBER,
                              INVALID_PRODUCER_EPOCH, DUPLICATE_SEQUENCE_NUMBER, ... */
    int16_t kafka_error;
    int64_t base_offset, log_append_ms, log_start;
    uint64_t paced_us;     /* loop time until which its sender should send no more: memory or tier are running
                              short; 0: they are not */
    bool maybe_applied;    /* a failure after its PUT was started, or after a durable put in the tier that may
                               be appended again: the outcome is unknown */
    struct floe_list link; /* the log's own */
    uint64_t tier_seq;     /* the log's own */
};
/* FLOE_OK: `done` runs later, once (for acks=0 in the next turn, where it is set). Any other result: refused
 * now, `done` does not run: FLOE_ENOTHOLDER, FLOE_EAGAIN (back-pressure), FLOE_EINVAL with a->kafka_error. */
enum floe_err floe_log_append(struct floe_log *log, struct floe_log_append *a) FLOE_MUST_USE;

/* After FLOE_EAGAIN: fn runs once, later, on the loop, in the order of waiting, when there may be room for so
 * many bytes. Others are pushed back meanwhile. */
void floe_log_wait_room(struct floe_log *log, size_t bytes, struct floe_log_waiter *w);

/* A batch of an idempotent producer was answered with an error. Until it comes again, for half a minute at
 * most, later ones that do not follow are refused too, as retriable, also where the partition does not know
 * the producer: Kafka's check takes any first sequence then (KIP-360), and what was on its way behind the
 * refused batch would be stored in its place; the batch itself would then count as a duplicate. A topic of
 * zeros stands for any. The same holds after a move, where the earlier batch may be on its way to the former
 * holder: what does not follow is retriable for half a minute, and the first batch of an unknown producer
 * that does not begin at 0 is taken the second time. */
void floe_log_refused(struct floe_log *log, const struct floe_tp *tp, const struct floe_batch *b);

/* Reads of one partition: whole batches from the one containing `offset`, below the high watermark. From
 * memory at once, else from the store. */
struct floe_log_read {
    /* in */
    struct floe_tp tp;
    int64_t offset;
    uint32_t max_bytes;
    bool view;    /* of a view, not of a partition that this session holds */
    bool min_one; /* return at least one whole batch even above max_bytes (first partition of a fetch) */
    void (*done)(struct floe_log_read *r);
    void *user;
    /* out */
    struct floe_error err; /* FLOE_OK, FLOE_ENOTHOLDER, FLOE_EINVAL (offset out of range: below log start or
                              above the high watermark), FLOE_ECORRUPT, ... */
    int64_t high_watermark, log_start;
    struct floe_bufslice *slices; /* owned references; floe_log_read_fini drops them */
    uint32_t slice_count, bytes;
    struct floe_list link;
    void *driver;
};
/* Completes at once (returns true, done does not run) when memory has the answer, including the empty one at
 * the high watermark; else false and `done` runs later. */
bool floe_log_read(struct floe_log *log, struct floe_log_read *r);
void floe_log_read_cancel(struct floe_log *log, struct floe_log_read *r);
void floe_log_read_fini(struct floe_log_read *r);
/* Readers waiting for data: fn runs once after the high watermark passed `offset`, or the partition was
 * dropped. */
void floe_log_wait_data(struct floe_log *log, const struct floe_tp *tp, int64_t offset,
                        struct floe_log_waiter *w);

void floe_log_wait_view(struct floe_log *log, const struct floe_tp *tp, int64_t offset,
                        struct floe_log_waiter *w);

/* Views: committed data of partitions that another session holds, read from the store (reads anywhere).
 *
 * A view is built when somebody asks for it: from the checkpoint and the closed spans of the partition's
 * lease, then by following the chain of its open span, key after key; one follower a chain serves all views.
 *  1. A key counts when an object of the chain is there and all keys are from one that is known to be
 * committed (the session's record, a checkpoint that a lease names) up to it; nothing counts from a seal on.
 *  2. A view's high watermark is the end of what counts. It never goes back; another lease builds a new state
 * beside it, which takes its place when it is complete.
 *  3. Only hooks.lease and hooks.node and the store are believed; what the holder tells is a hint.
 * Not used for a while, it is dropped. The number of views and their memory are bounded. */
enum floe_view_state {
    FLOE_VIEW_NONE,     /* not here: no lease is known, no room, or the last try failed a moment ago */
    FLOE_VIEW_BUILDING, /* asked for again in a moment, it may be there */
    FLOE_VIEW_SERVING,
};
enum floe_view_state floe_log_view(struct floe_log *log, const struct floe_tp *tp,
                                   struct floe_partition **out);
/* Leases or sessions changed: log starts that are named now count; views look at theirs again, soon. */
void floe_log_leases_changed(struct floe_log *log);
/* One followed chain. */
struct floe_followed {
    struct floe_session_name session;
    uint64_t proven, hinted; /* keys below: known to be committed, and read; told to be by its holder */
    uint64_t lag_us; /* since the first key that is told of and not read was told, or, where the holder tells
                        nothing, since a key was last looked for with success */
    uint32_t views;
    bool ended; /* its seal was seen */
};
/* Returns how many; fills at most `max`. */
uint32_t floe_log_followed(const struct floe_log *log, struct floe_followed *out, uint32_t max);

/* Another broker of the rack asks for a range of a chain's object (shared reads, src/log/share.h). The struct
 * is the caller's until `done`, which may run from inside the call; its bytes are for the asker to check. */
struct floe_log_lend {
    /* in */
    struct floe_session_name session;
    uint64_t seq;
    int64_t offset; /* negative: the last -offset bytes, then length is -offset */
    uint32_t length;
    void (*done)(struct floe_log_lend *l);
    void *user;
    /* out */
    struct floe_error err;
    uint64_t size, from;          /* of the object; where the bytes lie in it */
    struct floe_bufslice *slices; /* owned references; floe_log_lend_fini drops them */
    uint32_t slice_count, bytes;
    void *driver;
};
void floe_log_lend(struct floe_log *log, struct floe_log_lend *l);
void floe_log_lend_fini(struct floe_log_lend *l);

/* ListOffsets by timestamp: first record at or after `timestamp`, or the record of the largest one (timestamp
 * = FLOE_LOG_MAX_TIMESTAMP). -1/-1 when there is none. */
#define FLOE_LOG_MAX_TIMESTAMP INT64_MIN
struct floe_log_seek {
    struct floe_tp tp;
    int64_t timestamp;
    void (*done)(struct floe_log_seek *s);
    void *user;
    struct floe_error err;
    int64_t offset, found_timestamp;
    int32_t leader_epoch;
    struct floe_list link;
    void *driver;
};
void floe_log_seek(struct floe_log *log, struct floe_log_seek *s);

struct floe_log_stats {
    uint64_t appends, append_records, append_bytes, segments, segment_bytes, puts, put_hedges, commits,
        spilled_bytes, reads_memory, reads_store, footers_read, read_ahead,
        paced;             /* appends whose sender was slowed down */
    uint64_t reads_view;   /* reads of views, from cache or store */
    uint64_t shared_asked; /* ranges that another broker of the rack was asked for; got from it */
    uint64_t shared_got, shared_bytes, lent, lent_bytes;
    uint64_t pending_bytes, cache_bytes, partitions, views;
    uint64_t puts_in_flight; /* segments whose PUT is under way */
    bool tier_refuses;       /* the disk takes no batches, or not for long enough again */
    struct floe_hist put_latency;
};
/* What was noted of the own PUTs, as long as it lasts; all zero: they succeed. */
void floe_log_put_trouble(const struct floe_log *log, struct floe_store_trouble *out);
void floe_log_get_stats(const struct floe_log *log, struct floe_log_stats *out);

#endif
