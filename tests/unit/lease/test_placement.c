/* Placement: stable values, even load, few moves. */
#include <floe/lease.h>

#include "lease/records.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static struct floe_tp tp_of(uint64_t topic, int32_t index)
{
    struct floe_tp tp = {.index = index};
    floe_put_be64(tp.topic.b, topic * 0x9e3779b97f4a7c15ull);
    floe_put_be64(tp.topic.b + 8, topic);
    return tp;
}

static void load_is_even_and_moves_are_few(void **state)
{
    (void)state;
    enum { NODES = 5, PARTS = 10000 };
    int32_t nodes[NODES] = {1, 2, 3, 7, 40}, count[64] = {0}, moved = 0;
    for (int i = 0; i < PARTS; i++) {
        struct floe_tp tp = tp_of((uint64_t)i / 100, i % 100);
        int32_t owner = floe_placement_owner(&tp, nodes, NODES);
        count[owner]++;
        /* Node 40 leaves: only its own partitions move. */
        int32_t after = floe_placement_owner(&tp, nodes, NODES - 1);
        if (owner != 40)
            assert_int_equal(owner, after);
        else
            moved++;
    }
    assert_int_equal(moved, count[40]);
    for (int i = 0; i < NODES; i++)
        assert_in_range(count[nodes[i]], PARTS / NODES * 9 / 10, PARTS / NODES * 11 / 10);
}

static void order_of_nodes_does_not_matter(void **state)
{
    (void)state;
    int32_t a[] = {1, 2, 3, 4}, b[] = {4, 2, 1, 3};
    for (int i = 0; i < 1000; i++) {
        struct floe_tp tp = tp_of(77, i);
        assert_int_equal(floe_placement_owner(&tp, a, 4), floe_placement_owner(&tp, b, 4));
    }
    struct floe_tp tp = tp_of(1, 1);
    assert_int_equal(floe_placement_owner(&tp, a + 2, 1), 3);
}

/* Values that must never change: brokers of different versions place alike, and shards are on disk. */
static void values_are_frozen(void **state)
{
    (void)state;
    int32_t nodes[] = {1, 2, 3};
    static const int32_t owner[8] = {1, 2, 2, 2, 3, 3, 2, 2};
    static const uint32_t shard[8] = {94, 100, 57, 26, 107, 68, 64, 13};
    for (int i = 0; i < 8; i++) {
        struct floe_tp tp = tp_of(5, i * 64);
        assert_int_equal(floe_placement_owner(&tp, nodes, 3), owner[i]);
        assert_int_equal(lease_shard_of(&tp, 128), shard[i]);
        struct floe_tp last = tp_of(5, i * 64 + 63);
        assert_int_equal(lease_shard_of(&last, 128), shard[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(load_is_even_and_moves_are_few),
        cmocka_unit_test(order_of_nodes_does_not_matter),
        cmocka_unit_test(values_are_frozen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
