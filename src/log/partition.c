/* Partitions: their table, ring of batches in memory, epoch history, and who waits for them. */
#include <floe/base/crc32c.h>
#include <floe/base/mutant.h>
#include <stdlib.h>

#include "log_int.h"

struct floe_partition *floe_partition_get(struct floe_log *log, const struct floe_tp *tp)
{
    for (struct floe_map_node *n = floe_map_first(&log->partitions, floe_tp_hash(tp)); n;
         n = floe_map_next_same(n)) {
        struct floe_partition *p = FLOE_MAP_ENTRY(n, struct floe_partition, node);
        if (floe_tp_eq(&p->tp, tp))
            return p;
    }
    return NULL;
}

struct floe_partition *floe_partition_create_aside(struct floe_log *log, const struct floe_tp *tp,
                                                   int32_t epoch)
{
    struct floe_partition *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->tp = *tp;
    p->log = log;
    p->state = FLOE_PARTITION_REBUILDING;
    p->epoch = epoch;
    floe_map_init(&p->producers);
    floe_list_init(&p->producer_lru);
    floe_list_init(&p->ckpt_link);
    floe_list_init(&p->dirty_link);
    floe_list_init(&p->index_link);
    floe_list_init(&p->hand_link);
    floe_list_init(&p->start_link);
    floe_list_init(&p->serving_waiters);
    floe_list_init(&p->data_waiters);
    if (floe_index_create(&p->index) != FLOE_OK) {
        free(p);
        return NULL;
    }
    return p;
}

bool floe_partition_insert(struct floe_partition *p)
{
    if (!floe_map_insert(&p->log->partitions, &p->node, floe_tp_hash(&p->tp)))
        return false;
    p->log->partition_count++;
    return true;
}

struct floe_partition *floe_partition_create(struct floe_log *log, const struct floe_tp *tp, int32_t epoch)
{
    struct floe_partition *p = floe_partition_create_aside(log, tp, epoch);
    if (!p)
        return NULL;
    if (!floe_partition_insert(p)) {
        floe_index_destroy(&p->index);
        free(p);
        return NULL;
    }
    return p;
}

/* ---- ring ----------------------------------------------------------------------------------------- */

struct floe_entry *floe_partition_at(const struct floe_partition *p, uint32_t i)
{
    return p->ring[(p->ring_head + i) & (p->ring_cap - 1)];
}

enum floe_err floe_partition_reserve(struct floe_partition *p)
{
    if (p->ring_count < p->ring_cap)
        return FLOE_OK;
    uint32_t cap = p->ring_cap ? p->ring_cap * 2 : 8;
    struct floe_entry **ring = cap ? malloc(cap * sizeof(struct floe_entry *)) : NULL;
    if (!ring)
        return FLOE_ENOMEM;
    for (uint32_t i = 0; i < p->ring_count; i++)
        ring[i] = floe_partition_at(p, i);
    free(p->ring);
    p->ring = ring;
    p->ring_head = 0;
    p->ring_cap = cap;
    return FLOE_OK;
}

void floe_partition_push(struct floe_partition *p, struct floe_entry *e)
{
    FLOE_ASSERT(p->ring_count < p->ring_cap);
    p->ring[(p->ring_head + p->ring_count) & (p->ring_cap - 1)] = e;
    p->ring_count++;
}

void floe_partition_pop_front(struct floe_partition *p)
{
    FLOE_ASSERT(p->ring_count > 0);
    p->ring_head = (p->ring_head + 1) & (p->ring_cap - 1);
    if (--p->ring_count == 0) {
        free(p->ring);
        p->ring = NULL;
        p->ring_cap = p->ring_head = 0;
    }
}

struct floe_entry *floe_partition_entry(const struct floe_partition *p, int64_t offset, uint32_t *at)
{
    uint32_t lo = 0, hi = p->ring_count;
    while (lo < hi) { /* the first whose last offset is not below `offset` */
        uint32_t mid = lo + (hi - lo) / 2;
        if (floe_batch_last_offset(&floe_partition_at(p, mid)->head) < offset)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo == p->ring_count)
        return NULL;
    struct floe_entry *e = floe_partition_at(p, lo);
    if (e->head.base_offset > offset)
        return NULL;
    if (at)
        *at = lo;
    return e;
}

/* ---- end ------------------------------------------------------------------------------------------ */

static void wake(struct floe_log *log, struct floe_list *from)
{
    for (struct floe_list *n; (n = floe_list_pop_front(from));)
        floe_list_push_back(&log->woken, n);
    floe_log_kick(log);
}

/* What acks=1 left of it in the tier is wanted by nobody. */
static bool is_deleted(const struct floe_partition *p)
{
    const struct floe_log_hooks *h = &p->log->cfg.hooks;
    return h->reappend_topic && !p->log->detached &&
           h->reappend_topic(h->user, &p->tp.topic) == FLOE_REAPPEND_DROP;
}

/* A batch whose partition goes: answered, and taken out of its segment where its bytes were not sent yet. */
static void release(struct floe_log *log, struct floe_entry *e, enum floe_err why, bool deleted)
{
    struct floe_log_segment *seg = e->seg;
    e->part = NULL;
    if (!seg) { /* committed: kept for readers only */
        floe_memread_forget(log, e);
        floe_entry_free(log, e);
        return;
    }
    floe_list_remove(&e->stage_link);
    bool sent = seg->state == FLOE_SEG_STARTED || seg->state == FLOE_SEG_DURABLE;
    floe_entry_answer(log, e, why, sent || (e->durable && e->tier_seq != UINT64_MAX)); /* re-append */
    e->durable = e->durable && !deleted;
    if (seg->state == FLOE_SEG_OPEN || seg->state == FLOE_SEG_WAITING) {
        floe_list_remove(&e->seg_link);
        seg->batch_count--;
        seg->bytes -= e->bytes.n;
        floe_entry_drop_bytes(log, e);
        log->pending_mem -= sizeof *e;
        floe_stage_forget(log, e);
        floe_entry_free(log, e);
    }
}

void floe_partition_destroy(struct floe_partition *p, enum floe_err why)
{
    struct floe_log *log = p->log;
    bool deleted = p->ring_count > 0 && is_deleted(p);
    if (p->rebuild)
        floe_rebuild_cancel(p);
    while (p->ring_count > 0) {
        struct floe_entry *e = floe_partition_at(p, 0);
        floe_partition_pop_front(p);
        release(log, e, why, deleted);
    }
    wake(log, &p->serving_waiters);
    wake(log, &p->data_waiters);
    floe_producers_drop(p);
    floe_map_fini(&p->producers);
    floe_list_remove(&p->ckpt_link);
    floe_list_remove(&p->dirty_link);
    floe_list_remove(&p->index_link);
    floe_list_remove(&p->hand_link);
    floe_list_remove(&p->start_link);
    if (log->reader)
        floe_log_reader_forget(log->reader, p->index);
    floe_index_destroy(&p->index);
    if (!p->feed && !p->ahead) {
        floe_map_remove(&log->partitions, &p->node);
        log->partition_count--;
    }
    free(p->epochs);
    free(p->topic_name);
    free(p);
}

enum floe_err floe_partition_set_name(struct floe_partition *p, const char *name)
{
    if (p->topic_name || !name)
        return FLOE_OK;
    p->topic_name = strdup(name);
    return p->topic_name ? FLOE_OK : FLOE_ENOMEM;
}

/* ---- epochs --------------------------------------------------------------------------------------- */

enum floe_err floe_partition_begin_epoch(struct floe_partition *p, int32_t epoch, int64_t start)
{
    if (p->epoch_count > 0) {
        struct floe_epoch_start *last = &p->epochs[p->epoch_count - 1];
        if (last->epoch >= epoch)
            return FLOE_OK;
        if (last->start >= start) { /* it holds no record */
            *last = (struct floe_epoch_start){epoch, start};
            return FLOE_OK;
        }
    }
    if (p->epoch_count == FLOE_LOG_EPOCHS_MAX) {
        memmove(p->epochs, p->epochs + 1, (p->epoch_count - 1) * sizeof *p->epochs);
        p->epoch_count--;
    }
    if (p->epoch_count == p->epoch_cap) {
        uint32_t cap = p->epoch_cap ? p->epoch_cap * 2 : 2;
        struct floe_epoch_start *e = realloc(p->epochs, cap * sizeof *e);
        if (!e)
            return FLOE_ENOMEM;
        p->epochs = e;
        p->epoch_cap = cap;
    }
    p->epochs[p->epoch_count++] = (struct floe_epoch_start){epoch, start};
    return FLOE_OK;
}

int32_t floe_partition_epoch_end(const struct floe_partition *p, int32_t epoch, int64_t *end)
{
    for (uint32_t i = p->epoch_count; i-- > 0;) {
        if (p->epochs[i].epoch > epoch)
            continue;
        bool last = i + 1 == p->epoch_count;
        *end = last ? p->next_offset : FLOE_MIN(p->epochs[i + 1].start, p->high_watermark);
        return p->epochs[i].epoch;
    }
    return -1;
}

int32_t floe_partition_epoch(const struct floe_partition *p)
{
    return p->epoch;
}

int64_t floe_partition_early_end(const struct floe_partition *p)
{
    return p->early_end;
}

int64_t floe_partition_high_watermark(const struct floe_partition *p)
{
    return p->high_watermark;
}

int64_t floe_partition_log_start(const struct floe_partition *p)
{
    return p->log_start;
}

int64_t floe_partition_bytes(const struct floe_partition *p)
{
    return (int64_t)floe_index_bytes(p->index);
}

int64_t floe_partition_next_offset(const struct floe_partition *p)
{
    return p->next_offset;
}

/* ---- public: find, drop, wait --------------------------------------------------------------------- */

enum floe_partition_state floe_log_find(struct floe_log *log, const struct floe_tp *tp,
                                        struct floe_partition **out)
{
    struct floe_partition *p = floe_partition_get(log, tp);
    if (out)
        *out = p;
    bool handing = p && p->handing && !FLOE_MUTANT(MOVE_APPENDED_ON);
    return !p ? FLOE_PARTITION_ABSENT : handing ? FLOE_PARTITION_HANDING : p->state;
}

void floe_log_drop(struct floe_log *log, const struct floe_tp *tp)
{
    struct floe_partition *p = floe_partition_get(log, tp);
    if (p)
        floe_partition_destroy(p, FLOE_ENOTHOLDER);
    floe_ahead_drop(log, tp);
}

void floe_partition_wake_data(struct floe_partition *p)
{
    bool any = false;
    FLOE_LIST_EACH_SAFE(it, &p->data_waiters)
    {
        if (FLOE_LIST_ENTRY(it, struct floe_log_waiter, link)->offset >= p->high_watermark)
            continue;
        floe_list_remove(it);
        floe_list_push_back(&p->log->woken, it);
        any = true;
    }
    if (any)
        floe_log_kick(p->log);
}

void floe_partition_wake_serving(struct floe_partition *p)
{
    wake(p->log, &p->serving_waiters);
}

void floe_log_wait_serving(struct floe_log *log, const struct floe_tp *tp, struct floe_log_waiter *w)
{
    struct floe_partition *p = floe_partition_get(log, tp);
    if (p && (p->state == FLOE_PARTITION_REBUILDING || p->handing)) {
        floe_list_push_back(&p->serving_waiters, &w->link);
        return;
    }
    floe_list_push_back(&log->woken, &w->link);
    floe_log_kick(log);
}

static void wait_data(struct floe_log *log, struct floe_partition *p, int64_t offset,
                      struct floe_log_waiter *w)
{
    w->offset = offset;
    if (p && p->high_watermark <= offset) {
        floe_list_push_back(&p->data_waiters, &w->link);
        return;
    }
    floe_list_push_back(&log->woken, &w->link);
    floe_log_kick(log);
}

void floe_log_wait_data(struct floe_log *log, const struct floe_tp *tp, int64_t offset,
                        struct floe_log_waiter *w)
{
    wait_data(log, floe_partition_get(log, tp), offset, w);
}

void floe_log_wait_view(struct floe_log *log, const struct floe_tp *tp, int64_t offset,
                        struct floe_log_waiter *w)
{
    wait_data(log, floe_follow_get(log, tp), offset, w);
}

void floe_log_wait_cancel(struct floe_log_waiter *w)
{
    floe_list_remove(&w->link);
}
