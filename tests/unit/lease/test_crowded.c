/* A lease record that grows by takeovers before checkpoints: it is made shorter in time, and taken over in
 * parts where it is too long for all at once. */
#include "lease_rig.h"

enum { LEASE_MS = 3000, PARTS = 1700, TOPIC = 1, LONG_ENOUGH = 7 /* takeovers */ };

static bool all_served(struct lrig *r)
{
    return lrig_served(r, TOPIC, PARTS) == PARTS;
}

/* Looking at all partitions takes longer than what happens meanwhile. */
static bool await_served(struct lrig *r, uint64_t ms)
{
    for (uint64_t t = 0; t < ms && !all_served(r); t += 100)
        lrig_run_ms(r, 100);
    return all_served(r);
}

/* Spans of the record, as broker i knows it. */
static uint32_t spans(struct lrig *r, int i)
{
    uint32_t n = 0;
    for (int32_t k = 0; k < PARTS; k++) {
        struct floe_tp tp = lrig_tp(TOPIC, k);
        struct floe_lease_entry e;
        assert_true(floe_lease_lookup(r->b[i].lease, &tp, &e));
        n += e.span_count;
    }
    return n;
}

static void begin(struct lrig *r, bool moves)
{
    lrig_init(r, 1, LEASE_MS);
    r->shards = 1;
    r->moves = moves;
    lrig_boot_wait(r, 0);
    assert_int_equal(lrig_create(r, 0, TOPIC, PARTS), FLOE_OK);
    assert_true(await_served(r, 5000));
    lrig_write(r, 0);
    lrig_run_ms(r, 50);
}

/* The other broker takes everything over from this one, which has written since it took it. */
static void next(struct lrig *r, int from, int to)
{
    lrig_write(r, from);
    lrig_run_ms(r, 50);
    lrig_boot_wait(r, to);
    lrig_kill(r, from);
    lrig_wipe(r, from);
}

static void takeovers_force_checkpoints(void **state)
{
    (void)state;
    struct lrig r;
    begin(&r, false);
    for (int i = 0; i < LONG_ENOUGH; i++) { /* only the last one makes checkpoints */
        r.moves = i == LONG_ENOUGH - 1;
        next(&r, i % 2, (i + 1) % 2);
        assert_true(await_served(&r, 4 * LEASE_MS));
        lrig_run_ms(&r, 500);
        assert_int_equal(spans(&r, (i + 1) % 2), r.moves ? PARTS : (i + 2) * PARTS);
    }
    lrig_check(&r);
    lrig_fini(&r);
}

/* Nobody makes checkpoints: the record grows until no more can be taken. Then somebody does. */
static void a_full_record_is_taken_in_parts(void **state)
{
    (void)state;
    struct lrig r;
    int i = 0;
    begin(&r, false);
    for (; i < 2 * LONG_ENOUGH && all_served(&r); i++) {
        next(&r, i % 2, (i + 1) % 2);
        (void)await_served(&r, LEASE_MS + 500);
    }
    uint32_t n = lrig_served(&r, TOPIC, PARTS);
    assert_in_range(n, 1, PARTS - 1); /* as many as there was room for */
    r.moves = true;
    next(&r, i % 2, (i + 1) % 2);
    assert_true(await_served(&r, 10 * LEASE_MS));
    lrig_run_ms(&r, LEASE_MS);
    assert_in_range(spans(&r, (i + 1) % 2), PARTS, LONG_ENOUGH * PARTS);
    lrig_check(&r);
    for (int k = 0; k < LRIG_BROKERS; k++)
        assert_false(r.b[k].fatal);
    lrig_fini(&r);
}

/* As many as one record takes; then each gets its checkpoint, whose keys have grown long. */
static void a_record_that_takes_no_more_has_room_for_checkpoints(void **state)
{
    (void)state;
    struct lrig r;
    struct floe_lease_entry e;
    int32_t n = 0;
    lrig_init(&r, 2, LEASE_MS);
    r.shards = 1;
    lrig_boot_wait(&r, 0);
    while (lrig_create(&r, 0, TOPIC + (uint64_t)n, 100) == FLOE_OK)
        n++;
    assert_in_range(n, 10, 40);
    lrig_run_ms(&r, 2000);
    for (int32_t i = 0; i < 100 * n; i++) {
        struct floe_tp tp = lrig_tp(TOPIC + (uint64_t)(i / 100), i % 100);
        struct floe_checkpoint_ref ref = {
            .session = r.b[0].session, .seq = 12345678, .present = true, .log_start = 123456789012};
        floe_lease_checkpointed(r.b[0].lease, &tp, 0, &ref);
    }
    lrig_run_ms(&r, 2000);
    for (int32_t i = 0; i < 100 * n; i++) {
        struct floe_tp tp = lrig_tp(TOPIC + (uint64_t)(i / 100), i % 100);
        assert_true(floe_lease_lookup(r.b[0].lease, &tp, &e));
        assert_true(e.checkpoint.present);
    }
    lrig_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_that_takes_no_more_has_room_for_checkpoints),
        cmocka_unit_test(takeovers_force_checkpoints),
        cmocka_unit_test(a_full_record_is_taken_in_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
