/* The histories that `floe selftest` accepts and refuses, and what it advises. */
#include "cli/selftest/selftest.h"
#include "floe_cmocka.h"

#include <floe/base/assert.h>

#include <stdlib.h>

static struct st_event create(uint64_t id, enum floe_err e)
{
    return (struct st_event){.op = ST_OP_CREATE, .id = id, .err = e, .start_us = 10, .end_us = 20};
}

static void refuses_create(const struct st_event *e, size_t n, bool deleted, struct st_end end,
                           enum st_promise want)
{
    struct st_breach b = {.promise = ST_PROMISES};
    assert_false(st_check_create(e, n, deleted, 9, &end, &b));
    assert_int_equal(b.promise, want);
    assert_true(b.why[0] != '\0');
}

static void races_to_create(void **state)
{
    struct st_breach b;
    struct st_end absent = {.known = true}, unknown = {0};
    struct st_end one = {.there = true, .known = true, .named = true, .id = 1}, two = one, first = one,
                  anon = one;
    two.id = 2;
    first.id = 9;
    anon.named = false;
    (void)state;
    struct st_event won[] = {create(1, FLOE_OK), create(2, FLOE_EEXISTS)};
    assert_true(st_check_create(won, 2, false, 0, &one, &b));
    assert_true(st_check_create(won, 2, false, 0, &unknown, &b));
    refuses_create(won, 2, false, two, ST_CREATE);
    refuses_create(won, 2, false, absent, ST_READ);
    refuses_create(won, 2, false, anon, ST_BYTES);
    struct st_event both[] = {create(1, FLOE_OK), create(2, FLOE_OK)};
    refuses_create(both, 2, false, one, ST_CREATE);
    refuses_create(both, 2, false, unknown, ST_CREATE);
    struct st_event none[] = {create(1, FLOE_EEXISTS), create(2, FLOE_EEXISTS)};
    refuses_create(none, 2, false, absent, ST_CREATE);
    refuses_create(none, 2, false, one, ST_CREATE);
    /* Nobody was told, but one answer says nothing: it may be the winner, or nobody. */
    struct st_event open[] = {create(1, FLOE_EINDETERMINATE), create(2, FLOE_EEXISTS)};
    assert_true(st_check_create(open, 2, false, 0, &one, &b));
    assert_true(st_check_create(open, 2, false, 0, &absent, &b));
    refuses_create(open, 2, false, two, ST_CREATE);
    two.id = 77;
    refuses_create(open, 2, false, two, ST_BYTES);

    /* It was there (written by 9) and is deleted meanwhile. */
    struct st_event gone[] = {{.op = ST_OP_DELETE}, create(1, FLOE_OK), create(2, FLOE_EEXISTS)};
    assert_true(st_check_create(gone, 3, true, 9, &one, &b));
    refuses_create(gone, 3, true, first, ST_READ);
    struct st_event late[] = {{.op = ST_OP_DELETE}, create(1, FLOE_EEXISTS)};
    assert_true(st_check_create(late, 2, true, 9, &absent, &b));
    struct st_event refused[] = {{.op = ST_OP_DELETE, .err = FLOE_EDENIED}, create(1, FLOE_OK)};
    refuses_create(refused, 2, true, one, ST_CREATE);
}

/* A counter's history from lines: process times are 10 apart. */
static struct st_event write_of(uint64_t id, uint64_t value, uint64_t start, uint64_t end, enum floe_err e)
{
    return (struct st_event){
        .op = ST_OP_REPLACE, .id = id, .value = value, .start_us = start, .end_us = end, .err = e};
}

static struct st_event read_of(uint64_t id, uint64_t value, uint64_t start, uint64_t end)
{
    return (struct st_event){.op = ST_OP_READ, .id = id, .value = value, .start_us = start, .end_us = end};
}

static void refuses_counter(const struct st_event *e, size_t n, uint64_t end, enum st_promise want)
{
    struct st_event copy[8];
    struct st_breach b = {.promise = ST_PROMISES};
    struct st_end x = {.there = true, .known = true, .named = true, .value = end};
    memcpy(copy, e, n * sizeof *e);
    assert_false(st_check_counter(copy, n, &x, &b));
    assert_int_equal(b.promise, want);
}

static void counters(void **state)
{
    struct st_breach b;
    struct st_end end = {.there = true, .known = true, .named = true, .value = 2};
    (void)state;
    struct st_event good[] = {write_of(1, 1, 10, 20, FLOE_OK), read_of(1, 1, 21, 30),
                              write_of(2, 2, 31, 40, FLOE_OK), write_of(3, 2, 32, 41, FLOE_ECONFLICT),
                              read_of(2, 2, 50, 60)};
    assert_true(st_check_counter(good, 5, &end, &b));
    refuses_counter(good, 5, 1, ST_REPLACE); /* the last update is lost */
    refuses_counter(good, 5, 3, ST_REPLACE); /* nobody wrote 3 */
    struct st_event fork[] = {write_of(1, 1, 10, 20, FLOE_OK), write_of(2, 1, 11, 21, FLOE_OK)};
    refuses_counter(fork, 2, 1, ST_REPLACE);
    struct st_event gap[] = {write_of(1, 1, 10, 20, FLOE_OK), write_of(2, 3, 21, 30, FLOE_OK)};
    refuses_counter(gap, 2, 3, ST_REPLACE);
    struct st_event filled[] = {write_of(1, 1, 10, 20, FLOE_EINDETERMINATE), write_of(2, 2, 21, 30, FLOE_OK)};
    assert_true(st_check_counter(filled, 2, &end, &b));
    struct st_event stale[] = {write_of(1, 1, 10, 20, FLOE_OK), read_of(0, 0, 21, 30)};
    refuses_counter(stale, 2, 1, ST_READ);
    struct st_event early[] = {write_of(1, 1, 10, 20, FLOE_OK), read_of(0, 0, 19, 30)}; /* at the same time */
    end.value = 1;
    assert_true(st_check_counter(early, 2, &end, &b));
    struct st_event lied[] = {write_of(1, 1, 10, 20, FLOE_OK), write_of(2, 2, 21, 30, FLOE_ECONFLICT),
                              read_of(2, 2, 31, 40)};
    refuses_counter(lied, 3, 1, ST_REPLACE);
    struct st_event mixed[] = {write_of(1, 1, 10, 20, FLOE_OK), read_of(1, 7, 31, 40)};
    refuses_counter(mixed, 2, 1, ST_BYTES);
    struct st_event nobody[] = {read_of(5, 1, 31, 40)};
    refuses_counter(nobody, 1, 1, ST_BYTES);
    struct st_event missing[] = {{.op = ST_OP_READ, .err = FLOE_ENOTFOUND}};
    refuses_counter(missing, 1, 0, ST_READ);
}

static void partition(const char *what, bool want, const struct st_run *acked, size_t acked_n,
                      const struct st_run *first, size_t first_n, const struct st_run *last, size_t last_n)
{
    struct st_runs l[3] = {0};
    const struct st_run *from[] = {acked, first, last};
    const size_t n[] = {acked_n, first_n, last_n};
    struct st_breach b = {.why = ""};
    for (int i = 0; i < 3; i++)
        for (size_t k = 0; k < n[i]; k++)
            assert_true(st_runs_add(&l[i], from[i][k].offset, from[i][k].seq, from[i][k].count));
    bool ok = st_check_partition(3, &l[0], &l[1], &l[2], &b);
    for (int i = 0; i < 3; i++)
        free(l[i].r);
    if (ok != want)
        fail_msg("%s: %s", what, b.why);
    if (!ok)
        assert_int_equal(b.promise, ST_CLUSTER);
}
#define RUNS(...)                                                                                            \
    (const struct st_run[]){__VA_ARGS__}, sizeof((const struct st_run[]){__VA_ARGS__}) / sizeof(struct st_run)

static void partitions(void **state)
{
    (void)state;
    partition("all there", true, RUNS({0, 0, 20}, {20, 20, 20}), RUNS({0, 0, 40}), RUNS({0, 0, 45}));
    partition("offsets with a hole", true, RUNS({0, 0, 20}, {30, 20, 20}), RUNS({0, 0, 20}, {30, 20, 5}),
              RUNS({0, 0, 20}, {30, 20, 20}));
    partition("an acknowledged record is lost at the end", false, RUNS({0, 0, 40}), RUNS({0, 0, 20}),
              RUNS({0, 0, 39}));
    partition("it is elsewhere", false, RUNS({0, 0, 20}, {20, 20, 20}), RUNS({0, 0, 20}),
              RUNS({0, 0, 20}, {25, 20, 20}));
    partition("one in the middle is lost", false, RUNS({0, 0, 5}), RUNS({0, 0, 5}),
              RUNS({0, 0, 10}, {10, 11, 10}));
    partition("one is there twice", false, RUNS({0, 0, 5}), RUNS({0, 0, 5}), RUNS({0, 0, 10}, {10, 9, 10}));
    partition("two are swapped", false, RUNS({0, 0, 1}), RUNS({0, 0, 1}),
              RUNS({0, 0, 1}, {1, 2, 1}, {2, 1, 1}));
    partition("the first record is lost", false, RUNS({5, 5, 5}), RUNS({5, 5, 5}), RUNS({5, 5, 5}));
    partition("an offset was used again", false, RUNS({0, 0, 5}), RUNS({0, 0, 10}),
              RUNS({0, 0, 5}, {5, 6, 5}));
    partition("a reader went back", false, RUNS({0, 0, 5}), RUNS({0, 0, 10}, {5, 5, 5}), RUNS({0, 0, 10}));
}

static void latencies(void **state)
{
    double ms[100];
    (void)state;
    for (int i = 0; i < 100; i++)
        ms[i] = 100 - i;
    struct st_latency l = st_latency_of(ms, 100, 50000000, 2);
    assert_true(l.p50_ms == 50 && l.p90_ms == 90 && l.p99_ms == 99 && l.max_ms == 100 && l.mb_s == 25);
    l = st_latency_of(ms, 0, 0, 0);
    assert_int_equal(l.n, 0);
}

static void advice(void **state)
{
    struct st_figures f = {0};
    struct st_advice a;
    (void)state;
    f.put[0][0] = (struct st_latency){.n = 100, .p50_ms = 40};
    f.put[0][1] = (struct st_latency){.n = 100, .p99_ms = 80};
    f.put[2][0] = (struct st_latency){.n = 10, .mb_s = 80};
    f.put[2][1] = (struct st_latency){.n = 10, .mb_s = 300, .p99_ms = 900};
    st_advise(&a, &f, true);
    assert_int_equal(a.linger_ms, 20);
    assert_int_equal(a.puts_in_flight, 8);
    assert_int_equal(a.segment_bytes, 8 << 20);
    assert_int_equal(a.lease_ms, 10000);
    assert_true(a.put_rate == 0);
    st_advise(&a, &f, false); /* AWS: ten PUTs a second and the renewals */
    assert_int_equal(a.linger_ms, 100);
    assert_true(a.put_rate == 10);
    assert_true(a.idle_dollars > 3.8 && a.idle_dollars < 4 && a.busy_dollars > 130 && a.busy_dollars < 135);
    f.put[0][1].p99_ms = 700; /* slow: leases of 28 s, small segments */
    f.put[2][1] = (struct st_latency){.n = 10, .mb_s = 90, .p99_ms = 3000};
    st_advise(&a, &f, true);
    assert_int_equal(a.lease_ms, 28000);
    assert_int_equal(a.segment_bytes, 4 << 20);
    assert_int_equal(a.puts_in_flight, 2);
}

static void ids(void **state)
{
    char text[ST_ID_MAX];
    uint64_t id = 0;
    (void)state;
    st_id_text(text, UINT64_C(0x0123456789abcdef));
    assert_string_equal(text, "st-0123456789abcdef");
    assert_true(st_id_of(text, &id) && id == UINT64_C(0x0123456789abcdef));
    assert_false(st_id_of("st-0123456789abcde", &id));
    assert_false(st_id_of("st-0123456789abcdeg", &id));
    assert_false(st_id_of("", &id));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(races_to_create), cmocka_unit_test(counters), cmocka_unit_test(partitions),
        cmocka_unit_test(latencies),       cmocka_unit_test(advice),   cmocka_unit_test(ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
