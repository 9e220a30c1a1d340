/* ConsumerGroupDescribe 0–1. */
#include "consumer_int.h"

typedef struct floe_kafka_ConsumerGroupDescribeResponse describe_response;
typedef struct floe_kafka_ConsumerGroupDescribeResponse_DescribedGroup described;
typedef struct floe_kafka_ConsumerGroupDescribeResponse_Member described_member;

/* Read, delete, describe, describe and alter configurations, as bits of Kafka's AclOperation codes 3, 6, 8,
 * 10, 11. */
#define AUTHORIZED_ALL 0xd48
#define MEMBER_TYPE_CLASSIC 0
#define MEMBER_TYPE_CONSUMER 1

/* Answers leave when every group's shard has committed what they tell. */
struct describe {
    struct floe_group_call *c;
    int32_t left;
    struct describe_part {
        struct group_wait w;
        struct describe *d;
        described *out;
    } * parts;
};

static void failed(described *out, int16_t error, const char *why)
{
    out->ErrorCode = error;
    out->ErrorMessage = floe_kstr(why);
    out->Members_n = 0;
}

static void finish(struct describe *d)
{
    if (--d->left == 0)
        group_answer(d->c);
}

static void on_committed(struct group_wait *w, bool committed)
{
    struct describe_part *p = FLOE_CONTAINER(w, struct describe_part, w);
    if (!committed)
        failed(p->out, FLOE_KERR_NOT_COORDINATOR, NULL);
    finish(p->d);
}

/* Topics that are gone are left out. */
static bool tell(struct floe_catalog *topics, struct floe_kafka_ConsumerGroupDescribeResponse_Assignment *out,
                 const struct parts *s, struct floe_arena *a)
{
    out->TopicPartitions =
        floe_kafka_array(&floe_kafka_ConsumerGroupDescribeResponse_TopicPartitions_desc, parts_topics(s), a);
    if (!out->TopicPartitions)
        return false;
    for (uint32_t i = 0, end; i < s->n; i = end) {
        const struct floe_topic *t = floe_catalog_by_id(topics, &s->p[i].topic);
        end = parts_topic_end(s, i);
        if (!t)
            continue;
        struct floe_kafka_ConsumerGroupDescribeResponse_TopicPartitions *to =
            &out->TopicPartitions[out->TopicPartitions_n++];
        to->TopicId = t->id;
        to->TopicName = group_arena_str(a, t->name);
        to->Partitions = floe_arena_alloc(a, (end - i) * sizeof *to->Partitions);
        if (!to->Partitions || to->TopicName.n < 0)
            return false;
        for (uint32_t k = i; k < end; k++)
            to->Partitions[to->Partitions_n++] = s->p[k].index;
    }
    return true;
}

static struct floe_kstr copy(struct floe_arena *a, struct floe_kstr s)
{
    return s.n < 0 ? floe_kstr(NULL) : floe_kstr_n(floe_arena_strndup(a, s.p, (size_t)s.n), (size_t)s.n);
}

static bool tell_member(struct floe_catalog *topics, described_member *out, const struct consumer_member *m,
                        struct floe_arena *a)
{
    const member_meta *v = m->meta;
    out->MemberId = group_arena_str(a, m->id);
    out->InstanceId = copy(a, v->InstanceId);
    out->RackId = copy(a, v->RackId);
    out->MemberEpoch = m->now.epoch;
    out->ClientId = copy(a, v->ClientId);
    out->ClientHost = copy(a, v->ClientHost);
    out->MemberType = consumer_is_classic(m) ? MEMBER_TYPE_CLASSIC : MEMBER_TYPE_CONSUMER;
    out->SubscribedTopicRegex =
        copy(a, v->SubscribedTopicRegex.n > 0 ? v->SubscribedTopicRegex : floe_kstr(""));
    out->SubscribedTopicNames =
        floe_arena_calloc(a, (size_t)v->SubscribedTopicNames_n, sizeof *out->SubscribedTopicNames);
    if (!out->SubscribedTopicNames)
        return false;
    for (int32_t i = 0; i < v->SubscribedTopicNames_n; i++) {
        struct floe_kstr *to = &out->SubscribedTopicNames[out->SubscribedTopicNames_n++];
        *to = copy(a, v->SubscribedTopicNames[i]);
        if (!to->p)
            return false;
    }
    return out->MemberId.n >= 0 && out->ClientId.p && out->ClientHost.p &&
           tell(topics, &out->Assignment, &m->now.assigned, a) &&
           tell(topics, &out->TargetAssignment, &m->target, a);
}

static bool tell_group(struct floe_catalog *topics, described *out, const struct group *g,
                       struct floe_arena *a)
{
    const struct consumer *c = g->consumer;
    struct floe_arena scratch;
    floe_arena_init(&scratch, SIZE_MAX / 2);
    out->AssignorName = floe_kstr(consumer_wants_range(c, &scratch) ? "range" : "uniform");
    floe_arena_fini(&scratch);
    out->GroupState = floe_kstr(consumer_state(g));
    out->GroupEpoch = c->epoch;
    out->AssignmentEpoch = c->target_epoch;
    out->Members =
        floe_kafka_array(&floe_kafka_ConsumerGroupDescribeResponse_Member_desc, (int32_t)c->count, a);
    if (!out->Members)
        return false;
    FLOE_LIST_EACH(it, &c->members)
    {
        if (!tell_member(topics, &out->Members[out->Members_n++],
                         FLOE_LIST_ENTRY(it, struct consumer_member, link), a))
            return false;
    }
    return true;
}

static bool describe_one(struct floe_groups *g, struct describe *d, int32_t i)
{
    const struct floe_kafka_ConsumerGroupDescribeRequest *in = d->c->request;
    described *out = &((describe_response *)d->c->response)->Groups[i];
    struct group_shard *s;
    out->GroupId = in->GroupIds[i];
    int16_t error = groups_shard(g, in->GroupIds[i], false, &s);
    struct group *group = error ? NULL : group_find(s, in->GroupIds[i]);
    if (error)
        failed(out, error, NULL);
    else if (!group || group->kind != GROUP_CONSUMER)
        failed(out, FLOE_KERR_GROUP_ID_NOT_FOUND,
               group ? "The group is not a consumer group." : "The group is not found.");
    else if (!tell_group(g->cfg.catalog, out, group, d->c->arena))
        return false;
    if (in->IncludeAuthorizedOperations && !out->ErrorCode)
        out->AuthorizedOperations = AUTHORIZED_ALL;
    if (!error) {
        d->left++;
        d->parts[i] = (struct describe_part){.w = {.fn = on_committed}, .d = d, .out = out};
    }
    return true;
}

void floe_group_consumer_describe(struct floe_groups *g, struct floe_group_call *c)
{
    c->g = g;
    const struct floe_kafka_ConsumerGroupDescribeRequest *in = c->request;
    int32_t n = FLOE_MAX(in->GroupIds_n, 0);
    describe_response *rs = group_response(c, &floe_kafka_ConsumerGroupDescribeResponse_desc);
    struct describe *d = floe_arena_calloc(c->arena, 1, sizeof *d);
    if (rs && d) {
        rs->Groups =
            floe_kafka_array(&floe_kafka_ConsumerGroupDescribeResponse_DescribedGroup_desc, n, c->arena);
        d->parts = floe_arena_calloc(c->arena, (size_t)n, sizeof *d->parts);
        d->c = c;
        d->left = 1;
    }
    bool ok = rs && d && rs->Groups && d->parts;
    for (int32_t i = 0; ok && i < n; i++)
        ok = describe_one(g, d, i);
    if (!ok) {
        c->response = NULL;
        group_answer(c);
        return;
    }
    rs->Groups_n = n;
    for (int32_t i = 0; i < n; i++) {
        struct group_shard *s;
        if (d->parts[i].d && groups_shard(g, in->GroupIds[i], true, &s) == 0)
            journal_wait(s, &d->parts[i].w);
    }
    finish(d);
}
