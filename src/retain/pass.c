/* One look at one chain: its keys are listed page by page, each is judged, and what may go goes.
 *
 *   load ─► list ─► look (footers that are not known) ─► page_done ─► remove ─► list … ─► finish
 *
 * First the body, keys below the end (of a live chain: below what a renewal said is committed), from the
 * first key on that is not known to be kept; then, of a chain that has ended, what lies behind the end. */
#include "retain/retain_int.h"

#include <floe/base/mutant.h>

#include <stdio.h>
#include <stdlib.h>

static void page(struct floe_retain *r);

void retain_pass_fini(struct floe_retain *r)
{
    struct retain_pass *p = &r->pass;
    if (p->in_table)
        floe_table_cancel(r->cfg.table, &p->table);
    if (p->in_store)
        floe_store_cancel(r->cfg.store, &p->store);
    floe_table_req_fini(&p->table);
    floe_store_req_fini(&p->store);
    for (uint32_t i = 0; i < RETAIN_GETS; i++) {
        if (p->get[i].active)
            floe_store_cancel(r->cfg.store, &p->get[i].req);
        floe_store_req_fini(&p->get[i].req);
    }
    retain_runs_fini(&p->runs);
    free(p->text);
    free(p->keys);
    free(p->key_ptrs);
    *p = (struct retain_pass){0};
}

void retain_pass_failed(struct floe_retain *r, const struct floe_error *err)
{
    struct retain_chain *c = r->pass.c;
    if (err->code == FLOE_ECORRUPT || err->code == FLOE_EDENIED || c->fails == 4)
        floe_log_warn("garbage", "a chain could not be looked through, which is tried again: %s", err->msg);
    c->fails++;
    /* A pass that was to look closer must do so the next time, from what its records then say. */
    c->loaded = false;
    c->deep |= r->pass.deep;
    c->due_us = retain_now(r) + r->cfg.age_us / 8 * FLOE_MIN(c->fails, 8u) + 100000;
    retain_pass_fini(r);
    retain_next(r);
}

void retain_pass_start(struct floe_retain *r, struct retain_chain *c)
{
    struct retain_pass *p = &r->pass;
    p->c = c;
    p->deep = c->deep;
    p->live = retain_is_live(r, &c->session);
    p->past = retain_is_past(r, &c->session);
    c->deep = false;
    c->due_us = RETAIN_NEVER;
    if (c->loaded && (p->live || c->ended))
        retain_pass_loaded(r);
    else
        retain_load(r);
}

/* Nothing has to be looked at again of what that run pins. */
static bool holds(struct floe_retain *r, const struct retain_run *run)
{
    if (!r->pass.deep || run->pin.kind == RETAIN_PIN_ALWAYS)
        return true;
    return run->pin.kind == RETAIN_PIN_TOPIC && !retain_topic_gone(r, &run->pin.topic);
}

void retain_pass_loaded(struct floe_retain *r)
{
    struct retain_pass *p = &r->pass;
    struct retain_chain *c = p->c;
    uint64_t upto = c->end, floor;
    if (p->live)
        floe_lease_durable(r->cfg.lease, &upto, &floor);
    else if (!c->ended) {
        retain_finish(r);
        return;
    }
    p->end = c->end;
    p->to = p->deep ? upto : FLOE_MIN(c->rec.known, upto);
    for (uint32_t i = 0; i < c->rec.runs.n; i++) {
        const struct retain_run *run = &c->rec.runs.v[i];
        if (run->from != p->list_from || run->to > p->to || !holds(r, run))
            break;
        if (!retain_runs_push(&p->runs, run->from, run->to, &run->pin)) {
            struct floe_error err;
            floe_error_set(&err, FLOE_ENOMEM, "no memory");
            retain_pass_failed(r, &err);
            return;
        }
        p->present += run->to - run->from;
        p->list_from = run->to;
    }
    if (p->list_from < p->to) {
        retain_list(r);
        return;
    }
    p->more = false;
    page(r);
}

/* ---- a page ----------------------------------------------------------------------------------------------
 */

static void judge_body(struct floe_retain *r, struct retain_item *it)
{
    struct retain_chain *c = r->pass.c;
    const struct retain_run *run = retain_runs_find(&c->rec.runs, it->seq);
    if (run != NULL && holds(r, run)) {
        it->verdict = RETAIN_KEEP;
        it->pin = run->pin;
    } else if (run == NULL && it->seq < c->rec.known) {
        it->verdict = RETAIN_GARBAGE;
    } else {
        it->verdict = RETAIN_LOOK;
    }
}

static void judge_tail(struct floe_retain *r, struct retain_item *it)
{
    uint64_t end = r->pass.c->end;
    it->verdict = it->seq < end                 ? RETAIN_SKIP
                  : it->seq == end              ? RETAIN_SEAL
                  : it->size == FLOE_SEAL_BYTES ? RETAIN_LOOK /* another seal? The last one ends a chain */
                                                : RETAIN_ORPHAN;
    if (it->verdict == RETAIN_SEAL && FLOE_MUTANT(GARBAGE_SEAL))
        it->verdict = RETAIN_ORPHAN;
}

/* What a listing leaves out is not taken to be absent where it should be there (above the floor chains are
 * dense, and runs are what stays): it is asked for by itself, or kept unseen. Were it forgotten and came
 * back, it would pass for garbage. False when that is more than a page holds: the next one goes on there. */
static bool mind_gap(struct floe_retain *r, uint64_t to)
{
    struct retain_pass *p = &r->pass;
    const struct retain_record *rec = &p->c->rec;
    uint32_t looks = 0;
    for (uint64_t seq = p->list_from; seq < to;) {
        const struct retain_run *run = retain_runs_from(&rec->runs, seq);
        bool inside = run != NULL && run->from <= seq;
        if (!inside && (seq < rec->floor || looks == RETAIN_GAP_LOOKS)) {
            uint64_t next = run != NULL ? FLOE_MIN(run->from, to) : to;
            seq = seq < rec->floor ? FLOE_MIN(FLOE_MAX(rec->floor, seq + 1), next) : next;
            continue;
        }
        if (p->gap_n++ == FLOE_STORE_LIST_MAX) {
            p->list_from = seq;
            p->more = true;
            return false;
        }
        struct retain_item *it = &p->items[p->item_n++];
        *it = (struct retain_item){.seq = seq++, .size = RETAIN_TAIL_BYTES, .verdict = RETAIN_LOOK};
        looks += !inside;
        if (inside && holds(r, run)) {
            it->verdict = RETAIN_KEEP;
            it->pin = run->pin;
        }
    }
    return true;
}

static void on_list(struct floe_store_req *q)
{
    struct floe_retain *r = q->user;
    struct retain_pass *p = &r->pass;
    struct floe_session_name name;
    struct floe_error err = q->err;
    p->in_store = false;
    p->item_n = p->item_at = p->gap_n = 0;
    p->more = q->truncated && q->entry_count > 0;
    for (uint32_t i = 0; err.code == FLOE_OK && i < q->entry_count; i++) {
        struct retain_item it = {.size = q->entries[i].size};
        if (!floe_chain_key_parse(q->entries[i].key, &name, &it.seq) || it.seq < p->list_from)
            continue;
        if (!p->tail && it.seq >= p->to) {
            p->more = false;
            break;
        }
        if (!p->tail && !mind_gap(r, it.seq))
            break;
        p->list_from = it.seq + 1;
        if (p->tail)
            judge_tail(r, &it);
        else
            judge_body(r, &it);
        p->items[p->item_n++] = it;
    }
    if (err.code == FLOE_OK && !p->tail && !p->more)
        (void)mind_gap(r, p->to);
    floe_store_req_fini(q);
    if (err.code != FLOE_OK)
        retain_pass_failed(r, &err);
    else
        retain_look(r);
}

void retain_list(struct floe_retain *r)
{
    struct retain_pass *p = &r->pass;
    p->store = (struct floe_store_req){.kind = FLOE_STORE_LIST,
                                       .cls = FLOE_STORE_DATA,
                                       .max_keys = FLOE_STORE_LIST_MAX,
                                       .attempts = 4,
                                       .done = on_list,
                                       .user = r};
    floe_chain_prefix(p->store.key, &p->c->session);
    if (p->list_from > 0)
        floe_chain_key(p->store.start_after, &p->c->session, p->list_from - 1);
    p->in_store = true;
    floe_store_submit(r->cfg.store, &p->store);
}

/* ---- removal ---------------------------------------------------------------------------------------------
 */

static bool may_go(struct floe_retain *r, const struct retain_item *it)
{
    struct retain_pass *p = &r->pass;
    struct retain_chain *c = p->c;
    uint64_t now = retain_now(r);
    if (FLOE_MUTANT(GARBAGE_NO_FLOOR))
        return true;
    if (FLOE_MUTANT(GARBAGE_NO_AGE))
        return it->verdict == RETAIN_ORPHAN || it->seq < c->rec.floor;
    if (it->verdict == RETAIN_ORPHAN) /* unless a seal was found behind it just now */
        return p->end == c->end && now - c->since_us >= r->cfg.age_us;
    return it->seq < c->rec.floor && now >= c->aged_us;
}

static void on_removed(struct floe_store_req *q)
{
    struct floe_retain *r = q->user;
    struct retain_pass *p = &r->pass;
    struct floe_error err = q->err;
    p->in_store = false;
    floe_store_req_fini(q);
    if (err.code != FLOE_OK) {
        retain_pass_failed(r, &err);
        return;
    }
    p->removed += p->key_n;
    p->removed_bytes += p->del_bytes;
    r->stats.objects += p->key_n;
    r->stats.bytes += p->del_bytes;
    page(r);
}

static bool remove_key(struct floe_retain *r, const struct retain_item *it)
{
    struct retain_pass *p = &r->pass;
    if (p->keys == NULL)
        p->keys = calloc(FLOE_STORE_LIST_MAX, sizeof *p->keys);
    if (p->key_ptrs == NULL)
        p->key_ptrs = calloc(FLOE_STORE_LIST_MAX, sizeof *p->key_ptrs);
    if (p->keys == NULL || p->key_ptrs == NULL)
        return false;
    floe_chain_key(p->keys[p->key_n], &p->c->session, it->seq);
    p->key_ptrs[p->key_n] = p->keys[p->key_n];
    p->key_n++;
    p->del_bytes += it->size;
    return true;
}

/* The page's items are judged: runs grow by what stays, the rest goes or waits. */
void retain_page_done(struct floe_retain *r)
{
    struct retain_pass *p = &r->pass;
    bool ok = true;
    p->key_n = 0;
    p->del_bytes = 0;
    for (uint32_t i = 0; i < p->item_n && ok; i++) {
        const struct retain_item *it = &p->items[i];
        if (it->verdict == RETAIN_SKIP || it->verdict == RETAIN_SEAL)
            continue;
        if (it->verdict == RETAIN_KEEP) {
            p->present++;
            ok = p->tail || retain_runs_push(&p->runs, it->seq, it->seq + 1, &it->pin);
            continue;
        }
        if (it->verdict == RETAIN_GARBAGE)
            p->garbage_end = it->seq + 1;
        if (may_go(r, it)) {
            ok = remove_key(r, it);
        } else {
            p->present++;
            p->orphans_wait |= it->verdict == RETAIN_ORPHAN;
            p->garbage_waits |= it->verdict == RETAIN_GARBAGE;
        }
    }
    if (!ok) {
        struct floe_error err;
        floe_error_set(&err, FLOE_ENOMEM, "no memory");
        retain_pass_failed(r, &err);
        return;
    }
    if (p->key_n == 0) {
        page(r);
        return;
    }
    p->store = (struct floe_store_req){.kind = FLOE_STORE_DELETE,
                                       .cls = FLOE_STORE_DATA,
                                       .keys = p->key_ptrs,
                                       .key_count = p->key_n,
                                       .attempts = 4,
                                       .done = on_removed,
                                       .user = r};
    snprintf(p->store.key, sizeof p->store.key, "%s", p->key_ptrs[0]);
    p->in_store = true;
    floe_store_submit(r->cfg.store, &p->store);
}

/* Goes on with the next page, then with what lies behind the end, then to the finish. */
static void page(struct floe_retain *r)
{
    struct retain_pass *p = &r->pass;
    if (p->more) {
        retain_list(r);
    } else if (!p->tail && !p->live) {
        p->tail = true;
        p->list_from = p->c->end;
        retain_list(r);
    } else {
        retain_finish(r);
    }
}
