/* DescribeTopicPartitions 0 (KIP-966): topics in order of name, a page at a time. */
#include "api_kafka/api_int.h"
#include <stdlib.h>

#define PARTITIONS_MAX 2000
#define TOPIC_OPERATIONS 3576 /* every operation on a topic, as bits by AclOperation */

struct listing {
    struct api_want *wants; /* in order of name */
    uint32_t n;
    struct floe_catalog_wait wait;
};

static int by_name(const void *a, const void *b)
{
    const struct floe_kstr *x = &((const struct api_want *)a)->name, *y = &((const struct api_want *)b)->name;
    size_t n = (size_t)FLOE_MIN(x->n, y->n);
    int c = n ? memcmp(x->p, y->p, n) : 0;
    return c ? c : (x->n > y->n) - (x->n < y->n);
}

static bool put(struct floe_request *rq, const struct floe_topic *t, int32_t from, int32_t n,
                struct floe_kafka_DescribeTopicPartitionsResponse_DescribeTopicPartitionsResponseTopic *out)
{
    out->Name = api_copy(rq, t->name);
    out->TopicId = t->id;
    out->IsInternal = floe_topic_internal(t->name, strlen(t->name));
    out->TopicAuthorizedOperations = TOPIC_OPERATIONS;
    out->Partitions = floe_kafka_array(
        &floe_kafka_DescribeTopicPartitionsResponse_DescribeTopicPartitionsResponsePartition_desc, n,
        &rq->arena);
    if (!out->Partitions)
        return false;
    out->Partitions_n = n;
    for (int32_t i = 0; i < n; i++) {
        struct floe_kafka_DescribeTopicPartitionsResponse_DescribeTopicPartitionsResponsePartition *p =
            &out->Partitions[i];
        struct floe_tp tp = {t->id, from + i};
        p->PartitionIndex = from + i;
        p->EligibleLeaderReplicas_n = p->LastKnownElr_n = 0; /* the Java client fails on null */
        if (!api_leader(api_of(rq), &tp, &p->LeaderId, &p->LeaderEpoch)) {
            p->ErrorCode = FLOE_KERR_LEADER_NOT_AVAILABLE;
            p->LeaderId = -1;
            continue;
        }
        p->ReplicaNodes = p->IsrNodes = api_replicas(rq, &tp, p->LeaderId, &p->ReplicaNodes_n);
        if (!p->IsrNodes)
            return false;
        p->IsrNodes_n = p->ReplicaNodes_n;
    }
    return true;
}

/* Fills one page; false when memory is out. */
static bool page(struct floe_request *rq, struct listing *l,
                 struct floe_kafka_DescribeTopicPartitionsResponse *rs)
{
    const struct floe_kafka_DescribeTopicPartitionsRequest *in = rq->body;
    int32_t left = FLOE_MAX(FLOE_MIN(in->ResponsePartitionLimit, PARTITIONS_MAX), 1);
    rs->Topics = floe_kafka_array(
        &floe_kafka_DescribeTopicPartitionsResponse_DescribeTopicPartitionsResponseTopic_desc, (int32_t)l->n,
        &rq->arena);
    if (!rs->Topics)
        return false;
    for (uint32_t i = 0; i < l->n; i++) {
        int32_t from = 0;
        if (in->Cursor) {
            struct api_want cursor = {.name = in->Cursor->TopicName};
            int c = by_name(&l->wants[i], &cursor);
            if (c < 0)
                continue;
            from = c == 0 ? FLOE_MAX(in->Cursor->PartitionIndex, 0) : 0;
        }
        const struct floe_topic *t = api_topic(api_of(rq), &l->wants[i]);
        int32_t n = t ? FLOE_MIN(FLOE_MAX(t->partitions - from, 0), left) : 0;
        if (t && left == 0) { /* the next page begins here */
            rs->NextCursor = floe_arena_alloc(&rq->arena, sizeof *rs->NextCursor);
            if (!rs->NextCursor)
                return false;
            floe_kafka_struct_defaults(&floe_kafka_DescribeTopicPartitionsResponse_Cursor_desc,
                                       rs->NextCursor);
            rs->NextCursor->TopicName = l->wants[i].name;
            rs->NextCursor->PartitionIndex = from;
            return true;
        }
        struct floe_kafka_DescribeTopicPartitionsResponse_DescribeTopicPartitionsResponseTopic *out =
            &rs->Topics[rs->Topics_n++];
        if (!t) {
            out->Name = l->wants[i].name;
            out->IsInternal = floe_topic_internal(out->Name.p, (size_t)out->Name.n);
            out->TopicAuthorizedOperations = TOPIC_OPERATIONS;
            out->ErrorCode = floe_topic_name_check(out->Name.p, (size_t)out->Name.n, NULL)
                                 ? FLOE_KERR_INVALID_TOPIC_EXCEPTION
                                 : api_unknown(rq, &l->wants[i]);
            continue;
        }
        if (!put(rq, t, from, n, out))
            return false;
        left -= n;
        if (from + n < t->partitions) {
            rs->NextCursor = floe_arena_alloc(&rq->arena, sizeof *rs->NextCursor);
            if (!rs->NextCursor)
                return false;
            floe_kafka_struct_defaults(&floe_kafka_DescribeTopicPartitionsResponse_Cursor_desc,
                                       rs->NextCursor);
            rs->NextCursor->TopicName = l->wants[i].name;
            rs->NextCursor->PartitionIndex = from + n;
            return true;
        }
    }
    return true;
}

/* A cursor of no partition, or of a topic that is not asked for: as in Kafka each topic says so. */
static bool bad_cursor(const struct floe_kafka_DescribeTopicPartitionsRequest *in)
{
    if (!in->Cursor)
        return false;
    bool named = in->Topics_n <= 0;
    for (int32_t i = 0; !named && i < in->Topics_n; i++)
        named = floe_kstr_eq(in->Topics[i].Name, in->Cursor->TopicName);
    return in->Cursor->PartitionIndex < 0 || !named;
}

static void refuse_all(struct floe_request *rq)
{
    const struct floe_kafka_DescribeTopicPartitionsRequest *in = rq->body;
    struct floe_kafka_DescribeTopicPartitionsResponse *rs = floe_arena_alloc(&rq->arena, sizeof *rs);
    int32_t n = FLOE_MAX(in->Topics_n, 0);
    if (rs) {
        floe_kafka_defaults(&floe_kafka_DescribeTopicPartitionsResponse_desc, rs);
        rs->Topics = floe_kafka_array(
            &floe_kafka_DescribeTopicPartitionsResponse_DescribeTopicPartitionsResponseTopic_desc, n,
            &rq->arena);
    }
    if (!rs || !rs->Topics) {
        api_give_up(rq);
        return;
    }
    for (int32_t i = 0; i < n; i++) {
        rs->Topics[i].Name = in->Topics[i].Name;
        rs->Topics[i].ErrorCode = FLOE_KERR_INVALID_REQUEST;
        rs->Topics_n = i + 1;
    }
    rq->response = rs;
    floe_request_complete(rq);
}

static void ready(struct floe_request *rq)
{
    struct floe_kafka_DescribeTopicPartitionsResponse *rs = floe_arena_alloc(&rq->arena, sizeof *rs);
    if (rs)
        floe_kafka_defaults(&floe_kafka_DescribeTopicPartitionsResponse_desc, rs);
    if (!rs || !page(rq, rq->state, rs)) {
        api_give_up(rq);
        return;
    }
    rq->response = rs;
    floe_request_complete(rq);
}

static void all_read(struct floe_catalog_wait *w)
{
    struct floe_request *rq = w->user;
    struct listing *l = rq->state;
    if (w->err.code) { /* an answer would say that there are no topics; clients ask another broker */
        floe_request_close(rq, "the topics cannot be read: %s", w->err.msg);
        return;
    }
    l->wants = api_all_topics(rq, &l->n);
    if (!l->wants) {
        api_give_up(rq);
        return;
    }
    api_topics_ready(rq, l->wants, l->n, ready);
}

void api_describe_topic_partitions(struct floe_request *rq)
{
    const struct floe_kafka_DescribeTopicPartitionsRequest *in = rq->body;
    struct listing *l = floe_arena_alloc(&rq->arena, sizeof *l);
    if (!l) {
        api_give_up(rq);
        return;
    }
    rq->state = l;
    if (bad_cursor(in)) {
        refuse_all(rq);
        return;
    }
    if (in->Topics_n <= 0) { /* all of them */
        l->wait = (struct floe_catalog_wait){.all = true, .done = all_read, .user = rq};
        if (floe_catalog_loaded(api_of(rq)->cfg.catalog))
            all_read(&l->wait);
        else
            floe_catalog_resolve(api_of(rq)->cfg.catalog, &l->wait);
        return;
    }
    l->n = (uint32_t)in->Topics_n;
    l->wants = floe_arena_calloc(&rq->arena, l->n, sizeof *l->wants);
    if (!l->wants) {
        api_give_up(rq);
        return;
    }
    for (uint32_t i = 0; i < l->n; i++)
        l->wants[i].name = in->Topics[i].Name;
    qsort(l->wants, l->n, sizeof *l->wants, by_name);
    uint32_t left = FLOE_MIN(l->n, 1u); /* each once */
    for (uint32_t i = 1; i < l->n; i++)
        if (!floe_kstr_eq(l->wants[i].name, l->wants[left - 1].name))
            l->wants[left++] = l->wants[i];
    l->n = left;
    api_topics_ready(rq, l->wants, l->n, ready);
}
