/* What happens between two turns of the kick: a session that is open but not told of yet, a lapse that is
 * over before it was told of. */
#include "lease_rig.h"

#include <stdio.h>

enum { LEASE_MS = 1500, TOPIC = 1 };

static bool untold(struct lrig *r)
{
    struct lrig_broker *b = &r->b[0];
    const struct floe_session_name *s = floe_lease_session(b->lease);
    return !b->open && s != NULL && !floe_session_name_eq(s, &b->session);
}

static void on_created(void *user, const struct floe_error *err)
{
    assert_int_equal(err->code, FLOE_OK);
    ++*(int *)user;
}

/* The log still counts the keys of the session before: a span that began there would be cut off. */
static void a_span_begins_in_its_own_chain(void **state)
{
    (void)state;
    struct lrig r;
    struct floe_lease_entry e;
    struct floe_uuid topic = lrig_tp(TOPIC, 0).topic;
    struct floe_tp tp = lrig_tp(TOPIC, 0);
    int created = 0;
    lrig_init(&r, 1, LEASE_MS);
    lrig_boot_wait(&r, 0);
    for (int i = 0; i < 5; i++) {
        lrig_write(&r, 0);
        lrig_run_ms(&r, 100);
    }
    assert_int_equal(r.b[0].next, 5);
    floe_lease_session_lost(r.b[0].lease, "the test says so");
    assert_true(lrig_until(&r, untold, 5000));
    floe_lease_create_topic(r.b[0].lease, &topic, 0, 1, on_created, &created);
    lrig_run_ms(&r, 1000);
    assert_int_equal(created, 1);
    assert_true(floe_lease_lookup(r.b[0].lease, &tp, &e));
    assert_true(floe_session_name_eq(&e.holder, &r.b[0].session));
    assert_int_equal(e.span_count, 1);
    assert_int_equal(e.spans[0].first, 0);
    lrig_check(&r);
    lrig_fini(&r);
}

struct asker {
    struct lrig_broker *b;
    struct floe_timer timer;
    int refused;
};

static void on_ask(struct floe_timer *t)
{
    struct asker *a = t->user;
    a->refused += !floe_lease_alive(a->b->lease);
}

/* The process stands still while its lease ends. The first that runs after it is told that nothing counts;
 * then comes the answer of a renewal that was sent in time. */
static void who_was_refused_hears_that_it_counts_again(void **state)
{
    (void)state;
    struct lrig r;
    lrig_init(&r, 2, LEASE_MS);
    lrig_boot_wait(&r, 0);
    struct lrig_broker *b = &r.b[0];
    struct asker a = {.b = b};
    floe_timer_init(&a.timer, on_ask, &a);
    int refused = 0;
    for (int tries = 0; tries < 60; tries++) {
        /* No renewal lands until shortly before the end. */
        floe_sim_bucket_rule(r.bucket, &(struct floe_sim_rule){.fault = FLOE_SIM_E503,
                                                               .kinds = FLOE_SIM_KIND(FLOE_STORE_PUT),
                                                               .prefix = "table/node/"});
        lrig_run_ms(&r, LEASE_MS - 150 + (uint64_t)tries);
        floe_sim_bucket_heal(r.bucket);
        if (floe_lease_alive(b->lease)) {
            floe_timer_start(floe_sim_node_loop(b->node), &a.timer, 20000);
            lrig_run_ms(&r, 15);
            floe_sim_node_stall(b->node, LEASE_MS * 500, false);
            lrig_run_ms(&r, LEASE_MS);
        } else {
            lrig_run_ms(&r, LEASE_MS);
        }
        if (a.refused != 0 && b->lapses == 0)
            fail_msg("try %d: refused, and never told of the lapse", tries);
        refused += a.refused;
        b->lapses = a.refused = 0;
        assert_true(b->alive);
    }
    assert_int_not_equal(refused, 0);
    lrig_check(&r);
    lrig_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_span_begins_in_its_own_chain),
        cmocka_unit_test(who_was_refused_hears_that_it_counts_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
