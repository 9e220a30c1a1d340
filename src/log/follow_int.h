/* Views: what follow.c (views, their building and their end) and follow_chain.c (chains that are followed)
 * share.
 *
 *   view        a partition that this broker reads for others: `cur` is served, `next` is being built
 *   feed        one state of a view: a partition's index, filled by a rebuild up to key `from` of the open
 * span's chain, then by the chain's follower
 *   follow      one chain: footers are read once, in the order of keys, and given to its feeds
 */
#ifndef FLOE_LOG_FOLLOW_INT_H
#define FLOE_LOG_FOLLOW_INT_H

#include "log_int.h"

#define FOLLOW_VIEWS_MAX 4096u
#define FOLLOW_BYTES_MIN (2u << 20)     /* of all views, whatever the cache has */
#define FOLLOW_INDEX_BYTES (256u << 10) /* of a view's index, past which it is built anew */
#define FOLLOW_IDLE_US 30000000u        /* a view that nobody asked for goes */
#define FOLLOW_USED_US 5000000u         /* chains are followed for views that were asked for so lately */
#define FOLLOW_TICK_US 500000u
#define FOLLOW_CATCH_US                                                                                      \
    2000000u                   /* a view is not served before its chain was caught up with, or for so long */
#define FOLLOW_CHECK_US 20000u /* leases that changed are looked at together */
#define FOLLOW_RETRY_MIN_US 200000u
#define FOLLOW_RETRY_MAX_US 5000000u
#define FOLLOW_GETS_MAX 8u          /* footers of one chain in flight */
#define FOLLOW_DELTAS_MAX 65536u    /* blocks that wait for a view's rebuild */
#define FOLLOW_POLL_MIN_US 100000u  /* where the holder tells nothing: pause after a key that was absent, */
#define FOLLOW_POLL_MAX_US 1000000u /* doubled up to this */
#define FOLLOW_TOLD_POLL_US                                                                                  \
    10000000u /* where it tells: a key that it did not tell of is looked for so rarely */
#define FOLLOW_CHAIN_LINGER_US 1000000u
#define FOLLOW_TELL_MS 500      /* how long the holder may wait before it tells that there is nothing new */
#define FOLLOW_TOLD_US 1000000u /* what it told is news for so long */
#define FOLLOW_TELL_TIMEOUT_US 1500000u
#define FOLLOW_TELL_RETRY_MIN_US 200000u /* after a call that failed, doubled up to */
#define FOLLOW_TELL_RETRY_MAX_US 5000000u
#define FOLLOW_TRY_US 250000u
#define FOLLOW_ATTEMPTS 4u
#define FOLLOW_CALL_BYTES 64u

struct follow_chain;
struct floe_view {
    struct floe_map_node node;
    struct floe_tp tp;
    struct floe_log *log;
    struct floe_list link; /* all, least recently used first */
    struct floe_list due;  /* to be built */
    struct floe_feed *cur, *next;
    uint64_t used_us, retry_us;
    uint32_t fails;
    size_t bytes; /* what it was last counted for */
};
struct follow_delta {
    struct floe_list link;
    struct floe_segment_block block;
    uint64_t seq;
};
struct floe_feed {
    struct floe_list link; /* chain's feeds */
    struct floe_view *view;
    struct floe_partition *p;
    struct follow_chain *chain; /* null: it gets nothing more */
    struct floe_session_name session;
    int32_t epoch;
    struct floe_checkpoint_ref ckpt; /* that its rebuild read */
    uint64_t first;                  /* of the open span: blocks at lower keys are not its */
    uint64_t from;                   /* what lies at lower keys comes by the rebuild */
    bool ready;                      /* rebuilt */
    struct floe_list deltas;         /* blocks that came before it was */
    uint32_t delta_n;
};
struct follow_get {
    struct floe_store_req req;
    struct follow_chain *chain;
    uint64_t seq;
    bool active;
};
struct follow_chain {
    struct floe_list link; /* follow's chains */
    struct floe_log *log;
    struct floe_session_name session;
    struct floe_list feeds;
    uint64_t proven; /* keys below are committed, and were given to the feeds */
    uint64_t known;  /* keys below are committed, by the session's record or a lease */
    uint64_t hinted; /* keys below are committed, says the holder: worth a GET, proves nothing */
    bool ended;      /* a seal lies at `proven` */
    bool caught_up; /* since it is followed (again) all that is told of was read, or nothing more was there */
    struct follow_get *window[FOLLOW_GETS_MAX]; /* by key modulo */
    uint64_t fetch_at;
    uint64_t wait_us, next_us; /* pause after an absent key or a failure; no GET for a key that nobody told of
                                  before next_us */
    uint64_t ok_us;            /* when a key was last looked for with success */
    uint64_t behind_us;        /* since when keys are told of that are not read; 0: none are */
    uint64_t told_until_us;    /* what the holder told holds until then */
    uint32_t fails;            /* since a key was passed */
    uint64_t from_us, ran_us;  /* followed without a pause since; last run */
    struct floe_timer timer;
    /* follow_hint.c */
    struct floe_peer_call call;
    struct floe_bufslice body;
    uint8_t bytes[FOLLOW_CALL_BYTES];
    bool calling;
    uint64_t call_us, call_wait_us; /* no call before; pause after one that failed */
};
struct floe_follow {
    struct floe_log *log;
    struct floe_map views;
    struct floe_list all, due, chains;
    struct floe_timer start, check, tick;
    uint32_t count;
    size_t bytes; /* of all views, charged to the cache budget */
};

/* follow_chain.c */
/* The follower of that chain, made where there is none: from `base`, below which everything is committed.
 * Null when memory is out. */
struct follow_chain *follow_chain_of(struct floe_log *log, const struct floe_session_name *session,
                                     uint64_t base);
void follow_chain_known(struct follow_chain *c, uint64_t keys);
void follow_chain_run(struct follow_chain *c);
void follow_chain_free(struct follow_chain *c);
bool follow_chain_wanted(const struct follow_chain *c); /* somebody reads a view of it */
bool follow_chain_caught_up(const struct follow_chain *c);
uint64_t follow_chain_lag_us(const struct follow_chain *c);

/* follow_hint.c: asks the holder how far it is, while somebody reads */
void follow_hint(struct follow_chain *c);
void follow_hint_cancel(struct follow_chain *c);

/* follow.c */
/* A block of the chain, at key `seq`, which is committed. */
void follow_take_block(struct follow_chain *c, uint64_t seq, const struct floe_segment_block *b);
/* All feeds of the chain have missed something that cannot be read any more: they are built anew. */
void follow_missed(struct follow_chain *c, const struct floe_error *why);

#endif
