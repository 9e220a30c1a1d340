/* What members of classic groups say and hear: Kafka requests and answers (JoinGroup, SyncGroup, Heartbeat,
 * LeaveGroup). */
#include <stdio.h>
#include <stdlib.h>

#include <floe/base/assert.h>
#include <floe/base/bytes.h>

#include "sim_classic.h"

enum { KEY_JOIN = 11, KEY_HEARTBEAT = 12, KEY_LEAVE = 13, KEY_SYNC = 14 };
#define SHARE_BYTES 8

static struct floe_kstr id_of(const struct simclassic *m)
{
    return floe_kstr(m->joined.id);
}
/* One instance a slot; null for a dynamic member. */
static struct floe_kstr instance_of(const struct simclassic *m)
{
    static const char *const names[SIM_CLASSIC_SIZE] = {"instance-0", "instance-1", "instance-2",
                                                        "instance-3"};
    return floe_kstr(m->fixed ? names[m->slot] : NULL);
}
static int16_t version(struct simcall *k, int16_t from, int16_t from_fixed, int16_t to)
{
    from = k->classic->fixed ? from_fixed : from;
    return (int16_t)(from + (int16_t)floe_rng_below(k->rng, (uint64_t)(to - from + 1)));
}
static void join(struct simcall *k, struct floe_kstr group)
{
    const struct simclassic *m = k->classic;
    struct floe_kafka_JoinGroupRequest rq;
    struct floe_kafka_JoinGroupRequest_JoinGroupRequestProtocol p;
    floe_kafka_defaults(&floe_kafka_JoinGroupRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_JoinGroupRequest_JoinGroupRequestProtocol_desc, &p);
    rq.GroupId = group;
    rq.SessionTimeoutMs = (int32_t)simclassic_session_ms(m->group);
    rq.RebalanceTimeoutMs = SIM_CLASSIC_REBALANCE_MS;
    rq.MemberId = id_of(m);
    rq.GroupInstanceId = instance_of(m);
    rq.ProtocolType = floe_kstr("sim");
    rq.Protocols = &p;
    rq.Protocols_n = 1;
    p.Name = floe_kstr("rounds");
    p.Metadata = (struct floe_kbytes){&m->slot, 1};
    /* Before 4 a request whose answer gets lost leaves a member of whom nobody knows. */
    simwire_frame(k, KEY_JOIN, version(k, 4, 5, 9), &rq);
}
static void sync(struct simcall *k, struct floe_kstr group)
{
    const struct simclassic *m = k->classic;
    struct floe_kafka_SyncGroupRequest rq;
    struct floe_kafka_SyncGroupRequest_SyncGroupRequestAssignment a[CLASSIC_IDS_MAX];
    uint8_t share[CLASSIC_IDS_MAX][SHARE_BYTES];
    uint32_t n = m->division >= 0 ? m->joined.n : 0;
    floe_kafka_defaults(&floe_kafka_SyncGroupRequest_desc, &rq);
    for (uint32_t i = 0; i < n; i++) {
        floe_kafka_struct_defaults(&floe_kafka_SyncGroupRequest_SyncGroupRequestAssignment_desc, &a[i]);
        floe_put_le32(share[i], (uint32_t)m->division);
        floe_put_le16(share[i] + 4, (uint16_t)i);
        floe_put_le16(share[i] + 6, (uint16_t)simclassic_share(k->c, i, n));
        a[i].MemberId = floe_kstr(m->joined.member[i].id);
        a[i].Assignment = (struct floe_kbytes){share[i], SHARE_BYTES};
    }
    rq.GroupId = group;
    rq.GenerationId = k->generation;
    rq.MemberId = id_of(m);
    rq.GroupInstanceId = instance_of(m);
    rq.ProtocolType = floe_kstr("sim");
    rq.ProtocolName = floe_kstr("rounds");
    rq.Assignments = a;
    rq.Assignments_n = (int32_t)n;
    simwire_frame(k, KEY_SYNC, version(k, 0, 3, 5), &rq);
}
static void heartbeat(struct simcall *k, struct floe_kstr group)
{
    struct floe_kafka_HeartbeatRequest rq;
    floe_kafka_defaults(&floe_kafka_HeartbeatRequest_desc, &rq);
    rq.GroupId = group;
    rq.GenerationId = k->generation;
    rq.MemberId = id_of(k->classic);
    rq.GroupInstanceId = instance_of(k->classic);
    simwire_frame(k, KEY_HEARTBEAT, version(k, 0, 3, 4), &rq);
}
static void leave(struct simcall *k, struct floe_kstr group)
{
    struct floe_kafka_LeaveGroupRequest rq;
    struct floe_kafka_LeaveGroupRequest_MemberIdentity who;
    int16_t v = version(k, 0, 3, 5);
    floe_kafka_defaults(&floe_kafka_LeaveGroupRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_LeaveGroupRequest_MemberIdentity_desc, &who);
    rq.GroupId = group;
    if (v < 3) {
        rq.MemberId = id_of(k->classic);
    } else {
        who.MemberId = id_of(k->classic);
        who.GroupInstanceId = instance_of(k->classic);
        rq.Members = &who;
        rq.Members_n = 1;
    }
    simwire_frame(k, KEY_LEAVE, v, &rq);
}
void simclassic_encode(struct simcall *k, struct floe_kstr group)
{
    switch (k->kind) {
    case CALL_JOIN:
        join(k, group);
        break;
    case CALL_SYNC:
        sync(k, group);
        break;
    case CALL_HEARTBEAT:
        heartbeat(k, group);
        break;
    default:
        FLOE_ASSERT(k->kind == CALL_LEAVE);
        leave(k, group);
    }
}
int16_t simclassic_commit(struct simcall *k, struct floe_kafka_OffsetCommitRequest *rq)
{
    rq->GenerationIdOrMemberEpoch = k->generation;
    rq->MemberId = id_of(k->classic);
    rq->GroupInstanceId = instance_of(k->classic);
    return version(k, 2, 7, 9);
}

/* ---- answers ---- */

static void copy(char *to, size_t cap, struct floe_kstr from)
{
    FLOE_ASSERT((size_t)FLOE_MAX(from.n, 0) < cap);
    memcpy(to, from.n > 0 ? from.p : "", (size_t)FLOE_MAX(from.n, 0));
    to[FLOE_MAX(from.n, 0)] = 0;
}
static void answer_join(struct simcall *k, const struct floe_kafka_JoinGroupResponse *rs)
{
    k->kafka_error = rs->ErrorCode;
    k->generation = rs->GenerationId;
    struct simjoined *j = k->joined = calloc(1, sizeof *j);
    FLOE_ASSERT(j);
    copy(j->id, sizeof j->id, rs->MemberId);
    j->leads = rs->ErrorCode == 0 && floe_kstr_eq(rs->Leader, rs->MemberId);
    j->skips = rs->SkipAssignment;
    for (int32_t i = 0; j->leads && i < rs->Members_n && i < CLASSIC_IDS_MAX; i++) {
        FLOE_ASSERT(rs->Members[i].Metadata.n == 1);
        copy(j->member[j->n].id, sizeof j->member->id, rs->Members[i].MemberId);
        j->member[j->n++].slot = rs->Members[i].Metadata.p[0];
    }
}
static void answer_sync(struct simcall *k, const struct floe_kafka_SyncGroupResponse *rs)
{
    k->kafka_error = rs->ErrorCode;
    k->assigns = rs->Assignment.n > 0;
    if (rs->ErrorCode || !k->assigns)
        return;
    const uint8_t *p = rs->Assignment.p;
    FLOE_ASSERT(rs->Assignment.n == SHARE_BYTES);
    k->result = floe_le32(p);
    k->place = floe_le16(p + 4);
    k->assigned = floe_le16(p + 6);
}
void simclassic_decode(struct simcall *k, const void *rs)
{
    switch (k->kind) {
    case CALL_JOIN:
        answer_join(k, rs);
        break;
    case CALL_SYNC:
        answer_sync(k, rs);
        break;
    case CALL_HEARTBEAT:
        k->kafka_error = ((const struct floe_kafka_HeartbeatResponse *)rs)->ErrorCode;
        break;
    default:
        FLOE_ASSERT(k->kind == CALL_LEAVE);
        k->kafka_error = ((const struct floe_kafka_LeaveGroupResponse *)rs)->ErrorCode;
    }
}
