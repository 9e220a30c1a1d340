/* ConsumerProtocolSubscription and ConsumerProtocolAssignment: what members of classic groups of protocol
 * type "consumer" tell each other through the coordinator. */
#include "consumer_int.h"

typedef struct floe_kafka_ConsumerProtocolAssignment_TopicPartition assigned_topic;
typedef struct floe_kafka_ConsumerProtocolSubscription_TopicPartition owned_topic;

#define ASSIGNMENT_MAX (64u << 20) /* bytes; never reached: a group has no member's share so large */

int16_t embedded_version(struct floe_kbytes in)
{
    int16_t v = in.n >= 2 ? (int16_t)floe_be16(in.p) : 0;
    return FLOE_MIN(FLOE_MAX(v, (int16_t)0), floe_kafka_ConsumerProtocolSubscription_desc.max);
}

/* A later version has what is known of it at its beginning. */
static void *read(const struct floe_kafka_msg *m, struct floe_kbytes in, struct floe_arena *a)
{
    void *out;
    size_t used;
    if (in.n < 2 || (int16_t)floe_be16(in.p) < 0)
        return NULL;
    int16_t version = FLOE_MIN((int16_t)floe_be16(in.p), m->max);
    struct floe_slice body = floe_slice(in.p + 2, (size_t)in.n - 2);
    return floe_kafka_decode_prefix(m, version, body, &used, a, &out, NULL) == FLOE_OK ? out : NULL;
}

const embedded_subscription *embedded_read_subscription(struct floe_kbytes in, struct floe_arena *a)
{
    const embedded_subscription *v = in.n <= (int32_t)GROUP_MEMBER_BYTES_MAX
                                         ? read(&floe_kafka_ConsumerProtocolSubscription_desc, in, a)
                                         : NULL;
    return v && v->Topics_n <= GROUP_NAMES_MAX && v->OwnedPartitions_n <= GROUP_NAMES_MAX ? v : NULL;
}

const embedded_assignment *embedded_read_assignment(struct floe_kbytes in, struct floe_arena *a)
{
    return read(&floe_kafka_ConsumerProtocolAssignment_desc, in, a);
}

/* T: a message's struct of a topic's name and partitions. */
#define PARTS_OF(name, T)                                                                                    \
    static struct parts name(const T *t, int32_t n, struct floe_catalog *topics, struct floe_arena *a)       \
    {                                                                                                        \
        size_t count = 0;                                                                                    \
        for (int32_t i = 0; i < n; i++)                                                                      \
            count += (size_t)FLOE_MAX(t[i].Partitions_n, 0);                                                 \
        struct parts out = {consumer_alloc(a, count, sizeof *out.p), 0};                                     \
        for (int32_t i = 0; i < n; i++) {                                                                    \
            const struct floe_topic *known =                                                                 \
                t[i].Topic.n > 0 ? floe_catalog_by_name(topics, t[i].Topic.p, (size_t)t[i].Topic.n) : NULL;  \
            for (int32_t k = 0; known && k < t[i].Partitions_n; k++)                                         \
                if (t[i].Partitions[k] >= 0 && t[i].Partitions[k] < known->partitions)                       \
                    out.p[out.n++] = (struct part){known->id, t[i].Partitions[k]};                           \
        }                                                                                                    \
        parts_sort(&out);                                                                                    \
        return out;                                                                                          \
    }
PARTS_OF(assigned_parts, assigned_topic)
PARTS_OF(owned_parts, owned_topic)

struct parts embedded_assigned(const embedded_assignment *v, struct floe_catalog *topics,
                               struct floe_arena *a)
{
    return assigned_parts(v->AssignedPartitions, v->AssignedPartitions_n, topics, a);
}

struct parts embedded_owned(const embedded_subscription *v, struct floe_catalog *topics, struct floe_arena *a)
{
    return owned_parts(v->OwnedPartitions, v->OwnedPartitions_n, topics, a);
}

struct floe_kbytes embedded_write_assignment(const struct parts *s, int16_t version,
                                             struct floe_catalog *topics, struct floe_arena *a)
{
    embedded_assignment v;
    struct floe_writer w;
    struct floe_kbytes none = {NULL, -1};
    floe_kafka_defaults(&floe_kafka_ConsumerProtocolAssignment_desc, &v);
    v.AssignedPartitions = floe_arena_calloc(a, (size_t)parts_topics(s), sizeof *v.AssignedPartitions);
    int32_t *index = floe_arena_calloc(a, s->n, sizeof *index);
    if (!v.AssignedPartitions || !index)
        return none;
    for (uint32_t i = 0, end; i < s->n; i = end) {
        const struct floe_topic *t = floe_catalog_by_id(topics, &s->p[i].topic);
        end = parts_topic_end(s, i);
        for (uint32_t k = i; k < end; k++)
            index[k] = s->p[k].index;
        if (t)
            v.AssignedPartitions[v.AssignedPartitions_n++] =
                (assigned_topic){floe_kstr(t->name), index + i, (int32_t)(end - i)};
    }
    floe_writer_init(&w, ASSIGNMENT_MAX);
    floe_write_be16(&w, (uint16_t)version);
    bool ok =
        floe_kafka_encode(&floe_kafka_ConsumerProtocolAssignment_desc, version, &v, &w, NULL) == FLOE_OK;
    uint8_t *copy = ok ? floe_arena_alloc(a, w.n) : NULL;
    if (copy)
        memcpy(copy, w.p, w.n);
    struct floe_kbytes out = copy ? (struct floe_kbytes){copy, (int32_t)w.n} : none;
    floe_writer_fini(&w);
    return out;
}

const struct floe_kstr *floe_group_join_topics(const struct floe_kafka_JoinGroupRequest *in, uint32_t *n,
                                               struct floe_arena *arena)
{
    bool consumer = floe_kstr_is(in->ProtocolType, EMBEDDED_PROTOCOL_TYPE) && in->Protocols_n > 0;
    const embedded_subscription *v =
        consumer ? embedded_read_subscription(in->Protocols[0].Metadata, arena) : NULL;
    *n = 0;
    if (!v)
        return NULL;
    struct floe_kstr *out =
        floe_arena_calloc(arena, (size_t)v->Topics_n + (size_t)v->OwnedPartitions_n, sizeof *out);
    for (int32_t i = 0; out && i < v->Topics_n; i++)
        out[(*n)++] = v->Topics[i];
    for (int32_t i = 0; out && i < v->OwnedPartitions_n; i++)
        out[(*n)++] = v->OwnedPartitions[i].Topic;
    return out;
}
