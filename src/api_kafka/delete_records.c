/* DeleteRecords 0-2: the log start goes up to an offset. It is answered, and told to anybody, once a
 * checkpoint that says so is named by the lease: a log start that was seen never goes back. */
#include "api_kafka/api_int.h"
#include <stdlib.h>

/* A request's timeout is how long Kafka waits for followers, when the leader is done: a leader without any is
 * done at once, and clients ask with a timeout of 0. Here the leader's own part takes a write to the store.
 */
#define PATIENCE_US 5000000

typedef struct floe_kafka_DeleteRecordsResponse_DeleteRecordsPartitionResult result;

struct item {
    const struct floe_kafka_DeleteRecordsRequest_DeleteRecordsPartition *in;
    result *out;
    struct floe_tp tp;
    int32_t topic_at, epoch;
    int64_t offset;
    uint64_t key; /* a checkpoint here or later says it */
    bool begun, finished;
    int64_t after; /* begun when so much is committed */
};
struct deletion {
    struct floe_api *api;
    struct floe_request *rq;
    struct floe_kafka_DeleteRecordsResponse *rs;
    struct api_want *wants;
    struct item *items;
    uint32_t n, open;
    uint64_t until_us, settle_until_us;
    struct floe_timer retry;
};

static void finish(struct deletion *d, struct item *it, int16_t error, int64_t low)
{
    it->out->ErrorCode = error;
    it->out->LowWatermark = error ? -1 : low;
    it->finished = true;
    d->open--;
}

/* As in Kafka: where everything is compacted and nothing deleted, nobody deletes by hand. */
static bool compacted_only(const struct floe_topic *t)
{
    const char *policy = floe_topic_config_get(t, "cleanup.policy");
    return policy && strstr(policy, "compact") && !strstr(policy, "delete"); /* with blanks, perhaps */
}

static void begin(struct deletion *d, struct item *it, const struct floe_topic *t,
                  const struct floe_partition *p)
{
    if (it->after == 0)
        it->after = floe_partition_early_end(p);
    if (!api_settled(d->rq, p, it->after, d->settle_until_us))
        return;
    int64_t high = floe_partition_high_watermark(p);
    it->offset = it->in->Offset == -1 ? high : it->in->Offset;
    if (compacted_only(t))
        finish(d, it, FLOE_KERR_POLICY_VIOLATION, -1);
    else if (it->offset < 0 || it->offset > high)
        finish(d, it, FLOE_KERR_OFFSET_OUT_OF_RANGE, -1);
    else if (it->offset <= floe_partition_log_start(p))
        finish(d, it, 0, floe_partition_log_start(p));
    else {
        it->begun = true;
        it->epoch = floe_partition_epoch(p);
        it->key = floe_log_want_start(d->api->cfg.log, &it->tp, it->offset);
    }
}

/* Is it told of by the lease by now? */
static void look(struct deletion *d, struct item *it, const struct floe_partition *p)
{
    struct floe_lease *lease = d->api->cfg.lease;
    const struct floe_session_name *own = floe_lease_session(lease);
    struct floe_lease_entry e;
    if (floe_partition_epoch(p) != it->epoch) {
        finish(d, it, FLOE_KERR_NOT_LEADER_OR_FOLLOWER, -1);
        return;
    }
    if (!own || !floe_lease_lookup(lease, &it->tp, &e) || !e.checkpoint.present ||
        !floe_session_name_eq(own, &e.checkpoint.session) || e.checkpoint.seq < it->key)
        return;
    floe_log_start_named(d->api->cfg.log, &it->tp, it->offset);
    finish(d, it, 0, floe_partition_log_start(p));
}

static void pump(struct deletion *d)
{
    bool late = floe_loop_now_us(d->api->cfg.loop) >= d->until_us || d->rq->client->gone;
    for (uint32_t i = 0; i < d->n; i++) {
        struct item *it = &d->items[i];
        const struct floe_topic *t = api_topic(d->api, &d->wants[it->topic_at]);
        struct floe_partition *p;
        if (it->finished)
            continue;
        if (t && !it->begun)
            it->tp.topic = t->id;
        switch (api_place(d->api, t, &it->tp, &p)) {
        case API_UNKNOWN:
            finish(d, it,
                   t ? FLOE_KERR_UNKNOWN_TOPIC_OR_PARTITION : api_unknown(d->rq, &d->wants[it->topic_at]),
                   -1);
            break;
        case API_ELSEWHERE:
            finish(d, it, FLOE_KERR_NOT_LEADER_OR_FOLLOWER, -1);
            break;
        case API_SERVING:
            if (floe_topic_internal(t->name, strlen(t->name)))
                finish(d, it, FLOE_KERR_INVALID_TOPIC_EXCEPTION, -1);
            else if (!it->begun)
                begin(d, it, t, p);
            else
                look(d, it, p);
            break;
        case API_WAIT:
        case API_HANDING:
            break;
        }
        if (!it->finished && late) /* it may be done all the same */
            finish(d, it, FLOE_KERR_REQUEST_TIMED_OUT, -1);
    }
    if (d->open > 0) {
        floe_timer_start(d->api->cfg.loop, &d->retry, POLL_US);
        return;
    }
    d->rq->response = d->rs;
    floe_request_complete(d->rq);
}

static void retried(struct floe_timer *t)
{
    pump(t->user);
}

static void ready(struct floe_request *rq)
{
    const struct floe_kafka_DeleteRecordsRequest *in = rq->body;
    struct deletion *d = rq->state;
    uint64_t wait_us = (uint64_t)FLOE_MAX(in->TimeoutMs, 0) * 1000;
    d->until_us = floe_loop_now_us(d->api->cfg.loop) + FLOE_MAX(wait_us, PATIENCE_US);
    d->settle_until_us = floe_loop_now_us(d->api->cfg.loop) + API_SETTLE_US;
    pump(d);
}

static int by_place(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    if (x->topic_at != y->topic_at)
        return x->topic_at < y->topic_at ? -1 : 1;
    if (x->tp.index != y->tp.index)
        return x->tp.index < y->tp.index ? -1 : 1;
    return (x->in > y->in) - (x->in < y->in); /* one array a topic: the last one named comes last */
}

/* As in Kafka each partition counts once, as it is named last, and a topic without any is left out. */
static bool fill(struct deletion *d, const struct floe_kafka_DeleteRecordsRequest *in)
{
    struct floe_arena *arena = &d->rq->arena;
    int32_t topics = FLOE_MAX(in->Topics_n, 0);
    uint32_t named = 0;
    for (int32_t t = 0; t < topics; t++)
        named += (uint32_t)FLOE_MAX(in->Topics[t].Partitions_n, 0);
    d->items = floe_arena_calloc(arena, named, sizeof *d->items);
    d->wants = floe_arena_calloc(arena, (size_t)topics, sizeof *d->wants);
    d->rs->Topics =
        floe_kafka_array(&floe_kafka_DeleteRecordsResponse_DeleteRecordsTopicResult_desc, topics, arena);
    if (!d->items || !d->wants || !d->rs->Topics)
        return false;
    for (int32_t t = 0; t < topics; t++) {
        int32_t n = FLOE_MAX(in->Topics[t].Partitions_n, 0);
        struct floe_kafka_DeleteRecordsResponse_DeleteRecordsTopicResult *out =
            &d->rs->Topics[d->rs->Topics_n];
        struct item *from = &d->items[d->n];
        d->wants[t].name = out->Name = in->Topics[t].Name;
        out->Partitions =
            floe_kafka_array(&floe_kafka_DeleteRecordsResponse_DeleteRecordsPartitionResult_desc, n, arena);
        if (!out->Partitions)
            return false;
        for (int32_t i = 0; i < n; i++) {
            from[i] = (struct item){.in = &in->Topics[t].Partitions[i], .topic_at = t};
            from[i].tp.index = from[i].in->PartitionIndex;
        }
        if (n > 1)
            qsort(from, (size_t)n, sizeof *from, by_place);
        for (int32_t i = 0; i < n; i++) {
            if (i + 1 < n && from[i + 1].tp.index == from[i].tp.index)
                continue;
            from[out->Partitions_n] = from[i];
            from[out->Partitions_n].out = &out->Partitions[out->Partitions_n];
            out->Partitions[out->Partitions_n++].PartitionIndex = from[i].tp.index;
        }
        d->n += (uint32_t)out->Partitions_n;
        d->rs->Topics_n += n > 0;
    }
    d->open = d->n;
    return true;
}

void api_delete_records(struct floe_request *rq)
{
    const struct floe_kafka_DeleteRecordsRequest *in = rq->body;
    struct deletion *d = floe_arena_alloc(&rq->arena, sizeof *d);
    struct floe_kafka_DeleteRecordsResponse *rs = floe_arena_alloc(&rq->arena, sizeof *rs);
    if (!d || !rs) {
        api_give_up(rq);
        return;
    }
    floe_kafka_defaults(&floe_kafka_DeleteRecordsResponse_desc, rs);
    *d = (struct deletion){.api = api_of(rq), .rq = rq, .rs = rs};
    floe_timer_init(&d->retry, retried, d);
    rq->state = d;
    if (fill(d, in))
        api_topics_ready(rq, d->wants, (uint32_t)FLOE_MAX(in->Topics_n, 0), ready);
    else
        api_give_up(rq);
}
