/* Sessions and takeovers of two and three brokers over the simulated store. */
#include "lease_rig.h"

enum { LEASE_MS = 3000, PARTS = 60 };

static void one_broker_starts_serves_and_ends(void **state)
{
    (void)state;
    struct lrig r;
    lrig_init(&r, 1, LEASE_MS);
    lrig_boot_wait(&r, 0);
    assert_int_equal(floe_lease_node_id(r.b[0].lease), 1);
    assert_int_equal(r.b[0].session.epoch, 1);
    assert_int_equal(lrig_create(&r, 0, 1, PARTS), FLOE_OK);
    lrig_run_ms(&r, 200);
    assert_int_equal(lrig_serves(&r, 0), PARTS);
    assert_int_equal(r.b[0].adopt_calls, 1); /* in one batch */
    lrig_run_ms(&r, 20000);
    assert_int_equal(r.b[0].lapses, 0);
    lrig_write(&r, 0);
    lrig_run_ms(&r, 100);
    lrig_end(&r, 0);
    assert_int_equal(r.b[0].end_err.code, FLOE_OK);
    lrig_check(&r);
    lrig_boot_wait(&r, 0);
    assert_int_equal(floe_lease_node_id(r.b[0].lease), 1);
    assert_int_equal(r.b[0].session.epoch, 2);
    lrig_run_ms(&r, 200);
    assert_int_equal(lrig_serves(&r, 0), PARTS);
    lrig_check(&r);
    lrig_fini(&r);
}

static bool all_served(struct lrig *r)
{
    return lrig_served(r, 1, PARTS) == PARTS;
}

static void the_dead_are_replaced(void **state)
{
    (void)state;
    struct lrig r;
    lrig_init(&r, 2, LEASE_MS);
    for (int i = 0; i < 3; i++)
        lrig_boot_wait(&r, i);
    lrig_run_ms(&r, 1000);
    assert_int_equal(lrig_create(&r, 0, 1, PARTS), FLOE_OK);
    lrig_run_ms(&r, 500);
    for (int i = 0; i < 3; i++)
        assert_in_range(lrig_serves(&r, i), 10, 30);
    for (int k = 0; k < 5; k++)
        lrig_write(&r, 1);
    lrig_run_ms(&r, 100);
    /* SIGKILL and the disk: the port refuses, so nobody waits for the lease time. */
    lrig_kill(&r, 1);
    lrig_wipe(&r, 1);
    uint64_t from = floe_sim_now_us(r.sim);
    assert_true(lrig_until(&r, all_served, 2000));
    assert_true(floe_sim_now_us(r.sim) - from < 1200000);
    lrig_check(&r);
    /* And the next one, whose machine vanishes: the lease time, and a second. */
    lrig_vanish(&r, 2);
    from = floe_sim_now_us(r.sim);
    assert_true(lrig_until(&r, all_served, 20000));
    assert_in_range(floe_sim_now_us(r.sim) - from, LEASE_MS * 1000 / 2, (LEASE_MS + 1000) * 1000);
    assert_int_equal(lrig_serves(&r, 0), PARTS);
    lrig_check(&r);
    lrig_fini(&r);
}

/* Of many shards, which two survivors write: rebuilt in one go, or footers would be read again and again. */
static void what_is_taken_is_adopted_together(void **state)
{
    enum { MANY = 1000 };
    (void)state;
    struct lrig r;
    lrig_init(&r, 4, LEASE_MS);
    for (int i = 0; i < 3; i++)
        lrig_boot_wait(&r, i);
    lrig_run_ms(&r, 1000);
    assert_int_equal(lrig_create(&r, 0, 1, MANY), FLOE_OK);
    lrig_run_ms(&r, 1000);
    assert_int_equal(lrig_served(&r, 1, MANY), MANY);
    uint32_t before[] = {r.b[0].adopt_calls, r.b[1].adopt_calls};
    lrig_kill(&r, 2);
    for (int ms = 0; ms < 3000 && lrig_served(&r, 1, MANY) < MANY; ms++)
        lrig_run_ms(&r, 1);
    assert_int_equal(lrig_served(&r, 1, MANY), MANY);
    for (int i = 0; i < 2; i++)
        assert_int_equal(r.b[i].adopt_calls, before[i] + 1);
    lrig_check(&r);
    lrig_fini(&r);
}

/* Its segments are not taken while the other's are: it gives up its session, and stands back so that the
 * other takes over. When that one dies meanwhile, it stands back no longer. */
static void who_stands_back_comes_when_nobody_is_left(void **state)
{
    (void)state;
    struct lrig r;
    lrig_init(&r, 5, LEASE_MS);
    lrig_boot_wait(&r, 0);
    lrig_boot_wait(&r, 1);
    lrig_run_ms(&r, 1000);
    assert_int_equal(lrig_create(&r, 0, 1, PARTS), FLOE_OK);
    lrig_run_ms(&r, 500);
    floe_sim_bucket_rule(r.bucket, &(struct floe_sim_rule){.fault = FLOE_SIM_DENIED,
                                                           .kinds = FLOE_SIM_KIND(FLOE_STORE_PUT),
                                                           .prefix = "chain/",
                                                           .node = r.b[0].node});
    lrig_write(&r, 0);
    for (int i = 0; i < 100 && r.b[0].overs == 0; i++) {
        lrig_write(&r, 1);
        lrig_run_ms(&r, 100);
    }
    assert_int_equal(r.b[0].overs, 1);
    floe_sim_bucket_heal(r.bucket);
    assert_true(lrig_until(&r, all_served, 1000));
    assert_int_equal(lrig_serves(&r, 1), PARTS);
    assert_false(r.b[0].open);
    lrig_vanish(&r, 1);
    lrig_run_ms(&r, LEASE_MS / 2 + 300);
    assert_true(r.b[0].open);
    assert_true(lrig_until(&r, all_served, LEASE_MS / 2 + 700)); /* the lease time and a second */
    lrig_check(&r);
    lrig_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_broker_starts_serves_and_ends),
        cmocka_unit_test(the_dead_are_replaced),
        cmocka_unit_test(what_is_taken_is_adopted_together),
        cmocka_unit_test(who_stands_back_comes_when_nobody_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
