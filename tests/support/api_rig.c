#include "api_rig.h"

#include <floe/group.h>
#include <floe_cmocka.h>

#include <floe/base/log.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct api_call *last;

static void fatal(void *user, const struct floe_error *err)
{
    (void)user;
    fail_msg("fatal: %s", err->msg);
}

static void started(void *user, const struct floe_error *err)
{
    struct api_node *n = user;
    if (err->code)
        fail_msg("start: %s", err->msg);
    n->started = true;
}

void api_abandon(struct api_node *n, struct api_call *c)
{
    c->abandoned = true;
    floe_list_push_back(&n->abandoned, &c->link);
}

/* A peer's call, answered where the handler answers at once; else the connection closes and it asks again. */
static bool serve_peer(void *user, int16_t key, int16_t version, struct floe_slice body,
                       struct floe_writer *w)
{
    struct api_node *n = user;
    const struct floe_kafka_api *api = floe_kafka_api_find(key);
    struct floe_arena arena;
    struct floe_error err;
    void *in;
    floe_arena_init(&arena, 1 << 20);
    if (floe_kafka_decode(api->request, version, body, &arena, &in, &err)) {
        floe_arena_fini(&arena);
        return false;
    }
    struct floe_client *peer = calloc(1, sizeof *peer);
    assert_non_null(peer);
    floe_client_init(peer, "peer", 0);
    struct api_call *c = api_send(n, peer, key, version, in);
    c->own_client = peer;
    bool ok =
        c->done && c->response && floe_kafka_encode(api->response, version, c->response, w, &err) == FLOE_OK;
    if (c->done)
        api_call_free(c);
    else
        api_abandon(n, c);
    floe_arena_fini(&arena);
    return ok;
}

struct api_node *api_rig_add(struct api_rig *r)
{
    struct api_node *n = &r->nodes[r->n];
    struct floe_error err = {0};
    char name[32];
    assert_true(r->n < API_NODES);
    *n = (struct api_node){.rig = r};
    snprintf(name, sizeof name, "n%u", r->n++);
    n->node = floe_sim_node_create(r->sim, name);
    n->store = floe_sim_store_create(r->bucket, n->node);
    assert_int_equal(floe_table_store_create(&n->table, n->store, &err), FLOE_OK);
    assert_int_equal(
        floe_sim_tier_open(&n->tier, floe_sim_disk_create(r->sim), n->node, &r->cluster, 256 << 20, &err),
        FLOE_OK);
    n->peers = floe_sim_peers_create(r->net, n->node);
    snprintf(n->addr.name, sizeof n->addr.name, "plaintext");
    snprintf(n->addr.addr, sizeof n->addr.addr, "%s.example:9092", name);
    floe_budget_init(&n->pending, 256 << 20);
    floe_budget_init(&n->cache, 64 << 20);
    floe_client_init(&n->client, "client", 0);
    floe_list_init(&n->abandoned);
    struct floe_core_config cfg = {.loop = floe_sim_node_loop(n->node),
                                   .store = n->store,
                                   .table = n->table,
                                   .tier = n->tier,
                                   .peers = n->peers,
                                   .cluster = {.id = r->cluster, .shards = 8},
                                   .lease_ms = 3000,
                                   .addrs = &n->addr,
                                   .addr_count = 1,
                                   .peer_addr = n->addr.addr,
                                   .rack = r->racks[r->n - 1],
                                   .pending = &n->pending,
                                   .cache = &n->cache,
                                   .segment_bytes = 1 << 20,
                                   .linger_us = 5000,
                                   .puts_in_flight = 4,
                                   .garbage_age_us = API_GARBAGE_AGE_US,
                                   .api = r->api,
                                   .group = r->group,
                                   .fatal = fatal,
                                   .user = n};
    snprintf(cfg.api.listeners[0], sizeof cfg.api.listeners[0], "plaintext");
    if (floe_core_create(&n->core, &cfg, &err))
        fail_msg("%s", err.msg);
    floe_sim_net_listen(r->net, n->node, n->addr.addr, serve_peer, n);
    floe_core_start(n->core, started, n);
    return n;
}

static void completed(struct floe_request *rq);

static bool all_started(void *user)
{
    struct api_rig *r = user;
    for (uint32_t i = 0; i < r->n; i++) {
        if (r->nodes[i].core && !r->nodes[i].started)
            return false;
    }
    return true;
}

static void no_log(void *user, enum floe_log_level level, const char *line)
{
    (void)user, (void)level;
    if (getenv("FLOE_TEST_LOG"))
        fprintf(stderr, "%s\n", line);
}

void api_rig_start(struct api_rig *r, uint64_t seed, uint32_t nodes)
{
    static const char *const racks[API_NODES] = {"r1", "r1", "r1"};
    api_rig_start_racks(r, seed, nodes, racks);
}

void api_rig_start_racks(struct api_rig *r, uint64_t seed, uint32_t nodes, const char *const *racks)
{
    *r = (struct api_rig){.api = {.message_max = 1 << 20,
                                  .num_partitions = 2,
                                  .replication_factor = 3,
                                  .auto_create = true,
                                  .fetch_max = 8 << 20,
                                  .fetch_sessions = 4}};
    for (uint32_t i = 0; i < API_NODES; i++)
        r->racks[i] = racks[i];
    floe_log_hook(no_log, NULL);
    r->sim = floe_sim_create(seed);
    r->bucket = floe_sim_bucket_create(r->sim);
    r->net = floe_sim_net_create(r->sim);
    memset(r->cluster.b, 7, sizeof r->cluster.b);
    for (uint32_t i = 0; i < nodes; i++) {
        api_rig_add(r);
        assert_true(floe_sim_run_until(r->sim, all_started, r, 60000000));
    }
    api_rig_run(r, 3000);
}

void api_rig_kill(struct api_node *n)
{
    floe_sim_node_kill(n->node);
    floe_core_destroy(&n->core);
    while (!floe_list_empty(&n->abandoned)) {
        struct floe_request *rq = FLOE_LIST_ENTRY(n->abandoned.next, struct api_call, link)->rq;
        rq->no_response = true;
        completed(rq);
    }
}

void api_rig_stop(struct api_rig *r)
{
    if (last)
        api_call_free(last);
    last = NULL;
    api_rig_run(r, 1000); /* what brokers are telling each other arrives */
    for (uint32_t i = 0; i < r->n; i++) {
        if (r->nodes[i].core)
            api_rig_kill(&r->nodes[i]);
        floe_table_store_destroy(&r->nodes[i].table);
        assert_int_equal(floe_budget_used(&r->nodes[i].pending), 0);
    }
    floe_sim_destroy(&r->sim);
    floe_log_hook(NULL, NULL);
}

void api_rig_run(struct api_rig *r, uint64_t ms)
{
    floe_sim_run_for(r->sim, ms * 1000);
}

/* ---- requests ---- */

/* The answer as it would leave: encoded for its version, then decoded by the client. */
static void take_answer(struct api_call *c, struct floe_request *rq)
{
    struct floe_error err = {0};
    struct floe_kafka_out out;
    struct floe_bufslice *slices = NULL;
    uint32_t count = 0;
    size_t n = 0;
    floe_kafka_out_init(&out, 64 << 20, 1 << 16);
    if (floe_kafka_response_frame(c->api, rq->unsupported ? 0 : c->version, rq->head.correlation_id,
                                  rq->response, &out, &err) ||
        floe_kafka_out_take(&out, NULL, &slices, &count, &err))
        fail_msg("%s v%d cannot be encoded: %s", c->api->name, c->version, err.msg);
    floe_kafka_out_fini(&out);
    for (uint32_t i = 0; i < count; i++)
        n += slices[i].n;
    c->frame = floe_buf_create(n, NULL);
    n = 0;
    for (uint32_t i = 0; i < count; i++) {
        memcpy(c->frame->data + n, slices[i].p, slices[i].n);
        n += slices[i].n;
        floe_buf_unref(slices[i].buf);
    }
    free(slices);
    assert_int_equal(floe_be32(c->frame->data), n - 4);
    struct floe_slice body;
    int32_t id;
    int16_t version = rq->unsupported ? 0 : c->version;
    if (floe_kafka_read_response_header(c->api, version, floe_slice(c->frame->data + 4, n - 4), &id, &body,
                                        &err) ||
        floe_kafka_decode(c->api->response, version, body, &c->arena, &c->response, &err))
        fail_msg("%s v%d cannot be decoded: %s", c->api->name, version, err.msg);
    assert_int_equal(id, c->id);
}

static void completed(struct floe_request *rq)
{
    struct api_call *c = (struct api_call *)rq->conn; /* the rig's own use of it */
    c->done = true;
    c->closed = rq->close;
    c->silent = rq->no_response;
    memcpy(c->reason, rq->reason, sizeof c->reason);
    if (!rq->close && !rq->no_response)
        take_answer(c, rq);
    if (rq->release)
        rq->release(rq);
    c->held_budget = rq->held_budget;
    if (rq->held)
        floe_budget_give(rq->held_budget, rq->held);
    floe_arena_fini(&rq->arena);
    floe_buf_unref(rq->frame);
    free(rq);
    c->rq = NULL;
    if (!c->abandoned)
        return;
    floe_list_remove(&c->link);
    api_call_free(c);
}

struct api_call *api_send(struct api_node *n, struct floe_client *client, int16_t key, int16_t version,
                          const void *body)
{
    static int32_t next_id;
    struct api_call *c = calloc(1, sizeof *c);
    struct floe_request *rq = calloc(1, sizeof *rq);
    struct floe_error err = {0};
    struct floe_writer w;
    uint32_t served_n;
    const struct floe_version_range *served = floe_api_served(&served_n);
    *c = (struct api_call){.rq = rq, .api = floe_kafka_api_find(key), .version = version, .id = ++next_id};
    floe_arena_init(&c->arena, 64 << 20);
    floe_writer_init(&w, 64 << 20);
    if (floe_kafka_request_frame(c->api, version, c->id, floe_kstr("test"), body, &w, &err))
        fail_msg("%s v%d: %s", c->api->name, version, err.msg);
    *rq = (struct floe_request){.conn = (struct floe_conn *)c,
                                .client = client ? client : &n->client,
                                .frame = floe_buf_create_forced(w.n - 4, &n->pending),
                                .service = floe_core_api(n->core),
                                .start = floe_api_start,
                                .complete = completed};
    memcpy(rq->frame->data, w.p + 4, w.n - 4);
    rq->frame->n = w.n - 4;
    floe_writer_fini(&w);
    if (floe_request_parse(rq, served, served_n, true, &err) ||
        !floe_api_prepare(floe_core_api(n->core), rq)) {
        rq->close = rq->done = true;
        if (err.code)
            snprintf(rq->reason, sizeof rq->reason, "%.159s", err.msg);
        completed(rq);
        return c;
    }
    floe_request_arrive(rq);
    return c;
}

static bool call_done(void *user)
{
    return ((struct api_call *)user)->done;
}

void *api_wait(struct api_node *n, struct api_call *c, uint64_t ms)
{
    floe_sim_run_until(n->rig->sim, call_done, c, ms * 1000);
    c->at_us = floe_sim_now_us(n->rig->sim);
    return c->response;
}

void api_call_free(struct api_call *c)
{
    assert_true(c->done);
    floe_arena_fini(&c->arena);
    floe_buf_unref(c->frame);
    free(c->own_client);
    free(c);
}

void *api_do(struct api_node *n, int16_t key, int16_t version, const void *body)
{
    if (last)
        api_call_free(last);
    last = api_send(n, NULL, key, version, body);
    void *rs = api_wait(n, last, 60000);
    if (!last->done)
        fail_msg("%s v%d: no answer", last->api->name, version);
    return rs;
}

struct api_call *api_last(void)
{
    return last;
}

/* ---- shortcuts ---- */

int16_t api_make_topic(struct api_node *n, const char *name, int32_t partitions, const char *config,
                       const char *value)
{
    struct floe_kafka_CreateTopicsRequest rq;
    struct floe_kafka_CreateTopicsRequest_CreatableTopic t;
    struct floe_kafka_CreateTopicsRequest_CreatableTopicConfig c;
    floe_kafka_defaults(&floe_kafka_CreateTopicsRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_CreateTopicsRequest_CreatableTopic_desc, &t);
    floe_kafka_struct_defaults(&floe_kafka_CreateTopicsRequest_CreatableTopicConfig_desc, &c);
    rq.timeoutMs = 30000;
    rq.Topics = &t;
    rq.Topics_n = 1;
    t.Name = floe_kstr(name);
    t.NumPartitions = partitions;
    t.ReplicationFactor = 1;
    t.Configs = &c;
    t.Configs_n = config != NULL;
    c.Name = floe_kstr(config);
    c.Value = floe_kstr(value);
    struct floe_kafka_CreateTopicsResponse *rs = api_do(n, 19, 7, &rq);
    assert_int_equal(rs->Topics_n, 1);
    return rs->Topics[0].ErrorCode;
}

bool api_topic_id(struct api_node *n, const char *name, struct floe_uuid *id)
{
    struct floe_kafka_MetadataRequest rq;
    struct floe_kafka_MetadataRequest_MetadataRequestTopic t;
    floe_kafka_defaults(&floe_kafka_MetadataRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_MetadataRequest_MetadataRequestTopic_desc, &t);
    rq.AllowAutoTopicCreation = false;
    rq.Topics = &t;
    rq.Topics_n = 1;
    t.Name = floe_kstr(name);
    struct floe_kafka_MetadataResponse *rs = api_do(n, 3, 12, &rq);
    *id = rs->Topics[0].TopicId;
    return rs->Topics[0].ErrorCode == 0;
}

struct floe_krecords api_batch(struct floe_arena *a, int32_t first, int32_t count, bool keys,
                               enum floe_compression comp)
{
    struct floe_batch_builder b;
    struct floe_error err;
    struct floe_writer w;
    floe_batch_builder_init(&b, comp, 16 << 20);
    floe_writer_init(&w, 32 << 20);
    for (int32_t i = 0; i < count; i++) {
        char text[32];
        snprintf(text, sizeof text, "v%06d", first + i);
        struct floe_kbytes value = {(const uint8_t *)text, (int32_t)strlen(text)}, none = {NULL, -1};
        assert_int_equal(
            floe_batch_builder_add(&b, 1000000 + first + i, keys ? value : none, value, NULL, 0, &err),
            FLOE_OK);
    }
    assert_int_equal(floe_batch_builder_finish(&b, &w, &err), FLOE_OK);
    floe_batch_builder_fini(&b);
    uint8_t *p = floe_arena_alloc(a, w.n);
    assert_non_null(p);
    memcpy(p, w.p, w.n);
    struct floe_krecords r = {.p = p, .n = (int32_t)w.n};
    floe_writer_fini(&w);
    return r;
}

int16_t api_produce_one(struct api_node *n, const char *topic, int32_t partition, int16_t acks,
                        struct floe_krecords batch, int64_t *base)
{
    struct floe_kafka_ProduceRequest rq;
    struct floe_kafka_ProduceRequest_TopicProduceData t;
    struct floe_kafka_ProduceRequest_PartitionProduceData p;
    floe_kafka_defaults(&floe_kafka_ProduceRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_ProduceRequest_TopicProduceData_desc, &t);
    floe_kafka_struct_defaults(&floe_kafka_ProduceRequest_PartitionProduceData_desc, &p);
    rq.Acks = acks;
    rq.TimeoutMs = 30000;
    rq.TopicData = &t;
    rq.TopicData_n = 1;
    t.Name = floe_kstr(topic);
    t.PartitionData = &p;
    t.PartitionData_n = 1;
    p.Index = partition;
    p.Records = batch;
    struct floe_kafka_ProduceResponse *rs = api_do(n, 0, 9, &rq);
    if (!rs)
        return api_last()->closed ? FLOE_KERR_NETWORK_EXCEPTION : 0;
    if (base)
        *base = rs->Responses[0].PartitionResponses[0].BaseOffset;
    return rs->Responses[0].PartitionResponses[0].ErrorCode;
}

struct api_node *api_leader_of(struct api_rig *r, const char *topic, int32_t partition)
{
    for (uint32_t i = 0; i < r->n; i++) {
        struct api_node *n = &r->nodes[i];
        struct floe_uuid id;
        struct floe_partition *p;
        if (!n->core || !api_topic_id(n, topic, &id))
            continue;
        struct floe_tp tp = {id, partition};
        if (floe_log_find(floe_core_log(n->core), &tp, &p) == FLOE_PARTITION_SERVING)
            return n;
    }
    return NULL;
}

struct api_node *api_coordinator(struct api_rig *r, const char *group)
{
    struct floe_kafka_FindCoordinatorRequest rq;
    for (int i = 0; i < 300; i++) {
        struct api_node *ask = r->nodes[0].core ? &r->nodes[0] : &r->nodes[1];
        floe_kafka_defaults(&floe_kafka_FindCoordinatorRequest_desc, &rq);
        rq.Key = floe_kstr(group);
        struct floe_kafka_FindCoordinatorResponse *rs = api_do(ask, 10, 3, &rq);
        bool found = rs && rs->ErrorCode == 0;
        struct api_node *n =
            found ? api_leader_of(r, FLOE_OFFSETS_TOPIC, floe_group_partition(floe_kstr(group), 50)) : NULL;
        if (n && n->core)
            return n;
        api_rig_run(r, 100);
    }
    fail_msg("no coordinator");
    return NULL;
}
