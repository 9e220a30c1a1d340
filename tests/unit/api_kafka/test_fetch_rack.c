/* Reads anywhere (KIP-392): leaders send clients to their rack, brokers there serve what is committed. */
#include <floe_cmocka.h>

#include "api_rig.h"
#include <floe/sim.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct floe_kafka_FetchResponse_PartitionData partition_data;

static const char *const racks[API_NODES] = {"a", "b", "b"};
static struct api_rig rig;
static struct api_node *leader, *reader, *other; /* other: of the reader's rack too */
static int32_t part;                             /* of topic "t": led from rack a */

struct ask {
    struct floe_kafka_FetchRequest rq;
    struct floe_kafka_FetchRequest_FetchTopic topic;
    struct floe_kafka_FetchRequest_FetchPartition part;
};
static void ask_init(struct ask *f, int64_t offset, const char *rack)
{
    floe_kafka_defaults(&floe_kafka_FetchRequest_desc, &f->rq);
    floe_kafka_struct_defaults(&floe_kafka_FetchRequest_FetchTopic_desc, &f->topic);
    floe_kafka_struct_defaults(&floe_kafka_FetchRequest_FetchPartition_desc, &f->part);
    f->rq.MaxWaitMs = 500;
    f->rq.MinBytes = 1;
    f->rq.MaxBytes = 1 << 20;
    f->rq.SessionEpoch = -1;
    f->rq.Topics = &f->topic;
    f->rq.Topics_n = 1;
    f->rq.RackId = floe_kstr(rack);
    f->topic.Topic = floe_kstr("t");
    f->topic.Partitions = &f->part;
    f->topic.Partitions_n = 1;
    f->part.Partition = part;
    f->part.FetchOffset = offset;
    f->part.PartitionMaxBytes = 1 << 20;
}
static partition_data *answer_of(const struct floe_kafka_FetchResponse *rs)
{
    assert_non_null(rs);
    assert_true(rs->Responses_n == 1 && rs->Responses[0].Partitions_n == 1);
    return &rs->Responses[0].Partitions[0];
}
static partition_data *fetch(struct api_node *n, struct ask *f)
{
    return answer_of(api_do(n, 1, 12, &f->rq));
}
static int64_t last_of(const partition_data *p)
{
    struct floe_slice rest = floe_slice(p->Records.p, (size_t)FLOE_MAX(p->Records.n, 0)), bytes;
    struct floe_batch b;
    struct floe_error err;
    int64_t end = -1;
    while (floe_batch_next(&rest, &b, &bytes, &err) == FLOE_OK) {
        assert_true(floe_batch_crc_ok(bytes.p, &b));
        assert_true(end < 0 || b.base_offset == end);
        end = floe_batch_last_offset(&b) + 1;
    }
    return end;
}
static void produce(int32_t batches)
{
    struct floe_arena a;
    floe_arena_init(&a, 64 << 20);
    for (int32_t i = 0; i < batches; i++)
        assert_int_equal(api_produce_one(leader, "t", part, -1, api_batch(&a, i * 10, 10, true, 0), NULL), 0);
    floe_arena_fini(&a);
}
/* Reads through the reader from `from` to `to`; what it says meanwhile must not be an error. */
static void read_to(struct api_node *n, int64_t from, int64_t to)
{
    struct ask f;
    int64_t hw = 0;
    for (int i = 0; from < to; i++) {
        assert_true(i < 100);
        ask_init(&f, from, "b");
        partition_data *p = fetch(n, &f);
        assert_int_equal(p->ErrorCode, 0);
        assert_int_equal(p->PreferredReadReplica, -1);
        if (p->HighWatermark >= 0) {
            assert_true(p->HighWatermark >= hw);
            hw = p->HighWatermark;
        }
        int64_t end = last_of(p);
        assert_true(end < 0 || end > from);
        from = end < 0 ? from : end;
    }
    assert_int_equal(from, to);
}

static int setup(void **state)
{
    (void)state;
    api_rig_start_racks(&rig, 7, 3, racks);
    assert_int_equal(api_make_topic(&rig.nodes[0], "t", 12, NULL, NULL), 0);
    api_rig_run(&rig, 2000);
    for (part = 0; part < 12 && api_leader_of(&rig, "t", part) != &rig.nodes[0]; part++)
        ;
    assert_true(part < 12);
    leader = &rig.nodes[0];
    struct ask f;
    ask_init(&f, 0, "b");
    struct floe_client c;
    floe_client_init(&c, "setup", 0);
    struct api_call *call = api_send(leader, &c, 1, 12, &f.rq);
    partition_data *p = answer_of(api_wait(leader, call, 5000));
    assert_true(p->PreferredReadReplica == 2 || p->PreferredReadReplica == 3);
    reader = &rig.nodes[p->PreferredReadReplica - 1];
    other = &rig.nodes[reader == &rig.nodes[1] ? 2 : 1];
    api_call_free(call);
    return 0;
}
static int teardown(void **state)
{
    (void)state;
    api_rig_stop(&rig);
    return 0;
}

static void test_leader_sends_away(void **state)
{
    (void)state;
    struct ask f;
    produce(3);
    ask_init(&f, 10, "b");
    partition_data *p = fetch(leader, &f);
    assert_int_equal(p->ErrorCode, 0);
    assert_true(p->PreferredReadReplica == (reader == &rig.nodes[1] ? 2 : 3));
    assert_int_equal(p->Records.n, 0);
    assert_int_equal(p->HighWatermark, 30);
    /* Back again and again: it is served. */
    for (int i = 0; i < 2; i++)
        assert_true(fetch(leader, &f)->PreferredReadReplica > 0);
    p = fetch(leader, &f);
    assert_int_equal(p->PreferredReadReplica, -1);
    assert_int_equal(last_of(p), 30);
    api_rig_run(&rig, 45000);
    p = fetch(leader, &f);
    assert_true(p->PreferredReadReplica > 0);
    api_rig_run(&rig, 45000);
    /* Nobody to send it to, or nothing to send it for. */
    ask_init(&f, 10, "a");
    assert_int_equal(last_of(fetch(leader, &f)), 30);
    ask_init(&f, 10, "c");
    assert_int_equal(last_of(fetch(leader, &f)), 30);
    ask_init(&f, 10, "");
    assert_int_equal(last_of(fetch(leader, &f)), 30);
    ask_init(&f, 10, "b");
    assert_int_equal(last_of(answer_of(api_do(leader, 1, 10, &f.rq))), 30);
    ask_init(&f, 31, "b");
    p = fetch(leader, &f);
    assert_int_equal(p->ErrorCode, FLOE_KERR_OFFSET_OUT_OF_RANGE);
}

static void test_reader_serves(void **state)
{
    (void)state;
    struct ask f;
    produce(30);
    read_to(reader, 0, 300);
    read_to(other, 0, 300); /* any of the rack may be asked */
    produce(5);
    read_to(reader, 300, 350);
    ask_init(&f, 0, "a"); /* not its rack */
    assert_int_equal(fetch(reader, &f)->ErrorCode, FLOE_KERR_NOT_LEADER_OR_FOLLOWER);
    ask_init(&f, 0, "");
    assert_int_equal(fetch(reader, &f)->ErrorCode, FLOE_KERR_NOT_LEADER_OR_FOLLOWER);
    ask_init(&f, 0, "b");
    assert_int_equal(answer_of(api_do(reader, 1, 10, &f.rq))->ErrorCode, FLOE_KERR_NOT_LEADER_OR_FOLLOWER);
    ask_init(&f, 0, "b");
    f.part.CurrentLeaderEpoch = 5;
    assert_int_equal(fetch(reader, &f)->ErrorCode, FLOE_KERR_UNKNOWN_LEADER_EPOCH);
    f.part.CurrentLeaderEpoch = 0;
    assert_int_equal(fetch(reader, &f)->ErrorCode, 0);
    /* An epoch that it has not heard of diverges from nothing. */
    f.part.CurrentLeaderEpoch = -1;
    f.part.FetchOffset = 100;
    f.part.LastFetchedEpoch = 3;
    partition_data *p = fetch(reader, &f);
    assert_true(p->ErrorCode == 0 && p->DivergingEpoch.Epoch == -1 && p->Records.n > 0);
}

static void test_past_the_end(void **state)
{
    (void)state;
    struct ask f;
    produce(2);
    read_to(reader, 0, 20);
    ask_init(&f, 25, "b");
    f.rq.MaxWaitMs = 700;
    uint64_t t0 = floe_sim_now_us(rig.sim);
    partition_data *p = fetch(reader, &f);
    assert_int_equal(p->ErrorCode, FLOE_KERR_OFFSET_NOT_AVAILABLE);
    assert_true(floe_sim_now_us(rig.sim) - t0 >= 700000);
    /* It comes while the request waits. */
    f.rq.MaxWaitMs = 5000;
    struct floe_client c;
    floe_client_init(&c, "waiting", 0);
    struct api_call *call = api_send(reader, &c, 1, 12, &f.rq);
    api_rig_run(&rig, 100);
    assert_false(call->done);
    produce(1);
    p = answer_of(api_wait(reader, call, 3000));
    assert_int_equal(p->ErrorCode, 0);
    assert_int_equal(last_of(p), 30);
    api_call_free(call);
}

static void test_holder_stopped(void **state)
{
    (void)state;
    struct ask f;
    produce(10);
    read_to(reader, 0, 100);
    produce(20);
    floe_sim_node_stall(leader->node, 2000000, false);
    read_to(reader, 100, 300); /* to the end of what was committed, while its holder says nothing */
    ask_init(&f, 300, "b");
    partition_data *p = fetch(reader, &f);
    assert_int_equal(p->ErrorCode, 0);
    assert_int_equal(p->HighWatermark, 300);
    api_rig_run(&rig, 10000);
}

static void test_holder_dies(void **state)
{
    (void)state;
    produce(10);
    read_to(reader, 0, 100);
    produce(3);
    api_rig_kill(leader);
    read_to(reader, 100, 130);
    for (int i = 0; i < 20 && (leader = api_leader_of(&rig, "t", part)) == NULL; i++)
        api_rig_run(&rig, 1000);
    assert_non_null(leader);
    reader = leader == &rig.nodes[1] ? &rig.nodes[2] : &rig.nodes[1];
    api_rig_run(&rig, 2000);
    produce(4);
    read_to(reader, 0, 170);
}

static void test_metadata_lists_readers(void **state)
{
    (void)state;
    struct floe_kafka_MetadataRequest rq;
    struct floe_kafka_MetadataRequest_MetadataRequestTopic t;
    floe_kafka_defaults(&floe_kafka_MetadataRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_MetadataRequest_MetadataRequestTopic_desc, &t);
    t.Name = floe_kstr("t");
    rq.Topics = &t;
    rq.Topics_n = 1;
    const struct floe_kafka_MetadataResponse *rs = api_do(other, 3, 12, &rq);
    assert_non_null(rs);
    assert_true(rs->Topics_n == 1 && rs->Topics[0].Partitions_n == 12 && rs->Brokers_n == 3);
    for (int32_t i = 0; i < 12; i++) {
        const struct floe_kafka_MetadataResponse_MetadataResponsePartition *p = &rs->Topics[0].Partitions[i];
        assert_int_equal(p->ReplicaNodes_n, 2); /* one of each rack */
        assert_int_equal(p->IsrNodes_n, 2);
        assert_int_equal(p->ReplicaNodes[0], p->LeaderId);
        assert_true((p->LeaderId == 1) != (p->ReplicaNodes[1] == 1));
        if (i == part)
            assert_int_equal(p->ReplicaNodes[1], reader == &rig.nodes[1] ? 2 : 3);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_leader_sends_away, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reader_serves, setup, teardown),
        cmocka_unit_test_setup_teardown(test_past_the_end, setup, teardown),
        cmocka_unit_test_setup_teardown(test_holder_stopped, setup, teardown),
        cmocka_unit_test_setup_teardown(test_holder_dies, setup, teardown),
        cmocka_unit_test_setup_teardown(test_metadata_lists_readers, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
