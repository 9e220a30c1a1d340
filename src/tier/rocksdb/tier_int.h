/* The RocksDB tier's private parts. Three pieces:
 *   driver.c   on the loop: the operations of tier.h, the ledger, call-backs
 *   writer.c   the writer thread: takes all that is queued, groups writes, reads
 *   open.c     start-up: lock, meta, database, what is set aside
 *
 * A request goes loop → queue → writer → done list → loop, in the order of submission both ways.
 */
#ifndef FLOE_TIER_INT_H
#define FLOE_TIER_INT_H

#include "tier/rocksdb/db.h"
#include "tier/rocksdb/ledger.h"
#include "tier/rocksdb/meta.h"

#include <pthread.h>

#define FLOE_TIER_GROUP_MAX ((size_t)256 << 10) /* bytes of one write; one entry may be more */
#define FLOE_TIER_SCAN_MAX ((size_t)1 << 20)    /* bytes of one turn of a scan; one entry may be more */
#define FLOE_TIER_SCAN_ENTRIES 256
#define FLOE_TIER_REOPEN_US 1000000

enum tier_kind { TIER_PUT, TIER_GET, TIER_DROP, TIER_SCAN, TIER_META, TIER_REOPEN, TIER_CLOSE };

struct tier_entry {
    uint64_t seq;
    size_t at; /* in the turn's bytes */
    struct floe_slice head, body;
};
struct tier_scan {
    uint64_t next, to;
    void (*each)(void *user, uint64_t seq, struct floe_slice head, struct floe_slice body);
    struct floe_writer bytes; /* of this turn */
    struct tier_entry entries[FLOE_TIER_SCAN_ENTRIES];
    uint32_t count;
    bool more;
};
struct tier_req {
    struct tier_req *next;
    enum tier_kind kind;
    struct floe_tier_op *op;        /* put, get; op->err set beforehand: passed through, for the order */
    bool charged;                   /* put: noted in the ledger */
    uint64_t from, to, head, freed; /* drop; reopen: head */
    struct tier_scan *scan;         /* scan */
    struct floe_writer bytes;       /* meta: the file */
    struct floe_error *err;         /* scan, meta, reopen: what happened */
    void (*done)(void *user, const struct floe_error *err); /* scan, meta */
    void (*closed)(void *user);                             /* close */
    void *user;
};

struct tier_queue {
    struct tier_req *first, **last;
};

struct tier_rocksdb {
    struct floe_tier base; /* first */

    /* The loop's. */
    struct floe_tier_ledger ledger;
    struct floe_tier_metas metas;
    bool closing, reopening;
    struct floe_timer reopen_timer;
    struct tier_queue late; /* given after close */
    struct tier_req *pool;  /* requests to use again */
    uint32_t pool_n;

    /* Between the two threads, under `lock`. */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct tier_queue queue, done;
    bool waiting; /* the writer sleeps */
    bool posted;  /* the loop knows of `done` */
    struct floe_task task;

    /* The writer's (the opener's before it runs). */
    pthread_t thread;
    struct floe_tier_db *db;  /* null while it could not be opened again */
    struct floe_error broken; /* first failed write: none is tried again on this database */
    struct tier_queue group;  /* requests of the open group */
    size_t memory_bytes;

    atomic_bool is_broken; /* broken.code, for the loop */
    int lock_fd;
    char dir[1024], db_dir[1040];
};

void floe_tier_queue_init(struct tier_queue *q);
void floe_tier_queue_push(struct tier_queue *q, struct tier_req *r);
/* Moves all of `from` to the end of `to`. */
void floe_tier_queue_append(struct tier_queue *to, struct tier_queue *from);

/* driver.c: makes the operations of a tier whose other fields open.c has filled, and takes requests back. */
void floe_tier_driver_init(struct tier_rocksdb *t, struct floe_loop *loop);
/* Frees a tier whose thread is not running. */
void floe_tier_driver_free(struct tier_rocksdb *t);
/* writer.c */
enum floe_err floe_tier_writer_start(struct tier_rocksdb *t, struct floe_error *err) FLOE_MUST_USE;

#endif
