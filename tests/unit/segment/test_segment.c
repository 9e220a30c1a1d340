/* Writer and reader against each other: order, blocks, limits, retries, crc, and everything that can be wrong
 * with bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "segment_fixture.h"

#include <floe/base/assert.h>
#include <floe/base/crc32c.h>

#include <stdlib.h>

static const struct floe_session_name SESSION = {3, 7, 0xfeedfacecafebeefu};
#define CREATED INT64_C(1763900000000)
#define KEY "chain/3-7-feedfacecafebeef/00000000000000000041"

static struct floe_segment_writer *writer(void)
{
    struct floe_segment_writer *w;
    struct floe_uuid cluster = fixture_uuid(0xc1);
    assert_int_equal(floe_segment_writer_create(&w, &cluster), FLOE_OK);
    return w;
}

static struct floe_buf *finish(struct floe_segment_writer *w, struct floe_segment_image *image)
{
    struct floe_uuid nonce = fixture_uuid(0x4e);
    struct floe_error err = {0};
    assert_int_equal(floe_segment_finish(w, &SESSION, 41, &nonce, CREATED, image, &err), FLOE_OK);
    assert_true(image->bytes <= floe_segment_estimate(w));
    return fixture_flatten(image);
}

static struct floe_segment_footer open_footer(const struct floe_buf *flat)
{
    struct floe_segment_tail tail;
    struct floe_segment_footer f;
    struct floe_error err = {0};
    if (floe_segment_tail_open(floe_slice(flat->data, flat->n), flat->n, KEY, &tail, &err) != FLOE_OK)
        fail_msg("%s", err.msg);
    assert_int_equal(tail.need, 0);
    if (floe_segment_footer_open(&tail, KEY, &f, &err) != FLOE_OK)
        fail_msg("%s", err.msg);
    return f;
}

/* Three topics and four partitions, added in turns, with gaps in offsets, producers, and an epoch change. */
static void fill(struct floe_segment_writer *w)
{
    int64_t next[4] = {0, 1000, 5, INT64_MAX - 100000};
    for (int i = 0; i < 24; i++) {
        int p = i % 4;
        struct fixture_batch b = {
            .base_offset = next[p],
            .timestamp = CREATED - 5000 + (i % 3) * 1000,
            .producer_id = i % 2 ? -1 : 4000 + p,
            .producer_epoch = i % 2 ? -1 : 2,
            .base_sequence = i % 2 ? -1 : i * 10,
            .leader_epoch = p == 2 && i > 12 ? 9 : 4,
            .count = 1 + i % 5,
            .attributes = (uint16_t)(i % 5),
            .payload = (uint32_t)(10 + i * 700),
        };
        fixture_add(w, (uint8_t)(1 + p % 3), p, &b);
        next[p] += b.count + (i == 8 ? 3 : 0);
    }
}

/* The footer's word on a batch is what its own header says. */
static void same_batch(const uint8_t *p, const struct floe_segment_batch *m, int32_t leader_epoch)
{
    assert_int_equal(floe_be64(p), m->base_offset);
    assert_int_equal(floe_be32(p + 8) + 12, m->length);
    assert_int_equal((int32_t)floe_be32(p + 12), leader_epoch);
    assert_int_equal(floe_be16(p + 21), m->attributes);
    assert_int_equal(floe_be32(p + 23), m->last_offset_delta);
    assert_int_equal(floe_be64(p + 27), m->base_timestamp);
    assert_int_equal(floe_be64(p + 35), m->max_timestamp);
    assert_int_equal((int64_t)floe_be64(p + 43), m->producer_id);
    assert_int_equal((int16_t)floe_be16(p + 51), m->producer_epoch);
    assert_int_equal((int32_t)floe_be32(p + 53), m->base_sequence);
    assert_int_equal(floe_be32(p + 57), m->count);
}

static void batches_round_trip(void **state)
{
    (void)state;
    struct floe_segment_writer *w = writer();
    fill(w);
    assert_int_equal(floe_segment_batch_count(w), 24);
    struct floe_segment_image image;
    struct floe_buf *flat = finish(w, &image);
    struct floe_segment_footer f = open_footer(flat);
    assert_true(floe_session_name_eq(&f.id.session, &SESSION));
    assert_int_equal(f.id.seq, 41);
    assert_int_equal(f.id.created_ms, CREATED);
    assert_false(f.id.seal);
    assert_int_equal(f.topic_count, 3);
    char name[FLOE_SEGMENT_TOPIC_NAME_MAX + 1];
    floe_segment_topic_name(&f, 2, name);
    assert_string_equal(name, "topic-3");

    struct floe_segment_cursor c;
    struct floe_segment_block b;
    uint32_t blocks = 0, batches = 0;
    floe_segment_cursor_init(&c, &f);
    while (floe_segment_next_block(&c, &b)) {
        assert_true(blocks < image.block_count);
        assert_memory_equal(&b, &image.blocks[blocks], sizeof b);
        assert_int_equal(b.crc, floe_crc32c(0, flat->data + b.position, b.length));
        struct floe_segment_batch m;
        uint64_t at = b.position;
        while (floe_segment_next_batch(&c, &m)) {
            assert_int_equal(m.position, at);
            same_batch(flat->data + at, &m, b.leader_epoch);
            at += m.length;
            batches++;
        }
        assert_int_equal(at, b.position + b.length);
        blocks++;
    }
    assert_int_equal(floe_segment_cursor_err(&c)->code, FLOE_OK);
    assert_int_equal(blocks, image.block_count);
    assert_int_equal(batches, 24);
    assert_int_equal(blocks, 5); /* four partitions, one of them with two epochs */
    floe_buf_unref(flat);
    floe_segment_writer_destroy(&w);
    assert_null(w);
}

static void opaques_round_trip(void **state)
{
    (void)state;
    struct floe_segment_writer *w = writer();
    struct floe_segment_opaque o = {.kind = FLOE_OPAQUE_CHECKPOINT,
                                    .has_topic = true,
                                    .topic = fixture_uuid(2),
                                    .partition = 1,
                                    .leader_epoch = 4,
                                    .covers = 41};
    struct floe_bufslice text = {NULL, (const uint8_t *)"checkpoint", 10};
    assert_int_equal(floe_segment_add_opaque(w, &o, "topic-2", &text, NULL), FLOE_OK);
    struct floe_segment_opaque plain = {.kind = 77};
    uint32_t ordinal;
    assert_int_equal(floe_segment_add_opaque(w, &plain, NULL, &text, &ordinal), FLOE_OK);
    assert_int_equal(ordinal, 1);
    fill(w); /* batches lie before all opaque blocks whenever they are added */
    struct floe_segment_image image;
    struct floe_buf *flat = finish(w, &image);
    struct floe_segment_footer f = open_footer(flat);
    struct floe_segment_cursor c;
    floe_segment_cursor_init(&c, &f);
    struct floe_segment_opaque got;
    assert_true(floe_segment_next_opaque(&c, &got));
    assert_int_equal(got.kind, FLOE_OPAQUE_CHECKPOINT);
    assert_true(got.has_topic && floe_uuid_eq(&got.topic, &o.topic));
    assert_int_equal(got.partition, 1);
    assert_int_equal(got.leader_epoch, 4);
    assert_int_equal(got.position, image.opaques[0].position);
    assert_int_equal(got.length, 10);
    assert_int_equal(got.covers, 41);
    assert_memory_equal(flat->data + got.position, "checkpoint", 10);
    assert_int_equal(got.crc, floe_crc32c(0, "checkpoint", 10));
    assert_true(got.position > image.blocks[image.block_count - 1].position);
    assert_true(floe_segment_next_opaque(&c, &got));
    assert_false(got.has_topic);
    assert_int_equal(got.kind, 77);
    assert_false(floe_segment_next_opaque(&c, &got));
    assert_int_equal(floe_segment_cursor_err(&c)->code, FLOE_OK);
    floe_buf_unref(flat);
    floe_segment_writer_destroy(&w);
}

static void blocks_can_be_skipped(void **state)
{
    (void)state;
    struct floe_segment_writer *w = writer();
    fill(w);
    struct floe_segment_image image;
    struct floe_buf *flat = finish(w, &image);
    struct floe_segment_footer f = open_footer(flat);
    struct floe_segment_cursor c;
    floe_segment_cursor_init(&c, &f);
    struct floe_segment_block b;
    struct floe_segment_batch m;
    uint32_t i = 0;
    while (floe_segment_next_block(&c, &b)) {
        assert_memory_equal(&b, &image.blocks[i], sizeof b);
        if (i++ % 2)
            assert_true(floe_segment_next_batch(&c, &m)); /* one of several: the rest is stepped over */
    }
    assert_int_equal(floe_segment_cursor_err(&c)->code, FLOE_OK);
    assert_int_equal(i, image.block_count);
    floe_buf_unref(flat);
    floe_segment_writer_destroy(&w);
}

static void finish_again_gives_the_same_bytes(void **state)
{
    (void)state;
    struct floe_segment_writer *w = writer();
    fill(w);
    struct floe_segment_image a, b;
    struct floe_buf *first = finish(w, &a);
    struct floe_buf *second = finish(w, &b);
    assert_int_equal(first->n, second->n);
    assert_memory_equal(first->data, second->data, first->n);
    /* A batch that went through the tier comes back in another buffer. */
    struct floe_bufslice *held = floe_segment_batch_bytes(w, 5);
    struct floe_buf *copy = floe_buf_create_forced(held->n, NULL);
    memcpy(copy->data, held->p, held->n);
    copy->n = held->n;
    floe_buf_unref(held->buf);
    *held = (struct floe_bufslice){copy, copy->data, copy->n};
    struct floe_buf *third = finish(w, &b);
    assert_memory_equal(first->data, third->data, first->n);
    floe_buf_unref(first);
    floe_buf_unref(second);
    floe_buf_unref(third);
    floe_segment_writer_reset(w);
    assert_int_equal(floe_segment_data_bytes(w), 0);
    fill(w);
    first = finish(w, &a);
    assert_int_equal(first->n, a.bytes);
    floe_buf_unref(first);
    floe_segment_writer_destroy(&w);
}

static void long_runs_are_split_at_batch_borders(void **state)
{
    (void)state;
    struct floe_segment_writer *w = writer();
    const uint32_t payload[] = {400000, 400000, 400000, 3000000, 10, FLOE_SEGMENT_BLOCK_MAX - 2 * 61 - 10, 1};
    for (uint32_t i = 0; i < FLOE_COUNTOF(payload); i++)
        fixture_add(w, 1, 0,
                    &(struct fixture_batch){
                        .base_offset = i * 10, .count = 10, .producer_id = -1, .payload = payload[i]});
    struct floe_segment_image image;
    struct floe_buf *flat = finish(w, &image);
    const uint32_t counts[] = {2, 1, 1, 2, 1};
    assert_int_equal(image.block_count, FLOE_COUNTOF(counts));
    for (uint32_t i = 0; i < image.block_count; i++) {
        assert_int_equal(image.blocks[i].batch_count, counts[i]);
        assert_int_equal(image.blocks[i].crc,
                         floe_crc32c(0, flat->data + image.blocks[i].position, image.blocks[i].length));
    }
    assert_int_equal(image.blocks[3].length, FLOE_SEGMENT_BLOCK_MAX);
    floe_buf_unref(flat);
    floe_segment_writer_destroy(&w);
}

static void many_partitions(void **state)
{
    (void)state;
    struct floe_segment_writer *w = writer();
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < 5000; i++)
            fixture_add(
                w, (uint8_t)(1 + i % 200), i,
                &(struct fixture_batch){.base_offset = round, .count = 1, .producer_id = -1, .payload = 7});
    struct floe_segment_image image;
    struct floe_buf *flat = finish(w, &image);
    assert_int_equal(image.block_count, 5000);
    struct floe_segment_footer f = open_footer(flat);
    assert_int_equal(f.topic_count, 200);
    struct floe_segment_cursor c;
    floe_segment_cursor_init(&c, &f);
    struct floe_segment_block b;
    int32_t n = 0;
    while (floe_segment_next_block(&c, &b)) {
        assert_int_equal(b.partition, n);
        assert_int_equal(b.topic.b[0], 1 + n % 200);
        assert_int_equal(b.batch_count, 2);
        n++;
    }
    assert_int_equal(floe_segment_cursor_err(&c)->code, FLOE_OK);
    assert_int_equal(n, 5000);
    /* The footer is long: the first 64 KiB say how much of the tail is needed. */
    struct floe_segment_tail tail;
    struct floe_error err;
    assert_int_equal(
        floe_segment_tail_open(floe_slice(flat->data + flat->n - 32, 32), flat->n, KEY, &tail, &err),
        FLOE_OK);
    assert_int_equal(tail.need, flat->n - f.data_end);
    assert_int_equal(floe_segment_tail_open(floe_slice(flat->data + flat->n - tail.need, tail.need), flat->n,
                                            KEY, &tail, &err),
                     FLOE_OK);
    assert_int_equal(tail.need, 0);
    floe_buf_unref(flat);
    floe_segment_writer_destroy(&w);
}

static void crc_of_parts(void **state)
{
    (void)state;
    uint8_t bytes[3000];
    struct floe_rng rng;
    floe_rng_init(&rng, 5);
    floe_rng_bytes(&rng, bytes, sizeof bytes);
    for (int i = 0; i < 500; i++) {
        size_t n = floe_rng_below(&rng, sizeof bytes + 1), a = floe_rng_below(&rng, n + 1);
        uint32_t whole = floe_crc32c(0, bytes, n);
        assert_int_equal(
            floe_segment_crc_combine(floe_crc32c(0, bytes, a), floe_crc32c(0, bytes + a, n - a), n - a),
            whole);
    }
    /* Lengths past 32 bits: x^(8n) has the period 2^31 - 1 in bits, hence in bytes as well. */
    assert_int_equal(floe_segment_crc_combine(0x12345678, 0, 100 + 5 * UINT64_C(0x7fffffff)),
                     floe_segment_crc_combine(0x12345678, 0, 100));
}

static void seals(void **state)
{
    (void)state;
    uint8_t bytes[FLOE_SEAL_BYTES];
    struct floe_seal seal = {.id = {.session = SESSION,
                                    .seq = 9,
                                    .cluster = fixture_uuid(1),
                                    .nonce = fixture_uuid(2),
                                    .created_ms = CREATED},
                             .by = {4, 5, 6}};
    floe_seal_encode(bytes, &seal);
    struct floe_seal back;
    struct floe_error err = {0};
    assert_int_equal(floe_seal_decode(floe_slice(bytes, sizeof bytes), "k", &back, &err), FLOE_OK);
    assert_true(back.id.seal);
    assert_int_equal(back.id.seq, 9);
    assert_true(floe_session_name_eq(&back.by, &seal.by));
    assert_true(floe_uuid_eq(&back.id.nonce, &seal.id.nonce));
    struct floe_segment_id id;
    assert_int_equal(floe_segment_header_decode(floe_slice(bytes, 96), "k", &id, &err), FLOE_OK);
    assert_true(id.seal);
    assert_int_equal(floe_segment_id_check(&id, "k", &SESSION, 9, &id.cluster, &err), FLOE_OK);
    assert_int_equal(floe_segment_id_check(&id, "k", &SESSION, 10, NULL, &err), FLOE_ECORRUPT);
    struct floe_uuid other = fixture_uuid(7);
    assert_int_equal(floe_segment_id_check(&id, "k", &SESSION, 9, &other, &err), FLOE_ECORRUPT);
    for (size_t n = 0; n < sizeof bytes; n++) {
        uint8_t *cut = malloc(n ? n : 1); /* exact, so that the sanitizer sees a read past it */
        memcpy(cut, bytes, n);
        assert_int_equal(floe_seal_decode(floe_slice(cut, n), "k", &back, &err), FLOE_ECORRUPT);
        free(cut);
    }
    for (size_t i = 0; i < sizeof bytes * 8; i++) {
        bytes[i / 8] ^= (uint8_t)(1 << i % 8);
        assert_int_not_equal(floe_seal_decode(floe_slice(bytes, sizeof bytes), "k", &back, &err), FLOE_OK);
        bytes[i / 8] ^= (uint8_t)(1 << i % 8);
    }
}

/* Every flipped bit outside the blocks is found; a flipped bit in a block is found by the block's CRC. */
static void flips_and_cuts(void **state)
{
    (void)state;
    struct floe_segment_writer *w = writer();
    for (int i = 0; i < 6; i++)
        fixture_add(w, (uint8_t)(1 + i % 2), i % 3,
                    &(struct fixture_batch){
                        .base_offset = i, .count = 1, .producer_id = i, .payload = 20, .leader_epoch = 1});
    struct floe_segment_image image;
    struct floe_buf *flat = finish(w, &image);
    struct floe_segment_footer f = open_footer(flat);
    struct floe_segment_tail tail;
    struct floe_segment_id id;
    struct floe_error err = {0};
    for (size_t i = 0; i < flat->n * 8; i++) {
        flat->data[i / 8] ^= (uint8_t)(1 << i % 8);
        enum floe_err e;
        if (i / 8 < 96) {
            e = floe_segment_header_decode(floe_slice(flat->data, 96), KEY, &id, &err);
        } else if (i / 8 >= f.data_end) {
            e = floe_segment_tail_open(floe_slice(flat->data, flat->n), flat->n, KEY, &tail, &err);
        } else {
            e = FLOE_OK;
            for (uint32_t b = 0; b < image.block_count; b++)
                if (floe_crc32c(0, flat->data + image.blocks[b].position, image.blocks[b].length) !=
                    image.blocks[b].crc)
                    e = FLOE_ECORRUPT;
        }
        assert_int_not_equal(e, FLOE_OK);
        flat->data[i / 8] ^= (uint8_t)(1 << i % 8);
    }
    for (size_t n = 32; n < flat->n; n++) {
        uint8_t *cut = malloc(n);
        memcpy(cut, flat->data, n);
        assert_int_not_equal(floe_segment_tail_open(floe_slice(cut, n), n, KEY, &tail, &err), FLOE_OK);
        memcpy(cut, flat->data + flat->n - n,
               n); /* the end is at hand, the size is known: asks for more or opens */
        assert_int_equal(floe_segment_tail_open(floe_slice(cut, n), flat->n, KEY, &tail, &err), FLOE_OK);
        assert_int_equal(tail.need == 0, n >= flat->n - f.data_end);
        free(cut);
    }
    floe_buf_unref(flat);
    floe_segment_writer_destroy(&w);
}

/* Flips inside the footer with all checksums put right again: whatever the cursor gives stays in bounds. */
static void flips_behind_the_checksums(void **state)
{
    (void)state;
    struct floe_segment_writer *w = writer();
    fill(w);
    struct floe_segment_image image;
    struct floe_buf *flat = finish(w, &image);
    uint64_t data_end = open_footer(flat).data_end;
    size_t footer_n = flat->n - data_end - FLOE_SEGMENT_TRAILER_BYTES, refused = 0, total = 0;
    uint8_t *footer = malloc(footer_n);
    for (size_t i = 0; i < footer_n * 8; i += 3, total++) {
        memcpy(footer, flat->data + data_end, footer_n);
        footer[i / 8] ^= (uint8_t)(1 << i % 8);
        for (size_t at = 0; at + 12 <= footer_n && at + 12 + floe_le32(footer + at + 4) <= footer_n;) {
            uint32_t n = floe_le32(footer + at + 4);
            floe_put_le32(footer + at + 8, floe_crc32c(floe_crc32c(0, footer + at, 8), footer + at + 12, n));
            at += 12 + n;
        }
        struct floe_segment_tail tail = {.footer_position = data_end, .footer = floe_slice(footer, footer_n)};
        struct floe_segment_footer f;
        struct floe_error err = {0};
        if (floe_segment_footer_open(&tail, KEY, &f, &err) != FLOE_OK) {
            refused++;
            continue;
        }
        struct floe_segment_cursor c;
        floe_segment_cursor_init(&c, &f);
        struct floe_segment_block b;
        struct floe_segment_batch m;
        uint64_t from = FLOE_SEGMENT_HEADER_BYTES;
        while (floe_segment_next_block(&c, &b)) {
            assert_true(b.position >= from && b.position + b.length <= data_end &&
                        b.base_offset < b.end_offset);
            uint64_t at = b.position;
            while (floe_segment_next_batch(&c, &m)) {
                assert_true(m.position == at && m.base_offset >= b.base_offset &&
                            m.base_offset + m.last_offset_delta < b.end_offset && m.count >= 0);
                at += m.length;
                assert_true(at <= b.position + b.length);
            }
            from = b.position + b.length;
        }
        if (c.err.code) {
            assert_non_null(strstr(c.err.msg, KEY ": byte "));
            refused++;
        }
    }
    assert_true(refused > total / 4);
    free(footer);
    floe_buf_unref(flat);
    floe_segment_writer_destroy(&w);
}

static void unknown_sections(void **state)
{
    (void)state;
    struct floe_segment_writer *w = writer();
    fill(w);
    struct floe_segment_image image;
    struct floe_buf *flat = finish(w, &image);
    struct floe_segment_footer f = open_footer(flat);
    size_t n = flat->n - f.data_end - FLOE_SEGMENT_TRAILER_BYTES;
    uint8_t *footer = malloc(n + 15);
    memcpy(footer, flat->data + f.data_end, n);
    memcpy(footer + n + 12, "new", 3);
    for (uint16_t required = 0; required < 2; required++) {
        uint8_t *head = footer + n;
        floe_put_le16(head, 900);
        floe_put_le16(head + 2, required);
        floe_put_le32(head + 4, 3);
        floe_put_le32(head + 8, floe_crc32c(floe_crc32c(0, head, 8), head + 12, 3));
        struct floe_segment_tail tail = {.footer_position = f.data_end, .footer = floe_slice(footer, n + 15)};
        struct floe_segment_footer g;
        struct floe_error err = {0};
        assert_int_equal(floe_segment_footer_open(&tail, KEY, &g, &err),
                         required ? FLOE_EUNSUPPORTED : FLOE_OK);
    }
    free(footer);
    floe_buf_unref(flat);
    floe_segment_writer_destroy(&w);
}

static void newer_versions_are_named(void **state)
{
    (void)state;
    struct floe_segment_writer *w = writer();
    struct floe_segment_image image;
    struct floe_buf *flat = finish(w, &image); /* an empty segment is a segment */
    assert_int_equal(open_footer(flat).block_count, 0);
    struct floe_segment_id id;
    struct floe_error err = {0};
    floe_put_le16(flat->data + 8, 2);
    floe_put_le32(flat->data + 92, floe_crc32c(0, flat->data, 92));
    assert_int_equal(floe_segment_header_decode(floe_slice(flat->data, 96), KEY, &id, &err),
                     FLOE_EUNSUPPORTED);
    assert_non_null(strstr(err.msg, "version 2"));
    uint8_t *t = flat->data + flat->n - 32;
    floe_put_le16(t + 16, 3);
    floe_put_le32(t + 20, floe_crc32c(0, t, 20));
    struct floe_segment_tail tail;
    assert_int_equal(floe_segment_tail_open(floe_slice(flat->data, flat->n), flat->n, KEY, &tail, &err),
                     FLOE_EUNSUPPORTED);
    floe_buf_unref(flat);
    floe_segment_writer_destroy(&w);
}

static void limits(void **state)
{
    (void)state;
    struct floe_segment_writer *w = writer();
    struct floe_segment_opaque o = {.kind = FLOE_OPAQUE_INDEX};
    uint8_t byte = 0;
    struct floe_bufslice big = {NULL, &byte, (size_t)FLOE_SEGMENT_OPAQUE_MAX + 1};
    assert_int_equal(floe_segment_add_opaque(w, &o, NULL, &big, NULL), FLOE_ETOOLARGE);
    assert_int_equal(floe_segment_opaque_count(w), 0);
    struct floe_segment_tail tail;
    struct floe_error err = {0};
    assert_int_equal(floe_segment_tail_open(floe_slice(&byte, 0), 100, KEY, &tail, &err), FLOE_ECORRUPT);
    assert_int_equal(floe_segment_tail_open(floe_slice(&byte, 0), 1000000, KEY, &tail, &err), FLOE_OK);
    assert_int_equal(tail.need, FLOE_SEGMENT_TAIL_BYTES);
    assert_int_equal(floe_segment_tail_open(floe_slice(&byte, 0), 200, KEY, &tail, &err), FLOE_OK);
    assert_int_equal(tail.need, 200);
    floe_segment_writer_destroy(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batches_round_trip),
        cmocka_unit_test(opaques_round_trip),
        cmocka_unit_test(blocks_can_be_skipped),
        cmocka_unit_test(finish_again_gives_the_same_bytes),
        cmocka_unit_test(long_runs_are_split_at_batch_borders),
        cmocka_unit_test(many_partitions),
        cmocka_unit_test(crc_of_parts),
        cmocka_unit_test(seals),
        cmocka_unit_test(flips_and_cuts),
        cmocka_unit_test(flips_behind_the_checksums),
        cmocka_unit_test(unknown_sections),
        cmocka_unit_test(newer_versions_are_named),
        cmocka_unit_test(limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
