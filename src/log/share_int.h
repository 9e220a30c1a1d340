/* Shared reads: what share.c (requests and runs) and share_peer.c (whom to ask, and asking) share. */
#ifndef FLOE_LOG_SHARE_INT_H
#define FLOE_LOG_SHARE_INT_H

#include "log_int.h"
#include "share.h"

#define SHARE_CELL (256u << 10)    /* runs are aligned to it where brokers share */
#define SHARE_BYTES_MAX (4u << 20) /* longer requests go to the store as they are */
#define SHARE_RUN_MAX (SHARE_BYTES_MAX + 2 * SHARE_CELL)
#define SHARE_LANES 4u              /* connections to one peer */
#define SHARE_ASK_US 300000u        /* a peer's deadline: this, and 10 MB/s */
#define SHARE_AVOID_MIN_US 1000000u /* a peer that failed is not asked for so long, doubled up to */
#define SHARE_AVOID_MAX_US 30000000u
#define SHARE_FRESH_US 200000u /* how long the list of neighbours is used */
#define SHARE_CALL_BYTES 96u

struct share_run {
    struct floe_list link, lru; /* object's, by `from`; share's, least recently used first, once ready */
    struct floe_share *s;
    struct share_object *object;
    uint64_t from, to;
    bool tail;           /* the last `to - from` bytes: where they lie is known when they are here */
    bool loading, asked; /* asked: of a peer */
    struct floe_buf *buf;
    struct floe_store_req req;
    struct floe_peer_call call;
    struct floe_bufslice body;
    uint8_t bytes[SHARE_CALL_BYTES];
    int32_t peer;
};
struct share_object {
    struct floe_map_node node;
    struct floe_session_name session;
    uint64_t seq, size; /* size 0: not known */
    bool empty;         /* unless it is known that there is nothing in it */
    struct floe_list runs, ops;
};
/* One request: of the own reader (r), or of another broker (lend). */
struct share_op {
    struct floe_list link; /* object's ops, or share's finished or direct ones */
    struct floe_share *s;
    struct share_object *object; /* null: direct, or finished */
    struct floe_store_req *r;
    struct floe_log_lend *lend;
    struct floe_store_req inner; /* direct */
    bool direct;
};
struct share_avoid {
    int32_t node;
    uint64_t until_us, wait_us;
};
struct floe_share {
    struct floe_store base; /* first */
    struct floe_log *log;
    struct floe_store *inner;
    struct floe_map objects;
    struct floe_list lru, finished, direct;
    struct floe_timer turn;
    uint64_t bytes;   /* of ready runs */
    uint64_t lending; /* bytes that others have asked for and not got yet */
    uint32_t lane;
    struct floe_log_neighbour near[FLOE_LOG_NEIGHBOURS_MAX];
    uint32_t near_n;
    bool near_read;
    uint64_t near_us;
    struct share_avoid avoid[FLOE_LOG_NEIGHBOURS_MAX];
};

uint64_t share_hash(const struct floe_session_name *s, uint64_t seq);
/* share_peer.c. Is there another broker in the rack? */
bool share_active(struct floe_share *s);
/* Asks the object's owner for the run; false when that is this broker, or is not to be asked now. The end is
 * share_run_came, or share_run_fetch. */
bool share_ask(struct share_run *run);
void share_ask_cancel(struct share_run *run);
/* What a PeerReadResponse brings of [from, from + want) of an object, or (tail) of its last `want` bytes;
 * false when it is not exactly that, up to the object's end. */
bool share_answer(struct floe_slice response, bool tail, uint64_t from, uint64_t want,
                  struct floe_slice *data, uint64_t *size);
/* share.c */
void share_run_fetch(struct share_run *run);                                     /* from the store */
void share_run_came(struct share_run *run, struct floe_buf *buf, uint64_t size); /* takes the reference */

#endif
