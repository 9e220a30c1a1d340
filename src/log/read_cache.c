/* Extents: ranged GETs of whole blocks, checked once on arrival, kept until the cache is full. */
#include "log/read_int.h"

#include <floe/base/assert.h>
#include <floe/base/crc32c.h>

#include <inttypes.h>
#include <stdlib.h>

static uint64_t block_hash(const struct floe_index_entry *e)
{
    uint8_t id[32];
    floe_put_le32(id, (uint32_t)e->session.node);
    floe_put_le32(id + 4, (uint32_t)e->session.epoch);
    floe_put_le64(id + 8, e->session.id);
    floe_put_le64(id + 16, e->seq);
    floe_put_le64(id + 24, e->position);
    return floe_hash64(id, sizeof id, 0);
}

static bool same_place(const struct floe_index_entry *a, const struct floe_index_entry *b)
{
    return a->position == b->position && a->seq == b->seq && a->length == b->length && a->crc == b->crc &&
           floe_session_name_eq(&a->session, &b->session);
}

struct block *cache_find(const struct floe_log_reader *rd, const struct floe_index_entry *e)
{
    for (struct floe_map_node *n = floe_map_first(&rd->blocks, block_hash(e)); n; n = floe_map_next_same(n)) {
        struct block *b = FLOE_MAP_ENTRY(n, struct block, node);
        if (same_place(&b->at, e))
            return b;
    }
    return NULL;
}

void cache_drop_bad(struct floe_log_reader *rd, struct block *b)
{
    FLOE_ASSERT(!b->p && !b->gone && !b->extent->get);
    floe_map_remove(&rd->blocks, &b->node);
    b->gone = true;
}

void cache_touch(struct floe_log_reader *rd, struct extent *x)
{
    if (x->get)
        return;
    floe_list_remove(&x->lru);
    floe_list_push_back(&rd->lru, &x->lru);
}

/* The budget's bytes are charged by the store when it charges the same budget, else here. */
static bool charges_itself(const struct floe_log_reader *rd)
{
    return rd->cfg.cache_budget && rd->cfg.store->budget != rd->cfg.cache_budget;
}

static void extent_free(struct floe_log_reader *rd, struct extent *x)
{
    FLOE_ASSERT(!x->get && floe_list_empty(&x->waiters));
    for (uint32_t i = 0; i < x->n; i++)
        if (!x->blocks[i].gone)
            floe_map_remove(&rd->blocks, &x->blocks[i].node);
    if (x->buf || x->page) {
        floe_list_remove(&x->lru);
        rd->cached_bytes -= x->bytes;
        if (charges_itself(rd))
            floe_budget_give(rd->cfg.cache_budget, x->bytes);
    }
    floe_buf_unref(x->buf);
    free(x->page);
    free(x);
}

uint64_t cache_limit(const struct floe_log_reader *rd)
{
    return rd->cfg.cache_budget ? rd->cfg.cache_budget->limit / 2 : READ_CACHE_DEFAULT;
}

/* Half of the budget is the reader's at most, a quarter at least: recent batches in memory would else leave
 * it nothing, or it them. */
static bool over_limit(const struct floe_log_reader *rd)
{
    uint64_t limit = cache_limit(rd);
    if (rd->cached_bytes > limit)
        return true;
    const struct floe_budget *b = rd->cfg.cache_budget;
    return b && rd->cached_bytes > limit / 2 && floe_budget_used(b) > b->limit;
}

static void evict(struct floe_log_reader *rd)
{
    while (over_limit(rd) && rd->lru.next != rd->lru.prev) /* the newest stays: somebody waits for it */
        extent_free(rd, FLOE_LIST_ENTRY(rd->lru.next, struct extent, lru));
}

static void get_free(struct get *g)
{
    floe_store_req_fini(&g->req);
    floe_list_remove(&g->link);
    g->rd->get_count--;
    g->rd->loading_bytes -= g->req.length;
    g->extent->get = NULL;
    free(g);
}

static void name_place(struct floe_error *err, const struct floe_index_entry *e)
{
    char key[FLOE_CHAIN_KEY_MAX];
    floe_chain_key(key, &e->session, e->seq);
    floe_error_prefix(err, "%s: byte %" PRIu64 " (offsets %" PRId64 " to %" PRId64 ")", key, e->position,
                      e->base_offset, e->end_offset);
}

/* Checks every block of the body. True when all are right. */
static bool verify(struct extent *x, const struct floe_buf *data)
{
    bool right = true;
    uint64_t from = x->blocks[0].at.position;
    for (uint32_t i = 0; i < x->n; i++) {
        struct block *b = &x->blocks[i];
        uint64_t at = b->at.position - from;
        bool ok = at + b->at.length <= data->n && floe_crc32c(0, data->data + at, b->at.length) == b->at.crc;
        b->p = ok ? data->data + at : NULL;
        right = right && ok;
    }
    return right;
}

static enum floe_err take_page(struct extent *x, struct floe_error *err)
{
    if (!x->blocks[0].p)
        return floe_error_set(err, FLOE_ECORRUPT, "checksum of an index block does not fit");
    struct floe_index_page *page = malloc(sizeof *page);
    if (!page)
        return floe_error_set(err, FLOE_ENOMEM, "no memory for an index block");
    enum floe_err e = floe_index_page_decode(floe_slice(x->blocks[0].p, x->blocks[0].at.length), page, err);
    if (e) {
        free(page);
        return e;
    }
    x->page = page;
    x->bytes = sizeof *page;
    return FLOE_OK;
}

static void extent_failed(struct floe_log_reader *rd, struct extent *x, struct floe_error *err)
{
    if (err->code == FLOE_ENOTFOUND) /* what the index names must be there */
        floe_error_set(err, FLOE_ECORRUPT, "the object is missing");
    name_place(err, &x->blocks[0].at);
    reader_wake(rd, x, err);
    extent_free(rd, x);
}

static void extent_ready(struct floe_log_reader *rd, struct extent *x, struct floe_buf *data)
{
    if (x->index_level > 0) {
        struct floe_error err = {0};
        if (take_page(x, &err) != FLOE_OK) {
            extent_failed(rd, x, &err);
            return;
        }
    } else {
        x->buf = floe_buf_ref(data);
        x->bytes = data->cap;
    }
    rd->cached_bytes += x->bytes;
    if (charges_itself(rd))
        floe_budget_force(rd->cfg.cache_budget, x->bytes);
    floe_list_push_back(&rd->lru, &x->lru);
    reader_wake(rd, x, NULL);
    evict(rd);
}

static void get_done(struct floe_store_req *r)
{
    struct get *g = r->user;
    struct floe_log_reader *rd = g->rd;
    struct extent *x = g->extent;
    if (r->err.code) {
        struct floe_error err = r->err;
        get_free(g);
        extent_failed(rd, x, &err);
        return;
    }
    if (!verify(x, r->data) && !g->again) { /* once more: the wire may be to blame */
        g->again = true;
        floe_store_req_fini(r);
        floe_store_submit(rd->cfg.store, r);
        return;
    }
    struct floe_buf *data = floe_buf_ref(r->data);
    get_free(g);
    extent_ready(rd, x, data);
    floe_buf_unref(data);
}

static bool extent_register(struct floe_log_reader *rd, struct extent *x, const struct floe_index_entry *e)
{
    struct block *b = &x->blocks[x->n];
    *b = (struct block){.extent = x, .at = *e};
    if (!floe_map_insert(&rd->blocks, &b->node, block_hash(e)))
        return false;
    x->n++;
    return true;
}

struct extent *cache_fetch(struct floe_log_reader *rd, uint32_t index_level,
                           const struct floe_index_entry *first, const struct floe_index_entry *more,
                           uint32_t more_n)
{
    struct extent *x = calloc(1, sizeof *x + (1 + (size_t)more_n) * sizeof x->blocks[0]);
    struct get *g = calloc(1, sizeof *g);
    if (!x || !g) {
        free(x);
        free(g);
        return NULL;
    }
    floe_list_init(&x->lru);
    floe_list_init(&x->waiters);
    x->index_level = index_level;
    bool ok = extent_register(rd, x, first);
    for (uint32_t i = 0; ok && i < more_n; i++)
        ok = extent_register(rd, x, &more[i]);
    if (!ok) {
        extent_free(rd, x);
        free(g);
        return NULL;
    }
    const struct floe_index_entry *last = &x->blocks[x->n - 1].at;
    g->rd = rd;
    g->extent = x;
    x->get = g;
    g->req.kind = FLOE_STORE_GET;
    g->req.cls = FLOE_STORE_DATA;
    floe_chain_key(g->req.key, &first->session, first->seq);
    g->req.offset = (int64_t)first->position;
    g->req.length = last->position + last->length - first->position;
    g->req.attempts = READ_GET_ATTEMPTS;
    g->req.try_us = 2000000 + g->req.length / 5; /* and 5 MB/s */
    g->req.done = get_done;
    g->req.user = g;
    floe_list_push_back(&rd->gets, &g->link);
    rd->get_count++;
    rd->loading_bytes += g->req.length;
    floe_store_submit(rd->cfg.store, &g->req);
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
    while (!floe_list_empty(&rd->lru))
        extent_free(rd, FLOE_LIST_ENTRY(rd->lru.next, struct extent, lru));
    floe_map_fini(&rd->blocks);
}
