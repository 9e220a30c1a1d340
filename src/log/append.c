/* Append: one validated batch gets its offsets and a place in the open segment, or its reason why not. */
#include "log_int.h"

#include <floe/base/mutant.h>

#include <floe/kafka/codec.h>

static enum floe_err refuse(struct floe_log_append *a, enum floe_err code, int16_t kafka_error,
                            const char *why)
{
    a->kafka_error = kafka_error;
    return floe_error_set(&a->err, code, "%s", why);
}

/* Of a batch that may have been stored before, here or by a later holder. */
static enum floe_err lapsed(struct floe_log_append *a)
{
    a->maybe_applied = true;
    return refuse(a, FLOE_ELAPSED, FLOE_KERR_NOT_LEADER_OR_FOLLOWER, "the session has lapsed");
}

/* A duplicate is answered as its original is: at once when that is committed, else with it. */
static enum floe_err answer_duplicate(struct floe_partition *p, struct floe_log_append *a,
                                      const struct floe_producer_batch *dup)
{
    a->base_offset = dup->base_offset;
    a->log_append_ms = a->log_append_time ? dup->timestamp : -1;
    struct floe_entry *e =
        dup->base_offset >= p->high_watermark ? floe_partition_entry(p, dup->base_offset, NULL) : NULL;
    if (!a->done)
        return FLOE_OK;
    if (!e && a->acks == -1 && !p->log->cfg.hooks.alive(p->log->cfg.hooks.user) &&
        !FLOE_MUTANT(DUPLICATE_LAPSED))
        return lapsed(a); /* committed, but a lapsed session acknowledges nothing */
    if (e && a->acks != 0 && !FLOE_MUTANT(DUPLICATE_BEFORE_COMMIT))
        floe_list_push_back(&e->dups, &a->link);
    else
        floe_log_answer(p->log, a, FLOE_OK, NULL);
    return FLOE_OK;
}

/* The fields that belong to the log; nobody has seen these bytes yet. */
static void stamp(struct floe_partition *p, struct floe_log_append *a, struct floe_batch *head)
{
    uint8_t *bytes = (uint8_t *)(uintptr_t)a->bytes.p;
    head->base_offset = p->next_offset;
    head->leader_epoch = p->epoch;
    if (a->log_append_time) {
        a->log_append_ms = floe_loop_wall_ms(p->log->cfg.loop);
        floe_batch_set_log_append_time(bytes, head, a->log_append_ms);
        head->attributes |= FLOE_BATCH_LOG_APPEND_TIME;
        head->max_timestamp = a->log_append_ms;
        head->crc = floe_be32(bytes + 17);
    }
    floe_batch_patch(bytes, head->base_offset, head->leader_epoch);
}

/* Everything that can fail for want of memory, before anything is changed. */
static struct floe_entry *prepare(struct floe_partition *p, struct floe_log_append *a)
{
    if (floe_partition_set_name(p, a->topic_name) != FLOE_OK || floe_partition_reserve(p) != FLOE_OK ||
        !floe_flush_open_segment(p->log))
        return NULL;
    struct floe_entry *e = floe_entry_new(p->log);
    if (!e)
        return NULL;
    e->head = a->batch;
    stamp(p, a, &e->head);
    if (a->batch.producer_id >= 0 && floe_producer_note(p, &e->head) != FLOE_OK) {
        floe_entry_free(p->log, e);
        return NULL;
    }
    return e;
}

static void take(struct floe_partition *p, struct floe_log_append *a, struct floe_entry *e)
{
    struct floe_log *log = p->log;
    struct floe_log_segment *seg = log->chain.open_seg;
    a->base_offset = e->head.base_offset;
    floe_buf_ref(a->bytes.buf);
    e->bytes = a->bytes;
    e->part = p;
    e->seg = seg;
    p->next_offset = floe_batch_last_offset(&e->head) + 1;
    if (a->acks != -1)
        p->early_end = p->next_offset;
    floe_partition_push(p, e);
    floe_list_push_back(&seg->batches, &e->seg_link);
    seg->batch_count++;
    seg->bytes += e->bytes.n;
    seg->mem_bytes += e->bytes.n;
    log->pending_mem += e->bytes.n + sizeof *e;
    log->stats.appends++;
    log->stats.append_records += (uint64_t)FLOE_MAX(e->head.count, 0);
    log->stats.append_bytes += e->bytes.n;
}

enum floe_err floe_log_append(struct floe_log *log, struct floe_log_append *a)
{
    a->err = (struct floe_error){.code = FLOE_OK};
    a->kafka_error = 0;
    a->base_offset = a->log_append_ms = a->log_start = -1;
    a->maybe_applied = false;
    a->paced_us = 0;
    floe_list_init(&a->link);
    struct floe_partition *p = floe_partition_get(log, &a->tp);
    if (!p || p->state != FLOE_PARTITION_SERVING || !log->chain.open || log->chain.lost ||
        log->chain.stopping)
        return refuse(a, FLOE_ENOTHOLDER, FLOE_KERR_NOT_LEADER_OR_FOLLOWER,
                      "this session does not serve the partition");
    if (a->acks < -1 || a->acks > 1)
        return refuse(a, FLOE_EINVAL, FLOE_KERR_INVALID_REQUIRED_ACKS, "acks is none of -1, 0 and 1");
    FLOE_ASSERT(a->bytes.buf && a->bytes.n == a->batch.length && (a->done || a->acks == 0));
    a->log_start = p->log_start;
    if (p->handing && !FLOE_MUTANT(MOVE_APPENDED_ON))
        return refuse(a, FLOE_EAGAIN, 0, "the partition is being handed over");
    if (a->batch.producer_id >= 0) {
        struct floe_producer_batch dup;
        int16_t why = 0;
        switch (floe_producer_check(p, &a->batch, &dup, &why)) {
        case FLOE_PRODUCER_DUPLICATE:
            return answer_duplicate(p, a, &dup);
        case FLOE_PRODUCER_REFUSED:
            if (!log->cfg.hooks.alive(log->cfg.hooks.user) && !FLOE_MUTANT(SEQUENCE_LAPSED))
                return lapsed(a); /* a later holder may know the batches that are missing here */
            return refuse(a, FLOE_EINVAL, why,
                          "the producer's sequence or epoch does not follow its last one");
        case FLOE_PRODUCER_NEW:
            break;
        }
    }
    if (floe_pace_full(log, a->bytes.n) || (!a->waited && !floe_list_empty(&log->room_waiters)))
        return refuse(a, FLOE_EAGAIN, 0, "the store is behind, and memory and tier hold what they may");
    struct floe_entry *e = prepare(p, a);
    if (!e)
        return refuse(a, FLOE_ENOMEM, 0, "out of memory");
    take(p, a, e);
    floe_pace_append(log, a);
    if (a->acks == 0 || FLOE_MUTANT(ACK_BEFORE_COMMIT)) {
        if (a->done)
            floe_log_answer(log, a, FLOE_OK, NULL);
    } else {
        e->append = a;
    }
    /* Where the tier cannot take it, the answer waits for the commit, which promises more. */
    if (a->acks == 1)
        floe_stage_acks1(e);
    else if (log->cfg.spill_all)
        floe_stage_put(e, false);
    floe_flush_appended(log);
    return FLOE_OK;
}
