/* The conditional-write table: small JSON records with compare-and-set, behind one driver interface: `file`,
 * `s3`, `sim`,
 * (`dynamodb` later). Linearizable per key; no multi-key atomicity.
 *
 * Rules
 *  1. Same threading and lifetime rules as floe/objstore.h: submit and `done` on the table's loop, once,
 * never after cancel.
 *  2. A stored record is {"nonce":"<32 hex>","value":<the caller's JSON>}; the table adds and strips the
 * envelope. The nonce is fresh for every write and kept by retries of that write.
 *  3. PUT results. FLOE_OK: applied (an ambiguous answer was resolved by reading back the own nonce).
 * FLOE_EEXISTS (expect absent) and FLOE_ECONFLICT (expect version): another value is there and this write was
 * certainly not applied (first answer, own nonce not there). FLOE_EINDETERMINATE: the time ran out before an
 * ambiguous answer was resolved, or another value is there but this write may have been applied before it:
 * the caller reads and decides by content. With these three `got` and `version` are what was found there;
 * `got` is null where that was not read or is gone. FLOE_ETOOLARGE above FLOE_TABLE_VALUE_MAX.
 *  4. A key made by expect-absent is never deleted while its name can be written again; the caller leaves a
 * tombstone value.
 *  5. Versions are opaque strings, equal only for the same write.
 *  6. DELETE has no condition on S3 and its like: over a store it is "read, compare, delete", not one step.
 * It is allowed only where nobody else writes the key (a probe's, a test's); FLOE_ENOTFOUND when nothing is
 * there.
 *  7. GET, SCAN and read-backs are repeated while time and `attempts` allow. A record that is not what the
 * table writes is FLOE_ECORRUPT and named.
 *  8. What a 412 says is believed once the own nonce is not found: a store or proxy that repeats a request by
 * itself, is refused the second time, and whose first write is replaced before the read-back, is told as
 * FLOE_ECONFLICT. Callers whose edits must not be taken for undone keep a nonce in the value.
 */
#ifndef FLOE_TABLE_H
#define FLOE_TABLE_H

#include <floe/base/arena.h>
#include <floe/base/err.h>
#include <floe/os/loop.h>
#include <floe/objstore.h>

#define FLOE_TABLE_KEY_MAX 320
#define FLOE_TABLE_VALUE_MAX (256 * 1024)
#define FLOE_TABLE_VERSION_MAX FLOE_STORE_VERSION_MAX

enum floe_table_kind { FLOE_TABLE_GET, FLOE_TABLE_PUT, FLOE_TABLE_DELETE, FLOE_TABLE_SCAN };

struct floe_table_entry {
    const char *key;
    char version[FLOE_TABLE_VERSION_MAX];
};
struct floe_table;
struct floe_table_req {
    /* in */
    enum floe_table_kind kind;
    char key[FLOE_TABLE_KEY_MAX];            /* SCAN: prefix of keys */
    char start_after[FLOE_TABLE_KEY_MAX];    /* SCAN */
    uint32_t max_keys;                       /* SCAN: 1..1000 */
    char if_version[FLOE_TABLE_VERSION_MAX]; /* PUT, DELETE: expected version; empty on PUT: expect absent */
    const char *value;                       /* PUT: JSON text, borrowed until done */
    size_t value_n;
    uint64_t timeout_us; /* 0: 10 s */
    uint64_t copy_us;    /* after so long without an answer the first copy is given up, the next ones after
                          * twice, four times as long; 0: a quarter of timeout_us, 100 ms to 2 s */
    bool urgent;         /* as in floe/objstore.h */
    uint32_t attempts;   /* sends at most, 0: as many as the time allows */
    void (*done)(struct floe_table_req *r);
    void *user;

    /* out */
    struct floe_error err;
    char version[FLOE_TABLE_VERSION_MAX]; /* GET: current; PUT: the new one, or that of `got` */
    char
        *got; /* GET, or another's in the way of a PUT: the JSON text, NUL-terminated, owned by the request */
    size_t got_n;
    struct floe_arena arena;
    struct floe_table_entry *entries; /* SCAN: keys and versions in order, no values */
    uint32_t entry_count;
    bool truncated;
    uint32_t unanswered;    /* store requests of it that were given up */
    uint64_t first_sent_us; /* loop clock when the first copy was handed to the wire, 0: never */

    void *driver;
};
void floe_table_req_fini(struct floe_table_req *r);

struct floe_table_stats {
    _Atomic uint64_t get, put, del, scan, conflicts, indeterminate;
};
struct floe_table_ops {
    const char *name;
    void (*submit)(struct floe_table *t, struct floe_table_req *r);
    void (*cancel)(struct floe_table *t, struct floe_table_req *r);
    void (*close)(struct floe_table *t, void (*closed)(void *user), void *user);
};
struct floe_table {
    const struct floe_table_ops *ops;
    struct floe_loop *loop;
    char url[256];
    struct floe_table_stats stats;
};
static inline void floe_table_submit(struct floe_table *t, struct floe_table_req *r)
{
    t->ops->submit(t, r);
}
static inline void floe_table_cancel(struct floe_table *t, struct floe_table_req *r)
{
    t->ops->cancel(t, r);
}
static inline void floe_table_close(struct floe_table *t, void (*closed)(void *), void *user)
{
    t->ops->close(t, closed, user);
}

/* Table over any store driver, records below "table/": the `s3` table is this over the s3 store, the `file`
 * table over the file store, so every store that passes the probe has a table. All traffic uses
 * FLOE_STORE_CONTROL. Does not own the store. */
enum floe_err floe_table_store_create(struct floe_table **out, struct floe_store *store,
                                      struct floe_error *err) FLOE_MUST_USE;
/* Frees at once what floe_table_store_create made; open requests are dropped without their call-back. For a
 * simulated kill and for start-ups that fail; everybody else uses floe_table_close, which frees the table
 * before it runs `closed`. Null is fine. */
void floe_table_store_destroy(struct floe_table **t);

#endif
