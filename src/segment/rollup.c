/* Roll-ups: footers of the segments before, together in one block (docs/formats/rollup.md). */
#include <floe/segment/rollup.h>

#include <floe/segment.h>

#include <inttypes.h>

enum { VERSION = 1, POSITION_MAX_LOG2 = 40 };

void floe_rollup_head(uint8_t out[FLOE_ROLLUP_HEAD_BYTES], uint64_t first, uint32_t count)
{
    floe_put_le32(out, VERSION);
    floe_put_le32(out + 4, count);
    floe_put_le64(out + 8, first);
}

static enum floe_err corrupt(struct floe_error *err, const char *key, const char *what)
{
    return floe_error_set(err, FLOE_ECORRUPT, "roll-up in %s: %s", key, what);
}

enum floe_err floe_rollup_open(struct floe_slice block, const char *key, struct floe_rollup *out,
                               struct floe_error *err)
{
    struct floe_reader r = floe_reader(block);
    uint32_t version = floe_read_le32(&r), count = floe_read_le32(&r);
    uint64_t first = floe_read_le64(&r);
    if (r.bad)
        return corrupt(err, key, "it is cut short");
    if (version != VERSION)
        return floe_error_set(err, FLOE_EUNSUPPORTED, "roll-up in %s: version %" PRIu32, key, version);
    if (count == 0 || count > FLOE_ROLLUP_KEYS_MAX || first > UINT64_MAX - count)
        return corrupt(err, key, "its keys cannot be");
    struct floe_rollup whole = {.first = first, .count = count, .entries = r};
    for (uint32_t i = 0; i < count; i++) {
        uint32_t n = floe_read_le32(&r);
        const uint8_t *tail = floe_reader_take(&r, n);
        if (!tail || n < FLOE_SEGMENT_TRAILER_BYTES)
            return corrupt(err, key, "an entry is cut short");
        if (floe_le64(tail + n - FLOE_SEGMENT_TRAILER_BYTES) >> POSITION_MAX_LOG2)
            return corrupt(err, key, "an entry is of an object that cannot be so long");
    }
    if (floe_reader_left(&r) != 0)
        return corrupt(err, key, "bytes follow its last entry");
    *out = whole;
    return FLOE_OK;
}

bool floe_rollup_next(struct floe_rollup *r, struct floe_slice *tail, uint64_t *object_size)
{
    if (r->count == 0)
        return false;
    uint32_t n = floe_read_le32(&r->entries);
    *tail = floe_slice(floe_reader_take(&r->entries, n), n);
    *object_size = floe_le64(tail->p + n - FLOE_SEGMENT_TRAILER_BYTES) + n;
    r->first++;
    r->count--;
    return true;
}
