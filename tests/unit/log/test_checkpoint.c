/* Checkpoints: what is written comes back; golden bytes; truncations and flips are refused or harmless. */
#include "floe_cmocka.h"
#include "log_rig.h"

#include <floe/base/assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "log/log_int.h"

#define GOLDEN FLOE_TEST_GOLDEN "/checkpoint-v1-size.bin"
#define GOLDEN_BEFORE FLOE_TEST_GOLDEN "/checkpoint-v1.bin" /* without the size */

static const struct floe_session_name SESSION = {3, 4, 0x1122334455667788};
static const struct floe_checkpoint_ref REF = {{3, 4, 0x1122334455667788}, 9, true, 0};

struct bench {
    struct rig_world *w;
    struct rig *r;
};
static struct bench open_bench(void)
{
    struct bench b = {.w = rig_world_create(1)};
    b.r = rig_create(b.w, NULL);
    return b;
}
static void close_bench(struct bench *b)
{
    rig_free(&b->r);
    rig_world_destroy(&b->w);
}

/* A partition in the middle of things: two producers, one of which has batches in flight and a new epoch. */
static struct floe_partition *make(struct bench *b)
{
    struct floe_tp tp = rig_tp(5, 6);
    struct floe_partition *p = floe_partition_create(b->r->log, &tp, 7);
    struct floe_batch batch = {.max_timestamp = 1700000000000, .producer_id = 40, .last_offset_delta = 1};
    p->rebuild = NULL;
    assert_int_equal(floe_partition_begin_epoch(p, 2, 0), FLOE_OK);
    assert_int_equal(floe_partition_begin_epoch(p, 7, 10), FLOE_OK);
    for (int i = 0; i < 8; i++) {
        batch.base_offset = i * 2;
        batch.base_sequence = i < 4 ? INT32_MAX - 7 + i * 2 : (i - 4) * 2; /* wraps */
        assert_int_equal(floe_producer_note(p, &batch), FLOE_OK);
    }
    batch.producer_epoch = 1; /* in flight */
    batch.base_offset = 16;
    batch.base_sequence = 0;
    assert_int_equal(floe_producer_note(p, &batch), FLOE_OK);
    batch.producer_id = 41; /* all in flight: not in the checkpoint */
    batch.base_offset = 18;
    assert_int_equal(floe_producer_note(p, &batch), FLOE_OK);
    struct floe_index_entry e = {.base_offset = 0,
                                 .end_offset = 16,
                                 .max_timestamp = 1700000000000,
                                 .session = SESSION,
                                 .seq = 8,
                                 .position = 96,
                                 .length = 1000,
                                 .crc = 0xdeadbeef};
    assert_int_equal(floe_index_append(p->index, &e), FLOE_OK);
    p->log_start = 0;
    p->high_watermark = 12;
    p->started_end = 16;
    p->next_offset = 20;
    return p;
}

static void encode(const struct floe_partition *p, struct floe_writer *w)
{
    floe_writer_init(w, 1u << 20);
    assert_int_equal(floe_checkpoint_encode(p, &SESSION, 9, w), FLOE_OK);
}

static enum floe_err decode(struct bench *b, struct floe_slice in, struct floe_partition **out,
                            struct floe_error *err)
{
    struct floe_tp tp = rig_tp(5, 6);
    *out = floe_partition_create(b->r->log, &tp, 8);
    return floe_checkpoint_decode(*out, in, &REF, "chain/x/9", err);
}

static void what_is_written_comes_back(void **state)
{
    (void)state;
    struct bench b = open_bench();
    struct floe_partition *p = make(&b), *q;
    struct floe_writer w;
    struct floe_error err;
    encode(p, &w);
    floe_partition_destroy(p, FLOE_ENOTHOLDER);
    assert_int_equal(decode(&b, floe_slice(w.p, w.n), &q, &err), FLOE_OK);
    assert_int_equal(q->next_offset, 16); /* what is in flight is not in it */
    assert_int_equal(q->log_start, 0);
    assert_int_equal(q->epoch_count, 2);
    assert_int_equal(q->epochs[1].epoch, 7);
    assert_int_equal(q->epochs[1].start, 10);
    assert_int_equal(q->producers.n, 1);
    struct floe_producer *pr = floe_producer_find(q, 40);
    assert_non_null(pr);
    assert_int_equal(pr->epoch, 0);
    assert_int_equal(pr->count, 5);
    assert_int_equal(pr->ring[4].base_offset, 14);
    assert_int_equal(pr->ring[4].first_sequence, 6);
    assert_int_equal(pr->ring[0].base_offset, 6);
    assert_int_equal(pr->ring[0].last_sequence, 0x7fffffff - 7 + 7);
    assert_int_equal(floe_index_end(q->index), 16);
    assert_int_equal(floe_partition_bytes(q), 1000);
    struct floe_writer again;
    q->started_end = q->next_offset;
    q->epoch = 7;
    encode(q, &again);
    assert_int_equal(again.n, w.n);
    assert_memory_equal(again.p, w.p, w.n);
    floe_writer_fini(&again);
    floe_writer_fini(&w);
    floe_partition_destroy(q, FLOE_ENOTHOLDER);
    close_bench(&b);
}

static void the_bytes_are_those_of_version_1(void **state)
{
    (void)state;
    struct bench b = open_bench();
    struct floe_partition *p = make(&b);
    struct floe_writer w;
    uint8_t golden[2048];
    encode(p, &w);
    if (getenv("FLOE_GOLDEN_WRITE")) {
        FILE *f = fopen(GOLDEN, "wb");
        assert_non_null(f);
        assert_int_equal(fwrite(w.p, 1, w.n, f), w.n);
        fclose(f);
    }
    FILE *f = fopen(GOLDEN, "rb");
    assert_non_null(f);
    size_t n = fread(golden, 1, sizeof golden, f);
    fclose(f);
    assert_int_equal(n, w.n);
    assert_memory_equal(golden, w.p, n);
    floe_writer_fini(&w);
    floe_partition_destroy(p, FLOE_ENOTHOLDER);
    close_bench(&b);
}

static void one_without_a_size_is_read(void **state)
{
    (void)state;
    struct bench b = open_bench();
    struct floe_partition *q;
    struct floe_error err;
    uint8_t golden[2048];
    FILE *f = fopen(GOLDEN_BEFORE, "rb");
    assert_non_null(f);
    size_t n = fread(golden, 1, sizeof golden, f);
    fclose(f);
    assert_int_equal(decode(&b, floe_slice(golden, n), &q, &err), FLOE_OK);
    assert_int_equal(q->next_offset, 16);
    assert_int_equal(floe_partition_bytes(q), 0);
    floe_partition_destroy(q, FLOE_ENOTHOLDER);
    close_bench(&b);
}

static void truncations_are_refused_and_flips_do_no_harm(void **state)
{
    (void)state;
    struct bench b = open_bench();
    struct floe_partition *p = make(&b), *q;
    struct floe_writer w;
    struct floe_error err;
    encode(p, &w);
    floe_partition_destroy(p, FLOE_ENOTHOLDER);
    for (size_t n = 0; n < w.n; n++) {
        uint8_t *exact = malloc(n ? n : 1);
        memcpy(exact, w.p, n);
        assert_int_not_equal(decode(&b, floe_slice(exact, n), &q, &err), FLOE_OK);
        floe_partition_destroy(q, FLOE_ENOTHOLDER);
        free(exact);
    }
    for (size_t bit = 0; bit < w.n * 8; bit++) {
        w.p[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        enum floe_err rc = decode(&b, floe_slice(w.p, w.n), &q, &err);
        assert_true(rc == FLOE_OK || rc == FLOE_ECORRUPT || rc == FLOE_EUNSUPPORTED);
        if (bit < 4 * 8 || (bit >= 16 * 8 && bit < (16 + 48) * 8 && (bit < 36 * 8 || bit >= 40 * 8)))
            assert_int_not_equal(rc, FLOE_OK); /* version, partition, session, key */
        floe_partition_destroy(q, FLOE_ENOTHOLDER);
        w.p[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
    floe_writer_fini(&w);
    close_bench(&b);
}

static void unknown_sections_are_skipped_unless_critical(void **state)
{
    (void)state;
    struct bench b = open_bench();
    struct floe_partition *p = make(&b), *q;
    struct floe_writer w;
    struct floe_error err;
    for (uint16_t critical = 0; critical < 2; critical++) {
        encode(p, &w);
        floe_write_le16(&w, 77);
        floe_write_le16(&w, critical);
        floe_write_le32(&w, 3);
        floe_write(&w, "new", 3);
        floe_put_le32(w.p + 4, 6);
        assert_int_equal(decode(&b, floe_slice(w.p, w.n), &q, &err), critical ? FLOE_EUNSUPPORTED : FLOE_OK);
        floe_partition_destroy(q, FLOE_ENOTHOLDER);
        floe_writer_fini(&w);
    }
    floe_partition_destroy(p, FLOE_ENOTHOLDER);
    close_bench(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_comes_back),
        cmocka_unit_test(the_bytes_are_those_of_version_1),
        cmocka_unit_test(one_without_a_size_is_read),
        cmocka_unit_test(truncations_are_refused_and_flips_do_no_harm),
        cmocka_unit_test(unknown_sections_are_skipped_unless_critical),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
