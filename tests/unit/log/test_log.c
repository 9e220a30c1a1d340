/* The log over the simulated store: append, flush, commit, read; order, ambiguity, seals, lapses. */
#include "floe_cmocka.h"
#include "log_rig.h"

#include <stdlib.h>

static void expect(struct rig *r, struct floe_tp tp, int64_t offset, const char *want)
{
    char got[24];
    rig_value(r, tp, offset, got);
    assert_string_equal(got, want);
}

static void appends_are_answered_after_their_commit_and_read_back(void **state)
{
    (void)state;
    struct rig_world *w = rig_world_create(1);
    struct rig *r = rig_create(w, NULL);
    struct floe_tp tp = rig_tp(1, 0);
    rig_open(r);
    rig_new(r, tp);
    struct rig_op *a = rig_append(r, tp, -1, "a"), *b = rig_append(r, tp, -1, "b");
    assert_int_equal(rig_hw(r, tp), 0);
    rig_await(a);
    rig_await(b);
    assert_int_equal(a->a.err.code, FLOE_OK);
    assert_int_equal(a->a.base_offset, 0);
    assert_int_equal(b->a.base_offset, 1);
    assert_int_equal(rig_hw(r, tp), 2);
    assert_int_equal(w->puts, 1); /* what arrives in one turn travels together */
    expect(r, tp, 0, "a");
    expect(r, tp, 1, "b");
    rig_op_free(a);
    rig_op_free(b);
    rig_free(&r);
    rig_world_destroy(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appends_are_answered_after_their_commit_and_read_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
