/* floe group list | describe | delete */
#include "cli/group_int.h"
#include "cli/offsets.h"

#include <floe/base/assert.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LIST_GROUPS = 16, DELETE_GROUPS = 42 };

static const char *text_of(const json_t *o, const char *key)
{
    const char *text = json_string_value(json_object_get(o, key));
    return text != NULL && *text != '\0' ? text : "-";
}

/* ---- list -------------------------------------------------------------------------------------------- */

static enum floe_err list_of(struct floe_client *at, int32_t node, json_t *all, struct floe_error *err)
{
    struct floe_kafka_ListGroupsRequest request;
    int64_t since = 0;
    for (;;) {
        void *response;
        floe_kafka_defaults(&floe_kafka_ListGroupsRequest_desc, &request);
        enum floe_err e = floe_client_call(at, LIST_GROUPS, INT16_MAX, &request, &response, NULL, err);
        if (e != FLOE_OK)
            return e;
        const struct floe_kafka_ListGroupsResponse *r = response;
        if (r->ErrorCode != 0 && floe_cli_again(r->ErrorCode, &since))
            continue;
        if (r->ErrorCode != 0)
            return floe_client_error(r->ErrorCode, floe_kstr(NULL), err);
        for (int32_t i = 0; i < r->Groups_n; i++)
            (void)json_array_append_new(
                all, json_pack("{so so so so si}", "group", floe_cli_json_kstr(r->Groups[i].GroupId), "state",
                               floe_cli_json_kstr(r->Groups[i].GroupState), "type",
                               floe_cli_json_kstr(r->Groups[i].GroupType), "protocol",
                               floe_cli_json_kstr(r->Groups[i].ProtocolType), "coordinator", node));
        return FLOE_OK;
    }
}

static int by_group(const void *x, const void *y)
{
    return strcmp(text_of(*(json_t *const *)x, "group"), text_of(*(json_t *const *)y, "group"));
}

/* The array in order of names; drops the reference to the old one. */
static json_t *sorted(json_t *all)
{
    size_t n = json_array_size(all);
    json_t **v = calloc(n + 1, sizeof(json_t *)), *out = json_array();
    FLOE_ASSERT(v != NULL);
    for (size_t i = 0; i < n; i++)
        v[i] = json_array_get(all, i);
    if (n > 1)
        qsort(v, n, sizeof(json_t *), by_group);
    for (size_t i = 0; i < n; i++)
        (void)json_array_append(out, v[i]);
    free(v);
    json_decref(all);
    return out;
}

static int run_list(const struct floe_cli_args *a)
{
    struct floe_conns *c = NULL;
    struct floe_error err;
    int rc = FLOE_CLI_OK;
    json_t *all = json_array(), *g;
    size_t i;
    if (floe_conns_open(&c, a, &err) != FLOE_OK) {
        json_decref(all);
        return floe_cli_fail(a, &err);
    }
    json_t *missing =
        json_array(); /* brokers that did not answer: the others' groups are shown all the same */
    for (size_t b = 0; b < floe_conns_count(c); b++) {
        struct floe_client *at;
        int32_t id = floe_conns_id(c, b);
        if (floe_conns_node(c, id, &at, &err) == FLOE_OK && list_of(at, id, all, &err) == FLOE_OK)
            continue;
        floe_error_prefix(&err, "groups of broker %d are missing", id);
        rc = floe_cli_fail(a, &err);
        (void)json_array_append_new(missing, json_integer(id));
    }
    all = sorted(all);
    if (floe_cli_is_set(a, "json") && rc == FLOE_CLI_OK)
        floe_cli_print_json(json_pack("{sO}", "groups", all));
    else if (floe_cli_is_set(a, "json"))
        floe_cli_print_json(json_pack("{sO sO}", "groups", all, "brokers_missing", missing));
    else
        json_array_foreach(all, i, g)
            printf("%s  state=%s  type=%s  protocol=%s  coordinator=%lld\n", text_of(g, "group"),
                   text_of(g, "state"), text_of(g, "type"), text_of(g, "protocol"),
                   (long long)json_integer_value(json_object_get(g, "coordinator")));
    json_decref(missing);
    json_decref(all);
    floe_conns_close(&c);
    return rc;
}

/* ---- describe ---------------------------------------------------------------------------------------- */

static const json_t *owner(const json_t *g, const struct floe_cli_tp *p)
{
    size_t i, k;
    json_t *m, *x;
    json_array_foreach(json_object_get(g, "members"), i, m)
        json_array_foreach(json_object_get(m, "partitions"), k,
                           x) if (json_integer_value(json_object_get(x, "partition")) == p->partition &&
                                  strcmp(text_of(x, "topic"), p->topic) == 0) return m;
    return NULL;
}

static json_t *number(int64_t v)
{
    return v < 0 ? json_null() : json_integer(v);
}

static json_t *partition_json(const json_t *g, const struct floe_cli_tp *p)
{
    const json_t *m = owner(g, p);
    int64_t lag = p->committed < 0 || p->end < 0 ? -1 : FLOE_MAX(p->end - p->committed, 0);
    json_t *row = json_pack("{ss si so so so so}", "topic", p->topic, "partition", p->partition, "committed",
                            number(p->committed), "end", number(p->end), "lag", number(lag), "member",
                            m != NULL ? json_incref(json_object_get(m, "member")) : json_null());
    (void)json_object_set_new(row, "client",
                              m != NULL ? json_incref(json_object_get(m, "client")) : json_null());
    (void)json_object_set_new(row, "host", m != NULL ? json_incref(json_object_get(m, "host")) : json_null());
    (void)json_object_set_new(row, "protocol",
                              m != NULL ? json_incref(json_object_get(m, "protocol")) : json_null());
    if (p->end < 0)
        (void)json_object_set_new(row, "error", json_string(floe_kafka_error_name(p->error)));
    return row;
}

static enum floe_err describe_one(struct floe_conns *c, const char *group, json_t **out,
                                  struct floe_error *err)
{
    struct floe_cli_tps t = {NULL, 0, 0};
    size_t i, k;
    json_t *g = NULL, *m, *x;
    enum floe_err e = floe_cli_group_json(c, group, &g, err);
    if (e == FLOE_OK)
        e = floe_cli_committed(c, group, &t, err);
    if (e == FLOE_OK) {
        json_array_foreach(json_object_get(g, "members"), i, m)
            json_array_foreach(json_object_get(m, "partitions"), k, x)(void)
                floe_cli_tps_add(&t, floe_kstr(text_of(x, "topic")),
                                 (int32_t)json_integer_value(json_object_get(x, "partition")));
        floe_cli_tps_sort(&t);
        e = floe_cli_list_offsets(c, &t, -1, err);
    }
    if (e == FLOE_OK) {
        json_t *rows = json_array();
        for (size_t n = 0; n < t.n; n++) {
            t.v[n].end = t.v[n].listed;
            (void)json_array_append_new(rows, partition_json(g, &t.v[n]));
        }
        (void)json_object_set_new(g, "partitions", rows);
        *out = g;
    } else {
        json_decref(g);
    }
    floe_cli_tps_free(&t);
    return e;
}

static void print_number(const char *name, const json_t *v)
{
    if (json_is_integer(v))
        printf("  %s=%lld", name, (long long)json_integer_value(v));
    else
        printf("  %s=-", name);
}

static void print_group(const json_t *g)
{
    size_t i;
    json_t *x;
    printf("group %s  state=%s  type=%s  assignor=%s  coordinator=%lld  members=%zu\n", text_of(g, "group"),
           text_of(g, "state"), text_of(g, "type"), text_of(g, "assignor"),
           (long long)json_integer_value(json_object_get(g, "coordinator")),
           json_array_size(json_object_get(g, "members")));
    if (json_array_size(json_object_get(g, "partitions")) == 0)
        printf("  nothing is committed, and no partition assigned\n");
    json_array_foreach(json_object_get(g, "partitions"), i, x)
    {
        printf("  topic=%s  partition=%lld", text_of(x, "topic"),
               (long long)json_integer_value(json_object_get(x, "partition")));
        print_number("committed", json_object_get(x, "committed"));
        print_number("end", json_object_get(x, "end"));
        print_number("lag", json_object_get(x, "lag"));
        printf("  member=%s  client=%s  host=%s  protocol=%s", text_of(x, "member"), text_of(x, "client"),
               text_of(x, "host"), text_of(x, "protocol"));
        if (json_object_get(x, "error") != NULL)
            printf("  error=%s", text_of(x, "error"));
        printf("\n");
    }
    json_array_foreach(json_object_get(g, "members"), i,
                       x) if (json_array_size(json_object_get(x, "partitions")) == 0)
        printf("  member=%s  client=%s  host=%s  protocol=%s  idle\n", text_of(x, "member"),
               text_of(x, "client"), text_of(x, "host"), text_of(x, "protocol"));
}

static int run_describe(const struct floe_cli_args *a)
{
    struct floe_conns *c = NULL;
    struct floe_error err;
    int rc = FLOE_CLI_OK;
    json_t *all = json_array(), *g;
    size_t at;
    if (floe_conns_open(&c, a, &err) != FLOE_OK) {
        rc = floe_cli_fail(a, &err);
        goto out;
    }
    for (size_t i = 0; i < a->positional_count; i++) {
        if (describe_one(c, a->positional[i], &g, &err) == FLOE_OK)
            (void)json_array_append_new(all, g);
        else
            rc = floe_cli_fail(a, &err);
    }
    if (floe_cli_is_set(a, "json"))
        floe_cli_print_json(json_pack("{sO}", "groups", all));
    else
        json_array_foreach(all, at, g) print_group(g);
out:
    json_decref(all);
    floe_conns_close(&c);
    return rc;
}

/* ---- delete ------------------------------------------------------------------------------------------ */

#define HAS_MEMBERS                                                                                          \
    "members of the group are active: stop them first (floe group describe shows who they are, and those "   \
    "that were killed leave when their session time-out is over)"

static enum floe_err delete_one(struct floe_conns *c, const char *group, struct floe_error *err)
{
    int64_t since = 0;
    for (;;) {
        struct floe_kafka_DeleteGroupsRequest request;
        struct floe_kstr name = floe_kstr(group);
        struct floe_client *at;
        int32_t node;
        void *response;
        enum floe_err e = floe_conns_coordinator(c, group, &at, &node, err);
        if (e != FLOE_OK)
            return e;
        floe_kafka_defaults(&floe_kafka_DeleteGroupsRequest_desc, &request);
        request.GroupsNames = &name;
        request.GroupsNames_n = 1;
        e = floe_client_call(at, DELETE_GROUPS, INT16_MAX, &request, &response, NULL, err);
        if (e != FLOE_OK)
            return e;
        const struct floe_kafka_DeleteGroupsResponse *r = response;
        if (r->Results_n != 1)
            return floe_error_set(err, FLOE_EINVAL, "the broker did not answer for this group");
        if (r->Results[0].ErrorCode == 0)
            return FLOE_OK;
        if (floe_cli_again(r->Results[0].ErrorCode, &since))
            continue;
        int16_t code = r->Results[0].ErrorCode;
        return floe_client_error(code, floe_kstr(code == FLOE_KERR_NON_EMPTY_GROUP ? HAS_MEMBERS : NULL),
                                 err);
    }
}

static int run_delete(const struct floe_cli_args *a)
{
    struct floe_conns *c = NULL;
    struct floe_error err;
    int rc = FLOE_CLI_OK;
    json_t *done = json_array();
    if (floe_conns_open(&c, a, &err) != FLOE_OK) {
        rc = floe_cli_fail(a, &err);
        goto out;
    }
    for (size_t i = 0; i < a->positional_count; i++) {
        const char *group = a->positional[i];
        if (delete_one(c, group, &err) != FLOE_OK) {
            floe_error_prefix(&err, "%.249s", group);
            rc = floe_cli_fail(a, &err);
            continue;
        }
        (void)json_array_append_new(done, json_string(group));
        if (!floe_cli_is_set(a, "json"))
            printf("deleted group %s\n", group);
    }
    if (floe_cli_is_set(a, "json"))
        floe_cli_print_json(json_pack("{sO}", "deleted", done));
out:
    json_decref(done);
    floe_conns_close(&c);
    return rc;
}

static const struct floe_cli_flag flags[] = {FLOE_CLI_CLIENT_FLAGS};
const struct floe_cli_command floe_cli_group_list = {
    .group = "group",
    .verb = "list",
    .positional = "",
    .help = "list all consumer groups",
    .flags = flags,
    .flag_count = FLOE_COUNTOF(flags),
    .run = run_list,
};
const struct floe_cli_command floe_cli_group_describe = {
    .group = "group",
    .verb = "describe",
    .positional = "GROUP ...",
    .min = 1,
    .max = FLOE_CLI_POSITIONAL_MAX,
    .help = "show members, committed offsets and lag of groups",
    .more = "The lag is the partition's end less the committed offset; \"-\" where nothing is committed. A "
            "member's "
            "protocol is classic or consumer; a group of type consumer may have members of both.",
    .flags = flags,
    .flag_count = FLOE_COUNTOF(flags),
    .run = run_describe,
};
const struct floe_cli_command floe_cli_group_delete = {
    .group = "group",
    .verb = "delete",
    .positional = "GROUP ...",
    .min = 1,
    .max = FLOE_CLI_POSITIONAL_MAX,
    .help = "delete groups without members, and their offsets",
    .flags = flags,
    .flag_count = FLOE_COUNTOF(flags),
    .run = run_delete,
};
