/* Read ahead of a planned move: what the sender told is taken only where the lease confirms it; whatever is
 * lost, late, doubled or wrong of what it tells costs time, never a record. */
#include "floe_cmocka.h"
#include "log_rig.h"

#include <floe/base/assert.h>
#include <floe/kafka/codec.h>
#include <stdio.h>
#include <stdlib.h>

struct move {
    struct rig_world *w;
    struct rig *a, *b;
    struct floe_tp tp;
    int32_t sent;
};

static void produce(struct move *m, struct rig *r, int n)
{
    char value[24];
    for (int i = 0; i < n; i++) {
        snprintf(value, sizeof value, "v%d", m->sent);
        struct rig_op *op = rig_append_full(r, m->tp, -1, value, 77, 0, m->sent, 1, 10);
        rig_await(op);
        assert_int_equal(op->a.err.code, FLOE_OK);
        assert_int_equal(op->a.base_offset, m->sent++);
        rig_op_free(op);
    }
}

/* Broker a holds a partition with a producer and a checkpoint, and more behind it. */
static void begin(struct move *m, uint64_t seed)
{
    m->w = rig_world_create(seed);
    m->a = rig_create(m->w, NULL);
    m->b = rig_create(m->w, NULL);
    m->tp = rig_tp(1, 0);
    m->sent = 0;
    rig_open(m->a);
    rig_open(m->b);
    rig_new(m->a, m->tp);
    produce(m, m->a, 3);
    (void)floe_log_checkpoint_now(m->a->log, &m->tp);
    rig_run(m->w, 50000);
    assert_true(rig_lease(m->w, m->tp)->ckpt.present);
    produce(m, m->a, 3);
}

static struct floe_moving now_of(struct move *m)
{
    const struct rig_lease *l = rig_lease(m->w, m->tp);
    return (struct floe_moving){m->tp, l->epoch, l->ckpt.seq, floe_log_committed(m->a->log)};
}

static uint32_t tell(struct move *m, struct floe_moving it, bool stopped)
{
    return floe_log_ahead(m->b->log, &m->a->session, &it, 1, stopped);
}

static bool is_stopped(void *user)
{
    return ((struct rig *)user)->stopped > 0;
}

static void stop(struct move *m)
{
    floe_log_stop(m->a->log, &m->tp);
    assert_true(floe_sim_run_until(m->w->sim, is_stopped, m->a, 20000000));
}

static struct floe_moving stopped_at(struct move *m)
{
    struct floe_moving it = now_of(m);
    it.end = m->a->stopped_end > it.checkpoint ? m->a->stopped_end : it.checkpoint;
    return it;
}

struct count {
    int32_t n;
};
static void in_order(void *user, int64_t offset, const char *value)
{
    char want[24];
    struct count *c = user;
    snprintf(want, sizeof want, "v%d", c->n);
    assert_int_equal(offset, c->n++);
    assert_string_equal(value, want);
}

/* b serves everything that a has committed, with its producer. */
static void finish(struct move *m, uint64_t ahead)
{
    struct floe_log_stats s;
    struct count c = {0};
    rig_await_serving(m->b, m->tp);
    assert_int_equal(rig_hw(m->b, m->tp), m->sent);
    struct rig_op *dup = rig_append_full(m->b, m->tp, -1, "x", 77, 0, m->sent - 1, 1, 10);
    rig_await(dup);
    assert_int_equal(dup->a.err.code, FLOE_OK);
    assert_int_equal(dup->a.base_offset, m->sent - 1);
    rig_op_free(dup);
    produce(m, m->b, 2);
    assert_int_equal(rig_read_all(m->b, m->tp, 0, 100000, in_order, &c), m->sent);
    floe_log_get_stats(m->b->log, &s);
    assert_int_equal(s.read_ahead, ahead);
    if (m->a)
        rig_free(&m->a);
    rig_free(&m->b);
    rig_world_destroy(&m->w);
}

static void what_was_read_ahead_is_served_at_once(void **state)
{
    (void)state;
    struct move m;
    begin(&m, 1);
    assert_int_equal(tell(&m, now_of(&m), false), 1);
    assert_false(floe_log_expects(m.b->log, &m.tp));
    rig_run(m.w, 200000);
    assert_int_equal(tell(&m, now_of(&m), false), 0);
    produce(&m, m.a, 4); /* appends go on meanwhile */
    stop(&m);
    assert_int_equal(tell(&m, stopped_at(&m), true), 1);
    assert_true(floe_log_expects(m.b->log, &m.tp));
    rig_run(m.w, 200000);
    assert_int_equal(tell(&m, stopped_at(&m), true), 0); /* told twice */
    uint32_t gets = m.w->gets;
    rig_move(m.a, m.b, m.tp);
    struct floe_partition *p;
    assert_int_equal(floe_log_find(m.b->log, &m.tp, &p), FLOE_PARTITION_SERVING);
    assert_int_equal(m.w->gets, gets);
    assert_false(floe_log_expects(m.b->log, &m.tp));
    finish(&m, 1);
}

/* The lease comes while, or before, the last keys are read. */
static void the_lease_may_come_first(void **state)
{
    (void)state;
    for (int told = 0; told < 3; told++) {
        struct move m;
        begin(&m, 2);
        assert_int_equal(tell(&m, now_of(&m), false), 1);
        if (told > 0)
            rig_run(m.w, 200000);
        produce(&m, m.a, 4);
        stop(&m);
        if (told == 2)
            assert_int_equal(tell(&m, stopped_at(&m), true), 1);
        rig_move(m.a, m.b, m.tp);
        struct floe_partition *p;
        assert_int_equal(floe_log_find(m.b->log, &m.tp, &p), FLOE_PARTITION_ABSENT);
        finish(&m, 1);
    }
}

static void a_newer_checkpoint_is_another_state(void **state)
{
    (void)state;
    struct move m;
    begin(&m, 3);
    assert_int_equal(tell(&m, now_of(&m), false), 1);
    rig_run(m.w, 200000);
    (void)floe_log_checkpoint_now(m.a->log, &m.tp);
    rig_run(m.w, 200000);
    stop(&m);
    rig_move(m.a, m.b, m.tp);
    finish(&m, 0);
}

/* Told of a checkpoint, an epoch or keys that are not there; of what another session writes. */
static void wrong_words_cost_time_only(void **state)
{
    (void)state;
    for (int wrong = 0; wrong < 5; wrong++) {
        struct move m;
        begin(&m, 4);
        struct floe_moving it = now_of(&m);
        it.checkpoint += wrong == 0;
        it.epoch += wrong == 1;
        it.end += wrong == 2 ? 7 : wrong == 3 ? 1000000 : 0;
        struct floe_session_name who = m.a->session;
        who.id += wrong == 4;
        (void)floe_log_ahead(m.b->log, &who, &it, 1, true);
        rig_run(m.w, 5000000);
        produce(&m, m.a, 1);
        stop(&m);
        rig_move(m.a, m.b, m.tp);
        finish(&m, 0);
    }
}

/* Its own blocks above the end that the lease names: they are not the partition's. */
static void a_span_that_ends_lower_is_read_again(void **state)
{
    (void)state;
    struct move m;
    begin(&m, 5);
    assert_int_equal(tell(&m, now_of(&m), false), 1);
    rig_run(m.w, 200000);
    stop(&m);
    m.a->stopped_end--; /* as if the last batch had not been acknowledged by this lease */
    m.sent--;
    rig_move(m.a, m.b, m.tp);
    finish(&m, 0);
}

static void what_no_lease_asks_for_goes(void **state)
{
    (void)state;
    struct move m;
    begin(&m, 6);
    assert_int_equal(tell(&m, now_of(&m), true), 1);
    assert_true(floe_log_expects(m.b->log, &m.tp));
    rig_run(m.w, 600000);
    assert_false(floe_log_expects(m.b->log, &m.tp)); /* requests do not wait for ever */
    rig_run(m.w, 11000000);
    produce(&m, m.a, 1);
    stop(&m);
    rig_move(m.a, m.b, m.tp);
    finish(&m, 0);
}

/* The receiver's session ends, its broker dies, or the partition is let go of again while it is read. */
static void ends_on_the_way(void **state)
{
    (void)state;
    for (int how = 0; how < 4; how++) {
        struct move m;
        begin(&m, 7);
        assert_int_equal(tell(&m, now_of(&m), false), 1);
        if (how >= 2) {
            produce(&m, m.a, 1);
            stop(&m);
            rig_move(m.a, m.b, m.tp); /* waits for what is being read */
        }
        if (how == 0)
            floe_log_session_over(m.b->log);
        if (how == 1 || how == 2)
            rig_kill(m.b);
        if (how == 3)
            floe_log_drop(m.b->log, &m.tp);
        rig_run(m.w, 1000000);
        struct floe_partition *p;
        if (how == 3)
            assert_int_equal(floe_log_find(m.b->log, &m.tp, &p), FLOE_PARTITION_ABSENT);
        rig_free(&m.a);
        rig_free(&m.b);
        rig_world_destroy(&m.w);
    }
}

static void own_words_and_own_partitions_are_left_alone(void **state)
{
    (void)state;
    struct move m;
    begin(&m, 8);
    struct floe_moving it = now_of(&m);
    assert_int_equal(floe_log_ahead(m.a->log, &m.a->session, &it, 1, true), 0);
    assert_int_equal(floe_log_ahead(m.a->log, &m.b->session, &it, 1, true), 0); /* it is served here */
    assert_false(floe_log_expects(m.a->log, &m.tp));
    it.end = it.checkpoint - 1;
    assert_int_equal(tell(&m, it, true), 0);
    stop(&m);
    rig_move(m.a, m.b, m.tp);
    finish(&m, 0);
}

/* What a takeover will list is read while it is written: afterwards nothing is read, if the lease says just
 * that; else everything is rebuilt. */
static void a_takeover_is_read_while_it_is_written(void **state)
{
    (void)state;
    enum { READ, AT_ONCE, ANOTHER_END, ANOTHER_CHECKPOINT, ANOTHER_SPAN, LATE, NO_CHECKPOINT, WAYS };
    for (int how = 0; how < WAYS; how++) {
        struct move m;
        begin(&m, 40 + (uint64_t)how);
        struct floe_session_name dead = m.a->session;
        struct rig_lease *l = rig_lease(m.w, m.tp);
        if (how == NO_CHECKPOINT) {
            l->ckpt.present = false;
            l->spans[0].first = 0;
        }
        rig_free(&m.a);
        uint64_t end = rig_seal(m.w, &dead);
        struct floe_lease_entry e = {.tp = m.tp,
                                     .holder = dead,
                                     .epoch = l->epoch,
                                     .checkpoint = l->ckpt,
                                     .spans = l->spans,
                                     .span_count = l->span_count};
        struct floe_span wrong = l->spans[0];
        wrong.first++;
        if (how == ANOTHER_CHECKPOINT)
            e.checkpoint.present = false;
        if (how == ANOTHER_SPAN)
            e.spans = &wrong;
        floe_log_taking(m.b->log, &e, how == ANOTHER_END ? end - 1 : end);
        rig_run(m.w, how == AT_ONCE ? 0 : how == LATE ? 30000000 : 1000000);
        uint32_t gets = m.w->gets;
        rig_take(m.b, &dead, end);
        rig_await_serving(m.b, m.tp);
        if (how == READ || how == NO_CHECKPOINT)
            assert_int_equal(m.w->gets, gets);
        else
            assert_true(m.w->gets > gets);
        assert_int_equal(rig_hw(m.b, m.tp), 6);
        produce(&m, m.b, 2);
        struct rig_op *op = rig_append_full(m.b, m.tp, -1, "v5", 77, 0, 5, 1, 10); /* a duplicate */
        rig_await(op);
        assert_int_equal(op->a.base_offset, 5);
        rig_op_free(op);
        rig_free(&m.b);
        rig_world_destroy(&m.w);
    }
}

static struct floe_lease_entry listed(const struct rig_lease *l)
{
    return (struct floe_lease_entry){.tp = l->tp,
                                     .holder = l->holder,
                                     .epoch = l->epoch,
                                     .checkpoint = l->ckpt,
                                     .spans = l->spans,
                                     .span_count = l->span_count};
}

/* The edit is refused, or its answer lost, and tried again: what was read is not read again, nor thrown away
 * while it is wanted. */
static void a_takeover_that_is_tried_again_reads_once(void **state)
{
    (void)state;
    struct move m;
    begin(&m, 60);
    struct floe_session_name dead = m.a->session;
    rig_free(&m.a);
    uint64_t end = rig_seal(m.w, &dead);
    struct floe_lease_entry e = listed(rig_lease(m.w, m.tp));
    uint32_t gets = m.w->gets;
    floe_log_taking(m.b->log, &e, end);
    rig_run(m.w, 1000000);
    uint32_t once = m.w->gets - gets;
    assert_in_range(once, 1, 20);
    for (int i = 0; i < 10; i++) { /* longer than what nobody asks for is kept */
        floe_log_taking(m.b->log, &e, end);
        rig_run(m.w, 2000000);
    }
    rig_take(m.b, &dead, end);
    rig_await_serving(m.b, m.tp);
    assert_int_equal(m.w->gets - gets, once);
    finish(&m, 1);
}

/* Another broker is first, serves, writes on, and dies: what was read of the lease before is not the
 * partition's state any more, whether this broker hears of the second death in time or not. */
static void what_another_took_first_is_read_again(void **state)
{
    (void)state;
    for (int told = 0; told < 2; told++) {
        struct move m;
        begin(&m, 70);
        struct rig *c = rig_create(m.w, NULL);
        rig_open(c);
        struct floe_session_name dead = m.a->session;
        rig_free(&m.a);
        uint64_t end = rig_seal(m.w, &dead);
        struct floe_lease_entry e = listed(rig_lease(m.w, m.tp));
        floe_log_taking(m.b->log, &e, end);
        rig_run(m.w, 300000);
        rig_take(c, &dead, end);
        rig_await_serving(c, m.tp);
        produce(&m, c, 3);
        dead = c->session;
        rig_free(&c);
        end = rig_seal(m.w, &dead);
        e = listed(rig_lease(m.w, m.tp));
        if (told)
            floe_log_taking(m.b->log, &e, end);
        rig_take(m.b, &dead, end);
        finish(&m, (uint64_t)told);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_takeover_is_read_while_it_is_written),
        cmocka_unit_test(a_takeover_that_is_tried_again_reads_once),
        cmocka_unit_test(what_another_took_first_is_read_again),
        cmocka_unit_test(what_was_read_ahead_is_served_at_once),
        cmocka_unit_test(the_lease_may_come_first),
        cmocka_unit_test(a_newer_checkpoint_is_another_state),
        cmocka_unit_test(wrong_words_cost_time_only),
        cmocka_unit_test(a_span_that_ends_lower_is_read_again),
        cmocka_unit_test(what_no_lease_asks_for_goes),
        cmocka_unit_test(ends_on_the_way),
        cmocka_unit_test(own_words_and_own_partitions_are_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
