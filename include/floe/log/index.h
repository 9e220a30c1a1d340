/* The index of one partition: which blocks of which segments hold which offsets.
 *
 * What it is: an append-only tree, kept by the log (docs/ARCHITECTURE.md "Partition index"). Level 0 entries
 * name blocks of segments; when a level holds FLOE_INDEX_FANOUT entries that lie in no index block yet they
 * are encoded as one, which rides in the next segment; once that is committed one pointer entry on the next
 * level replaces them. What it is not: I/O. Old index blocks are read by the log's reader (src/log/read.h).
 *
 * Invariants
 *  1. Entries ascend by offset without overlap; a gap between two is allowed.
 *  2. Entries are appended when the PUT of their segment starts: those at or past the high watermark are not
 * yet committed, and no reader looks at them.
 *  3. Index blocks are finished in the order in which they were begun.
 *
 * Thread: the core loop. Errors: FLOE_ENOMEM; FLOE_ECORRUPT for bytes that are no index.
 */
#ifndef FLOE_LOG_INDEX_H
#define FLOE_LOG_INDEX_H

#include <floe/base/bytes.h>
#include <floe/base/err.h>
#include <floe/segment.h>

#define FLOE_INDEX_FANOUT 64

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

/* The next level-0 entry: base_offset is not below the end of the last one. */
enum floe_err floe_index_append(struct floe_index *ix, const struct floe_index_entry *e) FLOE_MUST_USE;

/* An index block under way. */
struct floe_index_block {
    uint8_t level;
    uint32_t count;
    int64_t base_offset;
};
/* True when some level holds FLOE_INDEX_FANOUT entries that are in no block yet. */
bool floe_index_block_due(const struct floe_index *ix);
/* Encodes those entries (the oldest of the lowest such level) to `w` and marks them as under way. */
enum floe_err floe_index_block_begin(struct floe_index *ix, struct floe_writer *w,
                                     struct floe_index_block *out) FLOE_MUST_USE;
/* The segment that carries the block is committed: one pointer entry replaces its entries. Of `where`
 * session, seq, position, length and crc are taken; offsets and timestamp are known. */
enum floe_err floe_index_block_done(struct floe_index *ix, const struct floe_index_block *b,
                                    const struct floe_index_entry *where) FLOE_MUST_USE;

/* The levels in memory, for a checkpoint; entries of blocks under way are written as entries. */
enum floe_err floe_index_encode(const struct floe_index *ix, struct floe_writer *w) FLOE_MUST_USE;
/* Into an empty index. Takes all of `in`. */
enum floe_err floe_index_decode(struct floe_index *ix, struct floe_slice in,
                                struct floe_error *err) FLOE_MUST_USE;

#endif
