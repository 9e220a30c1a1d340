/* ApiVersions 0–4, InitProducerId 0–5, and the brokers' own APIs. */
#include "api_kafka/api_int.h"
#include <floe/base/log.h>
#include <stdio.h>

static bool alnum(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

/* KIP-511: [a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])? */
static bool software_ok(struct floe_kstr s)
{
    if (s.n < 1 || !alnum(s.p[0]) || !alnum(s.p[s.n - 1]))
        return false;
    for (int32_t i = 0; i < s.n; i++) {
        if (!alnum(s.p[i]) && s.p[i] != '-' && s.p[i] != '.')
            return false;
    }
    return true;
}

/* What Kafka calls features, all of them in use: tools and consoles tell a cluster's version by
 * metadata.version. Clients that speak version 3 cannot read one that begins with 0. */
static bool put_features(struct floe_request *rq, struct floe_kafka_ApiVersionsResponse *rs)
{
    static const struct {
        const char *name;
        int16_t min, max;
    } features[] = {{"metadata.version", 7, 27 /* 3.3-IV3 to 4.1-IV1 */}, {"group.version", 0, 1}};
    int32_t n = FLOE_COUNTOF(features);
    rs->SupportedFeatures =
        floe_kafka_array(&floe_kafka_ApiVersionsResponse_SupportedFeatureKey_desc, n, &rq->arena);
    rs->FinalizedFeatures =
        floe_kafka_array(&floe_kafka_ApiVersionsResponse_FinalizedFeatureKey_desc, n, &rq->arena);
    if (!rs->SupportedFeatures || !rs->FinalizedFeatures)
        return false;
    for (int32_t i = 0; i < n; i++) {
        struct floe_kafka_ApiVersionsResponse_FinalizedFeatureKey *now = &rs->FinalizedFeatures[i];
        now->Name = floe_kstr(features[i].name);
        now->MinVersionLevel = now->MaxVersionLevel = features[i].max;
        if (features[i].min == 0 && rq->head.api_version < 4)
            continue;
        struct floe_kafka_ApiVersionsResponse_SupportedFeatureKey *can =
            &rs->SupportedFeatures[rs->SupportedFeatures_n++];
        can->Name = floe_kstr(features[i].name);
        can->MinVersion = features[i].min;
        can->MaxVersion = features[i].max;
    }
    rs->FinalizedFeatures_n = n;
    rs->FinalizedFeaturesEpoch = 0;
    return true;
}

void api_versions(struct floe_request *rq)
{
    const struct floe_kafka_ApiVersionsRequest *in = rq->body;
    struct floe_kafka_ApiVersionsResponse *rs = floe_arena_alloc(&rq->arena, sizeof *rs);
    uint32_t n;
    const struct floe_version_range *r = floe_api_served(&n);
    if (!rs) {
        api_give_up(rq);
        return;
    }
    floe_kafka_defaults(&floe_kafka_ApiVersionsResponse_desc, rs);
    rs->ApiKeys = floe_kafka_array(&floe_kafka_ApiVersionsResponse_ApiVersion_desc, (int32_t)n, &rq->arena);
    if (!rs->ApiKeys) {
        api_give_up(rq);
        return;
    }
    bool bad = !rq->unsupported && rq->head.api_version >= 3 &&
               (!software_ok(in->ClientSoftwareName) || !software_ok(in->ClientSoftwareVersion));
    if (!rq->unsupported && !bad && !put_features(rq, rs)) {
        api_give_up(rq);
        return;
    }
    if (rq->unsupported)
        rs->ErrorCode = FLOE_KERR_UNSUPPORTED_VERSION;
    else if (bad)
        rs->ErrorCode = FLOE_KERR_INVALID_REQUEST;
    for (uint32_t i = 0; i < n && !bad; i++) {
        if (floe_kafka_api_find(r[i].key)->peer || (rq->unsupported && r[i].key != 18))
            continue;
        rs->ApiKeys[rs->ApiKeys_n].ApiKey = r[i].key;
        rs->ApiKeys[rs->ApiKeys_n].MinVersion = r[i].min;
        rs->ApiKeys[rs->ApiKeys_n].MaxVersion = r[i].max;
        rs->ApiKeys_n++;
    }
    rq->response = rs;
    floe_request_complete(rq);
}

static void id_taken(void *user, const struct floe_error *err, int64_t id)
{
    struct floe_request *rq = user;
    struct floe_kafka_InitProducerIdResponse *rs = rq->state;
    /* What Kafka answers while it has no block of ids; clients ask again. */
    rs->ErrorCode = err->code ? FLOE_KERR_COORDINATOR_LOAD_IN_PROGRESS : 0;
    rs->ProducerId = err->code ? -1 : id;
    rs->ProducerEpoch = err->code ? -1 : 0;
    rq->response = rs;
    floe_request_complete(rq);
}

void api_init_producer_id(struct floe_request *rq)
{
    const struct floe_kafka_InitProducerIdRequest *in = rq->body;
    struct floe_kafka_InitProducerIdResponse *rs = floe_arena_alloc(&rq->arena, sizeof *rs);
    if (!rs) {
        api_give_up(rq);
        return;
    }
    floe_kafka_defaults(&floe_kafka_InitProducerIdResponse_desc, rs);
    rq->state = rs;
    if ((in->ProducerId == -1) != (in->ProducerEpoch == -1)) {
        rs->ErrorCode = FLOE_KERR_INVALID_REQUEST;
        rs->ProducerEpoch = -1;
        rq->response = rs;
        floe_request_complete(rq);
        return;
    }
    if (in->TransactionalId.n < 0) {
        floe_catalog_producer_id(api_of(rq)->cfg.catalog, id_taken, rq);
        return;
    }
    rs->ProducerEpoch = -1;
    rs->ErrorCode = in->TransactionalId.n == 0 ? FLOE_KERR_INVALID_REQUEST : FLOE_KERR_UNSUPPORTED_VERSION;
    if (in->TransactionalId.n > 0 && !rq->client->warned) { /* clients ask twice a second */
        rq->client->warned = true;
        floe_log_warn("api", "%s asks for transactional id '%.*s': transactions are not served",
                      rq->client->addr, (int)FLOE_MIN(in->TransactionalId.n, 100), in->TransactionalId.p);
    }
    rq->response = rs;
    floe_request_complete(rq);
}

void api_peer_heartbeat(struct floe_request *rq)
{
    struct floe_kafka_PeerHeartbeatResponse *rs = floe_arena_alloc(&rq->arena, sizeof *rs);
    if (!rs) {
        api_give_up(rq);
        return;
    }
    floe_kafka_defaults(&floe_kafka_PeerHeartbeatResponse_desc, rs);
    floe_lease_heard(api_of(rq)->cfg.lease, rq->body, rs);
    rq->response = rs;
    floe_request_complete(rq);
}

void api_peer_lease_changed(struct floe_request *rq)
{
    const struct floe_kafka_PeerLeaseChangedRequest *in = rq->body;
    struct floe_kafka_PeerLeaseChangedResponse *rs = floe_arena_alloc(&rq->arena, sizeof *rs);
    if (!rs) {
        api_give_up(rq);
        return;
    }
    floe_kafka_defaults(&floe_kafka_PeerLeaseChangedResponse_desc, rs);
    if (floe_uuid_eq(&in->ClusterId, &api_of(rq)->cfg.cluster))
        floe_lease_hint(api_of(rq)->cfg.lease, in);
    else
        rs->ErrorCode = FLOE_KERR_INCONSISTENT_CLUSTER_ID;
    rq->response = rs;
    floe_request_complete(rq);
}

static void topic_stopped(void *user)
{
    struct floe_request *rq = user;
    rq->response = rq->state;
    floe_request_complete(rq);
}

void api_peer_topic_deleted(struct floe_request *rq)
{
    const struct floe_kafka_PeerTopicDeletedRequest *in = rq->body;
    struct floe_kafka_PeerTopicDeletedResponse *rs = floe_arena_alloc(&rq->arena, sizeof *rs);
    const struct floe_session_name *own = floe_lease_session(api_of(rq)->cfg.lease);
    if (!rs) {
        api_give_up(rq);
        return;
    }
    floe_kafka_defaults(&floe_kafka_PeerTopicDeletedResponse_desc, rs);
    rq->state = rs;
    struct floe_session_name asked = {in->NodeId, in->NodeEpoch, (uint64_t)in->SessionId};
    if (!floe_uuid_eq(&in->ClusterId, &api_of(rq)->cfg.cluster))
        rs->ErrorCode = FLOE_KERR_INCONSISTENT_CLUSTER_ID;
    else if (!own || !floe_session_name_eq(own, &asked))
        rs->ErrorCode = FLOE_KERR_NOT_LEADER_OR_FOLLOWER; /* the asker learns the rest from the table */
    if (rs->ErrorCode) {
        topic_stopped(rq);
        return;
    }
    if (!floe_catalog_peer_deleted(api_of(rq)->cfg.catalog, &in->TopicId, topic_stopped, rq)) {
        rs->ErrorCode = FLOE_KERR_REQUEST_TIMED_OUT;
        topic_stopped(rq);
    }
}

struct changed {
    struct floe_catalog_wait wait;
    struct floe_slice name;
};

static void topic_read_again(struct floe_catalog_wait *w)
{
    struct floe_request *rq = w->user;
    struct floe_kafka_PeerTopicChangedResponse *rs = rq->state;
    rs->ErrorCode = w->err.code ? FLOE_KERR_REQUEST_TIMED_OUT : 0;
    rq->response = rs;
    floe_request_complete(rq);
}

void api_peer_topic_changed(struct floe_request *rq)
{
    const struct floe_kafka_PeerTopicChangedRequest *in = rq->body;
    struct floe_kafka_PeerTopicChangedResponse *rs = floe_arena_alloc(&rq->arena, sizeof *rs);
    struct changed *c = floe_arena_alloc(&rq->arena, sizeof *c);
    if (!rs || !c) {
        api_give_up(rq);
        return;
    }
    floe_kafka_defaults(&floe_kafka_PeerTopicChangedResponse_desc, rs);
    rq->state = rs;
    if (!floe_uuid_eq(&in->ClusterId, &api_of(rq)->cfg.cluster) ||
        floe_topic_name_check(in->Name.p, (size_t)FLOE_MAX(in->Name.n, 0), NULL)) {
        rs->ErrorCode = FLOE_KERR_INVALID_REQUEST;
        rq->response = rs;
        floe_request_complete(rq);
        return;
    }
    if (in->Revision > 0 && floe_catalog_revision(api_of(rq)->cfg.catalog, in->Name.p, (size_t)in->Name.n) >=
                                (uint64_t)in->Revision) {
        rq->response = rs;
        floe_request_complete(rq);
        return;
    }
    c->name = floe_slice(in->Name.p, (size_t)in->Name.n);
    c->wait =
        (struct floe_catalog_wait){.names = &c->name, .name_count = 1, .done = topic_read_again, .user = rq};
    floe_request_next(rq); /* the connection carries heartbeats as well */
    floe_catalog_resolve(api_of(rq)->cfg.catalog, &c->wait);
}

/* ---- status ------------------------------------------------------------------------------------------ */

void api_broker_status(struct floe_request *rq)
{
    struct floe_api *api = api_of(rq);
    struct floe_kafka_BrokerStatusResponse *rs = floe_arena_alloc(&rq->arena, sizeof *rs);
    struct floe_api_status *s = floe_arena_calloc(&rq->arena, 1, sizeof *s); /* the answer's strings */
    struct floe_lease_stats moves;
    if (!rs || !s) {
        api_give_up(rq);
        return;
    }
    s->state = "serving";
    s->scarcest = "";
    floe_kafka_defaults(&floe_kafka_BrokerStatusResponse_desc, rs);
    floe_lease_get_stats(api->cfg.lease, &moves);
    if (api->cfg.status)
        api->cfg.status(api->cfg.status_user, s);
    rs->NodeId = floe_lease_node_id(api->cfg.lease);
    rs->State = floe_kstr(s->state);
    rs->UtilisationPpm = (int32_t)(s->utilisation * 1e6);
    rs->Scarcest = floe_kstr(s->scarcest);
    rs->ViewLagMs = s->view_lag_ms;
    rs->IdleMicroDollars = (int64_t)(s->idle_usd_month * 1e6);
    rs->Version = floe_kstr(FLOE_VERSION);
    rs->Format = floe_lease_format(api->cfg.lease);
    rs->Draining = moves.draining != 0;
    rs->StoreTroubleMs = s->store_trouble_ms;
    rs->StoreTrouble = floe_kstr(s->store_trouble);
    rq->response = rs;
    floe_request_complete(rq);
}

void api_peer_move_ahead(struct floe_request *rq)
{
    const struct floe_kafka_PeerMoveAheadRequest *in = rq->body;
    struct floe_kafka_PeerMoveAheadResponse *rs = floe_arena_alloc(&rq->arena, sizeof *rs);
    size_t n = (size_t)FLOE_MAX(in->Partitions_n, 0);
    struct floe_moving *parts = floe_arena_calloc(&rq->arena, n, sizeof *parts);
    struct floe_session_name sender = {in->NodeId, in->NodeEpoch, (uint64_t)in->SessionId};
    uint32_t count = 0;
    if (!rs || (!parts && n > 0)) {
        api_give_up(rq);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        const struct floe_kafka_PeerMoveAheadRequest_MovingPartition *p = &in->Partitions[i];
        if (p->Index >= 0 && p->LeaderEpoch >= 0 && p->Checkpoint >= 0 && p->End >= p->Checkpoint)
            parts[count++] = (struct floe_moving){
                {p->TopicId, p->Index}, p->LeaderEpoch, (uint64_t)p->Checkpoint, (uint64_t)p->End};
    }
    floe_kafka_defaults(&floe_kafka_PeerMoveAheadResponse_desc, rs);
    if (floe_uuid_eq(&in->ClusterId, &api_of(rq)->cfg.cluster))
        rs->Waiting = (int32_t)floe_log_ahead(api_of(rq)->cfg.log, &sender, parts, count, in->Stopped);
    else
        rs->ErrorCode = FLOE_KERR_INCONSISTENT_CLUSTER_ID;
    rq->response = rs;
    floe_request_complete(rq);
}
