/* KIP-848 groups in the journal: the records of an operation, and what each does to the state, live and when
 * a journal is loaded. */
#include "consumer_int.h"

#include <floe/base/mutant.h>

#include <stdalign.h>
#include <stddef.h>
#include <stdlib.h>

#define CHANGE_BYTES_MAX ((size_t)1 << 30) /* never reached: more than a group's state in memory */

typedef struct floe_kafka_ConsumerGroupTargetAssignmentMemberValue target_value;
typedef struct floe_kafka_ConsumerGroupTargetAssignmentMemberValue_TopicPartition target_topic;
typedef struct floe_kafka_ConsumerGroupCurrentMemberAssignmentValue current_value;
typedef struct floe_kafka_ConsumerGroupCurrentMemberAssignmentValue_TopicPartitions current_topic;

/* ---- operations --------------------------------------------------------------------------------------- */

void change_begin(struct change *x, struct group_shard *s, struct floe_kstr group)
{
    *x = (struct change){.s = s, .last = &x->first};
    floe_arena_init(&x->a, CHANGE_BYTES_MAX);
    x->group = floe_kstr_n(floe_arena_strndup(&x->a, group.p, (size_t)group.n), (size_t)group.n);
    FLOE_ASSERT(x->group.p);
}

void change_drop(struct change *x)
{
    floe_arena_fini(&x->a);
}

bool change_commit(struct change *x)
{
    struct group_shard *s = x->s;
    journal_begin(s);
    for (struct change_record *r = x->first; r; r = r->next)
        records_put(s, r->type, r->key, r->value);
    bool ok = journal_end(s, true);
    for (struct change_record *r = ok ? x->first : NULL; r; r = r->next)
        records_apply(s, r->type, r->key, r->value);
    change_drop(x);
    return ok;
}

static void add(struct change *x, int16_t type, const void *key, const void *value)
{
    struct change_record *r = consumer_alloc(&x->a, 1, sizeof *r);
    *r = (struct change_record){.type = type, .key = key, .value = value};
    *x->last = r;
    x->last = &r->next;
}

/* Keys of all types begin with the group, those of members go on with the member: one struct each. */
static void *group_key(struct change *x)
{
    struct floe_kafka_ConsumerGroupMetadataKey *k = consumer_alloc(&x->a, 1, sizeof *k);
    k->GroupId = x->group;
    return k;
}

#define MEMBER_KEY(x, T, id)                                                                                 \
    do {                                                                                                     \
        k = consumer_alloc(&(x)->a, 1, sizeof(struct floe_kafka_##T##Key));                                  \
        k->GroupId = (x)->group;                                                                             \
        k->MemberId = (id);                                                                                  \
    } while (0)

void change_end_classic(struct change *x)
{
    struct floe_kafka_GroupMetadataKey *k = consumer_alloc(&x->a, 1, sizeof *k);
    k->Group = x->group;
    add(x, GROUP_REC_CLASSIC, k, NULL);
}

void change_group(struct change *x, int32_t epoch, uint64_t hash)
{
    struct floe_kafka_ConsumerGroupMetadataValue *v = consumer_alloc(&x->a, 1, sizeof *v);
    floe_kafka_defaults(&floe_kafka_ConsumerGroupMetadataValue_desc, v);
    v->Epoch = epoch;
    v->MetadataHash = (int64_t)hash;
    add(x, GROUP_REC_CONSUMER, group_key(x), v);
}

void change_member(struct change *x, struct floe_kstr id, const member_meta *meta)
{
    struct floe_kafka_ConsumerGroupMemberMetadataKey *k;
    MEMBER_KEY(x, ConsumerGroupMemberMetadata, id);
    add(x, GROUP_REC_MEMBER, k, meta);
}

void change_target_epoch(struct change *x, int32_t epoch)
{
    struct floe_kafka_ConsumerGroupTargetAssignmentMetadataKey *k = consumer_alloc(&x->a, 1, sizeof *k);
    struct floe_kafka_ConsumerGroupTargetAssignmentMetadataValue *v = consumer_alloc(&x->a, 1, sizeof *v);
    k->GroupId = x->group;
    v->AssignmentEpoch = epoch;
    add(x, GROUP_REC_TARGET, k, v);
}

/* Partitions of one topic: their numbers alone. */
static int32_t *indexes(const struct parts *s, uint32_t from, uint32_t to, struct floe_arena *a)
{
    int32_t *out = consumer_alloc(a, to - from, sizeof *out);
    for (uint32_t i = from; i < to; i++)
        out[i - from] = s->p[i].index;
    return out;
}

void change_target(struct change *x, struct floe_kstr id, const struct parts *target)
{
    struct floe_kafka_ConsumerGroupTargetAssignmentMemberKey *k;
    target_value *v = consumer_alloc(&x->a, 1, sizeof *v);
    MEMBER_KEY(x, ConsumerGroupTargetAssignmentMember, id);
    v->TopicPartitions = consumer_alloc(&x->a, (size_t)parts_topics(target), sizeof *v->TopicPartitions);
    for (uint32_t i = 0, end; i < target->n; i = end) {
        end = parts_topic_end(target, i);
        v->TopicPartitions[v->TopicPartitions_n++] =
            (target_topic){target->p[i].topic, indexes(target, i, end, &x->a), (int32_t)(end - i)};
    }
    add(x, GROUP_REC_TARGET_MEMBER, k, v);
}

static current_topic *current_topics(const struct parts *s, int32_t *n, struct floe_arena *a)
{
    current_topic *out = consumer_alloc(a, (size_t)parts_topics(s), sizeof *out);
    *n = 0;
    for (uint32_t i = 0, end; i < s->n; i = end) {
        end = parts_topic_end(s, i);
        out[(*n)++] = (current_topic){s->p[i].topic, indexes(s, i, end, a), (int32_t)(end - i)};
    }
    return out;
}

void change_current(struct change *x, struct floe_kstr id, const struct consumer_current *now)
{
    struct floe_kafka_ConsumerGroupCurrentMemberAssignmentKey *k;
    current_value *v = consumer_alloc(&x->a, 1, sizeof *v);
    MEMBER_KEY(x, ConsumerGroupCurrentMemberAssignment, id);
    v->MemberEpoch = now->epoch;
    v->PreviousMemberEpoch = now->previous;
    v->State = (int8_t)now->state;
    v->AssignedPartitions = current_topics(&now->assigned, &v->AssignedPartitions_n, &x->a);
    v->PartitionsPendingRevocation = current_topics(&now->revoking, &v->PartitionsPendingRevocation_n, &x->a);
    add(x, GROUP_REC_CURRENT, k, v);
}

void change_to_classic(struct change *x, const struct consumer *c,
                       const struct floe_kafka_GroupMetadataValue *v)
{
    struct floe_kafka_GroupMetadataKey *k = consumer_alloc(&x->a, 1, sizeof *k);
    struct floe_kafka_ConsumerGroupTargetAssignmentMetadataKey *target =
        consumer_alloc(&x->a, 1, sizeof *target);
    FLOE_LIST_EACH(it, &c->members)
    {
        const char *id = FLOE_LIST_ENTRY(it, struct consumer_member, link)->id;
        const char *copy = floe_arena_strndup(&x->a, id, strlen(id));
        FLOE_ASSERT(copy);
        change_remove(x, floe_kstr(copy));
    }
    target->GroupId = x->group;
    add(x, GROUP_REC_TARGET, target, NULL);
    add(x, GROUP_REC_CONSUMER, group_key(x), NULL);
    k->Group = x->group;
    add(x, GROUP_REC_CLASSIC, k, v);
}

void change_remove(struct change *x, struct floe_kstr id)
{
    struct floe_kafka_ConsumerGroupCurrentMemberAssignmentKey *current;
    struct floe_kafka_ConsumerGroupTargetAssignmentMemberKey *target;
    {
        struct floe_kafka_ConsumerGroupCurrentMemberAssignmentKey *k;
        MEMBER_KEY(x, ConsumerGroupCurrentMemberAssignment, id);
        current = k;
    }
    {
        struct floe_kafka_ConsumerGroupTargetAssignmentMemberKey *k;
        MEMBER_KEY(x, ConsumerGroupTargetAssignmentMember, id);
        target = k;
    }
    add(x, GROUP_REC_CURRENT, current, NULL);
    add(x, GROUP_REC_TARGET_MEMBER, target, NULL);
    change_member(x, id, NULL);
}

/* ---- replay ------------------------------------------------------------------------------------------- */

static struct floe_kstr pack(char **at, struct floe_kstr s)
{
    struct floe_kstr out = {*at, s.n};
    if (s.n < 0)
        return floe_kstr(NULL);
    if (s.n > 0)
        memcpy(*at, s.p, (size_t)s.n);
    (*at)[s.n] = '\0';
    *at += s.n + 1;
    return out;
}

static size_t text_size(struct floe_kstr s)
{
    return (size_t)FLOE_MAX(s.n, 0) + 1;
}

#define ALIGN alignof(max_align_t)

static size_t classic_size(const classic_meta *v)
{
    size_t n = (size_t)FLOE_MAX(v->SupportedProtocols_n, 0);
    size_t size = sizeof *v + n * sizeof *v->SupportedProtocols + 2 * ALIGN;
    for (size_t i = 0; i < n; i++)
        size += text_size(v->SupportedProtocols[i].Name) +
                (size_t)FLOE_MAX(v->SupportedProtocols[i].Metadata.n, 0);
    return size;
}

/* Into the room at `at`. */
static classic_meta *classic_copy(const classic_meta *v, char *at)
{
    classic_meta *m = (classic_meta *)(((uintptr_t)at + ALIGN - 1) / ALIGN * ALIGN);
    *m = *v;
    m->SupportedProtocols_n = FLOE_MAX(v->SupportedProtocols_n, 0);
    m->SupportedProtocols = (classic_meta_protocol *)(m + 1);
    at = (char *)(m->SupportedProtocols + m->SupportedProtocols_n);
    for (int32_t i = 0; i < m->SupportedProtocols_n; i++) {
        const classic_meta_protocol *from = &v->SupportedProtocols[i];
        m->SupportedProtocols[i].Name = pack(&at, from->Name);
        m->SupportedProtocols[i].Metadata = (struct floe_kbytes){(const uint8_t *)at, from->Metadata.n};
        if (from->Metadata.n > 0)
            memcpy(at, from->Metadata.p, (size_t)from->Metadata.n);
        at += FLOE_MAX(from->Metadata.n, 0);
    }
    return m;
}

static member_meta *meta_copy(const member_meta *v, size_t *bytes)
{
    size_t names = (size_t)FLOE_MAX(v->SubscribedTopicNames_n, 0);
    size_t size = sizeof *v + names * sizeof(struct floe_kstr) + text_size(v->InstanceId) +
                  text_size(v->RackId) + text_size(v->ClientId) + text_size(v->ClientHost) +
                  text_size(v->SubscribedTopicRegex) + text_size(v->ServerAssignor) +
                  (v->ClassicMemberMetadata ? classic_size(v->ClassicMemberMetadata) : 0);
    for (size_t i = 0; i < names; i++)
        size += text_size(v->SubscribedTopicNames[i]);
    member_meta *m = malloc(size);
    FLOE_ASSERT(m);
    *bytes = size;
    *m = *v;
    m->SubscribedTopicNames = (struct floe_kstr *)(m + 1);
    m->SubscribedTopicNames_n = (int32_t)names;
    char *at = (char *)(m->SubscribedTopicNames + names);
    m->InstanceId = pack(&at, v->InstanceId);
    m->RackId = pack(&at, v->RackId);
    m->ClientId = pack(&at, v->ClientId);
    m->ClientHost = pack(&at, v->ClientHost);
    m->SubscribedTopicRegex = pack(&at, v->SubscribedTopicRegex);
    m->ServerAssignor = pack(&at, v->ServerAssignor);
    for (size_t i = 0; i < names; i++)
        m->SubscribedTopicNames[i] = pack(&at, v->SubscribedTopicNames[i]);
    m->ClassicMemberMetadata = v->ClassicMemberMetadata ? classic_copy(v->ClassicMemberMetadata, at) : NULL;
    return m;
}

static void replay_member(struct group_shard *s, const struct floe_kafka_ConsumerGroupMemberMetadataKey *k,
                          const member_meta *v)
{
    struct group *g = v ? group_make(s, k->GroupId) : group_find(s, k->GroupId);
    if (!v) {
        struct consumer_member *m = g && g->consumer ? consumer_member_find(g->consumer, k->MemberId) : NULL;
        if (m)
            consumer_member_free(m);
        return;
    }
    FLOE_ASSERT(g);
    classic_free(g);
    struct consumer *c = consumer_make(g);
    struct consumer_member *m = consumer_member_find(c, k->MemberId);
    if (!m)
        m = consumer_member_add(c, k->MemberId);
    char why[REGEX_WHY]; /* there is none: what was taken by another version, and is not one, matches nothing
                          */
    bool has = v->SubscribedTopicRegex.n > 0;
    struct regex *regex = has ? regex_get(s->g, k->GroupId, v->SubscribedTopicRegex, why) : NULL;
    size_t bytes;
    member_meta *meta = meta_copy(v, &bytes);
    consumer_member_set(m, meta, bytes, regex);
}

static void replay_group(struct group_shard *s, const struct floe_kafka_ConsumerGroupMetadataKey *k,
                         const struct floe_kafka_ConsumerGroupMetadataValue *v)
{
    struct group *g = v ? group_make(s, k->GroupId) : group_find(s, k->GroupId);
    if (!v) {
        if (g) {
            consumer_free(g);
            group_drop_if_nothing(g);
        }
        return;
    }
    FLOE_ASSERT(g);
    classic_free(g);
    struct consumer *c = consumer_make(g);
    if (s->state != SHARD_LOADING)
        c->moved_us = group_now_us(s->g);
    c->epoch = FLOE_MIN(FLOE_MAX(v->Epoch, 0), INT32_MAX / 2);
    c->hash = (uint64_t)v->MetadataHash;
}

/* The sorted set that `n` topics of a message are. T: the message's struct. */
#define PARTS_OF(name, T)                                                                                    \
    static struct parts name(const T *t, int32_t n)                                                          \
    {                                                                                                        \
        size_t count = 0;                                                                                    \
        for (int32_t i = 0; i < n; i++)                                                                      \
            count += (size_t)FLOE_MAX(t[i].Partitions_n, 0);                                                 \
        struct parts out = {calloc(count + 1, sizeof *out.p), 0};                                            \
        FLOE_ASSERT(out.p);                                                                                  \
        for (int32_t i = 0; i < n; i++)                                                                      \
            for (int32_t j = 0; j < t[i].Partitions_n; j++)                                                  \
                out.p[out.n++] = (struct part){t[i].TopicId, t[i].Partitions[j]};                            \
        parts_sort(&out);                                                                                    \
        return out;                                                                                          \
    }
PARTS_OF(target_parts, target_topic)
PARTS_OF(current_parts, current_topic)

static void replay_target(struct consumer_member *m, const target_value *v)
{
    free(m->target.p);
    m->target = v ? target_parts(v->TopicPartitions, v->TopicPartitions_n) : (struct parts){NULL, 0};
    consumer_member_charge(m);
}

static void replay_current(struct consumer_member *m, const current_value *v)
{
    free(m->now.assigned.p);
    free(m->now.revoking.p);
    m->now = (struct consumer_current){0};
    if (!v || FLOE_MUTANT(GROUP_MEMBER_FORGOTTEN))
        return;
    m->now.epoch = v->MemberEpoch;
    m->now.previous = v->PreviousMemberEpoch;
    m->now.state = v->State == MEMBER_UNREVOKED || v->State == MEMBER_UNRELEASED
                       ? (enum consumer_member_state)v->State
                       : MEMBER_STABLE;
    m->now.assigned = current_parts(v->AssignedPartitions, v->AssignedPartitions_n);
    m->now.revoking = current_parts(v->PartitionsPendingRevocation, v->PartitionsPendingRevocation_n);
    consumer_member_charge(m);
}

/* What is told of a group or member that the journal does not have from here on is told again behind. */
void consumer_replay(struct group_shard *s, int16_t type, const void *key, const void *value)
{
    const struct floe_kafka_ConsumerGroupTargetAssignmentMetadataKey *epoch_key = key;
    const struct floe_kafka_ConsumerGroupTargetAssignmentMetadataValue *epoch_value = value;
    const struct floe_kafka_ConsumerGroupTargetAssignmentMemberKey *target_key = key;
    const struct floe_kafka_ConsumerGroupCurrentMemberAssignmentKey *current_key = key;
    struct group *g;
    struct consumer_member *m;
    switch (type) {
    case GROUP_REC_CONSUMER:
        replay_group(s, key, value);
        return;
    case GROUP_REC_MEMBER:
        replay_member(s, key, value);
        return;
    case GROUP_REC_TARGET:
        g = group_find(s, epoch_key->GroupId);
        if (g && g->consumer)
            g->consumer->target_epoch = epoch_value ? epoch_value->AssignmentEpoch : 0;
        return;
    case GROUP_REC_TARGET_MEMBER:
        g = group_find(s, target_key->GroupId);
        m = g && g->consumer ? consumer_member_find(g->consumer, target_key->MemberId) : NULL;
        if (m)
            replay_target(m, value);
        return;
    case GROUP_REC_CURRENT:
        g = group_find(s, current_key->GroupId);
        m = g && g->consumer ? consumer_member_find(g->consumer, current_key->MemberId) : NULL;
        if (m)
            replay_current(m, value);
        return;
    default: /* GROUP_REC_REGEX: expressions are matched anew */
        return;
    }
}

/* ---- snapshots ---------------------------------------------------------------------------------------- */

static void say_again(struct change *x)
{
    journal_begin(x->s);
    for (struct change_record *r = x->first; r; r = r->next)
        records_put(x->s, r->type, r->key, r->value);
    (void)!journal_end(x->s, false); /* each fitted before */
    change_drop(x);
}

void consumer_snapshot(struct group *g)
{
    const struct consumer *c = g->consumer;
    struct change x;
    change_begin(&x, g->shard, floe_kstr(g->name));
    change_group(&x, c->epoch, c->hash);
    change_target_epoch(&x, c->target_epoch);
    say_again(&x);
    FLOE_LIST_EACH(it, &c->members)
    {
        const struct consumer_member *m = FLOE_LIST_ENTRY(it, struct consumer_member, link);
        change_begin(&x, g->shard, floe_kstr(g->name));
        change_member(&x, floe_kstr(m->id), m->meta);
        change_target(&x, floe_kstr(m->id), &m->target);
        change_current(&x, floe_kstr(m->id), &m->now);
        say_again(&x);
    }
}

void consumer_put_tombstones(struct group *g)
{
    struct floe_kafka_ConsumerGroupTargetAssignmentMetadataKey target = {.GroupId = floe_kstr(g->name)};
    struct floe_kafka_ConsumerGroupMetadataKey key = {.GroupId = floe_kstr(g->name)};
    records_put(g->shard, GROUP_REC_TARGET, &target, NULL);
    records_put(g->shard, GROUP_REC_CONSUMER, &key, NULL);
}
