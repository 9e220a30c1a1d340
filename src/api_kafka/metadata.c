/* Metadata 0–13, DescribeCluster 0–2: who leads what, and where it listens. */
#include "api_kafka/api_int.h"

#define NO_OPERATIONS INT32_MIN
#define TOPIC_OPERATIONS                                                                                     \
    0x0DF8 /* READ, WRITE, CREATE, DELETE, ALTER, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS */
#define CLUSTER_OPERATIONS                                                                                   \
    0x1FA0 /* CREATE, ALTER, DESCRIBE, CLUSTER_ACTION, DESCRIBE_CONFIGS, ALTER_CONFIGS, IDEMPOTENT_WRITE */
#define CREATE_US 15000000 /* how long an answer waits for topics that it makes */

#define MAKE_MAX 100u /* topics that one request makes */

struct view {
    struct floe_api *api;
    struct floe_request *rq;
    struct api_want *wants;
    uint32_t n, creating;
    bool all;
    int16_t *create_error;
    struct auto_create *makes;
    struct floe_timer timer;
    struct floe_catalog_wait wait;
};
/* One topic that is made because somebody asked about it. */
struct auto_create {
    struct view *v;
    struct floe_catalog_op *op; /* null: not begun, or done */
    uint32_t at;
};

static struct floe_kstr cluster_id(struct floe_request *rq)
{
    char id[23];
    floe_uuid_b64(id, &api_of(rq)->cfg.cluster);
    return api_copy(rq, id);
}

static bool put_partitions(struct floe_request *rq, const struct floe_topic *t,
                           struct floe_kafka_MetadataResponse_MetadataResponseTopic *out)
{
    struct floe_arena *arena = &rq->arena;
    out->Partitions =
        floe_kafka_array(&floe_kafka_MetadataResponse_MetadataResponsePartition_desc, t->partitions, arena);
    if (!out->Partitions)
        return false;
    out->Partitions_n = t->partitions;
    for (int32_t i = 0; i < t->partitions; i++) {
        struct floe_kafka_MetadataResponse_MetadataResponsePartition *p = &out->Partitions[i];
        struct floe_tp tp = {t->id, i};
        p->PartitionIndex = i;
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

static bool put_brokers(struct floe_request *rq, struct floe_kafka_MetadataResponse *rs)
{
    uint32_t n;
    struct api_endpoint *e = api_endpoints(rq, &n);
    if (!e)
        return false;
    rs->Brokers =
        floe_kafka_array(&floe_kafka_MetadataResponse_MetadataResponseBroker_desc, (int32_t)n, &rq->arena);
    if (!rs->Brokers)
        return false;
    rs->Brokers_n = (int32_t)n;
    for (uint32_t i = 0; i < n; i++) {
        rs->Brokers[i].NodeId = e[i].node;
        rs->Brokers[i].Host = e[i].host;
        rs->Brokers[i].Port = e[i].port;
        rs->Brokers[i].Rack = e[i].rack;
    }
    rs->ClusterId = cluster_id(rq);
    rs->ControllerId = floe_lease_node_id(api_of(rq)->cfg.lease);
    return true;
}

static bool put_topic(struct view *v, const struct floe_topic *t, int16_t error, const struct api_want *w,
                      struct floe_kafka_MetadataResponse_MetadataResponseTopic *out)
{
    const struct floe_kafka_MetadataRequest *in = v->rq->body;
    out->TopicAuthorizedOperations = in->IncludeTopicAuthorizedOperations ? TOPIC_OPERATIONS : NO_OPERATIONS;
    if (t) {
        out->Name = api_copy(v->rq, t->name);
        out->TopicId = t->id;
        out->IsInternal = floe_topic_internal(t->name, strlen(t->name));
        return put_partitions(v->rq, t, out);
    }
    out->ErrorCode = error;
    out->Name = w->name;
    out->TopicId = w->id;
    out->IsInternal = w->name.n > 0 && floe_topic_internal(w->name.p, (size_t)w->name.n);
    out->TopicAuthorizedOperations = NO_OPERATIONS;
    return true;
}

static int16_t unknown_error(const struct view *v, uint32_t i)
{
    const struct api_want *w = &v->wants[i];
    if (v->create_error && v->create_error[i])
        return v->create_error[i];
    if (w->name.n >= 0 && floe_topic_name_check(w->name.p, (size_t)w->name.n, NULL))
        return FLOE_KERR_INVALID_TOPIC_EXCEPTION;
    return api_unknown(v->rq, w);
}

static void metadata_answer(struct floe_request *rq)
{
    struct view *v = rq->state;
    const struct floe_kafka_MetadataRequest *in = rq->body;
    struct floe_kafka_MetadataResponse *rs = floe_arena_alloc(&rq->arena, sizeof *rs);
    bool ok = rs != NULL;
    if (ok) {
        floe_kafka_defaults(&floe_kafka_MetadataResponse_desc, rs);
        rs->ClusterAuthorizedOperations =
            in->IncludeClusterAuthorizedOperations ? CLUSTER_OPERATIONS : NO_OPERATIONS;
        ok = put_brokers(rq, rs);
        rs->Topics = floe_kafka_array(&floe_kafka_MetadataResponse_MetadataResponseTopic_desc, (int32_t)v->n,
                                      &rq->arena);
        ok = ok && rs->Topics;
    }
    for (uint32_t i = 0; ok && i < v->n; i++) {
        const struct floe_topic *t = api_topic(v->api, &v->wants[i]);
        if (!t && v->all)
            continue; /* deleted a moment ago */
        ok = put_topic(v, t, t ? 0 : unknown_error(v, i), &v->wants[i], &rs->Topics[rs->Topics_n]);
        rs->Topics_n++;
    }
    if (!ok) {
        api_give_up(rq);
        return;
    }
    rq->response = rs;
    floe_request_complete(rq);
}

static void created(void *user, const struct floe_error *err, const struct floe_uuid *id)
{
    struct auto_create *a = user;
    struct view *v = a->v;
    (void)id;
    a->op = NULL;
    if (err->code && err->code != FLOE_EEXISTS)
        v->create_error[a->at] = api_error(err->code);
    if (err->code == FLOE_EEXISTS)
        v->create_error[a->at] = FLOE_KERR_LEADER_NOT_AVAILABLE; /* unless the cache has it by now */
    if (--v->creating > 0)
        return;
    floe_timer_stop(&v->timer);
    v->rq->cancel = NULL;
    api_topics_ready(v->rq, v->wants, v->n, metadata_answer);
}

/* The topics are still being made: clients ask again. */
static void create_timed_out(struct floe_timer *t)
{
    struct view *v = t->user;
    for (uint32_t i = 0; i < v->n; i++) {
        if (!v->makes[i].op)
            continue;
        floe_catalog_op_detach(v->makes[i].op);
        v->create_error[i] = FLOE_KERR_LEADER_NOT_AVAILABLE;
    }
    metadata_answer(v->rq);
}

/* The client is gone: they are made without it. */
static void cancel(struct floe_request *rq)
{
    struct view *v = rq->state;
    floe_timer_stop(&v->timer);
    create_timed_out(&v->timer);
}

/* Topics that nobody knows are made, where both sides want that; the answer waits, so that it is complete.
 * One that says that they are not known, as Kafka's, would be the first of two that differ: a consumer that
 * assigns nothing by the first and watches for changes since the second never sees the topic. */
static void metadata_known(struct floe_request *rq)
{
    struct view *v = rq->state;
    const struct floe_kafka_MetadataRequest *in = rq->body;
    bool make =
        v->api->cfg.auto_create && (rq->head.api_version < 4 || in->AllowAutoTopicCreation) && !v->all;
    v->create_error = floe_arena_calloc(&rq->arena, v->n, sizeof *v->create_error);
    struct auto_create *a = v->makes = floe_arena_calloc(&rq->arena, v->n, sizeof *a);
    if (!v->create_error || !a) {
        api_give_up(rq);
        return;
    }
    make = make && !rq->lookup_error; /* they may exist */
    v->creating = 1;
    for (uint32_t i = 0, made = 0; make && i < v->n; i++) {
        struct floe_kstr name = v->wants[i].name;
        if (name.n < 0 || api_topic(v->api, &v->wants[i]) ||
            floe_topic_name_check(name.p, (size_t)name.n, NULL))
            continue;
        if (made++ >= MAKE_MAX) { /* the client asks again for the others */
            v->create_error[i] = FLOE_KERR_LEADER_NOT_AVAILABLE;
            continue;
        }
        char *copy = floe_arena_strndup(&rq->arena, name.p, (size_t)name.n);
        a[i] = (struct auto_create){.v = v, .at = i};
        if (copy) {
            struct floe_topic_spec spec = api_auto_spec(v->api, copy);
            a[i].op = floe_catalog_create_topic(v->api->cfg.catalog, &spec, created, &a[i]);
        }
        v->creating += a[i].op != NULL;
        if (!a[i].op)
            v->create_error[i] = FLOE_KERR_LEADER_NOT_AVAILABLE;
    }
    if (--v->creating == 0) {
        metadata_answer(rq);
        return;
    }
    rq->cancel = cancel;
    floe_timer_start(v->api->cfg.loop, &v->timer, CREATE_US);
}

/* What is asked for, each once. */
static bool want_named(struct view *v, const struct floe_kafka_MetadataRequest *in)
{
    uint32_t n = (uint32_t)in->Topics_n;
    bool *repeated = floe_arena_calloc(&v->rq->arena, n, sizeof *repeated);
    v->wants = floe_arena_calloc(&v->rq->arena, n, sizeof *v->wants);
    if (!v->wants || !repeated)
        return false;
    for (uint32_t i = 0; i < n; i++) {
        v->wants[i] = (struct api_want){in->Topics[i].Name, in->Topics[i].TopicId};
        static const struct floe_uuid none;
        if (!floe_uuid_eq(&in->Topics[i].TopicId, &none))
            v->wants[i].name = (struct floe_kstr){NULL, -1}; /* whatever it is called */
    }
    if (!api_repeated(v->rq, v->wants, n, false, repeated))
        return false;
    for (uint32_t i = 0; i < n; i++) {
        if (!repeated[i])
            v->wants[v->n++] = v->wants[i];
    }
    return true;
}

static void all_read(struct floe_catalog_wait *w)
{
    struct floe_request *rq = w->user;
    struct view *v = rq->state;
    if (w->err.code) /* an answer would say that there are no topics; clients ask another broker */
        floe_request_close(rq, "the topics cannot be read: %s", w->err.msg);
    else if ((v->wants = api_all_topics(rq, &v->n)))
        api_topics_ready(rq, v->wants, v->n, metadata_known);
    else
        api_give_up(rq);
}

/* Ids have a place from version 10 on and are served from 12 on; a topic without a name is none before that:
 * Kafka answers with nothing but the error. */
static bool refuses_ids(struct floe_request *rq, const struct floe_kafka_MetadataRequest *in)
{
    bool odd = false;
    for (int32_t i = 0; rq->head.api_version < 12 && i < in->Topics_n; i++)
        odd |= in->Topics[i].Name.n < 0 || !floe_uuid_is_zero(&in->Topics[i].TopicId);
    if (!odd)
        return false;
    struct floe_kafka_MetadataResponse *rs = floe_arena_alloc(&rq->arena, sizeof *rs);
    if (rs) {
        floe_kafka_defaults(&floe_kafka_MetadataResponse_desc, rs);
        rs->Topics = floe_kafka_array(&floe_kafka_MetadataResponse_MetadataResponseTopic_desc, in->Topics_n,
                                      &rq->arena);
    }
    if (!rs || !rs->Topics) {
        api_give_up(rq);
        return true;
    }
    for (int32_t i = 0; i < in->Topics_n; i++) {
        struct floe_kafka_MetadataResponse_MetadataResponseTopic *t = &rs->Topics[i];
        t->ErrorCode = FLOE_KERR_INVALID_REQUEST;
        t->Name = in->Topics[i].Name.n < 0 ? floe_kstr("") : in->Topics[i].Name;
        t->TopicId = in->Topics[i].TopicId;
        t->TopicAuthorizedOperations = NO_OPERATIONS;
        rs->Topics_n = i + 1;
    }
    rs->ClusterAuthorizedOperations = NO_OPERATIONS;
    rq->response = rs;
    floe_request_complete(rq);
    return true;
}

void api_metadata(struct floe_request *rq)
{
    const struct floe_kafka_MetadataRequest *in = rq->body;
    if (refuses_ids(rq, in))
        return;
    struct view *v = floe_arena_alloc(&rq->arena, sizeof *v);
    if (!v) {
        api_give_up(rq);
        return;
    }
    *v = (struct view){.api = api_of(rq), .rq = rq};
    floe_timer_init(&v->timer, create_timed_out, v);
    v->all = in->Topics_n < 0 || (rq->head.api_version == 0 && in->Topics_n == 0);
    rq->state = v;
    if (v->all && !floe_catalog_loaded(v->api->cfg.catalog)) {
        v->wait = (struct floe_catalog_wait){.all = true, .done = all_read, .user = rq};
        floe_catalog_resolve(v->api->cfg.catalog, &v->wait);
        return;
    }
    if (v->all) {
        v->wait.user = rq;
        all_read(&v->wait);
        return;
    }
    if (!want_named(v, in)) {
        api_give_up(rq);
        return;
    }
    api_topics_ready(rq, v->wants, v->n, metadata_known);
}

void api_describe_cluster(struct floe_request *rq)
{
    const struct floe_kafka_DescribeClusterRequest *in = rq->body;
    struct floe_kafka_DescribeClusterResponse *rs = floe_arena_alloc(&rq->arena, sizeof *rs);
    uint32_t n;
    struct floe_node_info *nodes = api_nodes(rq, &n);
    if (!rs || !nodes) {
        api_give_up(rq);
        return;
    }
    floe_kafka_defaults(&floe_kafka_DescribeClusterResponse_desc, rs);
    if (in->EndpointType != 1) {
        rs->ErrorCode =
            in->EndpointType == 2 ? FLOE_KERR_MISMATCHED_ENDPOINT_TYPE : FLOE_KERR_UNSUPPORTED_ENDPOINT_TYPE;
        rs->ErrorMessage = floe_kstr("This is a broker: only endpoint type 1 is served here.");
        rq->response = rs;
        floe_request_complete(rq);
        return;
    }
    rs->EndpointType = 1;
    rs->ClusterId = cluster_id(rq);
    rs->ControllerId = floe_lease_node_id(api_of(rq)->cfg.lease);
    if (in->IncludeClusterAuthorizedOperations)
        rs->ClusterAuthorizedOperations = CLUSTER_OPERATIONS;
    rs->Brokers = floe_kafka_array(&floe_kafka_DescribeClusterResponse_DescribeClusterBroker_desc, (int32_t)n,
                                   &rq->arena);
    for (uint32_t i = 0; rs->Brokers && i < n; i++) {
        struct api_endpoint e;
        api_endpoint_of(rq, &nodes[i], &e);
        rs->Brokers[i].BrokerId = e.node;
        rs->Brokers[i].Host = e.host;
        rs->Brokers[i].Port = e.port;
        rs->Brokers[i].Rack = e.rack;
        rs->Brokers[i].IsFenced = rq->head.api_version >= 2 && nodes[i].state != FLOE_NODE_LIVE;
        rs->Brokers_n = (int32_t)i + 1;
    }
    rq->response = rs;
    floe_request_complete(rq);
}
