/* The `sim` store driver: one bucket in memory, a front end for each node, faults by rule and by chance.
 *
 * What it is: floe/objstore.h over floe/os/sim.h. A request travels to the bucket, is applied there at one
 * instant (linearizable), and the answer travels back; each leg takes time, and a fault may hit either.
 * What it is not: a model of one vendor. Versions are a hash of the content, as S3's ETag: equal bytes, equal
 * version. DELETE ignores conditions.
 *
 *  1. The bytes of a PUT are read when it lands. They must be what they were at submit (asserted).
 *  2. A killed node's requests on the wire go on; what has not left does not exist. A cancelled one likewise.
 *  3. Rules are tried in the order they were added, then the bucket's chances; the first that hits decides.
 *  4. `attempts` of a request repeats it as a driver would, on answers that say nothing or "later".
 */
#ifndef FLOE_OBJSTORE_SIM_H
#define FLOE_OBJSTORE_SIM_H

#include <floe/objstore.h>
#include <floe/os/sim.h>

enum floe_sim_fault {
    FLOE_SIM_NONE,
    FLOE_SIM_LOST_REQUEST, /* never lands; no answer until the time-out */
    FLOE_SIM_LOST_ANSWER,  /* lands; no answer until the time-out */
    FLOE_SIM_BROKEN,       /* lands; the connection breaks at once: FLOE_EINDETERMINATE */
    FLOE_SIM_LATE,         /* the connection breaks at once, the request lands after delay_us */
    FLOE_SIM_TWICE, /* lands twice (a proxy's or library's retry): a conditional PUT that was applied is
                       answered 412 */
    FLOE_SIM_E409,  /* 409: FLOE_EINDETERMINATE, not applied */
    FLOE_SIM_E409_APPLIED, /* the same, but applied */
    FLOE_SIM_E500,         /* 500, not applied: PUT and DELETE FLOE_EINDETERMINATE, reads FLOE_EUNAVAILABLE */
    FLOE_SIM_E500_APPLIED,
    FLOE_SIM_E503,      /* as E500 (SlowDown), not applied, answered quickly */
    FLOE_SIM_DENIED,    /* 403: FLOE_EDENIED */
    FLOE_SIM_NOSPACE,   /* 507: FLOE_ENOSPACE */
    FLOE_SIM_REFUSED,   /* nobody listens: FLOE_EREFUSED, nothing sent */
    FLOE_SIM_TRUNCATED, /* GET: a body cut short, seen by the driver: FLOE_ECORRUPT after its attempts */
    FLOE_SIM_FLIPPED,   /* GET: one bit is wrong, FLOE_OK: only the format's own checks see it */
    FLOE_SIM_HANG,      /* lands after delay_us, answer after that: a slow request, not a lost one */
    FLOE_SIM_ABSENT,    /* GET, HEAD: FLOE_ENOTFOUND although it is there (a store that broke its promise) */
    FLOE_SIM_FAULT_COUNT
};
#define FLOE_SIM_KIND(k) (1u << (k)) /* of enum floe_store_kind */

struct floe_sim_bucket;
struct floe_sim_rule {
    enum floe_sim_fault fault;
    uint32_t kinds;             /* FLOE_SIM_KIND bits; 0: all */
    const char *prefix;         /* keys that begin so; null: all; borrowed */
    struct floe_sim_node *node; /* null: all */
    uint32_t skip, times;       /* lets `skip` matching requests pass, then hits `times` (0: for ever) */
    uint64_t delay_us;          /* LATE, HANG; 0: 1 s */
    uint32_t ppm;               /* hits by chance; 0: always */
};
struct floe_sim_bucket_config {
    uint64_t min_us, mean_us; /* a leg takes min plus an exponential with this mean; both 0: 2 ms, 3 ms */
    uint32_t ppm[FLOE_SIM_FAULT_COUNT]; /* chance of each fault, a request */
    uint64_t late_us_max;               /* LATE, HANG by chance: uniform up to this; 0: 20 s */
};

/* Promises that a store can break. A bucket with one breaks it by chance; everything else stays as it was. */
enum floe_sim_break {
    FLOE_SIM_KEEPS,
    FLOE_SIM_CREATE_OVERWRITES, /* create-only is not: what lies there is replaced, 200 */
    FLOE_SIM_REPLACE_IGNORED,   /* If-Match is not looked at */
    FLOE_SIM_GET_STALE,         /* a GET answers what lay there before the last PUT, or that nothing does */
    FLOE_SIM_LIST_MISSES_FRESH, /* a LIST does not tell of what is younger than some seconds */
    FLOE_SIM_PUT_VANISHES,      /* a PUT is answered 200 and is not there */
    FLOE_SIM_BODY_CORRUPTED,    /* a byte is another one, for ever; the length is right */
    FLOE_SIM_DELETE_RESURRECTS, /* what was deleted is there again after some seconds */
    FLOE_SIM_BREAK_COUNT
};
const char *floe_sim_break_name(enum floe_sim_break what);
void floe_sim_bucket_break(struct floe_sim_bucket *b, enum floe_sim_break what, uint32_t ppm);

struct floe_sim_bucket *floe_sim_bucket_create(struct floe_sim *sim); /* freed with the world */
void floe_sim_bucket_configure(struct floe_sim_bucket *b, const struct floe_sim_bucket_config *cfg);
void floe_sim_bucket_rule(struct floe_sim_bucket *b, const struct floe_sim_rule *r);
void floe_sim_bucket_heal(struct floe_sim_bucket *b); /* drops all rules and chances; latencies stay */
/* A node's driver. Freed with the world; close it like any other, or kill the node. */
struct floe_store *floe_sim_store_create(struct floe_sim_bucket *b, struct floe_sim_node *n);

/* The bucket as it is, for tests and checkers. Objects are ordered by key. */
struct floe_sim_object {
    const char *key;
    const uint8_t *data;
    size_t n;
    char version[FLOE_STORE_VERSION_MAX], nonce[FLOE_STORE_NONCE_MAX];
    uint64_t at_us; /* when the last PUT was applied */
};
const struct floe_sim_object *floe_sim_bucket_find(struct floe_sim_bucket *b, const char *key);
size_t floe_sim_bucket_count(struct floe_sim_bucket *b);
const struct floe_sim_object *floe_sim_bucket_at(struct floe_sim_bucket *b, size_t i);
/* Changes the bucket behind everybody's back. */
void floe_sim_bucket_put(struct floe_sim_bucket *b, const char *key, const void *data, size_t n,
                         const char *nonce);
bool floe_sim_bucket_delete(struct floe_sim_bucket *b, const char *key);

/* Everything that happens at the bucket, in order. */
struct floe_sim_store_event {
    uint64_t at_us;
    const struct floe_sim_node *node;
    enum floe_store_kind kind;
    enum floe_store_cond cond;
    enum floe_sim_fault fault;
    const char *key;
    const char *nonce;
    enum floe_err result;                 /* what the bucket says; FLOE_OK on a PUT: it is applied */
    const struct floe_sim_object *object; /* after a PUT that was applied; before a DELETE */
};
void floe_sim_bucket_watch(struct floe_sim_bucket *b,
                           void (*fn)(void *user, const struct floe_sim_store_event *e), void *user);

#endif
