/* Idempotent producers: what Kafka's ProducerStateManager checks (KIP-98, KIP-360), kept for each partition.
 *
 * Sequences run from 0 to INT32_MAX and wrap to 0. The ring holds more than the window of five, so that a
 * checkpoint can speak of the batches below those that are still in flight. */
#include <stdlib.h>

#include <floe/base/mutant.h>

#include "log_int.h"

#include <floe/base/crc32c.h>

#include <floe/kafka/codec.h>

static uint64_t hash_id(int64_t id)
{
    return floe_hash64(&id, sizeof id, 0x70726f64);
}

struct floe_producer *floe_producer_find(struct floe_partition *p, int64_t id)
{
    for (struct floe_map_node *n = floe_map_first(&p->producers, hash_id(id)); n; n = floe_map_next_same(n)) {
        struct floe_producer *pr = FLOE_MAP_ENTRY(n, struct floe_producer, node);
        if (pr->id == id)
            return pr;
    }
    return NULL;
}

static void remove_producer(struct floe_producer *pr)
{
    struct floe_log *log = pr->part->log;
    floe_map_remove(&pr->part->producers, &pr->node);
    floe_list_remove(&pr->lru);
    floe_list_remove(&pr->part_lru);
    log->producer_count--;
    free(pr);
}

/* A batch of it is not committed yet: forgetting it would let a duplicate in. */
static bool busy(const struct floe_producer *pr)
{
    return pr->count > 0 && pr->ring[pr->count - 1].base_offset >= pr->part->high_watermark &&
           pr->part->state == FLOE_PARTITION_SERVING;
}

void floe_producers_drop(struct floe_partition *p)
{
    while (!floe_list_empty(&p->producer_lru))
        remove_producer(FLOE_LIST_ENTRY(p->producer_lru.next, struct floe_producer, part_lru));
}

void floe_producers_expire(struct floe_log *log)
{
    uint64_t now = floe_loop_now_us(log->cfg.loop);
    if (now < log->expire_at_us)
        return;
    log->expire_at_us = now + 60u * 1000000u;
    FLOE_LIST_EACH_SAFE(it, &log->producer_lru)
    {
        struct floe_producer *pr = FLOE_LIST_ENTRY(it, struct floe_producer, lru);
        if (pr->used_us + FLOE_PRODUCER_EXPIRE_US > now)
            break;
        if (!busy(pr))
            remove_producer(pr);
    }
}

/* Makes room by forgetting those that were silent longest. When all are busy the limits are passed: each busy
 * one has a batch that waits in memory, which is bounded elsewhere. */
static void make_room(struct floe_partition *p)
{
    struct floe_log *log = p->log;
    if (p->producers.n >= FLOE_PARTITION_PRODUCERS_MAX) {
        FLOE_LIST_EACH(it, &p->producer_lru)
        {
            struct floe_producer *pr = FLOE_LIST_ENTRY(it, struct floe_producer, part_lru);
            if (!busy(pr)) {
                remove_producer(pr);
                break;
            }
        }
    }
    if (log->producer_count >= FLOE_LOG_PRODUCERS_MAX) {
        FLOE_LIST_EACH(it, &log->producer_lru)
        {
            struct floe_producer *pr = FLOE_LIST_ENTRY(it, struct floe_producer, lru);
            if (!busy(pr)) {
                remove_producer(pr);
                break;
            }
        }
    }
}

struct floe_producer *floe_producer_add(struct floe_partition *p, int64_t id, int16_t epoch, uint64_t used_us)
{
    make_room(p);
    struct floe_producer *pr = calloc(1, sizeof *pr);
    if (!pr)
        return NULL;
    if (!floe_map_insert(&p->producers, &pr->node, hash_id(id))) {
        free(pr);
        return NULL;
    }
    pr->part = p;
    pr->id = id;
    pr->epoch = epoch;
    pr->used_us = used_us;
    floe_list_push_back(&p->log->producer_lru, &pr->lru);
    floe_list_push_back(&p->producer_lru, &pr->part_lru);
    p->log->producer_count++;
    return pr;
}

uint32_t floe_partition_producers(const struct floe_partition *p, struct floe_producer_info *out,
                                  uint32_t max)
{
    uint32_t n = 0;
    FLOE_LIST_EACH(it, &p->producer_lru)
    {
        const struct floe_producer *pr = FLOE_LIST_ENTRY(it, struct floe_producer, part_lru);
        if (n == max)
            break;
        const struct floe_producer_batch *last = pr->count > 0 ? &pr->ring[pr->count - 1] : NULL;
        out[n++] = (struct floe_producer_info){.id = pr->id,
                                               .epoch = pr->epoch,
                                               .last_sequence = last ? last->last_sequence : -1,
                                               .last_timestamp = last ? last->timestamp : -1};
    }
    return out ? n : (uint32_t)p->producers.n;
}

static bool in_sequence(int32_t last, int32_t next)
{
    return next == (last == INT32_MAX ? 0 : last + 1);
}

/* True when [first, last] lies wholly before `oldest` in the circle of 2^31 sequences. */
static bool before(int32_t last, int32_t oldest)
{
    uint32_t d = ((uint32_t)oldest - (uint32_t)last) & INT32_MAX;
    return d > 0 && d < (1u << 30);
}

/* ---- refused lately ------------------------------------------------------------------------------ */

void floe_log_refused(struct floe_log *log, const struct floe_tp *tp, const struct floe_batch *b)
{
    uint64_t now = floe_loop_now_us(log->cfg.loop);
    struct floe_producer_refused *at = NULL;
    if (b->producer_id < 0 || b->length == 0) /* of no producer; not parsed */
        return;
    for (uint32_t i = 0; i < FLOE_LOG_REFUSED_MAX && !at; i++) {
        struct floe_producer_refused *r = &log->refused[i];
        if (r->until_us > now && r->id == b->producer_id && floe_tp_eq(&r->tp, tp))
            at = r;
    }
    bool later = at && (at->epoch > b->producer_epoch ||
                        (at->epoch == b->producer_epoch && before(at->sequence, b->base_sequence)));
    if (!at) {
        at = &log->refused[log->refused_at];
        log->refused_at = (log->refused_at + 1) % FLOE_LOG_REFUSED_MAX;
    }
    if (!later)
        *at = (struct floe_producer_refused){
            .tp = *tp, .id = b->producer_id, .sequence = b->base_sequence, .epoch = b->producer_epoch};
    at->until_us = now + FLOE_LOG_REFUSED_US;
}

/* An earlier batch of a producer that the partition does not know was refused, and has not come again. */
static bool behind_refused(struct floe_partition *p, const struct floe_batch *b)
{
    static const struct floe_uuid any;
    struct floe_log *log = p->log;
    uint64_t now = floe_loop_now_us(log->cfg.loop);
    bool behind = false;
    for (uint32_t i = 0; i < FLOE_LOG_REFUSED_MAX; i++) {
        struct floe_producer_refused *r = &log->refused[i];
        if (r->until_us <= now || r->id != b->producer_id || r->epoch != b->producer_epoch ||
            r->tp.index != p->tp.index ||
            (!floe_uuid_eq(&r->tp.topic, &p->tp.topic) && !floe_uuid_eq(&r->tp.topic, &any)))
            continue;
        if (before(r->sequence, b->base_sequence))
            behind = true;
        else
            r->until_us = 0; /* here it is */
    }
    return behind;
}

/* ---- checks -------------------------------------------------------------------------------------- */

/* The window of the current epoch: ring[*from .. count). */
static uint32_t window(const struct floe_producer *pr)
{
    uint32_t from = pr->count > FLOE_PRODUCER_WINDOW ? pr->count - FLOE_PRODUCER_WINDOW : 0;
    while (from < pr->count && pr->ring[from].epoch != pr->epoch)
        from++;
    return from;
}

enum floe_producer_verdict floe_producer_check(struct floe_partition *p, const struct floe_batch *b,
                                               struct floe_producer_batch *dup, int16_t *kafka_error)
{
    struct floe_producer *pr = floe_producer_find(p, b->producer_id);
    if (!pr) { /* KIP-360: no state, any first sequence is taken */
        if (!behind_refused(p, b))
            return FLOE_PRODUCER_NEW;
        *kafka_error = FLOE_KERR_NOT_LEADER_OR_FOLLOWER;
        return FLOE_PRODUCER_REFUSED;
    }
    if (b->producer_epoch < pr->epoch) {
        *kafka_error = FLOE_KERR_INVALID_PRODUCER_EPOCH;
        return FLOE_PRODUCER_REFUSED;
    }
    if (b->producer_epoch > pr->epoch) {
        if (b->base_sequence == 0)
            return FLOE_PRODUCER_NEW;
        *kafka_error = FLOE_KERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
        return FLOE_PRODUCER_REFUSED;
    }
    uint32_t from = window(pr);
    if (from == pr->count) /* an epoch without batches: nothing to compare with */
        return FLOE_PRODUCER_NEW;
    int32_t last = floe_batch_last_sequence(b);
    for (uint32_t i = from; i < pr->count; i++) {
        if (pr->ring[i].first_sequence == b->base_sequence && pr->ring[i].last_sequence == last) {
            *dup = pr->ring[i];
            return FLOE_PRODUCER_DUPLICATE;
        }
    }
    if (in_sequence(pr->ring[pr->count - 1].last_sequence, b->base_sequence) ||
        FLOE_MUTANT(SEQUENCE_UNCHECKED))
        return FLOE_PRODUCER_NEW;
    /* Behind one that was refused and comes again, this one comes again as well. "Out of order" would end a
     * client that does not know what became of the earlier one. */
    if (before(last, pr->ring[from].first_sequence))
        *kafka_error = FLOE_KERR_DUPLICATE_SEQUENCE_NUMBER;
    else
        *kafka_error =
            behind_refused(p, b) ? FLOE_KERR_NOT_LEADER_OR_FOLLOWER : FLOE_KERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
    return FLOE_PRODUCER_REFUSED;
}

enum floe_err floe_producer_note(struct floe_partition *p, const struct floe_batch *b)
{
    uint64_t now = floe_loop_now_us(p->log->cfg.loop);
    struct floe_producer *pr = floe_producer_find(p, b->producer_id);
    if (!pr)
        pr = floe_producer_add(p, b->producer_id, b->producer_epoch, now);
    if (!pr)
        return FLOE_ENOMEM;
    if (b->producer_epoch > pr->epoch)
        pr->epoch = b->producer_epoch;
    if (pr->count == FLOE_PRODUCER_RING) {
        memmove(pr->ring, pr->ring + 1, sizeof pr->ring - sizeof pr->ring[0]);
        pr->count--;
    }
    pr->ring[pr->count++] = (struct floe_producer_batch){.base_offset = b->base_offset,
                                                         .timestamp = b->max_timestamp,
                                                         .first_sequence = b->base_sequence,
                                                         .last_sequence = floe_batch_last_sequence(b),
                                                         .epoch = b->producer_epoch};
    pr->used_us = now;
    floe_list_remove(&pr->lru);
    floe_list_push_back(&p->log->producer_lru, &pr->lru);
    floe_list_remove(&pr->part_lru);
    floe_list_push_back(&p->producer_lru, &pr->part_lru);
    return FLOE_OK;
}
