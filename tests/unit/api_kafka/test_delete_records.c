/* DeleteRecords: the log start goes up, everywhere and for good, or not at all. */
#include <floe_cmocka.h>

#include "api_rig.h"
#include <string.h>

static struct floe_kafka_DeleteRecordsResponse_DeleteRecordsPartitionResult *
del(struct api_node *n, int16_t version, const char *topic, int32_t index, int64_t offset)
{
    struct floe_kafka_DeleteRecordsRequest rq;
    struct floe_kafka_DeleteRecordsRequest_DeleteRecordsTopic t;
    struct floe_kafka_DeleteRecordsRequest_DeleteRecordsPartition p;
    floe_kafka_defaults(&floe_kafka_DeleteRecordsRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_DeleteRecordsRequest_DeleteRecordsTopic_desc, &t);
    floe_kafka_struct_defaults(&floe_kafka_DeleteRecordsRequest_DeleteRecordsPartition_desc, &p);
    p.PartitionIndex = index;
    p.Offset = offset;
    t.Name = floe_kstr(topic);
    t.Partitions = &p;
    t.Partitions_n = 1;
    rq.Topics = &t;
    rq.Topics_n = 1;
    rq.TimeoutMs = version == 0 ? 0 : 5000; /* 0: no follower is waited for */
    struct floe_kafka_DeleteRecordsResponse *rs = api_do(n, 21, version, &rq);
    assert_non_null(rs);
    assert_int_equal(rs->Topics[0].Partitions[0].PartitionIndex, index);
    return &rs->Topics[0].Partitions[0];
}

/* Earliest (-2), latest (-1), or the first at or after a timestamp; the error as a value below -100. */
static int64_t offset_of(struct api_node *n, const char *topic, int64_t timestamp)
{
    struct floe_kafka_ListOffsetsRequest rq;
    struct floe_kafka_ListOffsetsRequest_ListOffsetsTopic t;
    struct floe_kafka_ListOffsetsRequest_ListOffsetsPartition p;
    floe_kafka_defaults(&floe_kafka_ListOffsetsRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_ListOffsetsRequest_ListOffsetsTopic_desc, &t);
    floe_kafka_struct_defaults(&floe_kafka_ListOffsetsRequest_ListOffsetsPartition_desc, &p);
    p.Timestamp = timestamp;
    p.CurrentLeaderEpoch = -1;
    t.Name = floe_kstr(topic);
    t.Partitions = &p;
    t.Partitions_n = 1;
    rq.ReplicaId = -1;
    rq.Topics = &t;
    rq.Topics_n = 1;
    struct floe_kafka_ListOffsetsResponse *rs = api_do(n, 2, 7, &rq);
    assert_non_null(rs);
    int16_t error = rs->Topics[0].Partitions[0].ErrorCode;
    return error ? -100 - error : rs->Topics[0].Partitions[0].Offset;
}

static int16_t fetch_error(struct api_node *n, const char *topic, int64_t offset)
{
    struct floe_kafka_FetchRequest rq;
    struct floe_kafka_FetchRequest_FetchTopic t;
    struct floe_kafka_FetchRequest_FetchPartition p;
    floe_kafka_defaults(&floe_kafka_FetchRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_FetchRequest_FetchTopic_desc, &t);
    floe_kafka_struct_defaults(&floe_kafka_FetchRequest_FetchPartition_desc, &p);
    p.FetchOffset = offset;
    p.CurrentLeaderEpoch = -1;
    p.PartitionMaxBytes = 1 << 20;
    t.Topic = floe_kstr(topic);
    t.Partitions = &p;
    t.Partitions_n = 1;
    rq.ReplicaId = -1;
    rq.MaxBytes = 1 << 20;
    rq.SessionEpoch = -1;
    rq.Topics = &t;
    rq.Topics_n = 1;
    struct floe_kafka_FetchResponse *rs = api_do(n, 1, 11, &rq);
    assert_non_null(rs);
    return rs->Responses[0].Partitions[0].ErrorCode;
}

static struct api_node *begin(struct api_rig *r, uint64_t seed)
{
    struct floe_arena a;
    int64_t base;
    api_rig_start(r, seed, 2);
    assert_int_equal(api_make_topic(&r->nodes[0], "t", 1, NULL, NULL), 0);
    struct api_node *n = api_leader_of(r, "t", 0);
    floe_arena_init(&a, 1 << 20);
    for (int32_t i = 0; i < 4; i++)
        assert_int_equal(api_produce_one(n, "t", 0, -1, api_batch(&a, 10 * i, 10, false, 0), &base), 0);
    floe_arena_fini(&a);
    return n;
}

static struct api_node *leader(struct api_rig *r)
{
    struct api_node *n = NULL;
    for (int i = 0; i < 600 && !(n = api_leader_of(r, "t", 0)); i++)
        api_rig_run(r, 100);
    assert_non_null(n);
    return n;
}

static void test_start_goes_up(void **state)
{
    struct api_rig r;
    (void)state;
    struct api_node *n = begin(&r, 21), *other = n == &r.nodes[0] ? &r.nodes[1] : &r.nodes[0];
    assert_int_equal(offset_of(n, "t", -2), 0);
    assert_int_equal(del(n, 0, "t", 0, 7)->LowWatermark, 7);
    assert_int_equal(offset_of(n, "t", -2), 7);
    assert_int_equal(offset_of(n, "t", 0), 7); /* the batch holds older ones */
    assert_int_equal(fetch_error(n, "t", 6), FLOE_KERR_OFFSET_OUT_OF_RANGE);
    assert_int_equal(fetch_error(n, "t", 7), 0);
    assert_int_equal(del(n, 1, "t", 0, 3)->LowWatermark, 7); /* never back */
    assert_int_equal(del(n, 1, "t", 0, 41)->ErrorCode, FLOE_KERR_OFFSET_OUT_OF_RANGE);
    assert_int_equal(del(n, 1, "t", 0, -2)->ErrorCode, FLOE_KERR_OFFSET_OUT_OF_RANGE);
    assert_int_equal(del(n, 1, "t", 1, 1)->ErrorCode, FLOE_KERR_UNKNOWN_TOPIC_OR_PARTITION);
    assert_int_equal(del(n, 1, "none", 0, 1)->ErrorCode, FLOE_KERR_UNKNOWN_TOPIC_OR_PARTITION);
    assert_int_equal(del(other, 1, "t", 0, 9)->ErrorCode, FLOE_KERR_NOT_LEADER_OR_FOLLOWER);
    /* The next holder knows. */
    api_rig_kill(n);
    n = leader(&r);
    assert_ptr_equal(n, other);
    assert_int_equal(offset_of(n, "t", -2), 7);
    assert_int_equal(offset_of(n, "t", -1), 40);
    assert_int_equal(del(n, 2, "t", 0, -1)->LowWatermark, 40);
    assert_int_equal(offset_of(n, "t", -2), 40);
    assert_int_equal(fetch_error(n, "t", 40), 0);
    api_rig_stop(&r);
}

/* While the lease cannot name the checkpoint nothing is told of it; whoever comes next has one of both. */
static void test_not_named(void **state)
{
    const struct floe_sim_rule hang = {
        .fault = FLOE_SIM_LOST_REQUEST, .kinds = FLOE_SIM_KIND(FLOE_STORE_PUT), .prefix = "table/lease/"};
    struct api_rig r;
    (void)state;
    struct api_node *n = begin(&r, 22);
    floe_sim_bucket_rule(r.bucket, &hang);
    assert_int_equal(del(n, 2, "t", 0, 25)->ErrorCode, FLOE_KERR_REQUEST_TIMED_OUT);
    assert_int_equal(offset_of(n, "t", -2), 0);
    assert_int_equal(fetch_error(n, "t", 0), 0);
    floe_sim_bucket_heal(r.bucket);
    assert_int_equal(del(n, 2, "t", 0, 25)->LowWatermark, 25);
    /* Named after nobody waited any more: readers elsewhere are told then, and the leader tells no less. */
    floe_sim_bucket_rule(r.bucket, &hang);
    assert_int_equal(del(n, 2, "t", 0, 30)->ErrorCode, FLOE_KERR_REQUEST_TIMED_OUT);
    assert_int_equal(offset_of(n, "t", -2), 25);
    floe_sim_bucket_heal(r.bucket);
    api_rig_run(&r, 20000);
    assert_int_equal(offset_of(n, "t", -2), 30);
    assert_int_equal(fetch_error(n, "t", 29), FLOE_KERR_OFFSET_OUT_OF_RANGE);
    api_rig_kill(n);
    assert_int_equal(offset_of(leader(&r), "t", -2), 30);
    api_rig_stop(&r);
}

static void test_policy(void **state)
{
    struct api_rig r;
    (void)state;
    api_rig_start(&r, 23, 1);
    assert_int_equal(api_make_topic(&r.nodes[0], "c", 1, "cleanup.policy", "compact"), 0);
    assert_int_equal(api_make_topic(&r.nodes[0], "d", 1, "cleanup.policy", "compact,delete"), 0);
    assert_int_equal(api_make_topic(&r.nodes[0], "b", 1, "cleanup.policy", " compact "), 0);
    assert_int_equal(del(&r.nodes[0], 2, "c", 0, 0)->ErrorCode, FLOE_KERR_POLICY_VIOLATION);
    assert_int_equal(del(&r.nodes[0], 2, "b", 0, 0)->ErrorCode, FLOE_KERR_POLICY_VIOLATION);
    assert_int_equal(del(&r.nodes[0], 2, "d", 0, 0)->ErrorCode, 0);
    api_rig_stop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_start_goes_up),
        cmocka_unit_test(test_not_named),
        cmocka_unit_test(test_policy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
