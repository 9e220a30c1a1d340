#include <floe_cmocka.h>

#include <floe/base/rng.h>

static void same_seed_same_numbers(void **state)
{
    (void)state;
    struct floe_rng a, b, c;
    floe_rng_init(&a, 42);
    floe_rng_init(&b, 42);
    floe_rng_init(&c, 43);
    unsigned differ = 0;
    for (int i = 0; i < 100; i++) {
        uint64_t v = floe_rng_u64(&a);
        assert_true(v == floe_rng_u64(&b));
        differ += v != floe_rng_u64(&c);
    }
    assert_int_equal(differ, 100);
}

/* The state (1, 2, 3, 4) gives these numbers in the reference implementation of xoshiro256**. */
static void is_xoshiro256(void **state)
{
    (void)state;
    struct floe_rng r = {{1, 2, 3, 4}};
    assert_true(floe_rng_u64(&r) == 11520);
    assert_true(floe_rng_u64(&r) == 0);
    assert_true(floe_rng_u64(&r) == 1509978240);
    assert_true(floe_rng_u64(&r) == 1215971899390074240U);
}

static void below_is_even_and_in_range(void **state)
{
    (void)state;
    struct floe_rng r;
    floe_rng_init(&r, 7);
    unsigned hits[10] = {0};
    for (int i = 0; i < 100000; i++) {
        uint64_t v = floe_rng_below(&r, 10);
        assert_true(v < 10);
        hits[v]++;
    }
    for (int i = 0; i < 10; i++)
        assert_in_range(hits[i], 9500, 10500);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(floe_rng_below(&r, 1), 0);
        assert_true(floe_rng_below(&r, UINT64_MAX) < UINT64_MAX);
        double u = floe_rng_unit(&r);
        assert_true(u >= 0 && u < 1);
    }
}

static void bytes_and_uuids(void **state)
{
    (void)state;
    struct floe_rng r;
    floe_rng_init(&r, 7);
    uint8_t b[32];
    for (size_t n = 0; n <= 24; n++) {
        memset(b, 0xee, sizeof b);
        floe_rng_bytes(&r, b, n);
        for (size_t i = n; i < sizeof b; i++)
            assert_int_equal(b[i], 0xee);
    }
    struct floe_uuid u, v;
    floe_rng_uuid(&r, &u);
    floe_rng_uuid(&r, &v);
    assert_false(floe_uuid_eq(&u, &v));
    assert_int_equal(u.b[6] >> 4, 4);
    assert_int_equal(u.b[8] >> 6, 2);
}

static void kernel_seeds_differ(void **state)
{
    (void)state;
    struct floe_rng a, b;
    floe_rng_init_os(&a);
    floe_rng_init_os(&b);
    assert_memory_not_equal(&a, &b, sizeof a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_seed_same_numbers),     cmocka_unit_test(is_xoshiro256),
        cmocka_unit_test(below_is_even_and_in_range), cmocka_unit_test(bytes_and_uuids),
        cmocka_unit_test(kernel_seeds_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
