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

static void large_buffers_are_kept_within_the_limit(void **state)
{
    (void)state;
    floe_buf_cache_limit(0);
    assert_int_equal(floe_buf_cache_held(), 0);
    floe_buf_cache_limit(4 << 20);
    struct floe_buf *x = floe_buf_create(1000000, NULL);
    uint8_t *data = x->data;
    floe_buf_unref(x);
    size_t held = floe_buf_cache_held();
    assert_in_range(held, 1000000, 1125000);
    x = floe_buf_create(held, NULL); /* the same step of sizes */
    assert_ptr_equal(x->data, data);
    memset(x->data, 1, x->cap);
    assert_int_equal(floe_buf_cache_held(), 0);
    floe_buf_unref(x);

    struct floe_buf *many[10];
    for (size_t i = 0; i < 10; i++)
        many[i] = floe_buf_create(1 << 20, NULL);
    for (size_t i = 0; i < 10; i++)
        floe_buf_unref(many[i]);
    assert_in_range(floe_buf_cache_held(), 3 << 20, 4 << 20);
    floe_buf_cache_limit(2 << 20);
    assert_in_range(floe_buf_cache_held(), 1, 2 << 20);
    floe_buf_cache_limit(0);
    assert_int_equal(floe_buf_cache_held(), 0);
    x = floe_buf_create(100, NULL);
    floe_buf_unref(x);
    floe_buf_cache_limit(64 << 20);
}

static void sizes_that_nobody_asks_for_give_way(void **state)
{
    (void)state;
    floe_buf_cache_limit(0);
    floe_buf_cache_limit(4 << 20);
    struct floe_buf *old[4];
    for (size_t i = 0; i < 4; i++)
        old[i] = floe_buf_create(1 << 20, NULL);
    for (size_t i = 0; i < 4; i++)
        floe_buf_unref(old[i]); /* the cache is full of them */
    struct floe_buf *x = floe_buf_create(2 << 20, NULL);
    uint8_t *data = x->data;
    floe_buf_unref(x);
    assert_int_equal(floe_buf_cache_held(), 4 << 20); /* two of the old ones went */
    x = floe_buf_create(2 << 20, NULL);
    assert_ptr_equal(x->data, data);
    assert_int_equal(floe_buf_cache_held(), 2 << 20);
    floe_buf_unref(x);
    x = floe_buf_create(5 << 20, NULL); /* more than fits is never kept */
    floe_buf_unref(x);
    assert_int_equal(floe_buf_cache_held(), 4 << 20);
    floe_buf_cache_limit(0);
    assert_int_equal(floe_buf_cache_held(), 0);
    floe_buf_cache_limit(64 << 20);
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

/* A request may get a larger block than it needs: what is over counts as held, and every block keeps its
 * size. */
static void larger_blocks_serve_smaller_requests(void **state)
{
    (void)state;
    floe_buf_cache_limit(0);
    floe_buf_cache_limit(32 << 20);
    struct floe_buf *x = floe_buf_create(6 << 20, NULL);
    uint8_t *data = x->data;
    floe_buf_unref(x);
    x = floe_buf_create((4 << 20) + 1, NULL);
    assert_ptr_equal(x->data, data);
    assert_int_equal(floe_buf_cache_held(), 0); /* 4 MiB and a byte round up to 6 */
    floe_buf_unref(x);
    x = floe_buf_create(4 << 20, NULL);
    assert_ptr_equal(x->data, data);
    assert_int_equal(floe_buf_cache_held(), 2 << 20);
    floe_buf_unref(x);
    assert_int_equal(floe_buf_cache_held(), 6 << 20);
    struct floe_rng rng;
    floe_rng_init(&rng, 5);
    struct floe_buf *live[12] = {0};
    for (int i = 0; i < 600; i++) {
        struct floe_buf **b = &live[floe_rng_below(&rng, 12)];
        floe_buf_unref(*b);
        size_t cap = (2 << 20) + (size_t)floe_rng_below(&rng, 3 << 20);
        *b = floe_buf_create(i % 7 ? cap : (3 << 20) - 1, NULL);
        assert_true((*b)->room >= (*b)->cap);
        (*b)->data[0] = (*b)->data[(*b)->cap - 1] = 1; /* ASan watches the end */
        assert_true(floe_buf_cache_held() <= 32 << 20);
    }
    for (size_t i = 0; i < 12; i++)
        floe_buf_unref(live[i]);
    floe_buf_cache_limit(0);
    assert_int_equal(floe_buf_cache_held(), 0);
    floe_buf_cache_limit(64 << 20);
}

static void more_is_kept_while_little_is_in_use(void **state)
{
    (void)state;
    struct floe_buf *b[8];
    floe_buf_cache_limit(2 << 20);
    floe_buf_cache_together(8 << 20);
    for (size_t i = 0; i < 8; i++)
        assert_non_null(b[i] = floe_buf_create(1 << 20, NULL));
    for (size_t i = 0; i < 6; i++) {
        floe_buf_unref(b[i]); /* the rest are in use */
        assert_int_equal(floe_buf_cache_held(), (i + 1) << 20);
    }
    struct floe_buf *large = floe_buf_create(3 << 20, NULL); /* fresh: it takes 4 MiB of what may be held */
    assert_int_equal(floe_buf_cache_held(), 2 << 20);
    struct floe_buf *other =
        floe_buf_create(4 << 20, NULL); /* now they are too many; the limit itself stays */
    assert_int_equal(floe_buf_cache_held(), 2 << 20);
    floe_buf_unref(b[6]);
    floe_buf_unref(b[7]);
    assert_int_equal(floe_buf_cache_held(), 2 << 20);
    floe_buf_unref(large);
    floe_buf_unref(other);
    assert_in_range(floe_buf_cache_held(), 4 << 20, 8 << 20);
    floe_buf_cache_together(0);
    assert_in_range(floe_buf_cache_held(), 0, 2 << 20);
    floe_buf_cache_limit(64 << 20);
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
        cmocka_unit_test(sizes_that_nobody_asks_for_give_way),
        cmocka_unit_test(all_sizes_hold_their_bytes),
        cmocka_unit_test(larger_blocks_serve_smaller_requests),
        cmocka_unit_test(more_is_kept_while_little_is_in_use),
        cmocka_unit_test(threads_share),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
