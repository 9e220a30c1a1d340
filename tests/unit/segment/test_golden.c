/* Golden files: the writers give the bytes that lie in tests/golden, for ever. FLOE_GOLDEN_WRITE=1 writes
 * them (a new version gets new files; these stay). */
#include "floe_cmocka.h"
#include "segment_fixture.h"

#include "cli/segment_dump.h"

#include <floe/base/crc32c.h>
#include <floe/log/index.h>

#include <stdlib.h>

static const struct floe_session_name SESSION = {3, 7, 0xfeedfacecafebeefu};
#define CREATED INT64_C(1763900000000)

static void compare(const char *name, const void *p, size_t n)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", FLOE_TEST_GOLDEN, name);
    if (getenv("FLOE_GOLDEN_WRITE")) {
        FILE *out = fopen(path, "wb");
        assert_non_null(out);
        assert_int_equal(fwrite(p, 1, n, out), n);
        assert_int_equal(fclose(out), 0);
    }
    FILE *in = fopen(path, "rb");
    if (!in)
        fail_msg("%s is missing: run this test once with FLOE_GOLDEN_WRITE=1 and look at what it wrote",
                 path);
    uint8_t *want = malloc(1u << 20);
    size_t got = fread(want, 1, 1u << 20, in);
    fclose(in);
    if (got != n || memcmp(want, p, n) != 0)
        fail_msg("%s: the bytes written today differ from the golden file", path);
    free(want);
}

static void compare_text(const char *name, struct floe_slice object, uint32_t damaged)
{
    struct floe_error err = {0};
    uint32_t bad;
    json_t *d = floe_segment_describe(object, name, &bad, &err);
    if (!d)
        fail_msg("%s", err.msg);
    assert_int_equal(bad, damaged);
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);
    floe_segment_describe_print(d, out);
    fclose(out);
    if (!damaged)
        compare(name, text, n);
    free(text);
    json_decref(d);
}

static struct floe_index_entry index_entry(uint32_t i)
{
    return (struct floe_index_entry){.base_offset = 100 + i * 50 + (i > 30 ? 7 : 0),
                                     .end_offset = 150 + i * 50 + (i > 30 ? 7 : 0),
                                     .max_timestamp = i == 12 ? -1 : CREATED + (i % 5) * 1000 - i,
                                     .session = {1 + (int32_t)(i / 40), 2, 0xabcdef0123456789u},
                                     .seq = 10 + i * 3,
                                     .position = 96 + i * 1000,
                                     .length = 900 + i,
                                     .crc = i * 0x9e3779b9u};
}

static void build_index_block(struct floe_writer *w)
{
    struct floe_index *ix;
    struct floe_index_block b;
    assert_int_equal(floe_index_create(&ix), FLOE_OK);
    for (uint32_t i = 0; i < FLOE_INDEX_FANOUT; i++) {
        struct floe_index_entry e = index_entry(i);
        assert_int_equal(floe_index_append(ix, &e), FLOE_OK);
    }
    assert_int_equal(floe_index_block_begin(ix, w, &b), FLOE_OK);
    floe_index_destroy(&ix);
}

static void segment_v1(void **state)
{
    (void)state;
    struct floe_segment_writer *w;
    struct floe_uuid cluster = fixture_uuid(0xc1), nonce = fixture_uuid(0x4e), topic = fixture_uuid(2);
    assert_int_equal(floe_segment_writer_create(&w, &cluster), FLOE_OK);
    for (int i = 0; i < 9; i++) {
        struct fixture_batch f = {
            .base_offset = 1000 + i * 4 + (i > 5 ? 2 : 0),
            .timestamp = CREATED - 700 + i * 100,
            .producer_id = i % 2 ? 12000 + i : -1,
            .producer_epoch = i % 2 ? 3 : -1,
            .base_sequence = i % 2 ? i * 100 : -1,
            .leader_epoch = i < 7 ? 5 : 6,
            .count = 4,
            .attributes = (uint16_t)(i % 5),
            .payload = (uint32_t)(i * 13),
        };
        fixture_add(w, (uint8_t)(1 + i % 2), i % 3, &f);
    }
    struct floe_writer block;
    floe_writer_init(&block, FLOE_INDEX_BLOCK_BYTES_MAX);
    build_index_block(&block);
    struct floe_bufslice bytes = {NULL, block.p, block.n};
    struct floe_segment_opaque o = {
        .kind = FLOE_OPAQUE_INDEX, .has_topic = true, .topic = topic, .partition = 1, .leader_epoch = 5};
    assert_int_equal(floe_segment_add_opaque(w, &o, "topic-2", &bytes, NULL), FLOE_OK);
    bytes = (struct floe_bufslice){NULL, (const uint8_t *)"not a checkpoint", 16};
    o.kind = FLOE_OPAQUE_CHECKPOINT;
    o.covers = 41;
    assert_int_equal(floe_segment_add_opaque(w, &o, "topic-2", &bytes, NULL), FLOE_OK);
    struct floe_segment_image image;
    struct floe_error err = {0};
    assert_int_equal(floe_segment_finish(w, &SESSION, 41, &nonce, CREATED, &image, &err), FLOE_OK);
    struct floe_buf *flat = fixture_flatten(&image);
    compare("segment-v1-basic.bin", flat->data, flat->n);
    compare_text("segment-v1-basic.txt", floe_slice(flat->data, flat->n), 0);
    flat->data[image.blocks[1].position + 70] ^= 4; /* the dump sees a damaged block */
    compare_text("segment-v1-basic.txt", floe_slice(flat->data, flat->n), 1);
    floe_buf_unref(flat);

    floe_segment_writer_reset(w);
    assert_int_equal(floe_segment_finish(w, &SESSION, 0, &nonce, CREATED, &image, &err), FLOE_OK);
    flat = fixture_flatten(&image);
    compare("segment-v1-empty.bin", flat->data, flat->n);
    compare_text("segment-v1-empty.txt", floe_slice(flat->data, flat->n), 0);
    floe_buf_unref(flat);
    floe_segment_writer_destroy(&w);
    floe_writer_fini(&block);
}

static void seal_v1(void **state)
{
    (void)state;
    struct floe_seal seal = {.id = {.session = SESSION,
                                    .seq = 42,
                                    .cluster = fixture_uuid(0xc1),
                                    .nonce = fixture_uuid(0x5e),
                                    .created_ms = CREATED},
                             .by = {9, 1, 0x0123456789abcdefu}};
    uint8_t bytes[FLOE_SEAL_BYTES];
    floe_seal_encode(bytes, &seal);
    compare("segment-v1-seal.bin", bytes, sizeof bytes);
    compare_text("segment-v1-seal.txt", floe_slice(bytes, sizeof bytes), 0);
}

static void index_v1(void **state)
{
    (void)state;
    struct floe_writer w;
    floe_writer_init(&w, 1u << 20);
    build_index_block(&w);
    compare("index-v1-block.bin", w.p, w.n);
    floe_writer_fini(&w);

    struct floe_index *ix;
    assert_int_equal(floe_index_create(&ix), FLOE_OK);
    for (uint32_t i = 0; i < 70; i++) {
        struct floe_index_entry e = index_entry(i);
        assert_int_equal(floe_index_append(ix, &e), FLOE_OK);
    }
    struct floe_index_block b;
    floe_writer_init(&w, 1u << 20);
    assert_int_equal(floe_index_block_begin(ix, &w, &b), FLOE_OK);
    struct floe_index_entry where = {.session = SESSION,
                                     .seq = 40,
                                     .position = 5000,
                                     .length = (uint32_t)w.n,
                                     .crc = floe_crc32c(0, w.p, w.n)};
    assert_int_equal(floe_index_block_done(ix, &b, &where), FLOE_OK);
    floe_writer_fini(&w);
    floe_writer_init(&w, 1u << 20);
    assert_int_equal(floe_index_encode(ix, &w), FLOE_OK);
    compare("index-v1-levels.bin", w.p, w.n);
    floe_writer_fini(&w);
    floe_index_destroy(&ix);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(segment_v1),
        cmocka_unit_test(seal_v1),
        cmocka_unit_test(index_v1),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
