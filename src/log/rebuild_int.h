/* Rebuild: what rebuild.c (partitions) and rebuild_fetch.c (footers and checkpoints from the store) share. */
#ifndef FLOE_LOG_REBUILD_INT_H
#define FLOE_LOG_REBUILD_INT_H

#include "log_int.h"

/* Footers in flight, of one group. Fewer (half of them, for each that was not answered in time) while the
 * store does not keep up, and no more than the second while the own session's renewals are late: the lease is
 * worth more than an early end of the rebuild, which cannot serve without it. */
#define FLOE_REBUILD_GETS_MAX 32u
#define FLOE_REBUILD_GETS_PRESSED 2u
/* Each GET has a few attempts within a window of time; one whose window ends is asked for anew, so that an
 * outage is not outlived by the GETs that it swallowed. */
#define FLOE_REBUILD_ATTEMPTS 4u
#define FLOE_REBUILD_WINDOWS 8u
#define FLOE_REBUILD_TRY_US 250000u /* an attempt's first limit, and 10 MB/s */
/* A takeover comes shard by shard: what comes while a group is at work is one next group, which starts when
 * no other is at work, after so long in any case (that one may wait for a store that does not answer). */
#define FLOE_REBUILD_GATHER_US 200000u
#define FLOE_REBUILD_ROLLED_MAX (16u << 20) /* bytes of roll-ups in memory, for a group; and one a chain */
#define FLOE_REBUILD_RANGE_MAX (8u << 20)   /* checkpoints that lie together are read together */
#define FLOE_REBUILD_RANGE_GAP (64u << 10)

/* A block of a footer that came before its turn. */
struct floe_rebuild_delta {
    struct floe_list link;
    struct floe_segment_block block;
    uint64_t seq;
    uint32_t n;
    struct floe_segment_batch batches[];
};
struct floe_rebuild_span {
    struct floe_span span;
    struct floe_rebuild_source *source; /* null: nothing to read */
    struct floe_list deltas;
};
struct floe_rebuild_part {
    struct floe_list link; /* group's parts, or log's rechecks */
    struct floe_rebuild *group;
    struct floe_log *log;
    struct floe_partition *p; /* null: dropped meanwhile */
    struct floe_tp tp;
    int32_t epoch;
    bool ckpt_wait, ckpt_found;
    struct floe_checkpoint_ref ckpt;
    uint64_t ready_us;        /* when all was read */
    uint32_t cur, span_count; /* spans[cur] is the one to be applied now */
    struct floe_rebuild_span spans[];
};
/* What the answer brings: a key's footer; a footer, and maybe a roll-up of the keys before; a roll-up. */
enum floe_rebuild_get_kind { FLOE_REBUILD_KEY, FLOE_REBUILD_KEY_AND_ROLLUP, FLOE_REBUILD_ROLLUP };
struct floe_rebuild_get {
    struct floe_list link; /* source's gets */
    struct floe_store_req req;
    struct floe_rebuild_source *source;
    enum floe_rebuild_get_kind kind;
    uint64_t seq, end; /* its keys. A FLOE_REBUILD_KEY that was sent has one */
    bool sent, active, ready;
    struct floe_rebuild_place {
        uint64_t position;
        uint32_t length, crc;
    } place; /* of the roll-up, in segment `end` */
    struct floe_rollup rolled;
    uint64_t counted; /* in the group's rolled_bytes */
    bool below; /* nothing of a segment lies there, and the chain's floor is above: it held nothing wanted */
    uint32_t windows; /* that ended without an answer */
    struct floe_error err;
    struct floe_rebuild_ask *ask;
};
/* The question where a chain's floor is, of a key without a segment. It outlives its GET. */
struct floe_rebuild_ask {
    struct floe_list link; /* log's floor_asks */
    struct floe_rebuild_get *get;
};
struct floe_key_range {
    uint64_t from, to;
};
/* One session's chain: its footers are read ahead and delivered in the order of keys. */
struct floe_rebuild_source {
    struct floe_list link;
    struct floe_rebuild *group;
    struct floe_session_name session;
    struct floe_key_range *ranges;
    uint32_t range_count, range_cap;
    uint32_t fetch_range, deliver_range;
    uint64_t fetch_at, deliver_at; /* next keys */
    uint64_t floor;                /* of the chain, as far as it was asked */
    struct floe_list gets;         /* [deliver_at, fetch_at), in the order of keys */
    bool finished;
};
struct floe_rebuild_ckpt {
    struct floe_rebuild_part *part; /* null: dropped meanwhile */
    uint64_t position;
    uint32_t length, crc;
};
/* Checkpoints that lie together in one segment. */
struct floe_rebuild_range {
    struct floe_list link;
    struct floe_rebuild *group;
    struct floe_store_req req;
    uint32_t n, windows;
    struct floe_rebuild_ckpt items[];
};
/* Of what this session adopts, of views (follow.c), of what is read ahead (ahead.c). */
enum floe_rebuild_kind { FLOE_REBUILD_ADOPT, FLOE_REBUILD_VIEWS, FLOE_REBUILD_AHEAD };
struct floe_rebuild {
    struct floe_list link; /* log's rebuilds */
    struct floe_log *log;
    struct floe_store *store;
    struct floe_list parts, sources, ranges;
    uint32_t gets, gets_max; /* footers and roll-ups in flight; how many may be */
    uint64_t rolled_bytes;   /* of roll-ups that are being read, or not delivered yet */
    bool started;
    uint64_t made_us;
    enum floe_rebuild_kind kind;
    struct floe_timer start, end;
};
/* rebuild_fetch.c */
struct floe_rebuild_source *floe_rebuild_source_of(struct floe_rebuild *g, const struct floe_session_name *s);
enum floe_err floe_rebuild_want(struct floe_rebuild_source *src, uint64_t from, uint64_t to) FLOE_MUST_USE;
/* After the last want, before the first fetch. */
void floe_rebuild_merge(struct floe_rebuild *g);
void floe_rebuild_fetch(struct floe_rebuild *g);
enum floe_err floe_rebuild_get_range(struct floe_rebuild_source *src, uint64_t seq,
                                     const struct floe_rebuild_ckpt *items, uint32_t n) FLOE_MUST_USE;
void floe_rebuild_fetch_fini(struct floe_rebuild *g);
/* The footer in the last bytes of an object, which `r` brought: true with `footer` set; false with `need` set
 * (so many last bytes are wanted instead), or `err`. A seal passes. */
bool floe_rebuild_open(const struct floe_log *log, const struct floe_store_req *r,
                       const struct floe_session_name *session, uint64_t seq,
                       struct floe_segment_footer *footer, uint64_t *need, struct floe_error *err);
/* Once more after a time limit; true when it was sent. */
bool floe_rebuild_anew(struct floe_rebuild *g, struct floe_store_req *r, uint32_t *windows);
void floe_rebuild_limit(struct floe_store_req *r);
struct floe_rebuild_get *floe_rebuild_get_new(struct floe_rebuild_source *src,
                                              enum floe_rebuild_get_kind kind, uint64_t seq, uint64_t end);
void floe_rebuild_get_free(struct floe_rebuild_get *get);
/* The GET is over: what lies ready at the front is delivered, and more is asked for. */
void floe_rebuild_got(struct floe_rebuild_get *get);
/* deliver_at was. */
void floe_rebuild_delivered(struct floe_rebuild_source *src);
/* rebuild_roll.c */
/* Up to where what is asked for at `seq` goes: to the next key that may bring a roll-up, or one key. */
uint64_t floe_rebuild_roll_to(const struct floe_key_range *r, uint64_t seq);
/* A FLOE_REBUILD_KEY_AND_ROLLUP has its answer: afterwards it is ready, or its keys are to be read one by
 * one. */
void floe_rebuild_roll_came(struct floe_rebuild_get *get, const struct floe_segment_footer *footer);
bool floe_rebuild_roll_room(const struct floe_rebuild_get *get);
void floe_rebuild_roll_send(struct floe_rebuild_get *get);
/* False: an entry does not fit, and it and those after it are to be read one by one. */
bool floe_rebuild_roll_deliver(struct floe_rebuild_get *get);
bool floe_rebuild_passed(const struct floe_rebuild_source *src,
                         uint64_t end); /* keys below end are delivered */
/* rebuild.c: what came. `footer` null: `err` tells why, or that the key holds nothing wanted (FLOE_OK). */
struct floe_rebuild_tail {
    const struct floe_segment_footer *footer;
    struct floe_slice bytes; /* the object's last ones, from `at` on: short checkpoints lie in them */
    uint64_t at;
};
void floe_rebuild_deliver(struct floe_rebuild_source *src, uint64_t seq, const struct floe_rebuild_tail *tail,
                          const struct floe_error *err);
void floe_rebuild_checkpoint(struct floe_rebuild_part *rp, struct floe_slice bytes, const char *key);
void floe_rebuild_fail(struct floe_rebuild_part *rp, const struct floe_error *err);
void floe_rebuild_part_free(struct floe_rebuild_part *rp);
/* rebuild_serve.c: all is read, since rp->ready_us; `rp` is in no group. */
void floe_rebuild_serve(struct floe_rebuild_part *rp);
void floe_rebuild_advance_all(struct floe_rebuild *g);
void floe_rebuild_maybe_done(struct floe_rebuild *g);
/* A group of views or of what is read ahead, which starts in the next turn (null: no memory), and its
 * members: `e` lists closed spans only. False when memory is out; then `p` stays the caller's. */
struct floe_rebuild *floe_rebuild_group(struct floe_log *log, struct floe_store *store,
                                        enum floe_rebuild_kind kind);
bool floe_rebuild_add(struct floe_rebuild *g, const struct floe_lease_entry *e,
                      struct floe_partition *p) FLOE_MUST_USE;
/* `p` holds all that the lease lists since `ready_us`: the lease is read again, unless it was after that,
 * and it is served. False: memory is out, and it is gone. */
bool floe_rebuild_done(struct floe_log *log, const struct floe_lease_entry *e, struct floe_partition *p,
                       uint64_t ready_us) FLOE_MUST_USE;
/* The next block of a partition, by the footer of `seq`. FLOE_ECORRUPT, FLOE_ENOMEM. */
enum floe_err floe_rebuild_apply(struct floe_partition *p, const struct floe_segment_block *b,
                                 const struct floe_session_name *session, uint64_t seq) FLOE_MUST_USE;

#endif
