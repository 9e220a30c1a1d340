/* Header, trailer, section heads and the seal: the fixed-size parts of docs/formats/segment.md. */
#include "segment/format.h"

#include <floe/base/assert.h>
#include <floe/base/crc32c.h>

#include <inttypes.h>

void segment_header_encode(uint8_t out[FLOE_SEGMENT_HEADER_BYTES], const struct floe_segment_id *id)
{
    memset(out, 0, FLOE_SEGMENT_HEADER_BYTES);
    memcpy(out, SEGMENT_MAGIC, SEGMENT_MAGIC_BYTES);
    floe_put_le16(out + 8, FLOE_SEGMENT_VERSION);
    floe_put_le16(out + 10, id->seal ? SEGMENT_FLAG_SEAL : 0);
    floe_put_le32(out + 12, FLOE_SEGMENT_HEADER_BYTES);
    floe_put_le32(out + 16, (uint32_t)id->session.node);
    floe_put_le32(out + 20, (uint32_t)id->session.epoch);
    floe_put_le64(out + 24, id->session.id);
    floe_put_le64(out + 32, id->seq);
    memcpy(out + 40, id->cluster.b, 16);
    memcpy(out + 56, id->nonce.b, 16);
    floe_put_le64(out + 72, (uint64_t)id->created_ms);
    floe_put_le32(out + 92, floe_crc32c(0, out, 92));
}

enum floe_err floe_segment_header_decode(struct floe_slice head, const char *key, struct floe_segment_id *out,
                                         struct floe_error *err)
{
    if (head.n < FLOE_SEGMENT_HEADER_BYTES)
        return floe_error_set(err, FLOE_ECORRUPT, "%s: %zu bytes are too few for a segment header", key,
                              head.n);
    const uint8_t *p = head.p;
    if (memcmp(p, SEGMENT_MAGIC, SEGMENT_MAGIC_BYTES) != 0)
        return floe_error_set(err, FLOE_ECORRUPT, "%s: byte 0: not a Floe segment (magic is wrong)", key);
    if (floe_le32(p + 92) != floe_crc32c(0, p, 92))
        return floe_error_set(err, FLOE_ECORRUPT, "%s: byte 92: checksum of the header does not fit", key);
    uint16_t version = floe_le16(p + 8), flags = floe_le16(p + 10);
    if (version > FLOE_SEGMENT_VERSION)
        return floe_error_set(err, FLOE_EUNSUPPORTED, "%s: segment version %u, this Floe reads up to %d", key,
                              version, FLOE_SEGMENT_VERSION);
    if (version == 0 || floe_le32(p + 12) != FLOE_SEGMENT_HEADER_BYTES || (flags & ~SEGMENT_FLAG_SEAL))
        return floe_error_set(err, FLOE_ECORRUPT,
                              "%s: byte 8: version %u with flags %#x and header length %" PRIu32, key,
                              version, flags, floe_le32(p + 12));
    struct floe_segment_id id = {
        .session = {.node = (int32_t)floe_le32(p + 16),
                    .epoch = (int32_t)floe_le32(p + 20),
                    .id = floe_le64(p + 24)},
        .seq = floe_le64(p + 32),
        .created_ms = (int64_t)floe_le64(p + 72),
        .seal = (flags & SEGMENT_FLAG_SEAL) != 0,
    };
    if (id.session.node < 0 || id.session.epoch < 0)
        return floe_error_set(err, FLOE_ECORRUPT, "%s: byte 16: session %" PRId32 "-%" PRId32, key,
                              id.session.node, id.session.epoch);
    memcpy(id.cluster.b, p + 40, 16);
    memcpy(id.nonce.b, p + 56, 16);
    *out = id;
    return FLOE_OK;
}

enum floe_err floe_segment_id_check(const struct floe_segment_id *id, const char *key,
                                    const struct floe_session_name *session, uint64_t seq,
                                    const struct floe_uuid *cluster, struct floe_error *err)
{
    if (!floe_session_name_eq(&id->session, session) || id->seq != seq) {
        char name[FLOE_SESSION_NAME_MAX];
        floe_session_format(name, &id->session);
        return floe_error_set(err, FLOE_ECORRUPT, "%s: the object says that it is key %" PRIu64 " of %s", key,
                              id->seq, name);
    }
    if (cluster && !floe_uuid_eq(&id->cluster, cluster)) {
        char theirs[FLOE_UUID_HEX];
        floe_uuid_hex(theirs, &id->cluster);
        return floe_error_set(err, FLOE_ECORRUPT, "%s: the object belongs to another cluster, %s", key,
                              theirs);
    }
    return FLOE_OK;
}

uint32_t segment_section_crc(const uint8_t *head, uint32_t length)
{
    return floe_crc32c(floe_crc32c(0, head, 8), head + SECTION_HEADER_BYTES, length);
}

void segment_section_encode(uint8_t *head, enum section_type type, uint16_t flags, uint32_t length)
{
    floe_put_le16(head, (uint16_t)type);
    floe_put_le16(head + 2, flags);
    floe_put_le32(head + 4, length);
    floe_put_le32(head + 8, segment_section_crc(head, length));
}

void segment_trailer_encode(uint8_t out[FLOE_SEGMENT_TRAILER_BYTES], uint64_t footer_position,
                            struct floe_slice footer, bool seal)
{
    FLOE_ASSERT(footer.n <= FLOE_SEGMENT_FOOTER_MAX);
    floe_put_le64(out, footer_position);
    floe_put_le32(out + 8, (uint32_t)footer.n);
    floe_put_le32(out + 12, floe_crc32c(0, footer.p, footer.n));
    floe_put_le16(out + 16, FLOE_SEGMENT_VERSION);
    floe_put_le16(out + 18, seal ? SEGMENT_FLAG_SEAL : 0);
    floe_put_le32(out + 20, floe_crc32c(0, out, 20));
    memcpy(out + 24, SEGMENT_END_MAGIC, SEGMENT_MAGIC_BYTES);
}
