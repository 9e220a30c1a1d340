/* Object storage behind one driver interface: `file`, `s3`, `sim`.
 *
 * What it is: asynchronous single requests on whole objects below one prefix, with conditional PUT.
 * What it is not: a place for policy. A driver never decides what an ambiguous answer means.
 *
 * Rules
 *  1. floe_store_submit is called on the store's loop; `done` runs on that loop, later, exactly once, unless
 * the request was cancelled (then never). The driver does its work on threads of its own.
 *  2. The request struct, its key, body slices and out-buffers belong to the caller and stay put until `done`
 * or cancel. A cancelled driver may still have the bytes on the wire: it holds its own references to body
 * buffers (`body[i].buf`).
 *  3. PUT with FLOE_PUT_CREATE: FLOE_EEXISTS means that some object is there (perhaps an earlier copy of this
 * very request). PUT with FLOE_PUT_REPLACE: FLOE_ECONFLICT means another version or none is there.
 * FLOE_EINDETERMINATE: time-out, broken connection, 409, 5xx: applied or not. FLOE_EUNAVAILABLE,
 * FLOE_EREFUSED: certainly not applied. FLOE_EDENIED, FLOE_ENOSPACE, FLOE_ENOTFOUND (no bucket): refused by
 * the store.
 *  4. `attempts` bounds how often the driver itself sends a request (full-jitter back-off between, a budget
 * over all). The commit path asks for 1 and repeats by its own rules; reads ask for more.
 * A read whose attempt has not ended after `try_us` (doubled for each further one) is repeated on another
 * connection, as long as attempts are left: a lost answer costs that much, not the whole time-out.
 *  5. GET and HEAD of an absent key: FLOE_ENOTFOUND. Without a bucket GET, LIST and DELETE: FLOE_EDENIED,
 * which says nothing of the object (an answer to HEAD cannot tell the two). A GET whose body is shorter than
 * promised, or fails a checksum the store sent along, is retried, then FLOE_ECORRUPT.
 *  6. LIST is ordered by key, byte by byte, and strongly consistent.
 *  7. GET answers with what lies in the range: at or past the end that is FLOE_OK with no bytes; `size` and
 * `version` are then 0 and empty where the store does not tell them (Ceph).
 *  8. Keys are 1..FLOE_STORE_KEY_MAX - 1 bytes without an empty component ("a//b", "/a", "a/"); the file
 * driver takes no component that is longer than 250 bytes when escaped (docs/formats/file-store.md). Others:
 * FLOE_EINVAL. No key should be a folder of another ("a" and "a/b"): MinIO leaves such out of a LIST that
 * starts after "a".
 *  9. DELETE of an absent key is FLOE_OK. With `keys` it removes up to FLOE_STORE_LIST_MAX keys in one
 * request, in any order; FLOE_OK only when none of them is left, else the first error, and some may be gone.
 *  10. A GET with `pieces` also tells the CRC-32C of each whole FLOE_STORE_PIECE of what came, where the
 * driver could take it while the bytes were still in the processor's cache: who has a checksum for a part of
 * them then need not read them again.
 */
#ifndef FLOE_OBJSTORE_H
#define FLOE_OBJSTORE_H

#include <floe/base/arena.h>
#include <floe/base/buf.h>
#include <floe/base/err.h>
#include <floe/os/loop.h>

#define FLOE_STORE_KEY_MAX 512    /* bytes, below the prefix, with terminator */
#define FLOE_STORE_VERSION_MAX 80 /* an ETag without quotes, or the driver's like */
#define FLOE_STORE_NONCE_MAX 72
#define FLOE_STORE_LIST_MAX 1000 /* keys a page */
#define FLOE_STORE_OBJECT_MAX (1u << 30)
#define FLOE_STORE_PIECE (16u * 1024)

enum floe_store_kind { FLOE_STORE_PUT, FLOE_STORE_GET, FLOE_STORE_HEAD, FLOE_STORE_LIST, FLOE_STORE_DELETE };
enum floe_store_cond { FLOE_PUT_ANY, FLOE_PUT_CREATE, FLOE_PUT_REPLACE };
/* Which connections carry a request: renewals and takeover steps never queue behind data. */
enum floe_store_class { FLOE_STORE_DATA, FLOE_STORE_CONTROL };

struct floe_store_entry {
    const char *key; /* below the prefix */
    uint64_t size;
    char version[FLOE_STORE_VERSION_MAX];
};

struct floe_store;
struct floe_store_req {
    /* in */
    enum floe_store_kind kind;
    enum floe_store_class cls;
    enum floe_store_cond cond;               /* PUT */
    char key[FLOE_STORE_KEY_MAX];            /* object key; for LIST the prefix of keys */
    char start_after[FLOE_STORE_KEY_MAX];    /* LIST: keys greater than this; may be empty */
    uint32_t max_keys;                       /* LIST: 1..FLOE_STORE_LIST_MAX */
    char if_version[FLOE_STORE_VERSION_MAX]; /* PUT with FLOE_PUT_REPLACE */
    char nonce[FLOE_STORE_NONCE_MAX];        /* PUT: stored as metadata "floe-nonce"; may be empty */
    const struct floe_bufslice *body;        /* PUT */
    uint32_t body_count;
    const char *const *keys; /* DELETE: keys to remove instead of `key`; copied by submit */
    uint32_t key_count;      /* DELETE: 0 means `key` alone; at most FLOE_STORE_LIST_MAX */
    int64_t offset;  /* GET: from here; negative: the object's last -offset bytes (length >= -offset) */
    uint64_t length; /* GET: at most this many bytes (required, bounds the allocation) */
    bool fresh;      /* GET: from the store itself, not from what a driver in between holds (log/share.h) */
    bool pieces;     /* GET: rule 10 */
    bool urgent;     /* ahead of what waits for connections of its class, two of which are kept free for it */
    uint32_t attempts; /* 0 means 1 */
    uint64_t
        try_us; /* GET, HEAD, LIST with attempts above 1: rule 4; 0: an attempt has no limit of its own */
    uint64_t timeout_us; /* over all attempts, from submit; 0 means the driver's default (30 s) */
    void (*done)(struct floe_store_req *r);
    void *user;

    /* out, valid in `done` and until the caller drops them with floe_store_req_fini */
    struct floe_error err;                /* code FLOE_OK on success */
    char version[FLOE_STORE_VERSION_MAX]; /* PUT, GET, HEAD */
    char got_nonce[FLOE_STORE_NONCE_MAX]; /* GET, HEAD */
    uint64_t size;                        /* GET, HEAD: of the whole object */
    struct floe_buf *data;                /* GET: owned by the request; data->n bytes */
    uint32_t *piece_crc;     /* GET: rule 10; null: the driver has none. Owned by the request, free(3) */
    struct floe_arena arena; /* LIST: where entries live */
    struct floe_store_entry *entries; /* LIST */
    uint32_t entry_count;
    bool truncated; /* LIST: more follow the last entry */
    uint32_t sent;  /* how many times it went onto the wire; 0: certainly not applied */

    void *driver; /* driver's own while in flight */
};
/* Takes the CRCs of pieces that have come since `*done`, which counts those that are there; `crc` has room
 * for those of b's whole capacity. */
void floe_store_note_pieces(uint32_t *crc, uint64_t *done, const struct floe_buf *b);
/* Room for that; null when memory is out, or there is no whole piece. */
uint32_t *floe_store_pieces_new(uint64_t bytes);
/* Frees what a finished request's outputs own and makes it ready for another submit of the same inputs. */
void floe_store_req_fini(struct floe_store_req *r);

struct floe_store_stats {
    _Atomic uint64_t put, get, head, list, del, retries, errors, bytes_out, bytes_in;
};

/* Whether the store is there, as the driver sees each attempt, long before a request that it repeats fails.
 */
struct floe_store_trouble {
    uint64_t since_us; /* loop time since when no attempt has had an answer that counts; 0: it answers */
    struct floe_error last;
};

struct floe_store_ops {
    const char *name;
    void (*submit)(struct floe_store *s, struct floe_store_req *r);
    void (*cancel)(struct floe_store *s, struct floe_store_req *r);
    /* Stops taking requests; `closed` runs on the loop once no thread of the driver is left. Open requests
     * are dropped without their call-back. */
    void (*close)(struct floe_store *s, void (*closed)(void *user), void *user);
    /* Null: the driver repeats nothing, so its answers tell. */
    void (*trouble)(struct floe_store *s, struct floe_store_trouble *out);
};
struct floe_store {
    const struct floe_store_ops *ops;
    struct floe_loop *loop;
    char url[256]; /* as the user wrote it, for messages: names no secret */
    /* True for a store whose requests cost no money each (file, or an endpoint of one's own): no PUT budget.
     */
    bool free_puts;
    struct floe_budget *budget; /* what GET buffers are charged to (forced); may be null */
    struct floe_store_stats stats;
};

static inline void floe_store_submit(struct floe_store *s, struct floe_store_req *r)
{
    s->ops->submit(s, r);
}
static inline void floe_store_cancel(struct floe_store *s, struct floe_store_req *r)
{
    s->ops->cancel(s, r);
}
static inline void floe_store_close(struct floe_store *s, void (*closed)(void *), void *user)
{
    s->ops->close(s, closed, user);
}
static inline void floe_store_trouble(struct floe_store *s, struct floe_store_trouble *out)
{
    *out = (struct floe_store_trouble){0};
    if (s->ops->trouble != NULL)
        s->ops->trouble(s, out);
}

/* Probes the conditional-write promise: create twice, an N-way race of creates, replace, stale replace, read
 * back, list. `done` gets FLOE_OK, or FLOE_EUNSUPPORTED with what the store did, or why the store could not
 * be asked. Objects below "probe/" are removed again. */
struct floe_store_probe;
void floe_store_probe_start(struct floe_store *s, struct floe_arena *scratch,
                            void (*done)(void *user, const struct floe_error *err), void *user);

#endif
