/* floe config describe | set | delete */
#include "cli/configs.h"
#include "cli/conns.h"

#include <floe/base/assert.h>
#include <floe/base/str.h>
#include <floe/kafka/configs.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DESCRIBE_CONFIGS = 32, INCREMENTAL_ALTER_CONFIGS = 44, SOURCE_DEFAULT = 5 };
#define ALL_BROKERS "all" /* in place of a broker's number */

static int take_resource(const struct floe_cli_args *a, struct floe_cli_resource *r)
{
    uint64_t id;
    r->name = a->positional[1];
    if (strcmp(a->positional[0], "topic") == 0)
        r->type = FLOE_CLI_RESOURCE_TOPIC;
    else if (strcmp(a->positional[0], "broker") == 0)
        r->type = FLOE_CLI_RESOURCE_BROKER;
    else if (strcmp(a->positional[0], "group") == 0)
        r->type = FLOE_CLI_RESOURCE_GROUP;
    else
        return floe_cli_usage(a, "\"%.64s\" is neither topic, broker nor group", a->positional[0]);
    if (r->type == FLOE_CLI_RESOURCE_BROKER && strcmp(r->name, ALL_BROKERS) == 0)
        r->name = ""; /* as Kafka names them */
    else if (r->type == FLOE_CLI_RESOURCE_BROKER &&
             (floe_str_parse_u64(r->name, &id, NULL) != FLOE_OK || id > INT32_MAX))
        return floe_cli_usage(a, "\"%.64s\" is no broker's number, nor " ALL_BROKERS, r->name);
    return FLOE_CLI_OK;
}

/* A broker is asked itself. */
static enum floe_err open_for(const struct floe_cli_args *a, struct floe_cli_resource *r,
                              struct floe_conns **c, struct floe_error *err)
{
    uint64_t id;
    enum floe_err e = floe_conns_open(c, a, err);
    if (e == FLOE_OK && r->type == FLOE_CLI_RESOURCE_BROKER && r->name[0]) {
        e = floe_str_parse_u64(r->name, &id, err);
        if (e == FLOE_OK)
            e = floe_conns_node(*c, (int32_t)id, &r->client, err);
    } else if (e == FLOE_OK) {
        r->client = floe_conns_first(*c);
    }
    return e;
}

static const char *source_name(int8_t source)
{
    static const char *const names[] = {[0] = "unknown", [1] = "topic",   [2] = "broker", [3] = "all brokers",
                                        [4] = "start",   [5] = "default", [8] = "group"};
    return source >= 0 && (size_t)source < FLOE_COUNTOF(names) && names[source] ? names[source] : names[0];
}

static enum floe_err call_describe(const struct floe_cli_resource *r, bool all, json_t *out,
                                   struct floe_error *err)
{
    struct floe_kafka_DescribeConfigsRequest request;
    struct floe_kafka_DescribeConfigsRequest_DescribeConfigsResource want;
    void *response;
    floe_kafka_defaults(&floe_kafka_DescribeConfigsRequest_desc, &request);
    floe_kafka_struct_defaults(&floe_kafka_DescribeConfigsRequest_DescribeConfigsResource_desc, &want);
    want.ResourceType = r->type;
    want.ResourceName = floe_kstr(r->name);
    want.ConfigurationKeys_n = -1;
    request.Resources = &want;
    request.Resources_n = 1;
    request.IncludeDocumentation = true;
    enum floe_err e =
        floe_client_call(r->client, DESCRIBE_CONFIGS, INT16_MAX, &request, &response, NULL, err);
    if (e != FLOE_OK)
        return e;
    const struct floe_kafka_DescribeConfigsResponse *d = response;
    if (d->Results_n != 1)
        return floe_error_set(err, FLOE_EINVAL, "the broker did not answer for \"%.249s\"", r->name);
    if (d->Results[0].ErrorCode != 0) {
        e = floe_client_error(d->Results[0].ErrorCode, d->Results[0].ErrorMessage, err);
        floe_error_prefix(err, "%.249s", r->name);
        return e;
    }
    for (int32_t i = 0; i < d->Results[0].Configs_n; i++) {
        const struct floe_kafka_DescribeConfigsResponse_DescribeConfigsResourceResult *x =
            &d->Results[0].Configs[i];
        if (all || x->ConfigSource != SOURCE_DEFAULT)
            (void)json_array_append_new(out, json_pack("{so so ss so}", "name", floe_cli_json_kstr(x->Name),
                                                       "value", floe_cli_json_kstr(x->Value), "source",
                                                       source_name(x->ConfigSource), "note",
                                                       floe_cli_json_kstr(x->Documentation)));
    }
    return FLOE_OK;
}

static const char *text_of(const json_t *o, const char *key)
{
    const char *text = json_string_value(json_object_get(o, key));
    return text != NULL ? text : "";
}

static int run_describe(const struct floe_cli_args *a)
{
    struct floe_conns *c = NULL;
    struct floe_error err;
    struct floe_cli_resource r = {0};
    json_t *all = json_array(), *x;
    size_t i;
    int rc = take_resource(a, &r);
    if (rc != FLOE_CLI_OK) {
        json_decref(all);
        return rc;
    }
    if (open_for(a, &r, &c, &err) != FLOE_OK ||
        call_describe(&r, floe_cli_is_set(a, "all"), all, &err) != FLOE_OK)
        rc = floe_cli_fail(a, &err);
    else if (floe_cli_is_set(a, "json"))
        floe_cli_print_json(
            json_pack("{ss ss sO}", "type", a->positional[0], "name", a->positional[1], "configs", all));
    else
        json_array_foreach(all, i, x) printf("%s=%s  source=%s  (%s)\n", text_of(x, "name"),
                                             text_of(x, "value"), text_of(x, "source"), text_of(x, "note"));
    json_decref(all);
    floe_conns_close(&c);
    return rc;
}

/* What is to be put back is set, or nothing could be put back. */
static enum floe_err need_set(const struct floe_cli_resource *r, const floe_cli_config *configs, int32_t n,
                              struct floe_error *err)
{
    json_t *all = json_array(), *x;
    size_t i;
    enum floe_err e = call_describe(r, false, all, err);
    for (int32_t k = 0; k < n && e == FLOE_OK; k++) {
        bool found = configs[k].ConfigOperation != FLOE_CLI_CONFIG_DELETE;
        json_array_foreach(all, i, x) found = found || floe_kstr_is(configs[k].Name, text_of(x, "name"));
        if (!found)
            e = floe_error_set(err, FLOE_ENOTFOUND, "%.*s is not set", (int)FLOE_MIN(configs[k].Name.n, 249),
                               configs[k].Name.p);
    }
    json_decref(all);
    return e;
}

void floe_cli_config_fill(floe_cli_config *out, const char *key, size_t key_n, const char *value)
{
    floe_kafka_struct_defaults(&floe_kafka_IncrementalAlterConfigsRequest_AlterableConfig_desc, out);
    out->Name = floe_kstr_n(key, key_n);
    out->ConfigOperation = value != NULL ? FLOE_CLI_CONFIG_SET : FLOE_CLI_CONFIG_DELETE;
    out->Value = floe_kstr(value);
}

enum floe_err floe_cli_alter_configs(const struct floe_cli_resource *r, floe_cli_config *configs, int32_t n,
                                     struct floe_error *err)
{
    struct floe_kafka_IncrementalAlterConfigsRequest request;
    struct floe_kafka_IncrementalAlterConfigsRequest_AlterConfigsResource res;
    void *response;
    floe_kafka_defaults(&floe_kafka_IncrementalAlterConfigsRequest_desc, &request);
    floe_kafka_struct_defaults(&floe_kafka_IncrementalAlterConfigsRequest_AlterConfigsResource_desc, &res);
    res.ResourceType = r->type;
    res.ResourceName = floe_kstr(r->name);
    res.Configs = configs;
    res.Configs_n = n;
    request.Resources = &res;
    request.Resources_n = 1;
    bool deletes = false;
    for (int32_t i = 0; i < n; i++)
        deletes = deletes || configs[i].ConfigOperation == FLOE_CLI_CONFIG_DELETE;
    enum floe_err e = deletes ? need_set(r, configs, n, err) : FLOE_OK;
    if (e == FLOE_OK)
        e = floe_client_call(r->client, INCREMENTAL_ALTER_CONFIGS, INT16_MAX, &request, &response, NULL, err);
    if (e != FLOE_OK)
        return e;
    const struct floe_kafka_IncrementalAlterConfigsResponse *d = response;
    if (d->Responses_n != 1)
        return floe_error_set(err, FLOE_EINVAL, "the broker did not answer for \"%.249s\"", r->name);
    if (d->Responses[0].ErrorCode == 0)
        return FLOE_OK;
    e = floe_client_error(d->Responses[0].ErrorCode, d->Responses[0].ErrorMessage, err);
    if (d->Responses[0].ErrorCode != FLOE_KERR_INVALID_CONFIG)
        floe_error_prefix(err, "%.249s", r->name);
    return e;
}

enum floe_err floe_cli_note_unobeyed(const struct floe_cli_resource *r, const floe_cli_config *configs,
                                     int32_t n, struct floe_error *err)
{
    json_t *all = json_array(), *x;
    size_t i;
    enum floe_err e = call_describe(r, true, all, err);
    json_array_foreach(all, i, x)
    {
        for (int32_t k = 0; k < n; k++)
            if (configs[k].ConfigOperation == FLOE_CLI_CONFIG_SET &&
                floe_kstr_is(configs[k].Name, text_of(x, "name")) &&
                strcmp(text_of(x, "note"), "Obeyed.") != 0)
                (void)fprintf(stderr, "note: %s: %s\n", text_of(x, "name"), text_of(x, "note"));
    }
    json_decref(all);
    return e;
}

static int run_alter(const struct floe_cli_args *a, bool set)
{
    floe_cli_config configs[FLOE_CLI_POSITIONAL_MAX];
    struct floe_conns *c = NULL;
    struct floe_error err;
    struct floe_cli_resource r = {0};
    int32_t n = 0;
    int rc = take_resource(a, &r);
    if (rc != FLOE_CLI_OK)
        return rc;
    for (size_t i = 2; i < a->positional_count; i++, n++) {
        const char *text = a->positional[i], *eq = strchr(text, '=');
        if (set && (eq == NULL || eq == text))
            return floe_cli_usage(a, "\"%.64s\" is not KEY=VALUE", text);
        floe_cli_config_fill(&configs[n], text, set ? (size_t)(eq - text) : strlen(text),
                             set ? eq + 1 : NULL);
        /* Brokers keep what they do not know, as Kafka's do, for plug-ins that may be told of it. */
        if (set && r.type == FLOE_CLI_RESOURCE_BROKER &&
            floe_kafka_config_find(FLOE_CONFIG_BROKER, floe_slice(text, (size_t)(eq - text))) == NULL)
            return floe_cli_usage(a,
                                  "\"%.*s\" is none of a broker's configurations: Floe's own settings are "
                                  "given at its start (floe broker --help)",
                                  (int)FLOE_MIN(eq - text, 64), text);
    }
    if (open_for(a, &r, &c, &err) != FLOE_OK || floe_cli_alter_configs(&r, configs, n, &err) != FLOE_OK ||
        (set && floe_cli_note_unobeyed(&r, configs, n, &err) != FLOE_OK))
        rc = floe_cli_fail(a, &err);
    else if (floe_cli_is_set(a, "json"))
        floe_cli_print_json(
            json_pack("{ss ss si}", "type", a->positional[0], "name", a->positional[1], "changed", n));
    else
        printf("changed %d configuration%s of %s %s\n", n, n == 1 ? "" : "s", a->positional[0],
               a->positional[1]);
    floe_conns_close(&c);
    return rc;
}

static int run_set(const struct floe_cli_args *a)
{
    return run_alter(a, true);
}

static int run_delete(const struct floe_cli_args *a)
{
    return run_alter(a, false);
}

static const struct floe_cli_flag client_flags[] = {FLOE_CLI_CLIENT_FLAGS};
static const struct floe_cli_flag describe_flags[] = {
    {.name = "all", .help = "those at their default too"},
    FLOE_CLI_CLIENT_FLAGS,
};
const struct floe_cli_command floe_cli_config_describe = {
    .group = "config",
    .verb = "describe",
    .positional = "topic|broker|group NAME",
    .min = 2,
    .max = 2,
    .help = "show the configurations of a topic, broker or group that are not at their default",
    .flags = describe_flags,
    .flag_count = FLOE_COUNTOF(describe_flags),
    .run = run_describe,
};
const struct floe_cli_command floe_cli_config_set = {
    .group = "config",
    .verb = "set",
    .positional = "topic|broker|group NAME KEY=VALUE ...",
    .min = 3,
    .max = FLOE_CLI_POSITIONAL_MAX,
    .help = "set configurations; all or none",
    .more = "A broker takes those that Kafka changes at run time; the others are in its file, environment "
            "and flags. `broker all` is what all brokers take that have nothing of their own.",
    .flags = client_flags,
    .flag_count = FLOE_COUNTOF(client_flags),
    .run = run_set,
};
const struct floe_cli_command floe_cli_config_delete = {
    .group = "config",
    .verb = "delete",
    .positional = "topic|broker|group NAME KEY ...",
    .min = 3,
    .max = FLOE_CLI_POSITIONAL_MAX,
    .help = "put configurations back to their default; all or none",
    .flags = client_flags,
    .flag_count = FLOE_COUNTOF(client_flags),
    .run = run_delete,
};
