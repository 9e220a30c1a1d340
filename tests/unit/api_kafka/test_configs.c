/* DescribeConfigs: values, sources and synonyms of topics and of the broker. */
#include <floe_cmocka.h>

#include "api_rig.h"
#include <floe/kafka/configs.h>
#include <stdio.h>
#include <string.h>

/* As Kafka: the topic's own, then the broker's that stand for it. */
static void assert_synonyms(const struct floe_kafka_DescribeConfigsResponse_DescribeConfigsResourceResult *c)
{
    static const struct {
        const char *name, *synonyms;
    } some[] = {{"cleanup.policy", "1:cleanup.policy=compact 5:log.cleanup.policy=delete "},
                {"max.message.bytes", "4:message.max.bytes=1048576 5:message.max.bytes=1048588 "},
                {"retention.ms", ""},
                {"segment.ms", ""},
                {"delete.retention.ms", "5:log.cleaner.delete.retention.ms=86400000 "},
                {"min.insync.replicas", "5:min.insync.replicas=1 "},
                {"flush.ms", ""},
                {"segment.bytes", "5:log.segment.bytes=1073741824 "}};
    char text[256] = "";
    for (int32_t i = 0; i < c->Synonyms_n; i++) {
        size_t n = strlen(text);
        snprintf(text + n, sizeof text - n, "%d:%.*s=%.*s ", c->Synonyms[i].Source, c->Synonyms[i].Name.n,
                 c->Synonyms[i].Name.p, c->Synonyms[i].Value.n, c->Synonyms[i].Value.p);
    }
    for (size_t i = 0; i < FLOE_COUNTOF(some); i++) {
        if (floe_kstr_is(c->Name, some[i].name))
            assert_string_equal(text, some[i].synonyms);
    }
}

/* Every configuration of Kafka's brokers, in order; secrets are told to nobody. */
static void assert_broker(const struct floe_kafka_DescribeConfigsResponse_DescribeConfigsResult *b)
{
    int seen = 0;
    assert_true(b->Configs_n > 250);
    for (int32_t i = 0; i < b->Configs_n; i++) {
        const struct floe_kafka_DescribeConfigsResponse_DescribeConfigsResourceResult *c = &b->Configs[i];
        const struct floe_kafka_config *k =
            floe_kafka_config_find(FLOE_CONFIG_BROKER, floe_slice(c->Name.p, (size_t)c->Name.n));
        assert_true(k && c->ReadOnly == !k->dynamic);
        if (floe_kstr_is(c->Name, "node.id"))
            seen += floe_kstr_is(c->Value, "1") && c->ConfigSource == 4;
        if (floe_kstr_is(c->Name, "log.retention.ms"))
            seen += c->Value.n < 0 && c->ConfigSource == 5 && c->Synonyms_n == 0;
        if (floe_kstr_is(c->Name, "log.retention.hours"))
            seen += floe_kstr_is(c->Value, "168") && c->ConfigSource == 5;
        if (floe_kstr_is(c->Name, "message.max.bytes"))
            seen += floe_kstr_is(c->Value, "1048576") && c->ConfigSource == 4 && c->Synonyms_n == 2;
        if (floe_kstr_is(c->Name, "ssl.key.password"))
            seen += c->IsSensitive && c->Value.n < 0;
    }
    assert_int_equal(seen, 5);
}

static void test_describe_configs(void **state)
{
    struct api_rig r;
    struct floe_kafka_DescribeConfigsRequest rq;
    struct floe_kafka_DescribeConfigsRequest_DescribeConfigsResource rs[5];
    struct floe_kstr keys[2] = {floe_kstr("max.message.bytes"), floe_kstr("nonsense")};
    (void)state;
    api_rig_start(&r, 7, 1);
    struct api_node *n = &r.nodes[0];
    assert_int_equal(api_make_topic(n, "t", 1, "cleanup.policy", "compact"), 0);
    static const struct {
        int8_t type;
        const char *name;
        int16_t error;
    } ask[5] = {{2, "t", 0},
                {2, "no", FLOE_KERR_UNKNOWN_TOPIC_OR_PARTITION},
                {4, "1", 0},
                {4, "", 0},
                {8, "x", FLOE_KERR_INVALID_REQUEST}};
    for (int16_t v = 1; v <= 4; v++) {
        floe_kafka_defaults(&floe_kafka_DescribeConfigsRequest_desc, &rq);
        rq.Resources = rs;
        rq.Resources_n = 5;
        rq.IncludeSynonyms = true;
        rq.IncludeDocumentation = v >= 3;
        for (int i = 0; i < 5; i++) {
            floe_kafka_struct_defaults(&floe_kafka_DescribeConfigsRequest_DescribeConfigsResource_desc,
                                       &rs[i]);
            rs[i].ResourceType = ask[i].type;
            rs[i].ResourceName = floe_kstr(ask[i].name);
            rs[i].ConfigurationKeys_n = i == 3 ? 0 : -1; /* none named is all, too */
        }
        struct floe_kafka_DescribeConfigsResponse *out = api_do(n, 32, v, &rq);
        for (int i = 0; i < 5; i++)
            assert_int_equal(out->Results[i].ErrorCode, ask[i].error);
        assert_true(out->Results[0].Configs_n > 20);
        for (int32_t i = 0; i < out->Results[0].Configs_n; i++) {
            struct floe_kafka_DescribeConfigsResponse_DescribeConfigsResourceResult *c =
                &out->Results[0].Configs[i];
            bool set = floe_kstr_is(c->Name, "cleanup.policy");
            bool own = floe_kstr_is(c->Name, "max.message.bytes"); /* the rig's broker has another default */
            assert_int_equal(c->ConfigSource, set ? 1 : own ? 4 : 5);
            assert_false(c->ReadOnly);
            assert_synonyms(c);
            if (set)
                assert_true(floe_kstr_is(c->Value, "compact"));
            if (v >= 3)
                assert_true(c->Documentation.n > 0 && c->ConfigType > 0);
        }
        assert_broker(&out->Results[2]);
        assert_int_equal(out->Results[3].Configs_n, 0); /* nothing was set for all brokers */
        rs[0].ConfigurationKeys = keys;
        rs[0].ConfigurationKeys_n = 2;
        rq.Resources_n = 1;
        out = api_do(n, 32, v, &rq);
        assert_int_equal(out->Results[0].Configs_n, 1);
        assert_true(floe_kstr_is(out->Results[0].Configs[0].Value, "1048576"));
    }
    api_rig_stop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_describe_configs)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
