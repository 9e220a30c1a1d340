/* The records of a chain: ended/<session> says where it ends, floor/<session> what is known of it. */
#include "retain/retain_int.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

static void get(struct floe_retain *r, const char *prefix, void (*done)(struct floe_table_req *))
{
    struct retain_pass *p = &r->pass;
    char name[FLOE_SESSION_NAME_MAX];
    floe_session_format(name, &p->c->session);
    p->table = (struct floe_table_req){.kind = FLOE_TABLE_GET, .done = done, .user = r};
    snprintf(p->table.key, sizeof p->table.key, "%s/%s", prefix, name);
    p->in_table = true;
    floe_table_submit(r->cfg.table, &p->table);
}

static void take_record(struct retain_chain *c, struct retain_record *rec, const char *version,
                        uint64_t aged_us)
{
    retain_runs_fini(&c->rec.runs);
    c->rec = *rec;
    snprintf(c->version, sizeof c->version, "%s", version);
    c->aged_us = aged_us;
    c->loaded = true;
}

static void on_floor(struct floe_table_req *q)
{
    struct floe_retain *r = q->user;
    struct retain_pass *p = &r->pass;
    struct retain_record rec = {0};
    struct floe_error err = q->err;
    p->in_table = false;
    if (err.code == FLOE_OK)
        (void)!retain_record_decode(q->key, q->got, q->got_n, &rec, &err);
    if (err.code == FLOE_OK) {
        /* Counted from here: this broker sees only now that it is durable. */
        take_record(p->c, &rec, q->version, p->live ? RETAIN_NEVER : retain_now(r) + r->cfg.age_us);
    } else if (err.code == FLOE_ENOTFOUND) {
        take_record(p->c, &rec, "", RETAIN_NEVER);
        err.code = FLOE_OK;
    }
    floe_table_req_fini(q);
    if (err.code != FLOE_OK)
        retain_pass_failed(r, &err);
    else
        retain_pass_loaded(r);
}

static bool decode_end(const char *json, size_t n, uint64_t *end)
{
    json_t *o = json_loadb(json, n, JSON_REJECT_DUPLICATES, NULL);
    const json_t *v = json_object_get(o, "end");
    bool ok = json_is_integer(v) && json_integer_value(v) >= 0 && json_integer_value(v) < INT64_MAX;
    if (ok)
        *end = (uint64_t)json_integer_value(v);
    json_decref(o);
    return ok;
}

static void on_ended(struct floe_table_req *q)
{
    struct floe_retain *r = q->user;
    struct retain_pass *p = &r->pass;
    struct floe_error err = q->err;
    uint64_t end;
    p->in_table = false;
    p->c->ended = false;
    p->c->ended_version[0] = '\0';
    if (err.code == FLOE_OK && decode_end(q->got, q->got_n, &end)) {
        p->c->ended = true;
        p->c->end = end;
        snprintf(p->c->ended_version, sizeof p->c->ended_version, "%s", q->version);
    } else if (err.code == FLOE_OK) {
        floe_error_set(&err, FLOE_ECORRUPT, "table record \"%s\": \"end\" is no number", q->key);
    }
    floe_table_req_fini(q);
    if (err.code != FLOE_OK && err.code != FLOE_ENOTFOUND)
        retain_pass_failed(r, &err);
    else
        get(r, "floor", on_floor);
}

void retain_load(struct floe_retain *r)
{
    if (r->pass.live)
        get(r, "floor", on_floor);
    else
        get(r, "ended", on_ended);
}
