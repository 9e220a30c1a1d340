/* Members of many groups: what they may keep in memory together, many that leave at once, and what others are
 * told of groups before it is committed. */
#include "migrate_rig.h"

#include "broker/core_int.h"
#include <stdlib.h>

#define MEMBERS_MAX ((uint64_t)1 << 20)
#define META (64 << 10)

static uint64_t kept(struct api_node *n)
{
    struct floe_group_stats st;
    floe_groups_get_stats(floe_core_groups(n->core), &st);
    return st.member_bytes;
}

static void start_bounded(struct api_rig *r, uint64_t seed, struct api_node **n)
{
    struct member nobody;
    api_rig_start(r, seed, 1);
    /* What the rig starts from now on has the bound, and the first node has it too. */
    floe_group_settings_default(&r->group);
    r->group.members_max = MEMBERS_MAX;
    r->group.initial_rebalance_delay_ms = 0;
    *n = api_rig_add(r);
    api_rig_kill(&r->nodes[0]);
    api_rig_run(r, 20000);
    assert_ptr_equal(api_coordinator(r, "g"), *n);
    assert_int_equal(api_make_topic(*n, TOPIC, PARTS, NULL, NULL), 0);
    member_init(&nobody, *n, "nobody", NULL);
    while (heartbeat(&nobody) != FLOE_KERR_UNKNOWN_MEMBER_ID)
        api_rig_run(r, 20);
}

/* A dynamic member of a group of its own; its error. */
static int16_t join_alone(struct api_node *n, const char *group, const char *id, int32_t size, char out[80])
{
    static uint8_t bytes[4 * META];
    struct member m;
    member_init(&m, n, id, NULL);
    m.group = group;
    m.session_ms = 1800000;
    m.rebalance_ms = 60000;
    int16_t error = join_take(&m, join_send_other(&m, bytes, size));
    if (!error)
        snprintf(out, 80, "%s", m.id);
    return error;
}

static int16_t leave_alone(struct api_node *n, const char *group, const char *id)
{
    struct member m;
    member_init(&m, n, id, NULL);
    m.group = group;
    return leave(&m, id, NULL);
}

static void members_have_a_share_of_the_memory(void **state)
{
    struct api_rig r;
    struct api_node *n;
    struct member old, new;
    char group[64][16], id[64][80];
    int count = 0;
    int16_t error = 0;
    (void)state;
    start_bounded(&r, 921, &n);
    member_init(&old, n, "old", NULL);
    old.group = "of-the-new";
    assert_int_equal(new_join(&old), 0);
    for (; count < 64 && !error; count += !error) {
        snprintf(group[count], sizeof group[count], "g%d", count);
        error = join_alone(n, group[count], "", META, id[count]);
    }
    assert_int_equal(error, FLOE_KERR_COORDINATOR_NOT_AVAILABLE);
    assert_in_range(count, 8, 17); /* each META at least */
    assert_in_range(kept(n), MEMBERS_MAX, MEMBERS_MAX + 2 * META);
    /* New ones are refused, whatever their protocol, and need not name a protocol that is large. */
    char none[80];
    assert_int_equal(join_alone(n, "other", "", 10, none), FLOE_KERR_COORDINATOR_NOT_AVAILABLE);
    member_init(&new, n, "new", NULL);
    new.group = "of-the-new";
    assert_int_equal(new_join(&new), FLOE_KERR_COORDINATOR_NOT_AVAILABLE);
    /* Those that are there go on: heartbeats, and joining again with as much or a little more. */
    assert_int_equal(beat(&old, false), 0);
    assert_int_equal(join_alone(n, group[0], id[0], META + 100, none), 0);
    assert_int_equal(join_alone(n, group[1], id[1], 10, none), 0);
    assert_int_equal(join_alone(n, group[2], id[2], 4 * META, none), 0); /* of the reserve */
    assert_int_equal(join_alone(n, group[3], id[3], 4 * META, none), FLOE_KERR_COORDINATOR_NOT_AVAILABLE);
    assert_int_equal(join_alone(n, group[3], id[3], META, none), 0);
    /* Who leaves gives back all that was charged. */
    for (int i = 0; i < count; i++)
        assert_int_equal(leave_alone(n, group[i], id[i]), 0);
    assert_int_equal(new_join(&new), 0);
    assert_int_equal(new_leave(&new), 0);
    assert_int_equal(new_leave(&old), 0);
    assert_int_equal(kept(n), 0);
    api_rig_stop(&r);
}

/* A coordinator that takes over has what is there, and what it has no room for goes on. */
static void a_successor_loads_whatever_there_is(void **state)
{
    struct api_rig r;
    struct api_node *n;
    struct member m[3], late;
    (void)state;
    start_bounded(&r, 922, &n);
    for (int i = 0; i < 3; i++) {
        member_init(&m[i], n, i == 0 ? "a" : i == 1 ? "b" : "c", NULL);
        m[i].session_ms = 60000;
        assert_int_equal(new_join(&m[i]), 0);
    }
    r.group.members_max = 1;
    struct api_node *next = api_rig_add(&r);
    api_rig_kill(n);
    api_rig_run(&r, 20000);
    for (int i = 0; i < 3; i++) {
        m[i].n = next;
        int16_t error;
        while ((error = beat(&m[i], false)) == FLOE_KERR_COORDINATOR_LOAD_IN_PROGRESS)
            api_rig_run(&r, 20);
        assert_int_equal(error, 0);
    }
    assert_in_range(kept(next), 1000, 100000);
    member_init(&late, next, "late", NULL);
    assert_int_equal(new_join(&late), FLOE_KERR_COORDINATOR_NOT_AVAILABLE);
    api_rig_stop(&r);
}

static int32_t group_epoch(struct api_node *n, uint32_t *members)
{
    struct floe_kafka_ConsumerGroupDescribeRequest rq;
    struct floe_kstr g = floe_kstr("g");
    floe_kafka_defaults(&floe_kafka_ConsumerGroupDescribeRequest_desc, &rq);
    rq.GroupIds = &g;
    rq.GroupIds_n = 1;
    struct floe_kafka_ConsumerGroupDescribeResponse *rs = api_do(n, 69, 1, &rq);
    assert_int_equal(rs->Groups[0].ErrorCode, 0);
    *members = (uint32_t)rs->Groups[0].Members_n;
    return rs->Groups[0].GroupEpoch;
}

/* Who leaves by one request leaves by one operation: the work is not theirs times all members'. */
static void many_leave_at_once(void **state)
{
    enum { ALL = 30, OUT = 25 };
    struct api_rig r;
    struct api_node *n;
    struct member m[ALL];
    char id[ALL][16];
    struct floe_kafka_LeaveGroupRequest rq;
    struct floe_kafka_LeaveGroupRequest_MemberIdentity w[OUT + 2];
    uint32_t left;
    (void)state;
    start(&r, 923, &n);
    for (int i = 0; i < ALL; i++) {
        snprintf(id[i], sizeof id[i], "m%d", i);
        member_init(&m[i], n, id[i], NULL);
        assert_int_equal(new_join(&m[i]), 0);
    }
    int32_t before = group_epoch(n, &left);
    floe_kafka_defaults(&floe_kafka_LeaveGroupRequest_desc, &rq);
    for (int i = 0; i < OUT + 2; i++) {
        floe_kafka_struct_defaults(&floe_kafka_LeaveGroupRequest_MemberIdentity_desc, &w[i]);
        w[i].MemberId = floe_kstr(i == OUT ? id[3] : i > OUT ? "nobody" : id[i]);
        w[i].GroupInstanceId = floe_kstr(NULL);
    }
    rq.GroupId = floe_kstr("g");
    rq.Members = w;
    rq.Members_n = OUT + 2;
    struct floe_kafka_LeaveGroupResponse *rs = api_do(n, 13, 5, &rq);
    assert_int_equal(rs->ErrorCode, 0);
    assert_int_equal(rs->Members_n, OUT + 2);
    for (int i = 0; i < OUT + 2; i++)
        assert_int_equal(rs->Members[i].ErrorCode, i < OUT ? 0 : FLOE_KERR_UNKNOWN_MEMBER_ID);
    assert_int_equal(group_epoch(n, &left), before + 1);
    assert_int_equal(left, ALL - OUT);
    for (int i = OUT; i < ALL; i++)
        assert_int_equal(beat(&m[i], false), 0);
    api_rig_stop(&r);
}

/* Members whose sessions end together, or shortly one after another, go by few operations; one that is heard
 * of in time stays. */
static void many_are_out_at_once(void **state)
{
    enum { ALL = 30 };
    struct api_rig r;
    struct api_node *n;
    struct member m[ALL];
    char id[ALL][16];
    uint32_t left;
    (void)state;
    start(&r, 926, &n);
    for (int i = 0; i < ALL; i++) {
        snprintf(id[i], sizeof id[i], "m%d", i);
        member_init(&m[i], n, id[i], NULL);
        assert_int_equal(new_join(&m[i]), 0);
    }
    for (int i = 0; i < ALL; i++) { /* the last heartbeats: within half a second */
        assert_int_equal(beat(&m[i], false), 0);
        api_rig_run(&r, 500 / ALL);
    }
    int32_t before = group_epoch(n, &left);
    for (int s = 0; s < 10; s++) { /* sessions are of 45 s */
        api_rig_run(&r, 5000);
        assert_int_equal(beat(&m[0], false), 0);
    }
    int32_t epochs = group_epoch(n, &left) - before;
    assert_int_equal(left, 1);
    /* The first alone, then those of each tenth of a second. */
    assert_in_range(epochs, 2, 10);
    assert_int_equal(beat(&m[0], false), 0);
    assert_int_equal(beat(&m[1], false), FLOE_KERR_UNKNOWN_MEMBER_ID);
    api_rig_stop(&r);
}

/* A group of which nothing is committed is not told of. */
static void who_lists_waits_for_the_commit(void **state)
{
    const struct floe_sim_rule away = {
        .fault = FLOE_SIM_E503, .kinds = FLOE_SIM_KIND(FLOE_STORE_PUT), .prefix = "chain/"};
    struct api_rig r;
    struct api_node *n;
    struct floe_client lister;
    struct member a;
    struct floe_kafka_ListGroupsRequest ask;
    (void)state;
    start(&r, 924, &n);
    floe_client_init(&lister, "10.0.0.9:1", 0);
    member_init(&a, n, "a", NULL);
    a.epoch = 0;
    floe_kafka_defaults(&floe_kafka_ListGroupsRequest_desc, &ask);
    struct floe_kafka_ListGroupsResponse *rs = api_do(n, 16, 5, &ask);
    for (int i = 0; i < 50 && rs->ErrorCode == FLOE_KERR_COORDINATOR_LOAD_IN_PROGRESS; i++) {
        api_rig_run(&r, 100); /* the coordinators are being read */
        rs = api_do(n, 16, 5, &ask);
    }
    assert_int_equal(rs->ErrorCode, 0);
    assert_int_equal(rs->Groups_n, 0);
    floe_sim_bucket_rule(r.bucket, &away);
    struct api_call *join = beat_begin(&a, &a.client, true);
    api_rig_run(&r, 500);
    struct api_call *list = api_send(n, &lister, 16, 5, &ask);
    api_rig_run(&r, 500);
    assert_false(join->done);
    assert_false(list->done);
    floe_sim_bucket_heal(r.bucket);
    rs = api_wait(n, list, 60000);
    assert_non_null(rs);
    assert_int_equal(rs->ErrorCode, 0);
    assert_int_equal(rs->Groups_n, 1);
    assert_true(join->done);
    api_call_free(list);
    api_call_free(join);
    api_rig_stop(&r);
}

/* Members that cannot be answered because nothing can be committed are not out for that; those that are
 * silent when it goes on are, soon. */
static void nobody_is_out_for_a_store_that_is_away(void **state)
{
    const struct floe_sim_rule away = {
        .fault = FLOE_SIM_E503, .kinds = FLOE_SIM_KIND(FLOE_STORE_PUT), .prefix = "chain/"};
    struct api_rig r;
    struct api_node *n;
    struct member a, dead, c;
    uint32_t left;
    (void)state;
    start(&r, 925, &n);
    member_init(&a, n, "a", NULL);
    member_init(&dead, n, "dead", NULL);
    member_init(&c, n, "c", NULL);
    assert_int_equal(new_join(&a), 0);
    assert_int_equal(new_join(&dead), 0);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(beat(&a, false), 0);
        assert_int_equal(beat(&dead, false), 0);
        api_rig_run(&r, 1000);
    }
    floe_sim_bucket_rule(r.bucket, &away);
    c.epoch = 0;
    struct api_call *join = beat_begin(&c, &c.client, true); /* something that cannot be committed */
    api_rig_run(&r, 1000);
    struct api_call *waits = beat_begin(&a, &a.client, false);
    api_rig_run(&r, 120000); /* sessions are of 45 s */
    assert_false(waits->done);
    assert_false(join->done);
    floe_sim_bucket_heal(r.bucket);
    assert_int_equal(beat_end(&a, waits, 5000), 0);
    assert_int_equal(beat_end(&c, join, 5000), 0);
    assert_int_equal(beat(&a, false), 0);
    (void)group_epoch(n, &left);
    assert_int_equal(left, 3);
    for (int i = 0; i < 12; i++) {
        api_rig_run(&r, 2000);
        assert_int_equal(beat(&a, false), 0);
        assert_int_equal(beat(&c, false), 0);
    }
    (void)group_epoch(n, &left);
    assert_int_equal(left, 2);
    api_rig_stop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_have_a_share_of_the_memory),
        cmocka_unit_test(a_successor_loads_whatever_there_is),
        cmocka_unit_test(many_leave_at_once),
        cmocka_unit_test(many_are_out_at_once),
        cmocka_unit_test(who_lists_waits_for_the_commit),
        cmocka_unit_test(nobody_is_out_for_a_store_that_is_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
