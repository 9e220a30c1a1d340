/* Gathering a segment: batches are linked into runs, runs into partitions; bytes stay where they are. */
#include "segment/writer_int.h"

#include <floe/base/assert.h>
#include <floe/base/crc32c.h>
#include <floe/kafka/batch.h>

#include <stdlib.h>

/* From this length on, a batch's CRC comes from its own header and is not computed again. */
#define COMBINE_FROM 8192u
#define BATCH_CRC_AT 17u
#define BATCH_CRC_FROM 21u
#define BLOCK_ENTRY_MAX 72u
#define BATCH_ENTRY_MAX 68u
#define OPAQUE_ENTRY_MAX 48u
#define NAMES_MAX (64u << 20)

bool segment_vec_reserve(struct vec *v, uint32_t n, size_t size)
{
    if (n <= v->cap)
        return true;
    uint32_t cap = v->cap ? v->cap : 16;
    while (cap < n) {
        if (cap > UINT32_MAX / 2)
            return false;
        cap *= 2;
    }
    void *p = realloc(v->p, (size_t)cap * size);
    if (!p)
        return false;
    v->p = p;
    v->cap = cap;
    return true;
}

static void vec_fini(struct vec *v)
{
    free(v->p);
    *v = (struct vec){0};
}

static uint64_t part_hash(const struct floe_uuid *topic, int32_t partition)
{
    return floe_hash64(topic->b, sizeof topic->b, (uint64_t)(uint32_t)partition);
}

static void slots_put(struct slots *s, uint64_t hash, uint32_t index)
{
    uint32_t i = (uint32_t)hash & (s->cap - 1);
    while (s->v[i])
        i = (i + 1) & (s->cap - 1);
    s->v[i] = index + 1;
    s->n++;
}

static uint32_t find_topic(const struct floe_segment_writer *w, const struct floe_uuid *id)
{
    const struct slots *s = &w->topic_slots;
    if (s->cap == 0)
        return NONE;
    for (uint32_t i = (uint32_t)part_hash(id, 0) & (s->cap - 1); s->v[i]; i = (i + 1) & (s->cap - 1))
        if (floe_uuid_eq(&topic_at(w, s->v[i] - 1)->id, id))
            return s->v[i] - 1;
    return NONE;
}

static bool part_is(const struct floe_segment_writer *w, uint32_t i, const struct floe_uuid *id,
                    int32_t partition)
{
    const struct part *p = part_at(w, i);
    return p->partition == partition && floe_uuid_eq(&topic_at(w, p->topic)->id, id);
}

static uint32_t find_part(const struct floe_segment_writer *w, const struct floe_uuid *id, int32_t partition)
{
    if (w->last_part != NONE && part_is(w, w->last_part, id, partition))
        return w->last_part;
    const struct slots *s = &w->part_slots;
    if (s->cap == 0)
        return NONE;
    for (uint32_t i = (uint32_t)part_hash(id, partition) & (s->cap - 1); s->v[i]; i = (i + 1) & (s->cap - 1))
        if (part_is(w, s->v[i] - 1, id, partition))
            return s->v[i] - 1;
    return NONE;
}

/* Room for one more at a load of at most one half. `hash_of` gives the hash of an entry that is in already.
 */
static bool slots_reserve(struct floe_segment_writer *w, struct slots *s,
                          uint64_t (*hash_of)(const struct floe_segment_writer *w, uint32_t i))
{
    if ((s->n + 1) * 2 <= s->cap)
        return true;
    uint32_t cap = s->cap ? s->cap * 2 : 64;
    uint32_t *v = calloc(cap, sizeof *v);
    if (!v)
        return false;
    uint32_t n = s->n;
    free(s->v);
    *s = (struct slots){.v = v, .cap = cap};
    for (uint32_t i = 0; i < n; i++)
        slots_put(s, hash_of(w, i), i);
    return true;
}

static uint64_t topic_hash_of(const struct floe_segment_writer *w, uint32_t i)
{
    return part_hash(&topic_at(w, i)->id, 0);
}

static uint64_t part_hash_of(const struct floe_segment_writer *w, uint32_t i)
{
    const struct part *p = part_at(w, i);
    return part_hash(&topic_at(w, p->topic)->id, p->partition);
}

/* Index of the topic, which is added when it is new; NONE when memory is out. */
static uint32_t take_topic(struct floe_segment_writer *w, const struct floe_uuid *id, const char *name)
{
    uint32_t i = find_topic(w, id);
    if (i != NONE)
        return i;
    size_t n = strlen(name);
    FLOE_ASSERT(n > 0 && n <= FLOE_SEGMENT_TOPIC_NAME_MAX);
    if (!segment_vec_reserve(&w->topics, w->topics.n + 1, sizeof(struct topic)) ||
        !slots_reserve(w, &w->topic_slots, topic_hash_of))
        return NONE;
    uint32_t at = (uint32_t)w->names.n;
    floe_write(&w->names, name, n);
    if (w->names.bad)
        return NONE;
    i = w->topics.n++;
    *topic_at(w, i) = (struct topic){.id = *id, .name_at = at, .name_n = (uint8_t)n};
    slots_put(&w->topic_slots, part_hash(id, 0), i);
    w->entry_bytes += 17 + n;
    return i;
}

static uint32_t take_part(struct floe_segment_writer *w, const struct floe_uuid *id, int32_t partition,
                          const char *name)
{
    uint32_t i = find_part(w, id, partition);
    if (i != NONE)
        return i;
    uint32_t topic = take_topic(w, id, name);
    if (topic == NONE || !segment_vec_reserve(&w->parts, w->parts.n + 1, sizeof(struct part)) ||
        !slots_reserve(w, &w->part_slots, part_hash_of))
        return NONE;
    i = w->parts.n++;
    *part_at(w, i) =
        (struct part){.topic = topic, .partition = partition, .first_run = NONE, .last_run = NONE};
    slots_put(&w->part_slots, part_hash(id, partition), i);
    return i;
}

enum floe_err floe_segment_writer_create(struct floe_segment_writer **out, const struct floe_uuid *cluster)
{
    struct floe_segment_writer *w = calloc(1, sizeof *w);
    if (!w)
        return FLOE_ENOMEM;
    w->cluster = *cluster;
    w->last_part = NONE;
    floe_writer_init(&w->names, NAMES_MAX);
    *out = w;
    return FLOE_OK;
}

void floe_segment_writer_reset(struct floe_segment_writer *w)
{
    segment_finish_drop(w);
    for (uint32_t i = 0; i < w->batches.n; i++)
        floe_buf_unref(batch_at(w, i)->bytes.buf);
    for (uint32_t i = 0; i < w->opaques.n; i++)
        floe_buf_unref(opaque_at(w, i)->bytes.buf);
    w->topics.n = w->parts.n = w->runs.n = w->batches.n = w->opaques.n = 0;
    if (w->topic_slots.n)
        memset(w->topic_slots.v, 0, w->topic_slots.cap * sizeof *w->topic_slots.v);
    if (w->part_slots.n)
        memset(w->part_slots.v, 0, w->part_slots.cap * sizeof *w->part_slots.v);
    w->topic_slots.n = w->part_slots.n = 0;
    w->names.n = 0;
    w->names.bad = false;
    w->last_part = NONE;
    w->data_bytes = w->entry_bytes = 0;
}

void floe_segment_writer_destroy(struct floe_segment_writer **wp)
{
    struct floe_segment_writer *w = *wp;
    if (!w)
        return;
    floe_segment_writer_reset(w);
    vec_fini(&w->topics);
    vec_fini(&w->parts);
    vec_fini(&w->runs);
    vec_fini(&w->batches);
    vec_fini(&w->opaques);
    vec_fini(&w->slices);
    vec_fini(&w->blocks);
    vec_fini(&w->opaque_out);
    free(w->topic_slots.v);
    free(w->part_slots.v);
    floe_writer_fini(&w->names);
    free(w);
    *wp = NULL;
}

/* CRC of what `crc` covers, then this batch. */
static uint32_t crc_add(uint32_t crc, const uint8_t *p, size_t n)
{
    if (n < COMBINE_FROM)
        return floe_crc32c(crc, p, n);
    crc = floe_crc32c(crc, p, BATCH_CRC_FROM);
    return floe_segment_crc_combine(crc, floe_be32(p + BATCH_CRC_AT), n - BATCH_CRC_FROM);
}

/* The run that takes the batch: the partition's last one, or a new one. */
static struct run *take_run(struct floe_segment_writer *w, struct part *part, int32_t leader_epoch,
                            const struct floe_batch *b)
{
    if (part->last_run != NONE) {
        struct run *last = run_at(w, part->last_run);
        if (last->block.leader_epoch == leader_epoch && b->base_offset >= last->block.end_offset &&
            (uint64_t)last->block.length + b->length <= FLOE_SEGMENT_BLOCK_MAX)
            return last;
    }
    if (!segment_vec_reserve(&w->runs, w->runs.n + 1, sizeof(struct run)))
        return NULL;
    uint32_t i = w->runs.n++;
    *run_at(w, i) = (struct run){
        .block = {.topic = topic_at(w, part->topic)->id,
                  .topic_ref = part->topic,
                  .partition = part->partition,
                  .leader_epoch = leader_epoch,
                  .base_offset = b->base_offset,
                  .end_offset = b->base_offset,
                  .max_timestamp = -1},
        .first_batch = NONE,
        .last_batch = NONE,
        .next = NONE,
    };
    if (part->last_run == NONE)
        part->first_run = i;
    else
        run_at(w, part->last_run)->next = i;
    part->last_run = i;
    w->entry_bytes += BLOCK_ENTRY_MAX;
    return run_at(w, i);
}

static void link_batch(struct floe_segment_writer *w, struct run *run, const struct floe_batch *b,
                       const struct floe_bufslice *bytes)
{
    uint32_t i = w->batches.n++;
    *batch_at(w, i) = (struct batch){
        .b = {.base_offset = b->base_offset,
              .length = b->length,
              .last_offset_delta = b->last_offset_delta,
              .count = b->count,
              .attributes = b->attributes,
              .base_timestamp = b->base_timestamp,
              .max_timestamp = b->max_timestamp,
              .producer_id = b->producer_id,
              .producer_epoch = b->producer_epoch,
              .base_sequence = b->base_sequence},
        .bytes = *bytes,
        .next = NONE,
    };
    if (bytes->buf)
        floe_buf_ref(bytes->buf);
    if (run->last_batch == NONE)
        run->first_batch = i;
    else
        batch_at(w, run->last_batch)->next = i;
    run->last_batch = i;
    run->block.length += b->length;
    run->block.crc = crc_add(run->block.crc, bytes->p, bytes->n);
    run->block.end_offset = floe_batch_last_offset(b) + 1;
    run->block.max_timestamp = FLOE_MAX(run->block.max_timestamp, b->max_timestamp);
    run->block.batch_count++;
    w->data_bytes += b->length;
    w->entry_bytes += BATCH_ENTRY_MAX;
}

enum floe_err floe_segment_add_batch(struct floe_segment_writer *w, const struct floe_uuid *topic,
                                     int32_t partition, int32_t leader_epoch, const char *topic_name,
                                     const struct floe_batch *b, const struct floe_bufslice *bytes,
                                     uint32_t *ordinal)
{
    FLOE_ASSERT(partition >= 0 && leader_epoch >= 0 && bytes->n == b->length &&
                b->length >= FLOE_BATCH_HEADER);
    FLOE_ASSERT((int64_t)floe_be64(bytes->p) == b->base_offset &&
                (int64_t)floe_be64(bytes->p + 35) == b->max_timestamp);
    FLOE_ASSERT(b->base_offset >= 0 && b->last_offset_delta >= 0 && b->count >= 0 &&
                b->count <= (int64_t)b->last_offset_delta + 1 &&
                b->base_offset < INT64_MAX - b->last_offset_delta);
    if (b->length > FLOE_SEGMENT_BATCH_MAX || w->data_bytes + b->length > FLOE_SEGMENT_DATA_MAX ||
        w->entry_bytes > FLOE_SEGMENT_FOOTER_MAX - 4096)
        return FLOE_ETOOLARGE;
    uint32_t p = take_part(w, topic, partition, topic_name);
    if (p == NONE || !segment_vec_reserve(&w->batches, w->batches.n + 1, sizeof(struct batch)))
        return FLOE_ENOMEM;
    struct run *run = take_run(w, part_at(w, p), leader_epoch, b);
    if (!run)
        return FLOE_ENOMEM;
    w->last_part = p;
    link_batch(w, run, b, bytes);
    if (ordinal)
        *ordinal = w->batches.n - 1;
    return FLOE_OK;
}

enum floe_err floe_segment_add_opaque(struct floe_segment_writer *w, const struct floe_segment_opaque *o,
                                      const char *topic_name, const struct floe_bufslice *bytes,
                                      uint32_t *ordinal)
{
    FLOE_ASSERT(bytes->n > 0 && o->partition >= 0 && o->leader_epoch >= 0);
    if (bytes->n > FLOE_SEGMENT_OPAQUE_MAX || w->data_bytes + bytes->n > FLOE_SEGMENT_DATA_MAX ||
        w->entry_bytes > FLOE_SEGMENT_FOOTER_MAX - 4096)
        return FLOE_ETOOLARGE;
    uint32_t topic = 0;
    if (o->has_topic && (topic = take_topic(w, &o->topic, topic_name)) == NONE)
        return FLOE_ENOMEM;
    if (!segment_vec_reserve(&w->opaques, w->opaques.n + 1, sizeof(struct opaque)))
        return FLOE_ENOMEM;
    struct opaque *at = opaque_at(w, w->opaques.n);
    *at = (struct opaque){.o = {.kind = o->kind, .covers = o->covers}, .bytes = *bytes};
    if (o->has_topic) {
        at->o.has_topic = true;
        at->o.topic = o->topic;
        at->o.topic_ref = topic;
        at->o.partition = o->partition;
        at->o.leader_epoch = o->leader_epoch;
    }
    at->o.length = (uint32_t)bytes->n;
    at->o.crc = floe_crc32c(0, bytes->p, bytes->n);
    if (bytes->buf)
        floe_buf_ref(bytes->buf);
    w->data_bytes += bytes->n;
    w->entry_bytes += OPAQUE_ENTRY_MAX;
    if (ordinal)
        *ordinal = w->opaques.n;
    w->opaques.n++;
    return FLOE_OK;
}

uint32_t floe_segment_batch_count(const struct floe_segment_writer *w)
{
    return w->batches.n;
}

uint32_t floe_segment_opaque_count(const struct floe_segment_writer *w)
{
    return w->opaques.n;
}

uint64_t floe_segment_data_bytes(const struct floe_segment_writer *w)
{
    return w->data_bytes;
}

uint64_t floe_segment_estimate(const struct floe_segment_writer *w)
{
    /* The header's copy, and four sections with their counts. */
    return FLOE_SEGMENT_HEADER_BYTES * 2 + 4 * (SECTION_HEADER_BYTES + 4) + FLOE_SEGMENT_TRAILER_BYTES +
           w->data_bytes + w->entry_bytes;
}

struct floe_bufslice *floe_segment_batch_bytes(struct floe_segment_writer *w, uint32_t ordinal)
{
    FLOE_ASSERT(ordinal < w->batches.n);
    return &batch_at(w, ordinal)->bytes;
}
