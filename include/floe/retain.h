/* Garbage: chain keys of which nobody needs a byte, and how they go.
 *
 * What it is: one object a broker, `struct floe_retain`, on the core loop. It finds segments that hold
 * nothing wanted (topics that are deleted, checkpoints that no lease can name any more) and orphans behind a
 * seal, raises the chain's durable floor, waits, and removes them; when nothing but the seal is left, the
 * session's table records go too. The open session's chain is this broker's alone; chains that have ended are
 * spread over the live brokers by placement, and any may do the work of another. What it is not: retention of
 * live topics and compaction into history (retain_wanted is their place).
 *
 * Invariants
 *  1. The seal that ends a chain is never removed, nor anything at or above what a fencer might still look
 * at: a live chain's keys below what a renewal said is committed, an ended chain's below its recorded end.
 *  2. A key goes only when it lies behind the recorded end and is no seal, or when it holds nothing wanted
 * and the floor in `floor/<session>` (and for the open session in its node record too) has been above it for
 * the garbage age on this broker's own clock. A restart counts again; no clocks are compared.
 *  3. A topic counts as gone only when its record says deleted, or a reading of all records, begun after the
 *     segment was read, names it nowhere. Whatever is not certain is kept.
 *  4. `floor` never goes down. Above it chains are dense; below it a missing key held nothing wanted, and
 * what lies there again (a late copy, a stray seal of a stalled fencer) is removed again before the records
 * go.
 *  5. One job at a time, a few requests at once. Work is begun by a topic that is gone, a session that has
 * ended, a floor that has aged, and a sweep every 36 ages; between those nothing is asked of store or table.
 *
 * Each footer is read once: a chain remembers, in runs of keys, one thing that pins each segment, and looks
 * again only where that very thing is gone (docs/formats/table.md, `floor/<session>`).
 *
 * Owning thread: the loop's. Errors are logged and tried again; nothing here stops a broker. */
#ifndef FLOE_RETAIN_H
#define FLOE_RETAIN_H

#include <floe/lease.h>
#include <floe/objstore.h>
#include <floe/table.h>

#define FLOE_RETAIN_AGE_US_DEFAULT 600000000ull
#define FLOE_RETAIN_AGE_LEASES_MIN 10u /* the age is at least so many lease times */

enum floe_retain_topic { FLOE_RETAIN_TOPIC_LIVE, FLOE_RETAIN_TOPIC_GONE, FLOE_RETAIN_TOPIC_UNKNOWN };

struct floe_retain_config {
    struct floe_loop *loop;
    struct floe_store *store;
    struct floe_table *table;
    struct floe_lease *lease;
    struct floe_uuid cluster;
    uint64_t age_us; /* between a floor's being durable and what lies below it going; 0: the default */
    void *user;
    /* GONE only when its record says so; UNKNOWN when no record that was read names it. */
    enum floe_retain_topic (*topic)(void *user, const struct floe_uuid *id);
    /* Reads every topic's record, beginning after this call. `done` with true when all could be read: what
     * `topic` then calls UNKNOWN is gone. */
    void (*read_topics)(void *user, void (*done)(void *user2, bool complete), void *user2);
};

struct floe_retain;
enum floe_err floe_retain_create(struct floe_retain **out, const struct floe_retain_config *cfg,
                                 struct floe_error *err) FLOE_MUST_USE;
/* Open requests are dropped. */
void floe_retain_destroy(struct floe_retain **r);
void floe_retain_start(struct floe_retain *r);
/* A topic is gone: its segments are looked for soon. */
void floe_retain_topic_gone(struct floe_retain *r);
/* The durable floor of the open session's chain (for floe_lease_hooks.floor). */
uint64_t floe_retain_floor(struct floe_retain *r, const struct floe_session_name *s);

struct floe_retain_stats {
    uint64_t objects, bytes; /* removed */
    uint64_t floors;         /* raised */
    uint64_t footers;        /* read */
    uint64_t sessions;       /* whose records were removed */
    uint64_t sweeps, chains; /* sweeps begun; chains watched now */
};
void floe_retain_get_stats(const struct floe_retain *r, struct floe_retain_stats *out);

#endif
