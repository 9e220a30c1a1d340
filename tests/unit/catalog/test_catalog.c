/* Topics are made and deleted by conditional writes whose answers get lost, by brokers that die in the
 * middle, and read by others at any moment: whole cores over one simulated table. */
#include <floe_cmocka.h>

#include "api_rig.h"
#include "broker/core_int.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct result {
    bool done;
    struct floe_error err;
    struct floe_uuid id;
};
static void taken(void *user, const struct floe_error *err, const struct floe_uuid *id)
{
    struct result *r = user;
    assert_false(r->done);
    *r = (struct result){true, *err, *id};
}
static bool result_done(void *user)
{
    return ((struct result *)user)->done;
}
static struct floe_catalog_op *begin_create(struct api_node *n, const char *name, int32_t partitions,
                                            struct result *out)
{
    struct floe_topic_spec spec = {.name = name, .partitions = partitions};
    *out = (struct result){0};
    return floe_catalog_create_topic(n->core->catalog, &spec, taken, out);
}
static struct floe_catalog_op *begin_delete(struct api_node *n, const char *name, struct result *out)
{
    *out = (struct result){0};
    return floe_catalog_delete_topic(n->core->catalog, name, NULL, taken, out);
}
static enum floe_err finish(struct api_node *n, struct result *r)
{
    assert_true(floe_sim_run_until(n->rig->sim, result_done, r, 120000000));
    return r->err.code;
}

/* What the table says; -1: no record. */
static int record_state(struct api_rig *r, const char *name)
{
    static const char *const states[] = {"creating", "live", "deleting", "deleted"};
    char key[300], text[2048];
    snprintf(key, sizeof key, "table/topic/%s", name);
    const struct floe_sim_object *o = floe_sim_bucket_find(r->bucket, key);
    if (!o)
        return -1;
    snprintf(text, sizeof text, "%.*s", (int)o->n, (const char *)o->data);
    for (int i = 0; i < 4; i++) {
        char want[40];
        snprintf(want, sizeof want, "\"state\":\"%s\"", states[i]);
        if (strstr(text, want))
            return i;
    }
    fail_msg("no state in %s", text);
    return -1;
}
/* Does any lease shard speak of the topic? */
static bool leased(struct api_rig *r, const struct floe_uuid *id)
{
    char hex[FLOE_UUID_HEX];
    floe_uuid_hex(hex, id);
    for (size_t i = 0; i < floe_sim_bucket_count(r->bucket); i++) {
        const struct floe_sim_object *o = floe_sim_bucket_at(r->bucket, i);
        if (strncmp(o->key, "table/lease/", 12) != 0)
            continue;
        for (size_t at = 0; at + 32 <= o->n; at++) {
            if (memcmp(o->data + at, hex, 32) == 0)
                return true;
        }
    }
    return false;
}
static void assert_usable(struct api_node *n, const char *name)
{
    struct floe_arena a;
    floe_arena_init(&a, 1 << 20);
    for (int tries = 0;; tries++) {
        struct api_node *leader = api_leader_of(n->rig, name, 0);
        if (leader) {
            assert_int_equal(api_produce_one(leader, name, 0, -1, api_batch(&a, 0, 1, true, 0), NULL), 0);
            break;
        }
        assert_true(tries < 200);
        api_rig_run(n->rig, 100);
    }
    floe_arena_fini(&a);
}

/* Every fault on each of the writes of a creation and of a deletion. */
static void test_lost_answers(void **state)
{
    static const enum floe_sim_fault faults[] = {
        FLOE_SIM_LOST_REQUEST, FLOE_SIM_LOST_ANSWER,  FLOE_SIM_BROKEN, FLOE_SIM_LATE,         FLOE_SIM_TWICE,
        FLOE_SIM_E409,         FLOE_SIM_E409_APPLIED, FLOE_SIM_E500,   FLOE_SIM_E500_APPLIED, FLOE_SIM_E503};
    struct api_rig r;
    struct result res;
    (void)state;
    api_rig_start(&r, 1, 2);
    for (size_t f = 0; f < FLOE_COUNTOF(faults); f++) {
        for (uint32_t skip = 0; skip < 2; skip++) {
            char name[32];
            snprintf(name, sizeof name, "t%zu-%u", f, skip);
            struct floe_sim_rule rule = {.fault = faults[f],
                                         .kinds = FLOE_SIM_KIND(FLOE_STORE_PUT),
                                         .prefix = "table/topic/",
                                         .skip = skip,
                                         .times = 2};
            floe_sim_bucket_rule(r.bucket, &rule);
            assert_non_null(begin_create(&r.nodes[0], name, 3, &res));
            assert_int_equal(finish(&r.nodes[0], &res), FLOE_OK);
            floe_sim_bucket_heal(r.bucket);
            struct floe_uuid id = res.id, seen;
            assert_int_equal(record_state(&r, name), FLOE_TOPIC_LIVE);
            assert_true(api_topic_id(&r.nodes[1], name, &seen));
            assert_true(floe_uuid_eq(&id, &seen));
            assert_true(leased(&r, &id));
            assert_non_null(begin_create(&r.nodes[1], name, 3, &res));
            assert_int_equal(finish(&r.nodes[1], &res), FLOE_EEXISTS);
            floe_sim_bucket_rule(r.bucket, &rule);
            assert_non_null(begin_delete(&r.nodes[1], name, &res));
            assert_int_equal(finish(&r.nodes[1], &res), FLOE_OK);
            floe_sim_bucket_heal(r.bucket);
            assert_int_equal(record_state(&r, name), FLOE_TOPIC_DELETED);
            assert_false(leased(&r, &id));
            assert_non_null(begin_delete(&r.nodes[1], name, &res));
            assert_int_equal(finish(&r.nodes[1], &res), FLOE_ENOTFOUND);
        }
    }
    /* Copies of writes that come late change nothing. */
    api_rig_run(&r, 30000);
    for (size_t f = 0; f < FLOE_COUNTOF(faults); f++) {
        char name[32];
        snprintf(name, sizeof name, "t%zu-0", f);
        assert_int_equal(record_state(&r, name), FLOE_TOPIC_DELETED);
    }
    api_rig_stop(&r);
}

/* Two brokers make the same topic at once, over a table that loses answers. */
static void test_race(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct api_rig r;
        struct result a, b;
        struct floe_uuid x, y;
        api_rig_start(&r, seed, 2);
        struct floe_sim_rule rule = {.fault = seed % 2 ? FLOE_SIM_LOST_ANSWER : FLOE_SIM_E500_APPLIED,
                                     .kinds = FLOE_SIM_KIND(FLOE_STORE_PUT),
                                     .prefix = "table/topic/",
                                     .ppm = 400000};
        floe_sim_bucket_rule(r.bucket, &rule);
        begin_create(&r.nodes[0], "t", 2, &a);
        begin_create(&r.nodes[1], "t", 2, &b);
        finish(&r.nodes[0], &a);
        finish(&r.nodes[1], &b);
        floe_sim_bucket_heal(r.bucket);
        assert_true(a.err.code == FLOE_OK || a.err.code == FLOE_EEXISTS);
        assert_true(b.err.code == FLOE_OK || b.err.code == FLOE_EEXISTS);
        assert_true((a.err.code == FLOE_OK) != (b.err.code == FLOE_OK));
        const struct floe_uuid *id = a.err.code == FLOE_OK ? &a.id : &b.id;
        api_rig_run(&r, 1000);
        assert_true(api_topic_id(&r.nodes[0], "t", &x) && api_topic_id(&r.nodes[1], "t", &y));
        assert_true(floe_uuid_eq(&x, id) && floe_uuid_eq(&y, id));
        assert_usable(&r.nodes[0], "t");
        /* One deletes while the other makes it again: any order, one outcome. */
        begin_delete(&r.nodes[0], "t", &a);
        begin_create(&r.nodes[1], "t", 2, &b);
        assert_int_equal(finish(&r.nodes[0], &a), FLOE_OK);
        finish(&r.nodes[1], &b);
        assert_false(leased(&r, id));
        assert_int_equal(record_state(&r, "t"), b.err.code == FLOE_OK ? FLOE_TOPIC_LIVE : FLOE_TOPIC_DELETED);
        api_rig_stop(&r);
    }
}

/* The broker that makes (deletes) a topic dies at its k-th step: somebody else finishes, or nothing was
 * begun. */
static void half(bool deleting, uint64_t k, bool sent)
{
    struct api_rig r;
    struct result res, res2;
    struct floe_uuid id;
    api_rig_start(&r, 100 + k, 2);
    if (deleting) {
        begin_create(&r.nodes[0], "t", 2, &res);
        assert_int_equal(finish(&r.nodes[0], &res), FLOE_OK);
        id = res.id;
        assert_usable(&r.nodes[1], "t");
    }
    floe_sim_node_kill_at(r.nodes[0].node, k, sent);
    if (deleting)
        begin_delete(&r.nodes[0], "t", &res);
    else
        begin_create(&r.nodes[0], "t", 2, &res);
    for (int i = 0; i < 100 && !floe_sim_node_dead(r.nodes[0].node); i++)
        api_rig_run(&r, 50);
    if (!floe_sim_node_dead(r.nodes[0].node))
        floe_sim_node_kill(r.nodes[0].node);
    floe_core_destroy(&r.nodes[0].core);
    api_rig_run(&r, 30000);
    int s = record_state(&r, "t");
    if (deleting) {
        assert_true(s == FLOE_TOPIC_DELETED || s == FLOE_TOPIC_LIVE);
        if (s == FLOE_TOPIC_DELETED)
            assert_false(leased(&r, &id));
    } else {
        assert_true(s == -1 || s == FLOE_TOPIC_LIVE);
    }
    if (s == FLOE_TOPIC_LIVE) {
        assert_usable(&r.nodes[1], "t");
        begin_delete(&r.nodes[1], "t", &res2);
        assert_int_equal(finish(&r.nodes[1], &res2), FLOE_OK);
    }
    begin_create(&r.nodes[1], "t", 2, &res2);
    assert_int_equal(finish(&r.nodes[1], &res2), FLOE_OK);
    assert_usable(&r.nodes[1], "t");
    api_rig_stop(&r);
}
static void test_half_made(void **state)
{
    (void)state;
    for (uint64_t k = 1; k <= 8; k++) {
        half(false, k, true);
        half(false, k, false);
    }
}
/* The broker that makes a topic stands still between two of its writes. Another finishes the topic, which is
 * deleted then, and made and deleted again: the first one brings nothing back. */
static uint32_t stalled(uint64_t seed, uint64_t until_us, bool made_again)
{
    struct api_rig r;
    struct result mine, res;
    api_rig_start(&r, seed, 2);
    struct api_node *other = &r.nodes[1];
    begin_create(&r.nodes[0], "t", 2, &mine);
    for (uint64_t us = 0; us < until_us && record_state(&r, "t") != FLOE_TOPIC_LIVE; us += 100)
        floe_sim_run_for(r.sim, 100);
    bool half = record_state(&r, "t") == FLOE_TOPIC_CREATING;
    if (half) {
        floe_sim_node_stall(r.nodes[0].node, 60000000, false);
        api_rig_run(&r, 30000);
        assert_int_equal(record_state(&r, "t"), FLOE_TOPIC_LIVE);
        for (int i = 0; i < 2; i++) {
            begin_delete(other, "t", &res);
            assert_int_equal(finish(other, &res), FLOE_OK);
            begin_create(other, "t", 2, &res);
            assert_int_equal(finish(other, &res), FLOE_OK);
        }
        if (!made_again) {
            begin_delete(other, "t", &res);
            assert_int_equal(finish(other, &res), FLOE_OK);
        }
        api_rig_run(&r, 120000);
        assert_true(mine.done);
        assert_int_equal(record_state(&r, "t"), made_again ? FLOE_TOPIC_LIVE : FLOE_TOPIC_DELETED);
        assert_false(leased(&r, &mine.id));
        if (made_again)
            assert_usable(other, "t");
    }
    api_rig_stop(&r);
    return half;
}
static void test_stalled_maker(void **state)
{
    (void)state;
    uint32_t half = 0;
    for (uint64_t us = 4000; us < 16000; us += 1000)
        half += stalled(us, us, false) + stalled(us, us, true);
    assert_true(half >= 6);
}

static enum floe_err to_four(void *data, struct floe_topic *t, bool again, struct floe_error *err)
{
    (void)data, (void)again, (void)err;
    t->partitions = 4;
    return FLOE_OK;
}
static void no_data(void *data)
{
    (void)data;
}
/* The broker that gives a topic more partitions stands still, or dies, between two of its writes, and the
 * topic is deleted: no lease of it stays. */
static uint32_t stalled_alter(uint64_t seed, uint64_t until_us, bool dies)
{
    struct api_rig r;
    struct result mine = {0}, res;
    struct floe_topic_edit edit = {.edit = to_four, .free = no_data};
    struct api_node *other;
    api_rig_start(&r, seed, 2);
    other = &r.nodes[1];
    begin_create(other, "t", 2, &res);
    assert_int_equal(finish(other, &res), FLOE_OK);
    struct floe_uuid id = res.id;
    floe_catalog_alter_topic(r.nodes[0].core->catalog, "t", &edit, taken, &mine);
    floe_sim_run_for(r.sim, until_us);
    bool between = !mine.done;
    if (dies)
        api_rig_kill(&r.nodes[0]);
    else
        floe_sim_node_stall(r.nodes[0].node, 60000000, false);
    api_rig_run(&r, 20000);
    begin_delete(other, "t", &res);
    assert_int_equal(finish(other, &res), FLOE_OK);
    api_rig_run(&r, 120000);
    assert_true(dies || mine.done);
    assert_int_equal(record_state(&r, "t"), FLOE_TOPIC_DELETED);
    assert_false(leased(&r, &id));
    api_rig_stop(&r);
    return between;
}
static void test_stalled_alter(void **state)
{
    (void)state;
    uint32_t between = 0;
    for (uint64_t us = 2000; us < 24000; us += 2000)
        between += stalled_alter(us, us, false) + stalled_alter(us, us, true);
    assert_true(between >= 6);
}

static void test_half_deleted(void **state)
{
    (void)state;
    for (uint64_t k = 1; k <= 10; k++) {
        half(true, k, true);
        half(true, k, false);
    }
}

/* Whatever was asked before, and is being read: who asks once a topic is made, is told of it. */
static void test_no_stale_unknown(void **state)
{
    struct api_rig r;
    (void)state;
    api_rig_start(&r, 5, 2);
    struct floe_sim_bucket_config slow = {.min_us = 20000, .mean_us = 60000};
    floe_sim_bucket_configure(r.bucket, &slow);
    for (int i = 0; i < 40; i++) {
        char name[16];
        struct result res;
        struct floe_kafka_MetadataRequest rq;
        struct floe_kafka_MetadataRequest_MetadataRequestTopic t;
        struct api_call *early[8];
        int n = 0;
        struct floe_uuid id;
        snprintf(name, sizeof name, "t%d", i);
        floe_kafka_defaults(&floe_kafka_MetadataRequest_desc, &rq);
        floe_kafka_struct_defaults(&floe_kafka_MetadataRequest_MetadataRequestTopic_desc, &t);
        rq.AllowAutoTopicCreation = false;
        rq.Topics = &t;
        rq.Topics_n = 1;
        t.Name = floe_kstr(name);
        struct floe_client clients[8];
        begin_create(&r.nodes[0], name, 1, &res);
        while (!res.done) {
            if (n < 8) {
                floe_client_init(&clients[n], "early", 0);
                early[n] = api_send(&r.nodes[1], &clients[n], 3, 12, &rq);
                n++;
            }
            api_rig_run(&r, 1 + floe_rng_below(floe_sim_rng(r.sim), 60));
        }
        assert_int_equal(res.err.code, FLOE_OK);
        assert_true(api_topic_id(&r.nodes[1], name, &id));
        assert_true(floe_uuid_eq(&id, &res.id));
        for (int k = 0; k < n; k++) {
            api_wait(&r.nodes[1], early[k], 20000);
            api_call_free(early[k]);
        }
    }
    api_rig_stop(&r);
}

/* One who asks for thousands of names costs a scan, not thousands of reads. */
static void count_gets(void *user, const struct floe_sim_store_event *e)
{
    *(int *)user += e->kind == FLOE_STORE_GET && strncmp(e->key, "table/topic/", 12) == 0;
}
static void test_many_names(void **state)
{
    enum { N = 3000 };
    struct api_rig r;
    struct result res;
    int gets = 0;
    (void)state;
    api_rig_start(&r, 8, 2);
    begin_create(&r.nodes[0], "n17", 1, &res);
    assert_int_equal(finish(&r.nodes[0], &res), FLOE_OK);
    struct floe_kafka_MetadataRequest rq;
    struct floe_kafka_MetadataRequest_MetadataRequestTopic *t = calloc(N, sizeof *t);
    char(*names)[8] = calloc(N, sizeof *names);
    floe_kafka_defaults(&floe_kafka_MetadataRequest_desc, &rq);
    rq.AllowAutoTopicCreation = false;
    rq.Topics = t;
    rq.Topics_n = N;
    for (int i = 0; i < N; i++) {
        floe_kafka_struct_defaults(&floe_kafka_MetadataRequest_MetadataRequestTopic_desc, &t[i]);
        snprintf(names[i], sizeof names[i], "n%d", i);
        t[i].Name = floe_kstr(names[i]);
    }
    floe_sim_bucket_watch(r.bucket, count_gets, &gets);
    struct floe_kafka_MetadataResponse *rs = api_do(&r.nodes[1], 3, 12, &rq);
    assert_int_equal(rs->Topics_n, N);
    for (int i = 0; i < N; i++)
        assert_int_equal(rs->Topics[i].ErrorCode,
                         floe_kstr_is(rs->Topics[i].Name, "n17") ? 0 : FLOE_KERR_UNKNOWN_TOPIC_OR_PARTITION);
    assert_in_range(gets, 0, 8);
    free(names);
    free(t);
    api_rig_stop(&r);
}

/* A record that is no topic hides itself, not the others. */
static void test_corrupt_record(void **state)
{
    struct api_rig r;
    struct result res;
    struct floe_uuid id;
    (void)state;
    api_rig_start(&r, 6, 1);
    floe_sim_bucket_put(r.bucket, "table/topic/bad", "{\"nonce\":", 9, NULL);
    begin_create(&r.nodes[0], "good", 1, &res);
    assert_int_equal(finish(&r.nodes[0], &res), FLOE_OK);
    assert_false(api_topic_id(&r.nodes[0], "bad", &id));
    assert_true(api_topic_id(&r.nodes[0], "good", &id));
    begin_create(&r.nodes[0], "bad", 1, &res);
    assert_int_equal(finish(&r.nodes[0], &res), FLOE_ECORRUPT); /* and it is not overwritten */
    api_rig_add(&r);
    api_rig_run(&r, 8000);
    assert_true(r.nodes[1].started && floe_catalog_loaded(r.nodes[1].core->catalog));
    assert_true(api_topic_id(&r.nodes[1], "good", &id));
    api_rig_stop(&r);
}

/* A record came damaged to a broker that starts, and nothing changes afterwards: it is read again soon. */
static void test_damaged_on_its_way(void **state)
{
    struct api_rig r;
    struct result res;
    struct floe_uuid id;
    (void)state;
    api_rig_start(&r, 16, 1);
    begin_create(&r.nodes[0], "good", 1, &res);
    assert_int_equal(finish(&r.nodes[0], &res), FLOE_OK);
    floe_sim_bucket_rule(r.bucket, &(struct floe_sim_rule){.fault = FLOE_SIM_TRUNCATED,
                                                           .kinds = FLOE_SIM_KIND(FLOE_STORE_GET),
                                                           .prefix = "table/topic/"});
    api_rig_add(&r);
    api_rig_run(&r, 25000);
    assert_true(r.nodes[1].started && floe_catalog_loaded(r.nodes[1].core->catalog));
    floe_sim_bucket_heal(r.bucket);
    api_rig_run(&r, 20000);
    assert_true(floe_catalog_complete(r.nodes[1].core->catalog));
    assert_true(api_topic_id(&r.nodes[1], "good", &id));
    api_rig_stop(&r);
}

/* A store tells of a record and does not give it: no topic is taken for deleted for that, whose segments
 * would go. */
static void test_listed_but_not_given(void **state)
{
    struct api_rig r;
    struct result res;
    (void)state;
    api_rig_start(&r, 18, 1);
    begin_create(&r.nodes[0], "good", 1, &res);
    assert_int_equal(finish(&r.nodes[0], &res), FLOE_OK);
    floe_sim_bucket_rule(r.bucket, &(struct floe_sim_rule){.fault = FLOE_SIM_ABSENT,
                                                           .kinds = FLOE_SIM_KIND(FLOE_STORE_GET),
                                                           .prefix = "table/topic/good"});
    api_rig_add(&r);
    api_rig_run(&r, 8000);
    assert_true(r.nodes[1].started && floe_catalog_loaded(r.nodes[1].core->catalog));
    assert_false(floe_catalog_is_deleted(r.nodes[1].core->catalog, &res.id, 0));
    floe_sim_bucket_heal(r.bucket);
    api_rig_run(&r, 20000);
    assert_true(floe_catalog_complete(r.nodes[1].core->catalog));
    assert_non_null(floe_catalog_by_id(r.nodes[1].core->catalog, &res.id));
    api_rig_stop(&r);
}

static enum floe_err set_one(void *user, struct floe_dynamics *d, struct floe_error *err)
{
    (void)user;
    (void)err;
    assert_true(floe_dynamics_set(d, FLOE_DYNAMIC_BROKER, floe_kstr(""), floe_kstr("message.max.bytes"),
                                  floe_kstr("5000000")));
    return FLOE_OK;
}
static void set_done(struct floe_dynamics_op *op)
{
    *(bool *)op->user = true;
}

/* A configuration is changed while another broker cannot read the record: it reads it again. */
static void test_missed_configuration(void **state)
{
    struct api_rig r;
    bool done = false;
    (void)state;
    api_rig_start(&r, 17, 2);
    floe_sim_bucket_rule(r.bucket, &(struct floe_sim_rule){.fault = FLOE_SIM_TRUNCATED,
                                                           .kinds = FLOE_SIM_KIND(FLOE_STORE_GET),
                                                           .prefix = "table/configs",
                                                           .node = r.nodes[1].node});
    struct floe_dynamics_op op = {.edit = set_one, .done = set_done, .user = &done};
    floe_catalog_dynamics_change(r.nodes[0].core->catalog, &op);
    api_rig_run(&r, 25000);
    assert_true(done && !op.err.code);
    assert_int_equal(floe_catalog_dynamics(r.nodes[1].core->catalog)->n, 0);
    floe_sim_bucket_heal(r.bucket);
    api_rig_run(&r, 20000);
    assert_int_equal(floe_catalog_dynamics(r.nodes[1].core->catalog)->n, 1);
    api_rig_stop(&r);
}

/* Producer ids: never one twice, whatever happens to the record's writes. */
struct ids {
    int64_t got[8000];
    uint32_t n, failed;
};
static void id_taken(void *user, const struct floe_error *err, int64_t id)
{
    struct ids *ids = user;
    if (err->code)
        ids->failed++;
    else
        ids->got[ids->n++] = id;
}
static int by_id(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}
static void test_producer_ids(void **state)
{
    static struct ids ids;
    struct api_rig r;
    (void)state;
    ids.n = ids.failed = 0;
    api_rig_start(&r, 7, 3);
    for (int f = 0; f < 3; f++) {
        static const enum floe_sim_fault faults[] = {FLOE_SIM_LOST_ANSWER, FLOE_SIM_E500_APPLIED,
                                                     FLOE_SIM_TWICE};
        struct floe_sim_rule rule = {.fault = faults[f],
                                     .kinds = FLOE_SIM_KIND(FLOE_STORE_PUT),
                                     .prefix = "table/producer-ids",
                                     .ppm = 300000};
        floe_sim_bucket_rule(r.bucket, &rule);
    }
    uint32_t asked = 0;
    while (asked < 7500) {
        for (uint32_t k = 0; k < 3; k++) {
            for (int i = 0; i < 250; i++, asked++)
                floe_catalog_producer_id(r.nodes[k].core->catalog, id_taken, &ids);
        }
        api_rig_run(&r, 20);
    }
    floe_sim_bucket_heal(r.bucket);
    api_rig_run(&r, 60000);
    assert_int_equal(ids.n + ids.failed, asked);
    assert_true(ids.n > 5000);
    qsort(ids.got, ids.n, sizeof ids.got[0], by_id);
    for (uint32_t i = 1; i < ids.n; i++)
        assert_true(ids.got[i] > ids.got[i - 1]);
    api_rig_stop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lost_answers),
        cmocka_unit_test(test_race),
        cmocka_unit_test(test_stalled_maker),
        cmocka_unit_test(test_stalled_alter),
        cmocka_unit_test(test_half_made),
        cmocka_unit_test(test_half_deleted),
        cmocka_unit_test(test_no_stale_unknown),
        cmocka_unit_test(test_corrupt_record),
        cmocka_unit_test(test_damaged_on_its_way),
        cmocka_unit_test(test_missed_configuration),
        cmocka_unit_test(test_listed_but_not_given),
        cmocka_unit_test(test_producer_ids),
        cmocka_unit_test(test_many_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
