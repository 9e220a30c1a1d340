/* Committed offsets over whole cores: commit, fetch, delete, by every version; a failover; a topic made anew.
 */
#include "offset_calls.h"

#include <floe/kafka/codec.h>
#include <stdlib.h>

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

/* One that commits record by record does not wait for company; many in a row cost five flushes a second. */
static void test_gathered(void **state)
{
    struct api_rig r;
    struct floe_group_stats before, after;
    (void)state;
    api_rig_start(&r, 16, 1);
    struct api_node *n = &r.nodes[0];
    assert_int_equal(api_make_topic(n, "t", 1, NULL, NULL), 0);
    assert_ptr_equal(coordinator(&r, n, "g"), n);
    assert_int_equal(commit(n, 8, "g", "t", 0, 0, ""), 0);
    api_rig_run(&r, 15000);
    uint64_t from = floe_sim_now_us(r.sim);
    for (int i = 0; i < 40; i++)
        assert_int_equal(commit(n, 8, "g", "t", 0, i, ""), 0);
    assert_in_range(floe_sim_now_us(r.sim) - from, 1, 40 * 100000);
    for (int i = 0; i < 60; i++)
        assert_int_equal(commit(n, 8, "g", "t", 0, i, ""), 0);
    floe_groups_get_stats(floe_core_groups(n->core), &before);
    from = floe_sim_now_us(r.sim);
    for (int i = 0; i < 50; i++)
        assert_int_equal(commit(n, 8, "g", "t", 0, i, ""), 0);
    floe_groups_get_stats(floe_core_groups(n->core), &after);
    uint64_t took = floe_sim_now_us(r.sim) - from;
    assert_in_range(after.batches - before.batches, 1, took / 200000);
    api_rig_stop(&r);
}

/* Where PUTs cost nothing, who is alone does not wait at all, however long it goes on; a hundred groups still
 * cost five flushes a second. */
static void test_gathered_by_groups(void **state)
{
    struct api_rig r;
    struct floe_log_stats before, after;
    char group[16];
    (void)state;
    api_rig_start(&r, 17, 0);
    floe_group_settings_default(&r.group);
    r.group.gather_group_us = 5000;
    struct api_node *n = api_rig_add(&r);
    api_rig_run(&r, 6000);
    assert_int_equal(api_make_topic(n, "t", 1, NULL, NULL), 0);
    assert_ptr_equal(coordinator(&r, n, "g"), n);
    uint64_t from = floe_sim_now_us(r.sim);
    for (int i = 0; i < 500; i++)
        assert_int_equal(commit(n, 8, "g", "t", 0, i, ""), 0);
    assert_in_range(floe_sim_now_us(r.sim) - from, 1, 500 * 60000);
    static struct floe_client client[100];
    static struct api_call *call[100];
    for (int k = 0; k < 100; k++)
        floe_client_init(&client[k], "c", 0);
    for (int round = 0; round < 20; round++) {
        if (round == 10) { /* the burst is used up */
            floe_log_get_stats(floe_core_log(n->core), &before);
            from = floe_sim_now_us(r.sim);
        }
        for (int k = 0; k < 100; k++) {
            snprintf(group, sizeof group, "g%d", k);
            call[k] = commit_send(n, &client[k], group, "t", round, "");
            api_rig_run(&r, 10);
        }
        for (int k = 0; k < 100; k++) {
            assert_true(call[k]->done || (api_rig_run(&r, 300), call[k]->done));
            api_call_free(call[k]);
        }
    }
    floe_log_get_stats(floe_core_log(n->core), &after);
    uint64_t took = floe_sim_now_us(r.sim) - from;
    assert_in_range(after.segments - before.segments, 1, took / 200000 + 1);
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
    (void)state;
    api_rig_start(&r, 13, 1);
    struct api_node *n = &r.nodes[0];
    assert_int_equal(api_make_topic(n, "t", 1, NULL, NULL), 0);
    assert_ptr_equal(coordinator(&r, n, "g"), n);
    assert_int_equal(commit(n, 6, "g", "t", 0, 77, ""), 0);
    delete_topic(n, "t");
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

/* With RetentionTimeMs, which versions 2 to 4 have. */
static void commit_for(struct api_node *n, const char *topic, int64_t keep_ms)
{
    struct floe_kafka_OffsetCommitRequest rq;
    struct floe_kafka_OffsetCommitRequest_OffsetCommitRequestTopic t;
    struct floe_kafka_OffsetCommitRequest_OffsetCommitRequestPartition p;
    floe_kafka_defaults(&floe_kafka_OffsetCommitRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_OffsetCommitRequest_OffsetCommitRequestTopic_desc, &t);
    floe_kafka_struct_defaults(&floe_kafka_OffsetCommitRequest_OffsetCommitRequestPartition_desc, &p);
    p.CommittedOffset = 7;
    p.CommittedMetadata = floe_kstr("");
    t.Name = floe_kstr(topic);
    t.Partitions = &p;
    t.Partitions_n = 1;
    rq.GroupId = floe_kstr("g");
    rq.RetentionTimeMs = keep_ms;
    rq.Topics = &t;
    rq.Topics_n = 1;
    struct floe_kafka_OffsetCommitResponse *rs = api_do(n, COMMIT, 4, &rq);
    assert_int_equal(rs->Topics[0].Partitions[0].ErrorCode, 0);
}

#define STEP_MS 360000ll

/* An offset that is to be kept for a time of its own is kept for that, by successors too. */
static void test_retention_of_its_own(void **state)
{
    struct api_rig r;
    struct floe_group_stats st;
    (void)state;
    api_rig_start(&r, 20, 1);
    struct api_node *n = &r.nodes[0];
    for (int i = 0; i < 4; i++)
        assert_int_equal(
            api_make_topic(n, (const char *[]){"short", "long", "ever", "plain"}[i], 1, NULL, NULL), 0);
    assert_ptr_equal(coordinator(&r, n, "g"), n);
    assert_int_equal(commit(n, 6, "g", "plain", 0, 7, ""), 0);
    commit_for(n, "short", STEP_MS / 2);
    commit_for(n, "long", 3 * STEP_MS);
    commit_for(n, "ever", INT64_MAX);
    char metadata[4000]; /* enough of another group's for a snapshot, which says these again */
    memset(metadata, 'y', sizeof metadata);
    metadata[sizeof metadata - 1] = '\0';
    for (int i = 0; i < 600; i++)
        assert_int_equal(commit(n, 6, "g", "plain", 0, i, metadata), 0);
    floe_groups_get_stats(floe_core_groups(n->core), &st);
    assert_true(st.snapshots >= 1);
    floe_group_settings_default(&r.group);
    r.group.retention_ms = 2 * STEP_MS;
    r.group.retention_check_ms = 60000;
    struct api_node *m = api_rig_add(&r);
    api_rig_kill(n);
    api_rig_run(&r, 20000);
    for (int i = 0; i < 4; i++)
        assert_int_equal(fetch(m, 6, "g", (const char *[]){"short", "long", "ever", "plain"}[i], 0),
                         i < 3 ? 7 : 599);
    api_rig_run(&r, STEP_MS);
    assert_int_equal(fetch(m, 6, "g", "short", 0), -1);
    assert_int_equal(fetch(m, 6, "g", "plain", 0), 599);
    api_rig_run(&r, 3 * STEP_MS / 2);
    assert_int_equal(fetch(m, 6, "g", "plain", 0), -1);
    assert_int_equal(fetch(m, 6, "g", "long", 0), 7);
    api_rig_run(&r, STEP_MS);
    assert_int_equal(fetch(m, 6, "g", "long", 0), -1);
    assert_int_equal(fetch(m, 6, "g", "ever", 0), 7);
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

static int16_t delete_group(struct api_node *n, const char *group)
{
    struct floe_kafka_DeleteGroupsRequest rq;
    struct floe_kstr name = floe_kstr(group);
    floe_kafka_defaults(&floe_kafka_DeleteGroupsRequest_desc, &rq);
    rq.GroupsNames = &name;
    rq.GroupsNames_n = 1;
    struct floe_kafka_DeleteGroupsResponse *rs = api_do(n, 42, 2, &rq);
    assert_int_equal(rs->Results_n, 1);
    return rs->Results[0].ErrorCode;
}

/* Offsets that are more than one operation takes out (eight megabytes of keys) can be deleted, and expire. */
static void test_many_go(void **state)
{
    enum { PARTITIONS = 300, NAME = 32000 };
    struct api_rig r;
    (void)state;
    api_rig_start(&r, 22, 1);
    struct api_node *n = &r.nodes[0];
    char *group[2] = {calloc(1, NAME), calloc(1, NAME)};
    assert_int_equal(api_make_topic(n, "t", PARTITIONS, NULL, NULL), 0);
    for (int g = 0; g < 2; g++) {
        memset(group[g], 'a' + g, NAME - 1);
        assert_ptr_equal(coordinator(&r, n, group[g]), n);
        assert_int_equal(commit(n, 8, group[g], "t", 0, 1, ""), 0);
        for (int32_t i = 0; i < PARTITIONS; i += 100)
            commit_range(n, group[g], i, i + 100);
    }
    assert_int_equal(fetch(n, 8, group[0], "t", PARTITIONS - 1), 1000 + PARTITIONS - 1);
    assert_int_equal(delete_group(n, group[0]), 0);
    assert_int_equal(delete_group(n, group[0]), FLOE_KERR_GROUP_ID_NOT_FOUND);
    floe_group_settings_default(&r.group);
    r.group.retention_ms = STEP_MS;
    r.group.retention_check_ms = 60000;
    struct api_node *next = api_rig_add(&r);
    api_rig_kill(n);
    api_rig_run(&r, 20000);
    assert_int_equal(delete_group(next, group[0]), FLOE_KERR_GROUP_ID_NOT_FOUND);
    assert_int_equal(fetch(next, 8, group[1], "t", PARTITIONS - 1), 1000 + PARTITIONS - 1);
    api_rig_run(&r, STEP_MS + 120000);
    assert_int_equal(fetch(next, 8, group[1], "t", PARTITIONS - 1), -1);
    assert_int_equal(fetch(next, 8, group[1], "t", 0), -1);
    for (int g = 0; g < 2; g++)
        free(group[g]);
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
        cmocka_unit_test(test_partition_of),      cmocka_unit_test(test_retention_of_its_own),
        cmocka_unit_test(test_commit_under_load), cmocka_unit_test(test_commits_without_store),
        cmocka_unit_test(test_gathered),          cmocka_unit_test(test_gathered_by_groups),
        cmocka_unit_test(test_snapshot_of_many),  cmocka_unit_test(test_many_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
