/* The durable floor of a chain: what this module, and the log through it, asks of record `floor/<session>`.
 * Who writes it: floe/retain.h. */
#include "lease_int.h"

#include <stdio.h>
#include <stdlib.h>

struct floor_read {
    void (*done)(void *user, const struct floe_error *err, uint64_t floor);
    void *user;
};

enum floe_err lease_floor_read(const struct lease_op *op, uint64_t *floor, struct floe_error *err)
{
    const struct floe_table_req *r = &op->u.table;
    if (r->err.code == FLOE_ENOTFOUND) {
        *floor = 0;
        return FLOE_OK;
    }
    *err = r->err;
    if (err->code != FLOE_OK)
        return err->code;
    return lease_floor_decode(r->key, r->got, r->got_n, floor, err);
}

struct lease_op *lease_op_floor(struct floe_lease *l, const struct floe_session_name *s,
                                void (*fn)(struct lease_op *), void *ctx)
{
    char key[FLOE_TABLE_KEY_MAX];
    lease_floor_key(key, s);
    return lease_op_get(l, key, l->lease_us / 3, fn, ctx);
}

static void on_floor(struct lease_op *op)
{
    struct floor_read *f = (struct floor_read *)op->text; /* the op frees it, also when it is dropped */
    struct floe_error err = {0};
    uint64_t floor = 0;
    if (lease_floor_read(op, &floor, &err) == FLOE_OK)
        lease_table_ok(op->l);
    f->done(f->user, &err, floor);
}

void floe_lease_read_floor(struct floe_lease *l, const struct floe_session_name *s,
                           void (*done)(void *user, const struct floe_error *err, uint64_t floor), void *user)
{
    struct floor_read *f = lease_alloc(sizeof *f);
    *f = (struct floor_read){done, user};
    lease_op_floor(l, s, on_floor, NULL)->text = (char *)f;
}

bool floe_lease_end_of(struct floe_lease *l, const struct floe_session_name *s, uint64_t *end)
{
    uint64_t since;
    return lease_end_find(l, s, end, &since);
}

void floe_lease_durable(struct floe_lease *l, uint64_t *committed, uint64_t *floor)
{
    *committed = l->own.durable.committed;
    *floor = l->own.durable.floor;
}

bool floe_lease_names_session(struct floe_lease *l, const struct floe_session_name *s)
{
    for (uint32_t i = 0; i < l->shard_count; i++) {
        const struct lease_doc *d = &l->shards[i].doc;
        if (!l->shards[i].loaded || l->shards[i].bad)
            return true; /* it may */
        for (uint32_t k = 0; k < d->n; k++) {
            const struct floe_lease_entry *e = &d->entries[k].e;
            bool named = floe_session_name_eq(&e->holder, s) ||
                         (e->checkpoint.present && floe_session_name_eq(&e->checkpoint.session, s));
            for (uint32_t n = 0; n < e->span_count && !named; n++)
                named = floe_session_name_eq(&e->spans[n].session, s);
            if (named)
                return true;
        }
    }
    return false;
}
