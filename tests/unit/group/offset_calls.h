/* Offset requests to whole cores, for the tests of groups' offsets. */
#ifndef FLOE_TEST_OFFSET_CALLS_H
#define FLOE_TEST_OFFSET_CALLS_H

#include <floe_cmocka.h>

#include "api_rig.h"
#include <floe/group.h>
#include <stdio.h>
#include <string.h>

#define COMMIT 8
#define FETCH 9

static inline struct api_node *coordinator(struct api_rig *r, struct api_node *ask, const char *group)
{
    struct floe_kafka_FindCoordinatorRequest rq;
    floe_kafka_defaults(&floe_kafka_FindCoordinatorRequest_desc, &rq);
    rq.Key = floe_kstr(group);
    for (int i = 0; i < 100; i++) {
        struct floe_kafka_FindCoordinatorResponse *rs = api_do(ask, 10, 3, &rq);
        struct api_node *n =
            rs->ErrorCode ? NULL
                          : api_leader_of(r, FLOE_OFFSETS_TOPIC, floe_group_partition(floe_kstr(group), 50));
        if (n)
            return n;
        api_rig_run(r, 100);
    }
    fail_msg("no coordinator");
    return NULL;
}

static inline int16_t commit_once(struct api_node *n, int16_t version, const char *group, const char *topic,
                                  int32_t partition, int64_t offset, const char *metadata)
{
    struct floe_kafka_OffsetCommitRequest rq;
    struct floe_kafka_OffsetCommitRequest_OffsetCommitRequestTopic t;
    struct floe_kafka_OffsetCommitRequest_OffsetCommitRequestPartition p;
    floe_kafka_defaults(&floe_kafka_OffsetCommitRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_OffsetCommitRequest_OffsetCommitRequestTopic_desc, &t);
    floe_kafka_struct_defaults(&floe_kafka_OffsetCommitRequest_OffsetCommitRequestPartition_desc, &p);
    p.PartitionIndex = partition;
    p.CommittedOffset = offset;
    p.CommittedMetadata = floe_kstr(metadata);
    t.Name = floe_kstr(topic);
    if (version >= 10 && !api_topic_id(n, topic, &t.TopicId))
        memset(&t.TopicId, 7, sizeof t.TopicId);
    t.Partitions = &p;
    t.Partitions_n = 1;
    rq.GroupId = floe_kstr(group);
    rq.Topics = &t;
    rq.Topics_n = 1;
    struct floe_kafka_OffsetCommitResponse *rs = api_do(n, COMMIT, version, &rq);
    assert_non_null(rs);
    assert_int_equal(rs->Topics_n, 1);
    assert_int_equal(rs->Topics[0].Partitions[0].PartitionIndex, partition);
    return rs->Topics[0].Partitions[0].ErrorCode;
}
static inline struct api_call *commit_send(struct api_node *n, struct floe_client *client, const char *group,
                                           const char *topic, int64_t offset, const char *metadata)
{
    struct floe_kafka_OffsetCommitRequest rq;
    struct floe_kafka_OffsetCommitRequest_OffsetCommitRequestTopic t;
    struct floe_kafka_OffsetCommitRequest_OffsetCommitRequestPartition p;
    floe_kafka_defaults(&floe_kafka_OffsetCommitRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_OffsetCommitRequest_OffsetCommitRequestTopic_desc, &t);
    floe_kafka_struct_defaults(&floe_kafka_OffsetCommitRequest_OffsetCommitRequestPartition_desc, &p);
    p.CommittedOffset = offset;
    p.CommittedMetadata = floe_kstr(metadata);
    t.Name = floe_kstr(topic);
    t.Partitions = &p;
    t.Partitions_n = 1;
    rq.GroupId = floe_kstr(group);
    rq.Topics = &t;
    rq.Topics_n = 1;
    return api_send(n, client, COMMIT, 8, &rq);
}
static inline int16_t commit(struct api_node *n, int16_t version, const char *group, const char *topic,
                             int32_t partition, int64_t offset, const char *metadata)
{
    int16_t error;
    while ((error = commit_once(n, version, group, topic, partition, offset, metadata)) ==
           FLOE_KERR_COORDINATOR_LOAD_IN_PROGRESS)
        api_rig_run(n->rig, 20);
    return error;
}

/* The offset that the group has, -1 without one; the error as a value below -100. */
static inline int64_t fetch(struct api_node *n, int16_t version, const char *group, const char *topic,
                            int32_t partition)
{
    struct floe_kafka_OffsetFetchRequest rq;
    struct floe_kafka_OffsetFetchRequest_OffsetFetchRequestTopic t;
    struct floe_kafka_OffsetFetchRequest_OffsetFetchRequestGroup g;
    struct floe_kafka_OffsetFetchRequest_OffsetFetchRequestTopics gt;
    floe_kafka_defaults(&floe_kafka_OffsetFetchRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_OffsetFetchRequest_OffsetFetchRequestTopic_desc, &t);
    floe_kafka_struct_defaults(&floe_kafka_OffsetFetchRequest_OffsetFetchRequestGroup_desc, &g);
    floe_kafka_struct_defaults(&floe_kafka_OffsetFetchRequest_OffsetFetchRequestTopics_desc, &gt);
    t.Name = gt.Name = floe_kstr(topic);
    t.PartitionIndexes = gt.PartitionIndexes = &partition;
    t.PartitionIndexes_n = gt.PartitionIndexes_n = 1;
    if (version >= 10)
        (void)!api_topic_id(n, topic, &gt.TopicId);
    g.GroupId = floe_kstr(group);
    if (version < 8)
        rq.GroupId = g.GroupId;
    rq.Topics = &t;
    g.Topics = &gt;
    rq.Topics_n = version < 8;
    g.Topics_n = 1;
    rq.Groups = &g;
    rq.Groups_n = version >= 8;
    struct floe_kafka_OffsetFetchResponse *rs = api_do(n, FETCH, version, &rq);
    assert_non_null(rs);
    int16_t error = version >= 8 ? rs->Groups[0].ErrorCode : rs->ErrorCode;
    if (error)
        return -100 - error;
    if (version >= 8)
        return rs->Groups[0].Topics[0].Partitions[0].CommittedOffset;
    return rs->Topics[0].Partitions[0].ErrorCode ? -100 - rs->Topics[0].Partitions[0].ErrorCode
                                                 : rs->Topics[0].Partitions[0].CommittedOffset;
}

/* How many topics OffsetFetch tells of, asked for all that the group has. */
static inline int32_t fetch_all(struct api_node *n, const char *group)
{
    struct floe_kafka_OffsetFetchRequest rq;
    struct floe_kafka_OffsetFetchRequest_OffsetFetchRequestGroup g;
    floe_kafka_defaults(&floe_kafka_OffsetFetchRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_OffsetFetchRequest_OffsetFetchRequestGroup_desc, &g);
    g.GroupId = floe_kstr(group);
    g.Topics_n = -1;
    rq.Groups = &g;
    rq.Groups_n = 1;
    struct floe_kafka_OffsetFetchResponse *rs = api_do(n, FETCH, 8, &rq);
    return rs->Groups[0].ErrorCode ? -100 - rs->Groups[0].ErrorCode : rs->Groups[0].Topics_n;
}

static inline int64_t fetch_id(struct api_node *n, const char *group, const struct floe_uuid *id)
{
    struct floe_kafka_OffsetFetchRequest rq;
    struct floe_kafka_OffsetFetchRequest_OffsetFetchRequestGroup g;
    struct floe_kafka_OffsetFetchRequest_OffsetFetchRequestTopics t;
    int32_t partition = 0;
    floe_kafka_defaults(&floe_kafka_OffsetFetchRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_OffsetFetchRequest_OffsetFetchRequestGroup_desc, &g);
    floe_kafka_struct_defaults(&floe_kafka_OffsetFetchRequest_OffsetFetchRequestTopics_desc, &t);
    t.TopicId = *id;
    t.PartitionIndexes = &partition;
    t.PartitionIndexes_n = 1;
    g.GroupId = floe_kstr(group);
    g.Topics = &t;
    g.Topics_n = 1;
    rq.Groups = &g;
    rq.Groups_n = 1;
    struct floe_kafka_OffsetFetchResponse *rs = api_do(n, FETCH, 10, &rq);
    return rs->Groups[0].ErrorCode ? -100 - rs->Groups[0].ErrorCode
                                   : rs->Groups[0].Topics[0].Partitions[0].CommittedOffset;
}

static inline void delete_topic(struct api_node *n, const char *topic)
{
    struct floe_kafka_DeleteTopicsRequest rq;
    struct floe_kstr name = floe_kstr(topic);
    floe_kafka_defaults(&floe_kafka_DeleteTopicsRequest_desc, &rq);
    rq.TopicNames = &name;
    rq.TopicNames_n = 1;
    rq.TimeoutMs = 10000;
    struct floe_kafka_DeleteTopicsResponse *rs = api_do(n, 20, 4, &rq);
    assert_int_equal(rs->Responses[0].ErrorCode, 0);
}

#endif
