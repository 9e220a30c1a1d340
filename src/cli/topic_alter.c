/* floe topic alter: more partitions, other configurations. */
#include "cli/configs.h"
#include "cli/conns.h"

#include <floe/base/assert.h>
#include <floe/base/str.h>

#include <stdio.h>
#include <string.h>

enum { CREATE_PARTITIONS = 37 };

static enum floe_err call_partitions(struct floe_client *c, const char *topic, int32_t count,
                                     struct floe_error *err)
{
    struct floe_kafka_CreatePartitionsRequest request;
    struct floe_kafka_CreatePartitionsRequest_CreatePartitionsTopic t;
    void *response;
    floe_kafka_defaults(&floe_kafka_CreatePartitionsRequest_desc, &request);
    floe_kafka_struct_defaults(&floe_kafka_CreatePartitionsRequest_CreatePartitionsTopic_desc, &t);
    t.Name = floe_kstr(topic);
    t.Count = count;
    t.Assignments_n = -1;
    request.Topics = &t;
    request.Topics_n = 1;
    request.TimeoutMs = FLOE_CLI_TIMEOUT_MS;
    enum floe_err e = floe_client_call(c, CREATE_PARTITIONS, INT16_MAX, &request, &response, NULL, err);
    if (e != FLOE_OK)
        return e;
    const struct floe_kafka_CreatePartitionsResponse *r = response;
    if (r->Results_n != 1)
        return floe_error_set(err, FLOE_EINVAL, "the broker did not answer for this topic");
    if (r->Results[0].ErrorCode != 0)
        e = floe_client_error(r->Results[0].ErrorCode, r->Results[0].ErrorMessage, err);
    if (e != FLOE_OK)
        floe_error_prefix(err, "%.249s", topic);
    return e;
}

/* --config and --delete-config, as often as given. */
static int take_configs(const struct floe_cli_args *a, floe_cli_config out[FLOE_CLI_FLAGS_MAX], int32_t *n)
{
    const char *text;
    for (size_t i = 0; (text = floe_cli_value(a, "config", i)) != NULL; i++, (*n)++) {
        const char *eq = strchr(text, '=');
        if (eq == NULL || eq == text)
            return floe_cli_usage(a, "--config \"%.64s\" is not KEY=VALUE", text);
        floe_cli_config_fill(&out[*n], text, (size_t)(eq - text), eq + 1);
    }
    for (size_t i = 0; (text = floe_cli_value(a, "delete-config", i)) != NULL; i++, (*n)++)
        floe_cli_config_fill(&out[*n], text, strlen(text), NULL);
    return FLOE_CLI_OK;
}

static void print_altered(const struct floe_cli_args *a, uint64_t partitions, int32_t configs)
{
    if (floe_cli_is_set(a, "json")) {
        json_t *count = partitions > 0 ? json_integer((json_int_t)partitions) : json_null();
        floe_cli_print_json(json_pack("{ss so si}", "name", a->positional[0], "partitions", count,
                                      "configs_changed", configs));
        return;
    }
    printf("altered topic %s:", a->positional[0]);
    if (partitions > 0)
        printf(" %llu partitions%s", (unsigned long long)partitions, configs > 0 ? "," : "");
    if (configs > 0)
        printf(" %d configuration%s changed", configs, configs == 1 ? "" : "s");
    printf("\n");
}

static int run_alter(const struct floe_cli_args *a)
{
    floe_cli_config configs[FLOE_CLI_FLAGS_MAX];
    const char *topic = a->positional[0], *text = floe_cli_value(a, "partitions", 0);
    uint64_t partitions = 0;
    int32_t n = 0;
    struct floe_conns *c = NULL;
    struct floe_error err;
    if (text != NULL &&
        (floe_str_parse_u64(text, &partitions, NULL) != FLOE_OK || partitions < 1 || partitions > INT32_MAX))
        return floe_cli_usage(a, "--partitions \"%.64s\" is not a number from 1 to %d", text, INT32_MAX);
    int rc = take_configs(a, configs, &n);
    if (rc != FLOE_CLI_OK)
        return rc;
    if (text == NULL && n == 0)
        return floe_cli_usage(a, "nothing to alter: --partitions, --config or --delete-config is needed");
    enum floe_err e = floe_conns_open(&c, a, &err);
    if (e == FLOE_OK && n > 0) {
        struct floe_cli_resource r = {FLOE_CLI_RESOURCE_TOPIC, topic, floe_conns_first(c)};
        e = floe_cli_alter_configs(&r, configs, n, &err);
    }
    if (e == FLOE_OK && partitions > 0) {
        e = call_partitions(floe_conns_first(c), topic, (int32_t)partitions, &err);
        if (e != FLOE_OK && n > 0)
            floe_error_prefix(&err, "the configurations were changed, the partitions were not");
    }
    if (e == FLOE_OK) {
        struct floe_cli_resource r = {FLOE_CLI_RESOURCE_TOPIC, topic, floe_conns_first(c)};
        print_altered(a, partitions, n);
        e = n > 0 ? floe_cli_note_unobeyed(&r, configs, n, &err) : FLOE_OK;
    }
    if (e != FLOE_OK)
        rc = floe_cli_fail(a, &err);
    floe_conns_close(&c);
    return rc;
}

static const struct floe_cli_flag flags[] = {
    {.name = "partitions", .arg = "N", .help = "how many it shall have: more than now"},
    {.name = "config", .arg = "KEY=VALUE", .help = "set a configuration", .repeat = true},
    {.name = "delete-config", .arg = "KEY", .help = "put one back to its default", .repeat = true},
    FLOE_CLI_CLIENT_FLAGS,
};
const struct floe_cli_command floe_cli_topic_alter = {
    .group = "topic",
    .verb = "alter",
    .positional = "NAME",
    .min = 1,
    .max = 1,
    .help = "add partitions to a topic, change its configurations",
    .more = "All configurations are changed, or none; then partitions are added. Records of a key may go to "
            "another "
            "partition from then on.",
    .flags = flags,
    .flag_count = FLOE_COUNTOF(flags),
    .run = run_alter,
};
