/* A cluster through the Kafka protocol: connections by node, leaders by partition. */
#include "cli/selftest/kafka.h"

#include <floe/base/assert.h>

#include <stdio.h>
#include <stdlib.h>

enum { METADATA = 3, CREATE_TOPICS = 19, INIT_PRODUCER_ID = 22 };
enum { TIMEOUT_MS = 5000, CREATE_MS = 30000 };

static void forget(struct st_kafka *k)
{
    for (uint32_t i = 0; i < k->node_n; i++)
        floe_client_close(&k->node[i].c);
    k->node_n = 0;
    for (int i = 0; i < ST_PARTITIONS; i++)
        k->leader[i] = -1;
}

void st_kafka_close(struct st_kafka *k)
{
    forget(k);
}

static void take_nodes(struct st_kafka *k, const struct floe_kafka_MetadataResponse *r)
{
    struct st_kafka old = *k;
    k->node_n = 0;
    for (int32_t i = 0; i < r->Brokers_n && k->node_n < ST_NODES_MAX; i++) {
        const struct floe_kafka_MetadataResponse_MetadataResponseBroker *b = &r->Brokers[i];
        char host[FLOE_STR_HOST];
        (void)snprintf(host, sizeof host, "%.*s", (int)FLOE_MAX(b->Host.n, 0), b->Host.p);
        uint32_t at = k->node_n++;
        k->node[at].id = b->NodeId;
        k->node[at].c = NULL;
        (void)floe_str_addr(k->node[at].addr, host, (uint16_t)b->Port);
        for (uint32_t j = 0; j < old.node_n; j++) {
            if (old.node[j].c == NULL || strcmp(old.node[j].addr, k->node[at].addr) != 0)
                continue;
            k->node[at].c = old.node[j].c;
            old.node[j].c = NULL;
        }
    }
    for (uint32_t j = 0; j < old.node_n; j++)
        floe_client_close(&old.node[j].c);
}

static void take_leaders(struct st_kafka *k, const struct floe_kafka_MetadataResponse *r)
{
    for (int i = 0; i < ST_PARTITIONS; i++)
        k->leader[i] = -1;
    for (int32_t t = 0; t < r->Topics_n; t++) {
        if (!floe_kstr_is(r->Topics[t].Name, k->topic))
            continue;
        for (int32_t i = 0; i < r->Topics[t].Partitions_n; i++) {
            const struct floe_kafka_MetadataResponse_MetadataResponsePartition *p =
                &r->Topics[t].Partitions[i];
            for (uint32_t n = 0; n < k->node_n && p->PartitionIndex >= 0 && p->PartitionIndex < ST_PARTITIONS;
                 n++)
                if (k->node[n].id == p->LeaderId)
                    k->leader[p->PartitionIndex] = (int)n;
        }
    }
}

enum floe_err st_kafka_refresh(struct st_kafka *k, struct floe_error *err)
{
    struct floe_client *c = NULL;
    struct floe_kafka_MetadataRequest request;
    struct floe_kafka_MetadataRequest_MetadataRequestTopic topic;
    void *response;
    enum floe_err e = floe_client_connect(&c, k->bootstrap, TIMEOUT_MS, err);
    if (e != FLOE_OK)
        return e;
    floe_kafka_defaults(&floe_kafka_MetadataRequest_desc, &request);
    floe_kafka_struct_defaults(&floe_kafka_MetadataRequest_MetadataRequestTopic_desc, &topic);
    topic.Name = floe_kstr(k->topic);
    request.Topics = &topic;
    request.Topics_n = 1;
    request.AllowAutoTopicCreation = false;
    e = floe_client_call(c, METADATA, INT16_MAX, &request, &response, NULL, err);
    if (e == FLOE_OK) {
        take_nodes(k, response);
        take_leaders(k, response);
    }
    floe_client_close(&c);
    return e;
}

enum floe_err st_kafka_call(struct st_kafka *k, uint32_t node, int16_t api, int16_t max_version,
                            const void *request, void **response, struct floe_error *err)
{
    enum floe_err e = FLOE_OK;
    if (k->node[node].c == NULL)
        e = floe_client_connect(&k->node[node].c, k->node[node].addr, TIMEOUT_MS, err);
    if (e == FLOE_OK)
        e = floe_client_call(k->node[node].c, api, max_version, request, response, NULL, err);
    if (e != FLOE_OK)
        floe_client_close(&k->node[node].c);
    return e;
}

enum floe_err st_kafka_producer_id(struct st_kafka *k, int64_t *id, int16_t *epoch, struct floe_error *err)
{
    struct floe_kafka_InitProducerIdRequest request;
    void *response;
    floe_kafka_defaults(&floe_kafka_InitProducerIdRequest_desc, &request);
    request.TransactionalId = floe_kstr(NULL);
    if (k->node_n == 0)
        return floe_error_set(err, FLOE_EUNAVAILABLE, "no broker is listed");
    enum floe_err e = st_kafka_call(k, 0, INIT_PRODUCER_ID, INT16_MAX, &request, &response, err);
    if (e != FLOE_OK)
        return e;
    const struct floe_kafka_InitProducerIdResponse *r = response;
    if (r->ErrorCode != 0)
        return floe_client_error(r->ErrorCode, floe_kstr(NULL), err);
    *id = r->ProducerId;
    *epoch = r->ProducerEpoch;
    return FLOE_OK;
}

enum floe_err st_kafka_create_topic(const char *bootstrap, const char *name, struct floe_error *err)
{
    struct floe_client *c = NULL;
    struct floe_kafka_CreateTopicsRequest request;
    struct floe_kafka_CreateTopicsRequest_CreatableTopic topic;
    void *response;
    enum floe_err e = floe_client_connect(&c, bootstrap, CREATE_MS, err);
    if (e != FLOE_OK)
        return e;
    floe_kafka_defaults(&floe_kafka_CreateTopicsRequest_desc, &request);
    floe_kafka_struct_defaults(&floe_kafka_CreateTopicsRequest_CreatableTopic_desc, &topic);
    topic.Name = floe_kstr(name);
    topic.NumPartitions = ST_PARTITIONS;
    topic.ReplicationFactor = -1;
    request.Topics = &topic;
    request.Topics_n = 1;
    request.timeoutMs = CREATE_MS;
    e = floe_client_call(c, CREATE_TOPICS, INT16_MAX, &request, &response, NULL, err);
    const struct floe_kafka_CreateTopicsResponse *r = response;
    if (e == FLOE_OK && r->Topics_n == 1 && r->Topics[0].ErrorCode != 0)
        e = floe_client_error(r->Topics[0].ErrorCode, r->Topics[0].ErrorMessage, err);
    floe_client_close(&c);
    return e;
}
