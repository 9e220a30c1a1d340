/* Record batches against those that Kafka's own classes wrote: fields, records, CRC, rebuilding, truncation,
 * bit flips. */
#include "kafka/record.h"
#include "vectors.h"

#include <floe/base/assert.h>
#include <floe/base/crc32c.h>
#include <floe/base/rng.h>
#include <floe/gen/kafka_errors.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define LIMIT (1u << 20)

static int64_t number(const json_t *j, const char *key)
{
    const json_t *v = json_object_get(j, key);
    if (!json_is_integer(v))
        fail_msg("no number %s", key);
    return json_integer_value(v);
}
static const char *text(const json_t *j, const char *key)
{
    const char *s = json_string_value(json_object_get(j, key));
    if (!s)
        fail_msg("no text %s", key);
    return s;
}

static void check_head(const json_t *j, const struct floe_batch *b)
{
    assert_int_equal(b->base_offset, number(j, "baseOffset"));
    assert_int_equal(floe_batch_last_offset(b), number(j, "lastOffset"));
    assert_int_equal(b->leader_epoch, number(j, "leaderEpoch"));
    assert_string_equal(floe_compression_name(floe_batch_compression(b)), text(j, "compression"));
    assert_string_equal(b->attributes & FLOE_BATCH_LOG_APPEND_TIME ? "LogAppendTime" : "CreateTime",
                        text(j, "timestampType"));
    assert_int_equal(b->max_timestamp, number(j, "maxTimestamp"));
    assert_int_equal(b->producer_id, number(j, "producerId"));
    assert_int_equal(b->producer_epoch, number(j, "producerEpoch"));
    assert_int_equal(b->base_sequence, number(j, "baseSequence"));
    assert_int_equal((b->attributes & FLOE_BATCH_TRANSACTIONAL) != 0,
                     json_is_true(json_object_get(j, "transactional")));
    assert_int_equal((b->attributes & FLOE_BATCH_CONTROL) != 0, json_is_true(json_object_get(j, "control")));
    assert_int_equal(b->crc, number(j, "crc"));
    assert_int_equal(b->length, number(j, "size"));
}

static void check_bytes(const json_t *j, struct floe_kbytes b)
{
    if (json_is_null(j)) {
        assert_int_equal(b.n, -1);
        return;
    }
    struct floe_slice want = vectors_hex(json_string_value(j));
    assert_int_equal(b.n, want.n);
    assert_true(floe_slice_eq(want, floe_slice(b.p, (size_t)b.n)));
    free((void *)want.p);
}

static void check_record(const json_t *j, const struct floe_record *r)
{
    struct floe_record_header h;
    struct floe_slice headers = r->headers;
    const json_t *crc = json_object_get(j, "valueCrc32c"), *list = json_object_get(j, "headers");
    assert_int_equal(r->offset, number(j, "offset"));
    assert_int_equal(r->timestamp, number(j, "timestamp"));
    check_bytes(json_object_get(j, "key"), r->key);
    if (crc)
        assert_int_equal(floe_crc32c(0, r->value.p, (size_t)r->value.n), json_integer_value(crc));
    else
        check_bytes(json_object_get(j, "value"), r->value);
    assert_int_equal(r->header_count, json_array_size(list));
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *pair = json_array_get(list, i);
        assert_true(floe_record_header_next(&headers, &h));
        assert_true(floe_kstr_is(h.key, json_string_value(json_array_get(pair, 0))));
        check_bytes(json_array_get(pair, 1), h.value);
    }
    assert_false(floe_record_header_next(&headers, &h));
}

/* Reads the batch record by record, builds it again, and reads the copy as well. */
static void check_batch(const json_t *j, struct floe_slice s, bool again)
{
    const json_t *records = json_object_get(j, "records");
    struct floe_record_iter *it = NULL;
    struct floe_batch_builder builder;
    struct floe_record_header headers[16];
    struct floe_record r;
    struct floe_batch b;
    struct floe_error err;
    struct floe_writer w;
    enum floe_err rc;
    size_t i = 0;
    assert_int_equal(floe_batch_parse(s, &b, &err), FLOE_OK);
    floe_batch_builder_init(&builder, floe_batch_compression(&b), LIMIT);
    assert_int_equal(floe_record_iter_create(&it, s, LIMIT, &err), FLOE_OK);
    while ((rc = floe_record_iter_next(it, &r, &err)) == FLOE_OK) {
        check_record(json_array_get(records, i++), &r);
        int32_t n = 0;
        for (struct floe_slice rest = r.headers; floe_record_header_next(&rest, &headers[n]);)
            n++;
        assert_int_equal(floe_batch_builder_add(&builder, r.timestamp, r.key, r.value, headers, n, &err),
                         FLOE_OK);
    }
    if (rc != FLOE_ENOTFOUND)
        fail_msg("%s", err.msg);
    floe_record_iter_destroy(&it);
    assert_int_equal(i, json_array_size(records));
    assert_int_equal(i, b.count);
    builder.head.base_offset = b.base_offset;
    builder.head.leader_epoch = b.leader_epoch;
    builder.head.attributes |= b.attributes & (FLOE_BATCH_TRANSACTIONAL | FLOE_BATCH_CONTROL);
    builder.head.producer_id = b.producer_id;
    builder.head.producer_epoch = b.producer_epoch;
    builder.head.base_sequence = b.base_sequence;
    floe_writer_init(&w, LIMIT);
    assert_int_equal(floe_batch_builder_finish(&builder, &w, &err), FLOE_OK);
    struct floe_batch copy;
    assert_int_equal(floe_batch_parse(floe_slice(w.p, w.n), &copy, &err), FLOE_OK);
    assert_true(floe_batch_crc_ok(w.p, &copy));
    if (floe_batch_compression(&b) == FLOE_COMPRESSION_NONE && !(b.attributes & FLOE_BATCH_LOG_APPEND_TIME))
        assert_true(floe_slice_eq(floe_slice(w.p, w.n), floe_slice(s.p, b.length)));
    if (again && !(b.attributes & FLOE_BATCH_LOG_APPEND_TIME))
        check_batch(j, floe_slice(w.p, w.n), false);
    floe_batch_builder_fini(&builder);
    floe_writer_fini(&w);
}

static void test_vectors(void **state)
{
    (void)state;
    struct vectors v;
    struct floe_error err;
    int count = 0;
    assert_true(vectors_open(&v, "kafka-batches.tsv"));
    while (vectors_next(&v)) {
        struct floe_slice all = vectors_hex(v.column[2]), rest = all, bytes;
        json_t *list = json_loads(v.column[1], 0, NULL);
        struct floe_batch b;
        size_t i = 0;
        enum floe_err rc;
        assert_non_null(list);
        while ((rc = floe_batch_next(&rest, &b, &bytes, &err)) == FLOE_OK) {
            const json_t *j = json_array_get(list, i++);
            check_head(j, &b);
            assert_true(floe_batch_crc_ok(bytes.p, &b));
            check_batch(j, bytes, true);
        }
        assert_int_equal(rc, FLOE_ENOTFOUND);
        assert_int_equal(i, json_array_size(list));
        json_decref(list);
        free((void *)all.p);
        count++;
    }
    assert_int_equal(count, 29);
}

/* Walks every record of every batch; the result of the first step that fails. */
static enum floe_err read_all(struct floe_slice s, size_t limit, bool check_crc)
{
    struct floe_error err;
    struct floe_batch b;
    struct floe_slice bytes;
    struct floe_record r;
    enum floe_err rc;
    while ((rc = floe_batch_next(&s, &b, &bytes, &err)) == FLOE_OK) {
        struct floe_record_iter *it = NULL;
        if (check_crc && !floe_batch_crc_ok(bytes.p, &b))
            return FLOE_ECORRUPT;
        rc = floe_record_iter_create(&it, bytes, limit, &err);
        while (rc == FLOE_OK)
            rc = floe_record_iter_next(it, &r, &err);
        floe_record_iter_destroy(&it);
        if (rc != FLOE_ENOTFOUND)
            return rc;
    }
    return rc;
}

static void test_truncated(void **state)
{
    (void)state;
    struct vectors v;
    assert_true(vectors_open(&v, "kafka-batches.tsv"));
    while (vectors_next(&v)) {
        struct floe_slice all = vectors_hex(v.column[2]);
        struct floe_batch b;
        struct floe_error err;
        bool one = strcmp(v.column[0], "two-batches") != 0;
        assert_int_equal(floe_batch_parse(all, &b, &err), FLOE_OK);
        for (size_t n = 1; n<all.n; n += all.n> 1500 ? 1 + all.n / 1000 : 1) {
            uint8_t *p = malloc(n);
            memcpy(p, all.p, n);
            if (one || n != b.length)
                assert_int_equal(read_all(floe_slice(p, n), LIMIT, false), FLOE_ECORRUPT);
            if (one &&
                n > FLOE_BATCH_HEADER) { /* a length that agrees with what is left: the records must notice */
                floe_put_be32(p + 8, (uint32_t)(n - FLOE_BATCH_LENGTH_FROM));
                enum floe_err rc = read_all(floe_slice(p, n), LIMIT, false);
                assert_true(rc == FLOE_ECORRUPT || (rc == FLOE_ENOTFOUND && b.attributes & 7));
                assert_int_equal(read_all(floe_slice(p, n), LIMIT, true), FLOE_ECORRUPT);
            }
            free(p);
        }
        free((void *)all.p);
    }
}

static void test_flipped(void **state)
{
    (void)state;
    struct vectors v;
    struct floe_rng rng;
    floe_rng_init(&rng, 11);
    assert_true(vectors_open(&v, "kafka-batches.tsv"));
    while (vectors_next(&v)) {
        struct floe_slice all = vectors_hex(v.column[2]);
        for (int i = 0; i < 400; i++) {
            uint8_t *p = malloc(all.n);
            memcpy(p, all.p, all.n);
            size_t bit = floe_rng_below(&rng, i % 2 ? all.n * 8 : FLOE_MIN(all.n, (size_t)128) * 8),
                   byte = bit / 8;
            p[byte] ^= (uint8_t)(1 << bit % 8);
            (void)read_all(floe_slice(p, all.n), LIMIT, false); /* must not crash */
            if (byte >= 16 && byte < floe_be32(all.p + 8) + 12) /* of the first batch, what its CRC covers */
                assert_int_not_equal(read_all(floe_slice(p, all.n), LIMIT, true), FLOE_ENOTFOUND);
            free(p);
        }
        free((void *)all.p);
    }
}

static void test_limit(void **state)
{
    (void)state;
    struct vectors v;
    int seen = 0;
    assert_true(vectors_open(&v, "kafka-batches.tsv"));
    while (vectors_next(&v)) {
        struct floe_slice all = vectors_hex(v.column[2]);
        if (strstr(v.column[0], "-large")) { /* 220 KB of records in a few */
            assert_int_equal(read_all(all, 100000, true), FLOE_ETOOLARGE);
            assert_int_equal(read_all(all, 300000, true), FLOE_ENOTFOUND);
            seen++;
        }
        free((void *)all.p);
    }
    assert_int_equal(seen, 4);
}

/* A batch of three records at 100, 300 and 200 ms, offsets from 40. */
static struct floe_slice sample(enum floe_compression c, struct floe_writer *w)
{
    struct floe_batch_builder b;
    struct floe_error err;
    static const int64_t at[] = {100, 300, 200};
    floe_writer_init(w, LIMIT);
    floe_batch_builder_init(&b, c, 4096);
    for (int i = 0; i < 3; i++)
        assert_int_equal(
            floe_batch_builder_add(&b, at[i], (struct floe_kbytes){(const uint8_t *)"k", i == 2 ? -1 : 1},
                                   (struct floe_kbytes){(const uint8_t *)"value", 5}, NULL, 0, &err),
            FLOE_OK);
    b.head.base_offset = 40;
    assert_int_equal(floe_batch_builder_finish(&b, w, &err), FLOE_OK);
    floe_batch_builder_fini(&b);
    return floe_slice(w->p, w->n);
}

static void test_timestamps(void **state)
{
    (void)state;
    struct floe_error err;
    for (int c = 0; c < FLOE_COMPRESSION_COUNT; c++) {
        struct floe_writer w;
        struct floe_slice s = sample((enum floe_compression)c, &w);
        int64_t offset = -7, ts = -7;
        assert_int_equal(floe_batch_find_timestamp(s, 0, 150, LIMIT, &offset, &ts, &err), FLOE_OK);
        assert_true(offset == 41 && ts == 300);
        assert_int_equal(floe_batch_find_timestamp(s, 0, 0, LIMIT, &offset, &ts, &err), FLOE_OK);
        assert_true(offset == 40 && ts == 100);
        assert_int_equal(floe_batch_find_timestamp(s, 41, 0, LIMIT, &offset, &ts, &err), FLOE_OK);
        assert_true(offset == 41);
        offset = -7;
        assert_int_equal(floe_batch_find_timestamp(s, 0, 301, LIMIT, &offset, &ts, &err), FLOE_ENOTFOUND);
        assert_int_equal(offset, -7);
        assert_int_equal(floe_batch_max_timestamp_offset(s, LIMIT, &offset, &ts, &err), FLOE_OK);
        assert_true(offset == 41 && ts == 300);
        struct floe_batch b;
        assert_int_equal(floe_batch_parse(s, &b, &err), FLOE_OK);
        floe_batch_set_log_append_time(w.p, &b, 5000);
        assert_int_equal(floe_batch_parse(s, &b, &err), FLOE_OK);
        assert_true(floe_batch_crc_ok(w.p, &b) && b.max_timestamp == 5000 && b.attributes == (8 | c));
        assert_int_equal(floe_batch_find_timestamp(s, 0, 4000, LIMIT, &offset, &ts, &err), FLOE_OK);
        assert_true(offset == 40 && ts == 5000);
        floe_writer_fini(&w);
    }
}

static void test_patches(void **state)
{
    (void)state;
    struct floe_writer w;
    struct floe_error err;
    struct floe_batch b;
    struct floe_slice s = sample(FLOE_COMPRESSION_LZ4, &w);
    floe_batch_patch(w.p, 1234567890123, 9);
    assert_int_equal(floe_batch_parse(s, &b, &err), FLOE_OK);
    assert_true(b.base_offset == 1234567890123 && b.leader_epoch == 9 && floe_batch_crc_ok(w.p, &b));
    floe_batch_set_producer(w.p, &b, 77, 3, INT32_MAX - 1);
    assert_int_equal(floe_batch_parse(s, &b, &err), FLOE_OK);
    assert_true(b.producer_id == 77 && b.producer_epoch == 3 && floe_batch_crc_ok(w.p, &b));
    assert_int_equal(floe_batch_last_sequence(&b), 0); /* INT32_MAX-1, INT32_MAX, 0 */
    floe_writer_fini(&w);
}

/* Validation of a produced batch after one change to it. */
static int16_t validate(enum floe_compression c, void (*change)(uint8_t *p, struct floe_batch *b),
                        bool fix_crc, const struct floe_batch_limits *limits, struct floe_batch *out)
{
    struct floe_writer w;
    struct floe_error err = {FLOE_OK, ""};
    struct floe_batch b;
    int16_t kafka_error = 0;
    struct floe_slice s = sample(c, &w);
    floe_batch_patch(w.p, 0, -1);
    assert_int_equal(floe_batch_parse(s, &b, &err), FLOE_OK);
    if (change)
        change(w.p, &b);
    if (fix_crc)
        floe_put_be32(w.p + 17, floe_crc32c(0, w.p + 21, s.n - 21));
    enum floe_err rc = floe_batch_validate_produce(w.p, s.n, limits, out, &kafka_error, &err);
    assert_int_equal(rc == FLOE_OK, kafka_error == 0);
    if (rc == FLOE_OK)
        assert_true(floe_batch_crc_ok(w.p, out));
    floe_writer_fini(&w);
    return kafka_error;
}
#define CHANGE(name, code)                                                                                   \
    static void name(uint8_t *p, struct floe_batch *b)                                                       \
    {                                                                                                        \
        (void)b;                                                                                             \
        code;                                                                                                \
    }
CHANGE(magic_1, p[16] = 1)
CHANGE(base_offset, floe_put_be64(p, 7))
CHANGE(base_negative, floe_put_be64(p, UINT64_MAX))
CHANGE(magic_3, p[16] = 3)
CHANGE(length_10, floe_put_be32(p + 8, 10))
CHANGE(bad_crc, p[70] ^= 1)
CHANGE(control, p[22] |= FLOE_BATCH_CONTROL)
CHANGE(append_time, p[22] |= FLOE_BATCH_LOG_APPEND_TIME)
CHANGE(transactional, p[22] |= FLOE_BATCH_TRANSACTIONAL)
CHANGE(compression_5, p[22] |= 5)
CHANGE(zero_count, floe_put_be32(p + 57, 0))
CHANGE(count_4, (floe_put_be32(p + 57, 4), floe_put_be32(p + 23, 3)))
CHANGE(count_2, (floe_put_be32(p + 57, 2), floe_put_be32(p + 23, 1)))
CHANGE(delta_3, floe_put_be32(p + 23, 3))
CHANGE(no_sequence, floe_put_be64(p + 43, 5))
CHANGE(max_timestamp, floe_put_be64(p + 35, 9999))
CHANGE(longer, floe_put_be32(p + 8, b->length))
CHANGE(shorter, floe_put_be32(p + 8, b->length - 13))
CHANGE(record_length, p[61] += 2)
CHANGE(offset_delta, p[64] = 2)
CHANGE(key_length, p[65] = 40)

static void test_validation(void **state)
{
    (void)state;
    struct floe_batch_limits any = {.max_bytes = 1000, .zstd = true};
    struct floe_batch b;
    static const struct {
        void (*change)(uint8_t *, struct floe_batch *);
        bool fix_crc;
        int16_t want;
    } row[] = {
        {NULL, false, FLOE_KERR_NONE},
        {magic_1, false, FLOE_KERR_INVALID_RECORD},
        {bad_crc, false, FLOE_KERR_CORRUPT_MESSAGE},
        {control, true, FLOE_KERR_INVALID_RECORD},
        {append_time, true, FLOE_KERR_INVALID_TIMESTAMP},
        {transactional, true, FLOE_KERR_NONE}, /* what that takes is the request's */
        {base_offset, false, FLOE_KERR_NONE},
        {base_negative, false, FLOE_KERR_INVALID_RECORD},
        {magic_3, false, FLOE_KERR_CORRUPT_MESSAGE},
        {length_10, false, FLOE_KERR_CORRUPT_MESSAGE},
        {compression_5, true, FLOE_KERR_UNSUPPORTED_COMPRESSION_TYPE},
        {zero_count, true, FLOE_KERR_INVALID_RECORD},
        {count_4, true, FLOE_KERR_INVALID_RECORD},
        {count_2, true, FLOE_KERR_INVALID_RECORD},
        {delta_3, true, FLOE_KERR_INVALID_RECORD},
        {no_sequence, true, FLOE_KERR_INVALID_RECORD},
        {longer, true, FLOE_KERR_INVALID_RECORD},   /* no whole batch */
        {shorter, true, FLOE_KERR_CORRUPT_MESSAGE}, /* what is left over is left out; the CRC is of all */
        {record_length, true, FLOE_KERR_INVALID_RECORD},
        {offset_delta, true, FLOE_KERR_INVALID_RECORD},
        {key_length, true, FLOE_KERR_INVALID_RECORD},
    };
    for (size_t i = 0; i < FLOE_COUNTOF(row); i++)
        if (validate(FLOE_COMPRESSION_NONE, row[i].change, row[i].fix_crc, &any, &b) != row[i].want)
            fail_msg("row %zu", i);
    assert_int_equal(validate(FLOE_COMPRESSION_NONE, max_timestamp, true, &any, &b), 0);
    assert_int_equal(b.max_timestamp, 300); /* put right, with its CRC */
    for (int c = 0; c < FLOE_COMPRESSION_COUNT; c++) {
        struct floe_batch_limits keys = {
            .max_bytes = 1000, .zstd = true, .keys = true, .records_limit = 1000};
        assert_int_equal(validate((enum floe_compression)c, NULL, false, &any, &b), 0);
        assert_int_equal(validate((enum floe_compression)c, NULL, false, &keys, &b),
                         FLOE_KERR_INVALID_RECORD);
    }
    struct floe_batch_limits old = {.max_bytes = 1000}, small = {.max_bytes = 60, .zstd = true};
    assert_int_equal(validate(FLOE_COMPRESSION_ZSTD, NULL, false, &old, &b),
                     FLOE_KERR_UNSUPPORTED_COMPRESSION_TYPE);
    assert_int_equal(validate(FLOE_COMPRESSION_NONE, NULL, false, &small, &b), FLOE_KERR_MESSAGE_TOO_LARGE);
    int16_t kerr = 0;
    uint8_t nothing = 0;
    struct floe_error err;
    assert_int_equal(floe_batch_validate_produce(&nothing, 0, &any, &b, &kerr, &err), FLOE_EUNSUPPORTED);
    assert_int_equal(kerr, FLOE_KERR_INVALID_RECORD);
}

static void test_two_batches_refused(void **state)
{
    (void)state;
    struct vectors v;
    struct floe_batch_limits any = {.max_bytes = LIMIT, .zstd = true};
    bool seen = false;
    assert_true(vectors_open(&v, "kafka-batches.tsv"));
    while (vectors_next(&v)) {
        struct floe_slice s = vectors_hex(v.column[2]);
        struct floe_batch b;
        struct floe_error err;
        int16_t kerr = 0;
        floe_batch_patch((uint8_t *)(uintptr_t)s.p, 0, -1);
        enum floe_err rc = floe_batch_validate_produce((uint8_t *)(uintptr_t)s.p, s.n, &any, &b, &kerr, &err);
        bool two = strcmp(v.column[0], "two-batches") == 0, marker = strncmp(v.column[0], "marker", 6) == 0;
        bool append_time = strcmp(v.column[0], "none-logappend") == 0;
        seen |= two;
        assert_int_equal(kerr, two || marker ? FLOE_KERR_INVALID_RECORD
                               : append_time ? FLOE_KERR_INVALID_TIMESTAMP
                                             : 0);
        assert_int_equal(rc == FLOE_OK, kerr == 0);
        free((void *)s.p);
    }
    assert_true(seen);
}

static void test_builder_limits(void **state)
{
    (void)state;
    struct floe_batch_builder b;
    struct floe_error err;
    struct floe_writer w;
    static const uint8_t big[200];
    struct floe_kbytes null = {NULL, -1};
    floe_batch_builder_init(&b, FLOE_COMPRESSION_GZIP, 300);
    floe_writer_init(&w, LIMIT);
    assert_int_equal(floe_batch_builder_finish(&b, &w, &err), FLOE_EINVAL);
    assert_int_equal(floe_batch_builder_add(&b, 1, null, (struct floe_kbytes){big, 200}, NULL, 0, &err),
                     FLOE_OK);
    assert_int_equal(floe_batch_builder_add(&b, 1, null, (struct floe_kbytes){big, 200}, NULL, 0, &err),
                     FLOE_ETOOLARGE);
    assert_int_equal(b.head.count, 1);
    assert_int_equal(floe_batch_builder_finish(&b, &w, &err), FLOE_OK);
    assert_int_equal(read_all(floe_slice(w.p, w.n), LIMIT, true), FLOE_ENOTFOUND);
    assert_int_equal(b.head.count, 0);
    floe_writer_fini(&w);
    floe_writer_init(&w, 70); /* no room: nothing stays behind */
    assert_int_equal(floe_batch_builder_add(&b, 1, null, (struct floe_kbytes){big, 200}, NULL, 0, &err),
                     FLOE_OK);
    assert_int_equal(floe_batch_builder_finish(&b, &w, &err), FLOE_ETOOLARGE);
    assert_int_equal(w.n, 0);
    floe_writer_fini(&w);
    floe_batch_builder_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),        cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_flipped),        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_timestamps),     cmocka_unit_test(test_patches),
        cmocka_unit_test(test_validation),     cmocka_unit_test(test_two_batches_refused),
        cmocka_unit_test(test_builder_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
