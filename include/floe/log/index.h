/* The partition index: an append-only tree that says where each committed block of a partition lies.
 *
 * What it is: the in-memory right edge of the tree, the codec of the index blocks that hold the rest, and
 * lookups that either answer or name the index block to read next. Pure: no I/O, no clock, no threads.
 * What it is not: a cache (log/read.c keeps index blocks), data.
 *
 * Level 0 entries point to data blocks, entries of level n > 0 to index blocks whose entries are of level
 * n - 1. When a level holds FLOE_INDEX_FANOUT entries that are in no block yet, they can be encoded as one
 * (floe_index_build); it rides in a segment, and when that is committed (floe_index_built) one entry on the
 * next level takes their place.
 *
 * Invariants
 *  1. Entries are appended in commit order: each starts at or after the end of the one before, over all
 * levels.
 *  2. What a level holds is newer than all that higher levels hold: a lookup asks the highest level first.
 *  3. Blocks of one level are committed in the order in which they were built.
 *  4. Memory: about FLOE_INDEX_FANOUT entries a level (more while blocks are under way or after a rebuild).
 *
 * Thread: the core loop. Memory: owned by the index until floe_index_fini. Format: docs/formats/index.md.
 * Errors: FLOE_ECORRUPT (message without key: the caller prefixes it), FLOE_ENOTFOUND, FLOE_ENOMEM.
 */
#ifndef FLOE_LOG_INDEX_H
#define FLOE_LOG_INDEX_H

#include <floe/base/bytes.h>
#include <floe/base/err.h>
#include <floe/segment.h>

#define FLOE_INDEX_FANOUT 64u
#define FLOE_INDEX_LEVELS_MAX 10u
#define FLOE_INDEX_BLOCK_MAX 8192u /* bytes of an encoded index block, at most */

/* Where offsets [base_offset, end_offset) lie: a data block, or an index block. */
struct floe_index_entry {
    int64_t base_offset, end_offset;
    int64_t max_timestamp; /* of the records below; -1 when none has one */
    struct floe_session_name session;
    uint64_t seq;         /* key chain/<session>/<seq> */
    uint64_t position;    /* in that object */
    uint32_t length, crc; /* of the bytes there (CRC-32C) */
};
struct floe_index_level {
    struct floe_index_entry *entries;
    uint32_t n, cap;
    uint32_t building; /* the first so many are in blocks under way; a multiple of FLOE_INDEX_FANOUT */
};
struct floe_index {
    struct floe_uuid topic;
    int32_t partition;
    uint32_t levels; /* in use */
    struct floe_index_level level[FLOE_INDEX_LEVELS_MAX];
};
void floe_index_init(struct floe_index *ix, const struct floe_uuid *topic, int32_t partition);
void floe_index_fini(struct floe_index *ix);
/* Start of the first entry and end of the last one; both 0 when there is none. */
int64_t floe_index_start(const struct floe_index *ix);
int64_t floe_index_end(const struct floe_index *ix);
/* Bytes that its entries take. */
size_t floe_index_memory(const struct floe_index *ix);

/* A committed block's entry, as floe_segment_finish and a footer's cursor describe it. */
struct floe_index_entry floe_index_entry_of(const struct floe_segment_block *b,
                                            const struct floe_session_name *session, uint64_t seq);
/* FLOE_ENOMEM; FLOE_ECORRUPT when the entry starts before the index's end or is empty. */
enum floe_err floe_index_append(struct floe_index *ix, const struct floe_index_entry *e) FLOE_MUST_USE;

/* True when some level has a full set of entries that is in no block yet. */
bool floe_index_wants_build(const struct floe_index *ix);
/* Encodes the next such block (lowest level first) into `w` and marks its entries as under way.
 * FLOE_ENOTFOUND when no level has one; FLOE_ENOMEM. The caller adds the bytes to a segment as
 * FLOE_OPAQUE_INDEX. */
enum floe_err floe_index_build(struct floe_index *ix, struct floe_writer *w, uint32_t *level) FLOE_MUST_USE;
/* The oldest block under way of that level is committed and lies there: it replaces its entries. `at` gives
 * session, seq, position, length and crc. */
enum floe_err floe_index_built(struct floe_index *ix, uint32_t level, const struct floe_session_name *session,
                               uint64_t seq, const struct floe_segment_opaque *at) FLOE_MUST_USE;
/* Blocks under way will never be committed: they may be built again. */
void floe_index_build_abandon(struct floe_index *ix);

/* An answer: level 0 is a data block; a higher one names an index block that must be read and asked next. */
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
/* The first entry among those with the largest max_timestamp. */
enum floe_err floe_index_lookup_max_timestamp(const struct floe_index *ix,
                                              struct floe_index_hit *out) FLOE_MUST_USE;

/* A decoded index block: entries of level - 1 of the hit that named it. */
struct floe_index_block {
    struct floe_uuid topic;
    int32_t partition;
    uint32_t level; /* of its entries */
    uint32_t n;
    struct floe_index_entry entries[FLOE_INDEX_FANOUT];
};
enum floe_err floe_index_block_decode(struct floe_slice bytes, struct floe_index_block *out,
                                      struct floe_error *err) FLOE_MUST_USE;
/* FLOE_ECORRUPT when the block is not what `hit` (level > 0) of this index promised. */
enum floe_err floe_index_block_check(const struct floe_index *ix, const struct floe_index_hit *hit,
                                     const struct floe_index_block *b, struct floe_error *err) FLOE_MUST_USE;
/* As the lookups above, within one block. */
enum floe_err floe_index_block_lookup(const struct floe_index_block *b, int64_t offset,
                                      struct floe_index_hit *out) FLOE_MUST_USE;
enum floe_err floe_index_block_lookup_timestamp(const struct floe_index_block *b, int64_t from,
                                                int64_t timestamp, struct floe_index_hit *out) FLOE_MUST_USE;
enum floe_err floe_index_block_lookup_max_timestamp(const struct floe_index_block *b,
                                                    struct floe_index_hit *out) FLOE_MUST_USE;

/* The in-memory levels as bytes, for a checkpoint; entries of blocks under way are written as entries. The
 * decoder takes an initialised, empty index and stops where the encoding ends (r goes on behind it). */
void floe_index_encode(const struct floe_index *ix, struct floe_writer *w);
enum floe_err floe_index_decode(struct floe_index *ix, struct floe_reader *r,
                                struct floe_error *err) FLOE_MUST_USE;

#endif
