/* Produce 3–13. Versions 0 to 2 are advertised (librdkafka asks for them before it compresses) and refused.
 *
 * A request's partitions are appended in its order; one that is being rebuilt, or pushed back by a full
 * buffer, waits, and while any waits the client's next request does not start: so a producer's batches reach
 * each partition in the order they were sent. For a partition it waits a short while only, since all of the
 * connection waits with it (HOLD_US); then the client is to look again who leads, and to send again. What it
 * sent behind the refused batch is refused too (floe_log_refused). One whose records the topic wants to be
 * looked at, and which must be decompressed for that, waits for its turn: of all requests one in a turn of
 * the loop.
 *
 * Where memory or the tier run short, answers carry a throttle time, and their connections are not read for
 * so long (KIP-219); what is pushed back waits for room until the request's own timeout. */
#include "api_kafka/api_int.h"
#include <floe/base/assert.h>
#include <stdio.h>
#include <stdlib.h>

#define PARTITIONS_MAX 65536    /* of one request */
#define ACKS_1_TIMEOUT_MS 5000  /* Kafka's acks=1 knows no timeout: at least so long */
#define ROOM_POLL_US 100000     /* how often one that waits for room looks whether it is still wanted */
#define GONE_HOLD_US 1000000    /* how long a batch waits for its partition when its client is gone, */
#define ACKS_0_HOLD_US 10000000 /* and when nobody would send it again */

struct prepared {
    struct floe_batch batch;
    int16_t error;
    bool early; /* Kafka refuses it before it looks for the partition's log */
};
/* One partition of a request. */
struct item {
    struct produce *produce;
    struct floe_kafka_ProduceResponse_PartitionProduceResponse *out; /* null once the request is answered */
    struct floe_log_append append;
    struct floe_tp tp;
    int32_t topic_at;
    int16_t refused;   /* by what its bytes are alone; told when its partition is known */
    int64_t log_start; /* -1 until it is known */
    bool appended, finished, checked;
};
/* Lives until the log has answered every append, which may be long after the request timed out. */
struct produce {
    struct floe_list link;
    struct floe_api *api;
    struct floe_request *rq; /* null once answered */
    struct floe_timer timer, retry;
    struct floe_log_waiter room; /* linked while it waits for room */
    struct floe_list check_link; /* floe_api.checks, while a batch of it is to be decompressed */
    uint64_t hold_until_us, room_until_us;
    uint64_t held_since_us;   /* it waits for a partition; 0: it does not */
    uint64_t paced_us;        /* the latest of its appends */
    uint32_t n, open, in_log; /* items; not finished; in the log's hands */
    uint32_t from;            /* those before it are finished or in the log's hands */
    struct api_want *wants;   /* in the request's arena */
    struct item items[];
};

static void pump(struct produce *p, bool waited, bool may_check);

bool api_produce_prepare(struct floe_request *rq)
{
    const struct floe_kafka_ProduceRequest *in = rq->body;
    uint32_t n = 0;
    for (int32_t t = 0; t < in->TopicData_n; t++)
        n += (uint32_t)FLOE_MAX(in->TopicData[t].PartitionData_n, 0);
    struct prepared *out = n <= PARTITIONS_MAX ? floe_arena_calloc(&rq->arena, n, sizeof *out) : NULL;
    if (!out) {
        snprintf(rq->reason, sizeof rq->reason, "too many partitions in one request");
        return false;
    }
    rq->prepared = out;
    struct floe_batch_limits limits = {.max_bytes = INT32_MAX, .zstd = rq->head.api_version >= 7};
    for (int32_t t = 0; t < in->TopicData_n; t++) {
        for (int32_t i = 0; i < in->TopicData[t].PartitionData_n; i++, out++) {
            const struct floe_krecords *rec = &in->TopicData[t].PartitionData[i].Records;
            struct floe_error err = {0};
            out->early =
                floe_batch_validate_produce((uint8_t *)(uintptr_t)rec->p, rec->n > 0 ? (size_t)rec->n : 0,
                                            &limits, &out->batch, &out->error, &err) == FLOE_EUNSUPPORTED;
        }
    }
    return true;
}

static void stop_waiting(struct produce *p)
{
    floe_timer_stop(&p->timer);
    floe_timer_stop(&p->retry);
    floe_log_wait_cancel(&p->room);
    floe_list_remove(&p->check_link);
}

static void produce_free(struct produce *p)
{
    if (p->rq || p->in_log)
        return;
    stop_waiting(p);
    floe_list_remove(&p->link);
    free(p);
}

void api_produce_fini(struct floe_api *api)
{
    floe_timer_stop(&api->check);
    for (struct floe_list *l; (l = floe_list_pop_front(&api->produces));) {
        struct produce *p = FLOE_LIST_ENTRY(l, struct produce, link);
        floe_log_wait_cancel(&p->room);
        free(p);
    }
}

/* KIP-951: who leads, where this broker does not. */
static void hint_leaders(struct produce *p, struct floe_kafka_ProduceResponse *rs)
{
    struct floe_request *rq = p->rq;
    bool any = false;
    for (uint32_t i = 0; i < p->n && rq->head.api_version >= 10; i++) {
        struct floe_kafka_ProduceResponse_PartitionProduceResponse *out = p->items[i].out;
        if (out->ErrorCode == FLOE_KERR_NOT_LEADER_OR_FOLLOWER)
            any |= api_leader(p->api, &p->items[i].tp, &out->CurrentLeader.LeaderId,
                              &out->CurrentLeader.LeaderEpoch);
    }
    uint32_t n;
    struct api_endpoint *e = any ? api_endpoints(rq, &n) : NULL;
    if (!e)
        return;
    rs->NodeEndpoints =
        floe_kafka_array(&floe_kafka_ProduceResponse_NodeEndpoint_desc, (int32_t)n, &rq->arena);
    for (uint32_t i = 0; rs->NodeEndpoints && i < n; i++) {
        rs->NodeEndpoints[i].NodeId = e[i].node;
        rs->NodeEndpoints[i].Host = e[i].host;
        rs->NodeEndpoints[i].Port = e[i].port;
        rs->NodeEndpoints[i].Rack = e[i].rack;
        rs->NodeEndpoints_n = (int32_t)i + 1;
    }
}

static void answer(struct produce *p)
{
    struct floe_request *rq = p->rq;
    const struct floe_kafka_ProduceRequest *in = rq->body;
    struct floe_kafka_ProduceResponse *rs = rq->state;
    uint64_t now = floe_loop_now_us(p->api->cfg.loop);
    stop_waiting(p);
    hint_leaders(p, rs);
    if (p->paced_us > now)
        rq->mute_ms = (uint32_t)((p->paced_us - now + 999) / 1000);
    rs->ThrottleTimeMs = (int32_t)rq->mute_ms;
    int16_t error = 0;
    for (uint32_t i = 0; i < p->n; i++) {
        error = error ? error : p->items[i].out->ErrorCode;
        p->items[i].out = NULL;
    }
    p->rq = NULL;
    if (in->Acks == 0 && error)
        floe_request_close(rq, "acks=0 and %s", floe_kafka_error_name(error));
    else if (in->Acks == 0) {
        rq->no_response = true;
        floe_request_complete(rq);
    } else {
        rq->response = rs;
        floe_request_complete(rq);
    }
    produce_free(p);
}

/* What a producer sent behind a batch that it has to send again must not take that one's place. */
static void note_refused(const struct item *it, int16_t error)
{
    if (error && error != FLOE_KERR_OUT_OF_ORDER_SEQUENCE_NUMBER &&
        error != FLOE_KERR_DUPLICATE_SEQUENCE_NUMBER && error != FLOE_KERR_INVALID_PRODUCER_EPOCH)
        floe_log_refused(it->produce->api->cfg.log, &it->tp, &it->append.batch);
}

/* Kafka tells the log's start of what the partition's log refused, but for these. */
static bool tells_start(int16_t error)
{
    return error != FLOE_KERR_CORRUPT_MESSAGE && error != FLOE_KERR_MESSAGE_TOO_LARGE &&
           error != FLOE_KERR_NOT_LEADER_OR_FOLLOWER && error != FLOE_KERR_REQUEST_TIMED_OUT &&
           error != FLOE_KERR_KAFKA_STORAGE_ERROR;
}

static void finish(struct item *it, int16_t error, const char *message)
{
    struct produce *p = it->produce;
    FLOE_ASSERT(!it->finished);
    it->finished = true;
    p->open--;
    note_refused(it, error);
    if (!it->out)
        return;
    it->out->ErrorCode = error;
    p->rq->errors += error != 0;
    if (error) {
        it->out->BaseOffset = -1;
        it->out->LogAppendTimeMs = -1;
        it->out->LogStartOffset = tells_start(error) ? it->log_start : -1;
        if (message && *message)
            it->out->ErrorMessage = api_copy(p->rq, message);
    }
}

static int16_t append_error(const struct floe_log_append *a, enum floe_err rc)
{
    return a->kafka_error ? a->kafka_error : api_error(rc);
}

static void appended(struct floe_log_append *a)
{
    struct item *it = a->user;
    struct produce *p = it->produce;
    p->in_log--;
    if (it->finished) { /* timed out before */
        note_refused(it, a->err.code ? append_error(a, a->err.code) : 0);
        produce_free(p);
        return;
    }
    if (a->err.code == FLOE_OK) {
        it->out->BaseOffset = a->base_offset;
        it->out->LogAppendTimeMs = a->log_append_ms;
        it->out->LogStartOffset = a->log_start;
        finish(it, 0, NULL);
    } else {
        finish(it, append_error(a, a->err.code), NULL);
    }
    if (p->open == 0 && p->rq)
        answer(p);
}

static void refuse_records(struct item *it, const struct api_records_check *c)
{
    finish(it, c->error, c->message);
    it->out->RecordErrors = c->errors;
    it->out->RecordErrors_n = c->n;
}

enum why { FOR_PARTITION, FOR_ROOM, FOR_CHECK };

/* FLOE_EAGAIN: must wait, *why; else the item is in the log's hands or finished. *may_check: it may be
 * decompressed, and none after it. */
static enum floe_err append_item(struct item *it, bool waited, bool *may_check, enum why *why)
{
    struct produce *p = it->produce;
    const struct floe_kafka_ProduceRequest *in = p->rq->body;
    const struct floe_topic *t = api_topic(p->api, &p->wants[it->topic_at]);
    struct floe_partition *part;
    *why = FOR_PARTITION;
    if (t)
        it->tp.topic = t->id;
    switch (api_place(p->api, t, &it->tp, &part)) {
    case API_UNKNOWN:
        finish(it, t ? FLOE_KERR_UNKNOWN_TOPIC_OR_PARTITION : api_unknown(p->rq, &p->wants[it->topic_at]),
               NULL);
        return FLOE_OK;
    case API_ELSEWHERE:
        finish(it, FLOE_KERR_NOT_LEADER_OR_FOLLOWER, NULL);
        return FLOE_OK;
    case API_WAIT:
    case API_HANDING:
        return FLOE_EAGAIN;
    case API_SERVING:
        break;
    }
    if (floe_topic_internal(t->name, strlen(t->name))) { /* a journal has one writer */
        finish(it, FLOE_KERR_INVALID_TOPIC_EXCEPTION, NULL);
        return FLOE_OK;
    }
    if (!it->checked) {
        struct api_records_check check;
        it->log_start = floe_partition_log_start(part);
        if (it->refused) {
            finish(it, it->refused, NULL);
            return FLOE_OK;
        }
        *why = FOR_CHECK;
        if (api_check_decompresses(p->rq, &it->append.batch, t)) {
            if (!*may_check)
                return FLOE_EAGAIN;
            *may_check = false;
        }
        api_check_records(p->rq, it->append.bytes, &it->append.batch, t, it->tp.index, &check);
        if (check.error) {
            refuse_records(it, &check);
            return FLOE_OK;
        }
        it->checked = true;
    }
    *why = FOR_ROOM;
    it->append.tp = it->tp;
    it->append.topic_name = t->name;
    it->append.log_append_time = t->log_append_time;
    it->append.acks = (int8_t)in->Acks;
    it->append.waited = waited;
    p->in_log++;
    it->appended = true;
    enum floe_err rc = floe_log_append(p->api->cfg.log, &it->append);
    p->paced_us = FLOE_MAX(p->paced_us, it->append.paced_us);
    if (rc == FLOE_OK)
        return FLOE_OK;
    p->in_log--;
    it->appended = false;
    if (rc == FLOE_EAGAIN)
        return rc;
    finish(it, append_error(&it->append, rc), NULL);
    return FLOE_OK;
}

static void retried(struct floe_timer *t)
{
    pump(t->user, false, false);
}

static void has_room(struct floe_log_waiter *w)
{
    pump(w->user, true, false);
}

static void on_check(struct floe_timer *t)
{
    struct floe_api *api = t->user;
    struct floe_list *l = floe_list_pop_front(&api->checks);
    if (l)
        pump(FLOE_LIST_ENTRY(l, struct produce, check_link), false, true);
    if (!floe_list_empty(&api->checks) && !floe_timer_armed(&api->check))
        floe_timer_start(api->cfg.loop, &api->check, 0);
}

static void wait_for_check(struct produce *p)
{
    if (floe_list_empty(&p->check_link))
        floe_list_push_back(&p->api->checks, &p->check_link);
    if (!floe_timer_armed(&p->api->check))
        floe_timer_start(p->api->cfg.loop, &p->api->check, 0);
}

void api_produce_init(struct floe_api *api)
{
    floe_list_init(&api->produces);
    floe_list_init(&api->checks);
    floe_timer_init(&api->check, on_check, api);
}

/* Appends what can be appended now. A partition is named once in a request (refuse_repeated), so only the
 * order of requests matters. */
static void pump(struct produce *p, bool waited, bool may_check)
{
    struct floe_api *api = p->api;
    uint64_t now = floe_loop_now_us(api->cfg.loop);
    bool waiting = false, checking = false;
    size_t want = 0;
    while (p->from < p->n && (p->items[p->from].finished || p->items[p->from].appended))
        p->from++;
    for (uint32_t i = p->from; i < p->n && !checking; i++) {
        struct item *it = &p->items[i];
        enum why why;
        if (it->finished || it->appended || append_item(it, waited, &may_check, &why) != FLOE_EAGAIN)
            continue;
        if (why == FOR_CHECK)
            checking = true; /* those behind it come to their turn when it has */
        else if (now >= (why == FOR_ROOM ? p->room_until_us : p->hold_until_us))
            finish(it, why == FOR_ROOM ? FLOE_KERR_REQUEST_TIMED_OUT : FLOE_KERR_NOT_LEADER_OR_FOLLOWER,
                   NULL);
        else if (why == FOR_ROOM)
            want += it->append.bytes.n;
        else
            waiting = true;
    }
    api_held(p->rq, &p->held_since_us, waiting);
    if (want && floe_list_empty(&p->room.link))
        floe_log_wait_room(api->cfg.log, want, &p->room);
    if (checking)
        wait_for_check(p);
    if (waiting || want)
        floe_timer_start(api->cfg.loop, &p->retry, waiting ? POLL_US : ROOM_POLL_US);
    else if (p->open && !checking)
        floe_request_next(p->rq);
    if (p->open == 0)
        answer(p);
}

static void timed_out(struct floe_timer *t)
{
    struct produce *p = t->user;
    for (uint32_t i = 0; i < p->n; i++) {
        if (!p->items[i].finished)
            finish(&p->items[i], FLOE_KERR_REQUEST_TIMED_OUT, NULL);
    }
    api_held(p->rq, &p->held_since_us, false);
    answer(p);
}

/* The client is gone while its batches wait: they get a little longer. */
static void cancel(struct floe_request *rq)
{
    struct produce *p = rq->prepared;
    uint64_t until = floe_loop_now_us(p->api->cfg.loop) + GONE_HOLD_US;
    p->hold_until_us = FLOE_MIN(p->hold_until_us, until);
    p->room_until_us = FLOE_MIN(p->room_until_us, until);
}

static void ready(struct floe_request *rq)
{
    struct produce *p = rq->prepared;
    const struct floe_kafka_ProduceRequest *in = rq->body;
    int32_t timeout_ms = FLOE_MAX(in->TimeoutMs, in->Acks == 1 ? ACKS_1_TIMEOUT_MS : 0);
    if (in->Acks == 0)
        p->hold_until_us = p->room_until_us = floe_loop_now_us(p->api->cfg.loop) + ACKS_0_HOLD_US;
    else {
        p->hold_until_us = api_hold_until(rq);
        p->room_until_us = UINT64_MAX; /* the timer ends it */
    }
    if (rq->client->gone)
        cancel(rq);
    rq->cancel = cancel;
    if (in->Acks != 0)
        floe_timer_start(p->api->cfg.loop, &p->timer, (uint64_t)timeout_ms * 1000);
    pump(p, false, false);
}

static int by_place(const void *a, const void *b)
{
    const struct item *x = *(const struct item *const *)a, *y = *(const struct item *const *)b;
    if (x->topic_at != y->topic_at)
        return x->topic_at < y->topic_at ? -1 : 1;
    if (x->tp.index != y->tp.index)
        return x->tp.index < y->tp.index ? -1 : 1;
    return (x > y) - (x < y);
}

/* A partition or topic named a second time: which batch would be first? Refused, the first one counts. */
static bool refuse_repeated(struct produce *p, uint32_t topics)
{
    struct floe_arena *arena = &p->rq->arena;
    bool *repeated = floe_arena_calloc(arena, topics, sizeof *repeated);
    struct item **order = floe_arena_calloc(arena, p->n, sizeof(void *));
    if (!repeated || !order || !api_repeated(p->rq, p->wants, topics, false, repeated))
        return false;
    for (uint32_t i = 0; i < p->n; i++)
        order[i] = &p->items[i];
    if (p->n > 1)
        qsort(order, p->n, sizeof *order, by_place);
    for (uint32_t i = 0; i < p->n; i++) {
        bool again = i > 0 && order[i]->topic_at == order[i - 1]->topic_at &&
                     order[i]->tp.index == order[i - 1]->tp.index;
        if ((again || repeated[order[i]->topic_at]) && !order[i]->finished)
            finish(order[i], FLOE_KERR_INVALID_REQUEST, "The partition is named twice in one request.");
    }
    return true;
}

/* Fills items and the skeleton of the response; false when memory is out. */
static bool fill(struct produce *p, const struct floe_kafka_ProduceRequest *in,
                 struct floe_kafka_ProduceResponse *rs, const struct prepared *prep)
{
    struct floe_arena *arena = &p->rq->arena;
    struct item *it = p->items;
    bool bad_acks = in->Acks < -1 || in->Acks > 1;
    rs->Responses =
        floe_kafka_array(&floe_kafka_ProduceResponse_TopicProduceResponse_desc, in->TopicData_n, arena);
    for (int32_t t = 0; rs->Responses && t < in->TopicData_n; t++) {
        const struct floe_kafka_ProduceRequest_TopicProduceData *td = &in->TopicData[t];
        struct floe_kafka_ProduceResponse_TopicProduceResponse *tr = &rs->Responses[rs->Responses_n];
        rs->Responses_n += td->PartitionData_n > 0; /* a topic without partitions is left out */
        tr->Name = td->Name;
        tr->TopicId = td->TopicId;
        p->wants[t] = (struct api_want){td->Name, td->TopicId};
        if (p->rq->head.api_version >= 13)
            p->wants[t].name = (struct floe_kstr){NULL, -1};
        int32_t n = FLOE_MAX(td->PartitionData_n, 0);
        tr->PartitionResponses =
            floe_kafka_array(&floe_kafka_ProduceResponse_PartitionProduceResponse_desc, n, arena);
        if (!tr->PartitionResponses)
            return false;
        tr->PartitionResponses_n = n;
        for (int32_t i = 0; i < n; i++, it++, prep++) {
            const struct floe_kafka_ProduceRequest_PartitionProduceData *pd = &td->PartitionData[i];
            *it = (struct item){
                .produce = p, .out = &tr->PartitionResponses[i], .topic_at = t, .log_start = -1};
            it->tp.index = it->out->Index = pd->Index;
            it->append.batch = prep->batch;
            it->append.bytes = (struct floe_bufslice){p->rq->frame, pd->Records.p, prep->batch.length};
            it->append.done = appended;
            it->append.user = it;
            if (bad_acks)
                finish(it, FLOE_KERR_INVALID_REQUIRED_ACKS, NULL);
            else if (prep->batch.attributes & FLOE_BATCH_TRANSACTIONAL && in->TransactionalId.n < 0)
                finish(it, FLOE_KERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED, NULL);
            else if (prep->batch.attributes & FLOE_BATCH_TRANSACTIONAL)
                finish(it, FLOE_KERR_INVALID_TXN_STATE, "Transactions are not served.");
            else if (prep->early)
                finish(it, prep->error, NULL);
            else
                it->refused = prep->error;
        }
    }
    return rs->Responses != NULL;
}

void api_produce(struct floe_request *rq)
{
    const struct floe_kafka_ProduceRequest *in = rq->body;
    const struct prepared *prep = rq->prepared;
    uint32_t n = 0;
    for (int32_t t = 0; t < in->TopicData_n; t++)
        n += (uint32_t)FLOE_MAX(in->TopicData[t].PartitionData_n, 0);
    struct produce *p = calloc(1, sizeof *p + n * sizeof p->items[0]);
    struct floe_kafka_ProduceResponse *rs = floe_arena_alloc(&rq->arena, sizeof *rs);
    size_t topics = (size_t)FLOE_MAX(in->TopicData_n, 0);
    struct api_want *wants = floe_arena_calloc(&rq->arena, topics, sizeof *wants);
    if (!p || !rs || !wants) {
        free(p);
        api_give_up(rq);
        return;
    }
    *p = (struct produce){.api = api_of(rq), .rq = rq, .n = n, .open = n, .wants = wants};
    floe_list_push_back(&p->api->produces, &p->link);
    floe_timer_init(&p->timer, timed_out, p);
    floe_timer_init(&p->retry, retried, p);
    p->room = (struct floe_log_waiter){.fn = has_room, .user = p};
    floe_list_init(&p->room.link);
    floe_list_init(&p->check_link);
    floe_kafka_defaults(&floe_kafka_ProduceResponse_desc, rs);
    rq->state = rs;
    rq->prepared = p;
    if (!fill(p, in, rs, prep) || !refuse_repeated(p, (uint32_t)topics)) {
        floe_list_remove(&p->link);
        free(p);
        api_give_up(rq);
    } else if (p->open == 0) {
        answer(p);
    } else {
        api_topics_ready(rq, wants, (uint32_t)topics, ready);
    }
}
