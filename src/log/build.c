/* Build: a segment gets its key, what rides in it, and its bytes; then its PUT is started.
 *
 * Runs in the order of keys. A checkpoint that rides in segment n tells of the state before n, so it is
 * written before this segment's blocks are entered anywhere. */
#include <stdlib.h>

#include <floe/base/mutant.h>

#include "log_int.h"

static bool room(void **array, uint32_t n, uint32_t *cap, size_t size)
{
    if (n < *cap)
        return true;
    uint32_t next = *cap ? *cap * 2 : 16;
    void *p = realloc(*array, next * size);
    if (!p)
        return false;
    *array = p;
    *cap = next;
    return true;
}

static const char *name_of(struct floe_partition *p, char fallback[FLOE_UUID_HEX])
{
    const struct floe_log_hooks *h = &p->log->cfg.hooks;
    if (!p->topic_name && h->topic_name)
        (void)!floe_partition_set_name(p, h->topic_name(h->user, &p->tp.topic));
    if (p->topic_name)
        return p->topic_name;
    floe_uuid_hex(fallback, &p->tp.topic);
    return fallback;
}

enum floe_err floe_build_note_tier(struct floe_log_segment *seg, uint64_t seq)
{
    if (seg->tier_count > 0 && seg->tier[seg->tier_count - 1].to == seq) {
        seg->tier[seg->tier_count - 1].to++;
        return FLOE_OK;
    }
    if (!room((void **)&seg->tier, seg->tier_count, &seg->tier_cap, sizeof *seg->tier))
        return FLOE_ENOMEM;
    seg->tier[seg->tier_count++] = (struct floe_seq_range){seq, seq + 1};
    return FLOE_OK;
}

static enum floe_err add_batches(struct floe_log_segment *seg)
{
    char fallback[FLOE_UUID_HEX];
    FLOE_LIST_EACH_SAFE(it, &seg->batches)
    {
        struct floe_entry *e = FLOE_LIST_ENTRY(it, struct floe_entry, seg_link);
        struct floe_partition *p = e->part;
        if (!p) { /* dropped while its bytes were being loaded */
            floe_list_remove(&e->seg_link);
            seg->batch_count--;
            seg->bytes -= e->bytes.n;
            seg->log->pending_mem -= sizeof *e;
            floe_entry_drop_bytes(seg->log, e);
            floe_stage_forget(seg->log, e);
            floe_entry_free(seg->log, e);
            continue;
        }
        enum floe_err rc =
            floe_segment_add_batch(seg->writer, &p->tp.topic, p->tp.index, e->head.leader_epoch,
                                   name_of(p, fallback), &e->head, &e->bytes, NULL);
        if (rc == FLOE_OK && e->tier_seq != UINT64_MAX)
            rc = floe_build_note_tier(seg, e->tier_seq);
        if (rc != FLOE_OK)
            return rc;
    }
    return FLOE_OK;
}

/* Adds the bytes of `w` as an opaque block of the partition (null: of none). */
static enum floe_err add_opaque(struct floe_log_segment *seg, struct floe_partition *p, uint16_t kind,
                                const struct floe_writer *w, uint32_t *ordinal)
{
    char fallback[FLOE_UUID_HEX];
    if (w->bad)
        return FLOE_ENOMEM;
    struct floe_buf *buf = floe_buf_create_forced(w->n, seg->log->cfg.pending_budget);
    if (!buf)
        return FLOE_ENOMEM;
    memcpy(buf->data, w->p, w->n);
    buf->n = w->n;
    struct floe_bufslice bytes = {buf, buf->data, w->n};
    struct floe_segment_opaque o = {.kind = kind,
                                    .covers = kind == FLOE_OPAQUE_CHECKPOINT ? seg->put.seq : 0};
    if (p) {
        o.has_topic = true;
        o.topic = p->tp.topic;
        o.partition = p->tp.index;
        o.leader_epoch = p->epoch;
    }
    enum floe_err rc =
        floe_segment_add_opaque(seg->writer, &o, p ? name_of(p, fallback) : NULL, &bytes, ordinal);
    floe_buf_unref(buf);
    return rc;
}

/* As many as make one segment; the rest rides in the next. */
static enum floe_err add_checkpoints(struct floe_log_segment *seg)
{
    struct floe_log *log = seg->log;
    uint64_t bytes = 0;
    floe_checkpoint_round(log);
    while (!floe_list_empty(&log->ckpt_due) && bytes < log->cfg.segment_bytes_max) {
        struct floe_partition *p = FLOE_LIST_ENTRY(log->ckpt_due.next, struct floe_partition, ckpt_link);
        if (!room((void **)&seg->publish, seg->publish_count, &seg->publish_cap, sizeof *seg->publish))
            return FLOE_ENOMEM;
        struct floe_writer w;
        floe_writer_init(&w, FLOE_SEGMENT_OPAQUE_MAX);
        enum floe_err rc = floe_checkpoint_encode(p, &log->chain.session, seg->put.seq, &w);
        if (rc == FLOE_OK)
            rc = add_opaque(seg, p, FLOE_OPAQUE_CHECKPOINT, &w, NULL);
        bytes += w.n;
        floe_writer_fini(&w);
        if (rc != FLOE_OK)
            return rc;
        floe_list_remove(&p->ckpt_link);
        floe_list_remove(&p->dirty_link);
        p->span_from = seg->put.seq;
        p->ckpt_built = true;
        seg->publish[seg->publish_count++] =
            (struct floe_log_publish){p->tp, p->epoch, FLOE_MAX(p->log_start, p->wanted_start)};
        if (FLOE_MUTANT(CHECKPOINT_NAMED_EARLY))
            floe_chain_publish(log, seg);
    }
    log->chain.ckpt_over = !floe_list_empty(&log->ckpt_due);
    return FLOE_OK;
}

static enum floe_err add_index_blocks(struct floe_log_segment *seg)
{
    struct floe_log *log = seg->log;
    for (struct floe_list *n; (n = floe_list_pop_front(&log->index_due));) {
        struct floe_partition *p = FLOE_LIST_ENTRY(n, struct floe_partition, index_link);
        while (floe_index_block_due(p->index)) {
            if (!room((void **)&seg->rides, seg->ride_count, &seg->ride_cap, sizeof *seg->rides))
                return FLOE_ENOMEM;
            struct floe_log_index_ride *ride = &seg->rides[seg->ride_count];
            *ride = (struct floe_log_index_ride){.tp = p->tp, .epoch = p->epoch};
            struct floe_writer w;
            floe_writer_init(&w, FLOE_SEGMENT_OPAQUE_MAX);
            enum floe_err rc = floe_index_block_begin(p->index, &w, &ride->block);
            if (rc == FLOE_OK)
                rc = add_opaque(seg, p, FLOE_OPAQUE_INDEX, &w, &ride->opaque);
            floe_writer_fini(&w);
            if (rc != FLOE_OK)
                return rc;
            seg->ride_count++;
        }
    }
    return FLOE_OK;
}

/* Last of all, so that it mostly lies in the last bytes that a rebuild reads. */
static enum floe_err add_rollup(struct floe_log_segment *seg)
{
    struct floe_writer w;
    floe_writer_init(&w, FLOE_SEGMENT_OPAQUE_MAX);
    enum floe_err rc = FLOE_OK;
    if (floe_roll_block(&seg->log->chain.roll, seg->put.seq, &w))
        rc = add_opaque(seg, NULL, FLOE_OPAQUE_ROLLUP, &w, NULL);
    floe_writer_fini(&w);
    return rc;
}

static void note_footer(struct floe_log_segment *seg)
{
    const struct floe_bufslice *tail = &seg->image.slices[seg->image.slice_count - 1];
    floe_roll_note(&seg->log->chain.roll, seg->put.seq, floe_slice(tail->p, tail->n),
                   (size_t)seg->log->cfg.segment_bytes_max / 2);
}

/* The image is final: its blocks enter the partitions' indexes, above the high watermark. */
static enum floe_err enter_blocks(struct floe_log_segment *seg)
{
    struct floe_log *log = seg->log;
    for (uint32_t i = 0; i < seg->image.block_count; i++) {
        const struct floe_segment_block *b = &seg->image.blocks[i];
        struct floe_tp tp = {.topic = b->topic, .index = b->partition};
        struct floe_partition *p = floe_partition_get(log, &tp);
        if (!p || p->epoch != b->leader_epoch)
            continue;
        struct floe_index_entry e = floe_index_entry_of(b, &log->chain.session, seg->put.seq);
        enum floe_err rc = floe_index_append(p->index, &e);
        if (rc != FLOE_OK)
            return rc;
        p->started_end = b->end_offset;
        if (FLOE_MUTANT(READ_UNCOMMITTED))
            p->high_watermark = b->end_offset;
        p->carried = seg->put.seq + 1;
        floe_checkpoint_dirty(p);
        if (floe_index_block_due(p->index) && floe_list_empty(&p->index_link))
            floe_list_push_back(&log->index_due, &p->index_link);
    }
    return FLOE_OK;
}

static void on_durable(struct floe_put *put)
{
    struct floe_log_segment *seg = put->user;
    struct floe_chain *c = &put->log->chain;
    FLOE_ASSERT(seg->state == FLOE_SEG_STARTED);
    seg->state = FLOE_SEG_DURABLE;
    c->puts_n--;
    c->put_returned = true;
    floe_log_kick(put->log); /* commits in its turn: this runs inside the segment's own PUT */
}

bool floe_build_start(struct floe_log_segment *seg)
{
    struct floe_log *log = seg->log;
    struct floe_chain *c = &log->chain;
    struct floe_error err = {.code = FLOE_OK};
    seg->state = FLOE_SEG_STARTED;
    floe_put_init(&seg->put, log, c->next_seq++);
    c->puts_n++;
    enum floe_err rc = floe_segment_writer_create(&seg->writer, &log->cfg.cluster);
    if (rc == FLOE_OK)
        rc = add_batches(seg);
    if (rc == FLOE_OK)
        rc = add_checkpoints(seg);
    if (rc == FLOE_OK)
        rc = add_index_blocks(seg);
    if (rc == FLOE_OK)
        rc = add_rollup(seg);
    if (rc == FLOE_OK)
        rc = floe_segment_finish(seg->writer, &c->session, seg->put.seq, &seg->put.nonce,
                                 floe_loop_wall_ms(log->cfg.loop), &seg->image, &err);
    if (rc == FLOE_OK)
        rc = enter_blocks(seg);
    if (rc != FLOE_OK) { /* its offsets are given out: no later segment may be committed without them */
        struct floe_error why;
        floe_error_set(&why, rc, "segment %llu cannot be built: %s", (unsigned long long)seg->put.seq,
                       err.msg[0] ? err.msg : floe_err_name(rc));
        floe_chain_lost(log, false, &why);
        return false;
    }
    note_footer(seg);
    log->stats.segments++;
    log->stats.segment_bytes += seg->image.bytes;
    seg->put.body = seg->image.slices;
    seg->put.body_count = seg->image.slice_count;
    seg->put.done = on_durable;
    seg->put.user = seg;
    floe_put_start(&seg->put);
    return true;
}
