/* The simulated tier: what a disk keeps of a killed process. */
#include <floe_cmocka.h>

#include <stdio.h>

#include <floe/base/assert.h>
#include <floe/sim.h>

static int order[64], order_n;
static void on_put(struct floe_tier_op *op)
{
    order[order_n++] = op->err.code ? -(int)op->err.code : (int)op->seq;
}
static void on_meta(void *user, const struct floe_error *err)
{
    *(enum floe_err *)user = err->code;
}
static int seen[64], seen_n;
static void each(void *user, uint64_t seq, struct floe_slice head, struct floe_slice body)
{
    (void)user;
    assert_int_equal(head.n, 1);
    assert_int_equal(body.n, 4);
    assert_int_equal(head.p[0], (uint8_t)seq);
    seen[seen_n++] = (int)seq;
}
static void put(struct floe_tier *t, struct floe_tier_op *op, uint8_t *head, uint64_t seq, bool durable)
{
    *head = (uint8_t)seq;
    *op = (struct floe_tier_op){.seq = seq,
                                .head = floe_slice(head, 1),
                                .body = {.p = (const uint8_t *)"body", .n = 4},
                                .durable = durable,
                                .done = on_put};
    t->ops->put(t, op);
}

static void a_disk_keeps_what_was_durable(void **state)
{
    (void)state;
    bool lost_some = false, kept_some = false, came_back = false;
    for (uint64_t seed = 0; seed < 40; seed++) {
        struct floe_sim *sim = floe_sim_create(seed);
        struct floe_sim_disk *disk = floe_sim_disk_create(sim);
        struct floe_sim_node *n = floe_sim_node_create(sim, "a");
        struct floe_uuid cluster = {{1}}, other = {{2}};
        struct floe_tier *t;
        struct floe_error err;
        assert_int_equal(floe_sim_tier_open(&t, disk, n, &cluster, 1 << 20, &err), FLOE_OK);
        assert_int_equal(floe_sim_tier_open(&t, disk, n, &cluster, 1 << 20, &err), FLOE_EAGAIN);
        struct floe_tier_op op[20];
        uint8_t head[20];
        enum floe_err meta = FLOE_EIO;
        order_n = seen_n = 0;
        for (int i = 0; i < 10; i++)
            put(t, &op[i], &head[i], (uint64_t)i, i % 2 == 0);
        t->ops->meta_put(t, "id", floe_slice_str("value"), on_meta, &meta);
        t->ops->drop(t, 0, 2);
        floe_sim_run_for(sim, 1000000);
        assert_int_equal(order_n, 10);
        for (int i = 0; i < 10; i++)
            assert_int_equal(order[i], i);
        assert_int_equal(meta, FLOE_OK);
        assert_int_equal(t->bytes, 8 * 5);
        put(t, &op[10], &head[10], 10, true); /* under way */
        floe_sim_node_kill(n);
        floe_sim_run_for(sim, 1000000);
        assert_int_equal(order_n, 10);
        n = floe_sim_node_create(sim, "a");
        assert_int_equal(floe_sim_tier_open(&t, disk, n, &other, 1 << 20, &err), FLOE_EINVAL);
        assert_int_equal(floe_sim_tier_open(&t, disk, n, &cluster, 1 << 20, &err), FLOE_OK);
        assert_int_equal(floe_tier_meta(t, "id").n, 5);
        meta = FLOE_EIO;
        t->ops->scan(t, 0, UINT64_MAX, each, on_meta, &meta);
        floe_sim_run_for(sim, 1000000);
        assert_int_equal(meta, FLOE_OK);
        int durable = 0;
        for (int i = 0; i < seen_n; i++) {
            assert_true(i == 0 || seen[i] > seen[i - 1]);
            durable += seen[i] % 2 == 0 && seen[i] >= 2 && seen[i] < 10;
            came_back = came_back || seen[i] == 0; /* its drop was forgotten */
            assert_true(seen[i] != 1);
            kept_some = kept_some || seen[i] % 2;
        }
        assert_int_equal(durable, 4);
        lost_some = lost_some || seen_n < 8;
        assert_true(t->next_seq == (uint64_t)seen[seen_n - 1] + 1);
        floe_sim_node_kill(n);
        floe_sim_disk_wipe(disk);
        n = floe_sim_node_create(sim, "a");
        assert_int_equal(floe_sim_tier_open(&t, disk, n, &other, 1 << 20, &err), FLOE_OK);
        assert_int_equal(floe_tier_meta(t, "id").n + t->next_seq, 0);
        floe_sim_destroy(&sim);
    }
    assert_true(lost_some && kept_some && came_back);
}

static void limits_and_failures_are_told(void **state)
{
    (void)state;
    struct floe_sim *sim = floe_sim_create(1);
    struct floe_sim_disk *disk = floe_sim_disk_create(sim);
    struct floe_sim_node *n = floe_sim_node_create(sim, "a");
    struct floe_uuid cluster = {{1}};
    struct floe_tier *t;
    struct floe_tier_op op[4], get = {.seq = 0, .done = on_put};
    uint8_t head[4];
    assert_int_equal(floe_sim_tier_open(&t, disk, n, &cluster, 10, NULL), FLOE_OK);
    order_n = 0;
    for (int i = 0; i < 3; i++)
        put(t, &op[i], &head[i], (uint64_t)i, true);
    floe_sim_run_for(sim, 1000000);
    assert_int_equal(order[1], 1);
    assert_int_equal(order[2], -FLOE_ENOSPACE);
    t->ops->drop(t, 0, 2);
    floe_sim_run_for(sim, 1000000);
    floe_sim_disk_fail(disk, FLOE_EIO);
    put(t, &op[3], &head[3], 3, true);
    t->ops->get(t, &get);
    floe_sim_run_for(sim, 1000000);
    assert_int_equal(order[3], -FLOE_EIO);
    assert_int_equal(order[4], -FLOE_ENOTFOUND);
    assert_int_equal(t->bytes, 0);
    floe_sim_disk_fail(disk, FLOE_OK);
    put(t, &op[0], &head[0], 1, true);
    put(t, &op[1], &head[1], 5, true);
    get.seq = 5;
    t->ops->get(t, &get);
    floe_sim_run_for(sim, 1000000);
    assert_int_equal(order[5], -FLOE_EINVAL); /* below what was dropped */
    assert_int_equal(order[7], 5);
    assert_int_equal(get.head_n, 1);
    assert_memory_equal(get.data->data + 1, "body", 4);
    floe_buf_unref(get.data);
    floe_sim_destroy(&sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_disk_keeps_what_was_durable),
        cmocka_unit_test(limits_and_failures_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
