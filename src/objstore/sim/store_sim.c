/* The front end: requests of one node, and their copies on the wire. Long because: a request, its copies and
 * the bucket's side of them are one machine, which is read together.
 *
 * `struct cargo` is what was asked (shared by all copies), `struct wire` one copy on its way, `struct op` the
 * caller's waiting request. An op ends by answer, time-out, cancel or the node's death; its wires go on.
 */
#include "sim_int.h"
#include "../body.h"

#include <stdio.h>
#include <stdlib.h>

#include <floe/base/assert.h>
#include <floe/base/crc32c.h>

#define RETRY_US 50000u
#define FRESH_US 20000000u /* of a LIST that misses what is fresh */

struct front;
struct cargo {
    uint32_t refs;
    enum floe_store_kind kind;
    enum floe_store_cond cond;
    char key[FLOE_STORE_KEY_MAX], start_after[FLOE_STORE_KEY_MAX];
    char if_version[FLOE_STORE_VERSION_MAX], nonce[FLOE_STORE_NONCE_MAX];
    uint32_t max_keys;
    int64_t offset;
    uint64_t length;
    struct floe_store_body body; /* held until flattened */
    uint64_t body_n, body_hash;
    uint8_t *flat;
    char **keys; /* batch DELETE */
    uint32_t key_count;
};
struct op {
    struct floe_list link;
    struct front *front;
    struct cargo *cargo;
    struct floe_store_req *r;
    struct wire *wire; /* the copy whose answer is awaited; null between two */
    uint32_t left;     /* attempts */
    enum floe_err bad; /* what is wrong with the request itself */
    uint64_t try_us;   /* of the present attempt; 0: no limit */
    struct floe_sim_event timeout, again, slow;
};
struct wire {
    struct floe_list link;
    struct front *front;
    struct cargo *cargo;
    struct op *op; /* null: nobody waits */
    struct floe_sim_event land, answer;
    enum floe_sim_fault fault;
    uint64_t delay_us;
    /* the answer */
    enum floe_err result;
    char version[FLOE_STORE_VERSION_MAX], got_nonce[FLOE_STORE_NONCE_MAX];
    uint64_t size;
    struct floe_buf *data;
    struct floe_store_entry *entries;
    uint32_t entry_count;
    bool truncated;
};
struct front {
    struct floe_store base; /* first */
    struct floe_sim_bucket *bucket;
    struct floe_sim_node *node;
    struct floe_sim_driver driver;
    struct floe_list ops, wires;
    bool closed;
    struct floe_sim_event closing;
    void (*closed_fn)(void *user);
    void *closed_user;
};

static struct front *front_of(struct floe_store *s)
{
    return FLOE_CONTAINER(s, struct front, base);
}
static void *alloc(size_t n)
{
    void *p = calloc(1, n ? n : 1);
    FLOE_ASSERT(p);
    return p;
}

/* Cargo. */
static uint64_t body_hash(const struct floe_store_body *b)
{
    uint64_t h = 0;
    for (uint32_t i = 0; i < b->count; i++)
        h = floe_hash64(b->slices[i].p, b->slices[i].n, h);
    return h;
}
static struct cargo *cargo_create(const struct floe_store_req *r)
{
    struct cargo *c = alloc(sizeof *c);
    c->refs = 1;
    c->kind = r->kind;
    c->cond = r->cond;
    memcpy(c->key, r->key, sizeof c->key);
    memcpy(c->start_after, r->start_after, sizeof c->start_after);
    memcpy(c->if_version, r->if_version, sizeof c->if_version);
    memcpy(c->nonce, r->nonce, sizeof c->nonce);
    c->max_keys = r->max_keys;
    c->offset = r->offset;
    c->length = r->length;
    if (r->kind == FLOE_STORE_DELETE && r->key_count) {
        c->keys = floe_store_keys_copy(r->keys, r->key_count);
        FLOE_ASSERT(c->keys);
        c->key_count = r->key_count;
        snprintf(c->key, sizeof c->key, "%s", r->keys[0]);
    }
    if (r->kind == FLOE_STORE_PUT) {
        enum floe_err e = floe_store_body_hold(&c->body, r->body, r->body_count, NULL);
        FLOE_ASSERT(e == FLOE_OK);
        c->body_n = c->body.n;
        c->body_hash = body_hash(&c->body);
    }
    return c;
}
/* Takes the bytes as they are now and lets go of the caller's buffers. */
static void flatten(struct cargo *c)
{
    if (c->kind != FLOE_STORE_PUT || c->flat)
        return;
    FLOE_ASSERT(body_hash(&c->body) == c->body_hash); /* a PUT's bytes changed while it was on the wire */
    c->flat = alloc(c->body_n);
    size_t at = 0;
    for (uint32_t i = 0; i < c->body.count; i++) {
        if (c->body.slices[i].n)
            memcpy(c->flat + at, c->body.slices[i].p, c->body.slices[i].n);
        at += c->body.slices[i].n;
    }
    floe_store_body_drop(&c->body);
}
static void cargo_unref(struct cargo *c)
{
    if (--c->refs)
        return;
    floe_store_body_drop(&c->body);
    free(c->flat);
    free(c->keys);
    free(c);
}

/* The bucket's side. */
static void free_entries(struct wire *w)
{
    for (uint32_t i = 0; i < w->entry_count; i++)
        free((void *)(uintptr_t)w->entries[i].key);
    free(w->entries);
    w->entries = NULL;
    w->entry_count = 0;
}
static enum floe_err apply_put(struct front *f, struct cargo *c, struct wire *w)
{
    const struct floe_sim_object *o = floe_sim_bucket_find(f->bucket, c->key);
    if (c->cond == FLOE_PUT_CREATE && o && !floe_sim_bucket_breaks(f->bucket, FLOE_SIM_CREATE_OVERWRITES))
        return FLOE_EEXISTS;
    if (c->cond == FLOE_PUT_REPLACE && (!o || strcmp(o->version, c->if_version) != 0) &&
        !floe_sim_bucket_breaks(f->bucket, FLOE_SIM_REPLACE_IGNORED))
        return FLOE_ECONFLICT;
    flatten(c);
    if (floe_sim_bucket_breaks(f->bucket, FLOE_SIM_PUT_VANISHES)) {
        snprintf(w->version, sizeof w->version, "%032llx", (unsigned long long)c->body_hash);
        return FLOE_OK;
    }
    if (c->body_n && floe_sim_bucket_breaks(f->bucket, FLOE_SIM_BODY_CORRUPTED))
        c->flat[floe_rng_below(floe_sim_rng(f->bucket->sim), c->body_n)] ^= 1;
    struct object *n = floe_sim_bucket_write(f->bucket, c->key, c->flat, c->body_n, c->nonce);
    memcpy(w->version, n->pub.version, sizeof w->version);
    return FLOE_OK;
}
/* What lay there before the last PUT; false when nothing did. */
static bool before_last(const struct floe_sim_object *o, struct floe_sim_object *out)
{
    const struct object *at = FLOE_CONTAINER(o, struct object, pub);
    *out = *o;
    out->data = at->old;
    out->n = at->old_n;
    memcpy(out->version, at->old_version, sizeof out->version);
    memcpy(out->nonce, at->old_nonce, sizeof out->nonce);
    return at->old != NULL;
}
static enum floe_err apply_get(struct front *f, struct cargo *c, struct wire *w)
{
    const struct floe_sim_object *o = floe_sim_bucket_find(f->bucket, c->key);
    if (!o || w->fault == FLOE_SIM_ABSENT)
        return FLOE_ENOTFOUND;
    struct floe_sim_object stale;
    if (floe_sim_bucket_breaks(f->bucket, FLOE_SIM_GET_STALE)) {
        if (!before_last(o, &stale))
            return FLOE_ENOTFOUND;
        o = &stale;
    }
    memcpy(w->version, o->version, sizeof w->version);
    memcpy(w->got_nonce, o->nonce, sizeof w->got_nonce);
    w->size = o->n;
    if (c->kind == FLOE_STORE_HEAD || !w->op)
        return FLOE_OK;
    uint64_t from = 0, n;
    if (c->offset >= 0)
        from = (uint64_t)c->offset;
    else if ((uint64_t)-c->offset < o->n)
        from = o->n - (uint64_t)-c->offset;
    n = from < o->n ? FLOE_MIN(o->n - from, c->length) : 0;
    w->data = floe_buf_create_forced(n ? n : 1, f->base.budget);
    FLOE_ASSERT(w->data);
    if (n)
        memcpy(w->data->data, o->data + from, n);
    w->data->n = n;
    if (w->fault == FLOE_SIM_FLIPPED && n)
        w->data->data[floe_rng_below(floe_sim_rng(f->bucket->sim), n)] ^=
            (uint8_t)(1u << floe_rng_below(floe_sim_rng(f->bucket->sim), 8));
    return FLOE_OK;
}
static enum floe_err apply_list(struct front *f, struct cargo *c, struct wire *w)
{
    size_t at, len = strlen(c->key);
    const char *from = strcmp(c->start_after, c->key) > 0 ? c->start_after : c->key;
    if (floe_sim_bucket_search(f->bucket, from, &at) && strcmp(from, c->start_after) == 0)
        at++;
    uint32_t cap = 0;
    for (; at < f->bucket->n; at++) {
        const struct floe_sim_object *o = &f->bucket->obj[at]->pub;
        if (strncmp(o->key, c->key, len) != 0)
            break;
        if (floe_sim_now_us(f->bucket->sim) - o->at_us < FRESH_US &&
            floe_sim_bucket_breaks(f->bucket, FLOE_SIM_LIST_MISSES_FRESH))
            continue;
        if (w->entry_count == c->max_keys) {
            w->truncated = true;
            break;
        }
        if (w->entry_count == cap) {
            cap = FLOE_MIN(cap ? cap * 2 : 16, c->max_keys);
            w->entries = realloc(w->entries, cap * sizeof *w->entries);
            FLOE_ASSERT(w->entries);
        }
        struct floe_store_entry *e = &w->entries[w->entry_count++];
        *e = (struct floe_store_entry){0};
        e->key = strdup(o->key);
        FLOE_ASSERT(e->key);
        e->size = o->n;
        memcpy(e->version, o->version, sizeof e->version);
    }
    return FLOE_OK;
}
static void watched(struct front *f, struct cargo *c, struct wire *w, enum floe_err result)
{
    struct floe_sim_bucket *b = f->bucket;
    const char *fault = w->fault ? floe_sim_fault_name(w->fault) : "", *but = w->fault ? ", fault " : "";
    const char *how = c->kind != FLOE_STORE_PUT     ? ""
                      : c->cond == FLOE_PUT_CREATE  ? "(create)"
                      : c->cond == FLOE_PUT_REPLACE ? "(replace)"
                                                    : "";
    const char *said = result ? floe_err_name(result) : "ok";
    if (c->kind == FLOE_STORE_GET)
        floe_sim_note(b->sim, f->node, "store GET %s [%lld +%llu] -> %s%s%s", c->key, (long long)c->offset,
                      (unsigned long long)c->length, said, but, fault);
    else
        floe_sim_note(b->sim, f->node, "store %s%s %s%s%s -> %s%s%s", floe_sim_kind_name(c->kind), how,
                      c->key, c->nonce[0] ? " nonce " : "", c->nonce, said, but, fault);
    if (!b->watch)
        return;
    struct floe_sim_store_event e = {
        .at_us = floe_sim_now_us(b->sim),
        .node = f->node,
        .kind = c->kind,
        .cond = c->cond,
        .fault = w->fault,
        .key = c->key,
        .nonce = c->nonce,
        .result = result,
        .object = floe_sim_bucket_find(b, c->key),
    };
    b->watch(b->watch_user, &e);
}
static enum floe_err apply(struct front *f, struct wire *w)
{
    struct cargo *c = w->cargo;
    enum floe_err e = FLOE_OK;
    switch (c->kind) {
    case FLOE_STORE_PUT:
        e = apply_put(f, c, w);
        break;
    case FLOE_STORE_GET:
    case FLOE_STORE_HEAD:
        e = apply_get(f, c, w);
        break;
    case FLOE_STORE_LIST:
        e = apply_list(f, c, w);
        break;
    case FLOE_STORE_DELETE:
        for (uint32_t i = 0; i < FLOE_MAX(c->key_count, 1u); i++) {
            if (c->key_count)
                snprintf(c->key, sizeof c->key, "%s", c->keys[i]);
            watched(f, c, w, FLOE_OK);
            floe_sim_bucket_remove(f->bucket, c->key);
        }
        return FLOE_OK;
    }
    watched(f, c, w, e);
    return e;
}
/* What the answer says when the store fails after (or without) applying. */
static enum floe_err unclear(const struct cargo *c)
{
    return c->kind == FLOE_STORE_PUT || c->kind == FLOE_STORE_DELETE ? FLOE_EINDETERMINATE
                                                                     : FLOE_EUNAVAILABLE;
}

static void wire_free(struct wire *w)
{
    struct floe_sim *sim = w->front->bucket->sim;
    floe_sim_unschedule(sim, &w->land);
    floe_sim_unschedule(sim, &w->answer);
    floe_list_remove(&w->link);
    if (w->op)
        w->op->wire = NULL;
    floe_buf_unref(w->data);
    free_entries(w);
    cargo_unref(w->cargo);
    free(w);
}
static void on_land(struct floe_sim_event *e)
{
    struct wire *w = FLOE_CONTAINER(e, struct wire, land);
    struct front *f = w->front;
    switch (w->fault) {
    case FLOE_SIM_E409:
    case FLOE_SIM_E500:
    case FLOE_SIM_E503:
        w->result = unclear(w->cargo);
        watched(f, w->cargo, w, w->result);
        break;
    case FLOE_SIM_E409_APPLIED:
    case FLOE_SIM_E500_APPLIED:
    case FLOE_SIM_BROKEN:
        apply(f, w);
        w->result = unclear(w->cargo);
        break;
    case FLOE_SIM_DENIED:
        w->result = FLOE_EDENIED;
        watched(f, w->cargo, w, w->result);
        break;
    case FLOE_SIM_NOSPACE:
        w->result = FLOE_ENOSPACE;
        watched(f, w->cargo, w, w->result);
        break;
    case FLOE_SIM_TWICE:
        w->result = apply(f, w);
        if (w->result == FLOE_OK && w->cargo->cond != FLOE_PUT_ANY)
            w->result = apply(f, w);
        break;
    case FLOE_SIM_TRUNCATED:
        w->result = apply(f, w);
        if (w->result == FLOE_OK)
            w->result = FLOE_ECORRUPT;
        break;
    default:
        w->result = apply(f, w);
    }
    if (w->answer.heap_at) /* LATE, and the broken connection waits for a stalled node */
        return;
    if (!w->op || w->fault == FLOE_SIM_LOST_ANSWER || w->fault == FLOE_SIM_LATE) {
        wire_free(w);
        return;
    }
    uint64_t back = w->fault == FLOE_SIM_BROKEN ? 0 : floe_sim_bucket_leg(f->bucket);
    if (w->fault == FLOE_SIM_HANG)
        back += w->delay_us;
    floe_sim_after(f->bucket->sim, &w->answer, back);
}

/* The node's side. */
static void leave_wire(struct op *op)
{
    struct wire *w = op->wire;
    if (!w)
        return;
    op->wire = NULL;
    w->op = NULL;
    if (!w->land.heap_at) /* landed: nothing is left of it but an answer that nobody hears */
        wire_free(w);
}
static void op_free(struct op *op)
{
    struct floe_sim *sim = op->front->bucket->sim;
    floe_sim_unschedule(sim, &op->timeout);
    floe_sim_unschedule(sim, &op->again);
    floe_sim_unschedule(sim, &op->slow);
    floe_list_remove(&op->link);
    leave_wire(op);
    if (op->r)
        op->r->driver = NULL;
    cargo_unref(op->cargo);
    free(op);
}
static void finish(struct op *op, enum floe_err code, const char *why)
{
    struct floe_store_req *r = op->r;
    struct front *f = op->front;
    r->err = (struct floe_error){.code = code};
    if (code) {
        floe_error_set(&r->err, code, "%s %s: %s", floe_sim_kind_name(r->kind), r->key, why);
        f->base.stats.errors++;
    }
    floe_sim_note(f->bucket->sim, f->node, "answer %s %s: %s", floe_sim_kind_name(r->kind), r->key,
                  floe_err_name(code));
    op_free(op);
    r->done(r);
}
static void deliver(struct op *op, struct wire *w)
{
    struct floe_store_req *r = op->r;
    memcpy(r->version, w->version, sizeof r->version);
    memcpy(r->got_nonce, w->got_nonce, sizeof r->got_nonce);
    r->size = w->size;
    r->data = w->data;
    w->data = NULL;
    if (r->pieces && r->data && (r->piece_crc = floe_store_pieces_new(r->data->n)) != NULL) {
        uint64_t done = 0;
        floe_store_note_pieces(r->piece_crc, &done, r->data);
    }
    r->truncated = w->truncated;
    if (r->kind != FLOE_STORE_LIST)
        return;
    floe_arena_init(&r->arena, 4u << 20);
    r->entries = floe_arena_calloc(&r->arena, w->entry_count, sizeof *r->entries);
    FLOE_ASSERT(r->entries);
    for (uint32_t i = 0; i < w->entry_count; i++) {
        r->entries[i] = w->entries[i];
        r->entries[i].key = floe_arena_strndup(&r->arena, w->entries[i].key, strlen(w->entries[i].key));
        FLOE_ASSERT(r->entries[i].key);
    }
    r->entry_count = w->entry_count;
}
static void send_copy(struct op *op);
static void on_answer(struct floe_sim_event *e)
{
    struct wire *w = FLOE_CONTAINER(e, struct wire, answer);
    struct op *op = w->op;
    if (!op) { /* LATE: the connection had broken, the copy is still to land */
        if (!w->land.heap_at)
            wire_free(w);
        return;
    }
    enum floe_err code = w->result;
    floe_sim_unschedule(op->front->bucket->sim, &op->slow);
    op->wire = NULL;
    w->op = NULL;
    bool again = code == FLOE_EINDETERMINATE || code == FLOE_EUNAVAILABLE || code == FLOE_ECORRUPT ||
                 code == FLOE_EREFUSED;
    if (again && op->left) {
        floe_sim_after(op->front->bucket->sim, &op->again,
                       1 + floe_rng_below(floe_sim_rng(op->front->bucket->sim), RETRY_US));
    } else if (code == FLOE_OK) {
        deliver(op, w);
    }
    if (!w->land.heap_at)
        wire_free(w);
    if (!op->again.heap_at)
        finish(op, code, floe_err_name(code));
}
static void on_again(struct floe_sim_event *e)
{
    struct op *op = FLOE_CONTAINER(e, struct op, again);
    if (op->bad) {
        char why[sizeof op->r->err.msg];
        memcpy(why, op->r->err.msg, sizeof why);
        finish(op, op->bad, why);
        return;
    }
    send_copy(op);
}
/* The attempt takes too long: another one, on another connection. */
static void on_slow(struct floe_sim_event *e)
{
    struct op *op = FLOE_CONTAINER(e, struct op, slow);
    leave_wire(op);
    send_copy(op);
}
static void on_timeout(struct floe_sim_event *e)
{
    struct op *op = FLOE_CONTAINER(e, struct op, timeout);
    enum floe_store_kind k = op->r->kind;
    enum floe_err code = k != FLOE_STORE_PUT && k != FLOE_STORE_DELETE ? FLOE_ETIMEOUT
                         : op->r->sent                                 ? FLOE_EINDETERMINATE
                                                                       : FLOE_EUNAVAILABLE;
    finish(op, code, "no answer in time");
}
static void send_copy(struct op *op)
{
    struct front *f = op->front;
    struct floe_sim *sim = f->bucket->sim;
    struct cargo *c = op->cargo;
    struct wire *w = alloc(sizeof *w);
    w->front = f;
    w->cargo = c;
    c->refs++;
    w->op = op;
    op->wire = w;
    op->left--;
    if (op->try_us && op->left) {
        floe_sim_after(sim, &op->slow, op->try_us);
        op->try_us *= 2;
    }
    w->land.fn = on_land;
    w->answer = (struct floe_sim_event){.fn = on_answer, .node = f->node};
    floe_list_push_back(&f->wires, &w->link);
    w->fault = floe_sim_bucket_fate(f->bucket, f->node, c->kind, c->key, &w->delay_us);
    if (w->fault == FLOE_SIM_REFUSED) {
        w->result = FLOE_EREFUSED;
        floe_sim_after(sim, &w->answer, 200);
        return;
    }
    op->r->sent++;
    uint64_t leg = floe_sim_bucket_leg(f->bucket);
    switch (w->fault) {
    case FLOE_SIM_LOST_REQUEST:
        floe_sim_note(sim, f->node, "store %s %s lost on the way", floe_sim_kind_name(c->kind), c->key);
        w->op = NULL;
        wire_free(w);
        op->wire = NULL;
        return;
    case FLOE_SIM_LATE:
        w->result = unclear(c);
        floe_sim_after(sim, &w->answer, leg);
        floe_sim_after(sim, &w->land, leg + 1 + w->delay_us);
        return;
    case FLOE_SIM_HANG:
        floe_sim_after(sim, &w->land, leg + w->delay_us);
        return;
    default:
        floe_sim_after(sim, &w->land, leg);
    }
}

static void op_submit(struct floe_store *s, struct floe_store_req *r)
{
    struct front *f = front_of(s);
    r->driver = NULL;
    r->sent = 0;
    if (f->closed || !floe_sim_node_call(f->node))
        return;
    floe_store_count(s, r->kind);
    struct op *op = alloc(sizeof *op);
    op->front = f;
    op->cargo = cargo_create(r);
    op->r = r;
    op->left = r->attempts ? r->attempts : 1;
    op->timeout = (struct floe_sim_event){.fn = on_timeout, .node = f->node};
    op->again = (struct floe_sim_event){.fn = on_again, .node = f->node};
    op->slow = (struct floe_sim_event){.fn = on_slow, .node = f->node};
    op->try_us = r->kind == FLOE_STORE_PUT || r->kind == FLOE_STORE_DELETE ? 0 : r->try_us;
    floe_list_push_back(&f->ops, &op->link);
    op->bad = floe_store_req_check(r, &r->err);
    if (op->bad)
        floe_sim_after(f->bucket->sim, &op->again, 0);
    else
        send_copy(op);
    if (floe_sim_node_dead(f->node)) { /* it died in this very call */
        if (op->wire)
            flatten(op->cargo);
        op_free(op);
        return;
    }
    r->driver = op;
    floe_sim_after(f->bucket->sim, &op->timeout,
                   r->timeout_us ? r->timeout_us : FLOE_STORE_TIMEOUT_US_DEFAULT);
}
static void op_cancel(struct floe_store *s, struct floe_store_req *r)
{
    (void)s;
    if (r->driver)
        op_free(r->driver);
}
/* Nothing of the node's memory is touched after this. */
static void forget(struct front *f)
{
    while (!floe_list_empty(&f->ops))
        op_free(FLOE_LIST_ENTRY(f->ops.next, struct op, link));
    FLOE_LIST_EACH(it, &f->wires)
    {
        struct wire *w = FLOE_LIST_ENTRY(it, struct wire, link);
        flatten(w->cargo);
        floe_buf_unref(w->data);
        w->data = NULL;
    }
    f->base.budget = NULL;
}
static void on_killed(struct floe_sim_driver *d)
{
    struct front *f = FLOE_CONTAINER(d, struct front, driver);
    forget(f);
    floe_sim_unschedule(f->bucket->sim, &f->closing);
}
static void on_closing(struct floe_sim_event *e)
{
    struct front *f = FLOE_CONTAINER(e, struct front, closing);
    f->closed_fn(f->closed_user);
}
static void op_close(struct floe_store *s, void (*closed)(void *user), void *user)
{
    struct front *f = front_of(s);
    if (floe_sim_node_dead(f->node))
        return;
    FLOE_ASSERT(!f->closed);
    f->closed = true;
    forget(f);
    f->closed_fn = closed;
    f->closed_user = user;
    floe_sim_after(f->bucket->sim, &f->closing, 0);
}
static const struct floe_store_ops ops = {
    .name = "sim", .submit = op_submit, .cancel = op_cancel, .close = op_close};

static void front_destroy(void *p)
{
    struct front *f = p;
    forget(f);
    while (!floe_list_empty(&f->wires))
        wire_free(FLOE_LIST_ENTRY(f->wires.next, struct wire, link));
    floe_sim_unschedule(f->bucket->sim, &f->closing);
    floe_list_remove(&f->driver.link);
    free(f);
}
struct floe_store *floe_sim_store_create(struct floe_sim_bucket *b, struct floe_sim_node *n)
{
    struct front *f = alloc(sizeof *f);
    f->base.ops = &ops;
    f->base.loop = floe_sim_node_loop(n);
    snprintf(f->base.url, sizeof f->base.url, "sim://bucket");
    f->base.free_puts = true;
    f->bucket = b;
    f->node = n;
    floe_list_init(&f->ops);
    floe_list_init(&f->wires);
    f->closing = (struct floe_sim_event){.fn = on_closing, .node = n};
    f->driver.killed = on_killed;
    floe_sim_node_register(n, &f->driver);
    floe_sim_own(b->sim, f, front_destroy);
    return &f->base;
}
