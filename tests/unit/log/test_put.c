/* Copies of a PUT that is slow, or whose request or answer was lost. */
#include "floe_cmocka.h"
#include "log_rig.h"

static void a_slow_put_is_sent_again_on_another_connection(void **state)
{
    (void)state;
    struct rig_world *w;
    struct floe_tp tp = rig_tp(1, 0);
    struct rig *r = rig_one(&w, NULL, tp);
    floe_sim_bucket_rule(w->bucket, &(struct floe_sim_rule){.fault = FLOE_SIM_HANG,
                                                            .kinds = FLOE_SIM_KIND(FLOE_STORE_PUT),
                                                            .times = 1,
                                                            .delay_us = 9000000});
    struct rig_op *a = rig_append(r, tp, -1, "a");
    rig_run(w, 500000); /* far less than the hang */
    assert_true(a->done);
    struct floe_log_stats st;
    floe_log_get_stats(r->log, &st);
    assert_int_equal(st.put_hedges, 1);
    rig_run(w, 20000000); /* the first copy lands on what is there */
    assert_int_equal(floe_sim_bucket_count(w->bucket), 1);
    rig_op_free(a);
    rig_close(&w, &r);
}

static void copies_are_sent_while_none_is_answered(void **state)
{
    (void)state;
    struct rig_world *w;
    struct floe_tp tp = rig_tp(1, 0);
    struct rig *r = rig_one(&w, NULL, tp);
    struct rig_op *a = rig_append(r, tp, -1, "a");
    rig_run(w, 100); /* its PUT is on the wire; then the process stands still */
    floe_sim_node_stall(r->node, 10000000, false);
    rig_await(a);
    floe_sim_bucket_rule(w->bucket, &(struct floe_sim_rule){.fault = FLOE_SIM_LOST_REQUEST,
                                                            .kinds = FLOE_SIM_KIND(FLOE_STORE_PUT),
                                                            .times = 3});
    struct rig_op *b = rig_append(r, tp, -1, "b");
    rig_run(w, 6000000); /* less than one time-out: the stall says nothing about the store */
    assert_true(b->done);
    assert_int_equal(b->a.err.code, FLOE_OK);
    struct floe_log_stats st;
    floe_log_get_stats(r->log, &st);
    assert_in_range(st.put_hedges, 3, 4);
    rig_op_free(a);
    rig_op_free(b);
    rig_close(&w, &r);
}

/* One whose request was lost holds everything behind it up: it does not wait for tokens behind new segments,
 * which take each as it comes. */
static void a_lost_put_overtakes_the_bucket(void **state)
{
    (void)state;
    struct rig_world *w;
    struct floe_tp tp = rig_tp(1, 0);
    struct rig *r =
        rig_one(&w, &(struct rig_config){.linger_us = 1000, .rate = 10, .burst = 1, .puts = 4}, tp);
    floe_sim_bucket_rule(w->bucket, &(struct floe_sim_rule){.fault = FLOE_SIM_LOST_REQUEST,
                                                            .kinds = FLOE_SIM_KIND(FLOE_STORE_PUT),
                                                            .times = 1});
    struct rig_op *a = rig_append(r, tp, -1, "a"), *more[300];
    for (int i = 0; i < 300; i++) {
        more[i] = rig_append(r, tp, -1, "b");
        rig_run(w, 10000);
    }
    assert_true(a->done);
    assert_int_equal(a->a.err.code, FLOE_OK);
    for (int i = 0; i < 300; i++) {
        rig_await(more[i]);
        rig_op_free(more[i]);
    }
    rig_op_free(a);
    rig_close(&w, &r);
}

/* What is told of trouble is since when there is any, and what is wrong now; the log is not filled with it.
 */
static void trouble_has_its_latest_reason(void **state)
{
    (void)state;
    struct rig_world *w;
    struct floe_tp tp = rig_tp(1, 0);
    struct rig *r = rig_one(&w, NULL, tp);
    static const struct {
        enum floe_sim_fault fault;
        enum floe_err told;
        uint32_t noted;
    } step[] = {{FLOE_SIM_LOST_REQUEST, FLOE_ETIMEOUT, 1},
                {FLOE_SIM_REFUSED, FLOE_EREFUSED, 1},
                {FLOE_SIM_DENIED, FLOE_EDENIED, 2},
                {FLOE_SIM_DENIED, FLOE_EDENIED, 2}};
    struct rig_op *a = rig_append(r, tp, -1, "a");
    struct floe_store_trouble t, first = {0};
    for (size_t i = 0; i < FLOE_COUNTOF(step); i++) {
        floe_sim_bucket_heal(w->bucket);
        floe_sim_bucket_rule(w->bucket, &(struct floe_sim_rule){.fault = step[i].fault,
                                                                .kinds = FLOE_SIM_KIND(FLOE_STORE_PUT)});
        rig_run(w, i == 2 ? 60000000 : 10000000);
        floe_log_put_trouble(r->log, &t);
        assert_int_equal(t.last.code, step[i].told);
        assert_true(t.since_us > 0 && (i == 0 || t.since_us == first.since_us));
        assert_int_equal(r->noted, step[i].noted);
        first = i == 0 ? t : first;
    }
    floe_sim_bucket_heal(w->bucket);
    rig_await(a);
    floe_log_put_trouble(r->log, &t);
    assert_int_equal(t.since_us, 0);
    assert_int_equal(r->noted, 3);
    rig_op_free(a);
    rig_close(&w, &r);
}

/* Of two copies one is unclear and read back, the other refused and sent again, and the session lapses while
 * both are looked into: what wants a sending when it is alive again is sent once. */
static void a_put_that_waits_for_the_session_is_sent_once(void **state)
{
    (void)state;
    struct rig_world *w;
    struct floe_tp tp = rig_tp(1, 0);
    struct rig *r = rig_one(&w, NULL, tp);
    struct floe_sim_bucket_config slow = {.min_us = 120000, .mean_us = 1};
    floe_sim_bucket_configure(w->bucket, &slow);
    static const enum floe_sim_fault puts[] = {FLOE_SIM_E500, FLOE_SIM_DENIED};
    for (size_t i = 0; i < FLOE_COUNTOF(puts); i++)
        floe_sim_bucket_rule(
            w->bucket,
            &(struct floe_sim_rule){.fault = puts[i], .kinds = FLOE_SIM_KIND(FLOE_STORE_PUT), .times = 1});
    floe_sim_bucket_rule(w->bucket, &(struct floe_sim_rule){.fault = FLOE_SIM_LOST_REQUEST,
                                                            .kinds = FLOE_SIM_KIND(FLOE_STORE_GET),
                                                            .times = 1});
    struct rig_op *a = rig_append(r, tp, -1, "a");
    rig_run(w, 441000); /* both copies were answered, after 240 and 440 ms; it is read back */
    r->alive = false;
    uint32_t gets = w->gets;
    while (w->gets == gets)
        rig_run(w, 1000);
    rig_run(w, 121000); /* nothing lies there */
    r->alive = true;
    floe_log_session_alive(r->log, true);
    rig_await(a);
    assert_int_equal(a->a.err.code, FLOE_OK);
    rig_op_free(a);
    rig_close(&w, &r);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_slow_put_is_sent_again_on_another_connection),
        cmocka_unit_test(copies_are_sent_while_none_is_answered),
        cmocka_unit_test(a_lost_put_overtakes_the_bucket),
        cmocka_unit_test(a_put_that_waits_for_the_session_is_sent_once),
        cmocka_unit_test(trouble_has_its_latest_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
