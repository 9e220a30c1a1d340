/* A creator that comes back late does not make the leases of a topic again that others finished, took over
 * and deleted meanwhile: they would begin anew at epoch 0. */
#include "lease_rig.h"

enum { LEASE_MS = 1500, TOPIC = 1, OTHER = 2, PARTS = 24 };

struct answer {
    uint32_t count;
    enum floe_err code;
};

static void on_answer(void *user, const struct floe_error *err)
{
    struct answer *a = user;
    a->count++;
    a->code = err->code;
}

static uint32_t there(struct lrig *r)
{
    uint32_t n = 0;
    for (int32_t i = 0; i < PARTS; i++) {
        struct floe_tp tp = lrig_tp(TOPIC, i);
        struct floe_lease_entry e;
        n += floe_lease_lookup(r->b[1].lease, &tp, &e);
    }
    return n;
}

static void a_late_creator_makes_nothing(void **state)
{
    (void)state;
    struct lrig r;
    struct answer made = {0}, deleted = {0};
    struct floe_tp tp = lrig_tp(TOPIC, 0);
    int32_t epochs[PARTS], taken = 0;
    lrig_init(&r, 71, LEASE_MS);
    for (int i = 0; i < 3; i++)
        lrig_boot_wait(&r, i);
    lrig_run_ms(&r, 1000);
    assert_int_equal(lrig_create(&r, 1, OTHER, PARTS), FLOE_OK); /* the shard is there */
    lrig_run_ms(&r, 500);
    struct floe_sim_rule rule = {.fault = FLOE_SIM_REFUSED, .prefix = "table/", .node = r.b[0].node};
    floe_sim_bucket_rule(r.bucket, &rule); /* certainly not applied: nothing was sent */
    floe_lease_create_topic(r.b[0].lease, &tp.topic, 0, PARTS, on_answer, &made);
    lrig_run_ms(&r, 50);
    assert_int_equal(lrig_create(&r, 1, TOPIC, PARTS), FLOE_OK);
    lrig_run_ms(&r, 3 * LEASE_MS);
    for (int32_t i = 0; i < PARTS; i++) {
        struct floe_tp p = lrig_tp(TOPIC, i);
        struct floe_lease_entry e = {0};
        assert_true(floe_lease_lookup(r.b[1].lease, &p, &e));
        epochs[i] = e.epoch;
        taken += e.epoch > 0;
    }
    assert_true(taken > 0);
    floe_lease_delete_topic(r.b[1].lease, &tp.topic, PARTS, epochs, on_answer, &deleted);
    lrig_run_ms(&r, 1000);
    assert_true(deleted.count == 1 && deleted.code == FLOE_OK);
    floe_sim_bucket_heal(r.bucket);
    for (int ms = 0; ms < 2 * LEASE_MS; ms++) {
        lrig_run_ms(&r, 1);
        assert_int_equal(there(&r), 0);
    }
    assert_true(made.count == 1 && made.code != FLOE_OK);
    lrig_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_late_creator_makes_nothing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
