/* Building the object: header, the slices by partition, the footer, the trailer. Pure in its arguments, so
 * that a retry sends the same bytes. */
#include "segment/writer_int.h"

#include <floe/base/assert.h>

#include <stdlib.h>

void segment_finish_drop(struct floe_segment_writer *w)
{
    floe_buf_unref(w->head);
    floe_buf_unref(w->tail);
    w->head = w->tail = NULL;
    w->slices.n = w->blocks.n = w->opaque_out.n = 0;
}

/* Appends bytes to the body; joins a slice that goes on where the last one ended. */
static void push_slice(struct floe_segment_writer *w, struct floe_bufslice s)
{
    FLOE_ASSERT(s.p != NULL); /* a spilled batch was not put back */
    struct floe_bufslice *all = w->slices.p;
    struct floe_bufslice *last = w->slices.n ? &all[w->slices.n - 1] : NULL;
    if (last && last->buf == s.buf && last->p + last->n == s.p)
        last->n += s.n;
    else
        all[w->slices.n++] = s;
}

static uint64_t lay_out(struct floe_segment_writer *w)
{
    uint64_t position = FLOE_SEGMENT_HEADER_BYTES;
    struct floe_segment_block *blocks = w->blocks.p;
    for (uint32_t p = 0; p < w->parts.n; p++)
        for (uint32_t r = part_at(w, p)->first_run; r != NONE; r = run_at(w, r)->next) {
            const struct run *run = run_at(w, r);
            struct floe_segment_block *b = &blocks[w->blocks.n++];
            *b = run->block;
            b->position = position;
            for (uint32_t i = run->first_batch; i != NONE; i = batch_at(w, i)->next)
                push_slice(w, batch_at(w, i)->bytes);
            position += b->length;
        }
    struct floe_segment_opaque *opaques = w->opaque_out.p;
    for (uint32_t i = 0; i < w->opaques.n; i++) {
        const struct opaque *from = opaque_at(w, i);
        struct floe_segment_opaque *o = &opaques[w->opaque_out.n++];
        *o = from->o;
        o->position = position;
        position += o->length;
        push_slice(w, from->bytes);
    }
    return position;
}

static size_t begin_section(struct floe_writer *f)
{
    size_t at = f->n;
    floe_writer_grow(f, SECTION_HEADER_BYTES);
    return at;
}

static void end_section(struct floe_writer *f, size_t at, enum section_type type)
{
    if (!f->bad)
        segment_section_encode(f->p + at, type, SECTION_FLAG_REQUIRED,
                               (uint32_t)(f->n - at - SECTION_HEADER_BYTES));
}

static void write_dictionary(struct floe_segment_writer *w, struct floe_writer *f)
{
    size_t at = begin_section(f);
    floe_write_le32(f, w->topics.n);
    for (uint32_t i = 0; i < w->topics.n; i++)
        floe_write(f, topic_at(w, i)->id.b, 16);
    for (uint32_t i = 0; i < w->topics.n; i++) {
        const struct topic *t = topic_at(w, i);
        floe_write_u8(f, t->name_n);
        floe_write(f, w->names.p + t->name_at, t->name_n);
    }
    end_section(f, at, SECTION_DICTIONARY);
}

/* Differences of timestamps and ids may wrap around; the reader's sums wrap back. */
static int64_t minus_wrap(int64_t a, int64_t b)
{
    return (int64_t)((uint64_t)a - (uint64_t)b);
}

static void write_batches(struct floe_segment_writer *w, const struct run *run, struct floe_writer *f)
{
    int64_t offset = run->block.base_offset, timestamp = run->block.max_timestamp, producer_id = -1;
    for (uint32_t i = run->first_batch; i != NONE; i = batch_at(w, i)->next) {
        const struct floe_segment_batch *b = &batch_at(w, i)->b;
        floe_write_uvarint(f, (uint64_t)(b->base_offset - offset));
        floe_write_uvarint(f, (uint32_t)b->last_offset_delta);
        floe_write_uvarint(f, b->length);
        floe_write_varint(f, (int64_t)b->count - 1 - b->last_offset_delta);
        floe_write_uvarint(f, b->attributes);
        floe_write_varint(f, minus_wrap(b->base_timestamp, timestamp));
        floe_write_varint(f, minus_wrap(b->max_timestamp, b->base_timestamp));
        floe_write_varint(f, minus_wrap(b->producer_id, producer_id));
        if (b->producer_id != -1) {
            floe_write_varint(f, b->producer_epoch);
            floe_write_varint(f, b->base_sequence);
        }
        offset = b->base_offset + b->last_offset_delta + 1;
        timestamp = b->base_timestamp;
        producer_id = b->producer_id;
    }
}

/* `scratch` holds one block's batch entries, whose length stands before them. */
static void write_block(struct floe_segment_writer *w, const struct run *run, struct floe_writer *f,
                        struct floe_writer *scratch)
{
    scratch->n = 0;
    write_batches(w, run, scratch);
    const struct floe_segment_block *b = &run->block;
    floe_write_uvarint(f, b->topic_ref);
    floe_write_uvarint(f, (uint32_t)b->partition);
    floe_write_uvarint(f, (uint32_t)b->leader_epoch);
    floe_write_uvarint(f, 0); /* no gap after the block before */
    floe_write_uvarint(f, b->length);
    floe_write_le32(f, b->crc);
    floe_write_uvarint(f, (uint64_t)b->base_offset);
    floe_write_uvarint(f, (uint64_t)(b->end_offset - b->base_offset));
    floe_write_varint(f, b->max_timestamp);
    floe_write_uvarint(f, b->batch_count);
    floe_write_uvarint(f, scratch->n);
    floe_write(f, scratch->p, scratch->n);
    if (scratch->bad)
        f->bad = true;
}

static void write_opaques(struct floe_segment_writer *w, struct floe_writer *f)
{
    size_t at = begin_section(f);
    floe_write_le32(f, w->opaque_out.n);
    uint64_t position = FLOE_SEGMENT_HEADER_BYTES;
    for (uint32_t i = 0; i < w->opaque_out.n; i++) {
        const struct floe_segment_opaque *o = (const struct floe_segment_opaque *)w->opaque_out.p + i;
        floe_write_uvarint(f, o->kind);
        floe_write_uvarint(f, o->has_topic ? o->topic_ref + UINT64_C(1) : 0);
        if (o->has_topic) {
            floe_write_uvarint(f, (uint32_t)o->partition);
            floe_write_uvarint(f, (uint32_t)o->leader_epoch);
        }
        floe_write_uvarint(f, o->position - position);
        floe_write_uvarint(f, o->length);
        floe_write_le32(f, o->crc);
        floe_write_uvarint(f, o->covers);
        position = o->position + o->length;
    }
    end_section(f, at, SECTION_OPAQUES);
}

static void write_footer(struct floe_segment_writer *w, struct floe_writer *f, struct floe_writer *scratch)
{
    size_t at = begin_section(f);
    floe_write(f, w->head->data, FLOE_SEGMENT_HEADER_BYTES);
    end_section(f, at, SECTION_IDENTITY);
    write_dictionary(w, f);
    at = begin_section(f);
    floe_write_le32(f, w->blocks.n);
    for (uint32_t p = 0; p < w->parts.n; p++)
        for (uint32_t r = part_at(w, p)->first_run; r != NONE; r = run_at(w, r)->next)
            write_block(w, run_at(w, r), f, scratch);
    end_section(f, at, SECTION_BATCHES);
    write_opaques(w, f);
}

static bool reserve_all(struct floe_segment_writer *w)
{
    return segment_vec_reserve(&w->slices, w->batches.n + w->opaques.n + 2, sizeof(struct floe_bufslice)) &&
           segment_vec_reserve(&w->blocks, w->runs.n, sizeof(struct floe_segment_block)) &&
           segment_vec_reserve(&w->opaque_out, w->opaques.n, sizeof(struct floe_segment_opaque));
}

enum floe_err floe_segment_finish(struct floe_segment_writer *w, const struct floe_session_name *session,
                                  uint64_t seq, const struct floe_uuid *nonce, int64_t created_ms,
                                  struct floe_segment_image *out, struct floe_error *err)
{
    struct floe_writer footer, scratch;
    floe_writer_init(&footer, FLOE_SEGMENT_FOOTER_MAX);
    floe_writer_init(&scratch, FLOE_SEGMENT_FOOTER_MAX);
    segment_finish_drop(w);
    enum floe_err e = FLOE_ENOMEM;
    w->head = floe_buf_create_forced(FLOE_SEGMENT_HEADER_BYTES, NULL);
    if (!w->head || !reserve_all(w))
        goto out;
    const struct floe_segment_id id = {
        .session = *session, .seq = seq, .cluster = w->cluster, .nonce = *nonce, .created_ms = created_ms};
    segment_header_encode(w->head->data, &id);
    w->head->n = FLOE_SEGMENT_HEADER_BYTES;
    push_slice(w, (struct floe_bufslice){w->head, w->head->data, w->head->n});
    uint64_t footer_position = lay_out(w);
    write_footer(w, &footer, &scratch);
    if (footer.bad)
        goto out;
    w->tail = floe_buf_create_forced(footer.n + FLOE_SEGMENT_TRAILER_BYTES, NULL);
    if (!w->tail)
        goto out;
    memcpy(w->tail->data, footer.p, footer.n);
    segment_trailer_encode(w->tail->data + footer.n, footer_position, floe_slice(footer.p, footer.n), false);
    w->tail->n = footer.n + FLOE_SEGMENT_TRAILER_BYTES;
    push_slice(w, (struct floe_bufslice){w->tail, w->tail->data, w->tail->n});
    *out = (struct floe_segment_image){
        .slices = w->slices.p,
        .slice_count = w->slices.n,
        .bytes = footer_position + w->tail->n,
        .blocks = w->blocks.p,
        .block_count = w->blocks.n,
        .opaques = w->opaque_out.p,
        .opaque_count = w->opaque_out.n,
    };
    FLOE_ASSERT(out->bytes <= floe_segment_estimate(w));
    e = FLOE_OK;
out:
    if (e) {
        segment_finish_drop(w);
        floe_error_set(err, e, "no memory to build segment %llu", (unsigned long long)seq);
    }
    floe_writer_fini(&footer);
    floe_writer_fini(&scratch);
    return e;
}
