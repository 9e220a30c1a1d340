/* What index.c and index_codec.c share. Private to log/. */
#ifndef FLOE_LOG_INDEX_INT_H
#define FLOE_LOG_INDEX_INT_H

#include <floe/log/index.h>

#define INDEX_ENTRIES_MAX                                                                                    \
    (1u << 24) /* of one level in memory: far above what footers of one rebuild hold                         \
                */

struct index_level {
    struct floe_index_entry *entries;
    uint32_t n, cap;
    uint32_t building; /* the first so many are in blocks under way; a multiple of FLOE_INDEX_FANOUT */
};
struct floe_index {
    uint32_t levels; /* in use */
    uint64_t bytes;  /* of all blocks that were ever appended */
    struct index_level level[FLOE_INDEX_LEVELS_MAX];
};

enum floe_err index_level_push(struct floe_index *ix, uint32_t level,
                               const struct floe_index_entry *e) FLOE_MUST_USE;
int64_t index_max_timestamp(const struct floe_index_entry *e, uint32_t n);
void index_block_encode(struct floe_writer *w, uint32_t level, const struct floe_index_entry *e, uint32_t n);

#endif
