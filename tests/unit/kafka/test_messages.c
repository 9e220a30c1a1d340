/* Every message of every version against the bytes of Kafka's own classes: fields, bytes, truncations, bit
 * flips. */
#include "vectors.h"
#include "kafka/tables.h"

#include <floe/base/rng.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define ARENA_MAX (1u << 20)

static const struct floe_kafka_msg *find(const char *name)
{
    for (uint32_t i = 0; i < floe_kafka_message_count; i++)
        if (strcmp(floe_kafka_messages[i]->name, name) == 0)
            return floe_kafka_messages[i];
    return NULL;
}

/* Takes `_unknownTags` out everywhere; true when there was one. */
static bool strip_unknown(json_t *j)
{
    bool found = false;
    const char *key;
    json_t *value;
    void *tmp;
    size_t i;
    if (json_is_array(j))
        json_array_foreach(j, i, value) found |= strip_unknown(value);
    if (json_is_object(j)) {
        found = json_object_del(j, "_unknownTags") == 0;
        json_object_foreach_safe(j, tmp, key, value) found |= strip_unknown(value);
    }
    return found;
}

/* Equal, whole numbers and floats of the same value included. */
static bool same(const json_t *a, const json_t *b)
{
    const char *key;
    json_t *value;
    size_t i;
    if (json_is_number(a) && json_is_number(b))
        return json_is_integer(a) && json_is_integer(b) ? json_integer_value(a) == json_integer_value(b)
                                                        : json_number_value(a) == json_number_value(b);
    if (json_is_array(a) && json_is_array(b)) {
        if (json_array_size(a) != json_array_size(b))
            return false;
        json_array_foreach((json_t *)a, i, value) if (!same(value, json_array_get(b, i))) return false;
        return true;
    }
    if (json_is_object(a) && json_is_object(b)) {
        if (json_object_size(a) != json_object_size(b))
            return false;
        json_object_foreach((json_t *)a, key, value)
        {
            const json_t *other = json_object_get(b, key);
            if (!other || !same(value, other))
                return false;
        }
        return true;
    }
    return json_equal(a, b);
}

static json_t *as_json(const struct floe_kafka_msg *m, int16_t version, const void *msg)
{
    struct floe_writer w;
    struct floe_error err;
    json_error_t where;
    floe_writer_init(&w, ARENA_MAX);
    assert_int_equal(floe_kafka_json(m, version, msg, &w, &err), FLOE_OK);
    json_t *j = json_loadb((const char *)w.p, w.n, 0, &where);
    if (!j)
        fail_msg("%s v%d: %s: %.*s", m->name, version, where.text, (int)w.n, w.p);
    floe_writer_fini(&w);
    return j;
}

static void check_vector(const struct floe_kafka_msg *m, int16_t version, const char *json,
                         struct floe_slice in)
{
    struct floe_arena arena;
    struct floe_writer w;
    struct floe_error err;
    json_error_t where;
    void *msg = NULL;
    floe_arena_init(&arena, ARENA_MAX);
    floe_writer_init(&w, ARENA_MAX);
    if (floe_kafka_decode(m, version, in, &arena, &msg, &err) != FLOE_OK)
        fail_msg("decode: %s", err.msg);
    json_t *want = json_loads(json, 0, &where), *got = as_json(m, version, msg);
    assert_non_null(want);
    bool unknown = strip_unknown(want);
    if (!same(want, got))
        fail_msg("%s v%d: want %s\ngot %s", m->name, version, json, json_dumps(got, 0));
    json_decref(got);
    if (floe_kafka_encode(m, version, msg, &w, &err) != FLOE_OK)
        fail_msg("encode: %s", err.msg);
    if (!unknown && !floe_slice_eq(floe_slice(w.p, w.n), in))
        fail_msg("%s v%d: other bytes for %s", m->name, version, json);
    if (unknown) { /* we drop them: what is left says the same */
        assert_true(w.n < in.n);
        void *again;
        assert_int_equal(floe_kafka_decode(m, version, floe_slice(w.p, w.n), &arena, &again, &err), FLOE_OK);
        got = as_json(m, version, again);
        assert_true(same(want, got));
        json_decref(got);
    }
    json_decref(want);
    floe_writer_fini(&w);
    floe_arena_fini(&arena);
}

static void test_vectors(void **state)
{
    (void)state;
    struct vectors v;
    int count = 0, messages = 0;
    const struct floe_kafka_msg *last = NULL;
    assert_true(vectors_open(&v, "kafka-messages.tsv"));
    while (vectors_next(&v)) {
        assert_int_equal(v.columns, 5);
        const struct floe_kafka_msg *m = find(v.column[1]);
        if (!m)
            fail_msg("no message %s in the table", v.column[1]);
        assert_int_equal(m->key, atoi(v.column[0]));
        struct floe_slice in = vectors_hex(v.column[4]);
        check_vector(m, (int16_t)atoi(v.column[2]), v.column[3], in);
        free((void *)in.p);
        count++;
        messages += m != last;
        last = m;
    }
    assert_int_equal(count, 1710);
    assert_true(messages >= 160);
}

/* Bytes in a heap block of their own size. */
static enum floe_err decode_copy(const struct floe_kafka_msg *m, int16_t version, struct floe_slice in,
                                 size_t n, int flip_bit, bool reencode)
{
    struct floe_arena arena;
    struct floe_error err = {FLOE_OK, ""};
    uint8_t *p = malloc(n ? n : 1);
    void *msg;
    assert_non_null(p);
    memcpy(p, in.p, n);
    if (flip_bit >= 0)
        p[flip_bit / 8] ^= (uint8_t)(1 << (flip_bit % 8));
    floe_arena_init(&arena, ARENA_MAX);
    enum floe_err rc = floe_kafka_decode(m, version, floe_slice(p, n), &arena, &msg, &err);
    if (arena.used > 64 * n + 1024)
        fail_msg("%s v%d: %zu bytes of memory for %zu", m->name, version, arena.used, n);
    if (rc != FLOE_OK)
        assert_true(err.code == rc && strstr(err.msg, m->name));
    if (rc == FLOE_OK && reencode) { /* whatever can be read can be written */
        struct floe_writer w;
        floe_writer_init(&w, ARENA_MAX);
        if (floe_kafka_encode(m, version, msg, &w, &err) != FLOE_OK)
            fail_msg("encode after a flip: %s", err.msg);
        floe_writer_fini(&w);
    }
    floe_arena_fini(&arena);
    free(p);
    return rc;
}

static void test_truncated(void **state)
{
    (void)state;
    struct vectors v;
    assert_true(vectors_open(&v, "kafka-messages.tsv"));
    while (vectors_next(&v)) {
        const struct floe_kafka_msg *m = find(v.column[1]);
        struct floe_slice in = vectors_hex(v.column[4]);
        size_t step = in.n > 600 ? in.n / 300 : 1; /* long messages: a sample, and the last 300 */
        for (size_t n = 0; n < in.n; n += n + 300 < in.n ? step : 1)
            if (decode_copy(m, (int16_t)atoi(v.column[2]), in, n, -1, false) == FLOE_OK)
                fail_msg("%s v%s: %zu of %zu bytes decode", m->name, v.column[2], n, in.n);
        free((void *)in.p);
    }
}

static void test_flipped(void **state)
{
    (void)state;
    struct vectors v;
    struct floe_rng rng;
    floe_rng_init(&rng, 7);
    assert_true(vectors_open(&v, "kafka-messages.tsv"));
    while (vectors_next(&v)) {
        const struct floe_kafka_msg *m = find(v.column[1]);
        struct floe_slice in = vectors_hex(v.column[4]);
        for (int i = 0; in.n > 0 && i < 64; i++)
            (void)decode_copy(m, (int16_t)atoi(v.column[2]), in, in.n, (int)floe_rng_below(&rng, in.n * 8),
                              true);
        free((void *)in.p);
    }
}

static void test_left_over(void **state)
{
    (void)state;
    struct floe_arena arena;
    struct floe_error err;
    void *msg = NULL;
    size_t used = 0;
    static const uint8_t heartbeat_response[] = {0, 0, 0, 1, 0, 27, 0xff};
    floe_arena_init(&arena, ARENA_MAX);
    assert_int_equal(floe_kafka_decode(&floe_kafka_HeartbeatResponse_desc, 1,
                                       floe_slice(heartbeat_response, 7), &arena, &msg, &err),
                     FLOE_EINVAL);
    assert_string_equal(err.msg, "HeartbeatResponse v1: 1 bytes left over after the message at byte 6");
    assert_null(msg);
    assert_int_equal(floe_kafka_decode_prefix(&floe_kafka_HeartbeatResponse_desc, 1,
                                              floe_slice(heartbeat_response, 7), &used, &arena, &msg, &err),
                     FLOE_OK);
    assert_int_equal(used, 6);
    assert_int_equal(((struct floe_kafka_HeartbeatResponse *)msg)->ErrorCode,
                     FLOE_KERR_REBALANCE_IN_PROGRESS);
    assert_int_equal(floe_kafka_decode(&floe_kafka_HeartbeatResponse_desc, 5,
                                       floe_slice(heartbeat_response, 6), &arena, &msg, &err),
                     FLOE_EUNSUPPORTED);
    floe_arena_fini(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_flipped),
        cmocka_unit_test(test_left_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
