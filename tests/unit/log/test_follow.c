/* Views: committed data of another's partition, by following its chain. What counts is proven key by key. */
#include "floe_cmocka.h"
#include "log_rig.h"

#include <floe/base/assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "log/follow_int.h"

static void put(struct rig *r, struct floe_tp tp, const char *prefix, int i)
{
    char value[24];
    snprintf(value, sizeof value, "%s%d", prefix, i);
    struct rig_op *op = rig_append(r, tp, -1, value);
    rig_await(op);
    assert_int_equal(op->a.err.code, FLOE_OK);
    rig_op_free(op);
}

/* One segment each. */
static void fill(struct rig *r, struct floe_tp tp, const char *prefix, int from, int to)
{
    for (int i = from; i < to; i++)
        put(r, tp, prefix, i);
}

static void expect(struct rig *r, struct floe_tp tp, int64_t offset, const char *want)
{
    char value[24];
    r->view = true;
    rig_value(r, tp, offset, value);
    assert_string_equal(value, want);
}

struct world {
    struct rig_world *w;
    struct rig *a, *b;
};
static struct world start(uint64_t seed)
{
    struct world x = {.w = rig_world_create(seed)};
    x.a = rig_create(x.w, NULL);
    x.b = rig_create(x.w, NULL);
    rig_open(x.a);
    rig_open(x.b);
    return x;
}
static void end(struct world *x)
{
    if (x->a)
        rig_free(&x->a);
    rig_free(&x->b);
    rig_world_destroy(&x->w);
}

static bool remove_key(struct world *x, const struct floe_session_name *s, uint64_t seq)
{
    char key[FLOE_CHAIN_KEY_MAX];
    floe_chain_key(key, s, seq);
    return floe_sim_bucket_delete(x->w->bucket, key);
}

/* What the holder has committed is read through another broker, and what it commits then. */
static void test_follows(void **state)
{
    (void)state;
    struct world x = start(1);
    struct floe_tp tp = rig_tp(1, 0), other = rig_tp(1, 1);
    rig_new_many(x.a, 2);
    fill(x.a, tp, "v", 0, 20);
    put(x.a, other, "o", 0);
    assert_int_equal(rig_view(x.b, tp), 20); /* not served before it has caught up */
    expect(x.b, tp, 0, "v0");
    expect(x.b, tp, 19, "v19");
    assert_true(rig_view_reaches(x.b, other, 1, 5000000));
    fill(x.a, tp, "v", 20, 40);
    assert_true(rig_view_reaches(x.b, tp, 40, 5000000));
    expect(x.b, tp, 39, "v39");
    struct floe_followed f[2];
    assert_int_equal(floe_log_followed(x.b->log, f, 2), 1); /* one chain, whatever number of views */
    assert_int_equal(f[0].views, 2);
    assert_int_equal(f[0].proven, floe_log_committed(x.a->log));
    end(&x);
}

/* A record that tells of committed keys: the view starts there, with what the footers below hold. */
static void test_starts_from_record(void **state)
{
    (void)state;
    struct world x = start(2);
    struct floe_tp tp = rig_tp(1, 0);
    rig_new(x.a, tp);
    fill(x.a, tp, "v", 0, 30);
    rig_record(x.a, floe_log_committed(x.a->log));
    assert_int_equal(rig_view(x.b, tp), 30);
    expect(x.b, tp, 29, "v29");
    end(&x);
}

/* Waiters are told; a position past the end is no answer but an error of its own. */
struct told {
    struct floe_log_waiter w;
    int n;
};
static void on_told(struct floe_log_waiter *w)
{
    ((struct told *)w->user)->n++;
}
static void test_waits(void **state)
{
    (void)state;
    struct world x = start(3);
    struct floe_tp tp = rig_tp(1, 0);
    rig_new(x.a, tp);
    put(x.a, tp, "v", 0);
    rig_record(x.a, floe_log_committed(x.a->log));
    assert_int_equal(rig_view(x.b, tp), 1);
    struct told t = {.w = {.fn = on_told}};
    t.w.user = &t;
    floe_list_init(&t.w.link);
    floe_log_wait_view(x.b->log, &tp, 1, &t.w);
    rig_run(x.w, 3000000);
    assert_int_equal(t.n, 0);
    put(x.a, tp, "v", 1);
    rig_run(x.w, 3000000); /* a waiter keeps the chain followed, though nobody asks for the view meanwhile */
    assert_int_equal(t.n, 1);
    struct floe_log_read rd = {.tp = tp, .view = true, .offset = 3, .max_bytes = 1000};
    assert_true(floe_log_read(x.b->log, &rd));
    assert_int_equal(rd.err.code, FLOE_EINVAL);
    end(&x);
}

/* A hole below the span's first key: nothing above it counts, though the span itself has none. */
static void test_hole_below_span(void **state)
{
    (void)state;
    struct world x = start(4);
    struct floe_tp old = rig_tp(1, 0), young = rig_tp(1, 1);
    rig_new(x.a, old);
    fill(x.a, old, "o", 0, 6);
    uint64_t first = floe_log_next_key(x.a->log);
    rig_new(x.a, young);
    rig_lease(x.w, young)->spans[0].first = first;
    fill(x.a, young, "y", 0, 3);
    rig_record(x.a, 2);
    assert_true(remove_key(&x, &x.a->session, 4));
    for (int i = 0; i < 300; i++) {
        assert_true(rig_view(x.b, young) == 0);
        assert_true(rig_view(x.b, old) <= 4);
        rig_run(x.w, 20000);
    }
    assert_true(rig_view(x.b, old) >= 3);
    end(&x);
}

/* Nothing counts from a seal on. */
static void test_seal_ends(void **state)
{
    (void)state;
    struct world x = start(5);
    struct floe_tp tp = rig_tp(1, 0);
    rig_new(x.a, tp);
    fill(x.a, tp, "v", 0, 10);
    int64_t hw = rig_hw(x.a, tp);
    assert_int_equal(hw, 10);
    uint64_t at = floe_log_committed(x.a->log) - 3;
    assert_true(remove_key(&x, &x.a->session, at));
    assert_int_equal(rig_seal(x.w, &x.a->session), at);
    assert_true(rig_view_reaches(x.b, tp, 7, 5000000));
    for (int i = 0; i < 100; i++) {
        assert_int_equal(rig_view(x.b, tp), 7);
        rig_run(x.w, 100000);
    }
    struct floe_followed f;
    assert_int_equal(floe_log_followed(x.b->log, &f, 1), 1);
    assert_true(f.ended && f.lag_us == 0);
    end(&x);
}

/* The holder dies and another takes over: the view goes on in the new chain, and never back. */
static void test_takeover(void **state)
{
    (void)state;
    for (uint64_t seed = 10; seed < 20; seed++) {
        struct world x = start(seed);
        struct rig *c = rig_create(x.w, NULL);
        struct floe_tp tp = rig_tp(1, 0);
        rig_open(c);
        rig_new(x.a, tp);
        fill(x.a, tp, "v", 0, 10 + (int)seed);
        if (seed % 2)
            rig_record(x.a, 5);
        if (seed % 3 == 0)
            assert_true(rig_view_reaches(x.b, tp, 10 + (int64_t)seed, 5000000));
        else
            (void)rig_view(x.b, tp);
        struct floe_session_name dead = x.a->session;
        rig_free(&x.a);
        rig_take(c, &dead, rig_seal(x.w, &dead));
        rig_await_serving(c, tp);
        if (seed % 4)
            floe_log_leases_changed(x.b->log);
        int64_t last = 0;
        for (int i = 0; i < 20; i++) {
            put(c, tp, "w", i);
            int64_t hw = rig_view(x.b, tp);
            assert_true(hw >= last && hw <= rig_hw(c, tp));
            last = hw;
        }
        assert_true(rig_view_reaches(x.b, tp, 30 + (int64_t)seed, 5000000));
        expect(x.b, tp, 0, "v0");
        expect(x.b, tp, 29 + (int64_t)seed, "w19");
        struct floe_partition *p;
        int64_t e0 = -1;
        assert_int_equal(floe_log_view(x.b->log, &tp, &p), FLOE_VIEW_SERVING);
        assert_int_equal(floe_partition_epoch_end(p, 0, &e0), 0);
        assert_int_equal(e0, 10 + (int64_t)seed);
        assert_int_equal(floe_partition_epoch(p), 1);
        rig_free(&c);
        end(&x);
    }
}

static void move(struct rig *from, struct rig *to, struct floe_tp tp)
{
    uint32_t stopped = from->stopped;
    floe_log_stop(from->log, &tp);
    while (from->stopped == stopped)
        rig_run(from->w, 1000);
    rig_move(from, to, tp);
}

/* Followed, led, and followed again: the old view does not come back, which ended before what was led. */
static void test_led_between(void **state)
{
    (void)state;
    struct world x = start(21);
    struct floe_tp tp = rig_tp(1, 0);
    struct floe_log_stats st;
    rig_new(x.a, tp);
    fill(x.a, tp, "v", 0, 10);
    assert_true(rig_view_reaches(x.b, tp, 10, 5000000));
    move(x.a, x.b, tp);
    rig_await_serving(x.b, tp);
    floe_log_get_stats(x.b->log, &st);
    assert_int_equal(st.views, 0);
    fill(x.b, tp, "w", 0, 10);
    move(x.b, x.a, tp);
    struct floe_partition *p;
    enum floe_view_state s = FLOE_VIEW_BUILDING;
    for (int i = 0; i < 10000 && s != FLOE_VIEW_SERVING; i++, rig_run(x.w, 1000)) {
        s = floe_log_view(x.b->log, &tp, &p);
        assert_true(!p || floe_partition_high_watermark(p) >= 20);
    }
    assert_int_equal(s, FLOE_VIEW_SERVING);
    expect(x.b, tp, 19, "w9");
    end(&x);
}

/* Nobody reads: nothing is fetched. Long unused: the view goes. */
static void test_disuse(void **state)
{
    (void)state;
    struct world x = start(6);
    struct floe_tp tp = rig_tp(1, 0);
    struct floe_log_stats st;
    rig_new(x.a, tp);
    fill(x.a, tp, "v", 0, 5);
    assert_true(rig_view_reaches(x.b, tp, 5, 5000000));
    uint32_t gets = x.w->gets;
    rig_run(x.w, 5000000);
    assert_in_range(x.w->gets - gets, 3, 20); /* polls, with pauses */
    rig_run(x.w, 1000000);
    gets = x.w->gets;
    rig_run(x.w, 20000000);
    assert_int_equal(x.w->gets, gets);
    rig_run(x.w, 20000000);
    floe_log_get_stats(x.b->log, &st);
    assert_int_equal(st.views, 0);
    assert_int_equal(floe_log_followed(x.b->log, NULL, 0), 0);
    assert_true(rig_view_reaches(x.b, tp, 5, 5000000));
    end(&x);
}

/* A view that is read for as long as its chain grows does not grow with it. */
static void test_long_use(void **state)
{
    (void)state;
    struct world x = start(21);
    struct floe_tp tp = rig_tp(1, 0);
    size_t most = 0;
    rig_new(x.a, tp);
    for (int i = 0; i < 12000; i += 100) {
        fill(x.a, tp, "v", i, i + 100);
        assert_true(rig_view_reaches(x.b, tp, i + 100, 5000000));
        most = FLOE_MAX(most, floe_index_memory(floe_follow_get(x.b->log, &tp)->index));
    }
    assert_true(most <= 2 * FOLLOW_INDEX_BYTES);
    expect(x.b, tp, 0, "v0");
    expect(x.b, tp, 5000, "v5000");
    expect(x.b, tp, 11999, "v11999");
    end(&x);
}

static int64_t view_start(struct world *x, struct floe_tp tp)
{
    struct floe_partition *p;
    assert_int_equal(floe_log_view(x->b->log, &tp, &p), FLOE_VIEW_SERVING);
    return floe_partition_log_start(p);
}

/* What DeleteRecords took is not served by a view that was there before: its log start is the one that the
 * lease tells of, and a state that is built anew keeps it. */
static void test_log_start(void **state)
{
    (void)state;
    struct world x = start(11);
    struct floe_tp tp = rig_tp(1, 0);
    rig_new(x.a, tp);
    fill(x.a, tp, "v", 0, 20);
    assert_true(rig_view_reaches(x.b, tp, 20, 5000000));
    assert_int_equal(view_start(&x, tp), 0);
    uint32_t published = x.a->published;
    floe_log_want_start(x.a->log, &tp, 12);
    rig_run(x.w, 1000000);
    assert_int_equal(x.a->published, published + 1);
    assert_int_equal(view_start(&x, tp), 12);
    expect(x.b, tp, 12, "v12");
    struct floe_log_read rd = {.tp = tp, .view = true, .offset = 11, .max_bytes = 1000};
    assert_true(floe_log_read(x.b->log, &rd));
    assert_int_equal(rd.err.code, FLOE_EINVAL);
    struct rig *c = rig_create(x.w, NULL);
    rig_open(c);
    move(x.a, c, tp);
    rig_await_serving(c, tp);
    put(c, tp, "w", 0);
    assert_true(rig_view_reaches(x.b, tp, 21, 5000000));
    assert_int_equal(view_start(&x, tp), 12);
    rig_free(&c);
    end(&x);
}

/* Nor by one that was behind when the lease told of it. */
static void test_log_start_ahead(void **state)
{
    (void)state;
    struct world x = start(12);
    struct floe_tp tp = rig_tp(1, 0);
    rig_new(x.a, tp);
    fill(x.a, tp, "v", 0, 20);
    assert_true(rig_view_reaches(x.b, tp, 20, 5000000));
    floe_sim_bucket_rule(x.w->bucket, &(struct floe_sim_rule){.fault = FLOE_SIM_LOST_REQUEST,
                                                              .node = x.b->node,
                                                              .kinds = FLOE_SIM_KIND(FLOE_STORE_GET)});
    fill(x.a, tp, "v", 20, 40);
    floe_log_want_start(x.a->log, &tp, 30);
    rig_run(x.w, 1000000);
    assert_int_equal(rig_view(x.b, tp), 20);
    assert_int_equal(view_start(&x, tp), 20);
    floe_sim_bucket_heal(x.w->bucket);
    assert_true(rig_view_reaches(x.b, tp, 40, 20000000));
    assert_int_equal(view_start(&x, tp), 30);
    expect(x.b, tp, 30, "v30");
    struct floe_log_read rd = {.tp = tp, .view = true, .offset = 29, .max_bytes = 1000};
    assert_true(floe_log_read(x.b->log, &rd));
    assert_int_equal(rd.err.code, FLOE_EINVAL);
    end(&x);
}

/* Without a lease there is no view; one that goes takes the view along. */
static void test_no_lease(void **state)
{
    (void)state;
    struct world x = start(7);
    struct floe_tp tp = rig_tp(1, 0), none = rig_tp(2, 0);
    struct floe_partition *p;
    rig_new(x.a, tp);
    put(x.a, tp, "v", 0);
    assert_int_equal(floe_log_view(x.b->log, &none, &p), FLOE_VIEW_NONE);
    assert_true(rig_view_reaches(x.b, tp, 1, 5000000));
    x.w->leases[0].tp = none;
    assert_int_equal(floe_log_view(x.b->log, &tp, &p), FLOE_VIEW_NONE);
    struct floe_log_read rd = {.tp = tp, .view = true, .max_bytes = 1000};
    assert_true(floe_log_read(x.b->log, &rd));
    assert_int_equal(rd.err.code, FLOE_ENOTHOLDER);
    end(&x);
}

/* Keys that are known to be committed have gone, because a checkpoint covers them: built anew from that. */
static void test_gone_below_checkpoint(void **state)
{
    (void)state;
    struct world x = start(8);
    struct floe_tp tp = rig_tp(1, 0);
    rig_new(x.a, tp);
    fill(x.a, tp, "v", 0, 10);
    assert_true(rig_view_reaches(x.b, tp, 10, 5000000));
    rig_run(x.w, 10000000); /* the chain is not followed any more */
    fill(x.a, tp, "v", 10, 20);
    floe_checkpoint_want(floe_partition_get(x.a->log, &tp));
    put(x.a, tp, "v", 20);
    rig_run(x.w, 1000000);
    uint64_t ckpt = rig_lease(x.w, tp)->ckpt.seq;
    assert_true(ckpt > 12);
    put(x.a, tp, "v", 21);
    assert_true(remove_key(&x, &x.a->session, 11)); /* nothing is read of it: its footer is what counts */
    rig_record(x.a, floe_log_committed(x.a->log));
    assert_true(rig_view_reaches(x.b, tp, 22, 10000000));
    expect(x.b, tp, 21, "v21");
    end(&x);
}

/* Errors of the store: the view waits, and goes on. */
static void test_store_trouble(void **state)
{
    (void)state;
    struct world x = start(9);
    struct floe_tp tp = rig_tp(1, 0);
    rig_new(x.a, tp);
    fill(x.a, tp, "v", 0, 5);
    struct floe_sim_rule bad = {
        .fault = FLOE_SIM_E503, .node = x.b->node, .kinds = FLOE_SIM_KIND(FLOE_STORE_GET)};
    floe_sim_bucket_rule(x.w->bucket, &bad);
    struct floe_partition *p;
    for (int i = 0; i < 50; i++) {
        if (floe_log_view(x.b->log, &tp, &p) == FLOE_VIEW_SERVING)
            assert_int_equal(floe_partition_high_watermark(p), 0);
        rig_run(x.w, 100000);
    }
    floe_sim_bucket_heal(x.w->bucket);
    struct floe_sim_rule flip = {.fault = FLOE_SIM_FLIPPED, .node = x.b->node, .times = 5};
    floe_sim_bucket_rule(x.w->bucket, &flip);
    assert_true(rig_view_reaches(x.b, tp, 5, 20000000));
    expect(x.b, tp, 4, "v4");
    end(&x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_follows),       cmocka_unit_test(test_starts_from_record),
        cmocka_unit_test(test_waits),         cmocka_unit_test(test_hole_below_span),
        cmocka_unit_test(test_seal_ends),     cmocka_unit_test(test_takeover),
        cmocka_unit_test(test_led_between),   cmocka_unit_test(test_disuse),
        cmocka_unit_test(test_log_start),     cmocka_unit_test(test_log_start_ahead),
        cmocka_unit_test(test_no_lease),      cmocka_unit_test(test_long_use),
        cmocka_unit_test(test_store_trouble), cmocka_unit_test(test_gone_below_checkpoint),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
