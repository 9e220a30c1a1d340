/* JoinGroup, SyncGroup, Heartbeat and LeaveGroup of members that speak the classic protocol, in a group of
 * the consumer protocol (KIP-848). The group's epoch, target and reconciliation are the same for all; the
 * member epoch is the generation that they hear of. */
#include "classic_int.h"
#include "consumer_int.h"

typedef struct floe_kafka_JoinGroupRequest join_request;
typedef struct floe_kafka_JoinGroupResponse join_response;
typedef struct floe_kafka_SyncGroupRequest sync_request;
typedef struct floe_kafka_SyncGroupResponse sync_response;

struct group *consumer_of_classic(struct floe_groups *g, struct floe_kstr name)
{
    struct group_shard *s;
    if (groups_shard(g, name, false, &s) != 0)
        return NULL; /* whoever goes on finds it out again */
    struct group *found = group_find(s, name);
    if (found && found->kind == GROUP_CONSUMER && migrate_may_downgrade(found->consumer, floe_kstr(NULL)) &&
        migrate_downgrade(found->consumer, floe_kstr(NULL)))
        found = group_find(s, name);
    return found && found->kind == GROUP_CONSUMER ? found : NULL;
}

/* The member of that id and instance, of either protocol. */
static int16_t find_any(const struct consumer *c, struct floe_kstr id, struct floe_kstr instance,
                        struct consumer_member **out)
{
    struct consumer_member *m =
        instance.n >= 0 ? consumer_static_find(c, instance) : consumer_member_find(c, id);
    if (!m)
        return FLOE_KERR_UNKNOWN_MEMBER_ID;
    if (!floe_kstr_is(id, m->id))
        return FLOE_KERR_FENCED_INSTANCE_ID;
    *out = m;
    return 0;
}

/* The classic one. */
static int16_t find(const struct consumer *c, struct floe_kstr id, struct floe_kstr instance,
                    struct consumer_member **out)
{
    int16_t error = find_any(c, id, instance, out);
    return error || consumer_is_classic(*out) ? error : FLOE_KERR_UNKNOWN_MEMBER_ID;
}

/* Is there something that the member has not heard of, and will by joining again? */
static bool must_join(const struct consumer_member *m)
{
    return m->now.epoch < m->c->epoch || m->now.state == MEMBER_UNREVOKED ||
           (m->now.state == MEMBER_UNRELEASED && !consumer_waits(m));
}

/* ---- JoinGroup -------------------------------------------------------------------------------------------
 */

struct join {
    struct floe_group_call *call;
    const join_request *in;
    const embedded_subscription *sub;
    struct consumer_step s;
    struct parts owned;
};

/* A protocol of the request that all other classic members know. */
static bool agrees(const struct consumer *c, const join_request *in)
{
    for (int32_t i = 0; i < in->Protocols_n; i++) {
        bool all = true;
        FLOE_LIST_EACH(it, &c->members)
        {
            const struct consumer_member *m = FLOE_LIST_ENTRY(it, struct consumer_member, link);
            const classic_meta *v = m->meta->ClassicMemberMetadata;
            bool self = floe_kstr_is(in->MemberId, m->id) ||
                        (in->GroupInstanceId.n >= 0 && m->meta->InstanceId.n >= 0 &&
                         floe_kstr_eq(in->GroupInstanceId, m->meta->InstanceId));
            bool knows = !v || self;
            for (int32_t k = 0; !knows && k < v->SupportedProtocols_n; k++)
                knows = floe_kstr_eq(v->SupportedProtocols[k].Name, in->Protocols[i].Name);
            all = all && knows;
        }
        if (all)
            return true;
    }
    return false;
}

/* Finds the member, new or not. */
static int16_t find_member(struct join *j)
{
    const join_request *in = j->in;
    struct consumer_step *b = &j->s;
    bool named = in->MemberId.n > 0;
    struct consumer_member *m = NULL;
    if (in->GroupInstanceId.n >= 0) {
        m = consumer_static_find(b->c, in->GroupInstanceId);
        if (named && !m)
            return FLOE_KERR_UNKNOWN_MEMBER_ID;
        if (named && !floe_kstr_is(in->MemberId, m->id))
            return FLOE_KERR_FENCED_INSTANCE_ID;
    } else if (named) {
        m = consumer_member_find(b->c, in->MemberId);
    }
    if (named)
        b->m = m;
    else
        b->old = m; /* a static member is back, under a new id */
    return 0;
}

/* May all members keep what this one says? */
static int16_t memory_for(const struct join *j)
{
    const struct consumer_member *m = j->s.m ? j->s.m : j->s.old;
    size_t asks = 0;
    if (!m)
        return members_room(j->s.g);
    for (int32_t i = 0; i < j->in->Protocols_n; i++)
        asks += sizeof(classic_meta_protocol) + (size_t)FLOE_MAX(j->in->Protocols[i].Metadata.n, 0);
    return asks > m->meta_bytes ? members_growth(j->s.g, asks - m->meta_bytes) : 0;
}

static int16_t admit(struct join *j)
{
    const struct floe_group_settings *set = &j->s.g->cfg.set;
    const join_request *in = j->in;
    const struct consumer *c = j->s.c;
    if (!floe_kstr_is(in->ProtocolType, EMBEDDED_PROTOCOL_TYPE) || in->Protocols_n <= 0 || !agrees(c, in))
        return FLOE_KERR_INCONSISTENT_GROUP_PROTOCOL;
    j->sub = embedded_read_subscription(in->Protocols[0].Metadata, &j->s.x.a);
    if (!j->sub)
        return FLOE_KERR_INCONSISTENT_GROUP_PROTOCOL;
    int16_t error = find_member(j);
    if (error)
        return error;
    if (!j->s.m && !j->s.old && set->migration == FLOE_GROUP_MIGRATION_DISABLED)
        return FLOE_KERR_INCONSISTENT_GROUP_PROTOCOL; /* the group could never be of one protocol again */
    if (!j->s.m && !j->s.old && c->count >= set->consumer_size_max)
        return FLOE_KERR_GROUP_MAX_SIZE_REACHED;
    if (!consumer_names_fit(c, j->s.m ? j->s.m : j->s.old, j->sub->Topics_n))
        return FLOE_KERR_GROUP_MAX_SIZE_REACHED;
    return memory_for(j);
}

/* Is a topic that it subscribes to or owns not known here, and may exist? Then it would lose it. */
static bool topics_unsure(const struct join *j)
{
    struct floe_catalog *topics = j->s.g->cfg.catalog;
    const embedded_subscription *sub = j->sub;
    if (!floe_catalog_loaded(topics) || consumer_topics_unsure(j->s.c) ||
        consumer_lookup_failed(j->call, topics, sub->Topics, sub->Topics_n))
        return true;
    for (int32_t i = 0; i < sub->OwnedPartitions_n; i++)
        if (consumer_lookup_failed(j->call, topics, &sub->OwnedPartitions[i].Topic, 1))
            return true;
    return false;
}

static const member_meta *merge(struct join *j)
{
    const join_request *in = j->in;
    struct floe_arena *a = &j->s.x.a;
    const struct consumer_member *from = j->s.m ? j->s.m : j->s.old;
    member_meta *v = consumer_alloc(a, 1, sizeof *v);
    classic_meta *classic = consumer_alloc(a, 1, sizeof *classic);
    floe_kafka_defaults(&floe_kafka_ConsumerGroupMemberMetadataValue_desc, v);
    v->InstanceId = v->RackId = v->SubscribedTopicRegex = v->ServerAssignor = floe_kstr(NULL);
    if (from)
        v->InstanceId = from->meta->InstanceId;
    if (in->GroupInstanceId.n >= 0)
        v->InstanceId = in->GroupInstanceId;
    if (j->sub->RackId.n > 0)
        v->RackId = j->sub->RackId;
    v->RebalanceTimeoutMs = in->RebalanceTimeoutMs >= 0 ? in->RebalanceTimeoutMs : in->SessionTimeoutMs;
    v->ClientId = j->call->client_id.n >= 0 ? j->call->client_id : floe_kstr("");
    v->ClientHost = floe_kstr(j->call->client_host);
    consumer_set_names(v, j->sub->Topics, j->sub->Topics_n, a);
    classic->SessionTimeoutMs = in->SessionTimeoutMs;
    classic->SupportedProtocols =
        consumer_alloc(a, (size_t)in->Protocols_n, sizeof *classic->SupportedProtocols);
    for (int32_t i = 0; i < in->Protocols_n; i++)
        classic->SupportedProtocols[classic->SupportedProtocols_n++] =
            (classic_meta_protocol){in->Protocols[i].Name, in->Protocols[i].Metadata};
    v->ClassicMemberMetadata = classic;
    return v;
}

static void join(struct join *j, struct group_shard *s)
{
    struct floe_group_call *call = j->call;
    struct floe_kstr name = j->in->GroupId, id = j->s.id;
    join_response *rs = group_response(call, &floe_kafka_JoinGroupResponse_desc);
    if (!rs) {
        change_drop(&j->s.x);
        group_answer(call);
        return;
    }
    j->owned = embedded_owned(j->sub, j->s.g->cfg.catalog, &j->s.x.a);
    j->s.owned = &j->owned;
    struct consumer_current next = consumer_step(&j->s, merge(j));
    rs->GenerationId = next.epoch;
    rs->ProtocolType = floe_kstr(EMBEDDED_PROTOCOL_TYPE);
    rs->ProtocolName = j->in->Protocols[0].Name;
    rs->Leader = floe_kstr("");
    rs->MemberId = id;
    if (!change_commit(&j->s.x)) {
        classic_join_error(call, FLOE_KERR_UNKNOWN_SERVER_ERROR, id);
        return;
    }
    struct consumer_member *m = consumer_member_find(group_find(s, name)->consumer, id);
    consumer_member_touch(m);
    consumer_member_due(m, true); /* its SyncGroup */
    group_answer_committed(s, call, classic_join_failed);
}

bool consumer_classic_join(struct group *g, struct floe_group_call *call)
{
    const join_request *in = call->request;
    struct group_shard *s = g->shard;
    struct join j = {.call = call, .in = in, .s = {.g = s->g, .c = g->consumer}};
    bool named = in->MemberId.n > 0, fixed = in->GroupInstanceId.n >= 0;
    change_begin(&j.s.x, s, in->GroupId);
    int16_t error = admit(&j);
    /* The last member of the consumer protocol may be the one that it goes on for. */
    struct consumer_member *from = j.s.m ? j.s.m : j.s.old;
    struct floe_kstr gone = floe_kstr(from && !consumer_is_classic(from) ? from->id : NULL);
    if (!error && migrate_may_downgrade(j.s.c, gone) && migrate_downgrade(j.s.c, gone)) {
        change_drop(&j.s.x);
        return false;
    }
    j.s.id = named ? in->MemberId : classic_new_id(s->g, call, fixed ? in->GroupInstanceId : call->client_id);
    if (!error && !named && !fixed && call->version >= 4)
        error = FLOE_KERR_MEMBER_ID_REQUIRED;
    if (!error && topics_unsure(&j))
        error = FLOE_KERR_COORDINATOR_LOAD_IN_PROGRESS;
    if (!error && j.s.id.n >= 0) {
        join(&j, s);
        return true;
    }
    change_drop(&j.s.x);
    classic_join_error(call, error, error == FLOE_KERR_MEMBER_ID_REQUIRED ? j.s.id : floe_kstr(""));
    if (j.s.id.n < 0)
        call->response = NULL;
    return true;
}

/* ---- SyncGroup -------------------------------------------------------------------------------------------
 */

static void sync_failed(struct floe_group_call *call, int16_t error)
{
    sync_response *rs = call->response;
    rs->ErrorCode = error;
    rs->ProtocolType = rs->ProtocolName = floe_kstr(NULL);
    rs->Assignment = (struct floe_kbytes){NULL, 0};
}

static bool names_other(const struct consumer_member *m, const sync_request *in)
{
    const classic_meta *v = m->meta->ClassicMemberMetadata;
    return (in->ProtocolType.n >= 0 && !floe_kstr_is(in->ProtocolType, EMBEDDED_PROTOCOL_TYPE)) ||
           (in->ProtocolName.n >= 0 &&
            (v->SupportedProtocols_n == 0 || !floe_kstr_eq(in->ProtocolName, v->SupportedProtocols[0].Name)));
}

static int16_t may_sync(struct consumer_member *m, const sync_request *in)
{
    if (in->GenerationId != m->now.epoch)
        return FLOE_KERR_ILLEGAL_GENERATION;
    /* Who has to give back asks for what it keeps before it can. */
    if (m->now.epoch < m->c->epoch && m->now.state != MEMBER_UNREVOKED) {
        consumer_member_due(m, false);
        return FLOE_KERR_REBALANCE_IN_PROGRESS;
    }
    return names_other(m, in) ? FLOE_KERR_INCONSISTENT_GROUP_PROTOCOL : 0;
}

void consumer_classic_sync(struct group *g, struct floe_group_call *call)
{
    const sync_request *in = call->request;
    struct consumer_member *m = NULL;
    sync_response *rs = group_response(call, &floe_kafka_SyncGroupResponse_desc);
    if (!rs) {
        group_answer(call);
        return;
    }
    int16_t error = find(g->consumer, in->MemberId, in->GroupInstanceId, &m);
    if (!error)
        error = may_sync(m, in);
    if (error) {
        sync_failed(call, error);
        group_answer(call);
        return;
    }
    const classic_meta *v = m->meta->ClassicMemberMetadata;
    struct floe_kbytes speaks =
        v->SupportedProtocols_n > 0 ? v->SupportedProtocols[0].Metadata : (struct floe_kbytes){NULL, 0};
    rs->ProtocolType = floe_kstr(EMBEDDED_PROTOCOL_TYPE);
    rs->ProtocolName = in->ProtocolName;
    rs->Assignment = embedded_write_assignment(&m->now.assigned, embedded_version(speaks),
                                               g->shard->g->cfg.catalog, call->arena);
    if (rs->Assignment.n < 0)
        call->response = NULL;
    consumer_member_touch(m);
    consumer_member_watch(m, false); /* one that must give back is still to join again */
    group_answer_committed(g->shard, call, sync_failed);
}

/* ---- Heartbeat, LeaveGroup -------------------------------------------------------------------------------
 */

int16_t consumer_classic_heartbeat(struct group *g, const struct floe_kafka_HeartbeatRequest *in)
{
    struct consumer_member *m;
    int16_t error = find(g->consumer, in->MemberId, in->GroupInstanceId, &m);
    if (error)
        return error;
    if (in->GenerationId != m->now.epoch)
        return FLOE_KERR_ILLEGAL_GENERATION;
    consumer_member_touch(m);
    consumer_refresh(g->consumer);
    if (!must_join(m))
        return 0;
    consumer_member_due(m, false);
    return FLOE_KERR_REBALANCE_IN_PROGRESS;
}

int16_t consumer_classic_leave(struct group *g, struct floe_kstr id, struct floe_kstr instance)
{
    struct consumer_member *m = NULL;
    int16_t error = 0;
    if (id.n <= 0 && instance.n >= 0) { /* by an administrator: whoever has that instance id */
        m = consumer_static_find(g->consumer, instance);
        error = m ? 0 : FLOE_KERR_UNKNOWN_MEMBER_ID;
    } else {
        error = find_any(g->consumer, id, instance, &m);
    }
    if (!error && m->leaving)
        error = FLOE_KERR_UNKNOWN_MEMBER_ID; /* named twice */
    if (!error)
        m->leaving = true;
    return error;
}
