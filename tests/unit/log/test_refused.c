/* Producers without state after a takeover: each is refused once, lest an earlier batch of it is lost; where
 * there are more of them than can be remembered, all the same each is taken soon. */
#include "floe_cmocka.h"
#include "log_rig.h"

#include "log/log_int.h"

enum { SEQUENCE = 7, PRODUCERS_MAX = FLOE_LOG_REFUSED_MAX + 100, ROUNDS = 4 };

static bool taken(struct rig *r, struct floe_tp tp, int64_t id)
{
    struct rig_op *op = rig_append_full(r, tp, 1, "v", id, 0, SEQUENCE, 1, 0);
    bool yes = op->refused == FLOE_OK;
    if (yes)
        rig_await(op);
    rig_op_free(op);
    return yes;
}

static void play(int producers)
{
    struct rig_world *w = rig_world_create(5);
    struct rig *a = rig_create(w, NULL), *b = rig_create(w, NULL);
    struct floe_tp tp = rig_tp(1, 0);
    bool done[PRODUCERS_MAX] = {false};
    int n = 0, first = -1;
    rig_open(a);
    rig_open(b);
    rig_new(a, tp);
    struct floe_session_name dead = a->session;
    rig_kill(a);
    rig_take(b, &dead, rig_seal(w, &dead));
    rig_await_serving(b, tp);
    for (int round = 0; round < ROUNDS && n < producers; round++) {
        for (int i = 0; i < producers; i++)
            if (!done[i] && taken(b, tp, 1000 + i)) {
                done[i] = true;
                n++;
            }
        if (round == 0)
            first = n;
        rig_run(w, 2000000);
    }
    rig_free(&a);
    rig_free(&b);
    rig_world_destroy(&w);
    assert_int_equal(n, producers);
    assert_int_equal(first,
                     producers > (int)FLOE_LOG_REFUSED_MAX ? producers - (int)FLOE_LOG_REFUSED_MAX : 0);
}

static void few(void **state)
{
    (void)state;
    play(FLOE_LOG_REFUSED_MAX - 24);
}

static void more_than_are_remembered(void **state)
{
    (void)state;
    play(PRODUCERS_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(few), cmocka_unit_test(more_than_are_remembered)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
