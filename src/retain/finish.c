/* The end of a pass: topics that no record names any more, the floor that goes up, the records that go. */
#include "retain/retain_int.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static void settle(struct floe_retain *r);

static void done(struct floe_retain *r)
{
    struct retain_pass *p = &r->pass;
    char name[FLOE_SESSION_NAME_MAX];
    if (p->removed > 0) {
        floe_session_format(name, &p->c->session);
        floe_log_info("garbage",
                      "removed %" PRIu64 " objects (%" PRIu64
                      " bytes) of session %s that nobody needs; %" PRIu64 " objects (%" PRIu64
                      " bytes) since the start",
                      p->removed, p->removed_bytes, name, r->stats.objects, r->stats.bytes);
    }
    p->c->fails = 0;
    retain_pass_fini(r);
    retain_next(r);
}

/* ---- the records go --------------------------------------------------------------------------------------
 */

static void drop(struct floe_retain *r, const char *prefix, const char *version,
                 void (*fn)(struct floe_table_req *))
{
    struct retain_pass *p = &r->pass;
    char name[FLOE_SESSION_NAME_MAX];
    floe_session_format(name, &p->c->session);
    p->table = (struct floe_table_req){.kind = FLOE_TABLE_DELETE, .done = fn, .user = r};
    snprintf(p->table.key, sizeof p->table.key, "%s/%s", prefix, name);
    snprintf(p->table.if_version, sizeof p->table.if_version, "%s", version);
    p->in_table = true;
    floe_table_submit(r->cfg.table, &p->table);
}

static void forget(struct floe_retain *r)
{
    struct retain_chain *c = r->pass.c;
    r->stats.sessions++;
    retain_pass_fini(r);
    retain_chain_free(r, c);
    retain_next(r);
}

static void dropped(struct floe_table_req *q)
{
    struct floe_retain *r = q->user;
    struct retain_pass *p = &r->pass;
    bool first = strncmp(q->key, "ended/", 6) == 0;
    struct floe_error err = q->err;
    p->in_table = false;
    floe_table_req_fini(q);
    if (err.code != FLOE_OK && err.code != FLOE_ENOTFOUND)
        retain_pass_failed(r, &err);
    else if (first && p->c->version[0] != '\0')
        drop(r, "floor", p->c->version, dropped);
    else
        forget(r);
}

/* Nothing but the seal was there, twice, an age apart. `ended` goes before `floor`: a stalled fencer that
 * finds neither writes its own end, and does not take the two for a broken table.
 *
 * No name of a session is given twice, but a late copy of a create may bring a record back (or a stalled
 * fencer write one, with a stray seal for an end). It is harmless: no lease names the session, and what does
 * not exist is not read. The next scan finds the record, the seals (the last one counts, however many there
 * are), removes what is stray, and then the record, as this time. */
static void drop_records(struct floe_retain *r)
{
    struct retain_chain *c = r->pass.c;
    if (c->ended_version[0] != '\0')
        drop(r, "ended", c->ended_version, dropped);
    else if (c->version[0] != '\0')
        drop(r, "floor", c->version, dropped);
    else
        forget(r);
}

/* ---- the floor goes up -----------------------------------------------------------------------------------
 */

static void on_written(struct floe_table_req *q)
{
    struct floe_retain *r = q->user;
    struct retain_pass *p = &r->pass;
    struct retain_chain *c = p->c;
    struct floe_error err = q->err;
    char name[FLOE_SESSION_NAME_MAX];
    p->in_table = false;
    if (err.code != FLOE_OK) {
        floe_table_req_fini(q);
        retain_pass_failed(r,
                           &err); /* what is there now is read first, also where this may have been applied */
        return;
    }
    snprintf(c->version, sizeof c->version, "%s", q->version);
    floe_table_req_fini(q);
    if (p->garbage_end > c->rec.floor) {
        c->rec.floor = p->garbage_end;
        c->aged_us = p->live ? RETAIN_NEVER : retain_now(r) + r->cfg.age_us;
        r->stats.floors++;
        floe_session_format(name, &c->session);
        floe_log_info("garbage",
                      "the floor of session %s is at %" PRIu64 "; what nobody needs below goes in %" PRIu64
                      " s",
                      name, c->rec.floor, r->cfg.age_us / 1000000);
    }
    settle(r);
}

static void write_record(struct floe_retain *r)
{
    struct retain_pass *p = &r->pass;
    struct retain_chain *c = p->c;
    struct retain_record next = c->rec;
    struct floe_error err;
    next.floor = FLOE_MAX(next.floor, p->garbage_end);
    free(p->text);
    p->text = retain_record_encode(&next);
    if (p->text == NULL) {
        floe_error_set(&err, FLOE_ENOMEM, "no memory");
        retain_pass_failed(r, &err);
        return;
    }
    p->table = (struct floe_table_req){
        .kind = FLOE_TABLE_PUT, .value = p->text, .value_n = strlen(p->text), .done = on_written, .user = r};
    retain_floor_key(p->table.key, &c->session);
    snprintf(p->table.if_version, sizeof p->table.if_version, "%s", c->version);
    p->in_table = true;
    floe_table_submit(r->cfg.table, &p->table);
}

/* ---- what is due next ------------------------------------------------------------------------------------
 */

static void settle(struct floe_retain *r)
{
    struct retain_pass *p = &r->pass;
    struct retain_chain *c = p->c;
    uint64_t now = retain_now(r);
    /* A pass that the next one must follow at once has set due_us already. */
    if (p->garbage_waits)
        c->due_us = FLOE_MIN(c->due_us, c->aged_us);
    if (p->orphans_wait)
        c->due_us = FLOE_MIN(c->due_us, FLOE_MAX(now, c->since_us + r->cfg.age_us));
    bool nothing = c->ended && p->present == 0 && p->removed == 0 && c->rec.known >= c->end;
    c->empty = nothing ? c->empty + (c->empty < 2) : 0;
    if (nothing && c->empty == 1)
        c->empty_us = now;
    if (nothing && now - c->empty_us >= r->cfg.age_us && retain_is_past(r, &c->session) &&
        !floe_lease_names_session(r->cfg.lease, &c->session)) {
        drop_records(r);
        return;
    }
    if (nothing && now - c->empty_us < r->cfg.age_us)
        c->due_us = FLOE_MIN(c->due_us, c->empty_us + r->cfg.age_us);
    else if (p->removed > 0)
        c->due_us =
            FLOE_MIN(c->due_us, now + r->cfg.age_us); /* is it really empty, or does something come back? */
    done(r);
}

static bool same_runs(const struct retain_runs *a, const struct retain_runs *b)
{
    bool same = a->n == b->n;
    for (uint32_t i = 0; i < a->n && same; i++)
        same = a->v[i].from == b->v[i].from && a->v[i].to == b->v[i].to &&
               a->v[i].pin.kind == b->v[i].pin.kind && floe_uuid_eq(&a->v[i].pin.topic, &b->v[i].pin.topic);
    return same;
}

/* Takes over what the pass has learnt, and writes it down where it counts. */
static void learn(struct floe_retain *r)
{
    struct retain_pass *p = &r->pass;
    struct retain_chain *c = p->c;
    bool news = false;
    if (p->deep) {
        news = c->ended && (p->to != c->rec.known || !same_runs(&p->runs, &c->rec.runs));
        retain_runs_fini(&c->rec.runs);
        c->rec.runs = p->runs;
        c->rec.known = p->to;
        p->runs = (struct retain_runs){0};
    }
    if (news || p->garbage_end > c->rec.floor)
        write_record(r);
    else
        settle(r);
}

static void on_topics(void *user, bool complete)
{
    struct floe_retain *r = user;
    struct retain_pass *p = &r->pass;
    bool any = false;
    r->confirming = false;
    for (uint32_t i = 0; i < p->unknown_n && complete; i++) {
        if (r->cfg.topic(r->cfg.user, &p->unknown[i]) == FLOE_RETAIN_TOPIC_LIVE)
            continue;
        retain_gone_add(r, &p->unknown[i]);
        any = true;
    }
    p->unknown_n = 0;
    if (any || !complete) {
        p->c->deep = true;
        p->c->due_us = retain_now(r) + (complete ? 0 : r->cfg.age_us / 8 + 1000000);
    }
    learn(r);
}

void retain_finish(struct floe_retain *r)
{
    struct retain_pass *p = &r->pass;
    struct retain_chain *c = p->c;
    if (!p->live && !c->ended) {
        /* No record of its end, though its node was past it before that was asked: all has gone but a floor
         * that came back. Else it has not ended yet. */
        if (c->version[0] != '\0' && p->past)
            drop_records(r);
        else
            done(r);
        return;
    }
    if (!p->live && p->end != c->end) { /* a seal behind the recorded end: all over again */
        c->deep = true;
        c->due_us = retain_now(r);
        done(r);
        return;
    }
    if (p->unknown_n > 0) {
        r->confirming = true;
        r->cfg.read_topics(r->cfg.user, on_topics, r);
        return;
    }
    learn(r);
}
