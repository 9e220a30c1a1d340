/* ctest labels: threads */
/* The listeners within their memory: floods, a full budget, slow readers. */
#include "server_rig.h"

/* Hundreds of connections declare 100 MiB and send little. */
static void test_flood(void **state)
{
    enum { N = 200, SOME = 30000 };
    struct rig r;
    static int fd[N];
    static char zero[SOME];
    (void)state;
    rig_start(&r, 4 << 20, 100 << 20);
    rig_open(&r);
    for (int i = 0; i < N; i++) {
        fd[i] = dial(r.listen[0].port);
        put(fd[i], "\6\x40\0\0\0\0\0\x09", 8);
    }
    while (floe_server_stats(r.server)->bytes_in < 8 * N || floe_budget_used(&r.budget) < 4 * N)
        nap();
    expect_service(&r);
    assert_in_range(r.budget.peak, 0, 4 << 20);
    assert_in_range(floe_budget_used(&r.budget), 4 * N, 8 * N + 4096);
    /* They go on until the budget is full: it never holds more than the one that is over it brings. */
    for (int i = 0; i < N; i++)
        put(fd[i], zero, SOME);
    while (floe_server_stats(r.server)->paused == 0)
        nap();
    assert_in_range(floe_budget_used(&r.budget), 0, (4 << 20) + SOME);
    expect_service(&r); /* small requests pass */
    for (int i = 0; i < N; i++)
        close(fd[i]);
    rig_end(&r);
}

static void test_pause_and_resume(void **state)
{
    struct rig r;
    struct floe_writer w;
    int fd[4];
    (void)state;
    rig_start(&r, 1 << 20, 1 << 20);
    rig_open(&r);
    for (uint32_t i = 0; i < 4; i++) {
        fd[i] = dial(r.listen[0].port);
        floe_writer_init(&w, 1 << 20);
        frame_produce(&w, 1, "hold", 300000, 1);
        put(fd[i], w.p, w.n);
        floe_writer_fini(&w);
        if (i < 3)
            WAIT_FOR(k.held == i + 1);
    }
    while (floe_server_stats(r.server)->paused == 0)
        nap();
    assert_int_equal(counts().held, 3);
    assert_in_range(floe_budget_used(&r.budget), 900000, 1 << 20);
    expect_service(&r);
    release(1); /* its bytes are given back: the fourth comes in whole */
    WAIT_FOR(k.held == 4);
    assert_int_equal(next_answer(fd[1], NULL), 1);
    release(0);
    release(2);
    release(3);
    for (uint32_t i = 0; i < 4; i++) {
        if (i != 1)
            assert_int_equal(next_answer(fd[i], NULL), 1);
        close(fd[i]);
    }
    rig_end(&r);
}

/* Metadata of topics without names: a byte or two each on the wire, and much more in memory. */
static size_t send_names(int fd, const char *what, int32_t n)
{
    struct floe_kafka_MetadataRequest rq;
    struct floe_kafka_MetadataRequest_MetadataRequestTopic *t = calloc((size_t)n, sizeof *t);
    struct floe_writer w;
    struct floe_error err;
    assert_non_null(t);
    floe_kafka_defaults(&floe_kafka_MetadataRequest_desc, &rq);
    for (int32_t i = 0; i < n; i++) {
        floe_kafka_struct_defaults(&floe_kafka_MetadataRequest_MetadataRequestTopic_desc, &t[i]);
        t[i].Name = floe_kstr(i == 0 ? what : "");
    }
    rq.Topics = t;
    rq.Topics_n = n;
    floe_writer_init(&w, 1 << 20);
    assert_int_equal(floe_kafka_request_frame(floe_kafka_api_find(3), 9, 1, floe_kstr("test"), &rq, &w, &err),
                     FLOE_OK);
    put(fd, w.p, w.n);
    floe_writer_fini(&w);
    free(t);
    return (size_t)n * sizeof *t;
}

/* What a request takes once it is decoded counts like its frame, as long as it is inside. */
static void test_decoded(void **state)
{
    struct rig r;
    int fd[2];
    (void)state;
    rig_start(&r, 4 << 20, 1 << 20);
    rig_open(&r);
    fd[0] = dial(r.listen[0].port);
    size_t decoded = send_names(fd[0], "hold", 200000);
    WAIT_FOR(k.held == 1);
    assert_true(decoded > 6000000);
    assert_in_range(floe_budget_used(&r.budget), decoded, decoded + (1 << 20));
    fd[1] = dial(r.listen[0].port);
    (void)send_names(fd[1], "hold", 200000); /* alone it fits */
    while (floe_server_stats(r.server)->paused == 0)
        nap();
    assert_int_equal(counts().held, 1);
    expect_service(&r);
    release(0);
    WAIT_FOR(k.held == 2);
    release(1);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(next_answer(fd[i], NULL), 1);
        close(fd[i]);
    }
    rig_end(&r);
}

static void *produce_once(void *arg)
{
    struct floe_writer w;
    int fd = dial(*(uint16_t *)arg);
    floe_writer_init(&w, 1 << 20);
    frame_produce(&w, 9, "", 600000, 1);
    put(fd, w.p, w.n);
    floe_writer_fini(&w);
    int32_t id = next_answer(fd, NULL);
    close(fd);
    return (void *)(intptr_t)id;
}

/* Frames that together (and even each alone) do not fit the budget block each other for a moment only. */
static void test_overdraft(void **state)
{
    struct rig r;
    pthread_t t[6];
    (void)state;
    rig_start(&r, 500000, 1 << 20);
    rig_open(&r);
    for (int i = 0; i < 6; i++)
        assert_int_equal(pthread_create(&t[i], NULL, produce_once, &r.listen[0].port), 0);
    for (int i = 0; i < 6; i++) {
        void *id;
        pthread_join(t[i], &id);
        assert_int_equal((intptr_t)id, 9);
    }
    assert_in_range(r.budget.peak, 500001, 500000 + 250000 + 700000);
    rig_end(&r);
}

/* A client that has a budget's worth of frames begun and sends no more does not stop the others for ever. */
static void test_overdraft_is_taken_away(void **state)
{
    struct rig r;
    static char zero[450000];
    (void)state;
    rig_start(&r, 500000, 1 << 20);
    rig_open(&r);
    int lazy[2];
    for (int i = 0; i < 2; i++) {
        lazy[i] = dial(r.listen[0].port);
        put(lazy[i], "\0\x0f\0\0\0\0\0\x09", 8);
        put(lazy[i], zero, i == 0 ? sizeof zero : 100000);
    }
    assert_int_equal((intptr_t)produce_once(&r.listen[0].port), 9);
    close(lazy[0]);
    close(lazy[1]);
    rig_end(&r);
}

static void test_slow_reader(void **state)
{
    struct rig r;
    struct floe_writer w;
    uint32_t size;
    (void)state;
    rig_start(&r, 64 << 20, 1 << 20);
    rig_open(&r);
    int fd = dial(r.listen[0].port);
    floe_writer_init(&w, 1 << 20);
    for (int32_t i = 0; i < 80; i++)
        frame_metadata(&w, i, "big");
    put(fd, w.p, w.n);
    floe_writer_fini(&w);
    WAIT_FOR(k.started > 0);
    expect_service(&r);
    for (int32_t i = 0; i < 80; i++) {
        assert_int_equal(next_answer(fd, &size), i);
        assert_true(size > BIG);
    }
    /* And one that never reads goes away with its answers. */
    send_metadata(fd, 1, "big");
    WAIT_FOR(k.started == 82);
    close(fd);
    rig_end(&r);
}

/* Who takes nothing of his answers is closed, sooner where others wait for the memory that they keep. */
static void test_answers_not_taken(void **state)
{
    struct rig r;
    struct floe_writer w;
    (void)state;
    rig_start(&r, 64 << 20, 1 << 20);
    r.answers.limit = 100;
    rig_open(&r);
    int fd = dial(r.listen[0].port);
    floe_writer_init(&w, 1 << 20);
    for (int32_t i = 0; i < 30; i++)
        frame_metadata(&w, i, "big");
    put(fd, w.p, w.n);
    floe_writer_fini(&w);
    WAIT_FOR(k.started > 0);
    for (int tries = 0; tries < 10000 && floe_server_stats(r.server)->connections > 0; tries++)
        nap();
    assert_int_equal(floe_server_stats(r.server)->connections, 0);
    assert_int_equal(floe_budget_used(&r.answers), 0);
    expect_service(&r);
    close(fd);
    rig_end(&r);
}

/* Small requests with large answers, many at once, of which nothing is taken: a few of each client are worked
 * on, and when memory is full its connections are not waited for long. */
static void test_flood_of_answers(void **state)
{
    enum { N = 20, EACH = 60 };
    struct rig r;
    struct floe_writer w;
    int fd[N];
    (void)state;
    rig_start(&r, 4 << 20, 1 << 20);
    rig_open(&r);
    floe_writer_init(&w, 1 << 20);
    for (int32_t i = 0; i < EACH; i++)
        frame_metadata(&w, i, "big");
    for (int i = 0; i < N; i++) {
        fd[i] = dial(r.listen[0].port);
        put(fd[i], w.p, w.n);
    }
    floe_writer_fini(&w);
    WAIT_FOR(k.started >= N);
    for (int tries = 0; tries < 1000 && floe_budget_used(&r.budget) < r.budget.limit; tries++)
        nap();
    for (int tries = 0; tries < 10000 && floe_budget_used(&r.budget) >= r.budget.limit; tries++)
        nap();
    assert_in_range(floe_budget_used(&r.budget), 0, r.budget.limit - 1);
    assert_in_range(counts().started, N, N * EACH / 2); /* what sockets take goes on */
    expect_service(&r);
    for (int i = 0; i < N; i++)
        close(fd[i]);
    rig_end(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flood),       cmocka_unit_test(test_pause_and_resume),
        cmocka_unit_test(test_overdraft),   cmocka_unit_test(test_overdraft_is_taken_away),
        cmocka_unit_test(test_slow_reader), cmocka_unit_test(test_answers_not_taken),
        cmocka_unit_test(test_decoded),     cmocka_unit_test(test_flood_of_answers),
    };
    rig_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
