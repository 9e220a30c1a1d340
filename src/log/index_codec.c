/* Bytes of index blocks and of a checkpoint's copy of the levels: docs/formats/index.md. */
#include "log/index_int.h"

#include <floe/base/assert.h>
#include <floe/base/crc32c.h>
#include <floe/base/mutant.h>

#include <inttypes.h>

#define INDEX_MAGIC "FLIX"
#define INDEX_VERSION 1
#define INDEX_HEAD_BYTES 12u
#define SESSION_BYTES 16u
#define ENTRY_MIN 11u /* bytes of the shortest entry */

/* Where the differences of a table's entries start from. */
struct previous {
    int64_t end_offset, max_timestamp;
    uint64_t seq;
};

/* ---- writing -------------------------------------------------------------------------------------- */

/* Differences to the entry before; a session is written where it changes, and keys count from 0 again there.
 */
static void write_table(struct floe_writer *w, const struct floe_index_entry *e, uint32_t n)
{
    floe_write_uvarint(w, n);
    struct previous prev = {.max_timestamp = 0};
    for (uint32_t i = 0; i < n; i++) {
        bool same = i > 0 && floe_session_name_eq(&e[i].session, &e[i - 1].session);
        floe_write_u8(w, same ? 0 : 1);
        if (!same) {
            floe_write_le32(w, (uint32_t)e[i].session.node);
            floe_write_le32(w, (uint32_t)e[i].session.epoch);
            floe_write_le64(w, e[i].session.id);
            prev.seq = 0;
        }
        floe_write_varint(w, (int64_t)(e[i].seq - prev.seq));
        floe_write_uvarint(w, (uint64_t)(e[i].base_offset - prev.end_offset));
        floe_write_uvarint(w, (uint64_t)(e[i].end_offset - e[i].base_offset));
        floe_write_varint(w, (int64_t)((uint64_t)e[i].max_timestamp - (uint64_t)prev.max_timestamp));
        floe_write_uvarint(w, e[i].position);
        floe_write_uvarint(w, e[i].length);
        floe_write_le32(w, e[i].crc);
        prev = (struct previous){e[i].end_offset, e[i].max_timestamp, e[i].seq};
    }
}

void index_block_encode(struct floe_writer *w, uint32_t level, const struct floe_index_entry *e, uint32_t n)
{
    size_t at = w->n;
    floe_write(w, INDEX_MAGIC, 4);
    floe_write_le16(w, INDEX_VERSION);
    floe_write_u8(w, (uint8_t)level);
    floe_write_u8(w, 0);
    floe_write_le32(w, 0);
    write_table(w, e, n);
    if (w->bad)
        return;
    FLOE_ASSERT(w->n - at <= FLOE_INDEX_BLOCK_BYTES_MAX);
    uint8_t *p = w->p + at;
    size_t body = w->n - at - INDEX_HEAD_BYTES;
    floe_put_le32(p + 8, floe_crc32c(floe_crc32c(0, p, 8), p + INDEX_HEAD_BYTES, body));
}

enum floe_err floe_index_encode(const struct floe_index *ix, struct floe_writer *w)
{
    floe_write_u8(w, INDEX_VERSION);
    floe_write_u8(w, (uint8_t)ix->levels);
    for (uint32_t l = 0; l < ix->levels; l++)
        write_table(w, ix->level[l].entries, ix->level[l].n);
    return w->bad ? FLOE_ENOMEM : FLOE_OK;
}

/* ---- reading -------------------------------------------------------------------------------------- */

/* One entry; r->bad when it is cut or cannot be. */
static void read_entry(struct floe_reader *r, const struct previous *prev, bool first,
                       struct floe_session_name *session, struct floe_index_entry *out)
{
    uint8_t new_session = floe_read_u8(r);
    uint64_t seq = prev->seq;
    if (new_session == 1) {
        session->node = (int32_t)floe_read_le32(r);
        session->epoch = (int32_t)floe_read_le32(r);
        session->id = floe_read_le64(r);
        seq = 0;
    }
    struct floe_index_entry e = {.session = *session};
    e.seq = seq + (uint64_t)floe_read_varint64(r);
    uint64_t gap = floe_read_uvarint64(r), span = floe_read_uvarint64(r);
    e.max_timestamp = (int64_t)((uint64_t)prev->max_timestamp + (uint64_t)floe_read_varint64(r));
    e.position = floe_read_uvarint64(r);
    e.length = floe_read_uvarint32(r);
    e.crc = floe_read_le32(r);
    uint64_t room = (uint64_t)(INT64_MAX - prev->end_offset);
    if (new_session > 1 || (first && new_session == 0) || session->node < 0 || session->epoch < 0 ||
        gap > room || span == 0 || span > room - gap || e.length == 0 || e.position > INT64_MAX)
        r->bad = true;
    if (r->bad)
        return;
    e.base_offset = prev->end_offset + (int64_t)gap;
    e.end_offset = e.base_offset + (int64_t)span;
    *out = e;
}

/* Count of a table, bounded by the bytes that are left. */
static uint32_t read_count(struct floe_reader *r, uint32_t max)
{
    uint32_t n = floe_read_uvarint32(r);
    if (n > max || n > floe_reader_left(r) / ENTRY_MIN)
        r->bad = true;
    return r->bad ? 0 : n;
}

enum floe_err floe_index_page_decode(struct floe_slice bytes, struct floe_index_page *out,
                                     struct floe_error *err)
{
    const uint8_t *p = bytes.p;
    if (bytes.n < INDEX_HEAD_BYTES || memcmp(p, INDEX_MAGIC, 4) != 0)
        return floe_error_set(err, FLOE_ECORRUPT, "not an index block");
    if (floe_crc32c(floe_crc32c(0, p, 8), p + INDEX_HEAD_BYTES, bytes.n - INDEX_HEAD_BYTES) !=
            floe_le32(p + 8) &&
        !FLOE_MUTANT(INDEX_UNCHECKED))
        return floe_error_set(err, FLOE_ECORRUPT, "checksum of an index block does not fit");
    if (floe_le16(p + 4) > INDEX_VERSION)
        return floe_error_set(err, FLOE_EUNSUPPORTED, "index version %u, this Floe reads up to %d",
                              floe_le16(p + 4), INDEX_VERSION);
    if (floe_le16(p + 4) == 0 || p[6] >= FLOE_INDEX_LEVELS_MAX || p[7] != 0)
        return floe_error_set(err, FLOE_ECORRUPT, "index block of version %u and level %u", floe_le16(p + 4),
                              p[6]);
    out->level = p[6];
    out->n = 0;
    struct floe_reader r = floe_reader(floe_slice(p + INDEX_HEAD_BYTES, bytes.n - INDEX_HEAD_BYTES));
    uint32_t n = read_count(&r, FLOE_INDEX_FANOUT);
    struct previous prev = {0};
    struct floe_session_name session = {0};
    for (uint32_t i = 0; i < n && !r.bad; i++) {
        struct floe_index_entry *e = &out->entries[i];
        read_entry(&r, &prev, i == 0, &session, e);
        if (!r.bad)
            prev = (struct previous){e->end_offset, e->max_timestamp, e->seq};
    }
    if (r.bad || n == 0 || floe_reader_left(&r) != 0)
        return floe_error_set(err, FLOE_ECORRUPT, "index block: byte %zu: an entry is cut or cannot be",
                              (size_t)(r.p - p));
    out->n = n;
    return FLOE_OK;
}

enum floe_err floe_index_page_check(const struct floe_index_page *page, const struct floe_index_hit *hit,
                                    struct floe_error *err)
{
    FLOE_ASSERT(hit->level > 0);
    const struct floe_index_entry *e = &hit->entry;
    if (page->level + 1 != hit->level || page->n == 0 || page->entries[0].base_offset != e->base_offset ||
        page->entries[page->n - 1].end_offset != e->end_offset ||
        index_max_timestamp(page->entries, page->n) != e->max_timestamp)
        return floe_error_set(err, FLOE_ECORRUPT,
                              "index block is not the one of level %" PRIu32 " for offsets %" PRId64
                              " to %" PRId64 " that was looked for",
                              hit->level - 1, e->base_offset, e->end_offset);
    return FLOE_OK;
}

static enum floe_err read_level(struct floe_index *ix, uint32_t level, struct floe_reader *r)
{
    uint32_t n = read_count(r, INDEX_ENTRIES_MAX);
    struct previous prev = {0};
    struct floe_session_name session = {0};
    for (uint32_t i = 0; i < n; i++) {
        struct floe_index_entry e;
        read_entry(r, &prev, i == 0, &session, &e);
        if (r->bad)
            break;
        enum floe_err err = index_level_push(ix, level, &e);
        if (err)
            return err;
        prev = (struct previous){e.end_offset, e.max_timestamp, e.seq};
    }
    return r->bad ? FLOE_ECORRUPT : FLOE_OK;
}

/* Invariant 4: each level starts at or after the end of all that is above it. */
static bool levels_ascend(const struct floe_index *ix)
{
    int64_t end = 0;
    for (uint32_t l = ix->levels; l-- > 0;) {
        const struct index_level *v = &ix->level[l];
        if (v->n && v->entries[0].base_offset < end)
            return false;
        if (v->n)
            end = v->entries[v->n - 1].end_offset;
    }
    return true;
}

static void clear(struct floe_index *ix)
{
    for (uint32_t l = 0; l < ix->levels; l++)
        ix->level[l].n = 0;
}

enum floe_err floe_index_decode(struct floe_index *ix, struct floe_slice in, struct floe_error *err)
{
    FLOE_ASSERT(floe_index_end(ix) == 0);
    struct floe_reader r = floe_reader(in);
    uint8_t version = floe_read_u8(&r), levels = floe_read_u8(&r);
    if (r.bad || version == 0 || levels > FLOE_INDEX_LEVELS_MAX)
        return floe_error_set(err, FLOE_ECORRUPT, "index: version %u with %u levels", version, levels);
    if (version > INDEX_VERSION)
        return floe_error_set(err, FLOE_EUNSUPPORTED, "index version %u, this Floe reads up to %d", version,
                              INDEX_VERSION);
    for (uint32_t l = 0; l < levels; l++) {
        enum floe_err e = read_level(ix, l, &r);
        if (e) {
            clear(ix);
            return floe_error_set(err, e,
                                  "index: byte %zu: an entry of level %" PRIu32 " is cut or cannot be",
                                  (size_t)(r.p - in.p), l);
        }
    }
    if (floe_reader_left(&r) != 0 || !levels_ascend(ix)) {
        clear(ix);
        return floe_error_set(err, FLOE_ECORRUPT,
                              "index: levels that contradict each other, or bytes behind them");
    }
    return FLOE_OK;
}
