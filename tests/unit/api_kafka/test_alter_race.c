/* Partitions are added and a configuration is changed by several brokers at once, while brokers die and come,
 * and the table loses, delays and doubts what is asked: what was acknowledged stays, no broker tells of fewer
 * partitions than before, nor of more than anybody wanted, and in the end all agree and all can be written.
 */
#include <floe_cmocka.h>

#include "api_rig.h"
#include <floe/base/rng.h>
#include <floe/objstore/sim.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEEDS 10
#define ROUNDS 16
#define CALLS 64
#define LOOKS 512
#define BASE_MS 100000 /* retention.ms: so much and the number of the change */

static struct api_rig rig;
static struct floe_rng rng;
static int32_t acked_n, wanted_n, told_n[API_NODES]; /* partitions */
static int32_t last_change, acked_change;            /* of the configuration, one after the other */
static bool changing;
static struct call {
    struct api_call *call; /* null: none, or done */
    struct api_node *at;
    struct floe_client client;
    int32_t partitions, change; /* 0: not that */
} calls[CALLS];
static int call_count;
static struct floe_client readers[LOOKS]; /* those that got no answer stay until the end */
static int reader_at;

static uint64_t below(uint64_t n)
{
    return floe_rng_below(&rng, n);
}

static struct api_node *any(void)
{
    struct api_node *n;
    do
        n = &rig.nodes[below(rig.n)];
    while (!n->core);
    return n;
}

static struct call *call_new(void)
{
    struct call *c = &calls[call_count++];
    assert_true(call_count <= CALLS);
    *c = (struct call){.at = any()};
    floe_client_init(&c->client, "admin", 0);
    return c;
}

static void grow(void)
{
    struct floe_kafka_CreatePartitionsRequest rq;
    struct floe_kafka_CreatePartitionsRequest_CreatePartitionsTopic t;
    struct call *c = call_new();
    c->partitions = acked_n + 1 + (int32_t)below(12);
    wanted_n = FLOE_MAX(wanted_n, c->partitions);
    floe_kafka_defaults(&floe_kafka_CreatePartitionsRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_CreatePartitionsRequest_CreatePartitionsTopic_desc, &t);
    t.Name = floe_kstr("t");
    t.Count = c->partitions;
    t.Assignments_n = -1;
    rq.Topics = &t;
    rq.Topics_n = 1;
    rq.TimeoutMs = (int32_t)below(20000);
    c->call = api_send(c->at, &c->client, 37, 3, &rq);
}

static void change(void)
{
    struct floe_kafka_IncrementalAlterConfigsRequest rq;
    struct floe_kafka_IncrementalAlterConfigsRequest_AlterConfigsResource r;
    struct floe_kafka_IncrementalAlterConfigsRequest_AlterableConfig v;
    char value[16];
    struct call *c = call_new();
    c->change = ++last_change;
    changing = true;
    snprintf(value, sizeof value, "%d", BASE_MS + c->change);
    floe_kafka_defaults(&floe_kafka_IncrementalAlterConfigsRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_IncrementalAlterConfigsRequest_AlterConfigsResource_desc, &r);
    floe_kafka_struct_defaults(&floe_kafka_IncrementalAlterConfigsRequest_AlterableConfig_desc, &v);
    v.Name = floe_kstr("retention.ms");
    v.Value = floe_kstr(value);
    r.ResourceType = 2;
    r.ResourceName = floe_kstr("t");
    r.Configs = &v;
    r.Configs_n = 1;
    rq.Resources = &r;
    rq.Resources_n = 1;
    c->call = api_send(c->at, &c->client, 44, 1, &rq);
}

/* Those of `gone`, null: none, get no answer any more. */
static void take_answers(const struct api_node *gone)
{
    for (int i = 0; i < call_count; i++) {
        struct call *c = &calls[i];
        if (!c->call || (!c->call->done && c->at != gone))
            continue;
        changing = changing && !c->change;
        if (!c->call->done) {
            api_abandon(c->at, c->call);
        } else {
            if (c->partitions) {
                const struct floe_kafka_CreatePartitionsResponse *rs = c->call->response;
                if (rs && rs->Results[0].ErrorCode == 0)
                    acked_n = FLOE_MAX(acked_n, c->partitions);
            } else {
                const struct floe_kafka_IncrementalAlterConfigsResponse *rs = c->call->response;
                if (rs && rs->Responses[0].ErrorCode == 0)
                    acked_change = c->change;
            }
            api_call_free(c->call);
        }
        c->call = NULL;
    }
}

static void look(uint32_t i)
{
    struct floe_kafka_MetadataRequest rq;
    struct floe_kafka_MetadataRequest_MetadataRequestTopic t;
    struct api_node *n = &rig.nodes[i];
    if (!n->core)
        return;
    floe_kafka_defaults(&floe_kafka_MetadataRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_MetadataRequest_MetadataRequestTopic_desc, &t);
    t.Name = floe_kstr("t");
    rq.Topics = &t;
    rq.Topics_n = 1;
    assert_true(reader_at < LOOKS);
    floe_client_init(&readers[reader_at], "reader", 0);
    struct api_call *c = api_send(n, &readers[reader_at++], 3, 9, &rq);
    const struct floe_kafka_MetadataResponse *rs = api_wait(n, c, 3000);
    if (rs) {
        assert_int_equal(rs->Topics[0].ErrorCode, 0); /* it is never called unknown */
        assert_in_range(rs->Topics[0].Partitions_n, told_n[i], wanted_n);
        told_n[i] = rs->Topics[0].Partitions_n;
    }
    if (c->done)
        api_call_free(c);
    else
        api_abandon(n, c);
}

static int32_t shown_change(struct api_node *n)
{
    struct floe_kafka_DescribeConfigsRequest rq;
    struct floe_kafka_DescribeConfigsRequest_DescribeConfigsResource r;
    struct floe_kstr key = floe_kstr("retention.ms");
    char value[24];
    floe_kafka_defaults(&floe_kafka_DescribeConfigsRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_DescribeConfigsRequest_DescribeConfigsResource_desc, &r);
    r.ResourceType = 2;
    r.ResourceName = floe_kstr("t");
    r.ConfigurationKeys = &key;
    r.ConfigurationKeys_n = 1;
    rq.Resources = &r;
    rq.Resources_n = 1;
    const struct floe_kafka_DescribeConfigsResponse *rs = api_do(n, 32, 4, &rq);
    assert_non_null(rs);
    const struct floe_kstr *v = &rs->Results[0].Configs[0].Value;
    snprintf(value, sizeof value, "%.*s", (int)v->n, v->p);
    return atoi(value) - BASE_MS;
}

static void trouble(void)
{
    static const enum floe_sim_fault faults[] = {FLOE_SIM_LOST_REQUEST, FLOE_SIM_LOST_ANSWER,
                                                 FLOE_SIM_HANG,         FLOE_SIM_LATE,
                                                 FLOE_SIM_E500,         FLOE_SIM_E500_APPLIED};
    static const char *const prefixes[] = {"table/topic/", "table/lease/", "table/catalog", "table/",
                                           "table/node/"};
    const struct floe_sim_rule rule = {.fault = faults[below(FLOE_COUNTOF(faults))],
                                       .kinds = FLOE_SIM_KIND(FLOE_STORE_PUT) |
                                                (below(3) ? 0 : FLOE_SIM_KIND(FLOE_STORE_GET)),
                                       .prefix = prefixes[below(FLOE_COUNTOF(prefixes))],
                                       .times = 1 + (uint32_t)below(12),
                                       .delay_us = below(4000000)};
    if (below(2))
        floe_sim_bucket_heal(rig.bucket);
    if (below(3))
        floe_sim_bucket_rule(rig.bucket, &rule);
}

static void start(uint64_t seed)
{
    floe_rng_init(&rng, seed);
    acked_n = wanted_n = 2;
    last_change = acked_change = 0;
    changing = false;
    call_count = reader_at = 0;
    memset(told_n, 0, sizeof told_n);
    api_rig_start(&rig, seed, 3);
    assert_int_equal(api_make_topic(&rig.nodes[0], "t", 2, NULL, NULL), 0);
}

static void finish(void)
{
    int32_t n = -1, change = -1;
    floe_sim_bucket_heal(rig.bucket);
    api_rig_run(&rig, 30000);
    take_answers(NULL);
    for (int i = 0; i < call_count; i++)
        assert_null(calls[i].call);
    for (uint32_t i = 0; i < rig.n; i++) {
        if (!rig.nodes[i].core)
            continue;
        look(i);
        int32_t shown = shown_change(&rig.nodes[i]);
        n = n < 0 ? told_n[i] : n;
        change = change < 0 ? shown : change;
        assert_int_equal(told_n[i], n);
        assert_int_equal(shown, change);
    }
    assert_in_range(n, acked_n, wanted_n);
    assert_in_range(change, acked_change, last_change);
    assert_true(acked_n > 2 && acked_change > 0);
    for (int32_t p = 0; p < n; p++) {
        struct floe_arena a;
        struct api_node *leader = api_leader_of(&rig, "t", p);
        assert_non_null(leader);
        floe_arena_init(&a, 1 << 20);
        assert_int_equal(api_produce_one(leader, "t", p, -1, api_batch(&a, 0, 1, false, 0), NULL), 0);
        floe_arena_fini(&a);
    }
    api_rig_stop(&rig);
}

static uint32_t alive(void)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < rig.n; i++)
        n += rig.nodes[i].core != NULL;
    return n;
}

static void test_race(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        start(seed);
        for (int round = 0; round < ROUNDS; round++) {
            trouble();
            for (uint64_t k = below(3); k > 0; k--)
                grow();
            if (!changing)
                change();
            for (int i = 0; i < 10; i++) {
                api_rig_run(&rig, below(300));
                take_answers(NULL);
                look((uint32_t)below(rig.n));
            }
            if (alive() > 1 && below(6) == 0) {
                struct api_node *n = any();
                take_answers(n);
                api_rig_kill(n);
            }
            if (rig.n < API_NODES && below(5) == 0)
                api_rig_add(&rig);
        }
        finish();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_race)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
