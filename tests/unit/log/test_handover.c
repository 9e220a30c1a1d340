/* Hand-over: appends wait, what is open is flushed at once, everything is committed before the log says so,
 * and the next holder goes on where the last one stopped. */
#include "floe_cmocka.h"
#include "log_rig.h"

#include <floe/base/assert.h>
#include <floe/kafka/codec.h>
#include <stdio.h>
#include <stdlib.h>

static struct rig_op *send(struct rig *r, struct floe_tp tp, int32_t seq, const char *value)
{
    return rig_append_full(r, tp, -1, value, 77, 0, seq, 1, 10);
}

static bool is_stopped(void *user)
{
    return ((struct rig *)user)->stopped > 0;
}

static void await_stopped(struct rig *r)
{
    assert_true(floe_sim_run_until(r->w->sim, is_stopped, r, 20000000));
}

static void the_next_holder_goes_on(void **state)
{
    (void)state;
    struct rig_world *w = rig_world_create(1);
    struct rig *a = rig_create(w, NULL), *b = rig_create(w, NULL);
    struct floe_tp tp = rig_tp(1, 0), other = rig_tp(2, 0);
    rig_open(a);
    rig_open(b);
    rig_new(a, tp);
    rig_new(a, other);
    struct rig_op *op[6];
    for (int i = 0; i < 3; i++) {
        op[i] = send(a, tp, i, "x");
        rig_await(op[i]);
    }
    uint64_t key = floe_log_checkpoint_now(a->log, &tp);
    assert_true(key <= floe_log_next_key(a->log));
    rig_run(w, 50000); /* at once, not after the usual wait for a segment to ride in */
    const struct rig_lease *l = rig_lease(w, tp);
    assert_true(l->ckpt.present && l->ckpt.seq >= key);
    assert_int_equal(l->span_count, 1);
    /* Nothing changed since: the one that is there will do. */
    assert_true(floe_log_checkpoint_now(a->log, &tp) <= l->ckpt.seq);
    op[3] = send(a, tp, 3, "x");
    floe_log_stop(a->log, &tp);
    struct floe_partition *p;
    assert_int_equal(floe_log_find(a->log, &tp, &p), FLOE_PARTITION_HANDING);
    op[4] = send(a, tp, 4, "x");
    assert_int_equal(op[4]->refused, FLOE_EAGAIN);
    struct rig_op *dup =
        send(a, tp, 3, "x"); /* even a duplicate: its commit may be told by the next holder */
    assert_int_equal(dup->refused, FLOE_EAGAIN);
    assert_int_equal(a->stopped, 0);
    await_stopped(a);
    assert_true(op[3]->done); /* answered before, or with it */
    assert_int_equal(op[3]->a.err.code, FLOE_OK);
    assert_int_equal(rig_hw(a, other), 0);
    rig_move(a, b, tp);
    assert_int_equal(floe_log_find(a->log, &tp, &p), FLOE_PARTITION_ABSENT);
    rig_await_serving(b, tp);
    assert_int_equal(rig_hw(b, tp), 4);
    rig_op_free(dup);
    dup = send(b, tp, 3, "x"); /* the producer is remembered */
    rig_await(dup);
    assert_int_equal(dup->a.err.code, FLOE_OK);
    assert_int_equal(dup->a.base_offset, 3);
    rig_op_free(op[4]);
    op[4] = send(b, tp, 4, "x");
    op[5] = send(b, tp, 6, "x");
    rig_await(op[4]);
    assert_int_equal(op[4]->a.base_offset, 4);
    assert_int_equal(op[5]->refused, FLOE_EINVAL);
    assert_int_equal(op[5]->a.kafka_error, FLOE_KERR_NOT_LEADER_OR_FOLLOWER);
    for (int i = 0; i < 6; i++)
        rig_op_free(op[i]);
    rig_op_free(dup);
    rig_free(&a);
    rig_free(&b);
    rig_world_destroy(&w);
}

/* Nothing was written: the span is empty, and no footer is read but the checkpoint's. */
static void an_idle_partition_moves_at_once(void **state)
{
    (void)state;
    struct rig_world *w = rig_world_create(2);
    struct rig *a = rig_create(w, NULL), *b = rig_create(w, NULL);
    struct floe_tp tp = rig_tp(1, 0), busy = rig_tp(2, 0);
    rig_open(a);
    rig_open(b);
    rig_new(a, tp);
    rig_new(a, busy);
    floe_log_checkpoint_now(a->log, &tp);
    rig_run(w, 50000);
    for (int i = 0; i < 20; i++) {
        struct rig_op *op = rig_append(a, busy, -1, "y");
        rig_await(op);
        rig_op_free(op);
    }
    floe_log_stop(a->log, &tp);
    await_stopped(a);
    assert_true(a->stopped_end <= rig_lease(w, tp)->ckpt.seq);
    uint32_t gets = w->gets;
    rig_move(a, b, tp);
    assert_int_equal(rig_lease(w, tp)->span_count, 1);
    rig_await_serving(b, tp);
    assert_true(w->gets - gets <= 2);
    rig_free(&a);
    rig_free(&b);
    rig_world_destroy(&w);
}

struct waits {
    struct floe_log_waiter waiter;
    bool called;
};
static void on_wait(struct floe_log_waiter *w)
{
    ((struct waits *)w->user)->called = true;
}

static void a_move_that_failed_is_resumed_from(void **state)
{
    (void)state;
    struct rig_world *w = rig_world_create(3);
    struct rig *a = rig_create(w, NULL);
    struct floe_tp tp = rig_tp(1, 0);
    rig_open(a);
    rig_new(a, tp);
    struct rig_op *op = rig_append(a, tp, -1, "a");
    rig_await(op);
    rig_op_free(op);
    floe_log_stop(a->log, &tp);
    await_stopped(a);
    struct waits v = {.called = false};
    v.waiter = (struct floe_log_waiter){.fn = on_wait, .user = &v};
    floe_log_wait_serving(a->log, &tp, &v.waiter);
    /* Reads go on, but nobody is told that a position does not exist: the next holder may know it. */
    struct floe_log_read r = {.tp = tp, .offset = 0, .max_bytes = 1000};
    assert_true(floe_log_read(a->log, &r));
    assert_int_equal(r.err.code, FLOE_OK);
    assert_true(r.bytes > 0);
    floe_log_read_fini(&r);
    r = (struct floe_log_read){.tp = tp, .offset = 2, .max_bytes = 1000};
    assert_true(floe_log_read(a->log, &r));
    assert_int_equal(r.err.code, FLOE_EAGAIN);
    rig_run(w, 100000);
    assert_false(v.called);
    floe_log_resume(a->log, &tp);
    rig_run(w, 1000);
    assert_true(v.called);
    op = rig_append(a, tp, -1, "b");
    rig_await(op);
    assert_int_equal(op->a.base_offset, 1);
    rig_op_free(op);
    r = (struct floe_log_read){.tp = tp, .offset = 3, .max_bytes = 1000};
    assert_true(floe_log_read(a->log, &r));
    assert_int_equal(r.err.code, FLOE_EINVAL);
    rig_free(&a);
    rig_world_destroy(&w);
}

/* The bucket of PUT tokens is empty: the hand-over's flush does not wait for one. */
static void the_flush_needs_no_token(void **state)
{
    (void)state;
    struct rig_world *w = rig_world_create(4);
    struct rig *a = rig_create(w, &(struct rig_config){.segment_bytes = 8 << 20,
                                                       .linger_us = 5000,
                                                       .puts = 4,
                                                       .rate = 0.05,
                                                       .burst = 1,
                                                       .pending = 64 << 20,
                                                       .cache = 32 << 20});
    struct floe_tp tp = rig_tp(1, 0);
    rig_open(a);
    rig_new(a, tp);
    struct rig_op *first = rig_append(a, tp, -1, "a");
    rig_await(first);
    struct rig_op *op = rig_append(a, tp, -1, "b");
    rig_run(w, 1000000);
    assert_false(op->done);
    floe_log_stop(a->log, &tp);
    uint64_t from = floe_sim_now_us(w->sim);
    await_stopped(a);
    assert_true(op->done);
    assert_true(floe_sim_now_us(w->sim) - from < 500000);
    rig_op_free(first);
    rig_op_free(op);
    rig_free(&a);
    rig_world_destroy(&w);
}

/* Not told while a segment that carries it has no outcome; never when the session is over. */
static void nothing_is_told_while_a_put_is_open(void **state)
{
    (void)state;
    struct rig_world *w = rig_world_create(5);
    struct rig *a = rig_create(w, NULL);
    struct floe_tp tp = rig_tp(1, 0);
    rig_open(a);
    rig_new(a, tp);
    floe_sim_bucket_rule(w->bucket,
                         &(struct floe_sim_rule){.fault = FLOE_SIM_LOST_ANSWER, .prefix = "chain/"});
    struct rig_op *op = rig_append(a, tp, -1, "a");
    floe_log_stop(a->log, &tp);
    rig_run(w, 5000000);
    assert_int_equal(a->stopped, 0);
    assert_false(op->done);
    a->alive = false; /* it lapses; then the outcome is known, but does not count */
    floe_sim_bucket_heal(w->bucket);
    rig_run(w, 20000000);
    assert_int_equal(a->stopped, 0);
    a->alive = true;
    floe_log_session_alive(a->log, true);
    await_stopped(a);
    assert_true(op->done);
    rig_op_free(op);
    rig_free(&a);
    rig_world_destroy(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_next_holder_goes_on),
        cmocka_unit_test(an_idle_partition_moves_at_once),
        cmocka_unit_test(a_move_that_failed_is_resumed_from),
        cmocka_unit_test(the_flush_needs_no_token),
        cmocka_unit_test(nothing_is_told_while_a_put_is_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
