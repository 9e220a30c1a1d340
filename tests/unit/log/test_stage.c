/* The tier under the log: acks=1, spill while the store is away, reading back, limits. */
#include "floe_cmocka.h"
#include "log_rig.h"

#include <floe/base/assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "log/log_int.h"

static void acks_1_waits_for_the_tier_alone(void **state)
{
    (void)state;
    struct rig_world *w = rig_world_create(1);
    struct rig_config cfg = {.tier = true, .disk = floe_sim_disk_create(w->sim)};
    struct rig *r = rig_create(w, &cfg);
    struct floe_tp tp = rig_tp(1, 0);
    size_t durable;
    rig_open(r);
    rig_new(r, tp);
    floe_sim_bucket_rule(
        w->bucket, &(struct floe_sim_rule){.fault = FLOE_SIM_E503, .kinds = FLOE_SIM_KIND(FLOE_STORE_PUT)});
    struct rig_op *a = rig_append(r, tp, 1, "a"), *b = rig_append(r, tp, -1, "b");
    rig_await(a);
    assert_int_equal(a->a.err.code, FLOE_OK);
    assert_int_equal(a->a.base_offset, 0);
    assert_int_equal(rig_hw(r, tp), 0); /* provisional */
    assert_int_equal(floe_sim_disk_entries(cfg.disk, &durable), 1);
    assert_int_equal(durable, 1);
    rig_run(w, 1000000);
    assert_false(b->done);
    floe_sim_bucket_heal(w->bucket);
    rig_await(b);
    assert_int_equal(rig_hw(r, tp), 2);
    rig_run(w, 1000000);
    assert_int_equal(floe_sim_disk_entries(cfg.disk, &durable), 0); /* committed: forgotten */
    rig_op_free(a);
    rig_op_free(b);
    rig_free(&r);
    rig_world_destroy(&w);
}

static void acks_1_waits_for_the_store_when_the_tier_fails(void **state)
{
    (void)state;
    struct rig_world *w = rig_world_create(2);
    struct rig_config cfg = {.tier = true, .disk = floe_sim_disk_create(w->sim)};
    struct rig *r = rig_create(w, &cfg);
    struct floe_tp tp = rig_tp(1, 0);
    rig_open(r);
    rig_new(r, tp);
    floe_sim_disk_fail(cfg.disk, FLOE_ENOSPACE);
    struct rig_op *a = rig_append(r, tp, 1, "a");
    rig_run(w, 1500);
    assert_false(a->done);
    rig_await(a);
    assert_int_equal(a->a.err.code, FLOE_OK);
    assert_int_equal(rig_hw(r, tp), 1);
    assert_int_equal(r->noted, 1);
    assert_int_equal(r->note.code, FLOE_ENOSPACE);
    rig_op_free(a);
    rig_free(&r);
    rig_world_destroy(&w);
}

/* A store that is faster than the tier: what the tier has still to write counts as pending, where it slows
 * producers down; the cache takes no more than its limit of it. */
static void what_the_tier_has_not_written_yet_stays_pending(void **state)
{
    (void)state;
    struct rig_world *w = rig_world_create(7);
    struct rig_config cfg = {
        .tier = true, .disk = floe_sim_disk_create(w->sim), .pending = 4u << 20, .cache = 256u << 10};
    struct rig *r = rig_create(w, &cfg);
    struct floe_tp tp = rig_tp(1, 0);
    struct rig_op *op[100];
    rig_open(r);
    rig_new(r, tp);
    floe_sim_disk_speed(cfg.disk, 1000000, 0);
    for (int i = 0; i < 100; i++) {
        op[i] = rig_append_full(r, tp, 1, "x", -1, -1, -1, 1, 10000);
        rig_await(op[i]); /* by the commit */
        assert_int_equal(op[i]->a.err.code, FLOE_OK);
        assert_in_range(floe_budget_used(&r->cache), 0, (256u << 10) + 20000);
    }
    assert_int_equal(rig_hw(r, tp), 100);
    assert_in_range(floe_budget_used(&r->pending), 500000, 4u << 20);
    floe_sim_disk_speed(cfg.disk, 0, 0);
    rig_run(w, 120000000);
    assert_int_equal(floe_budget_used(&r->pending), 0);
    assert_in_range(floe_budget_used(&r->cache), 0, 256u << 10);
    assert_int_equal(floe_sim_disk_entries(cfg.disk, &(size_t){0}), 0);
    for (int i = 0; i < 100; i++)
        rig_op_free(op[i]);
    rig_free(&r);
    rig_world_destroy(&w);
}

/* 300 batches of 10 kB against a store that is away, with 1 MiB of memory. */
static void spill_and_drain(bool all, uint64_t tier_limit, int *refused_out)
{
    struct rig_world *w = rig_world_create(3);
    struct rig_config cfg = {.tier = true,
                             .disk = floe_sim_disk_create(w->sim),
                             .pending = 1u << 20,
                             .segment_bytes = 50000,
                             .tier_limit = tier_limit};
    struct rig *r = rig_create(w, &cfg);
    struct floe_tp tp = rig_tp(1, 0);
    struct rig_op *op[300];
    char value[24];
    int refused = 0;
    rig_open(r);
    rig_new(r, tp);
    floe_sim_bucket_rule(
        w->bucket, &(struct floe_sim_rule){.fault = FLOE_SIM_E503, .kinds = FLOE_SIM_KIND(FLOE_STORE_PUT)});
    for (int i = 0; i < 300; i++) {
        snprintf(value, sizeof value, "v%d", i - refused);
        op[i] = rig_append_full(r, tp, all || i % 3 ? -1 : 1, value, -1, -1, -1, 1, 10000);
        refused += op[i]->refused == FLOE_EAGAIN;
        rig_run(w, 2000);
        assert_in_range(floe_budget_used(&r->pending), 0, (1u << 20) - (100u << 10));
    }
    struct floe_log_stats st;
    floe_log_get_stats(r->log, &st);
    assert_true(st.spilled_bytes > 100000);
    floe_sim_bucket_heal(w->bucket);
    int64_t next = 0;
    for (int i = 0; i < 300; i++) {
        if (op[i]->refused == FLOE_OK) {
            rig_await(op[i]);
            assert_int_equal(op[i]->a.err.code, FLOE_OK);
            assert_int_equal(op[i]->a.base_offset, next);
            next++;
        }
    }
    rig_run(w, 5000000); /* those of acks=1 that were answered long ago are committed too */
    assert_int_equal(rig_hw(r, tp), next);
    for (int64_t i = 0; i < next; i += 17) {
        char want[24];
        snprintf(want, sizeof want, "v%d", (int)i);
        rig_value(r, tp, i, value);
        assert_string_equal(value, want);
    }
    assert_int_equal(rig_read_all(r, tp, 0, 200000, NULL, NULL), next);
    assert_int_equal(floe_sim_disk_entries(cfg.disk, &(size_t){0}), 0);
    assert_int_equal(floe_budget_used(&r->pending), 0);
    for (int i = 0; i < 300; i++)
        rig_op_free(op[i]);
    *refused_out = refused;
    rig_free(&r);
    rig_world_destroy(&w);
}

static void batches_spill_to_the_tier_and_come_back(void **state)
{
    (void)state;
    int refused;
    spill_and_drain(true, 0, &refused);
    assert_int_equal(refused, 0);
    spill_and_drain(false, 0, &refused);
    assert_int_equal(refused, 0);
}

static void a_full_tier_pushes_back(void **state)
{
    (void)state;
    int refused;
    spill_and_drain(true, 600000, &refused);
    assert_in_range(refused, 100, 250);
}

/* Nobody is slowed down below a half; then ever more, but for two seconds at most; without need no more. */
static void a_tier_that_fills_up_slows_senders_down(void **state)
{
    (void)state;
    struct rig_world *w = rig_world_create(7);
    struct rig_config cfg = {.tier = true, .disk = floe_sim_disk_create(w->sim), .tier_limit = 1000000};
    struct rig *r = rig_create(w, &cfg);
    struct floe_tp tp = rig_tp(1, 0);
    struct rig_op *op[90];
    uint64_t longest = 0;
    rig_open(r);
    rig_new(r, tp);
    floe_sim_bucket_rule(
        w->bucket, &(struct floe_sim_rule){.fault = FLOE_SIM_E503, .kinds = FLOE_SIM_KIND(FLOE_STORE_PUT)});
    for (int i = 0; i < 90; i++) {
        bool half = r->tier->bytes > r->tier->limit / 2;
        uint64_t now = floe_loop_now_us(floe_sim_node_loop(r->node));
        op[i] = rig_append_full(r, tp, 1, "v", -1, -1, -1, 1, 10000);
        assert_int_equal(op[i]->refused, FLOE_OK);
        assert_int_equal(op[i]->a.paced_us > now, half);
        uint64_t wait = half ? op[i]->a.paced_us - now : 0;
        assert_true(wait <= 2000000);
        longest = FLOE_MAX(longest, wait);
        rig_run(w, 20000);
        assert_true(op[i]->done);
    }
    assert_true(longest > 1000000);
    assert_int_equal(r->note.code, FLOE_EAGAIN);
    floe_sim_bucket_heal(w->bucket);
    rig_run(w, 12000000);
    assert_int_equal(rig_hw(r, tp), 90);
    struct rig_op *last = rig_append(r, tp, 1, "after");
    assert_int_equal(last->a.paced_us, 0);
    assert_int_equal(r->note.code, FLOE_OK); /* and that is told */
    rig_await(last);
    rig_op_free(last);
    for (int i = 0; i < 90; i++)
        rig_op_free(op[i]);
    rig_free(&r);
    rig_world_destroy(&w);
}

struct waits {
    struct floe_log_waiter w;
    int *order, mine;
};
static void had_room(struct floe_log_waiter *w)
{
    struct waits *x = w->user;
    x->mine = ++*x->order;
}

/* A log that goes lets go of who waits, which they may take back later. */
static void who_waits_outlives_the_log(void **state)
{
    (void)state;
    struct rig_world *w = rig_world_create(9);
    struct rig_config cfg = {.pending = 1u << 20, .segment_bytes = 50000};
    struct rig *r = rig_create(w, &cfg);
    int order = 0;
    struct waits x[2];
    rig_open(r);
    for (int i = 0; i < 2; i++) {
        x[i] = (struct waits){.w = {.fn = had_room, .user = &x[i]}, .order = &order};
        floe_list_init(&x[i].w.link);
    }
    floe_log_wait_room(r->log, 10000, &x[0].w);
    floe_log_wait_data(r->log, &(struct floe_tp){.index = 3}, 0, &x[1].w);
    rig_free(&r);
    for (int i = 0; i < 2; i++) {
        assert_true(floe_list_empty(&x[i].w.link));
        floe_log_wait_cancel(&x[i].w);
    }
    assert_int_equal(order, 0);
    rig_world_destroy(&w);
}

/* What is pushed back gets room in the order of waiting, and nobody passes. */
static void who_waits_for_room_gets_it_in_turn(void **state)
{
    (void)state;
    struct rig_world *w = rig_world_create(8);
    struct rig_config cfg = {.pending = 1u << 20, .segment_bytes = 50000};
    struct rig *r = rig_create(w, &cfg);
    struct floe_tp tp = rig_tp(1, 0);
    struct rig_op *op[200];
    int n = 0, order = 0;
    rig_open(r);
    rig_new(r, tp);
    r->alive = false;
    do
        op[n] = rig_append_full(r, tp, -1, "v", -1, -1, -1, 1, 10000);
    while (op[n]->refused == FLOE_OK && ++n < 200);
    assert_in_range(n, 50, 100);
    rig_op_free(op[n]);
    struct waits x[3];
    for (int i = 0; i < 3; i++) {
        x[i] = (struct waits){.w = {.fn = had_room, .user = &x[i]}, .order = &order};
        floe_list_init(&x[i].w.link);
        floe_log_wait_room(r->log, 10000, &x[i].w);
    }
    floe_log_wait_cancel(&x[1].w);
    struct rig_op *small = rig_append(r, tp, -1, "small");
    assert_int_equal(small->refused, FLOE_EAGAIN); /* it would fit, but others wait */
    rig_op_free(small);
    rig_run(w, 1000000);
    assert_int_equal(order, 0);
    r->alive = true;
    floe_log_session_alive(r->log, true);
    rig_run(w, 5000000);
    assert_int_equal(x[0].mine, 1);
    assert_int_equal(x[1].mine, 0);
    assert_int_equal(x[2].mine, 2);
    small = rig_append(r, tp, -1, "small");
    assert_int_equal(small->refused, FLOE_OK);
    rig_await(small);
    rig_op_free(small);
    for (int i = 0; i < n; i++) {
        rig_await(op[i]);
        rig_op_free(op[i]);
    }
    rig_free(&r);
    rig_world_destroy(&w);
}

static void a_tier_that_loses_a_batch_ends_the_session(void **state)
{
    (void)state;
    struct rig_world *w = rig_world_create(4);
    struct rig_config cfg = {
        .tier = true, .disk = floe_sim_disk_create(w->sim), .pending = 1u << 20, .segment_bytes = 50000};
    struct rig *r = rig_create(w, &cfg);
    struct floe_tp tp = rig_tp(1, 0);
    struct rig_op *op[150];
    rig_open(r);
    rig_new(r, tp);
    r->alive = false;
    for (int i = 0; i < 150; i++) {
        op[i] = rig_append_full(r, tp, -1, "x", -1, -1, -1, 1, 10000);
        assert_int_equal(op[i]->refused, FLOE_OK);
        rig_run(w, 1000);
    }
    r->tier->ops->drop(r->tier, 0, 30); /* behind the log's back */
    r->alive = true;
    floe_log_session_alive(r->log, true);
    rig_run(w, 10000000);
    assert_int_equal(r->lost, 1);
    floe_log_session_over(r->log);
    rig_run(w, 1000000);
    int fenced = 0;
    for (int i = 0; i < 150; i++) {
        assert_true(op[i]->done);
        fenced += op[i]->a.err.code == FLOE_EFENCED;
        rig_op_free(op[i]);
    }
    assert_in_range(fenced, 1, 150);
    assert_int_equal(floe_sim_disk_entries(cfg.disk, &(size_t){0}),
                     0); /* what was not acknowledged is dropped */
    assert_int_equal(floe_budget_used(&r->pending), 0);
    rig_free(&r);
    rig_world_destroy(&w);
}

static void a_session_that_ends_while_spilled_frees_everything(void **state)
{
    (void)state;
    for (int kill = 0; kill < 2; kill++) {
        struct rig_world *w = rig_world_create(5);
        struct rig_config cfg = {.tier = true, .pending = 1u << 20, .segment_bytes = 50000};
        struct rig *r = rig_create(w, &cfg);
        struct floe_tp tp = rig_tp(1, 0);
        struct rig_op *op[100];
        rig_open(r);
        rig_new(r, tp);
        r->alive = false;
        for (int i = 0; i < 100; i++) {
            op[i] = rig_append_full(r, tp, -1, "x", -1, -1, -1, 1, 10000);
            rig_run(w, 300);
        }
        r->alive = true;
        floe_log_session_alive(r->log, true);
        rig_run(w, 200); /* gets and puts of the tier are under way */
        if (!kill)
            floe_log_session_over(r->log);
        rig_free(&r);
        for (int i = 0; i < 100; i++)
            rig_op_free(op[i]);
        rig_world_destroy(&w);
    }
}

/* The store takes segments steadily, so that the commit answers; then it stops for a while. What was sent
 * already goes into the tier as well, and leaves it with its segment. */
static void what_a_stall_put_in_the_tier_leaves_it(void **state)
{
    (void)state;
    struct rig_world *w = rig_world_create(6);
    struct rig_config cfg = {
        .tier = true, .disk = floe_sim_disk_create(w->sim), .segment_bytes = 30000, .puts = 2};
    struct rig *r = rig_create(w, &cfg);
    struct floe_tp tp = rig_tp(1, 0);
    struct rig_op *op[200];
    size_t most = 0;
    rig_open(r);
    rig_new(r, tp);
    for (int i = 0; i < 200; i++) {
        if (i == 100)
            floe_sim_bucket_rule(w->bucket, &(struct floe_sim_rule){.fault = FLOE_SIM_E503,
                                                                    .kinds = FLOE_SIM_KIND(FLOE_STORE_PUT)});
        op[i] = rig_append_full(r, tp, 1, "x", -1, -1, -1, 1, 10000);
        assert_int_equal(op[i]->refused, FLOE_OK);
        rig_run(w, 500);
    }
    for (int i = 0; i < 10; i++) {
        rig_run(w, 100000);
        most = FLOE_MAX(most, floe_sim_disk_entries(cfg.disk, &(size_t){0}));
    }
    assert_in_range(most, 50, 200);
    floe_sim_bucket_heal(w->bucket);
    for (int i = 0; i < 200; i++) {
        rig_await(op[i]);
        assert_int_equal(op[i]->a.err.code, FLOE_OK);
        rig_op_free(op[i]);
    }
    rig_run(w, 5000000);
    assert_int_equal(rig_hw(r, tp), 200);
    assert_int_equal(floe_sim_disk_entries(cfg.disk, &(size_t){0}), 0);
    rig_free(&r);
    rig_world_destroy(&w);
}

static enum floe_reappend_topic topic_is;
static enum floe_reappend_topic what_topic_is(void *user, const struct floe_uuid *topic)
{
    (void)user;
    (void)topic;
    return topic_is;
}

/* What a partition leaves that is let go of is appended again, unless its topic is deleted: nothing of that
 * stays, or the tier could not let go of what comes after it. */
static void a_deleted_topic_leaves_nothing(void **state)
{
    (void)state;
    static const enum floe_reappend_topic is[] = {FLOE_REAPPEND_SEND, FLOE_REAPPEND_DROP};
    for (size_t i = 0; i < FLOE_COUNTOF(is); i++) {
        struct rig_world *w = rig_world_create(11);
        struct rig_config cfg = {.tier = true, .disk = floe_sim_disk_create(w->sim)};
        struct rig *r = rig_create(w, &cfg);
        struct floe_tp tp = rig_tp(1, 0), other = rig_tp(2, 0);
        size_t durable;
        topic_is = is[i];
        r->log->cfg.hooks.reappend_topic = what_topic_is;
        rig_open(r);
        rig_new(r, tp);
        rig_new(r, other);
        floe_sim_bucket_rule(w->bucket, &(struct floe_sim_rule){.fault = FLOE_SIM_E503,
                                                                .kinds = FLOE_SIM_KIND(FLOE_STORE_PUT)});
        struct rig_op *a = rig_append(r, other, -1, "a");
        rig_run(w, 1000); /* its PUT is under way */
        struct rig_op *b = rig_append(r, tp, 1, "b");
        rig_await(b);
        assert_int_equal(floe_sim_disk_entries(cfg.disk, &durable), 1);
        floe_log_drop(r->log, &tp);
        floe_sim_bucket_heal(w->bucket);
        rig_await(a);
        rig_run(w, 1000000);
        assert_int_equal(floe_sim_disk_entries(cfg.disk, &durable), topic_is == FLOE_REAPPEND_SEND ? 1 : 0);
        rig_op_free(a);
        rig_op_free(b);
        rig_free(&r);
        rig_world_destroy(&w);
    }
}

static void the_staging_header_is_checked(void **state)
{
    (void)state;
    struct floe_stage_head h = {.tp = rig_tp(3, 17),
                                .epoch = 4,
                                .session = {5, 6, 0x0123456789abcdef},
                                .offset = 1234567890123,
                                .time_ms = 1700000000000,
                                .acks = 1},
                           got;
    static const uint8_t golden[FLOE_STAGE_HEAD_BYTES] = {
        1,    1,    0,    0,    3,    3,  3,    3,    3,    3,    3,    3,    3,    3,    3,
        3,    3,    3,    3,    3,    17, 0,    0,    0,    4,    0,    0,    0,    5,    0,
        0,    0,    6,    0,    0,    0,  0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x01, 0xcb,
        0x04, 0xfb, 0x71, 0x1f, 0x01, 0,  0,    0x00, 0x68, 0xe5, 0xcf, 0x8b, 0x01, 0,    0};
    uint8_t bytes[FLOE_STAGE_HEAD_BYTES];
    struct floe_error err;
    floe_stage_head_encode(bytes, &h);
    assert_memory_equal(bytes, golden, 60);
    assert_int_equal(floe_stage_head_decode(floe_slice(bytes, sizeof bytes), &got, &err), FLOE_OK);
    assert_true(floe_tp_eq(&got.tp, &h.tp) && floe_session_name_eq(&got.session, &h.session));
    assert_int_equal(got.offset, h.offset);
    assert_int_equal(got.time_ms, h.time_ms);
    assert_int_equal(got.epoch, 4);
    assert_int_equal(got.acks, 1);
    for (size_t n = 0; n < sizeof bytes; n++)
        assert_int_not_equal(floe_stage_head_decode(floe_slice(bytes, n), &got, &err), FLOE_OK);
    for (size_t bit = 0; bit < 8 * sizeof bytes; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        assert_int_not_equal(floe_stage_head_decode(floe_slice(bytes, sizeof bytes), &got, &err), FLOE_OK);
        bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(acks_1_waits_for_the_tier_alone),
        cmocka_unit_test(acks_1_waits_for_the_store_when_the_tier_fails),
        cmocka_unit_test(what_the_tier_has_not_written_yet_stays_pending),
        cmocka_unit_test(batches_spill_to_the_tier_and_come_back),
        cmocka_unit_test(a_full_tier_pushes_back),
        cmocka_unit_test(a_tier_that_fills_up_slows_senders_down),
        cmocka_unit_test(who_waits_for_room_gets_it_in_turn),
        cmocka_unit_test(who_waits_outlives_the_log),
        cmocka_unit_test(a_tier_that_loses_a_batch_ends_the_session),
        cmocka_unit_test(a_session_that_ends_while_spilled_frees_everything),
        cmocka_unit_test(what_a_stall_put_in_the_tier_leaves_it),
        cmocka_unit_test(a_deleted_topic_leaves_nothing),
        cmocka_unit_test(the_staging_header_is_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
