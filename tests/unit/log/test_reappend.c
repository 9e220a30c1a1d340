/* Re-append: what acks=1 left in the tier of a dead session comes back once, in order; crashes repeat
 * nothing. */
#include "floe_cmocka.h"
#include "log_rig.h"
#include "log/log_int.h"

#include <floe/base/assert.h>
#include <floe/kafka/codec.h>
#include <stdio.h>
#include <stdlib.h>

struct list {
    char value[2000][24];
    uint32_t n;
};
static void collect(void *user, int64_t offset, const char *value)
{
    struct list *l = user;
    assert_int_equal(offset, l->n);
    assert_true(l->n < 2000);
    memcpy(l->value[l->n++], value, 24);
}

/* The partition holds exactly v<from>..v<to-1>, in order. */
static void expect_values(struct rig *r, struct floe_tp tp, int from, int to)
{
    struct list *l = calloc(1, sizeof *l);
    char want[24];
    rig_read_all(r, tp, 0, 100000, collect, l);
    assert_int_equal(l->n, to - from);
    for (int i = from; i < to; i++) {
        snprintf(want, sizeof want, "v%d", i);
        assert_string_equal(l->value[i - from], want);
    }
    free(l);
}

static size_t left(struct floe_sim_disk *d)
{
    size_t durable;
    return floe_sim_disk_entries(d, &durable);
}

static void hold_puts(struct rig_world *w)
{
    floe_sim_bucket_rule(
        w->bucket, &(struct floe_sim_rule){.fault = FLOE_SIM_E503, .kinds = FLOE_SIM_KIND(FLOE_STORE_PUT)});
}

/* A broker that acknowledged v0..v(n-1) with acks=1, of which the first `committed` are in the store, and
 * died. */
static void leave(struct rig_world *w, struct rig_config *cfg, struct floe_tp tp, int n, int committed,
                  int64_t pid, struct floe_session_name *dead)
{
    struct rig *r = rig_create(w, cfg);
    char value[24];
    rig_open(r);
    rig_new(r, tp);
    for (int i = 0; i < n; i++) {
        if (i == committed)
            hold_puts(w);
        snprintf(value, sizeof value, "v%d", i);
        struct rig_op *op = rig_append_full(r, tp, 1, value, pid, 0, i, 1, 0);
        rig_await(op);
        assert_int_equal(op->a.err.code, FLOE_OK);
        rig_op_free(op);
        if (i + 1 == committed)
            rig_run(w, 1000000);
    }
    *dead = r->session;
    rig_free(&r);
    floe_sim_bucket_heal(w->bucket);
}

static struct rig *follow(struct rig_world *w, struct rig_config *cfg, const struct floe_session_name *dead)
{
    uint64_t end = rig_seal(w, dead);
    struct rig *r = rig_create(w, cfg);
    rig_open(r);
    rig_take(r, dead, end);
    return r;
}

static void what_acks_1_left_comes_back(void **state)
{
    (void)state;
    for (int64_t pid = -1; pid < 6; pid += 6) { /* without a producer, and with one of its own */
        for (int committed = 0; committed <= 30; committed += 10) {
            struct rig_world *w = rig_world_create(1);
            struct rig_config cfg = {.tier = true, .reappend = true, .disk = floe_sim_disk_create(w->sim)};
            struct floe_tp tp = rig_tp(1, 0);
            struct floe_session_name dead;
            leave(w, &cfg, tp, 30, committed, pid, &dead);
            struct rig *r = follow(w, &cfg, &dead);
            rig_await_serving(r, tp);
            rig_run(w, 5000000);
            expect_values(r, tp, 0, 30);
            assert_int_equal(left(cfg.disk), 0);
            assert_int_equal(r->aside, 0);
            rig_free(&r);
            rig_world_destroy(&w);
        }
    }
}

static void crashes_during_re_append_repeat_nothing(void **state)
{
    (void)state;
    for (int64_t pid = -1; pid < 6; pid += 6)
        for (uint64_t us = 0; us < 1200000; us += 17000) {
            struct rig_world *w = rig_world_create(us + 1);
            struct rig_config cfg = {.tier = true, .reappend = true, .disk = floe_sim_disk_create(w->sim)};
            struct floe_tp tp = rig_tp(1, 0);
            struct floe_session_name dead;
            leave(w, &cfg, tp, 100, 5, pid, &dead);
            for (int crash = 0; crash < 2; crash++) {
                struct rig *r = follow(w, &cfg, &dead);
                rig_run(w, us);
                dead = r->session;
                rig_free(&r);
                rig_run(w, 30000000); /* what was on the wire lands */
            }
            struct rig *r = follow(w, &cfg, &dead);
            rig_await_serving(r, tp);
            rig_run(w, 5000000);
            expect_values(r, tp, 0, 100);
            assert_int_equal(left(cfg.disk), 0);
            rig_free(&r);
            rig_world_destroy(&w);
        }
}

static void a_session_that_is_lost_appends_again_in_the_next(void **state)
{
    (void)state;
    struct rig_world *w = rig_world_create(3);
    struct rig_config cfg = {.tier = true, .reappend = true, .disk = floe_sim_disk_create(w->sim)};
    struct floe_tp tp = rig_tp(1, 0);
    struct rig *r = rig_create(w, &cfg);
    char value[24];
    rig_open(r);
    rig_new(r, tp);
    for (int session = 0; session < 4; session++) {
        hold_puts(w);
        for (int i = 0; i < 10; i++) {
            snprintf(value, sizeof value, "v%d", session * 10 + i);
            struct rig_op *op = rig_append(r, tp, 1, value);
            rig_await(op);
            rig_op_free(op);
        }
        struct floe_session_name dead = r->session;
        uint64_t end = rig_seal(w, &dead);
        floe_sim_bucket_heal(w->bucket);
        floe_log_session_over(r->log);
        rig_run(w, session * 1000);
        r->sealed_says = false;
        rig_open(r);
        rig_take(r, &dead, end);
        rig_await_serving(r, tp);
        rig_run(w, 2000000);
        assert_int_equal(rig_hw(r, tp), session * 10); /* not before the seal is known */
        r->sealed_says = true;
        rig_run(w, 2000000);
        assert_int_equal(rig_hw(r, tp), session * 10 + 10);
    }
    expect_values(r, tp, 0, 40);
    assert_int_equal(left(cfg.disk), 0);
    rig_free(&r);
    rig_world_destroy(&w);
}

static void old_batches_are_set_aside(void **state)
{
    (void)state;
    struct rig_world *w = rig_world_create(4);
    struct rig_config cfg = {.tier = true, .reappend = true, .disk = floe_sim_disk_create(w->sim)};
    struct floe_tp tp = rig_tp(1, 0);
    struct floe_session_name dead;
    leave(w, &cfg, tp, 12, 4, -1, &dead);
    rig_run(w, 2ull * 3600 * 1000000);
    struct rig *r = follow(w, &cfg, &dead);
    rig_await_serving(r, tp);
    rig_run(w, 5000000);
    expect_values(r, tp, 0, 4);
    assert_int_equal(r->aside, 8);
    assert_int_equal(left(cfg.disk), 0);
    rig_free(&r);
    rig_world_destroy(&w);
}

/* From one entry on the disk cannot be read: what lies before it is appended, and the rest once it can. */
static void what_cannot_be_read_holds_up_nothing_before_it(void **state)
{
    (void)state;
    struct rig_world *w = rig_world_create(13);
    struct rig_config cfg = {.tier = true, .reappend = true, .disk = floe_sim_disk_create(w->sim)};
    struct floe_tp tp = rig_tp(1, 0);
    struct floe_session_name dead;
    leave(w, &cfg, tp, 12, 4, -1, &dead);
    floe_sim_disk_fail_gets(cfg.disk, FLOE_EIO, 9);
    struct rig *r = follow(w, &cfg, &dead);
    rig_await_serving(r, tp);
    rig_run(w, 10000000);
    expect_values(r, tp, 0, 9);
    assert_int_equal(r->noted, 1);
    floe_sim_disk_fail_gets(cfg.disk, FLOE_OK, 0);
    rig_run(w, 5000000);
    expect_values(r, tp, 0, 12);
    assert_int_equal(left(cfg.disk), 0);
    rig_free(&r);
    rig_world_destroy(&w);
}

static struct {
    bool allow;
    uint64_t now_us;
    uint32_t now, most, all; /* in one turn of the loop; since it is allowed */
} asides;
static bool put_aside(void *user, const struct floe_tp *tp, int64_t offset, struct floe_slice batch,
                      const char *why)
{
    struct rig *r = user;
    (void)tp;
    (void)offset;
    (void)batch;
    (void)why;
    uint64_t now = floe_sim_now_us(r->w->sim);
    if (!asides.allow)
        return false;
    asides.now = now == asides.now_us ? asides.now + 1 : 1;
    asides.now_us = now;
    asides.most = FLOE_MAX(asides.most, asides.now);
    asides.all++;
    return true;
}

/* Setting a batch aside costs an fsync in the loop that keeps the session alive: few come in one turn, also
 * once a disk that was full takes files again. */
static void few_are_set_aside_at_once(void **state)
{
    (void)state;
    struct rig_world *w = rig_world_create(12);
    struct rig_config cfg = {.tier = true, .reappend = true, .disk = floe_sim_disk_create(w->sim)};
    struct floe_tp tp = rig_tp(1, 0);
    struct floe_session_name dead;
    leave(w, &cfg, tp, 100, 4, -1, &dead);
    rig_run(w, 2ull * 3600 * 1000000);
    uint64_t end = rig_seal(w, &dead);
    struct rig *r = rig_create(w, &cfg);
    memset(&asides, 0, sizeof asides);
    r->log->cfg.hooks.set_aside = put_aside;
    rig_open(r);
    rig_take(r, &dead, end);
    rig_await_serving(r, tp);
    rig_run(w, 5000000);
    asides.allow = true;
    rig_run(w, 5000000);
    assert_int_equal(asides.all, 96);
    assert_in_range(asides.most, 1, 8);
    assert_int_equal(left(cfg.disk), 0);
    rig_free(&r);
    rig_world_destroy(&w);
}

static void a_disk_that_cannot_be_read_is_asked_with_pauses(void **state)
{
    (void)state;
    struct rig_world *w = rig_world_create(9);
    struct rig_config cfg = {.tier = true, .reappend = true, .disk = floe_sim_disk_create(w->sim)};
    struct floe_tp tp = rig_tp(1, 0);
    struct floe_session_name dead;
    leave(w, &cfg, tp, 12, 4, -1, &dead);
    struct rig *r = follow(w, &cfg, &dead);
    rig_run(w, 100000); /* it was looked through */
    floe_sim_disk_fail_gets(cfg.disk, FLOE_EIO, 0);
    rig_await_serving(r, tp);
    uint64_t before = floe_sim_disk_gets(cfg.disk);
    rig_run(w, 10000000);
    assert_in_range(floe_sim_disk_gets(cfg.disk) - before, 8, 2000);
    expect_values(r, tp, 0, 4);
    floe_sim_disk_fail_gets(cfg.disk, FLOE_OK, 0);
    rig_run(w, 5000000);
    expect_values(r, tp, 0, 12);
    assert_int_equal(left(cfg.disk), 0);
    rig_free(&r);
    rig_world_destroy(&w);
}

/* The disk does not take the producer's id: nothing is sent under one that a crash would forget. */
static void nothing_is_sent_under_an_id_that_is_not_on_the_disk(void **state)
{
    (void)state;
    struct rig_world *w = rig_world_create(10);
    struct rig_config cfg = {.tier = true, .reappend = true, .disk = floe_sim_disk_create(w->sim)};
    struct floe_tp tp = rig_tp(1, 0);
    struct floe_session_name dead;
    leave(w, &cfg, tp, 12, 4, -1, &dead);
    floe_sim_disk_fail(cfg.disk, FLOE_ENOSPACE);
    struct rig *r = follow(w, &cfg, &dead);
    rig_await_serving(r, tp);
    rig_run(w, 5000000);
    dead = r->session;
    rig_free(&r);
    floe_sim_disk_fail(cfg.disk, FLOE_OK);
    r = follow(w, &cfg, &dead);
    rig_await_serving(r, tp);
    rig_run(w, 5000000);
    expect_values(r, tp, 0, 12);
    assert_int_equal(left(cfg.disk), 0);
    rig_free(&r);
    rig_world_destroy(&w);
}

static void a_producer_that_went_on_sets_its_batch_aside(void **state)
{
    (void)state;
    struct rig_world *w = rig_world_create(5);
    struct rig_config cfg = {.tier = true, .reappend = true, .disk = floe_sim_disk_create(w->sim)};
    struct floe_tp tp = rig_tp(1, 0);
    struct floe_session_name dead;
    leave(w, &cfg, tp, 6, 3, 9, &dead);
    struct rig *r = rig_create(w, &cfg);
    uint64_t end = rig_seal(w, &dead);
    r->sealed_says = false;
    rig_open(r);
    rig_take(r, &dead, end);
    rig_await_serving(r, tp);
    for (int i = 0; i < 2;
         i++) { /* the producer sends v3 again, as its own retry, then a new epoch's first */
        struct rig_op *op = rig_append_full(r, tp, -1, i ? "new" : "v3", 9, (int16_t)i, i ? 0 : 3, 1, 0);
        rig_await(op);
        assert_int_equal(op->a.err.code, FLOE_OK);
        rig_op_free(op);
    }
    r->sealed_says = true;
    rig_run(w, 5000000);
    assert_int_equal(rig_hw(r, tp), 5);
    assert_int_equal(r->aside, 3); /* all of the old epoch */
    assert_int_equal(left(cfg.disk), 0);
    rig_free(&r);
    rig_world_destroy(&w);
}

static void another_broker_may_hold_the_partition(void **state)
{
    (void)state;
    struct rig_world *w = rig_world_create(6);
    struct rig_config cfg = {
        .tier = true, .reappend = true, .remote = true, .disk = floe_sim_disk_create(w->sim)};
    struct floe_tp tp = rig_tp(1, 0);
    struct floe_session_name dead;
    leave(w, &cfg, tp, 40, 7, -1, &dead);
    struct rig *holder = follow(w, NULL, &dead);
    struct rig *r = rig_create(w, &cfg);
    r->remote = holder;
    rig_open(r);
    rig_await_serving(holder, tp);
    rig_run(w, 20000000);
    expect_values(holder, tp, 0, 40);
    assert_int_equal(left(cfg.disk), 0);
    rig_free(&r);
    rig_free(&holder);
    rig_world_destroy(&w);
}

static void order_is_kept_when_the_partition_comes_here_meanwhile(void **state)
{
    (void)state;
    struct rig_world *w = rig_world_create(8);
    struct rig_config cfg = {
        .tier = true, .reappend = true, .remote = true, .disk = floe_sim_disk_create(w->sim)};
    struct floe_tp tp = rig_tp(1, 0);
    struct floe_session_name dead;
    leave(w, &cfg, tp, 20, 0, -1, &dead);
    struct rig *holder = follow(w, NULL, &dead), *r = rig_create(w, &cfg);
    r->remote = holder;
    r->hold_send = true;
    rig_open(r);
    rig_await_serving(holder, tp);
    rig_run(w, 2000000);
    assert_non_null(r->held); /* the first batch is on its way to the holder, which dies */
    dead = holder->session;
    rig_free(&holder);
    rig_take(r, &dead, rig_seal(w, &dead));
    rig_await_serving(r, tp);
    rig_run(w, 2000000);
    assert_int_equal(rig_hw(r, tp), 0); /* nothing overtakes it */
    rig_fail_send(r);
    rig_run(w, 5000000);
    expect_values(r, tp, 0, 20);
    assert_int_equal(left(cfg.disk), 0);
    rig_free(&r);
    rig_world_destroy(&w);
}

static void many_entries_and_partitions(void **state)
{
    (void)state;
    enum { N = 9000, P = 7 };
    struct rig_world *w = rig_world_create(7);
    struct rig_config cfg = {.tier = true, .reappend = true, .disk = floe_sim_disk_create(w->sim)};
    struct rig *r = rig_create(w, &cfg);
    struct rig_op **op = calloc(N, sizeof *op);
    char value[24];
    rig_open(r);
    rig_new_many(r, P);
    hold_puts(w);
    for (int i = 0; i < N; i++) {
        snprintf(value, sizeof value, "v%d", i / P);
        op[i] = rig_append(r, rig_tp(1, i % P), 1, value);
    }
    for (int i = 0; i < N; i++) {
        rig_await(op[i]);
        rig_op_free(op[i]);
    }
    struct floe_session_name dead = r->session;
    rig_free(&r);
    floe_sim_bucket_heal(w->bucket);
    r = follow(w, &cfg, &dead);
    rig_run(w, 30000000);
    for (int p = 0; p < P; p++)
        expect_values(r, rig_tp(1, p), 0, N / P + (p < N % P));
    assert_int_equal(left(cfg.disk), 0);
    free(op);
    rig_free(&r);
    rig_world_destroy(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_acks_1_left_comes_back),
        cmocka_unit_test(crashes_during_re_append_repeat_nothing),
        cmocka_unit_test(a_session_that_is_lost_appends_again_in_the_next),
        cmocka_unit_test(old_batches_are_set_aside),
        cmocka_unit_test(what_cannot_be_read_holds_up_nothing_before_it),
        cmocka_unit_test(few_are_set_aside_at_once),
        cmocka_unit_test(a_disk_that_cannot_be_read_is_asked_with_pauses),
        cmocka_unit_test(nothing_is_sent_under_an_id_that_is_not_on_the_disk),
        cmocka_unit_test(a_producer_that_went_on_sets_its_batch_aside),
        cmocka_unit_test(another_broker_may_hold_the_partition),
        cmocka_unit_test(order_is_kept_when_the_partition_comes_here_meanwhile),
        cmocka_unit_test(many_entries_and_partitions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
