/* Planned moves: scale-out, scale-in, and everything that may go wrong on the way. */
#include "lease_rig.h"

#include "lease/records.h"

#include <stdio.h>

enum { LEASE_MS = 3000, PARTS = 120, TOPIC = 1 };

static bool all_served(struct lrig *r)
{
    return lrig_served(r, TOPIC, PARTS) == PARTS;
}

static struct floe_lease_stats stats(struct lrig *r, int i)
{
    struct floe_lease_stats s;
    floe_lease_get_stats(r->b[i].lease, &s);
    return s;
}

/* n brokers that move, and a topic. */
static void begin(struct lrig *r, uint64_t seed, int n)
{
    lrig_init(r, seed, LEASE_MS);
    r->moves = true;
    for (int i = 0; i < n; i++)
        lrig_boot_wait(r, i);
    lrig_run_ms(r, 1000);
    assert_int_equal(lrig_create(r, 0, TOPIC, PARTS), FLOE_OK);
    assert_true(lrig_until(r, all_served, 2000));
    for (int i = 0; i < n; i++)
        lrig_write(r, i);
    lrig_run_ms(r, 100);
}

static void finish(struct lrig *r)
{
    lrig_check(r);
    for (int i = 0; i < LRIG_BROKERS; i++)
        assert_false(r->b[i].fatal);
    lrig_fini(r);
}

/* Everything is served, and nobody has far too much or far too little. */
static bool balanced(struct lrig *r)
{
    uint32_t n = 0;
    for (int i = 0; i < LRIG_BROKERS; i++)
        n += r->b[i].up && r->b[i].open;
    for (int i = 0; i < LRIG_BROKERS; i++)
        if (r->b[i].up && r->b[i].open &&
            (lrig_serves(r, i) > (PARTS * 5 / 4 + n - 1) / n || lrig_serves(r, i) < PARTS / n / 2))
            return false;
    return all_served(r);
}

static void a_newcomer_gets_its_share(void **state)
{
    (void)state;
    struct lrig r;
    begin(&r, 1, 3);
    lrig_boot_wait(&r, 3);
    assert_int_equal(lrig_serves(&r, 3), 0);
    lrig_run_ms(&r, 400); /* the view is too young */
    assert_int_equal(lrig_serves(&r, 3), 0);
    lrig_count_reset(&r);
    assert_true(lrig_until(&r, balanced, LEASE_MS));
    assert_in_range(lrig_serves(&r, 3), PARTS / 8, PARTS / 2);
    uint64_t moved = 0;
    for (int i = 0; i < 3; i++) {
        moved += stats(&r, i).moved;
        assert_int_equal(r.b[i].resumed, 0);
    }
    assert_int_equal(moved, lrig_serves(&r, 3)); /* no other partition */
    assert_in_range(r.lease_puts, 1, 40);        /* gathered by shard: two shards, three brokers */
    lrig_run_ms(&r, 3 * LEASE_MS);
    assert_true(balanced(&r));
    finish(&r);
}

/* Receivers read ahead before appends stop, and are told where the spans end; one that is slow at it, or
 * never done, is not waited for long. */
static void receivers_read_ahead(void **state)
{
    (void)state;
    for (uint32_t waits = 0; waits <= 1000000; waits = waits * 1000 + 3) {
        struct lrig r;
        begin(&r, 1, 3);
        lrig_boot_wait(&r, 3);
        r.b[3].ahead_waits = waits;
        assert_true(lrig_until(&r, balanced, 3 * LEASE_MS));
        uint32_t got = lrig_serves(&r, 3);
        assert_true(got > 0);
        assert_int_equal(r.b[3].ahead_stopped, got);
        assert_true(r.b[3].ahead_parts >= got);
        assert_true(r.b[3].ahead_asks >= FLOE_MIN(waits, 8u));
        for (int i = 0; i < 3; i++)
            assert_int_equal(r.b[i].resumed, 0);
        finish(&r);
    }
}

/* A checkpoint that nobody waits for keeps clear of the records that another broker is about to write. */
static void others_keep_clear(void **state)
{
    (void)state;
    for (int told = 0; told < 2; told++) {
        struct lrig r;
        begin(&r, 1, 2);
        lrig_run_ms(&r, LEASE_MS);
        struct floe_tp tp = lrig_tp(TOPIC, 3);
        int i = lrig_holder(&r, TOPIC, 3);
        struct floe_lease_entry e;
        assert_true(floe_lease_lookup(r.b[i].lease, &tp, &e));
        struct floe_checkpoint_ref ref = {.session = e.holder, .seq = r.b[i].committed, .present = true};
        int32_t shards[] = {-1, (int32_t)lease_shard_of(&tp, r.shards), INT32_MAX};
        struct floe_kafka_PeerLeaseChangedRequest rq;
        floe_kafka_defaults(&floe_kafka_PeerLeaseChangedRequest_desc, &rq);
        rq.ClusterId = r.cluster;
        rq.Moving = shards;
        rq.Moving_n = told ? FLOE_COUNTOF(shards) : 0;
        floe_lease_checkpointed(r.b[i].lease, &tp, e.epoch, &ref);
        floe_lease_hint(r.b[i].lease, &rq);
        lrig_count_reset(&r);
        lrig_run_ms(&r, LEASE_MS / 20 + LEASE_MS / 40 + 30); /* it would be named with others by now */
        assert_int_equal(r.lease_puts, !told);
        lrig_run_ms(&r, LEASE_MS / 20 + LEASE_MS / 40 + 30);
        assert_int_equal(r.lease_puts, 1);
        finish(&r);
    }
}

/* How long a newcomer waits for its first partition while somebody says that its appends stop, for ever. */
static uint64_t first_ms(bool told)
{
    struct lrig r;
    uint64_t ms = 0;
    begin(&r, 1, 3);
    lrig_boot_wait(&r, 3);
    struct floe_kafka_PeerLeaseChangedRequest rq;
    floe_kafka_defaults(&floe_kafka_PeerLeaseChangedRequest_desc, &rq);
    rq.ClusterId = r.cluster;
    rq.Stopping = true;
    for (; ms < 3 * LEASE_MS && lrig_serves(&r, 3) == 0; ms += 10) {
        for (int i = 0; i < 3 && told; i++)
            floe_lease_hint(r.b[i].lease, &rq);
        lrig_run_ms(&r, 10);
    }
    assert_true(lrig_until(&r, balanced, 3 * LEASE_MS));
    finish(&r);
    return ms;
}

static void moves_take_turns(void **state)
{
    (void)state;
    uint64_t alone = first_ms(false), told = first_ms(true);
    assert_in_range(told, alone + LEASE_MS / 10 - 30, alone + LEASE_MS / 10 + 60);
}

static bool drained(struct lrig *r)
{
    return r->b[1].drained;
}

static void one_that_drains_leaves_nothing(void **state)
{
    (void)state;
    struct lrig r;
    begin(&r, 2, 3);
    assert_in_range(lrig_serves(&r, 1), 1, PARTS);
    lrig_drain(&r, 1, 15000);
    assert_true(lrig_until(&r, drained, LEASE_MS));
    assert_true(stats(&r, 1).moved > 0);
    assert_true(lrig_until(&r, all_served, 100));
    assert_int_equal(lrig_serves(&r, 1), 0);
    lrig_end(&r, 1);
    assert_int_equal(r.b[1].end_err.code, FLOE_OK);
    lrig_run_ms(&r, LEASE_MS);
    assert_true(balanced(&r));
    assert_int_equal(stats(&r, 0).taken + stats(&r, 2).taken, 0);
    lrig_boot_wait(&r, 1); /* and comes back: a rolling restart */
    assert_true(lrig_until(&r, balanced, 2 * LEASE_MS));
    finish(&r);
}

static void the_last_one_has_nobody_to_drain_to(void **state)
{
    (void)state;
    struct lrig r;
    begin(&r, 3, 2);
    lrig_drain(&r, 0, 15000);
    lrig_run_ms(&r, 100);
    lrig_drain(&r, 1, 15000);
    assert_true(lrig_until(&r, drained, LEASE_MS));
    assert_true(lrig_serves(&r, 1) > 0);
    finish(&r);
}

/* A newcomer that one broker cannot talk to gets nothing from it: nobody confirms the view. */
static void nothing_moves_without_the_receivers_word(void **state)
{
    (void)state;
    struct lrig r;
    begin(&r, 4, 2);
    floe_sim_net_cut(r.net, r.b[0].name, r.b[2].name, true);
    lrig_boot_wait(&r, 2);
    lrig_run_ms(&r, 3 * LEASE_MS);
    assert_int_equal(stats(&r, 0).moved, 0);
    assert_true(stats(&r, 1).moved > 0);
    assert_int_equal(lrig_served(&r, TOPIC, PARTS), PARTS);
    floe_sim_net_heal(r.net);
    assert_true(lrig_until(&r, balanced, 2 * LEASE_MS));
    finish(&r);
}

static void a_flush_that_does_not_end_is_given_up(void **state)
{
    (void)state;
    struct lrig r;
    begin(&r, 5, 2);
    r.b[0].hold_stop = true;
    lrig_boot_wait(&r, 2);
    lrig_run_ms(&r, 3 * LEASE_MS);
    assert_int_equal(stats(&r, 0).moved, 0);
    assert_true(r.b[0].resumed > 0);
    r.b[0].hold_stop = false;
    assert_true(lrig_until(&r, balanced, 2 * LEASE_MS));
    finish(&r);
}

static bool gives(struct lrig *r)
{
    for (uint32_t k = 0; k < r->b[0].part_count; k++)
        if (r->b[0].parts[k].handing)
            return true;
    return false;
}

/* The table is away just when the leases are to be written: definite refusals are resumed from, what may
 * still be applied is not. */
static void the_table_goes_away(enum floe_sim_fault fault, bool resumes)
{
    struct lrig r;
    begin(&r, 6, 2);
    r.b[0].hold_stop = true;
    lrig_boot_wait(&r, 2);
    assert_true(lrig_until(&r, gives, 2 * LEASE_MS));
    struct floe_sim_rule rule = {.fault = fault, .prefix = "table/lease/", .node = r.b[0].node};
    floe_sim_bucket_rule(r.bucket, &rule);
    r.b[0].hold_stop = false;
    lrig_committed(&r.b[0]);
    lrig_run_ms(&r, 2 * LEASE_MS);
    assert_true(resumes ? r.b[0].resumed > 0 : r.b[0].resumed == 0);
    assert_true(resumes || gives(&r));
    floe_sim_bucket_heal(r.bucket);
    assert_true(lrig_until(&r, balanced, 3 * LEASE_MS));
    assert_true(!gives(&r));
    finish(&r);
}

static void refused_writes_are_resumed_from(void **state)
{
    (void)state;
    the_table_goes_away(FLOE_SIM_REFUSED, true);
}

static void doubtful_writes_are_waited_for(void **state)
{
    (void)state;
    the_table_goes_away(FLOE_SIM_LOST_REQUEST, false);
}

/* A copy of the write is late: it must not land after the old holder went on. */
static void late_copies_land_nowhere(void **state)
{
    (void)state;
    for (uint64_t delay = 200000; delay < 6000000; delay = delay * 3 / 2) {
        struct lrig r;
        begin(&r, 7, 2);
        r.b[0].hold_stop = true;
        lrig_boot_wait(&r, 2);
        assert_true(lrig_until(&r, gives, 2 * LEASE_MS));
        struct floe_sim_rule rule = {.fault = FLOE_SIM_LATE,
                                     .kinds = FLOE_SIM_KIND(FLOE_STORE_PUT),
                                     .prefix = "table/lease/",
                                     .node = r.b[0].node,
                                     .delay_us = delay};
        floe_sim_bucket_rule(r.bucket, &rule);
        r.b[0].hold_stop = false;
        lrig_committed(&r.b[0]);
        lrig_run_ms(&r, LEASE_MS / 2);
        lrig_vanish(&r, 2); /* and the receiver goes: the move is not wanted any more */
        lrig_run_ms(&r, LEASE_MS);
        floe_sim_bucket_heal(r.bucket);
        assert_true(lrig_until(&r, all_served, 3 * LEASE_MS));
        lrig_run_ms(&r, 6000);
        assert_true(all_served(&r));
        finish(&r);
    }
}

/* The session is over, and it drains before the next one is open: that says so with its first renewals, which
 * count from one again. */
static void a_new_session_says_that_it_drains_at_once(void **state)
{
    (void)state;
    struct lrig r;
    lrig_init(&r, 6, LEASE_MS);
    r.moves = true;
    lrig_boot_wait(&r, 0);
    lrig_run_ms(&r, 100 * LEASE_MS);
    floe_lease_session_lost(r.b[0].lease, "a test");
    lrig_drain(&r, 0, 15000);
    lrig_count_reset(&r);
    lrig_run_ms(&r, LEASE_MS);
    assert_int_equal(r.b[0].opens, 2);
    assert_in_range(r.table_puts, 3, 20);
    finish(&r);
}

/* The writes of a move break off and land late, and what is read meanwhile comes cut short: a partition whose
 * move may still land takes no appends. */
static void a_move_in_doubt_waits_for_what_can_be_read(void **state)
{
    (void)state;
    struct lrig r;
    begin(&r, 7, 1);
    r.b[0].hold_stop = true;
    lrig_boot_wait(&r, 1);
    assert_true(lrig_until(&r, gives, 2 * LEASE_MS));
    struct floe_sim_rule late = {.fault = FLOE_SIM_LATE,
                                 .kinds = FLOE_SIM_KIND(FLOE_STORE_PUT),
                                 .prefix = "table/lease/",
                                 .node = r.b[0].node,
                                 .delay_us = 2500000};
    struct floe_sim_rule cut = {.fault = FLOE_SIM_TRUNCATED,
                                .kinds = FLOE_SIM_KIND(FLOE_STORE_GET),
                                .prefix = "table/lease/",
                                .node = r.b[0].node};
    floe_sim_bucket_rule(r.bucket, &late);
    floe_sim_bucket_rule(r.bucket, &cut);
    r.b[0].hold_stop = false;
    lrig_committed(&r.b[0]);
    lrig_run_ms(&r, 3500);
    assert_int_equal(r.b[0].resumed, 0);
    floe_sim_bucket_heal(r.bucket);
    assert_true(lrig_until(&r, balanced, 4 * LEASE_MS));
    assert_true(lrig_fault_hit(&r));
    finish(&r);
}

/* The n-th request of a kind is hit, of a broker that joins, and one that drains and ends. */
static bool story(enum floe_sim_fault fault, uint32_t kinds, const char *prefix, uint32_t skip)
{
    struct lrig r;
    begin(&r, 100 + skip, 2);
    struct floe_sim_rule rule = {
        .fault = fault, .kinds = kinds, .prefix = prefix, .skip = skip, .times = 1, .delay_us = 400000};
    floe_sim_bucket_rule(r.bucket, &rule);
    lrig_boot_wait(&r, 2);
    assert_true(lrig_until(&r, balanced, 3 * LEASE_MS));
    lrig_write(&r, 1);
    lrig_drain(&r, 1, 15000);
    assert_true(lrig_until(&r, drained, 3 * LEASE_MS));
    lrig_end(&r, 1);
    assert_true(lrig_until(&r, balanced, 2 * LEASE_MS));
    lrig_run_ms(&r, 600); /* what is late lands */
    assert_int_equal(lrig_served(&r, TOPIC, PARTS), PARTS);
    bool hit = lrig_fault_hit(&r);
    finish(&r);
    return hit;
}

static void every(enum floe_sim_fault fault, uint32_t kinds, const char *prefix, uint32_t at_least)
{
    uint32_t skip = 0;
    while (story(fault, kinds, prefix, skip))
        skip++;
    if (skip < at_least)
        fail_msg("only %u requests were hit", skip);
}

static void every_lost_answer(void **state)
{
    (void)state;
    every(FLOE_SIM_LOST_ANSWER, FLOE_SIM_KIND(FLOE_STORE_PUT), "table/lease/", 6);
}

/* The receiver is told as soon as its giver knows, not found out by the next scan. */
static void a_lost_answer_leaves_nobody_waiting(void **state)
{
    (void)state;
    struct lrig r;
    uint32_t unserved_ms = 0, longest_ms = 0;
    begin(&r, 20, 2);
    struct floe_sim_rule rule = {
        .fault = FLOE_SIM_LOST_ANSWER, .kinds = FLOE_SIM_KIND(FLOE_STORE_PUT), .prefix = "table/lease/"};
    floe_sim_bucket_rule(r.bucket, &rule);
    lrig_boot_wait(&r, 2);
    for (int ms = 0; ms < 5 * LEASE_MS; ms++) {
        lrig_run_ms(&r, 1);
        unserved_ms = all_served(&r) ? 0 : unserved_ms + 1;
        longest_ms = unserved_ms > longest_ms ? unserved_ms : longest_ms;
    }
    assert_true(balanced(&r));
    assert_in_range(longest_ms, 1, 200); /* the time-out of the lost answer, and a read */
    finish(&r);
}

static void every_late_write(void **state)
{
    (void)state;
    every(FLOE_SIM_LATE, FLOE_SIM_KIND(FLOE_STORE_PUT), "table/lease/", 6);
}

static void every_refused_write(void **state)
{
    (void)state;
    every(FLOE_SIM_E503, FLOE_SIM_KIND(FLOE_STORE_PUT), "table/lease/", 6);
}

static void every_lost_read(void **state)
{
    (void)state;
    every(FLOE_SIM_LOST_ANSWER, FLOE_SIM_KIND(FLOE_STORE_GET), "table/lease/", 6);
}

/* Somebody dies in the middle of it. */
static void deaths_on_the_way(void **state)
{
    (void)state;
    for (uint64_t at_us = 0; at_us < 120000; at_us += 5000) {
        for (int who = 0; who < 3; who += 2) {
            struct lrig r;
            begin(&r, 300 + at_us, 2);
            lrig_boot_wait(&r, 2);
            lrig_run_ms(&r, 100);
            floe_sim_run_for(r.sim, LEASE_MS * 1000 / 3 - 150000 + at_us);
            lrig_kill(&r, who);
            assert_true(lrig_until(&r, all_served, LEASE_MS + 2000));
            assert_true(lrig_until(&r, balanced, 3 * LEASE_MS));
            finish(&r);
        }
    }
}

/* Somebody stands still in the middle of it, for a moment or for longer than its lease time (then its clock
 * goes on, or nothing would tell it), and goes on with what it was about to do. */
static void stalls_on_the_way(void **state)
{
    (void)state;
    static const uint64_t ms[] = {400, LEASE_MS / 3, LEASE_MS + 300, 3 * LEASE_MS};
    for (uint64_t at_us = 0; at_us < 120000; at_us += 30000) {
        for (uint32_t how = 0; how < 4 * FLOE_COUNTOF(ms); how++) {
            struct lrig r;
            uint64_t stall_ms = ms[how / 4];
            bool clock_stops = how & 1;
            if (clock_stops && stall_ms >= LEASE_MS)
                continue;
            begin(&r, 300 + at_us, 2);
            lrig_boot_wait(&r, 2);
            lrig_run_ms(&r, 100);
            floe_sim_run_for(r.sim, LEASE_MS * 1000 / 3 - 150000 + at_us);
            floe_sim_node_stall(r.b[how & 2].node, stall_ms * 1000, clock_stops);
            lrig_run_ms(&r, stall_ms);
            assert_true(lrig_until(&r, all_served, LEASE_MS + 2000));
            assert_true(lrig_until(&r, balanced, 3 * LEASE_MS));
            finish(&r);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_newcomer_gets_its_share),
        cmocka_unit_test(receivers_read_ahead),
        cmocka_unit_test(others_keep_clear),
        cmocka_unit_test(moves_take_turns),
        cmocka_unit_test(one_that_drains_leaves_nothing),
        cmocka_unit_test(the_last_one_has_nobody_to_drain_to),
        cmocka_unit_test(a_move_in_doubt_waits_for_what_can_be_read),
        cmocka_unit_test(a_new_session_says_that_it_drains_at_once),
        cmocka_unit_test(nothing_moves_without_the_receivers_word),
        cmocka_unit_test(a_flush_that_does_not_end_is_given_up),
        cmocka_unit_test(refused_writes_are_resumed_from),
        cmocka_unit_test(doubtful_writes_are_waited_for),
        cmocka_unit_test(late_copies_land_nowhere),
        cmocka_unit_test(every_lost_answer),
        cmocka_unit_test(a_lost_answer_leaves_nobody_waiting),
        cmocka_unit_test(every_late_write),
        cmocka_unit_test(every_refused_write),
        cmocka_unit_test(every_lost_read),
        cmocka_unit_test(deaths_on_the_way),
        cmocka_unit_test(stalls_on_the_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
