/* DescribeLogDirs 1-5: one log directory, the store, with the partitions that this broker leads, so that the
 * sum over all brokers counts each byte once. The store has no size of its own: total and usable bytes are
 * unknown (-1). AlterReplicaLogDirs 1-2: a partition that is here is in that directory already; there is no
 * other one to move it to. */
#include "api_kafka/api_int.h"

#define DIRECTORY "store"

typedef struct floe_kafka_AlterReplicaLogDirsResponse_AlterReplicaLogDirTopicResult alter_topic;
typedef struct floe_kafka_DescribeLogDirsResponse_DescribeLogDirsTopic dir_topic;

struct dirs {
    struct floe_catalog_wait wait;
    struct floe_kafka_DescribeLogDirsResponse *rs;
    struct api_want *wants;
    const struct floe_kafka_DescribeLogDirsRequest_DescribableLogDirTopic *asked; /* null: all */
    uint32_t n;
};

static void put_partition(struct floe_request *rq, const struct floe_topic *t, int32_t index, dir_topic *out)
{
    struct floe_tp tp = {t->id, index};
    struct floe_partition *p;
    enum api_place place = api_place(api_of(rq), t, &tp, &p);
    if (place != API_SERVING && place != API_HANDING)
        return;
    out->Partitions[out->Partitions_n].PartitionIndex = index;
    out->Partitions[out->Partitions_n++].PartitionSize = floe_partition_bytes(p);
}

static bool put_topic(struct floe_request *rq, const struct dirs *d, uint32_t at, dir_topic *out)
{
    const struct floe_topic *t = api_topic(api_of(rq), &d->wants[at]);
    int32_t n = !t ? 0 : d->asked ? FLOE_MAX(d->asked[at].Partitions_n, 0) : t->partitions;
    out->Name = d->wants[at].name;
    out->Partitions =
        floe_kafka_array(&floe_kafka_DescribeLogDirsResponse_DescribeLogDirsPartition_desc, n, &rq->arena);
    if (!out->Partitions)
        return false;
    for (int32_t i = 0; i < n; i++)
        put_partition(rq, t, d->asked ? d->asked[at].Partitions[i] : i, out);
    return true;
}

static void answer(struct floe_request *rq)
{
    struct dirs *d = rq->state;
    struct floe_kafka_DescribeLogDirsResponse_DescribeLogDirsResult *r =
        floe_kafka_array(&floe_kafka_DescribeLogDirsResponse_DescribeLogDirsResult_desc, 1, &rq->arena);
    bool ok = r != NULL;
    if (ok) {
        r->LogDir = floe_kstr(DIRECTORY);
        r->Topics = floe_kafka_array(&floe_kafka_DescribeLogDirsResponse_DescribeLogDirsTopic_desc,
                                     (int32_t)d->n, &rq->arena);
        ok = r->Topics != NULL;
    }
    for (uint32_t i = 0; ok && i < d->n; i++) {
        ok = put_topic(rq, d, i, &r->Topics[r->Topics_n]);
        r->Topics_n +=
            ok && r->Topics[r->Topics_n].Partitions_n > 0; /* none of it is here: left out, as in Kafka */
    }
    if (!ok) {
        api_give_up(rq);
        return;
    }
    d->rs->Results = r;
    d->rs->Results_n = 1;
    rq->response = d->rs;
    floe_request_complete(rq);
}

static void all_topics(struct floe_request *rq)
{
    struct dirs *d = rq->state;
    d->wants = api_all_topics(rq, &d->n);
    if (!d->wants) {
        api_give_up(rq);
        return;
    }
    answer(rq);
}

static void topics_read(struct floe_catalog_wait *w)
{
    struct floe_request *rq = w->user;
    struct dirs *d = rq->state;
    if (!w->err.code) {
        all_topics(rq);
        return;
    }
    d->rs->ErrorCode = FLOE_KERR_REQUEST_TIMED_OUT;
    rq->response = d->rs;
    floe_request_complete(rq);
}

void api_describe_log_dirs(struct floe_request *rq)
{
    const struct floe_kafka_DescribeLogDirsRequest *in = rq->body;
    struct dirs *d = floe_arena_alloc(&rq->arena, sizeof *d);
    struct floe_kafka_DescribeLogDirsResponse *rs = floe_arena_alloc(&rq->arena, sizeof *rs);
    if (!d || !rs) {
        api_give_up(rq);
        return;
    }
    floe_kafka_defaults(&floe_kafka_DescribeLogDirsResponse_desc, rs);
    *d = (struct dirs){.rs = rs, .wait = {.all = true, .done = topics_read, .user = rq}};
    rq->state = d;
    if (in->Topics_n < 0 && floe_catalog_loaded(api_of(rq)->cfg.catalog)) {
        all_topics(rq);
    } else if (in->Topics_n < 0) {
        floe_catalog_resolve(api_of(rq)->cfg.catalog, &d->wait);
    } else {
        d->asked = in->Topics;
        d->n = (uint32_t)in->Topics_n;
        d->wants = floe_arena_calloc(&rq->arena, d->n, sizeof *d->wants);
        for (uint32_t i = 0; d->wants && i < d->n; i++)
            d->wants[i].name = in->Topics[i].Topic;
        if (d->wants)
            api_topics_ready(rq, d->wants, d->n, answer);
        else
            api_give_up(rq);
    }
}

/* ---- AlterReplicaLogDirs ------------------------------------------------------------------------------- */

static int16_t alter_one(struct floe_request *rq, struct floe_kstr path, struct floe_kstr name, int32_t index)
{
    const struct api_want want = {.name = name};
    const struct floe_topic *t = api_topic(api_of(rq), &want);
    struct floe_partition *p;
    if (!floe_kstr_is(path, DIRECTORY))
        return FLOE_KERR_LOG_DIR_NOT_FOUND;
    if (!t && rq->lookup_error)
        return FLOE_KERR_REQUEST_TIMED_OUT;
    if (!t || index < 0 || index >= t->partitions)
        return FLOE_KERR_UNKNOWN_TOPIC_OR_PARTITION;
    struct floe_tp tp = {t->id, index};
    enum api_place place = api_place(api_of(rq), t, &tp, &p);
    return place == API_SERVING || place == API_HANDING ? 0 : FLOE_KERR_NOT_LEADER_OR_FOLLOWER;
}

static void alter(struct floe_request *rq)
{
    const struct floe_kafka_AlterReplicaLogDirsRequest *in = rq->body;
    struct floe_kafka_AlterReplicaLogDirsResponse *rs = rq->state;
    for (int32_t d = 0; d < in->Dirs_n; d++) {
        for (int32_t i = 0; i < in->Dirs[d].Topics_n; i++) {
            alter_topic *out = &rs->Results[rs->Results_n++];
            int32_t n = FLOE_MAX(in->Dirs[d].Topics[i].Partitions_n, 0);
            out->TopicName = in->Dirs[d].Topics[i].Name;
            out->Partitions = floe_kafka_array(
                &floe_kafka_AlterReplicaLogDirsResponse_AlterReplicaLogDirPartitionResult_desc, n,
                &rq->arena);
            if (!out->Partitions) {
                api_give_up(rq);
                return;
            }
            out->Partitions_n = n;
            for (int32_t k = 0; k < n; k++) {
                int32_t index = in->Dirs[d].Topics[i].Partitions[k];
                out->Partitions[k].PartitionIndex = index;
                out->Partitions[k].ErrorCode = alter_one(rq, in->Dirs[d].Path, out->TopicName, index);
            }
        }
    }
    rq->response = rs;
    floe_request_complete(rq);
}

void api_alter_log_dirs(struct floe_request *rq)
{
    const struct floe_kafka_AlterReplicaLogDirsRequest *in = rq->body;
    struct floe_kafka_AlterReplicaLogDirsResponse *rs = floe_arena_alloc(&rq->arena, sizeof *rs);
    uint32_t n = 0;
    for (int32_t d = 0; d < in->Dirs_n; d++)
        n += (uint32_t)FLOE_MAX(in->Dirs[d].Topics_n, 0);
    struct api_want *wants = floe_arena_calloc(&rq->arena, n, sizeof *wants);
    if (rs) {
        floe_kafka_defaults(&floe_kafka_AlterReplicaLogDirsResponse_desc, rs);
        rs->Results =
            floe_kafka_array(&floe_kafka_AlterReplicaLogDirsResponse_AlterReplicaLogDirTopicResult_desc,
                             (int32_t)n, &rq->arena);
    }
    if (!rs || !wants || !rs->Results) {
        api_give_up(rq);
        return;
    }
    n = 0;
    for (int32_t d = 0; d < in->Dirs_n; d++)
        for (int32_t i = 0; i < in->Dirs[d].Topics_n; i++)
            wants[n++].name = in->Dirs[d].Topics[i].Name;
    rq->state = rs;
    api_topics_ready(rq, wants, n, alter);
}
