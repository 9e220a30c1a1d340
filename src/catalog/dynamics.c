/* Configurations of brokers and groups that were set over the wire: the record `configs`, replaced as a whole
 * by a conditional write (docs/formats/table.md), and what was last read of it. Every change raises the
 * catalog version, so that all brokers read it again. */
#include "catalog/catalog_int.h"
#include <jansson.h>

#define KEY "configs"
#define ENTRIES_MAX 20000u

static const char *const kinds[FLOE_DYNAMIC_KINDS] = {"broker", "group"};

/* ---- the list, in order ---------------------------------------------------------------------------------
 */

static int by_text(struct floe_kstr x, const char *y)
{
    size_t n = strlen(y), xn = (size_t)FLOE_MAX(x.n, 0);
    int c = xn ? memcmp(x.p, y, FLOE_MIN(n, xn)) : 0;
    return c ? c : (xn > n) - (xn < n);
}

static uint32_t place(const struct floe_dynamics *d, enum floe_dynamic_kind kind, struct floe_kstr resource,
                      struct floe_kstr name, bool *found)
{
    uint32_t lo = 0, hi = d->n;
    *found = false;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        const struct floe_dynamic *e = &d->list[mid];
        int c = (kind > e->kind) - (kind < e->kind);
        c = c ? c : by_text(resource, e->resource);
        c = c ? c : by_text(name, e->name);
        if (c == 0) {
            *found = true;
            return mid;
        }
        if (c < 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    return lo;
}

const char *floe_dynamics_get(const struct floe_dynamics *d, enum floe_dynamic_kind kind,
                              struct floe_kstr resource, const char *name)
{
    bool found;
    uint32_t at = place(d, kind, resource, floe_kstr(name), &found);
    return found ? d->list[at].value : NULL;
}

static void entry_free(struct floe_dynamic *e)
{
    free(e->resource);
    free(e->name);
    free(e->value);
}

static char *text_of(struct floe_kstr s)
{
    return strndup(s.n > 0 ? s.p : "", (size_t)FLOE_MAX(s.n, 0));
}

bool floe_dynamics_set(struct floe_dynamics *d, enum floe_dynamic_kind kind, struct floe_kstr resource,
                       struct floe_kstr name, struct floe_kstr value)
{
    bool found;
    uint32_t at = place(d, kind, resource, name, &found);
    if (value.n < 0 && !found)
        return true;
    if (value.n < 0) {
        entry_free(&d->list[at]);
        memmove(&d->list[at], &d->list[at + 1], (d->n - at - 1) * sizeof *d->list);
        d->n--;
        return true;
    }
    if (!found && d->n >= ENTRIES_MAX)
        return false;
    if (!found && d->n == d->cap) {
        uint32_t cap = FLOE_MAX(16u, 2 * d->cap);
        struct floe_dynamic *list = realloc(d->list, cap * sizeof *list);
        if (!list)
            return false;
        d->list = list;
        d->cap = cap;
    }
    struct floe_dynamic e = {kind, text_of(resource), text_of(name), text_of(value)};
    if (!e.resource || !e.name || !e.value) {
        entry_free(&e);
        return false;
    }
    if (found)
        entry_free(&d->list[at]);
    else
        memmove(&d->list[at + 1], &d->list[at], (d->n++ - at) * sizeof *d->list);
    d->list[at] = e;
    return true;
}

void floe_dynamics_free(struct floe_dynamics *d)
{
    for (uint32_t i = 0; i < d->n; i++)
        entry_free(&d->list[i]);
    free(d->list);
    *d = (struct floe_dynamics){0};
}

/* ---- the record -----------------------------------------------------------------------------------------
 */

char *floe_dynamics_encode(const struct floe_dynamics *d)
{
    json_t *o = json_object(), *all = json_object();
    bool bad = !o || !all;
    for (uint32_t i = 0; !bad && i < d->n; i++) {
        const struct floe_dynamic *e = &d->list[i];
        json_t *kind = json_object_get(all, kinds[e->kind]);
        if (!kind) {
            bad |= json_object_set_new(all, kinds[e->kind], json_object()) != 0;
            kind = json_object_get(all, kinds[e->kind]);
        }
        json_t *of = json_object_get(kind, e->resource);
        if (!of) {
            bad |= json_object_set_new(kind, e->resource, json_object()) != 0;
            of = json_object_get(kind, e->resource);
        }
        bad |= json_object_set_new(of, e->name, json_string(e->value)) != 0;
    }
    bad |= json_object_set_new(o, "configs", all) != 0;
    char *text = bad ? NULL : json_dumps(o, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(o);
    return text;
}

static struct floe_kstr kstr_of(const char *s)
{
    return floe_kstr(s);
}

enum floe_err floe_dynamics_decode(struct floe_dynamics *out, const char *json, size_t n,
                                   struct floe_error *err)
{
    json_error_t je;
    json_t *o = json_loadb(json, n, JSON_REJECT_DUPLICATES, &je), *all = json_object_get(o, "configs");
    bool ok = json_is_object(all);
    *out = (struct floe_dynamics){0};
    for (int k = 0; ok && k < FLOE_DYNAMIC_KINDS; k++) {
        json_t *kind = json_object_get(all, kinds[k]), *of, *value;
        const char *resource, *name;
        ok = !kind || json_is_object(kind);
        json_object_foreach(kind, resource, of)
        {
            ok = ok && json_is_object(of);
            json_object_foreach(of, name, value)
            {
                ok = ok && json_is_string(value) &&
                     floe_dynamics_set(out, (enum floe_dynamic_kind)k, kstr_of(resource), kstr_of(name),
                                       kstr_of(json_string_value(value)));
            }
        }
    }
    json_decref(o);
    if (ok)
        return FLOE_OK;
    floe_dynamics_free(out);
    return floe_error_set(err, FLOE_ECORRUPT, "table record '" KEY "' is no table of configurations");
}

const struct floe_dynamics *floe_catalog_dynamics(const struct floe_catalog *c)
{
    return &c->dynamics;
}

/* ---- reading it again ------------------------------------------------------------------------------------
 */

/* Takes what was read or written. */
static void take(struct floe_catalog *c, struct floe_dynamics *d)
{
    floe_dynamics_free(&c->dynamics);
    c->dynamics = *d;
    *d = (struct floe_dynamics){0};
    floe_catalog_derive_all(c);
}

static void on_refreshed(struct floe_table_req *req)
{
    struct floe_catalog *c = req->user;
    struct floe_dynamics d = {0};
    struct floe_error err = req->err;
    c->dynamics_reading = false;
    if (!err.code)
        (void)!floe_dynamics_decode(&d, req->got, req->got_n, &err);
    else if (err.code == FLOE_ENOTFOUND)
        err.code = FLOE_OK;
    floe_table_req_fini(req);
    c->dynamics_missed = err.code != FLOE_OK; /* the next sweep reads it again */
    if (err.code == FLOE_ECORRUPT)
        floe_log_error("catalog", "%s", err.msg); /* what was read before stays in force */
    if (c->dynamics_again) {
        c->dynamics_again = false;
        floe_dynamics_free(&d);
        floe_dynamics_refresh(c);
    } else if (!err.code) {
        take(c, &d);
    }
}

void floe_dynamics_refresh(struct floe_catalog *c)
{
    if (c->dynamics_reading) {
        c->dynamics_again = true;
        return;
    }
    c->dynamics_reading = true;
    c->dynamics_req =
        (struct floe_table_req){.kind = FLOE_TABLE_GET, .key = KEY, .done = on_refreshed, .user = c};
    floe_table_submit(c->cfg.table, &c->dynamics_req);
}

/* ---- operations, one at a time ------------------------------------------------------------------------- */

static char *change(struct floe_record_edit *e, const struct floe_slice *got, struct floe_error *err)
{
    struct floe_dynamics_op *op = FLOE_CONTAINER(e, struct floe_dynamics_op, record);
    char *text = NULL;
    floe_dynamics_free(&op->dynamics);
    if (got)
        (void)!floe_dynamics_decode(&op->dynamics, (const char *)got->p, got->n, err);
    if (!err->code && !op->edit(op->user, &op->dynamics, err) &&
        !(text = floe_dynamics_encode(&op->dynamics)))
        floe_error_set(err, FLOE_EINVAL, "a name is not UTF-8, or memory is out");
    return text;
}

static void begin_next(struct floe_catalog *c)
{
    if (floe_list_empty(&c->dynamics_ops))
        return;
    struct floe_dynamics_op *op = FLOE_LIST_ENTRY(c->dynamics_ops.next, struct floe_dynamics_op, link);
    if (op->record.tries == 0) /* else the last one's `done` has begun it */
        floe_record_edit(&op->record);
}

static void finish(struct floe_record_edit *e)
{
    struct floe_dynamics_op *op = FLOE_CONTAINER(e, struct floe_dynamics_op, record);
    struct floe_catalog *c = op->c;
    if (e->written) {
        if (c->dynamics_reading)
            c->dynamics_again = true; /* what is being read may be older */
        take(c, &op->dynamics);
        floe_lease_bump_catalog(c->cfg.lease);
    }
    floe_list_remove(&op->link);
    floe_dynamics_free(&op->dynamics);
    op->err = e->err;
    op->done(op); /* which may free it */
    begin_next(c);
}

void floe_catalog_dynamics_change(struct floe_catalog *c, struct floe_dynamics_op *op)
{
    bool idle = floe_list_empty(&c->dynamics_ops);
    op->c = c;
    op->dynamics = (struct floe_dynamics){0};
    op->record =
        (struct floe_record_edit){.table = c->cfg.table, .key = KEY, .change = change, .done = finish};
    floe_list_push_back(&c->dynamics_ops, &op->link);
    if (idle)
        begin_next(c);
}

void floe_dynamics_fini(struct floe_catalog *c)
{
    struct floe_list *l;
    while ((l = floe_list_pop_front(&c->dynamics_ops))) {
        struct floe_dynamics_op *op = FLOE_LIST_ENTRY(l, struct floe_dynamics_op, link);
        floe_record_edit_fini(&op->record);
        floe_dynamics_free(&op->dynamics);
        if (op->drop)
            op->drop(op);
    }
    if (c->dynamics_reading) {
        floe_table_cancel(c->cfg.table, &c->dynamics_req);
        floe_table_req_fini(&c->dynamics_req);
    }
    floe_dynamics_free(&c->dynamics);
}
