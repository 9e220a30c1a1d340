/* A session's clean end: everything flushed, checkpoints published, the own seal put; under every fault. */
#include "floe_cmocka.h"
#include "log_rig.h"

#include <floe/base/assert.h>
#include <stdio.h>
#include <stdlib.h>

static void on_end(void *user, const struct floe_error *err, uint64_t end)
{
    struct rig *r = user;
    assert_false(r->ended);
    r->ended = true;
    r->end_err = *err;
    r->end_key = end;
}

static bool ended(void *user)
{
    return ((struct rig *)user)->ended;
}

static void await_end(struct rig *r)
{
    assert_true(floe_sim_run_until(r->w->sim, ended, r, 120000000));
}

static void an_end_flushes_checkpoints_and_seals(void **state)
{
    (void)state;
    struct rig_world *w = rig_world_create(1);
    struct rig *r = rig_create(w, NULL);
    struct floe_tp tp = rig_tp(1, 0), idle = rig_tp(2, 0);
    rig_open(r);
    rig_new(r, tp);
    rig_new(r, idle);
    struct rig_op *a = rig_append(r, tp, -1, "a");
    rig_run(w, 100);
    struct rig_op *b = rig_append(r, tp, -1, "b");
    floe_log_session_end(r->log, on_end, r);
    struct rig_op *c = rig_append(r, tp, -1, "c");
    assert_int_equal(c->refused, FLOE_ENOTHOLDER);
    await_end(r);
    assert_true(a->done && b->done);
    assert_int_equal(b->a.err.code, FLOE_OK);
    assert_int_equal(r->end_err.code, FLOE_OK);
    assert_int_equal(r->end_key, 2); /* a; b with the checkpoint; the seal */
    assert_int_equal(r->published, 1);
    char key[FLOE_CHAIN_KEY_MAX];
    floe_chain_key(key, &r->session, 2);
    const struct floe_sim_object *o = floe_sim_bucket_find(w->bucket, key);
    struct floe_seal seal;
    struct floe_error err;
    assert_non_null(o);
    assert_int_equal(floe_seal_decode(floe_slice(o->data, o->n), key, &seal, &err), FLOE_OK);
    assert_true(floe_session_name_eq(&seal.by, &r->session));
    floe_log_session_over(r->log);

    struct rig *next = rig_create(w, NULL);
    uint32_t gets = w->gets;
    rig_open(next);
    rig_take(next, &r->session, r->end_key);
    rig_await_serving(next, tp);
    rig_await_serving(next, idle);
    assert_int_equal(rig_hw(next, tp), 2);
    assert_int_equal(w->gets - gets, 2); /* two footers for both; the short checkpoint came with its footer */
    char value[24];
    rig_value(next, tp, 1, value);
    assert_string_equal(value, "b");
    rig_op_free(a);
    rig_op_free(b);
    rig_op_free(c);
    rig_free(&r);
    rig_free(&next);
    rig_world_destroy(&w);
}

static void an_end_survives_every_outcome_of_its_puts(void **state)
{
    (void)state;
    static const enum floe_sim_fault faults[] = {
        FLOE_SIM_LOST_REQUEST, FLOE_SIM_LOST_ANSWER,  FLOE_SIM_BROKEN, FLOE_SIM_LATE,
        FLOE_SIM_TWICE,        FLOE_SIM_E409_APPLIED, FLOE_SIM_E500,   FLOE_SIM_E500_APPLIED,
        FLOE_SIM_E503,         FLOE_SIM_DENIED,       FLOE_SIM_HANG};
    for (size_t f = 0; f < FLOE_COUNTOF(faults); f++)
        for (uint32_t skip = 0; skip < 3; skip++) {
            struct rig_world *w = rig_world_create(f * 10 + skip);
            struct rig *r = rig_create(w, NULL);
            struct floe_tp tp = rig_tp(1, 0);
            rig_open(r);
            rig_new(r, tp);
            floe_sim_bucket_rule(w->bucket, &(struct floe_sim_rule){.fault = faults[f],
                                                                    .kinds = FLOE_SIM_KIND(FLOE_STORE_PUT),
                                                                    .skip = skip,
                                                                    .times = 2});
            struct rig_op *a = rig_append(r, tp, -1, "a");
            rig_run(w, 100);
            struct rig_op *b = rig_append(r, tp, -1, "b");
            floe_log_session_end(r->log, on_end, r);
            await_end(r);
            assert_int_equal(r->end_err.code, FLOE_OK);
            assert_int_equal(r->end_key, 2);
            assert_true(a->done && b->done && b->a.err.code == FLOE_OK);
            rig_op_free(a);
            rig_op_free(b);
            rig_free(&r);
            rig_run(w, 60000000);
            assert_int_equal(floe_sim_bucket_count(w->bucket), 3);
            rig_world_destroy(&w);
        }
}

static void an_end_of_a_sealed_session_says_so(void **state)
{
    (void)state;
    for (int over = 0; over < 2; over++) {
        struct rig_world *w = rig_world_create(3);
        struct rig *r = rig_create(w, NULL);
        struct floe_tp tp = rig_tp(1, 0);
        rig_open(r);
        rig_new(r, tp);
        rig_seal(w, &r->session);
        struct rig_op *a = rig_append(r, tp, -1, "a");
        floe_log_session_end(r->log, on_end, r);
        if (over)
            floe_log_session_over(r->log);
        await_end(r);
        assert_int_equal(r->end_err.code, FLOE_EFENCED);
        if (!over)
            floe_log_session_over(r->log);
        rig_run(w, 1000);
        assert_int_equal(a->a.err.code, FLOE_EFENCED);
        rig_op_free(a);
        rig_free(&r);
        rig_world_destroy(&w);
    }
}

static void a_lapsed_session_ends_once_it_is_alive(void **state)
{
    (void)state;
    struct rig_world *w = rig_world_create(4);
    struct rig *r = rig_create(w, NULL);
    struct floe_tp tp = rig_tp(1, 0);
    rig_open(r);
    rig_new(r, tp);
    r->alive = false;
    struct rig_op *a = rig_append(r, tp, -1, "a");
    floe_log_session_end(r->log, on_end, r);
    rig_run(w, 10000000);
    assert_int_equal(w->puts, 0);
    assert_false(r->ended);
    r->alive = true;
    floe_log_session_alive(r->log, true);
    await_end(r);
    assert_int_equal(r->end_err.code, FLOE_OK);
    assert_int_equal(a->a.err.code, FLOE_OK);
    rig_op_free(a);
    rig_free(&r);
    rig_world_destroy(&w);
}

static void a_new_session_follows_a_lost_one(void **state)
{
    (void)state;
    struct rig_world *w = rig_world_create(5);
    struct rig *r = rig_create(w, NULL);
    struct floe_tp tp = rig_tp(1, 0);
    rig_open(r);
    rig_new(r, tp);
    struct rig_op *a = rig_append(r, tp, -1, "a");
    rig_await(a);
    struct floe_session_name dead = r->session;
    uint64_t end = rig_seal(w, &dead);
    floe_log_session_over(r->log);
    rig_open(r);
    rig_take(r, &dead, end);
    rig_await_serving(r, tp);
    assert_int_equal(rig_hw(r, tp), 1);
    struct rig_op *b = rig_append(r, tp, -1, "b");
    rig_await(b);
    assert_int_equal(b->a.base_offset, 1);
    assert_int_equal(rig_read_all(r, tp, 0, 1000, NULL, NULL), 2);
    rig_op_free(a);
    rig_op_free(b);
    rig_free(&r);
    rig_world_destroy(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_end_flushes_checkpoints_and_seals),
        cmocka_unit_test(an_end_survives_every_outcome_of_its_puts),
        cmocka_unit_test(an_end_of_a_sealed_session_says_so),
        cmocka_unit_test(a_lapsed_session_ends_once_it_is_alive),
        cmocka_unit_test(a_new_session_follows_a_lost_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
