/* Opening a footer: trailer, sections, dictionary. What the cursor (cursor.c) walks is located and bounded
 * here.
 */
#include "segment/format.h"

#include <floe/base/assert.h>
#include <floe/base/crc32c.h>

#include <inttypes.h>

/* Trailer fields that do not depend on how much of the object is at hand. */
static enum floe_err trailer_check(const uint8_t *t, uint64_t at, const char *key, struct floe_error *err)
{
    if (memcmp(t + 24, SEGMENT_END_MAGIC, SEGMENT_MAGIC_BYTES) != 0)
        return floe_error_set(err, FLOE_ECORRUPT, "%s: byte %" PRIu64 ": not the end of a Floe segment", key,
                              at + 24);
    if (floe_le32(t + 20) != floe_crc32c(0, t, 20))
        return floe_error_set(err, FLOE_ECORRUPT,
                              "%s: byte %" PRIu64 ": checksum of the trailer does not fit", key, at + 20);
    if (floe_le16(t + 16) > FLOE_SEGMENT_VERSION)
        return floe_error_set(err, FLOE_EUNSUPPORTED, "%s: segment version %u, this Floe reads up to %d", key,
                              floe_le16(t + 16), FLOE_SEGMENT_VERSION);
    if (floe_le16(t + 16) == 0 || (floe_le16(t + 18) & ~SEGMENT_FLAG_SEAL))
        return floe_error_set(err, FLOE_ECORRUPT, "%s: byte %" PRIu64 ": version %u with flags %#x", key,
                              at + 16, floe_le16(t + 16), floe_le16(t + 18));
    return FLOE_OK;
}

enum floe_err floe_segment_tail_open(struct floe_slice tail, uint64_t object_size, const char *key,
                                     struct floe_segment_tail *out, struct floe_error *err)
{
    FLOE_ASSERT(tail.n <= object_size);
    if (object_size < FLOE_SEGMENT_HEADER_BYTES + FLOE_SEGMENT_TRAILER_BYTES)
        return floe_error_set(err, FLOE_ECORRUPT, "%s: %" PRIu64 " bytes are too few for a segment", key,
                              object_size);
    if (tail.n < FLOE_SEGMENT_TRAILER_BYTES) {
        *out = (struct floe_segment_tail){.need = FLOE_MIN(object_size, FLOE_SEGMENT_TAIL_BYTES)};
        return FLOE_OK;
    }
    const uint8_t *t = tail.p + tail.n - FLOE_SEGMENT_TRAILER_BYTES;
    uint64_t at = object_size - FLOE_SEGMENT_TRAILER_BYTES;
    enum floe_err e = trailer_check(t, at, key, err);
    if (e)
        return e;
    uint64_t position = floe_le64(t);
    uint32_t length = floe_le32(t + 8);
    if (length > FLOE_SEGMENT_FOOTER_MAX || position < FLOE_SEGMENT_HEADER_BYTES || position > at ||
        at - position != length)
        return floe_error_set(err, FLOE_ECORRUPT,
                              "%s: byte %" PRIu64 ": a footer of %" PRIu32 " bytes at %" PRIu64
                              " does not fit an object of %" PRIu64 " bytes",
                              key, at, length, position, object_size);
    uint64_t need = (uint64_t)length + FLOE_SEGMENT_TRAILER_BYTES;
    if (tail.n < need) {
        *out = (struct floe_segment_tail){.need = need, .footer_position = position};
        return FLOE_OK;
    }
    struct floe_slice footer = floe_slice(t - length, length);
    if (floe_crc32c(0, footer.p, footer.n) != floe_le32(t + 12))
        return floe_error_set(err, FLOE_ECORRUPT, "%s: byte %" PRIu64 ": checksum of the footer does not fit",
                              key, position);
    *out = (struct floe_segment_tail){.footer_position = position, .footer = footer};
    return FLOE_OK;
}

static enum floe_err corrupt(const struct floe_segment_footer *f, const uint8_t *at, struct floe_error *err,
                             const char *what)
{
    return floe_error_set(err, FLOE_ECORRUPT, "%s: byte %" PRIu64 ": %s", f->key,
                          f->data_end + (uint64_t)(at - f->bytes.p), what);
}

/* Dictionary: u32 count, the ids, then the names in the same order as u8 length and bytes. */
static enum floe_err open_dictionary(struct floe_segment_footer *f, struct floe_slice payload,
                                     struct floe_error *err)
{
    struct floe_reader r = floe_reader(payload);
    uint32_t count = floe_read_le32(&r);
    if (r.bad || count > floe_reader_left(&r) / DICTIONARY_ENTRY_MIN)
        return corrupt(f, payload.p, err, "the dictionary names more topics than fit");
    f->dict_ids = floe_slice(floe_reader_take(&r, (size_t)count * 16), (size_t)count * 16);
    f->dict_names = floe_slice(r.p, floe_reader_left(&r));
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *at = r.p;
        uint8_t n = floe_read_u8(&r);
        const uint8_t *name = floe_reader_take(&r, n);
        if (r.bad || n == 0 || n > FLOE_SEGMENT_TOPIC_NAME_MAX || memchr(name, 0, n))
            return corrupt(f, at, err,
                           "a topic name in the dictionary is cut, empty, too long or has a zero");
    }
    if (floe_reader_left(&r) != 0)
        return corrupt(f, r.p, err, "bytes are left after the dictionary");
    f->topic_count = count;
    return FLOE_OK;
}

static enum floe_err open_counted(const struct floe_segment_footer *f, struct floe_slice payload,
                                  uint32_t entry_min, struct floe_slice *entries, uint32_t *count,
                                  struct floe_error *err)
{
    struct floe_reader r = floe_reader(payload);
    uint32_t n = floe_read_le32(&r);
    if (r.bad || n > floe_reader_left(&r) / entry_min)
        return corrupt(f, payload.p, err, "a section counts more entries than fit");
    *entries = floe_slice(r.p, floe_reader_left(&r));
    *count = n;
    return FLOE_OK;
}

static enum floe_err open_section(struct floe_segment_footer *f, uint16_t type, uint16_t flags,
                                  struct floe_slice payload, struct floe_error *err)
{
    switch (type) {
    case SECTION_IDENTITY:
        return floe_segment_header_decode(payload, f->key, &f->id, err);
    case SECTION_DICTIONARY:
        return open_dictionary(f, payload, err);
    case SECTION_BATCHES:
        return open_counted(f, payload, BLOCK_ENTRY_MIN, &f->blocks, &f->block_count, err);
    case SECTION_OPAQUES:
        return open_counted(f, payload, OPAQUE_ENTRY_MIN, &f->opaques, &f->opaque_count, err);
    case SECTION_SEAL:
        if (payload.n != SEAL_SECTION_BYTES)
            return corrupt(f, payload.p, err, "the seal's section has a wrong length");
        return FLOE_OK;
    default:
        if (flags & SECTION_FLAG_REQUIRED)
            return floe_error_set(err, FLOE_EUNSUPPORTED,
                                  "%s: byte %" PRIu64 ": section type %u must be understood, and is not",
                                  f->key, f->data_end + (uint64_t)(payload.p - f->bytes.p), type);
        return FLOE_OK;
    }
}

enum floe_err floe_segment_footer_open(const struct floe_segment_tail *tail, const char *key,
                                       struct floe_segment_footer *out, struct floe_error *err)
{
    FLOE_ASSERT(tail->need == 0);
    struct floe_segment_footer f = {.key = key, .data_end = tail->footer_position, .bytes = tail->footer};
    struct floe_reader r = floe_reader(tail->footer);
    uint32_t seen = 0; /* bit t: section type t was there */
    while (floe_reader_left(&r) > 0) {
        const uint8_t *head = floe_reader_take(&r, SECTION_HEADER_BYTES);
        if (!head)
            return corrupt(&f, r.p, err, "a section head is cut");
        uint16_t type = floe_le16(head);
        uint32_t length = floe_le32(head + 4);
        const uint8_t *payload = floe_reader_take(&r, length);
        if (!payload)
            return corrupt(&f, head + 4, err, "a section is longer than the footer");
        if (segment_section_crc(head, length) != floe_le32(head + 8))
            return corrupt(&f, head + 8, err, "checksum of a section does not fit");
        if (type < 32) {
            if (seen & (1u << type))
                return corrupt(&f, head, err, "a section is there twice");
            seen |= 1u << type;
        }
        enum floe_err e = open_section(&f, type, floe_le16(head + 2), floe_slice(payload, length), err);
        if (e)
            return e;
    }
    if (!(seen & (1u << SECTION_IDENTITY)))
        return corrupt(&f, f.bytes.p, err, "the section that says whose segment this is is missing");
    if (f.id.seal != ((seen & (1u << SECTION_SEAL)) != 0) ||
        (f.id.seal && f.block_count + f.opaque_count > 0))
        return corrupt(&f, f.bytes.p, err, "half a seal and half a segment");
    *out = f;
    return FLOE_OK;
}

struct floe_uuid floe_segment_topic_id(const struct floe_segment_footer *f, uint32_t ref)
{
    FLOE_ASSERT(ref < f->topic_count);
    struct floe_uuid id;
    memcpy(id.b, f->dict_ids.p + (size_t)ref * 16, 16);
    return id;
}

void floe_segment_topic_name(const struct floe_segment_footer *f, uint32_t ref,
                             char out[FLOE_SEGMENT_TOPIC_NAME_MAX + 1])
{
    FLOE_ASSERT(ref < f->topic_count);
    const uint8_t *p = f->dict_names.p; /* walked and bounded by open_dictionary */
    for (; ref > 0; ref--)
        p += 1 + *p;
    memcpy(out, p + 1, *p);
    out[*p] = 0;
}
