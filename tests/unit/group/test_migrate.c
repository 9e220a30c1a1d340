/* Groups that are converted while they have members, over whole cores: up when a member of the consumer
 * protocol comes, down when the last of these is gone; members of both; what may not be converted; time-outs;
 * and a coordinator's death between the steps. */
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

static struct api_node *coordinator(struct api_rig *r, const char *group)
{
    struct floe_kafka_FindCoordinatorRequest rq;
    for (int i = 0; i < 300; i++) {
        struct api_node *ask = r->nodes[0].core ? &r->nodes[0] : &r->nodes[1];
        floe_kafka_defaults(&floe_kafka_FindCoordinatorRequest_desc, &rq);
        rq.Key = floe_kstr(group);
        struct floe_kafka_FindCoordinatorResponse *rs = api_do(ask, 10, 3, &rq);
        bool found = rs && rs->ErrorCode == 0;
        struct api_node *n =
            found ? api_leader_of(r, FLOE_OFFSETS_TOPIC, floe_group_partition(floe_kstr(group), 50)) : NULL;
        if (n && n->core)
            return n;
        api_rig_run(r, 100);
    }
    fail_msg("no coordinator");
    return NULL;
}

/* A member of either protocol. */
struct member {
    struct api_node *n;
    struct floe_client client;
    const char *group, *id, *instance;
    char id_text[80], leader[80], protocol[32];
    const char *protocols[2]; /* classic: what it knows; the second may be null */
    int16_t embedded;         /* classic: the version of its subscription; -1: it is malformed */
    bool cooperative,
        custom; /* classic: keeps what it has while it joins; as a leader puts user data in shares */
    int32_t epoch, members; /* classic: the generation; how many members it was told of */
    int32_t session_ms, rebalance_ms;
    int32_t parts[PARTS], count; /* what it has */
    int16_t share_version;       /* of the last assignment that it got */
    struct api_call *call;
};

static void member_init(struct member *m, struct api_node *n, const char *id, const char *instance)
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

static int16_t beat(struct member *m, bool full)
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
    struct floe_kafka_ConsumerGroupHeartbeatResponse *rs = api_do(m->n, 68, 1, &rq);
    assert_non_null(rs);
    if (rs->ErrorCode)
        return rs->ErrorCode;
    m->epoch = rs->MemberEpoch;
    if (rs->Assignment) {
        m->count = 0;
        for (int32_t i = 0; i < rs->Assignment->TopicPartitions_n; i++)
            for (int32_t k = 0; k < rs->Assignment->TopicPartitions[i].Partitions_n; k++)
                m->parts[m->count++] = rs->Assignment->TopicPartitions[i].Partitions[k];
    }
    return 0;
}
static int16_t new_join(struct member *m)
{
    m->epoch = m->count = 0;
    int16_t error = beat(m, true);
    for (int i = 0; error == FLOE_KERR_COORDINATOR_LOAD_IN_PROGRESS && i < 200; i++) {
        api_rig_run(m->n->rig, 20);
        error = beat(m, true);
    }
    return error;
}
static int16_t new_leave(struct member *m)
{
    m->epoch = -1;
    m->count = 0;
    return beat(m, false);
}

/* ---- the classic protocol
 * ---------------------------------------------------------------------------------- */

/* The member's subscription, with what it owns. */
static struct floe_kbytes subscription(const struct member *m, uint8_t *at, size_t cap)
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
    v.UserData = (struct floe_kbytes){(const uint8_t *)"user", 4};
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

static struct api_call *join_send(struct member *m, int16_t version)
{
    struct floe_kafka_JoinGroupRequest rq;
    struct floe_kafka_JoinGroupRequest_JoinGroupRequestProtocol p[2];
    uint8_t bytes[256];
    floe_kafka_defaults(&floe_kafka_JoinGroupRequest_desc, &rq);
    rq.Protocols = p;
    struct floe_kbytes meta = subscription(m, bytes, sizeof bytes);
    for (int i = 0; i < 2 && m->protocols[i]; i++, rq.Protocols_n++) {
        floe_kafka_struct_defaults(&floe_kafka_JoinGroupRequest_JoinGroupRequestProtocol_desc, &p[i]);
        p[i].Name = floe_kstr(m->protocols[i]);
        p[i].Metadata = meta;
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
static int16_t join_take(struct member *m, struct api_call *c)
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
/* Both steps; the call that waits for the group is left open. */
static void join_open(struct member *m)
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
static int16_t join_done(struct member *m)
{
    return join_take(m, m->call);
}
static int16_t join(struct member *m)
{
    join_open(m);
    return join_done(m);
}

static struct floe_kbytes share_of(const struct member *leader, int32_t i, int32_t n, uint8_t *at, size_t cap)
{
    struct floe_kafka_ConsumerProtocolAssignment v;
    struct floe_kafka_ConsumerProtocolAssignment_TopicPartition t = {.Topic = floe_kstr(TOPIC)};
    int32_t parts[PARTS];
    struct floe_writer w;
    floe_kafka_defaults(&floe_kafka_ConsumerProtocolAssignment_desc, &v);
    for (int32_t p = 0; p < PARTS; p++)
        if (p % n == i)
            parts[t.Partitions_n++] = p;
    t.Partitions = parts;
    v.AssignedPartitions = &t;
    v.AssignedPartitions_n = 1;
    if (leader->custom)
        v.UserData = (struct floe_kbytes){(const uint8_t *)"mine", 4};
    floe_writer_init(&w, cap);
    floe_write_be16(&w, (uint16_t)leader->embedded);
    assert_int_equal(floe_kafka_encode(&floe_kafka_ConsumerProtocolAssignment_desc,
                                       FLOE_MIN(leader->embedded, (int16_t)3), &v, &w, NULL),
                     FLOE_OK);
    memcpy(at, w.p, w.n);
    struct floe_kbytes out = {at, (int32_t)w.n};
    floe_writer_fini(&w);
    return out;
}

/* The leader's gives member i every `of`-th partition. */
static struct api_call *sync_part(struct member *m, struct member **all, int32_t n, int32_t of)
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
static struct api_call *sync_send(struct member *m, struct member **all, int32_t n)
{
    return sync_part(m, all, n, n);
}
static int16_t sync_take(struct member *m, struct api_call *c)
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
static int16_t sync_group(struct member *m)
{
    return sync_take(m, sync_send(m, NULL, 0));
}

static int16_t heartbeat(struct member *m)
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

static int16_t leave(struct member *m, const char *id, const char *instance)
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
static bool classic_turn(struct member *m)
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
static void classic_group(struct member **m, int32_t n)
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

static void nothing_twice(struct member **m, int32_t n)
{
    int owners[PARTS] = {0};
    for (int32_t i = 0; i < n; i++)
        for (int32_t k = 0; k < m[i]->count; k++)
            assert_int_equal(++owners[m[i]->parts[k]], 1);
}
static void all_owned(struct member **m, int32_t n)
{
    int32_t sum = 0;
    nothing_twice(m, n);
    for (int32_t i = 0; i < n; i++)
        sum += m[i]->count;
    assert_int_equal(sum, PARTS);
}

/* Everybody takes turns until nobody has anything to do. `classic` of them, the first ones, are classic. */
static void settle(struct member **m, int32_t classic, int32_t n)
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

static int16_t commit(struct member *m, int64_t offset)
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
static int64_t committed(struct api_node *n, const char *group)
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
static void type_is(struct api_node *n, const char *type, const char *state)
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

static void start(struct api_rig *r, uint64_t seed, struct api_node **n)
{
    api_rig_start(r, seed, 1);
    *n = coordinator(r, "g");
    assert_int_equal(api_make_topic(*n, TOPIC, PARTS, NULL, NULL), 0);
    struct member nobody;
    member_init(&nobody, *n, "nobody", NULL);
    while (heartbeat(&nobody) == FLOE_KERR_COORDINATOR_LOAD_IN_PROGRESS)
        api_rig_run(r, 20);
}

/* ---- tests
 * --------------------------------------------------------------------------------------------------- */

/* Two classic members; one of the consumer protocol comes, the others go one by one, and come back. */
static void up_and_down(uint64_t seed, bool cooperative, int16_t embedded)
{
    struct api_rig r;
    struct api_node *n;
    struct member a, b, c, *all[] = {&a, &b, &c};
    start(&r, seed, &n);
    member_init(&a, n, NULL, NULL);
    member_init(&b, n, NULL, NULL);
    member_init(&c, n, "c", NULL);
    a.cooperative = b.cooperative = cooperative;
    a.embedded = b.embedded = embedded;
    classic_group(all, 2);
    all_owned(all, 2);
    assert_int_equal(commit(&a, 41), 0);
    int32_t generation = a.epoch;
    assert_int_equal(new_join(&c), 0);
    assert_int_equal(c.epoch, generation + 1);
    assert_int_equal(c.count, 0); /* nobody has given back yet */
    type_is(n, "consumer", "Reconciling");
    assert_int_equal(commit(&a, 42), 0); /* goes on in its generation until it joins again */
    settle(all, 2, 3);
    assert_int_equal(c.count, 2);
    assert_int_equal(a.share_version, FLOE_MIN(embedded, (int16_t)3));
    assert_string_equal(a.protocol, "range");
    type_is(n, "consumer", "Stable");
    assert_int_equal(commit(&a, 43), 0);
    a.epoch--;
    assert_int_equal(commit(&a, 44), FLOE_KERR_ILLEGAL_GENERATION);
    assert_int_equal(heartbeat(&a), FLOE_KERR_ILLEGAL_GENERATION);
    assert_int_equal(sync_group(&a), FLOE_KERR_ILLEGAL_GENERATION);
    a.epoch++;
    /* A classic member leaves: the others share. */
    assert_int_equal(leave(&b, b.id, NULL), 0);
    assert_int_equal(heartbeat(&b), FLOE_KERR_UNKNOWN_MEMBER_ID);
    struct member *left[] = {&a, &c};
    settle(left, 1, 2);
    assert_int_equal(a.count, 3);
    /* One comes back, and the last one of the consumer protocol goes. */
    member_init(&b, n, NULL, NULL);
    b.cooperative = cooperative;
    assert_int_equal(join(&b), 0);
    assert_int_equal(sync_group(&b), 0);
    settle(all, 2, 3);
    int32_t epoch = a.epoch;
    assert_int_equal(new_leave(&c), 0);
    type_is(n, "classic", "PreparingRebalance");
    assert_int_equal(heartbeat(&a), FLOE_KERR_REBALANCE_IN_PROGRESS);
    assert_int_equal(commit(&a, 45), 0);
    classic_group(all, 2);
    all_owned(all, 2);
    assert_int_equal(a.epoch, epoch + 1);
    type_is(n, "classic", "Stable");
    assert_int_equal(heartbeat(&a), 0);
    assert_int_equal(committed(n, "g"), 45);
    api_rig_stop(&r);
}
static void test_eager(void **state)
{
    (void)state;
    up_and_down(201, false, 0);
    up_and_down(202, false, 5); /* of a later version than is known */
}
static void test_cooperative(void **state)
{
    (void)state;
    up_and_down(203, true, 1);
    up_and_down(204, true, 3);
}

static void describe(struct api_node *n, struct floe_kafka_ConsumerGroupDescribeResponse **out)
{
    struct floe_kafka_ConsumerGroupDescribeRequest rq;
    static struct floe_kstr id;
    id = floe_kstr("g");
    floe_kafka_defaults(&floe_kafka_ConsumerGroupDescribeRequest_desc, &rq);
    rq.GroupIds = &id;
    rq.GroupIds_n = 1;
    *out = api_do(n, 69, 1, &rq);
    assert_non_null(*out);
}

/* What each member is, and that DescribeGroups knows no such group. */
static void test_described(void **state)
{
    struct api_rig r;
    struct api_node *n;
    struct member a, c, *all[] = {&a, &c};
    struct floe_kafka_ConsumerGroupDescribeResponse *rs;
    struct floe_kafka_DescribeGroupsRequest old;
    struct floe_kstr id = floe_kstr("g");
    (void)state;
    start(&r, 205, &n);
    member_init(&a, n, NULL, "i-a");
    member_init(&c, n, "c", NULL);
    classic_group(all, 1);
    assert_int_equal(new_join(&c), 0);
    settle(all, 1, 2);
    describe(n, &rs);
    assert_int_equal(rs->Groups[0].Members_n, 2);
    for (int32_t i = 0; i < 2; i++) {
        bool classic = floe_kstr_is(rs->Groups[0].Members[i].MemberId, a.id);
        assert_int_equal(rs->Groups[0].Members[i].MemberType, classic ? 0 : 1);
        assert_int_equal(rs->Groups[0].Members[i].SubscribedTopicNames_n, 1);
        assert_int_equal(rs->Groups[0].Members[i].Assignment.TopicPartitions[0].Partitions_n, 3);
        assert_int_equal(rs->Groups[0].Members[i].MemberEpoch, a.epoch);
        if (classic)
            assert_true(floe_kstr_is(rs->Groups[0].Members[i].InstanceId, "i-a"));
    }
    floe_kafka_defaults(&floe_kafka_DescribeGroupsRequest_desc, &old);
    old.Groups = &id;
    old.Groups_n = 1;
    struct floe_kafka_DescribeGroupsResponse *dead = api_do(n, 15, 6, &old);
    assert_int_equal(dead->Groups[0].ErrorCode, FLOE_KERR_GROUP_ID_NOT_FOUND);
    api_rig_stop(&r);
}

static void set_policy(struct api_node *n, int policy)
{
    floe_core_groups(n->core)->cfg.set.migration = policy;
}

/* A group that cannot be converted goes on as it was, and who wanted it is told why. */
static void stays_classic(uint64_t seed, struct member *b, int policy, int16_t code)
{
    struct api_rig r;
    struct api_node *n;
    struct member a, c, *all[] = {&a, b};
    start(&r, seed, &n);
    set_policy(n, policy);
    member_init(&a, n, NULL, NULL);
    b->n = n;
    if (b->custom)
        a.protocols[0] = b->protocols[0] = "mine";
    a.custom = b->custom;
    member_init(&c, n, "c", NULL);
    classic_group(all, 2);
    assert_int_equal(new_join(&c), code);
    type_is(n, "classic", "Stable");
    assert_int_equal(heartbeat(&a), 0);
    assert_int_equal(heartbeat(b), 0);
    assert_int_equal(commit(&a, 5), 0);
    api_rig_stop(&r);
}
static void test_stays_classic(void **state)
{
    struct member b;
    (void)state;
    member_init(&b, NULL, NULL, NULL);
    b.embedded = -1; /* one malformed member is enough */
    stays_classic(206, &b, FLOE_GROUP_MIGRATION_BIDIRECTIONAL, FLOE_KERR_GROUP_ID_NOT_FOUND);
    member_init(&b, NULL, NULL, NULL);
    stays_classic(207, &b, FLOE_GROUP_MIGRATION_DISABLED, FLOE_KERR_GROUP_ID_NOT_FOUND);
    stays_classic(208, (member_init(&b, NULL, NULL, NULL), &b), FLOE_GROUP_MIGRATION_DOWNGRADE,
                  FLOE_KERR_GROUP_ID_NOT_FOUND);
    member_init(&b, NULL, NULL, NULL);
    b.custom = true; /* an assignor of its own, with data that only it understands */
    stays_classic(209, &b, FLOE_GROUP_MIGRATION_BIDIRECTIONAL, FLOE_KERR_GROUP_ID_NOT_FOUND);
}

/* Who cannot be a member of the group is told so, and nobody else notices. */
static void test_refused_members(void **state)
{
    struct api_rig r;
    struct api_node *n;
    struct member a, b, c, *all[] = {&a, &c};
    (void)state;
    start(&r, 210, &n);
    member_init(&a, n, NULL, NULL);
    member_init(&c, n, "c", NULL);
    classic_group(all, 1);
    assert_int_equal(new_join(&c), 0);
    settle(all, 1, 2);
    int32_t epoch = a.epoch;
    member_init(&b, n, NULL, NULL);
    b.embedded = -1;
    assert_int_equal(join_take(&b, join_send(&b, 9)), FLOE_KERR_INCONSISTENT_GROUP_PROTOCOL);
    b.embedded = 1;
    b.protocols[0] = "other";
    assert_int_equal(join_take(&b, join_send(&b, 9)), FLOE_KERR_INCONSISTENT_GROUP_PROTOCOL);
    b.protocols[1] = "range"; /* one that all know is enough */
    assert_int_equal(join_take(&b, join_send(&b, 9)), FLOE_KERR_MEMBER_ID_REQUIRED);
    assert_int_equal(heartbeat(&b), FLOE_KERR_UNKNOWN_MEMBER_ID);
    set_policy(n, FLOE_GROUP_MIGRATION_DISABLED);
    assert_int_equal(join(&b), FLOE_KERR_INCONSISTENT_GROUP_PROTOCOL);
    assert_int_equal(join(&a), 0); /* who is there already may join again */
    assert_int_equal(sync_group(&a), 0);
    floe_core_groups(n->core)->cfg.set.consumer_size_max = 2;
    set_policy(n, FLOE_GROUP_MIGRATION_UPGRADE);
    assert_int_equal(join(&b), FLOE_KERR_GROUP_MAX_SIZE_REACHED);
    assert_int_equal(heartbeat(&a), 0);
    assert_int_equal(beat(&c, false), 0);
    assert_int_equal(a.epoch, epoch);
    assert_int_equal(c.epoch, epoch);
    /* A member of the consumer protocol is none of the classic one. */
    b.id = "c";
    b.epoch = epoch;
    assert_int_equal(heartbeat(&b), FLOE_KERR_UNKNOWN_MEMBER_ID);
    assert_int_equal(leave(&b, "c", NULL), FLOE_KERR_UNKNOWN_MEMBER_ID);
    all_owned(all, 2);
    api_rig_stop(&r);
}

/* Where the policy does not permit the way back, classic members are divided by the coordinator for good, or
 * until the policy is another one. */
static void test_policy_upgrade(void **state)
{
    struct api_rig r;
    struct api_node *n;
    struct member a, b, c, *all[] = {&a, &b, &c};
    (void)state;
    start(&r, 211, &n);
    set_policy(n, FLOE_GROUP_MIGRATION_UPGRADE);
    member_init(&a, n, NULL, NULL);
    member_init(&b, n, NULL, NULL);
    member_init(&c, n, "c", NULL);
    classic_group(all, 2);
    assert_int_equal(new_join(&c), 0);
    settle(all, 2, 3);
    assert_int_equal(new_leave(&c), 0);
    settle(all, 2, 2);
    type_is(n, "consumer", "Stable");
    /* Topics that grow are noticed without anybody of the consumer protocol. */
    struct floe_kafka_CreatePartitionsRequest rq;
    struct floe_kafka_CreatePartitionsRequest_CreatePartitionsTopic t;
    floe_kafka_defaults(&floe_kafka_CreatePartitionsRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_CreatePartitionsRequest_CreatePartitionsTopic_desc, &t);
    t.Name = floe_kstr(TOPIC);
    t.Count = PARTS + 2;
    t.Assignments_n = -1;
    rq.Topics = &t;
    rq.Topics_n = 1;
    rq.TimeoutMs = 10000;
    struct floe_kafka_CreatePartitionsResponse *rs = api_do(n, 37, 3, &rq);
    assert_int_equal(rs->Results[0].ErrorCode, 0);
    api_rig_run(&r, 1500);
    assert_int_equal(heartbeat(&a), FLOE_KERR_REBALANCE_IN_PROGRESS);
    set_policy(n, FLOE_GROUP_MIGRATION_BIDIRECTIONAL);
    assert_int_equal(heartbeat(&a), FLOE_KERR_REBALANCE_IN_PROGRESS);
    type_is(n, "classic", "PreparingRebalance");
    classic_group(all, 2);
    type_is(n, "classic", "Stable");
    api_rig_stop(&r);
}

/* Classic members that say nothing, do not join, or do not ask for their share, are out; so is the last one
 * of the consumer protocol, and then the group is classic. */
static void test_timeouts(void **state)
{
    struct api_rig r;
    struct api_node *n;
    struct member a, b, c, d, *all[] = {&a, &b, &d, &c};
    (void)state;
    start(&r, 212, &n);
    member_init(&a, n, NULL, NULL);
    member_init(&b, n, NULL, NULL);
    member_init(&d, n, NULL, NULL);
    member_init(&c, n, "c", NULL);
    b.rebalance_ms = 8000;
    d.session_ms = 7000;
    classic_group(all, 3);
    assert_int_equal(new_join(&c), 0);
    /* b goes on as if nothing were; d is silent. */
    for (int i = 0; i < 7; i++) {
        assert_int_equal(heartbeat(&b), FLOE_KERR_REBALANCE_IN_PROGRESS);
        (void)classic_turn(&a);
        assert_int_equal(beat(&c, false), 0);
        api_rig_run(&r, 950);
    }
    assert_int_equal(heartbeat(&b), FLOE_KERR_REBALANCE_IN_PROGRESS);
    api_rig_run(&r, 500);
    assert_int_equal(heartbeat(&d), FLOE_KERR_UNKNOWN_MEMBER_ID);
    assert_int_equal(heartbeat(&b), FLOE_KERR_REBALANCE_IN_PROGRESS);
    api_rig_run(&r, 1500);
    assert_int_equal(heartbeat(&b), FLOE_KERR_UNKNOWN_MEMBER_ID);
    struct member *left[] = {&a, &c};
    settle(left, 1, 2);
    /* One joins and does not ask for its share. */
    member_init(&b, n, NULL, NULL);
    b.rebalance_ms = 5000;
    assert_int_equal(join(&b), 0);
    for (int i = 0; i < 6; i++) {
        (void)heartbeat(&b);
        (void)classic_turn(&a);
        assert_int_equal(beat(&c, false), 0);
        api_rig_run(&r, 950);
    }
    assert_int_equal(heartbeat(&b), FLOE_KERR_UNKNOWN_MEMBER_ID);
    settle(left, 1, 2);
    for (int i = 0; i < 46; i++) {
        assert_int_equal(heartbeat(&a), 0);
        api_rig_run(&r, 980);
        if (i == 43)
            type_is(n, "consumer", "Stable");
    }
    assert_int_equal(heartbeat(&a), FLOE_KERR_REBALANCE_IN_PROGRESS);
    type_is(n, "classic", "PreparingRebalance");
    struct member *one[] = {&a};
    classic_group(one, 1);
    all_owned(one, 1);
    api_rig_stop(&r);
}

/* A static member changes its protocol: the others do not notice. */
static void test_static(void **state)
{
    struct api_rig r;
    struct api_node *n;
    struct member a, b, again, back, *all[] = {&a, &b}, *now[] = {&a, &again};
    (void)state;
    start(&r, 213, &n);
    member_init(&a, n, NULL, "i-a");
    member_init(&b, n, NULL, "i-b");
    classic_group(all, 2);
    member_init(&again, n, "again", "i-b");
    assert_int_equal(new_join(&again), 0); /* the classic one has not left: it never does */
    assert_int_equal(heartbeat(&b), FLOE_KERR_FENCED_INSTANCE_ID);
    assert_int_equal(again.count, 3);
    assert_memory_equal(again.parts, b.parts, 3 * sizeof b.parts[0]);
    settle(now, 1, 2);
    int32_t epoch = a.epoch;
    /* Back: the last one of the consumer protocol is replaced. */
    member_init(&back, n, NULL, "i-b");
    back.embedded = -1;
    assert_int_equal(join(&back), FLOE_KERR_INCONSISTENT_GROUP_PROTOCOL);
    assert_int_equal(beat(&again, false), 0);
    back.embedded = 1;
    back.call = join_send(&back, 9);
    api_rig_run(&r, 50);
    assert_int_equal(heartbeat(&a), FLOE_KERR_REBALANCE_IN_PROGRESS);
    struct member *classic[] = {&a, &back};
    join_open(&a);
    assert_int_equal(join_done(&a), 0);
    assert_int_equal(join_done(&back), 0);
    assert_true(a.epoch > epoch);
    struct member *leader = strcmp(a.leader, a.id) == 0 ? &a : &back, *other = leader == &a ? &back : &a;
    struct api_call *c = sync_send(other, NULL, 0);
    assert_int_equal(sync_take(leader, sync_send(leader, classic, 2)), 0);
    assert_int_equal(sync_take(other, c), 0);
    all_owned(classic, 2);
    type_is(n, "classic", "Stable");
    assert_int_equal(beat(&again, false), FLOE_KERR_GROUP_ID_NOT_FOUND);
    /* Among more members it replaces one quietly; an administrator takes one out. */
    member_init(&again, n, "again2", "i-b");
    assert_int_equal(new_join(&again), 0);
    settle(now, 1, 2);
    assert_int_equal(leave(&a, "", "i-a"), 0);
    assert_int_equal(leave(&a, "", "i-a"), FLOE_KERR_UNKNOWN_MEMBER_ID);
    assert_int_equal(beat(&again, false), 0);
    assert_int_equal(again.count, 6);
    api_rig_stop(&r);
}

/* The group was in the middle of a rebalance: who waits is sent round again. */
static void test_while_joining(void **state)
{
    struct api_rig r;
    struct api_node *n;
    struct member a, b, c, *all[] = {&a, &b, &c};
    (void)state;
    start(&r, 214, &n);
    member_init(&a, n, NULL, NULL);
    member_init(&b, n, NULL, NULL);
    member_init(&c, n, "c", NULL);
    classic_group(all, 2);
    join_open(strcmp(a.leader, a.id) == 0
                  ? &a
                  : &b); /* the leader wants a rebalance, the other one has not heard of it */
    struct member *waits = strcmp(a.leader, a.id) == 0 ? &a : &b;
    api_rig_run(&r, 50);
    assert_int_equal(new_join(&c), 0);
    assert_int_equal(c.count, 0); /* what the waiting one has given up is known when it joins */
    assert_int_equal(join_done(waits), FLOE_KERR_REBALANCE_IN_PROGRESS);
    settle(all, 2, 3);
    /* And while shares are waited for. */
    assert_int_equal(new_leave(&c), 0);
    join_open(&a);
    join_open(&b);
    assert_int_equal(join_done(&a), 0);
    assert_int_equal(join_done(&b), 0);
    struct member *follower = strcmp(a.leader, a.id) == 0 ? &b : &a;
    struct api_call *sync = sync_send(follower, NULL, 0);
    api_rig_run(&r, 50);
    assert_int_equal(new_join(&c), 0);
    assert_int_equal(sync_take(follower, sync), FLOE_KERR_REBALANCE_IN_PROGRESS);
    settle(all, 2, 3);
    api_rig_stop(&r);
}

/* What a cooperative member was told to give back, and has not yet said that it did, is nobody else's. */
static void test_giving_back(void **state)
{
    struct api_rig r;
    struct api_node *n;
    struct member a, b, c, *all[] = {&a, &b, &c}, *alone[] = {&a};
    (void)state;
    start(&r, 215, &n);
    member_init(&a, n, NULL, NULL);
    member_init(&b, n, NULL, NULL);
    member_init(&c, n, "c", NULL);
    a.cooperative = b.cooperative = true;
    classic_group(alone, 1);
    assert_int_equal(a.count, PARTS);
    join_open(&b);
    api_rig_run(&r, 50);
    assert_int_equal(join(&a), 0);
    assert_int_equal(join_done(&b), 0);
    assert_string_equal(a.leader, a.id);
    struct member had = a;
    assert_int_equal(sync_take(&a, sync_part(&a, alone, 1, 2)), 0); /* a keeps half, b gets nothing yet */
    assert_int_equal(sync_group(&b), 0);
    assert_int_equal(a.count, 3);
    assert_int_equal(b.count, 0);
    assert_int_equal(new_join(&c), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(beat(&c, false), 0);
        (void)classic_turn(&b);
        assert_int_equal(b.count + c.count, 0);
    }
    a.count = 3; /* the rest is given back */
    (void)had;
    settle(all, 2, 3);
    api_rig_stop(&r);
}

/* ---- death
 * --------------------------------------------------------------------------------------------------- */

/* A group whose coordinator is not the first node, which is asked for things. */
static struct api_node *start_far(struct api_rig *r, uint64_t seed, uint32_t nodes, char *group)
{
    struct api_node *n = &r->nodes[0];
    api_rig_start(r, seed, nodes);
    for (int i = 0; n == &r->nodes[0] && i < 60; i++) {
        snprintf(group, GROUP_MAX, "g%d", i);
        n = coordinator(r, group);
    }
    assert_int_equal(api_make_topic(n, TOPIC, PARTS, NULL, NULL), 0);
    return n;
}

/* The coordinator dies; the next one answers. */
static void next_coordinator(struct api_rig *r, struct member **m, int32_t n)
{
    struct api_node *dead = m[0]->n, *next = NULL;
    int16_t error = FLOE_KERR_NOT_COORDINATOR;
    api_rig_kill(dead);
    for (int i = 0;
         i < 300 && (error == FLOE_KERR_NOT_COORDINATOR || error == FLOE_KERR_COORDINATOR_LOAD_IN_PROGRESS ||
                     error == FLOE_KERR_COORDINATOR_NOT_AVAILABLE);
         i++) {
        api_rig_run(r, 100);
        next = coordinator(r, m[0]->group);
        if (next == dead)
            continue;
        for (int32_t k = 0; k < n; k++)
            m[k]->n = next;
        error = heartbeat(m[0]);
    }
    assert_true(next && next != dead);
}

static void test_failover(void **state)
{
    struct api_rig r;
    struct member a, b, c, *all[] = {&a, &b, &c};
    char group[GROUP_MAX];
    (void)state;
    struct api_node *n = start_far(&r, 216, 5, group);
    member_init(&a, n, NULL, NULL);
    member_init(&b, n, NULL, NULL);
    member_init(&c, n, "c", NULL);
    a.group = b.group = c.group = group;
    a.cooperative = b.cooperative = true;
    classic_group(all, 2);
    assert_int_equal(commit(&a, 51), 0);
    /* Just when it has become one of the consumer protocol. */
    assert_int_equal(new_join(&c), 0);
    next_coordinator(&r, all, 3);
    assert_int_equal(commit(&a, 52), 0);
    settle(all, 2, 3);
    assert_int_equal(c.count, 2);
    /* With members of both, one of which is about to give back. */
    struct member d, *four[] = {&a, &b, &c, &d};
    member_init(&d, a.n, "d", NULL);
    d.group = group;
    assert_int_equal(new_join(&d), 0);
    (void)classic_turn(&a);
    int32_t epoch = a.epoch, count = a.count;
    next_coordinator(&r, four, 4);
    assert_int_equal(a.epoch, epoch);
    assert_int_equal(a.count, count);
    settle(four, 2, 4);
    assert_int_equal(new_leave(&d), 0);
    settle(all, 2, 3);
    /* Just when it has become a classic one: the rebalance is still to come. */
    assert_int_equal(new_leave(&c), 0);
    next_coordinator(&r, all, 2);
    assert_int_equal(heartbeat(&a), FLOE_KERR_REBALANCE_IN_PROGRESS);
    assert_int_equal(heartbeat(&b), FLOE_KERR_REBALANCE_IN_PROGRESS);
    assert_int_equal(commit(&a, 53), 0);
    classic_group(all, 2);
    all_owned(all, 2);
    assert_int_equal(committed(a.n, group), 53);
    api_rig_stop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_eager),           cmocka_unit_test(test_cooperative),
        cmocka_unit_test(test_described),       cmocka_unit_test(test_stays_classic),
        cmocka_unit_test(test_refused_members), cmocka_unit_test(test_policy_upgrade),
        cmocka_unit_test(test_timeouts),        cmocka_unit_test(test_static),
        cmocka_unit_test(test_while_joining),   cmocka_unit_test(test_giving_back),
        cmocka_unit_test(test_failover),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
