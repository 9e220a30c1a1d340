/* ListOffsets 1–11: earliest (-2, -4), latest (-1), largest timestamp (-3), latest tiered (-5: none), by
 * timestamp. */
#include "api_kafka/api_int.h"

#include <floe/base/mutant.h>

#define LATEST (-1)
#define EARLIEST (-2)
#define MAX_TIMESTAMP (-3)
#define EARLIEST_LOCAL (-4)
#define LATEST_TIERED (-5)
#define EARLIEST_PENDING_UPLOAD (-6)

struct item {
    struct lookup *l;
    struct floe_kafka_ListOffsetsResponse_ListOffsetsPartitionResponse *out;
    const struct floe_kafka_ListOffsetsRequest_ListOffsetsPartition *in;
    struct floe_tp tp;
    int32_t topic_at;
    struct floe_log_seek seek;
    int64_t after; /* answered when so much is committed; -1: not looked at yet */
    bool finished;
};
struct lookup {
    struct floe_api *api;
    struct floe_request *rq;
    struct floe_kafka_ListOffsetsResponse *rs;
    struct api_want *wants;
    struct item *items;
    uint32_t n, open;
    uint64_t hold_until_us, settle_until_us;
    uint64_t held_since_us; /* it waits for a partition; 0: it does not */
    struct floe_timer retry;
};

static void finish(struct item *it, int16_t error)
{
    it->out->ErrorCode = error;
    it->finished = true;
    it->l->open--;
}

static void set_epoch(struct item *it, int32_t epoch)
{
    if (it->l->rq->head.api_version >= 4)
        it->out->LeaderEpoch = epoch;
}

static void answer_when_done(struct lookup *l)
{
    if (l->open > 0)
        return;
    floe_timer_stop(&l->retry);
    l->rq->response = l->rs;
    floe_request_complete(l->rq);
}

/* Where this broker may not be the leader any more: there may be later records than it knows of. */
static int16_t unsure(const struct item *it)
{
    if (floe_lease_alive(it->l->api->cfg.lease) || FLOE_MUTANT(LATEST_LAPSED))
        return 0;
    return it->l->rq->head.api_version >= 5 ? FLOE_KERR_OFFSET_NOT_AVAILABLE : FLOE_KERR_LEADER_NOT_AVAILABLE;
}

static void found(struct floe_log_seek *s)
{
    struct item *it = s->user;
    bool last = s->offset < 0 || s->timestamp == FLOE_LOG_MAX_TIMESTAMP;
    if (!s->err.code && last && unsure(it)) {
        finish(it, unsure(it));
        answer_when_done(it->l);
        return;
    }
    if (!s->err.code) {
        it->out->Offset = s->offset;
        it->out->Timestamp = s->found_timestamp;
        set_epoch(it, s->offset < 0 ? -1 : s->leader_epoch);
    }
    finish(it, api_error(s->err.code));
    answer_when_done(it->l);
}

/* From which version on each of the special timestamps may be asked for. */
static bool timestamp_served(int64_t ts, int16_t version)
{
    static const int16_t since[] = {1, 1, 7, 8, 9, 11};
    return ts >= 0 || (ts >= EARLIEST_PENDING_UPLOAD && version >= since[-ts - 1]);
}

static void serve(struct item *it, const struct floe_partition *p)
{
    struct floe_api *api = it->l->api;
    int32_t epoch = floe_partition_epoch(p);
    int16_t error = api_epoch_strict(floe_partition_epoch(p), it->in->CurrentLeaderEpoch);
    int64_t ts = it->in->Timestamp;
    if (!timestamp_served(ts, it->l->rq->head.api_version)) {
        finish(it, FLOE_KERR_UNSUPPORTED_VERSION);
        return;
    }
    if (error) {
        finish(it, error);
        return;
    }
    if (ts == LATEST) {
        if (unsure(it)) {
            finish(it, unsure(it));
            return;
        }
        it->out->Offset = floe_partition_high_watermark(p);
        set_epoch(it, epoch);
        finish(it, 0);
    } else if (ts == EARLIEST || ts == EARLIEST_LOCAL) {
        it->out->Offset = floe_partition_log_start(p);
        int64_t end;
        int32_t first = floe_partition_epoch_end(p, 0, &end);
        set_epoch(it, first >= 0 ? first : epoch);
        finish(it, 0);
    } else if (ts == LATEST_TIERED || ts == EARLIEST_PENDING_UPLOAD) {
        finish(it, 0); /* -1: there is no second tier to speak of */
    } else {
        it->seek = (struct floe_log_seek){.tp = it->tp,
                                          .timestamp = ts == MAX_TIMESTAMP ? FLOE_LOG_MAX_TIMESTAMP : ts,
                                          .done = found,
                                          .user = it};
        floe_log_seek(api->cfg.log, &it->seek);
    }
}

static bool settled(struct item *it, const struct floe_partition *p)
{
    int64_t ts = it->in->Timestamp;
    if (it->after < 0)
        it->after = ts == LATEST || ts == MAX_TIMESTAMP || ts >= 0 ? floe_partition_early_end(p) : 0;
    return api_settled(it->l->rq, p, it->after, it->l->settle_until_us);
}

static void pump(struct lookup *l)
{
    bool waiting = false, settling = false, late = floe_loop_now_us(l->api->cfg.loop) >= l->hold_until_us;
    for (uint32_t i = 0; i < l->n; i++) {
        struct item *it = &l->items[i];
        struct floe_partition *p;
        if (it->finished || it->seek.done)
            continue;
        const struct floe_topic *t = api_topic(l->api, &l->wants[it->topic_at]);
        if (t)
            it->tp.topic = t->id;
        switch (api_place(l->api, t, &it->tp, &p)) {
        case API_UNKNOWN:
            finish(it,
                   t ? FLOE_KERR_UNKNOWN_TOPIC_OR_PARTITION : api_unknown(l->rq, &l->wants[it->topic_at]));
            break;
        case API_ELSEWHERE:
            finish(it, FLOE_KERR_NOT_LEADER_OR_FOLLOWER);
            break;
        case API_WAIT:
        case API_HANDING: /* what is latest the next holder may know */
            if (late || l->rq->client->gone)
                finish(it, FLOE_KERR_LEADER_NOT_AVAILABLE);
            else
                waiting = true;
            break;
        case API_SERVING:
            if (settled(it, p))
                serve(it, p);
            else
                settling = true;
            break;
        }
    }
    api_held(l->rq, &l->held_since_us, waiting);
    if (waiting || settling)
        floe_timer_start(l->api->cfg.loop, &l->retry, POLL_US);
    answer_when_done(l);
}

static void retried(struct floe_timer *t)
{
    pump(t->user);
}

static void ready(struct floe_request *rq)
{
    struct lookup *l = rq->state;
    l->hold_until_us = api_hold_until(rq);
    l->settle_until_us = floe_loop_now_us(l->api->cfg.loop) + API_SETTLE_US;
    pump(l);
}

static bool fill(struct lookup *l, const struct floe_kafka_ListOffsetsRequest *in)
{
    struct floe_arena *arena = &l->rq->arena;
    int32_t topics = FLOE_MAX(in->Topics_n, 0);
    for (int32_t t = 0; t < topics; t++)
        l->n += (uint32_t)FLOE_MAX(in->Topics[t].Partitions_n, 0);
    l->open = l->n;
    l->items = floe_arena_calloc(arena, l->n, sizeof *l->items);
    l->wants = floe_arena_calloc(arena, (size_t)topics, sizeof *l->wants);
    l->rs->Topics =
        floe_kafka_array(&floe_kafka_ListOffsetsResponse_ListOffsetsTopicResponse_desc, topics, arena);
    struct item *it = l->items;
    if (!it || !l->wants || !l->rs->Topics)
        return false;
    for (int32_t t = 0; t < topics; t++) {
        int32_t n = FLOE_MAX(in->Topics[t].Partitions_n, 0);
        l->wants[t].name = in->Topics[t].Name;
        if (n == 0)
            continue; /* not told of, as in Kafka */
        struct floe_kafka_ListOffsetsResponse_ListOffsetsTopicResponse *tr =
            &l->rs->Topics[l->rs->Topics_n++];
        tr->Name = in->Topics[t].Name;
        tr->Partitions =
            floe_kafka_array(&floe_kafka_ListOffsetsResponse_ListOffsetsPartitionResponse_desc, n, arena);
        if (!tr->Partitions)
            return false;
        tr->Partitions_n = n;
        for (int32_t i = 0; i < n; i++, it++) {
            *it = (struct item){.l = l,
                                .out = &tr->Partitions[i],
                                .in = &in->Topics[t].Partitions[i],
                                .after = -1,
                                .topic_at = t};
            it->tp.index = it->out->PartitionIndex = it->in->PartitionIndex;
        }
    }
    return true;
}

void api_list_offsets(struct floe_request *rq)
{
    const struct floe_kafka_ListOffsetsRequest *in = rq->body;
    struct lookup *l = floe_arena_alloc(&rq->arena, sizeof *l);
    struct floe_kafka_ListOffsetsResponse *rs = floe_arena_alloc(&rq->arena, sizeof *rs);
    if (!l || !rs) {
        api_give_up(rq);
        return;
    }
    floe_kafka_defaults(&floe_kafka_ListOffsetsResponse_desc, rs);
    *l = (struct lookup){.api = api_of(rq), .rq = rq, .rs = rs};
    floe_timer_init(&l->retry, retried, l);
    rq->state = l;
    if (fill(l, in))
        api_topics_ready(rq, l->wants, (uint32_t)FLOE_MAX(in->Topics_n, 0), ready);
    else
        api_give_up(rq);
}
