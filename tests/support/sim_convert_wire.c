/* What members of a group that is converted say and hear: Kafka requests and answers of both protocols, with
 * the embedded consumer protocol (ConsumerProtocolSubscription, ConsumerProtocolAssignment). */
#include <stdlib.h>

#include <floe/base/assert.h>
#include <floe/base/bytes.h>

#include "sim_convert.h"

enum {
    KEY_COMMIT = 8,
    KEY_READ = 9,
    KEY_JOIN = 11,
    KEY_HEARTBEAT = 12,
    KEY_LEAVE = 13,
    KEY_SYNC = 14,
    KEY_BEAT = 68
};
#define EMBEDDED_MAX 512

static int16_t version(struct simcall *k, int16_t from, int16_t to)
{
    return (int16_t)(from + (int16_t)floe_rng_below(k->rng, (uint64_t)(to - from + 1)));
}
static struct floe_kstr protocol(const struct simconvert *m)
{
    return floe_kstr(m->all->cooperative ? "cooperative-sticky" : "range");
}
static struct floe_kstr topic(const struct simcall *k)
{
    return floe_kstr(k->c->topic[0].name);
}
static int32_t list(uint32_t parts, int32_t out[SIM_MAIN_MAX])
{
    int32_t n = 0;
    for (int32_t i = 0; i < SIM_MAIN_MAX; i++)
        if (parts & 1u << i)
            out[n++] = i;
    return n;
}

/* ---- embedded ---- */

static struct floe_kbytes embed(const struct floe_kafka_msg *desc, int16_t v, const void *value,
                                uint8_t to[EMBEDDED_MAX])
{
    struct floe_writer w;
    floe_writer_init(&w, EMBEDDED_MAX);
    floe_write_be16(&w, (uint16_t)v);
    FLOE_ASSERT(floe_kafka_encode(desc, v, value, &w, NULL) == FLOE_OK);
    memcpy(to, w.p, w.n);
    struct floe_kbytes out = {to, (int32_t)w.n};
    floe_writer_fini(&w);
    return out;
}
static const void *embedded(const struct floe_kafka_msg *desc, struct floe_kbytes in, struct floe_arena *a)
{
    void *out;
    FLOE_ASSERT(in.n >= 2);
    FLOE_ASSERT(floe_kafka_decode(desc, FLOE_MIN((int16_t)floe_be16(in.p), (int16_t)3),
                                  floe_slice(in.p + 2, (size_t)in.n - 2), a, &out, NULL) == FLOE_OK);
    return out;
}
static struct floe_kbytes subscription(const struct simcall *k, uint8_t to[EMBEDDED_MAX])
{
    const struct simconvert *m = k->user;
    struct floe_kafka_ConsumerProtocolSubscription v;
    struct floe_kstr name = topic(k);
    int32_t parts[SIM_MAIN_MAX];
    struct floe_kafka_ConsumerProtocolSubscription_TopicPartition t = {name, parts, list(m->owned, parts)};
    floe_kafka_defaults(&floe_kafka_ConsumerProtocolSubscription_desc, &v);
    v.Topics = &name;
    v.Topics_n = 1;
    v.OwnedPartitions = &t;
    v.OwnedPartitions_n = m->all->cooperative && t.Partitions_n > 0;
    return embed(&floe_kafka_ConsumerProtocolSubscription_desc, 1, &v, to);
}
static struct floe_kbytes share(const struct simcall *k, uint32_t has, uint8_t to[EMBEDDED_MAX])
{
    struct floe_kafka_ConsumerProtocolAssignment v;
    int32_t parts[SIM_MAIN_MAX];
    struct floe_kafka_ConsumerProtocolAssignment_TopicPartition t = {topic(k), parts, list(has, parts)};
    floe_kafka_defaults(&floe_kafka_ConsumerProtocolAssignment_desc, &v);
    v.AssignedPartitions = &t;
    v.AssignedPartitions_n = t.Partitions_n > 0;
    return embed(&floe_kafka_ConsumerProtocolAssignment_desc, 1, &v, to);
}

/* ---- requests ---- */

static void beat(struct simcall *k, struct floe_kstr group)
{
    const struct simconvert *m = k->user;
    struct floe_kafka_ConsumerGroupHeartbeatRequest rq;
    struct floe_kafka_ConsumerGroupHeartbeatRequest_TopicPartitions t = {.TopicId = k->c->topic[0].id};
    struct floe_kstr name = topic(k);
    int32_t parts[SIM_MAIN_MAX];
    floe_kafka_defaults(&floe_kafka_ConsumerGroupHeartbeatRequest_desc, &rq);
    rq.GroupId = group;
    rq.MemberId = floe_kstr(m->id);
    rq.MemberEpoch = k->generation;
    t.Partitions = parts;
    t.Partitions_n = list(m->owned, parts);
    rq.TopicPartitions = &t;
    rq.TopicPartitions_n = t.Partitions_n > 0;
    if (m->full && k->generation >= 0) {
        rq.RebalanceTimeoutMs = CONVERT_TIME_MS;
        rq.SubscribedTopicNames = &name;
        rq.SubscribedTopicNames_n = 1;
    }
    simwire_frame(k, KEY_BEAT, 1, &rq);
}
static void join(struct simcall *k, struct floe_kstr group)
{
    struct simconvert *m = k->user;
    struct floe_kafka_JoinGroupRequest rq;
    struct floe_kafka_JoinGroupRequest_JoinGroupRequestProtocol p;
    uint8_t bytes[EMBEDDED_MAX];
    floe_kafka_defaults(&floe_kafka_JoinGroupRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_JoinGroupRequest_JoinGroupRequestProtocol_desc, &p);
    rq.GroupId = group;
    rq.SessionTimeoutMs = CONVERT_TIME_MS;
    rq.RebalanceTimeoutMs = CONVERT_TIME_MS;
    rq.MemberId = floe_kstr(m->id);
    rq.ProtocolType = floe_kstr("consumer");
    rq.Protocols = &p;
    rq.Protocols_n = 1;
    p.Name = protocol(m);
    p.Metadata = subscription(k, bytes);
    simwire_frame(k, KEY_JOIN, version(k, 6, 9), &rq);
}
static void sync(struct simcall *k, struct floe_kstr group)
{
    const struct simconvert *m = k->user;
    struct floe_kafka_SyncGroupRequest rq;
    struct floe_kafka_SyncGroupRequest_SyncGroupRequestAssignment a[CONVERT_IDS_MAX];
    uint8_t bytes[CONVERT_IDS_MAX][EMBEDDED_MAX];
    floe_kafka_defaults(&floe_kafka_SyncGroupRequest_desc, &rq);
    rq.GroupId = group;
    rq.GenerationId = k->generation;
    rq.MemberId = floe_kstr(m->id);
    rq.ProtocolType = floe_kstr("consumer");
    rq.ProtocolName = protocol(m);
    rq.Assignments = a;
    for (uint32_t i = 0; m->joined.leads && i < m->joined.n; i++) {
        floe_kafka_struct_defaults(&floe_kafka_SyncGroupRequest_SyncGroupRequestAssignment_desc, &a[i]);
        a[i].MemberId = floe_kstr(m->joined.member[i].id);
        a[i].Assignment = share(k, simconvert_share(m, i), bytes[i]);
        rq.Assignments_n++;
    }
    simwire_frame(k, KEY_SYNC, version(k, 3, 5), &rq);
}
static void heartbeat(struct simcall *k, struct floe_kstr group)
{
    const struct simconvert *m = k->user;
    struct floe_kafka_HeartbeatRequest rq;
    floe_kafka_defaults(&floe_kafka_HeartbeatRequest_desc, &rq);
    rq.GroupId = group;
    rq.GenerationId = k->generation;
    rq.MemberId = floe_kstr(m->id);
    simwire_frame(k, KEY_HEARTBEAT, version(k, 0, 4), &rq);
}
static void leave(struct simcall *k, struct floe_kstr group)
{
    const struct simconvert *m = k->user;
    struct floe_kafka_LeaveGroupRequest rq;
    struct floe_kafka_LeaveGroupRequest_MemberIdentity who;
    if (!m->speaks_classic) {
        beat(k, group);
        return;
    }
    floe_kafka_defaults(&floe_kafka_LeaveGroupRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_LeaveGroupRequest_MemberIdentity_desc, &who);
    rq.GroupId = group;
    who.MemberId = floe_kstr(m->id);
    rq.Members = &who;
    rq.Members_n = 1;
    simwire_frame(k, KEY_LEAVE, version(k, 3, 5), &rq);
}
static void commit(struct simcall *k, struct floe_kstr group)
{
    const struct simconvert *m = k->user;
    struct floe_kafka_OffsetCommitRequest rq;
    struct floe_kafka_OffsetCommitRequest_OffsetCommitRequestTopic t;
    struct floe_kafka_OffsetCommitRequest_OffsetCommitRequestPartition p;
    floe_kafka_defaults(&floe_kafka_OffsetCommitRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_OffsetCommitRequest_OffsetCommitRequestTopic_desc, &t);
    floe_kafka_struct_defaults(&floe_kafka_OffsetCommitRequest_OffsetCommitRequestPartition_desc, &p);
    rq.GroupId = group;
    rq.GenerationIdOrMemberEpoch = k->generation;
    rq.MemberId = floe_kstr(m->id);
    rq.Topics = &t;
    rq.Topics_n = 1;
    t.Name = topic(k);
    t.Partitions = &p;
    t.Partitions_n = 1;
    p.PartitionIndex = k->index;
    p.CommittedOffset = k->offset;
    simwire_frame(k, KEY_COMMIT, m->speaks_classic ? version(k, 2, 9) : 9, &rq);
}
static void read(struct simcall *k, struct floe_kstr group)
{
    struct floe_kafka_OffsetFetchRequest rq;
    struct floe_kafka_OffsetFetchRequest_OffsetFetchRequestTopic t;
    floe_kafka_defaults(&floe_kafka_OffsetFetchRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_OffsetFetchRequest_OffsetFetchRequestTopic_desc, &t);
    rq.GroupId = group;
    rq.Topics = &t;
    rq.Topics_n = 1;
    t.Name = topic(k);
    t.PartitionIndexes = &k->index;
    t.PartitionIndexes_n = 1;
    simwire_frame(k, KEY_READ, version(k, 1, 7), &rq);
}
void simconvert_encode(struct simcall *k, struct floe_kstr group)
{
    static void (*const how[])(struct simcall *, struct floe_kstr) = {
        [CONVERT_BEAT] = beat,           [CONVERT_JOIN] = join,   [CONVERT_SYNC] = sync,
        [CONVERT_HEARTBEAT] = heartbeat, [CONVERT_LEAVE] = leave, [CONVERT_COMMIT] = commit,
        [CONVERT_READ] = read,
    };
    how[k->step](k, group);
}

/* ---- answers ---- */

static void copy(char *to, size_t cap, struct floe_kstr from)
{
    size_t n = (size_t)FLOE_MAX(from.n, 0);
    FLOE_ASSERT(n < cap);
    memcpy(to, n ? from.p : "", n);
    to[n] = 0;
}
static uint32_t bits(const int32_t *parts, int32_t n)
{
    uint32_t out = 0;
    for (int32_t i = 0; i < n; i++)
        out |= 1u << parts[i];
    return out;
}
static void answer_beat(struct simcall *k, const struct floe_kafka_ConsumerGroupHeartbeatResponse *rs)
{
    k->kafka_error = rs->ErrorCode;
    k->epoch = rs->MemberEpoch;
    k->assigns = rs->Assignment != NULL;
    for (int32_t i = 0; rs->Assignment && i < rs->Assignment->TopicPartitions_n; i++)
        k->assigned |= bits(rs->Assignment->TopicPartitions[i].Partitions,
                            rs->Assignment->TopicPartitions[i].Partitions_n);
}
static void answer_join(struct simcall *k, const struct floe_kafka_JoinGroupResponse *rs)
{
    struct floe_arena arena;
    struct simconvert_answer *j = k->convert = calloc(1, sizeof *j);
    FLOE_ASSERT(j);
    k->kafka_error = rs->ErrorCode;
    k->generation = rs->GenerationId;
    copy(j->id, sizeof j->id, rs->MemberId);
    j->classic = rs->Leader.n > 0;
    j->leads = rs->ErrorCode == 0 && floe_kstr_eq(rs->Leader, rs->MemberId);
    floe_arena_init(&arena, 1 << 20);
    for (int32_t i = 0; j->leads && i < rs->Members_n && i < CONVERT_IDS_MAX; i++) {
        const struct floe_kafka_ConsumerProtocolSubscription *s =
            embedded(&floe_kafka_ConsumerProtocolSubscription_desc, rs->Members[i].Metadata, &arena);
        copy(j->member[j->n].id, sizeof j->member->id, rs->Members[i].MemberId);
        for (int32_t t = 0; t < s->OwnedPartitions_n; t++)
            j->member[j->n].owned |=
                bits(s->OwnedPartitions[t].Partitions, s->OwnedPartitions[t].Partitions_n);
        j->n++;
    }
    floe_arena_fini(&arena);
}
static void answer_sync(struct simcall *k, const struct floe_kafka_SyncGroupResponse *rs)
{
    struct floe_arena arena;
    k->kafka_error = rs->ErrorCode;
    if (rs->ErrorCode || rs->Assignment.n <= 0)
        return;
    floe_arena_init(&arena, 1 << 20);
    const struct floe_kafka_ConsumerProtocolAssignment *v =
        embedded(&floe_kafka_ConsumerProtocolAssignment_desc, rs->Assignment, &arena);
    for (int32_t t = 0; t < v->AssignedPartitions_n; t++)
        k->assigned |= bits(v->AssignedPartitions[t].Partitions, v->AssignedPartitions[t].Partitions_n);
    floe_arena_fini(&arena);
}
void simconvert_decode(struct simcall *k, const void *rs)
{
    switch (k->api->key) {
    case KEY_BEAT:
        answer_beat(k, rs);
        break;
    case KEY_JOIN:
        answer_join(k, rs);
        break;
    case KEY_SYNC:
        answer_sync(k, rs);
        break;
    case KEY_HEARTBEAT:
        k->kafka_error = ((const struct floe_kafka_HeartbeatResponse *)rs)->ErrorCode;
        break;
    case KEY_LEAVE:
        k->kafka_error = ((const struct floe_kafka_LeaveGroupResponse *)rs)->ErrorCode;
        break;
    case KEY_COMMIT:
        k->kafka_error =
            ((const struct floe_kafka_OffsetCommitResponse *)rs)->Topics[0].Partitions[0].ErrorCode;
        break;
    default: {
        const struct floe_kafka_OffsetFetchResponse *v = rs;
        FLOE_ASSERT(k->api->key == KEY_READ);
        k->kafka_error = v->ErrorCode ? v->ErrorCode : v->Topics[0].Partitions[0].ErrorCode;
        k->result = v->ErrorCode ? -1 : v->Topics[0].Partitions[0].CommittedOffset;
    }
    }
}
