/* Reads from memory: recent batches stay after their commit until the cache needs their room. */
#include <stdlib.h>

#include "log_int.h"

/* ---- what is kept --------------------------------------------------------------------------------- */

void floe_memread_forget(struct floe_log *log, struct floe_entry *e)
{
    floe_list_remove(&e->cache_link);
    log->recent_bytes -= e->cache_charge;
    e->cache_charge = 0;
}

static void evict_oldest(struct floe_log *log)
{
    struct floe_entry *e = FLOE_LIST_ENTRY(log->recent.next, struct floe_entry, cache_link);
    FLOE_ASSERT(e->part && !e->seg && floe_partition_at(e->part, 0) == e);
    floe_partition_pop_front(e->part);
    floe_memread_forget(log, e);
    floe_entry_free(log, e);
}

void floe_memread_trim(struct floe_log *log)
{
    struct floe_budget *b = log->cfg.cache_budget;
    size_t limit = b ? b->limit : 0;
    floe_log_reader_give_way(log->reader, 0);
    while (!floe_list_empty(&log->recent) &&
           (log->recent_bytes > limit / 2 || (floe_budget_used(b) > limit && log->recent_bytes > limit / 8)))
        evict_oldest(log);
}

/* From now on the buffer counts as cache: it is charged once, whatever number of batches lie in it. The
 * caller holds a reference, so that whoever drops the last one, later and elsewhere, sees the new budget. */
static void recharge(struct floe_buf *buf, struct floe_budget *to)
{
    if (buf->budget == to)
        return;
    floe_budget_force(to, buf->cap);
    if (buf->budget)
        floe_budget_give(buf->budget, buf->cap);
    buf->budget = to;
}

/* Room for n more bytes in the cache, by evicting what is oldest. Evicted bytes may be held by answers on
 * their way out: then there is none, and what was just committed is not kept but stays charged as it is until
 * it is freed. */
static bool make_room(struct floe_log *log, size_t n)
{
    struct floe_budget *b = log->cfg.cache_budget;
    floe_log_reader_give_way(log->reader, n);
    while (floe_budget_used(b) + n > b->limit) {
        if (floe_list_empty(&log->recent))
            return false;
        evict_oldest(log);
    }
    return true;
}

/* Nothing older of its partition is kept either: a partition's recent batches have no hole. */
static void forget_group(struct floe_log *log, struct floe_list *first, struct floe_list *end)
{
    for (struct floe_list *it = first, *next; it != end; it = next) {
        struct floe_entry *e = FLOE_LIST_ENTRY(it, struct floe_entry, seg_link);
        next = it->next;
        FLOE_ASSERT(floe_partition_at(e->part, 0) == e);
        floe_partition_pop_front(e->part);
        floe_list_remove(it);
        floe_entry_free(log, e);
    }
}

/* Batches of one buffer: kept where they lie when they are most of it, else copied out, so that a small batch
 * does not pin a large request. */
static void keep_group(struct floe_log *log, struct floe_list *first, struct floe_list *end, size_t sum)
{
    struct floe_buf *buf = FLOE_LIST_ENTRY(first, struct floe_entry, seg_link)->bytes.buf;
    bool whole = sum >= buf->cap / 2;
    if (buf->budget != log->cfg.cache_budget && !make_room(log, whole ? buf->cap : sum)) {
        forget_group(log, first, end);
        return;
    }
    if (whole)
        recharge(buf, log->cfg.cache_budget);
    for (struct floe_list *it = first, *next; it != end; it = next) {
        struct floe_entry *e = FLOE_LIST_ENTRY(it, struct floe_entry, seg_link);
        next = it->next;
        floe_list_remove(it);
        struct floe_buf *copy = whole ? NULL : floe_buf_create_forced(e->bytes.n, log->cfg.cache_budget);
        if (copy) {
            memcpy(copy->data, e->bytes.p, e->bytes.n);
            copy->n = e->bytes.n;
            floe_buf_unref(e->bytes.buf);
            e->bytes = (struct floe_bufslice){copy, copy->data, copy->n};
        }
        e->cache_charge = sizeof *e + (whole ? e->bytes.n * (buf->cap / (sum ? sum : 1)) : e->bytes.n);
        log->recent_bytes += e->cache_charge;
        floe_list_push_back(&log->recent, &e->cache_link);
    }
}

void floe_memread_keep(struct floe_log *log, struct floe_list *committed)
{
    if (!log->cfg.cache_budget || log->cfg.cache_budget->limit == 0) {
        forget_group(log, committed->next, committed);
        return;
    }
    while (!floe_list_empty(committed)) {
        struct floe_list *first = committed->next, *it = first;
        struct floe_buf *buf = FLOE_LIST_ENTRY(first, struct floe_entry, seg_link)->bytes.buf;
        size_t sum = 0;
        for (; it != committed; it = it->next) {
            struct floe_entry *e = FLOE_LIST_ENTRY(it, struct floe_entry, seg_link);
            if (e->bytes.buf != buf)
                break;
            sum += e->bytes.n;
        }
        keep_group(log, first, it, sum);
    }
}

/* ---- reads ---------------------------------------------------------------------------------------- */

/* The committed batches from ring position `at` that fit. */
static enum floe_err collect(struct floe_partition *p, uint32_t at, struct floe_log_read *r)
{
    uint32_t n = 0;
    uint64_t bytes = 0;
    for (uint32_t i = at; i < p->ring_count; i++, n++) {
        const struct floe_entry *e = floe_partition_at(p, i);
        if (e->seg || (bytes + e->bytes.n > r->max_bytes && !(n == 0 && r->min_one)))
            break;
        bytes += e->bytes.n;
    }
    if (n == 0)
        return FLOE_OK;
    r->slices = malloc(n * sizeof *r->slices);
    if (!r->slices)
        return floe_error_set(&r->err, FLOE_ENOMEM, "out of memory");
    for (uint32_t i = 0; i < n; i++) {
        r->slices[i] = floe_partition_at(p, at + i)->bytes;
        floe_buf_ref(r->slices[i].buf);
    }
    r->slice_count = n;
    r->bytes = (uint32_t)bytes;
    return FLOE_OK;
}

bool floe_log_read(struct floe_log *log, struct floe_log_read *r)
{
    r->err = (struct floe_error){.code = FLOE_OK};
    r->slices = NULL;
    r->slice_count = r->bytes = 0;
    r->high_watermark = r->log_start = -1;
    r->driver = NULL;
    floe_list_init(&r->link);
    struct floe_partition *p = r->view ? floe_follow_get(log, &r->tp) : floe_partition_get(log, &r->tp);
    if (!p || p->state != FLOE_PARTITION_SERVING) {
        floe_error_set(&r->err, FLOE_ENOTHOLDER, "this session does not serve the partition");
        return true;
    }
    log->stats.reads_view += r->view;
    r->high_watermark = p->high_watermark;
    r->log_start = p->log_start;
    if (p->handing && r->offset > p->high_watermark) { /* the new holder may know it */
        floe_error_set(&r->err, FLOE_EAGAIN, "the partition is being handed over");
        return true;
    }
    if (r->offset < p->log_start || r->offset > p->high_watermark) {
        floe_error_set(&r->err, FLOE_EINVAL, "offset %lld is not in [%lld, %lld]", (long long)r->offset,
                       (long long)p->log_start, (long long)p->high_watermark);
        return true;
    }
    if (r->offset == p->high_watermark)
        return true;
    uint32_t at;
    struct floe_entry *e = floe_partition_entry(p, r->offset, &at);
    if (e && !e->seg) {
        log->stats.reads_memory++;
        (void)!collect(p, at, r);
        return true;
    }
    log->stats.reads_store++;
    /* What memory holds need not be read ahead. */
    const struct floe_entry *kept = p->ring_count ? floe_partition_at(p, 0) : NULL;
    bool known = kept && !kept->seg && kept->head.base_offset > r->offset;
    floe_log_reader_read(log->reader, p->index, known ? kept->head.base_offset : p->high_watermark, r);
    return false;
}

void floe_log_read_cancel(struct floe_log *log, struct floe_log_read *r)
{
    floe_log_reader_cancel(log->reader, r);
}

void floe_log_read_fini(struct floe_log_read *r)
{
    for (uint32_t i = 0; i < r->slice_count; i++)
        floe_buf_unref(r->slices[i].buf);
    free(r->slices);
    r->slices = NULL;
    r->slice_count = r->bytes = 0;
}

void floe_log_seek(struct floe_log *log, struct floe_log_seek *s)
{
    s->err = (struct floe_error){.code = FLOE_OK};
    s->offset = s->found_timestamp = -1;
    s->leader_epoch = -1;
    s->driver = NULL;
    floe_list_init(&s->link);
    struct floe_partition *p = floe_partition_get(log, &s->tp);
    if (!p || p->state != FLOE_PARTITION_SERVING)
        floe_error_set(&s->err, FLOE_ENOTHOLDER, "this session does not serve the partition");
    else if (p->log_start < p->high_watermark) {
        floe_log_reader_seek(log->reader, p->index, p->log_start, p->high_watermark, s);
        return;
    }
    floe_list_push_back(&log->sought, &s->link);
    floe_log_kick(log);
}
