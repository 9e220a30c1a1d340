#include "segment_fixture.h"

#include <floe/base/assert.h>
#include <floe/base/crc32c.h>

#include <stdio.h>

struct floe_uuid fixture_uuid(uint8_t fill)
{
    struct floe_uuid u;
    memset(u.b, fill, sizeof u.b);
    return u;
}

struct floe_bufslice fixture_batch_make(const struct fixture_batch *f, struct floe_batch *out)
{
    uint32_t n = FLOE_BATCH_HEADER + f->payload;
    struct floe_buf *buf = floe_buf_create_forced(n, NULL);
    FLOE_ASSERT(buf);
    buf->n = n;
    uint8_t *p = buf->data;
    floe_put_be64(p, (uint64_t)f->base_offset);
    floe_put_be32(p + 8, n - FLOE_BATCH_LENGTH_FROM);
    floe_put_be32(p + 12, (uint32_t)f->leader_epoch);
    p[16] = 2;
    floe_put_be16(p + 21, f->attributes);
    floe_put_be32(p + 23, (uint32_t)(f->count - 1));
    floe_put_be64(p + 27, (uint64_t)f->timestamp);
    floe_put_be64(p + 35, (uint64_t)(f->timestamp + f->count));
    floe_put_be64(p + 43, (uint64_t)f->producer_id);
    floe_put_be16(p + 51, (uint16_t)f->producer_epoch);
    floe_put_be32(p + 53, (uint32_t)f->base_sequence);
    floe_put_be32(p + 57, (uint32_t)f->count);
    uint64_t x = (uint64_t)f->base_offset * 0x9e3779b97f4a7c15u + 1;
    for (uint32_t i = 0; i < f->payload; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        p[FLOE_BATCH_HEADER + i] = (uint8_t)x;
    }
    floe_put_be32(p + 17, floe_crc32c(0, p + 21, n - 21));
    *out = (struct floe_batch){.base_offset = f->base_offset,
                               .length = n,
                               .leader_epoch = f->leader_epoch,
                               .crc = floe_be32(p + 17),
                               .attributes = f->attributes,
                               .last_offset_delta = f->count - 1,
                               .base_timestamp = f->timestamp,
                               .max_timestamp = f->timestamp + f->count,
                               .producer_id = f->producer_id,
                               .producer_epoch = f->producer_epoch,
                               .base_sequence = f->base_sequence,
                               .count = f->count};
    return (struct floe_bufslice){buf, p, n};
}

struct floe_buf *fixture_flatten(const struct floe_segment_image *image)
{
    struct floe_buf *flat = floe_buf_create_forced(image->bytes, NULL);
    FLOE_ASSERT(flat);
    for (uint32_t i = 0; i < image->slice_count; i++) {
        memcpy(flat->data + flat->n, image->slices[i].p, image->slices[i].n);
        flat->n += image->slices[i].n;
    }
    FLOE_ASSERT(flat->n == image->bytes);
    return flat;
}

void fixture_add(struct floe_segment_writer *w, uint8_t topic, int32_t partition,
                 const struct fixture_batch *f)
{
    struct floe_batch b;
    struct floe_bufslice s = fixture_batch_make(f, &b);
    struct floe_uuid id = fixture_uuid(topic);
    char name[32];
    snprintf(name, sizeof name, "topic-%u", topic);
    enum floe_err e = floe_segment_add_batch(w, &id, partition, f->leader_epoch, name, &b, &s, NULL);
    FLOE_ASSERT(e == FLOE_OK);
    floe_buf_unref(s.buf);
}
