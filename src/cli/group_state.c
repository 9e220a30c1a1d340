/* What a group is and who is in it, from either of Kafka's two describing APIs. */
#include "cli/group_int.h"

#include <floe/base/assert.h>

#include <stdlib.h>
#include <string.h>

enum { DESCRIBE_GROUPS = 15, CONSUMER_DESCRIBE = 69, ASSIGNMENT_MAX = 16 << 20 };

static json_t *member_json(struct floe_kstr id, struct floe_kstr instance, struct floe_kstr client,
                           struct floe_kstr host, const char *protocol, json_t *partitions)
{
    return json_pack("{so so so so ss so}", "member", floe_cli_json_kstr(id), "instance",
                     floe_cli_json_kstr(instance), "client", floe_cli_json_kstr(client), "host",
                     floe_cli_json_kstr(host), "protocol", protocol, "partitions", partitions);
}

static void add_partition(json_t *partitions, struct floe_kstr topic, int32_t index)
{
    (void)json_array_append_new(partitions,
                                json_pack("{so si}", "topic", floe_cli_json_kstr(topic), "partition", index));
}

/* The consumer protocol's assignment; members of other protocols have bytes of their own, shown as none. */
static json_t *classic_partitions(struct floe_kbytes b)
{
    json_t *out = json_array();
    struct floe_arena arena;
    void *decoded;
    if (b.n < 2)
        return out;
    int16_t version = (int16_t)floe_be16(b.p);
    const struct floe_kafka_msg *m = &floe_kafka_ConsumerProtocolAssignment_desc;
    version = FLOE_MIN(version, m->max);
    size_t used;
    floe_arena_init(&arena, ASSIGNMENT_MAX);
    if (version >= 0 && floe_kafka_decode_prefix(m, version, floe_slice(b.p + 2, (size_t)b.n - 2), &used,
                                                 &arena, &decoded, NULL) == FLOE_OK) {
        const struct floe_kafka_ConsumerProtocolAssignment *a = decoded;
        for (int32_t i = 0; i < a->AssignedPartitions_n; i++)
            for (int32_t k = 0; k < a->AssignedPartitions[i].Partitions_n; k++)
                add_partition(out, a->AssignedPartitions[i].Topic, a->AssignedPartitions[i].Partitions[k]);
    }
    floe_arena_fini(&arena);
    return out;
}

static json_t *group_json(const char *group, struct floe_kstr state, const char *type,
                          struct floe_kstr assignor, int32_t node, json_t *members)
{
    return json_pack("{ss so ss so si so}", "group", group, "state", floe_cli_json_kstr(state), "type", type,
                     "assignor", floe_cli_json_kstr(assignor), "coordinator", node, "members", members);
}

/* *code is the group's error, FLOE_KERR_GROUP_ID_NOT_FOUND where it is not of this kind. */
static enum floe_err ask_consumer(struct floe_client *at, const char *group, int32_t node, json_t **out,
                                  int16_t *code, struct floe_error *err)
{
    struct floe_kafka_ConsumerGroupDescribeRequest request;
    struct floe_kstr name = floe_kstr(group);
    void *response;
    floe_kafka_defaults(&floe_kafka_ConsumerGroupDescribeRequest_desc, &request);
    request.GroupIds = &name;
    request.GroupIds_n = 1;
    *code = FLOE_KERR_GROUP_ID_NOT_FOUND;
    enum floe_err e = floe_client_call(at, CONSUMER_DESCRIBE, INT16_MAX, &request, &response, NULL, err);
    if (e != FLOE_OK)
        return e == FLOE_EUNSUPPORTED ? FLOE_OK : e;
    const struct floe_kafka_ConsumerGroupDescribeResponse *r = response;
    if (r->Groups_n != 1)
        return floe_error_set(err, FLOE_EINVAL, "the broker did not answer for this group");
    *code = r->Groups[0].ErrorCode;
    if (*code != 0) {
        (void)floe_client_error(*code, r->Groups[0].ErrorMessage, err);
        return FLOE_OK;
    }
    json_t *members = json_array();
    for (int32_t i = 0; i < r->Groups[0].Members_n; i++) {
        const struct floe_kafka_ConsumerGroupDescribeResponse_Member *m = &r->Groups[0].Members[i];
        json_t *partitions = json_array();
        for (int32_t k = 0; k < m->Assignment.TopicPartitions_n; k++)
            for (int32_t j = 0; j < m->Assignment.TopicPartitions[k].Partitions_n; j++)
                add_partition(partitions, m->Assignment.TopicPartitions[k].TopicName,
                              m->Assignment.TopicPartitions[k].Partitions[j]);
        (void)json_array_append_new(members,
                                    member_json(m->MemberId, m->InstanceId, m->ClientId, m->ClientHost,
                                                m->MemberType == 0 ? "classic" : "consumer", partitions));
    }
    *out = group_json(group, r->Groups[0].GroupState, "consumer", r->Groups[0].AssignorName, node, members);
    return FLOE_OK;
}

static enum floe_err ask_classic(struct floe_client *at, const char *group, int32_t node, json_t **out,
                                 int16_t *code, struct floe_error *err)
{
    struct floe_kafka_DescribeGroupsRequest request;
    struct floe_kstr name = floe_kstr(group);
    void *response;
    floe_kafka_defaults(&floe_kafka_DescribeGroupsRequest_desc, &request);
    request.Groups = &name;
    request.Groups_n = 1;
    enum floe_err e = floe_client_call(at, DESCRIBE_GROUPS, INT16_MAX, &request, &response, NULL, err);
    if (e != FLOE_OK)
        return e;
    const struct floe_kafka_DescribeGroupsResponse *r = response;
    if (r->Groups_n != 1)
        return floe_error_set(err, FLOE_EINVAL, "the broker did not answer for this group");
    *code = r->Groups[0].ErrorCode;
    if (*code == 0 && floe_kstr_is(r->Groups[0].GroupState, "Dead"))
        *code = FLOE_KERR_GROUP_ID_NOT_FOUND; /* so said by versions before 6 */
    if (*code != 0) {
        (void)floe_client_error(*code, r->Groups[0].ErrorMessage, err);
        return FLOE_OK;
    }
    json_t *members = json_array();
    for (int32_t i = 0; i < r->Groups[0].Members_n; i++) {
        const struct floe_kafka_DescribeGroupsResponse_DescribedGroupMember *m = &r->Groups[0].Members[i];
        (void)json_array_append_new(members,
                                    member_json(m->MemberId, m->GroupInstanceId, m->ClientId, m->ClientHost,
                                                "classic", classic_partitions(m->MemberAssignment)));
    }
    *out = group_json(group, r->Groups[0].GroupState, "classic", r->Groups[0].ProtocolData, node, members);
    return FLOE_OK;
}

enum floe_err floe_cli_group_json(struct floe_conns *c, const char *group, json_t **out,
                                  struct floe_error *err)
{
    int64_t since = 0;
    for (;;) {
        struct floe_client *at;
        int32_t node;
        int16_t code = 0;
        enum floe_err e = floe_conns_coordinator(c, group, &at, &node, err);
        if (e == FLOE_OK)
            e = ask_consumer(at, group, node, out, &code, err);
        if (e == FLOE_OK && code == FLOE_KERR_GROUP_ID_NOT_FOUND)
            e = ask_classic(at, group, node, out, &code, err);
        if (e != FLOE_OK)
            return e;
        if (code == 0)
            return FLOE_OK;
        if (code == FLOE_KERR_GROUP_ID_NOT_FOUND)
            return floe_error_set(err, FLOE_ENOTFOUND, "%s: there is no group \"%.249s\"",
                                  floe_kafka_error_name(code), group);
        if (!floe_cli_again(code, &since))
            return err->code;
    }
}
