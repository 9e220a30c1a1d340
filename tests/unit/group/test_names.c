/* Names of groups and ids of members that are none. */
#include "migrate_rig.h"

/* Names with a NUL, which would be others' in the state, are refused. */
static void test_nul(void **state)
{
    struct api_rig r;
    struct api_node *n;
    struct floe_kafka_ConsumerGroupHeartbeatRequest beat;
    struct floe_kafka_ConsumerGroupHeartbeatRequest_TopicPartitions none;
    struct floe_kafka_JoinGroupRequest join;
    struct floe_kafka_JoinGroupRequest_JoinGroupRequestProtocol p = {.Name = floe_kstr("range")};
    struct floe_kstr topic = floe_kstr(TOPIC), odd = floe_kstr_n("m\0x", 3);
    (void)state;
    start(&r, 803, &n);
    floe_kafka_defaults(&floe_kafka_ConsumerGroupHeartbeatRequest_desc, &beat);
    beat.GroupId = floe_kstr("g");
    beat.InstanceId = beat.RackId = floe_kstr(NULL);
    beat.RebalanceTimeoutMs = 10000;
    beat.SubscribedTopicNames = &topic;
    beat.SubscribedTopicNames_n = 1;
    beat.TopicPartitions = &none;
    beat.TopicPartitions_n = 0;
    for (int i = 0; i < 3; i++) {
        beat.GroupId = i == 0 ? odd : floe_kstr("g");
        beat.MemberId = i == 1 ? odd : floe_kstr("m");
        beat.InstanceId = i == 2 ? odd : floe_kstr(NULL);
        struct floe_kafka_ConsumerGroupHeartbeatResponse *rs = api_do(n, 68, 1, &beat);
        assert_int_equal(rs->ErrorCode, i == 0 ? FLOE_KERR_INVALID_GROUP_ID : FLOE_KERR_INVALID_REQUEST);
    }
    floe_kafka_defaults(&floe_kafka_JoinGroupRequest_desc, &join);
    join.SessionTimeoutMs = join.RebalanceTimeoutMs = 10000;
    join.Protocols = &p;
    join.Protocols_n = 1;
    for (int i = 0; i < 5; i++) {
        join.GroupId = i == 0 ? odd : floe_kstr("g");
        join.MemberId = i == 1 ? odd : floe_kstr("");
        join.GroupInstanceId = i == 2 ? odd : floe_kstr(NULL);
        join.ProtocolType = i == 3 ? odd : floe_kstr("consumer");
        p.Name = i == 4 ? odd : floe_kstr("range");
        struct floe_kafka_JoinGroupResponse *rs = api_do(n, 11, 9, &join);
        assert_int_equal(rs->ErrorCode, i == 0 ? FLOE_KERR_INVALID_GROUP_ID : FLOE_KERR_INVALID_REQUEST);
    }
    api_rig_stop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_nul)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
