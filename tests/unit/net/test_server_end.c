/* A connection that got a bad frame: what came before is answered, whatever comes behind it and whatever the
 * client does meanwhile, and then it is gone. */
#include "server_rig.h"

static const char bad[] = "\0\0\0\x0a\0\x63\0\0\0\0\0\1\0\0";

static int dial_with_bad(struct rig *r, const char *first, const char *second)
{
    struct floe_writer w;
    floe_writer_init(&w, 1 << 20);
    frame_metadata(&w, 1, first);
    if (second)
        frame_metadata(&w, 2, second);
    floe_write(&w, bad, sizeof bad - 1);
    int fd = dial(r->listen[0].port);
    put(fd, w.p, w.n);
    floe_writer_fini(&w);
    return fd;
}

/* A request may wait for very long: nobody does any more. */
static void a_client_that_leaves_is_seen(void **state)
{
    struct rig r;
    (void)state;
    rig_start(&r, 1 << 20, 100000);
    rig_open(&r);
    int fd[2] = {dial_with_bad(&r, "hold", NULL), dial_with_bad(&r, "hold", "x")};
    WAIT_FOR(k.held == 2);
    close(fd[0]);
    WAIT_FOR(k.cancelled == 1);
    put(fd[1], bad, sizeof bad - 1);
    close(fd[1]);
    WAIT_FOR(k.cancelled == 2);
    rig_end(&r);
}

/* A socket that is closed with bytes that nobody has read takes back what its client has not got yet. */
static void what_comes_behind_takes_no_answer_away(void **state)
{
    struct rig r;
    static char behind[1 << 18];
    (void)state;
    rig_start(&r, 1 << 20, 100000);
    rig_open(&r);
    const struct floe_server_stats *s = floe_server_stats(r.server);
    for (uint32_t i = 0; i < 5; i++) {
        int fd = dial_with_bad(&r, "big", "hold");
        WAIT_FOR(k.held == i + 1);
        put(fd, behind, sizeof behind);
        WAIT_FOR(s->bytes_in > (i + 1) * sizeof behind);
        release(i);
        assert_int_equal(next_answer(fd, NULL), 1);
        assert_int_equal(next_answer(fd, NULL), 2);
        expect_closed(fd);
    }
    rig_end(&r);
}

/* Muted, or in the middle of being closed. */
static void it_ends_in_any_state(void **state)
{
    struct rig r;
    (void)state;
    rig_start(&r, 1 << 20, 100000);
    rig_open(&r);
    int fd = dial_with_bad(&r, "mute", NULL);
    assert_int_equal(next_answer(fd, NULL), 1);
    expect_closed(fd);
    fd = dial_with_bad(&r, "close", "x");
    expect_closed(fd);
    fd = dial_with_bad(&r, "hold", "close");
    WAIT_FOR(k.held == 1);
    release(0);
    assert_int_equal(next_answer(fd, NULL), 1);
    expect_closed(fd);
    fd = dial_with_bad(&r, "hold", "hold"); /* the server is closed over it */
    WAIT_FOR(k.held == 2);
    rig_end(&r);
    while (next_answer(fd, NULL) != -1)
        ;
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_client_that_leaves_is_seen),
        cmocka_unit_test(what_comes_behind_takes_no_answer_away),
        cmocka_unit_test(it_ends_in_any_state),
    };
    rig_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
