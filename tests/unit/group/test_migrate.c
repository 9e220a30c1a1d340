/* Groups that are converted while they have members, over whole cores: up when a member of the consumer
 * protocol comes, down when the last of these is gone; members of both; what may not be converted; time-outs;
 * and a coordinator's death between the steps. */
#include "migrate_rig.h"
#include <stdlib.h>

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
    assert_int_equal(leave(&b, "nobody", NULL), FLOE_KERR_UNKNOWN_MEMBER_ID);
    assert_int_equal(beat(&c, false), 0);
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
        next = api_coordinator(r, m[0]->group);
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

/* Back in the classic protocol, members know all protocols that they knew before they have joined again. */
static void test_protocols_kept(void **state)
{
    struct api_rig r;
    struct api_node *n;
    struct member a, c, d, e, *all[] = {&a, &c};
    (void)state;
    start(&r, 801, &n);
    member_init(&a, n, NULL, NULL);
    member_init(&c, n, "c", NULL);
    member_init(&d, n, NULL, NULL);
    member_init(&e, n, NULL, NULL);
    a.protocols[1] = "cooperative-sticky";
    d.protocols[0] = "cooperative-sticky";
    e.protocols[0] = "sticky";
    classic_group(all, 1);
    assert_int_equal(new_join(&c), 0);
    settle(all, 1, 2);
    assert_int_equal(new_leave(&c), 0);
    type_is(n, "classic", "PreparingRebalance");
    assert_int_equal(join_take(&e, join_send(&e, 9)), FLOE_KERR_INCONSISTENT_GROUP_PROTOCOL);
    assert_int_equal(join_take(&d, join_send(&d, 9)), FLOE_KERR_MEMBER_ID_REQUIRED);
    join_open(&a);
    d.call = join_send(&d, 9);
    assert_int_equal(join_done(&a), 0);
    assert_int_equal(join_done(&d), 0);
    assert_string_equal(d.protocol, "cooperative-sticky");
    api_rig_stop(&r);
}

/* A group whose members say too much to be converted goes on as it was. */
static void test_too_large(void **state)
{
    struct api_rig r;
    struct api_node *n;
    struct member m[4], c, *all[] = {&m[0], &m[1], &m[2], &m[3]};
    uint8_t *user = calloc(1, 50000);
    (void)state;
    assert_non_null(user);
    start(&r, 802, &n);
    for (int i = 0; i < 4; i++) {
        member_init(&m[i], n, NULL, NULL);
        m[i].more = 45;
        m[i].user = (struct floe_kbytes){user, 50000};
    }
    member_init(&c, n, "c", NULL);
    classic_group(all, 4);
    join_open(&m[1]);
    assert_int_equal(new_join(&c), FLOE_KERR_UNKNOWN_SERVER_ERROR);
    for (int i = 0; i < 4; i++)
        if (i != 1)
            join_open(&m[i]);
    for (int i = 0; i < 4; i++)
        assert_int_equal(join_done(&m[i]), 0);
    free(user);
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
        cmocka_unit_test(test_failover),        cmocka_unit_test(test_protocols_kept),
        cmocka_unit_test(test_too_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
