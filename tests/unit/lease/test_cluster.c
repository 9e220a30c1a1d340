/* The start of a cluster on a bucket: first, later, both at once, and what is refused. */
#include "floe_cmocka.h"

#include "lease/records.h"

#include <floe/base/buf.h>
#include <floe/sim.h>

#include <stdio.h>

struct opening {
    bool done;
    struct floe_error err;
    struct floe_cluster_info info;
};
struct world {
    struct floe_sim *sim;
    struct floe_sim_bucket *bucket;
    struct floe_sim_node *node[2];
    struct floe_store *store[2];
    struct floe_table *table[2];
};

static void setup(struct world *w, uint64_t seed)
{
    struct floe_error err;
    w->sim = floe_sim_create(seed);
    w->bucket = floe_sim_bucket_create(w->sim);
    for (int i = 0; i < 2; i++) {
        w->node[i] = floe_sim_node_create(w->sim, i == 0 ? "a" : "b");
        w->store[i] = floe_sim_store_create(w->bucket, w->node[i]);
        assert_int_equal(floe_table_store_create(&w->table[i], w->store[i], &err), FLOE_OK);
    }
}

static void teardown(struct world *w)
{
    for (int i = 0; i < 2; i++) {
        floe_sim_node_kill(w->node[i]);
        floe_table_store_destroy(&w->table[i]);
    }
    floe_sim_destroy(&w->sim);
}

static void on_open(void *user, const struct floe_error *err, const struct floe_cluster_info *info)
{
    struct opening *o = user;
    assert_false(o->done);
    o->done = true;
    o->err = *err;
    if (info != NULL)
        o->info = *info;
}

static bool is_done(void *user)
{
    return ((struct opening *)user)->done;
}

/* Opens and lets the probe in the background come to its end. */
static struct opening open_one(struct world *w, int i)
{
    struct opening o = {0};
    floe_cluster_open(w->store[i], w->table[i], NULL, floe_format_newest, on_open, &o);
    assert_false(o.done);
    assert_true(floe_sim_run_until(w->sim, is_done, &o, 60000000));
    floe_sim_run_for(w->sim, 5000000);
    return o;
}

static void first_and_later(void **state)
{
    (void)state;
    struct world w;
    setup(&w, 1);
    struct opening a = open_one(&w, 0);
    assert_int_equal(a.err.code, FLOE_OK);
    assert_int_equal(a.info.shards, FLOE_LEASE_SHARDS_DEFAULT);
    assert_false(floe_uuid_is_zero(&a.info.id));
    assert_non_null(floe_sim_bucket_find(w.bucket, "cluster"));
    assert_non_null(floe_sim_bucket_find(w.bucket, "table/cluster"));
    /* A later start: one round trip, and the probe in the background. */
    struct floe_sim_bucket_config cfg = {.min_us = 10000, .mean_us = 1};
    floe_sim_bucket_configure(w.bucket, &cfg);
    uint64_t from = floe_sim_now_us(w.sim);
    struct opening b = {0};
    floe_cluster_open(w.store[1], w.table[1], NULL, floe_format_newest, on_open, &b);
    assert_true(floe_sim_run_until(w.sim, is_done, &b, 60000000));
    assert_true(floe_sim_now_us(w.sim) - from < 25000);
    assert_int_equal(b.err.code, FLOE_OK);
    assert_true(floe_uuid_eq(&a.info.id, &b.info.id));
    floe_sim_run_for(w.sim, 5000000);
    for (size_t i = 0; i < floe_sim_bucket_count(w.bucket); i++)
        assert_true(strncmp(floe_sim_bucket_at(w.bucket, i)->key, "probe/", 6) != 0);
    teardown(&w);
}

static void both_at_once_agree(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 40; seed++) {
        struct world w;
        setup(&w, seed);
        struct opening a = {0}, b = {0};
        floe_cluster_open(w.store[0], w.table[0], NULL, floe_format_newest, on_open, &a);
        floe_sim_run_for(w.sim, seed * 3000);
        floe_cluster_open(w.store[1], w.table[1], NULL, floe_format_newest, on_open, &b);
        assert_true(floe_sim_run_until(w.sim, is_done, &a, 60000000));
        assert_true(floe_sim_run_until(w.sim, is_done, &b, 60000000));
        floe_sim_run_for(w.sim, 5000000);
        assert_int_equal(a.err.code, FLOE_OK);
        assert_int_equal(b.err.code, FLOE_OK);
        assert_true(floe_uuid_eq(&a.info.id, &b.info.id));
        teardown(&w);
    }
}

/* A doubtful answer to any request of a first start: it still comes through, or fails with a sentence, and
 * the next one comes through. */
static void doubts_do_no_harm(void **state)
{
    (void)state;
    static const enum floe_sim_fault faults[] = {FLOE_SIM_BROKEN, FLOE_SIM_LOST_ANSWER, FLOE_SIM_E500,
                                                 FLOE_SIM_E500_APPLIED, FLOE_SIM_LATE};
    for (size_t f = 0; f < sizeof faults / sizeof *faults; f++) {
        for (uint32_t skip = 0; skip < 30; skip++) {
            struct world w;
            setup(&w, 100 + skip);
            struct floe_sim_rule rule = {
                .fault = faults[f], .prefix = skip % 2 ? "cluster" : "table/", .skip = skip / 2, .times = 1};
            floe_sim_bucket_rule(w.bucket, &rule);
            struct opening a = open_one(&w, 0);
            if (a.err.code != FLOE_OK)
                assert_true(strlen(a.err.msg) > 20);
            struct opening b = open_one(&w, 1);
            assert_int_equal(b.err.code, FLOE_OK);
            if (a.err.code == FLOE_OK)
                assert_true(floe_uuid_eq(&a.info.id, &b.info.id));
            teardown(&w);
        }
    }
}

static void remove_all(struct world *w, const char *prefix)
{
    for (size_t i = floe_sim_bucket_count(w->bucket); i > 0; i--) {
        char key[FLOE_STORE_KEY_MAX];
        snprintf(key, sizeof key, "%s", floe_sim_bucket_at(w->bucket, i - 1)->key);
        if (strncmp(key, prefix, strlen(prefix)) == 0)
            floe_sim_bucket_delete(w->bucket, key);
    }
}

static void refused(struct world *w, const char *says)
{
    struct opening o = open_one(w, 1);
    assert_int_equal(o.err.code, FLOE_EINVAL);
    if (strstr(o.err.msg, says) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", o.err.msg, says);
}

static void mismatches_are_refused(void **state)
{
    (void)state;
    struct world w;
    static const char chain[] = "chain/1-1-0123456789abcdef/00000000000000000000";
    setup(&w, 3);
    struct opening a = open_one(&w, 0);
    /* The table is empty, and there is no data yet: adopted. */
    remove_all(&w, "table/");
    struct opening b = open_one(&w, 1);
    assert_int_equal(b.err.code, FLOE_OK);
    assert_true(floe_uuid_eq(&a.info.id, &b.info.id));
    /* With data: lost. */
    remove_all(&w, "table/");
    floe_sim_bucket_put(w.bucket, chain, "x", 1, "x");
    refused(&w, "the table is lost");
    floe_sim_bucket_delete(w.bucket, chain);
    assert_int_equal(open_one(&w, 1).err.code, FLOE_OK);
    /* The object is gone, the table is not. */
    floe_sim_bucket_delete(w.bucket, "cluster");
    refused(&w, "no cluster object");
    /* Another cluster's object. */
    const char *other = "{\"id\":\"00112233445566778899aabbccddeeff\",\"format\":1}";
    floe_sim_bucket_put(w.bucket, "cluster", other, strlen(other), "x");
    refused(&w, "ABEiM0RVZneImaq7zN3u_w");
    /* Not what it claims to be. */
    floe_sim_bucket_put(w.bucket, "cluster", "{}", 2, "x");
    struct opening c = open_one(&w, 1);
    assert_int_equal(c.err.code, FLOE_ECORRUPT);
    assert_non_null(strstr(c.err.msg, "format"));
    const char *newer = "{\"id\":\"00112233445566778899aabbccddeeff\",\"format\":9}";
    floe_sim_bucket_put(w.bucket, "cluster", newer, strlen(newer), "x");
    assert_int_equal(open_one(&w, 1).err.code, FLOE_EUNSUPPORTED);
    teardown(&w);
}

/* A data directory of one cluster against an empty store, and against another's: nothing is written. */
static void a_data_directory_stays_with_its_cluster(void **state)
{
    (void)state;
    struct world w;
    setup(&w, 5);
    static const struct floe_uuid own = {.b = {0xab, 1}};
    char ours[23], theirs[23];
    floe_uuid_b64(ours, &own);
    struct opening o = {0};
    floe_cluster_open(w.store[0], w.table[0], &own, floe_format_newest, on_open, &o);
    assert_true(floe_sim_run_until(w.sim, is_done, &o, 20000000));
    assert_int_equal(o.err.code, FLOE_EINVAL);
    assert_non_null(strstr(o.err.msg, ours));
    assert_non_null(strstr(o.err.msg, "holds no cluster: name the store"));
    floe_sim_run_for(w.sim, 5000000);
    assert_int_equal(floe_sim_bucket_count(w.bucket), 0);
    struct opening a = open_one(&w, 0);
    assert_int_equal(a.err.code, FLOE_OK);
    size_t count = floe_sim_bucket_count(w.bucket);
    o = (struct opening){0};
    floe_cluster_open(w.store[1], w.table[1], &own, floe_format_newest, on_open, &o);
    assert_true(floe_sim_run_until(w.sim, is_done, &o, 20000000));
    floe_uuid_b64(theirs, &a.info.id);
    assert_int_equal(o.err.code, FLOE_EINVAL);
    assert_non_null(strstr(o.err.msg, ours));
    assert_non_null(strstr(o.err.msg, theirs));
    floe_sim_run_for(w.sim, 5000000);
    assert_int_equal(floe_sim_bucket_count(w.bucket), count);
    o = (struct opening){0};
    floe_cluster_open(w.store[1], w.table[1], &a.info.id, floe_format_newest, on_open, &o);
    assert_true(floe_sim_run_until(w.sim, is_done, &o, 20000000));
    assert_int_equal(o.err.code, FLOE_OK);
    floe_sim_run_for(w.sim, 5000000);
    teardown(&w);
}

static void an_old_broker_is_refused(void **state)
{
    (void)state;
    struct world w;
    setup(&w, 6);
    assert_int_equal(open_one(&w, 0).err.code, FLOE_OK);
    struct opening o = {0};
    floe_cluster_open(w.store[1], w.table[1], NULL, floe_format_newest - 1, on_open, &o);
    assert_true(floe_sim_run_until(w.sim, is_done, &o, 20000000));
    assert_int_equal(o.err.code, FLOE_EUNSUPPORTED);
    assert_non_null(strstr(o.err.msg, "was written by a newer Floe, this one reads up to 1"));
    teardown(&w);
}

static void an_unreachable_store_is_named_in_time(void **state)
{
    (void)state;
    struct world w;
    setup(&w, 4);
    struct floe_sim_rule rule = {.fault = FLOE_SIM_REFUSED};
    floe_sim_bucket_rule(w.bucket, &rule);
    uint64_t from = floe_sim_now_us(w.sim);
    struct opening o = {0};
    floe_cluster_open(w.store[0], w.table[0], NULL, floe_format_newest, on_open, &o);
    assert_true(floe_sim_run_until(w.sim, is_done, &o, 20000000));
    assert_true(floe_sim_now_us(w.sim) - from <= 16000000);
    assert_int_not_equal(o.err.code, FLOE_OK);
    assert_non_null(strstr(o.err.msg, w.store[0]->url));
    teardown(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_and_later),
        cmocka_unit_test(both_at_once_agree),
        cmocka_unit_test(doubts_do_no_harm),
        cmocka_unit_test(mismatches_are_refused),
        cmocka_unit_test(a_data_directory_stays_with_its_cluster),
        cmocka_unit_test(an_old_broker_is_refused),
        cmocka_unit_test(an_unreachable_store_is_named_in_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
