/* The catalog's records as JSON; docs/formats/table.md. */
#include "catalog/catalog_int.h"
#include <jansson.h>
#include <stdio.h>

static const char *const state_name[] = {"creating", "live", "deleting", "deleted"};

bool floe_topic_internal(const char *name, size_t n)
{
    static const char *const names[] = {"__consumer_offsets", "__transaction_state", "__share_group_state"};
    for (size_t i = 0; i < FLOE_COUNTOF(names); i++)
        if (strlen(names[i]) == n && memcmp(names[i], name, n) == 0)
            return true;
    return false;
}

enum floe_err floe_topic_name_check(const char *name, size_t n, struct floe_error *err)
{
    if (n == 0)
        return floe_error_set(err, FLOE_EINVAL, "Topic name is invalid: the empty string is not allowed");
    if (n > FLOE_TOPIC_NAME_MAX)
        return floe_error_set(
            err, FLOE_EINVAL,
            "Topic name is invalid: the length of the name is longer than the max allowed length %d",
            FLOE_TOPIC_NAME_MAX);
    if ((n == 1 && name[0] == '.') || (n == 2 && name[0] == '.' && name[1] == '.'))
        return floe_error_set(err, FLOE_EINVAL, "Topic name is invalid: '.' or '..' is not allowed");
    for (size_t i = 0; i < n; i++) {
        char ch = name[i];
        bool ok = (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9') ||
                  ch == '.' || ch == '_' || ch == '-';
        if (!ok)
            return floe_error_set(
                err, FLOE_EINVAL,
                "Topic name is invalid: it contains one or more characters other than ASCII "
                "alphanumerics, '.', '_' and '-'");
    }
    return FLOE_OK;
}

void floe_topic_free(struct floe_topic *t)
{
    if (!t)
        return;
    for (uint32_t i = 0; i < t->config_count; i++) {
        free(t->configs[i].name);
        free(t->configs[i].value);
    }
    free(t->configs);
    free(t->name);
    free(t);
}

struct floe_topic *floe_topic_copy(const struct floe_topic *t)
{
    struct floe_topic *n = calloc(1, sizeof *n);
    if (!n)
        return NULL;
    *n = *t;
    n->by_name = n->by_id = (struct floe_map_node){0};
    n->config_count = 0;
    n->name = strdup(t->name);
    n->configs = t->config_count ? calloc(t->config_count, sizeof *n->configs) : NULL;
    bool ok = n->name && (n->configs || t->config_count == 0);
    for (uint32_t i = 0; ok && i < t->config_count; i++) {
        n->configs[i].name = strdup(t->configs[i].name);
        n->configs[i].value = strdup(t->configs[i].value);
        n->config_count++;
        ok = n->configs[i].name && n->configs[i].value;
    }
    if (!ok) {
        floe_topic_free(n);
        return NULL;
    }
    return n;
}

char *floe_topic_encode(const struct floe_topic *t)
{
    char id[FLOE_UUID_HEX];
    floe_uuid_hex(id, &t->id);
    json_t *configs = json_object();
    for (uint32_t i = 0; i < t->config_count; i++)
        json_object_set_new(configs, t->configs[i].name, json_string(t->configs[i].value));
    json_t *o = json_pack("{s:s, s:I, s:I, s:s, s:o}", "id", id, "partitions", (json_int_t)t->partitions,
                          "rev", (json_int_t)t->rev, "state", state_name[t->state], "config", configs);
    if (!o)
        return NULL;
    char *text = json_dumps(o, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(o);
    return text;
}

static bool take_configs(struct floe_topic *t, const json_t *config)
{
    size_t n = json_object_size(config);
    if (n > FLOE_TOPIC_CONFIGS_MAX)
        return false;
    t->configs = n ? calloc(n, sizeof *t->configs) : NULL;
    if (n && !t->configs)
        return false;
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)config, key, v)
    {
        if (!json_is_string(v))
            return false;
        struct floe_topic_config *e = &t->configs[t->config_count++];
        e->name = strdup(key);
        e->value = strdup(json_string_value(v));
        if (!e->name || !e->value)
            return false;
    }
    return true;
}

enum floe_err floe_topic_decode(struct floe_topic **out, const char *name, const char *json, size_t n,
                                struct floe_error *err)
{
    json_error_t je;
    json_t *o = json_loadb(json, n, JSON_REJECT_DUPLICATES, &je);
    const char *id = NULL, *state = NULL;
    json_int_t partitions = 0, rev = 0;
    json_t *config = NULL;
    struct floe_topic *t = calloc(1, sizeof *t);
    enum floe_err rc = FLOE_OK;
    if (!o || !t ||
        json_unpack(o, "{s:s, s:I, s:I, s:s, s:o}", "id", &id, "partitions", &partitions, "rev", &rev,
                    "state", &state, "config", &config) != 0 ||
        strlen(id) != 32 || !floe_uuid_parse(&t->id, id) || partitions < 1 ||
        partitions > FLOE_TOPIC_PARTITIONS_MAX || rev < 1 || !json_is_object(config)) {
        rc = floe_error_set(err, FLOE_ECORRUPT, "table record '" TOPIC_PREFIX "%s' is not a topic", name);
        goto out;
    }
    size_t s = 0;
    while (s < FLOE_COUNTOF(state_name) && strcmp(state, state_name[s]) != 0)
        s++;
    t->name = strdup(name);
    if (s == FLOE_COUNTOF(state_name) || !t->name || !take_configs(t, config)) {
        rc = floe_error_set(err, FLOE_ECORRUPT,
                            "table record '" TOPIC_PREFIX "%s' has a bad state or configuration", name);
        goto out;
    }
    t->state = (enum floe_topic_state)s;
    t->partitions = (int32_t)partitions;
    t->rev = (uint64_t)rev;
    *out = t;
    t = NULL;
out:
    floe_topic_free(t);
    json_decref(o);
    return rc;
}

int64_t floe_producer_ids_decode(const char *json, size_t n)
{
    json_t *o = json_loadb(json, n, JSON_REJECT_DUPLICATES, NULL);
    json_int_t next = -1;
    if (o && json_unpack(o, "{s:I}", "next", &next) != 0)
        next = -1;
    json_decref(o);
    return next < 0 ? -1 : (int64_t)next;
}
