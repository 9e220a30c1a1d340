/* The partition index: levels in memory, blocks under way, lookups. The codec is index_codec.c. */
#include "log/index_int.h"

#include <floe/base/assert.h>

#include <stdlib.h>

enum floe_err floe_index_create(struct floe_index **out)
{
    struct floe_index *ix = calloc(1, sizeof *ix);
    if (!ix)
        return FLOE_ENOMEM;
    *out = ix;
    return FLOE_OK;
}

void floe_index_destroy(struct floe_index **ixp)
{
    struct floe_index *ix = *ixp;
    if (!ix)
        return;
    for (uint32_t l = 0; l < ix->levels; l++)
        free(ix->level[l].entries);
    free(ix);
    *ixp = NULL;
}

struct floe_index_entry floe_index_entry_of(const struct floe_segment_block *b,
                                            const struct floe_session_name *session, uint64_t seq)
{
    return (struct floe_index_entry){.base_offset = b->base_offset,
                                     .end_offset = b->end_offset,
                                     .max_timestamp = b->max_timestamp,
                                     .session = *session,
                                     .seq = seq,
                                     .position = b->position,
                                     .length = b->length,
                                     .crc = b->crc};
}

enum floe_err index_level_push(struct floe_index *ix, uint32_t level, const struct floe_index_entry *e)
{
    FLOE_ASSERT(level < FLOE_INDEX_LEVELS_MAX);
    struct index_level *l = &ix->level[level];
    if (l->n == l->cap) {
        uint32_t cap = l->cap ? l->cap * 2 : 4;
        struct floe_index_entry *p = l->cap < INDEX_ENTRIES_MAX ? realloc(l->entries, cap * sizeof *p) : NULL;
        if (!p)
            return FLOE_ENOMEM;
        l->entries = p;
        l->cap = cap;
    }
    l->entries[l->n++] = *e;
    ix->levels = FLOE_MAX(ix->levels, level + 1);
    return FLOE_OK;
}

int64_t floe_index_start(const struct floe_index *ix)
{
    for (uint32_t l = ix->levels; l-- > 0;)
        if (ix->level[l].n)
            return ix->level[l].entries[0].base_offset;
    return 0;
}

int64_t floe_index_end(const struct floe_index *ix)
{
    for (uint32_t l = 0; l < ix->levels; l++)
        if (ix->level[l].n)
            return ix->level[l].entries[ix->level[l].n - 1].end_offset;
    return 0;
}

size_t floe_index_memory(const struct floe_index *ix)
{
    size_t bytes = sizeof *ix;
    for (uint32_t l = 0; l < ix->levels; l++)
        bytes += ix->level[l].cap * sizeof(struct floe_index_entry);
    return bytes;
}

enum floe_err floe_index_append(struct floe_index *ix, const struct floe_index_entry *e)
{
    if (e->base_offset < floe_index_end(ix) || e->end_offset <= e->base_offset || e->length == 0)
        return FLOE_ECORRUPT;
    enum floe_err rc = index_level_push(ix, 0, e);
    if (rc == FLOE_OK)
        ix->bytes += e->length;
    return rc;
}

uint64_t floe_index_bytes(const struct floe_index *ix)
{
    return ix->bytes;
}

void floe_index_set_bytes(struct floe_index *ix, uint64_t bytes)
{
    ix->bytes = bytes;
}

static bool level_due(const struct index_level *l)
{
    return l->n - l->building >= FLOE_INDEX_FANOUT;
}

bool floe_index_block_due(const struct floe_index *ix)
{
    for (uint32_t l = 0; l < ix->levels; l++)
        if (level_due(&ix->level[l]))
            return true;
    return false;
}

enum floe_err floe_index_block_begin(struct floe_index *ix, struct floe_writer *w,
                                     struct floe_index_block *out)
{
    for (uint32_t i = 0; i < ix->levels; i++) {
        struct index_level *l = &ix->level[i];
        if (!level_due(l))
            continue;
        const struct floe_index_entry *first = l->entries + l->building;
        index_block_encode(w, i, first, FLOE_INDEX_FANOUT);
        if (w->bad)
            return FLOE_ENOMEM;
        *out = (struct floe_index_block){
            .level = (uint8_t)i, .count = FLOE_INDEX_FANOUT, .base_offset = first->base_offset};
        l->building += FLOE_INDEX_FANOUT;
        return FLOE_OK;
    }
    return FLOE_ENOTFOUND;
}

enum floe_err floe_index_block_done(struct floe_index *ix, const struct floe_index_block *b,
                                    const struct floe_index_entry *where)
{
    FLOE_ASSERT(b->level < ix->levels);
    struct index_level *l = &ix->level[b->level];
    FLOE_ASSERT(b->count == FLOE_INDEX_FANOUT && l->building >= b->count &&
                l->entries[0].base_offset == b->base_offset && where->length > 0);
    struct floe_index_entry e = *where;
    e.base_offset = b->base_offset;
    e.end_offset = l->entries[b->count - 1].end_offset;
    e.max_timestamp = index_max_timestamp(l->entries, b->count);
    enum floe_err err = index_level_push(ix, b->level + 1u, &e);
    if (err)
        return err;
    l->n -= b->count;
    l->building -= b->count;
    memmove(l->entries, l->entries + b->count, l->n * sizeof *l->entries);
    return FLOE_OK;
}

/* ---- lookups -------------------------------------------------------------------------------------- */

int64_t index_max_timestamp(const struct floe_index_entry *e, uint32_t n)
{
    int64_t max = -1;
    for (uint32_t i = 0; i < n; i++)
        max = FLOE_MAX(max, e[i].max_timestamp);
    return max;
}

/* First of n entries with end_offset > offset, or n. */
static uint32_t entry_after(const struct floe_index_entry *e, uint32_t n, int64_t offset)
{
    uint32_t from = 0, to = n;
    while (from < to) {
        uint32_t mid = from + (to - from) / 2;
        if (e[mid].end_offset > offset)
            to = mid;
        else
            from = mid + 1;
    }
    return from;
}

static enum floe_err search(const struct floe_index_entry *e, uint32_t n, uint32_t level, int64_t offset,
                            struct floe_index_hit *out)
{
    uint32_t i = entry_after(e, n, offset);
    if (i == n)
        return FLOE_ENOTFOUND;
    *out = (struct floe_index_hit){.level = level, .entry = e[i]};
    return FLOE_OK;
}

static enum floe_err search_timestamp(const struct floe_index_entry *e, uint32_t n, uint32_t level,
                                      int64_t from, int64_t timestamp, struct floe_index_hit *out)
{
    for (uint32_t i = entry_after(e, n, from); i < n; i++)
        if (e[i].max_timestamp >= timestamp) {
            *out = (struct floe_index_hit){.level = level, .entry = e[i]};
            return FLOE_OK;
        }
    return FLOE_ENOTFOUND;
}

/* Betters *out; *out starts with a timestamp of -1. */
static void search_max(const struct floe_index_entry *e, uint32_t n, uint32_t level, int64_t from, int64_t to,
                       struct floe_index_hit *out)
{
    for (uint32_t i = entry_after(e, n, from); i < n && e[i].base_offset < to; i++)
        if (e[i].max_timestamp > out->entry.max_timestamp)
            *out = (struct floe_index_hit){.level = level, .entry = e[i]};
}

enum floe_err floe_index_lookup(const struct floe_index *ix, int64_t offset, struct floe_index_hit *out)
{
    for (uint32_t l = ix->levels; l-- > 0;)
        if (search(ix->level[l].entries, ix->level[l].n, l, offset, out) == FLOE_OK)
            return FLOE_OK;
    return FLOE_ENOTFOUND;
}

enum floe_err floe_index_lookup_timestamp(const struct floe_index *ix, int64_t from, int64_t timestamp,
                                          struct floe_index_hit *out)
{
    for (uint32_t l = ix->levels; l-- > 0;)
        if (search_timestamp(ix->level[l].entries, ix->level[l].n, l, from, timestamp, out) == FLOE_OK)
            return FLOE_OK;
    return FLOE_ENOTFOUND;
}

enum floe_err floe_index_lookup_max_timestamp(const struct floe_index *ix, int64_t from, int64_t to,
                                              struct floe_index_hit *out)
{
    struct floe_index_hit best = {.entry.max_timestamp = -1};
    for (uint32_t l = ix->levels; l-- > 0;)
        search_max(ix->level[l].entries, ix->level[l].n, l, from, to, &best);
    if (best.entry.max_timestamp < 0)
        return FLOE_ENOTFOUND;
    *out = best;
    return FLOE_OK;
}

enum floe_err floe_index_page_lookup(const struct floe_index_page *page, int64_t offset,
                                     struct floe_index_hit *out)
{
    return search(page->entries, page->n, page->level, offset, out);
}

enum floe_err floe_index_page_lookup_timestamp(const struct floe_index_page *page, int64_t from,
                                               int64_t timestamp, struct floe_index_hit *out)
{
    return search_timestamp(page->entries, page->n, page->level, from, timestamp, out);
}

enum floe_err floe_index_page_lookup_max_timestamp(const struct floe_index_page *page, int64_t from,
                                                   int64_t to, struct floe_index_hit *out)
{
    struct floe_index_hit best = {.entry.max_timestamp = -1};
    search_max(page->entries, page->n, page->level, from, to, &best);
    if (best.entry.max_timestamp < 0)
        return FLOE_ENOTFOUND;
    *out = best;
    return FLOE_OK;
}
