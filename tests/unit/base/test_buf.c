/* ctest labels: threads */
#include <floe_cmocka.h>

#include <floe/base/buf.h>
#include <floe/base/rng.h>

#include <pthread.h>
#include <stdlib.h>

static void budget_counts(void **state)
{
    (void)state;
    struct floe_budget b;
    floe_budget_init(&b, 100);
    assert_true(floe_budget_take(&b, 60));
    assert_false(floe_budget_take(&b, 41));
    assert_true(floe_budget_take(&b, 40));
    assert_false(floe_budget_take(&b, 1));
    assert_true(floe_budget_take(&b, 0));
    floe_budget_force(&b, 50);
    assert_int_equal(floe_budget_used(&b), 150);
    assert_false(floe_budget_take(&b, SIZE_MAX));
    floe_budget_give(&b, 150);
    assert_int_equal(floe_budget_used(&b), 0);
    assert_int_equal(atomic_load(&b.peak), 150);
}

static void buffers_charge_and_give_back(void **state)
{
    (void)state;
    struct floe_budget b;
    floe_budget_init(&b, 1 << 20);
    struct floe_buf *x = floe_buf_create(700 << 10, &b);
    assert_non_null(x);
    assert_int_equal(x->cap, 700 << 10);
    assert_int_equal(x->n, 0);
    assert_null(floe_buf_create(400 << 10, &b));
    struct floe_buf *y = floe_buf_create_forced(400 << 10, &b);
    assert_non_null(y);
    assert_int_equal(floe_budget_used(&b), 1100 << 10);
    assert_ptr_equal(floe_buf_ref(x), x);
    floe_buf_unref(x);
    assert_int_equal(floe_budget_used(&b), 1100 << 10);
    floe_buf_unref(x);
    floe_buf_unref(y);
    floe_buf_unref(NULL);
    assert_int_equal(floe_budget_used(&b), 0);
    struct floe_buf *z = floe_buf_create(0, NULL);
    assert_non_null(z);
    floe_buf_unref(z);
}

#define MIB ((size_t)1 << 20)

/* Nothing is kept, then at most `limit`. */
static void start_with(size_t limit)
{
    floe_buf_cache_together(0);
    floe_buf_cache_limit(0);
    assert_int_equal(floe_buf_cache_held(), 0);
    floe_buf_cache_limit(limit);
}

static void large_buffers_are_kept_within_the_limit(void **state)
{
    (void)state;
    start_with(4 * MIB); /* without huge pages: what is asked for is what is there */
    struct floe_buf *x = floe_buf_create(1000000, NULL);
    uint8_t *data = x->data;
    size_t room = x->room;
    assert_in_range(room, 1000000, 1000000 + 32768);
    assert_int_equal(floe_buf_cache_held(), 0);
    floe_buf_unref(x);
    assert_int_equal(floe_buf_cache_held(), room);
    x = floe_buf_create(500000, NULL); /* a part of it serves smaller ones */
    assert_ptr_equal(x->data, data);
    assert_int_equal(floe_buf_cache_held(), room - x->room);
    memset(x->data, 1, x->cap);
    floe_buf_unref(x);

    struct floe_buf *many[10];
    for (size_t i = 0; i < 10; i++)
        many[i] = floe_buf_create(MIB - 1, NULL);
    for (size_t i = 0; i < 10; i++)
        floe_buf_unref(many[i]);
    assert_in_range(floe_buf_cache_held(), 3 * MIB, 4 * MIB);
    floe_buf_cache_limit(2 * MIB);
    assert_in_range(floe_buf_cache_held(), 1, 2 * MIB);
    floe_buf_cache_limit(0);
    assert_int_equal(floe_buf_cache_held(), 0);
    x = floe_buf_create(100, NULL);
    floe_buf_unref(x);
    x = floe_buf_create(40 * MIB, NULL); /* too large to be kept */
    x->data[0] = x->data[x->cap - 1] = 1;
    floe_buf_unref(x);
    assert_int_equal(floe_buf_cache_held(), 0);
    start_with(64 * MIB);
}

/* What many small ones have touched serves a large one, and the other way round. */
static void touched_memory_serves_all_sizes(void **state)
{
    (void)state;
    start_with(64 * MIB);
    struct floe_buf *b[12], *last;
    for (size_t i = 0; i < 12; i++)
        b[i] = floe_buf_create(MIB / 2 - 1, NULL);
    uint8_t *low = b[0]->data;
    last = floe_buf_create(MIB, NULL);
    for (size_t i = 0; i < 12; i++)
        floe_buf_unref(b[i]);
    size_t held = floe_buf_cache_held();
    struct floe_buf *large = floe_buf_create(6 * MIB - 1, NULL);
    assert_ptr_equal(large->data, low);
    assert_int_equal(floe_buf_cache_held(), held - large->room);
    floe_buf_unref(large);
    struct floe_buf *small = floe_buf_create(200000, NULL);
    assert_ptr_equal(small->data, low);
    floe_buf_unref(small);
    floe_buf_unref(last);
    start_with(64 * MIB);
}

/* What goes back to the kernel is not what somebody has. */
static void memory_in_use_stays(void **state)
{
    (void)state;
    start_with(64 * MIB);
    struct floe_buf *b[100];
    for (size_t i = 0; i < 100; i++) {
        b[i] = floe_buf_create(700000 + i, NULL); /* two arenas and more */
        memset(b[i]->data, (int)i + 1, b[i]->cap);
    }
    for (size_t i = 0; i < 100; i += 2)
        floe_buf_unref(b[i]);
    floe_buf_cache_limit(0);
    assert_int_equal(floe_buf_cache_held(), 0);
    for (size_t i = 0; i < 100; i += 2) {
        b[i] = floe_buf_create(700000, NULL);
        memset(b[i]->data, 200, b[i]->cap);
    }
    for (size_t i = 1; i < 100; i += 2)
        for (size_t at = 0; at < b[i]->cap; at += 1000)
            assert_int_equal(b[i]->data[at], i + 1);
    for (size_t i = 0; i < 100; i++)
        floe_buf_unref(b[i]);
    assert_int_equal(floe_buf_cache_held(), 0);
    start_with(64 * MIB);
}

/* Every size holds what it says: ASan watches the last byte, and the cache's own count must come out even. */
static void all_sizes_hold_their_bytes(void **state)
{
    (void)state;
    floe_buf_cache_limit(32 << 20);
    struct floe_rng rng;
    floe_rng_init(&rng, 3);
    for (int i = 0; i < 400; i++) {
        size_t cap = (size_t)1 << (10 + floe_rng_below(&rng, 15));
        cap += (size_t)floe_rng_below(&rng, cap) - (i % 2 != 0 ? 1 : 0);
        if (i % 5 == 0)
            cap = ((size_t)1 << (15 + i % 9)) + (size_t)(i % 3) - 1;
        struct floe_buf *b = floe_buf_create(cap, NULL);
        assert_non_null(b);
        b->data[0] = b->data[cap - 1] = 1;
        floe_buf_unref(b);
    }
    assert_true(floe_buf_cache_held() <= 32 << 20);
    floe_buf_cache_limit(0);
    assert_int_equal(floe_buf_cache_held(), 0);
    floe_buf_cache_limit(64 << 20);
}

#if defined(__SANITIZE_ADDRESS__)
#define WATCHED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WATCHED 1
#endif
#endif
#ifdef WATCHED
#include <sanitizer/asan_interface.h>

static void expect_watched(const struct floe_buf *b)
{
    assert_false(__asan_address_is_poisoned(b->data));
    assert_false(__asan_address_is_poisoned(b->data + b->cap - 1));
    assert_true(__asan_address_is_poisoned(b->data + b->cap));
}

/* The byte behind each buffer, also where it fills its units, where another follows, and in memory that
 * larger ones have had; and all of it after the last reference. */
static void the_byte_behind_is_watched(void **state)
{
    (void)state;
    static const size_t OFF[] = {0, 1, 7, 32767};
    start_with(64 * MIB);
    for (int round = 0; round < 2; round++) {
        struct floe_buf *b[24];
        for (size_t i = 0; i < 24; i++) {
            size_t cap = ((i % 6) + 4 + (round ? 0 : 3)) * 32768 + OFF[i % 4];
            assert_non_null(b[i] = floe_buf_create(cap, NULL));
            expect_watched(b[i]);
        }
        for (size_t i = 0; i < 24; i++)
            expect_watched(b[i]); /* those that came later changed nothing */
        for (size_t i = 0; i < 24; i++) {
            const uint8_t *was = b[i]->data;
            size_t cap = b[i]->cap;
            floe_buf_unref(b[i]);
            assert_true(__asan_address_is_poisoned(was));
            assert_true(__asan_address_is_poisoned(was + cap - 1));
            if (i + 1 < 24)
                expect_watched(b[i + 1]);
        }
    }
    start_with(64 * MIB);
}
#endif

/* Buffers of all sizes, in use side by side: none lies in another. */
static void no_two_overlap(void **state)
{
    (void)state;
    start_with(32 * MIB);
    struct floe_rng rng;
    floe_rng_init(&rng, 5);
    struct floe_buf *live[40] = {0};
    uint8_t mark[40] = {0};
    for (int i = 0; i < 3000; i++) {
        size_t k = (size_t)floe_rng_below(&rng, 40);
        if (live[k]) {
            for (size_t at = 0; at < live[k]->cap; at += 32768)
                assert_int_equal(live[k]->data[at], mark[k]);
            assert_int_equal(live[k]->data[live[k]->cap - 1], mark[k]);
        }
        floe_buf_unref(live[k]);
        size_t cap = (size_t)1 << (16 + floe_rng_below(&rng, i % 10 ? 5 : 9));
        live[k] = floe_buf_create(cap + (size_t)floe_rng_below(&rng, cap), NULL);
        assert_true(live[k]->room >= live[k]->cap);
        mark[k] = (uint8_t)i;
        for (size_t at = 0; at < live[k]->cap; at += 32768)
            live[k]->data[at] = mark[k];
        live[k]->data[live[k]->cap - 1] = mark[k]; /* ASan watches the end */
        assert_true(floe_buf_cache_held() <= 32 * MIB);
    }
    for (size_t i = 0; i < 40; i++)
        floe_buf_unref(live[i]);
    start_with(64 * MIB);
}

static void more_is_kept_while_little_is_in_use(void **state)
{
    (void)state;
    struct floe_buf *b[8];
    start_with(2 * MIB);
    floe_buf_cache_together(8 * MIB);
    for (size_t i = 0; i < 8; i++)
        assert_non_null(b[i] = floe_buf_create(MIB - 1, NULL));
    for (size_t i = 0; i < 6; i++) {
        floe_buf_unref(b[i]); /* the rest are in use */
        assert_int_equal(floe_buf_cache_held(), (i + 1) * MIB);
    }
    struct floe_buf *large = floe_buf_create(5 * MIB - 1, NULL);
    assert_in_range(floe_buf_cache_held(), MIB, 2 * MIB);
    struct floe_buf *other = floe_buf_create(4 * MIB - 1, NULL);
    assert_in_range(floe_buf_cache_held(), 0, 2 * MIB);
    floe_buf_unref(b[6]);
    floe_buf_unref(b[7]); /* more are in use than that: the limit itself stays */
    assert_in_range(floe_buf_cache_held(), 1, 2 * MIB);
    floe_buf_unref(large);
    floe_buf_unref(other);
    assert_in_range(floe_buf_cache_held(), 7 * MIB, 8 * MIB);
    start_with(64 * MIB);
}

static struct floe_budget shared_budget;
static void *churn(void *arg)
{
    struct floe_buf *shared = arg;
    for (int i = 0; i < 2000; i++) {
        floe_buf_unref(floe_buf_ref(shared));
        struct floe_buf *b = floe_buf_create((size_t)(i % 4) << 17, &shared_budget);
        if (b != NULL && b->cap > 0)
            b->data[b->cap - 1] = (uint8_t)i;
        floe_buf_unref(b);
    }
    floe_buf_unref(shared);
    return NULL;
}

static void threads_share(void **state)
{
    (void)state;
    floe_budget_init(&shared_budget, 1 << 20);
    struct floe_buf *b = floe_buf_create(1000, &shared_budget);
    pthread_t t[4];
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&t[i], NULL, churn, floe_buf_ref(b)), 0);
    floe_buf_unref(b);
    for (size_t i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    assert_int_equal(floe_budget_used(&shared_budget), 0);
    assert_true(atomic_load(&shared_budget.peak) <= 1 << 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(budget_counts),
        cmocka_unit_test(buffers_charge_and_give_back),
        cmocka_unit_test(large_buffers_are_kept_within_the_limit),
        cmocka_unit_test(touched_memory_serves_all_sizes),
        cmocka_unit_test(memory_in_use_stays),
        cmocka_unit_test(all_sizes_hold_their_bytes),
#ifdef WATCHED
        cmocka_unit_test(the_byte_behind_is_watched),
#endif
        cmocka_unit_test(no_two_overlap),
        cmocka_unit_test(more_is_kept_while_little_is_in_use),
        cmocka_unit_test(threads_share),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
