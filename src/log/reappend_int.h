/* Re-append of what acks=1 left in the tier: reappend.c (sessions, one after the other) and reappend_send.c
 * (partitions, each in order).
 *
 * Rules (design.md "Commit"): only after the session that wrote the batch is sealed; only where the batch's
 * offset is not below the end of its leader epoch, so that it is not in the store; in the order of the tier;
 * a batch without a producer gets one whose id is in the tier before the first send, with sequences that
 * depend on nothing but what lies in the tier, so that a second crash repeats nothing; one with a producer
 * goes through the ordinary check. A session's entries are dropped when all are done, and "done up to" is
 * durable before that.
 */
#ifndef FLOE_LOG_REAPPEND_INT_H
#define FLOE_LOG_REAPPEND_INT_H

#include "log_int.h"

#define FLOE_REAPPEND_WINDOW 4096u         /* tier entries looked at at once */
#define FLOE_REAPPEND_PARTITION_WINDOW 64u /* of one partition that this log serves; 1 elsewhere */
#define FLOE_REAPPEND_BYTES_MAX (8u << 20) /* read back and not yet committed */
#define FLOE_REAPPEND_AGE_MS 3600000       /* older ones are set aside */
#define FLOE_REAPPEND_PAUSE_US 250000ull
#define FLOE_REAPPEND_ASIDES 8u         /* set aside one after the other: each is a file, and an fsync, */
#define FLOE_REAPPEND_ASIDES_US 1000ull /* before the loop goes on with other work for so long */

enum floe_reappend_state {
    FLOE_ITEM_NEW,     /* not looked at */
    FLOE_ITEM_WANTED,  /* has its sequence; bytes are to be read */
    FLOE_ITEM_LOADING, /* tier get under way */
    FLOE_ITEM_READY,
    FLOE_ITEM_SENT,
    FLOE_ITEM_DONE,
};
struct floe_reappend_item {
    struct floe_list link; /* part's items */
    struct floe_reappend_part *part;
    struct floe_stage_head head;
    uint64_t seq;
    uint32_t n, head_n;
    int32_t records, sequence;
    bool own_producer, remote; /* remote: sent to another broker */
    enum floe_reappend_state state;
    const char *aside; /* why it is set aside instead of sent; null: it is sent */
    struct floe_tier_op get;
    struct floe_buf *buf;
    struct floe_bufslice bytes;
    struct floe_log_append append;
};
struct floe_reappend_part {
    struct floe_map_node node;
    struct floe_list link;
    struct floe_reappend *r;
    struct floe_tp tp;
    struct floe_list items;
    int32_t next_sequence, end_epoch, asked_epoch;
    int64_t end;
    bool end_known, asking;
};
struct floe_reappend {
    struct floe_log *log;
    struct floe_session_name session; /* whose entries are in hand */
    struct floe_map map;
    struct floe_list parts;
    uint64_t from, to; /* sequence numbers still to be looked at */
    uint64_t next;     /* first one behind the window in hand */
    uint64_t seen;     /* first one behind what its scan gave */
    uint64_t done_to;  /* as it is in the tier */
    uint32_t items;    /* of the window, not done */
    uint32_t open;     /* call-backs that will come: the struct stays until then */
    uint64_t bytes;
    uint32_t asides_left; /* of this turn */
    int64_t producer_id;
    int16_t producer_epoch;
    bool session_known, producer_ready, asking_producer, other_session;
    bool scanning, storing, stopped, finished;
    bool rescan, told;     /* the scan gave nothing but an error: once more; that was noted */
    struct floe_list link; /* log's reappends, once stopped with call-backs open */
    struct floe_timer timer;
    uint64_t sent, present, aside, dropped;
};
/* reappend_send.c */
void floe_reappend_pump(struct floe_reappend *r);
struct floe_reappend_part *floe_reappend_part_of(struct floe_reappend *r, const struct floe_tp *tp);
void floe_reappend_free_parts(struct floe_reappend *r);
/* reappend.c */
void floe_reappend_pause(struct floe_reappend *r); /* looks again after a while */
void floe_reappend_soon(struct floe_reappend *r);  /* in the loop's next turn */
/* A call-back has come: false when the struct was only waiting for it (and is gone now). */
bool floe_reappend_came(struct floe_reappend *r);
void floe_reappend_window_done(struct floe_reappend *r);

#endif
