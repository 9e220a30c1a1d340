/* Seals: the tiny object that ends a chain. Header, a footer of two sections (identity, who sealed), trailer.
 */
#include "segment/format.h"

#include <floe/base/assert.h>

#define SEAL_FOOTER_BYTES                                                                                    \
    (SECTION_HEADER_BYTES + FLOE_SEGMENT_HEADER_BYTES + SECTION_HEADER_BYTES + SEAL_SECTION_BYTES)
_Static_assert(FLOE_SEGMENT_HEADER_BYTES + SEAL_FOOTER_BYTES + FLOE_SEGMENT_TRAILER_BYTES == FLOE_SEAL_BYTES,
               "a seal has one size");

void floe_seal_encode(uint8_t out[FLOE_SEAL_BYTES], const struct floe_seal *seal)
{
    struct floe_segment_id id = seal->id;
    id.seal = true;
    segment_header_encode(out, &id);
    uint8_t *footer = out + FLOE_SEGMENT_HEADER_BYTES;
    memcpy(footer + SECTION_HEADER_BYTES, out, FLOE_SEGMENT_HEADER_BYTES);
    segment_section_encode(footer, SECTION_IDENTITY, SECTION_FLAG_REQUIRED, FLOE_SEGMENT_HEADER_BYTES);
    uint8_t *by = footer + SECTION_HEADER_BYTES + FLOE_SEGMENT_HEADER_BYTES;
    floe_put_le32(by + SECTION_HEADER_BYTES, (uint32_t)seal->by.node);
    floe_put_le32(by + SECTION_HEADER_BYTES + 4, (uint32_t)seal->by.epoch);
    floe_put_le64(by + SECTION_HEADER_BYTES + 8, seal->by.id);
    segment_section_encode(by, SECTION_SEAL, SECTION_FLAG_REQUIRED, SEAL_SECTION_BYTES);
    segment_trailer_encode(footer + SEAL_FOOTER_BYTES, FLOE_SEGMENT_HEADER_BYTES,
                           floe_slice(footer, SEAL_FOOTER_BYTES), true);
}

enum floe_err floe_seal_decode(struct floe_slice object, const char *key, struct floe_seal *out,
                               struct floe_error *err)
{
    struct floe_seal seal = {0};
    enum floe_err e = floe_segment_header_decode(object, key, &seal.id, err);
    if (e)
        return e;
    if (!seal.id.seal)
        return floe_error_set(err, FLOE_ECORRUPT, "%s: byte 10: a segment where a seal was expected", key);
    struct floe_segment_tail tail;
    e = floe_segment_tail_open(object, object.n, key, &tail, err);
    if (e)
        return e;
    struct floe_segment_footer footer;
    e = floe_segment_footer_open(&tail, key, &footer, err);
    if (e)
        return e;
    /* The footer is checked; a seal of this version has one size, and `by` is its last section. */
    if (object.n != FLOE_SEAL_BYTES || tail.footer_position != FLOE_SEGMENT_HEADER_BYTES ||
        memcmp(object.p, tail.footer.p + SECTION_HEADER_BYTES, FLOE_SEGMENT_HEADER_BYTES) != 0)
        return floe_error_set(err, FLOE_ECORRUPT, "%s: a seal of %zu bytes is not what a seal looks like",
                              key, object.n);
    const uint8_t *by = tail.footer.p + SECTION_HEADER_BYTES + FLOE_SEGMENT_HEADER_BYTES;
    if (floe_le16(by) != SECTION_SEAL || floe_le32(by + 4) != SEAL_SECTION_BYTES)
        return floe_error_set(err, FLOE_ECORRUPT, "%s: byte %u: the section that names who sealed is missing",
                              key,
                              FLOE_SEGMENT_HEADER_BYTES + SECTION_HEADER_BYTES + FLOE_SEGMENT_HEADER_BYTES);
    by += SECTION_HEADER_BYTES;
    seal.by =
        (struct floe_session_name){(int32_t)floe_le32(by), (int32_t)floe_le32(by + 4), floe_le64(by + 8)};
    if (seal.by.node < 0 || seal.by.epoch < 0)
        return floe_error_set(err, FLOE_ECORRUPT, "%s: the section that names who sealed has a negative id",
                              key);
    *out = seal;
    return FLOE_OK;
}
