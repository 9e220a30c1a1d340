/* ElectLeaders 0-2, AlterPartitionReassignments 0-1, ListPartitionReassignments 0: what administrators ask of
 * replicas. Floe places partitions itself (docs/rfcs/0002-placement.md) and keeps no replicas on brokers: the
 * leader is always the preferred one, nothing is ever being reassigned, and no placement is taken. Sentences
 * follow Kafka's ReplicationControlManager. */
#include "api_kafka/api_int.h"
#include <stdio.h>

typedef struct floe_kafka_ElectLeadersResponse_ReplicaElectionResult election;
typedef struct floe_kafka_AlterPartitionReassignmentsResponse_ReassignableTopicResponse reassigned;

static struct floe_kstr sentence(struct floe_request *rq, const char *before, struct floe_kstr topic,
                                 int32_t index, const char *after)
{
    char at[16] = "", text[FLOE_TOPIC_NAME_MAX + 96];
    if (index >= 0)
        snprintf(at, sizeof at, "-%d", (int)index);
    snprintf(text, sizeof text, "%s%.*s%s%s", before, (int)FLOE_MIN(topic.n, FLOE_TOPIC_NAME_MAX), topic.p,
             at, after);
    return api_copy(rq, text);
}

/* The topics, each once; null when memory is out. */
static struct api_want *wants_of(struct floe_request *rq, int32_t n)
{
    return floe_arena_calloc(&rq->arena, (size_t)FLOE_MAX(n, 0), sizeof(struct api_want));
}

/* ---- ElectLeaders -------------------------------------------------------------------------------------- */

static void elect_one(struct floe_request *rq, const struct floe_kstr *name, int32_t index,
                      struct floe_kafka_ElectLeadersResponse_PartitionResult *out)
{
    const struct api_want want = {.name = *name};
    const struct floe_topic *t = api_topic(api_of(rq), &want);
    const struct floe_kafka_ElectLeadersRequest *in = rq->body;
    out->PartitionId = index;
    if (in->ElectionType < 0 || in->ElectionType > 1) {
        char text[48];
        snprintf(text, sizeof text, "Unknown election type %d", in->ElectionType);
        out->ErrorCode = FLOE_KERR_INVALID_REQUEST;
        out->ErrorMessage = api_copy(rq, text);
    } else if (!t) {
        out->ErrorCode = rq->lookup_error ? FLOE_KERR_REQUEST_TIMED_OUT : api_unknown(rq, &want);
        out->ErrorMessage = sentence(rq, "No such topic as ", *name, -1, "");
    } else if (index < 0 || index >= t->partitions) {
        out->ErrorCode = FLOE_KERR_UNKNOWN_TOPIC_OR_PARTITION;
        out->ErrorMessage = sentence(rq, "No such partition as ", *name, FLOE_MAX(index, 0), "");
    } else {
        out->ErrorCode = FLOE_KERR_ELECTION_NOT_NEEDED;
        out->ErrorMessage = floe_kstr(floe_kafka_error_message(FLOE_KERR_ELECTION_NOT_NEEDED));
    }
}

static void elect(struct floe_request *rq)
{
    const struct floe_kafka_ElectLeadersRequest *in = rq->body;
    struct floe_kafka_ElectLeadersResponse *rs = rq->state;
    for (int32_t i = 0; i < rs->ReplicaElectionResults_n; i++) {
        election *r = &rs->ReplicaElectionResults[i];
        int32_t n = FLOE_MAX(in->TopicPartitions[i].Partitions_n, 0);
        r->Topic = in->TopicPartitions[i].Topic;
        r->PartitionResult =
            floe_kafka_array(&floe_kafka_ElectLeadersResponse_PartitionResult_desc, n, &rq->arena);
        if (!r->PartitionResult) {
            api_give_up(rq);
            return;
        }
        r->PartitionResult_n = n;
        for (int32_t k = 0; k < n; k++)
            elect_one(rq, &r->Topic, in->TopicPartitions[i].Partitions[k], &r->PartitionResult[k]);
    }
    rq->response = rs;
    floe_request_complete(rq);
}

/* All partitions: those that need no election are left out of the answer, as in Kafka, and none does. */
void api_elect_leaders(struct floe_request *rq)
{
    const struct floe_kafka_ElectLeadersRequest *in = rq->body;
    struct floe_kafka_ElectLeadersResponse *rs = floe_arena_alloc(&rq->arena, sizeof *rs);
    int32_t n = FLOE_MAX(in->TopicPartitions_n, 0);
    struct api_want *wants = wants_of(rq, n);
    if (rs) {
        floe_kafka_defaults(&floe_kafka_ElectLeadersResponse_desc, rs);
        rs->ReplicaElectionResults =
            floe_kafka_array(&floe_kafka_ElectLeadersResponse_ReplicaElectionResult_desc, n, &rq->arena);
        rs->ReplicaElectionResults_n = n;
    }
    if (!rs || !wants || !rs->ReplicaElectionResults) {
        api_give_up(rq);
        return;
    }
    for (int32_t i = 0; i < n; i++)
        wants[i].name = in->TopicPartitions[i].Topic;
    if (in->ElectionType < 0 || in->ElectionType > 1)
        rs->ErrorCode = FLOE_KERR_INVALID_REQUEST;
    rq->state = rs;
    api_topics_ready(rq, wants, (uint32_t)n, elect);
}

/* ---- reassignments ------------------------------------------------------------------------------------- */

static void
reassign_one(struct floe_request *rq, const struct floe_kstr *name,
             const struct floe_kafka_AlterPartitionReassignmentsRequest_ReassignablePartition *in,
             struct floe_kafka_AlterPartitionReassignmentsResponse_ReassignablePartitionResponse *out)
{
    const struct api_want want = {.name = *name};
    const struct floe_topic *t = api_topic(api_of(rq), &want);
    int32_t index = in->PartitionIndex, leader, epoch;
    out->PartitionIndex = index;
    out->ErrorMessage = (struct floe_kstr){NULL, -1};
    if (!t) {
        out->ErrorCode = rq->lookup_error ? FLOE_KERR_REQUEST_TIMED_OUT : api_unknown(rq, &want);
        out->ErrorMessage = sentence(rq, "Unable to find a topic named ", *name, -1, ".");
        return;
    }
    if (index < 0 || index >= t->partitions) {
        out->ErrorCode = FLOE_KERR_UNKNOWN_TOPIC_OR_PARTITION;
        out->ErrorMessage = sentence(rq, "Unable to find partition ", *name, FLOE_MAX(index, 0), ".");
        return;
    }
    if (in->Replicas_n < 0) {
        out->ErrorCode = FLOE_KERR_NO_REASSIGNMENT_IN_PROGRESS;
        return;
    }
    struct floe_tp tp = {t->id, index};
    if (in->Replicas_n == 1 && api_leader(api_of(rq), &tp, &leader, &epoch) && leader == in->Replicas[0])
        return; /* where it is */
    out->ErrorCode = FLOE_KERR_INVALID_REPLICA_ASSIGNMENT;
    out->ErrorMessage =
        floe_kstr("Floe places partitions itself: their records lie in the store, not on brokers.");
}

static void reassign(struct floe_request *rq)
{
    const struct floe_kafka_AlterPartitionReassignmentsRequest *in = rq->body;
    struct floe_kafka_AlterPartitionReassignmentsResponse *rs = rq->state;
    for (int32_t i = 0; i < rs->Responses_n; i++) {
        reassigned *r = &rs->Responses[i];
        int32_t n = FLOE_MAX(in->Topics[i].Partitions_n, 0);
        r->Name = in->Topics[i].Name;
        r->Partitions = floe_kafka_array(
            &floe_kafka_AlterPartitionReassignmentsResponse_ReassignablePartitionResponse_desc, n,
            &rq->arena);
        if (!r->Partitions) {
            api_give_up(rq);
            return;
        }
        r->Partitions_n = n;
        for (int32_t k = 0; k < n; k++)
            reassign_one(rq, &r->Name, &in->Topics[i].Partitions[k], &r->Partitions[k]);
    }
    rq->response = rs;
    floe_request_complete(rq);
}

void api_alter_reassignments(struct floe_request *rq)
{
    const struct floe_kafka_AlterPartitionReassignmentsRequest *in = rq->body;
    struct floe_kafka_AlterPartitionReassignmentsResponse *rs = floe_arena_alloc(&rq->arena, sizeof *rs);
    int32_t n = FLOE_MAX(in->Topics_n, 0);
    struct api_want *wants = wants_of(rq, n);
    if (rs) {
        floe_kafka_defaults(&floe_kafka_AlterPartitionReassignmentsResponse_desc, rs);
        rs->ErrorMessage = (struct floe_kstr){NULL, -1};
        rs->AllowReplicationFactorChange = in->AllowReplicationFactorChange;
        rs->Responses = floe_kafka_array(
            &floe_kafka_AlterPartitionReassignmentsResponse_ReassignableTopicResponse_desc, n, &rq->arena);
        rs->Responses_n = n;
    }
    if (!rs || !wants || !rs->Responses) {
        api_give_up(rq);
        return;
    }
    for (int32_t i = 0; i < n; i++)
        wants[i].name = in->Topics[i].Name;
    rq->state = rs;
    api_topics_ready(rq, wants, (uint32_t)n, reassign);
}

void api_list_reassignments(struct floe_request *rq)
{
    struct floe_kafka_ListPartitionReassignmentsResponse *rs = floe_arena_alloc(&rq->arena, sizeof *rs);
    if (!rs) {
        api_give_up(rq);
        return;
    }
    floe_kafka_defaults(&floe_kafka_ListPartitionReassignmentsResponse_desc, rs);
    rs->ErrorMessage = (struct floe_kstr){NULL, -1};
    rq->response = rs;
    floe_request_complete(rq);
}
