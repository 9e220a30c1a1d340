/* Classic groups over whole cores: joining, generations, static members, time-outs, and a coordinator's
 * death. */
#include <floe_cmocka.h>

#include "api_rig.h"
#include <floe/group.h>
#include <stdio.h>
#include <string.h>

#define JOIN 11
#define HEARTBEAT 12
#define LEAVE 13
#define SYNC 14

/* One member, on a connection of its own. */
struct member {
    struct api_node *n;
    struct floe_client client;
    char group[32], id[80], instance[32], leader[80];
    int32_t generation, members;
    char assignment[64];
    struct api_call *call;
};

static void member_init(struct member *m, struct api_node *n, const char *group, const char *instance)
{
    *m = (struct member){.n = n, .generation = -1};
    snprintf(m->group, sizeof m->group, "%s", group);
    snprintf(m->instance, sizeof m->instance, "%s", instance ? instance : "");
    floe_client_init(&m->client, "10.0.0.9:4711", 0);
}

static struct api_call *join_send(struct member *m, int16_t version, int32_t session_ms, const char *protocol)
{
    struct floe_kafka_JoinGroupRequest rq;
    struct floe_kafka_JoinGroupRequest_JoinGroupRequestProtocol p;
    floe_kafka_defaults(&floe_kafka_JoinGroupRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_JoinGroupRequest_JoinGroupRequestProtocol_desc, &p);
    p.Name = floe_kstr(protocol);
    p.Metadata = (struct floe_kbytes){(const uint8_t *)"meta", 4};
    rq.GroupId = floe_kstr(m->group);
    rq.SessionTimeoutMs = session_ms;
    rq.RebalanceTimeoutMs = version >= 1 ? 20000 : -1;
    rq.MemberId = floe_kstr(m->id);
    rq.GroupInstanceId = m->instance[0] && version >= 5 ? floe_kstr(m->instance) : floe_kstr(NULL);
    rq.ProtocolType = floe_kstr("consumer");
    rq.Protocols = &p;
    rq.Protocols_n = 1;
    return api_send(m->n, &m->client, JOIN, version, &rq);
}

static int16_t join_take(struct member *m, struct api_call *c, uint64_t ms)
{
    struct floe_kafka_JoinGroupResponse *rs = api_wait(m->n, c, ms);
    assert_non_null(rs);
    snprintf(m->id, sizeof m->id, "%.*s", (int)rs->MemberId.n, rs->MemberId.p ? rs->MemberId.p : "");
    snprintf(m->leader, sizeof m->leader, "%.*s", (int)rs->Leader.n, rs->Leader.p ? rs->Leader.p : "");
    m->generation = rs->GenerationId;
    m->members = rs->Members_n;
    int16_t error = rs->ErrorCode;
    api_call_free(c);
    return error;
}

/* Joins by the two steps of version 4 and above; the second one waits for the group: its call is left open.
 */
static void join_open(struct member *m, int16_t version, int32_t session_ms)
{
    for (int i = 0; m->id[0] == '\0' && version >= 4 && !m->instance[0] && i < 100; i++) {
        int16_t error = join_take(m, join_send(m, version, session_ms, "range"), 60000);
        if (error == FLOE_KERR_COORDINATOR_LOAD_IN_PROGRESS) {
            api_rig_run(m->n->rig, 20);
            continue;
        }
        assert_int_equal(error, FLOE_KERR_MEMBER_ID_REQUIRED);
        assert_true(m->id[0] != '\0');
    }
    m->call = join_send(m, version, session_ms, "range");
}
static int16_t join_done(struct member *m)
{
    return join_take(m, m->call, 60000);
}

static struct api_call *sync_send(struct member *m, struct member **all, int n)
{
    struct floe_kafka_SyncGroupRequest rq;
    struct floe_kafka_SyncGroupRequest_SyncGroupRequestAssignment a[8];
    char text[8][16];
    floe_kafka_defaults(&floe_kafka_SyncGroupRequest_desc, &rq);
    rq.GroupId = floe_kstr(m->group);
    rq.MemberId = floe_kstr(m->id);
    rq.GenerationId = m->generation;
    for (int i = 0; i < n; i++) {
        floe_kafka_struct_defaults(&floe_kafka_SyncGroupRequest_SyncGroupRequestAssignment_desc, &a[i]);
        snprintf(text[i], sizeof text[i], "part %d", i);
        a[i].MemberId = floe_kstr(all[i]->id);
        a[i].Assignment = (struct floe_kbytes){(const uint8_t *)text[i], 6};
    }
    rq.Assignments = a;
    rq.Assignments_n = n;
    return api_send(m->n, &m->client, SYNC, 3, &rq);
}
static int16_t sync_take(struct member *m, struct api_call *c)
{
    struct floe_kafka_SyncGroupResponse *rs = api_wait(m->n, c, 60000);
    assert_non_null(rs);
    snprintf(m->assignment, sizeof m->assignment, "%.*s", (int)rs->Assignment.n,
             (const char *)rs->Assignment.p);
    int16_t error = rs->ErrorCode;
    api_call_free(c);
    return error;
}

static int16_t heartbeat(struct member *m)
{
    struct floe_kafka_HeartbeatRequest rq;
    floe_kafka_defaults(&floe_kafka_HeartbeatRequest_desc, &rq);
    rq.GroupId = floe_kstr(m->group);
    rq.MemberId = floe_kstr(m->id);
    rq.GenerationId = m->generation;
    struct floe_kafka_HeartbeatResponse *rs = api_do(m->n, HEARTBEAT, 2, &rq);
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
    struct floe_kafka_LeaveGroupResponse *rs = api_do(m->n, LEAVE, 3, &rq);
    assert_non_null(rs);
    return rs->ErrorCode ? rs->ErrorCode : rs->Members[0].ErrorCode;
}

/* The coordinator has read its journal. */
static void await_loaded(struct api_node *n, const char *group)
{
    struct member m;
    member_init(&m, n, group, NULL);
    while (heartbeat(&m) == FLOE_KERR_COORDINATOR_LOAD_IN_PROGRESS)
        api_rig_run(n->rig, 20);
}

/* Both members in one generation, with their shares. */
static void two(struct member *a, struct member *b, int16_t version, int32_t session_ms)
{
    struct member *all[] = {a, b};
    join_open(a, version, session_ms);
    join_open(b, version, session_ms);
    assert_int_equal(join_done(a), 0);
    assert_int_equal(join_done(b), 0);
    assert_int_equal(a->generation, b->generation);
    struct member *leader = strcmp(a->leader, a->id) == 0 ? a : b, *other = leader == a ? b : a;
    assert_string_equal(a->leader, b->leader);
    assert_int_equal(leader->members, 2);
    assert_int_equal(other->members, 0);
    struct api_call *c = sync_send(other, NULL, 0), *d = sync_send(leader, all, 2);
    assert_int_equal(sync_take(other, c), 0);
    assert_int_equal(sync_take(leader, d), 0);
    assert_string_equal(a->assignment, "part 0");
    assert_string_equal(b->assignment, "part 1");
}

static void test_generations(void **state)
{
    struct api_rig r;
    (void)state;
    for (int16_t version = 0; version <= 9; version++) {
        struct member a, b, *one[] = {&b};
        api_rig_start(&r, 31 + (uint64_t)version, 1);
        struct api_node *n = api_coordinator(&r, "g");
        await_loaded(n, "g");
        member_init(&a, n, "g", NULL);
        member_init(&b, n, "g", NULL);
        two(&a, &b, version, 10000);
        assert_int_equal(heartbeat(&a), 0);
        b.generation++;
        assert_int_equal(heartbeat(&b), FLOE_KERR_ILLEGAL_GENERATION);
        b.generation--;
        assert_int_equal(leave(&a, a.id, NULL), 0);
        assert_int_equal(heartbeat(&a), FLOE_KERR_UNKNOWN_MEMBER_ID);
        assert_int_equal(heartbeat(&b), FLOE_KERR_REBALANCE_IN_PROGRESS);
        join_open(&b, version, 10000);
        assert_int_equal(join_done(&b), 0);
        assert_int_equal(b.members, 1);
        assert_int_equal(sync_take(&b, sync_send(&b, one, 1)), 0);
        assert_string_equal(b.assignment, "part 0");
        assert_int_equal(leave(&b, "nobody", NULL), FLOE_KERR_UNKNOWN_MEMBER_ID);
        api_rig_stop(&r);
    }
}

/* A member that says nothing is out after its session, and the other gets everything. */
static void test_session(void **state)
{
    struct api_rig r;
    struct member a, b;
    (void)state;
    api_rig_start(&r, 51, 1);
    struct api_node *n = api_coordinator(&r, "g");
    await_loaded(n, "g");
    member_init(&a, n, "g", NULL);
    member_init(&b, n, "g", NULL);
    two(&a, &b, 5, 6000);
    for (int i = 0; i < 5; i++) {
        api_rig_run(&r, 1000);
        assert_int_equal(heartbeat(&b), 0);
    }
    api_rig_run(&r, 1500);
    assert_int_equal(heartbeat(&b), FLOE_KERR_REBALANCE_IN_PROGRESS);
    join_open(&b, 5, 6000);
    assert_int_equal(join_done(&b), 0);
    assert_int_equal(b.members, 1);
    assert_int_equal(heartbeat(&a), FLOE_KERR_UNKNOWN_MEMBER_ID);
    api_rig_stop(&r);
}

/* What a new member is answered that knows so many protocols, the last one "range". */
static int16_t join_with(struct member *m, int32_t protocols)
{
    struct floe_kafka_JoinGroupRequest rq;
    struct floe_kafka_JoinGroupRequest_JoinGroupRequestProtocol p[65];
    char name[65][16];
    floe_kafka_defaults(&floe_kafka_JoinGroupRequest_desc, &rq);
    for (int32_t i = 0; i < protocols; i++) {
        floe_kafka_struct_defaults(&floe_kafka_JoinGroupRequest_JoinGroupRequestProtocol_desc, &p[i]);
        snprintf(name[i], sizeof name[i], i + 1 < protocols ? "p%d" : "range", i);
        p[i].Name = floe_kstr(name[i]);
        p[i].Metadata = (struct floe_kbytes){(const uint8_t *)"meta", 4};
    }
    rq.GroupId = floe_kstr(m->group);
    rq.SessionTimeoutMs = 10000;
    rq.ProtocolType = floe_kstr("consumer");
    rq.Protocols = p;
    rq.Protocols_n = protocols;
    return join_take(m, api_send(m->n, &m->client, JOIN, 5, &rq), 60000);
}

static void test_refusals(void **state)
{
    struct api_rig r;
    struct member a, b, c;
    (void)state;
    api_rig_start(&r, 52, 1);
    struct api_node *n = api_coordinator(&r, "g");
    await_loaded(n, "g");
    member_init(&a, n, "g", NULL);
    member_init(&b, n, "g", NULL);
    two(&a, &b, 5, 10000);
    member_init(&c, n, "g", NULL);
    assert_int_equal(join_take(&c, join_send(&c, 5, 10, "range"), 60000), FLOE_KERR_INVALID_SESSION_TIMEOUT);
    assert_int_equal(join_take(&c, join_send(&c, 5, 2000000, "range"), 60000),
                     FLOE_KERR_INVALID_SESSION_TIMEOUT);
    c.id[0] = '\0';
    assert_int_equal(join_take(&c, join_send(&c, 5, 10000, "other"), 60000),
                     FLOE_KERR_INCONSISTENT_GROUP_PROTOCOL);
    assert_int_equal(join_with(&c, 65), FLOE_KERR_INCONSISTENT_GROUP_PROTOCOL);
    assert_int_equal(join_with(&c, 64), FLOE_KERR_MEMBER_ID_REQUIRED);
    snprintf(c.id, sizeof c.id, "stranger");
    assert_int_equal(join_take(&c, join_send(&c, 5, 10000, "range"), 60000), FLOE_KERR_UNKNOWN_MEMBER_ID);
    c.group[0] = '\0';
    assert_int_equal(join_take(&c, join_send(&c, 5, 10000, "range"), 60000), FLOE_KERR_INVALID_GROUP_ID);
    assert_int_equal(heartbeat(&a), 0); /* nobody was disturbed */
    assert_int_equal(heartbeat(&b), 0);
    api_rig_stop(&r);
}

/* KIP-345: a static member comes back without a rebalance; its former self is fenced; an administrator may
 * remove it. */
static void test_static(void **state)
{
    struct api_rig r;
    struct member a, b, again;
    char was[80];
    (void)state;
    api_rig_start(&r, 53, 1);
    struct api_node *n = api_coordinator(&r, "g");
    await_loaded(n, "g");
    member_init(&a, n, "g", "i-a");
    member_init(&b, n, "g", "i-b");
    two(&a, &b, 7, 30000);
    snprintf(was, sizeof was, "%s", b.id);
    member_init(&again, n, "g", "i-b");
    assert_int_equal(join_take(&again, join_send(&again, 7, 30000, "range"), 60000), 0);
    assert_int_equal(again.generation, b.generation);
    assert_string_not_equal(again.id, was);
    assert_int_equal(sync_take(&again, sync_send(&again, NULL, 0)), 0);
    assert_string_equal(again.assignment, "part 1");
    assert_int_equal(heartbeat(&a), 0);
    assert_int_equal(heartbeat(&b), FLOE_KERR_UNKNOWN_MEMBER_ID);
    assert_int_equal(leave(&b, was, "i-b"), FLOE_KERR_FENCED_INSTANCE_ID);
    assert_int_equal(leave(&b, "", "i-c"), FLOE_KERR_UNKNOWN_MEMBER_ID);
    assert_int_equal(leave(&b, "", "i-b"), 0);
    assert_int_equal(heartbeat(&a), FLOE_KERR_REBALANCE_IN_PROGRESS);
    api_rig_stop(&r);
}

/* The coordinator dies: the members go on in their generation, with their shares, without a rebalance. */
static void test_failover(void **state)
{
    struct api_rig r;
    struct member a, b;
    char group[16];
    (void)state;
    api_rig_start(&r, 54, 3);
    struct api_node *n = NULL;
    for (int i = 0; n != &r.nodes[2] && i < 60; i++) {
        snprintf(group, sizeof group, "g%d", i);
        n = api_coordinator(&r, group);
    }
    assert_ptr_equal(n, &r.nodes[2]);
    await_loaded(n, group);
    member_init(&a, n, group, NULL);
    member_init(&b, n, group, NULL);
    two(&a, &b, 5, 30000);
    api_rig_kill(n);
    int16_t error = -1;
    for (int i = 0; error != 0 && i < 300; i++) {
        api_rig_run(&r, 100);
        struct api_node *next = api_coordinator(&r, group);
        a.n = b.n = next;
        error = next == n ? -1 : heartbeat(&a);
        assert_true(error <= 0 || error == FLOE_KERR_NOT_COORDINATOR ||
                    error == FLOE_KERR_COORDINATOR_LOAD_IN_PROGRESS ||
                    error == FLOE_KERR_COORDINATOR_NOT_AVAILABLE);
    }
    assert_int_equal(error, 0);
    assert_int_equal(heartbeat(&b), 0);
    assert_int_equal(sync_take(&b, sync_send(&b, NULL, 0)), 0);
    assert_string_equal(b.assignment, "part 1");
    api_rig_stop(&r);
}

/* Fills the journal of the group's partition: 256 KiB in one commit of a simple consumer. */
static void commit_much(struct api_node *n, const char *group)
{
    static char metadata[4000];
    struct floe_kafka_OffsetCommitRequest rq;
    struct floe_kafka_OffsetCommitRequest_OffsetCommitRequestTopic t;
    struct floe_kafka_OffsetCommitRequest_OffsetCommitRequestPartition p[64];
    memset(metadata, 'm', sizeof metadata - 1);
    floe_kafka_defaults(&floe_kafka_OffsetCommitRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_OffsetCommitRequest_OffsetCommitRequestTopic_desc, &t);
    for (int32_t i = 0; i < 64; i++) {
        floe_kafka_struct_defaults(&floe_kafka_OffsetCommitRequest_OffsetCommitRequestPartition_desc, &p[i]);
        p[i].PartitionIndex = i;
        p[i].CommittedMetadata = floe_kstr(metadata);
    }
    t.Name = floe_kstr("t");
    t.Partitions = p;
    t.Partitions_n = 64;
    rq.GroupId = floe_kstr(group);
    rq.Topics = &t;
    rq.Topics_n = 1;
    struct floe_kafka_OffsetCommitResponse *rs = api_do(n, 8, 6, &rq);
    assert_int_equal(rs->Topics[0].Partitions[63].ErrorCode, 0);
}

/* Another group of the same partition. */
static void neighbour(char out[16], const char *group)
{
    for (int i = 0; i < 9999; i++) {
        snprintf(out, 16, "x%d", i);
        if (floe_group_partition(floe_kstr(out), 50) == floe_group_partition(floe_kstr(group), 50))
            return;
    }
}

/* A journal that is written anew while a group rebalances keeps what it said of the group: its members go on
 * where the coordinator dies in the middle, and no generation is given twice. */
static void test_snapshot_in_rebalance(void **state)
{
    struct api_rig r;
    struct member a, b;
    struct floe_group_stats st;
    char other[16];
    (void)state;
    api_rig_start(&r, 56, 1);
    struct api_node *n = api_coordinator(&r, "g"), *next;
    assert_int_equal(api_make_topic(n, "t", 64, NULL, NULL), 0);
    neighbour(other, "g");
    await_loaded(n, "g");
    member_init(&a, n, "g", NULL);
    member_init(&b, n, "g", NULL);
    two(&a, &b, 5, 60000);
    struct member *leader = strcmp(a.leader, a.id) == 0 ? &a : &b, *follower = leader == &a ? &b : &a;
    assert_int_equal(leave(leader, leader->id, NULL), 0);
    assert_int_equal(heartbeat(follower), FLOE_KERR_REBALANCE_IN_PROGRESS);
    for (int i = 0; i < 12; i++)
        commit_much(n, other);
    api_rig_run(&r, 1000);
    assert_int_equal(heartbeat(follower), FLOE_KERR_REBALANCE_IN_PROGRESS);
    floe_groups_get_stats(floe_core_groups(n->core), &st);
    assert_true(st.snapshots >= 1);
    next = api_rig_add(&r);
    api_rig_kill(n);
    api_rig_run(&r, 10000);
    assert_int_equal(api_coordinator(&r, "g") == next, true);
    follower->n = next;
    assert_int_equal(heartbeat(follower), 0);
    api_rig_stop(&r);
}

/* A coordinator that has lapsed makes no generation: another may have made it. */
static void test_lapsed(void **state)
{
    const struct floe_sim_rule unwritable = {.fault = FLOE_SIM_E503, .kinds = FLOE_SIM_KIND(FLOE_STORE_PUT)};
    struct api_rig r;
    struct member a;
    (void)state;
    api_rig_start(&r, 57, 1);
    struct api_node *n = api_coordinator(&r, "g");
    await_loaded(n, "g");
    member_init(&a, n, "g", NULL);
    floe_sim_bucket_rule(r.bucket, &unwritable);
    api_rig_run(&r, 1000);
    join_open(&a, 5, 30000);
    api_rig_run(&r, 9000);
    assert_false(floe_lease_alive(floe_core_lease(n->core)));
    assert_false(a.call->done);
    floe_sim_bucket_heal(r.bucket);
    assert_int_equal(join_done(&a), 0);
    api_rig_stop(&r);
}

static void ended(void *user, const struct floe_error *err)
{
    (void)err;
    *(bool *)user = true;
}

/* A broker that ends takes no more records, and its members' sessions run out while the store is slow. */
static void test_end_with_members(void **state)
{
    const struct floe_sim_rule slow = {
        .fault = FLOE_SIM_E503, .kinds = FLOE_SIM_KIND(FLOE_STORE_PUT), .prefix = "chain/"};
    struct api_rig r;
    struct member a, b, *one[] = {&a}, *two[] = {&b};
    bool done = false;
    char other[16];
    (void)state;
    api_rig_start(&r, 55, 1);
    struct api_node *n = api_coordinator(&r, "g");
    neighbour(other, "g");
    await_loaded(n, "g");
    member_init(&a, n, "g", NULL);
    member_init(&b, n, other, NULL);
    join_open(&a, 5, 8000);
    join_open(&b, 5, 8000);
    assert_int_equal(join_done(&a), 0);
    assert_int_equal(join_done(&b), 0);
    assert_int_equal(sync_take(&a, sync_send(&a, one, 1)), 0);
    assert_int_equal(sync_take(&b, sync_send(&b, two, 1)), 0);
    floe_sim_bucket_rule(r.bucket, &slow);
    floe_core_end(n->core, ended, &done);
    api_rig_run(&r, 20000);
    assert_false(done);
    floe_sim_bucket_heal(r.bucket);
    api_rig_run(&r, 20000);
    assert_true(done);
    api_rig_stop(&r);
}

static void answered(struct floe_group_call *c)
{
    *(bool *)c->user = true;
}

/* An id of a member that did not come back, from a client with a long name. */
static struct floe_kstr given_id(struct api_node *n, struct floe_kstr client, struct floe_arena *a)
{
    struct floe_kafka_JoinGroupRequest rq;
    struct floe_kafka_JoinGroupRequest_JoinGroupRequestProtocol p = {.Name = floe_kstr("range")};
    bool done = false;
    floe_kafka_defaults(&floe_kafka_JoinGroupRequest_desc, &rq);
    rq.GroupId = floe_kstr("g");
    rq.SessionTimeoutMs = rq.RebalanceTimeoutMs = 60000;
    rq.MemberId = floe_kstr("");
    rq.GroupInstanceId = floe_kstr(NULL);
    rq.ProtocolType = floe_kstr("consumer");
    rq.Protocols = &p;
    rq.Protocols_n = 1;
    struct floe_group_call c = {.request = &rq,
                                .version = 9,
                                .client_id = client,
                                .client_host = "/10.0.0.1",
                                .arena = a,
                                .done = answered,
                                .user = &done};
    floe_group_join(floe_core_groups(n->core), &c);
    while (!done)
        api_rig_run(n->rig, 1);
    const struct floe_kafka_JoinGroupResponse *rs = c.response;
    assert_true(rs && rs->ErrorCode == FLOE_KERR_MEMBER_ID_REQUIRED);
    return rs->MemberId;
}

/* Ids that are handed out and never come back: the oldest are forgotten, and whoever comes with one begins
 * anew. */
static void test_many_ids(void **state)
{
    struct api_rig r;
    struct member m;
    struct floe_arena a;
    static char name[30000];
    (void)state;
    memset(name, 'n', sizeof name);
    api_rig_start(&r, 59, 1);
    struct api_node *n = api_coordinator(&r, "g");
    await_loaded(n, "g");
    floe_arena_init(&a, 64 << 20);
    member_init(&m, n, "g", NULL);
    assert_int_equal(join_take(&m, join_send(&m, 5, 10000, "range"), 60000), FLOE_KERR_MEMBER_ID_REQUIRED);
    for (int i = 0; i < 100; i++)
        (void)given_id(n, floe_kstr_n(name, sizeof name), &a);
    struct api_call *second = join_send(&m, 5, 10000, "range"); /* 3 MB: it is there */
    api_rig_run(&r, 100);
    for (int i = 0; i < 100; i++)
        (void)given_id(n, floe_kstr_n(name, sizeof name), &a);
    assert_int_equal(join_take(&m, second, 60000), 0); /* a member is not forgotten */
    m.id[0] = '\0';
    assert_int_equal(join_take(&m, join_send(&m, 5, 10000, "range"), 60000), FLOE_KERR_MEMBER_ID_REQUIRED);
    for (int i = 0; i < 150; i++)
        (void)given_id(n, floe_kstr_n(name, sizeof name), &a);
    assert_int_equal(join_take(&m, join_send(&m, 5, 10000, "range"), 60000), FLOE_KERR_UNKNOWN_MEMBER_ID);
    floe_arena_fini(&a);
    api_rig_stop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_generations),      cmocka_unit_test(test_session),
        cmocka_unit_test(test_refusals),         cmocka_unit_test(test_static),
        cmocka_unit_test(test_many_ids),         cmocka_unit_test(test_failover),
        cmocka_unit_test(test_end_with_members), cmocka_unit_test(test_snapshot_in_rebalance),
        cmocka_unit_test(test_lapsed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
