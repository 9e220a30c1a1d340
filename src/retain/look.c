/* Reads the footers of the page's segments that are not known, a few at a time. */
#include "retain/retain_int.h"

#include <stdio.h>

static void get_tail(struct retain_get *g, uint64_t bytes);
static void go_on(struct floe_retain *r);

static void unreadable(struct retain_item *it, const struct floe_error *err)
{
    floe_log_error("garbage", "%s; it is kept", err->msg);
    it->verdict = RETAIN_KEEP;
    it->pin = (struct retain_pin){.kind = RETAIN_PIN_MIXED};
}

/* The last seal ends a chain. One below it is a stalled fencer's, in a gap that was below the floor. */
static void seal_found(struct floe_retain *r, struct retain_item *it)
{
    struct retain_pass *p = &r->pass;
    char key[FLOE_CHAIN_KEY_MAX];
    if (p->tail) {
        p->c->end = FLOE_MAX(p->c->end, it->seq);
        it->verdict = RETAIN_SEAL;
    } else if (!p->live) {
        it->verdict = RETAIN_GARBAGE;
    } else {
        struct floe_error err;
        floe_chain_key(key, &p->c->session, it->seq);
        floe_error_set(&err, FLOE_ECORRUPT, "%s is a seal, though later keys are committed", key);
        unreadable(it, &err);
    }
}

/* Opens what came. True when the item is judged; false with `need` set. */
static bool judge(struct floe_retain *r, struct retain_get *g, uint64_t *need)
{
    struct retain_pass *p = &r->pass;
    struct retain_item *it = g->item;
    const struct floe_store_req *q = &g->req;
    struct floe_segment_tail tail;
    struct floe_segment_footer f;
    struct floe_error err;
    *need = 0;
    enum floe_err rc =
        floe_segment_tail_open(floe_slice(q->data->data, q->data->n), q->size, q->key, &tail, &err);
    if (rc == FLOE_OK && tail.need != 0) {
        *need = tail.need;
        return false;
    }
    if (rc == FLOE_OK)
        rc = floe_segment_footer_open(&tail, q->key, &f, &err);
    if (rc == FLOE_OK)
        rc = floe_segment_id_check(&f.id, q->key, &p->c->session, it->seq, &r->cfg.cluster, &err);
    r->stats.footers++;
    if (rc != FLOE_OK) {
        unreadable(it, &err);
    } else if (f.id.seal) {
        seal_found(r, it);
    } else if (p->tail) {
        it->verdict = RETAIN_ORPHAN;
    } else {
        const struct floe_uuid none = {{0}};
        const struct retain_runs *v = &p->runs;
        const struct floe_uuid *prefer = v->n > 0 ? &v->v[v->n - 1].pin.topic : &none;
        it->verdict = RETAIN_KEEP;
        if (retain_wanted(r, &f, prefer, &it->pin, &err) != FLOE_OK)
            unreadable(it, &err);
        else if (it->pin.kind == RETAIN_PIN_NONE)
            it->verdict = RETAIN_GARBAGE;
    }
    return true;
}

static void on_tail(struct floe_store_req *q)
{
    struct retain_get *g = q->user;
    struct floe_retain *r = g->r;
    uint64_t need;
    g->active = false;
    if (q->err.code == FLOE_ENOTFOUND) {
        g->item->verdict = RETAIN_SKIP; /* gone since it was listed */
    } else if (q->err.code == FLOE_ECORRUPT) {
        unreadable(g->item, &q->err);
    } else if (q->err.code != FLOE_OK) {
        struct floe_error err = q->err;
        retain_pass_failed(r, &err);
        return;
    } else if (!judge(r, g, &need)) {
        floe_store_req_fini(q);
        get_tail(g, need);
        return;
    }
    floe_store_req_fini(q);
    r->pass.gets--;
    go_on(r);
}

static void get_tail(struct retain_get *g, uint64_t bytes)
{
    struct floe_retain *r = g->r;
    g->req = (struct floe_store_req){.kind = FLOE_STORE_GET,
                                     .cls = FLOE_STORE_DATA,
                                     .offset = -(int64_t)bytes,
                                     .length = bytes,
                                     .attempts = 4,
                                     .done = on_tail,
                                     .user = g};
    floe_chain_key(g->req.key, &r->pass.c->session, g->item->seq);
    g->active = true;
    floe_store_submit(r->cfg.store, &g->req);
}

static void go_on(struct floe_retain *r)
{
    struct retain_pass *p = &r->pass;
    for (uint32_t i = 0; i < RETAIN_GETS; i++) {
        struct retain_get *g = &p->get[i];
        while (p->item_at < p->item_n && p->items[p->item_at].verdict != RETAIN_LOOK)
            p->item_at++;
        if (g->active || p->item_at == p->item_n)
            continue;
        g->r = r;
        g->item = &p->items[p->item_at++];
        p->gets++;
        get_tail(g, FLOE_MIN((uint64_t)RETAIN_TAIL_BYTES, g->item->size));
    }
    if (p->gets == 0)
        retain_page_done(r);
}

void retain_look(struct floe_retain *r)
{
    go_on(r);
}
