/* What the files of the store reader share. Private to log/.
 *
 *   read.c        the reader, its tasks, gathering batches for a read
 *   read_cache.c  extents: ranged GETs of adjacent blocks, their check, the cache and its eviction
 *   read_ahead.c  streams: sequential readers and what is fetched before they ask
 *   read_share.c  GETs that bring what several streams will ask for
 *   read_seek.c   offsets by timestamp
 *
 * An extent is a range of one object, fetched by one GET: adjacent blocks of a partition, with those of other
 * partitions that are being read beside them, or one index block. It is LOADING (tasks wait on it), then
 * READY (on the LRU, evicted as a whole); a failed one is freed at once. Blocks are checked when they are
 * first taken out.
 *
 * Progress, whatever the size of the cache: who waited for an extent pins it until it has taken its step, and
 * remembers what it found there. So every GET brings its waiters further, and none is repeated because the
 * cache could not keep what it brought.
 */
#ifndef FLOE_LOG_READ_INT_H
#define FLOE_LOG_READ_INT_H

#include "log/read.h"

#include <floe/base/list.h>
#include <floe/base/map.h>

#define READ_EXTENT_BYTES (4u << 20)   /* a coalesced GET stops growing there */
#define READ_EXTENT_BLOCKS 64u         /* blocks of one narrow GET, at most */
#define READ_SHARE_BYTES (9u << 20)    /* of a GET for several: a segment of 8 MiB and its last batch */
#define READ_SHARE_SPARSE 2u           /* one byte in so many is wanted, at least */
#define READ_SHARE_BEHIND 24u          /* segments that a reader may be behind and still counts */
#define READ_SHARE_STEPS 16u           /* blocks of its partition that are looked at for that */
#define READ_WINDOW_FIRST (2u << 20)   /* read-ahead of a stream: doubles from here */
#define READ_WINDOW_MAX (16u << 20)    /* to here, while the cache has room */
#define READ_AHEAD_GETS 24u            /* read-ahead starts no GET while so many are under way */
#define READ_STREAMS_MAX 256u          /* sequential readers that are remembered */
#define READ_CACHE_DEFAULT (64u << 20) /* without a budget */
#define READ_GET_ATTEMPTS 4u
#define READ_SEEK_BYTES_MAX (256u << 20) /* decompressed, of one batch */

/* A GET under way. */
struct get {
    struct floe_list link;
    struct floe_log_reader *rd;
    struct extent *extent;
    struct floe_store_req req;
};
/* A block whose checksum was found right. */
struct verified {
    uint64_t position;
    uint32_t length, crc;
};
struct extent {
    struct floe_map_node node; /* reader's extents, by object */
    struct floe_list lru;
    struct floe_list waiters;      /* struct task.wait */
    uint32_t pins;                 /* tasks that waited for it and have not taken it yet */
    bool dropped;                  /* nobody finds it any more; freed with its last pin */
    struct get *get;               /* LOADING, else null */
    struct floe_buf *buf;          /* READY data */
    uint32_t *piece_crc;           /* of buf's whole FLOE_STORE_PIECEs; may be null */
    struct floe_index_page *page;  /* READY index block */
    struct floe_index_entry first; /* who asked for it: the object, and names for errors */
    uint32_t index_level;          /* of the hit: 0 data, else an index block */
    bool second;                   /* fetched because the bytes were wrong the first time */
    uint64_t from, to;             /* range of the object; what is there, once READY */
    uint64_t need;                 /* without bytes up to here the GET has failed */
    uint64_t bytes;                /* what it counts for in the cache */
    uint64_t wanted, used;         /* bytes that will be asked for, and that were */
    struct verified *ok;           /* by position */
    uint32_t ok_n, ok_cap;
};
/* A block's bytes. */
struct piece {
    struct extent *extent;
    const uint8_t *p;
};

enum task_kind { TASK_READ, TASK_SEEK, TASK_AHEAD };
struct task {
    struct floe_list link; /* reader's list of all tasks */
    struct floe_list wait; /* an extent's waiters, or the reader's ready tasks */
    struct extent *pin;    /* what it waited for, until its step is over */
    struct floe_index *ix; /* null once forgotten */
    enum task_kind kind;
    struct floe_log_read *read;
    struct floe_log_seek *seek;
    int64_t from, high_watermark; /* seek: what lies below `from` is ruled out */
    bool max;                     /* seek: the largest timestamp */
    bool found;                   /* `entry` holds the place of the block that is due, the first of a read */
    struct floe_index_entry entry;
    struct floe_index_hit
        down; /* the index page last asked for, on the way to `down_offset` (seek: `from`) */
    int64_t down_offset;
    struct floe_error err; /* set: answered with it */
};

/* A sequential reader, known by where it will read next. */
struct stream {
    struct floe_list link; /* reader's, most recently used first */
    const struct floe_index *ix;
    int64_t from, next;         /* its last read was [from, next) */
    int64_t ahead;              /* everything below is fetched or under way */
    int64_t high_watermark;     /* as its last read saw it */
    uint64_t fetched, consumed; /* bytes, since it is known */
    uint32_t window;
    struct task look; /* TASK_AHEAD: `entry` is the first at or after look.from */
};

struct floe_log_reader {
    struct floe_log_reader_config cfg;
    struct floe_map extents; /* by object */
    struct floe_list lru;    /* READY extents, least recently used first: those with bytes to ask for, */
    struct floe_list spent;  /* those that were asked for as a whole: they go first, */
    struct floe_list pages;  /* and index blocks: they go last */
    struct floe_list pinned; /* those that somebody is about to take */
    struct floe_list gets;   /* under way */
    uint32_t get_count;
    uint64_t cached_bytes, loading_bytes;
    uint64_t page_bytes;   /* of cached_bytes: index blocks */
    uint64_t unread_bytes; /* of READY extents: what will be asked for and was not yet */
    struct floe_list tasks, ready;
    struct floe_list seeks; /* ready tasks that may look into a batch */
    uint32_t looked;        /* batches that were, this turn */
    struct floe_timer turn;
    struct floe_list streams;
    uint32_t stream_count, sequential; /* all, and those with a window */
    bool ahead_due;                    /* some stream may want something, or there is room again */
};

/* read.c */
void reader_wake(struct floe_log_reader *rd, struct extent *x, const struct floe_error *err);
void reader_turn_soon(struct floe_log_reader *rd);
/* The task has its turn. */
void reader_make_ready(struct floe_log_reader *rd, struct task *t);
/* Step of a lookup. FOUND: out-parameters are set. WAIT: the task waits (or, without a task, a GET is under
 * way). NONE: the index has no answer. FAILED: `err` says why. */
enum find { FIND_FOUND, FIND_WAIT, FIND_NONE, FIND_FAILED };
/* The data entry that holds `offset` or comes next; `task` may be null. */
enum find reader_find_entry(struct floe_log_reader *rd, const struct floe_index *ix, struct task *task,
                            int64_t offset, struct floe_index_entry *out, struct floe_error *err);
/* Lets go what the task waits for, or was about to take. */
void task_detach(struct floe_log_reader *rd, struct task *t);
/* The page that a hit of level > 0 names. */
enum find reader_find_page(struct floe_log_reader *rd, struct task *task, const struct floe_index_hit *hit,
                           const struct floe_index_page **out, struct floe_error *err);
/* The bytes of a data entry, checked. WAIT also when they are under way. When they are absent they are
 * fetched, up to position `to` of the object (adjacent blocks; at least the entry's own end), or more where
 * `share` allows it. */
enum find reader_find_block(struct floe_log_reader *rd, struct task *task, const struct floe_index_entry *e,
                            uint64_t to, bool share, struct piece *out, struct floe_error *err);
/* Where the adjacent blocks of `first` end in its object, up to `bytes` in all; *last is the last of them. */
uint64_t reader_adjacent(struct floe_log_reader *rd, const struct floe_index *ix,
                         const struct floe_index_entry *first, uint64_t bytes, int64_t high_watermark,
                         struct floe_index_entry *last);
/* The data entry that holds `offset` or comes next, as far as memory tells. */
bool reader_cached_entry(struct floe_log_reader *rd, const struct floe_index *ix, int64_t offset,
                         struct floe_index_entry *out);

/* read_cache.c */
/* The extent that holds the entry's bytes, or will; null when there is none. */
struct extent *cache_find(const struct floe_log_reader *rd, uint32_t index_level,
                          const struct floe_index_entry *e);
/* The entry's bytes in a READY extent of data; null when their checksum does not fit. */
const uint8_t *cache_take(struct floe_log_reader *rd, struct extent *x, const struct floe_index_entry *e);
/* Forgets a READY extent; slices that were handed out stay. */
void cache_drop(struct floe_log_reader *rd, struct extent *x);
/* Its place on the lists, as most recently used. */
void cache_touch(struct floe_log_reader *rd, struct extent *x);
void cache_unpin(struct floe_log_reader *rd, struct extent *x);
/* Frees what is over the limit and not pinned, least recently used first. */
void cache_trim(struct floe_log_reader *rd);
/* Starts a GET; null when memory is out. */
enum fetch_mode { FETCH_ALONE, FETCH_SHARED, FETCH_SECOND };
struct extent *cache_fetch(struct floe_log_reader *rd, uint32_t index_level,
                           const struct floe_index_entry *first, uint64_t to, enum fetch_mode mode);
uint64_t cache_limit(const struct floe_log_reader *rd);
void cache_fini(struct floe_log_reader *rd);

/* read_ahead.c */
/* A read of [offset, next) was answered: notes it; ahead_fetch is due when the reader is sequential. */
void ahead_note(struct floe_log_reader *rd, const struct floe_index *ix, int64_t offset, int64_t next,
                uint64_t bytes, int64_t high_watermark);
void ahead_fetch(struct floe_log_reader *rd);
/* An index block that the stream waited for is there, or failed (t->err). */
void ahead_step(struct floe_log_reader *rd, struct task *t);
/* What a reader asks for is not there: if it was fetched ahead, it went before it was asked for. */
void ahead_missed(struct floe_log_reader *rd, const struct floe_index *ix, int64_t offset);
void ahead_forget(struct floe_log_reader *rd, const struct floe_index *ix);
void ahead_fini(struct floe_log_reader *rd);

/* read_share.c: widens the range of a GET in the object of `e` by what other sequential readers will ask for.
 * Returns how many of its bytes will be asked for. */
uint64_t reader_share(struct floe_log_reader *rd, const struct floe_index_entry *e, uint64_t *from,
                      uint64_t *to);

/* read_seek.c: one step; true when the task is finished (t->err or the seek's answer is set). */
bool seek_step(struct floe_log_reader *rd, struct task *t);

#endif
