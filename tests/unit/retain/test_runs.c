/* Runs of keys and their record. */
#include <floe_cmocka.h>

#include "retain/retain_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct retain_pin pin(enum retain_pin_kind kind, uint8_t topic)
{
    struct retain_pin p = {.kind = kind};
    memset(p.topic.b, topic, sizeof p.topic.b);
    return p;
}

static void push(struct retain_runs *r, uint64_t seq, enum retain_pin_kind kind, uint8_t topic)
{
    struct retain_pin p = pin(kind, topic);
    assert_true(retain_runs_push(r, seq, seq + 1, &p));
}

static void runs_join(void **state)
{
    struct retain_runs r = {0};
    (void)state;
    for (uint64_t k = 0; k < 100; k++)
        push(&r, k, RETAIN_PIN_TOPIC, k < 50 ? 1 : 2);
    push(&r, 101, RETAIN_PIN_TOPIC, 2); /* 100 is not there: it must not be covered */
    push(&r, 102, RETAIN_PIN_CHECKPOINT, 2);
    assert_int_equal(r.n, 4);
    assert_null(retain_runs_find(&r, 100));
    assert_null(retain_runs_find(&r, 103));
    assert_int_equal(retain_runs_find(&r, 49)->pin.topic.b[0], 1);
    assert_int_equal(retain_runs_find(&r, 50)->pin.topic.b[0], 2);
    assert_int_equal(retain_runs_find(&r, 102)->pin.kind, RETAIN_PIN_CHECKPOINT);
    retain_runs_fini(&r);
}

/* More runs than are remembered: the rest is one that is looked at again, and the record stays small. */
static void runs_are_bounded(void **state)
{
    struct retain_record a = {.floor = 3}, b;
    struct floe_error err;
    (void)state;
    for (uint64_t k = 0; k < 5000; k += 2)
        push(&a.runs, k, RETAIN_PIN_TOPIC, (uint8_t)(1 + k % 7));
    a.known = 5000;
    assert_int_equal(a.runs.n, RETAIN_RUNS_MAX);
    for (uint64_t k = 0; k < 5000; k += 2)
        assert_non_null(retain_runs_find(&a.runs, k));
    assert_int_equal(retain_runs_find(&a.runs, 4998)->pin.kind, RETAIN_PIN_MIXED);
    char *text = retain_record_encode(&a);
    assert_non_null(text);
    assert_true(strlen(text) < 80 * 1024);
    assert_int_equal(retain_record_decode("floor/x", text, strlen(text), &b, &err), FLOE_OK);
    assert_int_equal(b.runs.n, RETAIN_RUNS_MAX);
    assert_int_equal(b.floor, 3);
    free(text);
    retain_runs_fini(&a.runs);
    retain_runs_fini(&b.runs);
}

/* The bytes of docs/formats/table.md, and what is refused. */
static void the_record(void **state)
{
    static const char *const good =
        "{\"floor\":57,\"known\":60,\"kept\":[[0,12,1,\"01010101010101010101010101010101\"],[40,60,4]]}";
    static const char *const bad[] = {
        "[]",
        "{\"known\":60,\"kept\":[]}",
        "{\"floor\":-1,\"known\":60,\"kept\":[]}",
        "{\"floor\":1,\"known\":60}",
        "{\"floor\":1,\"known\":60,\"kept\":[[0,61,4]]}",
        "{\"floor\":1,\"known\":60,\"kept\":[[5,5,4]]}",
        "{\"floor\":1,\"known\":60,\"kept\":[[5,9,4],[8,10,4]]}",
        "{\"floor\":1,\"known\":60,\"kept\":[[5,9,1]]}",
        "{\"floor\":1,\"known\":60,\"kept\":[[5,9,3,\"01010101010101010101010101010101\"]]}",
        "{\"floor\":1,\"known\":60,\"kept\":[[5,9,1,\"0101\"]]}",
        "{\"floor\":1,\"known\":60,\"kept\":[[5,9,0]]}",
        "{\"floor\":1,\"known\":60,\"kept\":[[5,9,5]]}",
    };
    struct retain_record r;
    struct floe_error err;
    (void)state;
    assert_int_equal(retain_record_decode("floor/1-1-x", good, strlen(good), &r, &err), FLOE_OK);
    char *text = retain_record_encode(&r);
    assert_string_equal(text, good);
    free(text);
    retain_runs_fini(&r.runs);
    for (size_t i = 0; i < FLOE_COUNTOF(bad); i++) {
        assert_int_equal(retain_record_decode("floor/1-1-x", bad[i], strlen(bad[i]), &r, &err),
                         FLOE_ECORRUPT);
        assert_non_null(strstr(err.msg, "floor/1-1-x"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_join),
        cmocka_unit_test(runs_are_bounded),
        cmocka_unit_test(the_record),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
