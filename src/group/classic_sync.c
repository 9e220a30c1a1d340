/* SyncGroup 0–5, Heartbeat 0–4, LeaveGroup 0–5, and who may commit. */
#include "classic_int.h"

#include <floe/base/mutant.h>
#include <stdlib.h>

int16_t classic_member_check(const struct classic *c, struct floe_kstr id, struct floe_kstr instance,
                             struct classic_member **out)
{
    struct classic_member *m = classic_member_find(c, id);
    if (instance.n >= 0) {
        const struct classic_member *named = classic_static_find(c, instance);
        if (!named)
            return FLOE_KERR_UNKNOWN_MEMBER_ID;
        if (named != m)
            return FLOE_KERR_FENCED_INSTANCE_ID;
    }
    if (!m)
        return FLOE_KERR_UNKNOWN_MEMBER_ID;
    *out = m;
    return 0;
}

static int16_t find(struct floe_groups *g, struct floe_kstr name, struct floe_kstr id,
                    struct floe_kstr instance, int32_t generation, struct classic_member **out)
{
    struct group_shard *s;
    int16_t error = groups_shard(g, name, false, &s);
    struct group *group = error ? NULL : group_find(s, name);
    if (error)
        return error;
    if (!group || !group->classic)
        return FLOE_KERR_UNKNOWN_MEMBER_ID;
    error = classic_member_check(group->classic, id, instance, out);
    if (!error && !classic_generation_ok(*out, generation))
        error = FLOE_KERR_ILLEGAL_GENERATION;
    return error;
}

/* ---- SyncGroup ---------------------------------------------------------------------------------------- */

typedef struct floe_kafka_SyncGroupRequest sync_request;
typedef struct floe_kafka_SyncGroupResponse sync_response;

static void sync_failed(struct floe_group_call *call, int16_t error)
{
    sync_response *rs = call->response;
    rs->ErrorCode = error;
    rs->ProtocolType = rs->ProtocolName = floe_kstr(NULL);
    rs->Assignment = (struct floe_kbytes){NULL, 0};
}

static void sync_error(struct floe_group_call *call, int16_t error)
{
    if (group_response(call, &floe_kafka_SyncGroupResponse_desc))
        sync_failed(call, error);
    group_answer(call);
}

/* The member's share, once it is in the journal. */
static void sync_share(struct classic_member *m, struct floe_group_call *call)
{
    sync_response *rs = group_response(call, &floe_kafka_SyncGroupResponse_desc);
    uint8_t *copy = floe_arena_alloc(call->arena, (size_t)m->assignment_n);
    if (!rs || !copy) {
        call->response = NULL;
        group_answer(call);
        return;
    }
    if (m->assignment_n > 0)
        memcpy(copy, m->assignment, (size_t)m->assignment_n);
    rs->Assignment = (struct floe_kbytes){copy, m->assignment_n};
    rs->ProtocolType = group_arena_str(call->arena, m->c->protocol_type);
    rs->ProtocolName = group_arena_str(call->arena, m->c->protocol);
    if (FLOE_MUTANT(GROUP_SHARE_EARLY))
        group_answer(call);
    else
        group_answer_committed(m->c->g->shard, call, sync_failed);
}

void classic_answer_sync(struct classic_member *m, int16_t error)
{
    struct floe_group_call *call = m->sync_call;
    m->syncing = false;
    m->sync_call = NULL;
    if (!call)
        return;
    call->waits = NULL;
    if (error)
        sync_error(call, error);
    else
        sync_share(m, call);
}

static bool set_assignment(struct classic_member *m, struct floe_kbytes a)
{
    uint8_t *copy = malloc((size_t)FLOE_MAX(a.n, 0) + 1);
    if (!copy)
        return false;
    if (a.n > 0)
        memcpy(copy, a.p, (size_t)a.n);
    free(m->assignment);
    m->assignment = copy;
    m->assignment_n = FLOE_MAX(a.n, 0);
    classic_member_charge(m);
    return true;
}

/* What the leader says of members that are not (any more) in the group is ignored, as in Kafka. */
static void take_assignments(struct classic *c, const sync_request *in)
{
    bool ok = true;
    for (int32_t i = 0; i < in->Assignments_n; i++) {
        struct classic_member *m = classic_member_find(c, in->Assignments[i].MemberId);
        if (m)
            ok = set_assignment(m, in->Assignments[i].Assignment) && ok;
    }
    bool stable = ok && classic_stable(c);
    FLOE_LIST_EACH(it, &c->members)
    {
        struct classic_member *m = FLOE_LIST_ENTRY(it, struct classic_member, link);
        if (!m->syncing)
            continue;
        classic_answer_sync(m, stable ? 0 : FLOE_KERR_UNKNOWN_SERVER_ERROR);
        classic_member_touch(m);
    }
    if (!stable)
        classic_prepare(c);
}

void floe_group_sync(struct floe_groups *g, struct floe_group_call *call)
{
    call->g = g;
    const sync_request *in = call->request;
    struct group *other = consumer_of_classic(g, in->GroupId);
    if (other) {
        consumer_classic_sync(other, call);
        return;
    }
    size_t bytes = 0;
    for (int32_t i = 0; i < in->Assignments_n; i++)
        bytes += (size_t)FLOE_MAX(in->Assignments[i].Assignment.n, 0);
    if (bytes > GROUP_OP_BYTES_MAX) { /* at once: who waits keeps its request in memory */
        sync_error(call, FLOE_KERR_UNKNOWN_SERVER_ERROR);
        return;
    }
    struct classic_member *m = NULL;
    bool incomplete = call->version >= 5 && (in->ProtocolType.n < 0 || in->ProtocolName.n < 0);
    int16_t error = incomplete
                        ? FLOE_KERR_INCONSISTENT_GROUP_PROTOCOL /* KIP-559 */
                        : find(g, in->GroupId, in->MemberId, in->GroupInstanceId, in->GenerationId, &m);
    struct classic *c = m ? m->c : NULL;
    if (!error &&
        ((in->ProtocolType.n >= 0 &&
          (!c->protocol_type || !floe_kstr_is(in->ProtocolType, c->protocol_type))) ||
         (in->ProtocolName.n >= 0 && (!c->protocol || !floe_kstr_is(in->ProtocolName, c->protocol)))))
        error = FLOE_KERR_INCONSISTENT_GROUP_PROTOCOL;
    if (!error && c->state == CLASSIC_EMPTY)
        error = FLOE_KERR_UNKNOWN_MEMBER_ID;
    if (!error && c->state == CLASSIC_PREPARING)
        error = FLOE_KERR_REBALANCE_IN_PROGRESS;
    if (!error && c->state == CLASSIC_COMPLETING && classic_is_leader(c, m))
        error = members_growth(g, bytes);
    if (error) {
        sync_error(call, error);
    } else if (c->state == CLASSIC_STABLE) {
        classic_member_touch(m);
        sync_share(m, call);
    } else {
        if (m->syncing)
            classic_answer_sync(m, FLOE_KERR_REBALANCE_IN_PROGRESS);
        m->syncing = true;
        m->sync_call = call;
        call->waits = m;
        if (classic_is_leader(c, m))
            take_assignments(c, in);
    }
}

/* ---- Heartbeat ---------------------------------------------------------------------------------------- */

void floe_group_heartbeat(struct floe_groups *g, struct floe_group_call *call)
{
    call->g = g;
    const struct floe_kafka_HeartbeatRequest *in = call->request;
    struct floe_kafka_HeartbeatResponse *rs = group_response(call, &floe_kafka_HeartbeatResponse_desc);
    struct group *other = consumer_of_classic(g, in->GroupId);
    struct classic_member *m;
    if (rs && other) {
        rs->ErrorCode = consumer_classic_heartbeat(other, in);
    } else if (rs) {
        rs->ErrorCode = find(g, in->GroupId, in->MemberId, in->GroupInstanceId, in->GenerationId, &m);
        if (rs->ErrorCode == 0) {
            classic_member_touch(m);
            if (m->c->state == CLASSIC_PREPARING)
                rs->ErrorCode = FLOE_KERR_REBALANCE_IN_PROGRESS;
            else if (m->c->state == CLASSIC_EMPTY)
                rs->ErrorCode = FLOE_KERR_UNKNOWN_MEMBER_ID;
        }
    }
    group_answer(call);
}

/* ---- LeaveGroup --------------------------------------------------------------------------------------- */

static int16_t leave_one(struct classic *c, struct floe_kstr id, struct floe_kstr instance)
{
    struct classic_member *m = NULL;
    struct classic_pending *p = id.n > 0 ? classic_pending_find(c, id) : NULL;
    if (p) {
        classic_pending_remove(p);
        classic_check_joined(c);
        classic_drop_if_new(c);
        return 0;
    }
    if (id.n <= 0 && instance.n >= 0) { /* by an administrator: whoever has that instance id */
        m = classic_static_find(c, instance);
        if (!m)
            return FLOE_KERR_UNKNOWN_MEMBER_ID;
    } else {
        int16_t error = classic_member_check(c, id, instance, &m);
        if (error)
            return error;
    }
    classic_member_remove(m, FLOE_KERR_UNKNOWN_MEMBER_ID);
    return 0;
}

/* Of a group of the consumer protocol those who leave do so together, some at a time: each time all members
 * are looked at. */
#define LEAVE_BYTES (1u << 20)
struct leave {
    struct group_shard *s;
    struct floe_kstr group;
    struct floe_kafka_LeaveGroupResponse *rs;
    int32_t from; /* the first of Members whose leaving is not in the journal yet */
    size_t bytes; /* about, of their records; 0: nobody is marked */
};

/* Answers up to `end` are made. */
static int16_t leave_marked(struct leave *l, int32_t end)
{
    struct group *group = group_find(l->s, l->group);
    bool ok = l->bytes == 0 || consumer_remove_leaving(group->consumer);
    for (int32_t i = l->from; !ok && i < end; i++)
        if (!l->rs->Members[i].ErrorCode)
            l->rs->Members[i].ErrorCode = FLOE_KERR_UNKNOWN_SERVER_ERROR;
    l->from = end;
    l->bytes = 0;
    return ok ? 0 : FLOE_KERR_UNKNOWN_SERVER_ERROR;
}

static int16_t leave_group(struct leave *l, struct floe_kstr id, struct floe_kstr instance)
{
    struct group *group = group_find(l->s, l->group); /* those before may have converted it, or ended it */
    if (group && group->kind == GROUP_CONSUMER) {
        int16_t error = consumer_classic_leave(group, id, instance);
        if (!error)
            l->bytes += 3ul * (size_t)(FLOE_MAX(id.n, 0) + l->group.n + 64);
        return error;
    }
    if (!group || !group->classic)
        return FLOE_KERR_UNKNOWN_MEMBER_ID;
    return leave_one(group->classic, id, instance);
}

static void leave_failed(struct floe_group_call *call, int16_t error)
{
    struct floe_kafka_LeaveGroupResponse *rs = call->response;
    rs->ErrorCode = error;
    rs->Members_n = 0;
}

void floe_group_leave(struct floe_groups *g, struct floe_group_call *call)
{
    call->g = g;
    const struct floe_kafka_LeaveGroupRequest *in = call->request;
    struct floe_kafka_LeaveGroupResponse *rs = group_response(call, &floe_kafka_LeaveGroupResponse_desc);
    struct group_shard *s;
    int32_t n = call->version >= 3 ? FLOE_MAX(in->Members_n, 0) : 0;
    if (rs)
        rs->Members = floe_kafka_array(&floe_kafka_LeaveGroupResponse_MemberResponse_desc, n, call->arena);
    if (!rs || !rs->Members) {
        call->response = NULL;
        group_answer(call);
        return;
    }
    rs->ErrorCode = groups_shard(g, in->GroupId, false, &s);
    struct group *group = rs->ErrorCode ? NULL : group_find(s, in->GroupId);
    bool found = group && (group->classic || group->kind == GROUP_CONSUMER);
    if (!found) {
        for (; !rs->ErrorCode && rs->Members_n < n; rs->Members_n++) { /* nobody is in it: each is told so */
            rs->Members[rs->Members_n].MemberId = in->Members[rs->Members_n].MemberId;
            rs->Members[rs->Members_n].GroupInstanceId = in->Members[rs->Members_n].GroupInstanceId;
            rs->Members[rs->Members_n].ErrorCode = FLOE_KERR_UNKNOWN_MEMBER_ID;
        }
        if (!rs->ErrorCode && call->version < 3)
            rs->ErrorCode = FLOE_KERR_UNKNOWN_MEMBER_ID;
        group_answer(call);
        return;
    }
    bool recorded = group->kind == GROUP_CONSUMER;
    struct leave l = {.s = s, .group = in->GroupId, .rs = rs};
    if (call->version < 3) {
        rs->ErrorCode = leave_group(&l, in->MemberId, floe_kstr(NULL));
        int16_t error = leave_marked(&l, 0);
        rs->ErrorCode = rs->ErrorCode ? rs->ErrorCode : error;
    }
    for (; rs->Members_n < n; rs->Members_n++) {
        const struct floe_kafka_LeaveGroupRequest_MemberIdentity *who = &in->Members[rs->Members_n];
        struct floe_kafka_LeaveGroupResponse_MemberResponse *out = &rs->Members[rs->Members_n];
        out->MemberId = who->MemberId;
        out->GroupInstanceId = who->GroupInstanceId;
        out->ErrorCode = leave_group(&l, who->MemberId, who->GroupInstanceId);
        if (l.bytes >= LEAVE_BYTES)
            (void)leave_marked(&l, rs->Members_n + 1);
    }
    (void)leave_marked(&l, n);
    if (recorded)
        group_answer_committed(s, call, leave_failed);
    else
        group_answer(call);
}

/* ---- commits ------------------------------------------------------------------------------------------ */

int16_t classic_validate_commit(struct group *g, struct floe_kstr member, struct floe_kstr instance,
                                int32_t generation)
{
    struct classic *c = g->classic;
    struct classic_member *m;
    if (generation < 0 && c->state == CLASSIC_EMPTY)
        return 0; /* a simple consumer, or an administrator: nobody is using the group */
    if (generation < 0 && member.n <= 0 && instance.n < 0)
        return FLOE_KERR_UNKNOWN_MEMBER_ID;
    int16_t error = classic_member_check(c, member, instance, &m);
    if (error)
        return error;
    if (!classic_generation_ok(m, generation) && !FLOE_MUTANT(GROUP_STALE_COMMIT))
        return FLOE_KERR_ILLEGAL_GENERATION;
    if (c->state == CLASSIC_COMPLETING) /* its share of this generation is not known yet */
        return FLOE_KERR_REBALANCE_IN_PROGRESS;
    classic_member_touch(m);
    return 0;
}
