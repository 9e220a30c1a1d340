/* The tier: the local disk's write buffer. Losing it never loses an acks=all record.
 *
 * It holds *entries*: produced batches that wait for their segment, in the order they were given, under a
 * dense 64-bit sequence number that the caller chooses (increasing). Durable entries (acks=1) go in with the
 * write-ahead log and survive a killed process; the others only spill memory.
 *
 * Rules
 *  1. Submit and call-backs on the loop; one writer thread gathers everything queued into one write.
 *  2. Call-backs of puts run in the order of submission.
 *  3. The caller keeps the bytes of a put until its call-back.
 *  4. A tier is bound to one cluster id and to one data directory, whose lock file it holds.
 *  5. A corrupt tier is renamed aside ("tier.corrupt-<time>"), reported by the error message, and a fresh one
 * is made.
 *  6. An error of the disk (full, read-only, EIO) makes puts fail with FLOE_ENOSPACE or FLOE_EIO; nothing is
 * acknowledged by it. Such a put may still be found after a crash: its outcome on disk is unknown (a put
 * refused by the limit is certainly not there).
 *  7. After a crash every durable entry is there, unless it was dropped (a drop may be forgotten: its entries
 * may come back). Of the others any subset may be there, so the sequence numbers found have gaps: order is
 * kept, density is not, and a gap says nothing about what follows it.
 *  8. A sequence number is used once: a put below what was dropped is FLOE_EINVAL.
 */
#ifndef FLOE_TIER_H
#define FLOE_TIER_H

#include <floe/base/buf.h>
#include <floe/base/err.h>
#include <floe/os/loop.h>

struct floe_tier;
struct floe_tier_op {
    /* in */
    uint64_t seq;
    struct floe_slice head;     /* put: small fixed part (the log's own staging header) */
    struct floe_bufslice body;  /* put: the batch */
    struct floe_budget *budget; /* get: charged with `data`, past its limit if need be; may be null */
    bool durable;               /* put: with the write-ahead log */
    void (*done)(struct floe_tier_op *op);
    void *user;
    /* out */
    struct floe_error err;
    struct floe_buf *data; /* get: head (head_n bytes) then body; owned by the op, dropped by the caller */
    uint32_t head_n;
    struct floe_tier_op *next; /* driver's own */
};
struct floe_tier_ops {
    void (*put)(struct floe_tier *t, struct floe_tier_op *op);
    void (*get)(struct floe_tier *t, struct floe_tier_op *op);
    /* Forgets entries [from, to) after their segment committed. Fire and forget; order with puts is kept. */
    void (*drop)(struct floe_tier *t, uint64_t from, uint64_t to);
    /* Reads the entries with seq in [from, to) that exist, in order, calling `each` on the loop in turns of
     * bounded size, then `done`. Used at start for what a former session left, and by recovery. Only durable
     * ones are promised to be there after a crash. */
    void (*scan)(struct floe_tier *t, uint64_t from, uint64_t to,
                 void (*each)(void *user, uint64_t seq, struct floe_slice head, struct floe_slice body),
                 void (*done)(void *user, const struct floe_error *err), void *user);
    /* Small named values kept beside the entries, durable (fsync) when `done` runs: session ids, producer
     * ids, node id. */
    void (*meta_put)(struct floe_tier *t, const char *name, struct floe_slice value,
                     void (*done)(void *user, const struct floe_error *err), void *user);
    /* Reads one, at once, on the disk or not; see floe_tier_meta. */
    struct floe_slice (*meta)(struct floe_tier *t, const char *name);
    /* Answers everything given before, then frees the tier and runs `closed`. What is given in between
     * is answered FLOE_ECLOSED. */
    void (*close)(struct floe_tier *t, void (*closed)(void *user), void *user);
};
/* Limits of meta values. */
#define FLOE_TIER_META_NAME_MAX 63
#define FLOE_TIER_META_VALUE_MAX 4096
#define FLOE_TIER_META_COUNT_MAX 64
struct floe_tier {
    const struct floe_tier_ops *ops;
    struct floe_loop *loop;
    _Atomic uint64_t bytes; /* live bytes of entries: what the limit counts */
    uint64_t limit;         /* bytes; puts beyond it answer FLOE_ENOSPACE */
    /* What was found at open: [first_seq, next_seq), equal when empty. New entries start at next_seq. */
    uint64_t first_seq, next_seq;
};
/* Value of a meta name as found at open or put since; n = 0 when absent. Borrowed until the next meta_put of
 * that name. */
struct floe_slice floe_tier_meta(struct floe_tier *t, const char *name);

struct floe_tier_config {
    const char *dir;          /* DATA/tier; the lock is DATA/lock */
    struct floe_uuid cluster; /* zero: adopt what is there */
    uint64_t limit_bytes;     /* default 10 GiB */
    size_t memory_bytes;      /* memtables and block cache together, at most */
};
/* The cluster that the tier in `dir` is bound to; zero where there is no tier, or none that can be read
 * (opening it says why). Blocking; start-up only. */
struct floe_uuid floe_tier_rocksdb_cluster(const char *dir);
/* Opens (blocking; start-up only). `note` gets a sentence when a corrupt tier was set aside, else stays
 * empty. FLOE_EINVAL when another cluster's tier lies there, FLOE_EAGAIN when another process holds it. */
enum floe_err floe_tier_rocksdb_open(struct floe_tier **out, struct floe_loop *loop,
                                     const struct floe_tier_config *cfg, char note[256],
                                     struct floe_error *err) FLOE_MUST_USE;

#endif
