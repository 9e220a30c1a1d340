#include <floe_cmocka.h>

#include "tier/rocksdb/ledger.h"

#include <floe/base/assert.h>
#include <floe/base/rng.h>
#include <stdlib.h>

static struct floe_tier_ledger l;

static int setup(void **state)
{
    (void)state;
    return floe_tier_ledger_init(&l, 0, 0, 0) == FLOE_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    floe_tier_ledger_fini(&l);
    return 0;
}

static void charges_are_close_and_never_below(void **state)
{
    (void)state;
    for (uint64_t n = 0; n < (uint64_t)1 << 31; n = n * 5 / 4 + 1) {
        uint64_t c = floe_tier_ledger_charge(n);
        assert_true(c > n);
        assert_true(c <= n + 64 + n / 1000);
    }
}

static void head_moves_over_dropped_entries_only(void **state)
{
    (void)state;
    for (uint64_t seq = 0; seq < 10; seq++)
        assert_int_equal(floe_tier_ledger_put(&l, seq, 1000), FLOE_OK);
    uint64_t all = l.bytes;
    assert_int_equal(all, 10 * floe_tier_ledger_charge(1000));
    floe_tier_ledger_drop(&l, 3, 5);
    assert_int_equal(l.head, 0);
    assert_false(floe_tier_ledger_has(&l, 3));
    assert_true(floe_tier_ledger_has(&l, 5));
    floe_tier_ledger_drop(&l, 0, 3);
    assert_int_equal(l.head, 5);
    floe_tier_ledger_drop(&l, 0, 6); /* again, and one more */
    assert_int_equal(l.head, 6);
    assert_int_equal(l.bytes, all / 10 * 4);
    floe_tier_ledger_drop(&l, 0, UINT64_MAX);
    assert_int_equal(l.head, 10);
    assert_int_equal(l.next, 10);
    assert_int_equal(l.bytes, 0);
}

static void numbers_are_used_once(void **state)
{
    (void)state;
    assert_int_equal(floe_tier_ledger_put(&l, 7, 10), FLOE_OK); /* later ones may come first */
    assert_int_equal(floe_tier_ledger_put(&l, 5, 10), FLOE_OK);
    assert_int_equal(floe_tier_ledger_put(&l, 7, 10), FLOE_EINVAL);
    floe_tier_ledger_drop(&l, 0, 6);
    assert_int_equal(l.head, 6);
    assert_int_equal(floe_tier_ledger_put(&l, 5, 10), FLOE_EINVAL);
    assert_int_equal(floe_tier_ledger_put(&l, 3, 10), FLOE_EINVAL);
    assert_int_equal(floe_tier_ledger_put(&l, 6, 10), FLOE_OK);
    assert_int_equal(floe_tier_ledger_put(&l, UINT64_MAX, 10), FLOE_EINVAL);
    assert_int_equal(floe_tier_ledger_put(&l, FLOE_TIER_LEDGER_SPAN_MAX + 6, 10), FLOE_ENOSPACE);
}

static void a_drop_covers_numbers_never_put(void **state)
{
    (void)state;
    assert_int_equal(floe_tier_ledger_put(&l, 0, 10), FLOE_OK);
    floe_tier_ledger_drop(&l, 2, 9000); /* 1 is still to come */
    assert_int_equal(l.head, 0);
    assert_int_equal(l.next, 9000);
    assert_int_equal(floe_tier_ledger_put(&l, 8999, 10), FLOE_EINVAL);
    assert_int_equal(floe_tier_ledger_put(&l, 1, 10), FLOE_OK);
    floe_tier_ledger_drop(&l, 0, 2);
    assert_int_equal(l.head, 9000);
    assert_int_equal(l.bytes, 0);
}

static void a_failed_put_frees_its_number(void **state)
{
    (void)state;
    assert_int_equal(floe_tier_ledger_put(&l, 0, 10), FLOE_OK);
    floe_tier_ledger_unput(&l, 0);
    assert_int_equal(l.bytes, 0);
    assert_false(floe_tier_ledger_has(&l, 0));
    assert_int_equal(floe_tier_ledger_put(&l, 0, 10), FLOE_OK);
    floe_tier_ledger_drop(&l, 0, 1);
    floe_tier_ledger_unput(&l, 0); /* dropped while under way: nothing to give back */
    assert_int_equal(l.bytes, 0);
}

static void what_was_found_is_shared_out(void **state)
{
    (void)state;
    floe_tier_ledger_fini(&l);
    assert_int_equal(floe_tier_ledger_init(&l, 100, 20100, 20000 * 4000), FLOE_OK);
    assert_true(l.bytes >= 20000u * 4000 && l.bytes < 20000u * 4100);
    assert_true(floe_tier_ledger_has(&l, 100) && floe_tier_ledger_has(&l, 20099));
    assert_false(floe_tier_ledger_has(&l, 99) || floe_tier_ledger_has(&l, 20100));
    floe_tier_ledger_drop(&l, 100, 20100);
    assert_int_equal(l.bytes, 0);
    assert_true(l.page_count <= 1);
    struct floe_tier_ledger wide;
    assert_int_equal(floe_tier_ledger_init(&wide, 0, FLOE_TIER_LEDGER_SPAN_MAX * 3, 1), FLOE_ECORRUPT);
}

/* Against a plain array. */
static void agrees_with_a_model(void **state)
{
    (void)state;
    enum { N = 30000 };
    static struct {
        uint64_t size;
        bool dropped;
    } model[N];
    struct floe_rng rng;
    floe_rng_init(&rng, 42);
    uint64_t next = 0;
    while (next < N - 300) {
        for (uint64_t i = floe_rng_below(&rng, 200); i > 0; i--, next++) {
            if (floe_rng_below(&rng, 4) == 0)
                continue; /* never put */
            model[next].size = floe_tier_ledger_charge(floe_rng_below(&rng, 1 << 20));
            assert_int_equal(floe_tier_ledger_put(&l, next, model[next].size - 1), FLOE_OK);
            model[next].size = floe_tier_ledger_charge(model[next].size - 1);
        }
        uint64_t from = l.head + (floe_rng_below(&rng, 2) ? 0 : floe_rng_below(&rng, 300));
        uint64_t to = from + floe_rng_below(&rng, 300);
        to = FLOE_MIN(to, next);
        floe_tier_ledger_drop(&l, from, to);
        for (uint64_t s = from; s < to; s++)
            model[s].dropped = true;
        uint64_t bytes = 0;
        for (uint64_t s = 0; s < next; s++) {
            bool live = model[s].size > 0 && !model[s].dropped;
            bytes += live ? model[s].size : 0;
            if (s % 17 == 0)
                assert_int_equal(floe_tier_ledger_has(&l, s), live);
            if (s < l.head)
                assert_true(model[s].dropped);
        }
        assert_int_equal(l.bytes, bytes);
    }
    floe_tier_ledger_drop(&l, 0, UINT64_MAX);
    assert_int_equal(l.bytes, 0);
    assert_true(l.page_count <= 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(charges_are_close_and_never_below, setup, teardown),
        cmocka_unit_test_setup_teardown(head_moves_over_dropped_entries_only, setup, teardown),
        cmocka_unit_test_setup_teardown(numbers_are_used_once, setup, teardown),
        cmocka_unit_test_setup_teardown(a_drop_covers_numbers_never_put, setup, teardown),
        cmocka_unit_test_setup_teardown(a_failed_put_frees_its_number, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_found_is_shared_out, setup, teardown),
        cmocka_unit_test_setup_teardown(agrees_with_a_model, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
