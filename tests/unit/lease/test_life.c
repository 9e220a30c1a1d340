/* Closing at any moment: call-backs that wait are answered, nothing is touched afterwards. */
#include "lease_rig.h"

enum { LEASE_MS = 1500, TOPIC = 1 };

static void on_answer(void *user, const struct floe_error *err)
{
    uint32_t *count = user;
    assert_int_not_equal(err->code, FLOE_OK);
    (*count)++;
}

static void on_closed(void *user)
{
    struct lrig_broker *b = user;
    b->closed = true;
    floe_lease_destroy(&b->lease);
}

static void closing_from_the_start_hook(void **state)
{
    (void)state;
    struct lrig r;
    lrig_init(&r, 1, LEASE_MS);
    r.b[0].close_on_start = r.b[0].destroy_on_close = true;
    lrig_boot(&r, 0);
    lrig_run_ms(&r, 1000);
    assert_true(r.b[0].started && r.b[0].closed);
    assert_null(r.b[0].lease);
    lrig_fini(&r);
}

static void closing_from_a_hook(void **state)
{
    (void)state;
    struct lrig r;
    lrig_init(&r, 3, LEASE_MS);
    lrig_boot_wait(&r, 0);
    lrig_run_ms(&r, 300);
    r.b[0].close_on_change = r.b[0].destroy_on_close = true;
    lrig_boot_wait(&r, 1);
    lrig_run_ms(&r, 1000);
    assert_true(r.b[0].closed);
    lrig_fini(&r);
}

/* After every so many microseconds of a start and of a serving broker with requests under way. */
static void closing_at_any_moment(void **state)
{
    (void)state;
    for (uint64_t us = 0; us < 120000; us += 1500) {
        struct lrig r;
        uint32_t answers = 0;
        struct floe_tp tp = lrig_tp(TOPIC, 0);
        lrig_init(&r, 2, LEASE_MS);
        lrig_boot(&r, 0);
        floe_sim_run_for(r.sim, us);
        bool started = r.b[0].started;
        if (started) {
            floe_lease_create_topic(r.b[0].lease, &tp.topic, 0, 10, on_answer, &answers);
            floe_lease_refresh(r.b[0].lease, &tp, on_answer, &answers);
            floe_lease_refresh(r.b[0].lease, &tp, on_answer, &answers);
        }
        floe_lease_close(r.b[0].lease, on_closed, &r.b[0]);
        assert_false(r.b[0].closed); /* never from inside the call */
        lrig_run_ms(&r, 500);
        assert_true(r.b[0].closed);
        assert_int_equal(answers, started ? 3 : 0);
        lrig_fini(&r);
    }
}

static void a_config_is_checked(void **state)
{
    (void)state;
    struct floe_lease *l = NULL;
    struct floe_error err = {0};
    struct floe_lease_config cfg = {.lease_ms = 10};
    assert_int_equal(floe_lease_create(&l, &cfg, &err), FLOE_EINVAL);
    assert_non_null(strstr(err.msg, "lease time"));
    cfg.lease_ms = 10000;
    cfg.addr_count = FLOE_LISTENER_MAX + 1;
    assert_int_equal(floe_lease_create(&l, &cfg, &err), FLOE_EINVAL);
    cfg.addr_count = 0;
    cfg.shards = 1000000;
    assert_int_equal(floe_lease_create(&l, &cfg, &err), FLOE_EINVAL);
    cfg.shards = 0;
    cfg.rack = "a rack whose name is much longer than the sixty-three bytes that it may have at most";
    assert_int_equal(floe_lease_create(&l, &cfg, &err), FLOE_ETOOLARGE);
    assert_null(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(closing_from_the_start_hook),
        cmocka_unit_test(closing_from_a_hook),
        cmocka_unit_test(closing_at_any_moment),
        cmocka_unit_test(a_config_is_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
