/* OffsetForLeaderEpoch 2–4 (KIP-101, KIP-320): where a leader epoch ended; the newest one, where it goes on.
 */
#include "api_kafka/api_int.h"

static void serve(struct floe_request *rq,
                  const struct floe_kafka_OffsetForLeaderEpochRequest_OffsetForLeaderTopic *tin,
                  const struct floe_kafka_OffsetForLeaderEpochRequest_OffsetForLeaderPartition *in,
                  struct floe_kafka_OffsetForLeaderEpochResponse_EpochEndOffset *out)
{
    struct floe_api *api = api_of(rq);
    struct api_want want = {.name = tin->Topic};
    const struct floe_topic *t = api_topic(api, &want);
    struct floe_tp tp = {t ? t->id : (struct floe_uuid){{0}}, in->Partition};
    struct floe_partition *p;
    out->Partition = in->Partition;
    enum api_place place = api_place(api, t, &tp, &p);
    switch (place) {
    case API_UNKNOWN:
        out->ErrorCode = t ? FLOE_KERR_UNKNOWN_TOPIC_OR_PARTITION : api_unknown(rq, &want);
        return;
    case API_ELSEWHERE:
        out->ErrorCode = FLOE_KERR_NOT_LEADER_OR_FOLLOWER;
        return;
    case API_WAIT:
        out->ErrorCode = FLOE_KERR_LEADER_NOT_AVAILABLE;
        return;
    case API_SERVING:
    case API_HANDING:
        break;
    }
    if (in->LeaderEpoch >= floe_partition_epoch(p) &&
        (place == API_HANDING || !floe_lease_alive(api->cfg.lease))) {
        out->ErrorCode = FLOE_KERR_NOT_LEADER_OR_FOLLOWER; /* another may have gone on */
        return;
    }
    out->ErrorCode = api_epoch_strict(floe_partition_epoch(p), in->CurrentLeaderEpoch);
    if (out->ErrorCode)
        return;
    int64_t end = -1;
    if (in->LeaderEpoch <= floe_partition_epoch(p))
        out->LeaderEpoch = floe_partition_epoch_end(p, in->LeaderEpoch, &end);
    out->EndOffset = out->LeaderEpoch >= 0 ? end : -1;
}

static void ready(struct floe_request *rq)
{
    const struct floe_kafka_OffsetForLeaderEpochRequest *in = rq->body;
    struct floe_kafka_OffsetForLeaderEpochResponse *rs = rq->state;
    for (int32_t t = 0; t < rs->Topics_n; t++) {
        for (int32_t i = 0; i < rs->Topics[t].Partitions_n; i++)
            serve(rq, &in->Topics[t], &in->Topics[t].Partitions[i], &rs->Topics[t].Partitions[i]);
    }
    rq->response = rs;
    floe_request_complete(rq);
}

void api_offset_for_leader_epoch(struct floe_request *rq)
{
    const struct floe_kafka_OffsetForLeaderEpochRequest *in = rq->body;
    struct floe_arena *arena = &rq->arena;
    struct floe_kafka_OffsetForLeaderEpochResponse *rs = floe_arena_alloc(arena, sizeof *rs);
    int32_t topics = FLOE_MAX(in->Topics_n, 0);
    struct api_want *wants = floe_arena_calloc(arena, (size_t)topics, sizeof *wants);
    bool ok = rs && wants;
    if (ok) {
        floe_kafka_defaults(&floe_kafka_OffsetForLeaderEpochResponse_desc, rs);
        rs->Topics = floe_kafka_array(
            &floe_kafka_OffsetForLeaderEpochResponse_OffsetForLeaderTopicResult_desc, topics, arena);
        ok = rs->Topics != NULL;
    }
    for (int32_t t = 0; ok && t < topics; t++) {
        int32_t n = FLOE_MAX(in->Topics[t].Partitions_n, 0);
        wants[t].name = rs->Topics[t].Topic = in->Topics[t].Topic;
        rs->Topics[t].Partitions =
            floe_kafka_array(&floe_kafka_OffsetForLeaderEpochResponse_EpochEndOffset_desc, n, arena);
        rs->Topics[t].Partitions_n = n;
        rs->Topics_n = t + 1;
        ok = rs->Topics[t].Partitions != NULL;
    }
    rq->state = rs;
    if (ok)
        api_topics_ready(rq, wants, (uint32_t)topics, ready);
    else
        api_give_up(rq);
}
