/* Committed offsets: OffsetCommit, OffsetDelete, expiry. OffsetFetch is in offsets_fetch.c.
 *
 * An offset is of a topic's id: one that was committed for a name's former topic counts for nothing, and goes
 * with the next sweep. Retention is Kafka's (KIP-211): a group without members keeps its offsets for
 * offsets.retention.minutes after its last member left or its last commit; one with members keeps those of
 * topics it subscribes to.
 *
 * Long because: a commit, a deletion and an expiry share the rules of what an offset counts for. */
#include "group_int.h"

#include <stdlib.h>

#define VALUE_VERSION 4 /* the first that has the topic's id */

/* ---- state -------------------------------------------------------------------------------------------- */

struct group_topic *offsets_topic(const struct group *g, struct floe_kstr name)
{
    struct floe_map_node *m = floe_map_first(&g->topics, group_hash(name.p, (size_t)FLOE_MAX(name.n, 0)));
    for (; m != NULL; m = floe_map_next_same(m)) {
        struct group_topic *t = FLOE_MAP_ENTRY(m, struct group_topic, node);
        if (floe_kstr_is(name, t->name))
            return t;
    }
    return NULL;
}

static uint64_t partition_hash(int32_t partition)
{
    return (uint32_t)partition * 0x9e3779b97f4a7c15ull;
}

struct group_offset *offsets_at(const struct group_topic *t, int32_t partition)
{
    struct floe_map_node *m = floe_map_first(&t->partitions, partition_hash(partition));
    for (; m != NULL; m = floe_map_next_same(m)) {
        struct group_offset *o = FLOE_MAP_ENTRY(m, struct group_offset, node);
        if (o->partition == partition)
            return o;
    }
    return NULL;
}

static void remove_offset(struct group *g, struct group_topic *t, struct group_offset *o)
{
    floe_map_remove(&t->partitions, &o->node);
    free(o->metadata);
    free(o);
    t->count--;
    g->offset_count--;
    g->shard->g->stats.offsets--;
}

static void remove_topic(struct group *g, struct group_topic *t)
{
    for (struct floe_map_node *m = floe_map_iter(&t->partitions, NULL), *next; m != NULL; m = next) {
        next = floe_map_iter(&t->partitions, m);
        remove_offset(g, t, FLOE_MAP_ENTRY(m, struct group_offset, node));
    }
    floe_map_fini(&t->partitions);
    floe_map_remove(&g->topics, &t->node);
    free(t->name);
    free(t);
}

void offsets_free(struct group *g)
{
    for (struct floe_map_node *m = floe_map_iter(&g->topics, NULL), *next; m != NULL; m = next) {
        next = floe_map_iter(&g->topics, m);
        remove_topic(g, FLOE_MAP_ENTRY(m, struct group_topic, node));
    }
}

static struct group_topic *make_topic(struct group *g, struct floe_kstr name, const struct floe_uuid *id)
{
    struct group_topic *t = offsets_topic(g, name);
    if (t && !floe_uuid_eq(&t->id, id)) {
        remove_topic(g, t); /* of the name's former topic */
        t = NULL;
    }
    if (t)
        return t;
    t = calloc(1, sizeof *t);
    FLOE_ASSERT(t); /* its record is on its way: the state cannot stay behind */
    t->id = *id;
    t->name = group_strdup(name);
    FLOE_ASSERT(t->name && floe_map_insert(&g->topics, &t->node, group_hash(name.p, (size_t)name.n)));
    floe_map_init(&t->partitions);
    return t;
}

/* What a record says, from the journal or on its way into it. */
static void apply(struct group *g, struct floe_kstr topic, int32_t partition,
                  const struct floe_kafka_OffsetCommitValue *v)
{
    struct group_topic *t = make_topic(g, topic, &v->TopicId);
    struct group_offset *o = offsets_at(t, partition);
    if (!o) {
        o = calloc(1, sizeof *o);
        FLOE_ASSERT(o && floe_map_insert(&t->partitions, &o->node, partition_hash(partition)));
        o->partition = partition;
        t->count++;
        g->offset_count++;
        g->shard->g->stats.offsets++;
    }
    free(o->metadata);
    o->metadata = group_strdup(v->Metadata);
    FLOE_ASSERT(o->metadata);
    o->metadata_n = v->Metadata.n;
    o->offset = v->Offset;
    o->leader_epoch = v->LeaderEpoch;
    o->commit_ms = v->CommitTimestamp;
    o->expire_ms = v->ExpireTimestamp >= 0 ? v->ExpireTimestamp : v->ExpireAt;
}

void offsets_replay(struct group_shard *s, const struct floe_kafka_OffsetCommitKey *k,
                    const struct floe_kafka_OffsetCommitValue *v)
{
    struct group *g = v ? group_make(s, k->Group) : group_find(s, k->Group);
    if (v) {
        FLOE_ASSERT(g);
        apply(g, k->Topic, k->Partition, v);
        return;
    }
    struct group_topic *t = g ? offsets_topic(g, k->Topic) : NULL;
    struct group_offset *o = t ? offsets_at(t, k->Partition) : NULL;
    if (!o)
        return;
    remove_offset(g, t, o);
    if (t->count == 0)
        remove_topic(g, t);
}

/* ---- records ------------------------------------------------------------------------------------------ */

static void put(struct group_shard *s, struct floe_kstr group, struct floe_kstr topic, int32_t partition,
                const struct floe_kafka_OffsetCommitValue *v)
{
    struct floe_kafka_OffsetCommitKey k = {.Group = group, .Topic = topic, .Partition = partition};
    journal_put(s, GROUP_REC_OFFSET, &floe_kafka_OffsetCommitKey_desc, &k, &floe_kafka_OffsetCommitValue_desc,
                VALUE_VERSION, v);
}

static void put_again(struct group *g, struct group_topic *t, struct group_offset *o)
{
    struct floe_kafka_OffsetCommitValue v;
    floe_kafka_defaults(&floe_kafka_OffsetCommitValue_desc, &v);
    v.Offset = o->offset;
    v.LeaderEpoch = o->leader_epoch;
    v.Metadata = floe_kstr_n(o->metadata, (size_t)o->metadata_n);
    v.CommitTimestamp = o->commit_ms;
    v.ExpireAt = o->expire_ms;
    v.TopicId = t->id;
    put(g->shard, floe_kstr(g->name), floe_kstr(t->name), o->partition, &v);
}

#define EACH_TOPIC(m, g)                                                                                     \
    for (struct floe_map_node *m = floe_map_iter(&(g)->topics, NULL), *m##_next; m != NULL; m = m##_next)    \
        if ((m##_next = floe_map_iter(&(g)->topics, m)), 1)
#define EACH_OFFSET(m, t)                                                                                    \
    for (struct floe_map_node *m = floe_map_iter(&(t)->partitions, NULL), *m##_next; m != NULL;              \
         m = m##_next)                                                                                       \
        if ((m##_next = floe_map_iter(&(t)->partitions, m)), 1)

void offsets_snapshot(struct group *g)
{
    EACH_TOPIC(m, g)
    {
        struct group_topic *t = FLOE_MAP_ENTRY(m, struct group_topic, node);
        journal_begin(g->shard);
        EACH_OFFSET(n, t)
        {
            put_again(g, t, FLOE_MAP_ENTRY(n, struct group_offset, node));
            if (!journal_op_large(g->shard))
                continue;
            (void)!journal_end(g->shard, false); /* what does not fit spoils the snapshot: journal.c */
            journal_begin(g->shard);
        }
        (void)!journal_end(g->shard, false);
    }
}

void offsets_put_tombstones(struct group *g)
{
    EACH_TOPIC(m, g)
    {
        struct group_topic *t = FLOE_MAP_ENTRY(m, struct group_topic, node);
        EACH_OFFSET(n, t)
        {
            put(g->shard, floe_kstr(g->name), floe_kstr(t->name),
                FLOE_MAP_ENTRY(n, struct group_offset, node)->partition, NULL);
        }
    }
}

/* ---- OffsetCommit ------------------------------------------------------------------------------------- */

static int16_t may_commit(struct group *g, const struct floe_kafka_OffsetCommitRequest *in, int16_t version)
{
    if (!g || g->kind == GROUP_EMPTY) {
        if (in->GenerationIdOrMemberEpoch < 0)
            return 0; /* a simple consumer: Kafka keeps offsets for it without any membership */
        if (g && g->kind == GROUP_EMPTY)
            return FLOE_KERR_UNKNOWN_MEMBER_ID;
        return version >= 9 ? FLOE_KERR_GROUP_ID_NOT_FOUND : FLOE_KERR_ILLEGAL_GENERATION;
    }
    if (g->kind == GROUP_CLASSIC)
        return classic_validate_commit(g, in->MemberId, in->GroupInstanceId, in->GenerationIdOrMemberEpoch);
    return consumer_validate_commit(g, in->MemberId, in->GenerationIdOrMemberEpoch, version);
}

typedef struct floe_kafka_OffsetCommitResponse commit_response;
typedef struct floe_kafka_OffsetCommitResponse_OffsetCommitResponseTopic commit_topic;

static void fail_commit(struct floe_group_call *c, int16_t error)
{
    commit_response *rs = c->response;
    for (int32_t i = 0; i < rs->Topics_n; i++)
        for (int32_t k = 0; k < rs->Topics[i].Partitions_n; k++)
            rs->Topics[i].Partitions[k].ErrorCode = error;
}

/* The answer's skeleton: every partition asked for. */
static commit_response *commit_skeleton(struct floe_group_call *c)
{
    const struct floe_kafka_OffsetCommitRequest *in = c->request;
    commit_response *rs = group_response(c, &floe_kafka_OffsetCommitResponse_desc);
    int32_t n = FLOE_MAX(in->Topics_n, 0);
    if (rs)
        rs->Topics =
            floe_kafka_array(&floe_kafka_OffsetCommitResponse_OffsetCommitResponseTopic_desc, n, c->arena);
    if (!rs || !rs->Topics)
        return NULL;
    rs->Topics_n = n;
    for (int32_t i = 0; i < n; i++) {
        commit_topic *t = &rs->Topics[i];
        int32_t k = FLOE_MAX(in->Topics[i].Partitions_n, 0);
        t->Name = in->Topics[i].Name;
        t->TopicId = in->Topics[i].TopicId;
        t->Partitions = floe_kafka_array(&floe_kafka_OffsetCommitResponse_OffsetCommitResponsePartition_desc,
                                         k, c->arena);
        if (!t->Partitions)
            return NULL;
        t->Partitions_n = k;
        while (k-- > 0)
            t->Partitions[k].PartitionIndex = in->Topics[i].Partitions[k].PartitionIndex;
    }
    return rs;
}

const struct floe_topic *offsets_known(struct floe_groups *g, int16_t version, struct floe_kstr name,
                                       const struct floe_uuid *id)
{
    if (version >= 10)
        return floe_catalog_by_id(g->cfg.catalog, id);
    return floe_catalog_by_name(g->cfg.catalog, name.p, (size_t)FLOE_MAX(name.n, 0));
}

bool offsets_unsure(const struct group *g, const struct floe_topic *known)
{
    struct floe_catalog *c = g->shard->g->cfg.catalog;
    struct group_topic *own = offsets_topic(g, floe_kstr(known->name));
    if (!own || own->seen)
        return false;
    own->seen = floe_uuid_eq(&own->id, &known->id) || floe_catalog_read_since(c, g->shard->loaded_us);
    return !own->seen;
}

/* A topic that there is not is told of as such, whatever there is to say of the group. */
static void tell_unknown(struct floe_groups *g, struct floe_group_call *c)
{
    const struct floe_kafka_OffsetCommitRequest *in = c->request;
    commit_response *rs = c->response;
    for (int32_t i = 0; i < rs->Topics_n && !c->topics_unsure; i++) {
        bool known = offsets_known(g, c->version, in->Topics[i].Name, &in->Topics[i].TopicId);
        for (int32_t k = 0; k < rs->Topics[i].Partitions_n && !known; k++)
            rs->Topics[i].Partitions[k].ErrorCode =
                c->version >= 10 ? FLOE_KERR_UNKNOWN_TOPIC_ID : FLOE_KERR_UNKNOWN_TOPIC_OR_PARTITION;
    }
}

typedef struct floe_kafka_OffsetCommitRequest_OffsetCommitRequestPartition commit_partition;

/* `keep_ms`: for so long, whatever the setting; -1: by the setting. */
static void commit_value(const struct floe_topic *t, const commit_partition *p, int64_t now, int64_t keep_ms,
                         struct floe_kafka_OffsetCommitValue *v)
{
    floe_kafka_defaults(&floe_kafka_OffsetCommitValue_desc, v);
    v->Offset = p->CommittedOffset;
    v->LeaderEpoch = p->CommittedLeaderEpoch;
    v->Metadata = p->CommittedMetadata.n < 0 ? floe_kstr("") : p->CommittedMetadata;
    v->CommitTimestamp = now;
    if (keep_ms != -1)
        v->ExpireAt = FLOE_MAX(now + FLOE_MIN(keep_ms, INT64_MAX - now), 0);
    v->TopicId = t->id;
}

/* Puts the records of all partitions, or with `apply_to` makes them the state. */
static void commit_each(struct floe_groups *g, struct floe_group_call *c, struct group_shard *s,
                        struct group *apply_to, int64_t now)
{
    const struct floe_kafka_OffsetCommitRequest *in = c->request;
    commit_response *rs = c->response;
    for (int32_t i = 0; i < rs->Topics_n; i++) {
        const struct floe_topic *t = offsets_known(g, c->version, in->Topics[i].Name, &in->Topics[i].TopicId);
        const struct group *group = apply_to ? apply_to : group_find(s, in->GroupId);
        bool unsure = t && group && offsets_unsure(group, t);
        for (int32_t k = 0; k < rs->Topics[i].Partitions_n; k++) {
            const commit_partition *p = &in->Topics[i].Partitions[k];
            int16_t *error = &rs->Topics[i].Partitions[k].ErrorCode;
            struct floe_kafka_OffsetCommitValue v;
            if (t ? unsure : c->topics_unsure)
                *error = FLOE_KERR_COORDINATOR_LOAD_IN_PROGRESS; /* clients commit again */
            else if (!t)
                *error = c->version >= 10 ? FLOE_KERR_UNKNOWN_TOPIC_ID : FLOE_KERR_UNKNOWN_TOPIC_OR_PARTITION;
            else if (p->PartitionIndex < 0 || p->PartitionIndex >= t->partitions)
                *error = FLOE_KERR_UNKNOWN_TOPIC_OR_PARTITION;
            else if (p->CommittedMetadata.n > (int32_t)g->cfg.set.metadata_max)
                *error = FLOE_KERR_OFFSET_METADATA_TOO_LARGE;
            if (*error)
                continue;
            commit_value(t, p, now, in->RetentionTimeMs, &v);
            if (apply_to)
                apply(apply_to, floe_kstr(t->name), p->PartitionIndex, &v);
            else
                put(s, in->GroupId, floe_kstr(t->name), p->PartitionIndex, &v);
        }
        struct group_topic *own = t && apply_to ? offsets_topic(apply_to, floe_kstr(t->name)) : NULL;
        if (own)
            own->seen |= floe_uuid_eq(&own->id, &t->id);
    }
}

void floe_group_offset_commit(struct floe_groups *g, struct floe_group_call *c)
{
    c->g = g;
    const struct floe_kafka_OffsetCommitRequest *in = c->request;
    struct group_shard *s = NULL;
    if (!commit_skeleton(c)) {
        c->response = NULL;
        group_answer(c);
        return;
    }
    int16_t error = groups_shard(g, in->GroupId, true, &s);
    struct group *group = error ? NULL : group_find(s, in->GroupId);
    if (!error)
        error = may_commit(group, in, c->version);
    if (!error && journal_full(s))
        error = FLOE_KERR_COORDINATOR_LOAD_IN_PROGRESS; /* clients commit again */
    if (error) {
        fail_commit(c, error);
        tell_unknown(g, c);
        group_answer(c);
        return;
    }
    int64_t now = group_wall_ms(g);
    journal_gather_for(g, in->GroupId);
    journal_begin(s);
    commit_each(g, c, s, NULL, now);
    if (!journal_end(s, false)) {
        fail_commit(c, FLOE_KERR_INVALID_COMMIT_OFFSET_SIZE);
        group_answer(c);
        return;
    }
    group = group_make(s, in->GroupId);
    FLOE_ASSERT(group); /* its records are on their way */
    commit_each(g, c, s, group, now);
    group_drop_if_nothing(group);
    group_answer_committed(s, c, fail_commit);
}

/* ---- OffsetDelete ------------------------------------------------------------------------------------- */

typedef struct floe_kafka_OffsetDeleteResponse delete_response;

static void fail_delete(struct floe_group_call *c, int16_t error)
{
    delete_response *rs = c->response;
    rs->ErrorCode = error;
    rs->Topics_n = 0;
}

static bool delete_unsure(struct floe_groups *g, const struct floe_group_call *c)
{
    const struct floe_kafka_OffsetDeleteRequest *in = c->request;
    for (int32_t i = 0; c->topics_unsure && i < in->Topics_n; i++)
        if (!offsets_known(g, 0, in->Topics[i].Name, NULL))
            return true;
    return false;
}

static bool delete_skeleton(struct floe_groups *g, struct floe_group_call *c, const struct subscribed *sub)
{
    const struct floe_kafka_OffsetDeleteRequest *in = c->request;
    delete_response *rs = c->response;
    int32_t n = FLOE_MAX(in->Topics_n, 0);
    rs->Topics =
        floe_kafka_array(&floe_kafka_OffsetDeleteResponse_OffsetDeleteResponseTopic_desc, n, c->arena);
    if (!rs->Topics)
        return false;
    rs->Topics_n = n;
    for (int32_t i = 0; i < n; i++) {
        int32_t m = FLOE_MAX(in->Topics[i].Partitions_n, 0);
        const struct floe_topic *t = offsets_known(g, 0, in->Topics[i].Name, NULL);
        bool subscribed = t && subscribed_to(sub, in->Topics[i].Name);
        rs->Topics[i].Name = in->Topics[i].Name;
        rs->Topics[i].Partitions = floe_kafka_array(
            &floe_kafka_OffsetDeleteResponse_OffsetDeleteResponsePartition_desc, m, c->arena);
        if (!rs->Topics[i].Partitions)
            return false;
        rs->Topics[i].Partitions_n = m;
        for (int32_t k = 0; k < m; k++) {
            int32_t index = in->Topics[i].Partitions[k].PartitionIndex;
            rs->Topics[i].Partitions[k].PartitionIndex = index;
            if (!t || index < 0 || index >= t->partitions)
                rs->Topics[i].Partitions[k].ErrorCode = FLOE_KERR_UNKNOWN_TOPIC_OR_PARTITION;
            else if (subscribed)
                rs->Topics[i].Partitions[k].ErrorCode = FLOE_KERR_GROUP_SUBSCRIBED_TO_TOPIC;
        }
    }
    return true;
}

static void delete_each(struct group *g, const delete_response *rs, bool apply_now)
{
    for (int32_t i = 0; i < rs->Topics_n; i++) {
        for (int32_t k = 0; k < rs->Topics[i].Partitions_n; k++) {
            int32_t index = rs->Topics[i].Partitions[k].PartitionIndex;
            struct group_topic *t = offsets_topic(g, rs->Topics[i].Name);
            struct group_offset *o = t ? offsets_at(t, index) : NULL;
            if (!o || rs->Topics[i].Partitions[k].ErrorCode)
                continue;
            if (!apply_now) {
                put(g->shard, floe_kstr(g->name), rs->Topics[i].Name, index, NULL);
                continue;
            }
            remove_offset(g, t, o);
            if (t->count == 0)
                remove_topic(g, t);
        }
    }
}

void floe_group_offset_delete(struct floe_groups *g, struct floe_group_call *c)
{
    c->g = g;
    const struct floe_kafka_OffsetDeleteRequest *in = c->request;
    delete_response *rs = group_response(c, &floe_kafka_OffsetDeleteResponse_desc);
    struct group_shard *s;
    if (!rs) {
        group_answer(c);
        return;
    }
    rs->ErrorCode = groups_shard(g, in->GroupId, false, &s);
    struct group *group = rs->ErrorCode ? NULL : group_find(s, in->GroupId);
    if (!rs->ErrorCode && !group)
        rs->ErrorCode = FLOE_KERR_GROUP_ID_NOT_FOUND;
    if (!rs->ErrorCode && group->kind == GROUP_CLASSIC && classic_member_count(group) > 0 &&
        !floe_kstr_is(classic_protocol_type(group, c->arena), "consumer"))
        rs->ErrorCode = FLOE_KERR_NON_EMPTY_GROUP; /* nobody can tell what they subscribe to */
    if (!rs->ErrorCode && delete_unsure(g, c))
        rs->ErrorCode = FLOE_KERR_COORDINATOR_LOAD_IN_PROGRESS;
    if (!rs->ErrorCode) {
        struct subscribed sub;
        subscribed_init(&sub, group);
        if (!delete_skeleton(g, c, &sub))
            c->response = NULL;
        subscribed_fini(&sub);
    }
    if (!c->response || rs->ErrorCode) {
        group_answer(c);
        return;
    }
    journal_begin(s);
    delete_each(group, rs, false);
    if (!journal_end(s, false)) {
        fail_delete(c, FLOE_KERR_UNKNOWN_SERVER_ERROR);
        group_answer(c);
        return;
    }
    delete_each(group, rs, true);
    group_drop_if_nothing(group);
    group_answer_committed(s, c, fail_delete);
}

/* ---- expiry ------------------------------------------------------------------------------------------- */

static bool has_members(const struct group *g)
{
    return g->kind == GROUP_CLASSIC ? classic_has_members(g)
                                    : g->kind == GROUP_CONSUMER && consumer_has_members(g);
}

struct sweep {
    struct group *g;
    int64_t now;
    bool all, asked;       /* all: whether they are expired or not */
    struct subscribed sub; /* once it was asked for */
};

static bool keeps(struct sweep *w, const struct group_topic *t)
{
    if (w->g->kind == GROUP_CLASSIC && strcmp(classic_state(w->g), "Stable") != 0)
        return true; /* its members may come back with other subscriptions */
    if (!w->asked)
        subscribed_init(&w->sub, w->g);
    w->asked = true;
    return subscribed_to(&w->sub, floe_kstr(t->name));
}

static bool expired(struct sweep *w, const struct group_topic *t, const struct group_offset *o)
{
    const struct group *g = w->g;
    const struct floe_groups *gs = g->shard->g;
    int64_t from = o->commit_ms;
    bool members = has_members(g);
    if (!members && g->kind != GROUP_EMPTY && g->empty_since_ms > from)
        from = g->empty_since_ms;
    if (o->expire_ms >= 0 ? w->now < o->expire_ms : w->now - from < (int64_t)gs->cfg.set.retention_ms)
        return false;
    return !members || !keeps(w, t);
}

static void sweep_group(struct sweep *w, bool apply_now)
{
    struct group *g = w->g;
    EACH_TOPIC(m, g)
    {
        struct group_topic *t = FLOE_MAP_ENTRY(m, struct group_topic, node);
        bool gone = floe_catalog_is_deleted(g->shard->g->cfg.catalog, &t->id, g->shard->loaded_us);
        EACH_OFFSET(n, t)
        {
            struct group_offset *o = FLOE_MAP_ENTRY(n, struct group_offset, node);
            if (!gone && !expired(w, t, o))
                continue;
            if (apply_now)
                remove_offset(g, t, o);
            else
                put(g->shard, floe_kstr(g->name), floe_kstr(t->name), o->partition, NULL);
        }
        if (apply_now && t->count == 0)
            remove_topic(g, t);
    }
}

/* Offsets whose end is in the open operation. */
struct part {
    struct group_topic *t;
    struct group_offset *o;
};
#define PART_MAX 512u

static bool part_end(struct group *g, struct part *part, uint32_t *n)
{
    bool ok = journal_end(g->shard, false);
    for (uint32_t i = 0; ok && i < *n; i++) {
        remove_offset(g, part[i].t, part[i].o);
        if (part[i].t->count == 0)
            remove_topic(g, part[i].t);
    }
    *n = 0;
    return ok;
}

/* The same as sweep_group, for more than one operation takes. */
static bool sweep_in_parts(struct sweep *w)
{
    struct group *g = w->g;
    struct part part[PART_MAX];
    uint32_t n = 0;
    journal_begin(g->shard);
    EACH_TOPIC(m, g)
    {
        struct group_topic *t = FLOE_MAP_ENTRY(m, struct group_topic, node);
        bool gone = w->all || floe_catalog_is_deleted(g->shard->g->cfg.catalog, &t->id, g->shard->loaded_us);
        EACH_OFFSET(k, t)
        {
            struct group_offset *o = FLOE_MAP_ENTRY(k, struct group_offset, node);
            if (!gone && !expired(w, t, o))
                continue;
            put(g->shard, floe_kstr(g->name), floe_kstr(t->name), o->partition, NULL);
            part[n++] = (struct part){t, o};
            if (n < PART_MAX && !journal_op_large(g->shard))
                continue;
            if (!part_end(g, part, &n)) /* the topic may have gone with its last offset */
                return false;
            journal_begin(g->shard);
        }
    }
    return part_end(g, part, &n);
}

bool offsets_take_out(struct group *g)
{
    struct sweep w = {.g = g, .all = true};
    return sweep_in_parts(&w);
}

void offsets_sweep(struct group_shard *s)
{
    int64_t now = group_wall_ms(s->g);
    FLOE_LIST_EACH_SAFE(it, &s->order)
    {
        struct group *g = FLOE_LIST_ENTRY(it, struct group, link);
        struct sweep w = {.g = g, .now = now};
        journal_begin(s);
        sweep_group(&w, false);
        bool ok = journal_end(s, false);
        if (ok)
            sweep_group(&w, true);
        else
            ok = sweep_in_parts(&w);
        if (w.asked)
            subscribed_fini(&w.sub);
        if (!ok)
            continue;
        if (g->offset_count > 0 || has_members(g) ||
            now - g->empty_since_ms < (int64_t)s->g->cfg.set.retention_check_ms)
            continue;
        journal_begin(s);
        if (g->kind == GROUP_CLASSIC)
            classic_put_tombstones(g);
        else if (g->kind == GROUP_CONSUMER)
            consumer_put_tombstones(g);
        if (journal_end(s, false))
            group_free(g);
    }
}
