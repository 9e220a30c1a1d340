/* How long a start takes in round trips, and what ten thousand partitions cost. */
#include "lease_rig.h"

#include <stdio.h>

enum { LEASE_MS = 10000, TRIP_US = 20000, MANY = 10000 };

static bool all_many(struct lrig *r)
{
    return lrig_served(r, 1, MANY) == MANY;
}

static bool all_few(struct lrig *r)
{
    return lrig_served(r, 1, 100) == 100;
}

/* Each request takes the same time: time counts trips. */
static void even(struct lrig *r)
{
    struct floe_sim_bucket_config cfg = {.min_us = TRIP_US / 2, .mean_us = 1};
    floe_sim_bucket_configure(r->bucket, &cfg);
    for (int i = 0; i < LRIG_BROKERS; i++)
        floe_sim_disk_speed(r->b[i].disk, 1, 1);
}

static double trips(struct lrig *r, uint64_t from)
{
    return (double)(floe_sim_now_us(r->sim) - from) / TRIP_US;
}

static bool b0_started(struct lrig *r)
{
    return r->b[0].started;
}

static void starts_take_few_round_trips(void **state)
{
    (void)state;
    struct lrig r;
    lrig_init(&r, 1, LEASE_MS);
    even(&r);
    uint64_t from = floe_sim_now_us(r.sim);
    lrig_boot_wait(&r, 0);
    double first = trips(&r, from);
    assert_int_equal(lrig_create(&r, 0, 1, 100), FLOE_OK);
    assert_true(lrig_until(&r, all_few, 1000));
    for (int i = 0; i < 3; i++)
        lrig_write(&r, 0);
    lrig_run_ms(&r, 100);
    lrig_end(&r, 0);
    from = floe_sim_now_us(r.sim);
    lrig_boot(&r, 0);
    assert_true(lrig_until(&r, b0_started, 1000));
    double clean_started = trips(&r, from);
    assert_true(lrig_until(&r, all_few, 1000)); /* with the lease read again before serving */
    double clean = trips(&r, from);
    for (int i = 0; i < 3; i++)
        lrig_write(&r, 0);
    lrig_run_ms(&r, 100);
    lrig_kill(&r, 0);
    from = floe_sim_now_us(r.sim);
    lrig_boot(&r, 0);
    assert_true(lrig_until(&r, all_few, 1000));
    double killed = trips(&r, from);
    printf(
        "round trips: first start %.1f; after a clean end started %.1f, serving %.1f; after a kill serving "
        "%.1f\n",
        first, clean_started, clean, killed);
    assert_true(first < 3.2);
    assert_true(clean < 4.2); /* and one for floe_cluster_open, one for footers: 6 */
    assert_true(killed < 7.2);
    lrig_check(&r);
    lrig_fini(&r);
}

static void ten_thousand_are_taken_over(void **state)
{
    (void)state;
    struct lrig r;
    lrig_init(&r, 2, LEASE_MS);
    for (int i = 0; i < 3; i++)
        lrig_boot_wait(&r, i);
    lrig_run_ms(&r, 3000);
    lrig_count_reset(&r);
    assert_int_equal(lrig_create(&r, 0, 1, MANY), FLOE_OK);
    assert_true(lrig_until(&r, all_many, 5000));
    printf("create: %llu puts, %llu gets\n", (unsigned long long)r.table_puts,
           (unsigned long long)r.table_gets);
    lrig_run_ms(&r, 2000);
    uint32_t dead = lrig_serves(&r, 2);
    assert_in_range(dead, MANY / 4, MANY / 2);
    lrig_kill(&r, 2);
    lrig_count_reset(&r);
    uint64_t from = floe_sim_now_us(r.sim);
    assert_true(lrig_until(&r, all_many, 10000));
    printf("takeover of %u: %llu puts, %llu gets, %llu ms\n", dead, (unsigned long long)r.table_puts,
           (unsigned long long)r.table_gets, (unsigned long long)(floe_sim_now_us(r.sim) - from) / 1000);
    /* Each of two takers: a put for each of 128 shards, a read again for the other's, a read before serving.
     */
    assert_true(r.table_puts < 500);
    assert_true(r.table_gets < 1500);
    lrig_check(&r);
    lrig_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(starts_take_few_round_trips),
        cmocka_unit_test(ten_thousand_are_taken_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
