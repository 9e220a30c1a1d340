/* Requests that name as much as a request may: each is a turn of the core loop, which the lease waits for. */
#include <floe_cmocka.h>

#include "api_rig.h"
#include "broker/core_int.h"
#include "catalog/catalog_int.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Topics that the broker knows, without what else belongs to one. */
static void know_topics(struct api_node *n, const char *format, int count)
{
    for (int i = 0; i < count; i++) {
        char name[32];
        struct floe_topic t = {.name = name, .partitions = 1, .state = FLOE_TOPIC_LIVE, .rev = 1};
        snprintf(name, sizeof name, format, i);
        memcpy(t.id.b, &i, sizeof i);
        t.id.b[15] = 1;
        struct floe_topic *copy = floe_topic_copy(&t);
        assert_non_null(copy);
        (void)floe_catalog_apply(n->core->catalog, copy);
    }
}

/* Each name is compared with all that there are as Kafka's metrics would write them. The answer's memory must
 * not be spent on that. */
static void test_create_with_dots(void **state)
{
    enum { THERE = 2000, MORE = 10000 };
    struct floe_kafka_CreateTopicsRequest_CreatableTopic *t = calloc(MORE, sizeof *t);
    char(*name)[16] = calloc(MORE, sizeof *name);
    struct floe_kafka_CreateTopicsRequest rq;
    struct api_rig r;
    (void)state;
    assert_true(t && name);
    api_rig_start(&r, 71, 1);
    struct api_node *n = &r.nodes[0];
    know_topics(n, "there.%d", THERE);
    floe_kafka_defaults(&floe_kafka_CreateTopicsRequest_desc, &rq);
    rq.timeoutMs = 30000;
    rq.validateOnly = true;
    rq.Topics = t;
    rq.Topics_n = MORE;
    for (int i = 0; i < MORE; i++) {
        floe_kafka_struct_defaults(&floe_kafka_CreateTopicsRequest_CreatableTopic_desc, &t[i]);
        snprintf(name[i], sizeof name[i], i < MORE - 2 ? "more.%d" : i < MORE - 1 ? "there.0" : "there_1", i);
        t[i].Name = floe_kstr(name[i]);
        t[i].NumPartitions = 1;
        t[i].ReplicationFactor = 1;
    }
    struct floe_kafka_CreateTopicsResponse *rs = api_do(n, 19, 7, &rq);
    assert_non_null(rs);
    assert_int_equal(rs->Topics_n, MORE);
    for (int i = 0; i < MORE - 2; i++)
        assert_int_equal(rs->Topics[i].ErrorCode, 0);
    assert_int_equal(rs->Topics[MORE - 2].ErrorCode, FLOE_KERR_TOPIC_ALREADY_EXISTS);
    assert_int_equal(rs->Topics[MORE - 1].ErrorCode, FLOE_KERR_INVALID_TOPIC_EXCEPTION);
    assert_true(floe_kstr_is(rs->Topics[MORE - 1].ErrorMessage,
                             "Topic 'there_1' collides with existing topic: there.1"));
    api_rig_stop(&r);
    free(t);
    free(name);
}

#define TURNS_MAX 100000u

struct turns { /* of the loop, until the call is done */
    struct floe_timer timer;
    struct floe_loop *loop;
    const struct api_call *call;
    uint32_t n;
};

static void on_turn(struct floe_timer *t)
{
    struct turns *c = t->user;
    if (c->call->done || c->n++ == TURNS_MAX) /* time stands still meanwhile */
        return;
    floe_timer_start(c->loop, &c->timer, 0);
}

/* How often others had their turn before the call was done. */
static uint32_t turns_of(struct api_node *n, struct api_call *call)
{
    struct turns c = {.loop = floe_sim_node_loop(n->node), .call = call};
    floe_timer_init(&c.timer, on_turn, &c);
    floe_timer_start(c.loop, &c.timer, 0);
    (void)api_wait(n, call, 60000);
    assert_true(call->done && !call->closed);
    floe_timer_stop(&c.timer);
    return c.n;
}

/* A batch is decompressed for each partition that is asked for by time: one in a turn. */
static void test_offsets_by_time(void **state)
{
    enum { MANY = 300 };
    struct floe_kafka_ListOffsetsRequest_ListOffsetsPartition *p = calloc(MANY, sizeof *p);
    struct floe_kafka_ListOffsetsRequest_ListOffsetsTopic t;
    struct floe_kafka_ListOffsetsRequest rq;
    struct floe_arena a;
    struct api_rig r;
    int64_t base;
    (void)state;
    assert_non_null(p);
    api_rig_start(&r, 72, 1);
    struct api_node *n = &r.nodes[0];
    floe_arena_init(&a, 1 << 20);
    assert_int_equal(api_make_topic(n, "t", 1, NULL, NULL), 0);
    while (!api_leader_of(&r, "t", 0))
        api_rig_run(&r, 50);
    assert_int_equal(
        api_produce_one(n, "t", 0, -1, api_batch(&a, 0, 1000, true, FLOE_COMPRESSION_ZSTD), &base), 0);
    floe_kafka_defaults(&floe_kafka_ListOffsetsRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_ListOffsetsRequest_ListOffsetsTopic_desc, &t);
    rq.ReplicaId = -1;
    rq.Topics = &t;
    rq.Topics_n = 1;
    t.Name = floe_kstr("t");
    t.Partitions = p;
    t.Partitions_n = MANY;
    for (int i = 0; i < MANY; i++) {
        floe_kafka_struct_defaults(&floe_kafka_ListOffsetsRequest_ListOffsetsPartition_desc, &p[i]);
        p[i].CurrentLeaderEpoch = -1;
        p[i].Timestamp = 1000000 + i;
    }
    t.Partitions_n = 1;
    assert_non_null(api_do(n, 2, 7, &rq)); /* brings the batch from the store */
    t.Partitions_n = MANY;
    struct api_call *c = api_send(n, NULL, 2, 7, &rq);
    assert_in_range(turns_of(n, c), MANY - 1, TURNS_MAX);
    const struct floe_kafka_ListOffsetsResponse *rs = c->response;
    for (int i = 0; i < MANY; i++)
        assert_int_equal(rs->Topics[0].Partitions[i].Offset, base + i);
    api_call_free(c);
    floe_arena_fini(&a);
    api_rig_stop(&r);
    free(p);
}

/* So is one for each that is written to a compacted topic, which needs keys: of all clients one in a turn. */
static void test_compacted(void **state)
{
    enum { MANY = 32 };
    struct floe_kafka_ProduceRequest_PartitionProduceData p[MANY];
    struct floe_kafka_ProduceRequest_TopicProduceData t;
    struct floe_kafka_ProduceRequest rq;
    struct floe_client other;
    struct floe_arena a;
    struct api_rig r;
    (void)state;
    api_rig_start(&r, 73, 1);
    struct api_node *n = &r.nodes[0];
    floe_arena_init(&a, 1 << 20);
    assert_int_equal(api_make_topic(n, "c", MANY, "cleanup.policy", "compact"), 0);
    for (int i = 0; i < MANY; i++)
        while (!api_leader_of(&r, "c", i))
            api_rig_run(&r, 50);
    floe_kafka_defaults(&floe_kafka_ProduceRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_ProduceRequest_TopicProduceData_desc, &t);
    rq.TimeoutMs = 30000;
    rq.TopicData = &t;
    rq.TopicData_n = 1;
    t.Name = floe_kstr("c");
    t.PartitionData = p;
    t.PartitionData_n = MANY;
    for (int i = 0; i < MANY; i++) {
        floe_kafka_struct_defaults(&floe_kafka_ProduceRequest_PartitionProduceData_desc, &p[i]);
        p[i].Index = i;
        p[i].Records = api_batch(&a, 0, 10, true, FLOE_COMPRESSION_ZSTD);
    }
    floe_client_init(&other, "other", 0);
    struct api_call *one = api_send(n, NULL, 0, 9, &rq), *two = api_send(n, &other, 0, 9, &rq);
    assert_in_range(turns_of(n, two), 2 * MANY - 1, TURNS_MAX - 1);
    assert_true(one->done && one->silent && two->silent);
    rq.Acks = -1; /* and what has no key is still refused */
    p[7].Records = api_batch(&a, 0, 10, false, FLOE_COMPRESSION_ZSTD);
    const struct floe_kafka_ProduceResponse *rs = api_do(n, 0, 9, &rq);
    assert_non_null(rs);
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(rs->Responses[0].PartitionResponses[i].ErrorCode,
                         i == 7 ? FLOE_KERR_INVALID_RECORD : 0);
        if (i != 7)
            assert_int_equal(rs->Responses[0].PartitionResponses[i].BaseOffset, 20);
    }
    api_call_free(one);
    api_call_free(two);
    floe_arena_fini(&a);
    api_rig_stop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create_with_dots),
        cmocka_unit_test(test_offsets_by_time),
        cmocka_unit_test(test_compacted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
