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
    floe_list_remove(&pr->age);
    floe_list_remove(&pr->part_lru);
    log->producer_count--;
    free(pr);
}

/* Those that were last used at about the same time. Who comes with a checkpoint has its age from there. */
static struct floe_list *age_list(struct floe_log *log, uint64_t used_us)
{
    uint64_t now = floe_loop_now_us(log->cfg.loop), least = now - FLOE_MIN(now, FLOE_PRODUCER_EXPIRE_US);
    return &log->producer_ages[FLOE_MAX(used_us, least) / FLOE_PRODUCER_AGE_US % FLOE_PRODUCER_AGES];
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
    for (uint32_t i = 0; i < FLOE_PRODUCER_AGES; i++) {
        FLOE_LIST_EACH_SAFE(it, &log->producer_ages[i])
        {
            struct floe_producer *pr = FLOE_LIST_ENTRY(it, struct floe_producer, age);
            if (pr->used_us + FLOE_PRODUCER_EXPIRE_US > now)
                break;
            if (!busy(pr))
                remove_producer(pr);
        }
    }
}

static struct floe_producer *longest_silent(struct floe_log *log)
{
    uint64_t newest = floe_loop_now_us(log->cfg.loop) / FLOE_PRODUCER_AGE_US;
    for (uint32_t i = 1; i <= FLOE_PRODUCER_AGES; i++) {
        FLOE_LIST_EACH(it, &log->producer_ages[(newest + i) % FLOE_PRODUCER_AGES])
        {
            struct floe_producer *pr = FLOE_LIST_ENTRY(it, struct floe_producer, age);
            if (!busy(pr))
                return pr;
        }
    }
    return NULL;
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
    struct floe_producer *old = log->producer_count >= FLOE_LOG_PRODUCERS_MAX ? longest_silent(log) : NULL;
    if (old)
        remove_producer(old);
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
    floe_list_push_back(age_list(p->log, used_us), &pr->age);
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

static bool is_refused(const struct floe_producer_refused *r, const struct floe_tp *tp,
                       const struct floe_batch *b, uint64_t now)
{
    static const struct floe_uuid any;
    return r->until_us > now && r->id == b->producer_id && r->tp.index == tp->index &&
           (floe_uuid_eq(&r->tp.topic, &tp->topic) || floe_uuid_eq(&r->tp.topic, &any));
}

void floe_log_refused(struct floe_log *log, const struct floe_tp *tp, const struct floe_batch *b)
{
    uint64_t now = floe_loop_now_us(log->cfg.loop);
    struct floe_producer_refused *at = NULL;
    if (b->producer_id < 0 || b->length == 0) /* of no producer; not parsed */
        return;
    for (uint32_t i = 0; i < FLOE_LOG_REFUSED_MAX && !at; i++) {
        struct floe_producer_refused *r = &log->refused[i];
        if (is_refused(r, tp, b, now) && floe_tp_eq(&r->tp, tp))
            at = r;
    }
    if (at && (at->epoch > b->producer_epoch ||
               (at->epoch == b->producer_epoch && before(at->sequence, b->base_sequence))))
        return; /* behind the one that is waited for: it does not lengthen the wait */
    if (!at) {
        at = &log->refused[log->refused_at];
        log->refused_at = (log->refused_at + 1) % FLOE_LOG_REFUSED_MAX;
    }
    *at = (struct floe_producer_refused){.tp = *tp,
                                         .id = b->producer_id,
                                         .sequence = b->base_sequence,
                                         .epoch = b->producer_epoch,
                                         .until_us = now + FLOE_LOG_REFUSED_US};
}

enum again { NOT_REFUSED, COMES_AGAIN, BEHIND_REFUSED };

/* Whether this batch, or an earlier one of its producer that has not come again, was refused. */
static enum again refused_before(struct floe_partition *p, const struct floe_batch *b)
{
    struct floe_log *log = p->log;
    uint64_t now = floe_loop_now_us(log->cfg.loop);
    enum again found = NOT_REFUSED;
    for (uint32_t i = 0; i < FLOE_LOG_REFUSED_MAX; i++) {
        struct floe_producer_refused *r = &log->refused[i];
        if (!is_refused(r, &p->tp, b, now) || r->epoch != b->producer_epoch)
            continue;
        if (before(r->sequence, b->base_sequence)) {
            found = BEHIND_REFUSED;
        } else {
            r->until_us = 0; /* here it is */
            found = FLOE_MAX(found, COMES_AGAIN);
        }
    }
    return found;
}

/* Clients may still have batches on their way to the holder before this one. */
static bool moved_lately(const struct floe_partition *p)
{
    return p->moved_us && floe_loop_now_us(p->log->cfg.loop) - p->moved_us < FLOE_LOG_MOVED_US;
}

/* No state, so Kafka takes any first sequence (KIP-360). But an earlier batch may be on its way to a former
 * holder, where it is lost: a client sends both again then, the earlier one first. Where more are refused
 * than can be remembered, none is for this: nobody would find out that it came again. */
static bool unknown_waits(struct floe_partition *p, const struct floe_batch *b)
{
    enum again again = refused_before(p, b);
    bool room = p->log->refused[p->log->refused_at].until_us <= floe_loop_now_us(p->log->cfg.loop);
    if (again == NOT_REFUSED && b->base_sequence != 0 && moved_lately(p) && room) {
        floe_log_refused(p->log, &p->tp, b);
        return true;
    }
    return again == BEHIND_REFUSED;
}

/* A batch that does not follow. "Out of order" ends a client, or makes it begin a new epoch, in which it
 * repeats what is stored and was not answered: it is told only to one that skips batches which nobody refused
 * or lost, and that does so for a while. */
static int16_t gap_error(struct floe_producer *pr, const struct floe_batch *b)
{
    uint64_t now = floe_loop_now_us(pr->part->log->cfg.loop);
    if (refused_before(pr->part, b) == BEHIND_REFUSED)
        return FLOE_KERR_NOT_LEADER_OR_FOLLOWER;
    if (!moved_lately(pr->part))
        return FLOE_KERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
    if (!pr->gap_us)
        pr->gap_us = now;
    return now - pr->gap_us < FLOE_LOG_REFUSED_US ? FLOE_KERR_NOT_LEADER_OR_FOLLOWER
                                                  : FLOE_KERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
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
    if (!pr) {
        if (!unknown_waits(p, b))
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
        *kafka_error = gap_error(pr, b);
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
    if (before(last, pr->ring[from].first_sequence))
        *kafka_error = FLOE_KERR_DUPLICATE_SEQUENCE_NUMBER;
    else if (before(pr->ring[pr->count - 1].last_sequence, b->base_sequence))
        *kafka_error = gap_error(pr, b);
    else
        *kafka_error = FLOE_KERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
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
    pr->gap_us = 0;
    floe_list_remove(&pr->age);
    floe_list_push_back(age_list(p->log, now), &pr->age);
    floe_list_remove(&pr->part_lru);
    floe_list_push_back(&p->producer_lru, &pr->part_lru);
    return FLOE_OK;
}
