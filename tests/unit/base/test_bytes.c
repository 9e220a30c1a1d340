#include <floe_cmocka.h>

#include <floe/base/assert.h>
#include <floe/base/bytes.h>

#include <stdio.h>
#include <stdlib.h>

static void reads_fixed_widths(void **state)
{
    (void)state;
    const uint8_t b[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    struct floe_reader r = floe_reader(floe_slice(b, sizeof b));
    assert_int_equal(floe_read_u8(&r), 1);
    assert_int_equal(floe_read_be16(&r), 0x0203);
    assert_int_equal(floe_read_le32(&r), 0x07060504);
    assert_true(floe_read_be64(&r) == 0x08090a0b0c0d0e0fU);
    assert_int_equal(floe_reader_left(&r), 0);
    assert_false(r.bad);
    assert_int_equal(floe_read_u8(&r), 0);
    assert_true(r.bad);
}

static void error_is_sticky(void **state)
{
    (void)state;
    const uint8_t b[] = {1, 2, 3};
    struct floe_reader r = floe_reader(floe_slice(b, sizeof b));
    assert_int_equal(floe_read_be32(&r), 0);
    assert_true(r.bad);
    assert_int_equal(floe_read_u8(&r), 0); /* although a byte is there */
    assert_null(floe_reader_take(&r, 0));
    assert_int_equal(floe_reader_left(&r), 0);
}

static void varints_round_trip(void **state)
{
    (void)state;
    const int64_t values[] = {0, -1, 1, 63, -64, 64, 300, INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN};
    for (size_t i = 0; i < FLOE_COUNTOF(values); i++) {
        struct floe_writer w;
        floe_writer_init(&w, 64);
        floe_write_varint(&w, values[i]);
        floe_write_uvarint(&w, (uint64_t)values[i]);
        assert_false(w.bad);
        struct floe_reader r = floe_reader(floe_slice(w.p, w.n));
        assert_true(floe_read_varint64(&r) == values[i]);
        assert_true(floe_read_uvarint64(&r) == (uint64_t)values[i]);
        assert_false(r.bad);
        assert_int_equal(floe_reader_left(&r), 0);
        if (values[i] >= INT32_MIN && values[i] <= INT32_MAX) {
            r = floe_reader(floe_slice(w.p, w.n));
            assert_int_equal(floe_read_varint32(&r), values[i]);
            assert_false(r.bad);
        }
        /* Every truncation is an error, never a value. */
        size_t first = 0;
        while ((w.p[first] & 0x80) != 0)
            first++;
        for (size_t n = 0; n <= first; n++) {
            r = floe_reader(floe_slice(w.p, n));
            (void)floe_read_varint64(&r);
            assert_true(r.bad);
        }
        floe_writer_fini(&w);
    }
}

static void varints_refuse_overflow(void **state)
{
    (void)state;
    static const struct {
        uint8_t b[11];
        size_t n;
        bool ok32, ok64;
    } cases[] = {
        {{0xff, 0xff, 0xff, 0xff, 0x0f}, 5, true, true},
        {{0xff, 0xff, 0xff, 0xff, 0x1f}, 5, false, true},
        {{0x80, 0x80, 0x80, 0x80, 0x80, 0x00}, 6, false, true},
        {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}, 10, false, true},
        {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02}, 10, false, false},
        {{0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00}, 11, false, false},
    };
    for (size_t i = 0; i < FLOE_COUNTOF(cases); i++) {
        struct floe_reader r = floe_reader(floe_slice(cases[i].b, cases[i].n));
        (void)floe_read_uvarint32(&r);
        assert_int_equal(!r.bad, cases[i].ok32);
        r = floe_reader(floe_slice(cases[i].b, cases[i].n));
        (void)floe_read_uvarint64(&r);
        assert_int_equal(!r.bad, cases[i].ok64);
    }
}

static void writer_grows_and_stops_at_max(void **state)
{
    (void)state;
    struct floe_writer w;
    floe_writer_init(&w, 1000);
    for (unsigned i = 0; i < 250; i++)
        floe_write_be32(&w, i);
    assert_false(w.bad);
    assert_int_equal(w.n, 1000);
    assert_true(w.cap <= 1000);
    for (unsigned i = 0; i < 250; i++)
        assert_int_equal(floe_be32(w.p + 4 * (size_t)i), i);
    floe_write_u8(&w, 1);
    assert_true(w.bad);
    assert_int_equal(w.n, 1000);
    assert_null(floe_writer_grow(&w, 0));
    floe_writer_fini(&w);

    floe_writer_init(&w, 10);
    assert_null(floe_writer_grow(&w, SIZE_MAX));
    assert_true(w.bad);
    floe_writer_fini(&w);

    floe_writer_init(&w, 0);
    floe_write(&w, NULL, 0);
    floe_writer_fini(&w);
}

static void writer_writes_what_readers_read(void **state)
{
    (void)state;
    struct floe_writer w;
    floe_writer_init(&w, 1 << 20);
    floe_write_u8(&w, 7);
    floe_write_be16(&w, 0x1234);
    floe_write_be64(&w, 0x0102030405060708U);
    floe_write_le16(&w, 0x1234);
    floe_write_le32(&w, 0xdeadbeef);
    floe_write_le64(&w, 0x0102030405060708U);
    floe_write(&w, "abc", 3);
    assert_int_equal(w.p[1], 0x12);
    assert_int_equal(w.p[11], 0x34);
    struct floe_reader r = floe_reader(floe_slice(w.p, w.n));
    assert_int_equal(floe_read_u8(&r), 7);
    assert_int_equal(floe_read_be16(&r), 0x1234);
    assert_true(floe_read_be64(&r) == 0x0102030405060708U);
    assert_int_equal(floe_read_le16(&r), 0x1234);
    assert_true(floe_read_le32(&r) == 0xdeadbeef);
    assert_true(floe_read_le64(&r) == 0x0102030405060708U);
    assert_memory_equal(floe_reader_take(&r, 3), "abc", 3);
    assert_int_equal(floe_reader_left(&r), 0);
    floe_writer_fini(&w);
}

static void hex_both_ways(void **state)
{
    (void)state;
    uint8_t in[256], back[256];
    char text[513];
    for (size_t i = 0; i < 256; i++)
        in[i] = (uint8_t)i;
    floe_hex(text, in, 256);
    assert_true(floe_hex_decode(back, text, 256));
    assert_memory_equal(in, back, 256);
    uint8_t two[2] = {9, 9};
    assert_true(floe_hex_decode(two, "aBcD", 2));
    assert_int_equal(two[0], 0xab);
    static const char *const bad[] = {"", "abc", "abcg", "ab d", "abcd0", "ab"};
    for (size_t i = 0; i < FLOE_COUNTOF(bad); i++) {
        two[0] = two[1] = 9;
        assert_false(floe_hex_decode(two, bad[i], 2));
        assert_int_equal(two[0], 9); /* untouched on failure */
    }
}

static void uuids_print_as_kafka_does(void **state)
{
    (void)state;
    struct floe_uuid u, v;
    char hex[FLOE_UUID_HEX], b64[23];
    assert_true(floe_uuid_parse(&u, "000102030405060708090a0b0c0d0e0f"));
    floe_uuid_hex(hex, &u);
    assert_string_equal(hex, "000102030405060708090a0b0c0d0e0f");
    floe_uuid_b64(b64, &u);
    assert_string_equal(b64, "AAECAwQFBgcICQoLDA0ODw");
    assert_true(floe_uuid_parse(&u, "ffffffffffffffffffffffffffffffff"));
    floe_uuid_b64(b64, &u);
    assert_string_equal(b64, "_____________________w");
    assert_false(floe_uuid_parse(&v, "0001020304050607"));
    memset(&v, 0, sizeof v);
    assert_true(floe_uuid_is_zero(&v));
    assert_false(floe_uuid_is_zero(&u));
    assert_false(floe_uuid_eq(&u, &v));
}

static void slices_compare(void **state)
{
    (void)state;
    assert_true(floe_slice_eq(floe_slice_str("abc"), floe_slice("abcd", 3)));
    assert_false(floe_slice_eq(floe_slice_str("abc"), floe_slice_str("abd")));
    assert_false(floe_slice_eq(floe_slice_str("abc"), floe_slice_str("ab")));
    assert_true(floe_slice_eq(floe_slice(NULL, 0), floe_slice_str("")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_fixed_widths),
        cmocka_unit_test(error_is_sticky),
        cmocka_unit_test(varints_round_trip),
        cmocka_unit_test(varints_refuse_overflow),
        cmocka_unit_test(writer_grows_and_stops_at_max),
        cmocka_unit_test(writer_writes_what_readers_read),
        cmocka_unit_test(hex_both_ways),
        cmocka_unit_test(uuids_print_as_kafka_does),
        cmocka_unit_test(slices_compare),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
