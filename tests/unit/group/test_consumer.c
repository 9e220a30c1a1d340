/* Groups of the consumer protocol over whole cores: epochs, giving back before others get, static members,
 * time-outs, refusals, the other protocol, topics that change, and a coordinator's death. */
#include <floe_cmocka.h>

#include "api_rig.h"
#include <floe/group.h>
#include <stdio.h>
#include <string.h>

#define HEARTBEAT 68
#define DESCRIBE 69
#define TOPIC "t"

typedef struct floe_kafka_ConsumerGroupHeartbeatRequest beat_request;
typedef struct floe_kafka_ConsumerGroupHeartbeatResponse beat_response;

struct member {
    struct api_node *n;
    const char *group, *id, *instance, *regex; /* of topics, in the place of TOPIC */
    int32_t epoch, rebalance_ms;
    int32_t parts[64], count; /* what it was last told */
    bool told;                /* by the last answer */
    int32_t interval_ms;      /* when it is to come again */
};

static void member_init(struct member *m, struct api_node *n, const char *id, const char *instance)
{
    *m = (struct member){.n = n, .group = "g", .id = id, .instance = instance, .rebalance_ms = 30000};
}

/* `owned` -1: does not say; else it says that it has its first `owned` partitions. */
static int16_t beat(struct member *m, bool full, int32_t owned, const char *assignor)
{
    beat_request rq;
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
        rq.SubscribedTopicNames_n = m->regex ? -1 : 1;
        rq.SubscribedTopicRegex = floe_kstr(m->regex);
    }
    rq.ServerAssignor = floe_kstr(assignor);
    if (owned >= 0) {
        if (owned > 0)
            assert_true(api_topic_id(m->n, TOPIC, &tp.TopicId));
        tp.Partitions = m->parts;
        tp.Partitions_n = owned;
        rq.TopicPartitions = &tp;
        rq.TopicPartitions_n = owned > 0;
    }
    beat_response *rs = api_do(m->n, HEARTBEAT, 1, &rq);
    assert_non_null(rs);
    m->told = rs->Assignment != NULL;
    if (rs->ErrorCode)
        return rs->ErrorCode;
    assert_true(m->epoch < 0 || rs->MemberEpoch >= m->epoch);
    m->epoch = rs->MemberEpoch;
    m->interval_ms = rs->HeartbeatIntervalMs;
    if (m->told) {
        m->count = 0;
        for (int32_t i = 0; i < rs->Assignment->TopicPartitions_n; i++)
            for (int32_t k = 0; k < rs->Assignment->TopicPartitions[i].Partitions_n; k++)
                m->parts[m->count++] = rs->Assignment->TopicPartitions[i].Partitions[k];
    }
    return 0;
}
static int16_t join(struct member *m)
{
    m->epoch = 0;
    m->count = 0;
    return beat(m, true, 0, NULL);
}
/* As a client that has given back what it was not told to keep. */
static int16_t go_on(struct member *m)
{
    return beat(m, false, m->count, NULL);
}
static int16_t leave(struct member *m, int32_t how)
{
    int32_t epoch = m->epoch;
    m->epoch = how;
    int16_t error = beat(m, false, -1, NULL);
    m->epoch = epoch;
    return error;
}

static void start(struct api_rig *r, uint64_t seed, uint32_t nodes, struct api_node **n)
{
    api_rig_start(r, seed, nodes);
    *n = api_coordinator(r, "g");
    assert_int_equal(api_make_topic(*n, TOPIC, 6, NULL, NULL), 0);
    struct member m;
    member_init(&m, *n, "nobody", NULL);
    m.epoch = 3;
    int16_t error = FLOE_KERR_COORDINATOR_LOAD_IN_PROGRESS;
    for (int i = 0; error == FLOE_KERR_COORDINATOR_LOAD_IN_PROGRESS && i < 200; i++) {
        error = beat(&m, false, -1, NULL);
        api_rig_run(r, 20);
    }
    assert_int_equal(error, FLOE_KERR_GROUP_ID_NOT_FOUND);
}

static void settle(struct member *a, struct member *b)
{
    for (int i = 0; i < 4; i++) {
        assert_int_equal(go_on(a), 0);
        assert_int_equal(go_on(b), 0);
    }
    assert_int_equal(a->epoch, b->epoch);
}

static void state_is(struct api_node *n, const char *state, int32_t members)
{
    struct floe_kafka_ConsumerGroupDescribeRequest rq;
    struct floe_kstr id = floe_kstr("g");
    floe_kafka_defaults(&floe_kafka_ConsumerGroupDescribeRequest_desc, &rq);
    rq.GroupIds = &id;
    rq.GroupIds_n = 1;
    struct floe_kafka_ConsumerGroupDescribeResponse *rs = api_do(n, DESCRIBE, 1, &rq);
    assert_non_null(rs);
    assert_int_equal(rs->Groups[0].ErrorCode, 0);
    assert_true(floe_kstr_is(rs->Groups[0].GroupState, state));
    assert_int_equal(rs->Groups[0].Members_n, members);
}

static int16_t commit_of(struct member *m, int32_t epoch, const char *topic)
{
    struct floe_kafka_OffsetCommitRequest rq;
    struct floe_kafka_OffsetCommitRequest_OffsetCommitRequestTopic t;
    struct floe_kafka_OffsetCommitRequest_OffsetCommitRequestPartition p;
    floe_kafka_defaults(&floe_kafka_OffsetCommitRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_OffsetCommitRequest_OffsetCommitRequestTopic_desc, &t);
    floe_kafka_struct_defaults(&floe_kafka_OffsetCommitRequest_OffsetCommitRequestPartition_desc, &p);
    p.CommittedOffset = 7;
    p.CommittedMetadata = floe_kstr("");
    t.Name = floe_kstr(topic);
    t.Partitions = &p;
    t.Partitions_n = 1;
    rq.GroupId = floe_kstr(m->group);
    rq.MemberId = floe_kstr(m->id);
    rq.GenerationIdOrMemberEpoch = epoch;
    rq.Topics = &t;
    rq.Topics_n = 1;
    struct floe_kafka_OffsetCommitResponse *rs = api_do(m->n, 8, 9, &rq);
    assert_non_null(rs);
    return rs->Topics[0].Partitions[0].ErrorCode;
}

static int16_t commit(struct member *m, int32_t epoch)
{
    return commit_of(m, epoch, TOPIC);
}

/* The second member gets nothing before the first has given it back. */
static void test_incremental(void **state)
{
    struct api_rig r;
    struct api_node *n;
    struct member a, b;
    (void)state;
    start(&r, 101, 1, &n);
    member_init(&a, n, "a", NULL);
    member_init(&b, n, "b", NULL);
    assert_int_equal(join(&a), 0);
    assert_int_equal(a.epoch, 1);
    assert_int_equal(a.count, 6);
    assert_int_equal(join(&b), 0);
    assert_int_equal(b.epoch, 2);
    assert_int_equal(b.count, 0);
    state_is(n, "Reconciling", 2);
    assert_int_equal(beat(&a, false, 6, NULL), 0); /* is told, has not given back */
    assert_int_equal(a.epoch, 1);
    assert_true(a.told);
    assert_int_equal(a.count, 3);
    assert_int_equal(go_on(&b), 0);
    assert_int_equal(b.count, 0);
    assert_int_equal(beat(&a, false, -1, NULL), 0); /* says nothing about it */
    assert_int_equal(a.epoch, 1);
    assert_int_equal(go_on(&a), 0);
    assert_int_equal(a.epoch, 2);
    assert_int_equal(go_on(&b), 0);
    assert_int_equal(b.count, 3);
    assert_false(b.parts[0] == a.parts[0]);
    assert_int_equal(go_on(&b), 0);
    assert_false(b.told); /* nothing new */
    state_is(n, "Stable", 2);
    assert_int_equal(commit(&a, a.epoch), 0);
    assert_int_equal(commit(&a, a.epoch - 1), FLOE_KERR_STALE_MEMBER_EPOCH);
    assert_int_equal(commit_of(&a, a.epoch - 1, "none"), FLOE_KERR_UNKNOWN_TOPIC_OR_PARTITION);
    assert_int_equal(leave(&b, -1), 0);
    assert_int_equal(go_on(&b), FLOE_KERR_UNKNOWN_MEMBER_ID);
    assert_int_equal(go_on(&a), 0);
    assert_int_equal(a.count, 6);
    assert_int_equal(a.epoch, 3);
    api_rig_stop(&r);
}

/* While the group is on the move, and until everybody must have heard of it, members come often; who waits
 * for what another has, longer. */
static void test_hurry(void **state)
{
    struct api_rig r;
    struct api_node *n;
    struct member a, b;
    (void)state;
    start(&r, 108, 1, &n);
    member_init(&a, n, "a", NULL);
    member_init(&b, n, "b", NULL);
    assert_int_equal(join(&a), 0);
    assert_int_equal(a.interval_ms, 500);
    api_rig_run(&r, 2100);
    assert_int_equal(go_on(&a), 0);
    assert_int_equal(a.interval_ms, 2000);
    assert_int_equal(join(&b), 0);
    assert_int_equal(b.interval_ms, 500);
    api_rig_run(&r, 2100);
    assert_int_equal(beat(&a, false, 6, NULL), 0); /* does not give back yet */
    assert_int_equal(go_on(&b), 0);
    assert_int_equal(a.interval_ms, 2000);
    assert_int_equal(b.interval_ms, 500);
    settle(&a, &b);
    api_rig_run(&r, 2100);
    settle(&a, &b);
    assert_int_equal(a.interval_ms, 2000);
    assert_int_equal(b.interval_ms, 2000);
    api_rig_stop(&r);
}

static void test_refusals(void **state)
{
    struct api_rig r;
    struct api_node *n;
    struct member a, b;
    (void)state;
    start(&r, 102, 1, &n);
    member_init(&a, n, "a", NULL);
    assert_int_equal(join(&a), 0);
    member_init(&b, n, "", NULL);
    assert_int_equal(join(&b), FLOE_KERR_INVALID_REQUEST);
    member_init(&b, n, "b", NULL);
    assert_int_equal(beat(&b, true, 0, "sticky"), FLOE_KERR_UNSUPPORTED_ASSIGNOR);
    assert_int_equal(beat(&b, false, 0, NULL), FLOE_KERR_INVALID_REQUEST); /* a first request without names */
    b.epoch = -2;
    assert_int_equal(beat(&b, false, -1, NULL), FLOE_KERR_INVALID_REQUEST); /* who is not static */
    b.epoch = -3;
    assert_int_equal(beat(&b, false, -1, NULL), FLOE_KERR_INVALID_REQUEST);
    b.epoch = 1;
    assert_int_equal(go_on(&b), FLOE_KERR_UNKNOWN_MEMBER_ID);
    a.epoch = 7;
    assert_int_equal(go_on(&a), FLOE_KERR_FENCED_MEMBER_EPOCH);
    a.epoch = 1;
    assert_int_equal(go_on(&a), 0); /* nobody was disturbed */
    /* Epoch 2, then 3: one epoch behind is an answer that was lost, two are not. */
    assert_int_equal(join(&b), 0);
    settle(&a, &b);
    assert_int_equal(leave(&b, -1), 0);
    assert_int_equal(go_on(&a), 0);
    assert_int_equal(a.epoch, 3);
    a.epoch = 2;
    assert_int_equal(beat(&a, false, 3, NULL), 0);
    assert_true(a.told);
    assert_int_equal(a.epoch, 3);
    a.epoch = 1;
    assert_int_equal(beat(&a, false, 3, NULL), FLOE_KERR_FENCED_MEMBER_EPOCH);
    /* A member's epoch is looked at before what it wants. */
    a.regex = "(";
    assert_int_equal(beat(&a, true, 3, NULL), FLOE_KERR_FENCED_MEMBER_EPOCH);
    a.epoch = 3;
    assert_int_equal(beat(&a, true, 3, NULL), FLOE_KERR_INVALID_REGULAR_EXPRESSION);
    a.epoch = -1;
    assert_int_equal(beat(&a, true, -1, NULL), 0);
    api_rig_stop(&r);
}

static void test_regex(void **state)
{
    struct api_rig r;
    struct api_node *n;
    struct member a, b;
    (void)state;
    start(&r, 110, 1, &n);
    static const char *const bad[] = {"(", "t[", "*", "(?=t)t", "(t)\\1", "t++"};
    member_init(&a, n, "a", NULL);
    for (size_t i = 0; i < FLOE_COUNTOF(bad); i++) {
        a.regex = bad[i];
        assert_int_equal(join(&a), FLOE_KERR_INVALID_REGULAR_EXPRESSION);
    }
    /* One that takes too long with a name that is there. */
    char long_name[200], slow[700] = "";
    memset(long_name, 'a', sizeof long_name);
    long_name[sizeof long_name - 1] = '\0';
    for (size_t i = 0; i + 8 < 480; i += 8)
        memcpy(slow + i, "(a|a|a)*", 8);
    assert_int_equal(api_make_topic(n, "other", 3, NULL, NULL), 0);
    a.regex = slow;
    assert_int_equal(api_make_topic(n, long_name, 1, NULL, NULL), 0);
    assert_int_equal(join(&a), FLOE_KERR_INVALID_REGULAR_EXPRESSION);
    a.regex = "t|new-[0-9]+";
    assert_int_equal(join(&a), 0);
    int32_t all = a.count;
    assert_true(all > 0);
    struct floe_kafka_ConsumerGroupDescribeRequest rq;
    struct floe_kstr group = floe_kstr("g");
    floe_kafka_defaults(&floe_kafka_ConsumerGroupDescribeRequest_desc, &rq);
    rq.GroupIds = &group;
    rq.GroupIds_n = 1;
    struct floe_kafka_ConsumerGroupDescribeResponse *rs = api_do(n, DESCRIBE, 1, &rq);
    assert_true(floe_kstr_is(rs->Groups[0].Members[0].SubscribedTopicRegex, a.regex));
    /* A topic that comes and matches; one that does not. */
    assert_int_equal(api_make_topic(n, "new-12", 2, NULL, NULL), 0);
    assert_int_equal(api_make_topic(n, "new-x", 2, NULL, NULL), 0);
    api_rig_run(&r, 5100);
    assert_int_equal(beat(&a, false, -1, NULL), 0);
    assert_int_equal(a.count, all + 2);
    /* Another expression takes away what it does not match. */
    member_init(&b, n, "b", NULL);
    b.regex = "nothing.*";
    assert_int_equal(join(&b), 0);
    assert_int_equal(b.count, 0);
    a.regex = "new-.*";
    assert_int_equal(beat(&a, true, 0, NULL), 0);
    assert_int_equal(a.count, 4);
    /* Back to names. */
    a.regex = "";
    beat_request names;
    struct floe_kstr name = floe_kstr("other");
    floe_kafka_defaults(&floe_kafka_ConsumerGroupHeartbeatRequest_desc, &names);
    names.GroupId = group;
    names.MemberId = floe_kstr("a");
    names.MemberEpoch = a.epoch;
    names.SubscribedTopicRegex = floe_kstr("");
    names.SubscribedTopicNames = &name;
    names.SubscribedTopicNames_n = 1;
    struct floe_kafka_ConsumerGroupHeartbeatRequest_TopicPartitions none;
    names.TopicPartitions = &none;
    names.TopicPartitions_n = 0;
    beat_response *back = api_do(n, HEARTBEAT, 1, &names);
    assert_int_equal(back->ErrorCode, 0);
    assert_int_equal(back->Assignment->TopicPartitions_n, 1);
    assert_int_equal(back->Assignment->TopicPartitions[0].Partitions_n, 3);
    api_rig_stop(&r);
}

static void test_static(void **state)
{
    struct api_rig r;
    struct api_node *n;
    struct member a, b, again;
    (void)state;
    start(&r, 103, 1, &n);
    member_init(&a, n, "a", "i-a");
    member_init(&b, n, "b", "i-b");
    member_init(&again, n, "b2", "i-b");
    assert_int_equal(join(&a), 0);
    assert_int_equal(join(&b), 0);
    settle(&a, &b);
    int32_t epoch = a.epoch;
    assert_int_equal(join(&again), FLOE_KERR_UNRELEASED_INSTANCE_ID);
    assert_int_equal(leave(&b, -2), 0);
    assert_int_equal(join(&again), 0);
    assert_int_equal(again.epoch, epoch); /* nobody noticed */
    assert_int_equal(again.count, 3);
    assert_memory_equal(again.parts, b.parts, 3 * sizeof b.parts[0]);
    assert_int_equal(go_on(&b), FLOE_KERR_FENCED_INSTANCE_ID);
    assert_int_equal(go_on(&a), 0);
    assert_false(a.told);
    state_is(n, "Stable", 2);
    api_rig_stop(&r);
}

/* Who says nothing, and who does not give back in time, is out. */
static void test_timeouts(void **state)
{
    struct api_rig r;
    struct api_node *n;
    struct member a, b;
    (void)state;
    start(&r, 104, 1, &n);
    member_init(&a, n, "a", NULL);
    member_init(&b, n, "b", NULL);
    a.rebalance_ms = 8000;
    assert_int_equal(join(&a), 0);
    assert_int_equal(join(&b), 0);
    for (int i = 0; i < 7; i++) {
        assert_int_equal(beat(&a, false, 6, NULL), 0); /* it keeps all */
        api_rig_run(&r, 1000);
    }
    a.count = 6;
    api_rig_run(&r, 1500);
    assert_int_equal(go_on(&a), FLOE_KERR_UNKNOWN_MEMBER_ID);
    assert_int_equal(go_on(&b), 0);
    assert_int_equal(b.count, 6);
    api_rig_run(&r, 44000);
    assert_int_equal(go_on(&b), 0);
    api_rig_run(&r, 46000);
    assert_int_equal(go_on(&b), FLOE_KERR_UNKNOWN_MEMBER_ID);
    state_is(n, "Empty", 0);
    api_rig_stop(&r);
}

static int16_t classic_join(struct api_node *n)
{
    struct floe_kafka_JoinGroupRequest rq;
    struct floe_kafka_JoinGroupRequest_JoinGroupRequestProtocol p;
    floe_kafka_defaults(&floe_kafka_JoinGroupRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_JoinGroupRequest_JoinGroupRequestProtocol_desc, &p);
    p.Name = floe_kstr("range");
    p.Metadata = (struct floe_kbytes){(const uint8_t *)"meta", 4};
    rq.GroupId = floe_kstr("g");
    rq.SessionTimeoutMs = 10000;
    rq.RebalanceTimeoutMs = 10000;
    rq.MemberId = floe_kstr("");
    rq.ProtocolType = floe_kstr("consumer");
    rq.Protocols = &p;
    rq.Protocols_n = 1;
    struct floe_kafka_JoinGroupResponse *rs = api_do(n, 11, 3, &rq);
    assert_non_null(rs);
    return rs->ErrorCode;
}

/* A group without members may change its protocol, one with members may not. */
static void test_other_protocol(void **state)
{
    struct api_rig r;
    struct api_node *n;
    struct member a;
    (void)state;
    start(&r, 105, 1, &n);
    member_init(&a, n, "a", NULL);
    assert_int_equal(join(&a), 0);
    assert_int_equal(classic_join(n), FLOE_KERR_INCONSISTENT_GROUP_PROTOCOL);
    assert_int_equal(commit(&a, a.epoch), 0);
    assert_int_equal(leave(&a, -1), 0);
    assert_int_equal(classic_join(n), 0);
    assert_int_equal(join(&a), FLOE_KERR_GROUP_ID_NOT_FOUND);
    api_rig_run(&r, 400000); /* the classic member is out */
    assert_int_equal(join(&a), 0);
    assert_int_equal(a.count, 6);
    api_rig_stop(&r);
}

/* The coordinator dies: members go on in their epochs with what they have; epochs do not go back. */
static void test_failover(void **state)
{
    struct api_rig r;
    struct api_node *n = NULL, *next = NULL;
    struct member a, b;
    char group[16];
    (void)state;
    api_rig_start(&r, 106, 3);
    for (int i = 0; n != &r.nodes[2] && i < 60; i++) {
        snprintf(group, sizeof group, "g%d", i);
        n = api_coordinator(&r, group);
    }
    assert_ptr_equal(n, &r.nodes[2]);
    assert_int_equal(api_make_topic(n, TOPIC, 6, NULL, NULL), 0);
    member_init(&a, n, "a", NULL);
    member_init(&b, n, "b", "i-b");
    a.group = b.group = group;
    while (join(&a) == FLOE_KERR_COORDINATOR_LOAD_IN_PROGRESS)
        api_rig_run(&r, 20);
    assert_int_equal(join(&b), 0);
    settle(&a, &b);
    assert_int_equal(a.count, 3);
    int32_t epoch = a.epoch;
    api_rig_kill(n);
    int16_t error = -1;
    for (int i = 0; error != 0 && i < 300; i++) {
        api_rig_run(&r, 100);
        next = api_coordinator(&r, group);
        a.n = b.n = next;
        error = next == n ? -1 : go_on(&a);
        assert_true(error <= 0 || error == FLOE_KERR_NOT_COORDINATOR ||
                    error == FLOE_KERR_COORDINATOR_LOAD_IN_PROGRESS ||
                    error == FLOE_KERR_COORDINATOR_NOT_AVAILABLE);
    }
    assert_int_equal(error, 0);
    assert_int_equal(a.epoch, epoch);
    assert_false(a.told);
    assert_int_equal(go_on(&b), 0);
    assert_int_equal(b.epoch, epoch);
    assert_false(b.told);
    api_rig_run(&r, 3000); /* nor when the topics are looked at again */
    assert_int_equal(go_on(&a), 0);
    assert_int_equal(a.epoch, epoch);
    assert_int_equal(commit(&b, epoch - 1), FLOE_KERR_STALE_MEMBER_EPOCH);
    assert_int_equal(commit(&b, epoch), 0);
    assert_int_equal(leave(&b, -1), 0);
    assert_int_equal(go_on(&a), 0);
    assert_int_equal(a.epoch, epoch + 1);
    assert_int_equal(a.count, 6);
    api_rig_stop(&r);
}

/* A coordinator that could not read of a topic does not take it from the members that its predecessor gave it
 * to. A name that nobody has heard of holds up nobody for long. */
static void test_topic_not_read(void **state)
{
    struct api_rig r;
    struct api_node *n = NULL, *blind;
    struct member a;
    char group[16];
    (void)state;
    api_rig_start(&r, 107, 1);
    blind = &r.nodes[0];
    assert_ptr_equal(api_coordinator(&r, "g"), blind);
    api_rig_add(&r);
    api_rig_run(&r, 20000); /* half of the coordinators move */
    for (int i = 0; n != &r.nodes[1] && i < 60; i++) {
        snprintf(group, sizeof group, "g%d", i);
        n = api_coordinator(&r, group);
    }
    assert_ptr_equal(n, &r.nodes[1]);
    member_init(&a, n, "a", NULL);
    a.group = group;
    int16_t error = FLOE_KERR_COORDINATOR_LOAD_IN_PROGRESS;
    for (int i = 0; error == FLOE_KERR_COORDINATOR_LOAD_IN_PROGRESS && i < 50; i++) {
        error = join(&a); /* of a topic that does not exist */
        api_rig_run(&r, 20);
    }
    assert_int_equal(error, 0);
    const struct floe_sim_rule unread = {
        .fault = FLOE_SIM_NOSPACE, .prefix = "table/topic/", .node = blind->node};
    floe_sim_bucket_rule(r.bucket, &unread);
    assert_int_equal(api_make_topic(n, TOPIC, 6, NULL, NULL), 0);
    api_rig_run(&r, 2000);
    for (int i = 0; i < 3; i++)
        assert_int_equal(go_on(&a), 0);
    assert_int_equal(a.count, 6);
    int32_t epoch = a.epoch;
    api_rig_kill(n);
    a.n = blind;
    for (int i = 0; i < 100; i++) {
        api_rig_run(&r, 100);
        error = beat(&a, false, -1, NULL);
        assert_true(error == FLOE_KERR_NOT_COORDINATOR || error == FLOE_KERR_COORDINATOR_LOAD_IN_PROGRESS);
    }
    floe_sim_bucket_heal(r.bucket);
    api_rig_run(&r, 2000);
    assert_int_equal(go_on(&a), 0);
    assert_int_equal(a.epoch, epoch);
    assert_int_equal(a.count, 6);
    api_rig_stop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_incremental), cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_hurry),       cmocka_unit_test(test_static),
        cmocka_unit_test(test_timeouts),    cmocka_unit_test(test_other_protocol),
        cmocka_unit_test(test_failover),    cmocka_unit_test(test_topic_not_read),
        cmocka_unit_test(test_regex),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
