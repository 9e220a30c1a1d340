/* Requests of group members and about groups: handed to the group coordinator, which answers each. */
#include "api_kafka/api_int.h"

#include <stdio.h>
#include <stdlib.h>

struct group_request { /* on the heap: it outlives what the request's arena had while it waited */
    struct floe_group_call call;
    void (*fn)(struct floe_groups *g, struct floe_group_call *c);
    char host[72];
};

static void done(struct floe_group_call *c)
{
    struct floe_request *rq = c->user;
    rq->response = c->response;
    if (rq->response)
        floe_request_complete(rq);
    else
        api_give_up(rq);
}

/* "/10.0.0.1" of "10.0.0.1:40312". */
static void client_host(char out[72], const char *addr)
{
    const char *end = strrchr(addr, ':');
    size_t n = end ? (size_t)(end - addr) : strlen(addr);
    if (n > 1 && addr[0] == '[' && addr[n - 1] == ']') {
        addr++;
        n -= 2;
    }
    snprintf(out, 72, "/%.*s", (int)FLOE_MIN(n, (size_t)64), addr);
}

static void cancel(struct floe_request *rq)
{
    struct group_request *r = rq->state;
    if (!r->call.waits)
        return; /* its answer is on its way */
    floe_group_abandon(&r->call);
    rq->no_response = true;
    floe_request_complete(rq);
}

static void release(struct floe_request *rq)
{
    free(rq->state);
}

/* A member that waits for its group keeps no part of its request in memory, and a place among the connections
 * for as long as its client is there. */
static void run(struct floe_request *rq)
{
    struct group_request *r = rq->state;
    r->call.topics_unsure = rq->lookup_error != 0;
    r->fn(api_of(rq)->cfg.groups, &r->call);
    if (!r->call.waits)
        return;
    r->call.request = NULL;
    r->call.client_id = floe_kstr(NULL);
    floe_request_forget(rq);
    rq->cancel = cancel;
    if (rq->client->gone)
        cancel(rq);
}

/* `wants`: topics that the coordinator will ask the catalog for. */
static void begin(struct floe_request *rq, void (*fn)(struct floe_groups *, struct floe_group_call *),
                  const struct api_want *wants, uint32_t n)
{
    struct group_request *r = calloc(1, sizeof *r);
    rq->state = r;
    rq->release = release;
    if (!r || (n > 0 && !wants)) {
        api_give_up(rq);
        return;
    }
    r->fn = fn;
    client_host(r->host, rq->client->addr);
    r->call = (struct floe_group_call){.request = rq->body,
                                       .version = rq->head.api_version,
                                       .client_id = rq->head.client_id,
                                       .client_host = r->host,
                                       .arena = &rq->arena,
                                       .done = done,
                                       .user = rq};
    if (n > 0)
        api_topics_ready(rq, wants, n, run);
    else
        run(rq);
}

void api_offset_commit(struct floe_request *rq)
{
    const struct floe_kafka_OffsetCommitRequest *in = rq->body;
    uint32_t n = (uint32_t)FLOE_MAX(in->Topics_n, 0);
    struct api_want *wants = floe_arena_calloc(&rq->arena, n, sizeof *wants);
    for (uint32_t i = 0; wants && i < n; i++)
        wants[i] = rq->head.api_version >= 10 ? (struct api_want){{NULL, -1}, in->Topics[i].TopicId}
                                              : (struct api_want){.name = in->Topics[i].Name};
    rq->keep = true; /* what has come is committed, answer or not */
    begin(rq, floe_group_offset_commit, wants, n);
}

void api_offset_fetch(struct floe_request *rq)
{
    const struct floe_kafka_OffsetFetchRequest *in = rq->body;
    uint32_t n = (uint32_t)FLOE_MAX(in->Topics_n, 0), at = 0;
    for (int32_t i = 0; i < in->Groups_n; i++)
        n += (uint32_t)FLOE_MAX(in->Groups[i].Topics_n, 0);
    struct api_want *wants = floe_arena_calloc(&rq->arena, n, sizeof *wants);
    for (int32_t i = 0; wants && i < in->Topics_n; i++)
        wants[at++] = (struct api_want){.name = in->Topics[i].Name};
    for (int32_t i = 0; wants && i < in->Groups_n; i++) {
        for (int32_t k = 0; k < in->Groups[i].Topics_n; k++)
            wants[at++] = rq->head.api_version >= 10
                              ? (struct api_want){{NULL, -1}, in->Groups[i].Topics[k].TopicId}
                              : (struct api_want){.name = in->Groups[i].Topics[k].Name};
    }
    begin(rq, floe_group_offset_fetch, wants, n);
}

void api_offset_delete(struct floe_request *rq)
{
    const struct floe_kafka_OffsetDeleteRequest *in = rq->body;
    uint32_t n = (uint32_t)FLOE_MAX(in->Topics_n, 0);
    struct api_want *wants = floe_arena_calloc(&rq->arena, n, sizeof *wants);
    for (uint32_t i = 0; wants && i < n; i++)
        wants[i].name = in->Topics[i].Name;
    begin(rq, floe_group_offset_delete, wants, n);
}

void api_join_group(struct floe_request *rq)
{
    uint32_t n = 0;
    const struct floe_kstr *names = floe_group_join_topics(rq->body, &n, &rq->arena);
    struct api_want *wants = floe_arena_calloc(&rq->arena, n, sizeof *wants);
    for (uint32_t i = 0; wants && i < n; i++)
        wants[i].name = names[i];
    begin(rq, floe_group_join, wants, n);
}

void api_sync_group(struct floe_request *rq)
{
    begin(rq, floe_group_sync, NULL, 0);
}

void api_group_heartbeat(struct floe_request *rq)
{
    begin(rq, floe_group_heartbeat, NULL, 0);
}

void api_leave_group(struct floe_request *rq)
{
    begin(rq, floe_group_leave, NULL, 0);
}

void api_describe_groups(struct floe_request *rq)
{
    begin(rq, floe_group_describe, NULL, 0);
}

void api_list_groups(struct floe_request *rq)
{
    begin(rq, floe_group_list, NULL, 0);
}

void api_delete_groups(struct floe_request *rq)
{
    begin(rq, floe_group_delete, NULL, 0);
}

void api_consumer_heartbeat(struct floe_request *rq)
{
    const struct floe_kafka_ConsumerGroupHeartbeatRequest *in = rq->body;
    uint32_t n = (uint32_t)FLOE_MAX(in->SubscribedTopicNames_n, 0);
    struct api_want *wants = floe_arena_calloc(&rq->arena, n, sizeof *wants);
    for (uint32_t i = 0; wants && i < n; i++)
        wants[i].name = in->SubscribedTopicNames[i];
    begin(rq, floe_group_consumer_heartbeat, wants, n);
}

void api_consumer_describe(struct floe_request *rq)
{
    begin(rq, floe_group_consumer_describe, NULL, 0);
}
