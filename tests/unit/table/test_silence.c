/* The table while its store says nothing: what waits, whoever waits for it, and what is done meanwhile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include <floe/base/assert.h>
#include <floe/sim.h>
#include <floe/table.h>

#define WAITING 6

struct world {
    struct floe_sim *sim;
    struct floe_sim_bucket *bucket;
    struct floe_sim_node *node;
    struct floe_store *store;
    struct floe_table *table;
    struct floe_table_req r[2 * WAITING];
    bool done[2 * WAITING], closed;
    void (*act)(struct world *w, int i); /* in each call-back */
};
static void open_world(struct world *w, uint64_t seed)
{
    *w = (struct world){.sim = floe_sim_create(seed)};
    w->bucket = floe_sim_bucket_create(w->sim);
    w->node = floe_sim_node_create(w->sim, "a");
    w->store = floe_sim_store_create(w->bucket, w->node);
    assert_int_equal(floe_table_store_create(&w->table, w->store, NULL), FLOE_OK);
}
static void close_world(struct world *w)
{
    for (size_t i = 0; i < FLOE_COUNTOF(w->r); i++)
        floe_table_req_fini(&w->r[i]);
    floe_table_store_destroy(&w->table);
    floe_sim_destroy(&w->sim);
}
static void on_done(struct floe_table_req *r)
{
    struct world *w = r->user;
    int i = (int)(r - w->r);
    assert_false(w->done[i]);
    w->done[i] = true;
    if (w->act)
        w->act(w, i);
}
static void submit(struct world *w, int i, struct floe_table_req in)
{
    w->r[i] = in;
    w->r[i].done = on_done;
    w->r[i].user = w;
    floe_table_submit(w->table, &w->r[i]);
}

/* A scan's prefix is no key that could be asked for. */
static void a_scan_that_waits_alone_is_soon_sent_anew(void **state)
{
    (void)state;
    static const char *const prefixes[] = {"", "node/", "node/1"};
    for (size_t i = 0; i < FLOE_COUNTOF(prefixes); i++) {
        struct world w;
        open_world(&w, 7);
        floe_sim_bucket_rule(w.bucket, &(struct floe_sim_rule){.fault = FLOE_SIM_LOST_REQUEST});
        struct floe_table_req r = {
            .kind = FLOE_TABLE_SCAN, .max_keys = 10, .timeout_us = 30000000, .copy_us = 10000000};
        snprintf(r.key, sizeof r.key, "%s", prefixes[i]);
        submit(&w, 0, r);
        floe_sim_run_for(w.sim, 3200000);
        assert_false(w.done[0]);
        floe_sim_bucket_heal(w.bucket);
        floe_sim_run_for(w.sim, 1000000);
        assert_true(w.done[0]);
        assert_int_equal(w.r[0].err.code, FLOE_OK);
        close_world(&w);
    }
}

/* A read and a write are lost; others are answered. */
static void what_others_overtake_is_sent_anew(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, 7);
    floe_sim_bucket_rule(w.bucket, &(struct floe_sim_rule){.fault = FLOE_SIM_LOST_REQUEST, .times = 2});
    struct floe_table_req r = {.kind = FLOE_TABLE_GET,
                               .key = "a",
                               .timeout_us = 30000000,
                               .copy_us = 10000000},
                          put = r;
    put.kind = FLOE_TABLE_PUT;
    put.value = "1";
    put.value_n = 1;
    submit(&w, 0, r);
    submit(&w, 1, put);
    uint64_t gets = w.store->stats.get, puts = w.store->stats.put;
    for (int i = 2; i < 2 * WAITING; i++) {
        floe_sim_run_for(w.sim, 100000);
        submit(&w, i, r);
    }
    floe_sim_run_for(w.sim, 200000);
    for (int i = 0; i < 2 * WAITING; i++)
        assert_true(w.done[i]);
    assert_int_equal(w.r[1].err.code, FLOE_OK);
    assert_int_equal(w.store->stats.get - gets,
                     2 * WAITING - 2 + 2); /* once anew, once read back; no probe */
    assert_int_equal(w.store->stats.put - puts, 1);
    close_world(&w);
}
/* Where every answer takes long, or every answer to a write, nothing is asked twice but the first time. */
static void a_slow_store_is_not_asked_more_for_it(void **state)
{
    (void)state;
    for (int writes = 0; writes < 2; writes++) {
        struct world w;
        open_world(&w, 7);
        floe_sim_bucket_configure(
            w.bucket, &(struct floe_sim_bucket_config){.min_us = writes ? 350000 : 200000, .mean_us = 50000});
        uint32_t unanswered = 0;
        for (int i = 0; i < 2 * WAITING; i++) {
            struct floe_table_req r = {.kind = writes ? FLOE_TABLE_PUT : FLOE_TABLE_GET,
                                       .value = "1",
                                       .value_n = 1,
                                       .timeout_us = 30000000,
                                       .copy_us = 10000000};
            snprintf(r.key, sizeof r.key, "%c", 'a' + i);
            submit(&w, i, r);
            floe_sim_run_for(w.sim, writes ? 3000000 : 100000);
        }
        floe_sim_run_for(w.sim, 3000000);
        for (int i = 0; i < 2 * WAITING; i++) {
            assert_true(w.done[i]);
            unanswered += w.r[i].unanswered;
        }
        assert_in_range(unanswered, 0, writes);
        close_world(&w);
    }
}

/* Where writes alone take long, that is soon learned. */
static void slow_writes_are_not_sent_over_and_over(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, 7);
    floe_sim_bucket_rule(w.bucket, &(struct floe_sim_rule){.fault = FLOE_SIM_HANG,
                                                           .kinds = FLOE_SIM_KIND(FLOE_STORE_PUT),
                                                           .delay_us = 1500000});
    uint64_t puts = w.store->stats.put;
    for (int i = 0; i < WAITING; i++) {
        struct floe_table_req r = {
            .kind = FLOE_TABLE_PUT, .value = "1", .value_n = 1, .timeout_us = 30000000, .copy_us = 10000000};
        snprintf(r.key, sizeof r.key, "%c", 'a' + i);
        submit(&w, i, r);
        for (int k = 0; k < 50; k++) { /* others are answered at once */
            submit(&w, WAITING, (struct floe_table_req){.kind = FLOE_TABLE_GET, .key = "z"});
            floe_sim_run_for(w.sim, 100000);
            assert_true(w.done[WAITING]);
            w.done[WAITING] = false;
        }
        assert_true(w.done[i]);
        assert_int_equal(w.r[i].err.code, FLOE_OK);
    }
    assert_in_range(w.store->stats.put - puts, WAITING, WAITING + 3);
    close_world(&w);
}

static void submit_more(struct world *w, int i)
{
    if (i < WAITING)
        submit(w, WAITING + i, (struct floe_table_req){.kind = FLOE_TABLE_GET, .key = "a", .attempts = 1});
}
static void cancel_others(struct world *w, int i)
{
    (void)i;
    for (int k = 0; k < WAITING; k++)
        if (!w->done[k])
            floe_table_cancel(w->table, &w->r[k]);
}
static void on_closed(void *user)
{
    *(bool *)user = true;
}
static void close_table(struct world *w, int i)
{
    (void)i;
    floe_table_close(w->table, on_closed, &w->closed);
    w->table = NULL;
    w->act = NULL;
}
static void destroy_table(struct world *w, int i)
{
    (void)i;
    floe_table_store_destroy(&w->table);
    w->act = NULL;
}
static void kill_node(struct world *w, int i)
{
    (void)i;
    floe_sim_node_kill(w->node);
    w->act = NULL;
}
/* Call-backs do what they like, at whatever moment the silence ends: between two probes, with one on its way,
 * as the first answer makes the others be sent anew. */
static void a_call_back_after_a_silence_may_do_anything(void **state)
{
    (void)state;
    static void (*const acts[])(struct world *, int) = {submit_more, cancel_others, close_table,
                                                        destroy_table, kill_node};
    for (size_t a = 0; a < FLOE_COUNTOF(acts); a++) {
        for (uint64_t end_us = 300000; end_us < 2000000; end_us += 9700) {
            struct world w;
            open_world(&w, a + end_us);
            w.act = acts[a];
            floe_sim_bucket_rule(w.bucket, &(struct floe_sim_rule){.fault = FLOE_SIM_LOST_REQUEST});
            for (int i = 0; i < WAITING; i++) {
                static const enum floe_table_kind kinds[] = {FLOE_TABLE_PUT, FLOE_TABLE_SCAN, FLOE_TABLE_GET};
                struct floe_table_req r = {.kind = kinds[i % 3],
                                           .value = "1",
                                           .value_n = 1,
                                           .max_keys = 10,
                                           .timeout_us = 20000000,
                                           .copy_us = 400000u << i};
                snprintf(r.key, sizeof r.key, "%c", 'a' + i);
                submit(&w, i, r);
                floe_sim_run_for(w.sim, 30000);
            }
            floe_sim_run_for(w.sim, end_us);
            floe_sim_bucket_heal(w.bucket);
            floe_sim_run_for(w.sim, 1500000);
            int done = 0;
            for (int i = 0; i < 2 * WAITING; i++)
                done += w.done[i];
            if (acts[a] == submit_more)
                assert_int_equal(done, 2 * WAITING);
            else
                assert_int_equal(done, 1);
            assert_int_equal(w.closed, acts[a] == close_table);
            floe_sim_run_for(w.sim, 30000000);
            close_world(&w);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_scan_that_waits_alone_is_soon_sent_anew),
        cmocka_unit_test(what_others_overtake_is_sent_anew),
        cmocka_unit_test(a_slow_store_is_not_asked_more_for_it),
        cmocka_unit_test(slow_writes_are_not_sent_over_and_over),
        cmocka_unit_test(a_call_back_after_a_silence_may_do_anything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
