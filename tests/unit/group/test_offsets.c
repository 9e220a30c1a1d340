/* Committed offsets over whole cores: commit, fetch, delete, by every version; a failover; a topic made anew.
 */
#include <floe_cmocka.h>

#include "api_rig.h"
#include <floe/group.h>
#include <stdio.h>
#include <string.h>

#define COMMIT 8
#define FETCH 9

static struct api_node *coordinator(struct api_rig *r, struct api_node *ask, const char *group)
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

static int16_t commit_once(struct api_node *n, int16_t version, const char *group, const char *topic,
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
static struct api_call *commit_send(struct api_node *n, struct floe_client *client, const char *group,
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
static int16_t commit(struct api_node *n, int16_t version, const char *group, const char *topic,
                      int32_t partition, int64_t offset, const char *metadata)
{
    int16_t error;
    while ((error = commit_once(n, version, group, topic, partition, offset, metadata)) ==
           FLOE_KERR_COORDINATOR_LOAD_IN_PROGRESS)
        api_rig_run(n->rig, 20);
    return error;
}

/* The offset that the group has, -1 without one; the error as a value below -100. */
static int64_t fetch(struct api_node *n, int16_t version, const char *group, const char *topic,
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

static void test_versions(void **state)
{
    struct api_rig r;
    (void)state;
    api_rig_start(&r, 11, 1);
    struct api_node *n = &r.nodes[0];
    assert_int_equal(api_make_topic(n, "t", 3, NULL, NULL), 0);
    assert_ptr_equal(coordinator(&r, n, "g"), n);
    for (int16_t v = 2; v <= 10; v++) {
        assert_int_equal(commit(n, v, "g", "t", v % 3, 100 + v, "m"), 0);
        for (int16_t w = 1; w <= 10; w++)
            assert_int_equal(fetch(n, w, "g", "t", v % 3), 100 + v);
    }
    assert_int_equal(fetch(n, 7, "other", "t", 0), -1);
    assert_int_equal(commit(n, 8, "g", "t", 3, 1, ""), FLOE_KERR_UNKNOWN_TOPIC_OR_PARTITION);
    assert_int_equal(commit(n, 8, "g", "none", 0, 1, ""), FLOE_KERR_UNKNOWN_TOPIC_OR_PARTITION);
    assert_int_equal(commit(n, 10, "g", "none", 0, 1, ""), FLOE_KERR_UNKNOWN_TOPIC_ID);
    char metadata[5000];
    memset(metadata, 'x', sizeof metadata);
    metadata[4097] = '\0';
    assert_int_equal(commit(n, 8, "g", "t", 0, 1, metadata), FLOE_KERR_OFFSET_METADATA_TOO_LARGE);
    metadata[4096] = '\0';
    assert_int_equal(commit(n, 8, "g", "t", 0, 1, metadata), 0);
    api_rig_stop(&r);
}

/* A topic that is not known while the catalog cannot be read may exist: nobody hears that it does not, and
 * nobody that nothing was committed for it. */
static void test_catalog_unreadable(void **state)
{
    const int64_t loading = -100 - FLOE_KERR_COORDINATOR_LOAD_IN_PROGRESS;
    const struct floe_sim_rule unreadable = {.fault = FLOE_SIM_NOSPACE, .prefix = "table/topic/"};
    struct api_rig r;
    (void)state;
    api_rig_start(&r, 15, 1);
    struct api_node *n = &r.nodes[0];
    assert_int_equal(api_make_topic(n, "t", 1, NULL, NULL), 0);
    assert_ptr_equal(coordinator(&r, n, "g"), n);
    assert_int_equal(commit(n, 8, "g", "t", 0, 7, ""), 0);
    floe_sim_bucket_rule(r.bucket, &unreadable);
    for (int16_t v = 2; v <= 10; v++) {
        assert_int_equal(commit_once(n, v, "g", "perhaps", 0, 1, ""), FLOE_KERR_COORDINATOR_LOAD_IN_PROGRESS);
        assert_int_equal(commit_once(n, v, "g", "t", 0, 7, ""), 0);
    }
    for (int16_t v = 1; v <= 10; v++) {
        assert_int_equal(fetch(n, v, "g", "perhaps", 0), loading);
        assert_int_equal(fetch(n, v, "g", "t", 0), 7);
    }
    floe_sim_bucket_heal(r.bucket);
    assert_int_equal(commit(n, 8, "g", "perhaps", 0, 1, ""), FLOE_KERR_UNKNOWN_TOPIC_OR_PARTITION);
    assert_int_equal(fetch(n, 7, "g", "perhaps", 0), -1);
    api_rig_stop(&r);
}

/* How many topics OffsetFetch tells of, asked for all that the group has. */
static int32_t fetch_all(struct api_node *n, const char *group)
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

static int64_t fetch_id(struct api_node *n, const char *group, const struct floe_uuid *id)
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

/* Nor where the record of one topic is damaged: others go on. */
static void test_record_damaged(void **state)
{
    const int64_t loading = -100 - FLOE_KERR_COORDINATOR_LOAD_IN_PROGRESS;
    struct api_rig r;
    struct floe_uuid id;
    (void)state;
    api_rig_start(&r, 17, 1);
    struct api_node *n = &r.nodes[0], *next;
    assert_int_equal(api_make_topic(n, "t", 1, NULL, NULL), 0);
    assert_int_equal(api_make_topic(n, "u", 1, NULL, NULL), 0);
    assert_ptr_equal(coordinator(&r, n, "g"), n);
    assert_int_equal(commit(n, 8, "g", "t", 0, 7, ""), 0);
    assert_int_equal(commit(n, 8, "g", "u", 0, 8, ""), 0);
    assert_true(api_topic_id(n, "t", &id));
    floe_sim_bucket_put(r.bucket, "table/topic/t", "{\"n\":\"00\",\"v\":{}}", 17, "00");
    next = api_rig_add(&r);
    api_rig_kill(n);
    api_rig_run(&r, 30000);
    for (int16_t v = 1; v <= 9; v++) {
        assert_int_equal(fetch(next, v, "g", "t", 0), loading);
        assert_int_equal(fetch(next, v, "g", "u", 0), 8);
        assert_int_equal(fetch(next, v, "g", "none", 0), -1);
    }
    assert_int_equal(fetch_id(next, "g", &id), loading);
    assert_int_equal(fetch_all(next, "g"), 2);
    api_rig_stop(&r);
}

/* A coordinator that could not read of a topic does not take it for deleted: neither does it forget the
 * offsets that its predecessor was told, nor leaves them out. */
static void test_topic_not_read(void **state)
{
    struct api_rig r;
    (void)state;
    api_rig_start(&r, 16, 1);
    struct api_node *blind = &r.nodes[0], *n = NULL;
    char group[16];
    assert_ptr_equal(coordinator(&r, blind, "g"), blind);
    api_rig_add(&r);
    api_rig_run(&r, 20000); /* half of the coordinators move */
    for (int i = 0; n != &r.nodes[1] && i < 60; i++) {
        snprintf(group, sizeof group, "g%d", i);
        n = coordinator(&r, blind, group);
    }
    assert_ptr_equal(n, &r.nodes[1]);
    const struct floe_sim_rule unread = {
        .fault = FLOE_SIM_NOSPACE, .prefix = "table/topic/", .node = blind->node};
    floe_sim_bucket_rule(r.bucket, &unread);
    assert_int_equal(api_make_topic(n, "t", 1, NULL, NULL), 0);
    assert_int_equal(commit(n, 8, group, "t", 0, 7, ""), 0);
    api_rig_kill(n);
    int32_t topics = -100;
    for (int i = 0; topics <= -100 && i < 300; i++) {
        api_rig_run(&r, 100);
        topics = fetch_all(blind, group);
    }
    for (int i = 0; i < 20; i++) {
        assert_int_equal(fetch_all(blind, group), 1);
        api_rig_run(&r, 37);
    }
    api_rig_run(&r, 1300000); /* offsets of deleted topics are looked for twice */
    floe_sim_bucket_heal(r.bucket);
    api_rig_run(&r, 2000);
    assert_int_equal(fetch(blind, 8, group, "t", 0), 7);
    api_rig_stop(&r);
}

/* What was answered is there after the coordinator's death; what another broker is asked for is refused
 * there. */
static void test_failover(void **state)
{
    struct api_rig r;
    char group[16];
    int64_t offset = 0;
    (void)state;
    api_rig_start(&r, 12, 3);
    assert_int_equal(api_make_topic(&r.nodes[0], "t", 1, NULL, NULL), 0);
    struct api_node *dead = coordinator(&r, &r.nodes[0], "g0");
    for (int i = 0; i < 40; i++) {
        snprintf(group, sizeof group, "g%d", i);
        struct api_node *n = coordinator(&r, &r.nodes[0], group);
        struct api_node *wrong = n == &r.nodes[0] ? &r.nodes[1] : &r.nodes[0];
        assert_int_equal(commit(n, 6, group, "t", 0, 1000 + i, "a"), 0);
        assert_int_equal(commit(wrong, 6, group, "t", 0, 1, "a"), FLOE_KERR_NOT_COORDINATOR);
        assert_int_equal(fetch(wrong, 6, group, "t", 0), -100 - FLOE_KERR_NOT_COORDINATOR);
    }
    struct api_node *alive = dead == &r.nodes[0] ? &r.nodes[1] : &r.nodes[0];
    api_rig_kill(dead);
    for (int i = 0; i < 40; i++) {
        snprintf(group, sizeof group, "g%d", i);
        for (int k = 0; k < 300; k++) {
            struct api_node *n = coordinator(&r, alive, group);
            offset = n == dead ? -100 : fetch(n, 9, group, "t", 0);
            if (offset > -100)
                break;
            api_rig_run(&r, 100);
        }
        assert_int_equal(offset, 1000 + i);
    }
    api_rig_stop(&r);
}

/* An offset is of a topic's id. */
static void test_topic_made_anew(void **state)
{
    struct api_rig r;
    struct floe_kafka_DeleteTopicsRequest rq;
    struct floe_kstr name = floe_kstr("t");
    (void)state;
    api_rig_start(&r, 13, 1);
    struct api_node *n = &r.nodes[0];
    assert_int_equal(api_make_topic(n, "t", 1, NULL, NULL), 0);
    assert_ptr_equal(coordinator(&r, n, "g"), n);
    assert_int_equal(commit(n, 6, "g", "t", 0, 77, ""), 0);
    floe_kafka_defaults(&floe_kafka_DeleteTopicsRequest_desc, &rq);
    rq.TopicNames = &name;
    rq.TopicNames_n = 1;
    rq.TimeoutMs = 10000;
    assert_int_equal(
        ((struct floe_kafka_DeleteTopicsResponse *)api_do(n, 20, 4, &rq))->Responses[0].ErrorCode, 0);
    assert_int_equal(api_make_topic(n, "t", 1, NULL, NULL), 0);
    assert_int_equal(fetch(n, 6, "g", "t", 0), -1);
    assert_int_equal(commit(n, 6, "g", "t", 0, 5, ""), 0);
    assert_int_equal(fetch(n, 6, "g", "t", 0), 5);
    api_rig_stop(&r);
}

/* A journal that grows is written anew from time to time, and reading it from there gives the same. */
static void test_snapshot(void **state)
{
    struct api_rig r;
    char metadata[4000], group[16];
    struct floe_group_stats st;
    (void)state;
    api_rig_start(&r, 14, 1);
    struct api_node *n = &r.nodes[0];
    assert_int_equal(api_make_topic(n, "t", 4, NULL, NULL), 0);
    assert_ptr_equal(coordinator(&r, n, "g"), n);
    memset(metadata, 'y', sizeof metadata);
    metadata[sizeof metadata - 1] = '\0';
    for (int i = 0; i < 600; i++)
        assert_int_equal(commit(n, 6, "g", "t", i % 4, i, metadata), 0);
    assert_int_equal(commit(n, 6, "g\xe2\x82\xac", "t", 0, 9, ""), 0);
    floe_groups_get_stats(floe_core_groups(n->core), &st);
    assert_true(st.snapshots >= 1);
    assert_int_equal(st.offsets, 5);
    struct api_node *m = api_rig_add(&r);
    api_rig_kill(n);
    api_rig_run(&r, 30000);
    for (int i = 0; i < 4; i++)
        assert_int_equal(fetch(m, 6, "g", "t", i), 596 + i);
    floe_groups_get_stats(floe_core_groups(m->core), &st);
    assert_int_equal(st.offsets, 5);
    snprintf(group, sizeof group, "g\xe2\x82\xac");
    assert_int_equal(fetch(m, 6, group, "t", 0), 9);
    api_rig_stop(&r);
}

/* Commits partitions [from, to) with as much metadata as is allowed. */
static void commit_range(struct api_node *n, const char *group, int32_t from, int32_t to)
{
    static char metadata[4097];
    static struct floe_kafka_OffsetCommitRequest_OffsetCommitRequestPartition p[256];
    struct floe_kafka_OffsetCommitRequest rq;
    struct floe_kafka_OffsetCommitRequest_OffsetCommitRequestTopic t;
    memset(metadata, 'm', sizeof metadata - 1);
    floe_kafka_defaults(&floe_kafka_OffsetCommitRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_OffsetCommitRequest_OffsetCommitRequestTopic_desc, &t);
    t.Partitions = p;
    for (int32_t i = from; i < to; i++) {
        struct floe_kafka_OffsetCommitRequest_OffsetCommitRequestPartition *at = &p[t.Partitions_n++];
        floe_kafka_struct_defaults(&floe_kafka_OffsetCommitRequest_OffsetCommitRequestPartition_desc, at);
        at->PartitionIndex = i;
        at->CommittedOffset = 1000 + i;
        at->CommittedMetadata = floe_kstr(metadata);
    }
    t.Name = floe_kstr("t");
    rq.GroupId = floe_kstr(group);
    rq.Topics = &t;
    rq.Topics_n = 1;
    struct floe_kafka_OffsetCommitResponse *rs = api_do(n, COMMIT, 8, &rq);
    assert_int_equal(rs->Topics[0].Partitions[0].ErrorCode, 0);
}

/* A topic's offsets that are more than one operation takes are all in a snapshot. */
static void test_snapshot_of_many(void **state)
{
    enum { PARTITIONS = 2100 };
    struct api_rig r;
    struct floe_group_stats st;
    (void)state;
    api_rig_start(&r, 20, 1);
    struct api_node *n = &r.nodes[0];
    assert_int_equal(api_make_topic(n, "t", PARTITIONS, NULL, NULL), 0);
    assert_ptr_equal(coordinator(&r, n, "g"), n);
    assert_int_equal(commit(n, 8, "g", "t", 0, 1, ""), 0);
    for (int k = 0; k < 5; k++)
        for (int32_t i = 0; i < PARTITIONS; i += 256)
            commit_range(n, "g", i, FLOE_MIN(i + 256, PARTITIONS));
    api_rig_run(&r, 1000);
    floe_groups_get_stats(floe_core_groups(n->core), &st);
    assert_true(st.snapshots >= 1);
    struct api_node *next = api_rig_add(&r);
    api_rig_kill(n);
    api_rig_run(&r, 30000);
    for (int32_t i = 0; i < PARTITIONS; i += 100)
        assert_int_equal(fetch(next, 8, "g", "t", i), 1000 + i);
    api_rig_stop(&r);
}

#define PRODUCERS 40

/* Producers of which some always wait for room. */
struct flood {
    struct api_node *n;
    struct floe_arena arena;
    struct floe_krecords batch;
    struct floe_client client[PRODUCERS];
    struct api_call *call[PRODUCERS];
};

static void flood_init(struct flood *f, struct api_node *n)
{
    *f = (struct flood){.n = n};
    n->pending.limit = 2 << 20;
    n->tier->limit = 1;
    floe_arena_init(&f->arena, 1 << 20);
    f->batch = api_batch(&f->arena, 0, 6000, true, 0);
    for (int i = 0; i < PRODUCERS; i++)
        floe_client_init(&f->client[i], "p", 0);
}

static void flood_step(struct flood *f, bool go_on)
{
    struct floe_kafka_ProduceRequest rq;
    struct floe_kafka_ProduceRequest_TopicProduceData t;
    struct floe_kafka_ProduceRequest_PartitionProduceData p;
    floe_kafka_defaults(&floe_kafka_ProduceRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_ProduceRequest_TopicProduceData_desc, &t);
    floe_kafka_struct_defaults(&floe_kafka_ProduceRequest_PartitionProduceData_desc, &p);
    rq.Acks = -1;
    rq.TimeoutMs = 60000;
    rq.TopicData = &t;
    rq.TopicData_n = 1;
    t.Name = floe_kstr("t");
    t.PartitionData = &p;
    t.PartitionData_n = 1;
    p.Records = f->batch;
    for (int i = 0; i < PRODUCERS; i++) {
        if (f->call[i] && !f->call[i]->done)
            continue;
        if (f->call[i])
            api_call_free(f->call[i]);
        f->call[i] = go_on ? api_send(f->n, &f->client[i], 0, 9, &rq) : NULL;
    }
    api_rig_run(f->n->rig, 10);
}

/* Commits have their turn like everything else where producers wait for room all the time. */
static void test_commit_under_load(void **state)
{
    const struct floe_sim_bucket_config slow = {.min_us = 20000, .mean_us = 5000};
    struct api_rig r;
    struct flood f;
    struct floe_client own;
    struct floe_log_stats st;
    (void)state;
    api_rig_start(&r, 18, 1);
    struct api_node *n = &r.nodes[0];
    assert_int_equal(api_make_topic(n, "t", 1, NULL, NULL), 0);
    assert_ptr_equal(coordinator(&r, n, "g"), n);
    assert_int_equal(commit(n, 8, "g", "t", 0, 1, ""), 0);
    floe_sim_bucket_configure(r.bucket, &slow);
    flood_init(&f, n);
    floe_client_init(&own, "own", 0);
    for (int i = 0; i < 100; i++)
        flood_step(&f, true);
    for (int64_t offset = 2; offset < 6; offset++) {
        struct api_call *c = commit_send(n, &own, "g", "t", offset, "");
        int steps = 0;
        for (; !c->done && steps < 1000; steps++)
            flood_step(&f, true);
        assert_true(steps < 200); /* two seconds */
        struct floe_kafka_OffsetCommitResponse *rs = c->response;
        assert_int_equal(rs->Topics[0].Partitions[0].ErrorCode, 0);
        api_call_free(c);
    }
    floe_log_get_stats(floe_core_log(n->core), &st);
    assert_true(st.append_bytes > 20u << 20);
    for (int i = 0; i < 1000; i++)
        flood_step(&f, false);
    floe_arena_fini(&f.arena);
    assert_int_equal(fetch(n, 8, "g", "t", 0), 5);
    api_rig_stop(&r);
}

/* Where the log takes nothing for long, commits are refused before they fill memory. */
static void test_commits_without_store(void **state)
{
    enum { COMMITS = 600 };
    const struct floe_sim_rule away = {
        .fault = FLOE_SIM_E503, .kinds = FLOE_SIM_KIND(FLOE_STORE_PUT), .prefix = "chain/"};
    static struct floe_client client[COMMITS];
    static struct api_call *call[COMMITS];
    static char metadata[4097];
    struct api_rig r;
    struct flood f;
    int refused = 0, kept = 0;
    (void)state;
    api_rig_start(&r, 19, 1);
    struct api_node *n = &r.nodes[0];
    assert_int_equal(api_make_topic(n, "t", 1, NULL, NULL), 0);
    assert_ptr_equal(coordinator(&r, n, "g"), n);
    assert_int_equal(commit(n, 8, "g", "t", 0, 1, ""), 0);
    floe_sim_bucket_rule(r.bucket, &away);
    flood_init(&f, n);
    for (int i = 0; i < 20; i++)
        flood_step(&f, true);
    memset(metadata, 'm', sizeof metadata - 1);
    for (int i = 0; i < COMMITS; i++) {
        floe_client_init(&client[i], "c", 0);
        call[i] = commit_send(n, &client[i], "g", "t", 2 + i, metadata);
        api_rig_run(&r, 2);
        struct floe_kafka_OffsetCommitResponse *rs = call[i]->done ? call[i]->response : NULL;
        refused += rs != NULL;
        kept += rs == NULL;
        if (rs)
            assert_int_equal(rs->Topics[0].Partitions[0].ErrorCode, FLOE_KERR_COORDINATOR_LOAD_IN_PROGRESS);
    }
    assert_true(refused > 0 && kept > 0);
    floe_sim_bucket_heal(r.bucket);
    for (int i = 0; i < 1000; i++)
        flood_step(&f, false);
    for (int i = 0; i < COMMITS; i++) {
        assert_true(call[i]->done);
        api_call_free(call[i]);
    }
    floe_arena_fini(&f.arena);
    assert_int_equal(fetch(n, 8, "g", "t", 0), 1 + kept);
    assert_int_equal(commit(n, 8, "g", "t", 0, 9, ""), 0);
    api_rig_stop(&r);
}

static void test_partition_of(void **state)
{
    (void)state;
    /* As java.lang.String.hashCode has it. */
    assert_int_equal(floe_group_partition(floe_kstr(""), 50), 0);
    assert_int_equal(floe_group_partition(floe_kstr("g1"), 50), 42);
    assert_int_equal(floe_group_partition(floe_kstr("polygenelubricants"), 50), 0); /* hash -2^31 */
    assert_int_equal(floe_group_partition(floe_kstr("\xe2\x82\xac"), 1000), 0x20ac % 1000);
    assert_int_equal(floe_group_partition(floe_kstr("\xf0\x9f\x98\x80"), 1 << 30),
                     (0xd83d * 31 + 0xde00) % (1 << 30));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_versions),          cmocka_unit_test(test_failover),
        cmocka_unit_test(test_topic_made_anew),   cmocka_unit_test(test_snapshot),
        cmocka_unit_test(test_partition_of),      cmocka_unit_test(test_catalog_unreadable),
        cmocka_unit_test(test_topic_not_read),    cmocka_unit_test(test_record_damaged),
        cmocka_unit_test(test_commit_under_load), cmocka_unit_test(test_commits_without_store),
        cmocka_unit_test(test_snapshot_of_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
