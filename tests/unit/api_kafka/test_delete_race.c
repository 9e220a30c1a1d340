/* DeleteRecords while leases move and holders die, and the table loses, delays and doubts writes: what a
 * broker has told of a log start does not go back, nor below what was acknowledged, and all agree in the end.
 */
#include <floe_cmocka.h>

#include "api_rig.h"
#include <floe/base/rng.h>
#include <floe/objstore/sim.h>
#include <string.h>

#define SEEDS 8
#define ROUNDS 14
#define CALLS 64

static struct api_rig rig;
static struct floe_rng rng;
static int64_t high, acked, leader_start, told[API_NODES]; /* told: by each, of its log start */
static struct deletion {
    struct api_call *call; /* null: none, or done */
    struct api_node *at;
    struct floe_client client;
    int64_t want;
} calls[CALLS];
static int call_count;
static struct floe_client reader;

static uint64_t below(uint64_t n)
{
    return floe_rng_below(&rng, n);
}

static void ask(struct api_node *n, int64_t want)
{
    struct deletion *d = &calls[call_count++];
    struct floe_kafka_DeleteRecordsRequest rq;
    struct floe_kafka_DeleteRecordsRequest_DeleteRecordsTopic t;
    struct floe_kafka_DeleteRecordsRequest_DeleteRecordsPartition p;
    assert_true(call_count <= CALLS);
    floe_kafka_defaults(&floe_kafka_DeleteRecordsRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_DeleteRecordsRequest_DeleteRecordsTopic_desc, &t);
    floe_kafka_struct_defaults(&floe_kafka_DeleteRecordsRequest_DeleteRecordsPartition_desc, &p);
    *d = (struct deletion){.at = n, .want = want};
    floe_client_init(&d->client, "deleter", 0);
    p.Offset = want;
    t.Name = floe_kstr("t");
    t.Partitions = &p;
    t.Partitions_n = 1;
    rq.Topics = &t;
    rq.Topics_n = 1;
    rq.TimeoutMs = (int32_t)below(5000);
    d->call = api_send(n, &d->client, 21, 2, &rq);
}

/* Those of `gone`, null: none, get no answer any more. */
static void take_answers(const struct api_node *gone)
{
    for (int i = 0; i < call_count; i++) {
        struct deletion *d = &calls[i];
        if (!d->call || (!d->call->done && d->at != gone))
            continue;
        const struct floe_kafka_DeleteRecordsResponse *rs = d->call->done ? d->call->response : NULL;
        if (rs && rs->Topics[0].Partitions[0].ErrorCode == 0) {
            assert_true(rs->Topics[0].Partitions[0].LowWatermark >= d->want);
            acked = FLOE_MAX(acked, rs->Topics[0].Partitions[0].LowWatermark);
        }
        if (d->call->done)
            api_call_free(d->call);
        else
            api_abandon(d->at, d->call);
        d->call = NULL;
    }
}

/* What the node tells who reads at the end, as the leader or for its rack. */
static void look(uint32_t i)
{
    struct api_node *n = &rig.nodes[i];
    struct floe_kafka_FetchRequest rq;
    struct floe_kafka_FetchRequest_FetchTopic t;
    struct floe_kafka_FetchRequest_FetchPartition p;
    if (!n->core)
        return;
    bool leads = api_leader_of(&rig, "t", 0) == n;
    floe_kafka_defaults(&floe_kafka_FetchRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_FetchRequest_FetchTopic_desc, &t);
    floe_kafka_struct_defaults(&floe_kafka_FetchRequest_FetchPartition_desc, &p);
    p.FetchOffset = high;
    p.CurrentLeaderEpoch = -1;
    p.PartitionMaxBytes = 1 << 20;
    t.Topic = floe_kstr("t");
    t.Partitions = &p;
    t.Partitions_n = 1;
    rq.MaxBytes = 1 << 20;
    rq.MaxWaitMs = 0;
    rq.SessionEpoch = -1;
    rq.Topics = &t;
    rq.Topics_n = 1;
    rq.RackId = floe_kstr(leads ? "" : "r1");
    struct api_call *c = api_send(n, &reader, 1, 11, &rq);
    const struct floe_kafka_FetchResponse *rs = api_wait(n, c, 10000);
    assert_non_null(rs);
    const struct floe_kafka_FetchResponse_PartitionData *d = &rs->Responses[0].Partitions[0];
    if (d->ErrorCode == 0 && d->LogStartOffset >= 0) {
        assert_true(d->LogStartOffset >= told[i]);
        told[i] = d->LogStartOffset;
        if (leads) {
            assert_true(d->LogStartOffset >= FLOE_MAX(leader_start, acked));
            leader_start = d->LogStartOffset;
        }
    }
    api_call_free(c);
}

static struct api_node *leader(void)
{
    struct api_node *n = NULL;
    for (int i = 0; i < 300 && !(n = api_leader_of(&rig, "t", 0)); i++) {
        if (i == 100)
            floe_sim_bucket_heal(rig.bucket);
        api_rig_run(&rig, 100);
    }
    assert_non_null(n);
    return n;
}

static void produce(struct api_node *n, int32_t first)
{
    struct floe_arena a;
    int64_t base = -1;
    floe_arena_init(&a, 1 << 20);
    if (api_produce_one(n, "t", 0, -1, api_batch(&a, first, 10, false, 0), &base) == 0)
        high = FLOE_MAX(high, base + 10);
    floe_arena_fini(&a);
}

static void trouble(void)
{
    static const enum floe_sim_fault faults[] = {FLOE_SIM_LOST_REQUEST, FLOE_SIM_LOST_ANSWER,
                                                 FLOE_SIM_HANG,         FLOE_SIM_LATE,
                                                 FLOE_SIM_E500,         FLOE_SIM_E500_APPLIED};
    const struct floe_sim_rule rule = {.fault = faults[below(FLOE_COUNTOF(faults))],
                                       .kinds = FLOE_SIM_KIND(FLOE_STORE_PUT),
                                       .prefix = below(4) ? "table/lease/" : "chain/",
                                       .times = below(2) ? 1 + (uint32_t)below(20) : 0,
                                       .delay_us = below(6000000)};
    if (below(3) == 0)
        floe_sim_bucket_heal(rig.bucket);
    if (below(3))
        floe_sim_bucket_rule(rig.bucket, &rule);
}

static void start(uint64_t seed)
{
    /* Lease entries tell log starts from format 2 on. */
    static const char record[] =
        "{\"nonce\":\"x\",\"value\":{\"id\":\"07070707070707070707070707070707\",\"shards\":8,\"format\":2}}";
    floe_rng_init(&rng, seed);
    floe_client_init(&reader, "reader", 0);
    high = acked = leader_start = 0;
    call_count = 0;
    memset(told, 0, sizeof told);
    api_rig_start(&rig, seed, 3);
    for (uint32_t i = 0; i < API_NODES; i++)
        rig.racks[i] = "r1";
    floe_sim_bucket_put(rig.bucket, "table/cluster", record, sizeof record - 1, "x");
    api_rig_run(&rig, 8000);
    assert_int_equal(api_make_topic(&rig.nodes[0], "t", 1, NULL, NULL), 0);
}

/* The last deletion is named by the lease only when nobody waits for it any more. */
static void finish(void)
{
    const struct floe_sim_rule lost = {.fault = FLOE_SIM_LOST_REQUEST, .prefix = "table/lease/"};
    floe_sim_bucket_heal(rig.bucket);
    api_rig_run(&rig, 10000);
    floe_sim_bucket_rule(rig.bucket, &lost);
    ask(leader(), high);
    api_rig_run(&rig, 10000);
    floe_sim_bucket_heal(rig.bucket);
    api_rig_run(&rig, 20000);
    take_answers(NULL);
    for (uint32_t i = 0; i < 10 * rig.n; i++) {
        look(i % rig.n);
        api_rig_run(&rig, 100);
    }
    assert_true(acked > 0);
    assert_int_equal(leader_start, high);
    for (uint32_t i = 0; i < rig.n; i++)
        if (rig.nodes[i].core)
            assert_int_equal(told[i], leader_start);
    api_rig_stop(&rig);
}

static void test_race(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        int kills = 0;
        start(seed);
        for (int32_t round = 0; round < ROUNDS; round++) {
            struct api_node *n = leader();
            produce(n, 10 * round);
            trouble();
            for (uint64_t k = high > 0 ? 1 + below(3) : 0; k > 0; k--)
                ask(n, 1 + (int64_t)below((uint64_t)high));
            for (int i = 0; i < 12; i++) {
                api_rig_run(&rig, below(300));
                take_answers(NULL);
                look((uint32_t)below(rig.n));
            }
            if (kills < 2 && below(4) == 0) {
                kills++;
                take_answers(n);
                api_rig_kill(n);
            }
            if (rig.n < API_NODES && below(3) == 0)
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
