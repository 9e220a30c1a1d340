/* Fetch sessions (KIP-227): what is answered of what changed, forgotten partitions, the error codes, the
 * cache. */
#include <floe_cmocka.h>

#include "api_rig.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PARTS 4
#define STALE_MS 120001

struct fetch {
    struct floe_kafka_FetchRequest rq;
    struct floe_kafka_FetchRequest_FetchTopic topic;
    struct floe_kafka_FetchRequest_FetchPartition part[PARTS];
    struct floe_kafka_FetchRequest_ForgottenTopic forgotten;
    int32_t forget[PARTS];
};

static void fetch_init(struct fetch *f, int32_t n)
{
    floe_kafka_defaults(&floe_kafka_FetchRequest_desc, &f->rq);
    floe_kafka_struct_defaults(&floe_kafka_FetchRequest_FetchTopic_desc, &f->topic);
    floe_kafka_struct_defaults(&floe_kafka_FetchRequest_ForgottenTopic_desc, &f->forgotten);
    f->rq.MaxWaitMs = 100;
    f->rq.MinBytes = 1;
    f->rq.MaxBytes = 1 << 20;
    f->rq.SessionEpoch = 0;
    f->rq.Topics = &f->topic;
    f->rq.Topics_n = n > 0;
    f->rq.ForgottenTopicsData = &f->forgotten;
    f->topic.Topic = f->forgotten.Topic = floe_kstr("t");
    f->topic.Partitions = f->part;
    f->topic.Partitions_n = n;
    f->forgotten.Partitions = f->forget;
    for (int32_t i = 0; i < PARTS; i++) {
        floe_kafka_struct_defaults(&floe_kafka_FetchRequest_FetchPartition_desc, &f->part[i]);
        f->part[i].Partition = f->forget[i] = i;
        f->part[i].PartitionMaxBytes = 1 << 20;
    }
}

/* The next fetch of a session, naming nothing. */
static struct floe_kafka_FetchResponse *next(struct api_node *n, struct fetch *f, int32_t id, int32_t epoch)
{
    f->rq.SessionId = id;
    f->rq.SessionEpoch = epoch;
    return api_do(n, 1, 11, &f->rq);
}

static int32_t begin(struct api_node *n, int32_t parts)
{
    struct fetch f;
    fetch_init(&f, parts);
    struct floe_kafka_FetchResponse *rs = next(n, &f, 0, 0);
    assert_int_equal(rs->ErrorCode, 0);
    assert_int_equal(rs->Responses_n, parts > 0);
    return rs->SessionId;
}

static void produce(struct api_node *n, int32_t partition)
{
    struct floe_arena a;
    floe_arena_init(&a, 1 << 20);
    assert_int_equal(api_produce_one(n, "t", partition, -1, api_batch(&a, 0, 10, true, 0), NULL), 0);
    floe_arena_fini(&a);
}

/* The partitions that an answer tells of, as "0 2 ". */
static const char *told(const struct floe_kafka_FetchResponse *rs)
{
    static char text[64];
    text[0] = 0;
    assert_int_equal(rs->ErrorCode, 0);
    for (int32_t i = 0; i < rs->Responses_n; i++) {
        for (int32_t j = 0; j < rs->Responses[i].Partitions_n; j++)
            snprintf(text + strlen(text), sizeof text - strlen(text), "%d ",
                     rs->Responses[i].Partitions[j].PartitionIndex);
    }
    return text;
}

static void test_incremental(void **state)
{
    struct api_rig r;
    struct fetch f, none;
    (void)state;
    api_rig_start(&r, 21, 1);
    struct api_node *n = &r.nodes[0];
    assert_int_equal(api_make_topic(n, "t", PARTS, NULL, NULL), 0);
    fetch_init(&f, PARTS);
    fetch_init(&none, 0);
    struct floe_kafka_FetchResponse *rs = next(n, &f, 0, 0);
    int32_t id = rs->SessionId;
    assert_true(id != 0);
    assert_string_equal(told(rs), "0 1 2 3 ");
    /* Nothing changed: nothing is told, and it waits as any fetch does. */
    uint64_t from = floe_sim_now_us(r.sim);
    rs = next(n, &none, id, 1);
    assert_string_equal(told(rs), "");
    assert_int_equal(rs->SessionId, id);
    assert_in_range(api_last()->at_us - from, 100000, 110000);
    /* Data of one partition; it stays there while the position does. */
    produce(n, 2);
    rs = next(n, &none, id, 2);
    assert_string_equal(told(rs), "2 ");
    assert_int_equal(rs->Responses[0].Partitions[0].HighWatermark, 10);
    assert_true(rs->Responses[0].Partitions[0].Records.n > 0);
    assert_string_equal(told(next(n, &none, id, 3)), "2 ");
    /* The position moves on: only that partition is named. */
    f.topic.Partitions = &f.part[2];
    f.topic.Partitions_n = 1;
    f.part[2].FetchOffset = 10;
    assert_string_equal(told(next(n, &f, id, 4)), "");
    /* A forgotten one is not read; a new one is. */
    none.rq.ForgottenTopicsData_n = 1;
    none.forgotten.Partitions_n = 2;
    none.forget[0] = 0;
    none.forget[1] = 2;
    assert_string_equal(told(next(n, &none, id, 5)), "");
    none.rq.ForgottenTopicsData_n = 0;
    for (int32_t i = 0; i < PARTS; i++)
        produce(n, i);
    rs = next(n, &none, id, 6);
    assert_string_equal(told(rs), "1 3 ");
    f.part[2].FetchOffset = 20; /* back in, at the end: told of because it is new */
    rs = next(n, &f, id, 7);
    assert_non_null(strstr(told(rs), "2 "));
    /* An error is told as long as it lasts. */
    f.part[2].FetchOffset = 1000;
    rs = next(n, &f, id, 8);
    for (int32_t i = 0, seen = 0; i < 2; i++, seen = 0) {
        for (int32_t t = 0; t < rs->Responses_n; t++) {
            for (int32_t p = 0; p < rs->Responses[t].Partitions_n; p++)
                seen += rs->Responses[t].Partitions[p].ErrorCode == FLOE_KERR_OFFSET_OUT_OF_RANGE;
        }
        assert_int_equal(seen, 1);
        rs = next(n, &none, id, 9 + i);
    }
    api_rig_stop(&r);
}

static void test_errors(void **state)
{
    struct api_rig r;
    struct fetch f, none;
    (void)state;
    api_rig_start(&r, 22, 1);
    struct api_node *n = &r.nodes[0];
    assert_int_equal(api_make_topic(n, "t", PARTS, NULL, NULL), 0);
    fetch_init(&f, 1);
    fetch_init(&none, 0);
    assert_int_equal(next(n, &none, 77, 1)->ErrorCode, FLOE_KERR_FETCH_SESSION_ID_NOT_FOUND);
    assert_int_equal(next(n, &none, 0, 5)->ErrorCode, FLOE_KERR_FETCH_SESSION_ID_NOT_FOUND);
    int32_t id = begin(n, 2);
    assert_int_equal(next(n, &none, id, 2)->ErrorCode, FLOE_KERR_INVALID_FETCH_SESSION_EPOCH);
    assert_string_equal(told(next(n, &none, id, 1)), ""); /* that changed nothing */
    assert_int_equal(next(n, &none, id, 1)->ErrorCode, FLOE_KERR_INVALID_FETCH_SESSION_EPOCH);
    /* Names and ids do not mix. */
    none.rq.SessionEpoch = 2;
    struct floe_kafka_FetchResponse *rs = api_do(n, 1, 13, &none.rq);
    assert_int_equal(rs->ErrorCode, FLOE_KERR_FETCH_SESSION_TOPIC_ID_ERROR);
    /* A full fetch ends the session that it names; one with epoch -1 makes no other. */
    rs = next(n, &f, id, -1);
    assert_int_equal(rs->SessionId, 0);
    assert_string_equal(told(rs), "0 ");
    assert_int_equal(next(n, &none, id, 2)->ErrorCode, FLOE_KERR_FETCH_SESSION_ID_NOT_FOUND);
    id = begin(n, 2);
    rs = next(n, &f, id, 0);
    assert_true(rs->SessionId != 0 && rs->SessionId != id);
    assert_int_equal(next(n, &none, id, 1)->ErrorCode, FLOE_KERR_FETCH_SESSION_ID_NOT_FOUND);
    /* The last partition is forgotten: the session is over. */
    id = begin(n, 1);
    none.rq.ForgottenTopicsData_n = 1;
    none.forgotten.Partitions_n = 1;
    rs = next(n, &none, id, 1);
    assert_int_equal(rs->ErrorCode, 0);
    assert_int_equal(rs->SessionId, 0);
    assert_int_equal(next(n, &none, id, 2)->ErrorCode, FLOE_KERR_FETCH_SESSION_ID_NOT_FOUND);
    api_rig_stop(&r);
}

/* Two requests of one session at a time; a session that goes while its request waits; a client that goes. */
static void test_overtaken(void **state)
{
    struct api_rig r;
    struct fetch f;
    struct floe_client one, two;
    (void)state;
    api_rig_start(&r, 23, 1);
    struct api_node *n = &r.nodes[0];
    floe_client_init(&one, "one", 0);
    floe_client_init(&two, "two", 0);
    assert_int_equal(api_make_topic(n, "t", PARTS, NULL, NULL), 0);
    fetch_init(&f, 0);
    int32_t id = begin(n, PARTS);
    f.rq.SessionId = id;
    f.rq.SessionEpoch = 1;
    struct api_call *first = api_send(n, &one, 1, 11, &f.rq);
    f.rq.SessionEpoch = 2;
    struct api_call *second = api_send(n, &two, 1, 11, &f.rq);
    struct floe_kafka_FetchResponse *rs = api_wait(n, first, 200);
    assert_int_equal(rs->ErrorCode, FLOE_KERR_INVALID_FETCH_SESSION_EPOCH);
    assert_int_equal(rs->Responses_n, 0);
    assert_string_equal(told(api_wait(n, second, 200)), "");
    api_call_free(first);
    api_call_free(second);
    f.rq.SessionEpoch = 3;
    f.rq.MaxWaitMs = 5000;
    first = api_send(n, &one, 1, 11, &f.rq);
    api_rig_run(&r, 10);
    struct fetch last;
    fetch_init(&last, 0);
    next(n, &last, id, -1);
    produce(n, 3);
    assert_string_equal(told(api_wait(n, first, 200)), "3 ");
    api_call_free(first);
    f.rq.SessionId = begin(n, 2); /* both are empty */
    f.rq.SessionEpoch = 1;
    first = api_send(n, &one, 1, 11, &f.rq);
    api_rig_run(&r, 10);
    assert_false(first->done);
    api_abandon(n, first);
    api_rig_stop(&r); /* with a fetch that waits */
}

/* Four have room (api_rig.c). */
static void test_cache(void **state)
{
    struct api_rig r;
    struct fetch none;
    int32_t id[4];
    (void)state;
    api_rig_start(&r, 24, 1);
    struct api_node *n = &r.nodes[0];
    assert_int_equal(api_make_topic(n, "t", PARTS, NULL, NULL), 0);
    fetch_init(&none, 0);
    for (int i = 0; i < 4; i++) {
        id[i] = begin(n, i + 1);
        assert_true(id[i] != 0);
    }
    assert_int_equal(begin(n, PARTS), 0); /* all are young */
    /* One that was not used for long makes room, the others were used. */
    for (int i = 1; i < 4; i++)
        api_rig_run(&r, STALE_MS / 3), next(n, &none, id[i], 1);
    api_rig_run(&r, STALE_MS / 3);
    for (int i = 1; i < 4; i++)
        assert_int_equal(next(n, &none, id[i], 2)->ErrorCode, 0);
    assert_true(begin(n, 1) != 0);
    assert_int_equal(next(n, &none, id[0], 1)->ErrorCode, FLOE_KERR_FETCH_SESSION_ID_NOT_FOUND);
    /* All are in use: an old one with fewer partitions makes room for a greater one. */
    assert_int_equal(begin(n, 1), 0);
    assert_true(begin(n, PARTS) != 0);
    assert_int_equal(next(n, &none, id[1], 3)->ErrorCode, FLOE_KERR_FETCH_SESSION_ID_NOT_FOUND);
    assert_int_equal(next(n, &none, id[3], 3)->ErrorCode, 0);
    struct floe_api_stats stats;
    floe_api_get_stats(floe_core_api(n->core), &stats);
    assert_int_equal(stats.fetch_sessions, 4);
    assert_int_equal(stats.fetch_session_partitions, 3 + 4 + 1 + PARTS);
    assert_int_equal(stats.fetch_session_evictions, 2);
    api_rig_stop(&r);
}

/* Small answers: each partition gets its turn, though the client names none. */
static void test_turns(void **state)
{
    struct api_rig r;
    struct fetch none;
    char seen[PARTS + 1] = "....";
    (void)state;
    api_rig_start(&r, 25, 1);
    struct api_node *n = &r.nodes[0];
    assert_int_equal(api_make_topic(n, "t", PARTS, NULL, NULL), 0);
    for (int32_t i = 0; i < PARTS; i++)
        produce(n, i);
    fetch_init(&none, 0);
    none.rq.MaxBytes = 1;
    int32_t id = begin(n, PARTS);
    for (int32_t i = 0; i < PARTS; i++) {
        struct floe_kafka_FetchResponse *rs = next(n, &none, id, i + 1);
        assert_int_equal(rs->Responses_n, 1);
        assert_int_equal(rs->Responses[0].Partitions_n, 1);
        seen[rs->Responses[0].Partitions[0].PartitionIndex] = '#';
    }
    assert_string_equal(seen, "####");
    api_rig_stop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_incremental), cmocka_unit_test(test_errors), cmocka_unit_test(test_overtaken),
        cmocka_unit_test(test_cache),       cmocka_unit_test(test_turns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
