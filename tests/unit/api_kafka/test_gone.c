/* Requests whose clients are gone, as all are when the broker ends: none that waits for something else keeps
 * it from ending. */
#include <floe_cmocka.h>

#include "api_rig.h"
#include <string.h>

/* No lease can be written: what needs one waits. */
static const struct floe_sim_rule no_leases = {
    .fault = FLOE_SIM_LOST_REQUEST, .kinds = FLOE_SIM_KIND(FLOE_STORE_PUT), .prefix = "table/lease/"};

struct gone {
    struct api_rig r;
    struct api_node *n;
    struct floe_client client;
};

static void begin(struct gone *g, uint64_t seed)
{
    struct floe_arena a;
    int64_t base;
    api_rig_start(&g->r, seed, 1);
    g->n = &g->r.nodes[0];
    floe_client_init(&g->client, "gone", 0);
    assert_int_equal(api_make_topic(g->n, "t", 1, NULL, NULL), 0);
    while (!api_leader_of(&g->r, "t", 0))
        api_rig_run(&g->r, 50);
    floe_arena_init(&a, 1 << 20);
    assert_int_equal(
        api_produce_one(g->n, "t", 0, -1, api_batch(&a, 0, 10, false, FLOE_COMPRESSION_NONE), &base), 0);
    floe_arena_fini(&a);
    floe_sim_bucket_rule(g->r.bucket, &no_leases);
}

/* It waits while its client is there, and is over in a moment when that is gone. */
static void sent(struct gone *g, int16_t key, int16_t version, const void *rq)
{
    struct api_call *c = api_send(g->n, &g->client, key, version, rq);
    api_rig_run(&g->r, 3000);
    assert_false(c->done);
    floe_client_gone(&g->client);
    api_rig_run(&g->r, 100);
    if (!c->done)
        fail_msg("%s waits for ever", c->api->name);
    api_call_free(c);
    api_rig_stop(&g->r);
}

static void test_create(void **state)
{
    struct floe_kafka_CreateTopicsRequest rq;
    struct floe_kafka_CreateTopicsRequest_CreatableTopic t;
    struct gone g;
    (void)state;
    begin(&g, 81);
    floe_kafka_defaults(&floe_kafka_CreateTopicsRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_CreateTopicsRequest_CreatableTopic_desc, &t);
    t.Name = floe_kstr("new");
    t.NumPartitions = t.ReplicationFactor = 1;
    rq.timeoutMs = 60000;
    rq.Topics = &t;
    rq.Topics_n = 1;
    sent(&g, 19, 7, &rq);
}

static void test_delete(void **state)
{
    struct floe_kafka_DeleteTopicsRequest rq;
    struct floe_kafka_DeleteTopicsRequest_DeleteTopicState t;
    struct gone g;
    (void)state;
    begin(&g, 82);
    floe_kafka_defaults(&floe_kafka_DeleteTopicsRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_DeleteTopicsRequest_DeleteTopicState_desc, &t);
    t.Name = floe_kstr("t");
    rq.TimeoutMs = 60000;
    rq.Topics = &t;
    rq.Topics_n = 1;
    sent(&g, 20, 6, &rq);
}

static void test_more_partitions(void **state)
{
    struct floe_kafka_CreatePartitionsRequest rq;
    struct floe_kafka_CreatePartitionsRequest_CreatePartitionsTopic t;
    struct gone g;
    (void)state;
    begin(&g, 83);
    floe_kafka_defaults(&floe_kafka_CreatePartitionsRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_CreatePartitionsRequest_CreatePartitionsTopic_desc, &t);
    t.Name = floe_kstr("t");
    t.Count = 3;
    t.Assignments_n = -1;
    rq.TimeoutMs = 60000;
    rq.Topics = &t;
    rq.Topics_n = 1;
    sent(&g, 37, 3, &rq);
}

static void test_made_when_asked_for(void **state)
{
    struct floe_kafka_MetadataRequest rq;
    struct floe_kafka_MetadataRequest_MetadataRequestTopic t;
    struct gone g;
    (void)state;
    begin(&g, 84);
    floe_kafka_defaults(&floe_kafka_MetadataRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_MetadataRequest_MetadataRequestTopic_desc, &t);
    t.Name = floe_kstr("new");
    rq.AllowAutoTopicCreation = true;
    rq.Topics = &t;
    rq.Topics_n = 1;
    sent(&g, 3, 9, &rq);
}

static void test_coordinator(void **state)
{
    struct floe_kafka_FindCoordinatorRequest rq;
    struct gone g;
    (void)state;
    begin(&g, 85);
    floe_kafka_defaults(&floe_kafka_FindCoordinatorRequest_desc, &rq);
    rq.Key = floe_kstr("g");
    sent(&g, 10, 3, &rq);
}

static void test_delete_records(void **state)
{
    struct floe_kafka_DeleteRecordsRequest rq;
    struct floe_kafka_DeleteRecordsRequest_DeleteRecordsTopic t;
    struct floe_kafka_DeleteRecordsRequest_DeleteRecordsPartition p;
    struct gone g;
    (void)state;
    begin(&g, 86);
    floe_kafka_defaults(&floe_kafka_DeleteRecordsRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_DeleteRecordsRequest_DeleteRecordsTopic_desc, &t);
    floe_kafka_struct_defaults(&floe_kafka_DeleteRecordsRequest_DeleteRecordsPartition_desc, &p);
    p.Offset = 5;
    t.Name = floe_kstr("t");
    t.Partitions = &p;
    t.Partitions_n = 1;
    rq.TimeoutMs = 60000;
    rq.Topics = &t;
    rq.Topics_n = 1;
    sent(&g, 21, 2, &rq);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create),          cmocka_unit_test(test_delete),
        cmocka_unit_test(test_more_partitions), cmocka_unit_test(test_made_when_asked_for),
        cmocka_unit_test(test_coordinator),     cmocka_unit_test(test_delete_records),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
