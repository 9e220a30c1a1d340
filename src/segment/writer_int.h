/* What writer.c (adding) and finish.c (building the object) share. Private to segment/. */
#ifndef FLOE_SEGMENT_WRITER_INT_H
#define FLOE_SEGMENT_WRITER_INT_H

#include "segment/format.h"

#define NONE UINT32_MAX

/* A topic of the dictionary. */
struct topic {
    struct floe_uuid id;
    uint32_t name_at;
    uint8_t name_n;
};
/* A partition: its runs are linked in the order of their offsets. */
struct part {
    uint32_t topic;
    int32_t partition;
    uint32_t first_run, last_run;
};
/* A run of batches that becomes one block; its batches are linked. */
struct run {
    struct floe_segment_block block; /* all but `position` is kept up to date */
    uint32_t first_batch, last_batch;
    uint32_t next; /* run of the same partition, or NONE */
};
struct batch {
    struct floe_segment_batch b; /* all but `position`, which finish does not need */
    struct floe_bufslice bytes;
    uint32_t next; /* batch of the same run, or NONE */
};
struct opaque {
    struct floe_segment_opaque o;
    struct floe_bufslice bytes;
};

/* A growing array that keeps its memory over a reset. */
struct vec {
    void *p;
    uint32_t n, cap;
};
/* Open addressing, values are index + 1. */
struct slots {
    uint32_t *v;
    uint32_t n, cap;
};

struct floe_segment_writer {
    struct floe_uuid cluster;
    struct vec topics, parts, runs, batches, opaques; /* struct topic, part, run, batch, opaque */
    struct slots topic_slots, part_slots;
    struct floe_writer names;
    uint32_t last_part; /* the partition added to last, or NONE */
    uint64_t data_bytes;
    uint64_t entry_bytes; /* upper bound of the footer's entries */
    /* what the last finish made */
    struct floe_buf *head, *tail;
    struct vec slices, blocks, opaque_out; /* floe_bufslice, floe_segment_block, floe_segment_opaque */
};

static inline struct topic *topic_at(const struct floe_segment_writer *w, uint32_t i)
{
    return (struct topic *)w->topics.p + i;
}
static inline struct part *part_at(const struct floe_segment_writer *w, uint32_t i)
{
    return (struct part *)w->parts.p + i;
}
static inline struct run *run_at(const struct floe_segment_writer *w, uint32_t i)
{
    return (struct run *)w->runs.p + i;
}
static inline struct batch *batch_at(const struct floe_segment_writer *w, uint32_t i)
{
    return (struct batch *)w->batches.p + i;
}
static inline struct opaque *opaque_at(const struct floe_segment_writer *w, uint32_t i)
{
    return (struct opaque *)w->opaques.p + i;
}

/* Room for `n` entries in all; false when memory is out. */
bool segment_vec_reserve(struct vec *v, uint32_t n, size_t size);
/* Drops what the last finish made. */
void segment_finish_drop(struct floe_segment_writer *w);

#endif
