/* Produce through whole cores: acknowledgements, errors, order, retries. */
#include <floe_cmocka.h>

#include "api_rig.h"
#include <stdlib.h>
#include <string.h>

typedef struct floe_kafka_ProduceResponse_PartitionProduceResponse answer;

/* A request of one topic with several partitions. */
struct produce {
    struct floe_kafka_ProduceRequest rq;
    struct floe_kafka_ProduceRequest_TopicProduceData topic[2];
    struct floe_kafka_ProduceRequest_PartitionProduceData part[8];
};
static void produce_init(struct produce *p, const char *topic, int32_t n, struct floe_krecords records)
{
    floe_kafka_defaults(&floe_kafka_ProduceRequest_desc, &p->rq);
    for (int i = 0; i < 2; i++)
        floe_kafka_struct_defaults(&floe_kafka_ProduceRequest_TopicProduceData_desc, &p->topic[i]);
    p->rq.Acks = -1;
    p->rq.TimeoutMs = 30000;
    p->rq.TopicData = p->topic;
    p->rq.TopicData_n = 1;
    p->topic[0].Name = floe_kstr(topic);
    p->topic[0].PartitionData = p->part;
    p->topic[0].PartitionData_n = n;
    for (int32_t i = 0; i < n; i++) {
        floe_kafka_struct_defaults(&floe_kafka_ProduceRequest_PartitionProduceData_desc, &p->part[i]);
        p->part[i].Index = i;
        p->part[i].Records = records;
    }
}
static answer *result(const struct floe_kafka_ProduceResponse *rs, int32_t i)
{
    assert_non_null(rs);
    assert_true(rs->Responses_n == 1 && rs->Responses[0].PartitionResponses_n > i);
    return &rs->Responses[0].PartitionResponses[i];
}

static void test_every_version(void **state)
{
    struct api_rig r;
    struct floe_arena a;
    struct produce p;
    (void)state;
    api_rig_start(&r, 1, 1);
    struct api_node *n = &r.nodes[0];
    floe_arena_init(&a, 16 << 20);
    assert_int_equal(api_make_topic(n, "t", 2, NULL, NULL), 0);
    struct floe_uuid id;
    assert_true(api_topic_id(n, "t", &id));
    for (int16_t v = 3; v <= 13; v++) {
        produce_init(&p, "t", 2, api_batch(&a, v, 3, true, v % 5));
        if (v < 7)
            p.part[0].Records = p.part[1].Records = api_batch(&a, v, 3, true, FLOE_COMPRESSION_GZIP);
        if (v == 13) {
            p.topic[0].Name = floe_kstr("");
            p.topic[0].TopicId = id;
        }
        struct floe_kafka_ProduceResponse *rs = api_do(n, 0, v, &p.rq);
        for (int i = 0; i < 2; i++) {
            assert_int_equal(result(rs, i)->ErrorCode, 0);
            assert_int_equal(result(rs, i)->Index, i);
            assert_int_equal(result(rs, i)->BaseOffset, (v - 3) * 3);
            assert_int_equal(result(rs, i)->LogAppendTimeMs, -1);
            assert_int_equal(result(rs, i)->LogStartOffset, v >= 5 ? 0 : -1);
        }
    }
    /* zstd is for those who know it. */
    produce_init(&p, "t", 1, api_batch(&a, 0, 1, true, FLOE_COMPRESSION_ZSTD));
    assert_int_equal(result(api_do(n, 0, 6, &p.rq), 0)->ErrorCode, FLOE_KERR_UNSUPPORTED_COMPRESSION_TYPE);
    floe_arena_fini(&a);
    api_rig_stop(&r);
}

static void test_acks(void **state)
{
    struct api_rig r;
    struct floe_arena a;
    int64_t base = -1;
    (void)state;
    api_rig_start(&r, 2, 1);
    struct api_node *n = &r.nodes[0];
    floe_arena_init(&a, 16 << 20);
    assert_int_equal(api_make_topic(n, "t", 1, NULL, NULL), 0);
    assert_int_equal(api_produce_one(n, "t", 0, 1, api_batch(&a, 0, 2, false, 0), &base), 0);
    assert_int_equal(base, 0);
    assert_int_equal(api_produce_one(n, "t", 0, -1, api_batch(&a, 2, 2, false, 0), &base), 0);
    assert_int_equal(base, 2);
    assert_int_equal(api_produce_one(n, "t", 0, 0, api_batch(&a, 4, 2, false, 0), NULL), 0);
    assert_true(api_last()->silent);
    assert_int_equal(api_produce_one(n, "t", 0, -1, api_batch(&a, 6, 2, false, 0), &base), 0);
    assert_int_equal(base, 6);
    assert_int_equal(api_produce_one(n, "t", 0, 2, api_batch(&a, 0, 1, false, 0), NULL),
                     FLOE_KERR_INVALID_REQUIRED_ACKS);
    /* With acks=0 an error can only close the connection. */
    assert_int_equal(api_produce_one(n, "none", 0, 0, api_batch(&a, 0, 1, false, 0), NULL),
                     FLOE_KERR_NETWORK_EXCEPTION);
    assert_string_equal(api_last()->reason, "acks=0 and UNKNOWN_TOPIC_OR_PARTITION");
    floe_arena_fini(&a);
    api_rig_stop(&r);
}

static void test_errors(void **state)
{
    struct api_rig r;
    struct floe_arena a;
    struct produce p;
    (void)state;
    api_rig_start(&r, 3, 1);
    struct api_node *n = &r.nodes[0];
    floe_arena_init(&a, 64 << 20);
    assert_int_equal(api_make_topic(n, "t", 3, "max.message.bytes", "2000"), 0);
    struct floe_krecords good = api_batch(&a, 0, 3, true, 0);
    assert_int_equal(api_produce_one(n, "t", 3, -1, good, NULL), FLOE_KERR_UNKNOWN_TOPIC_OR_PARTITION);
    assert_int_equal(api_produce_one(n, "t", -1, -1, good, NULL), FLOE_KERR_UNKNOWN_TOPIC_OR_PARTITION);
    assert_int_equal(api_produce_one(n, "no", 0, -1, good, NULL), FLOE_KERR_UNKNOWN_TOPIC_OR_PARTITION);
    assert_int_equal(api_produce_one(n, "", 0, -1, good, NULL), FLOE_KERR_UNKNOWN_TOPIC_OR_PARTITION);
    assert_int_equal(api_produce_one(n, "t", 0, -1, api_batch(&a, 0, 300, true, 0), NULL),
                     FLOE_KERR_MESSAGE_TOO_LARGE);
    /* One bad bit, cut off, nothing at all: one partition fails, its neighbours do not. */
    produce_init(&p, "t", 3, good);
    uint8_t *bad = floe_arena_alloc(&a, (size_t)good.n);
    memcpy(bad, good.p, (size_t)good.n);
    bad[good.n - 1] ^= 1;
    p.part[1].Records.p = bad;
    struct floe_kafka_ProduceResponse *rs = api_do(n, 0, 9, &p.rq);
    assert_int_equal(result(rs, 0)->ErrorCode, 0);
    assert_int_equal(result(rs, 1)->ErrorCode, FLOE_KERR_CORRUPT_MESSAGE);
    assert_int_equal(result(rs, 1)->BaseOffset, -1);
    assert_int_equal(result(rs, 2)->ErrorCode, 0);
    for (int32_t cut = 0; cut < good.n; cut += 7) {
        produce_init(&p, "t", 1, good);
        p.part[0].Records.n = cut;
        assert_int_not_equal(result(api_do(n, 0, 9, &p.rq), 0)->ErrorCode, 0);
    }
    produce_init(&p, "t", 1, (struct floe_krecords){.n = -1});
    assert_int_not_equal(result(api_do(n, 0, 9, &p.rq), 0)->ErrorCode, 0);
    /* By an id that nobody has. */
    produce_init(&p, "", 1, good);
    memset(p.topic[0].TopicId.b, 9, 16);
    assert_int_equal(result(api_do(n, 0, 13, &p.rq), 0)->ErrorCode, FLOE_KERR_UNKNOWN_TOPIC_ID);
    /* Named twice: the first counts, whatever else is wrong. */
    produce_init(&p, "t", 3, good);
    p.part[1].Index = p.part[2].Index = 0;
    rs = api_do(n, 0, 9, &p.rq);
    assert_int_equal(result(rs, 0)->ErrorCode, 0);
    assert_int_equal(result(rs, 1)->ErrorCode, FLOE_KERR_INVALID_REQUEST);
    assert_int_equal(result(rs, 2)->ErrorCode, FLOE_KERR_INVALID_REQUEST);
    produce_init(&p, "t", 1, good);
    p.topic[1] = p.topic[0];
    p.rq.TopicData_n = 2;
    rs = api_do(n, 0, 9, &p.rq);
    assert_int_equal(rs->Responses[0].PartitionResponses[0].ErrorCode, 0);
    assert_int_equal(rs->Responses[1].PartitionResponses[0].ErrorCode, FLOE_KERR_INVALID_REQUEST);
    /* Nothing asked, nothing said. */
    produce_init(&p, "t", 0, good);
    p.rq.TopicData_n = 0;
    rs = api_do(n, 0, 9, &p.rq);
    assert_int_equal(rs->Responses_n, 0);
    floe_arena_fini(&a);
    api_rig_stop(&r);
}

static void test_compacted(void **state)
{
    struct api_rig r;
    struct floe_arena a;
    (void)state;
    api_rig_start(&r, 4, 1);
    struct api_node *n = &r.nodes[0];
    floe_arena_init(&a, 16 << 20);
    assert_int_equal(api_make_topic(n, "c", 1, "cleanup.policy", "compact"), 0);
    assert_int_equal(api_make_topic(n, "cd", 1, "cleanup.policy", "compact,delete"), 0);
    assert_int_equal(api_make_topic(n, "d", 1, "cleanup.policy", "delete"), 0);
    for (int c = 0; c < FLOE_COMPRESSION_COUNT; c++) {
        struct floe_krecords with = api_batch(&a, 0, 4, true, c), without = api_batch(&a, 0, 4, false, c);
        assert_int_equal(api_produce_one(n, "c", 0, -1, with, NULL), 0);
        assert_int_equal(api_produce_one(n, "cd", 0, -1, with, NULL), 0);
        assert_int_equal(api_produce_one(n, "d", 0, -1, without, NULL), 0);
        assert_int_equal(api_produce_one(n, "c", 0, -1, without, NULL), FLOE_KERR_INVALID_RECORD);
        assert_int_equal(api_produce_one(n, "cd", 0, 1, without, NULL), FLOE_KERR_INVALID_RECORD);
    }
    floe_arena_fini(&a);
    api_rig_stop(&r);
}

static void test_log_append_time(void **state)
{
    struct api_rig r;
    struct floe_arena a;
    struct produce p;
    (void)state;
    api_rig_start(&r, 10, 1);
    struct api_node *n = &r.nodes[0];
    floe_arena_init(&a, 16 << 20);
    assert_int_equal(api_make_topic(n, "t", 1, "message.timestamp.type", "LogAppendTime"), 0);
    for (int c = 0; c < FLOE_COMPRESSION_COUNT; c++) {
        produce_init(&p, "t", 1, api_batch(&a, 0, 3, true, c));
        int64_t now = floe_loop_wall_ms(floe_sim_node_loop(n->node));
        answer *out = result(api_do(n, 0, 9, &p.rq), 0);
        assert_int_equal(out->ErrorCode, 0);
        assert_in_range(out->LogAppendTimeMs, now, now + 20); /* its partition may just be adopted */
    }
    floe_arena_fini(&a);
    api_rig_stop(&r);
}

static void test_not_leader(void **state)
{
    struct api_rig r;
    struct floe_arena a;
    struct produce p;
    (void)state;
    api_rig_start(&r, 5, 2);
    floe_arena_init(&a, 16 << 20);
    assert_int_equal(api_make_topic(&r.nodes[0], "t", 8, NULL, NULL), 0);
    int32_t elsewhere = 0;
    for (int32_t i = 0; i < 8; i++) {
        struct floe_uuid id;
        struct floe_partition *part;
        assert_true(api_topic_id(&r.nodes[0], "t", &id));
        struct floe_tp tp = {id, i};
        struct api_node *leader = api_leader_of(&r, "t", i);
        if (floe_log_find(floe_core_log(r.nodes[0].core), &tp, &part) == FLOE_PARTITION_SERVING)
            continue;
        elsewhere++;
        produce_init(&p, "t", 1, api_batch(&a, 0, 1, true, 0));
        p.part[0].Index = i;
        struct floe_kafka_ProduceResponse *rs = api_do(&r.nodes[0], 0, 10, &p.rq);
        assert_int_equal(result(rs, 0)->ErrorCode, FLOE_KERR_NOT_LEADER_OR_FOLLOWER);
        assert_int_equal(result(rs, 0)->CurrentLeader.LeaderId,
                         floe_lease_node_id(floe_core_lease(r.nodes[1].core)));
        assert_int_equal(rs->NodeEndpoints_n, 2);
        assert_int_equal(rs->NodeEndpoints[1].Port, 9092);
        assert_true(floe_kstr_is(rs->NodeEndpoints[1].Host, "n1.example"));
        rs = api_do(&r.nodes[0], 0, 9, &p.rq); /* the hint has no place there */
        assert_int_equal(result(rs, 0)->ErrorCode, FLOE_KERR_NOT_LEADER_OR_FOLLOWER);
        leader = &r.nodes[1];
        rs = api_do(leader, 0, 9, &p.rq);
        assert_int_equal(result(rs, 0)->ErrorCode, 0);
    }
    assert_in_range(elsewhere, 1, 7);
    floe_arena_fini(&a);
    api_rig_stop(&r);
}

/* The store takes nothing: acks=all waits and times out, is not lost for that, and acks=1 goes on. */
static void test_store_away(void **state)
{
    struct api_rig r;
    struct floe_arena a;
    struct produce p;
    int64_t base;
    (void)state;
    api_rig_start(&r, 6, 1);
    struct api_node *n = &r.nodes[0];
    floe_arena_init(&a, 16 << 20);
    assert_int_equal(api_make_topic(n, "t", 1, NULL, NULL), 0);
    assert_int_equal(api_produce_one(n, "t", 0, -1, api_batch(&a, 0, 1, true, 0), NULL), 0);
    struct floe_sim_rule rule = {
        .fault = FLOE_SIM_E503, .kinds = FLOE_SIM_KIND(FLOE_STORE_PUT), .prefix = "chain/"};
    floe_sim_bucket_rule(r.bucket, &rule);
    produce_init(&p, "t", 1, api_batch(&a, 1, 1, true, 0));
    p.rq.TimeoutMs = 500;
    uint64_t from = floe_sim_now_us(r.sim);
    assert_int_equal(result(api_do(n, 0, 9, &p.rq), 0)->ErrorCode, FLOE_KERR_REQUEST_TIMED_OUT);
    assert_in_range(api_last()->at_us - from, 500000, 600000);
    assert_int_equal(api_produce_one(n, "t", 0, 1, api_batch(&a, 2, 1, true, 0), &base), 0);
    assert_int_equal(base, 2);
    floe_sim_bucket_heal(r.bucket);
    assert_int_equal(api_produce_one(n, "t", 0, -1, api_batch(&a, 3, 1, true, 0), &base), 0);
    assert_int_equal(base, 3);
    floe_arena_fini(&a);
    api_rig_stop(&r);
}

/* Requests of one connection reach a partition in their order, also while it is being taken over; each
 * acknowledged batch is there once. */
static void test_order_over_takeover(void **state)
{
    enum { N = 12 };
    struct api_rig r;
    struct floe_arena a;
    struct produce p;
    struct api_call *c[N];
    (void)state;
    api_rig_start(&r, 7, 2);
    floe_arena_init(&a, 16 << 20);
    assert_int_equal(api_make_topic(&r.nodes[0], "t", 4, NULL, NULL), 0);
    api_rig_run(&r, 500);
    int32_t at = -1;
    for (int32_t i = 0; i < 4 && at < 0; i++)
        at = api_leader_of(&r, "t", i) == &r.nodes[0] ? i : -1;
    assert_true(at >= 0);
    assert_int_equal(api_produce_one(&r.nodes[0], "t", at, -1, api_batch(&a, 0, 5, true, 0), NULL), 0);
    api_rig_kill(&r.nodes[0]);
    struct api_node *n = &r.nodes[1];
    struct floe_uuid id;
    struct floe_partition *part;
    assert_true(api_topic_id(n, "t", &id));
    struct floe_tp tp = {id, at};
    for (int ms = 0; ms < 20000 && floe_log_find(floe_core_log(n->core), &tp, &part) == FLOE_PARTITION_ABSENT;
         ms++)
        api_rig_run(&r, 1);
    assert_int_equal(floe_log_find(floe_core_log(n->core), &tp, &part), FLOE_PARTITION_REBUILDING);
    for (int i = 0; i < N; i++) {
        produce_init(&p, "t", 1, api_batch(&a, 5 + i, 1, true, 0));
        p.part[0].Index = at;
        c[i] = api_send(n, NULL, 0, 9, &p.rq);
        assert_false(c[i]->done);
    }
    for (int i = 0; i < N; i++) {
        struct floe_kafka_ProduceResponse *rs = api_wait(n, c[i], 20000);
        assert_int_equal(result(rs, 0)->ErrorCode, 0);
        assert_int_equal(result(rs, 0)->BaseOffset, 5 + i);
        api_call_free(c[i]);
    }
    floe_arena_fini(&a);
    api_rig_stop(&r);
}

static void test_client_gone(void **state)
{
    struct api_rig r;
    struct floe_arena a;
    struct produce p;
    struct floe_client client;
    int64_t base;
    (void)state;
    api_rig_start(&r, 8, 1);
    struct api_node *n = &r.nodes[0];
    floe_arena_init(&a, 16 << 20);
    assert_int_equal(api_make_topic(n, "t", 1, NULL, NULL), 0);
    floe_client_init(&client, "leaving", 0);
    produce_init(&p, "t", 1, api_batch(&a, 0, 1, true, 0));
    p.rq.Acks = 0;
    struct api_call *c = api_send(n, &client, 0, 9, &p.rq);
    floe_client_gone(&client);
    struct api_call *late = api_send(n, &client, 0, 9, &p.rq); /* had come before, as the network knows */
    api_wait(n, c, 5000);
    api_wait(n, late, 5000);
    assert_true(c->done);
    api_call_free(c);
    api_call_free(late);
    assert_int_equal(api_produce_one(n, "t", 0, -1, api_batch(&a, 1, 1, true, 0), &base), 0);
    assert_int_equal(base, 2);
    floe_arena_fini(&a);
    api_rig_stop(&r);
}

static struct floe_krecords of_producer(struct floe_arena *a, int64_t id, int32_t sequence)
{
    struct floe_krecords b = api_batch(a, sequence, 1, true, 0);
    struct floe_batch head;
    struct floe_error err;
    assert_int_equal(floe_batch_parse(floe_slice(b.p, (size_t)b.n), &head, &err), FLOE_OK);
    floe_batch_set_producer((uint8_t *)(uintptr_t)b.p, &head, id, 0, sequence);
    return b;
}

/* A partition whose rebuild takes long holds its producers' connections for a quarter of a second, once, not
 * for as long as it takes, nor for so long with each request; what was refused is stored in order later. */
static void test_hold_is_short(void **state)
{
    struct api_rig r;
    struct floe_arena a;
    struct produce p;
    struct api_call *c[8];
    int32_t dead = -1, well = -1;
    int64_t base;
    (void)state;
    api_rig_start(&r, 12, 2);
    struct api_node *n = &r.nodes[1];
    floe_arena_init(&a, 16 << 20);
    assert_int_equal(api_make_topic(n, "t", 8, NULL, NULL), 0);
    api_rig_run(&r, 500);
    for (int32_t i = 0; i < 8; i++)
        *(api_leader_of(&r, "t", i) == n ? &well : &dead) = i;
    assert_true(dead >= 0 && well >= 0);
    assert_int_equal(api_produce_one(&r.nodes[0], "t", dead, -1, api_batch(&a, 0, 5, true, 0), NULL), 0);
    struct floe_sim_rule rule = {
        .fault = FLOE_SIM_E503, .kinds = FLOE_SIM_KIND(FLOE_STORE_GET), .prefix = "chain/"};
    floe_sim_bucket_rule(r.bucket, &rule);
    api_rig_kill(&r.nodes[0]);
    struct floe_uuid id;
    struct floe_partition *part;
    assert_true(api_topic_id(n, "t", &id));
    struct floe_tp tp = {id, dead};
    for (int ms = 0; ms < 20000 && floe_log_find(floe_core_log(n->core), &tp, &part) == FLOE_PARTITION_ABSENT;
         ms++)
        api_rig_run(&r, 1);
    uint64_t from = floe_sim_now_us(r.sim);
    for (int i = 0; i < 8; i++) {
        produce_init(&p, "t", 1, i % 2 ? api_batch(&a, i, 1, true, 0) : of_producer(&a, 4000, i / 2));
        p.part[0].Index = i % 2 ? well : dead;
        c[i] = api_send(n, NULL, 0, 9, &p.rq);
    }
    for (int i = 0; i < 8; i++) {
        assert_int_equal(result(api_wait(n, c[i], 5000), 0)->ErrorCode,
                         i % 2 ? 0 : FLOE_KERR_NOT_LEADER_OR_FOLLOWER);
        assert_in_range(c[i]->at_us - from, 250000, 350000);
        api_call_free(c[i]);
    }
    floe_sim_bucket_heal(r.bucket);
    for (int ms = 0;
         ms < 20000 && floe_log_find(floe_core_log(n->core), &tp, &part) != FLOE_PARTITION_SERVING; ms++)
        api_rig_run(&r, 1);
    assert_int_equal(api_produce_one(n, "t", dead, -1, of_producer(&a, 4000, 1), NULL),
                     FLOE_KERR_NOT_LEADER_OR_FOLLOWER);
    for (int32_t i = 0; i < 4; i++) {
        assert_int_equal(api_produce_one(n, "t", dead, -1, of_producer(&a, 4000, i), &base), 0);
        assert_int_equal(base, 5 + i);
    }
    floe_arena_fini(&a);
    api_rig_stop(&r);
}

/* The session ends under a producer's first batches; the one that was still on its way finds the next
 * session, which has never heard of the producer. */
static void test_nothing_overtakes_a_refused_batch(void **state)
{
    struct api_rig r;
    struct floe_arena a;
    struct produce p;
    int64_t base;
    (void)state;
    api_rig_start(&r, 11, 1);
    struct api_node *n = &r.nodes[0];
    floe_arena_init(&a, 16 << 20);
    assert_int_equal(api_make_topic(n, "t", 1, NULL, NULL), 0);
    struct floe_sim_rule rule = {
        .fault = FLOE_SIM_E503, .kinds = FLOE_SIM_KIND(FLOE_STORE_PUT), .prefix = "chain/"};
    floe_sim_bucket_rule(r.bucket, &rule);
    produce_init(&p, "t", 1, of_producer(&a, 4000, 0));
    struct api_call *first = api_send(n, NULL, 0, 9, &p.rq);
    api_rig_run(&r, 20);
    assert_false(first->done);
    floe_lease_session_lost(floe_core_lease(n->core), "the test says so");
    assert_int_equal(result(api_wait(n, first, 5000), 0)->ErrorCode, FLOE_KERR_NOT_LEADER_OR_FOLLOWER);
    api_call_free(first);
    floe_sim_bucket_heal(r.bucket);
    assert_int_equal(api_produce_one(n, "t", 0, -1, of_producer(&a, 4000, 1), NULL),
                     FLOE_KERR_NOT_LEADER_OR_FOLLOWER);
    for (int32_t i = 0; i < 3; i++) {
        assert_int_equal(api_produce_one(n, "t", 0, -1, of_producer(&a, 4000, i), &base), 0);
        assert_int_equal(base, i);
    }
    floe_arena_fini(&a);
    api_rig_stop(&r);
}

static void test_idempotent(void **state)
{
    struct api_rig r;
    struct floe_arena a;
    (void)state;
    api_rig_start(&r, 9, 1);
    struct api_node *n = &r.nodes[0];
    floe_arena_init(&a, 16 << 20);
    assert_int_equal(api_make_topic(n, "t", 1, NULL, NULL), 0);
    static const struct {
        int32_t sequence;
        int16_t epoch, error;
        int64_t base;
    } steps[] = {
        {0, 0, 0, 0},
        {2, 0, 0, 2},
        {2, 0, 0, 2},
        {0, 0, 0, 0},
        {9, 0, FLOE_KERR_OUT_OF_ORDER_SEQUENCE_NUMBER, -1},
        {4, 0, 0, 4},
        {0, 1, 0, 6},
        {6, 0, FLOE_KERR_INVALID_PRODUCER_EPOCH, -1},
    };
    for (size_t i = 0; i < FLOE_COUNTOF(steps); i++) {
        struct floe_krecords b = api_batch(&a, 0, 2, true, 0);
        struct floe_batch head;
        struct floe_error err;
        int64_t base;
        assert_int_equal(floe_batch_parse(floe_slice(b.p, (size_t)b.n), &head, &err), FLOE_OK);
        floe_batch_set_producer((uint8_t *)(uintptr_t)b.p, &head, 4000, steps[i].epoch, steps[i].sequence);
        assert_int_equal(api_produce_one(n, "t", 0, -1, b, &base), steps[i].error);
        assert_int_equal(base, steps[i].base);
    }
    floe_arena_fini(&a);
    api_rig_stop(&r);
}

/* Records from long ago, and records without keys: each is told of by its number. */
static void test_records_refused(void **state)
{
    struct api_rig r;
    struct floe_arena a;
    struct produce p;
    (void)state;
    api_rig_start(&r, 12, 1);
    struct api_node *n = &r.nodes[0];
    floe_arena_init(&a, 16 << 20);
    assert_int_equal(api_make_topic(n, "old", 1, "message.timestamp.before.max.ms", "1000"), 0);
    assert_int_equal(api_make_topic(n, "kept", 1, "cleanup.policy", "compact"), 0);
    for (int c = 0; c < FLOE_COMPRESSION_COUNT; c++) {
        produce_init(&p, "old", 1, api_batch(&a, 0, 3, true, c));
        answer *out = result(api_do(n, 0, 9, &p.rq), 0);
        assert_int_equal(out->ErrorCode, FLOE_KERR_INVALID_TIMESTAMP);
        assert_int_equal(out->RecordErrors_n, 3);
        assert_int_equal(out->RecordErrors[2].BatchIndex, 2);
        assert_true(out->ErrorMessage.n > 0 && out->BaseOffset == -1 && out->LogStartOffset == 0);
        produce_init(&p, "kept", 1, api_batch(&a, 0, 2, false, c));
        out = result(api_do(n, 0, 9, &p.rq), 0);
        assert_int_equal(out->ErrorCode, FLOE_KERR_INVALID_RECORD);
        assert_int_equal(out->RecordErrors_n, 2);
    }
    /* Without a partition there is nothing to tell. */
    p.topic[0].PartitionData_n = 0;
    struct floe_kafka_ProduceResponse *rs = api_do(n, 0, 9, &p.rq);
    assert_int_equal(rs->Responses_n, 0);
    floe_arena_fini(&a);
    api_rig_stop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_version),
        cmocka_unit_test(test_acks),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_compacted),
        cmocka_unit_test(test_not_leader),
        cmocka_unit_test(test_store_away),
        cmocka_unit_test(test_order_over_takeover),
        cmocka_unit_test(test_client_gone),
        cmocka_unit_test(test_hold_is_short),
        cmocka_unit_test(test_nothing_overtakes_a_refused_batch),
        cmocka_unit_test(test_idempotent),
        cmocka_unit_test(test_log_append_time),
        cmocka_unit_test(test_records_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
