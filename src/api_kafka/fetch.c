/* Fetch 4–18. What comes within a fetch session (fetch_session.h) is read as if the client had named all of
 * its partitions, and what did not change is taken out of the answer.
 *
 * A *pass* reads every partition that has not been read yet, in the request's order, within MaxBytes. If that
 * gave fewer than MinBytes, and no error, the request waits for data until MaxWaitMs ends; partitions whose
 * high watermark moved are read again in another pass. When a pass finds data but no batch fits its
 * partition's limit, the first such partition is read again with room for one whole batch.
 *
 * A client that names its rack (KIP-392) is sent by the leader to the broker of that rack which reads the
 * partition for it, and that one answers from a view (log.h): what it has proven to be committed. A position
 * past that waits, and is OFFSET_NOT_AVAILABLE in the end: only the leader may say that one does not exist.
 *
 * What answers hold until they are written is bounded for all clients together (floe_api.answers): past that
 * a fetch waits, and after MaxWaitMs it is answered without records.
 *
 * Long because: passes, waits and the answer of one request are one machine. */
#include "api_kafka/api_int.h"
#include <floe/base/assert.h>
#include <stdlib.h>

#include <floe/base/mutant.h>

#define SHARE_MIN (256u << 10) /* of an answer, for each partition in turn while there is room */
#define ENOUGH_MIN (1u << 20)  /* bytes that are not kept waiting for others that the store has to bring */

struct item {
    struct fetch *f;
    struct floe_kafka_FetchResponse_PartitionData *out;
    const struct floe_kafka_FetchRequest_FetchPartition *in;
    struct floe_tp tp;
    int32_t topic_at;
    struct floe_log_read read;
    struct floe_log_waiter waiter;
    bool reading, readable, waiting;
    bool view;    /* read from a view: another broker leads */
    bool settled; /* read, and nothing has come since */
    bool absent;  /* there was no such partition from the start: others are waited for all the same */
};
struct fetch {
    struct floe_api *api;
    struct floe_request *rq;
    const struct floe_kafka_FetchRequest *in; /* with all partitions of the session */
    struct fetch_use session;
    struct floe_kafka_FetchResponse *rs;
    struct api_want *wants;
    struct item *items;
    uint32_t n, reads; /* partitions; reads under way */
    bool starting, whole, due, ended, no_room, begun;
    uint64_t deadline_us;
    struct floe_timer timer, wake, enough;
};

static void pass(struct fetch *f);

static void stop_waiting(struct fetch *f)
{
    floe_timer_stop(&f->timer);
    floe_timer_stop(&f->wake);
    floe_timer_stop(&f->enough);
    for (uint32_t i = 0; i < f->n; i++) {
        if (f->items[i].waiting)
            floe_log_wait_cancel(&f->items[i].waiter);
        f->items[i].waiting = false;
    }
}

static void drop_reads(struct fetch *f)
{
    for (uint32_t i = 0; i < f->n; i++)
        floe_log_read_fini(&f->items[i].read);
}

/* On the network thread, once the answer was encoded (or dropped). */
static void release(struct floe_request *rq)
{
    struct fetch *f = rq->state;
    if (f)
        drop_reads(f);
}

static void hint_leaders(struct fetch *f)
{
    uint32_t n;
    bool any = false;
    for (uint32_t i = 0; i < f->n && f->rq->head.api_version >= 12; i++) {
        struct floe_kafka_FetchResponse_PartitionData *out = f->items[i].out;
        if (out->ErrorCode == FLOE_KERR_NOT_LEADER_OR_FOLLOWER ||
            out->ErrorCode == FLOE_KERR_FENCED_LEADER_EPOCH)
            any |= api_leader(f->api, &f->items[i].tp, &out->CurrentLeader.LeaderId,
                              &out->CurrentLeader.LeaderEpoch);
    }
    struct api_endpoint *e = any && f->rq->head.api_version >= 16 ? api_endpoints(f->rq, &n) : NULL;
    if (!e)
        return;
    f->rs->NodeEndpoints =
        floe_kafka_array(&floe_kafka_FetchResponse_NodeEndpoint_desc, (int32_t)n, &f->rq->arena);
    for (uint32_t i = 0; f->rs->NodeEndpoints && i < n; i++) {
        f->rs->NodeEndpoints[i].NodeId = e[i].node;
        f->rs->NodeEndpoints[i].Host = e[i].host;
        f->rs->NodeEndpoints[i].Port = e[i].port;
        f->rs->NodeEndpoints[i].Rack = e[i].rack;
        f->rs->NodeEndpoints_n = (int32_t)i + 1;
    }
}

static void fail(struct item *it, int16_t error)
{
    floe_log_read_fini(&it->read);
    it->read.bytes = 0;
    it->out->Records = (struct floe_krecords){.p = (const uint8_t *)"", .n = 0};
    it->out->ErrorCode = error;
    it->out->HighWatermark = -1;
    it->readable = false;
}

/* Topics of which no partition was asked for are not told of, as in Kafka. */
static void drop_empty(struct floe_kafka_FetchResponse *rs)
{
    int32_t n = 0;
    for (int32_t i = 0; i < rs->Responses_n; i++) {
        if (rs->Responses[i].Partitions_n > 0)
            rs->Responses[n++] = rs->Responses[i];
    }
    rs->Responses_n = n;
}

static void answer(struct fetch *f)
{
    size_t bytes = 0;
    stop_waiting(f);
    for (uint32_t i = 0; i < f->n && f->due; i++) {
        struct item *it = &f->items[i];
        if (it->view && !it->out->ErrorCode && it->settled && it->in->FetchOffset > it->out->HighWatermark)
            fail(it, FLOE_KERR_OFFSET_NOT_AVAILABLE);
    }
    hint_leaders(f);
    f->ended = true;
    for (uint32_t i = 0; i < f->n; i++) {
        bytes += f->items[i].read.bytes;
        f->rq->errors += f->items[i].out->ErrorCode != 0;
    }
    f->api->fetched_bytes += bytes;
    if (bytes) {
        floe_budget_force(&f->api->answers, bytes);
        f->rq->held = bytes;
        f->rq->held_budget = &f->api->answers;
    }
    fetch_session_answer(&f->api->sessions, f->rq, f->in, f->rs, &f->session);
    drop_empty(f->rs);
    f->rq->release = release;
    f->rq->response = f->rs;
    floe_request_complete(f->rq);
}

static void tell_end(struct item *it, const struct floe_partition *p)
{
    it->out->HighWatermark = it->out->LastStableOffset = floe_partition_high_watermark(p);
    it->out->LogStartOffset = floe_partition_log_start(p);
}

/* Only who is known to hold the lease may say where its epoch ends, or that there is no later one: it resets
 * the client. */
static bool sure_of_end(const struct item *it)
{
    return floe_lease_alive(it->f->api->cfg.lease) &&
           floe_log_find(it->f->api->cfg.log, &it->tp, NULL) != FLOE_PARTITION_HANDING;
}

/* Is the client's history the leader's? KIP-320: older, newer or diverging epochs. */
static bool epochs_fit(struct item *it, const struct floe_partition *p)
{
    int32_t epoch = floe_partition_epoch(p), holder;
    if (it->view && !api_leader(it->f->api, &it->tp, &holder, &epoch))
        epoch = floe_partition_epoch(p);
    int16_t error = api_epoch_error(epoch, it->in->CurrentLeaderEpoch);
    if (error) {
        fail(it, error);
        return false;
    }
    if (it->view && it->in->LastFetchedEpoch >= floe_partition_epoch(p))
        return true; /* where that epoch ends is not known here */
    if (it->in->LastFetchedEpoch > floe_partition_epoch(p)) {
        fail(it, sure_of_end(it) ? FLOE_KERR_OFFSET_OUT_OF_RANGE : FLOE_KERR_NOT_LEADER_OR_FOLLOWER);
        return false;
    }
    if (it->in->LastFetchedEpoch >= 0 && it->in->FetchOffset > 0) {
        int64_t end = -1;
        int32_t last = floe_partition_epoch_end(p, it->in->LastFetchedEpoch, &end);
        if (last >= 0 && (last < it->in->LastFetchedEpoch || end < it->in->FetchOffset)) {
            if (!it->view && !sure_of_end(it)) {
                fail(it, FLOE_KERR_NOT_LEADER_OR_FOLLOWER);
                return false;
            }
            it->out->DivergingEpoch.Epoch = last;
            it->out->DivergingEpoch.EndOffset = end;
            tell_end(it, p);
            it->readable = false;
            return false;
        }
    }
    return true;
}

static struct floe_kstr rack_of(const struct fetch *f)
{
    return f->rq->head.api_version >= 11 ? f->in->RackId : (struct floe_kstr){NULL, -1};
}

/* Another broker leads: clients of this broker's rack read here all the same. */
static bool locate_view(struct item *it)
{
    struct fetch *f = it->f;
    struct floe_partition *p;
    enum floe_view_state s = FLOE_VIEW_NONE;
    if (api_rack_own(f->api, rack_of(f)))
        s = floe_log_view(f->api->cfg.log, &it->tp, &p);
    it->view = s == FLOE_VIEW_SERVING;
    if (s == FLOE_VIEW_NONE)
        fail(it, FLOE_KERR_NOT_LEADER_OR_FOLLOWER);
    return it->view && epochs_fit(it, p);
}

/* The client is told to read in its own rack. */
static bool sent_away(struct item *it, const struct floe_partition *p)
{
    struct fetch *f = it->f;
    int64_t offset = it->in->FetchOffset;
    int32_t node = api_rack_reader(f->api, rack_of(f), &it->tp);
    if (node < 0 || offset < floe_partition_log_start(p) || offset > floe_partition_high_watermark(p) ||
        !floe_lease_alive(f->api->cfg.lease) || !api_rack_send(f->api, f->rq->client, &it->tp))
        return false;
    tell_end(it, p);
    it->out->PreferredReadReplica = node;
    it->readable = false;
    return true;
}

/* Finds the partition; false when this pass cannot read it (error set, or it is being rebuilt). */
static bool locate(struct item *it)
{
    struct fetch *f = it->f;
    const struct floe_topic *t = api_topic(f->api, &f->wants[it->topic_at]);
    struct floe_partition *p;
    if (t)
        it->tp.topic = t->id;
    switch (api_place(f->api, t, &it->tp, &p)) {
    case API_UNKNOWN:
        if (!t && f->rq->lookup_error)
            fail(it, FLOE_KERR_KAFKA_STORAGE_ERROR);
        else
            fail(it, t ? FLOE_KERR_UNKNOWN_TOPIC_OR_PARTITION : api_unknown(f->rq, &f->wants[it->topic_at]));
        it->absent = !f->begun && it->out->ErrorCode != FLOE_KERR_KAFKA_STORAGE_ERROR;
        it->out->AbortedTransactions_n = 0; /* not null: so Kafka says it of what is not there */
        return false;
    case API_ELSEWHERE:
        return locate_view(it);
    case API_WAIT:
        return false; /* empty so far */
    case API_SERVING:
    case API_HANDING:
        it->view = false;
        return epochs_fit(it, p) && !sent_away(it, p);
    }
    return false;
}

/* Only codes that consumers know from Fetch. */
static int16_t fetch_error(enum floe_err e)
{
    int16_t error = api_error(e);
    return error == FLOE_KERR_NOT_LEADER_OR_FOLLOWER || error == FLOE_KERR_UNKNOWN_TOPIC_OR_PARTITION
               ? error
               : FLOE_KERR_KAFKA_STORAGE_ERROR;
}

/* A position above the high watermark that a producer has been told of (acks=1): empty, as in Kafka. */
static bool not_yet_committed(struct item *it)
{
    struct floe_partition *p;
    return floe_log_find(it->f->api->cfg.log, &it->tp, &p) == FLOE_PARTITION_SERVING &&
           it->in->FetchOffset > floe_partition_high_watermark(p) &&
           it->in->FetchOffset <= floe_partition_next_offset(p);
}

static void take(struct item *it)
{
    struct floe_log_read *r = &it->read;
    struct floe_kafka_FetchResponse_PartitionData *out = it->out;
    enum floe_err e = r->err.code;
    it->settled = true;
    bool view = it->view && !FLOE_MUTANT(VIEW_OUT_OF_RANGE);
    if (e == FLOE_EINVAL && (view ? it->in->FetchOffset > r->high_watermark : not_yet_committed(it)))
        e = FLOE_OK;
    if (e == FLOE_EAGAIN || e == FLOE_ENOMEM || (it->view && e == FLOE_ENOTHOLDER)) {
        it->settled = false; /* looked at again in a moment */
    } else if (e == FLOE_EINVAL && view) {
        fail(it, FLOE_KERR_NOT_LEADER_OR_FOLLOWER); /* before the start: the leader may say so */
    } else if (e == FLOE_EINVAL) {
        /* Only who is known to hold the lease may say that a position does not exist: it resets the client.
         */
        fail(it, floe_lease_alive(it->f->api->cfg.lease) ? FLOE_KERR_OFFSET_OUT_OF_RANGE
                                                         : FLOE_KERR_NOT_LEADER_OR_FOLLOWER);
    } else if (e) {
        fail(it, fetch_error(e));
    } else {
        out->HighWatermark = out->LastStableOffset = r->high_watermark;
        out->LogStartOffset = r->log_start;
        if (r->slice_count)
            out->Records = (struct floe_krecords){NULL, (int32_t)r->bytes, r->slice_count, r->slices};
    }
}

static uint32_t limit_of(const struct fetch *f)
{
    uint32_t max = f->in->MaxBytes > 0 ? (uint32_t)f->in->MaxBytes : 0;
    return FLOE_MIN(max, f->api->cfg.fetch_max);
}

static uint32_t min_bytes(const struct fetch *f)
{
    return FLOE_MIN(f->in->MinBytes > 0 ? (uint32_t)f->in->MinBytes : 0, limit_of(f));
}

static void wait_or_answer(struct fetch *f);

static void read_done(struct floe_log_read *r)
{
    struct item *it = r->user;
    it->reading = false;
    take(it);
    if (--it->f->reads == 0 && !it->f->starting)
        wait_or_answer(it->f);
    else if (it->read.bytes && !floe_timer_armed(&it->f->enough))
        floe_timer_start(it->f->api->cfg.loop, &it->f->enough, 0); /* after what can be answered at once */
}

/* Some reads wait for the store: what others gave goes out, and what comes meanwhile stays for the next
 * fetch. A partition whose bytes are here is so never held up by one that is ahead of them. */
static void enough(struct floe_timer *t)
{
    struct fetch *f = t->user;
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < f->n; i++)
        bytes += f->items[i].reading ? 0 : f->items[i].read.bytes;
    if (f->reads == 0 || bytes < FLOE_MAX(min_bytes(f), ENOUGH_MIN))
        return;
    for (uint32_t i = 0; i < f->n; i++) {
        struct item *it = &f->items[i];
        if (!it->reading)
            continue;
        floe_log_read_cancel(f->api->cfg.log, &it->read);
        it->reading = false;
        it->out->HighWatermark = it->out->LastStableOffset = it->read.high_watermark;
        it->out->LogStartOffset = it->read.log_start;
    }
    f->reads = 0;
    answer(f);
}

static void start_read(struct item *it, uint32_t max, bool min_one)
{
    struct fetch *f = it->f;
    floe_log_read_fini(&it->read);
    it->read = (struct floe_log_read){.tp = it->tp,
                                      .offset = it->in->FetchOffset,
                                      .max_bytes = max,
                                      .view = it->view,
                                      .min_one = min_one,
                                      .done = read_done,
                                      .user = it};
    it->out->Records = (struct floe_krecords){.p = (const uint8_t *)"", .n = 0};
    it->reading = true;
    f->reads++;
    if (floe_log_read(f->api->cfg.log, &it->read)) {
        it->reading = false;
        f->reads--;
        take(it);
    }
}

static void pass(struct fetch *f)
{
    uint32_t left = limit_of(f);
    bool first = true;
    f->no_room = floe_budget_used(&f->api->answers) >= f->api->answers.limit;
    f->starting = true;
    uint32_t todo = 0;
    for (uint32_t i = 0; i < f->n; i++) {
        left -= f->items[i].settled ? FLOE_MIN(f->items[i].read.bytes, left) : 0;
        first = first && !(f->items[i].settled && f->items[i].read.bytes);
        todo += !f->items[i].settled;
    }
    for (uint32_t i = 0; i < f->n; i++) {
        struct item *it = &f->items[i];
        /* A fair share of the answer: the first few partitions would else leave nothing to those behind them.
         */
        uint32_t share = FLOE_MAX(left / FLOE_MAX(todo, 1u), SHARE_MIN);
        todo -= !it->settled;
        if (!it->readable || it->settled || !locate(it) || f->no_room)
            continue;
        uint32_t max = it->in->PartitionMaxBytes > 0 ? (uint32_t)it->in->PartitionMaxBytes : 0;
        max = FLOE_MIN(max, FLOE_MIN(share, left));
        start_read(it, max, first);
        /* What is being read from the store counts in full until it is there. */
        uint32_t got = it->reading ? max : it->read.bytes;
        left -= FLOE_MIN(got, left);
        if (it->reading || it->read.bytes)
            first = false;
    }
    f->starting = false;
    f->begun = true;
    if (f->reads == 0)
        wait_or_answer(f);
}

/* Data is there, but no batch fitted: one partition, one whole batch. */
static bool read_one_whole(struct fetch *f)
{
    for (uint32_t i = 0; i < f->n; i++) {
        struct item *it = &f->items[i];
        if (!it->readable || it->out->ErrorCode || it->out->HighWatermark <= it->in->FetchOffset ||
            it->read.bytes)
            continue;
        f->whole = true;
        f->starting = true;
        start_read(it, FLOE_MAX(limit_of(f), 1u), true);
        f->starting = false;
        if (f->reads == 0)
            wait_or_answer(f);
        return true;
    }
    return false;
}

static void woken(struct floe_timer *t)
{
    struct fetch *f = t->user;
    stop_waiting(f);
    if (f->deadline_us <= floe_loop_now_us(f->api->cfg.loop))
        f->due = true;
    f->whole = false;
    pass(f);
}

static void data_came(struct floe_log_waiter *w)
{
    struct item *it = w->user;
    it->waiting = it->settled = false;
    /* One commit moves many partitions: look once, after all of them moved. */
    if (!floe_timer_armed(&it->f->wake))
        floe_timer_start(it->f->api->cfg.loop, &it->f->wake, 0);
}

static void wait_for_data(struct fetch *f)
{
    for (uint32_t i = 0; i < f->n; i++) {
        struct item *it = &f->items[i];
        if (!it->readable || !it->settled)
            continue;
        it->waiter = (struct floe_log_waiter){.fn = data_came, .user = it};
        floe_list_init(&it->waiter.link);
        it->waiting = true;
        int64_t from = FLOE_MAX(it->out->HighWatermark, it->in->FetchOffset);
        if (it->view)
            floe_log_wait_view(f->api->cfg.log, &it->tp, from, &it->waiter);
        else
            floe_log_wait_data(f->api->cfg.log, &it->tp, from, &it->waiter);
    }
}

static void wait_or_answer(struct fetch *f)
{
    uint64_t bytes = 0, now = floe_loop_now_us(f->api->cfg.loop);
    bool error = false, unsettled = false, some = false;
    for (uint32_t i = 0; i < f->n; i++) {
        struct item *it = &f->items[i];
        bytes += it->read.bytes;
        some = some || !it->absent;
        error = error || (it->out->ErrorCode && !it->absent) || it->out->DivergingEpoch.Epoch >= 0 ||
                it->out->PreferredReadReplica >= 0;
        unsettled = unsettled || !it->settled;
    }
    uint32_t min = min_bytes(f);
    if (error || !some || (bytes > 0 && bytes >= min)) {
        answer(f);
        return;
    }
    if (bytes == 0 && !f->whole && !f->no_room && read_one_whole(f))
        return;
    f->due = f->due || now >= f->deadline_us;
    if ((bytes >= min && !unsettled) || f->due) {
        answer(f);
        return;
    }
    wait_for_data(f);
    /* What is being rebuilt, or has no room, has no waiter: looked at again soon. */
    floe_timer_start(f->api->cfg.loop, &f->timer,
                     FLOE_MIN(f->deadline_us - now, unsettled ? POLL_US * 4 : UINT64_MAX));
}

static void cancel(struct floe_request *rq)
{
    struct fetch *f = rq->state;
    if (!f || f->ended)
        return;
    stop_waiting(f);
    for (uint32_t i = 0; i < f->n; i++) {
        if (f->items[i].reading)
            floe_log_read_cancel(f->api->cfg.log, &f->items[i].read);
    }
    f->ended = true;
    fetch_session_drop(&f->api->sessions, &f->session);
    rq->release = release;
    rq->no_response = true;
    floe_request_complete(rq);
}

/* What came behind it on the connection (a commit, a question for the coordinator) is not to wait for data.
 */
static void hurry(struct floe_request *rq)
{
    struct fetch *f = rq->state;
    f->deadline_us = floe_loop_now_us(f->api->cfg.loop);
    if (f->reads == 0)
        floe_timer_start(f->api->cfg.loop, &f->wake, 0);
}

static void ready(struct floe_request *rq)
{
    struct fetch *f = rq->state;
    if (rq->client->gone) {
        cancel(rq);
        return;
    }
    uint64_t waits_ms = f->in->MaxWaitMs > 0 && !rq->hurried ? (uint64_t)f->in->MaxWaitMs : 0;
    rq->cancel = cancel;
    rq->hurry = hurry;
    f->deadline_us = floe_loop_now_us(f->api->cfg.loop) + waits_ms * 1000;
    pass(f);
}

/* Items and the skeleton of the response; false when memory is out. */
static bool fill(struct fetch *f)
{
    const struct floe_kafka_FetchRequest *in = f->in;
    struct floe_arena *arena = &f->rq->arena;
    int32_t topics = FLOE_MAX(in->Topics_n, 0);
    for (int32_t t = 0; t < topics; t++)
        f->n += (uint32_t)FLOE_MAX(in->Topics[t].Partitions_n, 0);
    f->items = floe_arena_calloc(arena, f->n, sizeof *f->items);
    f->wants = floe_arena_calloc(arena, (size_t)topics, sizeof *f->wants);
    f->rs->Responses = floe_kafka_array(&floe_kafka_FetchResponse_FetchableTopicResponse_desc, topics, arena);
    struct item *it = f->items;
    if (!it || !f->wants || !f->rs->Responses)
        return false;
    f->rs->Responses_n = topics;
    for (int32_t t = 0; t < topics; t++) {
        struct floe_kafka_FetchResponse_FetchableTopicResponse *tr = &f->rs->Responses[t];
        tr->Topic = in->Topics[t].Topic;
        tr->TopicId = in->Topics[t].TopicId;
        f->wants[t] = (struct api_want){in->Topics[t].Topic, in->Topics[t].TopicId};
        if (f->rq->head.api_version >= 13)
            f->wants[t].name = (struct floe_kstr){NULL, -1};
        int32_t n = FLOE_MAX(in->Topics[t].Partitions_n, 0);
        tr->Partitions = floe_kafka_array(&floe_kafka_FetchResponse_PartitionData_desc, n, arena);
        if (!tr->Partitions)
            return false;
        tr->Partitions_n = n;
        for (int32_t i = 0; i < n; i++, it++) {
            *it = (struct item){
                .f = f, .out = &tr->Partitions[i], .in = &in->Topics[t].Partitions[i], .topic_at = t};
            it->tp.index = it->out->PartitionIndex = it->in->Partition;
            it->out->HighWatermark = -1;
            it->out->AbortedTransactions_n = in->IsolationLevel == 1 ? 0 : -1;
            it->out->Records = (struct floe_krecords){.p = (const uint8_t *)"", .n = 0};
            it->readable = true;
        }
    }
    return true;
}

static void refuse(struct floe_request *rq, struct floe_kafka_FetchResponse *rs, int16_t error)
{
    rs->ErrorCode = error;
    rq->response = rs;
    floe_request_complete(rq);
}

void api_fetch(struct floe_request *rq)
{
    const struct floe_kafka_FetchRequest *in = rq->body;
    struct fetch *f = floe_arena_alloc(&rq->arena, sizeof *f);
    struct floe_kafka_FetchResponse *rs = floe_arena_alloc(&rq->arena, sizeof *rs);
    if (!f || !rs) {
        api_give_up(rq);
        return;
    }
    floe_kafka_defaults(&floe_kafka_FetchResponse_desc, rs);
    *f = (struct fetch){.api = api_of(rq), .rq = rq, .in = in, .rs = rs};
    floe_timer_init(&f->timer, woken, f);
    floe_timer_init(&f->wake, woken, f);
    floe_timer_init(&f->enough, enough, f);
    int16_t error = fetch_session_begin(&f->api->sessions, rq, &f->in, &f->session);
    if (error) {
        refuse(rq, rs, error);
    } else if (!fill(f)) {
        fetch_session_drop(&f->api->sessions, &f->session);
        api_give_up(rq);
    } else {
        rq->state = f;
        api_topics_ready(rq, f->wants, (uint32_t)FLOE_MAX(f->in->Topics_n, 0), ready);
    }
}
