/* The others' node records: reading them, judging life by their change, fencing.
 *
 * A live record is fenced when it has not changed for its own lease time, counted on the own clock from the
 * moment it was first seen, or from the end of the last gap of a third of the own lease time in which no read
 * of the table succeeded, or from when the own session became alive, whichever is latest; the read that still
 * saw it unchanged must be as fresh. The conditional write decides: whoever renewed in between wins. Without
 * waiting: a peer that was reached and now refuses twice, or answers as another session; an own former
 * session of this data directory. */
#include "lease_int.h"

#include <floe/base/mutant.h>

#include <stdio.h>
#include <stdlib.h>

struct lease_node *lease_node_find(const struct floe_lease *l, int32_t id)
{
    uint32_t lo = 0, hi = l->node_count;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (l->nodes[mid]->id < id)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < l->node_count && l->nodes[lo]->id == id ? l->nodes[lo] : NULL;
}

struct lease_node *lease_node_make(struct floe_lease *l, int32_t id)
{
    struct lease_node *n = lease_node_find(l, id);
    if (n != NULL)
        return n;
    if (l->node_count == l->node_cap) {
        l->node_cap = l->node_cap == 0 ? 16 : l->node_cap * 2;
        l->nodes = realloc(l->nodes, l->node_cap * sizeof *l->nodes);
        FLOE_ASSERT(l->nodes != NULL);
    }
    n = lease_alloc(sizeof *n);
    n->id = id;
    uint32_t at = l->node_count++;
    for (; at > 0 && l->nodes[at - 1]->id > id; at--)
        l->nodes[at] = l->nodes[at - 1];
    l->nodes[at] = n;
    return n;
}

uint64_t lease_poll_us(const struct floe_lease *l)
{
    return FLOE_MIN((uint64_t)500000, l->lease_us / 6);
}

void lease_table_ok(struct floe_lease *l)
{
    uint64_t now = lease_now(l);
    if (now - l->table_ok_us > l->lease_us / 3)
        l->gap_us = now;
    l->table_ok_us = now;
}

static bool heard(const struct floe_lease *l, const struct lease_node *n)
{
    return n->heard_us != 0 && lease_now(l) - n->heard_us < l->lease_us * 3 / 10;
}

void lease_node_set(struct floe_lease *l, struct lease_node *n, const struct lease_node_record *rec,
                    const char *version)
{
    bool other = !n->present || !floe_session_name_eq(&n->rec.info.session, &rec->info.session);
    bool moved = other || n->rec.info.state != rec->info.state || n->rec.info.draining != rec->info.draining;
    uint64_t now = lease_now(l);
    if (other) {
        n->reached = n->noted = false;
        n->gone = NULL;
        n->heard_us = n->next_call_us = n->rose_us = n->view_us = 0;
        n->refusals = 0;
    }
    if (!other && rec->info.committed > n->rec.info.committed)
        n->rose_us = now;
    if (!n->present || strcmp(n->version, version) != 0)
        n->seen_us = now;
    if (rec->info.state == FLOE_NODE_FENCED && (other || n->rec.info.state != FLOE_NODE_FENCED))
        n->fenced_us = now;
    n->loaded = n->present = true;
    n->bad = n->stale = false;
    n->rec = *rec;
    n->read_us = now;
    if (n->version != version)
        snprintf(n->version, sizeof n->version, "%s", version);
    if (rec->info.state == FLOE_NODE_SEALED || rec->info.state == FLOE_NODE_ENDED)
        lease_end_learn(l, &rec->info.session, rec->info.end);
    if (moved) {
        l->changed = true;
        lease_reconcile_all(l);
    }
    lease_kick(l);
}

/* ---- reads ----------------------------------------------------------------------------------------- */

/* A heard peer's record is read every third of its lease time, a little before its next renewal is due, and
 * then more often until it has changed: so a death is counted from shortly after the last renewal. */
static void plan_read(struct floe_lease *l, struct lease_node *n, bool changed)
{
    uint64_t now = lease_now(l), theirs = (uint64_t)n->rec.info.lease_ms * 1000, wait = lease_poll_us(l);
    if (n->present && n->rec.info.state == FLOE_NODE_LIVE && heard(l, n))
        wait = changed ? theirs / 3 - theirs / 30 : theirs / 30;
    n->next_read_us = now + wait;
}

static void on_read(struct lease_op *op)
{
    struct floe_lease *l = op->l;
    struct lease_node *n = op->ctx;
    const struct floe_table_req *r = &op->u.table;
    struct lease_node_record rec;
    struct floe_error err = r->err;
    bool changed = false;
    n->read = NULL;
    if (err.code == FLOE_OK || err.code == FLOE_ENOTFOUND)
        n->asked_us = op->started_us;
    if (err.code == FLOE_OK && lease_node_decode(r->key, r->got, r->got_n, &rec, &err) == FLOE_OK) {
        lease_table_ok(l);
        changed = !n->present || strcmp(n->version, r->version) != 0;
        lease_node_set(l, n, &rec, r->version);
    } else if (err.code == FLOE_ENOTFOUND) {
        lease_table_ok(l);
        if (n->present)
            lease_note(l, FLOE_LOG_ERROR, "table record \"%s\" has vanished", r->key);
        n->bad = n->present;
        n->loaded = true;
    } else if (err.code == FLOE_ECORRUPT) {
        if (!n->bad)
            lease_note(l, FLOE_LOG_ERROR, "%s", err.msg);
        n->bad = n->loaded = true;
    } else {
        l->trouble = err;
    }
    plan_read(l, n, changed);
    if (n->read_again) {
        n->read_again = false;
        lease_node_read(l, n);
    }
    lease_kick(l);
}

void lease_node_read(struct floe_lease *l, struct lease_node *n)
{
    char key[FLOE_TABLE_KEY_MAX];
    if (n->read != NULL || n->fence != NULL || n->mark != NULL) {
        n->read_again = true;
        return;
    }
    lease_node_key(key, n->id);
    n->read = lease_op_get(l, key, lease_step_us(l), on_read, n);
}

/* The own node: what is still under way is about the session before, and its answer would take the new one
 * out of the view for as long as it lives. */
void lease_node_drop(struct lease_node *n)
{
    if (FLOE_MUTANT(OWN_VIEW_LATE))
        return;
    lease_op_cancel(n->read);
    lease_op_cancel(n->fence);
    lease_op_cancel(n->mark);
    n->read = n->fence = n->mark = NULL;
    n->read_again = false;
}

static void scan_page(struct floe_lease *l, const char *after);

bool lease_nodes_ready(const struct floe_lease *l)
{
    if (!l->nodes_loaded)
        return false;
    for (uint32_t i = 0; i < l->node_count; i++)
        if (!l->nodes[i]->loaded)
            return false;
    return true;
}

static void on_scan(struct lease_op *op)
{
    struct floe_lease *l = op->l;
    const struct floe_table_req *r = &op->u.table;
    int32_t id;
    l->nodes_scan = NULL;
    l->nodes_scanned_us = lease_now(l);
    l->nodes_scan_us = l->nodes_scanned_us + l->lease_us;
    if (r->err.code != FLOE_OK) {
        l->trouble = r->err;
        l->nodes_scan_us = lease_now(l) + lease_backoff_us(l, 2);
        lease_kick(l);
        return;
    }
    lease_table_ok(l);
    for (uint32_t i = 0; i < r->entry_count; i++) {
        if (!lease_node_key_parse(r->entries[i].key, &id))
            continue;
        struct lease_node *n = lease_node_make(l, id);
        if (lease_own_open(l) && id == l->own.name.node) {
            /* Changed by another? The renewal finds out. */
            if (strcmp(l->own.version, r->entries[i].version) != 0)
                lease_own_renew_now(l);
        } else if ((!n->present || strcmp(n->version, r->entries[i].version) != 0) && n->read == NULL) {
            n->loaded = n->loaded && n->present;
            lease_node_read(l, n);
        }
    }
    if (r->truncated && r->entry_count > 0) {
        scan_page(l, r->entries[r->entry_count - 1].key);
        return;
    }
    l->nodes_loaded = true;
    if (l->nodes_scan_again) {
        l->nodes_scan_again = false;
        scan_page(l, "");
    }
    lease_kick(l);
}

static void scan_page(struct floe_lease *l, const char *after)
{
    l->nodes_scan = lease_op_scan(l, "node/", after, on_scan, NULL);
}

void lease_nodes_scan(struct floe_lease *l)
{
    if (l->nodes_scan != NULL)
        l->nodes_scan_again = true;
    else
        scan_page(l, "");
}

void lease_nodes_scan_soon(struct floe_lease *l)
{
    l->nodes_scan_us = FLOE_MIN(l->nodes_scan_us, l->nodes_scanned_us + lease_poll_us(l));
    lease_kick(l);
}

/* ---- fencing --------------------------------------------------------------------------------------- */

static void on_fence(struct lease_op *op)
{
    struct floe_lease *l = op->l;
    struct lease_node *n = op->ctx;
    const struct floe_table_req *r = &op->u.table;
    n->fence = NULL;
    if (r->err.code == FLOE_OK) {
        struct lease_node_record rec = n->rec;
        rec.info.state = FLOE_NODE_FENCED;
        rec.by = l->own.name;
        rec.beat++;
        lease_node_set(l, n, &rec, r->version);
    } else if (r->err.code == FLOE_ECONFLICT || r->err.code == FLOE_EINDETERMINATE) {
        n->stale = n->read_again = true;
    } else {
        n->write_after_us = lease_now(l) + lease_backoff_us(l, 2);
    }
    if (n->read_again) {
        n->read_again = false;
        lease_node_read(l, n);
    }
    lease_kick(l);
}

void lease_node_fence(struct floe_lease *l, struct lease_node *n, const char *why)
{
    char key[FLOE_TABLE_KEY_MAX], name[FLOE_SESSION_NAME_MAX];
    if (n->fence != NULL)
        return;
    struct lease_node_record rec = n->rec;
    rec.info.state = FLOE_NODE_FENCED;
    rec.by = l->own.name;
    rec.beat++;
    lease_op_cancel(n->read);
    n->read = NULL;
    lease_node_key(key, n->id);
    n->fence = lease_op_put(l, key, n->version, lease_node_encode(&rec), lease_step_us(l), on_fence, n);
    if (n->noted)
        return;
    n->noted = true;
    floe_session_format(name, &n->rec.info.session);
    lease_note(l, FLOE_LOG_WARN, "fencing session %s: %s", name, why);
}

/* Where the search for the gap begins: keys below are known to be committed, and some of them may be gone. */
static uint64_t search_from(const struct lease_node *n)
{
    if (FLOE_MUTANT(SEAL_FROM_ZERO))
        return 0;
    if (FLOE_MUTANT(SEAL_PAST_FLOOR))
        return FLOE_MAX(n->rec.info.committed, n->rec.info.floor) + 1;
    return FLOE_MAX(n->rec.info.committed, n->rec.info.floor);
}

static void judge_life(struct floe_lease *l, struct lease_node *n)
{
    uint64_t now = lease_now(l), theirs = (uint64_t)n->rec.info.lease_ms * 1000;
    uint64_t from = FLOE_MAX(n->seen_us, FLOE_MAX(l->gap_us, l->own.alive_since_us)), end, since;
    if (n->fence != NULL || now < n->write_after_us)
        return;
    if (lease_own_former(l, &n->rec.info.session)) {
        /* Nobody writes in its chain any more: the seal need not wait for the fence, only the claim does. */
        lease_node_fence(l, n, "it is this data directory's former session");
        if (!lease_end_find(l, &n->rec.info.session, &end, &since))
            lease_seal_fenced(l, &n->rec.info.session, search_from(n));
        return;
    }
    if (!floe_lease_alive(l) || l->own.state != OWN_LIVE)
        return;
    if (n->gone != NULL)
        lease_node_fence(l, n, n->gone);
    else if (now - from >= theirs && now - l->table_ok_us <= l->lease_us / 3 &&
             now - n->read_us <= FLOE_MAX(l->lease_us / 3, theirs / 3))
        lease_node_fence(l, n, "its record has not changed for its lease time");
}

static void on_mark(struct lease_op *op)
{
    struct floe_lease *l = op->l;
    struct lease_node *n = op->ctx;
    const struct floe_table_req *r = &op->u.table;
    uint64_t end, since;
    n->mark = NULL;
    if (r->err.code == FLOE_OK && lease_end_find(l, &n->rec.info.session, &end, &since)) {
        struct lease_node_record rec = n->rec;
        rec.info.state = FLOE_NODE_SEALED;
        rec.info.end = end;
        rec.beat++;
        lease_node_set(l, n, &rec, r->version);
        floe_lease_bump_catalog(l); /* others may take over now */
    } else if (r->err.code == FLOE_ECONFLICT || r->err.code == FLOE_EINDETERMINATE) {
        n->stale = n->read_again = true;
    } else {
        n->write_after_us = lease_now(l) + lease_backoff_us(l, 2);
    }
    if (n->read_again) {
        n->read_again = false;
        lease_node_read(l, n);
    }
    lease_kick(l);
}

static void mark_sealed(struct floe_lease *l, struct lease_node *n, uint64_t end)
{
    char key[FLOE_TABLE_KEY_MAX];
    struct lease_node_record rec = n->rec;
    if (n->mark != NULL || lease_now(l) < n->write_after_us)
        return;
    rec.info.state = FLOE_NODE_SEALED;
    rec.info.end = end;
    rec.beat++;
    lease_op_cancel(n->read);
    n->read = NULL;
    lease_node_key(key, n->id);
    n->mark = lease_op_put(l, key, n->version, lease_node_encode(&rec), lease_step_us(l), on_mark, n);
}

/* A fenced record gets its seal, then its mark: at once from who fenced it, a moment later from anybody. The
 * own former session's is not marked: the claim of the next one comes at once. */
static void mind_seal(struct floe_lease *l, struct lease_node *n)
{
    const struct floe_session_name *s = &n->rec.info.session;
    uint64_t end, since;
    bool former = lease_own_former(l, s), ours = former || lease_own_is(l, &n->rec.by);
    if (!ours && (!floe_lease_alive(l) || lease_now(l) - n->fenced_us < lease_poll_us(l)))
        return;
    if (!lease_end_find(l, s, &end, &since))
        lease_seal_fenced(l, s, search_from(n));
    else if (!(former && l->own.state == OWN_OPENING && n->id == l->own.preferred))
        mark_sealed(l, n, end);
}

void lease_observe(struct floe_lease *l)
{
    uint64_t now = lease_now(l);
    for (uint32_t i = 0; i < l->node_count; i++) {
        struct lease_node *n = l->nodes[i];
        if (lease_own_open(l) && n->id == l->own.name.node)
            continue;
        bool watch = !n->loaded || n->bad || (n->present && n->rec.info.state <= FLOE_NODE_FENCED);
        if (!heard(l, n) && n->next_read_us > now + lease_poll_us(l))
            n->next_read_us = now; /* it went silent */
        if (watch && n->read == NULL && n->fence == NULL && n->mark == NULL && now >= n->next_read_us)
            lease_node_read(l, n);
        if (!n->loaded || !n->present || n->bad || n->stale)
            continue;
        if (n->rec.info.state == FLOE_NODE_LIVE)
            judge_life(l, n);
        else if (n->rec.info.state == FLOE_NODE_FENCED)
            mind_seal(l, n);
    }
    if (l->nodes_scan == NULL && now >= l->nodes_scan_us)
        lease_nodes_scan(l);
}

/* ---- from the layer above --------------------------------------------------------------------------- */

static bool named_by_lease(const struct floe_lease *l, int32_t node)
{
    for (uint32_t s = 0; s < l->shard_count; s++)
        for (uint32_t i = 0; i < l->shards[s].holder_count; i++)
            if (l->shards[s].holders[i] == node)
                return true;
    return false;
}

uint32_t floe_lease_nodes(struct floe_lease *l, struct floe_node_info *out, uint32_t max)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < l->node_count; i++) {
        const struct lease_node *node = l->nodes[i];
        if (!node->present || (node->rec.info.state != FLOE_NODE_LIVE && !named_by_lease(l, node->id)))
            continue;
        if (n < max)
            out[n] = node->rec.info;
        n++;
    }
    return n;
}

bool floe_lease_node(struct floe_lease *l, int32_t node, struct floe_node_info *out)
{
    const struct lease_node *n = lease_node_find(l, node);
    if (n == NULL || !n->present)
        return false;
    *out = n->rec.info;
    return true;
}
