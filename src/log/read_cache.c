/* Extents: ranged GETs, kept until the cache is full, their blocks checked when they are first taken out. */
#include "log/read_int.h"

#include <floe/base/assert.h>
#include <floe/base/crc32c.h>
#include <floe/base/mutant.h>

#include <inttypes.h>
#include <stdlib.h>

/* ---- finding -------------------------------------------------------------------------------------- */

static uint64_t object_hash(const struct floe_index_entry *e)
{
    uint8_t id[24];
    floe_put_le32(id, (uint32_t)e->session.node);
    floe_put_le32(id + 4, (uint32_t)e->session.epoch);
    floe_put_le64(id + 8, e->session.id);
    floe_put_le64(id + 16, e->seq);
    return floe_hash64(id, sizeof id, 0);
}

static bool same_object(const struct extent *x, uint32_t index_level, const struct floe_index_entry *e)
{
    return x->first.seq == e->seq && floe_session_name_eq(&x->first.session, &e->session) &&
           (x->index_level > 0) == (index_level > 0);
}

struct extent *cache_find(const struct floe_log_reader *rd, uint32_t index_level,
                          const struct floe_index_entry *e)
{
    for (struct floe_map_node *n = floe_map_first(&rd->extents, object_hash(e)); n;
         n = floe_map_next_same(n)) {
        struct extent *x = FLOE_MAP_ENTRY(n, struct extent, node);
        if (same_object(x, index_level, e) && x->from <= e->position && e->position + e->length <= x->to)
            return x;
    }
    return NULL;
}

/* Index of the first verified block at or after `position`. */
static uint32_t verified_at(const struct extent *x, uint64_t position)
{
    uint32_t from = 0, to = x->ok_n;
    while (from < to) {
        uint32_t mid = from + (to - from) / 2;
        if (x->ok[mid].position < position)
            from = mid + 1;
        else
            to = mid;
    }
    return from;
}

static uint64_t unread(const struct extent *x)
{
    return x->wanted > x->used ? x->wanted - x->used : 0;
}

/* Remembers a right block; forgetting one only costs its check again. */
static void note_verified(struct extent *x, uint32_t at, const struct floe_index_entry *e)
{
    x->used += e->length;
    if (x->ok_n == x->ok_cap) {
        uint32_t cap = x->ok_cap ? x->ok_cap * 2 : 8;
        struct verified *p = realloc(x->ok, cap * sizeof *p);
        if (!p)
            return;
        x->ok = p;
        x->ok_cap = cap;
    }
    memmove(x->ok + at + 1, x->ok + at, (x->ok_n - at) * sizeof *x->ok);
    x->ok[at] = (struct verified){e->position, e->length, e->crc};
    x->ok_n++;
}

/* The CRC of a block: of its whole pieces what the driver found when they came, of the rest found here. */
static uint32_t block_crc(const struct extent *x, const struct floe_index_entry *e)
{
    const uint8_t *p = x->buf->data;
    uint64_t from = e->position - x->from, to = from + e->length;
    uint64_t first = (from + FLOE_STORE_PIECE - 1) / FLOE_STORE_PIECE, end = to / FLOE_STORE_PIECE;
    if (!x->piece_crc || first >= end)
        return floe_crc32c(0, p + from, e->length);
    uint32_t crc = floe_crc32c(0, p + from, first * FLOE_STORE_PIECE - from);
    for (uint64_t i = first; i < end; i++)
        crc = floe_segment_crc_combine(crc, x->piece_crc[i], FLOE_STORE_PIECE);
    return floe_crc32c(crc, p + end * FLOE_STORE_PIECE, to - end * FLOE_STORE_PIECE);
}

const uint8_t *cache_take(struct floe_log_reader *rd, struct extent *x, const struct floe_index_entry *e)
{
    FLOE_ASSERT(x->buf && x->from <= e->position && e->position + e->length <= x->to);
    const uint8_t *p = x->buf->data + (e->position - x->from);
    uint32_t i = verified_at(x, e->position);
    bool known = i < x->ok_n && x->ok[i].position == e->position && x->ok[i].length == e->length &&
                 x->ok[i].crc == e->crc;
    if (!known && block_crc(x, e) != e->crc)
        return NULL;
    rd->unread_bytes -= unread(x);
    if (!known)
        note_verified(x, i, e);
    rd->unread_bytes += unread(x);
    cache_touch(rd, x);
    return p;
}

/* ---- keeping -------------------------------------------------------------------------------------- */

/* What a GET brought counts as cache from now on, until its last byte is let go: an answer that is still on
 * its way keeps the buffer longer than the cache does. */
static void charge(struct floe_log_reader *rd, struct extent *x)
{
    struct floe_budget *b = rd->cfg.cache_budget;
    if (!b)
        return;
    if (!x->buf) {
        floe_budget_force(b, x->bytes);
    } else if (!x->buf->budget) {
        floe_budget_force(b, x->buf->cap);
        x->buf->budget = b;
    }
}

static void extent_free(struct floe_log_reader *rd, struct extent *x)
{
    FLOE_ASSERT(!x->get && floe_list_empty(&x->waiters) && x->pins == 0);
    if (!x->dropped)
        floe_map_remove(&rd->extents, &x->node);
    if (x->buf || x->page) {
        floe_list_remove(&x->lru);
        rd->cached_bytes -= x->bytes;
        rd->unread_bytes -= x->buf ? unread(x) : 0;
        rd->page_bytes -= x->page ? x->bytes : 0;
        if (x->page && rd->cfg.cache_budget)
            floe_budget_give(rd->cfg.cache_budget, x->bytes);
    }
    floe_buf_unref(x->buf);
    free(x->piece_crc);
    free(x->page);
    free(x->ok);
    free(x);
}

void cache_drop(struct floe_log_reader *rd, struct extent *x)
{
    if (x->pins == 0) {
        extent_free(rd, x);
        return;
    }
    floe_map_remove(&rd->extents, &x->node);
    x->dropped = true;
}

void cache_touch(struct floe_log_reader *rd, struct extent *x)
{
    struct floe_list *to = x->page ? &rd->pages : x->used >= x->wanted ? &rd->spent : &rd->lru;
    floe_list_remove(&x->lru);
    floe_list_push_back(x->pins ? &rd->pinned : to, &x->lru);
}

void cache_unpin(struct floe_log_reader *rd, struct extent *x)
{
    FLOE_ASSERT(x->pins > 0);
    x->pins--;
    if (x->pins == 0 && x->dropped)
        extent_free(rd, x);
    else
        cache_touch(rd, x);
}

uint64_t cache_limit(const struct floe_log_reader *rd)
{
    return rd->cfg.cache_budget ? rd->cfg.cache_budget->limit / 8 * 7 : READ_CACHE_DEFAULT;
}

/* Most of the budget is the reader's while nobody else wants it: the more it keeps, the more readers that are
 * not quite together get from one GET. Half at most and a quarter at least when recent batches in memory need
 * room (floe_log_reader_give_way): they would else leave it nothing, or it them. */
static bool over_limit(const struct floe_log_reader *rd)
{
    if (rd->cached_bytes + rd->loading_bytes > cache_limit(rd))
        return true;
    const struct floe_budget *b = rd->cfg.cache_budget;
    return b && rd->cached_bytes > b->limit / 4 && floe_budget_used(b) > b->limit;
}

/* The list whose first goes next. What waits for its readers goes before what they have had only when it
 * takes most of the cache: they do not come, then. */
static struct floe_list *victims(struct floe_log_reader *rd)
{
    uint64_t limit = cache_limit(rd);
    bool pages = !floe_list_empty(&rd->pages), data = !floe_list_empty(&rd->lru),
         spent = !floe_list_empty(&rd->spent);
    if (pages && (rd->page_bytes > limit / 8 || (!data && !spent)))
        return &rd->pages;
    if (data && (!spent || rd->unread_bytes > limit / 4 * 3))
        return &rd->lru;
    return spent ? &rd->spent : NULL;
}

void cache_trim(struct floe_log_reader *rd)
{
    struct floe_list *from;
    while (over_limit(rd) && (from = victims(rd)))
        extent_free(rd, FLOE_LIST_ENTRY(from->next, struct extent, lru));
}

void floe_log_reader_give_way(struct floe_log_reader *rd, size_t n)
{
    const struct floe_budget *b = rd->cfg.cache_budget;
    struct floe_list *from;
    while (b && floe_budget_used(b) + n > b->limit && rd->cached_bytes > b->limit / 2 && (from = victims(rd)))
        extent_free(rd, FLOE_LIST_ENTRY(from->next, struct extent, lru));
}

/* ---- getting -------------------------------------------------------------------------------------- */

static void get_free(struct get *g)
{
    floe_store_req_fini(&g->req);
    floe_list_remove(&g->link);
    g->rd->get_count--;
    g->rd->loading_bytes -= g->req.length;
    g->extent->get = NULL;
    free(g);
}

static void extent_failed(struct floe_log_reader *rd, struct extent *x, struct floe_error *err)
{
    char key[FLOE_CHAIN_KEY_MAX];
    if (err->code == FLOE_ENOTFOUND) /* what the index names must be there */
        floe_error_set(err, FLOE_ECORRUPT, "the object is missing");
    floe_chain_key(key, &x->first.session, x->first.seq);
    floe_error_prefix(err, "%s: byte %" PRIu64 " (offsets from %" PRId64 ")", key, x->first.position,
                      x->first.base_offset);
    reader_wake(rd, x, err);
    extent_free(rd, x);
}

static enum floe_err take_page(struct extent *x, const struct floe_buf *data, struct floe_error *err)
{
    if (floe_crc32c(0, data->data, x->first.length) != x->first.crc && !FLOE_MUTANT(INDEX_UNCHECKED))
        return floe_error_set(err, FLOE_ECORRUPT, "checksum of an index block does not fit");
    struct floe_index_page *page = malloc(sizeof *page);
    if (!page)
        return floe_error_set(err, FLOE_ENOMEM, "no memory for an index block");
    enum floe_err e = floe_index_page_decode(floe_slice(data->data, x->first.length), page, err);
    if (e) {
        free(page);
        return e;
    }
    x->page = page;
    x->bytes = sizeof *page;
    return FLOE_OK;
}

/* Takes over what a GET brought. */
static enum floe_err take_data(struct extent *x, struct floe_store_req *r, struct floe_error *err)
{
    struct floe_buf *data = r->data;
    if (data->n < x->need - x->from)
        return floe_error_set(err, FLOE_ECORRUPT, "the object ends at byte %" PRIu64, x->from + data->n);
    if (x->index_level > 0)
        return take_page(x, data, err);
    x->to = x->from + FLOE_MIN(data->n, x->to - x->from);
    x->buf = floe_buf_ref(data);
    x->piece_crc = r->piece_crc;
    r->piece_crc = NULL;
    x->bytes = data->room;
    return FLOE_OK;
}

static void get_done(struct floe_store_req *r)
{
    struct get *g = r->user;
    struct floe_log_reader *rd = g->rd;
    struct extent *x = g->extent;
    struct floe_error err = r->err;
    if (!err.code && take_data(x, r, &err) == FLOE_ECORRUPT && !x->second) {
        x->second = r->fresh = true; /* once more: the wire may be to blame */
        floe_store_req_fini(r);
        floe_store_submit(rd->cfg.store, r);
        return;
    }
    get_free(g);
    if (err.code) {
        extent_failed(rd, x, &err);
        return;
    }
    rd->cached_bytes += x->bytes;
    rd->unread_bytes += x->buf ? unread(x) : 0;
    rd->page_bytes += x->page ? x->bytes : 0;
    charge(rd, x);
    rd->ahead_due = true; /* there is room for another one */
    reader_turn_soon(rd);
    reader_wake(rd, x, NULL);
    cache_touch(rd, x);
    cache_trim(rd);
}

static void get_start(struct floe_log_reader *rd, struct extent *x, struct get *g)
{
    g->rd = rd;
    g->extent = x;
    x->get = g;
    g->req.kind = FLOE_STORE_GET;
    g->req.cls = FLOE_STORE_DATA;
    floe_chain_key(g->req.key, &x->first.session, x->first.seq);
    g->req.offset = (int64_t)x->from;
    g->req.length = x->to - x->from;
    g->req.fresh = x->second;
    g->req.pieces = x->index_level == 0;
    g->req.attempts = READ_GET_ATTEMPTS;
    g->req.try_us = 2000000 + g->req.length / 5; /* and 5 MB/s */
    g->req.done = get_done;
    g->req.user = g;
    floe_list_push_back(&rd->gets, &g->link);
    rd->get_count++;
    rd->loading_bytes += g->req.length;
    floe_store_submit(rd->cfg.store, &g->req);
}

struct extent *cache_fetch(struct floe_log_reader *rd, uint32_t index_level,
                           const struct floe_index_entry *first, uint64_t to, enum fetch_mode mode)
{
    FLOE_ASSERT(to >= first->position + first->length);
    struct extent *x = calloc(1, sizeof *x);
    struct get *g = calloc(1, sizeof *g);
    if (!x || !g) {
        free(x);
        free(g);
        return NULL;
    }
    floe_list_init(&x->lru);
    floe_list_init(&x->waiters);
    x->first = *first;
    x->index_level = index_level;
    x->second = mode == FETCH_SECOND;
    x->from = first->position;
    x->need = x->to = to;
    x->wanted = mode == FETCH_SHARED ? reader_share(rd, first, &x->from, &x->to) : to - first->position;
    if (!floe_map_insert(&rd->extents, &x->node, object_hash(first))) {
        free(x);
        free(g);
        return NULL;
    }
    get_start(rd, x, g);
    return x;
}

void cache_fini(struct floe_log_reader *rd)
{
    while (!floe_list_empty(&rd->gets)) {
        struct get *g = FLOE_LIST_ENTRY(rd->gets.next, struct get, link);
        struct extent *x = g->extent;
        floe_store_cancel(rd->cfg.store, &g->req);
        get_free(g);
        extent_free(rd, x);
    }
    struct floe_list *lists[] = {&rd->lru, &rd->spent, &rd->pages, &rd->pinned};
    for (size_t i = 0; i < FLOE_COUNTOF(lists); i++)
        while (!floe_list_empty(lists[i]))
            extent_free(rd, FLOE_LIST_ENTRY(lists[i]->next, struct extent, lru));
    floe_map_fini(&rd->extents);
}
