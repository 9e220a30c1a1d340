/* DescribeConfigs 1–4: topics' configurations with their sources, and the broker's that Floe obeys. What is
 * stored and not yet obeyed says so in its documentation. */
#include "api_kafka/api_int.h"
#include <floe/kafka/configs.h>
#include <stdio.h>
#include <stdlib.h>

#define TYPE_TOPIC 2
#define TYPE_BROKER 4
#define SOURCE_TOPIC 1
#define SOURCE_STATIC_BROKER 4
#define SOURCE_DEFAULT 5

typedef struct floe_kafka_DescribeConfigsResponse_DescribeConfigsResourceResult config_entry;

static bool obeyed(const char *name)
{
    return strcmp(name, "max.message.bytes") == 0 || strcmp(name, "message.timestamp.type") == 0;
}

static bool wanted(const struct floe_kafka_DescribeConfigsRequest_DescribeConfigsResource *in,
                   const char *name)
{
    if (in->ConfigurationKeys_n <= 0)
        return true;
    for (int32_t i = 0; i < in->ConfigurationKeys_n; i++) {
        if (floe_kstr_is(in->ConfigurationKeys[i], name))
            return true;
    }
    return false;
}

static bool put_entry(struct floe_request *rq, config_entry *e, const struct floe_kafka_config *c,
                      struct floe_kstr value, int8_t source, const char *note)
{
    const struct floe_kafka_DescribeConfigsRequest *in = rq->body;
    e->Name = floe_kstr(c->name);
    e->Value = value;
    e->ConfigSource = source;
    e->ReadOnly = source == SOURCE_STATIC_BROKER;
    e->ConfigType = floe_kafka_config_wire_type(c->type);
    e->Documentation = in->IncludeDocumentation ? floe_kstr(note) : (struct floe_kstr){NULL, -1};
    if (!in->IncludeSynonyms)
        return true;
    int32_t n = source == SOURCE_DEFAULT || !c->def ? 1 : 2;
    e->Synonyms =
        floe_kafka_array(&floe_kafka_DescribeConfigsResponse_DescribeConfigsSynonym_desc, n, &rq->arena);
    if (!e->Synonyms)
        return false;
    e->Synonyms_n = n;
    e->Synonyms[0].Name = e->Name;
    e->Synonyms[0].Value = value;
    e->Synonyms[0].Source = source;
    if (n == 2) {
        e->Synonyms[1].Name = e->Name;
        e->Synonyms[1].Value = floe_kstr(c->def);
        e->Synonyms[1].Source = SOURCE_DEFAULT;
    }
    return true;
}

static bool put_topic(struct floe_request *rq, const struct floe_topic *t,
                      const struct floe_kafka_DescribeConfigsRequest_DescribeConfigsResource *in,
                      struct floe_kafka_DescribeConfigsResponse_DescribeConfigsResult *out)
{
    int32_t n = 0;
    while (floe_kafka_config_at(FLOE_CONFIG_TOPIC, (uint32_t)n))
        n++;
    out->Configs = floe_kafka_array(&floe_kafka_DescribeConfigsResponse_DescribeConfigsResourceResult_desc, n,
                                    &rq->arena);
    if (!out->Configs)
        return false;
    for (int32_t i = 0; i < n; i++) {
        const struct floe_kafka_config *c = floe_kafka_config_at(FLOE_CONFIG_TOPIC, (uint32_t)i);
        struct floe_kstr value = floe_kstr(c->def);
        int8_t source = SOURCE_DEFAULT;
        char number[16];
        if (!wanted(in, c->name))
            continue;
        if (strcmp(c->name, "max.message.bytes") == 0) {
            snprintf(number, sizeof number, "%u", t->max_message_bytes);
            value = api_copy(rq, number);
        } else if (strcmp(c->name, "message.timestamp.type") == 0) {
            value = floe_kstr(t->log_append_time ? "LogAppendTime" : "CreateTime");
        }
        for (uint32_t j = 0; j < t->config_count; j++) {
            if (strcmp(t->configs[j].name, c->name) == 0) {
                value = api_copy(rq, t->configs[j].value);
                source = SOURCE_TOPIC;
            }
        }
        const char *note = obeyed(c->name) ? "Obeyed." : "Stored; not yet obeyed.";
        if (!put_entry(rq, &out->Configs[out->Configs_n++], c, value, source, note))
            return false;
    }
    return true;
}

/* What of Kafka's broker configuration means something here. */
static bool put_broker(struct floe_request *rq,
                       const struct floe_kafka_DescribeConfigsRequest_DescribeConfigsResource *in,
                       struct floe_kafka_DescribeConfigsResponse_DescribeConfigsResult *out)
{
    const struct floe_api_config *cfg = &api_of(rq)->cfg;
    char partitions[16], factor[16], bytes[16];
    snprintf(partitions, sizeof partitions, "%d", cfg->num_partitions);
    snprintf(factor, sizeof factor, "%d", cfg->replication_factor);
    snprintf(bytes, sizeof bytes, "%u", cfg->message_max);
    const struct {
        const char *name, *value;
    } known[] = {{"auto.create.topics.enable", cfg->auto_create ? "true" : "false"},
                 {"default.replication.factor", factor},
                 {"message.max.bytes", bytes},
                 {"num.partitions", partitions}};
    out->Configs = floe_kafka_array(&floe_kafka_DescribeConfigsResponse_DescribeConfigsResourceResult_desc,
                                    FLOE_COUNTOF(known), &rq->arena);
    if (!out->Configs)
        return false;
    for (size_t i = 0; i < FLOE_COUNTOF(known); i++) {
        const struct floe_kafka_config *c =
            floe_kafka_config_find(FLOE_CONFIG_BROKER, floe_slice_str(known[i].name));
        if (!c || !wanted(in, c->name))
            continue;
        int8_t source = c->def && strcmp(c->def, known[i].value) == 0 ? SOURCE_DEFAULT : SOURCE_STATIC_BROKER;
        if (!put_entry(rq, &out->Configs[out->Configs_n++], c, api_copy(rq, known[i].value), source,
                       "Obeyed."))
            return false;
    }
    return true;
}

static bool put_result(struct floe_request *rq,
                       const struct floe_kafka_DescribeConfigsRequest_DescribeConfigsResource *in,
                       struct floe_kafka_DescribeConfigsResponse_DescribeConfigsResult *out)
{
    out->ResourceType = in->ResourceType;
    out->ResourceName = in->ResourceName;
    out->ErrorMessage = (struct floe_kstr){NULL, -1};
    if (in->ResourceType == TYPE_TOPIC) {
        struct api_want want = {.name = in->ResourceName};
        const struct floe_topic *t = api_topic(api_of(rq), &want);
        if (t)
            return put_topic(rq, t, in, out);
        out->ErrorCode = floe_topic_name_check(in->ResourceName.p, (size_t)in->ResourceName.n, NULL)
                             ? FLOE_KERR_INVALID_TOPIC_EXCEPTION
                             : api_unknown(rq, &want);
    } else if (in->ResourceType == TYPE_BROKER) {
        char id[16];
        snprintf(id, sizeof id, "%d", floe_lease_node_id(api_of(rq)->cfg.lease));
        if (in->ResourceName.n <= 0 || floe_kstr_is(in->ResourceName, id))
            return put_broker(rq, in, out);
        out->ErrorCode = FLOE_KERR_INVALID_REQUEST;
        out->ErrorMessage = floe_kstr("Ask that broker itself.");
    } else {
        out->ErrorCode = FLOE_KERR_INVALID_REQUEST;
        out->ErrorMessage = floe_kstr("Only topics and brokers have configurations here.");
    }
    return true;
}

static void ready(struct floe_request *rq)
{
    const struct floe_kafka_DescribeConfigsRequest *in = rq->body;
    struct floe_kafka_DescribeConfigsResponse *rs = rq->state;
    bool ok = true;
    for (int32_t i = 0; ok && i < rs->Results_n; i++)
        ok = put_result(rq, &in->Resources[i], &rs->Results[i]);
    if (!ok) {
        api_give_up(rq);
        return;
    }
    rq->response = rs;
    floe_request_complete(rq);
}

void api_describe_configs(struct floe_request *rq)
{
    const struct floe_kafka_DescribeConfigsRequest *in = rq->body;
    struct floe_arena *arena = &rq->arena;
    struct floe_kafka_DescribeConfigsResponse *rs = floe_arena_alloc(arena, sizeof *rs);
    int32_t n = FLOE_MAX(in->Resources_n, 0);
    uint32_t topics = 0;
    struct api_want *wants = floe_arena_calloc(arena, (size_t)n, sizeof *wants);
    if (rs && wants) {
        floe_kafka_defaults(&floe_kafka_DescribeConfigsResponse_desc, rs);
        rs->Results =
            floe_kafka_array(&floe_kafka_DescribeConfigsResponse_DescribeConfigsResult_desc, n, arena);
    }
    if (!rs || !wants || !rs->Results) {
        api_give_up(rq);
        return;
    }
    rs->Results_n = n;
    for (int32_t i = 0; i < n; i++) {
        if (in->Resources[i].ResourceType == TYPE_TOPIC)
            wants[topics++].name = in->Resources[i].ResourceName;
    }
    rq->state = rs;
    api_topics_ready(rq, wants, topics, ready);
}
