/* OffsetFetch 1-10: what a group has committed, or all that it has. The answer is made of the state as it is
 * now and leaves when all of that is committed: it tells no offset that a failover could take back. */
#include "group_int.h"

#include <floe/base/mutant.h>

typedef struct floe_kafka_OffsetFetchResponse_OffsetFetchResponseGroup out_group;
typedef struct floe_kafka_OffsetFetchResponse_OffsetFetchResponseTopics out_topic;
typedef struct floe_kafka_OffsetFetchResponse_OffsetFetchResponsePartitions out_partition;
typedef struct floe_kafka_OffsetFetchRequest_OffsetFetchRequestGroup in_group;
typedef struct floe_kafka_OffsetFetchRequest_OffsetFetchRequestTopics in_topic;

/* One group of the request, and the wait for its shard. */
struct part {
    struct group_wait w;
    struct fetch *f;
    out_group *out;
};
struct fetch {
    struct floe_groups *g;
    struct floe_group_call *c;
    struct part *parts;
    in_group *in;
    out_group *out;
    int32_t n, left;
    bool full; /* the arena is */
};

static void fill(out_partition *p, int32_t index, const struct group_offset *o)
{
    p->PartitionIndex = index;
    p->CommittedOffset = o ? o->offset : -1;
    p->CommittedLeaderEpoch = o ? o->leader_epoch : -1;
    p->Metadata = o ? floe_kstr_n(o->metadata, (size_t)o->metadata_n) : floe_kstr("");
}

/* Metadata is copied: the answer may leave after the offset has changed. */
static bool keep(struct fetch *f, out_partition *p)
{
    size_t n = (size_t)p->Metadata.n;
    const char *copy = floe_arena_strndup(f->c->arena, p->Metadata.p, n);
    p->Metadata = floe_kstr_n(copy, n);
    return copy != NULL;
}

static bool room(struct fetch *f, out_topic *t, int32_t n)
{
    t->Partitions =
        floe_kafka_array(&floe_kafka_OffsetFetchResponse_OffsetFetchResponsePartitions_desc, n, f->c->arena);
    return t->Partitions != NULL;
}

static bool fill_asked(struct fetch *f, const struct group *g, const in_topic *in, out_topic *t)
{
    const struct floe_topic *known = offsets_known(f->g, f->c->version, in->Name, &in->TopicId);
    struct group_topic *own = g && known ? offsets_topic(g, floe_kstr(known->name)) : NULL;
    int32_t n = FLOE_MAX(in->PartitionIndexes_n, 0);
    t->Name = in->Name;
    t->TopicId = in->TopicId;
    if (own && !floe_uuid_eq(&own->id, &known->id))
        own = NULL;
    if (!room(f, t, n))
        return false;
    t->Partitions_n = n;
    for (int32_t i = 0; i < n; i++) {
        fill(&t->Partitions[i], in->PartitionIndexes[i],
             own ? offsets_at(own, in->PartitionIndexes[i]) : NULL);
        if (!known && f->c->version >= 10)
            t->Partitions[i].ErrorCode = FLOE_KERR_UNKNOWN_TOPIC_ID;
        if (!keep(f, &t->Partitions[i]))
            return false;
    }
    return true;
}

static bool fill_topic(struct fetch *f, const struct group_topic *own, out_topic *t)
{
    t->Name = group_arena_str(f->c->arena, own->name);
    t->TopicId = own->id;
    if (t->Name.n < 0 || !room(f, t, (int32_t)own->count))
        return false;
    for (struct floe_map_node *m = floe_map_iter(&own->partitions, NULL); m;
         m = floe_map_iter(&own->partitions, m)) {
        const struct group_offset *o = FLOE_MAP_ENTRY(m, struct group_offset, node);
        fill(&t->Partitions[t->Partitions_n], o->partition, o);
        if (!keep(f, &t->Partitions[t->Partitions_n++]))
            return false;
    }
    return true;
}

static bool topics_array(struct fetch *f, out_group *out, int32_t n)
{
    out->Topics =
        floe_kafka_array(&floe_kafka_OffsetFetchResponse_OffsetFetchResponseTopics_desc, n, f->c->arena);
    return out->Topics != NULL;
}

/* Everything that the group has, of topics that still exist. */
static bool fill_all(struct fetch *f, const struct group *g, out_group *out)
{
    if (!topics_array(f, out, g ? (int32_t)g->topics.n : 0))
        return false;
    for (struct floe_map_node *m = g ? floe_map_iter(&g->topics, NULL) : NULL; m;
         m = floe_map_iter(&g->topics, m)) {
        const struct group_topic *own = FLOE_MAP_ENTRY(m, struct group_topic, node);
        if (floe_catalog_is_deleted(f->g->cfg.catalog, &own->id, g->shard->loaded_us))
            continue;
        if (!fill_topic(f, own, &out->Topics[out->Topics_n++]))
            return false;
    }
    return true;
}

/* A topic that only looks unknown is not answered "nothing committed": a consumer would start anew. */
static int16_t may_fetch(const struct fetch *f, struct group *g, const in_group *in)
{
    for (int32_t i = 0; i < in->Topics_n; i++) {
        const struct floe_topic *t =
            offsets_known(f->g, f->c->version, in->Topics[i].Name, &in->Topics[i].TopicId);
        if (t ? g && offsets_unsure(g, t) : f->c->topics_unsure)
            return FLOE_KERR_COORDINATOR_LOAD_IN_PROGRESS;
    }
    if (g && g->kind == GROUP_CONSUMER && (in->MemberEpoch >= 0 || in->MemberId.n >= 0))
        return consumer_validate_fetch(g, in->MemberId, in->MemberEpoch);
    return 0;
}

/* Where the answer is an error: nothing, but for version 1, which has no place for the error but its
 * partitions. */
static bool fill_error(struct fetch *f, const in_group *in, out_group *out, int16_t error)
{
    out->ErrorCode = error;
    out->Topics_n = 0;
    if (f->c->version > 1)
        return topics_array(f, out, 0);
    if (!topics_array(f, out, FLOE_MAX(in->Topics_n, 0)))
        return false;
    for (; out->Topics_n < in->Topics_n; out->Topics_n++) {
        out_topic *t = &out->Topics[out->Topics_n];
        if (!fill_asked(f, NULL, &in->Topics[out->Topics_n], t))
            return false;
        for (int32_t k = 0; k < t->Partitions_n; k++)
            t->Partitions[k].ErrorCode = error;
    }
    return true;
}

static void finish(struct fetch *f);

static void on_committed(struct group_wait *w, bool committed)
{
    struct part *p = FLOE_CONTAINER(w, struct part, w);
    if (!committed && !fill_error(p->f, &p->f->in[p - p->f->parts], p->out, FLOE_KERR_NOT_COORDINATOR))
        p->f->full = true;
    finish(p->f);
}

static void one_group(struct fetch *f, int32_t i)
{
    const in_group *in = &f->in[i];
    out_group *out = &f->out[i];
    struct part *p = &f->parts[i];
    struct group_shard *s;
    bool ok = true;
    out->GroupId = in->GroupId;
    int16_t error = groups_shard(f->g, in->GroupId, true, &s);
    struct group *g = error ? NULL : group_find(s, in->GroupId);
    if (!error)
        error = may_fetch(f, g, in);
    if (error) {
        ok = fill_error(f, in, out, error);
    } else if (in->Topics_n < 0) {
        ok = fill_all(f, g, out);
    } else {
        ok = topics_array(f, out, in->Topics_n);
        for (int32_t k = 0; ok && k < in->Topics_n; k++)
            ok = fill_asked(f, g, &in->Topics[k], &out->Topics[out->Topics_n++]);
    }
    f->full |= !ok;
    *p = (struct part){.w = {.fn = on_committed}, .f = f, .out = out};
    f->left++;
    if (error || !ok || FLOE_MUTANT(GROUP_TOLD_UNCOMMITTED))
        finish(f);
    else
        journal_wait(s, &p->w);
}

/* ---- versions 1 to 7: one group, at the top level
 * ----------------------------------------------------------- */

static bool from_old(struct fetch *f)
{
    const struct floe_kafka_OffsetFetchRequest *in = f->c->request;
    int32_t n = FLOE_MAX(in->Topics_n, 0);
    f->n = 1;
    f->in = floe_kafka_array(&floe_kafka_OffsetFetchRequest_OffsetFetchRequestGroup_desc, 1, f->c->arena);
    in_topic *topics =
        floe_kafka_array(&floe_kafka_OffsetFetchRequest_OffsetFetchRequestTopics_desc, n, f->c->arena);
    if (!f->in || !topics)
        return false;
    f->in->GroupId = in->GroupId;
    f->in->Topics = topics;
    f->in->Topics_n = in->Topics_n;
    for (int32_t i = 0; i < n; i++) {
        topics[i].Name = in->Topics[i].Name;
        topics[i].PartitionIndexes = in->Topics[i].PartitionIndexes;
        topics[i].PartitionIndexes_n = in->Topics[i].PartitionIndexes_n;
    }
    return true;
}

static bool to_old(struct fetch *f, struct floe_kafka_OffsetFetchResponse *rs)
{
    const out_group *g = f->out;
    rs->ErrorCode = g->ErrorCode;
    rs->Topics = floe_kafka_array(&floe_kafka_OffsetFetchResponse_OffsetFetchResponseTopic_desc, g->Topics_n,
                                  f->c->arena);
    if (!rs->Topics)
        return false;
    rs->Topics_n = g->Topics_n;
    for (int32_t i = 0; i < g->Topics_n; i++) {
        struct floe_kafka_OffsetFetchResponse_OffsetFetchResponseTopic *t = &rs->Topics[i];
        int32_t n = g->Topics[i].Partitions_n;
        t->Name = g->Topics[i].Name;
        t->Partitions = floe_kafka_array(&floe_kafka_OffsetFetchResponse_OffsetFetchResponsePartition_desc, n,
                                         f->c->arena);
        if (!t->Partitions)
            return false;
        t->Partitions_n = n;
        for (int32_t k = 0; k < n; k++) {
            const out_partition *p = &g->Topics[i].Partitions[k];
            t->Partitions[k].PartitionIndex = p->PartitionIndex;
            t->Partitions[k].CommittedOffset = p->CommittedOffset;
            t->Partitions[k].CommittedLeaderEpoch = p->CommittedLeaderEpoch;
            t->Partitions[k].Metadata = p->Metadata;
            t->Partitions[k].ErrorCode = p->ErrorCode;
        }
    }
    return true;
}

static void finish(struct fetch *f)
{
    struct floe_kafka_OffsetFetchResponse *rs = f->c->response;
    if (--f->left > 0)
        return;
    if (!f->full && f->c->version >= 8) {
        rs->Groups = f->out;
        rs->Groups_n = f->n;
    } else if (!f->full) {
        f->full = !to_old(f, rs);
    }
    if (f->full)
        f->c->response = NULL;
    group_answer(f->c);
}

void floe_group_offset_fetch(struct floe_groups *g, struct floe_group_call *c)
{
    c->g = g;
    const struct floe_kafka_OffsetFetchRequest *in = c->request;
    void *rs = group_response(c, &floe_kafka_OffsetFetchResponse_desc);
    struct fetch *f = floe_arena_alloc(c->arena, sizeof *f);
    if (rs && f) {
        *f = (struct fetch){.g = g, .c = c, .in = in->Groups, .n = FLOE_MAX(in->Groups_n, 0)};
        if (c->version < 8 && !from_old(f))
            rs = NULL;
        f->out =
            floe_kafka_array(&floe_kafka_OffsetFetchResponse_OffsetFetchResponseGroup_desc, f->n, c->arena);
        f->parts = floe_arena_calloc(c->arena, (size_t)f->n, sizeof *f->parts);
    }
    if (!rs || !f || !f->out || !f->parts) {
        c->response = NULL;
        group_answer(c);
        return;
    }
    f->left = 1;
    for (int32_t i = 0; i < f->n; i++)
        one_group(f, i);
    finish(f);
}
