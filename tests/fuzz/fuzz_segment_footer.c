/* Chain objects: as they are (checksums stop most inputs early), and taken as a footer whose checksums are
 * mended, so that the cursor sees every shape. Whatever it gives out lies inside the object and in order. */
#include <floe/base/assert.h>
#include <floe/base/crc32c.h>
#include <floe/segment.h>

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NAME "fuzz"

static void walk(const struct floe_segment_footer *f)
{
    struct floe_segment_cursor c;
    struct floe_segment_block b;
    struct floe_segment_batch m;
    struct floe_segment_opaque o;
    char name[FLOE_SEGMENT_TOPIC_NAME_MAX + 1];
    uint64_t at = FLOE_SEGMENT_HEADER_BYTES;
    floe_segment_cursor_init(&c, f);
    while (floe_segment_next_block(&c, &b)) {
        FLOE_ASSERT(b.position >= at && b.length > 0 && b.position + b.length <= f->data_end);
        FLOE_ASSERT(b.base_offset >= 0 && b.base_offset < b.end_offset && b.topic_ref < f->topic_count);
        floe_segment_topic_name(f, b.topic_ref, name);
        int64_t offset = b.base_offset;
        uint64_t position = b.position;
        while (floe_segment_next_batch(&c, &m)) {
            FLOE_ASSERT(m.position == position && m.length > 0);
            FLOE_ASSERT(m.base_offset >= offset && m.last_offset_delta >= 0 && m.count >= 0);
            offset = m.base_offset + m.last_offset_delta + 1;
            position += m.length;
            FLOE_ASSERT(offset <= b.end_offset && position <= b.position + b.length);
        }
        FLOE_ASSERT(c.err.code || (offset == b.end_offset && position == b.position + b.length));
        at = b.position + b.length;
    }
    at = FLOE_SEGMENT_HEADER_BYTES;
    while (floe_segment_next_opaque(&c, &o)) {
        FLOE_ASSERT(o.position >= at && o.length > 0 && o.position + o.length <= f->data_end);
        FLOE_ASSERT(!o.has_topic || o.topic_ref < f->topic_count);
        at = o.position + o.length;
    }
}

static void as_object(const uint8_t *data, size_t size)
{
    struct floe_segment_id id;
    struct floe_seal seal;
    struct floe_segment_tail tail;
    struct floe_segment_footer f;
    struct floe_error err;
    struct floe_slice s = floe_slice(data, size);
    if (floe_segment_header_decode(s, NAME, &id, &err) == FLOE_OK && id.seal)
        (void)!floe_seal_decode(s, NAME, &seal, &err);
    if (floe_segment_tail_open(s, size, NAME, &tail, &err) == FLOE_OK && tail.need == 0 &&
        floe_segment_footer_open(&tail, NAME, &f, &err) == FLOE_OK)
        walk(&f);
}

/* The last bytes but the trailer's, as a footer. Sections are found by their lengths and get the right CRC.
 */
static void as_footer(const uint8_t *data, size_t size)
{
    uint8_t *p = malloc(size ? size : 1);
    FLOE_ASSERT(p != NULL);
    if (size)
        memcpy(p, data, size);
    for (size_t at = 0; at + 12 <= size && floe_le32(p + at + 4) <= size - at - 12;) {
        uint32_t n = floe_le32(p + at + 4);
        if (floe_le16(p + at) == 1 && n == FLOE_SEGMENT_HEADER_BYTES)
            floe_put_le32(p + at + 12 + 92, floe_crc32c(0, p + at + 12, 92));
        floe_put_le32(p + at + 8, floe_crc32c(floe_crc32c(0, p + at, 8), p + at + 12, n));
        at += 12 + n;
    }
    struct floe_segment_tail tail = {.footer_position = 1u << 20, .footer = floe_slice(p, size)};
    struct floe_segment_footer f;
    struct floe_error err;
    if (floe_segment_footer_open(&tail, NAME, &f, &err) == FLOE_OK)
        walk(&f);
    free(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    as_object(data, size);
    as_footer(data, size);
    if (size > FLOE_SEGMENT_HEADER_BYTES + FLOE_SEGMENT_TRAILER_BYTES) {
        uint64_t from = floe_le64(data + size - FLOE_SEGMENT_TRAILER_BYTES);
        if (from < size - FLOE_SEGMENT_TRAILER_BYTES)
            as_footer(data + from, size - FLOE_SEGMENT_TRAILER_BYTES - from);
    }
    return 0;
}
