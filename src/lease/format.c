/* The cluster's format: the newest one that every broker reads, kept in the table's record `cluster`.
 *
 * Who reads more than the record says raises it once everybody does: it announces the next format there, then
 * looks at every node record again, then raises or withdraws; each write is conditional on the version read,
 * and any broker goes on where another stopped. A broker that joins writes its node record first and reads
 * `cluster` after: either it sees the announcement, and leaves, or whoever announced sees its node record,
 * and withdraws. Until a broker knows better it writes the first format, which everybody reads. */
#include "lease_int.h"

#include <floe/base/mutant.h>

#include <stdlib.h>

#define KEY "cluster"

int32_t floe_lease_format(const struct floe_lease *l)
{
    return FLOE_MUTANT(FORMAT_UNREAD) ? l->format.newest : l->format.known;
}

void lease_format_init(struct floe_lease *l)
{
    l->format.newest = l->cfg.newest_format != 0 ? l->cfg.newest_format : floe_format_newest;
    l->format.known = LEASE_FORMAT_FIRST;
}

void lease_format_saw(struct floe_lease *l, int32_t format)
{
    l->format.known = FLOE_MAX(l->format.known, FLOE_MIN(format, l->format.newest));
}

void lease_format_join(struct floe_lease *l)
{
    struct lease_format *f = &l->format;
    lease_op_cancel(f->op);
    f->op = NULL;
    f->step = FORMAT_IDLE;
    f->joined = false;
    f->retry_us = 0;
}

/* Some time from now, each broker at another one. */
static void look_later(struct floe_lease *l)
{
    uint64_t third = l->lease_us / 3;
    l->format.step = FORMAT_IDLE;
    l->format.retry_us = lease_now(l) + third / 2 + floe_rng_below(&l->loop->rng, third);
}

/* The newest format that every session reads that may still be at work. */
static int32_t lowest(const struct floe_lease *l)
{
    int32_t least = l->format.newest;
    for (uint32_t i = 0; i < l->node_count; i++) {
        const struct lease_node *n = l->nodes[i];
        if (lease_own_open(l) && n->id == l->own.name.node)
            continue;
        if (FLOE_MUTANT(FORMAT_OLD_UNSEEN))
            continue;
        if (n->bad)
            return LEASE_FORMAT_FIRST;
        if (n->present && n->rec.info.state <= FLOE_NODE_FENCED)
            least = FLOE_MIN(least, n->rec.format);
    }
    return least;
}

/* ---- announce, look, raise -------------------------------------------------------------------------- */

static void on_put(struct lease_op *op)
{
    struct floe_lease *l = op->l;
    struct lease_format *f = &l->format;
    const struct floe_table_req *r = &op->u.table;
    bool announced = f->step == FORMAT_ANNOUNCE;
    f->op = NULL;
    if (r->err.code != FLOE_OK) { /* somebody else's, or unclear: what is there decides at the next look */
        look_later(l);
        return;
    }
    memcpy(f->version, r->version, sizeof f->version);
    f->next = f->put.next;
    lease_format_saw(l, f->put.format);
    if (!announced) {
        if (f->put.format == f->wanted)
            lease_note(l, FLOE_LOG_INFO, "every broker reads format %d: it is written from now on",
                       (int)f->wanted);
        look_later(l);
        return;
    }
    f->step = FORMAT_SCAN;
    f->check_us = f->ask_us = lease_now(l);
    lease_kick(l);
}

static void put(struct floe_lease *l, enum lease_format_step step, int32_t format, int32_t next)
{
    struct lease_format *f = &l->format;
    f->step = step;
    f->put.format = format;
    f->put.next = next;
    f->op = lease_op_put(l, KEY, f->version, lease_cluster_encode(&f->put), lease_step_us(l), on_put, NULL);
}

static void scan_page(struct floe_lease *l, const char *after);

static void on_scan(struct lease_op *op)
{
    struct floe_lease *l = op->l;
    const struct floe_table_req *r = &op->u.table;
    int32_t id;
    l->format.op = NULL;
    if (r->err.code != FLOE_OK) {
        look_later(l);
        return;
    }
    for (uint32_t i = 0; i < r->entry_count; i++)
        if (lease_node_key_parse(r->entries[i].key, &id))
            (void)lease_node_make(l, id);
    if (r->truncated && r->entry_count > 0)
        scan_page(l, r->entries[r->entry_count - 1].key);
    else
        l->format.step = FORMAT_CHECK;
    lease_kick(l);
}

static void scan_page(struct floe_lease *l, const char *after)
{
    l->format.op = lease_op_scan(l, "node/", after, on_scan, NULL);
}

/* Every other node record was read by a request that began after the announcement was there. */
static bool looked_at_all(struct floe_lease *l)
{
    struct lease_format *f = &l->format;
    uint64_t now = lease_now(l);
    bool all = true, ask = now > f->ask_us;
    if (FLOE_MUTANT(FORMAT_NOT_LOOKED_AGAIN))
        return true;
    for (uint32_t i = 0; i < l->node_count; i++) {
        struct lease_node *n = l->nodes[i];
        if ((lease_own_open(l) && n->id == l->own.name.node) || n->asked_us > f->check_us)
            continue;
        all = false;
        if (ask)
            lease_node_read(l, n);
    }
    if (ask)
        f->ask_us = now + lease_poll_us(l);
    return all;
}

static void check(struct floe_lease *l)
{
    struct lease_format *f = &l->format;
    if (!looked_at_all(l))
        return;
    if (lowest(l) >= f->wanted)
        put(l, FORMAT_RAISE, f->wanted, 0);
    else
        put(l, FORMAT_RAISE, f->rec.format, 0); /* one that does not read it came in between */
}

/* ---- reading the record ------------------------------------------------------------------------------ */

static bool too_new(struct floe_lease *l, const struct lease_cluster_record *rec)
{
    struct floe_error err;
    if (lease_format_check(KEY, FLOE_MAX(rec->format, rec->next), l->format.newest, &err) == FLOE_OK)
        return false;
    lease_fatal(l, FLOE_EUNSUPPORTED, "table record %s", err.msg);
    return true;
}

static void on_read(struct lease_op *op)
{
    struct floe_lease *l = op->l;
    struct lease_format *f = &l->format;
    const struct floe_table_req *r = &op->u.table;
    struct floe_error err = r->err;
    struct lease_cluster_record rec;
    bool join = f->step == FORMAT_JOIN;
    f->op = NULL;
    if (err.code == FLOE_OK)
        err.code = lease_cluster_decode(KEY, r->got, r->got_n, INT32_MAX, &rec, &err);
    if (err.code != FLOE_OK) {
        if (err.code == FLOE_ECORRUPT)
            lease_note(l, FLOE_LOG_ERROR, "%s", err.msg);
        f->joined |= err.code == FLOE_ENOTFOUND; /* floe_cluster_open sees to it at each start */
        lease_kick(l);                           /* the start waits for that */
        look_later(l);
        if (join)
            f->retry_us = lease_now(l) + lease_backoff_us(l, 2);
        return;
    }
    if (join && !FLOE_MUTANT(FORMAT_JOIN_UNCHECKED) && too_new(l, &rec))
        return;
    f->joined = true;
    lease_kick(l); /* the start waits for that */
    f->rec = f->put = rec;
    f->next = rec.next;
    memcpy(f->version, r->version, sizeof f->version);
    lease_format_saw(l, rec.format);
    f->wanted = rec.next > rec.format ? rec.next : lowest(l);
    if (join || f->wanted <= rec.format || f->wanted > f->newest) {
        look_later(l);
    } else if (rec.next > rec.format) { /* announced by another, which may be gone */
        f->step = FORMAT_SCAN;
        f->check_us = f->ask_us = lease_now(l);
        lease_kick(l);
    } else {
        bool silent = FLOE_MUTANT(FORMAT_UNANNOUNCED);
        put(l, silent ? FORMAT_RAISE : FORMAT_ANNOUNCE, silent ? f->wanted : rec.format,
            silent ? 0 : f->wanted);
    }
}

void lease_format_step(struct floe_lease *l)
{
    struct lease_format *f = &l->format;
    uint64_t now = lease_now(l);
    if (f->op != NULL || !lease_own_open(l))
        return;
    if (f->step == FORMAT_SCAN) {
        if (now > f->check_us)
            scan_page(l, "");
    } else if (f->step == FORMAT_CHECK) {
        check(l);
    } else if (now >= f->retry_us && (!f->joined || (f->newest > f->known && lease_nodes_ready(l) &&
                                                     (f->next > f->known || lowest(l) > f->known)))) {
        f->step = f->joined ? FORMAT_LOOK : FORMAT_JOIN;
        f->op = lease_op_get(l, KEY, lease_step_us(l), on_read, NULL);
    }
}
