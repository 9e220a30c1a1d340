/* What the files of src/log share. Everything here lives on the core loop and is owned by one `struct
 * floe_log`.
 *
 * The way of a batch (struct floe_entry):
 *
 *   append.c   checked, offsets assigned and patched, put at the end of its partition's ring and of the open
 * segment stage.c    acks=1: written to the tier; any: spilled there while its closed segment waits for the
 * store flush.c    the open segment is closed, then started (build.c): it gets its key, its checkpoints, its
 * bytes put.c      the PUT of those bytes, hedged, repeated and resolved until its outcome is known chain.c
 * floe_chain_commit, in the order of keys: high watermarks, answers, publications memread.c  kept for readers
 * until evicted
 *
 * Offsets of one partition:  log_start <= high_watermark <= started_end <= next_offset
 *   [log_start, high_watermark) committed, [.., started_end) in segments whose PUT was started, [..,
 * next_offset) given out. Checkpoints riding in segment n speak of everything below started_end as it was
 * before n started: if n is committed, so is 0..n-1.
 *
 * A segment's states; each transition is one function:
 *   OPEN -> WAITING (flush.c close_open) -> [LOADING (stage.c: spilled bytes come back)] -> STARTED (build.c)
 *   -> DURABLE (put.c put_durable) -> freed by floe_chain_commit, or by floe_chain_abandon when the session
 * is over.
 */
#ifndef FLOE_LOG_INT_H
#define FLOE_LOG_INT_H

#include <floe/base/list.h>
#include <floe/base/map.h>
#include <floe/log.h>
#include <floe/log/index.h>
#include <floe/segment/rollup.h>
#include <math.h>
#include "read.h"

#define FLOE_LOG_LATENCY_SAMPLES 128u
#define FLOE_LOG_EPOCHS_MAX 1024u          /* epoch history of a partition; the oldest go first */
#define FLOE_LOG_PRODUCERS_MAX 65536u      /* of one log */
#define FLOE_PARTITION_PRODUCERS_MAX 4096u /* of one partition */
#define FLOE_PRODUCER_EXPIRE_US (86400ull * 1000000ull) /* producer.id.expiration.ms: 1 day */
#define FLOE_PRODUCER_AGE_US (600ull * 1000000ull)      /* time of last use is told apart so finely, */
#define FLOE_PRODUCER_AGES 160u                         /* by so many lists: a day and more */
#define FLOE_PRODUCER_WINDOW 5u                         /* batches whose duplicates are recognised (KIP-98) */
#define FLOE_PRODUCER_RING 10u                          /* a full window below the batches still in flight */
#define FLOE_LOG_REFUSED_MAX 1024u
#define FLOE_LOG_REFUSED_US 30000000ull
#define FLOE_LOG_MOVED_US 300000000ull /* metadata.max.age.ms: so long a client may not know who leads */
#define FLOE_LOG_PUT_TIMEOUT_US 15000000ull
#define FLOE_LOG_PROBE_TIMEOUT_US 2000000ull
#define FLOE_LOG_QUIET_TRIES 5u /* of one PUT, before trouble that may pass is told */
#define FLOE_LOG_HEDGE_MIN_US 200000ull
#define FLOE_LOG_TELL_US 30000000ull  /* between two notes of trouble */
#define FLOE_LOG_SILENT_US 3000000ull /* of a PUT without success, before that is told */
#define FLOE_LOG_HEDGE_COST 20u       /* PUTs that must have succeeded for one early second copy */
#define FLOE_LOG_HEDGE_CREDIT_MAX 60u /* three of them at a time */
#define FLOE_LOG_HEDGE_MAX_US 4000000ull
#define FLOE_LOG_REHEDGE_MIN_US 1000000ull
#define FLOE_LOG_REHEDGE_MAX_US 8000000ull
#define FLOE_LOG_RETRY_MIN_US 50000ull
#define FLOE_LOG_RETRY_MAX_US 2000000ull
#define FLOE_LOG_CHECKPOINT_WAIT_US 100000ull /* a checkpoint waits that long for a segment to ride in */
/* Each partition has a checkpoint at least every so many segments of the chain, looked at a quarter as often;
 * not more often than this, so that a fast store is not given checkpoints for the most part. */
#define FLOE_LOG_SPAN_KEYS_MAX 512u
#define FLOE_LOG_SPAN_ROUND_US 5000000ull
#define FLOE_LOG_POOL_MAX 4096u
#define FLOE_LOG_SEGMENT_BATCHES_MAX 262144u /* their entries fit into a footer several times */

/* ---- producers ------------------------------------------------------------------------------------ */

struct floe_producer_batch {
    int64_t base_offset, timestamp; /* maximum timestamp, for duplicates under LogAppendTime */
    int32_t first_sequence, last_sequence;
    int16_t epoch;
};
struct floe_producer {
    struct floe_map_node node; /* partition's map, by id */
    struct floe_list age;      /* one of the log's producer_ages */
    struct floe_list part_lru; /* partition's, least recently used first */
    struct floe_partition *part;
    int64_t id;
    int16_t epoch;
    uint8_t count; /* of `ring`, oldest first */
    uint64_t used_us;
    uint64_t gap_us; /* when the first one came too early since the last that was taken; 0: none did */
    struct floe_producer_batch ring[FLOE_PRODUCER_RING];
};
/* The first batch of a producer that was refused lately (floe_log_refused). */
struct floe_producer_refused {
    struct floe_tp tp;
    int64_t id;
    int32_t sequence;
    int16_t epoch;
    uint64_t until_us; /* 0: free */
};
enum floe_producer_verdict { FLOE_PRODUCER_NEW, FLOE_PRODUCER_DUPLICATE, FLOE_PRODUCER_REFUSED };
/* Kafka's checks (ProducerStateManager, ProducerAppendInfo). DUPLICATE fills `dup`, REFUSED *kafka_error. */
enum floe_producer_verdict floe_producer_check(struct floe_partition *p, const struct floe_batch *b,
                                               struct floe_producer_batch *dup, int16_t *kafka_error);
/* Remembers a batch (base_offset set) that was appended, or that a footer tells of. FLOE_ENOMEM only. */
enum floe_err floe_producer_note(struct floe_partition *p, const struct floe_batch *b) FLOE_MUST_USE;
struct floe_producer *floe_producer_find(struct floe_partition *p, int64_t id);
/* An empty one; makes room first. Null when memory is out. */
struct floe_producer *floe_producer_add(struct floe_partition *p, int64_t id, int16_t epoch,
                                        uint64_t used_us);
void floe_producers_drop(struct floe_partition *p);
void floe_producers_expire(struct floe_log *log);

/* ---- batches -------------------------------------------------------------------------------------- */

enum floe_stage_state { FLOE_STAGE_NONE, FLOE_STAGE_PUTTING, FLOE_STAGE_HELD };
struct floe_entry {
    struct floe_list seg_link;    /* segment's batches, in the order of appending */
    struct floe_list cache_link;  /* log's recent ones, once committed */
    struct floe_list stage_link;  /* log's stage_wait: acks=1 whose commit is likely to come first */
    struct floe_partition *part;  /* null once the partition was dropped */
    struct floe_log_segment *seg; /* null once committed */
    struct floe_bufslice bytes;   /* p null while only the tier has them */
    struct floe_batch head;
    struct floe_log_append *append; /* who waits, if anybody still does */
    struct floe_list dups;          /* duplicates that wait (floe_log_append.link) */
    struct floe_stage_op *op;       /* its put or get in the tier that is under way */
    uint64_t tier_seq;
    size_t cache_charge;
    enum floe_stage_state stage;
    bool durable; /* the tier's entry survives a killed process */
};

/* ---- partitions ----------------------------------------------------------------------------------- */

struct floe_epoch_start {
    int32_t epoch;
    int64_t start;
};
struct floe_partition {
    struct floe_map_node node;
    struct floe_tp tp;
    struct floe_log *log;
    enum floe_partition_state state;
    int32_t epoch;
    char *topic_name; /* set by the first append or footer; may be null */
    int64_t log_start, high_watermark, started_end, next_offset;
    int64_t early_end;    /* of the last batch whose producer does not wait for the commit */
    int64_t wanted_start; /* what checkpoints give as log start, where it is above it */
    uint64_t span_from;   /* key of the own chain from which a rebuild would have to read footers */
    struct floe_epoch_start *epochs;
    uint32_t epoch_count, epoch_cap;
    struct floe_map producers;
    struct floe_list producer_lru;
    struct floe_index *index;
    struct floe_entry *
        *ring; /* by offset: recent committed ones that are still in memory, then the pending */
    uint32_t ring_head, ring_count, ring_cap;
    struct floe_list ckpt_link;       /* log's list of checkpoints due */
    struct floe_list dirty_link;      /* log's list: changed since its last checkpoint */
    struct floe_list index_link;      /* log's list of index blocks due */
    struct floe_list serving_waiters; /* floe_log_waiter */
    struct floe_list data_waiters;
    struct floe_rebuild_part *rebuild;
    struct floe_ahead *ahead;    /* read ahead of its lease (ahead.c), on no list of partitions; else null */
    struct floe_feed *feed;      /* a view's state (follow_int.h), on no list of partitions; else null */
    bool ckpt_built;             /* by this session: it begins at span_from */
    bool handing;                /* handover.c: appends wait */
    struct floe_list hand_link;  /* log's list: handing, and not told yet */
    struct floe_list start_link; /* log's list: wanted_start is above log_start, */
    uint64_t start_key;          /* and a checkpoint at this key or later says so */
    /* Keys of the own chain from here on carry no batch of it so far; before it is served: of the chain that
     * was read last. */
    uint64_t carried;
    uint64_t moved_us; /* since when it is served here; 0: nobody held it before */
};
struct floe_partition *floe_partition_get(struct floe_log *log, const struct floe_tp *tp); /* or null */
struct floe_partition *floe_partition_create(struct floe_log *log, const struct floe_tp *tp, int32_t epoch);
/* On no list of partitions: its owner sets `feed` or `ahead`. */
struct floe_partition *floe_partition_create_aside(struct floe_log *log, const struct floe_tp *tp,
                                                   int32_t epoch);
bool floe_partition_insert(struct floe_partition *p)
    FLOE_MUST_USE; /* on the list after all; else no memory */
/* Answers what waits with `why` and frees. Entries in segments stay there without their partition. */
void floe_partition_destroy(struct floe_partition *p, enum floe_err why);
enum floe_err floe_partition_begin_epoch(struct floe_partition *p, int32_t epoch,
                                         int64_t start) FLOE_MUST_USE;
/* Room for one more push, which then cannot fail. */
enum floe_err floe_partition_reserve(struct floe_partition *p) FLOE_MUST_USE;
void floe_partition_push(struct floe_partition *p, struct floe_entry *e);
struct floe_entry *floe_partition_at(const struct floe_partition *p, uint32_t i);
/* The entry that holds `offset`, or null. */
struct floe_entry *floe_partition_entry(const struct floe_partition *p, int64_t offset, uint32_t *at);
void floe_partition_pop_front(struct floe_partition *p);
enum floe_err floe_partition_set_name(struct floe_partition *p, const char *name) FLOE_MUST_USE;
void floe_partition_wake_data(struct floe_partition *p);
void floe_partition_wake_serving(struct floe_partition *p);

/* ---- segments and the chain ----------------------------------------------------------------------- */

enum floe_log_segment_state {
    FLOE_SEG_OPEN,
    FLOE_SEG_WAITING,
    FLOE_SEG_LOADING,
    FLOE_SEG_STARTED,
    FLOE_SEG_DURABLE
};

/* One sending of a segment's or seal's bytes. */
struct floe_put;
struct floe_put_try {
    struct floe_store_req req;
    struct floe_put *put;
    uint64_t sent_us;
    bool active;
};
/* A create-only PUT of one key of the own chain, driven until its outcome is known (put.c). */
struct floe_put {
    struct floe_log *log;
    uint64_t seq;
    struct floe_uuid nonce;
    const struct floe_bufslice *body; /* borrowed: stays until fini */
    uint32_t body_count;
    bool durable, idle; /* idle: wants a sending, as soon as the session may */
    struct floe_put_try try[2];
    struct floe_store_req probe;       /* reads the key back */
    bool probing, reread;              /* reread: the pause ends with reading back */
    uint32_t failures, hedges, unread; /* unread: reads back that gave no object of this format */
    uint64_t since_us;                 /* when it was started */
    uint64_t sent_us;                  /* its first copy since the last refusal or gap */
    struct floe_timer retry, hedge;
    void (*done)(struct floe_put *put); /* durable: the own bytes lie at the key */
    void *user;
};
void floe_put_init(struct floe_put *put, struct floe_log *log, uint64_t seq);
void floe_put_start(struct floe_put *put); /* body, done, user are set */
void floe_put_kick(struct floe_put *put);  /* the session is alive again */
void floe_put_fini(struct floe_put *put);  /* cancels what is under way */

struct floe_log_publish { /* a checkpoint that rides in the segment */
    struct floe_tp tp;
    int32_t epoch;
    int64_t log_start;
};
struct floe_log_index_ride {
    struct floe_tp tp;
    int32_t epoch;
    uint32_t opaque; /* ordinal in the image */
    struct floe_index_block block;
};
struct floe_seq_range {
    uint64_t from, to;
};
struct floe_log_segment {
    struct floe_list link; /* chain's waiting or started */
    struct floe_log *log;
    enum floe_log_segment_state state;
    struct floe_list batches;
    uint32_t batch_count, loading; /* loading: tier gets that have not answered */
    uint64_t bytes, mem_bytes;     /* of its batches; of those in memory */
    bool pinned;                   /* next to be sent: not spilled (again) */
    struct floe_segment_writer *writer;
    struct floe_segment_image image;
    struct floe_put put;
    struct floe_log_publish *publish;
    uint32_t publish_count, publish_cap;
    struct floe_log_index_ride *rides;
    uint32_t ride_count, ride_cap;
    struct floe_seq_range *tier; /* entries to forget once committed */
    uint32_t tier_count, tier_cap;
};
/* Footers since the last multiple of FLOE_ROLLUP_KEYS, as entries of a roll-up. */
struct floe_roll {
    struct floe_writer w;
    uint64_t first, end; /* keys that are in it: [first, end) */
    uint64_t step_first; /* behind the last multiple of FLOE_ROLLUP_STEP, */
    size_t step_at;      /* and where its entry begins */
};
struct floe_chain {
    struct floe_session_name session;
    struct floe_roll roll;
    bool open;     /* between session_open and session_over */
    bool lost;     /* a seal, a foreign object, or a PUT that cannot be sent: nothing counts any more */
    bool stopping; /* session_end: no appends */
    bool put_returned, linger_over, ckpt_over;
    bool hand_over; /* what is open, or opened next, goes at once: a partition is handed over, or has come */
    uint64_t next_seq, committed;
    uint64_t round_seq, round_us;      /* key and time from which spans are looked at again */
    uint64_t commit_us;                /* when the last segment was committed */
    struct floe_list commit_waiters;   /* floe_log_waiter: `offset` is a number of keys */
    struct floe_log_segment *open_seg; /* may be null: empty */
    struct floe_list waiting, started;
    uint32_t puts_n; /* started and not yet durable: PUTs in flight */
    struct floe_timer linger, bucket, ckpt;
    double tokens;
    uint64_t tokens_at_us;
    uint32_t latency_us[FLOE_LOG_LATENCY_SAMPLES];
    uint32_t latency_n, latency_at;
    uint32_t hedge_credit;
    struct floe_store_trouble trouble; /* of the PUTs, and no success since */
    enum floe_err told;                /* the reason that was noted last, */
    uint64_t told_us;                  /* when */
    struct floe_error lost_why;        /* told by the next turn */
    bool lost_told, lost_fatal;
};
/* chain.c */
void floe_chain_open(struct floe_log *log, const struct floe_session_name *s);
void floe_chain_commit(struct floe_log *log);
/* Calls those whose key is committed, or all. */
void floe_chain_wake(struct floe_log *log, bool all);
void floe_chain_publish(struct floe_log *log, const struct floe_log_segment *seg);
void floe_chain_lost(struct floe_log *log, bool fatal, const struct floe_error *why);
/* Frees every segment; their batches have been answered with their partitions. */
void floe_chain_abandon(struct floe_log *log);
bool floe_chain_may_send(struct floe_log *log); /* open, not lost, alive */
void floe_segment_free(struct floe_log_segment *seg);
/* flush.c */
struct floe_log_segment *floe_flush_open_segment(struct floe_log *log); /* null: no memory */
void floe_flush_appended(struct floe_log *log);
void floe_flush_turn(struct floe_log *log);
bool floe_flush_take_token(struct floe_log *log, bool force);
void floe_flush_init(struct floe_log *log);
void floe_flush_fini(struct floe_log *log);
/* roll.c */
void floe_roll_init(struct floe_roll *r);
void floe_roll_fini(struct floe_roll *r);
/* What rides in segment `seq`; false: nothing. */
bool floe_roll_block(const struct floe_roll *r, uint64_t seq, struct floe_writer *out);
/* Segment `seq` was built; `tail` is its footer and trailer. Entries take `max` bytes at most. */
void floe_roll_note(struct floe_roll *r, uint64_t seq, struct floe_slice tail, size_t max);
/* build.c: gives the segment its key and bytes. On failure the session is lost. */
bool floe_build_start(struct floe_log_segment *seg);
/* The tier's entry `seq` goes when the segment is committed. FLOE_ENOMEM only. */
enum floe_err floe_build_note_tier(struct floe_log_segment *seg, uint64_t seq) FLOE_MUST_USE;
/* end.c */
void floe_end_turn(struct floe_log *log);
void floe_end_over(struct floe_log *log);
/* handover.c */
void floe_handover_turn(struct floe_log *log);
/* Log starts that the lease has come to name are told, also when whoever wanted them has given up: readers
 * elsewhere are told of them. */
void floe_starts_look(struct floe_log *log);
/* stage.c */
#define FLOE_STAGE_BEHIND (1u << 20)  /* bytes on their way into the tier: with more, it is behind */
#define FLOE_STAGE_STALL_US 300000ull /* without a commit for so long the store does not keep up */
/* An acks=1 entry goes into the tier before its answer; but while segments queue for the store and the store
 * is what commits them steadily, the commit answers, which promises more and costs less. */
void floe_stage_acks1(struct floe_entry *e);
void floe_stage_init(struct floe_log *log);
/* Where the tier refuses, the entry just stays in memory (and an acks=1 waits for its commit). */
void floe_stage_put(struct floe_entry *e, bool durable);
void floe_stage_spill(struct floe_log *log);
bool floe_stage_load(struct floe_log_segment *seg); /* true: everything is in memory already */
/* What is under way in the tier answers to nobody. */
void floe_stage_detach(struct floe_entry *e);
/* The entry goes without a commit: what was spilled is dropped, what is durable stays for re-append. */
void floe_stage_forget(struct floe_log *log, struct floe_entry *e);
#define FLOE_STAGE_VERSION 1u
#define FLOE_STAGE_HEAD_BYTES 64u
struct floe_stage_head { /* docs/formats/tier.md */
    struct floe_tp tp;
    int32_t epoch;
    struct floe_session_name session;
    int64_t offset, time_ms;
    int8_t acks; /* 1: durable, acknowledged by the tier; -1: spilled */
};
void floe_stage_head_encode(uint8_t out[FLOE_STAGE_HEAD_BYTES], const struct floe_stage_head *h);
enum floe_err floe_stage_head_decode(struct floe_slice in, struct floe_stage_head *out,
                                     struct floe_error *err) FLOE_MUST_USE;
void floe_stage_fini(struct floe_log *log);
/* checkpoint.c */
enum floe_err floe_checkpoint_encode(const struct floe_partition *p, const struct floe_session_name *session,
                                     uint64_t seq, struct floe_writer *w) FLOE_MUST_USE;
/* Into a fresh partition. `key` names the segment in errors. FLOE_ECORRUPT, FLOE_EUNSUPPORTED, FLOE_ENOMEM.
 */
enum floe_err floe_checkpoint_decode(struct floe_partition *p, struct floe_slice in,
                                     const struct floe_checkpoint_ref *ref, const char *key,
                                     struct floe_error *err) FLOE_MUST_USE;
void floe_checkpoint_want(struct floe_partition *p);
/* Before a segment takes its checkpoints: those of spans that have grown long. */
void floe_checkpoint_round(struct floe_log *log);
void floe_checkpoint_dirty(struct floe_partition *p);
/* rebuild.c */
void floe_rebuild_cancel(struct floe_partition *p); /* the partition is dropped while rebuilding */
void floe_rebuild_fini(struct floe_log *log);
/* ahead.c */
void floe_ahead_init(struct floe_log *log);
void floe_ahead_fini(struct floe_log *log);
void floe_ahead_drop(struct floe_log *log, const struct floe_tp *tp);
void floe_ahead_drop_all(struct floe_log *log);
struct floe_partition *floe_ahead_building(struct floe_log *log, const struct floe_tp *tp); /* or null */
/* A rebuild's end. */
void floe_ahead_rebuilt(struct floe_ahead *a);
void floe_ahead_failed(struct floe_ahead *a, const struct floe_error *err);
/* The lease names this session: true when what was read ahead is, or will be, the partition's state. */
bool floe_ahead_adopt(struct floe_log *log, const struct floe_lease_entry *e) FLOE_MUST_USE;
/* follow.c: views */
enum floe_err floe_follow_init(struct floe_log *log) FLOE_MUST_USE;
void floe_follow_fini(struct floe_log *log);
uint32_t floe_follow_count(const struct floe_log *log);
/* What a view serves from, or null; what is being built for it, or null. */
struct floe_partition *floe_follow_get(struct floe_log *log, const struct floe_tp *tp);
struct floe_partition *floe_follow_building(struct floe_log *log, const struct floe_tp *tp);
/* The log serves the partition itself from now on: an old view would come back behind what it tells. */
void floe_follow_drop(struct floe_log *log, const struct floe_tp *tp);
/* A rebuild's end. */
void floe_follow_rebuilt(struct floe_feed *feed);
void floe_follow_failed(struct floe_feed *feed, const struct floe_error *err);
/* memread.c */
void floe_memread_keep(struct floe_log *log, struct floe_list *committed); /* entries by seg_link */
void floe_memread_trim(struct floe_log *log);
void floe_memread_forget(struct floe_log *log, struct floe_entry *e);
/* reappend.c */
/* Entries below are done, whatever is found of them: new ones start no lower. */
uint64_t floe_reappend_done_to(struct floe_tier *tier);
void floe_reappend_start(struct floe_log *log);
void floe_reappend_stop(struct floe_log *log);
void floe_reappend_fini(struct floe_log *log);

/* pace.c */
struct floe_pace {
    uint64_t mem_out,
        tier_out; /* bytes that have left memory, and those of entries that the tier may forget */
    uint64_t mem_seen, tier_seen; /* of these, when last sampled */
    uint64_t sampled_us;
    double mem_rate, tier_rate; /* bytes a second, lately */
    uint64_t next_us;           /* when the appends so far have had their time */
    uint64_t short_us;          /* when it was last needed */
    bool told;
};
/* Would n more bytes be too many? */
bool floe_pace_full(const struct floe_log *log, size_t n);
/* Sets a->paced_us of an append that was taken. */
void floe_pace_append(struct floe_log *log, struct floe_log_append *a);
void floe_pace_turn(struct floe_log *log); /* whoever waits for room, in order, as far as there is some */

/* ---- the log -------------------------------------------------------------------------------------- */

struct floe_log_end {
    bool active, checkpointed, sealing, sealed;
    void (*done)(void *user, const struct floe_error *err, uint64_t end);
    void *user;
    struct floe_put put;
    struct floe_bufslice body;
};
struct floe_log {
    struct floe_log_config cfg;
    struct floe_map partitions;
    uint32_t partition_count;
    struct floe_chain chain;
    struct floe_log_end end;
    struct floe_log_reader *reader;
    struct floe_follow *follow;
    struct floe_share *share;
    struct floe_timer turn;     /* everything that is put off to the end of this turn of the loop */
    struct floe_list done;      /* floe_log_append to be answered */
    struct floe_list woken;     /* floe_log_waiter to be called */
    struct floe_list sought;    /* floe_log_seek to be answered */
    struct floe_list ckpt_due;  /* floe_partition.ckpt_link */
    struct floe_list dirty;     /* floe_partition.dirty_link */
    struct floe_list index_due; /* floe_partition.index_link */
    struct floe_list handing;   /* floe_partition.hand_link */
    struct floe_list starts;    /* floe_partition.start_link */
    struct floe_list recent;    /* floe_entry.cache_link, oldest first */
    uint64_t recent_bytes;
    struct floe_list producer_ages[FLOE_PRODUCER_AGES]; /* a ring, by time of last use */
    uint32_t producer_count;
    struct floe_producer_refused refused[FLOE_LOG_REFUSED_MAX]; /* a ring */
    uint32_t refused_at;
    uint64_t expire_at_us;
    uint64_t pending_mem; /* bytes of batches that are not committed and in memory, with their structs */
    struct floe_list stage_ops;    /* puts and gets in the tier under way */
    struct floe_list stage_wait;   /* acks=1 entries that are put only if the store stalls, in order */
    struct floe_timer stage_stall; /* armed while there are any */
    uint64_t tier_from, tier_next; /* where what a former session left may start; next sequence number */
    uint64_t spilling;             /* bytes on their way to the tier */
    uint64_t staging;              /* bytes of puts in the tier that are under way */
    uint64_t loading;              /* bytes of gets from the tier that are under way */
    struct floe_pace pace;
    struct floe_list room_waiters; /* floe_log_waiter, oldest first */
    bool tier_refuses; /* the last put failed: no spill until one succeeds or a segment is committed */
    bool tier_noted;   /* and that was told */
    uint64_t tier_failed_us;
    struct floe_list rebuilds, rechecks, floor_asks;
    struct floe_map aheads;     /* floe_ahead.node */
    struct floe_list ahead_due; /* floe_ahead.due */
    struct floe_timer ahead_start, ahead_end;
    uint32_t ahead_count;
    bool detached; /* being destroyed: drivers are not called any more */
    struct floe_reappend *reappend;
    struct floe_list reappends; /* stopped ones that wait for call-backs */
    struct floe_list entry_pool;
    uint32_t entry_pool_n;
    struct floe_log_stats stats;
};
void floe_log_kick(struct floe_log *log); /* runs the turn soon */
/* Queues the answer; it is given in the next turn. Offsets and times are set by the caller. */
void floe_log_answer(struct floe_log *log, struct floe_log_append *a, enum floe_err code, const char *msg);
/* Answers the append that waits for a batch and its duplicates. */
void floe_entry_answer(struct floe_log *log, struct floe_entry *e, enum floe_err code, bool maybe_applied);
void floe_log_note(struct floe_log *log, const struct floe_error *err);
struct floe_entry *floe_entry_new(struct floe_log *log);
void floe_entry_free(struct floe_log *log, struct floe_entry *e);
/* Drops the bytes of a pending entry from memory and from the pending count. */
void floe_entry_drop_bytes(struct floe_log *log, struct floe_entry *e);

#endif
