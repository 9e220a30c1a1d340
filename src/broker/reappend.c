/* What acks=1 left in the tier of a session that is over goes to whoever holds the partition now: by a
 * Produce with acks=all, after asking where the old leader epoch ended (OffsetForLeaderEpoch, KIP-101). */
#include "broker/core_int.h"
#include <errno.h>
#include <fcntl.h>
#include <floe/base/assert.h>
#include <floe/base/log.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEY_PRODUCE 0
#define KEY_EPOCH_END 23
/* Of a call: a lost one costs no more, and a repeated one changes nothing. */
#define TIMEOUT_MS 10000
#define ASK_TIMEOUT_MS 3000
#define EPOCH_AT 12 /* of a batch's leader epoch */

struct remote {
    struct floe_list link;
    struct floe_core *c;
    struct floe_peer_call call;
    struct floe_arena arena;
    struct floe_kafka_out out;
    struct floe_bufslice *slices;
    uint32_t count;
    struct floe_tp tp;
    void (*end_done)(void *user2, const struct floe_error *err, int64_t end);
    void (*send_done)(void *user2, const struct floe_error *err, int16_t kafka_error);
    void *user2;
};

static void remote_free(struct remote *r)
{
    for (uint32_t i = 0; i < r->count; i++)
        floe_buf_unref(r->slices[i].buf);
    free(r->slices);
    floe_kafka_out_fini(&r->out);
    floe_arena_fini(&r->arena);
    floe_buf_unref(r->call.frame);
    floe_list_remove(&r->link);
    free(r);
}

static void remote_answer(struct remote *r, const struct floe_error *err, int16_t error, int64_t end)
{
    if (r->end_done)
        r->end_done(r->user2, err, end);
    else
        r->send_done(r->user2, err, error);
    remote_free(r);
}

static void epoch_end_answered(struct remote *r, const void *body, struct floe_error *err)
{
    const struct floe_kafka_OffsetForLeaderEpochResponse *rs = body;
    if (rs->Topics_n != 1 || rs->Topics[0].Partitions_n != 1) {
        floe_error_set(err, FLOE_EINVAL, "OffsetForLeaderEpoch was not answered for the partition asked");
        remote_answer(r, err, 0, 0);
        return;
    }
    int16_t error = rs->Topics[0].Partitions[0].ErrorCode;
    if (error)
        floe_error_set(err, FLOE_EUNAVAILABLE, "OffsetForLeaderEpoch: %s", floe_kafka_error_name(error));
    remote_answer(r, err, error, FLOE_MAX(rs->Topics[0].Partitions[0].EndOffset, 0));
}

static void produce_answered(struct remote *r, const void *body, struct floe_error *err)
{
    const struct floe_kafka_ProduceResponse *rs = body;
    if (rs->Responses_n != 1 || rs->Responses[0].PartitionResponses_n != 1) {
        floe_error_set(err, FLOE_EINVAL, "Produce was not answered for the partition asked");
        remote_answer(r, err, 0, 0);
        return;
    }
    remote_answer(r, err, rs->Responses[0].PartitionResponses[0].ErrorCode, 0);
}

static void answered(struct floe_peer_call *call)
{
    struct remote *r = call->user;
    const struct floe_kafka_api *api = floe_kafka_api_find(call->api_key);
    struct floe_error err = call->err;
    void *body;
    if (err.code || floe_kafka_decode(api->response, call->api_version, call->response, &r->arena, &body,
                                      &err) != FLOE_OK)
        remote_answer(r, &err, 0, 0);
    else if (r->end_done)
        epoch_end_answered(r, body, &err);
    else
        produce_answered(r, body, &err);
}

/* Sends `body` to the partition's holder. */
static void remote_call(struct remote *r, int16_t key, int16_t version, const void *body)
{
    const struct floe_kafka_api *api = floe_kafka_api_find(key);
    struct floe_lease_entry e;
    struct floe_node_info n;
    struct floe_error err = {0};
    if (!floe_lease_lookup(r->c->lease, &r->tp, &e) || !floe_lease_node(r->c->lease, e.holder.node, &n) ||
        n.state != FLOE_NODE_LIVE) {
        floe_error_set(&err, FLOE_EUNAVAILABLE, "the partition has no live holder");
        remote_answer(r, &err, 0, 0);
        return;
    }
    floe_kafka_out_init(&r->out, 1 << 20, 16);
    if (floe_kafka_encode_out(api->request, version, body, &r->out, &err) != FLOE_OK ||
        floe_kafka_out_take(&r->out, NULL, &r->slices, &r->count, &err) != FLOE_OK) {
        remote_answer(r, &err, 0, 0);
        return;
    }
    r->call = (struct floe_peer_call){.api_key = key,
                                      .api_version = version,
                                      .flexible = floe_kafka_flexible(api, version),
                                      .body = r->slices,
                                      .body_count = r->count,
                                      .timeout_us = (r->end_done ? ASK_TIMEOUT_MS : TIMEOUT_MS) * 1000ull,
                                      .done = answered,
                                      .user = r};
    memcpy(r->call.addr, n.peer_addr, sizeof r->call.addr);
    r->c->cfg.peers->ops->call(r->c->cfg.peers, &r->call);
}

static struct remote *remote_new(struct floe_core *c, const struct floe_tp *tp, void *user2)
{
    struct remote *r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    r->c = c;
    r->tp = *tp;
    r->user2 = user2;
    floe_arena_init(&r->arena, 1 << 20);
    floe_list_push_back(&c->remotes, &r->link);
    return r;
}

void floe_core_reappend_epoch_end(void *user, const struct floe_tp *tp, int32_t epoch,
                                  void (*done)(void *user2, const struct floe_error *err, int64_t end),
                                  void *user2)
{
    struct floe_core *c = user;
    struct floe_error err = {0};
    const struct floe_topic *t = floe_catalog_by_id(c->catalog, &tp->topic);
    struct remote *r = t ? remote_new(c, tp, user2) : NULL;
    if (!r) {
        floe_error_set(&err, FLOE_EUNAVAILABLE, t ? "no memory" : "the topic is not known yet");
        done(user2, &err, 0);
        return;
    }
    r->end_done = done;
    struct floe_kafka_OffsetForLeaderEpochRequest rq;
    struct floe_kafka_OffsetForLeaderEpochRequest_OffsetForLeaderTopic topic;
    struct floe_kafka_OffsetForLeaderEpochRequest_OffsetForLeaderPartition part;
    floe_kafka_defaults(&floe_kafka_OffsetForLeaderEpochRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_OffsetForLeaderEpochRequest_OffsetForLeaderTopic_desc, &topic);
    floe_kafka_struct_defaults(&floe_kafka_OffsetForLeaderEpochRequest_OffsetForLeaderPartition_desc, &part);
    part.Partition = tp->index;
    part.LeaderEpoch = epoch;
    topic.Topic = floe_kstr(t->name);
    topic.Partitions = &part;
    topic.Partitions_n = 1;
    rq.Topics = &topic;
    rq.Topics_n = 1;
    remote_call(r, KEY_EPOCH_END, 4, &rq);
}

void floe_core_reappend_send(void *user, const struct floe_tp *tp, const struct floe_bufslice *batch,
                             void (*done)(void *user2, const struct floe_error *err, int16_t kafka_error),
                             void *user2)
{
    struct floe_core *c = user;
    struct floe_error err;
    struct remote *r = remote_new(c, tp, user2);
    if (!r) {
        floe_error_set(&err, FLOE_ENOMEM, "no memory");
        done(user2, &err, 0);
        return;
    }
    r->send_done = done;
    struct floe_kafka_ProduceRequest rq;
    struct floe_kafka_ProduceRequest_TopicProduceData topic;
    struct floe_kafka_ProduceRequest_PartitionProduceData part;
    floe_kafka_defaults(&floe_kafka_ProduceRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_ProduceRequest_TopicProduceData_desc, &topic);
    floe_kafka_struct_defaults(&floe_kafka_ProduceRequest_PartitionProduceData_desc, &part);
    part.Index = tp->index;
    part.Records = (struct floe_krecords){.n = (int32_t)batch->n, .slices = batch, .slice_count = 1};
    topic.TopicId = tp->topic;
    topic.PartitionData = &part;
    topic.PartitionData_n = 1;
    rq.Acks = -1;
    rq.TimeoutMs = TIMEOUT_MS;
    rq.TopicData = &topic;
    rq.TopicData_n = 1;
    remote_call(r, KEY_PRODUCE, 13, &rq);
}

enum floe_reappend_topic floe_core_reappend_topic(void *user, const struct floe_uuid *topic)
{
    struct floe_core *c = user;
    const struct floe_topic *t = floe_catalog_by_id(c->catalog, topic);
    if (floe_lease_topic_forgotten(c->lease, topic)) /* being deleted: its record is read later */
        return FLOE_REAPPEND_DROP;
    if (!t)
        return floe_catalog_is_deleted(c->catalog, topic, 0) ? FLOE_REAPPEND_DROP : FLOE_REAPPEND_LATER;
    for (uint32_t i = 0; i < t->config_count; i++) {
        if (strcmp(t->configs[i].name, "cleanup.policy") == 0 && strstr(t->configs[i].value, "compact"))
            return FLOE_REAPPEND_ASIDE;
    }
    return FLOE_REAPPEND_SEND;
}

void floe_core_reappend_fini(struct floe_core *c)
{
    while (!floe_list_empty(&c->remotes)) {
        struct remote *r = FLOE_LIST_ENTRY(c->remotes.next, struct remote, link);
        if (c->cfg.peers)
            c->cfg.peers->ops->cancel(c->cfg.peers, &r->call);
        remote_free(r);
    }
}

static bool write_file(const char *path, struct floe_slice b)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0)
        return false;
    size_t done = 0;
    while (done < b.n) {
        ssize_t n = write(fd, b.p + done, b.n - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    bool ok = done == b.n && fsync(fd) == 0;
    int problem = errno;
    ok = close(fd) == 0 && ok;
    errno = ok ? 0 : problem;
    return ok;
}

/* DATA/aside/<topic id>-<partition>-<leader epoch>-<offset>.batch: the batch as it came, to be looked at and
 * produced by hand. An offset that was not committed is given again, under another epoch. The caller tries
 * again until it works. */
bool floe_core_set_aside(void *user, const struct floe_tp *tp, int64_t offset, struct floe_slice batch,
                         const char *why)
{
    struct floe_core *c = user;
    char id[FLOE_UUID_HEX], path[1200];
    floe_uuid_hex(id, &tp->topic);
    FLOE_ASSERT(batch.n >= FLOE_BATCH_HEADER);
    snprintf(path, sizeof path, "%s/%s-%d-%u-%lld.batch", c->aside_dir, id, tp->index,
             floe_be32(batch.p + EPOCH_AT), (long long)offset);
    bool ok = (mkdir(c->aside_dir, 0777) == 0 || errno == EEXIST) && write_file(path, batch);
    if (!ok && !c->aside_fails)
        floe_log_warn(
            "log",
            "a batch that acks=1 had acknowledged cannot be set aside in %s: %s; it is tried again, "
            "and what came after it waits (set aside because: %s)",
            path, strerror(errno), why);
    c->aside_fails = !ok;
    if (ok)
        floe_log_warn("log", "a batch that acks=1 had acknowledged was set aside in %s: %s", path, why);
    return ok;
}
