/* floe topic create | list | describe | delete */
#include "cli/cli_int.h"
#include "cli/client.h"
#include "cli/configs.h"

#include <floe/base/assert.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CREATE_TOPICS = 19, DELETE_TOPICS = 20, METADATA = 3, DESCRIBE_CONFIGS = 32, TIMEOUT_MS = 30000 };
enum { RESOURCE_TOPIC = 2, SOURCE_TOPIC = 1 }; /* of DescribeConfigs */
#define FLOE_OFFSETS_TOPIC "__consumer_offsets"
#define NOT_DELETED                                                                                          \
    "retention and compaction are stored, but not obeyed yet; a deleted topic's bytes go after the garbage " \
    "age"

static enum floe_err client_of(const struct floe_cli_args *a, struct floe_client **out,
                               struct floe_error *err)
{
    return floe_client_connect(out, floe_cli_bootstrap(a), TIMEOUT_MS, err);
}

static json_t *json_kstr(struct floe_kstr s)
{
    return s.n < 0 ? json_null() : json_stringn(s.p, (size_t)s.n);
}

static json_t *json_uuid(const struct floe_uuid *u)
{
    char text[23];
    floe_uuid_b64(text, u);
    return json_string(text);
}

/* --config KEY=VALUE, as often as given; FLOE_CLI_USAGE has been said when it fails. */
static int take_configs(const struct floe_cli_args *a,
                        struct floe_kafka_CreateTopicsRequest_CreatableTopicConfig out[FLOE_CLI_FLAGS_MAX],
                        int32_t *count)
{
    const char *text;
    for (size_t i = 0; (text = floe_cli_value(a, "config", i)) != NULL; i++) {
        const char *eq = strchr(text, '=');
        if (eq == NULL || eq == text)
            return floe_cli_usage(a, "--config \"%.64s\" is not KEY=VALUE", text);
        floe_kafka_struct_defaults(&floe_kafka_CreateTopicsRequest_CreatableTopicConfig_desc, &out[i]);
        out[i].Name = floe_kstr_n(text, (size_t)(eq - text));
        out[i].Value = floe_kstr(eq + 1);
        *count = (int32_t)i + 1;
    }
    return FLOE_CLI_OK;
}

/* A number of a flag; `fallback` where it is not given. */
static int take_number(const struct floe_cli_args *a, const char *flag, uint64_t max, int64_t fallback,
                       int64_t *out)
{
    const char *text = floe_cli_value(a, flag, 0);
    uint64_t v = 0;
    *out = fallback;
    if (text == NULL)
        return FLOE_CLI_OK;
    if (floe_str_parse_u64(text, &v, NULL) != FLOE_OK || v < 1 || v > max)
        return floe_cli_usage(a, "--%s \"%.64s\" is not a number from 1 to %llu", flag, text,
                              (unsigned long long)max);
    *out = (int64_t)v;
    return FLOE_CLI_OK;
}

static enum floe_err call_create(struct floe_client *c,
                                 struct floe_kafka_CreateTopicsRequest_CreatableTopic *topic,
                                 const struct floe_kafka_CreateTopicsResponse_CreatableTopicResult **out,
                                 struct floe_error *err)
{
    struct floe_kafka_CreateTopicsRequest request;
    void *response;
    floe_kafka_defaults(&floe_kafka_CreateTopicsRequest_desc, &request);
    request.Topics = topic;
    request.Topics_n = 1;
    request.timeoutMs = TIMEOUT_MS;
    enum floe_err e = floe_client_call(c, CREATE_TOPICS, INT16_MAX, &request, &response, NULL, err);
    if (e != FLOE_OK)
        return e;
    const struct floe_kafka_CreateTopicsResponse *r = response;
    if (r->Topics_n != 1)
        return floe_error_set(err, FLOE_EINVAL, "the broker answered for %d topics instead of one",
                              r->Topics_n);
    if (r->Topics[0].ErrorCode != 0) {
        e = floe_client_error(r->Topics[0].ErrorCode, r->Topics[0].ErrorMessage, err);
        floe_error_prefix(err, "%.*s", (int)FLOE_MIN(topic->Name.n, 249), topic->Name.p);
        return e;
    }
    *out = &r->Topics[0];
    return FLOE_OK;
}

static void print_created(const struct floe_cli_args *a,
                          const struct floe_kafka_CreateTopicsResponse_CreatableTopicResult *t)
{
    char id[23];
    floe_uuid_b64(id, &t->TopicId);
    if (!floe_cli_is_set(a, "json")) {
        printf("created topic %.*s", (int)t->Name.n, t->Name.p);
        if (t->NumPartitions > 0)
            printf(" with %d partition%s", t->NumPartitions, t->NumPartitions == 1 ? "" : "s");
        printf("\n");
        return;
    }
    json_t *configs = json_object();
    for (int32_t i = 0; i < t->Configs_n; i++) {
        char name[256];
        (void)snprintf(name, sizeof name, "%.*s", (int)t->Configs[i].Name.n, t->Configs[i].Name.p);
        (void)json_object_set_new(configs, name, json_kstr(t->Configs[i].Value));
    }
    floe_cli_print_json(json_pack("{so ss si so}", "name", json_kstr(t->Name), "id", id, "partitions",
                                  t->NumPartitions, "configs", configs));
}

/* Which of --config are stored, but not acted on. */
static enum floe_err note_configs(struct floe_client *c,
                                  const struct floe_kafka_CreateTopicsRequest_CreatableTopic *t,
                                  const char *name, struct floe_error *err)
{
    floe_cli_config set[FLOE_CLI_FLAGS_MAX];
    struct floe_cli_resource r = {FLOE_CLI_RESOURCE_TOPIC, name, c};
    for (int32_t i = 0; i < t->Configs_n; i++)
        floe_cli_config_fill(&set[i], t->Configs[i].Name.p, (size_t)t->Configs[i].Name.n,
                             t->Configs[i].Value.p);
    return t->Configs_n > 0 ? floe_cli_note_unobeyed(&r, set, t->Configs_n, err) : FLOE_OK;
}

static int run_create(const struct floe_cli_args *a)
{
    struct floe_kafka_CreateTopicsRequest_CreatableTopicConfig configs[FLOE_CLI_FLAGS_MAX];
    struct floe_kafka_CreateTopicsRequest_CreatableTopic topic;
    floe_kafka_struct_defaults(&floe_kafka_CreateTopicsRequest_CreatableTopic_desc, &topic);
    topic.Name = floe_kstr(a->positional[0]);
    topic.Configs = configs;
    if (strcmp(a->positional[0], FLOE_OFFSETS_TOPIC) == 0 && !floe_cli_is_set(a, "force"))
        return floe_cli_usage(
            a,
            "%s is made by brokers when it is needed, with offsets.topic.num.partitions partitions: "
            "add --force to make it with others",
            a->positional[0]);
    int64_t partitions, replicas;
    int rc = take_number(a, "partitions", INT32_MAX, -1, &partitions);
    if (rc == FLOE_CLI_OK)
        rc = take_number(a, "replication-factor", INT16_MAX, -1, &replicas);
    if (rc == FLOE_CLI_OK)
        rc = take_configs(a, configs, &topic.Configs_n);
    if (rc != FLOE_CLI_OK)
        return rc;
    topic.NumPartitions = (int32_t)partitions;
    topic.ReplicationFactor = (int16_t)replicas;
    struct floe_client *c = NULL;
    struct floe_error err;
    const struct floe_kafka_CreateTopicsResponse_CreatableTopicResult *result = NULL;
    if (client_of(a, &c, &err) != FLOE_OK || call_create(c, &topic, &result, &err) != FLOE_OK)
        rc = floe_cli_fail(a, &err);
    else
        print_created(a, result);
    if (rc == FLOE_CLI_OK && note_configs(c, &topic, a->positional[0], &err) != FLOE_OK)
        rc = floe_cli_fail(a, &err);
    floe_client_close(&c);
    return rc;
}

/* Metadata of the named topics, or of all. Asking creates none. */
static enum floe_err call_metadata(struct floe_client *c, const struct floe_cli_args *a,
                                   const struct floe_kafka_MetadataResponse **out, struct floe_error *err)
{
    struct floe_kafka_MetadataRequest_MetadataRequestTopic topics[FLOE_CLI_POSITIONAL_MAX];
    struct floe_kafka_MetadataRequest request;
    void *response;
    floe_kafka_defaults(&floe_kafka_MetadataRequest_desc, &request);
    request.AllowAutoTopicCreation = false;
    request.Topics_n = -1;
    for (size_t i = 0; i < a->positional_count; i++) {
        floe_kafka_struct_defaults(&floe_kafka_MetadataRequest_MetadataRequestTopic_desc, &topics[i]);
        topics[i].Name = floe_kstr(a->positional[i]);
        request.Topics = topics;
        request.Topics_n = (int32_t)i + 1;
    }
    enum floe_err e = floe_client_call(c, METADATA, INT16_MAX, &request, &response, NULL, err);
    if (e != FLOE_OK)
        return e;
    const struct floe_kafka_MetadataResponse *r = response;
    if (r->ErrorCode != 0)
        return floe_client_error(r->ErrorCode, floe_kstr(NULL), err);
    *out = r;
    return FLOE_OK;
}

static int by_name(const void *x, const void *y)
{
    const struct floe_kafka_MetadataResponse_MetadataResponseTopic *a = x, *b = y;
    int n = FLOE_MAX(0, FLOE_MIN(a->Name.n, b->Name.n)),
        c = n > 0 ? memcmp(a->Name.p, b->Name.p, (size_t)n) : 0;
    return c != 0 ? c : (a->Name.n > b->Name.n) - (a->Name.n < b->Name.n);
}

static int by_index(const void *x, const void *y)
{
    const struct floe_kafka_MetadataResponse_MetadataResponsePartition *a = x, *b = y;
    return (a->PartitionIndex > b->PartitionIndex) - (a->PartitionIndex < b->PartitionIndex);
}

static void print_list(const struct floe_kafka_MetadataResponse *m, bool json)
{
    json_t *all = json_array();
    for (int32_t i = 0; i < m->Topics_n; i++) {
        const struct floe_kafka_MetadataResponse_MetadataResponseTopic *t = &m->Topics[i];
        if (json)
            (void)json_array_append_new(all,
                                        json_pack("{so so si}", "name", json_kstr(t->Name), "id",
                                                  json_uuid(&t->TopicId), "partitions", t->Partitions_n));
        else
            printf("%.*s  partitions=%d\n", (int)t->Name.n, t->Name.p, t->Partitions_n);
    }
    if (json)
        floe_cli_print_json(json_pack("{so}", "topics", all));
    else
        json_decref(all);
}

static int run_list(const struct floe_cli_args *a)
{
    struct floe_client *c = NULL;
    struct floe_error err;
    const struct floe_kafka_MetadataResponse *m = NULL;
    int rc = FLOE_CLI_OK;
    bool json = floe_cli_is_set(a, "json");
    if (client_of(a, &c, &err) != FLOE_OK || call_metadata(c, a, &m, &err) != FLOE_OK) {
        rc = floe_cli_fail(a, &err);
    } else {
        if (m->Topics_n > 1)
            qsort(m->Topics, (size_t)m->Topics_n, sizeof *m->Topics, by_name);
        print_list(m, json);
    }
    floe_client_close(&c);
    return rc;
}

/* What --json prints of a topic; text is printed from it. */
static json_t *topic_json(struct floe_kafka_MetadataResponse_MetadataResponseTopic *t)
{
    if (t->Partitions_n > 1)
        qsort(t->Partitions, (size_t)t->Partitions_n, sizeof *t->Partitions, by_index);
    json_t *partitions = json_array();
    for (int32_t i = 0; i < t->Partitions_n; i++) {
        const struct floe_kafka_MetadataResponse_MetadataResponsePartition *p = &t->Partitions[i];
        (void)json_array_append_new(
            partitions, json_pack("{si si si ss}", "partition", p->PartitionIndex, "leader", p->LeaderId,
                                  "leader_epoch", p->LeaderEpoch, "state",
                                  p->ErrorCode == 0 ? "ok" : floe_kafka_error_name(p->ErrorCode)));
    }
    return json_pack("{so so so so}", "name", json_kstr(t->Name), "id", json_uuid(&t->TopicId), "partitions",
                     partitions, "configs", json_object());
}

/* Adds the configurations that were set to the topics, where the broker tells them. */
static enum floe_err add_configs(struct floe_client *c, json_t *topics, struct floe_error *err)
{
    size_t n = json_array_size(topics);
    struct floe_kafka_DescribeConfigsRequest request;
    struct floe_kafka_DescribeConfigsRequest_DescribeConfigsResource *resources =
        calloc(n + 1, sizeof *resources);
    void *response;
    if (resources == NULL)
        return floe_error_set(err, FLOE_ENOMEM, "out of memory for %zu topics", n);
    floe_kafka_defaults(&floe_kafka_DescribeConfigsRequest_desc, &request);
    for (size_t i = 0; i < n; i++) {
        floe_kafka_struct_defaults(&floe_kafka_DescribeConfigsRequest_DescribeConfigsResource_desc,
                                   &resources[i]);
        resources[i].ResourceType = RESOURCE_TOPIC;
        resources[i].ResourceName =
            floe_kstr(json_string_value(json_object_get(json_array_get(topics, i), "name")));
        resources[i].ConfigurationKeys_n = -1;
    }
    request.Resources = resources;
    request.Resources_n = (int32_t)n;
    request.IncludeDocumentation = true;
    enum floe_err e = floe_client_call(c, DESCRIBE_CONFIGS, INT16_MAX, &request, &response, NULL, err);
    free(resources);
    if (e != FLOE_OK)
        return e == FLOE_EUNSUPPORTED ? FLOE_OK : e;
    const struct floe_kafka_DescribeConfigsResponse *r = response;
    for (int32_t i = 0; i < r->Results_n && (size_t)i < n; i++) {
        json_t *configs = json_object_get(json_array_get(topics, (size_t)i), "configs");
        if (r->Results[i].ErrorCode != 0)
            return floe_client_error(r->Results[i].ErrorCode, r->Results[i].ErrorMessage, err);
        for (int32_t k = 0; k < r->Results[i].Configs_n; k++) {
            const struct floe_kafka_DescribeConfigsResponse_DescribeConfigsResourceResult *x =
                &r->Results[i].Configs[k];
            char name[256];
            (void)snprintf(name, sizeof name, "%.*s", (int)FLOE_MAX(x->Name.n, 0), x->Name.p);
            if (x->ConfigSource == SOURCE_TOPIC)
                (void)json_object_set_new(
                    configs, name,
                    json_pack("{so so}", "value", json_kstr(x->Value), "note", json_kstr(x->Documentation)));
        }
    }
    return FLOE_OK;
}

static const char *text_of(const json_t *o, const char *key)
{
    const char *text = json_string_value(json_object_get(o, key));
    return text != NULL ? text : "";
}

static void print_topic(json_t *t)
{
    size_t i;
    json_t *p, *partitions = json_object_get(t, "partitions");
    printf("topic %s  id=%s  partitions=%zu\n", text_of(t, "name"), text_of(t, "id"),
           json_array_size(partitions));
    json_array_foreach(partitions, i, p)
        printf("  partition=%lld  leader=%lld  epoch=%lld  state=%s\n",
               (long long)json_integer_value(json_object_get(p, "partition")),
               (long long)json_integer_value(json_object_get(p, "leader")),
               (long long)json_integer_value(json_object_get(p, "leader_epoch")), text_of(p, "state"));
    const char *name;
    json_object_foreach(json_object_get(t, "configs"), name, p)
        printf("  config %s=%s  (%s)\n", name, text_of(p, "value"), text_of(p, "note"));
}

static int run_describe(const struct floe_cli_args *a)
{
    struct floe_client *c = NULL;
    struct floe_error err;
    const struct floe_kafka_MetadataResponse *m = NULL;
    int rc = FLOE_CLI_OK;
    json_t *topics = json_array(), *t;
    size_t at;
    if (client_of(a, &c, &err) != FLOE_OK || call_metadata(c, a, &m, &err) != FLOE_OK) {
        rc = floe_cli_fail(a, &err);
        goto out;
    }
    if (m->Topics_n > 1)
        qsort(m->Topics, (size_t)m->Topics_n, sizeof *m->Topics, by_name);
    for (int32_t i = 0; i < m->Topics_n; i++) {
        if (m->Topics[i].ErrorCode == 0) {
            (void)json_array_append_new(topics, topic_json(&m->Topics[i]));
            continue;
        }
        (void)floe_client_error(m->Topics[i].ErrorCode, floe_kstr(NULL), &err);
        floe_error_prefix(&err, "%.*s", (int)FLOE_MAX(m->Topics[i].Name.n, 0), m->Topics[i].Name.p);
        rc = floe_cli_fail(a, &err);
    }
    /* The answer to the next call takes the place of this one. */
    if (json_array_size(topics) > 0 && add_configs(c, topics, &err) != FLOE_OK)
        rc = floe_cli_fail(a, &err);
    if (floe_cli_is_set(a, "json")) {
        floe_cli_print_json(json_pack("{sO ss}", "topics", topics, "retention", NOT_DELETED));
    } else {
        json_array_foreach(topics, at, t) print_topic(t);
        if (json_array_size(topics) > 0)
            (void)fprintf(stderr, "note: " NOT_DELETED "\n");
    }
out:
    json_decref(topics);
    floe_client_close(&c);
    return rc;
}

static enum floe_err call_delete(struct floe_client *c, const struct floe_cli_args *a,
                                 const struct floe_kafka_DeleteTopicsResponse **out, struct floe_error *err)
{
    struct floe_kafka_DeleteTopicsRequest_DeleteTopicState topics[FLOE_CLI_POSITIONAL_MAX];
    struct floe_kafka_DeleteTopicsRequest request;
    const struct floe_kafka_MetadataResponse *m = NULL;
    void *response;
    floe_kafka_defaults(&floe_kafka_DeleteTopicsRequest_desc, &request);
    for (size_t i = 0; i < a->positional_count; i++) {
        floe_kafka_struct_defaults(&floe_kafka_DeleteTopicsRequest_DeleteTopicState_desc, &topics[i]);
        topics[i].Name = floe_kstr(a->positional[i]);
    }
    request.Topics = topics;
    request.Topics_n = (int32_t)a->positional_count;
    request.TimeoutMs = TIMEOUT_MS;
    /* By its name a broker does not delete an internal topic. */
    enum floe_err e = floe_cli_is_set(a, "force") ? call_metadata(c, a, &m, err) : FLOE_OK;
    for (int32_t i = 0; e == FLOE_OK && m != NULL && i < m->Topics_n; i++) {
        for (int32_t k = 0; k < request.Topics_n; k++) {
            if (m->Topics[i].IsInternal && floe_kstr_is(m->Topics[i].Name, a->positional[k])) {
                topics[k].Name = floe_kstr(NULL);
                topics[k].TopicId = m->Topics[i].TopicId;
            }
        }
    }
    if (e == FLOE_OK)
        e = floe_client_call(c, DELETE_TOPICS, 6, &request, &response, NULL, err);
    if (e != FLOE_OK)
        return e;
    const struct floe_kafka_DeleteTopicsResponse *r = response;
    if (r->Responses_n != request.Topics_n)
        return floe_error_set(err, FLOE_EINVAL, "the broker answered for %d topics instead of %d",
                              r->Responses_n, request.Topics_n);
    *out = r;
    return FLOE_OK;
}

/* What was deleted, and for each of the others why not. */
static int print_deleted(const struct floe_cli_args *a, const struct floe_kafka_DeleteTopicsResponse *r)
{
    json_t *deleted = json_array();
    int rc = FLOE_CLI_OK;
    for (int32_t i = 0; i < r->Responses_n; i++) {
        struct floe_kstr name = r->Responses[i].Name;
        if (r->Responses[i].ErrorCode == 0) {
            (void)json_array_append_new(deleted, json_kstr(name));
            if (!floe_cli_is_set(a, "json"))
                printf("deleted topic %.*s\n", (int)FLOE_MAX(name.n, 0), name.p);
            continue;
        }
        struct floe_error err;
        (void)floe_client_error(r->Responses[i].ErrorCode, r->Responses[i].ErrorMessage, &err);
        floe_error_prefix(&err, "%.*s", (int)FLOE_MAX(name.n, 0), name.p);
        rc = floe_cli_fail(a, &err);
    }
    if (floe_cli_is_set(a, "json"))
        floe_cli_print_json(json_pack("{sO}", "deleted", deleted));
    json_decref(deleted);
    return rc;
}

static int run_delete(const struct floe_cli_args *a)
{
    struct floe_client *c = NULL;
    struct floe_error err;
    const struct floe_kafka_DeleteTopicsResponse *r = NULL;
    for (size_t i = 0; i < a->positional_count; i++)
        if (strcmp(a->positional[i], FLOE_OFFSETS_TOPIC) == 0 && !floe_cli_is_set(a, "force"))
            return floe_cli_usage(
                a, "%s holds every consumer group and all committed offsets: add --force to delete it",
                a->positional[i]);
    int rc = client_of(a, &c, &err) != FLOE_OK || call_delete(c, a, &r, &err) != FLOE_OK
                 ? floe_cli_fail(a, &err)
                 : print_deleted(a, r);
    floe_client_close(&c);
    return rc;
}

static const struct floe_cli_flag client_flags[] = {FLOE_CLI_CLIENT_FLAGS};
static const struct floe_cli_flag create_flags[] = {
    {.name = "partitions", .arg = "N", .help = "how many (default: the broker's num.partitions)"},
    {.name = "config", .arg = "KEY=VALUE", .help = "a topic configuration of Kafka's", .repeat = true},
    {.name = "replication-factor", .arg = "N", .help = "accepted; the store keeps the copies"},
    {.name = "force", .help = "even the topic of groups and offsets"},
    FLOE_CLI_CLIENT_FLAGS,
};
static const struct floe_cli_flag delete_flags[] = {
    {.name = "force", .help = "even the topic of groups and offsets"},
    FLOE_CLI_CLIENT_FLAGS,
};
const struct floe_cli_command floe_cli_topic_create = {
    .group = "topic",
    .verb = "create",
    .positional = "NAME",
    .min = 1,
    .max = 1,
    .help = "create a topic",
    .flags = create_flags,
    .flag_count = FLOE_COUNTOF(create_flags),
    .run = run_create,
};
const struct floe_cli_command floe_cli_topic_list = {
    .group = "topic",
    .verb = "list",
    .positional = "",
    .help = "list all topics",
    .flags = client_flags,
    .flag_count = FLOE_COUNTOF(client_flags),
    .run = run_list,
};
const struct floe_cli_command floe_cli_topic_describe = {
    .group = "topic",
    .verb = "describe",
    .positional = "[NAME ...]",
    .max = FLOE_CLI_POSITIONAL_MAX,
    .help = "show partitions, leaders and configurations of topics, or of all",
    .more = "Today " NOT_DELETED ".",
    .flags = client_flags,
    .flag_count = FLOE_COUNTOF(client_flags),
    .run = run_describe,
};
const struct floe_cli_command floe_cli_topic_delete = {
    .group = "topic",
    .verb = "delete",
    .positional = "NAME ...",
    .min = 1,
    .max = FLOE_CLI_POSITIONAL_MAX,
    .help = "delete topics and their records",
    .flags = delete_flags,
    .flag_count = FLOE_COUNTOF(delete_flags),
    .run = run_delete,
};
