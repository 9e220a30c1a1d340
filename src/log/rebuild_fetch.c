/* Rebuild, the store's side: each session's footers once, read ahead, delivered in order; checkpoints in few
 * GETs.
 *
 * A chain's list of GETs covers its wanted keys in their order. Where a key may bring a roll-up it stands for
 * all keys up to there; what comes (rebuild_roll.c) takes it apart: the roll-up's keys, those that are to be
 * read one by one, the key itself. The first entries of the list are under way, the others wait. */
#include <floe/base/crc32c.h>
#include <stdlib.h>

#include "rebuild_int.h"

#include <floe/base/mutant.h>

/* ---- what is wanted ------------------------------------------------------------------------------- */

struct floe_rebuild_source *floe_rebuild_source_of(struct floe_rebuild *g, const struct floe_session_name *s)
{
    FLOE_LIST_EACH(it, &g->sources)
    {
        struct floe_rebuild_source *src = FLOE_LIST_ENTRY(it, struct floe_rebuild_source, link);
        if (floe_session_name_eq(&src->session, s))
            return src;
    }
    struct floe_rebuild_source *src = calloc(1, sizeof *src);
    if (!src)
        return NULL;
    src->group = g;
    src->session = *s;
    floe_list_init(&src->gets);
    floe_list_push_back(&g->sources, &src->link);
    return src;
}

enum floe_err floe_rebuild_want(struct floe_rebuild_source *src, uint64_t from, uint64_t to)
{
    for (uint32_t i = src->range_count; i-- > 0;) /* most partitions want the same */
        if (src->ranges[i].from <= from && to <= src->ranges[i].to)
            return FLOE_OK;
    if (src->range_count == src->range_cap) {
        uint32_t cap = src->range_cap ? src->range_cap * 2 : 4;
        struct floe_key_range *r = realloc(src->ranges, cap * sizeof *r);
        if (!r)
            return FLOE_ENOMEM;
        src->ranges = r;
        src->range_cap = cap;
    }
    src->ranges[src->range_count++] = (struct floe_key_range){from, to};
    return FLOE_OK;
}

static int by_from(const void *a, const void *b)
{
    const struct floe_key_range *x = a, *y = b;
    return x->from < y->from ? -1 : x->from > y->from;
}

static void merge(struct floe_rebuild_source *src)
{
    qsort(src->ranges, src->range_count, sizeof *src->ranges, by_from);
    uint32_t n = 0;
    for (uint32_t i = 0; i < src->range_count; i++) {
        struct floe_key_range r = src->ranges[i];
        if (n > 0 && r.from <= src->ranges[n - 1].to)
            src->ranges[n - 1].to = FLOE_MAX(src->ranges[n - 1].to, r.to);
        else
            src->ranges[n++] = r;
    }
    src->range_count = n;
    src->finished = n == 0;
    if (n > 0)
        src->fetch_at = src->deliver_at = src->ranges[0].from;
}

void floe_rebuild_merge(struct floe_rebuild *g)
{
    FLOE_LIST_EACH(it, &g->sources)
    merge(FLOE_LIST_ENTRY(it, struct floe_rebuild_source, link));
}

bool floe_rebuild_passed(const struct floe_rebuild_source *src, uint64_t end)
{
    return src->finished || src->deliver_at >= end;
}

/* ---- footers -------------------------------------------------------------------------------------- */

static void on_tail(struct floe_store_req *r);

void floe_rebuild_limit(struct floe_store_req *r)
{
    r->attempts = FLOE_REBUILD_ATTEMPTS;
    r->try_us = FLOE_REBUILD_TRY_US + r->length / 10;
    r->timeout_us = r->try_us << FLOE_REBUILD_ATTEMPTS;
}

bool floe_rebuild_anew(struct floe_rebuild *g, struct floe_store_req *r, uint32_t *windows)
{
    struct floe_store *store = g->store;
    if (r->err.code == FLOE_ETIMEOUT)
        g->gets_max = FLOE_MAX(g->gets_max / 2, FLOE_REBUILD_GETS_PRESSED);
    else
        g->gets_max = FLOE_MIN(g->gets_max + 1, FLOE_REBUILD_GETS_MAX);
    if (r->err.code != FLOE_ETIMEOUT || ++*windows >= FLOE_REBUILD_WINDOWS)
        return false;
    floe_store_req_fini(r);
    floe_store_submit(store, r);
    return true;
}

static void get_tail(struct floe_rebuild_get *get, uint64_t bytes)
{
    get->req = (struct floe_store_req){.kind = FLOE_STORE_GET,
                                       .cls = FLOE_STORE_DATA,
                                       .offset = -(int64_t)bytes,
                                       .length = bytes,
                                       .done = on_tail,
                                       .user = get};
    floe_rebuild_limit(&get->req);
    floe_chain_key(get->req.key, &get->source->session, get->end - 1);
    get->active = true;
    floe_store_submit(get->source->group->store, &get->req);
}

bool floe_rebuild_open(const struct floe_log *log, const struct floe_store_req *r,
                       const struct floe_session_name *session, uint64_t seq,
                       struct floe_segment_footer *footer, uint64_t *need, struct floe_error *err)
{
    struct floe_segment_tail tail;
    *need = 0;
    if (floe_segment_tail_open(floe_slice(r->data->data, r->data->n), r->size, r->key, &tail, err) != FLOE_OK)
        return false;
    *need = tail.need;
    return !tail.need && floe_segment_footer_open(&tail, r->key, footer, err) == FLOE_OK &&
           floe_segment_id_check(&footer->id, r->key, session, seq, &log->cfg.cluster, err) == FLOE_OK;
}

static bool open_footer(struct floe_rebuild_get *get, struct floe_segment_footer *footer, uint64_t *need,
                        struct floe_error *err)
{
    struct floe_rebuild_source *src = get->source;
    return floe_rebuild_open(src->group->log, &get->req, &src->session, get->end - 1, footer, need, err);
}

struct floe_rebuild_get *floe_rebuild_get_new(struct floe_rebuild_source *src,
                                              enum floe_rebuild_get_kind kind, uint64_t seq, uint64_t end)
{
    struct floe_rebuild_get *get = calloc(1, sizeof *get);
    if (!get)
        return NULL;
    get->source = src;
    get->kind = kind;
    get->seq = seq;
    get->end = end;
    floe_list_init(&get->link);
    return get;
}

void floe_rebuild_get_free(struct floe_rebuild_get *get)
{
    if (get->ask)
        get->ask->get = NULL;
    get->source->group->rolled_bytes -= get->counted;
    floe_list_remove(&get->link);
    floe_store_req_fini(&get->req);
    free(get);
}

void floe_rebuild_delivered(struct floe_rebuild_source *src)
{
    src->group->log->stats.footers_read++;
    if (++src->deliver_at < src->ranges[src->deliver_range].to)
        return;
    if (++src->deliver_range == src->range_count)
        src->finished = true;
    else
        src->deliver_at = src->ranges[src->deliver_range].from;
    floe_rebuild_advance_all(src->group);
}

static void deliver_key(struct floe_rebuild_get *get)
{
    struct floe_rebuild_source *src = get->source;
    struct floe_segment_footer footer;
    struct floe_error err = get->err;
    uint64_t need;
    bool ok = !get->below && err.code == FLOE_OK && open_footer(get, &footer, &need, &err);
    if (get->below)
        err = (struct floe_error){0};
    struct floe_rebuild_tail tail = {.footer = ok ? &footer : NULL};
    if (ok) {
        tail.bytes = floe_slice(get->req.data->data, get->req.data->n);
        tail.at = get->req.size - get->req.data->n;
    }
    floe_rebuild_deliver(src, get->seq, &tail, &err);
    floe_rebuild_delivered(src);
}

/* Delivers what lies ready at the front, in order. */
static void deliver_ready(struct floe_rebuild_source *src)
{
    while (!floe_list_empty(&src->gets)) {
        struct floe_rebuild_get *get = FLOE_LIST_ENTRY(src->gets.next, struct floe_rebuild_get, link);
        if (!get->ready)
            return;
        FLOE_ASSERT(get->seq == src->deliver_at);
        if (get->kind != FLOE_REBUILD_ROLLUP)
            deliver_key(get);
        else if (!floe_rebuild_roll_deliver(get))
            return;
        floe_rebuild_get_free(get);
    }
}

void floe_rebuild_got(struct floe_rebuild_get *get)
{
    struct floe_rebuild_source *src = get->source;
    src->group->gets--;
    deliver_ready(src);
    floe_rebuild_fetch(src->group);
}

/* Whatever came, it is the key's. */
static void settled(struct floe_rebuild_get *get)
{
    get->ready = true;
    floe_rebuild_got(get);
}

static void on_floor(void *user, const struct floe_error *err, uint64_t floor)
{
    struct floe_rebuild_ask *ask = user;
    struct floe_rebuild_get *get = ask->get;
    floe_list_remove(&ask->link);
    free(ask);
    if (!get)
        return;
    get->ask = NULL;
    if (err->code != FLOE_OK) {
        get->err = *err;
        floe_error_prefix(&get->err, "the floor of the chain of %s", get->req.key);
    } else {
        get->source->floor = FLOE_MAX(get->source->floor, floor);
        get->below = get->seq < floor;
    }
    settled(get);
}

/* No segment lies at a listed key, as get->err says. */
static void ask_floor(struct floe_rebuild_get *get)
{
    struct floe_log *log = get->source->group->log;
    get->below = get->seq < get->source->floor;
    struct floe_rebuild_ask *ask =
        log->cfg.hooks.floor && !get->below && !FLOE_MUTANT(FLOOR_IGNORED) ? calloc(1, sizeof *ask) : NULL;
    if (!ask) {
        settled(get);
        return;
    }
    ask->get = get;
    get->ask = ask;
    floe_list_push_back(&log->floor_asks, &ask->link);
    log->cfg.hooks.floor(log->cfg.hooks.user, &get->source->session, on_floor, ask);
}

/* The answer of a FLOE_REBUILD_KEY. */
static void take_key(struct floe_rebuild_get *get, bool opened, bool seal)
{
    const struct floe_store_req *r = &get->req;
    if (r->err.code == FLOE_ENOTFOUND)
        floe_error_set(&get->err, FLOE_ECORRUPT, "%s is missing, though a lease lists it", r->key);
    else if (r->err.code != FLOE_OK)
        floe_error_prefix(&get->err, "%s", r->key);
    else if (opened && seal)
        floe_error_set(&get->err, FLOE_ECORRUPT, "%s is a seal where the lease lists a segment", r->key);
    if (r->err.code == FLOE_ENOTFOUND || (opened && seal))
        ask_floor(get);
    else
        settled(get);
}

static void on_tail(struct floe_store_req *r)
{
    struct floe_rebuild_get *get = r->user;
    if (floe_rebuild_anew(get->source->group, r, &get->windows))
        return;
    get->active = false;
    get->err = r->err;
    struct floe_segment_footer footer;
    uint64_t need = 0;
    bool opened = r->err.code == FLOE_OK && open_footer(get, &footer, &need, &get->err);
    if (need && !opened) {
        floe_store_req_fini(r);
        get->err.code = FLOE_OK;
        get_tail(get, need);
        return;
    }
    if (get->kind == FLOE_REBUILD_KEY) {
        take_key(get, opened, opened && footer.id.seal);
        return;
    }
    floe_rebuild_roll_came(get, opened && !footer.id.seal ? &footer : NULL);
    floe_rebuild_got(get);
}

static bool may_fetch(const struct floe_rebuild *g)
{
    const struct floe_log_hooks *h = &g->log->cfg.hooks;
    return g->gets < FLOE_REBUILD_GETS_PRESSED ||
           (g->gets < g->gets_max && (!h->pressed || !h->pressed(h->user)));
}

/* What is to be asked for next behind everything that is under way. Null: nothing, or no memory. */
static struct floe_rebuild_get *next_keys(struct floe_rebuild_source *src)
{
    if (src->fetch_range == src->range_count)
        return NULL;
    const struct floe_key_range *r = &src->ranges[src->fetch_range];
    uint64_t seq = src->fetch_at, end = floe_rebuild_roll_to(r, seq);
    struct floe_rebuild_get *get =
        floe_rebuild_get_new(src, end > seq + 1 ? FLOE_REBUILD_KEY_AND_ROLLUP : FLOE_REBUILD_KEY, seq, end);
    if (!get)
        return NULL;
    floe_list_push_back(&src->gets, &get->link);
    src->fetch_at = end;
    if (end == r->to && ++src->fetch_range < src->range_count)
        src->fetch_at = src->ranges[src->fetch_range].from;
    return get;
}

/* The first key of several that are to be read one by one. Null: no memory. */
static struct floe_rebuild_get *first_key(struct floe_rebuild_get *get)
{
    if (get->kind != FLOE_REBUILD_KEY || get->end - get->seq == 1)
        return get;
    struct floe_rebuild_get *one =
        floe_rebuild_get_new(get->source, FLOE_REBUILD_KEY, get->seq, get->seq + 1);
    if (one) {
        floe_list_push_back(&get->link, &one->link); /* before it */
        get->seq++;
    }
    return one;
}

static bool fetch_next(struct floe_rebuild_source *src)
{
    struct floe_rebuild *g = src->group;
    struct floe_rebuild_get *get = NULL;
    uint32_t n = 0;
    if (!may_fetch(g))
        return false;
    FLOE_LIST_EACH(it, &src->gets)
    {
        struct floe_rebuild_get *x = FLOE_LIST_ENTRY(it, struct floe_rebuild_get, link);
        if (!x->sent)
            get = x;
        if (get || ++n == FLOE_REBUILD_GETS_MAX)
            break;
    }
    if ((!get && n == FLOE_REBUILD_GETS_MAX) || (!get && src->fetch_range == src->range_count))
        return false;
    get = get ? first_key(get) : next_keys(src);
    if (!get) { /* no memory: tried again with the next answer, or soon */
        floe_timer_start(g->log->cfg.loop, &g->start, FLOE_LOG_RETRY_MIN_US);
        return false;
    }
    if (get->kind == FLOE_REBUILD_ROLLUP && !floe_rebuild_roll_room(get))
        return false;
    get->sent = true;
    g->gets++;
    if (get->kind == FLOE_REBUILD_ROLLUP)
        floe_rebuild_roll_send(get);
    else
        get_tail(get, FLOE_SEGMENT_TAIL_BYTES);
    return true;
}

/* Sends GETs, the sessions in turn, as far as the limit goes; called again with each answer. */
void floe_rebuild_fetch(struct floe_rebuild *g)
{
    bool more = true;
    while (more) {
        more = false;
        FLOE_LIST_EACH(it, &g->sources)
        {
            struct floe_rebuild_source *src = FLOE_LIST_ENTRY(it, struct floe_rebuild_source, link);
            more |= fetch_next(src);
        }
    }
    floe_rebuild_maybe_done(g);
}

/* ---- checkpoints ---------------------------------------------------------------------------------- */

static void on_range(struct floe_store_req *r)
{
    struct floe_rebuild_range *range = r->user;
    struct floe_rebuild *g = range->group;
    if (floe_rebuild_anew(g, r, &range->windows))
        return;
    for (uint32_t i = 0; i < range->n; i++) {
        struct floe_rebuild_ckpt *it = &range->items[i];
        struct floe_rebuild_part *rp = it->part;
        it->part = NULL;
        if (!rp)
            continue;
        struct floe_error err = r->err;
        uint64_t at = it->position - (uint64_t)r->offset;
        if (err.code != FLOE_OK)
            floe_error_prefix(&err, "%s", r->key);
        else if (at + it->length > r->data->n)
            floe_error_set(&err, FLOE_ECORRUPT, "%s ends before its checkpoint at %llu", r->key,
                           (unsigned long long)it->position);
        else if (floe_crc32c(0, r->data->data + at, it->length) != it->crc)
            floe_error_set(&err, FLOE_ECORRUPT, "%s: the checkpoint at %llu fails its checksum", r->key,
                           (unsigned long long)it->position);
        if (err.code != FLOE_OK)
            floe_rebuild_fail(rp, &err);
        else
            floe_rebuild_checkpoint(rp, floe_slice(r->data->data + at, it->length), r->key);
    }
    floe_list_remove(&range->link);
    floe_store_req_fini(r);
    free(range);
    floe_rebuild_maybe_done(g);
}

enum floe_err floe_rebuild_get_range(struct floe_rebuild_source *src, uint64_t seq,
                                     const struct floe_rebuild_ckpt *items, uint32_t n)
{
    struct floe_rebuild *g = src->group;
    struct floe_rebuild_range *range = calloc(1, sizeof *range + n * sizeof *items);
    if (!range)
        return FLOE_ENOMEM;
    range->group = g;
    range->n = n;
    memcpy(range->items, items, n * sizeof *items);
    range->req =
        (struct floe_store_req){.kind = FLOE_STORE_GET,
                                .cls = FLOE_STORE_DATA,
                                .offset = (int64_t)items[0].position,
                                .length = items[n - 1].position + items[n - 1].length - items[0].position,
                                .done = on_range,
                                .user = range};
    floe_rebuild_limit(&range->req);
    floe_chain_key(range->req.key, &src->session, seq);
    floe_list_push_back(&g->ranges, &range->link);
    floe_store_submit(g->store, &range->req);
    return FLOE_OK;
}

/* ---- end ------------------------------------------------------------------------------------------ */

void floe_rebuild_fetch_fini(struct floe_rebuild *g)
{
    struct floe_log *log = g->log;
    for (struct floe_list *n; (n = floe_list_pop_front(&g->ranges));) {
        struct floe_rebuild_range *range = FLOE_LIST_ENTRY(n, struct floe_rebuild_range, link);
        if (!log->detached)
            floe_store_cancel(g->store, &range->req);
        free(range);
    }
    for (struct floe_list *n; (n = floe_list_pop_front(&g->sources));) {
        struct floe_rebuild_source *src = FLOE_LIST_ENTRY(n, struct floe_rebuild_source, link);
        while (!floe_list_empty(&src->gets)) {
            struct floe_rebuild_get *get = FLOE_LIST_ENTRY(src->gets.next, struct floe_rebuild_get, link);
            if (get->active && !log->detached)
                floe_store_cancel(g->store, &get->req);
            floe_rebuild_get_free(get);
        }
        free(src->ranges);
        free(src);
    }
}
