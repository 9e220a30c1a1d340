/* What Kafka answers where nobody is asked who they are: DescribeAcls, CreateAcls and DeleteAcls 1-3 of a
 * broker without an authorizer, SaslHandshake 0-1 and SaslAuthenticate 0-2 on a listener without SASL.
 * Clients tell by these answers that the feature is off; a closed connection they take for a broker that is
 * away, and try again. Sentences follow Kafka's AclApis, ControllerApis and KafkaApis. */
#include "api_kafka/api_int.h"

void api_describe_acls(struct floe_request *rq)
{
    struct floe_kafka_DescribeAclsResponse *rs = floe_arena_alloc(&rq->arena, sizeof *rs);
    if (!rs) {
        api_give_up(rq);
        return;
    }
    floe_kafka_defaults(&floe_kafka_DescribeAclsResponse_desc, rs);
    rs->ErrorCode = FLOE_KERR_SECURITY_DISABLED;
    rs->ErrorMessage = floe_kstr("No Authorizer is configured on the broker");
    rq->response = rs;
    floe_request_complete(rq);
}

void api_create_acls(struct floe_request *rq)
{
    const struct floe_kafka_CreateAclsRequest *in = rq->body;
    struct floe_kafka_CreateAclsResponse *rs = floe_arena_alloc(&rq->arena, sizeof *rs);
    int32_t n = FLOE_MAX(in->Creations_n, 0);
    if (rs) {
        floe_kafka_defaults(&floe_kafka_CreateAclsResponse_desc, rs);
        rs->Results = floe_kafka_array(&floe_kafka_CreateAclsResponse_AclCreationResult_desc, n, &rq->arena);
    }
    if (!rs || !rs->Results) {
        api_give_up(rq);
        return;
    }
    rs->Results_n = n;
    for (int32_t i = 0; i < n; i++) {
        rs->Results[i].ErrorCode = FLOE_KERR_SECURITY_DISABLED;
        rs->Results[i].ErrorMessage = floe_kstr("No Authorizer is configured.");
    }
    rq->response = rs;
    floe_request_complete(rq);
}

void api_delete_acls(struct floe_request *rq)
{
    const struct floe_kafka_DeleteAclsRequest *in = rq->body;
    struct floe_kafka_DeleteAclsResponse *rs = floe_arena_alloc(&rq->arena, sizeof *rs);
    int32_t n = FLOE_MAX(in->Filters_n, 0);
    if (rs) {
        floe_kafka_defaults(&floe_kafka_DeleteAclsResponse_desc, rs);
        rs->FilterResults =
            floe_kafka_array(&floe_kafka_DeleteAclsResponse_DeleteAclsFilterResult_desc, n, &rq->arena);
    }
    if (!rs || !rs->FilterResults) {
        api_give_up(rq);
        return;
    }
    rs->FilterResults_n = n;
    for (int32_t i = 0; i < n; i++) {
        rs->FilterResults[i].ErrorCode = FLOE_KERR_SECURITY_DISABLED;
        rs->FilterResults[i].ErrorMessage = floe_kstr("No Authorizer is configured.");
    }
    rq->response = rs;
    floe_request_complete(rq);
}

void api_sasl_handshake(struct floe_request *rq)
{
    struct floe_kafka_SaslHandshakeResponse *rs = floe_arena_alloc(&rq->arena, sizeof *rs);
    if (!rs) {
        api_give_up(rq);
        return;
    }
    floe_kafka_defaults(&floe_kafka_SaslHandshakeResponse_desc, rs);
    rs->ErrorCode = FLOE_KERR_ILLEGAL_SASL_STATE;
    rq->response = rs;
    floe_request_complete(rq);
}

void api_sasl_authenticate(struct floe_request *rq)
{
    struct floe_kafka_SaslAuthenticateResponse *rs = floe_arena_alloc(&rq->arena, sizeof *rs);
    if (!rs) {
        api_give_up(rq);
        return;
    }
    floe_kafka_defaults(&floe_kafka_SaslAuthenticateResponse_desc, rs);
    rs->ErrorCode = FLOE_KERR_ILLEGAL_SASL_STATE;
    rs->ErrorMessage = floe_kstr("SaslAuthenticate request received after successful authentication");
    rq->response = rs;
    floe_request_complete(rq);
}
