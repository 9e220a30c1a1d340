/* ctest labels: threads */
#include <floe_cmocka.h>

#include <floe/base/assert.h>
#include <floe/os/loop.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <uv.h>

static struct floe_loop_uv *uv;
static struct floe_loop *loop;

static int setup(void **state)
{
    (void)state;
    struct floe_error err;
    if (floe_loop_uv_create(&uv, &err) != FLOE_OK)
        return -1;
    loop = floe_loop_uv_base(uv);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    floe_loop_uv_destroy(&uv);
    floe_loop_uv_destroy(&uv); /* null is fine */
    return uv == NULL ? 0 : -1;
}

static struct floe_timer timers[64];
static size_t fired[256], n_fired;
static size_t stop_after;

static void note(struct floe_timer *t)
{
    assert_false(floe_timer_armed(t));
    assert_true(floe_loop_now_us(loop) >= t->due_us);
    fired[n_fired++] = (size_t)(t - timers);
    if (n_fired == stop_after)
        floe_loop_uv_stop(uv);
}

static void timers_run_in_order_of_due_time(void **state)
{
    (void)state;
    n_fired = 0;
    stop_after = 60;
    for (size_t i = 0; i < 64; i++) {
        floe_timer_init(&timers[i], note, NULL);
        floe_timer_start(loop, &timers[i], 1000000);
        assert_true(floe_timer_armed(&timers[i]));
    }
    /* Moved, in a shuffled order, to times far enough apart that the order is theirs. */
    for (size_t i = 0; i < 64; i++) {
        size_t k = i * 37 % 64;
        floe_timer_start(loop, &timers[k], 5000 + k * 200);
    }
    for (size_t i = 0; i < 4; i++)
        floe_timer_stop(&timers[10 + i * 13]);
    floe_timer_stop(&timers[10]);
    assert_int_equal(n_fired, 0);
    floe_loop_uv_run(uv);
    assert_int_equal(n_fired, 60);
    for (size_t i = 1; i < 60; i++)
        assert_true(timers[fired[i]].due_us >= timers[fired[i - 1]].due_us);
    for (size_t i = 0; i < 60; i++)
        assert_true(fired[i] != 10 && fired[i] != 23 && fired[i] != 36 && fired[i] != 49);
}

static unsigned rearmed;
static void again(struct floe_timer *t)
{
    if (++rearmed < 5)
        floe_timer_start(loop, t, 0);
    else
        floe_loop_uv_stop(uv);
    /* The other one, due in the same turn, is stopped and must not run. */
    floe_timer_stop(&timers[1]);
}

static void a_timer_may_rearm_itself_and_stop_others(void **state)
{
    (void)state;
    rearmed = 0;
    n_fired = 0;
    stop_after = 0;
    floe_timer_init(&timers[0], again, NULL);
    floe_timer_init(&timers[1], note, NULL);
    floe_timer_start(loop, &timers[0], 0);
    floe_timer_start(loop, &timers[1], 0);
    assert_int_equal(rearmed, 0);
    floe_loop_uv_run(uv);
    assert_int_equal(rearmed, 5);
    assert_int_equal(n_fired, 0);
}

/* Equal due times: the order of arming. Far times are capped, not wrapped. */
static void ties_and_far_times(void **state)
{
    (void)state;
    n_fired = 0;
    stop_after = 8;
    for (size_t i = 0; i < 9; i++)
        floe_timer_init(&timers[i], note, NULL);
    for (size_t i = 0; i < 8; i++)
        floe_timer_start(loop, &timers[i], 0);
    for (size_t i = 0; i < 8; i++)
        timers[i].due_us = timers[0].due_us; /* all equal, which keeps the heap a heap */
    floe_timer_start(loop, &timers[8], UINT64_MAX);
    assert_true(timers[8].due_us > floe_loop_now_us(loop) + 1000000);
    floe_loop_uv_run(uv);
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(fired[i], i);
    assert_true(floe_timer_armed(&timers[8]));
    floe_timer_stop(&timers[8]);
}

static void clocks_make_sense(void **state)
{
    (void)state;
    uint64_t a = floe_loop_now_us(loop), b = floe_loop_now_us(loop);
    assert_true(a > 0 && b >= a);
    assert_true(floe_loop_wall_ms(loop) > INT64_C(1700000000000));
    assert_non_null(floe_loop_uv_raw(uv));
    assert_true(floe_rng_u64(&loop->rng) != floe_rng_u64(&loop->rng));
}

struct post {
    struct floe_task task; /* first */
    unsigned thread, n;
};
enum { THREADS = 3, POSTS = 3000 };
static struct post posts[THREADS][POSTS];
static unsigned next_of[THREADS], n_posted;

static void on_post(struct floe_task *t)
{
    struct post *p = t->user;
    assert_int_equal(p->n, next_of[p->thread]); /* first in, first out, for each poster */
    next_of[p->thread]++;
    if (++n_posted == THREADS * POSTS)
        floe_loop_uv_stop(uv);
}

static void *poster(void *arg)
{
    struct post *p = arg;
    for (size_t i = 0; i < POSTS; i++)
        floe_loop_post(loop, &p[i].task);
    return NULL;
}

static void posts_from_threads_arrive_once_and_in_order(void **state)
{
    (void)state;
    n_posted = 0;
    pthread_t t[THREADS];
    for (unsigned k = 0; k < THREADS; k++) {
        next_of[k] = 0;
        for (unsigned i = 0; i < POSTS; i++)
            posts[k][i] = (struct post){.task = {.fn = on_post, .user = &posts[k][i]}, .thread = k, .n = i};
        assert_int_equal(pthread_create(&t[k], NULL, poster, posts[k]), 0);
    }
    floe_loop_uv_run(uv);
    for (unsigned k = 0; k < THREADS; k++)
        pthread_join(t[k], NULL);
    assert_int_equal(n_posted, THREADS * POSTS);
}

static unsigned reposts;
static void repost(struct floe_task *t)
{
    if (++reposts == 3)
        floe_loop_uv_stop(uv);
    else
        floe_loop_post(loop, t);
}

static void a_task_may_post_itself(void **state)
{
    (void)state;
    reposts = 0;
    struct floe_task t = {.fn = repost};
    floe_loop_post(loop, &t);
    assert_int_equal(reposts, 0);
    floe_loop_uv_run(uv);
    assert_int_equal(reposts, 3);
}

static void stop_before_run_counts(void **state)
{
    (void)state;
    floe_loop_uv_stop(uv);
    floe_loop_uv_run(uv); /* comes back */
    struct floe_timer t;
    floe_timer_init(&t, note, NULL);
    floe_timer_start(loop, &t, 1000);
    teardown(NULL);
    assert_false(floe_timer_armed(&t)); /* the loop stopped what was left */
    floe_timer_stop(&t);
    assert_int_equal(setup(NULL), 0);
}

#define BUSY 300
static struct floe_task busy[BUSY];
static unsigned busy_ran, busy_at_timer;

static void work_a_while(struct floe_task *t)
{
    uint64_t until = floe_loop_now_us(loop) + 1000;
    (void)t;
    while (floe_loop_now_us(loop) < until)
        ;
    if (++busy_ran == BUSY)
        floe_loop_uv_stop(uv);
}

static void note_busy(struct floe_timer *t)
{
    (void)t;
    busy_at_timer = busy_ran;
}

/* What many clients ask for at once must not keep the loop from what is due, such as a lease. */
static void timers_come_to_their_turn_between_tasks(void **state)
{
    struct floe_timer due;
    (void)state;
    busy_ran = 0;
    busy_at_timer = BUSY;
    floe_timer_init(&due, note_busy, NULL);
    floe_timer_start(loop, &due, 2000);
    for (size_t i = 0; i < BUSY; i++) {
        busy[i].fn = work_a_while;
        floe_loop_post(loop, &busy[i]);
    }
    floe_loop_uv_run(uv);
    assert_int_equal(busy_ran, BUSY);
    assert_in_range(busy_at_timer, 1, BUSY - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(timers_run_in_order_of_due_time, setup, teardown),
        cmocka_unit_test_setup_teardown(a_timer_may_rearm_itself_and_stop_others, setup, teardown),
        cmocka_unit_test_setup_teardown(ties_and_far_times, setup, teardown),
        cmocka_unit_test_setup_teardown(clocks_make_sense, setup, teardown),
        cmocka_unit_test_setup_teardown(posts_from_threads_arrive_once_and_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(a_task_may_post_itself, setup, teardown),
        cmocka_unit_test_setup_teardown(stop_before_run_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(timers_come_to_their_turn_between_tasks, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
