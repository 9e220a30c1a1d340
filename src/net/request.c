#include <floe/base/assert.h>
#include <floe/net/request.h>
#include <stdarg.h>
#include <stdio.h>

#define ARENA_MIN ((size_t)64 << 10)
#define ARENA_MAX ((size_t)256 << 20)
#define ARENA_PER_BYTE 16 /* structs of a decoded message beside its bytes */
#define KEY_API_VERSIONS 18

void floe_client_init(struct floe_client *c, const char *addr, uint32_t listener)
{
    *c = (struct floe_client){.listener = listener};
    snprintf(c->addr, sizeof c->addr, "%s", addr);
    floe_list_init(&c->queue);
}

static bool other_kind_behind(const struct floe_client *c, const struct floe_request *first)
{
    FLOE_LIST_EACH(it, &c->queue)
    {
        const struct floe_request *rq = FLOE_LIST_ENTRY(it, struct floe_request, core_link);
        if (rq->head.api_key != first->head.api_key)
            return true;
    }
    return false;
}

/* Answers go out in the order of the requests: what waits only so as to be asked less often is told when
 * something else waits behind it. */
static void hurry_first(struct floe_client *c)
{
    struct floe_request *rq = FLOE_LIST_ENTRY(c->queue.next, struct floe_request, core_link);
    if (rq->hurried || !other_kind_behind(c, rq))
        return;
    rq->hurried = true;
    if (rq->hurry)
        rq->hurry(rq);
}

static void start_next(struct floe_client *c)
{
    while (!c->held && !floe_list_empty(&c->queue)) {
        struct floe_request *rq = FLOE_LIST_ENTRY(c->queue.next, struct floe_request, core_link);
        c->held = true;
        rq->started = true;
        rq->hurried = other_kind_behind(c, rq);
        rq->start(rq); /* may let the next one start, or complete, before it returns */
    }
}

/* Takes the request out of its client's queue; whoever calls starts the next. */
static void leave_queue(struct floe_request *rq)
{
    rq->queued = false;
    floe_list_remove(&rq->core_link);
    if (rq->started)
        rq->client->held = false;
}

void floe_request_arrive(struct floe_request *rq)
{
    struct floe_client *c = rq->client;
    if (c->gone && !rq->keep) {
        rq->no_response = rq->done = true;
        rq->complete(rq);
        return;
    }
    floe_list_push_back(&c->queue, &rq->core_link);
    rq->queued = true;
    if (c->held)
        hurry_first(c);
    else
        start_next(c);
}

void floe_request_arena_fini(struct floe_request *rq)
{
    floe_arena_fini(&rq->arena);
    if (rq->decoded)
        floe_budget_give(rq->decoded_budget, rq->decoded);
    rq->decoded = 0;
}

void floe_request_forget(struct floe_request *rq)
{
    floe_buf_unref(rq->frame);
    rq->frame = NULL;
    rq->body = NULL;
    rq->head.client_id = floe_kstr(NULL);
    rq->head.body = floe_slice(NULL, 0);
    floe_request_arena_fini(rq);
    floe_arena_init(&rq->arena, FLOE_REQUEST_ANSWER_MAX);
}

void floe_request_next(struct floe_request *rq)
{
    if (!rq->queued)
        return;
    leave_queue(rq);
    start_next(rq->client);
}

void floe_request_complete(struct floe_request *rq)
{
    FLOE_ASSERT(!rq->done && (rq->response || rq->no_response || rq->close));
    rq->done = true;
    if (rq->finished)
        rq->finished(rq);
    /* The client outlives this call: its connection goes only after the core was told, in a later turn. */
    floe_request_next(rq);
    rq->complete(rq);
}

void floe_request_close(struct floe_request *rq, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(rq->reason, sizeof rq->reason, fmt, ap);
    va_end(ap);
    rq->close = true;
    floe_request_complete(rq);
}

void floe_client_gone(struct floe_client *c)
{
    struct floe_list pending;
    floe_list_init(&pending);
    c->gone = true;
    FLOE_LIST_EACH_SAFE(it, &c->queue)
    {
        const struct floe_request *rq = FLOE_LIST_ENTRY(it, struct floe_request, core_link);
        if (rq->started || rq->keep)
            continue;
        floe_list_remove(it);
        floe_list_push_back(&pending, it);
    }
    struct floe_list *l;
    while ((l = floe_list_pop_front(&pending))) {
        struct floe_request *rq = FLOE_LIST_ENTRY(l, struct floe_request, core_link);
        rq->queued = false;
        rq->no_response = rq->done = true;
        rq->complete(rq);
    }
    if (!floe_list_empty(&c->queue)) {
        struct floe_request *rq = FLOE_LIST_ENTRY(c->queue.next, struct floe_request, core_link);
        if (rq->started && rq->cancel)
            rq->cancel(rq);
    }
}

static const struct floe_version_range *find_range(const struct floe_version_range *r, uint32_t n,
                                                   int16_t key)
{
    for (uint32_t i = 0; i < n; i++) {
        if (r[i].key == key)
            return &r[i];
    }
    return NULL;
}

enum floe_err floe_request_parse(struct floe_request *rq, const struct floe_version_range *served, uint32_t n,
                                 bool peer_listener, struct floe_error *err)
{
    struct floe_slice frame = floe_slice(rq->frame->data, rq->frame->n);
    size_t max = FLOE_MIN(FLOE_MAX(ARENA_MIN, frame.n * ARENA_PER_BYTE), ARENA_MAX);
    floe_arena_init(&rq->arena, max);
    enum floe_err rc = floe_kafka_request_header(frame, &rq->head, err);
    if (rc)
        return rc;
    int16_t key = rq->head.api_key, version = rq->head.api_version;
    const struct floe_version_range *r = find_range(served, n, key);
    if (!r || !rq->head.api || (r->peer && !peer_listener))
        return floe_error_set(err, FLOE_EUNSUPPORTED, "API key %d is not served", key);
    if (version < r->min || version > r->max || !rq->head.known_version) {
        rq->arena.max += FLOE_REQUEST_ANSWER_MAX;
        if (key != KEY_API_VERSIONS)
            return floe_error_set(err, FLOE_EUNSUPPORTED, "version %d is not served (%d to %d are)", version,
                                  FLOE_MAX(r->min, rq->head.api->min), r->max);
        rq->unsupported = true; /* answered in the v0 schema, KIP-511 */
        return FLOE_OK;
    }
    /* Bytes past the message are nobody's, as in Apache Kafka: some librdkafka send a few in Metadata. */
    size_t used;
    rc = floe_kafka_decode_prefix(rq->head.api->request, version, rq->head.body, &used, &rq->arena, &rq->body,
                                  err);
    rq->arena.max += FLOE_REQUEST_ANSWER_MAX;
    return rc;
}
