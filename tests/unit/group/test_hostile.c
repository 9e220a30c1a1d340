/* Members that ask for more than a group can bear, and what they must not do to others. */
#include "migrate_rig.h"

#include "broker/core_int.h"
#include "group/group_int.h"
#include <stdlib.h>

typedef struct floe_kafka_ConsumerGroupHeartbeatRequest beat_request;

static beat_request beat_of(const char *id, int32_t epoch)
{
    beat_request rq;
    floe_kafka_defaults(&floe_kafka_ConsumerGroupHeartbeatRequest_desc, &rq);
    rq.GroupId = floe_kstr("g");
    rq.MemberId = floe_kstr(id);
    rq.MemberEpoch = epoch;
    rq.InstanceId = rq.RackId = floe_kstr(NULL);
    if (epoch == 0) {
        static struct floe_kafka_ConsumerGroupHeartbeatRequest_TopicPartitions none;
        rq.RebalanceTimeoutMs = 60000;
        rq.TopicPartitions = &none;
        rq.TopicPartitions_n = 0;
    }
    return rq;
}

/* Of one expression, one of them with a topic by name beside it: the other gets none of that. */
static void names_are_their_members_own(void **state)
{
    struct api_rig r;
    struct api_node *n;
    struct floe_uuid secret;
    struct floe_kstr name = floe_kstr("secret");
    int32_t epoch[2] = {0}, had[2] = {0};
    (void)state;
    start(&r, 901, &n);
    assert_int_equal(api_make_topic(n, "seen", 4, NULL, NULL), 0);
    assert_int_equal(api_make_topic(n, "secret", 12, NULL, NULL), 0);
    assert_true(api_topic_id(n, "secret", &secret));
    for (int k = 0; k < 40; k++) {
        int i = k % 2;
        beat_request rq = beat_of(i ? "b" : "a", epoch[i]);
        if (epoch[i] == 0) {
            rq.SubscribedTopicRegex = floe_kstr("seen.*");
            rq.SubscribedTopicNames = i ? &name : NULL;
            rq.SubscribedTopicNames_n = i;
        }
        struct floe_kafka_ConsumerGroupHeartbeatResponse *rs = api_do(n, 68, 1, &rq);
        assert_int_equal(rs->ErrorCode, 0);
        epoch[i] = rs->MemberEpoch;
        had[i] = rs->Assignment ? 0 : had[i];
        for (int32_t t = 0; rs->Assignment && t < rs->Assignment->TopicPartitions_n; t++)
            if (floe_uuid_eq(&rs->Assignment->TopicPartitions[t].TopicId, &secret))
                had[i] += rs->Assignment->TopicPartitions[t].Partitions_n;
        api_rig_run(&r, 250);
    }
    assert_int_equal(had[0], 0);
    assert_int_equal(had[1], 12);
    api_rig_stop(&r);
}

static void names_are_bounded(void **state)
{
    struct api_rig r;
    struct api_node *n;
    (void)state;
    start(&r, 902, &n);
    struct floe_kstr *names = calloc(GROUP_NAMES_MAX + 1, sizeof *names);
    assert_non_null(names);
    for (int32_t i = 0; i <= GROUP_NAMES_MAX; i++)
        names[i] = floe_kstr("t");
    beat_request rq = beat_of("a", 0);
    rq.SubscribedTopicNames = names;
    rq.SubscribedTopicNames_n = GROUP_NAMES_MAX + 1;
    struct floe_kafka_ConsumerGroupHeartbeatResponse *rs = api_do(n, 68, 1, &rq);
    assert_int_equal(rs->ErrorCode, FLOE_KERR_INVALID_REQUEST);
    rq.SubscribedTopicNames_n = GROUP_NAMES_MAX;
    rs = api_do(n, 68, 1, &rq);
    assert_int_equal(rs->ErrorCode, 0);
    static char longest[INT16_MAX];
    memset(longest, 'x', sizeof longest);
    beat_request wide = beat_of("b", 0);
    wide.SubscribedTopicRegex = (struct floe_kstr){longest, sizeof longest};
    rs = api_do(n, 68, 1, &wide);
    assert_int_equal(rs->ErrorCode, FLOE_KERR_INVALID_REGULAR_EXPRESSION);
    assert_true(rs->ErrorMessage.n < 2000);
    free(names);
    api_rig_stop(&r);
}

/* A classic member's metadata: of a group of either protocol. */
static void metadata_is_bounded(void **state)
{
    struct api_rig r;
    struct api_node *n;
    struct member c;
    (void)state;
    start(&r, 903, &n);
    for (int round = 0; round < 2; round++) {
        uint8_t *meta = calloc(1, GROUP_MEMBER_BYTES_MAX + 1u);
        assert_non_null(meta);
        struct floe_kafka_JoinGroupRequest rq;
        struct floe_kafka_JoinGroupRequest_JoinGroupRequestProtocol p;
        floe_kafka_defaults(&floe_kafka_JoinGroupRequest_desc, &rq);
        floe_kafka_struct_defaults(&floe_kafka_JoinGroupRequest_JoinGroupRequestProtocol_desc, &p);
        p.Name = floe_kstr("range");
        p.Metadata = (struct floe_kbytes){meta, (int32_t)GROUP_MEMBER_BYTES_MAX + 1};
        rq.Protocols = &p;
        rq.Protocols_n = 1;
        rq.GroupId = floe_kstr("g");
        rq.SessionTimeoutMs = rq.RebalanceTimeoutMs = 10000;
        rq.GroupInstanceId = floe_kstr(NULL);
        rq.ProtocolType = floe_kstr("consumer");
        struct floe_kafka_JoinGroupResponse *rs = api_do(n, 11, 9, &rq);
        assert_int_equal(rs->ErrorCode, FLOE_KERR_INVALID_REQUEST);
        /* Of an instance of that length no member's id could be told. */
        memset(meta, 'x', INT16_MAX);
        p.Metadata.n = 0;
        rq.GroupInstanceId = (struct floe_kstr){(const char *)meta, INT16_MAX};
        rs = api_do(n, 11, 9, &rq);
        assert_int_equal(rs->ErrorCode, FLOE_KERR_INVALID_REQUEST);
        free(meta);
        member_init(&c, n, "c", NULL);
        if (round == 0) /* then it is a group of the consumer protocol */
            assert_int_equal(new_join(&c), 0);
    }
    api_rig_stop(&r);
}

/* A static member that is back is answered once its new id is in the journal: a successor would know the old
 * one only, and fence it. */
static void a_static_member_is_answered_after_the_commit(void **state)
{
    struct api_rig r;
    struct api_node *n;
    struct member a, b, *all[] = {&a};
    (void)state;
    start(&r, 904, &n);
    member_init(&a, n, NULL, "inst");
    a.id = NULL;
    classic_group(all, 1);
    api_rig_run(&r, 3000);
    member_init(&b, n, NULL, "inst");
    b.id = NULL;
    struct api_call *c = join_send(&b, 8);
    while (!c->done)
        floe_sim_run_for(r.sim, 100);
    FLOE_LIST_EACH(it, &n->core->groups->list)
    {
        const struct group_shard *s = FLOE_LIST_ENTRY(it, struct group_shard, link);
        assert_true(s->committed == s->seq);
    }
    assert_int_equal(join_take(&b, c), 0);
    api_rig_stop(&r);
}

static void the_offsets_topic_keeps_its_partitions(void **state)
{
    struct api_rig r;
    struct api_node *n;
    struct floe_kafka_CreatePartitionsRequest rq;
    struct floe_kafka_CreatePartitionsRequest_CreatePartitionsTopic t;
    (void)state;
    start(&r, 905, &n);
    floe_kafka_defaults(&floe_kafka_CreatePartitionsRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_CreatePartitionsRequest_CreatePartitionsTopic_desc, &t);
    t.Name = floe_kstr(FLOE_OFFSETS_TOPIC);
    t.Count = 77;
    t.Assignments_n = -1;
    rq.Topics = &t;
    rq.Topics_n = 1;
    rq.TimeoutMs = 10000;
    struct floe_kafka_CreatePartitionsResponse *rs = api_do(n, 37, 3, &rq);
    assert_int_equal(rs->Results[0].ErrorCode, FLOE_KERR_INVALID_PARTITIONS);
    api_rig_stop(&r);
}

#define LEFT 24 /* clients that join and go, */
#define LEFT_BYTES (1 << 20)

/* A member that waits for its group keeps nothing of its request, and whose client goes no request. */
static void who_waits_keeps_no_memory(void **state)
{
    struct api_rig r;
    struct api_node *n;
    struct member *left = calloc(LEFT, sizeof *left);
    struct api_call *calls[LEFT];
    uint8_t *bytes = calloc(1, LEFT_BYTES);
    struct member a, *all[] = {&a};
    char group[LEFT][16];
    (void)state;
    assert_true(left && bytes);
    start(&r, 906, &n);
    member_init(&a, n, NULL, NULL);
    a.group = "well";
    classic_group(all, 1);
    size_t rest = floe_budget_used(&n->pending);
    for (int i = 0; i < LEFT; i++) {
        snprintf(group[i], sizeof group[i], "g%d", i / 3); /* of each three one group */
        member_init(&left[i], n, NULL, NULL);
        left[i].group = group[i];
        left[i].rebalance_ms = 300000;
        calls[i] = join_send_other(&left[i], bytes, LEFT_BYTES);
        api_rig_run(&r, 20);
        assert_false(calls[i]->done);
        assert_in_range(floe_budget_used(&n->pending), 0, rest + 4096);
    }
    for (int i = 0; i < LEFT; i++) {
        floe_client_gone(&left[i].client);
        assert_true(calls[i]->done && calls[i]->silent);
        api_call_free(calls[i]);
    }
    assert_int_equal(heartbeat(&a), 0);
    /* They are members all the same, and the next one hears of them. */
    floe_client_init(&left[0].client, "10.0.0.7:4713", 0);
    struct api_call *c = join_send_other(&left[0], bytes, 10);
    struct floe_kafka_JoinGroupResponse *rs = api_wait(n, c, 60000);
    assert_non_null(rs);
    assert_int_equal(rs->ErrorCode, 0);
    struct floe_kafka_DescribeGroupsRequest ask;
    struct floe_kstr name = floe_kstr("g0");
    floe_kafka_defaults(&floe_kafka_DescribeGroupsRequest_desc, &ask);
    ask.Groups = &name;
    ask.Groups_n = 1;
    struct floe_kafka_DescribeGroupsResponse *told = api_do(n, 15, 5, &ask);
    assert_int_equal(told->Groups[0].Members_n, 4);
    api_call_free(c);
    free(bytes);
    api_rig_stop(&r);
    free(left);
}

/* The same of a member that waits for its share, whose client comes back and asks again. */
static void who_waits_for_its_share_may_go(void **state)
{
    struct api_rig r;
    struct api_node *n;
    struct member a, b;
    (void)state;
    start(&r, 907, &n);
    member_init(&a, n, NULL, NULL);
    member_init(&b, n, NULL, NULL);
    join_open(&a);
    join_open(&b);
    assert_int_equal(join_done(&a), 0);
    assert_int_equal(join_done(&b), 0);
    struct member *leader = a.members ? &a : &b, *other = a.members ? &b : &a, *all[] = {&a, &b};
    size_t rest = floe_budget_used(&n->pending);
    struct api_call *c = sync_send(other, NULL, 0);
    api_rig_run(&r, 20);
    assert_false(c->done);
    assert_int_equal(floe_budget_used(&n->pending), rest);
    floe_client_gone(&other->client);
    assert_true(c->done && c->silent);
    api_call_free(c);
    assert_int_equal(sync_take(leader, sync_send(leader, all, 2)), 0);
    floe_client_init(&other->client, "10.0.0.9:4711", 0);
    assert_int_equal(sync_group(other), 0);
    assert_int_equal(other->count, PARTS / 2);
    api_rig_stop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_their_members_own),
        cmocka_unit_test(names_are_bounded),
        cmocka_unit_test(metadata_is_bounded),
        cmocka_unit_test(a_static_member_is_answered_after_the_commit),
        cmocka_unit_test(the_offsets_topic_keeps_its_partitions),
        cmocka_unit_test(who_waits_keeps_no_memory),
        cmocka_unit_test(who_waits_for_its_share_may_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
