/* Shared reads: requests, and the runs that answer them. See share.h. */
#include <floe/base/crc32c.h>
#include <stdlib.h>

#include "share_int.h"

uint64_t share_hash(const struct floe_session_name *s, uint64_t seq)
{
    uint8_t id[24];
    floe_put_le32(id, (uint32_t)s->node);
    floe_put_le32(id + 4, (uint32_t)s->epoch);
    floe_put_le64(id + 8, s->id);
    floe_put_le64(id + 16, seq);
    return floe_hash64(id, sizeof id, 0x73686172ull);
}

/* ---- objects and runs ----------------------------------------------------------------------------- */

static struct share_object *object_of(struct floe_share *s, const struct floe_session_name *session,
                                      uint64_t seq, bool make)
{
    uint64_t h = share_hash(session, seq);
    for (struct floe_map_node *n = floe_map_first(&s->objects, h); n; n = floe_map_next_same(n)) {
        struct share_object *o = FLOE_MAP_ENTRY(n, struct share_object, node);
        if (o->seq == seq && floe_session_name_eq(&o->session, session))
            return o;
    }
    struct share_object *o = make ? calloc(1, sizeof *o) : NULL;
    if (!o)
        return NULL;
    o->session = *session;
    o->seq = seq;
    floe_list_init(&o->runs);
    floe_list_init(&o->ops);
    if (!floe_map_insert(&s->objects, &o->node, h)) {
        free(o);
        return NULL;
    }
    return o;
}

static void object_maybe_free(struct floe_share *s, struct share_object *o)
{
    if (!floe_list_empty(&o->runs) || !floe_list_empty(&o->ops))
        return;
    floe_map_remove(&s->objects, &o->node);
    free(o);
}

/* What the store does not charge to the cache is charged here. */
static struct floe_budget *charged(const struct floe_share *s)
{
    struct floe_budget *b = s->log->cfg.cache_budget;
    return b != s->inner->budget ? b : NULL;
}

static void run_free(struct share_run *run)
{
    struct floe_share *s = run->s;
    if (run->buf)
        s->bytes -= run->buf->cap;
    if (run->buf && charged(s))
        floe_budget_give(charged(s), run->buf->cap);
    floe_buf_unref(run->buf);
    floe_list_remove(&run->lru);
    floe_list_remove(&run->link);
    free(run);
}

static uint64_t limit(const struct floe_share *s)
{
    const struct floe_budget *b = s->log->cfg.cache_budget;
    uint64_t all = b ? b->limit : (uint64_t)64 << 20;
    return FLOE_MAX(all / (s->near_n > 1 ? 4 : 16), (uint64_t)FLOE_SEGMENT_TAIL_BYTES);
}

/* What requests wait beside stays: they could fetch in turns for ever. */
static void trim(struct floe_share *s)
{
    FLOE_LIST_EACH_SAFE(it, &s->lru)
    {
        struct share_run *run = FLOE_LIST_ENTRY(it, struct share_run, lru);
        struct share_object *o = run->object;
        if (s->bytes <= limit(s))
            return;
        if (!floe_list_empty(&o->ops))
            continue;
        run_free(run);
        object_maybe_free(s, o);
    }
}

/* By `from`; a tail under way first. */
static void run_place(struct share_run *run)
{
    floe_list_remove(&run->link);
    struct floe_list *at = run->object->runs.next;
    while (at != &run->object->runs && FLOE_LIST_ENTRY(at, struct share_run, link)->from < run->from)
        at = at->next;
    floe_list_insert_before(at, &run->link);
}

/* ---- ends of requests ----------------------------------------------------------------------------- */

static void finish(struct share_op *op, const struct floe_error *err)
{
    struct floe_share *s = op->s;
    if (op->r)
        op->r->err = *err;
    else
        op->lend->err = *err;
    op->object = NULL;
    floe_list_remove(&op->link);
    floe_list_push_back(&s->finished, &op->link);
    if (!floe_timer_armed(&s->turn))
        floe_timer_start(s->base.loop, &s->turn, 0);
}

static void op_free(struct share_op *op)
{
    floe_list_remove(&op->link);
    if (op->lend)
        op->s->lending -= op->lend->length;
    free(op);
}

static void on_turn(struct floe_timer *t)
{
    struct floe_share *s = t->user;
    for (uint32_t n = 0; n < 256 && !floe_list_empty(&s->finished); n++) {
        struct share_op *op = FLOE_LIST_ENTRY(s->finished.next, struct share_op, link);
        struct floe_store_req *r = op->r;
        struct floe_log_lend *l = op->lend;
        op_free(op);
        if (r) {
            r->driver = NULL;
            r->done(r);
        } else {
            l->driver = NULL;
            l->done(l);
        }
    }
    if (!floe_list_empty(&s->finished))
        floe_timer_start(s->base.loop, &s->turn, 0);
}

static struct share_run *run_at(const struct share_op *op, uint64_t p)
{
    FLOE_LIST_EACH(it, &op->object->runs)
    {
        struct share_run *run = FLOE_LIST_ENTRY(it, struct share_run, link);
        bool counts = !run->loading || (!run->tail && !(op->lend && run->asked));
        if (counts && run->from <= p && p < run->to)
            return run;
    }
    return NULL;
}

static void give_local(struct share_op *op, uint64_t from, uint64_t to)
{
    static const struct floe_error ok;
    struct floe_error err;
    struct floe_store_req *r = op->r;
    struct share_run *run = run_at(op, from);
    r->size = op->object->size;
    r->sent = 1;
    if (run && run->from == from && run->to == to) {
        r->data = floe_buf_ref(run->buf);
    } else {
        r->data = floe_buf_create_forced(to > from ? to - from : 1, op->s->base.budget);
        for (uint64_t p = from; p < to && r->data;) {
            run = run_at(op, p);
            uint64_t n = FLOE_MIN(run->to, to) - p;
            memcpy(r->data->data + (p - from), run->buf->data + (p - run->from), n);
            p += n;
        }
        if (r->data)
            r->data->n = to - from;
    }
    floe_error_set(&err, FLOE_ENOMEM, "no memory for what was read");
    finish(op, r->data ? &ok : &err);
}

static void give_peer(struct share_op *op, uint64_t from, uint64_t to)
{
    static const struct floe_error ok;
    struct floe_error err;
    struct floe_log_lend *l = op->lend;
    uint32_t n = 0;
    l->size = op->object->size;
    l->from = from;
    for (uint64_t p = from; p < to; n++)
        p = run_at(op, p)->to;
    l->slices = calloc(n ? n : 1, sizeof *l->slices);
    floe_error_set(&err, FLOE_ENOMEM, "no memory for what was read");
    for (uint64_t p = from; p < to && l->slices;) {
        struct share_run *run = run_at(op, p);
        uint64_t end = FLOE_MIN(run->to, to);
        l->slices[l->slice_count++] = (struct floe_bufslice){
            floe_buf_ref(run->buf), run->buf->data + (p - run->from), (size_t)(end - p)};
        p = end;
    }
    l->bytes = (uint32_t)(to - from);
    op->s->log->stats.lent++;
    op->s->log->stats.lent_bytes += l->bytes;
    finish(op, l->slices ? &ok : &err);
}

/* ---- gathering ------------------------------------------------------------------------------------ */

static bool run_start(struct share_op *op, uint64_t from, uint64_t to, bool tail)
{
    struct floe_share *s = op->s;
    struct share_run *run = calloc(1, sizeof *run);
    if (!run)
        return false;
    *run = (struct share_run){
        .s = s, .object = op->object, .from = from, .to = to, .tail = tail, .loading = true};
    floe_list_init(&run->link);
    floe_list_init(&run->lru);
    run_place(run);
    if (op->lend || !share_ask(run))
        share_run_fetch(run);
    return true;
}

/* Starts what is missing from p on; where it ends. 0 when memory is out. */
static uint64_t start_gap(struct share_op *op, uint64_t p, uint64_t end)
{
    uint64_t from = p, to = end, size = op->object->size;
    if (share_active(op->s)) {
        from = p / SHARE_CELL * SHARE_CELL;
        to = (end + SHARE_CELL - 1) / SHARE_CELL * SHARE_CELL;
    }
    if (size)
        to = FLOE_MIN(to, size);
    FLOE_LIST_EACH(it, &op->object->runs)
    {
        const struct share_run *run = FLOE_LIST_ENTRY(it, struct share_run, link);
        if (run->loading && run->tail)
            continue;
        if (run->to <= p)
            from = FLOE_MAX(from, run->to);
        else if (run->from > p)
            to = FLOE_MIN(to, run->from);
    }
    return run_start(op, from, to, false) ? to : 0;
}

/* A tail whose place is not known yet: it waits for one that is at least as long. */
static bool await_tail(struct share_op *op, uint64_t want)
{
    FLOE_LIST_EACH(it, &op->object->runs)
    {
        const struct share_run *run = FLOE_LIST_ENTRY(it, struct share_run, link);
        if (run->loading && run->tail && run->to - run->from >= want && !(op->lend && run->asked))
            return true;
    }
    return run_start(op, 0, want, true);
}

static void gather(struct share_op *op)
{
    int64_t offset = op->r ? op->r->offset : op->lend->offset;
    uint64_t length = op->r ? op->r->length : op->lend->length, size = op->object->size;
    struct floe_error err;
    floe_error_set(&err, FLOE_ENOMEM, "no memory to read");
    if (op->object->empty) {
        if (op->r)
            give_local(op, 0, 0);
        else
            give_peer(op, 0, 0);
        return;
    }
    if (offset < 0 && size == 0) {
        if (!await_tail(op, length))
            finish(op, &err);
        return;
    }
    uint64_t from = offset >= 0 ? (uint64_t)offset : size - FLOE_MIN(size, (uint64_t)-offset);
    uint64_t to = size ? FLOE_MIN(from + length, FLOE_MAX(size, from)) : from + length;
    bool all = true;
    for (uint64_t p = from; p < to;) {
        const struct share_run *run = run_at(op, p);
        all = all && run && !run->loading;
        p = run ? run->to : start_gap(op, p, to);
        if (p == 0) {
            finish(op, &err);
            return;
        }
    }
    if (all && op->r)
        give_local(op, from, to);
    else if (all)
        give_peer(op, from, to);
}

static void gather_all(struct floe_share *s, struct share_object *o)
{
    FLOE_LIST_EACH_SAFE(it, &o->ops)
    gather(FLOE_LIST_ENTRY(it, struct share_op, link));
    object_maybe_free(s, o);
    trim(s); /* which may take the object's runs, and the object */
}

void share_run_came(struct share_run *run, struct floe_buf *buf, uint64_t size)
{
    struct floe_share *s = run->s;
    struct share_object *o = run->object;
    run->loading = false;
    if (size)
        o->size = size;
    else if (buf->n < run->to - run->from)
        o->size = run->from + buf->n; /* it ends there, or earlier */
    o->empty = o->size == 0 && buf->n == 0;
    if (run->tail)
        run->from = o->size - FLOE_MIN(o->size, (uint64_t)buf->n);
    run->to = run->from + buf->n;
    if (buf->n > 0) {
        run->buf = buf;
        s->bytes += buf->cap;
        if (charged(s))
            floe_budget_force(charged(s), buf->cap);
        run_place(run);
        floe_list_push_back(&s->lru, &run->lru);
    } else {
        floe_buf_unref(buf);
        run_free(run);
    }
    gather_all(s, o);
}

/* Whoever needs it gets the error. */
static void run_failed(struct share_run *run, const struct floe_error *err)
{
    struct floe_share *s = run->s;
    struct share_object *o = run->object;
    FLOE_LIST_EACH_SAFE(it, &o->ops)
    {
        struct share_op *op = FLOE_LIST_ENTRY(it, struct share_op, link);
        int64_t offset = op->r ? op->r->offset : op->lend->offset;
        uint64_t length = op->r ? op->r->length : op->lend->length, size = o->size;
        uint64_t from = offset >= 0 ? (uint64_t)offset : size - FLOE_MIN(size, (uint64_t)-offset);
        bool needs = run->tail ? offset < 0 : from < run->to && run->from < from + length;
        if (needs && !(op->lend && run->asked))
            finish(op, err);
    }
    run_free(run);
    gather_all(s, o);
}

static void on_fetched(struct floe_store_req *r)
{
    struct share_run *run = r->user;
    if (r->err.code != FLOE_OK) {
        struct floe_error err = r->err;
        floe_store_req_fini(r);
        run_failed(run, &err);
        return;
    }
    struct floe_buf *buf = r->data;
    uint64_t size = r->size;
    r->data = NULL;
    floe_store_req_fini(r);
    share_run_came(run, buf, size);
}

void share_run_fetch(struct share_run *run)
{
    uint64_t n = run->to - run->from;
    run->asked = false;
    run->req = (struct floe_store_req){.kind = FLOE_STORE_GET,
                                       .cls = FLOE_STORE_DATA,
                                       .offset = run->tail ? -(int64_t)n : (int64_t)run->from,
                                       .length = n,
                                       .attempts = 4,
                                       .try_us = run->tail ? 250000 + n / 10 : 2000000 + n / 5,
                                       .done = on_fetched,
                                       .user = run};
    if (run->tail)
        run->req.timeout_us = run->req.try_us << 4;
    floe_chain_key(run->req.key, &run->object->session, run->object->seq);
    floe_store_submit(run->s->inner, &run->req);
}

/* ---- requests ------------------------------------------------------------------------------------- */

static void on_direct(struct floe_store_req *in)
{
    struct share_op *op = in->user;
    struct floe_store_req *r = op->r;
    r->err = in->err;
    memcpy(r->version, in->version, sizeof r->version);
    memcpy(r->got_nonce, in->got_nonce, sizeof r->got_nonce);
    r->size = in->size;
    r->data = in->data;
    r->sent = in->sent;
    r->piece_crc = in->piece_crc;
    in->data = NULL;
    in->piece_crc = NULL;
    floe_store_req_fini(in);
    op_free(op);
    r->driver = NULL;
    r->done(r);
}

static void go_direct(struct share_op *op)
{
    struct floe_store_req *r = op->r, *in = &op->inner;
    FLOE_ASSERT(r->kind == FLOE_STORE_GET);
    op->direct = true;
    floe_list_push_back(&op->s->direct, &op->link);
    *in = (struct floe_store_req){.kind = r->kind,
                                  .cls = r->cls,
                                  .offset = r->offset,
                                  .length = r->length,
                                  .pieces = r->pieces,
                                  .attempts = r->attempts,
                                  .try_us = r->try_us,
                                  .timeout_us = r->timeout_us,
                                  .done = on_direct,
                                  .user = op};
    memcpy(in->key, r->key, sizeof in->key);
    floe_store_submit(op->s->inner, in);
}

/* What is here of the object was of no use to somebody. */
static void forget(struct floe_share *s, struct share_object *o)
{
    FLOE_LIST_EACH_SAFE(it, &o->runs)
    {
        struct share_run *run = FLOE_LIST_ENTRY(it, struct share_run, link);
        if (!run->loading)
            run_free(run);
    }
    object_maybe_free(s, o);
}

/* Everything is here already. */
static bool covers(const struct share_object *o, const struct floe_store_req *r)
{
    struct share_op op = {.object = (struct share_object *)o};
    uint64_t to = FLOE_MIN((uint64_t)r->offset + r->length, o->size);
    for (uint64_t p = (uint64_t)r->offset; p < to;) {
        const struct share_run *run = run_at(&op, p);
        if (!run || run->loading)
            return false;
        p = run->to;
    }
    return o->size > 0;
}

static void op_submit(struct floe_store *base, struct floe_store_req *r)
{
    struct floe_share *s = FLOE_CONTAINER(base, struct floe_share, base);
    struct share_op *op = calloc(1, sizeof *op);
    struct floe_session_name session;
    uint64_t seq;
    FLOE_ASSERT(op); /* two kilobytes; there is no way to answer "no memory" later without them */
    op->s = s;
    op->r = r;
    r->driver = op;
    floe_list_init(&op->link);
    bool ours = floe_chain_key_parse(r->key, &session, &seq) && r->length <= SHARE_BYTES_MAX &&
                (r->offset >= 0 || r->length == (uint64_t)-r->offset);
    struct share_object *o = ours ? object_of(s, &session, seq, false) : NULL;
    if (o && r->fresh)
        forget(s, o);
    else
        ours = ours && !r->fresh && (share_active(s) || r->offset < 0 || (o && covers(o, r)));
    o = ours && !r->fresh ? object_of(s, &session, seq, true) : NULL;
    if (!o) {
        go_direct(op);
        return;
    }
    op->object = o;
    floe_list_push_back(&o->ops, &op->link);
    gather(op);
}

static void op_cancel(struct floe_store *base, struct floe_store_req *r)
{
    struct share_op *op = r->driver;
    (void)base;
    if (!op)
        return;
    struct share_object *o = op->object;
    struct floe_share *s = op->s;
    r->driver = NULL;
    if (op->direct)
        floe_store_cancel(s->inner, &op->inner);
    op_free(op);
    if (o)
        object_maybe_free(s, o);
}

static void op_close(struct floe_store *base, void (*closed)(void *user), void *user)
{
    floe_store_close(FLOE_CONTAINER(base, struct floe_share, base)->inner, closed, user);
}

void floe_log_lend(struct floe_log *log, struct floe_log_lend *l)
{
    struct floe_share *s = log->share;
    bool room = s->lending == 0 || s->lending + l->length <= FLOE_MAX(limit(s), (uint64_t)SHARE_RUN_MAX);
    struct share_op *op = room ? calloc(1, sizeof *op) : NULL;
    bool fits = l->length > 0 && l->length <= SHARE_RUN_MAX &&
                (l->offset >= 0 ? (uint64_t)l->offset <= FLOE_STORE_OBJECT_MAX
                                : 0 - (uint64_t)l->offset == l->length);
    struct share_object *o = op && fits ? object_of(s, &l->session, l->seq, true) : NULL;
    l->slices = NULL;
    l->slice_count = l->bytes = 0;
    l->driver = NULL;
    if (!o) {
        free(op);
        floe_error_set(&l->err, fits ? FLOE_EAGAIN : FLOE_EINVAL, "not now");
        l->done(l);
        return;
    }
    s->lending += l->length;
    *op = (struct share_op){.s = s, .lend = l, .object = o};
    l->driver = op;
    floe_list_push_back(&o->ops, &op->link);
    gather(op);
}

void floe_log_lend_fini(struct floe_log_lend *l)
{
    for (uint32_t i = 0; i < l->slice_count; i++)
        floe_buf_unref(l->slices[i].buf);
    free(l->slices);
    l->slices = NULL;
    l->slice_count = 0;
}

/* ---- life ----------------------------------------------------------------------------------------- */

static const struct floe_store_ops ops = {
    .name = "share", .submit = op_submit, .cancel = op_cancel, .close = op_close};

enum floe_err floe_share_create(struct floe_share **out, struct floe_log *log)
{
    struct floe_share *s = calloc(1, sizeof *s);
    if (!s)
        return FLOE_ENOMEM;
    s->log = log;
    s->inner = log->cfg.store;
    s->base.ops = &ops;
    s->base.loop = log->cfg.loop;
    s->base.budget = s->inner->budget;
    s->base.free_puts = s->inner->free_puts;
    memcpy(s->base.url, s->inner->url, sizeof s->base.url);
    floe_map_init(&s->objects);
    floe_list_init(&s->lru);
    floe_list_init(&s->finished);
    floe_list_init(&s->direct);
    floe_timer_init(&s->turn, on_turn, s);
    *out = s;
    return FLOE_OK;
}

struct floe_store *floe_share_store(struct floe_share *s)
{
    return &s->base;
}

static void object_free(struct floe_share *s, struct share_object *o)
{
    for (struct floe_list *n; (n = floe_list_pop_front(&o->ops));)
        free(FLOE_LIST_ENTRY(n, struct share_op, link));
    FLOE_LIST_EACH_SAFE(it, &o->runs)
    {
        struct share_run *run = FLOE_LIST_ENTRY(it, struct share_run, link);
        if (run->loading && run->asked)
            share_ask_cancel(run);
        else if (run->loading && !s->log->detached)
            floe_store_cancel(s->inner, &run->req);
        run_free(run);
    }
    floe_map_remove(&s->objects, &o->node);
    free(o);
}

void floe_share_destroy(struct floe_share **out)
{
    struct floe_share *s = *out;
    if (!s)
        return;
    *out = NULL;
    floe_timer_stop(&s->turn);
    for (struct floe_map_node *n; (n = floe_map_iter(&s->objects, NULL));)
        object_free(s, FLOE_MAP_ENTRY(n, struct share_object, node));
    struct floe_list *left[] = {&s->finished, &s->direct};
    for (int i = 0; i < 2; i++)
        for (struct floe_list *n; (n = floe_list_pop_front(left[i]));)
            free(FLOE_LIST_ENTRY(n, struct share_op, link));
    floe_map_fini(&s->objects);
    free(s);
}
