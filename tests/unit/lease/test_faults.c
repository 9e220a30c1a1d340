/* Lost and doubtful answers on every write to the table, outages, lapses, zombies, cut nets, split views. */
#include "lease_rig.h"

#include <stdio.h>

enum { LEASE_MS = 1500, PARTS = 24, TOPIC = 1 };

static bool all_served(struct lrig *r)
{
    return lrig_served(r, TOPIC, PARTS) == PARTS;
}

/* Two brokers start, a topic is made, one dies and is taken over, starts again, ends: with the `skip`-th
 * request of a kind hit by a fault. */
static bool story(enum floe_sim_fault fault, uint32_t kinds, const char *prefix, uint32_t skip)
{
    struct lrig r;
    lrig_init(&r, 100 + skip, LEASE_MS);
    struct floe_sim_rule rule = {
        .fault = fault, .kinds = kinds, .prefix = prefix, .skip = skip, .times = 1, .delay_us = 400000};
    floe_sim_bucket_rule(r.bucket, &rule);
    lrig_boot_wait(&r, 0);
    lrig_boot_wait(&r, 1);
    lrig_run_ms(&r, 500);
    enum floe_err code = lrig_create(&r, 0, TOPIC, PARTS);
    if (code == FLOE_EINDETERMINATE) /* whoever asked looks at the topic's record, and asks again */
        code = lrig_create(&r, 0, TOPIC, PARTS);
    assert_int_equal(code, FLOE_OK);
    assert_true(lrig_until(&r, all_served, LEASE_MS + 1500));
    lrig_write(&r, 1);
    lrig_run_ms(&r, 100);
    lrig_kill(&r, 1);
    assert_true(lrig_until(&r, all_served, LEASE_MS + 2500));
    lrig_boot_wait(&r, 1);
    lrig_run_ms(&r, 1000);
    lrig_write(&r, 0);
    lrig_run_ms(&r, 200);
    lrig_end(&r, 0);
    assert_true(lrig_until(&r, all_served, LEASE_MS + 2000));
    lrig_run_ms(&r, 600); /* what is late lands */
    assert_int_equal(lrig_served(&r, TOPIC, PARTS), PARTS);
    lrig_check(&r);
    for (int i = 0; i < 2; i++)
        assert_false(r.b[i].fatal);
    bool hit = lrig_fault_hit(&r);
    lrig_fini(&r);
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

static void broken_table_puts(void **state)
{
    (void)state;
    every(FLOE_SIM_BROKEN, FLOE_SIM_KIND(FLOE_STORE_PUT), "table/", 20);
}

static void lost_table_puts(void **state)
{
    (void)state;
    every(FLOE_SIM_LOST_ANSWER, FLOE_SIM_KIND(FLOE_STORE_PUT), "table/", 20);
}

static void late_table_puts(void **state)
{
    (void)state;
    every(FLOE_SIM_LATE, FLOE_SIM_KIND(FLOE_STORE_PUT), "table/", 20);
}

static void repeated_table_puts(void **state)
{
    (void)state;
    every(FLOE_SIM_TWICE, FLOE_SIM_KIND(FLOE_STORE_PUT), "table/", 20);
}

static void failed_table_puts(void **state)
{
    (void)state;
    every(FLOE_SIM_E500, FLOE_SIM_KIND(FLOE_STORE_PUT), "table/", 20);
    every(FLOE_SIM_DENIED, FLOE_SIM_KIND(FLOE_STORE_PUT), "table/", 20);
}

static void failed_reads(void **state)
{
    (void)state;
    every(FLOE_SIM_LOST_ANSWER, FLOE_SIM_KIND(FLOE_STORE_GET) | FLOE_SIM_KIND(FLOE_STORE_LIST), "table/", 20);
}

static void doubtful_seals(void **state)
{
    (void)state;
    every(FLOE_SIM_BROKEN, 0, "chain/", 2);
    every(FLOE_SIM_LATE, 0, "chain/", 2);
    every(FLOE_SIM_LOST_ANSWER, 0, "chain/", 2);
    every(FLOE_SIM_E500_APPLIED, 0, "chain/", 2);
}

static struct floe_sim_rule outage(struct floe_sim_node *node, uint32_t kinds, const char *prefix)
{
    return (struct floe_sim_rule){
        .fault = FLOE_SIM_LOST_REQUEST, .kinds = kinds, .prefix = prefix, .node = node};
}

static void three(struct lrig *r, uint64_t seed)
{
    lrig_init(r, seed, LEASE_MS);
    for (int i = 0; i < 3; i++)
        lrig_boot_wait(r, i);
    lrig_run_ms(r, 1000);
    assert_int_equal(lrig_create(r, 0, TOPIC, PARTS), FLOE_OK);
    assert_true(lrig_until(r, all_served, 1000));
}

/* The whole table is away for several lease times: all lapse, none is killed, all come back. */
static void an_outage_kills_nobody(void **state)
{
    (void)state;
    static const uint32_t kinds[] = {0, FLOE_SIM_KIND(FLOE_STORE_PUT), FLOE_SIM_KIND(FLOE_STORE_GET)};
    for (int k = 0; k < 3; k++) {
        struct lrig r;
        three(&r, 7 + (uint64_t)k);
        struct floe_sim_rule rule = outage(NULL, kinds[k], "table/");
        floe_sim_bucket_rule(r.bucket, &rule);
        lrig_run_ms(&r, 5 * LEASE_MS);
        floe_sim_bucket_heal(r.bucket);
        lrig_run_ms(&r, 3 * LEASE_MS);
        for (int i = 0; i < 3; i++) {
            assert_int_equal(r.b[i].overs, 0);
            assert_int_equal(r.b[i].opens, 1);
            if (k < 2)
                assert_int_equal(r.b[i].lapses, 1);
            assert_true(floe_lease_alive(r.b[i].lease));
        }
        assert_int_equal(lrig_served(&r, TOPIC, PARTS), PARTS);
        lrig_check(&r);
        lrig_fini(&r);
    }
}

static bool b1_lapsed(struct lrig *r)
{
    return r->b[1].lapses > 0;
}

/* One broker is cut off from the table alone (its peers hear it): it lapses before it is fenced, and comes
 * back as another session. */
static void a_broker_without_table_is_replaced(void **state)
{
    (void)state;
    struct lrig r;
    three(&r, 11);
    uint32_t before = lrig_serves(&r, 1);
    assert_true(before > 0);
    struct floe_sim_rule rule = outage(r.b[1].node, 0, "table/");
    floe_sim_bucket_rule(r.bucket, &rule);
    assert_true(lrig_until(&r, b1_lapsed, LEASE_MS));
    assert_true(lrig_until(&r, all_served, 1000));
    lrig_run_ms(&r, 2000);
    assert_int_equal(r.b[1].overs, 0); /* it cannot know */
    assert_false(floe_lease_alive(r.b[1].lease));
    floe_sim_bucket_heal(r.bucket);
    lrig_run_ms(&r, 2000);
    assert_int_equal(r.b[1].overs, 1);
    assert_int_equal(r.b[1].opens, 2);
    assert_int_equal(r.b[1].session.epoch, 2);
    assert_int_equal(lrig_served(&r, TOPIC, PARTS), PARTS);
    lrig_check(&r);
    lrig_fini(&r);
}

/* The last renewal's answer takes long: the lease time runs from when it was sent, which is before it
 * arrived. */
static void a_late_answer_prolongs_nothing(void **state)
{
    (void)state;
    struct lrig r;
    lrig_init(&r, 31, LEASE_MS);
    lrig_boot_wait(&r, 0);
    struct floe_sim_bucket_config slow = {.min_us = 30000, .mean_us = 100};
    floe_sim_bucket_configure(r.bucket, &slow);
    lrig_run_ms(&r, LEASE_MS);
    const struct floe_sim_object *o = floe_sim_bucket_find(r.bucket, "table/node/1");
    uint64_t before = o->at_us;
    for (int ms = 0; o->at_us <= before; ms++) {
        assert_in_range(ms, 0, 2 * LEASE_MS);
        lrig_run_ms(&r, 1);
        o = floe_sim_bucket_find(r.bucket, "table/node/1");
    }
    uint64_t arrived = o->at_us; /* its answer is on the way; nothing that is sent from now on arrives */
    struct floe_sim_rule rule = outage(r.b[0].node, 0, "table/");
    floe_sim_bucket_rule(r.bucket, &rule);
    lrig_run_ms(&r, LEASE_MS / 2);
    assert_true(floe_lease_alive(r.b[0].lease)); /* the answer came */
    lrig_run_ms(&r, LEASE_MS / 2 + 1);
    assert_int_equal(floe_sim_bucket_find(r.bucket, "table/node/1")->at_us, arrived);
    assert_false(floe_lease_alive(r.b[0].lease));
    lrig_fini(&r);
}

/* An answer takes a quarter of the lease time, longer than a step is given at first: everybody learns to wait
 * for it, stays alive, and takes over. */
static void a_slow_store_lapses_nobody(void **state)
{
    (void)state;
    struct lrig r;
    three(&r, 32);
    struct floe_sim_bucket_config slow = {.min_us = LEASE_MS * 1000 / 8, .mean_us = 5000};
    floe_sim_bucket_configure(r.bucket, &slow);
    lrig_run_ms(&r, 3 * LEASE_MS);
    uint32_t before = 0, after = 0;
    for (int i = 0; i < 3; i++)
        before += r.b[i].lapses;
    lrig_run_ms(&r, 20 * LEASE_MS);
    for (int i = 0; i < 3; i++) {
        after += r.b[i].lapses;
        assert_true(floe_lease_alive(r.b[i].lease));
    }
    assert_int_equal(after, before);
    lrig_write(&r, 2);
    lrig_kill(&r, 2);
    assert_true(lrig_until(&r, all_served, 10 * LEASE_MS));
    lrig_check(&r);
    lrig_fini(&r);
}

/* SIGSTOP beyond the lease: fenced; going on, it is not alive for a moment, learns it and opens anew. */
static void a_zombie_acknowledges_nothing(void **state)
{
    (void)state;
    struct lrig r;
    three(&r, 12);
    floe_sim_node_stall(r.b[1].node, 4 * LEASE_MS * 1000, false);
    assert_true(lrig_until(&r, all_served, LEASE_MS + 2000));
    while (floe_sim_node_stalled(r.b[1].node))
        lrig_run_ms(&r, 10);
    assert_false(floe_lease_alive(r.b[1].lease));
    lrig_run_ms(&r, 1000);
    assert_int_equal(r.b[1].overs, 1);
    assert_int_equal(r.b[1].opens, 2);
    assert_true(floe_lease_alive(r.b[1].lease));
    lrig_check(&r);
    lrig_fini(&r);
}

/* Peers that do not hear each other, but renew: nobody is fenced. */
static void cut_peers_live_on(void **state)
{
    (void)state;
    struct lrig r;
    three(&r, 13);
    for (int i = 0; i < 3; i++)
        floe_sim_net_cut_all(r.net, r.b[i].name, true);
    lrig_run_ms(&r, 10 * LEASE_MS);
    for (int i = 0; i < 3; i++)
        assert_int_equal(r.b[i].overs + r.b[i].lapses, 0);
    /* And one that dies meanwhile is replaced by the lease time alone. */
    lrig_vanish(&r, 2);
    assert_true(lrig_until(&r, all_served, LEASE_MS + 1000));
    lrig_check(&r);
    lrig_fini(&r);
}

/* Two observers come to fence at the same moment, on clocks that run differently; both seal and take. */
static void fencers_meet(void **state)
{
    (void)state;
    for (uint64_t seed = 20; seed < 60; seed++) {
        struct lrig r;
        three(&r, seed);
        lrig_write(&r, 2);
        lrig_write(&r, 2);
        floe_sim_node_clock(r.b[0].node, 1000000 + seed * 2000, 0);
        lrig_vanish(&r, 2);
        assert_true(lrig_until(&r, all_served, LEASE_MS + 2000));
        assert_int_equal(r.b[0].overs + r.b[1].overs, 0);
        lrig_check(&r);
        lrig_fini(&r);
    }
}

/* The session is given up by the layer above: sealed and replaced by its own broker, at once. */
static void a_lost_session_is_replaced(void **state)
{
    (void)state;
    struct lrig r;
    three(&r, 14);
    for (int i = 0; i < 4; i++)
        lrig_write(&r, 0);
    lrig_run_ms(&r, 50);
    floe_lease_session_lost(r.b[0].lease, "a test");
    assert_false(floe_lease_alive(r.b[0].lease));
    assert_int_equal(r.b[0].overs, 0); /* never from inside the call */
    assert_true(lrig_until(&r, all_served, 1000));
    assert_int_equal(r.b[0].overs, 1);
    assert_int_equal(r.b[0].session.epoch, 2);
    lrig_check(&r);
    lrig_fini(&r);
}

static void on_refreshed(void *user, const struct floe_error *err)
{
    assert_int_equal(err->code, FLOE_ECORRUPT);
    ++*(int *)user;
}

/* Leases come cut short for a while, and nobody changes them afterwards: they are read again. */
static void leases_that_came_cut_short_are_read_again(void **state)
{
    (void)state;
    struct lrig r;
    int cut = 0;
    lrig_init(&r, 31, LEASE_MS);
    lrig_boot_wait(&r, 0);
    lrig_boot_wait(&r, 1);
    lrig_run_ms(&r, 500);
    assert_int_equal(lrig_create(&r, 0, TOPIC, PARTS), FLOE_OK);
    assert_true(lrig_until(&r, all_served, LEASE_MS));
    lrig_run_ms(&r, 2 * LEASE_MS);
    floe_sim_bucket_rule(r.bucket, &(struct floe_sim_rule){.fault = FLOE_SIM_TRUNCATED,
                                                           .kinds = FLOE_SIM_KIND(FLOE_STORE_GET),
                                                           .prefix = "table/lease/",
                                                           .node = r.b[0].node});
    struct floe_tp tp = lrig_tp(TOPIC, 0); /* all lie in its shard */
    floe_lease_refresh(r.b[0].lease, &tp, on_refreshed, &cut);
    lrig_run_ms(&r, 1000);
    assert_int_equal(cut, 1);
    floe_sim_bucket_heal(r.bucket);
    lrig_run_ms(&r, 500);
    lrig_kill(&r, 1);
    assert_true(lrig_until(&r, all_served, LEASE_MS + 1000));
    lrig_check(&r);
    lrig_fini(&r);
}

/* What a checkpoint says while the leases cannot be read is named once they can: no other one comes of a
 * partition that does not change. */
static void a_checkpoint_waits_for_what_can_be_read(void **state)
{
    (void)state;
    struct lrig r;
    int cut = 0;
    lrig_init(&r, 33, LEASE_MS);
    lrig_boot_wait(&r, 0);
    assert_int_equal(lrig_create(&r, 0, TOPIC, PARTS), FLOE_OK);
    assert_true(lrig_until(&r, all_served, LEASE_MS));
    struct floe_tp tp = lrig_tp(TOPIC, 0);
    for (int ends = 0; ends < 2; ends++) {
        floe_sim_bucket_rule(r.bucket, &(struct floe_sim_rule){.fault = FLOE_SIM_TRUNCATED,
                                                               .kinds = FLOE_SIM_KIND(FLOE_STORE_GET),
                                                               .prefix = "table/lease/"});
        floe_lease_refresh(r.b[0].lease, &tp, on_refreshed, &cut);
        lrig_run_ms(&r, 1000);
        assert_int_equal(cut, ends + 1);
        for (uint64_t seq = 1; seq < 4; seq++) {
            struct floe_checkpoint_ref ref = {
                .session = r.b[0].session, .seq = 10u * (unsigned)ends + seq, .present = true};
            floe_lease_checkpointed(r.b[0].lease, &tp, 0, &ref);
            lrig_run_ms(&r, 500);
        }
        if (ends) /* but a clean end does not wait for it */
            break;
        floe_sim_bucket_heal(r.bucket);
        lrig_run_ms(&r, LEASE_MS);
        struct floe_lease_entry e;
        assert_true(floe_lease_lookup(r.b[0].lease, &tp, &e));
        assert_true(e.checkpoint.present);
        assert_int_equal(e.checkpoint.seq, 3);
    }
    lrig_end(&r, 0);
    assert_int_equal(r.b[0].end_err.code, FLOE_OK);
    lrig_fini(&r);
}

/* A node's record comes cut short to a broker that starts: it takes that for no sign of its end. */
static void a_record_that_came_cut_short_ends_nobody(void **state)
{
    (void)state;
    struct lrig r;
    lrig_init(&r, 32, LEASE_MS);
    lrig_boot_wait(&r, 0);
    assert_int_equal(lrig_create(&r, 0, TOPIC, PARTS), FLOE_OK);
    assert_true(lrig_until(&r, all_served, LEASE_MS));
    floe_sim_bucket_rule(r.bucket, &(struct floe_sim_rule){.fault = FLOE_SIM_TRUNCATED,
                                                           .kinds = FLOE_SIM_KIND(FLOE_STORE_GET),
                                                           .prefix = "table/node/1"});
    lrig_boot(&r, 1);
    lrig_run_ms(&r, 2 * LEASE_MS);
    assert_true(r.b[1].open);
    assert_int_equal(r.b[0].overs, 0);
    floe_sim_bucket_heal(r.bucket);
    lrig_run_ms(&r, LEASE_MS / 2);
    struct floe_node_info n;
    assert_true(floe_lease_node(r.b[1].lease, r.b[0].session.node, &n));
    lrig_check(&r);
    lrig_fini(&r);
}

/* A broker that starts again, and to which its own former record comes damaged for a while, keeps its id. */
static void a_damaged_record_costs_no_id(void **state)
{
    (void)state;
    struct lrig r;
    lrig_init(&r, 33, LEASE_MS);
    lrig_boot_wait(&r, 0);
    assert_int_equal(r.b[0].session.node, 1);
    lrig_kill(&r, 0);
    floe_sim_bucket_rule(r.bucket, &(struct floe_sim_rule){.fault = FLOE_SIM_TRUNCATED,
                                                           .kinds = FLOE_SIM_KIND(FLOE_STORE_GET),
                                                           .prefix = "table/node/1"});
    lrig_boot(&r, 0);
    lrig_run_ms(&r, LEASE_MS / 2);
    floe_sim_bucket_heal(r.bucket);
    lrig_run_ms(&r, 2 * LEASE_MS);
    assert_true(r.b[0].open);
    assert_int_equal(r.b[0].session.node, 1);
    lrig_check(&r);
    lrig_fini(&r);
}

/* A full disk keeps nobody from a session: only its next start may have to wait for its own ghost. */
static void a_full_disk_stops_no_session(void **state)
{
    (void)state;
    struct lrig r;
    lrig_init(&r, 16, LEASE_MS);
    floe_sim_disk_fail(r.b[0].disk, FLOE_ENOSPACE);
    lrig_boot_wait(&r, 0);
    assert_true(r.b[0].notes > 0);
    assert_int_equal(lrig_create(&r, 0, TOPIC, PARTS), FLOE_OK);
    floe_lease_session_lost(r.b[0].lease, "a test");
    lrig_run_ms(&r, 500);
    assert_int_equal(r.b[0].session.epoch, 2);
    assert_int_equal(lrig_served(&r, TOPIC, PARTS), PARTS);
    lrig_fini(&r);
}

static bool b1_serves_nothing(struct lrig *r)
{
    return r->b[1].overs > 0 && lrig_serves(r, 1) == 0 && lrig_served(r, TOPIC, PARTS) == PARTS;
}

/* Its PUTs are refused, its renewals are not, a peer's PUTs succeed: it hands over. Alone it would wait. */
static void a_broker_that_cannot_put_hands_over(void **state)
{
    (void)state;
    for (int busy = 0; busy < 2; busy++) {
        struct lrig r;
        three(&r, 15);
        struct floe_sim_rule rule = {.fault = FLOE_SIM_DENIED,
                                     .kinds = FLOE_SIM_KIND(FLOE_STORE_PUT),
                                     .prefix = "chain/",
                                     .node = r.b[1].node};
        floe_sim_bucket_rule(r.bucket, &rule);
        lrig_write(&r, 1);
        for (int k = 0; k < 20 && busy; k++) {
            lrig_write(&r, 0);
            lrig_run_ms(&r, LEASE_MS / 10);
        }
        if (busy) {
            assert_true(lrig_until(&r, b1_serves_nothing, 3 * LEASE_MS));
            assert_int_equal(r.b[0].overs + r.b[2].overs, 0);
            lrig_run_ms(&r, 3 * LEASE_MS);
            assert_int_equal(r.b[1].opens, 2);
            assert_int_equal(lrig_serves(&r, 1), 0);
        } else {
            lrig_run_ms(&r, 4 * LEASE_MS);
            assert_int_equal(r.b[1].overs, 0);
        }
        lrig_check(&r);
        lrig_fini(&r);
    }
}

/* Chance faults on everything, deaths and restarts, many seeds: whatever happens, once it stops, all is
 * served. */
static void storms(void **state)
{
    (void)state;
    for (uint64_t seed = 1000; seed < 1030; seed++) {
        struct lrig r;
        three(&r, seed);
        struct floe_sim_bucket_config cfg = {.min_us = 1000, .mean_us = 4000, .late_us_max = 3000000};
        for (int f = FLOE_SIM_LOST_REQUEST; f <= FLOE_SIM_E503; f++)
            cfg.ppm[f] = 8000;
        floe_sim_bucket_configure(r.bucket, &cfg);
        struct floe_rng rng;
        floe_rng_init(&rng, seed);
        for (int k = 0; k < 60; k++) {
            int i = (int)floe_rng_below(&rng, 3);
            struct lrig_broker *b = &r.b[i];
            switch (floe_rng_below(&rng, 8)) {
            case 0:
                if (b->up)
                    lrig_kill(&r, i);
                break;
            case 1:
                if (b->up)
                    lrig_vanish(&r, i);
                break;
            case 2:
                if (b->up)
                    floe_sim_node_stall(b->node, floe_rng_below(&rng, 3 * LEASE_MS * 1000), false);
                break;
            case 3:
            case 4:
                if (!b->up)
                    lrig_boot(&r, i);
                break;
            default:
                if (b->up && !floe_sim_node_stalled(b->node))
                    lrig_write(&r, i);
                break;
            }
            lrig_run_ms(&r, floe_rng_below(&rng, 400));
        }
        struct floe_sim_bucket_config calm = {0};
        floe_sim_bucket_configure(r.bucket, &calm);
        floe_sim_bucket_heal(r.bucket);
        for (int i = 0; i < 3; i++) {
            if (r.b[i].up && r.b[i].start_failed)
                lrig_kill(&r, i);
            if (!r.b[i].up)
                lrig_boot(&r, i);
        }
        if (!lrig_until(&r, all_served, 6 * LEASE_MS))
            fail_msg("seed %d: %u of %d served", (int)seed, lrig_served(&r, TOPIC, PARTS), PARTS);
        lrig_run_ms(&r, 2 * LEASE_MS);
        assert_int_equal(lrig_served(&r, TOPIC, PARTS), PARTS);
        lrig_check(&r);
        for (int i = 0; i < 3; i++)
            assert_false(r.b[i].fatal);
        lrig_fini(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(broken_table_puts),
        cmocka_unit_test(lost_table_puts),
        cmocka_unit_test(late_table_puts),
        cmocka_unit_test(repeated_table_puts),
        cmocka_unit_test(failed_table_puts),
        cmocka_unit_test(failed_reads),
        cmocka_unit_test(doubtful_seals),
        cmocka_unit_test(an_outage_kills_nobody),
        cmocka_unit_test(a_broker_without_table_is_replaced),
        cmocka_unit_test(a_late_answer_prolongs_nothing),
        cmocka_unit_test(a_slow_store_lapses_nobody),
        cmocka_unit_test(a_zombie_acknowledges_nothing),
        cmocka_unit_test(cut_peers_live_on),
        cmocka_unit_test(fencers_meet),
        cmocka_unit_test(a_lost_session_is_replaced),
        cmocka_unit_test(a_broker_that_cannot_put_hands_over),
        cmocka_unit_test(leases_that_came_cut_short_are_read_again),
        cmocka_unit_test(a_checkpoint_waits_for_what_can_be_read),
        cmocka_unit_test(a_record_that_came_cut_short_ends_nobody),
        cmocka_unit_test(a_damaged_record_costs_no_id),
        cmocka_unit_test(a_full_disk_stops_no_session),
        cmocka_unit_test(storms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
