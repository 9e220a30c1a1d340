/* ApiVersions, InitProducerId, FindCoordinator, DescribeCluster, the brokers' own APIs; and the table of what
 * is served. */
#include <floe_cmocka.h>

#include "api_rig.h"

#include "api_kafka/api_int.h"
#include <floe/base/log.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

static void test_table(void **state)
{
    uint32_t n;
    const struct floe_version_range *s = floe_api_served(&n);
    (void)state;
    for (uint32_t i = 0; i < n; i++) {
        const struct floe_kafka_api *a = floe_kafka_api_find(s[i].key);
        assert_non_null(a);
        assert_true(s[i].min <= s[i].max && s[i].max <= a->max_stable);
        assert_true(s[i].key == 0 || s[i].min >= a->min);
        assert_true(a->peer == (s[i].peer || s[i].key == FLOE_BROKER_STATUS));
    }
}

static void test_api_versions(void **state)
{
    struct api_rig r;
    struct floe_kafka_ApiVersionsRequest rq;
    (void)state;
    api_rig_start(&r, 1, 1);
    struct api_node *n = &r.nodes[0];
    floe_kafka_defaults(&floe_kafka_ApiVersionsRequest_desc, &rq);
    rq.ClientSoftwareName = floe_kstr("some-client.x");
    rq.ClientSoftwareVersion = floe_kstr("1.2.3");
    for (int16_t v = 0; v <= 4; v++) {
        struct floe_kafka_ApiVersionsResponse *rs = api_do(n, 18, v, &rq);
        assert_int_equal(rs->ErrorCode, 0);
        bool produce = false;
        for (int32_t i = 0; i < rs->ApiKeys_n; i++) {
            assert_true(rs->ApiKeys[i].ApiKey < 20000);
            /* Transactions: AddPartitionsToTxn to TxnOffsetCommit, and what describes and lists them. */
            assert_false((rs->ApiKeys[i].ApiKey >= 24 && rs->ApiKeys[i].ApiKey <= 28) ||
                         rs->ApiKeys[i].ApiKey == 65 || rs->ApiKeys[i].ApiKey == 66);
            if (rs->ApiKeys[i].ApiKey == 0)
                produce = rs->ApiKeys[i].MinVersion == 0 && rs->ApiKeys[i].MaxVersion == 13;
        }
        assert_true(produce);
    }
    static const char *const bad[] = {"", "-a", "a-", "a b", "\xc3\xa4", ".", NULL};
    for (int i = 0; bad[i]; i++) {
        rq.ClientSoftwareName = floe_kstr(bad[i]);
        struct floe_kafka_ApiVersionsResponse *rs = api_do(n, 18, 3, &rq);
        assert_int_equal(rs->ErrorCode, FLOE_KERR_INVALID_REQUEST);
        assert_int_equal(rs->ApiKeys_n, 0);
    }
    api_rig_stop(&r);
}

/* No listener asks for a password and nobody is kept out: each request is answered, with Kafka's word for
 * that. */
static void test_security_off(void **state)
{
    struct api_rig r;
    struct floe_kafka_SaslHandshakeRequest shake;
    struct floe_kafka_SaslAuthenticateRequest auth;
    struct floe_kafka_DescribeAclsRequest describe;
    struct floe_kafka_CreateAclsRequest create;
    struct floe_kafka_DeleteAclsRequest delete;
    struct floe_kafka_CreateAclsRequest_AclCreation creations[2];
    struct floe_kafka_DeleteAclsRequest_DeleteAclsFilter filters[2];
    (void)state;
    api_rig_start(&r, 7, 1);
    struct api_node *n = &r.nodes[0];
    floe_kafka_defaults(&floe_kafka_SaslHandshakeRequest_desc, &shake);
    shake.Mechanism = floe_kstr("PLAIN");
    for (int16_t v = 0; v <= 1; v++) {
        struct floe_kafka_SaslHandshakeResponse *rs = api_do(n, 17, v, &shake);
        assert_int_equal(rs->ErrorCode, FLOE_KERR_ILLEGAL_SASL_STATE);
        assert_int_equal(rs->Mechanisms_n, 0);
    }
    floe_kafka_defaults(&floe_kafka_SaslAuthenticateRequest_desc, &auth);
    for (int16_t v = 0; v <= 2; v++)
        assert_int_equal(((struct floe_kafka_SaslAuthenticateResponse *)api_do(n, 36, v, &auth))->ErrorCode,
                         FLOE_KERR_ILLEGAL_SASL_STATE);
    floe_kafka_defaults(&floe_kafka_DescribeAclsRequest_desc, &describe);
    floe_kafka_defaults(&floe_kafka_CreateAclsRequest_desc, &create);
    floe_kafka_defaults(&floe_kafka_DeleteAclsRequest_desc, &delete);
    for (int i = 0; i < 2; i++) {
        floe_kafka_struct_defaults(&floe_kafka_CreateAclsRequest_AclCreation_desc, &creations[i]);
        floe_kafka_struct_defaults(&floe_kafka_DeleteAclsRequest_DeleteAclsFilter_desc, &filters[i]);
    }
    create.Creations = creations;
    delete.Filters = filters;
    for (int16_t v = 1; v <= 3; v++) {
        struct floe_kafka_DescribeAclsResponse *d = api_do(n, 29, v, &describe);
        assert_int_equal(d->ErrorCode, FLOE_KERR_SECURITY_DISABLED);
        assert_true(d->ErrorMessage.n > 0);
        for (int32_t count = 0; count <= 2; count++) {
            create.Creations_n = delete.Filters_n = count;
            struct floe_kafka_CreateAclsResponse *c = api_do(n, 30, v, &create);
            assert_int_equal(c->Results_n, count);
            for (int32_t i = 0; i < count; i++)
                assert_int_equal(c->Results[i].ErrorCode, FLOE_KERR_SECURITY_DISABLED);
            struct floe_kafka_DeleteAclsResponse *x = api_do(n, 31, v, &delete);
            assert_int_equal(x->FilterResults_n, count);
            for (int32_t i = 0; i < count; i++)
                assert_int_equal(x->FilterResults[i].ErrorCode, FLOE_KERR_SECURITY_DISABLED);
        }
    }
    api_rig_stop(&r);
}

static void test_producer_ids(void **state)
{
    struct api_rig r;
    struct floe_kafka_InitProducerIdRequest rq;
    int64_t seen[64];
    uint32_t count = 0;
    (void)state;
    api_rig_start(&r, 2, 2);
    floe_kafka_defaults(&floe_kafka_InitProducerIdRequest_desc, &rq);
    rq.TransactionalId = (struct floe_kstr){NULL, -1};
    for (int16_t v = 0; v <= 5; v++) {
        for (int k = 0; k < 4; k++) {
            struct floe_kafka_InitProducerIdResponse *rs = api_do(&r.nodes[k % 2], 22, v, &rq);
            assert_int_equal(rs->ErrorCode, 0);
            assert_int_equal(rs->ProducerEpoch, 0);
            for (uint32_t i = 0; i < count; i++)
                assert_true(seen[i] != rs->ProducerId);
            seen[count++] = rs->ProducerId;
        }
        rq.TransactionalId = floe_kstr("tx");
        struct floe_kafka_InitProducerIdResponse *rs = api_do(&r.nodes[0], 22, v, &rq);
        assert_int_equal(rs->ErrorCode, FLOE_KERR_UNSUPPORTED_VERSION);
        assert_int_equal(rs->ProducerId, -1);
        rq.TransactionalId = floe_kstr("");
        rs = api_do(&r.nodes[0], 22, v, &rq);
        assert_int_equal(rs->ErrorCode, FLOE_KERR_INVALID_REQUEST);
        rq.TransactionalId = (struct floe_kstr){NULL, -1};
    }
    rq.ProducerId = 5;
    assert_int_equal(((struct floe_kafka_InitProducerIdResponse *)api_do(&r.nodes[0], 22, 3, &rq))->ErrorCode,
                     FLOE_KERR_INVALID_REQUEST);
    api_rig_stop(&r);
}

static void keep_line(void *user, enum floe_log_level level, const char *line)
{
    (void)level;
    if (strstr(line, "transaction"))
        snprintf(user, 300, "%s", line);
}

/* Whoever runs the broker reads why a client does not start. */
static void test_transactional_is_told(void **state)
{
    struct api_rig r;
    struct floe_kafka_InitProducerIdRequest rq;
    char line[300] = "";
    (void)state;
    api_rig_start(&r, 5, 1);
    floe_kafka_defaults(&floe_kafka_InitProducerIdRequest_desc, &rq);
    rq.TransactionalId = floe_kstr("payments");
    floe_log_setup(FLOE_LOG_WARN, false);
    floe_log_hook(keep_line, line);
    struct floe_kafka_InitProducerIdResponse *rs = api_do(&r.nodes[0], 22, 4, &rq);
    floe_log_hook(NULL, NULL);
    assert_int_equal(rs->ErrorCode, FLOE_KERR_UNSUPPORTED_VERSION);
    assert_non_null(strstr(line, "asks for transactional id 'payments': transactions are not served"));
    api_rig_stop(&r);
}

/* The block is used up while the table is away: clients are asked to come again. */
static void test_producer_ids_without_table(void **state)
{
    struct api_rig r;
    struct floe_kafka_InitProducerIdRequest rq;
    (void)state;
    api_rig_start(&r, 3, 1);
    floe_kafka_defaults(&floe_kafka_InitProducerIdRequest_desc, &rq);
    rq.TransactionalId = (struct floe_kstr){NULL, -1};
    struct floe_sim_rule rule = {.fault = FLOE_SIM_E503, .prefix = "table/producer-ids"};
    floe_sim_bucket_rule(r.bucket, &rule);
    struct floe_kafka_InitProducerIdResponse *rs = api_do(&r.nodes[0], 22, 4, &rq);
    assert_int_equal(rs->ErrorCode, FLOE_KERR_COORDINATOR_LOAD_IN_PROGRESS);
    assert_int_equal(rs->ProducerId, -1);
    floe_sim_bucket_heal(r.bucket);
    rs = api_do(&r.nodes[0], 22, 4, &rq);
    assert_int_equal(rs->ErrorCode, 0);
    api_rig_stop(&r);
}

/* The first group of a cluster: who is told the coordinator can use it at once. */
static void test_coordinator_is_ready(void **state)
{
    struct api_rig r;
    struct floe_kafka_FindCoordinatorRequest find;
    struct floe_kafka_HeartbeatRequest beat;
    (void)state;
    api_rig_start(&r, 12, 1);
    floe_kafka_defaults(&floe_kafka_FindCoordinatorRequest_desc, &find);
    floe_kafka_defaults(&floe_kafka_HeartbeatRequest_desc, &beat);
    find.Key = beat.GroupId = floe_kstr("first");
    beat.MemberId = floe_kstr("nobody");
    struct floe_kafka_FindCoordinatorResponse *at = api_do(&r.nodes[0], 10, 3, &find);
    assert_int_equal(at->ErrorCode, 0);
    struct floe_kafka_HeartbeatResponse *rs = api_do(&r.nodes[0], 12, 4, &beat);
    assert_int_equal(rs->ErrorCode, FLOE_KERR_UNKNOWN_MEMBER_ID); /* not COORDINATOR_LOAD_IN_PROGRESS */
    api_rig_stop(&r);
}

static void test_find_coordinator(void **state)
{
    struct api_rig r;
    struct floe_kafka_FindCoordinatorRequest rq;
    struct floe_kstr keys[2] = {floe_kstr("g1"), floe_kstr("g2")};
    (void)state;
    api_rig_start(&r, 4, 2);
    for (int16_t v = 0; v <= 6; v++) {
        floe_kafka_defaults(&floe_kafka_FindCoordinatorRequest_desc, &rq);
        if (v < 4) {
            rq.Key = floe_kstr("g1");
        } else {
            rq.CoordinatorKeys = keys;
            rq.CoordinatorKeys_n = 2;
        }
        struct floe_kafka_FindCoordinatorResponse *rs = api_do(&r.nodes[v % 2], 10, v, &rq);
        /* "g1".hashCode() is 3242, "g2"'s 3243; of 50 partitions those are 42 and 43. */
        int32_t n = v < 4 ? 1 : 2, node[2], port[2];
        for (int32_t i = 0; i < n; i++) {
            assert_int_equal(v < 4 ? rs->ErrorCode : rs->Coordinators[i].ErrorCode, 0);
            node[i] = v < 4 ? rs->NodeId : rs->Coordinators[i].NodeId;
            port[i] = v < 4 ? rs->Port : rs->Coordinators[i].Port;
        }
        for (int32_t i = 0; i < n; i++) {
            struct api_node *at = api_leader_of(&r, "__consumer_offsets", 42 + i);
            assert_non_null(at);
            assert_int_equal(node[i], floe_lease_node_id(floe_core_lease(at->core)));
            assert_true(port[i] > 0);
        }
    }
    rq.KeyType = 9;
    assert_int_equal(((struct floe_kafka_FindCoordinatorResponse *)api_do(&r.nodes[0], 10, 4, &rq))
                         ->Coordinators[0]
                         .ErrorCode,
                     FLOE_KERR_INVALID_REQUEST);
    rq.KeyType = 1; /* transactions: this broker, whose InitProducerId says that they are not served */
    assert_int_equal(((struct floe_kafka_FindCoordinatorResponse *)api_do(&r.nodes[1], 10, 4, &rq))
                         ->Coordinators[0]
                         .NodeId,
                     floe_lease_node_id(floe_core_lease(r.nodes[1].core)));
    api_rig_stop(&r);
}

static void tell_status(void *user, struct floe_api_status *out)
{
    *out = *(const struct floe_api_status *)user;
}

static void test_broker_status(void **state)
{
    struct api_rig r;
    struct floe_kafka_BrokerStatusRequest rq;
    struct floe_api_status s = {.state = "lapsed",
                                .scarcest = "core",
                                .utilisation = 0.25,
                                .idle_usd_month = 5.93,
                                .view_lag_ms = 17,
                                .store_trouble_ms = 4000,
                                .store_trouble = "nobody listens"};
    (void)state;
    api_rig_start(&r, 6, 1);
    floe_kafka_defaults(&floe_kafka_BrokerStatusRequest_desc, &rq);
    struct floe_kafka_BrokerStatusResponse *rs = api_do(&r.nodes[0], FLOE_BROKER_STATUS, 0, &rq);
    assert_int_equal(rs->NodeId, floe_lease_node_id(floe_core_lease(r.nodes[0].core)));
    assert_memory_equal(rs->State.p, "serving", 7);
    floe_core_api(r.nodes[0].core)->cfg.status = tell_status;
    floe_core_api(r.nodes[0].core)->cfg.status_user = &s;
    rs = api_do(&r.nodes[0], FLOE_BROKER_STATUS, 0, &rq);
    assert_memory_equal(rs->State.p, "lapsed", 6);
    assert_memory_equal(rs->Scarcest.p, "core", 4);
    assert_int_equal(rs->UtilisationPpm, 250000);
    assert_int_equal(rs->IdleMicroDollars, 5930000);
    assert_int_equal(rs->ViewLagMs, 17);
    assert_int_equal(rs->StoreTroubleMs, 4000);
    assert_int_equal(rs->StoreTrouble.n, 14);
    assert_memory_equal(rs->StoreTrouble.p, "nobody listens", 14);
    assert_int_equal(rs->Format, 1);
    assert_false(rs->Draining);
    api_rig_stop(&r);
}

/* The topic of groups and offsets goes by its id alone: a pattern of names takes it along too easily. */
static void test_delete_internal(void **state)
{
    struct api_rig r;
    struct floe_uuid id;
    (void)state;
    api_rig_start(&r, 8, 1);
    assert_int_equal(api_make_topic(&r.nodes[0], "__consumer_offsets", 1, NULL, NULL), 0);
    assert_true(api_topic_id(&r.nodes[0], "__consumer_offsets", &id));
    for (int by_id = 0; by_id < 2; by_id++) {
        struct floe_kafka_DeleteTopicsRequest rq;
        struct floe_kafka_DeleteTopicsRequest_DeleteTopicState t;
        floe_kafka_defaults(&floe_kafka_DeleteTopicsRequest_desc, &rq);
        floe_kafka_struct_defaults(&floe_kafka_DeleteTopicsRequest_DeleteTopicState_desc, &t);
        rq.TimeoutMs = 30000;
        rq.Topics = &t;
        rq.Topics_n = 1;
        t.Name = floe_kstr(by_id ? NULL : "__consumer_offsets");
        if (by_id)
            t.TopicId = id;
        struct floe_kafka_DeleteTopicsResponse *rs = api_do(&r.nodes[0], 20, 6, &rq);
        assert_int_equal(rs->Responses[0].ErrorCode, by_id ? 0 : FLOE_KERR_INVALID_REQUEST);
        assert_true(by_id || rs->Responses[0].ErrorMessage.n > 0);
    }
    api_rig_stop(&r);
}

static void test_describe_cluster(void **state)
{
    struct api_rig r;
    struct floe_kafka_DescribeClusterRequest rq;
    (void)state;
    api_rig_start(&r, 5, 2);
    floe_kafka_defaults(&floe_kafka_DescribeClusterRequest_desc, &rq);
    for (int16_t v = 0; v <= 2; v++) {
        rq.IncludeClusterAuthorizedOperations = v > 0;
        struct floe_kafka_DescribeClusterResponse *rs = api_do(&r.nodes[1], 60, v, &rq);
        assert_int_equal(rs->ErrorCode, 0);
        assert_int_equal(rs->Brokers_n, 2);
        assert_int_equal(rs->ClusterId.n, 22);
        assert_int_equal(rs->ControllerId, floe_lease_node_id(floe_core_lease(r.nodes[1].core)));
        assert_true((rs->ClusterAuthorizedOperations == INT32_MIN) == (v == 0));
    }
    rq.EndpointType = 2;
    assert_int_equal(
        ((struct floe_kafka_DescribeClusterResponse *)api_do(&r.nodes[0], 60, 1, &rq))->ErrorCode,
        FLOE_KERR_MISMATCHED_ENDPOINT_TYPE);
    rq.EndpointType = 9;
    assert_int_equal(
        ((struct floe_kafka_DescribeClusterResponse *)api_do(&r.nodes[0], 60, 1, &rq))->ErrorCode,
        FLOE_KERR_UNSUPPORTED_ENDPOINT_TYPE);
    api_rig_stop(&r);
}

/* Another cluster's broker, or one that means a session of the past, changes nothing. */
static void test_peer_requests(void **state)
{
    struct api_rig r;
    struct floe_kafka_PeerTopicDeletedRequest gone;
    struct floe_kafka_PeerLeaseChangedRequest changed;
    (void)state;
    api_rig_start(&r, 6, 1);
    struct api_node *n = &r.nodes[0];
    assert_int_equal(api_make_topic(n, "t", 1, NULL, NULL), 0);
    api_rig_run(&r, 500);
    floe_kafka_defaults(&floe_kafka_PeerTopicDeletedRequest_desc, &gone);
    floe_kafka_defaults(&floe_kafka_PeerLeaseChangedRequest_desc, &changed);
    assert_true(api_topic_id(n, "t", &gone.TopicId));
    const struct floe_session_name *own = floe_lease_session(floe_core_lease(n->core));
    gone.NodeId = own->node;
    gone.NodeEpoch = own->epoch;
    gone.SessionId = (int64_t)own->id;
    memset(gone.ClusterId.b, 1, 16);
    changed.ClusterId = gone.ClusterId;
    assert_int_equal(((struct floe_kafka_PeerTopicDeletedResponse *)api_do(n, 20002, 0, &gone))->ErrorCode,
                     FLOE_KERR_INCONSISTENT_CLUSTER_ID);
    assert_int_equal(((struct floe_kafka_PeerLeaseChangedResponse *)api_do(n, 20001, 0, &changed))->ErrorCode,
                     FLOE_KERR_INCONSISTENT_CLUSTER_ID);
    gone.ClusterId = r.cluster;
    gone.SessionId++;
    assert_int_equal(((struct floe_kafka_PeerTopicDeletedResponse *)api_do(n, 20002, 0, &gone))->ErrorCode,
                     FLOE_KERR_NOT_LEADER_OR_FOLLOWER);
    assert_non_null(api_leader_of(&r, "t", 0));
    gone.SessionId--;
    assert_int_equal(((struct floe_kafka_PeerTopicDeletedResponse *)api_do(n, 20002, 0, &gone))->ErrorCode,
                     0);
    assert_null(api_leader_of(&r, "t", 0)); /* it stopped before it said so */
    api_rig_stop(&r);
}

/* Bytes that no object has are refused, whatever their place is called. */
static void test_peer_read_of_nothing(void **state)
{
    struct floe_kafka_PeerReadRequest rq;
    struct api_rig r;
    (void)state;
    api_rig_start(&r, 16, 1);
    floe_kafka_defaults(&floe_kafka_PeerReadRequest_desc, &rq);
    rq.ClusterId = r.cluster;
    rq.NodeId = 1;
    rq.NodeEpoch = 1;
    for (int i = 0; i < 3; i++) {
        rq.Offset = i == 0 ? INT64_MIN : i == 1 ? INT64_MAX : -5;
        rq.Length = i == 2 ? 0 : 1;
        const struct floe_kafka_PeerReadResponse *rs = api_do(&r.nodes[0], FLOE_PEER_READ, 0, &rq);
        assert_non_null(rs);
        assert_int_equal(rs->ErrorCode, FLOE_KERR_INVALID_REQUEST);
    }
    api_rig_stop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_peer_read_of_nothing),
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_api_versions),
        cmocka_unit_test(test_security_off),
        cmocka_unit_test(test_producer_ids),
        cmocka_unit_test(test_transactional_is_told),
        cmocka_unit_test(test_producer_ids_without_table),
        cmocka_unit_test(test_find_coordinator),
        cmocka_unit_test(test_coordinator_is_ready),
        cmocka_unit_test(test_broker_status),
        cmocka_unit_test(test_delete_internal),
        cmocka_unit_test(test_describe_cluster),
        cmocka_unit_test(test_peer_requests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
