/* ctest labels: threads */
#include <floe_cmocka.h>

#include <floe/base/assert.h>
#include <floe/os/work.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

static struct floe_loop_uv *uv;
static struct floe_loop *loop;
static pthread_t loop_thread;

static int setup(void **state)
{
    (void)state;
    loop_thread = pthread_self();
    if (floe_loop_uv_create(&uv, NULL) != FLOE_OK)
        return -1;
    loop = floe_loop_uv_base(uv);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    floe_loop_uv_destroy(&uv);
    return 0;
}

struct job {
    struct floe_work_job base; /* first */
    unsigned in, out;
    bool done;
};
enum { JOBS = 500 };
static struct job jobs[JOBS];
static unsigned n_done, n_want;

static void run(struct floe_work_job *j)
{
    struct job *x = j->user;
    assert_false(pthread_equal(pthread_self(), loop_thread));
    x->out = x->in * 3;
}

static void done(struct floe_work_job *j)
{
    struct job *x = j->user;
    assert_true(pthread_equal(pthread_self(), loop_thread));
    assert_int_equal(x->out, x->in * 3); /* a plain field: visible without a lock */
    assert_false(x->done);
    x->done = true;
    if (++n_done == n_want)
        floe_loop_uv_stop(uv);
}

static void make_jobs(void (*run_fn)(struct floe_work_job *), void (*done_fn)(struct floe_work_job *))
{
    n_done = 0;
    for (unsigned i = 0; i < JOBS; i++)
        jobs[i] = (struct job){.base = {.run = run_fn, .done = done_fn, .user = &jobs[i]}, .in = i};
}

static void every_job_runs_and_is_told(void **state)
{
    (void)state;
    struct floe_work *w = NULL;
    struct floe_error err;
    assert_int_equal(floe_work_create(&w, loop, "floe-test", 4, JOBS, &err), FLOE_OK);
    for (int round = 0; round < 3; round++) {
        make_jobs(run, done);
        n_want = JOBS;
        for (unsigned i = 0; i < JOBS; i++)
            assert_int_equal(floe_work_submit(w, &jobs[i].base), FLOE_OK);
        floe_loop_uv_run(uv);
        assert_int_equal(n_done, JOBS);
        assert_int_equal(floe_work_pending(w), 0);
    }
    floe_work_destroy(&w);
    assert_null(w);
    floe_work_destroy(&w);
}

/* A gate that holds the workers until the test has seen what it wants to see. */
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static void run_at_gate(struct floe_work_job *j)
{
    pthread_mutex_lock(&gate);
    pthread_mutex_unlock(&gate);
    run(j);
}

static void a_full_pool_refuses(void **state)
{
    (void)state;
    struct floe_work *w = NULL;
    assert_int_equal(floe_work_create(&w, loop, "floe-test", 2, 5, NULL), FLOE_OK);
    make_jobs(run_at_gate, done);
    n_want = 6;
    pthread_mutex_lock(&gate);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(floe_work_submit(w, &jobs[i].base), FLOE_OK);
    assert_int_equal(floe_work_submit(w, &jobs[5].base), FLOE_EAGAIN);
    assert_int_equal(floe_work_pending(w), 5);
    pthread_mutex_unlock(&gate);
    while (floe_work_submit(w, &jobs[5].base) == FLOE_EAGAIN)
        sched_yield();
    floe_loop_uv_run(uv);
    assert_int_equal(n_done, 6);
    floe_work_destroy(&w);
}

static unsigned order[JOBS], n_order;
static void run_in_order(struct floe_work_job *j)
{
    struct job *x = j->user;
    order[n_order++] = x->in; /* one worker: no lock */
}

static void one_worker_keeps_the_order_and_silent_jobs_run(void **state)
{
    (void)state;
    struct floe_work *w = NULL;
    assert_int_equal(floe_work_create(&w, loop, "a name that is too long", 1, JOBS, NULL), FLOE_OK);
    make_jobs(run_in_order, NULL);
    n_order = 0;
    for (unsigned i = 0; i < JOBS; i++)
        assert_int_equal(floe_work_submit(w, &jobs[i].base), FLOE_OK);
    floe_work_destroy(&w); /* waits for what was accepted */
    assert_int_equal(n_order, JOBS);
    for (unsigned i = 0; i < JOBS; i++)
        assert_int_equal(order[i], i);
}

static void done_comes_after_destroy_too(void **state)
{
    (void)state;
    struct floe_work *w = NULL;
    assert_int_equal(floe_work_create(&w, loop, "floe-test", 3, JOBS, NULL), FLOE_OK);
    make_jobs(run, done);
    n_want = 50;
    for (unsigned i = 0; i < 50; i++)
        assert_int_equal(floe_work_submit(w, &jobs[i].base), FLOE_OK);
    floe_work_destroy(&w);
    assert_int_equal(n_done, 0);
    floe_loop_uv_run(uv);
    assert_int_equal(n_done, 50);
}

static struct floe_work *again_pool;
static unsigned again_left;
static void done_again(struct floe_work_job *j)
{
    if (again_left-- > 0)
        assert_int_equal(floe_work_submit(again_pool, j), FLOE_OK); /* room for one is enough */
    else
        floe_loop_uv_stop(uv);
}

static void done_may_submit_again(void **state)
{
    (void)state;
    assert_int_equal(floe_work_create(&again_pool, loop, "floe-test", 2, 1, NULL), FLOE_OK);
    make_jobs(run, done_again);
    again_left = 200;
    assert_int_equal(floe_work_submit(again_pool, &jobs[0].base), FLOE_OK);
    floe_loop_uv_run(uv);
    floe_work_destroy(&again_pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_job_runs_and_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(a_full_pool_refuses, setup, teardown),
        cmocka_unit_test_setup_teardown(one_worker_keeps_the_order_and_silent_jobs_run, setup, teardown),
        cmocka_unit_test_setup_teardown(done_comes_after_destroy_too, setup, teardown),
        cmocka_unit_test_setup_teardown(done_may_submit_again, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
