/* DescribeProducers 0, DescribeQuorum 0-2, UpdateFeatures 0-2, ListConfigResources 0-1: what tools look at.
 */
#include "api_kafka/api_int.h"
#include <stdio.h>

typedef struct floe_kafka_DescribeProducersResponse_PartitionResponse producers_of;
typedef struct floe_kafka_DescribeQuorumResponse_PartitionData quorum;

/* ---- DescribeProducers: of partitions that this broker leads ------------------------------------------- */

static bool put_producers(struct floe_request *rq, const struct floe_partition *p, producers_of *out)
{
    uint32_t n = floe_partition_producers(p, NULL, 0);
    struct floe_producer_info *list = floe_arena_calloc(&rq->arena, n, sizeof *list);
    out->ActiveProducers =
        floe_kafka_array(&floe_kafka_DescribeProducersResponse_ProducerState_desc, (int32_t)n, &rq->arena);
    if (!list || !out->ActiveProducers)
        return false;
    n = floe_partition_producers(p, list, n);
    out->ActiveProducers_n = (int32_t)n;
    for (uint32_t i = 0; i < n; i++) {
        struct floe_kafka_DescribeProducersResponse_ProducerState *s = &out->ActiveProducers[i];
        s->ProducerId = list[i].id;
        s->ProducerEpoch = list[i].epoch;
        s->LastSequence = list[i].last_sequence;
        s->LastTimestamp = list[i].last_timestamp;
        s->CoordinatorEpoch = -1; /* no transactions */
    }
    return true;
}

static bool producers_one(struct floe_request *rq, const struct floe_kstr *name, int32_t index,
                          producers_of *out)
{
    const struct api_want want = {.name = *name};
    const struct floe_topic *t = api_topic(api_of(rq), &want);
    struct floe_tp tp = {t ? t->id : (struct floe_uuid){{0}}, index};
    struct floe_partition *p;
    out->PartitionIndex = index;
    switch (api_place(api_of(rq), t, &tp, &p)) {
    case API_UNKNOWN:
        out->ErrorCode = t ? FLOE_KERR_UNKNOWN_TOPIC_OR_PARTITION : api_unknown(rq, &want);
        if (floe_topic_name_check(name->p, (size_t)FLOE_MAX(name->n, 0), NULL))
            out->ErrorCode = FLOE_KERR_INVALID_TOPIC_EXCEPTION;
        if (t)
            return true; /* Kafka says no more of a partition that is not there */
        break;
    case API_ELSEWHERE:
        out->ErrorCode = FLOE_KERR_NOT_LEADER_OR_FOLLOWER;
        break;
    case API_WAIT:
    case API_HANDING:
        out->ErrorCode = FLOE_KERR_LEADER_NOT_AVAILABLE;
        break;
    case API_SERVING:
        return put_producers(rq, p, out);
    }
    out->ErrorMessage = floe_kstr(floe_kafka_error_message(out->ErrorCode));
    return true;
}

static void producers(struct floe_request *rq)
{
    const struct floe_kafka_DescribeProducersRequest *in = rq->body;
    struct floe_kafka_DescribeProducersResponse *rs = rq->state;
    bool ok = true;
    for (int32_t i = 0; ok && i < rs->Topics_n; i++) {
        int32_t n = FLOE_MAX(in->Topics[i].PartitionIndexes_n, 0);
        rs->Topics[i].Name = in->Topics[i].Name;
        rs->Topics[i].Partitions =
            floe_kafka_array(&floe_kafka_DescribeProducersResponse_PartitionResponse_desc, n, &rq->arena);
        ok = rs->Topics[i].Partitions != NULL;
        rs->Topics[i].Partitions_n = ok ? n : 0;
        for (int32_t k = 0; ok && k < n; k++)
            ok = producers_one(rq, &rs->Topics[i].Name, in->Topics[i].PartitionIndexes[k],
                               &rs->Topics[i].Partitions[k]);
    }
    if (!ok) {
        api_give_up(rq);
        return;
    }
    rq->response = rs;
    floe_request_complete(rq);
}

void api_describe_producers(struct floe_request *rq)
{
    const struct floe_kafka_DescribeProducersRequest *in = rq->body;
    struct floe_kafka_DescribeProducersResponse *rs = floe_arena_alloc(&rq->arena, sizeof *rs);
    int32_t n = FLOE_MAX(in->Topics_n, 0);
    struct api_want *wants = floe_arena_calloc(&rq->arena, (size_t)n, sizeof *wants);
    if (rs) {
        floe_kafka_defaults(&floe_kafka_DescribeProducersResponse_desc, rs);
        rs->Topics =
            floe_kafka_array(&floe_kafka_DescribeProducersResponse_TopicResponse_desc, n, &rq->arena);
        rs->Topics_n = n;
    }
    if (!rs || !wants || !rs->Topics) {
        api_give_up(rq);
        return;
    }
    for (int32_t i = 0; i < n; i++)
        wants[i].name = in->Topics[i].Name;
    rq->state = rs;
    api_topics_ready(rq, wants, (uint32_t)n, producers);
}

/* ---- DescribeQuorum ------------------------------------------------------------------------------------ */

/* The brokers vote on nothing, but each can do what a controller does, by the table alone: all are shown as
 * voters that have caught up with the table's catalog version, and the broker that answers as the leader, as
 * in Metadata. */
/* In upper case: Kafka's tools take no other. */
static struct floe_kstr listener_name(struct floe_request *rq)
{
    char name[32];
    memcpy(name, api_of(rq)->cfg.listeners[rq->client->listener], sizeof name);
    for (char *p = name; *p; p++)
        *p = *p >= 'a' && *p <= 'z' ? (char)(*p - 'a' + 'A') : *p;
    return api_copy(rq, name);
}

static bool put_quorum(struct floe_request *rq, struct floe_kafka_DescribeQuorumResponse *rs, quorum *out)
{
    struct floe_lease *lease = api_of(rq)->cfg.lease;
    int64_t version = (int64_t)floe_lease_catalog_version(lease),
            now = floe_loop_wall_ms(api_of(rq)->cfg.loop);
    uint32_t n;
    struct api_endpoint *e = api_endpoints(rq, &n);
    if (!e)
        return false;
    out->LeaderId = floe_lease_node_id(lease);
    out->LeaderEpoch = 0;
    out->HighWatermark = version;
    out->CurrentVoters =
        floe_kafka_array(&floe_kafka_DescribeQuorumResponse_ReplicaState_desc, (int32_t)n, &rq->arena);
    rs->Nodes = floe_kafka_array(&floe_kafka_DescribeQuorumResponse_Node_desc, (int32_t)n, &rq->arena);
    if (!out->CurrentVoters || !rs->Nodes)
        return false;
    out->CurrentVoters_n = (int32_t)n;
    rs->Nodes_n = rq->head.api_version >= 2 ? (int32_t)n : 0;
    for (uint32_t i = 0; i < n; i++) {
        out->CurrentVoters[i].ReplicaId = rs->Nodes[i].NodeId = e[i].node;
        out->CurrentVoters[i].LogEndOffset = version;
        out->CurrentVoters[i].LastFetchTimestamp = out->CurrentVoters[i].LastCaughtUpTimestamp = now;
        rs->Nodes[i].Listeners =
            floe_kafka_array(&floe_kafka_DescribeQuorumResponse_Listener_desc, 1, &rq->arena);
        if (!rs->Nodes[i].Listeners)
            return false;
        rs->Nodes[i].Listeners_n = 1;
        rs->Nodes[i].Listeners[0].Name = listener_name(rq);
        rs->Nodes[i].Listeners[0].Host = e[i].host;
        rs->Nodes[i].Listeners[0].Port = (uint16_t)e[i].port;
    }
    return true;
}

void api_describe_quorum(struct floe_request *rq)
{
    const struct floe_kafka_DescribeQuorumRequest *in = rq->body;
    struct floe_kafka_DescribeQuorumResponse *rs = floe_arena_alloc(&rq->arena, sizeof *rs);
    int32_t n = FLOE_MAX(in->Topics_n, 0);
    bool ok = rs != NULL;
    if (ok) {
        floe_kafka_defaults(&floe_kafka_DescribeQuorumResponse_desc, rs);
        rs->Topics = floe_kafka_array(&floe_kafka_DescribeQuorumResponse_TopicData_desc, n, &rq->arena);
        ok = rs->Topics != NULL;
        rs->Topics_n = ok ? n : 0;
    }
    for (int32_t i = 0; ok && i < n; i++) {
        int32_t m = FLOE_MAX(in->Topics[i].Partitions_n, 0);
        rs->Topics[i].TopicName = in->Topics[i].TopicName;
        rs->Topics[i].Partitions =
            floe_kafka_array(&floe_kafka_DescribeQuorumResponse_PartitionData_desc, m, &rq->arena);
        ok = rs->Topics[i].Partitions != NULL;
        rs->Topics[i].Partitions_n = ok ? m : 0;
        for (int32_t k = 0; ok && k < m; k++) {
            quorum *q = &rs->Topics[i].Partitions[k];
            q->PartitionIndex = in->Topics[i].Partitions[k].PartitionIndex;
            if (q->PartitionIndex == 0 && floe_kstr_is(in->Topics[i].TopicName, "__cluster_metadata"))
                ok = put_quorum(rq, rs, q);
            else
                q->ErrorCode = FLOE_KERR_UNKNOWN_TOPIC_OR_PARTITION;
        }
    }
    if (!ok) {
        api_give_up(rq);
        return;
    }
    rq->response = rs;
    floe_request_complete(rq);
}

/* ---- UpdateFeatures ------------------------------------------------------------------------------------ */

/* No feature of Kafka's is finalized by an administrator here: what all brokers understand is in use. */
void api_update_features(struct floe_request *rq)
{
    const struct floe_kafka_UpdateFeaturesRequest *in = rq->body;
    struct floe_kafka_UpdateFeaturesResponse *rs = floe_arena_alloc(&rq->arena, sizeof *rs);
    if (!rs) {
        api_give_up(rq);
        return;
    }
    floe_kafka_defaults(&floe_kafka_UpdateFeaturesResponse_desc, rs);
    rs->ErrorMessage = (struct floe_kstr){NULL, -1};
    if (in->FeatureUpdates_n > 0) {
        const struct floe_kafka_UpdateFeaturesRequest_FeatureUpdateKey *f = &in->FeatureUpdates[0];
        char text[192];
        snprintf(text, sizeof text,
                 "Invalid update version %d for feature %.*s. The brokers do not support it.",
                 f->MaxVersionLevel, (int)FLOE_MIN(f->Feature.n, 64), f->Feature.p);
        rs->ErrorCode = FLOE_KERR_INVALID_UPDATE_VERSION;
        rs->ErrorMessage = api_copy(rq, text);
    }
    rq->response = rs;
    floe_request_complete(rq);
}

/* ---- ListConfigResources ------------------------------------------------------------------------------- */

enum { CONFIG_TOPIC = 2, CONFIG_BROKER = 4, CONFIG_LOGGER = 8, CONFIG_METRICS = 16, CONFIG_GROUP = 32 };

struct resources {
    struct floe_catalog_wait wait;
    struct floe_kafka_ListConfigResourcesResponse *rs;
    uint8_t types; /* CONFIG_ bits */
};

static void add(struct floe_request *rq, const char *name, uint8_t type)
{
    struct floe_kafka_ListConfigResourcesResponse *rs = ((struct resources *)rq->state)->rs;
    rs->ConfigResources[rs->ConfigResources_n].ResourceName = api_copy(rq, name);
    rs->ConfigResources[rs->ConfigResources_n++].ResourceType = (int8_t)type;
}

/* Groups that have configurations of their own; the list is in order. */
static void add_groups(struct floe_request *rq, const struct floe_dynamics *d)
{
    const char *last = NULL;
    for (uint32_t i = 0; i < d->n; i++) {
        if (d->list[i].kind != FLOE_DYNAMIC_GROUP || (last && strcmp(last, d->list[i].resource) == 0))
            continue;
        last = d->list[i].resource;
        add(rq, last, CONFIG_GROUP);
    }
}

static void list_resources(struct floe_request *rq)
{
    struct resources *r = rq->state;
    struct floe_kafka_ListConfigResourcesResponse *rs = r->rs;
    struct floe_catalog *catalog = api_of(rq)->cfg.catalog;
    uint32_t topics = r->types & CONFIG_TOPIC ? floe_catalog_list(catalog, NULL, 0) : 0, brokers;
    const struct floe_topic **list = floe_arena_calloc(&rq->arena, topics, sizeof(void *));
    struct api_endpoint *e = api_endpoints(rq, &brokers);
    const struct floe_dynamics *dynamic = floe_catalog_dynamics(catalog);
    rs->ConfigResources = floe_kafka_array(&floe_kafka_ListConfigResourcesResponse_ConfigResource_desc,
                                           (int32_t)(topics + 2 * brokers + dynamic->n), &rq->arena);
    if (!list || !e || !rs->ConfigResources) {
        api_give_up(rq);
        return;
    }
    topics = topics > 0 ? FLOE_MIN(floe_catalog_list(catalog, list, topics), topics) : 0;
    for (uint32_t i = 0; i < topics; i++)
        add(rq, list[i]->name, CONFIG_TOPIC);
    for (uint8_t type = CONFIG_BROKER; type <= CONFIG_LOGGER; type = (uint8_t)(2 * type)) {
        for (uint32_t i = 0; i < brokers && r->types & type; i++) {
            char id[16];
            snprintf(id, sizeof id, "%d", (int)e[i].node);
            add(rq, id, type);
        }
    }
    if (r->types & CONFIG_GROUP)
        add_groups(rq, dynamic);
    rq->response = rs;
    floe_request_complete(rq);
}

static void topics_read(struct floe_catalog_wait *w)
{
    struct floe_request *rq = w->user;
    struct resources *r = rq->state;
    if (!w->err.code) {
        list_resources(rq);
        return;
    }
    r->rs->ErrorCode = FLOE_KERR_REQUEST_TIMED_OUT;
    rq->response = r->rs;
    floe_request_complete(rq);
}

/* Version 0 asks for client metrics (KIP-714), which are not kept here. */
void api_list_config_resources(struct floe_request *rq)
{
    const struct floe_kafka_ListConfigResourcesRequest *in = rq->body;
    struct resources *r = floe_arena_alloc(&rq->arena, sizeof *r);
    struct floe_kafka_ListConfigResourcesResponse *rs = floe_arena_alloc(&rq->arena, sizeof *rs);
    if (!r || !rs) {
        api_give_up(rq);
        return;
    }
    floe_kafka_defaults(&floe_kafka_ListConfigResourcesResponse_desc, rs);
    *r = (struct resources){.rs = rs, .wait = {.all = true, .done = topics_read, .user = rq}};
    rq->state = r;
    if (rq->head.api_version > 0 && in->ResourceTypes_n <= 0)
        r->types = CONFIG_TOPIC | CONFIG_BROKER | CONFIG_LOGGER | CONFIG_GROUP;
    for (int32_t i = 0; i < in->ResourceTypes_n; i++) {
        int8_t type = in->ResourceTypes[i];
        if (type != CONFIG_TOPIC && type != CONFIG_BROKER && type != CONFIG_LOGGER &&
            type != CONFIG_METRICS && type != CONFIG_GROUP) {
            rs->ErrorCode = FLOE_KERR_UNSUPPORTED_VERSION;
            rq->response = rs;
            floe_request_complete(rq);
            return;
        }
        r->types |= (uint8_t)type;
    }
    if (r->types & CONFIG_TOPIC && !floe_catalog_loaded(api_of(rq)->cfg.catalog))
        floe_catalog_resolve(api_of(rq)->cfg.catalog, &r->wait);
    else
        list_resources(rq);
}
