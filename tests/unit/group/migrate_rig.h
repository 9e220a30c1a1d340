/* Members of both protocols as clients would be, and what must hold of them, for the tests of groups that are
 * converted. */
#ifndef FLOE_TEST_MIGRATE_RIG_H
#define FLOE_TEST_MIGRATE_RIG_H

#include <floe_cmocka.h>

#include "api_rig.h"
#include "group/group_int.h"
#include <stdio.h>
#include <string.h>

#define TOPIC "t"
#define PARTS 6
#define GROUP_MAX 16

/* ---- the rig ---------------------------------------------------------------------------------------------
 */

/* A member of either protocol. */
struct member {
    struct api_node *n;
    struct floe_client client;
    const char *group, *id, *instance;
    char id_text[80], leader[80], protocol[32];
    const char *protocols[2]; /* classic: what it knows; the second may be null */
    int more;                 /* classic: so many more protocols that nobody else knows */
    struct floe_kbytes user;  /* classic: its subscription's user data, where not "user" */
    int16_t embedded;         /* classic: the version of its subscription; -1: it is malformed */
    bool cooperative,
        custom; /* classic: keeps what it has while it joins; as a leader puts user data in shares */
    int32_t epoch, members; /* classic: the generation; how many members it was told of */
    int32_t session_ms, rebalance_ms;
    int32_t parts[PARTS], count; /* what it has */
    int16_t share_version;       /* of the last assignment that it got */
    bool heard;                  /* consumer: the last answer had an assignment */
    struct api_call *call;
};

static inline void member_init(struct member *m, struct api_node *n, const char *id, const char *instance)
{
    *m = (struct member){.n = n,
                         .group = "g",
                         .id = id,
                         .instance = instance,
                         .protocols = {"range", NULL},
                         .embedded = 1,
                         .epoch = -1,
                         .session_ms = 10000,
                         .rebalance_ms = 20000};
    floe_client_init(&m->client, "10.0.0.9:4711", 0);
}

/* ---- the consumer protocol
 * --------------------------------------------------------------------------------- */

/* `client` null: the node's own. */
static inline struct api_call *beat_begin(struct member *m, struct floe_client *client, bool full)
{
    struct floe_kafka_ConsumerGroupHeartbeatRequest rq;
    struct floe_kafka_ConsumerGroupHeartbeatRequest_TopicPartitions tp;
    struct floe_kstr name = floe_kstr(TOPIC);
    floe_kafka_defaults(&floe_kafka_ConsumerGroupHeartbeatRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_ConsumerGroupHeartbeatRequest_TopicPartitions_desc, &tp);
    rq.GroupId = floe_kstr(m->group);
    rq.MemberId = floe_kstr(m->id);
    rq.InstanceId = floe_kstr(m->instance);
    rq.MemberEpoch = m->epoch;
    if (full) {
        rq.RebalanceTimeoutMs = m->rebalance_ms;
        rq.SubscribedTopicNames = &name;
        rq.SubscribedTopicNames_n = 1;
    }
    if (m->count > 0)
        assert_true(api_topic_id(m->n, TOPIC, &tp.TopicId));
    tp.Partitions = m->parts;
    tp.Partitions_n = m->count;
    rq.TopicPartitions = &tp;
    rq.TopicPartitions_n = m->count > 0;
    return api_send(m->n, client, 68, 1, &rq);
}
static inline int16_t beat_end(struct member *m, struct api_call *c, uint32_t ms)
{
    const struct floe_kafka_ConsumerGroupHeartbeatResponse *rs = api_wait(m->n, c, ms);
    assert_non_null(rs);
    int16_t error = rs->ErrorCode;
    if (error) {
        api_call_free(c);
        return error;
    }
    m->epoch = rs->MemberEpoch;
    m->heard = rs->Assignment != NULL;
    if (rs->Assignment) {
        m->count = 0;
        for (int32_t i = 0; i < rs->Assignment->TopicPartitions_n; i++)
            for (int32_t k = 0; k < rs->Assignment->TopicPartitions[i].Partitions_n; k++)
                m->parts[m->count++] = rs->Assignment->TopicPartitions[i].Partitions[k];
    }
    api_call_free(c);
    return 0;
}
static inline int16_t beat(struct member *m, bool full)
{
    return beat_end(m, beat_begin(m, NULL, full), 60000);
}
static inline int16_t new_join(struct member *m)
{
    m->epoch = m->count = 0;
    int16_t error = beat(m, true);
    for (int i = 0; error == FLOE_KERR_COORDINATOR_LOAD_IN_PROGRESS && i < 200; i++) {
        api_rig_run(m->n->rig, 20);
        error = beat(m, true);
    }
    return error;
}
static inline int16_t new_leave(struct member *m)
{
    m->epoch = -1;
    m->count = 0;
    return beat(m, false);
}

/* ---- the classic protocol
 * ---------------------------------------------------------------------------------- */

/* The member's subscription, with what it owns. */
static inline struct floe_kbytes subscription(const struct member *m, uint8_t *at, size_t cap)
{
    struct floe_kafka_ConsumerProtocolSubscription v;
    struct floe_kafka_ConsumerProtocolSubscription_TopicPartition owned;
    struct floe_kstr name = floe_kstr(TOPIC);
    struct floe_writer w;
    if (m->embedded < 0) {
        memcpy(at, "\0\1\0\0\0\7bad", 9);
        return (struct floe_kbytes){at, 9};
    }
    floe_kafka_defaults(&floe_kafka_ConsumerProtocolSubscription_desc, &v);
    v.Topics = &name;
    v.Topics_n = 1;
    v.UserData = m->user.n > 0 ? m->user : (struct floe_kbytes){(const uint8_t *)"user", 4};
    owned =
        (struct floe_kafka_ConsumerProtocolSubscription_TopicPartition){name, (int32_t *)m->parts, m->count};
    if (m->cooperative && m->count > 0) {
        v.OwnedPartitions = &owned;
        v.OwnedPartitions_n = 1;
    }
    floe_writer_init(&w, cap);
    floe_write_be16(&w, (uint16_t)m->embedded);
    assert_int_equal(floe_kafka_encode(&floe_kafka_ConsumerProtocolSubscription_desc,
                                       FLOE_MIN(m->embedded, (int16_t)3), &v, &w, NULL),
                     FLOE_OK);
    memcpy(at, w.p, w.n);
    struct floe_kbytes out = {at, (int32_t)w.n};
    floe_writer_fini(&w);
    return out;
}

static inline struct api_call *join_send(struct member *m, int16_t version)
{
    struct floe_kafka_JoinGroupRequest rq;
    struct floe_kafka_JoinGroupRequest_JoinGroupRequestProtocol p[64];
    static uint8_t bytes[1 << 17];
    floe_kafka_defaults(&floe_kafka_JoinGroupRequest_desc, &rq);
    rq.Protocols = p;
    struct floe_kbytes meta = subscription(m, bytes, sizeof bytes);
    for (int i = 0; i < 2 && m->protocols[i]; i++, rq.Protocols_n++) {
        floe_kafka_struct_defaults(&floe_kafka_JoinGroupRequest_JoinGroupRequestProtocol_desc, &p[i]);
        p[i].Name = floe_kstr(m->protocols[i]);
        p[i].Metadata = meta;
    }
    for (int i = 0; i < m->more; i++) {
        p[rq.Protocols_n] = p[0];
        p[rq.Protocols_n++].Name =
            floe_kstr_n("ppppppppppppppppppppppppppppppppppppppppppppppppppppp", (size_t)i + 1);
    }
    rq.GroupId = floe_kstr(m->group);
    rq.SessionTimeoutMs = m->session_ms;
    rq.RebalanceTimeoutMs = m->rebalance_ms;
    rq.MemberId = floe_kstr(m->id ? m->id : "");
    rq.GroupInstanceId = version >= 5 ? floe_kstr(m->instance) : floe_kstr(NULL);
    rq.ProtocolType = floe_kstr("consumer");
    if (!m->cooperative)
        m->count = 0; /* given up before it joins */
    return api_send(m->n, &m->client, 11, version, &rq);
}
static inline int16_t join_take(struct member *m, struct api_call *c)
{
    struct floe_kafka_JoinGroupResponse *rs = api_wait(m->n, c, 60000);
    assert_non_null(rs);
    int16_t error = rs->ErrorCode;
    if (!error || error == FLOE_KERR_MEMBER_ID_REQUIRED) {
        snprintf(m->id_text, sizeof m->id_text, "%.*s", (int)rs->MemberId.n, rs->MemberId.p);
        snprintf(m->leader, sizeof m->leader, "%.*s", (int)rs->Leader.n,
                 rs->Leader.n > 0 ? rs->Leader.p : "");
        snprintf(m->protocol, sizeof m->protocol, "%.*s", (int)rs->ProtocolName.n,
                 rs->ProtocolName.n > 0 ? rs->ProtocolName.p : "");
        m->id = m->id_text;
        m->members = rs->Members_n;
    }
    if (!error)
        m->epoch = rs->GenerationId;
    api_call_free(c);
    return error;
}
/* A dynamic member of some protocol whose metadata only clients understand. */
static inline struct api_call *join_send_other(struct member *m, const uint8_t *bytes, int32_t size)
{
    struct floe_kafka_JoinGroupRequest rq;
    struct floe_kafka_JoinGroupRequest_JoinGroupRequestProtocol p;
    floe_kafka_defaults(&floe_kafka_JoinGroupRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_JoinGroupRequest_JoinGroupRequestProtocol_desc, &p);
    p.Name = floe_kstr(m->protocols[0]);
    p.Metadata = (struct floe_kbytes){bytes, size};
    rq.Protocols = &p;
    rq.Protocols_n = 1;
    rq.GroupId = floe_kstr(m->group);
    rq.MemberId = floe_kstr(m->id ? m->id : "");
    rq.SessionTimeoutMs = m->session_ms;
    rq.RebalanceTimeoutMs = m->rebalance_ms;
    rq.GroupInstanceId = floe_kstr(NULL);
    rq.ProtocolType = floe_kstr("x");
    return api_send(m->n, &m->client, 11, 3, &rq);
}
/* Both steps; the call that waits for the group is left open. */
static inline void join_open(struct member *m)
{
    while (!m->id && !m->instance) {
        int16_t error = join_take(m, join_send(m, 9));
        if (error == FLOE_KERR_COORDINATOR_LOAD_IN_PROGRESS)
            api_rig_run(m->n->rig, 20);
        else
            assert_int_equal(error, FLOE_KERR_MEMBER_ID_REQUIRED);
    }
    m->call = join_send(m, 9);
}
static inline int16_t join_done(struct member *m)
{
    return join_take(m, m->call);
}
static inline int16_t join(struct member *m)
{
    join_open(m);
    return join_done(m);
}

/* A ConsumerProtocolAssignment; user data may be null. */
static inline struct floe_kbytes share_bytes(int32_t *parts, int32_t count, int16_t version, const char *user,
                                             uint8_t *at, size_t cap)
{
    struct floe_kafka_ConsumerProtocolAssignment v;
    struct floe_kafka_ConsumerProtocolAssignment_TopicPartition t = {floe_kstr(TOPIC), parts, count};
    struct floe_writer w;
    floe_kafka_defaults(&floe_kafka_ConsumerProtocolAssignment_desc, &v);
    v.AssignedPartitions = &t;
    v.AssignedPartitions_n = 1;
    if (user)
        v.UserData = (struct floe_kbytes){(const uint8_t *)user, (int32_t)strlen(user)};
    floe_writer_init(&w, cap);
    floe_write_be16(&w, (uint16_t)version);
    assert_int_equal(floe_kafka_encode(&floe_kafka_ConsumerProtocolAssignment_desc,
                                       FLOE_MIN(version, (int16_t)3), &v, &w, NULL),
                     FLOE_OK);
    memcpy(at, w.p, w.n);
    struct floe_kbytes out = {at, (int32_t)w.n};
    floe_writer_fini(&w);
    return out;
}
static inline struct floe_kbytes share_of(const struct member *leader, int32_t i, int32_t n, uint8_t *at,
                                          size_t cap)
{
    int32_t parts[PARTS], count = 0;
    for (int32_t p = 0; p < PARTS; p++)
        if (p % n == i)
            parts[count++] = p;
    return share_bytes(parts, count, leader->embedded, leader->custom ? "mine" : NULL, at, cap);
}

/* The leader's gives member i every `of`-th partition. */
static inline struct api_call *sync_part(struct member *m, struct member **all, int32_t n, int32_t of)
{
    struct floe_kafka_SyncGroupRequest rq;
    struct floe_kafka_SyncGroupRequest_SyncGroupRequestAssignment a[4];
    uint8_t bytes[4][128];
    floe_kafka_defaults(&floe_kafka_SyncGroupRequest_desc, &rq);
    rq.GroupId = floe_kstr(m->group);
    rq.MemberId = floe_kstr(m->id);
    rq.GroupInstanceId = floe_kstr(m->instance);
    rq.GenerationId = m->epoch;
    rq.ProtocolType = floe_kstr("consumer");
    rq.ProtocolName = floe_kstr(m->protocol);
    for (int32_t i = 0; i < n; i++) {
        floe_kafka_struct_defaults(&floe_kafka_SyncGroupRequest_SyncGroupRequestAssignment_desc, &a[i]);
        a[i].MemberId = floe_kstr(all[i]->id);
        a[i].Assignment = all[i]->embedded < 0 ? (struct floe_kbytes){(const uint8_t *)"x", 1}
                                               : share_of(m, i, of, bytes[i], sizeof bytes[i]);
    }
    rq.Assignments = a;
    rq.Assignments_n = n;
    return api_send(m->n, &m->client, 14, 5, &rq);
}
static inline struct api_call *sync_send(struct member *m, struct member **all, int32_t n)
{
    return sync_part(m, all, n, n);
}
static inline int16_t sync_take(struct member *m, struct api_call *c)
{
    struct floe_kafka_SyncGroupResponse *rs = api_wait(m->n, c, 60000);
    struct floe_arena arena;
    void *out;
    assert_non_null(rs);
    int16_t error = rs->ErrorCode;
    m->count = error ? m->count : 0;
    if (!error && m->embedded >= 0 && rs->Assignment.n > 0) {
        struct floe_kbytes in = rs->Assignment;
        assert_true(in.n >= 2);
        m->share_version = (int16_t)floe_be16(in.p);
        floe_arena_init(&arena, 1 << 20);
        assert_int_equal(floe_kafka_decode(&floe_kafka_ConsumerProtocolAssignment_desc,
                                           FLOE_MIN(m->share_version, (int16_t)3),
                                           floe_slice(in.p + 2, (size_t)in.n - 2), &arena, &out, NULL),
                         FLOE_OK);
        const struct floe_kafka_ConsumerProtocolAssignment *v = out;
        m->count = 0;
        for (int32_t i = 0; i < v->AssignedPartitions_n; i++)
            for (int32_t k = 0; k < v->AssignedPartitions[i].Partitions_n; k++)
                m->parts[m->count++] = v->AssignedPartitions[i].Partitions[k];
        floe_arena_fini(&arena);
    }
    api_call_free(c);
    return error;
}
static inline int16_t sync_group(struct member *m)
{
    return sync_take(m, sync_send(m, NULL, 0));
}

static inline int16_t heartbeat(struct member *m)
{
    struct floe_kafka_HeartbeatRequest rq;
    floe_kafka_defaults(&floe_kafka_HeartbeatRequest_desc, &rq);
    rq.GroupId = floe_kstr(m->group);
    rq.MemberId = floe_kstr(m->id);
    rq.GroupInstanceId = floe_kstr(m->instance);
    rq.GenerationId = m->epoch;
    struct floe_kafka_HeartbeatResponse *rs = api_do(m->n, 12, 4, &rq);
    assert_non_null(rs);
    return rs->ErrorCode;
}

static inline int16_t leave(struct member *m, const char *id, const char *instance)
{
    struct floe_kafka_LeaveGroupRequest rq;
    struct floe_kafka_LeaveGroupRequest_MemberIdentity w;
    floe_kafka_defaults(&floe_kafka_LeaveGroupRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_LeaveGroupRequest_MemberIdentity_desc, &w);
    w.MemberId = floe_kstr(id);
    w.GroupInstanceId = floe_kstr(instance);
    rq.GroupId = floe_kstr(m->group);
    rq.Members = &w;
    rq.Members_n = 1;
    struct floe_kafka_LeaveGroupResponse *rs = api_do(m->n, 13, 3, &rq);
    assert_non_null(rs);
    return rs->ErrorCode ? rs->ErrorCode : rs->Members[0].ErrorCode;
}

/* What a client does: hears, joins, asks for its share, gives back, joins again. True: nothing was to be
 * done. */
static inline bool classic_turn(struct member *m)
{
    int16_t error = heartbeat(m);
    if (error == 0)
        return true;
    assert_int_equal(error, FLOE_KERR_REBALANCE_IN_PROGRESS);
    assert_int_equal(join(m), 0);
    assert_string_equal(m->leader, "");
    assert_int_equal(m->members, 0);
    assert_int_equal(sync_group(m), 0);
    return false;
}

/* A classic group of these in one generation, with their shares. */
static inline void classic_group(struct member **m, int32_t n)
{
    struct member *leader = NULL;
    struct api_call *c[4];
    for (int32_t i = 0; i < n; i++)
        join_open(m[i]);
    for (int32_t i = 0; i < n; i++) {
        assert_int_equal(join_done(m[i]), 0);
        if (strcmp(m[i]->leader, m[i]->id) == 0)
            leader = m[i];
    }
    assert_non_null(leader);
    for (int32_t i = 0; i < n; i++)
        c[i] = m[i] == leader ? NULL : sync_send(m[i], NULL, 0);
    assert_int_equal(sync_take(leader, sync_send(leader, m, n)), 0);
    for (int32_t i = 0; i < n; i++)
        if (c[i])
            assert_int_equal(sync_take(m[i], c[i]), 0);
}

/* ---- what must hold
 * ---------------------------------------------------------------------------------------- */

static inline void nothing_twice(struct member **m, int32_t n)
{
    int owners[PARTS] = {0};
    for (int32_t i = 0; i < n; i++)
        for (int32_t k = 0; k < m[i]->count; k++)
            assert_int_equal(++owners[m[i]->parts[k]], 1);
}
static inline void all_owned(struct member **m, int32_t n)
{
    int32_t sum = 0;
    nothing_twice(m, n);
    for (int32_t i = 0; i < n; i++)
        sum += m[i]->count;
    assert_int_equal(sum, PARTS);
}

/* Everybody takes turns until nobody has anything to do. `classic` of them, the first ones, are classic. */
static inline void settle(struct member **m, int32_t classic, int32_t n)
{
    for (int turn = 0, quiet = 0; quiet < 2; turn++) {
        quiet++;
        assert_true(turn < 20);
        for (int32_t i = 0; i < n; i++) {
            int32_t epoch = m[i]->epoch, count = m[i]->count;
            bool still = i < classic ? classic_turn(m[i]) : beat(m[i], false) == 0;
            nothing_twice(m, n);
            if (!still || epoch != m[i]->epoch || count != m[i]->count)
                quiet = 0;
        }
    }
    all_owned(m, n);
    for (int32_t i = 1; i < n; i++)
        assert_int_equal(m[i]->epoch, m[0]->epoch);
}

static inline int16_t commit(struct member *m, int64_t offset)
{
    struct floe_kafka_OffsetCommitRequest rq;
    struct floe_kafka_OffsetCommitRequest_OffsetCommitRequestTopic t;
    struct floe_kafka_OffsetCommitRequest_OffsetCommitRequestPartition p;
    floe_kafka_defaults(&floe_kafka_OffsetCommitRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_OffsetCommitRequest_OffsetCommitRequestTopic_desc, &t);
    floe_kafka_struct_defaults(&floe_kafka_OffsetCommitRequest_OffsetCommitRequestPartition_desc, &p);
    p.CommittedOffset = offset;
    p.CommittedMetadata = floe_kstr("");
    t.Name = floe_kstr(TOPIC);
    t.Partitions = &p;
    t.Partitions_n = 1;
    rq.GroupId = floe_kstr(m->group);
    rq.MemberId = floe_kstr(m->id);
    rq.GroupInstanceId = floe_kstr(m->instance);
    rq.GenerationIdOrMemberEpoch = m->epoch;
    rq.Topics = &t;
    rq.Topics_n = 1;
    struct floe_kafka_OffsetCommitResponse *rs = api_do(m->n, 8, 8, &rq);
    assert_non_null(rs);
    return rs->Topics[0].Partitions[0].ErrorCode;
}
static inline int64_t committed(struct api_node *n, const char *group)
{
    struct floe_kafka_OffsetFetchRequest rq;
    struct floe_kafka_OffsetFetchRequest_OffsetFetchRequestTopic t;
    int32_t zero = 0;
    floe_kafka_defaults(&floe_kafka_OffsetFetchRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_OffsetFetchRequest_OffsetFetchRequestTopic_desc, &t);
    t.Name = floe_kstr(TOPIC);
    t.PartitionIndexes = &zero;
    t.PartitionIndexes_n = 1;
    rq.GroupId = floe_kstr(group);
    rq.Topics = &t;
    rq.Topics_n = 1;
    struct floe_kafka_OffsetFetchResponse *rs = api_do(n, 9, 5, &rq);
    assert_non_null(rs);
    assert_int_equal(rs->ErrorCode, 0);
    return rs->Topics[0].Partitions[0].CommittedOffset;
}

/* As ListGroups shows it. */
static inline void type_is(struct api_node *n, const char *type, const char *state)
{
    struct floe_kafka_ListGroupsRequest rq;
    floe_kafka_defaults(&floe_kafka_ListGroupsRequest_desc, &rq);
    struct floe_kafka_ListGroupsResponse *rs = api_do(n, 16, 5, &rq);
    assert_non_null(rs);
    assert_int_equal(rs->Groups_n, 1);
    assert_true(floe_kstr_is(rs->Groups[0].GroupType, type));
    assert_true(floe_kstr_is(rs->Groups[0].ProtocolType, "consumer"));
    assert_true(floe_kstr_is(rs->Groups[0].GroupState, state));
}

static inline void start(struct api_rig *r, uint64_t seed, struct api_node **n)
{
    api_rig_start(r, seed, 1);
    *n = api_coordinator(r, "g");
    assert_int_equal(api_make_topic(*n, TOPIC, PARTS, NULL, NULL), 0);
    struct member nobody;
    member_init(&nobody, *n, "nobody", NULL);
    while (heartbeat(&nobody) == FLOE_KERR_COORDINATOR_LOAD_IN_PROGRESS)
        api_rig_run(r, 20);
}

/* A group whose coordinator is not the first node, which is asked for things. */
static inline struct api_node *start_far(struct api_rig *r, uint64_t seed, uint32_t nodes, char *group)
{
    struct api_node *n = &r->nodes[0];
    api_rig_start(r, seed, nodes);
    for (int i = 0; n == &r->nodes[0] && i < 60; i++) {
        snprintf(group, GROUP_MAX, "g%d", i);
        n = api_coordinator(r, group);
    }
    assert_int_equal(api_make_topic(n, TOPIC, PARTS, NULL, NULL), 0);
    return n;
}

#endif
