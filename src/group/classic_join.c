/* JoinGroup 0–9. */
#include "classic_int.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct floe_kafka_JoinGroupRequest join_request;
typedef struct floe_kafka_JoinGroupResponse join_response;

#define ID_REST 40                      /* bytes of a new member's id behind its prefix */
#define MEMBER_BYTES_SMALL (16u * 1024) /* members with less are not added up */

/* ---- answers ------------------------------------------------------------------------------------------ */

void classic_join_error(struct floe_group_call *call, int16_t error, struct floe_kstr member)
{
    join_response *rs = group_response(call, &floe_kafka_JoinGroupResponse_desc);
    if (rs) {
        rs->ErrorCode = error;
        rs->GenerationId = -1;
        rs->MemberId = member;
        rs->ProtocolName = call->version >= 7 ? floe_kstr(NULL) : floe_kstr("");
    }
    group_answer(call);
}

static bool list_members(const struct classic *c, join_response *rs, struct floe_arena *a)
{
    rs->Members =
        floe_kafka_array(&floe_kafka_JoinGroupResponse_JoinGroupResponseMember_desc, (int32_t)c->count, a);
    if (!rs->Members)
        return false;
    FLOE_LIST_EACH(it, &c->members)
    {
        const struct classic_member *m = FLOE_LIST_ENTRY(it, struct classic_member, link);
        const struct classic_protocol *p = classic_protocol_of(m, c->protocol);
        struct floe_kafka_JoinGroupResponse_JoinGroupResponseMember *out = &rs->Members[rs->Members_n++];
        uint8_t *copy = floe_arena_alloc(a, p ? (size_t)p->metadata_n : 0);
        out->MemberId = group_arena_str(a, m->id);
        out->GroupInstanceId = group_arena_str(a, m->instance);
        if (!copy || out->MemberId.n < 0)
            return false;
        if (p && p->metadata_n > 0)
            memcpy(copy, p->metadata, (size_t)p->metadata_n);
        out->Metadata = (struct floe_kbytes){copy, p ? p->metadata_n : 0};
    }
    return true;
}

void classic_join_failed(struct floe_group_call *call, int16_t error)
{
    join_response *rs = call->response;
    rs->ErrorCode = error;
    rs->GenerationId = -1;
}

/* The generation as this member should see it. `leader`: who it is told leads (null: who does). `committed`:
 * once the records are. */
static void answer_generation(struct classic_member *m, struct floe_group_call *call, const char *leader,
                              bool with_members, bool skip, bool committed)
{
    struct classic *c = m->c;
    join_response *rs = group_response(call, &floe_kafka_JoinGroupResponse_desc);
    if (rs) {
        rs->GenerationId = c->generation;
        rs->ProtocolType = group_arena_str(call->arena, c->protocol_type);
        rs->ProtocolName = group_arena_str(call->arena, c->protocol ? c->protocol : "");
        rs->Leader = group_arena_str(call->arena, leader ? leader : c->leader);
        rs->MemberId = group_arena_str(call->arena, m->id);
        rs->SkipAssignment = skip;
        if (rs->Leader.n < 0 || rs->MemberId.n < 0 || (with_members && !list_members(c, rs, call->arena)))
            call->response = NULL;
    }
    if (committed && call->response)
        group_answer_committed(c->g->shard, call, classic_join_failed);
    else
        group_answer(call);
}

void classic_answer_join(struct classic_member *m, int16_t error)
{
    struct floe_group_call *call = m->join_call;
    if (!m->joining)
        return;
    m->joining = false;
    m->join_call = NULL;
    m->c->joining_count--;
    if (!call)
        return;
    call->waits = NULL;
    if (error)
        classic_join_error(call, error, group_arena_str(call->arena, m->id));
    else
        answer_generation(m, call, NULL, classic_is_leader(m->c, m), false, false);
}

/* ---- a member, new or known ------------------------------------------------------------------------------
 */

static void wait_for_group(struct classic_member *m, struct floe_group_call *call)
{
    if (m->joining) /* the client asks again: its former request is answered as if it were gone */
        classic_answer_join(m, FLOE_KERR_REBALANCE_IN_PROGRESS);
    m->joining = true;
    m->join_call = call;
    call->waits = m;
    m->c->joining_count++;
}

static bool update(struct classic_member *m, struct floe_group_call *call)
{
    const join_request *in = call->request;
    if (!classic_set_protocols(m, in))
        return false;
    m->session_ms = (uint32_t)in->SessionTimeoutMs;
    m->rebalance_ms = (uint32_t)(in->RebalanceTimeoutMs >= 0 ? in->RebalanceTimeoutMs : in->SessionTimeoutMs);
    classic_set_text(&m->client_id, call->client_id.n >= 0 ? call->client_id : floe_kstr(""));
    classic_set_text(&m->client_host, floe_kstr(call->client_host));
    classic_member_charge(m);
    return true;
}

static void rebalance(struct classic *c)
{
    if (c->state == CLASSIC_PREPARING)
        classic_check_joined(c);
    else
        classic_prepare(c);
}

static void add(struct classic *c, struct floe_group_call *call, struct floe_kstr id)
{
    const join_request *in = call->request;
    classic_keep(c);
    struct classic_member *m = classic_member_add(c, id, in->GroupInstanceId);
    if (!update(m, call)) {
        classic_member_remove(m, 0);
        classic_join_error(call, FLOE_KERR_COORDINATOR_NOT_AVAILABLE, in->MemberId);
        return;
    }
    m->is_new = true;
    if (c->count == 1)
        classic_set_text(&c->protocol_type, in->ProtocolType);
    c->joined_since |= c->state == CLASSIC_PREPARING && c->initial;
    wait_for_group(m, call);
    classic_member_touch(m);
    rebalance(c);
}

static void update_and_rebalance(struct classic_member *m, struct floe_group_call *call)
{
    classic_keep(m->c);
    if (!update(m, call)) {
        classic_join_error(call, FLOE_KERR_COORDINATOR_NOT_AVAILABLE, floe_kstr(m->id));
        return;
    }
    wait_for_group(m, call);
    if (!m->is_new)
        classic_member_touch(m);
    rebalance(m->c);
}

struct floe_kstr classic_new_id(struct floe_groups *g, struct floe_group_call *call, struct floe_kstr prefix)
{
    struct floe_uuid u;
    char hex[FLOE_UUID_HEX];
    size_t n = (size_t)FLOE_MAX(prefix.n, 0);
    char *s = floe_arena_alloc(call->arena, n + ID_REST);
    floe_rng_uuid(&g->cfg.loop->rng, &u);
    floe_uuid_hex(hex, &u);
    if (!s)
        return floe_kstr(NULL);
    for (size_t i = 0; i < n; i++)
        s[i] = prefix.p[i] ? prefix.p[i] : '-';
    snprintf(s + n, ID_REST, "-%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16, hex + 20);
    return floe_kstr(s);
}

/* A static member is back, under a new id: the group need not notice, if it wants what it wanted (KIP-345,
 * 814). */
static void replace_static(struct classic_member *m, struct floe_group_call *call, struct floe_kstr id)
{
    struct classic *c = m->c;
    const join_request *in = call->request;
    bool led = classic_is_leader(c, m), same = classic_same_protocols(m, in);
    const char *was = group_arena_str(call->arena, c->leader).p;
    classic_keep(c);
    classic_answer_join(m, FLOE_KERR_FENCED_INSTANCE_ID);
    classic_answer_sync(m, FLOE_KERR_FENCED_INSTANCE_ID);
    classic_member_rename(m, id);
    if (led)
        classic_set_text(&c->leader, id);
    if (!update(m, call)) {
        classic_join_error(call, FLOE_KERR_COORDINATOR_NOT_AVAILABLE, id);
        return;
    }
    const char *select = classic_select(c);
    bool quiet =
        c->state == CLASSIC_STABLE && same && select && c->protocol && strcmp(select, c->protocol) == 0;
    classic_member_touch(m);
    if (quiet && classic_record(c, true)) {
        bool skip = call->version >= 9;
        answer_generation(m, call, skip ? NULL : was, skip && led, skip && led, true);
        return;
    }
    wait_for_group(m, call);
    rebalance(c);
}

static bool room_for(const struct classic *c, struct floe_kstr id)
{
    uint32_t max = c->g->shard->g->cfg.set.size_max;
    const struct classic_member *m = id.n > 0 ? classic_member_find(c, id) : NULL;
    switch (c->state) {
    case CLASSIC_EMPTY:
        return true;
    case CLASSIC_PREPARING:
        return (m && m->joining) || c->joining_count < max;
    default:
        return m || c->count < max;
    }
}

/* May all members keep so much more as this one, of the group or new to it, says? */
static int16_t memory_for(struct classic *c, const join_request *in)
{
    struct classic_member *m = in->MemberId.n > 0 ? classic_member_find(c, in->MemberId) : NULL;
    size_t had = 0, asks = 0;
    if (!m && in->GroupInstanceId.n >= 0)
        m = classic_static_find(c, in->GroupInstanceId);
    if (!m)
        return members_room(c->g->shard->g);
    for (int32_t i = 0; i < m->protocol_count; i++)
        had += (size_t)m->protocols[i].metadata_n + sizeof *m->protocols;
    for (int32_t i = 0; i < in->Protocols_n; i++)
        asks += (size_t)FLOE_MAX(in->Protocols[i].Metadata.n, 0) + sizeof *m->protocols;
    return asks > had ? members_growth(c->g->shard->g, asks - had) : 0;
}

static void join_new(struct classic *c, struct floe_group_call *call)
{
    const join_request *in = call->request;
    struct floe_groups *g = c->g->shard->g;
    bool fixed = in->GroupInstanceId.n >= 0;
    struct floe_kstr id = classic_new_id(g, call, fixed ? in->GroupInstanceId : call->client_id);
    struct classic_member *old = fixed ? classic_static_find(c, in->GroupInstanceId) : NULL;
    if (id.n < 0) {
        call->response = NULL;
        group_answer(call);
    } else if (old) {
        replace_static(old, call, id);
    } else if (!fixed && call->version >= 4) {
        classic_pending_add(c, id, (uint32_t)in->SessionTimeoutMs);
        classic_join_error(call, FLOE_KERR_MEMBER_ID_REQUIRED, id);
    } else {
        add(c, call, id);
    }
}

static void join_known(struct classic *c, struct floe_group_call *call)
{
    const join_request *in = call->request;
    struct classic_pending *p = classic_pending_find(c, in->MemberId);
    struct classic_member *m;
    if (p && in->GroupInstanceId.n >= 0) { /* static members are given none: a broken client, as Kafka says */
        classic_join_error(call, FLOE_KERR_UNKNOWN_SERVER_ERROR, floe_kstr(""));
        return;
    }
    if (p) {
        classic_pending_remove(p);
        add(c, call, in->MemberId);
        return;
    }
    int16_t error = classic_member_check(c, in->MemberId, in->GroupInstanceId, &m);
    bool again = !error && classic_same_protocols(m, in);
    if (!error && c->state == CLASSIC_EMPTY)
        error = FLOE_KERR_UNKNOWN_MEMBER_ID;
    if (error)
        classic_join_error(call, error, in->MemberId);
    else if (again && c->state == CLASSIC_COMPLETING) /* it did not hear the answer */
        answer_generation(m, call, NULL, classic_is_leader(c, m), false, false);
    else if (again && c->state == CLASSIC_STABLE && !classic_is_leader(c, m))
        answer_generation(m, call, NULL, false, false, false);
    else
        update_and_rebalance(m, call);
}

static bool are_texts(const join_request *in)
{
    bool ok =
        group_is_text(in->MemberId) && group_is_text(in->GroupInstanceId) && group_is_text(in->ProtocolType);
    for (int32_t i = 0; ok && i < in->Protocols_n; i++)
        ok = group_is_text(in->Protocols[i].Name);
    return ok;
}

/* A member's id is one of these and a uuid: it must fit into an answer, or the client would hear nothing. */
static bool ids_fit(const struct floe_group_call *call, const join_request *in)
{
    return in->GroupInstanceId.n <= INT16_MAX - ID_REST && call->client_id.n <= INT16_MAX - ID_REST;
}

/* What one member says of itself, and the group's record, with a protocol of each member. */
static int16_t bytes_fit(const struct group *group, const join_request *in)
{
    size_t own = 0, longest = 0, all = 0;
    for (int32_t i = 0; i < in->Protocols_n; i++) {
        size_t n = (size_t)FLOE_MAX(in->Protocols[i].Metadata.n, 0);
        own += (size_t)FLOE_MAX(in->Protocols[i].Name.n, 0) + n;
        longest = FLOE_MAX(longest, n);
    }
    if (own > GROUP_MEMBER_BYTES_MAX)
        return FLOE_KERR_INVALID_REQUEST;
    if (longest <= MEMBER_BYTES_SMALL || !group || !group->classic)
        return 0;
    FLOE_LIST_EACH(it, &group->classic->members)
    {
        const struct classic_member *m = FLOE_LIST_ENTRY(it, struct classic_member, link);
        int32_t most = 0;
        for (int32_t i = 0; i < m->protocol_count && !floe_kstr_is(in->MemberId, m->id); i++)
            most = FLOE_MAX(most, m->protocols[i].metadata_n);
        all += (size_t)most;
    }
    return all + longest > GROUP_OP_BYTES_MAX / 2 ? FLOE_KERR_GROUP_MAX_SIZE_REACHED : 0;
}

void floe_group_join(struct floe_groups *g, struct floe_group_call *call)
{
    call->g = g;
    const join_request *in = call->request;
    struct group_shard *s;
    int16_t error = groups_shard(g, in->GroupId, false, &s);
    if (!error && (in->SessionTimeoutMs < (int64_t)g->cfg.set.session_min_ms ||
                   in->SessionTimeoutMs > (int64_t)g->cfg.set.session_max_ms))
        error = FLOE_KERR_INVALID_SESSION_TIMEOUT;
    if (!error && in->Protocols_n > GROUP_PROTOCOLS_MAX)
        error = FLOE_KERR_INCONSISTENT_GROUP_PROTOCOL;
    if (!error && (!are_texts(in) || !ids_fit(call, in)))
        error = FLOE_KERR_INVALID_REQUEST;
    struct group *group = error ? NULL : group_find(s, in->GroupId);
    if (!error)
        error = bytes_fit(group, in);
    if (!error && group && group->kind == GROUP_CONSUMER) {
        if (consumer_has_members(group) && consumer_classic_join(group, call))
            return;
        group = group_find(s, in->GroupId);
        error = group && group->kind == GROUP_CONSUMER ? consumer_end(group) : 0;
        group = error ? NULL : group_find(s, in->GroupId);
    }
    if (!error && (!group || !group->classic) && in->MemberId.n > 0)
        error = FLOE_KERR_UNKNOWN_MEMBER_ID;
    if (!error && !classic_supports(group ? group->classic : NULL, in))
        error = FLOE_KERR_INCONSISTENT_GROUP_PROTOCOL;
    if (!error && !group)
        group = group_make(s, in->GroupId);
    struct classic *c = group && !error ? classic_make(group) : NULL;
    if (!error && !c)
        error = FLOE_KERR_COORDINATOR_NOT_AVAILABLE;
    if (!error && !room_for(c, in->MemberId))
        error = FLOE_KERR_GROUP_MAX_SIZE_REACHED;
    if (!error)
        error = memory_for(c, in);
    if (error && c)
        classic_drop_if_new(c);
    if (error)
        classic_join_error(call, error, in->MemberId);
    else if (in->MemberId.n <= 0)
        join_new(c, call);
    else
        join_known(c, call);
}
