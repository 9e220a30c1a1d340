/* Fetch, ListOffsets and OffsetForLeaderEpoch through whole cores.
 *
 * Long because: one set of helpers serves the three, which must agree. */
#include <floe_cmocka.h>

#include "api_rig.h"
#include <stdlib.h>
#include <string.h>

typedef struct floe_kafka_FetchResponse_PartitionData partition_data;

struct fetch {
    struct floe_kafka_FetchRequest rq;
    struct floe_kafka_FetchRequest_FetchTopic topic;
    struct floe_kafka_FetchRequest_FetchPartition part[8];
};
static void fetch_init(struct fetch *f, const char *topic, int32_t n)
{
    floe_kafka_defaults(&floe_kafka_FetchRequest_desc, &f->rq);
    floe_kafka_struct_defaults(&floe_kafka_FetchRequest_FetchTopic_desc, &f->topic);
    f->rq.MaxWaitMs = 500;
    f->rq.MinBytes = 1;
    f->rq.MaxBytes = 1 << 20;
    f->rq.SessionEpoch = -1;
    f->rq.Topics = &f->topic;
    f->rq.Topics_n = 1;
    f->topic.Topic = floe_kstr(topic);
    f->topic.Partitions = f->part;
    f->topic.Partitions_n = n;
    for (int32_t i = 0; i < n; i++) {
        floe_kafka_struct_defaults(&floe_kafka_FetchRequest_FetchPartition_desc, &f->part[i]);
        f->part[i].Partition = i;
        f->part[i].PartitionMaxBytes = 1 << 20;
    }
}
static partition_data *part(const struct floe_kafka_FetchResponse *rs, int32_t i)
{
    assert_non_null(rs);
    assert_true(rs->Responses_n == 1 && rs->Responses[0].Partitions_n > i);
    return &rs->Responses[0].Partitions[i];
}
static partition_data *fetch_one(struct api_node *n, const char *topic, int64_t offset, int16_t version)
{
    struct fetch f;
    fetch_init(&f, topic, 1);
    f.part[0].FetchOffset = offset;
    if (version < 7)
        f.rq.SessionEpoch = -1;
    return part(api_do(n, 1, version, &f.rq), 0);
}
/* Counts the records, checks that they go on from `offset` (at most its batch earlier). */
static int32_t count(const partition_data *p, int64_t offset)
{
    struct floe_slice rest = floe_slice(p->Records.p, (size_t)FLOE_MAX(p->Records.n, 0)), bytes;
    struct floe_batch b;
    struct floe_error err;
    int32_t n = 0;
    int64_t next = -1;
    while (floe_batch_next(&rest, &b, &bytes, &err) == FLOE_OK) {
        assert_true(floe_batch_crc_ok(bytes.p, &b));
        if (next < 0)
            assert_true(b.base_offset <= offset && floe_batch_last_offset(&b) >= offset);
        else
            assert_int_equal(b.base_offset, next);
        next = floe_batch_last_offset(&b) + 1;
        n += b.count;
    }
    assert_int_equal(rest.n, 0);
    return n;
}
static void fill(struct api_node *n, const char *topic, int32_t partition, int32_t batches)
{
    struct floe_arena a;
    floe_arena_init(&a, 64 << 20);
    for (int32_t i = 0; i < batches; i++)
        assert_int_equal(api_produce_one(n, topic, partition, -1, api_batch(&a, i * 10, 10, true, 0), NULL),
                         0);
    floe_arena_fini(&a);
}

static void test_every_version(void **state)
{
    struct api_rig r;
    struct fetch f;
    struct floe_uuid id;
    (void)state;
    api_rig_start(&r, 1, 1);
    struct api_node *n = &r.nodes[0];
    assert_int_equal(api_make_topic(n, "t", 2, NULL, NULL), 0);
    fill(n, "t", 0, 3);
    fill(n, "t", 1, 1);
    assert_true(api_topic_id(n, "t", &id));
    for (int16_t v = 4; v <= 18; v++) {
        fetch_init(&f, "t", 2);
        f.part[0].FetchOffset = 15;
        if (v >= 13) {
            f.topic.Topic = floe_kstr("");
            f.topic.TopicId = id;
        }
        f.rq.IsolationLevel = v % 2;
        struct floe_kafka_FetchResponse *rs = api_do(n, 1, v, &f.rq);
        assert_int_equal(rs->ErrorCode, 0);
        assert_int_equal(rs->SessionId, 0); /* none was asked for */
        assert_int_equal(part(rs, 0)->ErrorCode, 0);
        assert_int_equal(part(rs, 0)->HighWatermark, 30);
        assert_int_equal(part(rs, 0)->LastStableOffset, 30);
        assert_int_equal(part(rs, 0)->LogStartOffset, v >= 5 ? 0 : -1);
        assert_int_equal(count(part(rs, 0), 15), 20);
        assert_int_equal(count(part(rs, 1), 0), 10);
    }
    api_rig_stop(&r);
}

static void test_limits(void **state)
{
    struct api_rig r;
    struct fetch f;
    (void)state;
    api_rig_start(&r, 2, 1);
    struct api_node *n = &r.nodes[0];
    assert_int_equal(api_make_topic(n, "t", 3, NULL, NULL), 0);
    fill(n, "t", 1, 5);
    fill(n, "t", 2, 5);
    fetch_init(&f, "t", 3); /* the first batch is larger than every limit: whole, and alone */
    f.rq.MaxBytes = 10;
    struct floe_kafka_FetchResponse *rs = api_do(n, 1, 11, &f.rq);
    assert_int_equal(count(part(rs, 0), 0), 0);
    assert_int_equal(count(part(rs, 1), 0), 10);
    assert_int_equal(count(part(rs, 2), 0), 0);
    int32_t one = part(rs, 1)->Records.n;
    fetch_init(&f, "t", 3);
    f.part[1].PartitionMaxBytes = f.part[2].PartitionMaxBytes = 1;
    rs = api_do(n, 1, 11, &f.rq);
    assert_int_equal(count(part(rs, 1), 0), 10);
    assert_int_equal(count(part(rs, 2), 0), 0);
    fetch_init(&f, "t", 3);
    f.rq.MaxBytes = one * 7 + 5; /* five of one, two of the other */
    rs = api_do(n, 1, 11, &f.rq);
    assert_int_equal(count(part(rs, 1), 0), 50);
    assert_int_equal(count(part(rs, 2), 0), 20);
    fetch_init(&f, "t", 3); /* the order of the request counts */
    f.part[0].Partition = 2;
    f.part[2].Partition = 0;
    f.rq.MaxBytes = one * 2 + 5;
    rs = api_do(n, 1, 11, &f.rq);
    assert_int_equal(count(part(rs, 0), 0), 20);
    assert_int_equal(count(part(rs, 1), 0), 0);
    fetch_init(&f, "t", 3);
    f.rq.MaxBytes = -1;
    f.part[1].PartitionMaxBytes = -5;
    rs = api_do(n, 1, 11, &f.rq);
    assert_int_equal(count(part(rs, 1), 0), 10);
    api_rig_stop(&r);
}

static void test_waiting(void **state)
{
    struct api_rig r;
    struct fetch f;
    struct floe_arena a;
    (void)state;
    api_rig_start(&r, 3, 1);
    struct api_node *n = &r.nodes[0];
    struct floe_client other;
    floe_client_init(&other, "other", 0);
    floe_arena_init(&a, 16 << 20);
    assert_int_equal(api_make_topic(n, "t", 2, NULL, NULL), 0);
    /* Nothing comes: an empty answer at the deadline, not before. */
    fetch_init(&f, "t", 2);
    uint64_t from = floe_sim_now_us(r.sim);
    struct floe_kafka_FetchResponse *rs = api_do(n, 1, 11, &f.rq);
    assert_in_range(api_last()->at_us - from, 500000, 520000);
    assert_int_equal(part(rs, 0)->ErrorCode, 0);
    assert_int_equal(part(rs, 0)->HighWatermark, 0);
    assert_int_equal(part(rs, 0)->Records.n, 0);
    /* Nothing asked for, or no bytes wanted: at once. */
    f.rq.MinBytes = 0;
    from = floe_sim_now_us(r.sim);
    api_do(n, 1, 11, &f.rq);
    assert_true(api_last()->at_us - from < 1000);
    f.rq.MinBytes = 1;
    f.rq.Topics_n = 0;
    api_do(n, 1, 11, &f.rq);
    assert_true(api_last()->at_us - from < 1000);
    /* Data comes. */
    fetch_init(&f, "t", 2);
    f.rq.MaxWaitMs = 10000;
    struct api_call *c = api_send(n, &other, 1, 11, &f.rq);
    api_rig_run(&r, 100);
    assert_false(c->done);
    assert_int_equal(api_produce_one(n, "t", 1, -1, api_batch(&a, 0, 10, true, 0), NULL), 0);
    rs = api_wait(n, c, 50);
    assert_int_equal(count(part(rs, 1), 0), 10);
    int32_t one = part(rs, 1)->Records.n;
    api_call_free(c);
    /* Enough of it, from several partitions, some of it there already. */
    f.rq.MinBytes = one * 3;
    c = api_send(n, &other, 1, 11, &f.rq);
    for (int32_t i = 0; i < 2; i++) {
        api_rig_run(&r, 100);
        assert_false(c->done);
        assert_int_equal(api_produce_one(n, "t", i, -1, api_batch(&a, 0, 10, true, 0), NULL), 0);
    }
    rs = api_wait(n, c, 50);
    assert_int_equal(count(part(rs, 0), 0), 10);
    assert_int_equal(count(part(rs, 1), 0), 20);
    api_call_free(c);
    /* More than will come: what there is, at the deadline. */
    f.rq.MinBytes = one * 1000;
    from = floe_sim_now_us(r.sim);
    rs = api_do(n, 1, 11, &f.rq);
    assert_in_range(api_last()->at_us - from, 10000000, 10020000);
    assert_int_equal(count(part(rs, 1), 0), 20);
    /* More than may come counts as that much. */
    f.rq.MinBytes = INT32_MAX;
    f.rq.MaxBytes = one * 2;
    from = floe_sim_now_us(r.sim);
    rs = api_do(n, 1, 11, &f.rq);
    assert_true(api_last()->at_us - from < 1000);
    floe_arena_fini(&a);
    api_rig_stop(&r);
}

/* What comes behind a fetch on its connection does not wait for data, but for another fetch. */
static void test_others_behind(void **state)
{
    struct api_rig r;
    struct fetch f;
    struct floe_client other;
    struct floe_kafka_MetadataRequest meta;
    (void)state;
    api_rig_start(&r, 3, 1);
    struct api_node *n = &r.nodes[0];
    floe_client_init(&other, "other", 0);
    floe_kafka_defaults(&floe_kafka_MetadataRequest_desc, &meta);
    assert_int_equal(api_make_topic(n, "t", 2, NULL, NULL), 0);
    fetch_init(&f, "t", 2);
    f.rq.MaxWaitMs = 10000;
    for (int fetches = 1; fetches <= 3; fetches++) {
        struct api_call *c[4];
        for (int i = 0; i < fetches; i++)
            c[i] = api_send(n, &other, 1, 11, &f.rq);
        api_rig_run(&r, 100);
        assert_false(c[0]->done);
        c[fetches] = api_send(n, &other, 3, 9, &meta);
        for (int i = 0; i <= fetches; i++) {
            assert_non_null(api_wait(n, c[i], 20));
            api_call_free(c[i]);
        }
    }
    api_rig_stop(&r);
}

static void test_unknown_partitions(void **state)
{
    struct api_rig r;
    struct fetch f;
    (void)state;
    api_rig_start(&r, 3, 1);
    struct api_node *n = &r.nodes[0];
    assert_int_equal(api_make_topic(n, "t", 2, NULL, NULL), 0);
    /* A partition that there is not keeps nobody from waiting for another one; of nothing else it is told at
     * once; and a topic without partitions is not told of. */
    fetch_init(&f, "t", 2);
    f.part[1].Partition = 9;
    uint64_t from = floe_sim_now_us(r.sim);
    struct floe_kafka_FetchResponse *rs = api_do(n, 1, 11, &f.rq);
    assert_in_range(api_last()->at_us - from, 500000, 520000);
    assert_int_equal(part(rs, 1)->ErrorCode, FLOE_KERR_UNKNOWN_TOPIC_OR_PARTITION);
    f.part[0].Partition = 8;
    from = floe_sim_now_us(r.sim);
    rs = api_do(n, 1, 11, &f.rq);
    assert_true(api_last()->at_us - from < 1000);
    assert_int_equal(part(rs, 0)->ErrorCode, FLOE_KERR_UNKNOWN_TOPIC_OR_PARTITION);
    f.topic.Partitions_n = 0;
    assert_int_equal(((struct floe_kafka_FetchResponse *)api_do(n, 1, 11, &f.rq))->Responses_n, 0);
    api_rig_stop(&r);
}

static int16_t epoch_end_of(struct api_node *n, const char *topic, int32_t epoch, int64_t *end)
{
    struct floe_kafka_OffsetForLeaderEpochRequest rq;
    struct floe_kafka_OffsetForLeaderEpochRequest_OffsetForLeaderTopic t;
    struct floe_kafka_OffsetForLeaderEpochRequest_OffsetForLeaderPartition p;
    floe_kafka_defaults(&floe_kafka_OffsetForLeaderEpochRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_OffsetForLeaderEpochRequest_OffsetForLeaderTopic_desc, &t);
    floe_kafka_struct_defaults(&floe_kafka_OffsetForLeaderEpochRequest_OffsetForLeaderPartition_desc, &p);
    rq.Topics = &t;
    rq.Topics_n = 1;
    t.Topic = floe_kstr(topic);
    t.Partitions = &p;
    t.Partitions_n = 1;
    p.LeaderEpoch = epoch;
    struct floe_kafka_OffsetForLeaderEpochResponse *rs = api_do(n, 23, 4, &rq);
    *end = rs->Topics[0].Partitions[0].EndOffset;
    return rs->Topics[0].Partitions[0].ErrorCode;
}

static void test_errors(void **state)
{
    struct api_rig r;
    struct fetch f;
    (void)state;
    api_rig_start(&r, 4, 1);
    struct api_node *n = &r.nodes[0];
    assert_int_equal(api_make_topic(n, "t", 1, NULL, NULL), 0);
    fill(n, "t", 0, 2);
    assert_int_equal(fetch_one(n, "t", 20, 11)->ErrorCode, 0);
    partition_data *p = fetch_one(n, "t", 21, 11);
    assert_int_equal(p->ErrorCode, FLOE_KERR_OFFSET_OUT_OF_RANGE);
    assert_int_equal(p->HighWatermark, -1);
    assert_int_equal(fetch_one(n, "t", -1, 11)->ErrorCode, FLOE_KERR_OFFSET_OUT_OF_RANGE);
    assert_int_equal(fetch_one(n, "no", 0, 11)->ErrorCode, FLOE_KERR_UNKNOWN_TOPIC_OR_PARTITION);
    fetch_init(&f, "t", 1);
    f.part[0].Partition = 1;
    assert_int_equal(part(api_do(n, 1, 11, &f.rq), 0)->ErrorCode, FLOE_KERR_UNKNOWN_TOPIC_OR_PARTITION);
    fetch_init(&f, "", 1);
    memset(f.topic.TopicId.b, 9, 16);
    assert_int_equal(part(api_do(n, 1, 13, &f.rq), 0)->ErrorCode, FLOE_KERR_UNKNOWN_TOPIC_ID);
    /* Leader epochs. */
    fetch_init(&f, "t", 1);
    struct floe_uuid id;
    struct floe_partition *lp;
    assert_true(api_topic_id(n, "t", &id));
    struct floe_tp tp = {id, 0};
    assert_int_equal(floe_log_find(floe_core_log(n->core), &tp, &lp), FLOE_PARTITION_SERVING);
    int32_t epoch = floe_partition_epoch(lp);
    f.part[0].CurrentLeaderEpoch = epoch;
    assert_int_equal(part(api_do(n, 1, 12, &f.rq), 0)->ErrorCode, 0);
    f.part[0].CurrentLeaderEpoch = epoch + 1;
    assert_int_equal(part(api_do(n, 1, 12, &f.rq), 0)->ErrorCode, FLOE_KERR_UNKNOWN_LEADER_EPOCH);
    api_rig_stop(&r);
}

/* acks=1, not committed: its producer may ask for what follows it. */
static void test_not_committed(void **state)
{
    struct api_rig r;
    struct fetch f;
    struct floe_arena a;
    int64_t end;
    (void)state;
    api_rig_start(&r, 10, 1);
    struct api_node *n = &r.nodes[0];
    floe_arena_init(&a, 16 << 20);
    assert_int_equal(api_make_topic(n, "t", 1, NULL, NULL), 0);
    fill(n, "t", 0, 2);
    struct floe_sim_rule rule = {
        .fault = FLOE_SIM_E503, .kinds = FLOE_SIM_KIND(FLOE_STORE_PUT), .prefix = "chain/"};
    floe_sim_bucket_rule(r.bucket, &rule);
    assert_int_equal(api_produce_one(n, "t", 0, 1, api_batch(&a, 0, 5, true, 0), NULL), 0);
    for (int64_t at = 20; at <= 25; at++) {
        partition_data *p = fetch_one(n, "t", at, 11);
        assert_int_equal(p->ErrorCode, 0);
        assert_int_equal(p->HighWatermark, 20);
        assert_int_equal(p->Records.n, 0);
    }
    assert_int_equal(fetch_one(n, "t", 26, 11)->ErrorCode, FLOE_KERR_OFFSET_OUT_OF_RANGE);
    /* Nor does its history diverge there: the epoch goes on. (So does one's that has read a segment in its
     * own rack whose PUT the leader has not heard of yet.) */
    fetch_init(&f, "t", 1);
    f.part[0].FetchOffset = 25;
    f.part[0].LastFetchedEpoch = 0;
    partition_data *p = part(api_do(n, 1, 12, &f.rq), 0);
    assert_int_equal(p->ErrorCode, 0);
    assert_int_equal(p->DivergingEpoch.Epoch, -1);
    assert_int_equal(epoch_end_of(n, "t", 0, &end), 0);
    assert_int_equal(end, 25);
    struct floe_client other;
    floe_client_init(&other, "other", 0);
    fetch_init(&f, "t", 1);
    f.rq.MaxWaitMs = 30000;
    f.part[0].FetchOffset = 24;
    struct api_call *c = api_send(n, &other, 1, 11, &f.rq);
    api_rig_run(&r, 300);
    assert_false(c->done);
    floe_sim_bucket_heal(r.bucket);
    struct floe_kafka_FetchResponse *rs = api_wait(n, c, 30000);
    assert_int_equal(count(part(rs, 0), 24), 5);
    api_call_free(c);
    floe_arena_fini(&a);
    api_rig_stop(&r);
}

static void test_cancel(void **state)
{
    struct api_rig r;
    struct fetch f;
    (void)state;
    api_rig_start(&r, 5, 1);
    struct api_node *n = &r.nodes[0];
    assert_int_equal(api_make_topic(n, "t", 2, NULL, NULL), 0);
    fill(n, "t", 0, 3);
    for (int kind = 0; kind < 3; kind++) {
        struct floe_client c;
        floe_client_init(&c, "leaving", 0);
        fetch_init(&f, kind == 1 ? "never-heard-of" : "t", 2);
        f.rq.MaxWaitMs = INT32_MAX;
        f.rq.MinBytes = INT32_MAX;
        struct api_call *call = api_send(n, &c, 1, 11, &f.rq); /* waits for data; reads the table */
        struct api_call *next = api_send(n, &c, 1, 11, &f.rq); /* has not begun */
        if (kind == 2)
            api_rig_run(&r, 1000);
        floe_client_gone(&c);
        api_wait(n, call, 1000);
        assert_true(call->done && next->done && next->silent);
        api_call_free(call);
        api_call_free(next);
    }
    assert_int_equal(count(fetch_one(n, "t", 0, 11), 0), 30);
    api_rig_stop(&r);
}

/* What answers hold is bounded: others wait, and are answered without records in the end. */
static void test_answers_held(void **state)
{
    struct api_rig r;
    struct fetch f;
    (void)state;
    api_rig_start(&r, 6, 0);
    r.api.answers_max = 1;
    api_rig_add(&r);
    api_rig_run(&r, 5000);
    struct api_node *n = &r.nodes[0];
    assert_true(n->started);
    assert_int_equal(api_make_topic(n, "t", 1, NULL, NULL), 0);
    fill(n, "t", 0, 3);
    /* The rig gives an answer's bytes back when it is done: here somebody holds some. */
    assert_int_equal(count(fetch_one(n, "t", 0, 11), 0), 30);
    struct floe_budget *answers = NULL;
    fetch_init(&f, "t", 1);
    struct api_call *c = api_send(n, NULL, 1, 11, &f.rq);
    assert_true(c->done); /* from memory, at once */
    answers = c->held_budget;
    api_call_free(c);
    assert_non_null(answers);
    assert_int_equal(floe_budget_used(answers), 0);
    floe_budget_force(answers, 100);
    uint64_t from = floe_sim_now_us(r.sim);
    struct floe_kafka_FetchResponse *rs = api_do(n, 1, 11, &f.rq);
    assert_int_equal(part(rs, 0)->Records.n, 0);
    assert_int_equal(part(rs, 0)->ErrorCode, 0);
    assert_in_range(api_last()->at_us - from, 500000, 530000);
    f.rq.MaxWaitMs = 10000;
    c = api_send(n, NULL, 1, 11, &f.rq);
    api_rig_run(&r, 1000);
    assert_false(c->done);
    floe_budget_give(answers, 100);
    rs = api_wait(n, c, 100);
    assert_int_equal(count(part(rs, 0), 0), 30);
    api_call_free(c);
    api_rig_stop(&r);
}

/* ---- ListOffsets, OffsetForLeaderEpoch ---- */

static struct floe_kafka_ListOffsetsResponse_ListOffsetsPartitionResponse
list(struct api_node *n, const char *topic, int64_t ts, int16_t version, int32_t epoch)
{
    struct floe_kafka_ListOffsetsRequest rq;
    struct floe_kafka_ListOffsetsRequest_ListOffsetsTopic t;
    struct floe_kafka_ListOffsetsRequest_ListOffsetsPartition p;
    floe_kafka_defaults(&floe_kafka_ListOffsetsRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_ListOffsetsRequest_ListOffsetsTopic_desc, &t);
    floe_kafka_struct_defaults(&floe_kafka_ListOffsetsRequest_ListOffsetsPartition_desc, &p);
    rq.ReplicaId = -1;
    rq.Topics = &t;
    rq.Topics_n = 1;
    t.Name = floe_kstr(topic);
    t.Partitions = &p;
    t.Partitions_n = 1;
    p.Timestamp = ts;
    p.CurrentLeaderEpoch = epoch;
    struct floe_kafka_ListOffsetsResponse *rs = api_do(n, 2, version, &rq);
    assert_true(rs->Topics_n == 1 && rs->Topics[0].Partitions_n == 1);
    return rs->Topics[0].Partitions[0];
}

/* Records that are here do not wait for those that the store has yet to bring. */
static void test_enough(void **state)
{
    struct api_rig r;
    struct fetch f;
    struct floe_arena a;
    (void)state;
    api_rig_start(&r, 7, 1);
    struct api_node *n = &r.nodes[0];
    floe_arena_init(&a, 64 << 20);
    n->cache.limit = 0; /* nothing is kept in memory */
    assert_int_equal(api_make_topic(n, "t", 2, NULL, NULL), 0);
    for (int32_t i = 0; i < 4; i++)
        assert_int_equal(
            api_produce_one(n, "t", i % 2, -1, api_batch(&a, i / 2 * 30000, 30000, true, 0), NULL), 0);
    n->cache.limit = 64 << 20;
    fetch_init(&f, "t", 1);
    f.rq.MaxBytes = f.part[0].PartitionMaxBytes = 8 << 20;
    for (f.part[0].FetchOffset = 0; f.part[0].FetchOffset < 60000; f.part[0].FetchOffset += 30000)
        assert_int_equal(count(part(api_do(n, 1, 11, &f.rq), 0), f.part[0].FetchOffset), 30000);
    struct floe_sim_rule rule = {.fault = FLOE_SIM_HANG,
                                 .kinds = FLOE_SIM_KIND(FLOE_STORE_GET),
                                 .prefix = "chain/",
                                 .delay_us = 900000};
    floe_sim_bucket_rule(r.bucket, &rule);
    fetch_init(&f, "t", 2);
    f.rq.MaxBytes = f.part[0].PartitionMaxBytes = f.part[1].PartitionMaxBytes = 8 << 20;
    uint64_t from = floe_sim_now_us(r.sim);
    struct floe_kafka_FetchResponse *rs = api_do(n, 1, 11, &f.rq);
    assert_true(floe_sim_now_us(r.sim) - from < 500000);
    assert_int_equal(count(part(rs, 0), 0), 60000);
    assert_int_equal(part(rs, 1)->ErrorCode, 0);
    assert_int_equal(part(rs, 1)->Records.n, 0);
    assert_int_equal(part(rs, 1)->HighWatermark, 60000);
    /* Who asks for more than is here waits, and what was begun before is not begun again. */
    f.rq.MinBytes = INT32_MAX;
    f.rq.MaxWaitMs = 3000;
    rs = api_do(n, 1, 11, &f.rq);
    assert_true(count(part(rs, 1), 0) > 0);
    floe_sim_bucket_heal(r.bucket);
    floe_arena_fini(&a);
    api_rig_stop(&r);
}

static void test_list_offsets(void **state)
{
    struct api_rig r;
    (void)state;
    api_rig_start(&r, 7, 1);
    struct api_node *n = &r.nodes[0];
    assert_int_equal(api_make_topic(n, "t", 1, NULL, NULL), 0);
    assert_int_equal(api_make_topic(n, "empty", 1, NULL, NULL), 0);
    fill(n, "t", 0, 3); /* timestamps 1,000,000 to 1,000,029 */
    for (int16_t v = 1; v <= 11; v++) {
        const struct {
            int64_t ts, offset, found;
            int16_t since;
        } ask[] = {
            {-1, 30, -1, 1},           {-2, 0, -1, 1},
            {-3, 29, 1000029, 7},      {-4, 0, -1, 8},
            {-5, -1, -1, 9},           {-6, -1, -1, 11},
            {0, 0, 1000000, 1},        {1000013, 13, 1000013, 1},
            {1000029, 29, 1000029, 1}, {1000030, -1, -1, 1},
            {INT64_MAX, -1, -1, 1},
        };
        for (size_t i = 0; i < FLOE_COUNTOF(ask); i++) {
            struct floe_kafka_ListOffsetsResponse_ListOffsetsPartitionResponse p =
                list(n, "t", ask[i].ts, v, -1);
            assert_int_equal(p.ErrorCode, v < ask[i].since ? FLOE_KERR_UNSUPPORTED_VERSION : 0);
            if (v < ask[i].since)
                continue;
            assert_int_equal(p.Offset, ask[i].offset);
            assert_int_equal(p.Timestamp, ask[i].found);
        }
        assert_int_equal(list(n, "empty", -1, v, -1).Offset, 0);
        assert_int_equal(list(n, "empty", 5, v, -1).Offset, -1);
        assert_int_equal(list(n, "no", -1, v, -1).ErrorCode, FLOE_KERR_UNKNOWN_TOPIC_OR_PARTITION);
        assert_int_equal(list(n, "t", -7, v, -1).ErrorCode, FLOE_KERR_UNSUPPORTED_VERSION);
        if (v >= 4)
            assert_int_equal(list(n, "t", -1, v, 99).ErrorCode, FLOE_KERR_UNKNOWN_LEADER_EPOCH);
    }
    assert_int_equal(list(n, "empty", -3, 11, -1).Offset, -1);
    /* One that does not know whether it is alive names no end. */
    struct floe_sim_rule rule = {.fault = FLOE_SIM_E503, .kinds = FLOE_SIM_KIND(FLOE_STORE_PUT)};
    floe_sim_bucket_rule(r.bucket, &rule);
    api_rig_run(&r, 4000);
    assert_false(floe_lease_alive(floe_core_lease(n->core)));
    assert_int_equal(list(n, "t", -1, 11, -1).ErrorCode, FLOE_KERR_OFFSET_NOT_AVAILABLE);
    assert_int_equal(list(n, "t", -1, 4, -1).ErrorCode, FLOE_KERR_LEADER_NOT_AVAILABLE);
    assert_int_equal(list(n, "t", -2, 11, -1).Offset, 0);
    assert_int_equal(fetch_one(n, "t", 77, 11)->ErrorCode, FLOE_KERR_NOT_LEADER_OR_FOLLOWER);
    assert_int_equal(count(fetch_one(n, "t", 0, 11), 0), 30); /* what is committed is */
    /* Nor what was written last, nor that nothing as young exists, nor where the epoch ends, nor that a newer
     * one does not exist. */
    assert_int_equal(list(n, "t", -3, 11, -1).ErrorCode, FLOE_KERR_OFFSET_NOT_AVAILABLE);
    assert_int_equal(list(n, "t", 1000030, 11, -1).ErrorCode, FLOE_KERR_OFFSET_NOT_AVAILABLE);
    assert_int_equal(list(n, "empty", 5, 1, -1).ErrorCode, FLOE_KERR_LEADER_NOT_AVAILABLE);
    assert_int_equal(list(n, "t", 1000013, 11, -1).Offset, 13);
    for (int32_t newer = 0; newer < 2; newer++) {
        struct fetch f;
        int64_t end = 0;
        fetch_init(&f, "t", 1);
        f.part[0].FetchOffset = newer ? 20 : 31;
        f.part[0].LastFetchedEpoch = newer;
        partition_data *p = part(api_do(n, 1, 12, &f.rq), 0);
        assert_int_equal(p->ErrorCode, FLOE_KERR_NOT_LEADER_OR_FOLLOWER);
        assert_int_equal(p->DivergingEpoch.Epoch, -1);
        assert_int_equal(epoch_end_of(n, "t", newer, &end), FLOE_KERR_NOT_LEADER_OR_FOLLOWER);
    }
    api_rig_stop(&r);
}

/* Who does not lead says where the leader is (KIP-951). */
static void is_named(struct api_node *n, int32_t leader)
{
    struct fetch f;
    bool named = false;
    fetch_init(&f, "t", 1);
    f.topic.Topic = floe_kstr("");
    assert_true(api_topic_id(n, "t", &f.topic.TopicId));
    struct floe_kafka_FetchResponse *rs = api_do(n, 1, 16, &f.rq);
    assert_int_equal(part(rs, 0)->ErrorCode, FLOE_KERR_NOT_LEADER_OR_FOLLOWER);
    for (int32_t i = 0; i < rs->NodeEndpoints_n; i++)
        named |= rs->NodeEndpoints[i].NodeId == leader && rs->NodeEndpoints[i].Port == 9092 &&
                 rs->NodeEndpoints[i].Host.n > 0;
    assert_true(named);
}

static void test_epochs_over_takeover(void **state)
{
    struct api_rig r;
    struct fetch f;
    (void)state;
    api_rig_start(&r, 8, 2);
    assert_int_equal(api_make_topic(&r.nodes[0], "t", 1, NULL, NULL), 0);
    api_rig_run(&r, 500);
    struct api_node *first = api_leader_of(&r, "t", 0);
    assert_non_null(first);
    struct api_node *n = first == &r.nodes[0] ? &r.nodes[1] : &r.nodes[0];
    fill(first, "t", 0, 2);
    /* A fetch waits at the new leader-to-be: NOT_LEADER, with the hint. */
    fetch_init(&f, "t", 1);
    struct floe_kafka_FetchResponse *rs = api_do(n, 1, 12, &f.rq);
    assert_int_equal(part(rs, 0)->ErrorCode, FLOE_KERR_NOT_LEADER_OR_FOLLOWER);
    int32_t epoch = part(rs, 0)->CurrentLeader.LeaderEpoch;
    assert_int_equal(part(rs, 0)->CurrentLeader.LeaderId, floe_lease_node_id(floe_core_lease(first->core)));
    is_named(n, part(rs, 0)->CurrentLeader.LeaderId);
    api_rig_kill(first);
    for (int i = 0; i < 200 && api_leader_of(&r, "t", 0) != n; i++)
        api_rig_run(&r, 100);
    fill(n, "t", 0, 1);
    for (int64_t at = 0; at < 30;) /* from the store, a piece at a time */
        at += count(fetch_one(n, "t", at, 11), at);
    f.part[0].CurrentLeaderEpoch = epoch;
    assert_int_equal(part(api_do(n, 1, 12, &f.rq), 0)->ErrorCode, FLOE_KERR_FENCED_LEADER_EPOCH);
    fetch_init(&f, "t", 1);
    f.part[0].FetchOffset = 25;
    f.part[0].LastFetchedEpoch = epoch; /* it has read more of the old epoch than there was */
    rs = api_do(n, 1, 12, &f.rq);
    assert_int_equal(part(rs, 0)->DivergingEpoch.Epoch, epoch);
    assert_int_equal(part(rs, 0)->DivergingEpoch.EndOffset, 20);
    struct floe_kafka_OffsetForLeaderEpochRequest rq;
    struct floe_kafka_OffsetForLeaderEpochRequest_OffsetForLeaderTopic t;
    struct floe_kafka_OffsetForLeaderEpochRequest_OffsetForLeaderPartition p;
    floe_kafka_defaults(&floe_kafka_OffsetForLeaderEpochRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_OffsetForLeaderEpochRequest_OffsetForLeaderTopic_desc, &t);
    floe_kafka_struct_defaults(&floe_kafka_OffsetForLeaderEpochRequest_OffsetForLeaderPartition_desc, &p);
    rq.ReplicaId = -1;
    rq.Topics = &t;
    rq.Topics_n = 1;
    t.Topic = floe_kstr("t");
    t.Partitions = &p;
    t.Partitions_n = 1;
    for (int16_t v = 2; v <= 4; v++) {
        rq.ReplicaId = v >= 3 ? -1 : -2;
        const struct {
            int32_t asked, epoch;
            int64_t end;
        } ask[] = {{epoch, epoch, 20}, {epoch + 1, epoch + 1, 30}, {epoch + 9, -1, -1}, {-1, -1, -1}};
        for (size_t i = 0; i < FLOE_COUNTOF(ask); i++) {
            p.LeaderEpoch = ask[i].asked;
            struct floe_kafka_OffsetForLeaderEpochResponse *o = api_do(n, 23, v, &rq);
            assert_int_equal(o->Topics[0].Partitions[0].ErrorCode, 0);
            assert_int_equal(o->Topics[0].Partitions[0].LeaderEpoch, ask[i].epoch);
            assert_int_equal(o->Topics[0].Partitions[0].EndOffset, ask[i].end);
        }
    }
    /* One that does not know whether it is alive: a later holder may know of a later end. */
    struct floe_sim_rule rule = {.fault = FLOE_SIM_E503, .kinds = FLOE_SIM_KIND(FLOE_STORE_PUT)};
    floe_sim_bucket_rule(r.bucket, &rule);
    api_rig_run(&r, 4000);
    assert_false(floe_lease_alive(floe_core_lease(n->core)));
    p.LeaderEpoch = epoch + 1;
    struct floe_kafka_OffsetForLeaderEpochResponse *o = api_do(n, 23, 4, &rq);
    assert_int_equal(o->Topics[0].Partitions[0].ErrorCode, FLOE_KERR_NOT_LEADER_OR_FOLLOWER);
    assert_int_equal(o->Topics[0].Partitions[0].EndOffset, -1);
    api_rig_stop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_version),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_waiting),
        cmocka_unit_test(test_others_behind),
        cmocka_unit_test(test_unknown_partitions),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_not_committed),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_answers_held),
        cmocka_unit_test(test_enough),
        cmocka_unit_test(test_list_offsets),
        cmocka_unit_test(test_epochs_over_takeover),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
