/* Walking a footer's entries, with a sticky error. Nothing is given out that is not inside the data area and
 * in order. */
#include "segment/format.h"

#include <floe/base/assert.h>

#include <inttypes.h>

void floe_segment_cursor_init(struct floe_segment_cursor *c, const struct floe_segment_footer *f)
{
    *c = (struct floe_segment_cursor){
        .f = f,
        .blocks = floe_reader(f->blocks),
        .batches = floe_reader(floe_slice(f->blocks.p, 0)),
        .opaques = floe_reader(f->opaques),
        .blocks_left = f->block_count,
        .opaques_left = f->opaque_count,
        .position = FLOE_SEGMENT_HEADER_BYTES,
        .opaque_position = FLOE_SEGMENT_HEADER_BYTES,
    };
}

static bool fail(struct floe_segment_cursor *c, const uint8_t *at, const char *what)
{
    floe_error_set(&c->err, FLOE_ECORRUPT, "%s: byte %" PRIu64 ": %s", c->f->key,
                   c->f->data_end + (uint64_t)(at - c->f->bytes.p), what);
    return false;
}

/* True when [at + gap, at + gap + length) lies in the data area; moves *at to its start. */
static bool place(const struct floe_segment_footer *f, uint64_t *at, uint64_t gap, uint32_t length)
{
    if (gap > f->data_end - *at || length > f->data_end - *at - gap)
        return false;
    *at += gap;
    return true;
}

bool floe_segment_next_block(struct floe_segment_cursor *c, struct floe_segment_block *out)
{
    if (c->err.code)
        return false;
    struct floe_reader *r = &c->blocks;
    if (c->blocks_left == 0)
        return floe_reader_left(r) == 0 ? false
                                        : fail(c, r->p, "bytes are left after the last block's entry");
    const uint8_t *from = r->p;
    struct floe_segment_block b = {.topic_ref = floe_read_uvarint32(r)};
    uint32_t partition = floe_read_uvarint32(r), epoch = floe_read_uvarint32(r);
    uint64_t gap = floe_read_uvarint64(r);
    b.length = floe_read_uvarint32(r);
    b.crc = floe_read_le32(r);
    uint64_t base = floe_read_uvarint64(r), span = floe_read_uvarint64(r);
    b.max_timestamp = floe_read_varint64(r);
    b.batch_count = floe_read_uvarint32(r);
    uint32_t entry_bytes = floe_read_uvarint32(r);
    const uint8_t *entries = floe_reader_take(r, entry_bytes);
    if (r->bad)
        return fail(c, from, "a block's entry is cut");
    if (b.topic_ref >= c->f->topic_count || partition > INT32_MAX || epoch > INT32_MAX)
        return fail(c, from, "a block of a topic or partition that cannot be");
    if (b.length == 0 || !place(c->f, &c->position, gap, b.length))
        return fail(c, from, "a block lies outside the object's data");
    if (base > INT64_MAX || span == 0 || span > INT64_MAX - base)
        return fail(c, from, "a block's offsets cannot be");
    if (b.batch_count == 0 || b.batch_count > entry_bytes / BATCH_ENTRY_MIN)
        return fail(c, from, "a block counts more batches than fit");
    b.topic = floe_segment_topic_id(c->f, b.topic_ref);
    b.partition = (int32_t)partition;
    b.leader_epoch = (int32_t)epoch;
    b.position = c->position;
    b.base_offset = (int64_t)base;
    b.end_offset = (int64_t)(base + span);
    c->blocks_left--;
    c->batch_position = c->position;
    c->position += b.length;
    c->batches = floe_reader(floe_slice(entries, entry_bytes));
    c->batches_left = b.batch_count;
    c->offset = b.base_offset;
    c->end_offset = b.end_offset;
    c->timestamp = b.max_timestamp;
    c->producer_id = -1;
    *out = b;
    return true;
}

/* Two's complement sum: what the writer's differences wrap around to. */
static int64_t add_wrap(int64_t a, int64_t b)
{
    return (int64_t)((uint64_t)a + (uint64_t)b);
}

bool floe_segment_next_batch(struct floe_segment_cursor *c, struct floe_segment_batch *out)
{
    if (c->err.code || c->batches_left == 0)
        return false;
    struct floe_reader *r = &c->batches;
    const uint8_t *from = r->p;
    uint64_t gap = floe_read_uvarint64(r);
    uint32_t last_delta = floe_read_uvarint32(r), length = floe_read_uvarint32(r);
    int64_t count = floe_read_varint64(r);
    uint32_t attributes = floe_read_uvarint32(r);
    int64_t base_timestamp = floe_read_varint64(r), max_timestamp = floe_read_varint64(r);
    int64_t producer_id = add_wrap(c->producer_id, floe_read_varint64(r));
    int32_t producer_epoch = -1, base_sequence = -1;
    if (producer_id != -1) {
        producer_epoch = floe_read_varint32(r);
        base_sequence = floe_read_varint32(r);
    }
    if (r->bad)
        return fail(c, from, "a batch's entry is cut");
    uint64_t room = (uint64_t)(c->end_offset - c->offset);
    if (last_delta > INT32_MAX || gap >= room || last_delta >= room - gap)
        return fail(c, from, "a batch's offsets leave its block");
    count = count > 0 || count < -INT64_C(0x80000000) ? -1 : count + 1 + last_delta;
    if (count < 0 || count > INT32_MAX || attributes > UINT16_MAX || producer_epoch < INT16_MIN ||
        producer_epoch > INT16_MAX)
        return fail(c, from, "a batch's count, attributes or producer epoch cannot be");
    if (length == 0 || length > c->position - c->batch_position)
        return fail(c, from, "a batch is longer than its block");
    struct floe_segment_batch b = {
        .base_offset = c->offset + (int64_t)gap,
        .position = c->batch_position,
        .length = length,
        .last_offset_delta = (int32_t)last_delta,
        .count = (int32_t)count,
        .attributes = (uint16_t)attributes,
        .base_timestamp = add_wrap(c->timestamp, base_timestamp),
        .producer_id = producer_id,
        .producer_epoch = (int16_t)producer_epoch,
        .base_sequence = base_sequence,
    };
    b.max_timestamp = add_wrap(b.base_timestamp, max_timestamp);
    c->batches_left--;
    c->offset = b.base_offset + b.last_offset_delta + 1;
    c->batch_position += length;
    if (c->batches_left == 0 &&
        (c->offset != c->end_offset || c->batch_position != c->position || floe_reader_left(r) != 0))
        return fail(c, from, "the batches do not fill their block");
    c->timestamp = b.base_timestamp;
    c->producer_id = producer_id;
    *out = b;
    return true;
}

bool floe_segment_next_opaque(struct floe_segment_cursor *c, struct floe_segment_opaque *out)
{
    if (c->err.code)
        return false;
    struct floe_reader *r = &c->opaques;
    if (c->opaques_left == 0)
        return floe_reader_left(r) == 0 ? false : fail(c, r->p, "bytes are left after the last opaque block");
    const uint8_t *from = r->p;
    struct floe_segment_opaque o = {0};
    uint32_t kind = floe_read_uvarint32(r), topic = floe_read_uvarint32(r), partition = 0, epoch = 0;
    if (topic > 0) {
        partition = floe_read_uvarint32(r);
        epoch = floe_read_uvarint32(r);
    }
    uint64_t gap = floe_read_uvarint64(r);
    o.length = floe_read_uvarint32(r);
    o.crc = floe_read_le32(r);
    o.covers = floe_read_uvarint64(r);
    if (r->bad)
        return fail(c, from, "an opaque block's entry is cut");
    if (kind > UINT16_MAX || topic > c->f->topic_count || partition > INT32_MAX || epoch > INT32_MAX)
        return fail(c, from, "an opaque block of a kind, topic or partition that cannot be");
    if (o.length == 0 || o.length > FLOE_SEGMENT_OPAQUE_MAX ||
        !place(c->f, &c->opaque_position, gap, o.length))
        return fail(c, from, "an opaque block lies outside the object's data");
    o.kind = (uint16_t)kind;
    o.position = c->opaque_position;
    c->opaque_position += o.length;
    if (topic > 0) {
        o.has_topic = true;
        o.topic_ref = topic - 1;
        o.topic = floe_segment_topic_id(c->f, o.topic_ref);
        o.partition = (int32_t)partition;
        o.leader_epoch = (int32_t)epoch;
    }
    c->opaques_left--;
    *out = o;
    return true;
}
