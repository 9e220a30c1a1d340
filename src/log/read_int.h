/* What the files of the store reader share. Private to log/.
 *
 *   read.c        the reader, its tasks, gathering batches for a read
 *   read_cache.c  extents: ranged GETs of adjacent blocks, their check, the cache and its eviction
 *   read_ahead.c  streams: sequential readers and what is fetched before they ask
 *   read_seek.c   offsets by timestamp
 *
 * An extent is one GET's bytes: one or more adjacent blocks of one object, or one index block. It is LOADING
 * (on no LRU, tasks wait on it), then READY (on the LRU, evicted as a whole); a failed one is freed at once.
 */
#ifndef FLOE_LOG_READ_INT_H
#define FLOE_LOG_READ_INT_H

#include "log/read.h"

#include <floe/base/list.h>
#include <floe/base/map.h>

#define READ_EXTENT_BYTES (4u << 20)   /* a coalesced GET stops growing there */
#define READ_EXTENT_BLOCKS 64u         /* blocks of one GET, at most */
#define READ_WINDOW_FIRST (2u << 20)   /* read-ahead of a stream: doubles from here */
#define READ_WINDOW_MAX (16u << 20)    /* to here, while the cache has room */
#define READ_AHEAD_GETS 24u            /* read-ahead starts no GET while so many are under way */
#define READ_STREAMS_MAX 256u          /* sequential readers that are remembered */
#define READ_CACHE_DEFAULT (64u << 20) /* without a budget */
#define READ_GET_ATTEMPTS 4u
#define READ_SEEK_BYTES_MAX (256u << 20) /* decompressed, of one batch */

struct extent;
/* One block of an extent. */
struct block {
    struct floe_map_node node;
    struct extent *extent;
    struct floe_index_entry at; /* where it lies, and its CRC */
    const uint8_t *p;           /* READY: its bytes; null when they fail their checksum */
    bool gone; /* taken off the map: bad bytes that were reported, the next read fetches again */
};
/* A GET under way. */
struct get {
    struct floe_list link;
    struct floe_log_reader *rd;
    struct extent *extent;
    bool again; /* the second try after a wrong checksum */
    struct floe_store_req req;
};
struct extent {
    struct floe_list lru;
    struct floe_list waiters;     /* struct task.wait */
    struct get *get;              /* LOADING, else null */
    struct floe_buf *buf;         /* READY data */
    struct floe_index_page *page; /* READY index block */
    uint32_t index_level;         /* of the hit: 0 data, else an index block */
    uint64_t bytes;               /* what it counts for in the cache */
    uint32_t n;
    struct block blocks[];
};

/* A sequential reader, known by where it will read next. */
struct stream {
    struct floe_list link; /* reader's, most recently used first */
    const struct floe_index *ix;
    int64_t from, next;         /* its last read was [from, next) */
    int64_t ahead;              /* everything below is fetched or under way */
    uint64_t fetched, consumed; /* bytes, since it is known */
    uint32_t window;
};

enum task_kind { TASK_READ, TASK_SEEK };
struct task {
    struct floe_list link; /* reader's list of all tasks */
    struct floe_list wait; /* an extent's waiters, or the reader's ready tasks */
    struct floe_index *ix; /* null once forgotten */
    enum task_kind kind;
    struct floe_log_read *read;
    struct floe_log_seek *seek;
    int64_t from, high_watermark; /* seek: what lies below `from` is ruled out */
    bool max;                     /* seek: the largest timestamp */
    struct floe_error err;        /* set: answered with it */
};

struct floe_log_reader {
    struct floe_log_reader_config cfg;
    struct floe_map blocks; /* struct block.node */
    struct floe_list lru;   /* READY extents, least recently used first */
    struct floe_list gets;  /* under way */
    uint32_t get_count;
    uint64_t cached_bytes, loading_bytes;
    struct floe_list tasks, ready;
    struct floe_timer turn;
    struct floe_list streams;
    uint32_t stream_count;
};

/* read.c */
void reader_wake(struct floe_log_reader *rd, struct extent *x, const struct floe_error *err);
/* Step of a lookup. FOUND: out-parameters are set. WAIT: the task waits (or, without a task, a GET is under
 * way). NONE: the index has no answer. FAILED: `err` says why. */
enum find { FIND_FOUND, FIND_WAIT, FIND_NONE, FIND_FAILED };
/* The data entry that holds `offset` or comes next; `task` may be null (read-ahead). */
enum find reader_find_entry(struct floe_log_reader *rd, const struct floe_index *ix, struct task *task,
                            int64_t offset, struct floe_index_entry *out, struct floe_error *err);
/* The page that a hit of level > 0 names. */
enum find reader_find_page(struct floe_log_reader *rd, struct task *task, const struct floe_index_hit *hit,
                           const struct floe_index_page **out, struct floe_error *err);
/* The bytes of a data entry. WAIT also when they are under way. When they are absent they are fetched, with
 * what follows them in `more` entries (adjacent ones; may be 0). */
enum find reader_find_block(struct floe_log_reader *rd, struct task *task, const struct floe_index_entry *e,
                            const struct floe_index_entry *more, uint32_t more_n, struct block **out,
                            struct floe_error *err);
/* Adjacent entries after `first`, of the same object, up to `bytes` in all. */
uint32_t reader_adjacent(struct floe_log_reader *rd, const struct floe_index *ix,
                         const struct floe_index_entry *first, uint64_t bytes, int64_t high_watermark,
                         struct floe_index_entry out[READ_EXTENT_BLOCKS]);

/* read_cache.c */
struct block *cache_find(const struct floe_log_reader *rd, const struct floe_index_entry *e);
/* Forgets a block whose bytes are bad. */
void cache_drop_bad(struct floe_log_reader *rd, struct block *b);
void cache_touch(struct floe_log_reader *rd, struct extent *x);
/* Starts a GET of adjacent entries; null when memory is out. */
struct extent *cache_fetch(struct floe_log_reader *rd, uint32_t index_level,
                           const struct floe_index_entry *first, const struct floe_index_entry *more,
                           uint32_t more_n);
uint64_t cache_limit(const struct floe_log_reader *rd);
void cache_fini(struct floe_log_reader *rd);

/* read_ahead.c */
/* A read of [offset, next) was answered: notes it, and fetches ahead when the reader is sequential. */
void ahead_note(struct floe_log_reader *rd, const struct floe_index *ix, int64_t offset, int64_t next,
                uint64_t bytes, int64_t high_watermark);
void ahead_forget(struct floe_log_reader *rd, const struct floe_index *ix);
void ahead_fini(struct floe_log_reader *rd);

/* read_seek.c: one step; true when the task is finished (t->err or the seek's answer is set). */
bool seek_step(struct floe_log_reader *rd, struct task *t);

#endif
