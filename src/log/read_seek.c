/* Offsets by timestamp: the index gives the first block that can hold the record, the block's batches are
 * walked, and one batch is looked into. */
#include "log/read_int.h"

#include <floe/base/assert.h>

#include <inttypes.h>

/* A page that is to be read, in case the task has to wait for it: it goes on there. */
static void go_down(struct task *t, const struct floe_index_hit *hit)
{
    t->down = *hit;
    t->down_offset = t->from;
}

static bool goes_on(const struct task *t, struct floe_index_hit *hit)
{
    *hit = t->down;
    return t->down.level > 0 && t->down_offset == t->from;
}

/* The first data entry at or after t->from that can hold the record. Pages are upper bounds: one whose match
 * lies below t->from is stepped over. */
static enum find find_timestamp(struct floe_log_reader *rd, struct task *t, struct floe_index_entry *out)
{
    struct floe_index_hit hit;
    while (goes_on(t, &hit) ||
           floe_index_lookup_timestamp(t->ix, t->from, t->seek->timestamp, &hit) == FLOE_OK) {
        int64_t behind = t->from;
        while (hit.level > 0) {
            const struct floe_index_page *page = NULL;
            go_down(t, &hit);
            enum find f = reader_find_page(rd, t, &hit, &page, &t->err);
            if (f != FIND_FOUND)
                return f;
            behind = hit.entry.end_offset;
            if (floe_index_page_lookup_timestamp(page, t->from, t->seek->timestamp, &hit) != FLOE_OK)
                break;
            behind = t->from;
        }
        if (behind == t->from) {
            *out = hit.entry;
            return FIND_FOUND;
        }
        t->from = behind;
    }
    return FIND_NONE;
}

/* The first data entry with the largest timestamp. */
static enum find find_max(struct floe_log_reader *rd, struct task *t, struct floe_index_entry *out)
{
    struct floe_index_hit hit;
    if (!goes_on(t, &hit) &&
        floe_index_lookup_max_timestamp(t->ix, t->from, t->high_watermark, &hit) != FLOE_OK)
        return FIND_NONE;
    while (hit.level > 0) {
        const struct floe_index_page *page = NULL;
        go_down(t, &hit);
        enum find f = reader_find_page(rd, t, &hit, &page, &t->err);
        if (f != FIND_FOUND)
            return f;
        if (floe_index_page_lookup_max_timestamp(page, t->from, t->high_watermark, &hit) != FLOE_OK)
            return FIND_NONE;
    }
    *out = hit.entry;
    return FIND_FOUND;
}

/* Looks into one batch. FLOE_ENOTFOUND: its header promised more than its records hold (a compressed batch is
 * taken at its header's word when it is stored). */
static enum floe_err look_into(struct task *t, const struct floe_batch *batch, struct floe_slice bytes)
{
    struct floe_log_seek *s = t->seek;
    int64_t offset = -1, timestamp = -1;
    enum floe_err e =
        t->max ? floe_batch_max_timestamp_offset(bytes, READ_SEEK_BYTES_MAX, &offset, &timestamp, &t->err)
               : floe_batch_find_timestamp(bytes, t->from, s->timestamp, READ_SEEK_BYTES_MAX, &offset,
                                           &timestamp, &t->err);
    if (e)
        return e;
    s->offset = FLOE_MAX(offset, t->from); /* of the largest: it may be an older one of the batch */
    s->found_timestamp = timestamp;
    s->leader_epoch = batch->leader_epoch;
    return FLOE_OK;
}

/* Walks a block's batches. FLOE_OK: answered; FLOE_EAGAIN: looked into one in vain, what lies behind it has
 * another turn; FLOE_ENOTFOUND: go on behind the block. */
static enum floe_err walk_block(struct floe_log_reader *rd, struct task *t, const struct floe_index_entry *at,
                                const uint8_t *p)
{
    struct floe_slice rest = floe_slice(p, at->length), bytes;
    struct floe_batch batch;
    int64_t wanted = t->max ? at->max_timestamp : t->seek->timestamp;
    enum floe_err e = FLOE_ENOTFOUND;
    while (rest.n > 0) {
        e = floe_batch_next(&rest, &batch, &bytes, &t->err);
        if (e)
            break;
        e = FLOE_ENOTFOUND;
        if (floe_batch_last_offset(&batch) < t->from || batch.max_timestamp < wanted)
            continue;
        e = look_into(t, &batch, bytes);
        rd->looked++;
        if (e == FLOE_ENOTFOUND && !t->max) {
            t->from = floe_batch_last_offset(&batch) + 1;
            e = FLOE_EAGAIN;
        }
        if (e != FLOE_ENOTFOUND)
            break;
    }
    if (!e || e == FLOE_ENOTFOUND || e == FLOE_EAGAIN) {
        t->err = (struct floe_error){0}; /* also what the last record's iterator said of its end */
    } else if (e) {
        char key[FLOE_CHAIN_KEY_MAX];
        floe_chain_key(key, &at->session, at->seq);
        floe_error_prefix(&t->err, "%s: byte %" PRIu64, key, at->position);
    }
    return e;
}

bool seek_step(struct floe_log_reader *rd, struct task *t)
{
    while (t->from < t->high_watermark) {
        const struct floe_index_entry *e = &t->entry;
        enum find f = FIND_FOUND;
        if (!t->found)
            f = t->max ? find_max(rd, t, &t->entry) : find_timestamp(rd, t, &t->entry);
        if (f == FIND_WAIT)
            return false;
        if (f != FIND_FOUND || e->base_offset >= t->high_watermark)
            return true;
        struct piece piece;
        t->found = true;
        f = reader_find_block(rd, t, e, e->position + e->length, false, &piece, &t->err);
        if (f == FIND_WAIT)
            return false;
        enum floe_err walked = f == FIND_FOUND ? walk_block(rd, t, e, piece.p) : FLOE_OK;
        if (walked == FLOE_EAGAIN) {
            t->found = t->from < e->end_offset;
            reader_make_ready(rd, t);
            return false;
        }
        if (walked != FLOE_ENOTFOUND || t->max)
            return true;
        t->from = e->end_offset;
        t->found = false;
    }
    return true;
}
