/* What clients say and hear: Kafka requests and answers, encoded as clients encode them. */
#include <stdio.h>
#include <stdlib.h>

#include <floe/base/assert.h>
#include <floe/base/str.h>

#include "simcluster_int.h"

enum {
    KEY_PRODUCE = 0,
    KEY_FETCH = 1,
    KEY_LIST_OFFSETS = 2,
    KEY_METADATA = 3,
    KEY_COMMIT = 8,
    KEY_COMMITTED = 9,
    KEY_COORDINATOR = 10,
    KEY_CREATE = 19,
    KEY_DELETE = 20,
    KEY_INIT_ID = 22,
    KEY_BEAT = 68
};
#define LATEST (-1)

static struct floe_kstr topic_name(const struct simcall *k)
{
    return floe_kstr(k->name ? k->name : k->c->topic[k->c->part[k->part].topic].name);
}
static int16_t draw(struct simcall *k, int16_t from, int16_t to)
{
    return (int16_t)(from + (int16_t)floe_rng_below(k->rng, (uint64_t)(to - from + 1)));
}
static bool stays(const struct simcall *k)
{
    return k->c->part[k->part].topic == 0;
}
void simwire_frame(struct simcall *k, int16_t key, int16_t version, const void *body)
{
    struct floe_writer w;
    struct floe_error err;
    k->api = floe_kafka_api_find(key);
    k->version = version;
    floe_writer_init(&w, 4 << 20);
    if (floe_kafka_request_frame(k->api, version, (int32_t)k->sent, floe_kstr("sim"), body, &w, &err))
        FLOE_ASSERT(false);
    k->frame = w.p; /* behind its length */
    k->frame_n = w.n;
}

static void produce(struct simcall *k)
{
    struct floe_kafka_ProduceRequest rq;
    struct floe_kafka_ProduceRequest_TopicProduceData t;
    struct floe_kafka_ProduceRequest_PartitionProduceData p;
    floe_kafka_defaults(&floe_kafka_ProduceRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_ProduceRequest_TopicProduceData_desc, &t);
    floe_kafka_struct_defaults(&floe_kafka_ProduceRequest_PartitionProduceData_desc, &p);
    struct floe_tp tp = simcluster_tp(k->c, k->part);
    rq.Acks = k->acks;
    rq.TimeoutMs = (int32_t)(500 + floe_rng_below(&k->c->rng, 4000));
    rq.TopicData = &t;
    rq.TopicData_n = 1;
    t.Name = topic_name(k);
    t.TopicId = tp.topic;
    t.PartitionData = &p;
    t.PartitionData_n = 1;
    p.Index = tp.index;
    p.Records = (struct floe_krecords){.p = k->batch, .n = (int32_t)k->batch_n};
    /* By name it would reach whichever topic has it now. */
    simwire_frame(k, KEY_PRODUCE, stays(k) ? draw(k, 9, 13) : 13, &rq);
}
static void fetch(struct simcall *k)
{
    static const int32_t bytes[] = {400, 2000, 8192, 30000}; /* from a batch or two to all there is */
    struct floe_kafka_FetchRequest rq;
    struct floe_kafka_FetchRequest_FetchTopic t;
    struct floe_kafka_FetchRequest_FetchPartition p;
    floe_kafka_defaults(&floe_kafka_FetchRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_FetchRequest_FetchTopic_desc, &t);
    floe_kafka_struct_defaults(&floe_kafka_FetchRequest_FetchPartition_desc, &p);
    struct floe_tp tp = simcluster_tp(k->c, k->part);
    rq.MaxWaitMs = (int32_t)floe_rng_below(&k->c->rng, 400);
    rq.MinBytes = 1;
    rq.MaxBytes = 65536;
    rq.Topics = &t;
    rq.Topics_n = 1;
    t.Topic = topic_name(k);
    t.TopicId = tp.topic;
    t.Partitions = &p;
    t.Partitions_n = 1;
    p.Partition = tp.index;
    p.FetchOffset = k->offset;
    p.CurrentLeaderEpoch = k->epoch;
    p.PartitionMaxBytes = k->c->healed ? 8192 : bytes[floe_rng_below(&k->c->rng, FLOE_COUNTOF(bytes))];
    if (k->roams)
        rq.RackId = floe_kstr(simproc_rack(k->proc->machine));
    simwire_frame(k, KEY_FETCH, draw(k, 11, 16), &rq);
}
static void latest(struct simcall *k)
{
    struct floe_kafka_ListOffsetsRequest rq;
    struct floe_kafka_ListOffsetsRequest_ListOffsetsTopic t;
    struct floe_kafka_ListOffsetsRequest_ListOffsetsPartition p;
    floe_kafka_defaults(&floe_kafka_ListOffsetsRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_ListOffsetsRequest_ListOffsetsTopic_desc, &t);
    floe_kafka_struct_defaults(&floe_kafka_ListOffsetsRequest_ListOffsetsPartition_desc, &p);
    rq.Topics = &t;
    rq.Topics_n = 1;
    t.Name = topic_name(k);
    t.Partitions = &p;
    t.Partitions_n = 1;
    p.PartitionIndex = simcluster_tp(k->c, k->part).index;
    p.Timestamp = LATEST;
    simwire_frame(k, KEY_LIST_OFFSETS, draw(k, 5, 9), &rq);
}
static void metadata(struct simcall *k)
{
    struct floe_kafka_MetadataRequest rq;
    struct floe_kafka_MetadataRequest_MetadataRequestTopic t;
    floe_kafka_defaults(&floe_kafka_MetadataRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_MetadataRequest_MetadataRequestTopic_desc, &t);
    rq.AllowAutoTopicCreation = false;
    rq.Topics = &t;
    rq.Topics_n = 1;
    t.Name = topic_name(k);
    simwire_frame(k, KEY_METADATA, stays(k) ? draw(k, 9, 12) : 12, &rq);
}
static void create(struct simcall *k)
{
    struct floe_kafka_CreateTopicsRequest rq;
    struct floe_kafka_CreateTopicsRequest_CreatableTopic t;
    floe_kafka_defaults(&floe_kafka_CreateTopicsRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_CreateTopicsRequest_CreatableTopic_desc, &t);
    rq.timeoutMs = 10000;
    rq.Topics = &t;
    rq.Topics_n = 1;
    t.Name = topic_name(k);
    t.NumPartitions = k->partitions;
    t.ReplicationFactor = 1;
    simwire_frame(k, KEY_CREATE, 7, &rq);
}
static void delete (struct simcall *k)
{
    struct floe_kafka_DeleteTopicsRequest rq;
    struct floe_kafka_DeleteTopicsRequest_DeleteTopicState t;
    floe_kafka_defaults(&floe_kafka_DeleteTopicsRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_DeleteTopicsRequest_DeleteTopicState_desc, &t);
    rq.TimeoutMs = 10000;
    rq.Topics = &t;
    rq.Topics_n = 1;
    t.Name = topic_name(k);
    simwire_frame(k, KEY_DELETE, 6, &rq);
}
static void init_id(struct simcall *k)
{
    struct floe_kafka_InitProducerIdRequest rq;
    floe_kafka_defaults(&floe_kafka_InitProducerIdRequest_desc, &rq);
    rq.TransactionalId = (struct floe_kstr){NULL, -1};
    rq.TransactionTimeoutMs = 60000;
    simwire_frame(k, KEY_INIT_ID, draw(k, 3, 5), &rq);
}
/* Each group of a committer commits for a partition of its own. */
static const char *group_name(const struct simcall *k)
{
    static char name[16];
    snprintf(name, sizeof name, "group-%u", k->group);
    return name;
}
static int32_t group_partition(const struct simcall *k)
{
    return k->classic ? k->index : (int32_t)(k->group % k->c->shape.partitions);
}
static void coordinator(struct simcall *k)
{
    struct floe_kafka_FindCoordinatorRequest rq;
    floe_kafka_defaults(&floe_kafka_FindCoordinatorRequest_desc, &rq);
    rq.Key = floe_kstr(group_name(k));
    simwire_frame(k, KEY_COORDINATOR, draw(k, 0, 3), &rq);
}
static void commit(struct simcall *k)
{
    struct floe_kafka_OffsetCommitRequest rq;
    struct floe_kafka_OffsetCommitRequest_OffsetCommitRequestTopic t;
    struct floe_kafka_OffsetCommitRequest_OffsetCommitRequestPartition p;
    floe_kafka_defaults(&floe_kafka_OffsetCommitRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_OffsetCommitRequest_OffsetCommitRequestTopic_desc, &t);
    floe_kafka_struct_defaults(&floe_kafka_OffsetCommitRequest_OffsetCommitRequestPartition_desc, &p);
    rq.GroupId = floe_kstr(group_name(k));
    rq.Topics = &t;
    rq.Topics_n = 1;
    t.Name = topic_name(k);
    t.Partitions = &p;
    t.Partitions_n = 1;
    p.PartitionIndex = group_partition(k);
    p.CommittedOffset = k->offset;
    simwire_frame(k, KEY_COMMIT, k->classic ? simclassic_commit(k, &rq) : draw(k, 2, 9), &rq);
}
static void beat(struct simcall *k)
{
    const struct simmember *m = k->user;
    struct floe_kafka_ConsumerGroupHeartbeatRequest rq;
    struct floe_kafka_ConsumerGroupHeartbeatRequest_TopicPartitions t = {.TopicId = k->c->topic[0].id};
    struct floe_kstr topic = floe_kstr(k->c->topic[0].name);
    char id[32];
    int32_t parts[SIM_MAIN_MAX];
    snprintf(id, sizeof id, "member-%u", m->id);
    floe_kafka_defaults(&floe_kafka_ConsumerGroupHeartbeatRequest_desc, &rq);
    rq.GroupId = floe_kstr(group_name(k));
    rq.MemberId = floe_kstr(id);
    rq.MemberEpoch = m->epoch;
    for (int32_t i = 0; i < SIM_MAIN_MAX; i++)
        if (m->owned & 1u << i)
            parts[t.Partitions_n++] = i;
    t.Partitions = parts;
    rq.TopicPartitions = &t;
    rq.TopicPartitions_n = t.Partitions_n > 0;
    if (m->full) {
        rq.RebalanceTimeoutMs = 300000;
        rq.SubscribedTopicNames = &topic;
        rq.SubscribedTopicNames_n = 1;
    }
    simwire_frame(k, KEY_BEAT, 1, &rq);
}
static void committed(struct simcall *k)
{
    struct floe_kafka_OffsetFetchRequest rq;
    struct floe_kafka_OffsetFetchRequest_OffsetFetchRequestTopic t;
    int32_t partition = group_partition(k);
    floe_kafka_defaults(&floe_kafka_OffsetFetchRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_OffsetFetchRequest_OffsetFetchRequestTopic_desc, &t);
    rq.GroupId = floe_kstr(group_name(k));
    rq.Topics = &t;
    rq.Topics_n = 1;
    t.Name = topic_name(k);
    t.PartitionIndexes = &partition;
    t.PartitionIndexes_n = 1;
    simwire_frame(k, KEY_COMMITTED, draw(k, 1, 7), &rq);
}
void simwire_encode(struct simcall *k)
{
    switch (k->kind) {
    case CALL_PRODUCE:
        produce(k);
        break;
    case CALL_FETCH:
        fetch(k);
        break;
    case CALL_LATEST:
        latest(k);
        break;
    case CALL_META:
        metadata(k);
        break;
    case CALL_CREATE:
        create(k);
        break;
    case CALL_DELETE:
        delete (k);
        break;
    case CALL_INIT_ID:
        init_id(k);
        break;
    case CALL_COORDINATOR:
        coordinator(k);
        break;
    case CALL_COMMIT:
        commit(k);
        break;
    case CALL_COMMITTED:
        committed(k);
        break;
    case CALL_BEAT:
        beat(k);
        break;
    case CALL_JOIN:
    case CALL_SYNC:
    case CALL_HEARTBEAT:
    case CALL_LEAVE:
        simclassic_encode(k, floe_kstr(group_name(k)));
        break;
    case CALL_CONVERT:
        simconvert_encode(k, floe_kstr(group_name(k)));
        break;
    }
}

/* ---- answers ---- */

static void answer_produce(struct simcall *k, const struct floe_kafka_ProduceResponse *rs)
{
    FLOE_ASSERT(rs->Responses_n == 1 && rs->Responses[0].PartitionResponses_n == 1);
    const struct floe_kafka_ProduceResponse_PartitionProduceResponse *p =
        &rs->Responses[0].PartitionResponses[0];
    k->kafka_error = p->ErrorCode;
    k->result = p->BaseOffset;
}
static void answer_fetch(struct simcall *k, const struct floe_kafka_FetchResponse *rs)
{
    FLOE_ASSERT(rs->ErrorCode || (rs->Responses_n == 1 && rs->Responses[0].Partitions_n == 1));
    k->kafka_error = rs->ErrorCode;
    if (k->kafka_error)
        return;
    const struct floe_kafka_FetchResponse_PartitionData *p = &rs->Responses[0].Partitions[0];
    k->kafka_error = p->ErrorCode;
    k->result = p->HighWatermark;
    if (k->kafka_error || p->Records.n <= 0)
        return;
    k->data_n = (size_t)p->Records.n;
    k->data = malloc(k->data_n);
    FLOE_ASSERT(k->data);
    memcpy(k->data, p->Records.p, k->data_n);
}
static void answer_latest(struct simcall *k, const struct floe_kafka_ListOffsetsResponse *rs)
{
    FLOE_ASSERT(rs->Topics_n == 1 && rs->Topics[0].Partitions_n == 1);
    k->kafka_error = rs->Topics[0].Partitions[0].ErrorCode;
    k->result = rs->Topics[0].Partitions[0].Offset;
    k->epoch = rs->Topics[0].Partitions[0].LeaderEpoch;
}
/* The machine that an address names: the client connects to whatever runs there. */
static int32_t machine_at(struct floe_kstr host)
{
    return host.n == 2 && host.p[0] == 'n' ? host.p[1] - '1' : -1;
}
static void answer_metadata(struct simcall *k, const struct floe_kafka_MetadataResponse *rs)
{
    FLOE_ASSERT(rs->Topics_n == 1);
    const struct floe_kafka_MetadataResponse_MetadataResponseTopic *t = &rs->Topics[0];
    struct floe_tp tp = simcluster_tp(k->c, k->part);
    k->kafka_error = t->ErrorCode;
    k->machine = -1;
    if (!k->kafka_error && k->version >= 10 && !floe_uuid_eq(&t->TopicId, &tp.topic))
        k->kafka_error = FLOE_KERR_UNKNOWN_TOPIC_ID; /* another topic has the name now */
    for (int32_t i = 0; i < t->Partitions_n && !k->kafka_error; i++) {
        if (t->Partitions[i].PartitionIndex != tp.index)
            continue;
        k->kafka_error = t->Partitions[i].ErrorCode;
        k->node = t->Partitions[i].LeaderId;
        k->epoch = t->Partitions[i].LeaderEpoch;
    }
    for (int32_t i = 0; i < rs->Brokers_n; i++)
        if (rs->Brokers[i].NodeId == k->node)
            k->machine = machine_at(rs->Brokers[i].Host);
}
static void answer_create(struct simcall *k, const struct floe_kafka_CreateTopicsResponse *rs)
{
    FLOE_ASSERT(rs->Topics_n == 1);
    k->kafka_error = rs->Topics[0].ErrorCode;
    k->topic = rs->Topics[0].TopicId;
}
static void answer_coordinator(struct simcall *k, const struct floe_kafka_FindCoordinatorResponse *rs)
{
    k->kafka_error = rs->ErrorCode;
    k->machine = rs->ErrorCode ? -1 : machine_at(rs->Host);
}
static void answer_commit(struct simcall *k, const struct floe_kafka_OffsetCommitResponse *rs)
{
    FLOE_ASSERT(rs->Topics_n == 1 && rs->Topics[0].Partitions_n == 1);
    k->kafka_error = rs->Topics[0].Partitions[0].ErrorCode;
}
static void answer_committed(struct simcall *k, const struct floe_kafka_OffsetFetchResponse *rs)
{
    k->kafka_error = rs->ErrorCode;
    if (rs->ErrorCode)
        return;
    FLOE_ASSERT(rs->Topics_n == 1 && rs->Topics[0].Partitions_n == 1);
    k->kafka_error = rs->Topics[0].Partitions[0].ErrorCode;
    k->result = rs->Topics[0].Partitions[0].CommittedOffset;
}
static void answer_beat(struct simcall *k, const struct floe_kafka_ConsumerGroupHeartbeatResponse *rs)
{
    k->kafka_error = rs->ErrorCode;
    k->epoch = rs->MemberEpoch;
    k->assigns = rs->Assignment != NULL;
    for (int32_t i = 0; k->assigns && i < rs->Assignment->TopicPartitions_n; i++) {
        const struct floe_kafka_ConsumerGroupHeartbeatResponse_TopicPartitions *t =
            &rs->Assignment->TopicPartitions[i];
        for (int32_t j = 0; j < t->Partitions_n; j++)
            k->assigned |= 1u << t->Partitions[j];
    }
}
static void answer_delete(struct simcall *k, const struct floe_kafka_DeleteTopicsResponse *rs)
{
    FLOE_ASSERT(rs->Responses_n == 1);
    k->kafka_error = rs->Responses[0].ErrorCode;
    k->topic = rs->Responses[0].TopicId;
}
static void answer_init_id(struct simcall *k, const struct floe_kafka_InitProducerIdResponse *rs)
{
    k->kafka_error = rs->ErrorCode;
    k->result = rs->ProducerId;
}
void simwire_decode(struct simcall *k, const uint8_t *frame, size_t n)
{
    struct floe_arena arena;
    struct floe_slice body;
    struct floe_error err;
    int32_t id;
    void *rs;
    floe_arena_init(&arena, 64 << 20);
    if (floe_kafka_read_response_header(k->api, k->version, floe_slice(frame + 4, n - 4), &id, &body, &err) ||
        floe_kafka_decode(k->api->response, k->version, body, &arena, &rs, &err))
        FLOE_ASSERT(false); /* an answer that its clients cannot read */
    FLOE_ASSERT(id == (int32_t)k->sent);
    switch (k->kind) {
    case CALL_PRODUCE:
        answer_produce(k, rs);
        break;
    case CALL_FETCH:
        answer_fetch(k, rs);
        break;
    case CALL_LATEST:
        answer_latest(k, rs);
        break;
    case CALL_META:
        answer_metadata(k, rs);
        break;
    case CALL_CREATE:
        answer_create(k, rs);
        break;
    case CALL_DELETE:
        answer_delete(k, rs);
        break;
    case CALL_INIT_ID:
        answer_init_id(k, rs);
        break;
    case CALL_COORDINATOR:
        answer_coordinator(k, rs);
        break;
    case CALL_COMMIT:
        answer_commit(k, rs);
        break;
    case CALL_COMMITTED:
        answer_committed(k, rs);
        break;
    case CALL_BEAT:
        answer_beat(k, rs);
        break;
    case CALL_JOIN:
    case CALL_SYNC:
    case CALL_HEARTBEAT:
    case CALL_LEAVE:
        simclassic_decode(k, rs);
        break;
    case CALL_CONVERT:
        simconvert_decode(k, rs);
        break;
    }
    floe_arena_fini(&arena);
    k->err = !k->kafka_error                                      ? FLOE_OK
             : k->kafka_error == FLOE_KERR_OFFSET_OUT_OF_RANGE    ? FLOE_EINVAL
             : k->kafka_error == FLOE_KERR_NOT_LEADER_OR_FOLLOWER ? FLOE_ENOTHOLDER
             : k->kafka_error == FLOE_KERR_TOPIC_ALREADY_EXISTS   ? FLOE_EEXISTS
                                                                  : FLOE_EUNAVAILABLE;
}
