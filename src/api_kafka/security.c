/* SaslHandshake 0–1, SaslAuthenticate 0–2, DescribeAcls 1–3, CreateAcls 1–3, DeleteAcls 1–3: what Kafka
 * answers on a listener without authentication, from a broker without an authorizer. Clients tell their users
 * so, which they cannot where an API is missing. */
#include "api_kafka/api_int.h"

#define NO_AUTHORIZER "No Authorizer is configured."

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
    if (rs) {
        floe_kafka_defaults(&floe_kafka_CreateAclsResponse_desc, rs);
        rs->Results = floe_kafka_array(&floe_kafka_CreateAclsResponse_AclCreationResult_desc, in->Creations_n,
                                       &rq->arena);
    }
    if (!rs || !rs->Results) {
        api_give_up(rq);
        return;
    }
    for (int32_t i = 0; i < in->Creations_n; i++) {
        rs->Results[i].ErrorCode = FLOE_KERR_SECURITY_DISABLED;
        rs->Results[i].ErrorMessage = floe_kstr(NO_AUTHORIZER);
    }
    rs->Results_n = in->Creations_n;
    rq->response = rs;
    floe_request_complete(rq);
}

void api_delete_acls(struct floe_request *rq)
{
    const struct floe_kafka_DeleteAclsRequest *in = rq->body;
    struct floe_kafka_DeleteAclsResponse *rs = floe_arena_alloc(&rq->arena, sizeof *rs);
    if (rs) {
        floe_kafka_defaults(&floe_kafka_DeleteAclsResponse_desc, rs);
        rs->FilterResults = floe_kafka_array(&floe_kafka_DeleteAclsResponse_DeleteAclsFilterResult_desc,
                                             in->Filters_n, &rq->arena);
    }
    if (!rs || !rs->FilterResults) {
        api_give_up(rq);
        return;
    }
    for (int32_t i = 0; i < in->Filters_n; i++) {
        rs->FilterResults[i].ErrorCode = FLOE_KERR_SECURITY_DISABLED;
        rs->FilterResults[i].ErrorMessage = floe_kstr(NO_AUTHORIZER);
    }
    rs->FilterResults_n = in->Filters_n;
    rq->response = rs;
    floe_request_complete(rq);
}
