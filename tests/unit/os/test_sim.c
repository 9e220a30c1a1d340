/* The simulator's world: order, clocks, stalls, kills, and that a seed replays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include <floe/base/assert.h>
#include <floe/sim.h>

struct tick {
    struct floe_timer t;
    struct floe_loop *loop;
    uint64_t every, at[64];
    int n, max;
};
static void on_tick(struct floe_timer *t)
{
    struct tick *k = t->user;
    k->at[k->n++] = floe_loop_now_us(k->loop);
    if (k->n < k->max)
        floe_timer_start(k->loop, t, k->every);
}
static void tick_start(struct tick *k, struct floe_loop *l, uint64_t every, int max)
{
    *k = (struct tick){.loop = l, .every = every, .max = max};
    floe_timer_init(&k->t, on_tick, k);
    floe_timer_start(l, &k->t, every);
}

static void timers_run_in_order_of_time(void **state)
{
    (void)state;
    struct floe_sim *sim = floe_sim_create(1);
    struct floe_sim_node *n = floe_sim_node_create(sim, "a");
    struct floe_loop *l = floe_sim_node_loop(n);
    struct tick a, b;
    uint64_t zero = floe_loop_now_us(l);
    tick_start(&a, l, 300, 3);
    tick_start(&b, l, 1000, 1);
    floe_sim_run_for(sim, 950);
    assert_int_equal(a.n, 3);
    assert_int_equal(b.n, 0);
    assert_int_equal(a.at[2] - zero, 900);
    floe_timer_start(l, &b.t, 10); /* moves it */
    floe_sim_run_for(sim, 10);
    assert_int_equal(b.n, 1);
    assert_false(floe_timer_armed(&b.t));
    floe_sim_destroy(&sim);
}

static int posted[4], posted_n;
static void on_task(struct floe_task *t)
{
    posted[posted_n++] = (int)(intptr_t)t->user;
}
static void tasks_run_later_in_order(void **state)
{
    (void)state;
    struct floe_sim *sim = floe_sim_create(1);
    struct floe_sim_node *n = floe_sim_node_create(sim, "a");
    struct floe_task t[3] = {
        {on_task, (void *)0, NULL}, {on_task, (void *)1, NULL}, {on_task, (void *)2, NULL}};
    posted_n = 0;
    for (int i = 0; i < 3; i++)
        floe_loop_post(floe_sim_node_loop(n), &t[i]);
    assert_int_equal(posted_n, 0);
    floe_sim_run_for(sim, 0);
    assert_int_equal(posted_n, 3);
    for (int i = 0; i < 3; i++)
        assert_int_equal(posted[i], i);
    floe_sim_destroy(&sim);
}

static void a_clock_may_run_fast(void **state)
{
    (void)state;
    struct floe_sim *sim = floe_sim_create(1);
    struct floe_sim_node *n = floe_sim_node_create(sim, "a");
    struct floe_loop *l = floe_sim_node_loop(n);
    struct tick a;
    uint64_t zero = floe_loop_now_us(l);
    tick_start(&a, l, 1000000, 1);
    floe_sim_node_clock(n, 1100000, 5000);
    floe_sim_run_for(sim, 909090);
    assert_int_equal(a.n, 0);
    floe_sim_run_for(sim, 1);
    assert_int_equal(a.n, 1);
    assert_true(floe_loop_now_us(l) - zero >= 1000000);
    floe_sim_destroy(&sim);
}

static void a_stalled_node_runs_nothing(void **state)
{
    (void)state;
    for (int stands = 0; stands < 2; stands++) {
        struct floe_sim *sim = floe_sim_create(1);
        struct floe_sim_node *n = floe_sim_node_create(sim, "a"), *m = floe_sim_node_create(sim, "b");
        struct tick a, b;
        uint64_t zero = floe_loop_now_us(floe_sim_node_loop(n));
        tick_start(&a, floe_sim_node_loop(n), 1000, 1);
        tick_start(&b, floe_sim_node_loop(m), 1000, 5);
        floe_sim_node_stall(n, 5000, stands);
        floe_sim_run_for(sim, 4999);
        assert_int_equal(a.n, 0);
        assert_int_equal(b.n, 4);
        floe_sim_run_for(sim, 1);
        assert_int_equal(a.n, stands ? 0 : 1);
        floe_sim_run_for(sim, 1000);
        assert_int_equal(a.n, 1);
        assert_int_equal(a.at[0] - zero, stands ? 1000 : 5000);
        floe_sim_destroy(&sim);
    }
}

static void a_killed_node_is_silent(void **state)
{
    (void)state;
    struct floe_sim *sim = floe_sim_create(1);
    struct floe_sim_node *n = floe_sim_node_create(sim, "a");
    struct floe_loop *l = floe_sim_node_loop(n);
    struct tick a;
    struct floe_task t = {on_task, NULL, NULL};
    posted_n = 0;
    tick_start(&a, l, 1000, 1);
    floe_loop_post(l, &t);
    floe_sim_node_kill(n);
    assert_false(floe_timer_armed(&a.t));
    floe_timer_stop(&a.t);
    floe_timer_start(l, &a.t, 1);
    assert_false(floe_timer_armed(&a.t));
    floe_sim_run_for(sim, 10000);
    assert_int_equal(a.n + posted_n, 0);
    floe_sim_destroy(&sim);
}

static uint64_t run(uint64_t seed)
{
    struct floe_sim *sim = floe_sim_create(seed);
    struct tick t[3];
    for (int i = 0; i < 3; i++) {
        char name[8];
        snprintf(name, sizeof name, "n%d", i);
        struct floe_sim_node *n = floe_sim_node_create(sim, name);
        tick_start(&t[i], floe_sim_node_loop(n), 100 + floe_rng_below(&floe_sim_node_loop(n)->rng, 1000), 9);
    }
    for (int i = 0; i < 20 && floe_sim_step(sim); i++)
        floe_sim_note(sim, NULL, "step %d", i);
    uint64_t h = floe_sim_hash(sim);
    floe_sim_destroy(&sim);
    return h;
}
static void a_seed_replays(void **state)
{
    (void)state;
    assert_true(run(7) == run(7));
    assert_true(run(7) != run(8));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timers_run_in_order_of_time), cmocka_unit_test(tasks_run_later_in_order),
        cmocka_unit_test(a_clock_may_run_fast),        cmocka_unit_test(a_stalled_node_runs_nothing),
        cmocka_unit_test(a_killed_node_is_silent),     cmocka_unit_test(a_seed_replays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
