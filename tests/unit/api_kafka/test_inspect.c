/* What administrators' tools ask of replicas, producers, the quorum, features and resources. */
#include <floe_cmocka.h>

#include "api_rig.h"
#include <string.h>

static struct floe_kafka_ElectLeadersResponse *elect(struct api_node *n, int16_t version, const char *topic,
                                                     int32_t index)
{
    struct floe_kafka_ElectLeadersRequest rq;
    struct floe_kafka_ElectLeadersRequest_TopicPartitions t;
    floe_kafka_defaults(&floe_kafka_ElectLeadersRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_ElectLeadersRequest_TopicPartitions_desc, &t);
    t.Topic = floe_kstr(topic);
    t.Partitions = &index;
    t.Partitions_n = 1;
    rq.TopicPartitions = &t;
    rq.TopicPartitions_n = topic[0] ? 1 : -1;
    return api_do(n, 43, version, &rq);
}

static void test_elections(void **state)
{
    struct api_rig r;
    (void)state;
    api_rig_start(&r, 3, 2);
    struct api_node *n = &r.nodes[0];
    assert_int_equal(api_make_topic(n, "t", 2, NULL, NULL), 0);
    for (int16_t v = 0; v <= 2; v++) {
        struct floe_kafka_ElectLeadersResponse *rs = elect(n, v, "t", 1);
        assert_non_null(rs);
        assert_int_equal(rs->ErrorCode, 0);
        assert_int_equal(rs->ReplicaElectionResults_n, 1);
        assert_int_equal(rs->ReplicaElectionResults[0].PartitionResult[0].PartitionId, 1);
        assert_int_equal(rs->ReplicaElectionResults[0].PartitionResult[0].ErrorCode,
                         FLOE_KERR_ELECTION_NOT_NEEDED);
        rs = elect(n, v, "t", 2);
        assert_int_equal(rs->ReplicaElectionResults[0].PartitionResult[0].ErrorCode,
                         FLOE_KERR_UNKNOWN_TOPIC_OR_PARTITION);
        rs = elect(n, v, "none", 0);
        assert_int_equal(rs->ReplicaElectionResults[0].PartitionResult[0].ErrorCode,
                         FLOE_KERR_UNKNOWN_TOPIC_OR_PARTITION);
        assert_true(floe_kstr_is(rs->ReplicaElectionResults[0].PartitionResult[0].ErrorMessage,
                                 "No such topic as none"));
        assert_int_equal(elect(n, v, "", 0)->ReplicaElectionResults_n, 0);
    }
    api_rig_stop(&r);
}

static int16_t reassign(struct api_node *n, int16_t version, const char *topic, int32_t index,
                        int32_t *replicas, int32_t count)
{
    struct floe_kafka_AlterPartitionReassignmentsRequest rq;
    struct floe_kafka_AlterPartitionReassignmentsRequest_ReassignableTopic t;
    struct floe_kafka_AlterPartitionReassignmentsRequest_ReassignablePartition p;
    floe_kafka_defaults(&floe_kafka_AlterPartitionReassignmentsRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_AlterPartitionReassignmentsRequest_ReassignableTopic_desc, &t);
    floe_kafka_struct_defaults(&floe_kafka_AlterPartitionReassignmentsRequest_ReassignablePartition_desc, &p);
    p.PartitionIndex = index;
    p.Replicas = replicas;
    p.Replicas_n = count;
    t.Name = floe_kstr(topic);
    t.Partitions = &p;
    t.Partitions_n = 1;
    rq.Topics = &t;
    rq.Topics_n = 1;
    struct floe_kafka_AlterPartitionReassignmentsResponse *rs = api_do(n, 45, version, &rq);
    assert_non_null(rs);
    assert_int_equal(rs->ErrorCode, 0);
    assert_int_equal(rs->Responses[0].Partitions[0].PartitionIndex, index);
    return rs->Responses[0].Partitions[0].ErrorCode;
}

static void test_reassignments(void **state)
{
    struct floe_kafka_ListPartitionReassignmentsRequest list;
    int32_t replicas[2] = {0, 77};
    struct api_rig r;
    (void)state;
    api_rig_start(&r, 4, 2);
    struct api_node *n = &r.nodes[0];
    assert_int_equal(api_make_topic(n, "t", 1, NULL, NULL), 0);
    replicas[0] = floe_lease_node_id(floe_core_lease(api_leader_of(&r, "t", 0)->core));
    for (int16_t v = 0; v <= 1; v++) {
        assert_int_equal(reassign(n, v, "t", 0, replicas, 1), 0);
        assert_int_equal(reassign(n, v, "t", 0, replicas + 1, 1), FLOE_KERR_INVALID_REPLICA_ASSIGNMENT);
        assert_int_equal(reassign(n, v, "t", 0, replicas, 2), FLOE_KERR_INVALID_REPLICA_ASSIGNMENT);
        assert_int_equal(reassign(n, v, "t", 0, NULL, -1), FLOE_KERR_NO_REASSIGNMENT_IN_PROGRESS);
        assert_int_equal(reassign(n, v, "t", 1, NULL, -1), FLOE_KERR_UNKNOWN_TOPIC_OR_PARTITION);
        assert_int_equal(reassign(n, v, "none", 0, NULL, -1), FLOE_KERR_UNKNOWN_TOPIC_OR_PARTITION);
    }
    floe_kafka_defaults(&floe_kafka_ListPartitionReassignmentsRequest_desc, &list);
    struct floe_kafka_ListPartitionReassignmentsResponse *rs = api_do(n, 46, 0, &list);
    assert_non_null(rs);
    assert_int_equal(rs->ErrorCode, 0);
    assert_int_equal(rs->Topics_n, 0);
    api_rig_stop(&r);
}

static struct floe_kafka_DescribeProducersResponse_PartitionResponse *
producers(struct api_node *n, const char *topic, int32_t index)
{
    struct floe_kafka_DescribeProducersRequest rq;
    struct floe_kafka_DescribeProducersRequest_TopicRequest t;
    floe_kafka_defaults(&floe_kafka_DescribeProducersRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_DescribeProducersRequest_TopicRequest_desc, &t);
    t.Name = floe_kstr(topic);
    t.PartitionIndexes = &index;
    t.PartitionIndexes_n = 1;
    rq.Topics = &t;
    rq.Topics_n = 1;
    struct floe_kafka_DescribeProducersResponse *rs = api_do(n, 61, 0, &rq);
    assert_non_null(rs);
    assert_int_equal(rs->Topics[0].Partitions[0].PartitionIndex, index);
    return &rs->Topics[0].Partitions[0];
}

static void test_producers(void **state)
{
    struct api_rig r;
    struct floe_arena a;
    int64_t base;
    (void)state;
    api_rig_start(&r, 5, 2);
    assert_int_equal(api_make_topic(&r.nodes[0], "t", 1, NULL, NULL), 0);
    struct api_node *leader = api_leader_of(&r, "t", 0);
    struct api_node *other = leader == &r.nodes[0] ? &r.nodes[1] : &r.nodes[0];
    floe_arena_init(&a, 1 << 20);
    assert_int_equal(producers(leader, "t", 0)->ActiveProducers_n, 0);
    assert_int_equal(api_produce_one(leader, "t", 0, -1, api_batch(&a, 0, 3, false, 0), &base), 0);
    struct floe_krecords k = api_batch(&a, 0, 3, false, 0);
    struct floe_batch head;
    struct floe_error err;
    assert_int_equal(floe_batch_parse(floe_slice(k.p, (size_t)k.n), &head, &err), FLOE_OK);
    floe_batch_set_producer((uint8_t *)(uintptr_t)k.p, &head, 1234, 5, 0);
    assert_int_equal(api_produce_one(leader, "t", 0, -1, k, &base), 0);
    struct floe_kafka_DescribeProducersResponse_PartitionResponse *p = producers(leader, "t", 0);
    assert_int_equal(p->ErrorCode, 0);
    assert_int_equal(p->ActiveProducers_n, 1);
    assert_int_equal(p->ActiveProducers[0].ProducerId, 1234);
    assert_int_equal(p->ActiveProducers[0].ProducerEpoch, 5);
    assert_int_equal(p->ActiveProducers[0].LastSequence, 2);
    assert_int_equal(p->ActiveProducers[0].CurrentTxnStartOffset, -1);
    assert_int_equal(producers(other, "t", 0)->ErrorCode, FLOE_KERR_NOT_LEADER_OR_FOLLOWER);
    assert_int_equal(producers(leader, "t", 1)->ErrorCode, FLOE_KERR_UNKNOWN_TOPIC_OR_PARTITION);
    assert_int_equal(producers(leader, "none", 0)->ErrorCode, FLOE_KERR_UNKNOWN_TOPIC_OR_PARTITION);
    floe_arena_fini(&a);
    api_rig_stop(&r);
}

static void test_quorum(void **state)
{
    struct floe_kafka_DescribeQuorumRequest rq;
    struct floe_kafka_DescribeQuorumRequest_TopicData t;
    struct floe_kafka_DescribeQuorumRequest_PartitionData p[2];
    struct api_rig r;
    (void)state;
    api_rig_start(&r, 6, 3);
    floe_kafka_defaults(&floe_kafka_DescribeQuorumRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_DescribeQuorumRequest_TopicData_desc, &t);
    for (int32_t i = 0; i < 2; i++) {
        floe_kafka_struct_defaults(&floe_kafka_DescribeQuorumRequest_PartitionData_desc, &p[i]);
        p[i].PartitionIndex = i;
    }
    t.TopicName = floe_kstr("__cluster_metadata");
    t.Partitions = p;
    t.Partitions_n = 2;
    rq.Topics = &t;
    rq.Topics_n = 1;
    for (int16_t v = 0; v <= 2; v++) {
        struct floe_kafka_DescribeQuorumResponse *rs = api_do(&r.nodes[1], 55, v, &rq);
        assert_non_null(rs);
        assert_int_equal(rs->ErrorCode, 0);
        assert_int_equal(rs->Topics[0].Partitions[0].ErrorCode, 0);
        assert_int_equal(rs->Topics[0].Partitions[0].LeaderId,
                         floe_lease_node_id(floe_core_lease(r.nodes[1].core)));
        assert_int_equal(rs->Topics[0].Partitions[0].CurrentVoters_n, 3);
        assert_int_equal(rs->Topics[0].Partitions[1].ErrorCode, FLOE_KERR_UNKNOWN_TOPIC_OR_PARTITION);
        if (v >= 2)
            assert_int_equal(rs->Nodes_n, 3);
    }
    api_rig_stop(&r);
}

static void test_features(void **state)
{
    struct floe_kafka_UpdateFeaturesRequest rq;
    struct floe_kafka_UpdateFeaturesRequest_FeatureUpdateKey f;
    struct api_rig r;
    (void)state;
    api_rig_start(&r, 7, 1);
    floe_kafka_defaults(&floe_kafka_UpdateFeaturesRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_UpdateFeaturesRequest_FeatureUpdateKey_desc, &f);
    f.Feature = floe_kstr("metadata.version");
    f.MaxVersionLevel = 9;
    rq.FeatureUpdates = &f;
    rq.FeatureUpdates_n = 1;
    for (int16_t v = 0; v <= 2; v++) {
        struct floe_kafka_UpdateFeaturesResponse *rs = api_do(&r.nodes[0], 57, v, &rq);
        assert_non_null(rs);
        assert_int_equal(rs->ErrorCode, FLOE_KERR_INVALID_UPDATE_VERSION);
    }
    api_rig_stop(&r);
}

static int count(const struct floe_kafka_ListConfigResourcesResponse *rs, int8_t type)
{
    int n = 0;
    for (int32_t i = 0; i < rs->ConfigResources_n; i++)
        n += rs->ConfigResources[i].ResourceType == type;
    return n;
}

static void test_resources(void **state)
{
    struct floe_kafka_ListConfigResourcesRequest rq;
    int8_t types[2] = {2, 4};
    struct api_rig r;
    (void)state;
    api_rig_start(&r, 8, 2);
    struct api_node *n = &r.nodes[0];
    assert_int_equal(api_make_topic(n, "t", 1, NULL, NULL), 0);
    floe_kafka_defaults(&floe_kafka_ListConfigResourcesRequest_desc, &rq);
    struct floe_kafka_ListConfigResourcesResponse *rs = api_do(n, 74, 0, &rq);
    assert_int_equal(rs->ErrorCode, 0);
    assert_int_equal(rs->ConfigResources_n, 0); /* client metrics only */
    rs = api_do(n, 74, 1, &rq);
    assert_int_equal(count(rs, 2), 1);
    assert_int_equal(count(rs, 4), 2);
    assert_int_equal(count(rs, 8), 2);
    assert_true(floe_kstr_is(rs->ConfigResources[0].ResourceName, "t"));
    rq.ResourceTypes = types;
    rq.ResourceTypes_n = 1;
    rs = api_do(n, 74, 1, &rq);
    assert_int_equal(rs->ConfigResources_n, 1);
    types[0] = 3;
    assert_int_equal(((struct floe_kafka_ListConfigResourcesResponse *)api_do(n, 74, 1, &rq))->ErrorCode,
                     FLOE_KERR_UNSUPPORTED_VERSION);
    api_rig_stop(&r);
}

/* Bytes of a partition as the broker tells; -1: it does not have it. */
static int64_t size_of(struct api_node *n, int16_t version, const char *topic, int32_t index, bool all)
{
    struct floe_kafka_DescribeLogDirsRequest rq;
    struct floe_kafka_DescribeLogDirsRequest_DescribableLogDirTopic t;
    floe_kafka_defaults(&floe_kafka_DescribeLogDirsRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_DescribeLogDirsRequest_DescribableLogDirTopic_desc, &t);
    t.Topic = floe_kstr(topic);
    t.Partitions = &index;
    t.Partitions_n = 1;
    rq.Topics = &t;
    rq.Topics_n = all ? -1 : 1;
    struct floe_kafka_DescribeLogDirsResponse *rs = api_do(n, 35, version, &rq);
    assert_non_null(rs);
    assert_int_equal(rs->ErrorCode, 0);
    assert_int_equal(rs->Results_n, 1);
    for (int32_t i = 0; i < rs->Results[0].Topics_n; i++)
        for (int32_t k = 0; k < rs->Results[0].Topics[i].Partitions_n; k++)
            if (floe_kstr_is(rs->Results[0].Topics[i].Name, topic) &&
                rs->Results[0].Topics[i].Partitions[k].PartitionIndex == index)
                return rs->Results[0].Topics[i].Partitions[k].PartitionSize;
    return -1;
}

static void test_log_dirs(void **state)
{
    struct api_rig r;
    struct floe_arena a;
    int64_t base;
    (void)state;
    api_rig_start(&r, 9, 2);
    assert_int_equal(api_make_topic(&r.nodes[0], "t", 1, NULL, NULL), 0);
    struct api_node *leader = api_leader_of(&r, "t", 0);
    struct api_node *other = leader == &r.nodes[0] ? &r.nodes[1] : &r.nodes[0];
    floe_arena_init(&a, 1 << 20);
    assert_int_equal(size_of(leader, 1, "t", 0, true), 0);
    struct floe_krecords k = api_batch(&a, 0, 100, false, 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(api_produce_one(leader, "t", 0, -1, k, &base), 0);
    for (int16_t v = 1; v <= 5; v++) {
        assert_int_equal(size_of(leader, v, "t", 0, v % 2), 3 * k.n);
        assert_int_equal(size_of(other, v, "t", 0, v % 2), -1);
        assert_int_equal(size_of(leader, v, "t", 1, false), -1);
        assert_int_equal(size_of(leader, v, "none", 0, false), -1);
    }
    /* Whoever takes it over knows, from a checkpoint and what came after it. */
    api_rig_run(&r, 15000);
    assert_int_equal(api_produce_one(leader, "t", 0, -1, k, &base), 0);
    api_rig_kill(leader);
    for (int i = 0; i < 600 && !api_leader_of(&r, "t", 0); i++)
        api_rig_run(&r, 100);
    assert_int_equal(size_of(other, 5, "t", 0, true), 4 * k.n);
    floe_arena_fini(&a);
    api_rig_stop(&r);
}

static int16_t move_dir(struct api_node *n, int16_t version, const char *path, const char *topic,
                        int32_t index)
{
    struct floe_kafka_AlterReplicaLogDirsRequest rq;
    struct floe_kafka_AlterReplicaLogDirsRequest_AlterReplicaLogDir d;
    struct floe_kafka_AlterReplicaLogDirsRequest_AlterReplicaLogDirTopic t;
    floe_kafka_defaults(&floe_kafka_AlterReplicaLogDirsRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_AlterReplicaLogDirsRequest_AlterReplicaLogDir_desc, &d);
    floe_kafka_struct_defaults(&floe_kafka_AlterReplicaLogDirsRequest_AlterReplicaLogDirTopic_desc, &t);
    t.Name = floe_kstr(topic);
    t.Partitions = &index;
    t.Partitions_n = 1;
    d.Path = floe_kstr(path);
    d.Topics = &t;
    d.Topics_n = 1;
    rq.Dirs = &d;
    rq.Dirs_n = 1;
    struct floe_kafka_AlterReplicaLogDirsResponse *rs = api_do(n, 34, version, &rq);
    assert_non_null(rs);
    assert_int_equal(rs->Results_n, 1);
    assert_true(floe_kstr_is(rs->Results[0].TopicName, topic));
    assert_int_equal(rs->Results[0].Partitions_n, 1);
    assert_int_equal(rs->Results[0].Partitions[0].PartitionIndex, index);
    return rs->Results[0].Partitions[0].ErrorCode;
}

static void test_move_log_dirs(void **state)
{
    struct api_rig r;
    (void)state;
    api_rig_start(&r, 12, 2);
    assert_int_equal(api_make_topic(&r.nodes[0], "t", 1, NULL, NULL), 0);
    struct api_node *leader = api_leader_of(&r, "t", 0);
    struct api_node *other = leader == &r.nodes[0] ? &r.nodes[1] : &r.nodes[0];
    for (int16_t v = 1; v <= 2; v++) {
        assert_int_equal(move_dir(leader, v, "store", "t", 0), 0);
        assert_int_equal(move_dir(other, v, "store", "t", 0), FLOE_KERR_NOT_LEADER_OR_FOLLOWER);
        assert_int_equal(move_dir(leader, v, "/elsewhere", "t", 0), FLOE_KERR_LOG_DIR_NOT_FOUND);
        assert_int_equal(move_dir(leader, v, "store", "t", 1), FLOE_KERR_UNKNOWN_TOPIC_OR_PARTITION);
        assert_int_equal(move_dir(leader, v, "store", "t", -1), FLOE_KERR_UNKNOWN_TOPIC_OR_PARTITION);
        assert_int_equal(move_dir(leader, v, "store", "none", 0), FLOE_KERR_UNKNOWN_TOPIC_OR_PARTITION);
    }
    struct floe_kafka_AlterReplicaLogDirsRequest none;
    floe_kafka_defaults(&floe_kafka_AlterReplicaLogDirsRequest_desc, &none);
    assert_int_equal(
        ((struct floe_kafka_AlterReplicaLogDirsResponse *)api_do(leader, 34, 2, &none))->Results_n, 0);
    api_rig_stop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_elections), cmocka_unit_test(test_reassignments),
        cmocka_unit_test(test_producers), cmocka_unit_test(test_quorum),
        cmocka_unit_test(test_features),  cmocka_unit_test(test_resources),
        cmocka_unit_test(test_log_dirs),  cmocka_unit_test(test_move_log_dirs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
