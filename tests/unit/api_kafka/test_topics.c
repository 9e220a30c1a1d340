/* CreateTopics, DeleteTopics, Metadata and the describing APIs through whole cores.
 *
 * Long because: they are told apart by what each says of the same topics. */
#include <floe_cmocka.h>

#include "api_rig.h"
#include <floe/kafka/configs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct floe_kafka_MetadataResponse_MetadataResponseTopic topic_view;

struct create {
    struct floe_kafka_CreateTopicsRequest rq;
    struct floe_kafka_CreateTopicsRequest_CreatableTopic t[4];
    struct floe_kafka_CreateTopicsRequest_CreatableTopicConfig c[2];
    struct floe_kafka_CreateTopicsRequest_CreatableReplicaAssignment a[3];
};
static void create_init(struct create *c, const char *name, int32_t partitions, int16_t factor)
{
    floe_kafka_defaults(&floe_kafka_CreateTopicsRequest_desc, &c->rq);
    for (int i = 0; i < 4; i++) {
        floe_kafka_struct_defaults(&floe_kafka_CreateTopicsRequest_CreatableTopic_desc, &c->t[i]);
        c->t[i].Name = floe_kstr(name);
        c->t[i].NumPartitions = partitions;
        c->t[i].ReplicationFactor = factor;
    }
    for (int i = 0; i < 2; i++)
        floe_kafka_struct_defaults(&floe_kafka_CreateTopicsRequest_CreatableTopicConfig_desc, &c->c[i]);
    for (int i = 0; i < 3; i++)
        floe_kafka_struct_defaults(&floe_kafka_CreateTopicsRequest_CreatableReplicaAssignment_desc, &c->a[i]);
    c->rq.timeoutMs = 30000;
    c->rq.Topics = c->t;
    c->rq.Topics_n = 1;
    c->t[0].Configs = c->c;
    c->t[0].Assignments = c->a;
}
static struct floe_kafka_CreateTopicsResponse_CreatableTopicResult *create(struct api_node *n,
                                                                           struct create *c, int16_t version)
{
    struct floe_kafka_CreateTopicsResponse *rs = api_do(n, 19, version, &c->rq);
    assert_int_equal(rs->Topics_n, FLOE_MIN(c->rq.Topics_n, 2)); /* of three, two have one name */
    return rs->Topics;
}

struct meta {
    struct floe_kafka_MetadataRequest rq;
    struct floe_kafka_MetadataRequest_MetadataRequestTopic t[4];
};
static struct floe_kafka_MetadataResponse *metadata(struct api_node *n, int16_t version, bool make,
                                                    int32_t count, const char *const *names)
{
    struct meta m;
    floe_kafka_defaults(&floe_kafka_MetadataRequest_desc, &m.rq);
    m.rq.AllowAutoTopicCreation = make || version < 4; /* older ones cannot say no */
    m.rq.Topics = m.t;
    m.rq.Topics_n = count;
    for (int32_t i = 0; i < count; i++) {
        floe_kafka_struct_defaults(&floe_kafka_MetadataRequest_MetadataRequestTopic_desc, &m.t[i]);
        m.t[i].Name = floe_kstr(names[i]);
    }
    return api_do(n, 3, version, &m.rq);
}
static const topic_view *find(const struct floe_kafka_MetadataResponse *rs, const char *name)
{
    for (int32_t i = 0; i < rs->Topics_n; i++) {
        if (floe_kstr_is(rs->Topics[i].Name, name))
            return &rs->Topics[i];
    }
    return NULL;
}
static int16_t delete_one(struct api_node *n, const char *name, const struct floe_uuid *id)
{
    struct floe_kafka_DeleteTopicsRequest rq;
    struct floe_kafka_DeleteTopicsRequest_DeleteTopicState t;
    floe_kafka_defaults(&floe_kafka_DeleteTopicsRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_DeleteTopicsRequest_DeleteTopicState_desc, &t);
    rq.TimeoutMs = 30000;
    rq.Topics = &t;
    rq.Topics_n = 1;
    t.Name = floe_kstr(name);
    if (id)
        t.TopicId = *id;
    struct floe_kafka_DeleteTopicsResponse *rs = api_do(n, 20, 6, &rq);
    assert_int_equal(rs->Responses_n, 1);
    return rs->Responses[0].ErrorCode;
}

static void test_create_versions(void **state)
{
    struct api_rig r;
    struct create c;
    (void)state;
    api_rig_start(&r, 1, 1);
    struct api_node *n = &r.nodes[0];
    for (int16_t v = 2; v <= 7; v++) {
        char name[8];
        snprintf(name, sizeof name, "t%d", v);
        create_init(&c, name, v >= 4 ? -1 : 2, v >= 4 ? -1 : 1);
        c.t[0].Configs_n = 1;
        c.c[0].Name = floe_kstr("retention.ms");
        c.c[0].Value = floe_kstr("1000");
        c.rq.validateOnly = true;
        assert_int_equal(create(n, &c, v)->ErrorCode, 0);
        c.rq.validateOnly = false;
        struct floe_kafka_CreateTopicsResponse_CreatableTopicResult *t = create(n, &c, v);
        assert_int_equal(t->ErrorCode, 0);
        assert_true(floe_kstr_is_null(t->ErrorMessage));
        if (v >= 5) {
            assert_int_equal(t->NumPartitions, 2);
            assert_int_equal(t->ReplicationFactor, 3);
            int set = 0;
            for (int32_t i = 0; i < t->Configs_n; i++) {
                set += t->Configs[i].ConfigSource == 1;
                if (floe_kstr_is(t->Configs[i].Name, "retention.ms"))
                    assert_true(floe_kstr_is(t->Configs[i].Value, "1000"));
            }
            assert_true(t->Configs_n > 20 && set == 1);
        }
        if (v == 7)
            assert_false(floe_uuid_is_zero(&t->TopicId));
        t = create(n, &c, v);
        assert_int_equal(t->ErrorCode, FLOE_KERR_TOPIC_ALREADY_EXISTS);
        char text[64];
        snprintf(text, sizeof text, "Topic '%s' already exists.", name);
        assert_true(floe_kstr_is(t->ErrorMessage, text));
    }
    api_rig_stop(&r);
}

static void test_create_errors(void **state)
{
    struct api_rig r;
    struct create c;
    static char longest[251];
    (void)state;
    api_rig_start(&r, 2, 1);
    struct api_node *n = &r.nodes[0];
    memset(longest, 'x', 250);
    static const struct {
        const char *name;
        int32_t partitions;
        int16_t factor, error;
        const char *config, *value;
    } bad[] = {
        {"", 1, 1, FLOE_KERR_INVALID_TOPIC_EXCEPTION, NULL, NULL},
        {".", 1, 1, FLOE_KERR_INVALID_TOPIC_EXCEPTION, NULL, NULL},
        {"..", 1, 1, FLOE_KERR_INVALID_TOPIC_EXCEPTION, NULL, NULL},
        {"a/b", 1, 1, FLOE_KERR_INVALID_TOPIC_EXCEPTION, NULL, NULL},
        {"\xc3\xa9", 1, 1, FLOE_KERR_INVALID_TOPIC_EXCEPTION, NULL, NULL},
        {longest, 1, 1, FLOE_KERR_INVALID_TOPIC_EXCEPTION, NULL, NULL},
        {"t", 0, 1, FLOE_KERR_INVALID_PARTITIONS, NULL, NULL},
        {"t", -2, 1, FLOE_KERR_INVALID_PARTITIONS, NULL, NULL},
        {"t", 100001, 1, FLOE_KERR_POLICY_VIOLATION, NULL, NULL},
        {"t", 1, 0, FLOE_KERR_INVALID_REPLICATION_FACTOR, NULL, NULL},
        {"t", 1, -2, FLOE_KERR_INVALID_REPLICATION_FACTOR, NULL, NULL},
        {"t", 1, 6, FLOE_KERR_INVALID_REPLICATION_FACTOR, NULL, NULL},
        {"t", 1, 1, FLOE_KERR_INVALID_CONFIG, "no.such.key", "1"},
        {"t", 1, 1, FLOE_KERR_INVALID_CONFIG, "retention.ms", "soon"},
        {"t", 1, 1, FLOE_KERR_INVALID_CONFIG, "max.message.bytes", "-1"},
        {"t", 1, 1, FLOE_KERR_INVALID_CONFIG, "cleanup.policy", "burn"},
        {"t", 1, 1, FLOE_KERR_INVALID_CONFIG, "message.timestamp.type", "Never"},
        {"t", 1, 1, FLOE_KERR_INVALID_CONFIG, "retention.ms", NULL},
    };
    for (size_t i = 0; i < FLOE_COUNTOF(bad); i++) {
        create_init(&c, bad[i].name, bad[i].partitions, bad[i].factor);
        c.t[0].Configs_n = bad[i].config != NULL;
        c.c[0].Name = floe_kstr(bad[i].config);
        c.c[0].Value = floe_kstr(bad[i].value);
        struct floe_kafka_CreateTopicsResponse_CreatableTopicResult *t = create(n, &c, 5);
        assert_int_equal(t->ErrorCode, bad[i].error);
        assert_true(t->ErrorMessage.n > 0);
        assert_int_equal(t->NumPartitions, -1);
        assert_int_equal(t->Configs_n, 0);
    }
    api_rig_stop(&r);
}

static void test_create_configs(void **state)
{
    struct api_rig r;
    struct create c;
    (void)state;
    api_rig_start(&r, 10, 1);
    struct api_node *n = &r.nodes[0];
    /* Given twice the last one counts; what does not go together is refused. */
    create_init(&c, "pair", 1, 1);
    c.t[0].Configs_n = 2;
    c.c[0].Name = c.c[1].Name = floe_kstr("retention.ms");
    c.c[0].Value = floe_kstr("1");
    c.c[1].Value = floe_kstr("2");
    c.rq.validateOnly = true;
    struct floe_kafka_CreateTopicsResponse_CreatableTopicResult *t = create(n, &c, 7);
    assert_int_equal(t->ErrorCode, 0);
    for (int32_t i = 0; i < t->Configs_n; i++)
        if (floe_kstr_is(t->Configs[i].Name, "retention.ms"))
            assert_true(floe_kstr_is(t->Configs[i].Value, "2"));
    c.c[0].Name = floe_kstr("min.compaction.lag.ms");
    c.c[1].Name = floe_kstr("max.compaction.lag.ms");
    c.c[0].Value = floe_kstr("3");
    assert_int_equal(create(n, &c, 7)->ErrorCode, FLOE_KERR_INVALID_CONFIG);
    c.t[0].Configs_n = 1;
    c.c[0].Name = floe_kstr("remote.storage.enable");
    c.c[0].Value = floe_kstr("true");
    assert_int_equal(create(n, &c, 7)->ErrorCode, FLOE_KERR_INVALID_CONFIG);
    api_rig_stop(&r);
}

static void test_create_refused(void **state)
{
    struct api_rig r;
    struct create c;
    (void)state;
    api_rig_start(&r, 9, 1);
    struct api_node *n = &r.nodes[0];
    /* Twice in one request: none of them; a good one beside them is made. */
    create_init(&c, "twice", 1, 1);
    c.t[1].Name = floe_kstr("once");
    c.rq.Topics_n = 3;
    struct floe_kafka_CreateTopicsResponse_CreatableTopicResult *t = create(n, &c, 7);
    assert_int_equal(t[0].ErrorCode, FLOE_KERR_INVALID_REQUEST);
    assert_int_equal(t[1].ErrorCode, 0);
    /* The metrics of "a.b" and "a_b" would be one. */
    assert_int_equal(api_make_topic(n, "a.b", 1, NULL, NULL), 0);
    assert_int_equal(api_make_topic(n, "a_b", 1, NULL, NULL), FLOE_KERR_INVALID_TOPIC_EXCEPTION);
    assert_int_equal(api_make_topic(n, "a.bc", 1, NULL, NULL), 0);
    /* Assignments by hand: taken for their number. */
    create_init(&c, "byhand", -1, -1);
    int32_t brokers[2] = {1, 1};
    c.t[0].Assignments_n = 3;
    for (int32_t i = 0; i < 3; i++) {
        c.a[i].PartitionIndex = 2 - i;
        c.a[i].BrokerIds = brokers;
        c.a[i].BrokerIds_n = 1;
    }
    assert_int_equal(create(n, &c, 7)->ErrorCode, 0);
    const char *name = "byhand";
    assert_int_equal(find(metadata(n, 12, false, 1, &name), "byhand")->Partitions_n, 3);
    /* One broker twice, one that nobody knows, none. */
    create_init(&c, "byhand2", -1, -1);
    c.t[0].Assignments_n = 1;
    c.a[0].BrokerIds = brokers;
    for (int32_t i = 0; i < 3; i++) {
        c.a[0].BrokerIds_n = 2 - i;
        brokers[0] = i == 1 ? 77 : 1;
        assert_int_equal(create(n, &c, 7)->ErrorCode, FLOE_KERR_INVALID_REPLICA_ASSIGNMENT);
    }
    create_init(&c, "byhand2", 3, -1);
    c.t[0].Assignments_n = 1;
    assert_int_equal(create(n, &c, 7)->ErrorCode, FLOE_KERR_INVALID_REQUEST);
    c.t[0].NumPartitions = -1;
    c.a[0].PartitionIndex = 1;
    assert_int_equal(create(n, &c, 7)->ErrorCode, FLOE_KERR_INVALID_REPLICA_ASSIGNMENT);
    /* A table that cannot be written: the request's time ends. */
    struct floe_sim_rule rule = {
        .fault = FLOE_SIM_E503, .kinds = FLOE_SIM_KIND(FLOE_STORE_PUT), .prefix = "table/topic"};
    floe_sim_bucket_rule(r.bucket, &rule);
    create_init(&c, "later", 1, 1);
    c.rq.timeoutMs = 700;
    assert_int_equal(create(n, &c, 7)->ErrorCode, FLOE_KERR_REQUEST_TIMED_OUT);
    floe_sim_bucket_heal(r.bucket);
    api_rig_run(&r, 5000);
    assert_int_equal(api_make_topic(n, "sooner", 1, NULL, NULL), 0);
    api_rig_stop(&r);
}

/* A topic that one broker made is usable at every other one as soon as the answer is there, and gone at every
 * one when its deletion is answered. */
static void test_usable_everywhere(void **state)
{
    struct api_rig r;
    struct floe_arena a;
    (void)state;
    api_rig_start(&r, 3, 3);
    floe_arena_init(&a, 16 << 20);
    const char *name = "t";
    struct floe_uuid id, again;
    for (int round = 0; round < 3; round++) {
        assert_int_equal(api_make_topic(&r.nodes[round], "t", 6, NULL, NULL), 0);
        for (uint32_t k = 0; k < 3; k++) {
            const topic_view *t = find(metadata(&r.nodes[k], 12, false, 1, &name), "t");
            assert_int_equal(t->ErrorCode, 0);
            assert_int_equal(t->Partitions_n, 6);
            for (int32_t i = 0; i < 6; i++) {
                assert_int_equal(t->Partitions[i].ErrorCode, 0);
                assert_true(t->Partitions[i].LeaderId > 0);
            }
        }
        for (int32_t i = 0; i < 6; i++) {
            const topic_view *t = find(metadata(&r.nodes[(round + 1) % 3], 12, false, 1, &name), "t");
            int32_t leader = t->Partitions[i].LeaderId;
            for (uint32_t k = 0; k < 3; k++) {
                if (floe_lease_node_id(floe_core_lease(r.nodes[k].core)) == leader)
                    assert_int_equal(
                        api_produce_one(&r.nodes[k], "t", i, -1, api_batch(&a, 0, 1, true, 0), NULL), 0);
            }
        }
        if (round == 0) {
            assert_true(api_topic_id(&r.nodes[2], "t", &id));
        } else {
            assert_true(api_topic_id(&r.nodes[2], "t", &again));
            assert_false(floe_uuid_eq(&id, &again));
            id = again;
        }
        assert_int_equal(
            delete_one(&r.nodes[(round + 1) % 3], round == 1 ? NULL : "t", round == 1 ? &id : NULL), 0);
        for (uint32_t k = 0; k < 3; k++)
            assert_null(api_leader_of(&r, "t", (int32_t)k));
    }
    api_rig_run(&r, 3000);
    for (uint32_t k = 0; k < 3; k++)
        assert_int_equal(find(metadata(&r.nodes[k], 12, false, 1, &name), "t")->ErrorCode,
                         FLOE_KERR_UNKNOWN_TOPIC_OR_PARTITION);
    floe_arena_fini(&a);
    api_rig_stop(&r);
}

static void test_delete(void **state)
{
    struct api_rig r;
    struct floe_uuid id, wrong;
    (void)state;
    api_rig_start(&r, 4, 1);
    struct api_node *n = &r.nodes[0];
    memset(wrong.b, 5, sizeof wrong.b);
    assert_int_equal(api_make_topic(n, "t", 2, NULL, NULL), 0);
    assert_true(api_topic_id(n, "t", &id));
    assert_int_equal(delete_one(n, "no", NULL), FLOE_KERR_UNKNOWN_TOPIC_OR_PARTITION);
    assert_int_equal(delete_one(n, NULL, &wrong), FLOE_KERR_UNKNOWN_TOPIC_ID);
    assert_int_equal(delete_one(n, NULL, NULL), FLOE_KERR_INVALID_REQUEST);
    assert_int_equal(delete_one(n, "t", &id), FLOE_KERR_INVALID_REQUEST);
    for (int16_t v = 1; v <= 5; v++) {
        struct floe_kafka_DeleteTopicsRequest rq;
        struct floe_kstr names[3] = {floe_kstr("v"), floe_kstr("v"), floe_kstr("w")};
        assert_int_equal(api_make_topic(n, "v", 1, NULL, NULL), v == 1 ? 0 : FLOE_KERR_TOPIC_ALREADY_EXISTS);
        assert_int_equal(api_make_topic(n, "w", 1, NULL, NULL), 0);
        floe_kafka_defaults(&floe_kafka_DeleteTopicsRequest_desc, &rq);
        rq.TimeoutMs = 30000;
        rq.TopicNames = names;
        rq.TopicNames_n = 3;
        struct floe_kafka_DeleteTopicsResponse *rs = api_do(n, 20, v, &rq);
        assert_int_equal(rs->Responses_n, 2); /* told of once */
        assert_int_equal(rs->Responses[0].ErrorCode, FLOE_KERR_INVALID_REQUEST);
        assert_int_equal(rs->Responses[1].ErrorCode, 0);
    }
    { /* by its name and by its id: neither counts */
        struct floe_kafka_DeleteTopicsRequest rq;
        struct floe_kafka_DeleteTopicsRequest_DeleteTopicState both[2];
        floe_kafka_defaults(&floe_kafka_DeleteTopicsRequest_desc, &rq);
        for (int i = 0; i < 2; i++)
            floe_kafka_struct_defaults(&floe_kafka_DeleteTopicsRequest_DeleteTopicState_desc, &both[i]);
        both[0].Name = floe_kstr("t");
        both[1].TopicId = id;
        rq.TimeoutMs = 30000;
        rq.Topics = both;
        rq.Topics_n = 2;
        struct floe_kafka_DeleteTopicsResponse *rs = api_do(n, 20, 6, &rq);
        assert_int_equal(rs->Responses_n, 1);
        assert_int_equal(rs->Responses[0].ErrorCode, FLOE_KERR_INVALID_REQUEST);
        assert_true(floe_uuid_eq(&rs->Responses[0].TopicId, &id));
    }
    assert_int_equal(delete_one(n, NULL, &id), 0);
    assert_int_equal(delete_one(n, NULL, &id), FLOE_KERR_UNKNOWN_TOPIC_ID);
    assert_int_equal(delete_one(n, "t", NULL), FLOE_KERR_UNKNOWN_TOPIC_OR_PARTITION);
    api_rig_stop(&r);
}

static void test_metadata(void **state)
{
    struct api_rig r;
    (void)state;
    api_rig_start(&r, 5, 2);
    struct api_node *n = &r.nodes[0];
    assert_int_equal(api_make_topic(n, "one", 1, NULL, NULL), 0);
    assert_int_equal(api_make_topic(n, "two", 3, NULL, NULL), 0);
    const char *some[] = {"one", "one", "none", "b@d"};
    for (int16_t v = 0; v <= 13; v++) {
        struct floe_kafka_MetadataResponse *rs = metadata(n, v, false, v == 0 ? 0 : -1, NULL);
        assert_int_equal(rs->Topics_n, 2);
        assert_int_equal(find(rs, "two")->Partitions_n, 3);
        assert_int_equal(rs->Brokers_n, 2);
        assert_true(floe_kstr_is(rs->Brokers[1].Host, "n1.example"));
        assert_int_equal(rs->Brokers[1].Port, 9092);
        if (v >= 1)
            assert_true(floe_kstr_is(rs->Brokers[0].Rack, "r1"));
        if (v >= 2)
            assert_int_equal(rs->ClusterId.n, 22);
        for (int32_t i = 0; i < 3; i++) {
            assert_in_range(find(rs, "two")->Partitions[i].LeaderId, 1, 2);
            assert_int_equal(find(rs, "two")->Partitions[i].ReplicaNodes_n, 1);
            assert_int_equal(find(rs, "two")->Partitions[i].IsrNodes_n, 1);
        }
        if (v >= 1)
            assert_int_equal(metadata(n, v, false, 0, NULL)->Topics_n, 0);
        if (v < 4)
            continue;
        rs = metadata(n, v, false, 4, some);
        assert_int_equal(rs->Topics_n, 3);
        assert_int_equal(find(rs, "one")->ErrorCode, 0);
        assert_int_equal(find(rs, "none")->ErrorCode, FLOE_KERR_UNKNOWN_TOPIC_OR_PARTITION);
        assert_int_equal(find(rs, "b@d")->ErrorCode, FLOE_KERR_INVALID_TOPIC_EXCEPTION);
    }
    /* By id. */
    struct meta m;
    struct floe_uuid id;
    assert_true(api_topic_id(n, "two", &id));
    floe_kafka_defaults(&floe_kafka_MetadataRequest_desc, &m.rq);
    m.rq.Topics = m.t;
    m.rq.Topics_n = 2;
    for (int i = 0; i < 2; i++) {
        floe_kafka_struct_defaults(&floe_kafka_MetadataRequest_MetadataRequestTopic_desc, &m.t[i]);
        m.t[i].Name = (struct floe_kstr){NULL, -1};
    }
    m.t[0].TopicId = id;
    memset(m.t[1].TopicId.b, 3, 16);
    for (int16_t v = 10; v <= 14; v++) {
        if (v == 14) /* as the Java client does it */
            m.t[0].Name = m.t[1].Name = floe_kstr("");
        struct floe_kafka_MetadataResponse *rs = api_do(n, 3, FLOE_MIN(v, 13), &m.rq);
        assert_int_equal(rs->Topics_n, 2);
        for (int32_t i = 0; i < 2; i++) {
            if (v < 12)
                assert_int_equal(rs->Topics[i].ErrorCode, FLOE_KERR_INVALID_REQUEST);
            else if (floe_uuid_eq(&rs->Topics[i].TopicId, &id))
                assert_true(floe_kstr_is(rs->Topics[i].Name, "two"));
            else
                assert_int_equal(rs->Topics[i].ErrorCode, FLOE_KERR_UNKNOWN_TOPIC_ID);
        }
    }
    api_rig_stop(&r);
}

/* A broker that has not read the topics yet does not say that there are none: a consumer that subscribes by a
 * pattern would give back all it has. */
static void test_topics_not_read(void **state)
{
    struct floe_sim_rule unread = {.fault = FLOE_SIM_NOSPACE, .prefix = "table/topic/"};
    struct floe_kafka_DescribeTopicPartitionsRequest rq;
    struct api_rig r;
    (void)state;
    api_rig_start(&r, 77, 1);
    assert_int_equal(api_make_topic(&r.nodes[0], "t", 1, NULL, NULL), 0);
    struct api_node *late = api_rig_add(&r);
    unread.node = late->node;
    floe_sim_bucket_rule(r.bucket, &unread);
    api_rig_run(&r, 5000);
    assert_true(late->started);
    for (int16_t v = 0; v <= 13; v++) {
        assert_null(metadata(late, v, false, v == 0 ? 0 : -1, NULL));
        assert_true(api_last()->closed);
    }
    floe_kafka_defaults(&floe_kafka_DescribeTopicPartitionsRequest_desc, &rq);
    assert_null(api_do(late, 75, 0, &rq));
    assert_true(api_last()->closed);
    floe_sim_bucket_heal(r.bucket);
    assert_int_equal(metadata(late, 12, false, -1, NULL)->Topics_n, 1);
    api_rig_stop(&r);
}

static void test_auto_create(void **state)
{
    struct api_rig r;
    (void)state;
    api_rig_start(&r, 6, 2);
    struct api_node *n = &r.nodes[0];
    const char *names[] = {"made", "also", "b@d"};
    struct floe_kafka_MetadataResponse *rs = metadata(n, 12, true, 3, names);
    assert_int_equal(find(rs, "made")->ErrorCode, 0);    /* in the first answer already */
    assert_int_equal(find(rs, "made")->Partitions_n, 2); /* num.partitions */
    assert_int_equal(find(rs, "also")->ErrorCode, 0);
    assert_int_equal(find(rs, "b@d")->ErrorCode, FLOE_KERR_INVALID_TOPIC_EXCEPTION);
    const char *old = "old";
    assert_int_equal(find(metadata(n, 1, true, 1, &old), "old")->ErrorCode, 0); /* before version 4: always */
    /* Both at once: one topic. */
    struct meta m;
    floe_kafka_defaults(&floe_kafka_MetadataRequest_desc, &m.rq);
    floe_kafka_struct_defaults(&floe_kafka_MetadataRequest_MetadataRequestTopic_desc, &m.t[0]);
    m.rq.Topics = m.t;
    m.rq.Topics_n = 1;
    m.rq.AllowAutoTopicCreation = true;
    m.t[0].Name = floe_kstr("race");
    struct api_call *a = api_send(&r.nodes[0], NULL, 3, 12, &m.rq),
                    *b = api_send(&r.nodes[1], NULL, 3, 12, &m.rq);
    struct floe_kafka_MetadataResponse *x = api_wait(n, a, 20000), *y = api_wait(n, b, 20000);
    assert_int_equal(x->Topics[0].ErrorCode, 0);
    assert_true(y->Topics[0].ErrorCode == 0 || y->Topics[0].ErrorCode == FLOE_KERR_LEADER_NOT_AVAILABLE);
    if (y->Topics[0].ErrorCode == 0)
        assert_true(floe_uuid_eq(&x->Topics[0].TopicId, &y->Topics[0].TopicId));
    api_call_free(a);
    api_call_free(b);
    /* A table that cannot be read says nothing about topics, and makes none. */
    struct floe_sim_rule rule = {.fault = FLOE_SIM_E503, .prefix = "table/topic"};
    floe_sim_bucket_rule(r.bucket, &rule);
    const char *later = "later";
    assert_int_equal(find(metadata(n, 12, true, 1, &later), "later")->ErrorCode,
                     FLOE_KERR_LEADER_NOT_AVAILABLE);
    floe_sim_bucket_heal(r.bucket);
    assert_int_equal(find(metadata(n, 12, false, 1, &later), "later")->ErrorCode,
                     FLOE_KERR_UNKNOWN_TOPIC_OR_PARTITION);
    /* One that cannot be written: the answer does not wait for ever. */
    rule.kinds = FLOE_SIM_KIND(FLOE_STORE_PUT);
    floe_sim_bucket_rule(r.bucket, &rule);
    uint64_t from = floe_sim_now_us(r.sim);
    assert_int_equal(find(metadata(n, 12, true, 1, &later), "later")->ErrorCode,
                     FLOE_KERR_LEADER_NOT_AVAILABLE);
    assert_true(api_last()->at_us - from < 16000000);
    floe_sim_bucket_heal(r.bucket);
    api_rig_stop(&r);
}

static void test_describe_partitions(void **state)
{
    struct api_rig r;
    struct floe_kafka_DescribeTopicPartitionsRequest rq;
    struct floe_kafka_DescribeTopicPartitionsRequest_TopicRequest t[3];
    struct floe_kafka_DescribeTopicPartitionsRequest_Cursor cursor;
    (void)state;
    api_rig_start(&r, 8, 1);
    struct api_node *n = &r.nodes[0];
    assert_int_equal(api_make_topic(n, "b", 5, NULL, NULL), 0);
    assert_int_equal(api_make_topic(n, "a", 3, NULL, NULL), 0);
    assert_int_equal(api_make_topic(n, "c", 1, NULL, NULL), 0);
    for (int limit = 1; limit <= 10; limit++) {
        char seen[64] = "", name[8] = "";
        floe_kafka_defaults(&floe_kafka_DescribeTopicPartitionsRequest_desc, &rq);
        rq.ResponsePartitionLimit = limit;
        for (int pages = 0; pages < 20; pages++) {
            struct floe_kafka_DescribeTopicPartitionsResponse *rs = api_do(n, 75, 0, &rq);
            int got = 0;
            for (int32_t i = 0; i < rs->Topics_n; i++) {
                for (int32_t p = 0; p < rs->Topics[i].Partitions_n; p++, got++) {
                    /* Never null: the Java client fails on that. */
                    assert_int_equal(rs->Topics[i].Partitions[p].EligibleLeaderReplicas_n, 0);
                    assert_int_equal(rs->Topics[i].Partitions[p].LastKnownElr_n, 0);
                    size_t at = strlen(seen);
                    snprintf(seen + at, sizeof seen - at, "%.*s%d ", rs->Topics[i].Name.n,
                             rs->Topics[i].Name.p, rs->Topics[i].Partitions[p].PartitionIndex);
                }
            }
            assert_in_range(got, 1, limit);
            if (!rs->NextCursor)
                break;
            floe_kafka_struct_defaults(&floe_kafka_DescribeTopicPartitionsRequest_Cursor_desc, &cursor);
            snprintf(name, sizeof name, "%.*s", rs->NextCursor->TopicName.n, rs->NextCursor->TopicName.p);
            cursor.TopicName = floe_kstr(name);
            cursor.PartitionIndex = rs->NextCursor->PartitionIndex;
            rq.Cursor = &cursor;
        }
        assert_string_equal(seen, "a0 a1 a2 b0 b1 b2 b3 b4 c0 ");
    }
    floe_kafka_defaults(&floe_kafka_DescribeTopicPartitionsRequest_desc, &rq);
    static const char *const names[3] = {"c", "no", "b@d"};
    for (int i = 0; i < 3; i++) {
        floe_kafka_struct_defaults(&floe_kafka_DescribeTopicPartitionsRequest_TopicRequest_desc, &t[i]);
        t[i].Name = floe_kstr(names[i]);
    }
    rq.Topics = t;
    rq.Topics_n = 3;
    struct floe_kafka_DescribeTopicPartitionsResponse *rs = api_do(n, 75, 0, &rq);
    assert_int_equal(rs->Topics_n, 3);
    assert_int_equal(rs->Topics[0].ErrorCode, FLOE_KERR_INVALID_TOPIC_EXCEPTION);
    assert_int_equal(rs->Topics[1].ErrorCode, 0);
    assert_int_equal(rs->Topics[2].ErrorCode, FLOE_KERR_UNKNOWN_TOPIC_OR_PARTITION);
    api_rig_stop(&r);
}

/* One request makes a hundred topics at most; a client asks again for the others. */
static void test_auto_create_many(void **state)
{
    enum { N = 101 };
    static struct floe_kafka_MetadataRequest_MetadataRequestTopic t[N];
    static char name[N][8];
    struct floe_kafka_MetadataRequest rq;
    struct api_rig r;
    (void)state;
    api_rig_start(&r, 11, 1);
    floe_kafka_defaults(&floe_kafka_MetadataRequest_desc, &rq);
    for (int i = 0; i < N; i++) {
        floe_kafka_struct_defaults(&floe_kafka_MetadataRequest_MetadataRequestTopic_desc, &t[i]);
        snprintf(name[i], sizeof name[i], "t%03d", i);
        t[i].Name = floe_kstr(name[i]);
    }
    rq.Topics = t, rq.Topics_n = N;
    assert_int_equal(find(api_do(&r.nodes[0], 3, 12, &rq), "t100")->ErrorCode,
                     FLOE_KERR_LEADER_NOT_AVAILABLE);
    api_rig_run(&r, 2000);
    assert_int_equal(find(api_do(&r.nodes[0], 3, 12, &rq), "t100")->ErrorCode, 0);
    api_rig_stop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create_versions),   cmocka_unit_test(test_create_errors),
        cmocka_unit_test(test_create_refused),    cmocka_unit_test(test_create_configs),
        cmocka_unit_test(test_usable_everywhere), cmocka_unit_test(test_delete),
        cmocka_unit_test(test_metadata),          cmocka_unit_test(test_topics_not_read),
        cmocka_unit_test(test_auto_create),       cmocka_unit_test(test_describe_partitions),
        cmocka_unit_test(test_auto_create_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
