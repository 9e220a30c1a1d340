/* CreatePartitions, AlterConfigs, IncrementalAlterConfigs: what Kafka answers, on every broker, with lost
 * answers. */
#include <floe_cmocka.h>

#include "api_rig.h"
#include <stdio.h>
#include <string.h>

typedef struct floe_kafka_CreatePartitionsRequest grow_request;
typedef struct floe_kafka_IncrementalAlterConfigsRequest alter_request;

static int16_t grow(struct api_node *n, int16_t version, const char *topic, int32_t count, bool validate)
{
    grow_request rq;
    struct floe_kafka_CreatePartitionsRequest_CreatePartitionsTopic t;
    floe_kafka_defaults(&floe_kafka_CreatePartitionsRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_CreatePartitionsRequest_CreatePartitionsTopic_desc, &t);
    t.Name = floe_kstr(topic);
    t.Count = count;
    t.Assignments_n = -1;
    rq.Topics = &t;
    rq.Topics_n = 1;
    rq.TimeoutMs = 30000;
    rq.ValidateOnly = validate;
    struct floe_kafka_CreatePartitionsResponse *rs = api_do(n, 37, version, &rq);
    assert_non_null(rs);
    assert_int_equal(rs->Results_n, 1);
    return rs->Results[0].ErrorCode;
}

static int16_t alter(struct api_node *n, const char *topic, const char *name, int8_t op, const char *value)
{
    alter_request rq;
    struct floe_kafka_IncrementalAlterConfigsRequest_AlterConfigsResource r;
    struct floe_kafka_IncrementalAlterConfigsRequest_AlterableConfig c;
    floe_kafka_defaults(&floe_kafka_IncrementalAlterConfigsRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_IncrementalAlterConfigsRequest_AlterConfigsResource_desc, &r);
    floe_kafka_struct_defaults(&floe_kafka_IncrementalAlterConfigsRequest_AlterableConfig_desc, &c);
    c.Name = floe_kstr(name);
    c.ConfigOperation = op;
    c.Value = floe_kstr(value);
    r.ResourceType = 2;
    r.ResourceName = floe_kstr(topic);
    r.Configs = &c;
    r.Configs_n = 1;
    rq.Resources = &r;
    rq.Resources_n = 1;
    struct floe_kafka_IncrementalAlterConfigsResponse *rs = api_do(n, 44, 1, &rq);
    assert_non_null(rs);
    return rs->Responses[0].ErrorCode;
}

static int16_t replace(struct api_node *n, const char *topic, const char *name, const char *value)
{
    struct floe_kafka_AlterConfigsRequest rq;
    struct floe_kafka_AlterConfigsRequest_AlterConfigsResource r;
    struct floe_kafka_AlterConfigsRequest_AlterableConfig c;
    floe_kafka_defaults(&floe_kafka_AlterConfigsRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_AlterConfigsRequest_AlterConfigsResource_desc, &r);
    floe_kafka_struct_defaults(&floe_kafka_AlterConfigsRequest_AlterableConfig_desc, &c);
    c.Name = floe_kstr(name);
    c.Value = floe_kstr(value);
    r.ResourceType = 2;
    r.ResourceName = floe_kstr(topic);
    r.Configs = &c;
    r.Configs_n = name != NULL;
    rq.Resources = &r;
    rq.Resources_n = 1;
    struct floe_kafka_AlterConfigsResponse *rs = api_do(n, 33, 2, &rq);
    assert_non_null(rs);
    return rs->Responses[0].ErrorCode;
}

/* The value that DescribeConfigs shows, and whether it was set. */
static const char *shown(struct api_node *n, const char *topic, const char *name, bool *set)
{
    static char value[200];
    struct floe_kafka_DescribeConfigsRequest rq;
    struct floe_kafka_DescribeConfigsRequest_DescribeConfigsResource r;
    struct floe_kstr key = floe_kstr(name);
    floe_kafka_defaults(&floe_kafka_DescribeConfigsRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_DescribeConfigsRequest_DescribeConfigsResource_desc, &r);
    r.ResourceType = 2;
    r.ResourceName = floe_kstr(topic);
    r.ConfigurationKeys = &key;
    r.ConfigurationKeys_n = 1;
    rq.Resources = &r;
    rq.Resources_n = 1;
    struct floe_kafka_DescribeConfigsResponse *rs = api_do(n, 32, 4, &rq);
    assert_non_null(rs);
    assert_int_equal(rs->Results[0].Configs_n, 1);
    snprintf(value, sizeof value, "%.*s", (int)rs->Results[0].Configs[0].Value.n,
             rs->Results[0].Configs[0].Value.p);
    *set = rs->Results[0].Configs[0].ConfigSource == 1;
    return value;
}

static void produce_to(struct api_rig *r, const char *topic, int32_t partition)
{
    struct floe_arena a;
    int64_t base = -1;
    struct api_node *n = NULL;
    for (int i = 0; i < 100 && !n; i++) {
        n = api_leader_of(r, topic, partition);
        if (!n)
            api_rig_run(r, 50);
    }
    assert_non_null(n);
    floe_arena_init(&a, 1 << 20);
    assert_int_equal(
        api_produce_one(n, topic, partition, -1, api_batch(&a, 0, 3, false, FLOE_COMPRESSION_NONE), &base),
        0);
    floe_arena_fini(&a);
}

static void test_partitions(void **state)
{
    struct api_rig r;
    (void)state;
    api_rig_start(&r, 21, 3);
    assert_int_equal(api_make_topic(&r.nodes[0], "t", 2, NULL, NULL), 0);
    produce_to(&r, "t", 1);
    assert_int_equal(grow(&r.nodes[1], 0, "t", 5, true), 0);
    assert_int_equal(grow(&r.nodes[1], 1, "t", 2, false), FLOE_KERR_INVALID_PARTITIONS);
    assert_int_equal(grow(&r.nodes[1], 2, "t", 1, false), FLOE_KERR_INVALID_PARTITIONS);
    assert_int_equal(grow(&r.nodes[1], 3, "t", 0, false), FLOE_KERR_INVALID_PARTITIONS);
    assert_int_equal(grow(&r.nodes[1], 3, "none", 3, false), FLOE_KERR_UNKNOWN_TOPIC_OR_PARTITION);
    assert_int_equal(grow(&r.nodes[1], 3, "t", 90, false), 0);
    for (int32_t p = 0; p < 90; p += 11)
        produce_to(&r, "t", p);
    assert_int_equal(grow(&r.nodes[2], 3, "t", 90, false), FLOE_KERR_INVALID_PARTITIONS);
    api_rig_stop(&r);
}

/* Every answer of the table's writes is lost half of the time: the change happens once, and is told as done.
 */
static void test_lost_answers(void **state)
{
    struct api_rig r;
    bool set;
    (void)state;
    api_rig_start(&r, 22, 2);
    assert_int_equal(api_make_topic(&r.nodes[0], "t", 1, NULL, NULL), 0);
    floe_sim_bucket_rule(r.bucket, &(struct floe_sim_rule){.fault = FLOE_SIM_LOST_ANSWER,
                                                           .prefix = "table/",
                                                           .kinds = FLOE_SIM_KIND(FLOE_STORE_PUT),
                                                           .ppm = 500000});
    for (int32_t n = 2; n < 12; n++) {
        int16_t error = grow(&r.nodes[n % 2], 3, "t", n, false);
        assert_true(error == 0 || error == FLOE_KERR_REQUEST_TIMED_OUT);
        if (error)
            api_rig_run(&r, 30000);
    }
    assert_int_equal(alter(&r.nodes[0], "t", "retention.ms", 0, "77"), 0);
    floe_sim_bucket_heal(r.bucket);
    produce_to(&r, "t", 10);
    assert_string_equal(shown(&r.nodes[1], "t", "retention.ms", &set), "77");
    api_rig_stop(&r);
}

static void test_configs(void **state)
{
    struct api_rig r;
    bool set;
    (void)state;
    api_rig_start(&r, 23, 2);
    struct api_node *a = &r.nodes[0], *b = &r.nodes[1];
    assert_int_equal(api_make_topic(a, "t", 1, "retention.ms", "5"), 0);
    assert_string_equal(shown(b, "t", "retention.ms", &set), "5");
    assert_int_equal(alter(b, "t", "retention.ms", 0, "6"), 0);
    assert_string_equal(shown(a, "t", "retention.ms", &set), "6");
    assert_true(set);
    assert_int_equal(alter(a, "t", "retention.ms", 1, NULL), 0);
    assert_string_equal(shown(b, "t", "retention.ms", &set), "604800000");
    assert_false(set);
    assert_int_equal(alter(a, "t", "cleanup.policy", 2, "compact"), 0);
    assert_string_equal(shown(b, "t", "cleanup.policy", &set), "delete,compact");
    assert_int_equal(alter(a, "t", "cleanup.policy", 2, "compact"), 0);
    assert_string_equal(shown(b, "t", "cleanup.policy", &set), "delete,compact");
    assert_int_equal(alter(a, "t", "cleanup.policy", 3, "delete"), 0);
    assert_string_equal(shown(b, "t", "cleanup.policy", &set), "compact");
    assert_int_equal(alter(a, "t", "retention.ms", 2, "1"), FLOE_KERR_INVALID_CONFIG);
    assert_int_equal(alter(a, "t", "retention.ms", 9, "1"), FLOE_KERR_INVALID_REQUEST);
    assert_int_equal(alter(a, "t", "retention.ms", 0, "soon"), FLOE_KERR_INVALID_CONFIG);
    assert_int_equal(alter(a, "t", "cleanup.policy", 2, "burn"), FLOE_KERR_INVALID_CONFIG);
    assert_int_equal(alter(a, "t", "cleanup.policy", 2, ""), FLOE_KERR_INVALID_CONFIG); /* an empty element */
    assert_int_equal(alter(a, "t", "no.such", 0, "1"), FLOE_KERR_INVALID_CONFIG);
    assert_int_equal(alter(a, "none", "retention.ms", 0, "1"), FLOE_KERR_UNKNOWN_TOPIC_OR_PARTITION);
    assert_int_equal(replace(a, "t", "max.message.bytes", "2000"), 0);
    assert_string_equal(shown(b, "t", "max.message.bytes", &set), "2000");
    assert_string_equal(shown(b, "t", "cleanup.policy", &set), "delete");
    assert_int_equal(replace(b, "t", NULL, NULL), 0);
    (void)shown(a, "t", "max.message.bytes", &set);
    assert_false(set);
    api_rig_stop(&r);
}

/* One configuration of a broker, of all ("") or of a group. */
static int16_t alter_of(struct api_node *n, int8_t type, const char *resource, const char *key, int8_t op,
                        const char *value, bool validate)
{
    struct floe_kafka_IncrementalAlterConfigsRequest rq;
    struct floe_kafka_IncrementalAlterConfigsRequest_AlterConfigsResource r;
    struct floe_kafka_IncrementalAlterConfigsRequest_AlterableConfig c;
    floe_kafka_defaults(&floe_kafka_IncrementalAlterConfigsRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_IncrementalAlterConfigsRequest_AlterConfigsResource_desc, &r);
    floe_kafka_struct_defaults(&floe_kafka_IncrementalAlterConfigsRequest_AlterableConfig_desc, &c);
    c.Name = floe_kstr(key);
    c.ConfigOperation = op;
    c.Value = value ? floe_kstr(value) : (struct floe_kstr){NULL, -1};
    r.ResourceType = type;
    r.ResourceName = floe_kstr(resource);
    r.Configs = &c;
    r.Configs_n = 1;
    rq.Resources = &r;
    rq.Resources_n = 1;
    rq.ValidateOnly = validate;
    struct floe_kafka_IncrementalAlterConfigsResponse *rs = api_do(n, 44, 1, &rq);
    assert_non_null(rs);
    return rs->Responses[0].ErrorCode;
}

/* Set on one broker, in force on another one; taken away, as before. */
static void test_dynamic(void **state)
{
    struct api_rig r;
    bool set;
    (void)state;
    api_rig_start(&r, 24, 2);
    struct api_node *a = &r.nodes[0], *b = &r.nodes[1];
    assert_int_equal(api_make_topic(a, "t", 1, NULL, NULL), 0);
    const char *key = "message.max.bytes";
    assert_int_equal(alter_of(a, 4, "", key, 0, "2000", true), 0);
    assert_string_equal(shown(a, "t", "max.message.bytes", &set), "1048576");
    assert_int_equal(alter_of(a, 4, "", key, 0, "2000", false), 0);
    assert_string_equal(shown(a, "t", "max.message.bytes", &set), "2000");
    api_rig_run(&r, 5000);
    assert_string_equal(shown(b, "t", "max.message.bytes", &set), "2000");
    assert_int_equal(alter_of(b, 4, "2", key, 0, "3000", false), 0);
    api_rig_run(&r, 5000);
    assert_string_equal(shown(b, "t", "max.message.bytes", &set), "3000");
    assert_string_equal(shown(a, "t", "max.message.bytes", &set), "2000");
    assert_int_equal(alter_of(b, 4, "2", key, 1, NULL, false), 0);
    assert_int_equal(alter_of(b, 4, "", key, 1, NULL, false), 0);
    api_rig_run(&r, 5000);
    assert_string_equal(shown(a, "t", "max.message.bytes", &set), "1048576");
    static const struct {
        int8_t type, op;
        const char *resource, *key, *value;
        int16_t error;
    } row[] = {
        {4, 0, "1", "log.retention.ms", "x", FLOE_KERR_INVALID_REQUEST},
        {4, 0, "1", "log.retention.ms", NULL, FLOE_KERR_INVALID_REQUEST},
        {4, 2, "1", "log.retention.ms", "1", FLOE_KERR_INVALID_CONFIG},
        {4, 9, "1", "log.retention.ms", "1", FLOE_KERR_INVALID_REQUEST},
        {4, 0, "1", "num.partitions", "3", FLOE_KERR_INVALID_REQUEST},
        {4, 0, "1", "ssl.keystore.password", "x", FLOE_KERR_INVALID_REQUEST},
        {4, 0, "1", "num.io.threads", "99999", FLOE_KERR_INVALID_REQUEST},
        {4, 0, "2", "log.retention.ms", "1", FLOE_KERR_INVALID_REQUEST},
        {4, 0, "x", "log.retention.ms", "1", FLOE_KERR_INVALID_REQUEST},
        {4, 2, "", "log.cleanup.policy", "burn", FLOE_KERR_INVALID_REQUEST},
        {32, 0, "", "consumer.session.timeout.ms", "50000", FLOE_KERR_INVALID_REQUEST},
        {32, 0, "g", "consumer.session.timeout.ms", "1", FLOE_KERR_INVALID_CONFIG},
        {32, 0, "g", "consumer.session.timeout.ms", "99999999", FLOE_KERR_INVALID_CONFIG},
        {32, 0, "g", "no.such", "1", FLOE_KERR_INVALID_CONFIG},
        {32, 0, "g", "consumer.session.timeout.ms", "50000", 0},
        {32, 1, "g", "consumer.session.timeout.ms", NULL, 0},
    };
    for (size_t i = 0; i < FLOE_COUNTOF(row); i++)
        if (alter_of(a, row[i].type, row[i].resource, row[i].key, row[i].op, row[i].value, false) !=
            row[i].error)
            fail_msg("row %zu", i);
    api_rig_stop(&r);
}

static int32_t heartbeat_ms(struct api_rig *r)
{
    static struct floe_kafka_ConsumerGroupHeartbeatRequest_TopicPartitions none;
    struct floe_kstr topic = floe_kstr("t");
    struct floe_kafka_ConsumerGroupHeartbeatRequest rq;
    struct api_node *n = api_coordinator(r, "g");
    floe_kafka_defaults(&floe_kafka_ConsumerGroupHeartbeatRequest_desc, &rq);
    rq.GroupId = floe_kstr("g");
    rq.MemberId = floe_kstr("m");
    rq.InstanceId = rq.RackId = floe_kstr(NULL);
    rq.RebalanceTimeoutMs = 60000;
    rq.TopicPartitions = &none;
    rq.TopicPartitions_n = 0;
    rq.SubscribedTopicNames = &topic;
    rq.SubscribedTopicNames_n = 1;
    struct floe_kafka_ConsumerGroupHeartbeatResponse *rs = api_do(n, 68, 1, &rq);
    assert_int_equal(rs->ErrorCode, 0);
    rq.MemberEpoch = rs->MemberEpoch;
    rq.SubscribedTopicNames_n = rq.TopicPartitions_n = -1;
    rq.RebalanceTimeoutMs = -1;
    api_rig_run(r, 20000); /* while the group is on the move, members come more often */
    rs = api_do(n, 68, 1, &rq);
    assert_int_equal(rs->ErrorCode, 0);
    return rs->HeartbeatIntervalMs;
}

/* Kafka takes a value without the blanks around it, and a number with a plus: so it counts, wherever it was
 * set. */
static void test_blanks(void **state)
{
    struct api_rig r;
    struct floe_arena arena;
    int64_t base;
    bool set;
    (void)state;
    api_rig_start(&r, 45, 1);
    struct api_node *n = &r.nodes[0];
    floe_arena_init(&arena, 1 << 20);
    struct floe_krecords batch = api_batch(&arena, 0, 100, true, FLOE_COMPRESSION_NONE);
    assert_int_equal(api_make_topic(n, "t", 1, NULL, NULL), 0);
    produce_to(&r, "t", 0);
    assert_int_equal(alter(n, "t", "max.message.bytes", 0, " +200 "), 0);
    assert_string_equal(shown(n, "t", "max.message.bytes", &set), "200");
    assert_int_equal(api_produce_one(n, "t", 0, -1, batch, &base), FLOE_KERR_MESSAGE_TOO_LARGE);
    assert_int_equal(alter(n, "t", "max.message.bytes", 1, NULL), 0);
    assert_int_equal(alter_of(n, 4, "", "message.max.bytes", 0, "\t300", false), 0);
    assert_string_equal(shown(n, "t", "max.message.bytes", &set), "300");
    assert_int_equal(alter_of(n, 4, "", "message.max.bytes", 1, NULL, false), 0);
    assert_int_equal(alter(n, "t", "message.timestamp.type", 0, " LogAppendTime "), 0);
    assert_string_equal(shown(n, "t", "message.timestamp.type", &set), "LogAppendTime");
    assert_int_equal(alter(n, "t", "message.timestamp.type", 0, "CreateTime"), 0);
    assert_int_equal(alter(n, "t", "message.timestamp.before.max.ms", 0, "+1 "), 0);
    assert_int_equal(api_produce_one(n, "t", 0, -1, batch, &base), FLOE_KERR_INVALID_TIMESTAMP);
    assert_int_equal(alter(n, "t", "message.timestamp.before.max.ms", 1, NULL), 0);
    assert_int_equal(alter_of(n, 4, "1", "log.message.timestamp.before.max.ms", 0, " +1", false), 0);
    assert_int_equal(api_produce_one(n, "t", 0, -1, batch, &base), FLOE_KERR_INVALID_TIMESTAMP);
    assert_int_equal(alter_of(n, 32, "g", "consumer.heartbeat.interval.ms", 0, " +7000 ", false), 0);
    assert_int_equal(heartbeat_ms(&r), 7000);
    floe_arena_fini(&arena);
    api_rig_stop(&r);
}

/* Each is compared with each: so many only, of a topic and of a broker. */
static void test_too_many(void **state)
{
    enum { N = 513 };
    static struct floe_kafka_IncrementalAlterConfigsRequest_AlterableConfig c[N];
    static char name[N][16];
    struct api_rig r;
    alter_request rq;
    struct floe_kafka_IncrementalAlterConfigsRequest_AlterConfigsResource of[2];
    (void)state;
    api_rig_start(&r, 44, 1);
    struct api_node *node = &r.nodes[0];
    api_make_topic(node, "t", 1, NULL, NULL);
    floe_kafka_defaults(&floe_kafka_IncrementalAlterConfigsRequest_desc, &rq);
    for (int i = 0; i < N; i++) {
        floe_kafka_struct_defaults(&floe_kafka_IncrementalAlterConfigsRequest_AlterableConfig_desc, &c[i]);
        snprintf(name[i], sizeof name[i], "name.%d", i);
        c[i].Name = floe_kstr(name[i]);
        c[i].ConfigOperation = 1;
    }
    for (int32_t n = N - 1; n <= N; n++) {
        for (int i = 0; i < 2; i++) {
            floe_kafka_struct_defaults(&floe_kafka_IncrementalAlterConfigsRequest_AlterConfigsResource_desc,
                                       &of[i]);
            of[i].ResourceType = i == 0 ? 2 : 4;
            of[i].ResourceName = floe_kstr(i == 0 ? "t" : "");
            of[i].Configs = c;
            of[i].Configs_n = n;
        }
        rq.Resources = of;
        rq.Resources_n = 2;
        rq.ValidateOnly = true;
        struct floe_kafka_IncrementalAlterConfigsResponse *rs = api_do(node, 44, 1, &rq);
        for (int i = 0; i < 2; i++)
            assert_int_equal(rs->Responses[i].ErrorCode, n == N ? FLOE_KERR_INVALID_REQUEST : 0);
    }
    api_rig_stop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_partitions), cmocka_unit_test(test_lost_answers),
        cmocka_unit_test(test_configs),    cmocka_unit_test(test_dynamic),
        cmocka_unit_test(test_too_many),   cmocka_unit_test(test_blanks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
