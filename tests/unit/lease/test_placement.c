/* Placement: stable values, even load, few moves. */
#include <floe/lease/placement.h>

#include "floe_cmocka.h"

#include "lease/records.h"

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

/* ---- the placement of all partitions ------------------------------------------------------------------ */

struct want {
    const struct floe_placement_node *nodes;
    uint32_t n;
    uint64_t topics;
    int32_t per_topic;
    bool backwards;
    uint64_t budget;
};

static struct floe_placement *place(const struct want *w)
{
    size_t total = (size_t)w->topics * (size_t)w->per_topic;
    struct floe_placement *p = floe_placement_create(w->nodes, w->n, total);
    for (size_t i = 0; i < total; i++) {
        size_t at = w->backwards ? total - 1 - i : i;
        struct floe_tp tp = tp_of(at / (size_t)w->per_topic, (int32_t)(at % (size_t)w->per_topic));
        floe_placement_add(p, &tp);
    }
    while (!floe_placement_step(p, w->budget))
        ;
    assert_int_equal(floe_placement_count(p), total);
    return p;
}

static void nodes_with_racks(struct floe_placement_node *nodes, const char *racks)
{
    for (int i = 0; racks[i] != '\0'; i++) {
        char name[2] = {racks[i], '\0'};
        nodes[i] = (struct floe_placement_node){.id = i + 1, .rack = floe_placement_rack(name)};
    }
}

static void order_and_slices_do_not_matter(void **state)
{
    (void)state;
    struct floe_placement_node a[9], b[9];
    nodes_with_racks(a, "abcabcabb");
    for (int i = 0; i < 9; i++)
        b[i] = a[8 - i];
    struct want one = {a, 9, 20, 7, false, UINT64_MAX}, other = {b, 9, 20, 7, true, 1};
    struct floe_placement *p = place(&one), *q = place(&other);
    for (uint64_t t = 0; t < 20; t++)
        for (int32_t i = 0; i < 7; i++) {
            struct floe_tp tp = tp_of(t, i);
            assert_int_equal(floe_placement_find(p, &tp), floe_placement_find(q, &tp));
        }
    assert_int_equal(floe_placement_hash(p), floe_placement_hash(q));
    struct floe_tp unknown = tp_of(20, 0);
    assert_int_equal(floe_placement_find(p, &unknown), 0);
    floe_placement_destroy(&q);
    other.topics = 19;
    q = place(&other);
    assert_int_not_equal(floe_placement_hash(p), floe_placement_hash(q));
    floe_placement_destroy(&q);
    b[0].rack = 0;
    other.topics = 20;
    q = place(&other);
    assert_int_not_equal(floe_placement_hash(p), floe_placement_hash(q));
    floe_placement_destroy(&p);
    floe_placement_destroy(&q);
    floe_placement_destroy(&q); /* null is fine */
}

/* How a topic's partitions lie over racks a, b, c, ... */
static void count_racks(const struct want *w, const struct floe_placement *p, uint64_t topic, int *counts)
{
    for (int32_t i = 0; i < w->per_topic; i++) {
        struct floe_tp tp = tp_of(topic, i);
        int32_t node = floe_placement_find(p, &tp);
        for (int r = 0; r < 8; r++) {
            char name[2] = {(char)('a' + r), '\0'};
            counts[r] += w->nodes[node - 1].rack == floe_placement_rack(name);
        }
    }
}

static void topics_are_even_over_racks(void **state)
{
    (void)state;
    struct floe_placement_node nodes[12];
    nodes_with_racks(nodes, "aaaabbbbcccc");
    for (int32_t per_topic = 1; per_topic <= 40; per_topic += 3) {
        struct want w = {nodes, 12, 1200 / (uint64_t)per_topic, per_topic, false, 1000};
        struct floe_placement *p = place(&w);
        int uneven = 0;
        for (uint64_t t = 0; t < w.topics; t++) {
            int counts[8] = {0};
            count_racks(&w, p, t, counts);
            for (int r = 0; r < 3; r++)
                uneven += counts[r] < per_topic / 3 || counts[r] > per_topic / 3 + (per_topic % 3 != 0);
        }
        /* A rack that is full lends places to another now and then. */
        assert_in_range(uneven, 0, w.topics / 20);
        floe_placement_destroy(&p);
    }
    /* One broker in a rack of its own takes what its limit allows, the others the rest. */
    nodes_with_racks(nodes, "aaaabbbbbbbc");
    struct want w = {nodes, 12, 100, 12, false, 1000};
    struct floe_placement *p = place(&w);
    int all[8] = {0};
    for (uint64_t t = 0; t < w.topics; t++)
        count_racks(&w, p, t, all);
    assert_in_range(all[2], 100, 125);
    assert_int_equal(all[0] + all[1] + all[2], 1200);
    floe_placement_destroy(&p);
    /* Every broker a rack of its own. */
    nodes_with_racks(nodes, "abc");
    w = (struct want){nodes, 3, 30, 3, false, 1000};
    p = place(&w);
    for (uint64_t t = 0; t < w.topics; t++) {
        int counts[8] = {0};
        count_racks(&w, p, t, counts);
        assert_true(counts[0] == 1 && counts[1] == 1 && counts[2] == 1);
    }
    floe_placement_destroy(&p);
}

static void new_partitions_go_where_they_will_be_placed(void **state)
{
    (void)state;
    struct floe_placement_node nodes[6];
    nodes_with_racks(nodes, "aabbcc");
    struct want before = {nodes, 6, 200, 6, false, 1000}, after = {nodes, 6, 201, 6, false, 1000};
    struct floe_placement *p = place(&before), *q = place(&after);
    struct floe_tp first = tp_of(200, 0);
    int32_t owners[6], again[6];
    floe_placement_extend(p, &first.topic, 0, 6, owners);
    for (int32_t i = 0; i < 6; i++) {
        struct floe_tp tp = tp_of(200, i);
        assert_int_equal(owners[i], floe_placement_find(q, &tp));
    }
    floe_placement_extend(q, &first.topic, 0, 6, again); /* they are there already */
    assert_memory_equal(owners, again, sizeof owners);
    floe_placement_destroy(&p);
    floe_placement_destroy(&q);
    /* Into an empty cluster; far more than one limit holds. */
    struct want none = {nodes, 6, 0, 6, false, 1};
    int32_t many[600], count[7] = {0};
    p = place(&none);
    floe_placement_extend(p, &first.topic, 0, 600, many);
    for (int i = 0; i < 600; i++)
        count[many[i]]++;
    for (int i = 1; i <= 6; i++)
        assert_in_range(count[i], 80, 125);
    floe_placement_destroy(&p);
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
    struct floe_placement_node racked[5];
    nodes_with_racks(racked, "aabbc");
    static const int32_t placed[12] = {4, 2, 1, 2, 3, 2, 5, 5, 5, 1, 3, 3};
    struct want w = {racked, 5, 10, 12, false, 1000};
    struct floe_placement *p = place(&w);
    for (int i = 0; i < 12; i++) {
        struct floe_tp tp = tp_of(3, i);
        assert_int_equal(floe_placement_find(p, &tp), placed[i]);
    }
    floe_placement_destroy(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(load_is_even_and_moves_are_few),
        cmocka_unit_test(order_and_slices_do_not_matter),
        cmocka_unit_test(topics_are_even_over_racks),
        cmocka_unit_test(new_partitions_go_where_they_will_be_placed),
        cmocka_unit_test(order_of_nodes_does_not_matter),
        cmocka_unit_test(values_are_frozen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
