/* The index of one partition: which blocks of which segments hold which offsets.
 *
 * What it is: an append-only tree, kept by the log (docs/ARCHITECTURE.md "Partition index"): its right edge
 * in memory, the codec of the index blocks that hold the rest, and lookups that either answer or name the
 * index block to read next. Level 0 entries name blocks of segments; when a level holds FLOE_INDEX_FANOUT
 * entries that lie in no index block yet they are encoded as one, which rides in the next segment; once that
 * is committed one pointer entry on the next level replaces them. What it is not: I/O. Old index blocks are
 * read and cached by the log's reader (src/log/read.h).
 *
 * Invariants
 *  1. Entries ascend by offset without overlap, over all levels; a gap between two is allowed.
 *  2. Entries are appended when the PUT of their segment starts: those at or past the high watermark are not
 * yet committed, and no reader looks at them.
 *  3. Index blocks of one level are finished in the order in which they were begun.
 *  4. What a level holds is newer than all that higher levels hold.
 *  5. Memory: FLOE_INDEX_FANOUT entries a level, more while blocks are under way or after a rebuild.
 *
 * Thread: the core loop. Format: docs/formats/index.md. Errors: FLOE_ENOMEM; FLOE_ENOTFOUND where a lookup
 * has no answer; FLOE_ECORRUPT for bytes that are no index (the message lacks the key: the caller prefixes
 * it).
 */
#ifndef FLOE_LOG_INDEX_H
#define FLOE_LOG_INDEX_H

#include <floe/base/bytes.h>
#include <floe/base/err.h>
#include <floe/segment.h>

#define FLOE_INDEX_FANOUT 64
#define FLOE_INDEX_LEVELS_MAX 10
#define FLOE_INDEX_BLOCK_BYTES_MAX 8192 /* of an encoded index block */

/* A block of batches (level 0), or an index block that covers the entries below it (higher levels). */
struct floe_index_entry {
    int64_t base_offset, end_offset; /* [base, end) */
    int64_t max_timestamp;           /* -1: none */
    struct floe_session_name session;
    uint64_t seq, position;
    uint32_t length, crc; /* CRC-32C of those bytes */
};

struct floe_index;
enum floe_err floe_index_create(struct floe_index **out) FLOE_MUST_USE;
void floe_index_destroy(struct floe_index **ix);

/* A block's level-0 entry, as floe_segment_finish or a footer's cursor describes the block. */
struct floe_index_entry floe_index_entry_of(const struct floe_segment_block *b,
                                            const struct floe_session_name *session, uint64_t seq);
/* The next level-0 entry: base_offset is not below the end of the last one, else FLOE_ECORRUPT (footers that
 * contradict each other). */
enum floe_err floe_index_append(struct floe_index *ix, const struct floe_index_entry *e) FLOE_MUST_USE;
/* Start of the first entry, end of the last; both 0 when there is none. */
int64_t floe_index_start(const struct floe_index *ix);
int64_t floe_index_end(const struct floe_index *ix);
/* Bytes of all blocks that were appended. They are not part of the encoded index: a checkpoint keeps them
 * beside it. */
uint64_t floe_index_bytes(const struct floe_index *ix);
void floe_index_set_bytes(struct floe_index *ix, uint64_t bytes);
size_t floe_index_memory(const struct floe_index *ix); /* bytes that it takes */

/* An index block under way. */
struct floe_index_block {
    uint8_t level;
    uint32_t count;
    int64_t base_offset;
};
/* True when some level holds FLOE_INDEX_FANOUT entries that are in no block yet. */
bool floe_index_block_due(const struct floe_index *ix);
/* Encodes those entries (the oldest of the lowest such level) to `w` and marks them as under way.
 * FLOE_ENOTFOUND when none is due. */
enum floe_err floe_index_block_begin(struct floe_index *ix, struct floe_writer *w,
                                     struct floe_index_block *out) FLOE_MUST_USE;
/* The segment that carries the block is committed: one pointer entry replaces its entries. Of `where`
 * session, seq, position, length and crc are taken; offsets and timestamp are known. */
enum floe_err floe_index_block_done(struct floe_index *ix, const struct floe_index_block *b,
                                    const struct floe_index_entry *where) FLOE_MUST_USE;

/* An answer: level 0 is a block of batches; a higher one is an index block, whose page must be asked next. */
struct floe_index_hit {
    uint32_t level;
    struct floe_index_entry entry;
};
/* The entry that holds `offset`, or the first one after it. FLOE_ENOTFOUND at or past the end. */
enum floe_err floe_index_lookup(const struct floe_index *ix, int64_t offset,
                                struct floe_index_hit *out) FLOE_MUST_USE;
/* The first entry with end_offset > from and max_timestamp >= timestamp. */
enum floe_err floe_index_lookup_timestamp(const struct floe_index *ix, int64_t from, int64_t timestamp,
                                          struct floe_index_hit *out) FLOE_MUST_USE;
/* The first one with the largest max_timestamp among entries that overlap [from, to); FLOE_ENOTFOUND when
 * none of them has a timestamp. */
enum floe_err floe_index_lookup_max_timestamp(const struct floe_index *ix, int64_t from, int64_t to,
                                              struct floe_index_hit *out) FLOE_MUST_USE;

/* A decoded index block: entries of one level. */
struct floe_index_page {
    uint32_t level, n;
    struct floe_index_entry entries[FLOE_INDEX_FANOUT];
};
enum floe_err floe_index_page_decode(struct floe_slice bytes, struct floe_index_page *out,
                                     struct floe_error *err) FLOE_MUST_USE;
/* FLOE_ECORRUPT when the page is not what a hit of level > 0 promised. */
enum floe_err floe_index_page_check(const struct floe_index_page *page, const struct floe_index_hit *hit,
                                    struct floe_error *err) FLOE_MUST_USE;
/* As the lookups above, within one page. */
enum floe_err floe_index_page_lookup(const struct floe_index_page *page, int64_t offset,
                                     struct floe_index_hit *out) FLOE_MUST_USE;
enum floe_err floe_index_page_lookup_timestamp(const struct floe_index_page *page, int64_t from,
                                               int64_t timestamp, struct floe_index_hit *out) FLOE_MUST_USE;
enum floe_err floe_index_page_lookup_max_timestamp(const struct floe_index_page *page, int64_t from,
                                                   int64_t to, struct floe_index_hit *out) FLOE_MUST_USE;

/* The levels in memory, for a checkpoint; entries of blocks under way are written as entries. */
enum floe_err floe_index_encode(const struct floe_index *ix, struct floe_writer *w) FLOE_MUST_USE;
/* Into an empty index. Takes all of `in`. */
enum floe_err floe_index_decode(struct floe_index *ix, struct floe_slice in,
                                struct floe_error *err) FLOE_MUST_USE;

#endif
